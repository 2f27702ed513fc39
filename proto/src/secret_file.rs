//! Whether a file with a token is one that others can read: who warns of it, and when, is the callers' matter.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::{StatVfsMountFlags, statvfs},
    process::geteuid,
};

const OF_OTHERS: u32 = 0o007;
const OF_GROUP: u32 = 0o070;

/// What to warn of where others than this user can read or write the file: everyone, or, of a file that is this user's own, its group, as
/// ssh has it of keys. A file on a mount that is read-only is as whoever mounted it has made it, and no one is warned: so are the secrets of
/// Kubernetes, Docker and systemd, whose modes say nothing of who gets to them. Neither is anyone of what is no file, such as a pipe.
pub fn exposed(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mode = metadata.permissions().mode() & 0o777;
    let is_own = metadata.uid() == geteuid().as_raw();
    if !is_open(mode, is_own) || is_mounted_read_only(path) {
        return None;
    }
    let path = path.display();
    Some(format!(
        "others can read or change the token in {path}, which has the mode {mode:04o}; keep it to yourself with `chmod 600 {path}`"
    ))
}

fn is_open(mode: u32, is_own: bool) -> bool {
    mode & OF_OTHERS != 0 || (is_own && mode & OF_GROUP != 0)
}

fn is_mounted_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_others_can_read_is_warned_of_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "secret").unwrap();
        for (mode, is_open) in
            [(0o600, false), (0o400, false), (0o644, true), (0o640, true), (0o620, true), (0o604, true)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = exposed(&path);
            assert_eq!(told.is_some(), is_open, "{mode:o}: {told:?}");
            let told = told.unwrap_or_default();
            assert!(!is_open || told.contains(&format!("{mode:04o}; keep it")), "{told}");
        }
    }

    #[test]
    fn the_group_of_a_file_that_is_someone_elses_may_read_it() {
        assert!(is_open(0o640, true) && !is_open(0o640, false));
        assert!(is_open(0o604, true) && is_open(0o604, false));
    }

    #[test]
    fn no_one_is_warned_of_what_is_no_file() {
        for path in ["/dev/null", "/", "/nowhere"] {
            assert_eq!(exposed(Path::new(path)), None, "{path}");
        }
    }
}
