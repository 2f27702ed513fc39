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

/// The keys of a settings file.
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
        if let Some(path) = env::var_os("SWEEP_CONFIG") {
            if path.is_empty() {
                return Err(Failure::usage(
                    "the environment variable SWEEP_CONFIG is empty; give it a value, or unset it",
                ));
            }
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
                "it has {length} bytes, too many for settings; is it another file?"
            )));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = text(bytes).map_err(unreadable)?;
        if text.trim().is_empty() {
            return Ok(Some(Self::default()));
        }
        let mut settings: Self =
            serde_yaml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        // A relative path is relative to the file, not to the working directory.
        let folder = path.parent().unwrap_or(Path::new(""));
        for named in [&mut settings.token_file, &mut settings.tls_ca].into_iter().flatten() {
            *named = folder.join(&named);
        }
        Ok(Some(settings))
    }
}

/// The text of a file that people write: UTF-8, with or without the byte order mark that editors on Windows add.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("the file is UTF-16; save it as UTF-8".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8; save the file as UTF-8")
    })?;
    if text.contains('\0') {
        return Err("the file has zero bytes; if it is UTF-16, save it as UTF-8".to_owned());
    }
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
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
    fn a_relative_path_in_a_settings_file_starts_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "\u{feff}token_file: secrets/token\ntls_ca: /etc/ca.pem\n").unwrap();
        let settings = Settings::read(&path).unwrap().unwrap();
        assert_eq!(settings.token_file, Some(folder.path().join("secrets/token")));
        assert_eq!(settings.tls_ca, Some("/etc/ca.pem".into()));
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_and_utf_16_is_named() {
        assert_eq!(text("\u{feff}a: \u{feff}".into()).unwrap(), "a: \u{feff}");
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        assert!(text(wide("\u{feff}name: a")).unwrap_err().contains("UTF-16"));
        assert!(text(wide("name: a")).unwrap_err().contains("UTF-16"));
        assert!(text("\u{feff}name: a".encode_utf16().flat_map(u16::to_be_bytes).collect()).is_err());
        assert!(text(b"name: a\nmodel: \xff".to_vec()).unwrap_err().contains("line 2 is not UTF-8"));
    }

    #[test]
    fn relative_folders_of_the_environment_do_not_count() {
        let variable = |name: &str| Some(OsString::from(if name == "HOME" { "/home/a" } else { "relative" }));
        assert_eq!(default_path(variable), Some("/home/a/.config/sweep/config.yaml".into()));
        assert_eq!(default_path(|_| None), None);
    }
}
