//! The metrics of a sweep: what a worker reports by name becomes a row of values in the order of the sweep's names, which grow
//! with what comes in.

use std::sync::Arc;

use terms::{EpochReport, METRIC_NAME_CHARACTERS_MAX, METRICS_MAX, MISSING, MetricNameError, MetricRow};

use super::SweepRun;

/// Values that were not kept, since the coordinator started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOutMetrics {
    /// How many.
    pub values: u64,
    /// Why, with the first such name, for people; empty where all were kept.
    pub reason: String,
}

/// What an epoch brought, in the order of its sweep's names.
pub(crate) struct Measured {
    pub(crate) row: MetricRow,
    /// Names that the sweep did not have.
    pub(crate) named: Vec<Arc<str>>,
    /// The value of the objective, where it can be ranked: a number, and no infinity.
    pub(crate) objective: Option<f64>,
}

impl SweepRun {
    /// The value of the objective in a row, where it can be ranked.
    pub(crate) fn objective_of(&self, row: &MetricRow) -> Option<f64> {
        self.metrics.get(row, &self.definition.metric.name).filter(|value| value.is_finite())
    }

    /// Takes in what an epoch brought. New names are the sweep's from now on; what has no room, or no proper name, is counted.
    pub(crate) fn measure(&mut self, report: &EpochReport) -> Measured {
        let known = self.metrics.len();
        let mut values = [MISSING; METRICS_MAX];
        for (place, (name, value)) in report.metrics.iter().enumerate() {
            match self.place_of(place, name) {
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

    /// The place of a metric, which may be new. The last one is kept free for the objective.
    fn place_of(&mut self, guess: usize, name: &str) -> Result<usize, MetricNameError> {
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
