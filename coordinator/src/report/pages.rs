//! The pages for people: `report.md` and `report.html`, from the same content.

mod html;
mod markdown;

pub(super) use self::{html::html, markdown::markdown};

use proto::v1;

use super::{figures::Figure, rows::JobRow, words::Words};

/// Most names of left-out images on a page.
const SKIPPED_SHOWN_MAX: usize = 20;

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
    pub(super) figures: &'a [Figure],
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
            cells.extend(columns.iter().map(|name| row.parameter(name)));
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
                cells.extend([row.state.to_owned(), row.reason.clone()]);
            }
            TableRow { cells, best: best == Some(row.number) }
        };
        self.rows.iter().map(row).collect()
    }

    /// Facts as pairs of name and text.
    fn facts(&self) -> Vec<(String, String)> {
        let (words, sweep) = (self.words, self.sweep);
        let counts = sweep.counts.unwrap_or_default();
        let states = [
            ("done", counts.done),
            ("diverged", counts.diverged),
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
            ("running", counts.running),
            ("pending", counts.pending),
        ];
        let states: Vec<_> = states
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let jobs = if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
        let best = self.best.as_ref().map_or_else(
            || words.none_yet.to_owned(),
            |row| {
                let metric = sweep.metric.clone().unwrap_or_default();
                let (name, value) = (words.metric(&metric.name), row.ranked.map(|(_, value)| value));
                let epoch = row.ranked.filter(|_| metric.use_best);
                let epoch =
                    epoch.map_or_else(String::new, |(epoch, _)| format!(" ({})", words.of_epoch(epoch)));
                let label = row.label(&sweep.varying);
                format!("{name} {}{epoch} — {} {}, {label}", decimals(value, 4), words.job, row.number)
            },
        );
        let mut facts = vec![
            (words.jobs.to_owned(), format!("{}{jobs}", sweep.job_count)),
            (words.best.to_owned(), best),
            (words.training_time_in_all.to_owned(), format!("{:.1} s", self.train_seconds)),
        ];
        facts.extend(self.weights());
        facts.extend(self.dataset());
        facts
    }

    /// Where the best weights are.
    fn weights(&self) -> Option<(String, String)> {
        let best = self.sweep.best_weights.as_ref()?;
        let place = match self.best_weights_file {
            Some(file) => file.to_owned(),
            None => format!("sweep artifact get {}/{}", self.sweep.sweep_id, best.job),
        };
        Some((self.words.weights.to_owned(), format!("{} {}: {place}", self.words.job, best.job)))
    }

    fn dataset(&self) -> Vec<(String, String)> {
        let words = self.words;
        let Some(dataset) = &self.sweep.dataset else { return Vec::new() };
        let mut facts = vec![(
            words.dataset.to_owned(),
            format!(
                "{}: {}, {}: {}; {}: {}",
                words.training_images,
                by_class(dataset.train_images, dataset, &dataset.train_by_class),
                words.validation_images,
                by_class(dataset.val_images, dataset, &dataset.val_by_class),
                words.classes,
                dataset.classes.join(", ")
            ),
        )];
        let from = if dataset.validation.is_empty() { words.held_out } else { dataset.validation.as_str() };
        facts.push((words.validation_from.to_owned(), from.to_owned()));
        facts.push((words.content_hash.to_owned(), dataset.content_hash.clone()));
        if dataset.skipped_count > 0 {
            let names =
                dataset.skipped.iter().take(SKIPPED_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
            let shown = dataset.skipped.len().min(SKIPPED_SHOWN_MAX) as u64;
            let more = dataset.skipped_count.saturating_sub(shown);
            let more = if more > 0 { format!(", … {more} {}", words.more) } else { String::new() };
            facts.push((words.left_out.to_owned(), format!("{}: {names}{more}", dataset.skipped_count)));
        }
        if !dataset.left_out.is_empty() {
            let each = dataset.left_out.iter().map(|one| {
                let detail = if one.detail.is_empty() { String::new() } else { format!(" {}", one.detail) };
                format!("{}{detail}: {}", words.left_out_reason(&one.reason), one.count)
            });
            facts.push((words.not_used.to_owned(), each.collect::<Vec<_>>().join("; ")));
        }
        facts
    }
}

/// `36 (cat 20, dog 16)`, or the number alone where nothing is known of the classes.
fn by_class(all: u64, dataset: &v1::DatasetSummary, counts: &[u64]) -> String {
    if counts.is_empty() || counts.len() != dataset.classes.len() {
        return all.to_string();
    }
    let each = dataset.classes.iter().zip(counts).map(|(class, count)| format!("{class} {count}"));
    format!("{all} ({})", each.collect::<Vec<_>>().join(", "))
}

fn decimals(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
}
