//! Compiles the C++ of the trainer against libtorch's headers, and tells the programs and tests of this
//! crate where libtorch's shared objects lie, so that they start without `LD_LIBRARY_PATH`. The path is only a
//! RUNPATH: on a GPU machine `LD_LIBRARY_PATH` goes first and names PyTorch's own libraries.

use std::{env, fs, path::PathBuf};

/// The C++ of the trainer: what is compiled, and what that includes.
const SOURCES: [&str; 3] = ["src/shim.cpp", "src/layers.cpp", "src/pooling.cpp"];
const HEADERS: [&str; 3] = ["src/activation.h", "src/guard.h", "src/pooling.h"];

fn main() {
    for path in SOURCES.iter().chain(&HEADERS) {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys declares `links = "tch"` and publishes the folder that it links from. It may be a link that
    // `make setup` made inside the checkout; programs must survive its removal, hence the canonical path.
    let found = env::var_os("DEP_TCH_LIBTORCH_LIB")
        .map(PathBuf::from)
        .expect("torch-sys sets DEP_TCH_LIBTORCH_LIB for crates that depend on it directly");
    let library_dir = fs::canonicalize(&found).unwrap_or_else(|error| {
        panic!("libtorch's folder {} cannot be read: {error}; run `make setup`", found.display())
    });
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", library_dir.display());
    // Where a trainer that was installed by its wheel has it, in any folder: `sweep-setup` links it there.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/sweep/libtorch/lib");

    let include_dir = library_dir.with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .std("c++17")
        // libtorch's headers warn; the code itself is small enough to read.
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(include_dir)
        .files(SOURCES)
        .compile("sweep_shim");
}
