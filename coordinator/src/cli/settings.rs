//! The settings file: what a user would otherwise repeat on every command line.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::failure::Failure;

/// Largest settings file, in bytes; it has four keys.
const SETTINGS_BYTES_MAX: u64 = 64 << 10;

/// What a settings file may say.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Address of the coordinator.
    pub(super) coordinator: Option<String>,
    /// File that holds the bearer token.
    pub(super) token_file: Option<PathBuf>,
    /// Certificates to trust.
    pub(super) tls_ca: Option<PathBuf>,
    /// Form of output.
    pub(super) format: Option<String>,
}

impl Settings {
    /// From the file that `SWEEP_CONFIG` names, else from the user's, where there is one.
    pub(super) fn load() -> Result<Self, Failure> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("SWEEP_CONFIG") {
            let path = PathBuf::from(path);
            return Self::read(&path)?.ok_or_else(|| {
                Failure::usage(format!("{} does not exist; SWEEP_CONFIG names it", path.display()))
            });
        }
        match default_path(variable) {
            Some(path) => Ok(Self::read(&path)?.unwrap_or_default()),
            None => Ok(Self::default()),
        }
    }

    /// What the file says; none where there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let unreadable = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if length > SETTINGS_BYTES_MAX {
            return Err(unreadable(format!(
                "{length} bytes are more than settings have; is it another file?"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        if text.trim().is_empty() {
            return Ok(Some(Self::default()));
        }
        serde_yaml::from_str(&text).map(Some).map_err(|error| unreadable(error.to_string()))
    }
}

/// `$XDG_CONFIG_HOME/sweep/config.yaml`, else below `~/.config`.
fn default_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("sweep/config.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settings_file_is_read_and_its_mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        assert!(Settings::read(&path).unwrap().is_none());
        std::fs::write(&path, "coordinator: http://cluster:7070\n").unwrap();
        assert_eq!(
            Settings::read(&path).unwrap().unwrap().coordinator.as_deref(),
            Some("http://cluster:7070")
        );
        std::fs::write(&path, "coordinater: http://cluster:7070\n").unwrap();
        let error = Settings::read(&path).unwrap_err().to_string();
        assert!(error.contains("config.yaml") && error.contains("coordinater"), "{error}");
    }

    #[test]
    fn relative_folders_of_the_environment_do_not_count() {
        let variable = |name: &str| Some(OsString::from(if name == "HOME" { "/home/a" } else { "relative" }));
        assert_eq!(default_path(variable), Some("/home/a/.config/sweep/config.yaml".into()));
        assert_eq!(default_path(|_| None), None);
    }
}
