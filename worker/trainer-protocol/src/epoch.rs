//! One epoch, in either revision of the protocol.

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// One epoch and the validation after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "EitherRevision")]
pub struct EpochLine {
    /// The job.
    pub id: String,
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// Its results, by name.
    pub metrics: Metrics,
    /// Time of the training loop alone, in seconds; of a job in a pack, that of the pack.
    pub epoch_seconds: f64,
}

/// An epoch as received: `metrics` are of revision 2, the four fields of revision 1.
#[derive(Deserialize)]
struct EitherRevision {
    id: String,
    epoch: u32,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    train_loss: Option<f64>,
    #[serde(default)]
    val_accuracy: Option<f64>,
    #[serde(default)]
    val_loss: Option<f64>,
    #[serde(default)]
    train_accuracy: Option<f64>,
    epoch_seconds: f64,
}

impl From<EitherRevision> for EpochLine {
    fn from(line: EitherRevision) -> Self {
        let EitherRevision { id, epoch, mut metrics, epoch_seconds, .. } = line;
        let fields = [
            ("train_loss", line.train_loss),
            ("val_accuracy", line.val_accuracy),
            ("val_loss", line.val_loss),
            ("train_accuracy", line.train_accuracy),
        ];
        for (name, value) in fields {
            // Where a line has both, the named value counts.
            if let Some(value) = value.filter(|_| metrics.get(name).is_none()) {
                metrics.set(name, value);
            }
        }
        Self { id, epoch, metrics, epoch_seconds }
    }
}
