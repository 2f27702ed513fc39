//! The documents for programs: a table of jobs and one of epochs as CSV, and all of a sweep as JSON. They are made job by job, so
//! that a report, an export and a download have the same bytes, and none needs more memory than the numbers of a job.

use std::{
    io::{self, BufWriter, Write},
    iter,
};

use tempfile::NamedTempFile;
use terminal::text::{self, csv_cell};
use terms::{MetricSchema, ParameterValue, shortest};

use super::{
    columns::Columns,
    model::{Epoch, Job, Sweep},
    ranking::Ranking,
    rows::{JobRow, cut},
    view,
};

/// Where older versions had columns after their two metrics. They stay there for scripts that read by position.
const METRICS_FIRST: usize = 2;
/// Columns of the table of jobs between the parameters and the metrics.
const JOBS_BEFORE: [&str; 5] = ["state", "attempts", "worker", "epochs_done", "train_seconds"];
/// Its last columns.
const JOBS_LAST: [&str; 3] = ["reason", "started", "ended"];
/// Memory for the records of one job, in bytes; longer ones take several turns.
const RECORD_BYTES: usize = 1 << 10;
/// Epochs of a piece: a few kilobytes, or some hundred where they have as many metrics as possible.
const EPOCHS_OF_PIECE: usize = 16;
/// How a job ends in JSON, after its epochs.
const JOB_END: &str = "]}";

/// Which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A row per job: `results.csv`.
    Jobs,
    /// A row per epoch that counts: `epochs.csv`.
    Epochs,
    /// The sweep, its jobs and their epochs: `results.json`.
    Json,
}

/// A document that is written piece by piece: [`Self::begin`], [`Self::job`] for each job in the order of their numbers, [`Self::end`].
#[derive(Debug, Clone)]
pub struct Document {
    kind: DocumentKind,
    layout: Layout,
    ranking: Ranking,
    /// The sweep as JSON has it.
    sweep: Option<Box<view::Sweep>>,
    has_jobs: bool,
}

/// What the rows of a sweep have.
#[derive(Debug, Clone)]
struct Layout {
    parameters: Vec<String>,
    metrics: MetricSchema,
    columns: Columns,
}

impl Document {
    /// A document of this sweep.
    pub fn new(kind: DocumentKind, sweep: &Sweep) -> Self {
        let columns = Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name);
        Self {
            kind,
            layout: Layout { parameters: sweep.parameters.clone(), metrics: sweep.metrics.clone(), columns },
            ranking: Ranking::new(sweep.objective.clone(), &sweep.metrics),
            sweep: (kind == DocumentKind::Json).then(|| Box::new(view::Sweep::whole(sweep))),
            has_jobs: false,
        }
    }

    /// Writes what comes before the first job.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        match self.kind {
            DocumentKind::Jobs => out.write_all(&records([self.layout.names_of_jobs()])?),
            DocumentKind::Epochs => out.write_all(&records([self.layout.names_of_epochs()])?),
            DocumentKind::Json => {
                let sweep = serde_json::to_string(&self.sweep)?;
                write!(out, "{{\n\"sweep\": {},\n\"jobs\": [", text::json(&sweep))
            }
        }
    }

    /// Writes a job with the epochs that count, in order.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn job(&mut self, job: &Job, epochs: &[Epoch], out: &mut impl Write) -> io::Result<()> {
        self.pieces(job, epochs).try_for_each(|piece| out.write_all(&piece?))
    }

    /// The same in pieces, of which all are to be written: a job may have a hundred thousand epochs, which nobody needs as text at once.
    pub fn pieces<'a>(
        &'a mut self,
        job: &Job,
        epochs: &'a [Epoch],
    ) -> impl Iterator<Item = io::Result<Vec<u8>>> + use<'a> {
        let row = JobRow::new(job, epochs, &self.ranking);
        self.pieces_of(job, &row, epochs)
    }

    /// The same where the row is known.
    fn pieces_of<'a>(
        &'a mut self,
        job: &Job,
        row: &JobRow,
        epochs: &'a [Epoch],
    ) -> impl Iterator<Item = io::Result<Vec<u8>>> + use<'a> {
        let (head, kind, number) = (self.head(job, row), self.kind, row.number);
        let layout = &self.layout;
        let epochs = if kind == DocumentKind::Jobs { &[] } else { epochs };
        let epochs = epochs.chunks(EPOCHS_OF_PIECE).enumerate().map(move |(index, epochs)| match kind {
            DocumentKind::Json => layout.epochs_as_json(epochs, index == 0),
            _ => records(epochs.iter().map(|epoch| layout.epoch(number, epoch))),
        });
        let end = (kind == DocumentKind::Json).then(|| Ok(JOB_END.into()));
        iter::once(head).chain(epochs).chain(end)
    }

    /// What a job has before its epochs.
    fn head(&mut self, job: &Job, row: &JobRow) -> io::Result<Vec<u8>> {
        match self.kind {
            DocumentKind::Jobs => records([self.layout.job(job, row)]),
            DocumentKind::Epochs => Ok(Vec::new()),
            DocumentKind::Json => {
                let shown = serde_json::to_string(&self.layout.job_view(job, row))?;
                let before = if std::mem::replace(&mut self.has_jobs, true) { "," } else { "" };
                // Its epochs are its last key, and come piece by piece.
                let open = shown.strip_suffix(JOB_END).unwrap_or(&shown);
                Ok(format!("{before}\n{}", text::json(open)).into_bytes())
            }
        }
    }

    /// Writes what comes after the last job.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn end(&self, out: &mut impl Write) -> io::Result<()> {
        match self.kind {
            DocumentKind::Jobs | DocumentKind::Epochs => Ok(()),
            DocumentKind::Json => out.write_all(b"\n]\n}\n"),
        }
    }
}

/// Records of CSV.
fn records(records: impl IntoIterator<Item = Vec<String>>) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().buffer_capacity(RECORD_BYTES).from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

impl Layout {
    fn names_of_jobs(&self) -> Vec<String> {
        let own = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| csv_cell(name).into_owned()).collect()
        };
        let metrics: Vec<String> = self.columns.metrics.iter().map(|(_, name)| name.clone()).collect();
        let (first, others) = own(&metrics).into_split();
        let names = fixed(&["job"]).chain(own(&self.columns.parameters)).chain(fixed(&JOBS_BEFORE));
        let names = names.chain(first).chain(fixed(&["pack_size"])).chain(others);
        let best = own(std::slice::from_ref(&self.columns.best));
        names.chain(fixed(&["best_epoch"])).chain(best).chain(fixed(&JOBS_LAST)).collect()
    }

    fn names_of_epochs(&self) -> Vec<String> {
        let own = self.columns.of_epochs.iter().map(|name| csv_cell(name).into_owned());
        let (first, others) = own.collect::<Vec<_>>().into_split();
        let names = fixed(&["job", "attempt", "epoch"]).chain(first);
        names.chain(fixed(&["epoch_seconds"])).chain(others).collect()
    }

    fn job(&self, job: &Job, row: &JobRow) -> Vec<String> {
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
            view::time(job.started_unix_ms).unwrap_or_default(),
            view::time(job.ended_unix_ms).unwrap_or_default(),
        ]);
        record
    }

    fn epoch(&self, job: u64, epoch: &Epoch) -> Vec<String> {
        let metrics = (0..self.metrics.len()).map(|index| number(epoch.metrics.get(index)));
        let (first, others) = metrics.collect::<Vec<_>>().into_split();
        let mut record = vec![job.to_string(), epoch.attempt.to_string(), epoch.number.to_string()];
        record.extend(first);
        record.push(shortest(epoch.seconds));
        record.extend(others);
        record
    }

    /// Epochs of a job in its list; `is_first` where none come before.
    fn epochs_as_json(&self, epochs: &[Epoch], is_first: bool) -> io::Result<Vec<u8>> {
        let mut piece = String::new();
        for (index, epoch) in epochs.iter().enumerate() {
            if !(is_first && index == 0) {
                piece.push(',');
            }
            piece.push_str(&serde_json::to_string(&view::Epoch::new(&self.columns, epoch))?);
        }
        Ok(text::json(&piece).into_owned().into_bytes())
    }

    /// A job without its epochs.
    fn job_view(&self, job: &Job, row: &JobRow) -> view::Job {
        let best = row.best.map(|(epoch, value)| (epoch, Some(value)));
        let mut view = view::Job::new(&self.parameters, &self.columns, job, best, Some(&[]));
        view.reason = cut(&row.reason);
        view.times = Some(view::JobTimes::of(job));
        view
    }
}

/// The documents of a report, each in a file.
#[derive(Debug)]
pub(super) struct Tables([(Document, BufWriter<NamedTempFile>); 3]);

pub(super) struct Finished {
    pub(super) results: NamedTempFile,
    pub(super) epochs: NamedTempFile,
    pub(super) json: NamedTempFile,
}

impl Tables {
    /// Begins them in three new files.
    pub(super) fn new(sweep: &Sweep, file: impl Fn() -> io::Result<NamedTempFile>) -> io::Result<Self> {
        let begin = |kind| {
            let (document, mut file) = (Document::new(kind, sweep), BufWriter::new(file()?));
            document.begin(&mut file)?;
            io::Result::Ok((document, file))
        };
        Ok(Self([begin(DocumentKind::Jobs)?, begin(DocumentKind::Epochs)?, begin(DocumentKind::Json)?]))
    }

    /// Adds one job and its epochs.
    pub(super) fn job(&mut self, job: &Job, row: &JobRow, epochs: &[Epoch]) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|(document, file)| {
            document.pieces_of(job, row, epochs).try_for_each(|piece| file.write_all(&piece?))
        })
    }

    pub(super) fn finish(self) -> io::Result<Finished> {
        let end = |(document, mut file): (Document, BufWriter<NamedTempFile>)| {
            document.end(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)
        };
        let [results, epochs, json] = self.0.map(end);
        Ok(Finished { results: results?, epochs: epochs?, json: json? })
    }
}

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
