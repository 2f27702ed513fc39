//! A file with what a job's program printed, of a bounded length: the beginning and the end of it. Each line is in the file as soon
//! as it is printed, so that the last ones survive a process that is killed.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Longest beginning, in bytes, of all attempts of a job together: what an editor opens at once, a thousand of which are a few
/// gigabytes.
const HEAD_BYTES_MAX: u64 = 4 << 20;

/// Longest end of an attempt whose output is longer, in bytes. While the program prints, the file has up to twice as much.
const TAIL_BYTES_MAX: u64 = 256 << 10;

/// The file of one attempt.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// Where the beginning ends; while it grows, where it ends at the latest.
    head_end: u64,
    length: u64,
    /// Lines between the beginning and the end.
    left_out: u64,
}

impl LogFile {
    /// The file of this job in the folder, which is made. Attempts after the first one continue it.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub(crate) fn open(folder: &Path, job: &str, attempt: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{job}.log"));
        let mut file = File::options().create(true).append(true).open(&path)?;
        let mut length = file.metadata()?.len();
        if length > 0 {
            let heading = format!("--- attempt {attempt} ---\n");
            file.write_all(heading.as_bytes())?;
            length += heading.len() as u64;
        }
        Ok(Self { path, file, head_end: HEAD_BYTES_MAX.max(length), length, left_out: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line without its end.
    ///
    /// # Errors
    /// The disk is full, say.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let line = [line.as_bytes(), b"\n"].concat();
        let end = self.length + line.len() as u64;
        if self.length <= self.head_end && end > self.head_end {
            self.head_end = self.length;
        }
        self.file.write_all(&line)?;
        self.length = end;
        self.shorten(2 * TAIL_BYTES_MAX)
    }

    /// No line follows.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.shorten(TAIL_BYTES_MAX)
    }

    /// Leaves out lines between the beginning and the end where more than `bytes_max` follow the beginning.
    fn shorten(&mut self, bytes_max: u64) -> io::Result<()> {
        let beyond = self.length.saturating_sub(self.head_end);
        if beyond <= bytes_max {
            return Ok(());
        }
        // The handle that appends writes nowhere else.
        let file = File::options().read(true).write(true).open(&self.path)?;
        let mut bytes = vec![0; usize::try_from(beyond).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, self.head_end)?;
        let (dropped, kept) = bytes.split_at(start_of_end(&bytes));
        let lines = dropped.iter().filter(|byte| **byte == b'\n').count() as u64;
        // One of them said how many had been left out before.
        self.left_out += lines.saturating_sub(u64::from(self.left_out > 0));
        let end = [format!("[{} left out]\n", terms::count(self.left_out, "line")).as_bytes(), kept].concat();
        file.write_all_at(&end, self.head_end)?;
        self.length = self.head_end + end.len() as u64;
        file.set_len(self.length)
    }
}

/// Where the last whole lines of at most [`TAIL_BYTES_MAX`] begin.
fn start_of_end(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(TAIL_BYTES_MAX as usize);
    // From the byte before, so that a line that begins just there is kept.
    let within = bytes[from.saturating_sub(1)..].iter().position(|byte| *byte == b'\n');
    within.map_or(bytes.len(), |position| from.saturating_sub(1) + position + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_one_file_for_all_its_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        for (attempt, line) in [("1", "one"), ("2", "two")] {
            let mut file = LogFile::open(&logs, "14", attempt).unwrap();
            file.line(line).unwrap();
            file.finish().unwrap();
        }
        assert_eq!(fs::read_to_string(logs.join("14.log")).unwrap(), "one\n--- attempt 2 ---\ntwo\n");
    }

    /// How many lines it says are left out, once.
    fn left_out(kept: &[&str]) -> u64 {
        let told = kept.iter().filter_map(|line| line.strip_prefix('[')?.strip_suffix(" lines left out]"));
        let [number] = told.collect::<Vec<_>>().try_into().expect("it is said once");
        number.parse().unwrap()
    }

    #[test]
    fn the_last_lines_of_a_flood_are_in_the_file_while_the_program_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(folder.path(), "1", "1").unwrap();
        let (lines, line) = (40_000_u64, |number| format!("{number:08} {}", "x".repeat(200)));
        (0..lines).for_each(|number| file.line(&line(number)).unwrap());
        // The process is killed.
        let kept = fs::read_to_string(file.path()).unwrap();
        let bytes = kept.len() as u64;
        assert!(bytes > HEAD_BYTES_MAX && bytes <= HEAD_BYTES_MAX + 2 * TAIL_BYTES_MAX, "{bytes}");
        let kept: Vec<&str> = kept.lines().collect();
        assert_eq!((kept[0], kept[kept.len() - 1]), (line(0).as_str(), line(lines - 1).as_str()));
        assert_eq!(left_out(&kept) + kept.len() as u64 - 1, lines);
        // The next attempt keeps what is there, and its own end.
        drop(file);
        let mut file = LogFile::open(folder.path(), "1", "2").unwrap();
        (0..lines).for_each(|number| file.line(&line(number)).unwrap());
        file.finish().unwrap();
        let whole = fs::read_to_string(folder.path().join("1.log")).unwrap();
        assert!(whole.starts_with(&kept.join("\n")));
        assert!(whole.ends_with(&format!("{}\n", line(lines - 1))));
        assert!(whole.len() as u64 <= bytes + TAIL_BYTES_MAX + 100);
    }

    #[test]
    fn of_a_flood_the_beginning_and_the_end_are_kept_and_what_is_left_out_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(folder.path(), "1", "1").unwrap();
        let lines = 10_000_u64;
        let line = |number| format!("{number:08} {}", "x".repeat(1_000));
        for number in 0..lines {
            file.line(&line(number)).unwrap();
        }
        let path = file.path().to_owned();
        file.finish().unwrap();
        let kept = fs::read_to_string(path).unwrap();
        assert!(kept.len() as u64 <= HEAD_BYTES_MAX + TAIL_BYTES_MAX + 100, "{} bytes", kept.len());
        let kept: Vec<&str> = kept.lines().collect();
        assert_eq!((kept[0], kept[kept.len() - 1]), (line(0).as_str(), line(lines - 1).as_str()));
        assert_eq!(left_out(&kept) + kept.len() as u64 - 1, lines);
    }
}
