//! The wheel: made of the programs that were built, installed into a new virtual environment, and used from there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tests::{dataset, program, skipped};

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("python3 is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// Makes a trainer forget where libtorch lay when it was built, as on another machine.
fn forget_the_build(trainer: &Path) {
    let libtorch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.libtorch/lib");
    let built = fs::canonicalize(libtorch).unwrap().into_os_string().into_encoded_bytes();
    let mut content = fs::read(trainer).unwrap();
    let places: Vec<usize> =
        (0..content.len() - built.len()).filter(|place| content[*place..].starts_with(&built)).collect();
    assert!(!places.is_empty(), "a trainer knows where it was built");
    places.into_iter().for_each(|place| content[place..place + built.len()].fill(b'x'));
    fs::write(trainer, content).unwrap();
}

#[test]
fn a_wheel_brings_the_programs_the_helper_and_the_client() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let environment = folder.path().join("venv");
    let made =
        Command::new("python3").args(["-m", "venv"]).arg(&environment).output().expect("python3 is there");
    if !made.status.success() {
        return skipped("python3 makes no virtual environments here; on Debian: apt install python3-venv");
    }
    let python = environment.join("bin/python");
    let built = program("sweep");
    let wheel = run(Command::new("python3")
        .arg(root.join("deploy/setup/wheel.py"))
        .arg("--programs")
        .arg(built.parent().unwrap())
        .arg("--output")
        .arg(folder.path()));
    let wheel = PathBuf::from(String::from_utf8(wheel.stdout).unwrap().trim());
    // It asks no index: there is nothing else to install.
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-index"]).arg(&wheel));
    forget_the_build(&environment.join("bin/sweep-trainer"));
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    run(Command::new(&python).arg(root.join("tests/fixtures/python/installed.py")).arg(&work).arg(dataset()));
}
