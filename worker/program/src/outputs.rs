//! What a program left in `SWEEP_OUTPUT_DIR`, handed over as one file: weights as they are, where there is nothing else, or the archive of
//! [`terms::outputs`]. No link is followed, nothing but files is read, and what is left out is counted and said.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use terms::outputs::{
    OUTPUT_BYTES_MAX, OUTPUT_FILES_MAX, OutputFile, OutputIndex, OutputsLeftOut, check_path, end,
};

use crate::plain;

/// How files of weights end.
const WEIGHTS: &str = "safetensors";

/// Most files and folders that are looked at.
const LOOKED_AT_MAX: usize = 100_000;

/// Examples of what is left out for a reason.
const EXAMPLES_MAX: usize = 3;

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Hands over what is in `folder` as the file `wanted`; where none is wanted, nothing.
///
/// # Errors
/// It cannot be read or written; then there is no file.
pub(crate) fn hand_over(folder: &Path, wanted: Option<&Path>) -> io::Result<()> {
    let mut found = Found::default();
    found.look_into(folder, "")?;
    let Some(wanted) = wanted else {
        let files = found.files.len() as u64 + found.left_out.values().map(|(count, _)| count).sum::<u64>();
        if files > 0 {
            terminal::say!(
                "nothing of the {} in SWEEP_OUTPUT_DIR is kept: the sweep keeps no artifacts",
                terms::count(files, "file")
            );
        }
        return Ok(());
    };
    let handed_over = match found.only_weights() {
        Some(weights) => bring(weights, wanted),
        None => found.pack(wanted),
    };
    if handed_over.is_err() {
        // Half of it is of no use, and takes up a disk that may be full.
        let _ = fs::remove_file(wanted);
    }
    handed_over
}

/// What is in a folder, by path.
#[derive(Debug, Default)]
struct Found {
    files: BTreeMap<String, PathBuf>,
    /// Why, how many and some of them.
    left_out: BTreeMap<String, (u64, Vec<String>)>,
    looked_at: usize,
}

impl Found {
    /// `prefix`: the folder's own path, with a `/` at its end.
    fn look_into(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            self.looked_at += 1;
            if self.looked_at > LOOKED_AT_MAX {
                self.leave_out(&format!("there are more than {LOOKED_AT_MAX} files and folders"), prefix);
                return Ok(());
            }
            let name = entry.file_name();
            let path = format!("{prefix}{}", name.to_string_lossy());
            let found = entry.metadata()?;
            if name.to_str().is_none() {
                self.leave_out("the name is not UTF-8", &path);
            } else if let Err(problem) = check_path(&path) {
                self.leave_out(&format!("the path: {problem}"), &path);
            } else if found.is_dir() {
                if let Err(error) = self.look_into(&entry.path(), &format!("{path}/")) {
                    self.leave_out(&format!("the folder cannot be read: {}", error.kind()), &path);
                }
            } else if found.is_symlink() {
                self.leave_out("links are not followed", &path);
            } else if found.is_file() {
                self.files.insert(path, entry.path());
            } else {
                self.leave_out("it is neither a file nor a folder", &path);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, reason: &str, path: &str) {
        let (count, examples) = self.left_out.entry(reason.to_owned()).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(path.to_owned());
        }
    }

    /// The one file of weights, where there is nothing else.
    fn only_weights(&self) -> Option<&Path> {
        let (_, only) = self.files.iter().next().filter(|_| self.files.len() == 1)?;
        let is_weights = only.extension().is_some_and(|ending| ending == WEIGHTS);
        (is_weights && self.left_out.is_empty()).then_some(only.as_path())
    }

    /// Writes the archive, unless there is nothing to be kept.
    fn pack(mut self, wanted: &Path) -> io::Result<()> {
        let index = self.index()?;
        for OutputsLeftOut { reason, count, examples } in &index.left_out {
            let more = if *count > examples.len() as u64 { ", …" } else { "" };
            terminal::say!(
                "not kept of SWEEP_OUTPUT_DIR: {}, as {reason} ({}{more})",
                terms::count(*count, "file"),
                examples.join(", ")
            );
        }
        if index.files.is_empty() {
            return Ok(());
        }
        let mut to = BufWriter::with_capacity(PIECE_BYTES, File::create(wanted)?);
        to.write_all(&index.head())?;
        for file in &index.files {
            to.write_all(&file.header())?;
            let mut from = plain::open(&self.files[&file.path])?;
            if io::copy(&mut (&mut from).take(file.bytes), &mut to)? != file.bytes {
                return Err(io::Error::other(format!("{} changed while it was kept", file.path)));
            }
            to.write_all(&file.padding())?;
        }
        to.write_all(&end())?;
        to.flush()
    }

    /// The list of what is kept: the first files that fit, in the order of their paths.
    fn index(&mut self) -> io::Result<OutputIndex> {
        let mut index = OutputIndex::default();
        let mut bytes = 0;
        for (path, place) in self.files.clone() {
            if index.files.len() == OUTPUT_FILES_MAX {
                self.leave_out(&format!("there are more than {OUTPUT_FILES_MAX}"), &path);
                continue;
            }
            // What a process that was left over has removed meanwhile is found out below.
            let length = fs::symlink_metadata(&place).map_or(0, |found| found.len());
            if bytes + length > CONTENTS_BYTES_MAX {
                let most = OUTPUT_BYTES_MAX >> 30;
                self.leave_out(&format!("all of them would have more than {most} GiB"), &path);
                continue;
            }
            match hashed(&path, &place) {
                Ok(file) => {
                    bytes += file.bytes;
                    index.files.push(file);
                }
                Err(error) => self.leave_out(&format!("it cannot be read: {}", error.kind()), &path),
            }
        }
        let left_out = self.left_out.iter().map(|(reason, (count, examples))| OutputsLeftOut {
            reason: reason.clone(),
            count: *count,
            examples: examples.clone(),
        });
        index.left_out = left_out.collect();
        Ok(index)
    }
}

/// Most bytes of all contents, which leaves room for a thousand headers, the longest list and the ends of blocks.
const CONTENTS_BYTES_MAX: u64 = OUTPUT_BYTES_MAX - (16 << 20);

fn hashed(path: &str, place: &Path) -> io::Result<OutputFile> {
    let mut file = plain::open(place)?;
    let found = file.metadata()?;
    let mut hasher = blake3::Hasher::new();
    // Not beyond what was found, also where a program that escaped goes on writing.
    let bytes = io::copy(&mut (&mut file).take(found.len()), &mut hasher)?;
    let executable = found.mode() & 0o100 != 0;
    Ok(OutputFile { path: path.to_owned(), bytes, blake3: hasher.finalize().into(), executable })
}

/// Moves a file, also to another disk.
fn bring(from: &Path, to: &Path) -> io::Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    io::copy(&mut plain::open(from)?, &mut File::create(to)?).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use terms::outputs::{BLOCK, index_length};

    use super::*;

    /// A folder and the place where it is handed over.
    struct Handed {
        parent: tempfile::TempDir,
    }

    impl Handed {
        fn new(files: &[&str]) -> Self {
            let handed = Self { parent: tempfile::tempdir().unwrap() };
            fs::create_dir(handed.folder()).unwrap();
            for file in files {
                let path = handed.folder().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("content of {file}")).unwrap();
            }
            handed
        }

        fn folder(&self) -> PathBuf {
            self.parent.path().join("output")
        }

        fn over(&self) -> Option<Vec<u8>> {
            let wanted = self.parent.path().join("wanted");
            hand_over(&self.folder(), Some(&wanted)).unwrap();
            fs::read(wanted).ok()
        }

        fn index(&self) -> OutputIndex {
            let archive = self.over().unwrap();
            let length = index_length(&archive).unwrap() as usize;
            let index = OutputIndex::read(&archive[BLOCK..BLOCK + length]).unwrap();
            index.check_length(archive.len() as u64).unwrap();
            for (file, place) in index.files.iter().zip(index.places()) {
                let content = &archive[place as usize..][..file.bytes as usize];
                assert_eq!(content, format!("content of {}", file.path).as_bytes());
            }
            index
        }
    }

    /// How many files were left out.
    fn left_out(index: &OutputIndex) -> u64 {
        index.left_out.iter().map(|left_out| left_out.count).sum()
    }

    fn paths(index: &OutputIndex) -> Vec<&str> {
        index.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn one_file_of_weights_is_handed_over_as_it_is() {
        let handed = Handed::new(&["a.safetensors"]);
        assert_eq!(handed.over().unwrap(), b"content of a.safetensors");
        assert_eq!(Handed::new(&[]).over(), None);
    }

    #[test]
    fn several_files_and_folders_are_handed_over_together_and_always_the_same() {
        let files = ["notes.txt", "figures/b/loss.png", "figures/a.png", "a.safetensors", "model.pt"];
        let one = Handed::new(&files);
        assert_eq!(
            paths(&one.index()),
            ["a.safetensors", "figures/a.png", "figures/b/loss.png", "model.pt", "notes.txt"]
        );
        let mut others = files;
        others.reverse();
        assert_eq!(Handed::new(&others).over(), one.over());
    }

    #[test]
    fn nothing_but_files_is_handed_over_and_what_is_left_out_is_counted() {
        let handed = Handed::new(&["a.txt", "more/b.txt"]);
        let inside = |name: &str| handed.folder().join(name);
        symlink("/etc/passwd", inside("link")).unwrap();
        symlink("/etc", inside("more/folder")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(inside("pipe")).status().unwrap();
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(inside("socket")).unwrap();
        fs::write(inside("line\nbreak"), "x").unwrap();
        let index = handed.index();
        assert_eq!(paths(&index), ["a.txt", "more/b.txt"]);
        let counts: Vec<_> = index.left_out.iter().map(|one| (one.reason.as_str(), one.count)).collect();
        assert_eq!(
            counts,
            [
                ("it is neither a file nor a folder", 2),
                ("links are not followed", 2),
                ("the path: it has a control character", 1)
            ]
        );
        assert_eq!(left_out(&index), 5);
    }

    #[test]
    fn of_too_many_files_the_first_are_handed_over() {
        let files: Vec<String> = (0..OUTPUT_FILES_MAX + 2).map(|number| format!("{number:05}")).collect();
        let handed = Handed::new(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let index = handed.index();
        assert_eq!((index.files.len(), left_out(&index)), (OUTPUT_FILES_MAX, 2));
    }

    #[test]
    fn of_too_many_bytes_those_are_handed_over_that_fit() {
        let handed = Handed::new(&["a", "c"]);
        // It takes up no room.
        File::create(handed.folder().join("b")).unwrap().set_len(OUTPUT_BYTES_MAX).unwrap();
        let index = handed.index();
        assert_eq!((paths(&index), left_out(&index)), (vec!["a", "c"], 1));
    }
}
