//! The results of a sweep as files for other programs, written job by job, so that a million jobs need no more memory than a thousand.
//!
//! Each format is an [`Export`] that writes below a [`Place`], which has its final name only once everything is in it. The same
//! sweep gives the same bytes.

mod document;
mod marker;
mod mlflow;
mod optuna;
mod parquet;
mod place;
#[cfg(test)]
mod samples;
mod space;
mod tensorboard;
mod times;

use std::io;

use report::{Epoch, Job, Sweep};

pub use self::{
    document::DocumentFile,
    mlflow::{Batches as MlflowBatches, JOB_TAG, MlflowExperiment, MlflowRun, SWEEP_TAG, WRITTEN_TAG},
    optuna::OptunaFile,
    parquet::{ParquetFolder, ParquetPieces, ParquetTable},
    place::{Held, Place, PlaceError, Shape},
    space::{Kind, Parameter, Range},
    tensorboard::TensorBoardFolder,
};

/// An export that is being written.
pub trait Export: Send {
    /// Adds the next job, in the order of job numbers, with the epochs that count, in order.
    ///
    /// # Errors
    /// It cannot be written.
    fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError>;

    /// Writes what comes last; what there is to say about it, for people.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError>;
}

/// What can go wrong while an export is written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Write(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// What distinguishes a sweep from all others, including those of other coordinators. Exports say it, so that one is recognised.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The sweep's number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// When it was submitted.
    pub created: Option<String>,
}

impl Identity {
    pub fn of(sweep: &Sweep) -> Self {
        Self { id: sweep.id, name: sweep.name.clone(), created: report::view::time(sweep.created_unix_ms) }
    }

    /// Whether both are one sweep, whose name may have changed.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.created == other.created
    }
}
