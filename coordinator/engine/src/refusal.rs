//! Why users' wishes are refused, in words for them.

use domain::specification::MetricUse;
use terms::{JobKey, SweepId, SweepState, WorkerName};

/// Why a user's wish is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such sweep.
    #[error("there is no sweep {0}; `sweep ls` lists the sweeps")]
    NoSuchSweep(SweepId),
    /// Somebody else extended or set the sweep meanwhile, or had its jobs tried again.
    #[error("the sweep was changed by somebody else at the same time; try again")]
    Overtaken,
    /// The sweep has no such job.
    #[error("sweep {sweep} has the jobs 1 to {jobs}, not {job}", sweep = .job.sweep, job = .job.job)]
    NoSuchJob {
        /// What was asked for.
        job: JobKey,
        /// How many there are.
        jobs: u64,
    },
    /// The job has its end, whichever that is.
    #[error("job {0} has ended already")]
    JobHasEnded(JobKey),
    /// Jobs of a sweep that was stopped or cancelled are taken up together.
    #[error("sweep {sweep} is {state}; `sweep retry {sweep}` takes all of its jobs up again", state = .state.as_str())]
    OnlyAsAWhole { sweep: SweepId, state: SweepState },
    /// Which epochs count stays as it is while there are weights that were chosen by them.
    #[error(
        "weights of sweep {sweep} are kept or on their way that were chosen with `metric.use: {used}`, so it stays that; \
         submit another sweep to choose otherwise",
        used = .used.as_str()
    )]
    WeightsChosen {
        sweep: SweepId,
        /// What they were chosen by.
        used: MetricUse,
    },
    /// The specifications of all sweeps together would be too long.
    #[error(
        "this coordinator's sweeps have specifications of {kept} bytes, and {bytes} more would be too many to keep in memory;          write ranges instead of long lists, or submit to a coordinator with another store"
    )]
    TooManySpecifications {
        /// Of all sweeps, in bytes.
        kept: usize,
        /// What should be added.
        bytes: usize,
    },
    /// The data set of results that are all there moves, and no job is left whose worker would look at it.
    #[error(
        "all jobs of sweep {sweep} are done with the data set at {path}, so that no worker would see whether another path has \
         the same pictures; leave `dataset.path` as it is, or submit another sweep for other pictures"
    )]
    NobodyLooks {
        sweep: SweepId,
        /// Where its data set was.
        path: String,
    },
    /// There is no such worker.
    #[error("no worker {0} is connected; `sweep workers` lists the workers")]
    NoSuchWorker(WorkerName),
    /// The sweep has its end.
    #[error("sweep {sweep} is {state} already", state = .state.as_str())]
    AlreadyFinal { sweep: SweepId, state: SweepState },
}
