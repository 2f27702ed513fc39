//! The temporary folder of one job: its parameters, its channel, its checkpoints and what comes out, and where it has no folder of its
//! own, its working folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use held_folder::HeldFolder;

/// Longest path of a socket, in bytes; the system's bound is 108 with the end.
const SOCKET_BYTES_MAX: usize = 100;

/// The helper for Python programs, found by `import sweep` unless they bring their own.
const HELPER: &str = include_str!("../../python/sweep.py");

/// How the names of these folders begin.
const PREFIX: &str = "sweep-program-";

/// A folder with a short path, for sockets.
const SHORT: &str = "/tmp";

/// See the module's description. It is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: HeldFolder,
    /// Another one for the socket, where the path of the first is too long.
    short: Option<HeldFolder>,
}

impl Scratch {
    /// Makes one in `parent`.
    ///
    /// # Errors
    /// The disk is full, or the parent cannot be written.
    pub(crate) fn create(parent: &Path, parameters: &str) -> io::Result<Self> {
        let folder = HeldFolder::create(parent, PREFIX)?;
        let mut scratch = Self { folder, short: None };
        if scratch.report().as_os_str().len() > SOCKET_BYTES_MAX {
            scratch.short = Some(HeldFolder::create(Path::new(SHORT), PREFIX)?);
        }
        for folder in [scratch.checkpoints(), scratch.output(), scratch.helper(), scratch.work()] {
            fs::create_dir(folder)?;
        }
        fs::write(scratch.parameters(), parameters)?;
        fs::write(scratch.helper().join("sweep.py"), HELPER)?;
        Ok(scratch)
    }

    /// Removes what processes left that were killed.
    pub(crate) fn remove_stale(parent: &Path) {
        for parent in [parent, Path::new(SHORT)] {
            HeldFolder::remove_stale(parent, PREFIX);
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn parameters(&self) -> PathBuf {
        self.path().join("parameters.json")
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.short.as_ref().unwrap_or(&self.folder).path().join("report")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path().join("checkpoints")
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path().join("output")
    }

    pub(crate) fn helper(&self) -> PathBuf {
        self.path().join("python")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path().join("work")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_still_has_a_socket() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let scratch = Scratch::create(&long, "{}").unwrap();
        assert!(std::os::unix::net::UnixListener::bind(scratch.report()).is_ok());
    }
}
