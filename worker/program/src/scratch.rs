//! The temporary folder of one job: its parameters, its channel, its checkpoints and what comes out, and where it has no folder of its
//! own, its working folder.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use held_folder::HeldFolder;

use crate::plain;

/// Longest path of a socket, in bytes; the system's bound is 108 with the end.
const SOCKET_BYTES_MAX: usize = 100;

/// The helper for Python programs, found by `import sweep` unless they bring their own.
const HELPER: &str = include_str!("../../python/sweep.py");

/// How the names of these folders begin.
const PREFIX: &str = "sweep-program-";

/// A folder with a short path, for sockets.
const SHORT: &str = "/tmp";

/// How files of weights end.
const WEIGHTS: &str = "safetensors";

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

    /// Hands the one file of weights in the output folder over to `wanted`, where there is one. What is not kept is said.
    pub(crate) fn hand_over(&self, wanted: Option<&Path>) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.output())? {
            files.push(entry?.path());
        }
        files.sort();
        let is_weights =
            |path: &&PathBuf| path.extension().is_some_and(|ending| ending == WEIGHTS) && is_file(path);
        let weights: Vec<&PathBuf> = files.iter().filter(is_weights).collect();
        let taken = match (wanted, weights.as_slice()) {
            (Some(wanted), [one]) => {
                bring(one, wanted)?;
                Some((*one).clone())
            }
            _ => None,
        };
        let names = files.iter().filter(|file| Some(*file) != taken.as_ref());
        let names: Vec<_> =
            names.filter_map(|file| file.file_name()).map(|name| name.to_string_lossy()).collect();
        if !names.is_empty() {
            terminal::say!(
                "of what is in SWEEP_OUTPUT_DIR, this is not kept: {}; one .safetensors file is, where the sweep keeps artifacts",
                names.join(", ")
            );
        }
        Ok(())
    }
}

/// A link could lead to any file of this machine.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Moves a file, also to another disk.
fn bring(from: &Path, to: &Path) -> io::Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    let mut source = plain::open(from)?;
    io::copy(&mut source, &mut File::create(to)?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_file_of_weights_is_handed_over() {
        for (files, taken) in [
            (vec!["a.safetensors", "notes.txt"], true),
            (vec!["a.safetensors", "b.safetensors"], false),
            (vec!["a.pt"], false),
            (vec![], false),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let scratch = Scratch::create(parent.path(), "{}").unwrap();
            for file in &files {
                fs::write(scratch.output().join(file), "weights").unwrap();
            }
            let wanted = parent.path().join("wanted.safetensors");
            scratch.hand_over(Some(&wanted)).unwrap();
            assert_eq!(wanted.exists(), taken, "{files:?}");
        }
    }

    #[test]
    fn a_link_is_not_handed_over() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(parent.path(), "{}").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", scratch.output().join("a.safetensors")).unwrap();
        let wanted = parent.path().join("wanted.safetensors");
        scratch.hand_over(Some(&wanted)).unwrap();
        assert!(!wanted.exists());
    }

    #[test]
    fn a_long_path_still_has_a_socket() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let scratch = Scratch::create(&long, "{}").unwrap();
        assert!(std::os::unix::net::UnixListener::bind(scratch.report()).is_ok());
    }
}
