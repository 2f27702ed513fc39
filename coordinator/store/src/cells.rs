//! Reads and writes columns, which may hold less than their types allow.

use std::collections::BTreeSet;

use terms::{DatasetSummary, JobState, MetricRow, ParameterUse, SweepId, WorkerName};

use super::StoreError;

/// A row of any database, read by column name; `None` for NULL.
pub(super) trait Cells {
    /// A column of integers.
    fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
    /// A column of 64-bit floating-point numbers.
    fn real(&self, column: &str) -> Result<Option<f64>, sqlx::Error>;
    /// A column of text.
    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    /// A column of truth values.
    fn boolean(&self, column: &str) -> Result<Option<bool>, sqlx::Error>;
    /// A column of bytes.
    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error>;
}

/// Implements [`Cells`] for a row type of sqlx.
macro_rules! cells {
    ($row:ty) => {
        impl $crate::cells::Cells for $row {
            fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
            fn real(&self, column: &str) -> Result<Option<f64>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
            fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
            fn boolean(&self, column: &str) -> Result<Option<bool>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
            fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
        }
    };
}
pub(super) use cells;

/// A number as databases store it.
pub(super) fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number)
        .map_err(|_| StoreError::Unfit(format!("{number} is more than a column of 64 bits holds")))
}

/// The count in the column of this name.
pub(super) fn number<N: TryFrom<i64>>(value: i64, column: &str) -> Result<N, StoreError> {
    N::try_from(value).map_err(|_| StoreError::Corrupt(format!("the column {column} holds {value}")))
}

/// A column that holds a count.
pub(super) fn natural<N: TryFrom<i64>>(row: &impl Cells, column: &str) -> Result<N, StoreError> {
    number(row.integer(column)?.ok_or_else(|| missing(column))?, column)
}

/// A column of text that is not NULL.
pub(super) fn text(row: &impl Cells, column: &str) -> Result<String, StoreError> {
    row.text(column)?.ok_or_else(|| missing(column))
}

pub(super) fn missing(column: &str) -> StoreError {
    StoreError::Corrupt(format!("the column {column} holds nothing"))
}

/// The state of a job.
pub(super) fn job_state(name: &str) -> Result<JobState, StoreError> {
    JobState::from_name(name).ok_or_else(|| StoreError::Corrupt(format!("a job's state is {name:?}")))
}

/// The name of a worker.
pub(super) fn worker(name: &str) -> Result<WorkerName, StoreError> {
    name.parse().map_err(|error| StoreError::Corrupt(format!("{error}")))
}

/// The values of an epoch.
pub(super) fn metric_row(bytes: &[u8]) -> Result<MetricRow, StoreError> {
    MetricRow::from_bytes(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Encodes the column `lost_with` of a job: empty for no names, as for most jobs.
pub(super) fn names_json(names: &BTreeSet<WorkerName>) -> Result<String, StoreError> {
    if names.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(names)
        .map_err(|error| StoreError::Corrupt(format!("names cannot be written: {error}")))
}

/// Decodes the column `lost_with` of a job.
pub(super) fn names(json: &str) -> Result<BTreeSet<WorkerName>, StoreError> {
    if json.is_empty() {
        return Ok(BTreeSet::new());
    }
    serde_json::from_str(json)
        .map_err(|error| StoreError::Corrupt(format!("the workers that a job was lost with: {error}")))
}

/// Encodes the column `log_tail` of an attempt: empty for no lines, as for most attempts.
pub(super) fn lines_json(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { serde_json::Value::from(lines).to_string() }
}

/// Decodes the column `log_tail` of an attempt.
pub(super) fn lines(json: &str) -> Result<Vec<String>, StoreError> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(json).map_err(|error| StoreError::Corrupt(format!("a log: {error}")))
}

/// Encodes the column `dataset` of a sweep.
pub(super) fn dataset_json(dataset: &DatasetSummary) -> Result<String, StoreError> {
    serde_json::to_string(dataset)
        .map_err(|error| StoreError::Corrupt(format!("a data set cannot be written: {error}")))
}

/// Encodes the column `parameters` of a sweep.
pub(super) fn parameters_json(parameters: &ParameterUse) -> Result<String, StoreError> {
    serde_json::to_string(parameters)
        .map_err(|error| StoreError::Corrupt(format!("the use of parameters cannot be written: {error}")))
}

/// Decodes the column `parameters` of a sweep.
pub(super) fn parameters(sweep: SweepId, json: &str) -> Result<ParameterUse, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::Corrupt(format!("the use of the parameters of sweep {sweep}: {error}")))
}

/// Decodes the column `dataset` of a sweep.
pub(super) fn dataset(sweep: SweepId, json: &str) -> Result<DatasetSummary, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::Corrupt(format!("the data set of sweep {sweep}: {error}")))
}
