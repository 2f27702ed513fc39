//! The metrics of a sweep: a worker's named values become a row in the order of the sweep's metric names, to which new
//! ones are added.

use std::sync::Arc;

use terms::{EpochReport, METRIC_NAME_CHARACTERS_MAX, METRICS_MAX, MISSING, MetricNameError, MetricRow};

use super::SweepRun;

/// Values that were dropped since the coordinator started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOutMetrics {
    pub values: u64,
    /// Why, with the first such name, for people; empty where none was dropped.
    pub reason: String,
}

/// The results of an epoch, in the order of its sweep's metric names.
pub(crate) struct Measured {
    pub(crate) row: MetricRow,
    /// Names that are new to the sweep.
    pub(crate) named: Vec<Arc<str>>,
    /// The value of the objective, where it can be ranked: a finite number.
    pub(crate) objective: Option<f64>,
}

impl SweepRun {
    /// The value of the objective in a row, where it can be ranked.
    pub(crate) fn objective_of(&self, row: &MetricRow) -> Option<f64> {
        self.metrics.get(row, &self.definition.metric.name).filter(|value| value.is_finite())
    }

    /// Takes in the results of an epoch. New names become the sweep's; what has no room, or no valid name, is counted.
    pub(crate) fn measure(&mut self, report: &EpochReport) -> Measured {
        let known = self.metrics.len();
        let mut values = [MISSING; METRICS_MAX];
        for (guess, (name, value)) in report.metrics.iter().enumerate() {
            match self.index_of(guess, name) {
                Ok(index) => values[index] = *value,
                Err(error) => {
                    self.left_out.values += 1;
                    if self.left_out.reason.is_empty() {
                        let name: String = name.chars().take(METRIC_NAME_CHARACTERS_MAX).collect();
                        self.left_out.reason = format!("the metric {name:?} is not kept: {error}");
                    }
                }
            }
        }
        let row = MetricRow::new(&values[..self.metrics.len()]);
        let objective = self.objective_of(&row);
        Measured { row, named: self.metrics.names()[known..].to_vec(), objective }
    }

    /// The index of a metric, which may be new. The last one is reserved for the objective.
    fn index_of(&mut self, guess: usize, name: &str) -> Result<usize, MetricNameError> {
        if let Some(index) = self.metrics.index_near(guess, name) {
            return Ok(index);
        }
        let objective = &*self.definition.metric.name;
        let is_full = self.metrics.len() == METRICS_MAX - 1
            && name != objective
            && self.metrics.index(objective).is_none();
        if is_full { Err(MetricNameError::TooMany) } else { self.metrics.add(name) }
    }
}
