//! A row's columns into values, checked: what a column may hold is less than what its type allows.

use std::collections::BTreeSet;

use domain::record::BestEpoch;
use terms::{DatasetSummary, EpochMetrics, JobState, SweepId, WorkerName};

use super::{JobRow, StoreError};

/// A row of any database: each column by its name, `None` for NULL.
pub(super) trait Cells: Send + Sync {
    /// A column of integers.
    fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
    /// A column of 64-bit floating-point numbers.
    fn real(&self, column: &str) -> Result<Option<f64>, sqlx::Error>;
    /// A column of text.
    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    /// A column of truth values.
    fn boolean(&self, column: &str) -> Result<Option<bool>, sqlx::Error>;
}

/// [`Cells`] for a row type of sqlx.
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
        }
    };
}
pub(super) use cells;

/// A number as databases hold it.
pub(super) fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number)
        .map_err(|_| StoreError::Unfit(format!("{number} is more than a column of 64 bits holds")))
}

/// A column that counts something.
pub(super) fn natural<N: TryFrom<i64>>(row: &impl Cells, column: &str) -> Result<N, StoreError> {
    let number = row.integer(column)?.ok_or_else(|| missing(column))?;
    N::try_from(number).map_err(|_| StoreError::Damaged(format!("the column {column} holds {number}")))
}

/// A column that counts something, or does not yet.
pub(super) fn optional_natural(row: &impl Cells, column: &str) -> Result<Option<u64>, StoreError> {
    let natural =
        |number| u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{column} holds {number}")));
    row.integer(column)?.map(natural).transpose()
}

/// A column of text that is there.
pub(super) fn text(row: &impl Cells, column: &str) -> Result<String, StoreError> {
    row.text(column)?.ok_or_else(|| missing(column))
}

fn real(row: &impl Cells, column: &str) -> Result<f64, StoreError> {
    row.real(column)?.ok_or_else(|| missing(column))
}

fn missing(column: &str) -> StoreError {
    StoreError::Damaged(format!("the column {column} holds nothing"))
}

/// The column `state` of a job.
pub(super) fn job_state(row: &impl Cells) -> Result<JobState, StoreError> {
    let name = text(row, "state")?;
    JobState::from_name(&name).ok_or_else(|| StoreError::Damaged(format!("a job's state is {name:?}")))
}

/// A row of `jobs`.
pub(super) fn job_row(row: &impl Cells) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        job: natural(row, "job")?,
        state: job_state(row)?,
        attempts: natural(row, "attempts")?,
        worker: text(row, "worker")?,
        reason: text(row, "reason")?,
        epochs_done: natural(row, "epochs_done")?,
        train_seconds: real(row, "train_seconds")?,
        train_loss: row.real("train_loss")?,
        val_accuracy: row.real("val_accuracy")?,
        val_loss: row.real("val_loss")?,
        train_accuracy: row.real("train_accuracy")?,
        best: best_epoch(row)?,
        pack_size: pack_size(row)?,
    })
}

/// The columns of a job's best epoch.
pub(super) fn best_epoch(row: &impl Cells) -> Result<Option<BestEpoch>, StoreError> {
    if row.integer("best_epoch")?.is_none() {
        return Ok(None);
    }
    Ok(Some(BestEpoch {
        epoch: natural(row, "best_epoch")?,
        val_accuracy: real(row, "best_val_accuracy")?,
        other_metric: row.real("best_metric")?,
    }))
}

/// The column `pack_size`.
pub(super) fn pack_size(row: &impl Cells) -> Result<u32, StoreError> {
    if row.integer("pack_size")?.is_some() { natural(row, "pack_size") } else { Ok(1) }
}

/// The measured columns of a row of `epochs`.
pub(super) fn metrics(row: &impl Cells) -> Result<EpochMetrics, StoreError> {
    Ok(EpochMetrics {
        epoch: natural(row, "epoch")?,
        train_loss: real(row, "train_loss")?,
        val_accuracy: real(row, "val_accuracy")?,
        epoch_seconds: real(row, "epoch_seconds")?,
        val_loss: row.real("val_loss")?,
        train_accuracy: row.real("train_accuracy")?,
    })
}

/// The column `lost_with` of a job.
pub(super) fn names_json(names: &BTreeSet<WorkerName>) -> Result<String, StoreError> {
    serde_json::to_string(names)
        .map_err(|error| StoreError::Damaged(format!("names cannot be written: {error}")))
}

/// The column `dataset` of a sweep.
pub(super) fn dataset_json(dataset: &DatasetSummary) -> Result<String, StoreError> {
    serde_json::to_string(dataset)
        .map_err(|error| StoreError::Damaged(format!("a data set cannot be written: {error}")))
}

/// What the column `dataset` of a sweep holds.
pub(super) fn dataset(sweep: SweepId, json: &str) -> Result<DatasetSummary, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::Damaged(format!("the data set of sweep {sweep}: {error}")))
}
