//! Tells the tests where libtorch's shared objects lie: the simulator links the worker, whose trainer needs them,
//! though no simulated training does.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let Some(folder) = env::var_os("LIBTORCH").map(PathBuf::from) else { return };
    // Links that `make setup` made inside the checkout may go; programs must survive that.
    if let Ok(library) = fs::canonicalize(folder.join("lib")) {
        println!("cargo::rustc-link-arg-tests=-Wl,-rpath,{}", library.display());
    }
}
