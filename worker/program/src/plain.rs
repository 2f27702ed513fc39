//! Opening files that a user's program may replace at any moment, by a link, a pipe or a device.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path};

/// Opens a file for reading. What is no file is refused, and never waited for: opening a pipe would wait for who writes.
///
/// # Errors
/// It cannot be opened, or is a link or something else than a file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!("{} is no file", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn only_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        fs::write(inside("file"), "x").unwrap();
        assert_eq!(io::read_to_string(open(&inside("file")).unwrap()).unwrap(), "x");
        std::os::unix::fs::symlink("file", inside("link")).unwrap();
        assert!(Command::new("mkfifo").arg(inside("pipe")).status().unwrap().success());
        for name in ["link", "pipe", "missing"] {
            assert!(open(&inside(name)).is_err(), "{name}");
        }
        for other in [folder.path(), Path::new("/dev/zero")] {
            let refused = open(other).unwrap_err().to_string();
            assert!(refused.contains("is no file"), "{refused}");
        }
    }
}
