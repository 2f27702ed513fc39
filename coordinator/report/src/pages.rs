//! The pages for people: `report.md` and `report.html`, from the same content.

mod columns;
mod facts;
mod html;
mod markdown;

pub(super) use self::{html::html, markdown::markdown};
use super::{
    failures::{Group, NEVER_STARTED, Why},
    figures::{Figure, measured},
    headings::{Headings, Metric},
    model::Sweep,
    repeats::Point,
    rows::{JobRow, cut},
    strings::Strings,
};

/// Most groups of failed jobs on a page.
const GROUPS_SHOWN_MAX: usize = 20;

/// Most parameters in the pages' table: with more, the rest is out of sight.
const PARAMETERS_SHOWN_MAX: usize = 12;
/// Most metrics in that table.
const METRICS_SHOWN_MAX: usize = 6;
/// Most cells of the table with the other columns: browsers become slow with more.
const FOLDED_CELLS_MAX: usize = 50_000;

/// The content of a page.
pub(super) struct Content<'a> {
    pub(super) strings: &'static Strings,
    pub(super) headings: &'a Headings,
    pub(super) sweep: &'a Sweep,
    /// Rows of the table, in the order of the page.
    pub(super) rows: Vec<JobRow>,
    /// Whether only the best jobs are listed.
    pub(super) selection: bool,
    /// Where points are trained several times, the best of them, and whether others are left out.
    pub(super) points: Option<&'a (Vec<Point>, bool)>,
    pub(super) best: Option<JobRow>,
    /// The file of the best weights within the report's folder, if it exists.
    pub(super) best_weights_file: Option<&'static str>,
    /// Sum over all jobs, in seconds.
    pub(super) train_seconds: f64,
    /// Whether some job trained together with others, so that the sum is an estimate.
    pub(super) packed: bool,
    pub(super) figures: &'a [Figure],
    /// Jobs that failed or ended early, by reason.
    pub(super) failures: &'a [Group],
}

/// A column: its heading, and its value for a job.
struct Column<'a> {
    heading: String,
    cell: Box<dyn Fn(&JobRow) -> String + 'a>,
}

/// A table of jobs.
struct Table {
    headings: Vec<String>,
    rows: Vec<TableRow>,
}

/// One row of the table: its cells, whether it is the best.
struct TableRow {
    cells: Vec<String>,
    best: bool,
}

impl Content<'_> {
    /// The parameters that have columns: those that vary, or all if none does.
    fn parameters(&self) -> Vec<&str> {
        let names = match self.sweep.varying.is_empty() {
            true => self.rows.first().map_or(&[] as &[_], |_| self.sweep.parameters.as_slice()),
            false => self.sweep.varying.as_slice(),
        };
        names.iter().map(String::as_str).collect()
    }

    /// Whether some job shown is not `done`, so that states are worth a column.
    fn shows_states(&self) -> bool {
        self.rows.iter().any(|row| row.state != "done")
    }

    /// Whether some job shown trained together with others, so that times need an explanation.
    pub(super) fn shows_packs(&self) -> bool {
        self.rows.iter().any(|row| row.pack_size > 1)
    }

    /// The columns of the table, and those that do not fit.
    fn columns(&self) -> (Vec<Column<'_>>, Vec<Column<'_>>) {
        let (strings, headings) = (self.strings, self.headings);
        let mut parameters: Vec<Column<'_>> =
            self.parameters().into_iter().map(|name| self.parameter(name)).collect();
        let mut others = parameters.split_off(PARAMETERS_SHOWN_MAX.min(parameters.len()));
        let mut columns = vec![column(strings.job, |row| row.number.to_string())];
        columns.extend(parameters);
        columns.push(column(strings.train_seconds, |row| decimals(row.train_seconds, 2)));
        let objective = headings.objective();
        let metric = |metric| self.metric(metric);
        columns.push(metric(objective));
        if !self.fit_the_page(&columns) {
            // Behind that many parameters, no one would see it.
            columns[1..].rotate_right(1);
        }
        // A metric that no job has is not worth a column.
        let mut metrics: Vec<Column<'_>> = headings.metrics().iter().skip(1).map(metric).collect();
        metrics.retain(|column| self.rows.iter().any(|row| !(column.cell)(row).is_empty()));
        let more = metrics.split_off((METRICS_SHOWN_MAX - 1).min(metrics.len()));
        columns.extend(metrics);
        others.extend(more);
        if self.rows.iter().any(|row| row.best.is_some()) {
            let epoch = |row: &JobRow| row.best.map_or_else(String::new, |(epoch, _)| epoch.to_string());
            columns.push(column(strings.best_epoch, epoch));
            columns.push(column(&objective.at_best, |row| decimals(row.best.map(|(_, value)| value), 4)));
        }
        if self.shows_packs() {
            columns.push(column(strings.pack_size, |row| row.pack_size.to_string()));
        }
        if self.shows_states() {
            columns.push(column(strings.state, |row| strings.state_name(row.state).to_owned()));
            columns.push(column(strings.reason, |row| cut(&strings.reason(&row.reason))));
        }
        (columns, others)
    }

    /// Whether a table of these columns is visible without scrolling, at least on large screens.
    fn fit_the_page(&self, columns: &[Column<'_>]) -> bool {
        let widths: Vec<usize> = columns
            .iter()
            .map(|column| {
                let cells: Vec<String> = self.rows.iter().map(|row| (column.cell)(row)).collect();
                let numeric = cells.iter().all(|cell| columns::is_number(cell));
                columns::width(&column.heading, cells.iter().map(String::as_str), numeric)
            })
            .collect();
        columns::too_narrow(&widths).is_some()
    }

    fn parameter<'a>(&'a self, name: &'a str) -> Column<'a> {
        column(self.headings.parameter(name), move |row| row.parameter(name))
    }

    fn metric<'a>(&'a self, metric: &'a Metric) -> Column<'a> {
        column(&metric.heading, |row| decimals(metric.value(&row.metrics), 4))
    }

    /// The table of jobs.
    fn table(&self) -> Table {
        self.table_of(&self.columns().0, self.rows.len())
    }

    /// The columns that do not fit into the table, with the numbers of the jobs; none where all fit.
    fn folded(&self) -> Option<Table> {
        let (_, others) = self.columns();
        if others.is_empty() {
            return None;
        }
        let mut columns = vec![column(self.strings.job, |row| row.number.to_string())];
        columns.extend(others);
        let rows = (FOLDED_CELLS_MAX / columns.len()).min(self.rows.len());
        Some(self.table_of(&columns, rows))
    }

    /// The parameters that differ between points: a model's seed differs between the trainings of one.
    fn varying_between_points(&self) -> Vec<String> {
        let seed = self.sweep.manifest.as_ref().and_then(|manifest| manifest.seed.as_deref());
        self.sweep.varying.iter().filter(|name| seed != Some(name.as_str())).cloned().collect()
    }

    /// The points that are trained several times, with the values of the objective.
    fn points(&self) -> Option<Table> {
        let (points, _) = self.points?;
        let (strings, repeats) = (self.strings, self.sweep.repeats);
        let mut parameters = self.varying_between_points();
        parameters.truncate(PARAMETERS_SHOWN_MAX);
        let mut headings = vec![strings.point.to_owned(), strings.jobs_of_point.to_owned()];
        headings.extend(parameters.iter().map(|name| self.headings.parameter(name).to_owned()));
        let of_values = [strings.mean, strings.deviation, strings.smallest, strings.largest];
        headings.extend([strings.trainings_done].into_iter().chain(of_values).map(str::to_owned));
        let row = |(place, point): (usize, &Point)| {
            let first = (point.number - 1) * u64::from(repeats) + 1;
            let last = first + u64::from(repeats) - 1;
            let mut cells = vec![point.number.to_string(), format!("{first}–{last}")];
            cells.extend(parameters.iter().map(|name| point.row.parameter(name)));
            cells.push(point.done.to_string());
            let of_values = [Some(point.mean), point.deviation(), Some(point.smallest), Some(point.largest)];
            cells.extend(of_values.map(|value| decimals(value, 4)));
            TableRow { cells, best: place == 0 && point.done == repeats }
        };
        Some(Table { headings, rows: points.iter().enumerate().map(row).collect() })
    }

    /// What the table of points shows, for whoever reads it.
    fn notes_on_points(&self) -> Option<String> {
        let (_, is_selection) = self.points?;
        let strings = self.strings;
        let notes = strings.of_trainings(&self.headings.objective().heading, self.sweep.repeats);
        Some(if *is_selection { format!("{notes} {}", strings.best_points_only) } else { notes })
    }

    fn table_of(&self, columns: &[Column<'_>], rows_max: usize) -> Table {
        let best = self.best.as_ref().map(|row| row.number);
        let row = |row: &JobRow| TableRow {
            cells: columns.iter().map(|column| (column.cell)(row)).collect(),
            best: best == Some(row.number),
        };
        let headings = columns.iter().map(|column| column.heading.clone()).collect();
        Table { headings, rows: self.rows.iter().take(rows_max).map(row).collect() }
    }

    /// Which jobs failed or ended early, and why: one line per group, with what happened to how many jobs and their
    /// numbers.
    fn failures(&self) -> Vec<(String, String)> {
        let strings = self.strings;
        let line = |group: &Group| {
            let (numbers, more) = group.numbers();
            let more = if more > 0 { strings.more(more) } else { String::new() };
            let reason = match &group.why {
                Why::Reason(reason) => cut(&strings.reason(&reason.text())),
                Why::Unknown => strings.no_reason.to_owned(),
                Why::NeverStarted => strings.reason(NEVER_STARTED),
                Why::Various => strings.various_reasons.to_owned(),
            };
            let what = format!("{}, {}", strings.state_name(group.state), strings.jobs(group.jobs));
            (what, format!("{reason} ({} {numbers}{more})", strings.job_numbers(group.jobs)))
        };
        let mut lines: Vec<_> = self.failures.iter().take(GROUPS_SHOWN_MAX).map(line).collect();
        let rest = self.failures.get(GROUPS_SHOWN_MAX..).unwrap_or_default();
        if !rest.is_empty() {
            let jobs = rest.iter().map(|group| group.jobs).sum();
            lines.push((strings.jobs(jobs), strings.other_reasons.to_owned()));
        }
        lines
    }
}

fn column<'a>(heading: &str, cell: impl Fn(&JobRow) -> String + 'a) -> Column<'a> {
    Column { heading: heading.to_owned(), cell: Box::new(cell) }
}

fn decimals(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| measured(value, decimals))
}
