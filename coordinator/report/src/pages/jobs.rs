//! The table of jobs: which columns fit, and which are folded away.

use super::{
    super::{
        headings::Metric,
        rows::{JobRow, cut},
    },
    Content, PARAMETERS_SHOWN_MAX, Table, TableRow, columns as widths, decimals,
};

/// Most metrics in the table.
const METRICS_SHOWN_MAX: usize = 6;
/// Most cells of the table with the other columns: browsers become slow with more.
const FOLDED_CELLS_MAX: usize = 50_000;

/// A column: its heading, and its value for a job.
struct Column<'a> {
    heading: String,
    cell: Box<dyn Fn(&JobRow) -> String + 'a>,
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

    /// Whether some job has trained an epoch: without one, a table and figures would be empty.
    pub(super) fn has_results(&self) -> bool {
        self.rows.iter().any(|row| row.epochs_done > 0)
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
                let numeric = cells.iter().all(|cell| widths::is_number(cell));
                widths::width(&column.heading, cells.iter().map(String::as_str), numeric)
            })
            .collect();
        widths::too_narrow(&widths).is_some()
    }

    fn parameter<'a>(&'a self, name: &'a str) -> Column<'a> {
        column(self.headings.parameter(name), move |row| row.parameter(name))
    }

    fn metric<'a>(&'a self, metric: &'a Metric) -> Column<'a> {
        column(&metric.heading, |row| decimals(metric.value(&row.metrics), 4))
    }

    /// The table of jobs.
    pub(super) fn table(&self) -> Table {
        self.table_of(&self.columns().0, self.rows.len())
    }

    /// The columns that do not fit into the table, with the numbers of the jobs; none where all fit.
    pub(super) fn folded(&self) -> Option<Table> {
        let (_, others) = self.columns();
        if others.is_empty() {
            return None;
        }
        let mut columns = vec![column(self.strings.job, |row| row.number.to_string())];
        columns.extend(others);
        let rows = (FOLDED_CELLS_MAX / columns.len()).min(self.rows.len());
        Some(self.table_of(&columns, rows))
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
}

fn column<'a>(heading: &str, cell: impl Fn(&JobRow) -> String + 'a) -> Column<'a> {
    Column { heading: heading.to_owned(), cell: Box::new(cell) }
}
