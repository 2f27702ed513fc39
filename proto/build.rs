//! Compiles the .proto files without protoc and keeps their descriptors for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=sweep");
    let descriptors =
        protox::compile(["sweep/v1/worker.proto", "sweep/v1/sweep.proto", "sweep/v1/access.proto"], ["."])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("sweep_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::SliceCodec")
        .extern_path(".sweep.v1.MetricValue", "crate::metric_value::MetricValue")
        .compile_fds(descriptors)?;
    Ok(())
}
