//! All jobs of a sweep that had an attempt, column by column: what charts of a hundred thousand jobs are drawn from, and what the table of
//! jobs is sorted and filtered by. Rows come from the store in pages, and parameters from the definition, which computes them.

mod filling;
mod parameters;

use std::sync::Arc;

use domain::record::Rung;
use engine::{JobCounts, query::Defined};
use store::JobRow;
use terms::{Goal, JobState, MetricUse, SweepId};

use self::filling::Filling;
pub(super) use self::filling::{exact, number};
pub use self::{filling::ParameterColumn, parameters::JobParameters};
use super::{Api, ApiError, jobs::shown};

/// Most jobs of which there are columns, and most values of them together, but for those of one page of jobs more: a hundred megabytes. Of a
/// larger sweep, those that come first by their numbers.
const ROWS_MAX: usize = 1_000_000;
pub const CELLS_MAX: usize = 24_000_000;
/// Columns of every sweep: number, state, epochs, objective, time, pack size, best epoch, attempts, worker.
const COMMON_COLUMNS: usize = 9;

/// Jobs, column by column. All columns have one entry for each job.
#[derive(Debug, Default)]
pub struct JobColumns {
    /// Whether large objectives are good.
    pub maximize: bool,
    /// Their numbers, rising.
    pub jobs: Vec<u32>,
    /// Their states as users see them.
    pub states: Vec<JobState>,
    /// Epochs that count.
    pub epochs_done: Vec<u32>,
    /// The objective, at the best epoch or the last, as the sweep ranks jobs; NaN where there is none.
    pub objectives: Vec<f32>,
    /// Seconds of the training loops of the epochs that count.
    pub train_seconds: Vec<f32>,
    /// Jobs that were trained together, and share that time, each with itself: at least 1.
    pub pack_sizes: Vec<u32>,
    /// The epoch with the best value of the objective; NaN where there is none.
    pub best_epochs: Vec<f32>,
    /// How many attempts began.
    pub attempts: Vec<u32>,
    /// The worker of the last attempt.
    pub workers: ParameterColumn,
    /// See [`JobColumns::parameters`].
    pub parameters: JobParameters,
    /// The metrics at the last epoch, by their names; NaN where there is no value.
    pub metrics: Vec<(String, Vec<f32>)>,
    /// What jobs had reached at the rungs of early stopping, rising by their epochs.
    pub rungs: Vec<RungColumn>,
    /// Jobs that had an attempt and are not here.
    pub left_out: u64,
}

/// The jobs that have reached a rung.
#[derive(Debug, Default)]
pub struct RungColumn {
    /// After how many epochs it is.
    pub epoch: u32,
    /// Each job by its place among the columns, rising; its value there, NaN without one; and whether it trains on from there.
    pub reached: Vec<(u32, f32, bool)>,
}

impl Api {
    /// All jobs of a sweep that had an attempt, column by column.
    ///
    /// # Errors
    /// There is no such sweep, or the store cannot be read.
    pub async fn columns(&self, sweep: SweepId) -> Result<JobColumns, ApiError> {
        let defined = self.defined(sweep).await?;
        let maximize = defined.definition.metric.goal == Goal::Maximize;
        let parameters = JobParameters::of(Arc::clone(&defined.definition));
        let mut columns = JobColumns { maximize, parameters, ..JobColumns::default() };
        let mut workers = Filling::new();
        let mut pages = self.pages(sweep);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| columns.push(&defined, row, &mut workers));
            if columns.jobs.len() >= ROWS_MAX || columns.cells() >= CELLS_MAX {
                columns.left_out =
                    begun(&self.view(sweep).await?.counts).saturating_sub(columns.jobs.len() as u64);
                break;
            }
            tokio::task::yield_now().await;
        }
        columns.workers = workers.column;
        Ok(columns)
    }
}

/// Jobs that had an attempt, without those that wait for another or were cancelled.
fn begun(counts: &JobCounts) -> u64 {
    let JobCounts { running, paused, done, diverged, stopped, failed, .. } = *counts;
    running + paused + done + diverged + stopped + failed
}

impl JobColumns {
    /// Roughly how many values there are.
    pub fn cells(&self) -> usize {
        let rungs: usize = self.rungs.iter().map(|rung| 3 * rung.reached.len()).sum();
        self.jobs.len() * (COMMON_COLUMNS + self.parameter_names().count() + self.metrics.len()) + rungs
    }

    /// The names of the parameters that vary, in the order of the space.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.parameters.names()
    }

    /// The parameters that vary, in the order of the space. The first who asks computes them, which of a large sweep takes some tenths of a
    /// second.
    pub fn parameters(&self) -> &[(String, ParameterColumn)] {
        self.parameters.columns(&self.jobs)
    }

    fn push(&mut self, defined: &Defined, row: &JobRow, workers: &mut Filling) {
        let Ok(job) = u32::try_from(row.job) else {
            self.left_out += 1;
            return;
        };
        let objective = match defined.definition.metric.used {
            MetricUse::Best => row.best.as_ref().map(|best| best.value),
            MetricUse::Last => row.objective,
        };
        self.jobs.push(job);
        self.states.push(shown(row.state, defined.state));
        self.epochs_done.push(row.epochs_done);
        self.objectives.push(objective.map_or(f32::NAN, |value| value as f32));
        // Without an epoch nothing was measured, as the JSON of a job has it.
        self.train_seconds.push(if row.epochs_done > 0 { row.train_seconds as f32 } else { f32::NAN });
        self.pack_sizes.push(row.pack_size.max(1));
        self.best_epochs.push(row.best.as_ref().map_or(f32::NAN, |best| best.epoch as f32));
        self.attempts.push(row.attempts);
        workers.push_text(&row.worker);
        self.push_metrics(row);
        self.push_rungs(&row.rungs);
    }

    fn push_metrics(&mut self, row: &JobRow) {
        let before = self.jobs.len() - 1;
        // A sweep's metrics keep their places; more may come while rows are read.
        for name in row.names.names().iter().skip(self.metrics.len()) {
            self.metrics.push((name.to_string(), vec![f32::NAN; before]));
        }
        for (place, (_, values)) in self.metrics.iter_mut().enumerate() {
            values.push(row.last.get(place).map_or(f32::NAN, |value| value as f32));
        }
    }

    fn push_rungs(&mut self, rungs: &[Rung]) {
        let row = u32::try_from(self.jobs.len() - 1).unwrap_or(u32::MAX);
        for Rung { epoch, value, goes_on } in rungs {
            let place = self.rungs.partition_point(|known| known.epoch < *epoch);
            if self.rungs.get(place).is_none_or(|known| known.epoch != *epoch) {
                self.rungs.insert(place, RungColumn { epoch: *epoch, reached: Vec::new() });
            }
            let value = value.map_or(f32::NAN, |value| value as f32);
            self.rungs[place].reached.push((row, value, *goes_on));
        }
    }
}
