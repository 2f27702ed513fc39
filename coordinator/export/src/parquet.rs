//! Tables of jobs and of epochs as Parquet, each column with its type. A value that is missing is null, and differs from one that is
//! no number.

mod table;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use report::{Columns, Epoch, Job, Ranking, Sweep};
use terms::{JobState, ParameterValue};

use self::table::{Cell, Column, ColumnType, Table};
use super::{Export, ExportError, Identity, marker, space};
use crate::space::{Kind, Parameter};

/// The file of jobs and the one of epochs.
pub(super) const JOBS: &str = "jobs.parquet";
pub(super) const EPOCHS: &str = "epochs.parquet";

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParquetTable {
    /// A row per job.
    Jobs,
    /// A row per epoch that counts.
    Epochs,
}

/// Both tables, in a folder.
pub struct ParquetFolder {
    rows: Rows,
    jobs: Table<BufWriter<File>>,
    epochs: Table<BufWriter<File>>,
}

/// One of the tables piece by piece, for who sends it: the same bytes as in a folder.
pub struct ParquetPieces {
    rows: Rows,
    which: ParquetTable,
    table: Table<Vec<u8>>,
}

/// What makes rows of jobs.
struct Rows {
    parameters: Vec<Parameter>,
    kinds: Vec<Kind>,
    columns: Columns,
    ranking: Ranking,
    metrics: usize,
    /// What each table says of the sweep.
    about: String,
}

impl ParquetFolder {
    /// Begins them in a new folder.
    ///
    /// # Errors
    /// The folder is there or cannot be made.
    pub fn create(folder: &Path, sweep: &Sweep, parameters: Vec<Parameter>) -> Result<Self, ExportError> {
        fs::create_dir(folder)?;
        marker::write(folder, "parquet", &Identity::of(sweep))?;
        let rows = Rows::new(sweep, parameters)?;
        let file = |name| io::Result::Ok(BufWriter::new(File::create_new(folder.join(name))?));
        let jobs = rows.table(ParquetTable::Jobs, file(JOBS)?)?;
        let epochs = rows.table(ParquetTable::Epochs, file(EPOCHS)?)?;
        Ok(Self { rows, jobs, epochs })
    }
}

impl Export for ParquetFolder {
    fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError> {
        self.rows.job(job, epochs, &mut self.jobs)?;
        self.rows.epochs(job, epochs, &mut self.epochs)
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError> {
        let whole = |file: BufWriter<File>| file.into_inner().map_err(io::IntoInnerError::into_error);
        let (jobs, unfit) = self.jobs.finish()?;
        whole(jobs)?;
        whole(self.epochs.finish()?.0)?;
        Ok(unfit.into_iter().map(|(name, values)| {
            format!("the column `{name}` lacks {values} of its values: they are of another type than the sweep file says")
        }).collect())
    }
}

impl ParquetPieces {
    /// Begins a table.
    ///
    /// # Errors
    /// It cannot be a table: two columns have the same name.
    pub fn new(which: ParquetTable, sweep: &Sweep, parameters: Vec<Parameter>) -> Result<Self, ExportError> {
        let rows = Rows::new(sweep, parameters)?;
        let table = rows.table(which, Vec::new())?;
        Ok(Self { rows, which, table })
    }

    /// Adds the next job, in the order of job numbers, with the epochs that count, in order.
    ///
    /// # Errors
    /// Its values cannot be written.
    pub fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError> {
        match self.which {
            ParquetTable::Jobs => self.rows.job(job, epochs, &mut self.table),
            ParquetTable::Epochs => self.rows.epochs(job, epochs, &mut self.table),
        }
    }

    /// The bytes that were written since the last time: those of groups of rows, once one is full.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        self.table.take()
    }

    /// The bytes that are left.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn finish(self) -> Result<Vec<u8>, ExportError> {
        Ok(self.table.finish()?.0)
    }
}

impl Rows {
    fn new(sweep: &Sweep, parameters: Vec<Parameter>) -> Result<Self, ExportError> {
        Ok(Self {
            kinds: parameters.iter().map(Parameter::kind).collect(),
            columns: Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name),
            ranking: Ranking::new(sweep.objective.clone(), &sweep.metrics),
            metrics: sweep.metrics.len(),
            about: serde_json::to_string(&Identity::of(sweep)).map_err(io::Error::from)?,
            parameters,
        })
    }

    fn table<W: Write + Send>(&self, which: ParquetTable, out: W) -> Result<Table<W>, ExportError> {
        let columns = match which {
            ParquetTable::Jobs => columns_of_jobs(&self.columns, &self.kinds),
            ParquetTable::Epochs => columns_of_epochs(&self.columns),
        };
        Table::new(out, &columns, &self.about)
    }

    /// Adds the row of a job.
    fn job<W: Write + Send>(
        &self,
        job: &Job,
        epochs: &[Epoch],
        table: &mut Table<W>,
    ) -> Result<(), ExportError> {
        let texts: Vec<Option<String>> = space::values(&self.parameters, &job.parameters)
            .zip(&self.kinds)
            .map(|((_, value), kind)| {
                let text = value.filter(|value| *kind == Kind::Mixed && **value != ParameterValue::Null);
                text.map(ToString::to_string)
            })
            .collect();
        let values = space::values(&self.parameters, &job.parameters);
        let parameters = values.zip(&texts).map(|((_, value), text)| match text {
            Some(text) => Cell::Text(text),
            None => value.map_or(Cell::Null, parameter_cell),
        });
        let best = self.ranking.best_of(job, epochs);
        let trained = job.epochs_done > 0;
        let cells = [Cell::Whole(job.number)].into_iter().chain(parameters).chain([
            Cell::Text(job.state.map_or("unknown", JobState::as_str)),
            Cell::Whole(job.attempts.into()),
            Cell::Text(&job.worker),
            Cell::Whole(job.epochs_done.into()),
            if trained { Cell::Real(job.train_seconds) } else { Cell::Null },
        ]);
        let metrics = self.columns.metrics.iter();
        let metrics = metrics.map(|(index, _)| real(index.and_then(|index| job.metrics.get(index))));
        let cells = cells.chain(metrics).chain([
            Cell::Whole(job.pack_size.into()),
            best.map_or(Cell::Null, |(epoch, _)| Cell::Whole(epoch.into())),
            real(best.map(|(_, value)| value)),
            Cell::Text(&job.reason),
            time(job.started_unix_ms),
            time(job.ended_unix_ms),
        ]);
        table.row(cells)
    }

    /// Adds the rows of a job's epochs.
    fn epochs<W: Write + Send>(
        &self,
        job: &Job,
        epochs: &[Epoch],
        table: &mut Table<W>,
    ) -> Result<(), ExportError> {
        for epoch in epochs {
            let fixed = [job.number, epoch.attempt.into(), epoch.number.into()].map(Cell::Whole);
            let metrics = (0..self.metrics).map(|index| real(epoch.metrics.get(index)));
            table.row(fixed.into_iter().chain(metrics).chain([Cell::Real(epoch.seconds)]))?;
        }
        Ok(())
    }
}

fn columns_of_jobs(columns: &Columns, kinds: &[Kind]) -> Vec<Column> {
    use ColumnType::{Boolean, Real, Text, Time, Whole};
    let parameters = columns.parameters.iter().zip(kinds).map(|(name, kind)| {
        let of = match kind {
            Kind::Boolean => Boolean,
            Kind::Whole => Whole,
            Kind::Real => Real,
            Kind::Text | Kind::Mixed => Text,
        };
        Column::optional(name, of)
    });
    let fixed = |names: &[(&str, ColumnType)]| -> Vec<Column> {
        names.iter().map(|(name, of)| Column::required(name, *of)).collect()
    };
    let mut all = fixed(&[("job", Whole)]);
    all.extend(parameters);
    all.extend(fixed(&[("state", Text), ("attempts", Whole), ("worker", Text), ("epochs_done", Whole)]));
    all.push(Column::optional("train_seconds", Real));
    all.extend(columns.metrics.iter().map(|(_, name)| Column::optional(name, Real)));
    all.extend(fixed(&[("pack_size", Whole)]));
    all.extend([Column::optional("best_epoch", Whole), Column::optional(&columns.best, Real)]);
    all.extend(fixed(&[("reason", Text)]));
    all.extend([Column::optional("started", Time), Column::optional("ended", Time)]);
    all
}

fn columns_of_epochs(columns: &Columns) -> Vec<Column> {
    let fixed = ["job", "attempt", "epoch"].map(|name| Column::required(name, ColumnType::Whole));
    let metrics = columns.of_epochs.iter().map(|name| Column::optional(name, ColumnType::Real));
    let seconds = Column::required("epoch_seconds", ColumnType::Real);
    fixed.into_iter().chain(metrics).chain([seconds]).collect()
}

fn parameter_cell(value: &ParameterValue) -> Cell<'_> {
    match value {
        ParameterValue::Null => Cell::Null,
        ParameterValue::Boolean(value) => Cell::Boolean(*value),
        ParameterValue::Integer(value) => Cell::Signed(*value),
        ParameterValue::Float(value) => Cell::Real(*value),
        ParameterValue::Text(value) => Cell::Text(value),
    }
}

fn real(value: Option<f64>) -> Cell<'static> {
    value.map_or(Cell::Null, Cell::Real)
}

fn time(unix_ms: u64) -> Cell<'static> {
    if unix_ms == 0 { Cell::Null } else { Cell::Whole(unix_ms) }
}
