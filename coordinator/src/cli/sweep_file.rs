//! A sweep file on the command line, with its overrides.

use std::{
    io::{Read, stdin},
    path::{Path, PathBuf},
};

use domain::specification::FILE_BYTES_MAX;
use proto::v1;
use terms::manifest::{MANIFEST_BYTES_MAX, Manifest};

use super::{failure::Failure, settings::text};
use crate::api::plain;

/// A sweep file and its overrides.
#[derive(Debug, clap::Args)]
pub(super) struct SweepFile {
    /// Sweep file (YAML), or - for standard input
    file: PathBuf,
    /// Folder, .zip or packed .safetensors to train on, instead of the file's `dataset.path`
    #[arg(long, value_name = "PATH")]
    pub(super) dataset: Option<PathBuf>,
    /// Change one key of the file, such as parameters.epochs.value=2 or epochs=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What a model of a trainer says of itself, as `sweep-worker describe` prints it (JSON), where the file names one that is not
    /// built in; may be repeated
    #[arg(long, value_name = "FILE")]
    manifest: Vec<PathBuf>,
}

impl SweepFile {
    /// The file as it is.
    pub(super) fn at(file: PathBuf) -> Self {
        Self { file, dataset: None, overrides: Vec::new(), manifest: Vec::new() }
    }

    /// The folder that relative paths of the file start from: its own, or the working directory for standard input.
    pub(super) fn folder(&self) -> &Path {
        if self.file == Path::new("-") { Path::new("") } else { self.file.parent().unwrap_or(Path::new("")) }
    }

    /// The file's text and its overrides.
    pub(super) fn source(&self) -> Result<v1::SweepSource, Failure> {
        let dataset_path = match &self.dataset {
            None => String::new(),
            Some(path) => match path.to_str() {
                Some(path) if !path.is_empty() => path.to_owned(),
                _ => return Err(Failure::usage("--dataset must be a path in UTF-8")),
            },
        };
        plain("--dataset", &dataset_path).map_err(|error| Failure::usage(error.to_string()))?;
        let (text, file_name) = read(&self.file)?;
        let overrides = self.overrides.clone();
        let manifests =
            self.manifest.iter().map(|path| manifests(path)).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(v1::SweepSource { text, file_name, overrides, dataset_path, snapshot: String::new(), manifests })
    }
}

/// The manifests of a file, each as JSON.
pub(super) fn manifests(path: &Path) -> Result<Vec<String>, Failure> {
    let refused = |reason: &dyn std::fmt::Display| {
        Failure::operation(format!("--manifest {}: {reason}", path.display()))
    };
    let mut text = String::new();
    let bound = MANIFEST_BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(bound).read_to_string(&mut text));
    read.map_err(|error| refused(&error))?;
    let read = Manifest::all_from_json(&text).map_err(|error| refused(&error))?;
    if read.is_empty() {
        return Err(refused(&"it holds no manifest; `sweep-worker describe --trainer COMMAND` prints one"));
    }
    Ok(read.iter().map(Manifest::to_json).collect())
}

/// The text of `path` and its name for messages; never more than a sweep file may have.
fn read(path: &Path) -> Result<(String, String), Failure> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let unreadable =
        |reason: &dyn std::fmt::Display| Failure::operation(format!("cannot read {name}: {reason}"));
    let mut bytes = Vec::new();
    let bound = FILE_BYTES_MAX as u64 + 1;
    let read = if path == Path::new("-") {
        stdin().lock().take(bound).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes))
    };
    read.map_err(|error| unreadable(&error))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(unreadable(&format!("a sweep file has at most {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok((text(bytes).map_err(|reason| unreadable(&reason))?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_sweep_file_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.yaml");
        std::fs::write(&path, vec![b'#'; 10 << 20]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("at most 1 MiB"));
        std::fs::write(&path, b"name: a\nmodel: \xff").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2 is not UTF-8"));
        std::fs::write(&path, b"\xff\xfen\0a\0").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is UTF-16; save it as UTF-8"));
        std::fs::write(&path, "\u{feff}name: a").unwrap();
        assert_eq!(read(&path).unwrap().0, "name: a");
        assert!(read(folder.path()).unwrap_err().to_string().contains("cannot read"));
        assert!(read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
