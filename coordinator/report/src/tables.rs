//! The files for programs: `results.csv`, `epochs.csv`, `results.json`, written row by row.

use std::io::{BufWriter, Write};

use tempfile::NamedTempFile;
use terminal::text::{self, csv_cell};
use terms::{MetricSchema, ParameterValue, shortest};

use super::{
    columns::Columns,
    model::{Epoch, Job, Sweep},
    rows::{JobRow, cut},
    view,
};

/// Where older versions had columns after their two metrics. They stay there for scripts that read by position.
const METRICS_FIRST: usize = 2;

/// Open tables of one report.
#[derive(Debug)]
pub(super) struct Tables {
    parameters: Vec<String>,
    metrics: MetricSchema,
    columns: Columns,
    results: csv::Writer<NamedTempFile>,
    epochs: csv::Writer<NamedTempFile>,
    json: BufWriter<NamedTempFile>,
    json_jobs: u64,
}

pub(super) struct Finished {
    pub(super) results: NamedTempFile,
    pub(super) epochs: NamedTempFile,
    pub(super) json: NamedTempFile,
}

impl Tables {
    /// Begins tables in three new files.
    pub(super) fn new(
        sweep: &Sweep,
        mut file: impl FnMut() -> std::io::Result<NamedTempFile>,
    ) -> std::io::Result<Self> {
        let columns = Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name);
        let mut results = csv::Writer::from_writer(file()?);
        let own = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| csv_cell(name).into_owned()).collect()
        };
        let metrics: Vec<String> = columns.metrics.iter().map(|(_, name)| name.clone()).collect();
        let (first, others) = own(&metrics).into_split();
        let names = ["job"].map(str::to_owned).into_iter();
        let names = names.chain(own(&columns.parameters)).chain(fixed(&RESULTS_BEFORE)).chain(first);
        let names = names.chain(fixed(&["pack_size"])).chain(others).chain(fixed(&["best_epoch"]));
        let names = names.chain(own(std::slice::from_ref(&columns.best))).chain(fixed(&["reason"]));
        results.write_record(names.collect::<Vec<_>>())?;
        let mut epochs = csv::Writer::from_writer(file()?);
        let (first, others) = own(&columns.of_epochs).into_split();
        let names = fixed(&["job", "attempt", "epoch"]).chain(first);
        epochs.write_record(names.chain(fixed(&["epoch_seconds"])).chain(others).collect::<Vec<_>>())?;
        let mut json = BufWriter::new(file()?);
        write!(
            json,
            "{{\n\"sweep\": {},\n\"jobs\": [",
            text::json(&serde_json::to_string(&view::Sweep::whole(sweep))?)
        )?;
        Ok(Self {
            parameters: sweep.parameters.clone(),
            metrics: sweep.metrics.clone(),
            columns,
            results,
            epochs,
            json,
            json_jobs: 0,
        })
    }

    /// Adds one job and its epochs.
    pub(super) fn job(&mut self, job: &Job, row: &JobRow, epochs: &[Epoch]) -> std::io::Result<()> {
        self.results.write_record(self.results_record(row))?;
        for epoch in epochs {
            let metrics = (0..self.metrics.len()).map(|index| number(epoch.metrics.get(index)));
            let (first, others) = metrics.collect::<Vec<_>>().into_split();
            let mut record =
                vec![row.number.to_string(), epoch.attempt.to_string(), epoch.number.to_string()];
            record.extend(first);
            record.push(shortest(epoch.seconds));
            record.extend(others);
            self.epochs.write_record(record)?;
        }
        write!(
            self.json,
            "{}\n{}",
            if self.json_jobs == 0 { "" } else { "," },
            text::json(&serde_json::to_string(&self.job_view(job, row, epochs))?)
        )?;
        self.json_jobs += 1;
        Ok(())
    }

    fn results_record(&self, row: &JobRow) -> Vec<String> {
        let mut record = vec![row.number.to_string()];
        record.extend(self.parameters.iter().map(|name| parameter_cell(row, name)));
        record.extend([
            row.state.to_owned(),
            row.attempts.to_string(),
            csv_cell(&row.worker).into_owned(),
            row.epochs_done.to_string(),
            number(row.train_seconds),
        ]);
        let metrics = self.columns.metrics.iter();
        let metrics = metrics.map(|(index, _)| number(index.and_then(|index| row.metrics.get(index))));
        let (first, others) = metrics.collect::<Vec<_>>().into_split();
        record.extend(first);
        record.push(row.pack_size.to_string());
        record.extend(others);
        record.extend([
            row.best.map_or_else(String::new, |(epoch, _)| epoch.to_string()),
            number(row.best.map(|(_, value)| value)),
            csv_cell(&cut(&row.reason)).into_owned(),
        ]);
        record
    }

    fn job_view(&self, job: &Job, row: &JobRow, epochs: &[Epoch]) -> view::Job {
        let best = row.best.map(|(epoch, value)| (epoch, Some(value)));
        let mut view = view::Job::new(&self.parameters, &self.columns, job, best, Some(epochs));
        view.reason = cut(&row.reason);
        view
    }

    pub(super) fn finish(mut self) -> std::io::Result<Finished> {
        self.json.write_all(b"\n]\n}\n")?;
        Ok(Finished {
            results: self.results.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?,
            epochs: self.epochs.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?,
            json: self.json.into_inner().map_err(std::io::IntoInnerError::into_error)?,
        })
    }
}

/// Columns of `results.csv` between the parameters and the metrics.
const RESULTS_BEFORE: [&str; 5] = ["state", "attempts", "worker", "epochs_done", "train_seconds"];

fn fixed<'a>(names: &'a [&'a str]) -> impl Iterator<Item = String> {
    names.iter().map(|name| (*name).to_owned())
}

/// The cells of metrics, split at the columns that an earlier version put between them.
trait IntoSplit: Sized {
    fn into_split(self) -> (Self, Self);
}

impl IntoSplit for Vec<String> {
    fn into_split(mut self) -> (Self, Self) {
        let others = self.split_off(METRICS_FIRST.min(self.len()));
        (self, others)
    }
}

/// A number in full; empty where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, shortest)
}

/// A parameter's value: a text is made safe, a number is written in full.
fn parameter_cell(row: &JobRow, name: &str) -> String {
    match row.parameters.get(name) {
        Some(ParameterValue::Text(text)) => csv_cell(text).into_owned(),
        _ => row.parameter(name),
    }
}
