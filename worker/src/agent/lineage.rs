//! Which processes had a spool, and the name of a worker that was given none. By the former, a coordinator tells a
//! restarted worker from another one of the same name. A copy of a spool is recognised as soon as both have been
//! started, since each adds itself to its own list.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use terms::WorkerName;

/// Processes that are remembered: as many starts may fail before one connects.
const PROCESSES_MAX: usize = 16;

/// Longest list that is read; an identity has 36 characters.
const FILE_BYTES_MAX: u64 = 4_096;

/// The list within the spool's folder.
const PROCESSES: &str = "processes";

/// The file of the name, within its folder.
const NAME: &str = "name";

/// Adds this process to those that had the spool in `folder`, whose lock it holds; returns those before it, newest
/// first.
///
/// # Errors
/// The file system refuses.
pub(super) fn succeed(folder: &Path, instance: &str) -> io::Result<Vec<String>> {
    let path = folder.join(PROCESSES);
    let before: Vec<String> =
        read(&path)?.lines().map(str::to_owned).filter(|line| !line.is_empty()).take(PROCESSES_MAX).collect();
    let mut lines = format!("{instance}\n");
    before.iter().take(PROCESSES_MAX - 1).for_each(|line| lines.extend([line, "\n"]));
    write(folder, PROCESSES, &lines)?;
    Ok(before)
}

/// The name kept in `folder`, or else a new one made of the machine's and a few random characters, which is then kept:
/// machines made from one image often have one name.
///
/// # Errors
/// The file system refuses.
pub(super) fn kept_name(folder: &Path, host: &str) -> io::Result<WorkerName> {
    let kept = read(&folder.join(NAME))?;
    match kept.trim().parse() {
        Ok(name) => Ok(name),
        Err(_) => new_name(folder, host),
    }
}

/// Replaces the name kept in `folder` by another one.
///
/// # Errors
/// The file system refuses.
pub(super) fn new_name(folder: &Path, host: &str) -> io::Result<WorkerName> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let (suffix, _) = random.split_at(SUFFIX_CHARACTERS);
    let name = name_of(host, suffix);
    keep_name(folder, &name)?;
    Ok(name)
}

/// Keeps a name in `folder`.
///
/// # Errors
/// The file system refuses.
pub(super) fn keep_name(folder: &Path, name: &WorkerName) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    write(folder, NAME, &format!("{name}\n"))
}

/// Random characters of a name; if two machines draw the same, the one that is refused draws again.
const SUFFIX_CHARACTERS: usize = 4;

/// Longest part of a machine's name in a worker's, which has at most 100 characters.
const HOST_CHARACTERS_MAX: usize = 90;

/// A worker's name made from a machine's, whatever that contains.
fn name_of(host: &str, suffix: &str) -> WorkerName {
    let name = format!("{}-{suffix}", plain(host));
    name.parse().expect("letters, digits, points, lines and dashes, less than 100 of them, name a worker")
}

/// The characters of a machine's name that a worker's may have.
pub(super) fn plain(host: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let plain: String = host.chars().map(keep).take(HOST_CHARACTERS_MAX).collect();
    if plain.is_empty() { "worker".to_owned() } else { plain }
}

/// A small file's text; empty if there is none.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => drop(file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces a file by a text, completely or not at all.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}.{}", std::process::id()));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_knows_those_that_had_its_spool_before() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(succeed(folder.path(), "one").unwrap(), Vec::<String>::new());
        assert_eq!(succeed(folder.path(), "two").unwrap(), ["one"]);
        assert_eq!(succeed(folder.path(), "three").unwrap(), ["two", "one"]);
        (0..100).for_each(|number| drop(succeed(folder.path(), &number.to_string()).unwrap()));
        let before = succeed(folder.path(), "last").unwrap();
        assert_eq!((before.len(), before[0].as_str(), before[15].as_str()), (16, "99", "84"));
    }

    #[test]
    fn two_copies_of_a_spool_do_not_follow_each_other() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        succeed(one.path(), "before").unwrap();
        fs::copy(one.path().join(PROCESSES), other.path().join(PROCESSES)).unwrap();
        succeed(one.path(), "original").unwrap();
        succeed(other.path(), "copy").unwrap();
        assert!(!succeed(one.path(), "original, again").unwrap().contains(&"copy".to_owned()));
        assert!(!succeed(other.path(), "copy, again").unwrap().contains(&"original".to_owned()));
    }

    #[test]
    fn a_name_is_made_once_and_differs_where_it_was_not_kept() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = kept_name(one.path(), "gpu").unwrap();
        assert!(name.as_str().starts_with("gpu-"), "{name}");
        assert_eq!(kept_name(one.path(), "renamed").unwrap(), name);
        // Of 65,536 suffixes, one that differs comes soon.
        assert!((0..100).any(|_| new_name(other.path(), "gpu").unwrap() != name));
    }

    #[test]
    fn any_host_name_makes_a_worker_name() {
        let long = "x".repeat(300);
        for (host, name) in
            [("gpu-7.rack", "gpu-7.rack-ab"), ("my machine", "my-machine-ab"), ("", "worker-ab")]
        {
            assert_eq!(name_of(host, "ab").as_str(), name);
        }
        assert_eq!(name_of(&long, "ab").as_str().len(), 93);
    }
}
