//! The results of an epoch of training.

use terms::{EpochReport, metrics::known};

/// The results of one epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EpochMetrics {
    /// The epoch's number, from 1.
    pub(super) epoch: u32,
    /// Mean cross-entropy over the training images, in nats; finite.
    pub(super) train_loss: f64,
    /// Share of validation images classified correctly, in [0, 1].
    pub(super) val_accuracy: f64,
    /// Time of the training loop alone, in seconds.
    pub(super) epoch_seconds: f64,
    /// Mean cross-entropy over the validation images, in nats; finite, where the worker reports it.
    pub(super) val_loss: Option<f64>,
    /// Share of the training images classified correctly during training, in [0, 1], where the worker reports it.
    pub(super) train_accuracy: Option<f64>,
}

impl From<EpochMetrics> for EpochReport {
    fn from(epoch: EpochMetrics) -> Self {
        let EpochMetrics { epoch, train_loss, val_accuracy, epoch_seconds, val_loss, train_accuracy } = epoch;
        let pair = |(name, value): (&'static str, Option<f64>)| Some((name.into(), value?));
        let metrics = [
            (known::TRAIN_LOSS, Some(train_loss)),
            (known::VAL_ACCURACY, Some(val_accuracy)),
            (known::VAL_LOSS, val_loss),
            (known::TRAIN_ACCURACY, train_accuracy),
        ];
        Self {
            number: epoch,
            seconds: epoch_seconds,
            metrics: metrics.into_iter().filter_map(pair).collect(),
        }
    }
}
