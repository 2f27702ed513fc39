//! Metrics from a CSV file that grows: a row of names, then one row each epoch. The column `epoch` is the number of the
//! epoch; without it, rows are counted. The file is read by its content: one that is written again from its start, as pandas does, is read
//! from its start, and the rows that were read before change nothing.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Metrics, Number, Report, number, pattern::EPOCH};

/// Bytes that are read at one look.
const LOOK_BYTES_MAX: u64 = 4 << 20;

/// Longest row, in bytes: a hundred numbers with their names have a tenth of it.
const ROW_BYTES_MAX: usize = 64 << 10;

/// What is remembered of what was read, to see whether the file was written again from its start.
const TAIL_BYTES: usize = 256;

/// A file that is looked at again and again.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    /// Whole rows before this place were read.
    offset: u64,
    /// The last bytes before it.
    tail: Vec<u8>,
    header: Option<Header>,
    /// Rows that were read since the file's start.
    rows: u64,
    /// Columns without numbers, which were said.
    texts: BTreeSet<String>,
}

#[derive(Debug)]
struct Header {
    names: Vec<String>,
}

/// What came of a look.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Look {
    /// When the file was written last, as far as it was read.
    pub(crate) modified: Option<SystemTime>,
    pub(crate) reports: Vec<Report>,
    /// What is not used, and why.
    pub(crate) said: Vec<String>,
}

impl Table {
    /// The file at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, tail: Vec::new(), header: None, rows: 0, texts: BTreeSet::new() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the rows that were added. `is_last`: the program has ended, and a row without an end of line is whole.
    pub(crate) fn look(&mut self, is_last: bool) -> io::Result<Look> {
        let mut look = Look::default();
        // A pipe or a device of this name would be waited for.
        let mut options = File::options();
        let mut file = match options.read(true).custom_flags(libc::O_NONBLOCK).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(look),
            opened => opened?,
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        look.modified = found.modified().ok();
        if !self.is_continued(&mut file)? {
            (self.offset, self.tail, self.header, self.rows) = (0, Vec::new(), None, 0);
        }
        loop {
            file.seek(SeekFrom::Start(self.offset))?;
            let mut bytes = Vec::new();
            (&mut file).take(LOOK_BYTES_MAX).read_to_end(&mut bytes)?;
            let is_end = (bytes.len() as u64) < LOOK_BYTES_MAX;
            let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
                _ if is_last && is_end => bytes.len(),
                Some(last) => last + 1,
                None if bytes.len() > ROW_BYTES_MAX => {
                    return Err(io::Error::other(format!("a row of it has more than {ROW_BYTES_MAX} bytes")));
                }
                None => 0,
            };
            bytes.truncate(whole);
            self.offset += whole as u64;
            self.remember(&bytes);
            for row in bytes.split(|byte| *byte == b'\n') {
                self.read_row(row, &mut look);
            }
            if is_end {
                return Ok(look);
            }
        }
    }

    /// Whether what was read is still there, before what comes now.
    fn is_continued(&self, file: &mut File) -> io::Result<bool> {
        if file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(self.offset - self.tail.len() as u64))?;
        let mut found = vec![0; self.tail.len()];
        match file.read_exact(&mut found) {
            Ok(()) => Ok(found == self.tail),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
    }

    fn read_row(&mut self, row: &[u8], look: &mut Look) {
        let text = String::from_utf8_lossy(row);
        let text = text.trim_start_matches('\u{feff}').trim_end();
        if text.is_empty() {
            return;
        }
        if text.len() > ROW_BYTES_MAX {
            look.said.push(format!("a row of more than {ROW_BYTES_MAX} bytes is left out"));
            return;
        }
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let Some(Ok(cells)) = reader.records().next() else {
            look.said.push("a row that is no CSV is left out".to_owned());
            return;
        };
        let Some(header) = &self.header else {
            let names = cells.iter().map(|name| name.trim().to_owned()).collect();
            self.header = Some(Header { names });
            return;
        };
        self.rows += 1;
        let (mut epoch, mut metrics) = (None, Metrics::new());
        for (name, cell) in header.names.iter().zip(&cells) {
            match number(cell) {
                Some(value) if name == EPOCH => epoch = Some(value),
                Some(value) => {
                    metrics.insert(name.clone(), Number(value));
                }
                None if cell.trim().is_empty() => {}
                None => {
                    if self.texts.len() < super::METRICS_MAX && self.texts.insert(name.clone()) {
                        look.said.push(format!("the column {name:?} is left out where it has no number"));
                    }
                }
            }
        }
        match Report::new(Some(epoch.unwrap_or(self.rows as f64)), metrics) {
            Ok(report) if epoch.is_none() => look.reports.push(report.counted()),
            Ok(report) => look.reports.push(report),
            Err(error) => look.said.push(format!("row {} is left out: {error}", self.rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use proptest::prelude::*;

    use super::*;

    fn losses(look: &Look) -> Vec<(f64, f64)> {
        look.reports.iter().map(|report| (report.number.unwrap(), report.metrics["loss"].0)).collect()
    }

    fn append(path: &Path, text: &str) {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn rows_are_read_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut table = Table::new(path.clone());
        assert_eq!(table.look(false).unwrap(), Look::default());
        append(&path, "epoch,loss\n0,0.5\n1,0.");
        assert_eq!(losses(&table.look(false).unwrap()), [(0.0, 0.5)]);
        append(&path, "25\r\n2,0.1");
        assert_eq!(losses(&table.look(false).unwrap()), [(1.0, 0.25)]);
        assert_eq!(losses(&table.look(true).unwrap()), [(2.0, 0.1)]);
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        let (sender, looks) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(Table::new(path).look(false)));
        let look = looks.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        assert_eq!(look.unwrap_err().to_string(), "it is no file");
    }

    #[test]
    fn a_file_that_is_written_again_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut table = Table::new(path.clone());
        fs::write(&path, "loss\n0.5\n").unwrap();
        assert_eq!(losses(&table.look(false).unwrap()), [(1.0, 0.5)]);
        fs::write(&path, "loss,acc\n0.5,1\n0.25,1\n").unwrap();
        assert_eq!(losses(&table.look(false).unwrap()), [(1.0, 0.5), (2.0, 0.25)]);
        fs::write(&path, "loss\n").unwrap();
        assert!(losses(&table.look(false).unwrap()).is_empty());
    }

    #[test]
    fn rows_without_an_epoch_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        for (text, is_counted) in [("loss\n0.5\n", true), ("epoch,loss\n1,0.5\n", false)] {
            let path = folder.path().join("log.csv");
            fs::write(&path, text).unwrap();
            let look = Table::new(path).look(false).unwrap();
            assert_eq!((losses(&look), look.reports[0].is_counted), (vec![(1.0, 0.5)], is_counted));
        }
    }

    #[test]
    fn columns_without_numbers_are_left_out_and_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        fs::write(&path, "epoch,when,loss\n1,today,0.5\n2,tomorrow,nan\n3,,\n").unwrap();
        let look = Table::new(path).look(false).unwrap();
        assert_eq!(look.reports.len(), 2);
        assert_eq!(look.said.len(), 2, "{:?}", look.said);
        assert!(look.said[0].contains("when") && look.said[1].contains("row 3"));
    }

    proptest! {
        /// However a file grows, each row is read once, in order.
        #[test]
        fn rows_are_read_once_whatever_pieces_they_come_in(rows in 0..20usize, pieces in proptest::collection::vec(1..40usize, 0..30)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log.csv");
            let text: String = std::iter::once("epoch,loss\n".to_owned())
                .chain((1..=rows).map(|row| format!("{row},0.5\n")))
                .collect();
            let (mut table, mut rest, mut found) = (Table::new(path.clone()), text.as_str(), Vec::new());
            for piece in pieces {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                append(&path, now);
                rest = later;
                found.extend(losses(&table.look(false).unwrap()));
            }
            append(&path, rest);
            found.extend(losses(&table.look(true).unwrap()));
            prop_assert_eq!(found, (1..=rows).map(|row| (row as f64, 0.5)).collect::<Vec<_>>());
        }

        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log.csv");
            fs::write(&path, bytes).unwrap();
            let mut table = Table::new(path);
            let _ = table.look(false).unwrap();
            let _ = table.look(true).unwrap();
        }
    }
}
