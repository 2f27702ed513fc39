//! The report: what a sweep found, as files for people and programs.
//!
//! Jobs arrive one by one and go straight into the tables; only a bounded selection of them stays in memory for the
//! pages and the figures. Every file is written to a temporary folder and renamed at the end, so that an interrupted
//! report leaves the previous one intact.

mod columns;
pub mod compare;
mod failures;
mod figures;
mod headings;
mod model;
mod pages;
mod planned;
mod ranking;
mod recorded;
mod repeats;
mod rows;
mod strings;
mod tables;
mod training;
pub mod view;

use std::{
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use analysis::{Collector, End};
use held_folder::HeldFolder;
use tempfile::NamedTempFile;

pub use self::{
    columns::{Columns, EPOCH_COLUMNS, JOB_COLUMNS},
    failures::FailureReasons,
    figures::{LOGARITHMIC_FROM, measured, measured_alike},
    model::{BestJob, Epoch, Job, JobCounts, Share, Sweep, Weights},
    planned::planned_trainings,
    ranking::Ranking,
    strings::p_value,
    tables::{Document, DocumentKind},
};
use self::{
    failures::Failures,
    figures::Figures,
    headings::Headings,
    pages::Content,
    ranking::{Best, Rank},
    recorded::Recorded,
    repeats::Repeats,
    rows::JobRow,
    strings::Strings,
    tables::Tables,
    training::Training,
};

/// Where `sweep run` writes the best weights, or the files of the best program, within the report's folder.
const BEST_WEIGHTS: [&str; 2] = ["best/model.safetensors", "best/files"];
/// Prefix of the folders that hold files until they are complete.
const UNFINISHED: &str = ".report-";
/// Most rows of the pages' table: no one reads more, and browsers become slow.
const TABLE_ROWS_MAX: usize = 1_000;

/// Language of headings and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    English,
    /// Japanese, with the terms of the original report.
    Japanese,
}

/// A reason that the system gives, in this language; what a program or an operating system says stays as it is.
pub fn reason(language: Language, text: &str) -> String {
    Strings::of(language).reason(text)
}

/// Writes a report directory job by job, so that a million jobs need no more memory than a thousand.
#[derive(Debug)]
pub struct ReportWriter {
    directory: PathBuf,
    headings: Headings,
    sweep: Sweep,
    ranking: Ranking,
    tables: Tables,
    figures: Figures,
    failures: Failures,
    repeats: Option<Repeats>,
    training: Training,
    /// Keeps a bounded number of jobs.
    collector: Collector,
    best: Best<Rank, JobRow>,
    train_seconds: f64,
    packed: bool,
    /// Where files are until they are complete; dropped last.
    unfinished: HeldFolder,
}

/// What can go wrong while a report is written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error("cannot write {path}: {source}; check that the folder exists, is writable and has room")]
    Write {
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A figure could not be drawn.
    #[error("cannot draw {figure}: {reason}")]
    Figure {
        figure: &'static str,
        /// What the library said.
        reason: String,
    },
}

impl ReportWriter {
    /// Begins a report in `directory`, which is created if missing.
    ///
    /// # Errors
    /// The directory or a file in it cannot be written.
    pub fn create(directory: &Path, sweep: Sweep, language: Language) -> Result<Self, ReportError> {
        let write = |source| ReportError::Write { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory.join("figures")).map_err(write)?;
        HeldFolder::remove_stale(directory, UNFINISHED);
        let unfinished = HeldFolder::create(directory, UNFINISHED).map_err(write)?;
        let headings = Headings::new(&sweep, Strings::of(language));
        let ranking = Ranking::new(sweep.objective.clone(), &sweep.metrics);
        Ok(Self {
            directory: directory.to_owned(),
            tables: Tables::new(&sweep, || new_file(unfinished.path())).map_err(write)?,
            figures: Figures::new(&sweep.varying, ranking.uses_best()),
            headings,
            ranking,
            failures: Failures::default(),
            repeats: Repeats::new(&sweep),
            training: Training::new(&sweep.parameters),
            collector: Collector::new(
                &sweep.objective,
                &sweep.varying,
                sweep.manifest.as_deref(),
                sweep.dataset.as_ref(),
                sweep.job_count,
            )
            .with_planned_trainings(sweep.planned_trainings()),
            best: Best::new(TABLE_ROWS_MAX),
            train_seconds: 0.0,
            packed: false,
            sweep,
            unfinished,
        })
    }

    /// Adds the next job, in the order of job numbers, with the epochs that count, in order.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ReportError> {
        let row = JobRow::new(job, epochs, &self.ranking);
        self.tables
            .job(job, &row, epochs)
            .map_err(|source| ReportError::Write { path: self.directory.clone(), source })?;
        // Each job of a pack has the pack's time. How many jobs shared each epoch is not recorded, only how many began
        // the last attempt together: with packs, the sum is an estimate.
        self.packed |= row.pack_size > 1;
        self.train_seconds += row.train_seconds.unwrap_or(0.0) / f64::from(row.pack_size.max(1));
        let rank = self.ranking.rank(&row);
        self.figures.job(rank, &row, epochs, &self.headings);
        self.failures.job(&row);
        self.training.job(&row);
        self.collector.job(row.number, &row.parameters, end(&row));
        if let Some(repeats) = &mut self.repeats {
            repeats.job(&row, &self.ranking);
        }
        self.best.offer(rank, || row);
        Ok(())
    }

    /// Writes what needs all jobs (the figures, the pages) and returns the path of `report.html`.
    ///
    /// # Errors
    /// A file cannot be written or a figure cannot be drawn.
    pub fn finish(self) -> Result<PathBuf, ReportError> {
        let Self {
            directory,
            headings,
            sweep,
            ranking,
            tables,
            figures,
            failures,
            repeats,
            training,
            collector,
            best,
            train_seconds,
            packed,
            unfinished,
        } = self;
        let write = |source| ReportError::Write { path: directory.clone(), source };
        let analysis = collector.analyze();
        let (effects, effects_left_out) = pages::weighed(&analysis);
        let figures = figures.draw(&headings, &effects, effects_left_out)?;
        let failures = failures.into_groups();
        let points = repeats.map(Repeats::into_points).filter(|(points, _)| !points.is_empty());
        let selection = best.is_selection();
        let rows = best.into_ranked();
        let best_job = rows.first().filter(|row| ranking.rank(row).is_candidate()).cloned();
        let content = Content {
            strings: headings.strings,
            headings: &headings,
            sweep: &sweep,
            recorded: &Recorded::read(&sweep.specification),
            training: &training,
            analysis: &analysis,
            rows,
            selection,
            points: points.as_ref(),
            best: best_job,
            best_weights_file: BEST_WEIGHTS.into_iter().find(|path| directory.join(path).exists()),
            train_seconds,
            packed,
            figures: &figures,
            failures: &failures,
        };
        let tables = tables.finish().map_err(write)?;
        let mut files = vec![
            ("results.csv", tables.results),
            ("epochs.csv", tables.epochs),
            ("results.json", tables.json),
        ];
        for figure in &figures {
            for (name, bytes) in [(figure.svg_name, figure.svg.as_bytes()), (figure.png_name, &figure.png)] {
                files.push((name, filled(unfinished.path(), bytes).map_err(write)?));
            }
        }
        let place = unfinished.path();
        files.push(("report.md", filled(place, pages::markdown(&content).as_bytes()).map_err(write)?));
        // The page comes last: where it is, everything else is, too.
        files.push(("report.html", filled(place, pages::html(&content).as_bytes()).map_err(write)?));
        for (name, file) in files {
            let path = directory.join(name);
            let persisted = file.persist(&path);
            persisted.map_err(|error| ReportError::Write { path, source: error.error })?;
        }
        Ok(directory.join("report.html"))
    }
}

/// How a job ended, for the analysis.
fn end(row: &JobRow) -> End {
    match row.state {
        "done" => End::Done(row.ranked.map(|(_, value)| value)),
        "diverged" => End::Diverged,
        _ => End::Unfinished,
    }
}

/// A file that is removed unless it gets its name.
fn new_file(directory: &Path) -> std::io::Result<NamedTempFile> {
    let permissions = Permissions::from_mode(0o644);
    tempfile::Builder::new().permissions(permissions).tempfile_in(directory)
}

fn filled(directory: &Path, bytes: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut file = new_file(directory)?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
