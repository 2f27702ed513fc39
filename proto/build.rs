//! Compiles the .proto files without protoc and keeps their descriptors for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=sweep");
    let descriptors = protox::compile(["sweep/v1/worker.proto", "sweep/v1/sweep.proto"], ["."])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("sweep_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Always sent: prost takes a negative zero for the default, so that it would lose its sign.
        .field_attribute("sweep.v1.MetricValue.value", "#[prost(required)]")
        .compile_fds(descriptors)?;
    Ok(())
}
