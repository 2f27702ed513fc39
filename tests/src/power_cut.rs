//! Power cuts: what a program wrote and synced, recorded call by call, and what of it a disk may hold after a cut.
//!
//! A disk keeps what was synced before the cut. Of later writes, each sector may hold any of its versions, in any
//! combination; a file may have any of its lengths; names in a folder change in their order, and a name that was not
//! synced with its folder may be missing. Sectors are written whole, as SQLite and file systems assume.

mod disk;
mod trace;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use self::disk::Disk;
use crate::{Random, process::skipped};

/// Longest string that is recorded whole: above any write of a page or a spool.
const BYTES_A_CALL_MAX: usize = 16 << 20;

/// The environment variable that makes a recorded program work in this folder.
pub const FOLDER: &str = "POWER_CUT_FOLDER";

/// What a program did to the files of one folder.
#[derive(Debug, Clone)]
pub struct Recording {
    calls: Vec<Call>,
}

/// One system call on a file of the folder; names are those within it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    /// A file is opened; it is created if missing, and truncated if requested.
    Open {
        name: String,
        empties: bool,
    },
    Write {
        name: String,
        at: Option<u64>,
        data: Vec<u8>,
    },
    Resize {
        name: String,
        length: u64,
    },
    Sync {
        name: String,
    },
    SyncFolder,
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    /// The program reported this mark.
    Mark(u64),
}

/// A file system after a cut.
#[derive(Debug)]
pub struct Cut {
    /// The last mark before the cut; 0 if there was none.
    pub mark: u64,
    /// Names and contents.
    files: Vec<(String, Vec<u8>)>,
}

impl Cut {
    /// Writes the files into a folder.
    ///
    /// # Panics
    /// The folder does not accept them.
    pub fn restore(&self, folder: &Path) {
        for (name, content) in &self.files {
            std::fs::write(folder.join(name), content).expect("the test's own folder");
        }
    }
}

/// Reports the progress of a recorded program.
///
/// # Panics
/// Standard output is closed.
pub fn mark(number: u64) {
    use std::io::Write;
    // Not by a macro, whose output a test captures; in one call.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nmark {number}\n").as_bytes()).expect("standard output is open");
    out.flush().expect("standard output is open");
}

impl Recording {
    /// Runs the ignored test `name` of this very program, which works in the folder that [`FOLDER`] names and reports
    /// its progress by [`mark`]. None, with a printed reason, if calls cannot be recorded.
    ///
    /// # Panics
    /// The test fails.
    pub fn of_test(name: &str) -> Option<Self> {
        let can = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
        if !can.is_ok_and(|status| status.success()) {
            skipped("strace is not there or may not be used, so power cuts are not tested");
            return None;
        }
        let place = tempfile::tempdir().expect("a temporary folder");
        let (folder, trace) = (place.path().join("disk"), place.path().join("trace"));
        std::fs::create_dir(&folder).expect("the test's own folder");
        let program = std::env::current_exe().expect("a program knows its own path");
        let ran = Command::new("strace")
            .args(["-f", "-y", "-xx", "-s", &BYTES_A_CALL_MAX.to_string(), "-e", trace::CALLS, "-o"])
            .arg(&trace)
            .arg(program)
            .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, &folder)
            .output()
            .expect("strace can be started");
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
        let text = std::fs::read_to_string(&trace).expect("strace writes its trace");
        let calls = trace::parse(&text, &folder);
        assert!(calls.iter().any(|call| matches!(call, Call::Mark(_))), "{name} did nothing");
        Some(Self { calls })
    }

    /// The folder in which a recorded test must work; none if it is not recorded.
    pub fn folder() -> Option<PathBuf> {
        std::env::var_os(FOLDER).map(PathBuf::from)
    }

    /// The recording as if the program had not synced anything.
    #[must_use]
    pub fn without_syncs(&self) -> Self {
        let is_kept = |call: &&Call| !matches!(call, Call::Sync { .. } | Call::SyncFolder);
        Self { calls: self.calls.iter().filter(is_kept).cloned().collect() }
    }

    /// The recording as if SQLite had synced its log only before it writes it into the database, as with
    /// `synchronous=NORMAL`.
    #[must_use]
    pub fn with_syncs_of_checkpoints(&self) -> Self {
        let is_of_checkpoint = |index: usize| {
            let next = self.calls[index + 1..].iter().find(|call| !matches!(call, Call::Mark(_)));
            matches!(next, Some(Call::Write { name, .. } | Call::Sync { name }) if !name.ends_with("-wal"))
        };
        let is_kept = |(index, call): (usize, &Call)| match call {
            Call::Sync { name } => !name.ends_with("-wal") || is_of_checkpoint(index),
            _ => true,
        };
        let kept = self.calls.iter().enumerate().filter(|(index, call)| is_kept((*index, call)));
        Self { calls: kept.map(|(_, call)| call.clone()).collect() }
    }

    /// How many calls there are, for choosing a cut.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// `count` cuts at random, in the order of the recording.
    pub fn cuts(&self, count: u64, seed: u64) -> impl Iterator<Item = Cut> {
        let mut random = Random(seed);
        let mut places: Vec<u64> = (0..count).map(|_| random.below(self.calls.len() as u64 + 1)).collect();
        places.sort_unstable();
        let (mut disk, mut calls, mut done, mut mark) = (Disk::default(), self.calls.iter(), 0, 0);
        places.into_iter().map(move |place| {
            while done < place {
                match calls.next() {
                    Some(Call::Mark(number)) => mark = *number,
                    Some(call) => disk.apply(call),
                    None => break,
                }
                done += 1;
            }
            Cut { mark, files: disk.cut(&mut random) }
        })
    }
}
