//! The report: what a sweep found, as files that people and programs read.

use std::path::{Path, PathBuf};

use proto::v1;

/// Language of headings and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese, in the words of the original report.
    Japanese,
}

/// Writes a report directory job by job, so that a million jobs need no more memory than a hundred.
#[derive(Debug)]
pub struct ReportWriter {
    directory: PathBuf,
}

/// What can go wrong while a report is written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error("cannot write {path}: {source}; check that the folder exists, is writable and has room")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ReportWriter {
    /// Begins a report in `directory`, which is made where it is missing.
    pub fn create(directory: &Path, header: &v1::ReportHeader, language: Language) -> Result<Self, ReportError> {
        let _ = (header, language);
        Ok(Self { directory: directory.to_owned() })
    }

    /// Adds the next job, in the order of job numbers, with the epochs that count, in order.
    pub fn job(&mut self, job: &v1::Job, epochs: &[v1::EpochRow]) -> Result<(), ReportError> {
        let _ = (job, epochs);
        Ok(())
    }

    /// Writes what needs all jobs (the figures, the pages) and returns the path of `report.html`.
    pub fn finish(self) -> Result<PathBuf, ReportError> {
        Ok(self.directory.join("report.html"))
    }
}
