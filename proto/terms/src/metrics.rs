//! Metrics. Their names belong to the sweep, in the order in which they first came; the results of an epoch are a row
//! of values in that order.

mod objective;
mod row;
mod schema;
mod standing;

use smallvec::SmallVec;
use smol_str::SmolStr;

pub use self::{
    objective::{Goal, MetricUse, Objective},
    row::{MISSING, MetricRow, MetricRowError, RowBytes},
    schema::{MetricNameError, MetricSchema},
    standing::Standing,
};
use crate::EPOCH_SECONDS_MAX;

/// Most metrics of a sweep: each is a column of tables that people read, and a value in the row of every epoch.
pub const METRICS_MAX: usize = 100;
/// Longest name of a metric, in characters: it is the head of a column.
pub const METRIC_NAME_CHARACTERS_MAX: usize = 100;
/// Most values of one epoch that are read: ten times as many as are kept, so that a report can name the excess ones.
pub const METRICS_REPORTED_MAX: usize = 10 * METRICS_MAX;

/// SimpleCNN's metrics, for which the wire format and the first revision of the trainer protocol have fields.
pub mod known {
    /// Mean cross-entropy over the training images, in nats.
    pub const TRAIN_LOSS: &str = "train_loss";
    /// Share of validation images classified correctly, in [0, 1].
    pub const VAL_ACCURACY: &str = "val_accuracy";
    /// Mean cross-entropy over the validation images, in nats.
    pub const VAL_LOSS: &str = "val_loss";
    /// Share of the training images classified correctly during training, in [0, 1].
    pub const TRAIN_ACCURACY: &str = "train_accuracy";
}

/// The results of one epoch, as a sweep keeps them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u32,
    /// Time of the training loop alone.
    pub seconds: f64,
    /// The values of the sweep's metrics.
    pub row: MetricRow,
}

/// The name of a metric as a worker reports it. Up to 23 bytes, as most names have, are stored inline.
pub type MetricName = SmolStr;

/// Names and values of metrics. Up to four, as most epochs have, are stored inline: reports are built on one thread and
/// dropped on another, where allocations cost most.
pub type ReportedMetrics = SmallVec<[(MetricName, f64); 4]>;

/// The results of one epoch, as a worker reports them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EpochReport {
    /// Its number, from 1.
    pub number: u32,
    /// Time of the training loop alone.
    pub seconds: f64,
    /// Names and values. Of a repeated name, the last value counts.
    pub metrics: ReportedMetrics,
}

impl EpochReport {
    /// Whether an epoch can be kept. A value may be anything, also one that cannot be ranked.
    ///
    /// # Errors
    /// The epoch has no number or an impossible time.
    pub fn check(&self) -> Result<(), String> {
        let Self { number, seconds, .. } = self;
        if *number == 0 {
            return Err("epoch 0: epochs count from 1".to_owned());
        }
        if !(0.0..=EPOCH_SECONDS_MAX).contains(seconds) {
            return Err(format!("epoch {number} took {seconds} s: expected 0 to {EPOCH_SECONDS_MAX}"));
        }
        Ok(())
    }

    /// Roughly the memory that its names and values take outside of it.
    pub fn bytes(&self) -> usize {
        let names = self.metrics.iter().filter(|(name, _)| name.is_heap_allocated());
        let values = if self.metrics.spilled() { size_of_val(self.metrics.as_slice()) } else { 0 };
        values + names.map(|(name, _)| name.len()).sum::<usize>()
    }

    /// The value of the metric `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_a_number_and_a_possible_time_and_any_values() {
        let report = |number, seconds, value| EpochReport {
            number,
            seconds,
            metrics: [("x".into(), value), ("x".into(), 2.0)].into_iter().collect(),
        };
        assert_eq!(report(1, 0.0, f64::NAN).check(), Ok(()));
        assert_eq!(report(1, 0.0, f64::INFINITY).get("x"), Some(2.0));
        assert_eq!(report(1, 0.0, 0.5).bytes(), 0);
        for (number, seconds) in [(0, 1.0), (1, -1.0), (1, f64::NAN), (1, f64::INFINITY), (1, 4e7)] {
            assert!(report(number, seconds, 0.5).check().is_err(), "{number} {seconds}");
        }
    }
}
