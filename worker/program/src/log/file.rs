//! A file with what a job's program printed, of a bounded length: the beginning and the end of it.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Longest beginning, in bytes, of all attempts of a job together: what an editor opens at once, a thousand of which are a few
/// gigabytes.
const HEAD_BYTES_MAX: usize = 4 << 20;

/// Longest end of an attempt whose output is longer, in bytes. It is held in memory until then.
const TAIL_BYTES_MAX: usize = 256 << 10;

/// The file of one attempt.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes that the beginning may still grow by.
    room: usize,
    /// The last lines after the beginning.
    tail: VecDeque<Vec<u8>>,
    tail_bytes: usize,
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
        let length = file.metadata()?.len();
        if length > 0 {
            file.write_all(format!("--- attempt {attempt} ---\n").as_bytes())?;
        }
        let room = HEAD_BYTES_MAX.saturating_sub(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Self { path, file, room, tail: VecDeque::new(), tail_bytes: 0, left_out: 0 })
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
        if self.tail.is_empty() && line.len() <= self.room {
            self.room -= line.len();
            return self.file.write_all(&line);
        }
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_BYTES_MAX
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_bytes -= oldest.len();
            self.left_out += 1;
        }
        Ok(())
    }

    /// Writes the end.
    ///
    /// # Errors
    /// The disk is full, say.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.left_out > 0 {
            writeln!(self.file, "[{} lines left out]", self.left_out)?;
        }
        self.file.write_all(&self.tail.into_iter().flatten().collect::<Vec<u8>>())
    }
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
        assert!(kept.len() <= HEAD_BYTES_MAX + TAIL_BYTES_MAX + 100, "{} bytes", kept.len());
        let kept: Vec<&str> = kept.lines().collect();
        assert_eq!((kept[0], kept[kept.len() - 1]), (line(0).as_str(), line(lines - 1).as_str()));
        let left_out = kept.iter().find_map(|line| line.strip_prefix('[')?.strip_suffix(" lines left out]"));
        assert_eq!(left_out.unwrap().parse::<u64>().unwrap() + kept.len() as u64 - 1, lines);
    }
}
