//! The pictures that scenarios train on.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use crate::program;

/// Number of images: enough for epochs that a signal can hit, few enough to take seconds.
const IMAGES: &str = "240";

/// A folder of synthetic pictures, made once for all tests of a run and reused by the next run.
pub fn dataset() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = program("sweep-worker").with_file_name("scenario-pictures");
        let make = || {
            let mut command = Command::new(program("sweep-worker"));
            command.args(["dataset", "synth", "--images", IMAGES, "--seed", "7"]).arg(&folder);
            command.output().expect("sweep-worker can be started")
        };
        let mut made = make();
        if !made.status.success() {
            // Another version drew other pictures there.
            std::fs::remove_dir_all(&folder).expect("the folder is the tests' own");
            made = make();
        }
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder
    };
    FOLDER.get_or_init(make).clone()
}
