//! Learning curves of some jobs, and jobs by their numbers.

use std::sync::Arc;

use engine::query::Defined;
use store::{CountingEpochs, JobRow};
use terms::SweepId;

use super::{
    Api, ApiError,
    error::unreadable,
    jobs::{JobView, check_job},
};

/// Jobs whose learning curves are asked for at once, and jobs that are asked for by their numbers.
const CURVES_MAX: usize = 64;
const NUMBERED_MAX: usize = 200;
/// Metrics that are named where one is not known: as many as a line of an error has room for.
const NAMED_MAX: usize = 20;
/// Points of a curve: more than a screen has.
const POINTS_MAX: usize = 2_000;

/// A learning curve: a metric of the epochs of a job that count.
#[derive(Debug)]
pub struct Curve {
    /// Whose.
    pub job: u64,
    /// Numbers of epochs, rising; of a long curve some, evenly, with the last.
    pub epochs: Vec<u32>,
    /// The metric's value at each; none where the epoch has none.
    pub values: Vec<Option<f64>>,
}

impl Api {
    /// Some jobs by their numbers, in the order in which they are asked for.
    ///
    /// # Errors
    /// They are too many, or the sweep has no such job.
    pub async fn jobs_numbered(&self, sweep: SweepId, numbers: &[u64]) -> Result<Vec<JobView>, ApiError> {
        let defined = self.defined(sweep).await?;
        check_numbers(&defined, numbers, NUMBERED_MAX)?;
        let mut jobs = Vec::with_capacity(numbers.len());
        for number in numbers {
            jobs.extend(self.jobs_between(&defined, *number, *number).await?);
        }
        Ok(jobs)
    }

    /// The learning curves of some jobs.
    ///
    /// # Errors
    /// They are too many, or the sweep has no such job or metric.
    pub async fn curves(
        &self,
        sweep: SweepId,
        numbers: &[u64],
        metric: &str,
    ) -> Result<Vec<Curve>, ApiError> {
        let defined = self.defined(sweep).await?;
        check_numbers(&defined, numbers, CURVES_MAX)?;
        self.check_metric(&defined, metric).await?;
        let mut curves = Vec::with_capacity(numbers.len());
        for number in numbers {
            let row = self.store.jobs(sweep, *number, 1).await.map_err(unreadable)?.pop();
            let mut curve = Curve { job: *number, epochs: Vec::new(), values: Vec::new() };
            if let Some(row) = row.filter(|row| row.job == *number) {
                self.read_curve(sweep, &row, metric, &mut curve).await?;
            }
            curves.push(curve);
        }
        Ok(curves)
    }

    /// The metric that ranks jobs may be asked for before it has arrived.
    async fn check_metric(&self, defined: &Defined, metric: &str) -> Result<(), ApiError> {
        let objective = &defined.definition.metric.name;
        if **objective == *metric {
            return Ok(());
        }
        let view = self.view(defined.definition.id).await?;
        let mut names: Vec<&str> = view.metrics.names().iter().map(|name| &**name).collect();
        if names.contains(&metric) {
            return Ok(());
        }
        if !names.contains(&&**objective) {
            names.insert(0, objective);
        }
        let more = names.len().saturating_sub(NAMED_MAX);
        let mut named =
            names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        Err(ApiError::Invalid(format!("the sweep has no `metric` {metric:?}: so far there are {named}")))
    }

    async fn read_curve(
        &self,
        sweep: SweepId,
        row: &JobRow,
        metric: &str,
        curve: &mut Curve,
    ) -> Result<(), ApiError> {
        let mut counting = CountingEpochs::new(Arc::clone(&self.store) as _, sweep, row.job, row.job);
        let every = (row.epochs_done as usize).div_ceil(POINTS_MAX).max(1);
        while let Some(epoch) =
            counting.next(row.job, row.attempts, row.epochs_done).await.map_err(unreadable)?
        {
            let number = epoch.epoch.number;
            if (number as usize).is_multiple_of(every) || number == row.epochs_done || number == 1 {
                curve.epochs.push(number);
                curve.values.push(epoch.names.get(&epoch.epoch.row, metric));
            }
        }
        Ok(())
    }
}

fn check_numbers(defined: &Defined, numbers: &[u64], most: usize) -> Result<(), ApiError> {
    if numbers.is_empty() || numbers.len() > most {
        return Err(ApiError::Invalid(format!("`jobs` names 1 to {most} jobs, not {}", numbers.len())));
    }
    numbers.iter().try_for_each(|number| check_job(&defined.definition, *number))
}
