//! The files that a job of a program leaves, as one file that any `tar` reads: `files.json`, which lists them with their hashes and says
//! what was left out, and then each of them below `files/`. The list comes first, so that whoever has the beginning knows where each
//! file lies. The same files give the same bytes.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::snapshot::{ContentHash, PathProblem, path};

/// Most files of a job: predictions, figures, weights of parts. More belong into an archive of the program's own.
pub const OUTPUT_FILES_MAX: usize = 1_000;
/// Longest archive, in bytes: what a coordinator takes of a job.
pub const OUTPUT_BYTES_MAX: u64 = 2 << 30;
/// Longest list, in bytes: a thousand of the longest paths, each character escaped, have less.
pub const OUTPUT_INDEX_BYTES_MAX: u64 = 8 << 20;
/// Most reasons for which files are left out; there are fewer.
const REASONS_MAX: usize = 100;

/// Bytes of a block, by which the format counts.
pub const BLOCK: usize = 512;
/// Two empty blocks end an archive.
const END: u64 = 2 * BLOCK as u64;
/// The name of the list.
const INDEX: &str = "files.json";
/// The folder of the files.
const FOLDER: &str = "files/";
/// Bytes of a name that fit into a header.
const NAME_BYTES: usize = 100;
/// The name of the entry before one whose name does not.
const LONG_NAME: &str = "././@LongLink";

/// What a job left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputIndex {
    /// In the order in which they lie in the archive.
    pub files: Vec<OutputFile>,
    /// What was there besides.
    #[serde(default)]
    pub left_out: Vec<OutputsLeftOut>,
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its path below the program's folder: names separated by `/`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: ContentHash,
    /// Whether it is executable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// Files that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputsLeftOut {
    /// Why, for people.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// Some of them.
    #[serde(default)]
    pub examples: Vec<String>,
}

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Its list is no list.
    #[error("its list of files cannot be read ({0})")]
    Index(String),
    /// It has more than it may have.
    #[error("it lists more than {OUTPUT_FILES_MAX} files, or more bytes than {OUTPUT_BYTES_MAX}")]
    TooMuch,
    /// A path may not be in it.
    #[error("it lists {path:?}, which cannot be the path of a file: {problem}")]
    Path {
        /// Which.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Two files of one path, of which one would overwrite the other.
    #[error("it lists {0:?} twice")]
    Twice(String),
    /// Its files are not where the list says.
    #[error("it has {found} bytes, and its list says {expected}")]
    Length {
        /// Of the archive.
        found: u64,
        /// By the list.
        expected: u64,
    },
}

/// What is wrong with the path of a file that a job leaves.
///
/// # Errors
/// It cannot be kept.
pub fn check_path(path: &str) -> Result<(), PathProblem> {
    path::check(path)
}

/// The length of the list of an archive that begins with this block; none where it is no such archive.
pub fn index_length(block: &[u8]) -> Option<u64> {
    let name = block.get(..NAME_BYTES)?;
    let is_index = name.starts_with(INDEX.as_bytes()) && name[INDEX.len()..].iter().all(|byte| *byte == 0);
    let digits = std::str::from_utf8(block.get(124..135)?).ok()?;
    let length = u64::from_str_radix(digits, 8).ok()?;
    let is_it = is_index && block.get(257..262)? == b"ustar" && length <= OUTPUT_INDEX_BYTES_MAX;
    is_it.then_some(length)
}

impl OutputIndex {
    /// Reads and checks the list of an archive.
    ///
    /// # Errors
    /// It is none, or lists what cannot be.
    pub fn read(text: &[u8]) -> Result<Self, OutputError> {
        let index: Self =
            serde_json::from_slice(text).map_err(|error| OutputError::Index(error.to_string()))?;
        let bytes = index.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
        if index.files.len() > OUTPUT_FILES_MAX
            || index.left_out.len() > REASONS_MAX
            || bytes.is_none_or(|bytes| bytes > OUTPUT_BYTES_MAX)
        {
            return Err(OutputError::TooMuch);
        }
        let mut paths = HashSet::new();
        for file in &index.files {
            path::check(&file.path)
                .map_err(|problem| OutputError::Path { path: file.path.clone(), problem })?;
            if !paths.insert(file.path.as_str()) {
                return Err(OutputError::Twice(file.path.clone()));
            }
        }
        Ok(index)
    }

    /// The beginning of its archive, up to the header of the first file.
    pub fn head(&self) -> Vec<u8> {
        let text = serde_json::to_vec(self).expect("a list of texts and numbers is JSON");
        let mut head = header(INDEX, text.len() as u64, false);
        head.extend(&text);
        head.resize(padded(head.len() as u64) as usize, 0);
        head
    }

    /// Where the content of each file begins in its archive.
    pub fn places(&self) -> Vec<u64> {
        let mut at = self.head().len() as u64;
        let place = |file: &OutputFile| {
            let begin = at + file.header().len() as u64;
            at = begin + padded(file.bytes);
            begin
        };
        self.files.iter().map(place).collect()
    }

    /// How long its archive is.
    pub fn archive_bytes(&self) -> u64 {
        let files = self.files.iter().map(|file| file.header().len() as u64 + padded(file.bytes));
        self.head().len() as u64 + files.sum::<u64>() + END
    }

    /// Checks that an archive of this length may have this list.
    ///
    /// # Errors
    /// It is shorter or longer.
    pub fn check_length(&self, found: u64) -> Result<(), OutputError> {
        let expected = self.archive_bytes();
        if found == expected { Ok(()) } else { Err(OutputError::Length { found, expected }) }
    }
}

impl OutputFile {
    /// What comes before its content.
    pub fn header(&self) -> Vec<u8> {
        header(&format!("{FOLDER}{}", self.path), self.bytes, self.executable)
    }

    /// The zeros that come after its content.
    pub fn padding(&self) -> Vec<u8> {
        vec![0; (padded(self.bytes) - self.bytes) as usize]
    }
}

/// What comes after the last file.
pub fn end() -> Vec<u8> {
    vec![0; END as usize]
}

/// Up to the end of the last block.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK as u64)
}

/// The header of an entry, as GNU tar writes it. One whose name does not fit comes after an entry with the name.
fn header(name: &str, bytes: u64, executable: bool) -> Vec<u8> {
    let mode = if executable { 0o755 } else { 0o644 };
    if name.len() <= NAME_BYTES {
        return block(name.as_bytes(), bytes, mode, b'0');
    }
    let mut header = block(LONG_NAME.as_bytes(), name.len() as u64 + 1, 0o644, b'L');
    header.extend(name.as_bytes());
    header.resize(padded(header.len() as u64 + 1) as usize, 0);
    header.extend(block(&name.as_bytes()[..NAME_BYTES], bytes, mode, b'0'));
    header
}

/// One block: names, numbers in octal digits, and a sum over all of it. No time and no user, as they differ from attempt to attempt.
fn block(name: &[u8], bytes: u64, mode: u32, kind: u8) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, field: &[u8]| block[at..at + field.len()].copy_from_slice(field);
    put(0, name);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{bytes:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar  \0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, content: &[u8]) -> OutputFile {
        OutputFile {
            path: path.to_owned(),
            bytes: content.len() as u64,
            blake3: ContentHash::of(content),
            executable: path == "run",
        }
    }

    /// An archive of these files.
    fn archive(files: &[(&str, &[u8])]) -> (OutputIndex, Vec<u8>) {
        let files_of = files.iter().map(|(path, content)| file(path, content)).collect();
        let index = OutputIndex { files: files_of, left_out: Vec::new() };
        let mut archive = index.head();
        for (file, (_, content)) in index.files.iter().zip(files) {
            archive.extend([&file.header(), *content, &file.padding()].concat());
        }
        archive.extend(end());
        (index, archive)
    }

    #[test]
    fn tar_reads_it_and_each_file_lies_where_the_list_says() {
        let long = format!("{}/a", ["folder"; 30].join("/"));
        let files = [("a.txt", &b"one"[..]), ("b/empty", b""), (&*long, &[7; 3000]), ("run", b"#!/bin/sh")];
        let (index, archive) = archive(&files);
        assert_eq!(index.archive_bytes(), archive.len() as u64);
        for (place, (_, content)) in index.places().into_iter().zip(files) {
            assert_eq!(&archive[place as usize..][..content.len()], content);
        }
        let length = index_length(&archive).unwrap() as usize;
        assert_eq!(OutputIndex::read(&archive[BLOCK..BLOCK + length]), Ok(index));
        let folder = std::env::temp_dir().join(format!("sweep-outputs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("all.tar"), archive).unwrap();
        let ran = Command::new("tar").args(["-xf", "all.tar"]).current_dir(&folder).output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        for (path, content) in files {
            assert_eq!(fs::read(folder.join("files").join(path)).unwrap(), content, "{path}");
        }
        assert!(folder.join("files.json").is_file());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_leads_out_of_the_folder_or_is_too_much_is_refused() {
        let read = |paths: &[&str]| {
            let files = paths.iter().map(|path| file(path, b"x")).collect();
            OutputIndex::read(&serde_json::to_vec(&OutputIndex { files, left_out: Vec::new() }).unwrap())
        };
        assert!(read(&["a/b"]).is_ok());
        for path in ["../a", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a\nb"] {
            assert!(matches!(read(&[path]), Err(OutputError::Path { .. })), "{path:?}");
        }
        assert_eq!(read(&["a", "b", "a"]), Err(OutputError::Twice("a".to_owned())));
        assert_eq!(read(&vec!["a"; OUTPUT_FILES_MAX + 1]), Err(OutputError::TooMuch));
        let huge = OutputFile { bytes: u64::MAX, ..file("a", b"") };
        let huge = OutputIndex { files: vec![huge.clone(), huge], left_out: Vec::new() };
        assert_eq!(OutputIndex::read(&serde_json::to_vec(&huge).unwrap()), Err(OutputError::TooMuch));
        assert!(matches!(OutputIndex::read(b"[]"), Err(OutputError::Index(_))));
    }

    #[test]
    fn weights_and_other_files_are_no_archive() {
        for bytes in [&b""[..], b"files.json", &[0; 600], b"\x30\0\0\0\0\0\0\0{}", &[b'7'; 600]] {
            assert_eq!(index_length(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
            if index_length(&bytes).is_some() {
                let _ = OutputIndex::read(&bytes[BLOCK..]);
            }
            let _ = OutputIndex::read(&bytes);
        }

        #[test]
        fn no_list_that_is_accepted_panics(
            lengths in proptest::collection::vec(prop_oneof![0..5_u64, any::<u64>()], 0..4), left_out in any::<u64>(),
        ) {
            let of = |(index, bytes): (usize, &u64)| OutputFile { bytes: *bytes, ..file(&format!("{index}"), b"") };
            let left_out = OutputsLeftOut { reason: "x".to_owned(), count: left_out, examples: Vec::new() };
            let files = lengths.iter().enumerate().map(of).collect();
            let text = serde_json::to_vec(&OutputIndex { files, left_out: vec![left_out.clone(), left_out] }).unwrap();
            if let Ok(index) = OutputIndex::read(&text) {
                let _ = (index.places(), index.check_length(0), index.archive_bytes());
            }
        }
    }
}
