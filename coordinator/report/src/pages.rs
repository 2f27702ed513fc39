//! The pages for people: `report.md` and `report.html`, from the same content.

mod columns;
mod facts;
mod html;
mod markdown;

use proto::v1;

pub(super) use self::{html::html, markdown::markdown};
use super::{
    failures::{Group, NEVER_STARTED, Why},
    figures::{Figure, measured},
    rows::{JobRow, cut},
    words::Words,
};

/// Most groups of failed jobs on a page.
const GROUPS_SHOWN_MAX: usize = 20;

/// What a page tells.
pub(super) struct Content<'a> {
    pub(super) words: &'static Words,
    pub(super) sweep: &'a v1::Sweep,
    /// Rows of the table, in the order of the page.
    pub(super) rows: Vec<JobRow>,
    /// Whether the rows are only the best.
    pub(super) selection: bool,
    pub(super) best: Option<JobRow>,
    /// The file of the best weights within the report's folder, where it is there.
    pub(super) best_weights_file: Option<&'static str>,
    /// Sum over all jobs, in seconds.
    pub(super) train_seconds: f64,
    /// Whether some job was trained together with others, so that the sum is an estimate.
    pub(super) packed: bool,
    pub(super) figures: &'a [Figure],
    /// Jobs that failed or ended early, by why.
    pub(super) failures: &'a [Group],
}

/// A column's heading and what a job has in it.
type Extra = (&'static str, fn(&JobRow) -> String);

/// One row of the table: its cells, whether it is the best.
struct TableRow {
    cells: Vec<String>,
    best: bool,
}

impl Content<'_> {
    /// The parameters that have columns: those that vary, or the first ones of a sweep with one job.
    fn columns(&self) -> Vec<&str> {
        let varying = self.sweep.varying.iter().map(String::as_str);
        let all =
            || self.rows.first().map(|row| row.parameters.0.iter().map(|(name, _)| name.as_str()).collect());
        if self.sweep.varying.is_empty() { all().unwrap_or_default() } else { varying.collect() }
    }

    /// Whether some job shown has another end than `done`, so that states are worth a column.
    fn shows_states(&self) -> bool {
        self.rows.iter().any(|row| row.state != "done")
    }

    /// Whether some job shown was trained together with others, so that times need a word.
    pub(super) fn shows_packs(&self) -> bool {
        self.rows.iter().any(|row| row.pack_size > 1)
    }

    /// Columns that have a place where some job shown has something in them: its heading, and what a job has there.
    fn shown_extras(&self) -> impl Iterator<Item = Extra> + '_ {
        let words = self.words;
        let extras: [Extra; 4] = [
            (words.val_loss, |row| decimals(row.val_loss, 4)),
            (words.train_accuracy, |row| decimals(row.train_accuracy, 4)),
            (words.best_epoch, |row| row.best.map_or_else(String::new, |(epoch, _)| epoch.to_string())),
            (words.best_val_accuracy, |row| decimals(row.best.map(|(_, accuracy)| accuracy), 4)),
        ];
        extras.into_iter().filter(|(_, cell)| self.rows.iter().any(|row| !cell(row).is_empty()))
    }

    fn headings(&self) -> Vec<String> {
        let words = self.words;
        let mut headings = vec![words.job.to_owned()];
        headings.extend(self.columns().into_iter().map(|name| words.parameter(name).to_owned()));
        headings.extend([words.train_seconds, words.val_accuracy, words.train_loss].map(str::to_owned));
        headings.extend(self.shown_extras().map(|(heading, _)| heading.to_owned()));
        if self.shows_packs() {
            headings.push(words.pack_size.to_owned());
        }
        if self.shows_states() {
            headings.extend([words.state, words.reason].map(str::to_owned));
        }
        headings
    }

    fn table(&self) -> Vec<TableRow> {
        let (columns, states, packs) = (self.columns(), self.shows_states(), self.shows_packs());
        let best = self.best.as_ref().map(|row| row.number);
        let row = |row: &JobRow| {
            let mut cells = vec![row.number.to_string()];
            cells.extend(columns.iter().map(|name| row.readable_parameter(name)));
            cells.extend([
                decimals(row.train_seconds, 2),
                decimals(row.val_accuracy, 4),
                decimals(row.train_loss, 4),
            ]);
            cells.extend(self.shown_extras().map(|(_, cell)| cell(row)));
            if packs {
                cells.push(row.pack_size.to_string());
            }
            if states {
                cells.extend([
                    self.words.state_name(row.state).to_owned(),
                    cut(&self.words.reason(&row.reason)),
                ]);
            }
            TableRow { cells, best: best == Some(row.number) }
        };
        self.rows.iter().map(row).collect()
    }

    /// Which jobs failed or ended early, and why: a line a group, of what happened to how many and of which these are.
    fn failures(&self) -> Vec<(String, String)> {
        let words = self.words;
        let line = |group: &Group| {
            let (numbers, more) = group.numbers();
            let more = if more > 0 { words.more(more) } else { String::new() };
            let reason = match &group.why {
                Why::Reason(reason) => cut(&words.reason(&reason.text())),
                Why::Unknown => words.no_reason.to_owned(),
                Why::NeverStarted => words.reason(NEVER_STARTED),
                Why::Various => words.various_reasons.to_owned(),
            };
            let what = format!("{}, {}", words.state_name(group.state), words.jobs(group.jobs));
            (what, format!("{reason} ({} {numbers}{more})", words.job_numbers(group.jobs)))
        };
        let mut lines: Vec<_> = self.failures.iter().take(GROUPS_SHOWN_MAX).map(line).collect();
        let rest = self.failures.get(GROUPS_SHOWN_MAX..).unwrap_or_default();
        if !rest.is_empty() {
            let jobs = rest.iter().map(|group| group.jobs).sum();
            lines.push((words.jobs(jobs), words.other_reasons.to_owned()));
        }
        lines
    }
}

fn decimals(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| measured(value, decimals))
}
