//! Why users' commands are refused, with texts for people.

use domain::specification::MetricUse;
use terms::{JobKey, SweepId, SweepState, WorkerName};

use super::{control::SPECIFICATIONS_BYTES_OF_OWNER_MAX, shares::QUOTAS_MAX};

/// Why a user's command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such sweep.
    #[error("there is no sweep {0}; `sweep ls` lists the sweeps")]
    NoSuchSweep(SweepId),
    /// It belongs to someone else.
    #[error("sweep {sweep} belongs to {owner}: only its owner and admins change it")]
    NotYours { sweep: SweepId, owner: String },
    #[error("there are quotas for {QUOTAS_MAX} owners already, which is the maximum")]
    TooManyQuotas,
    /// Someone else extended or set the sweep meanwhile, or retried jobs of it.
    #[error("someone else changed the sweep at the same time; try again")]
    Overtaken,
    /// The sweep has no such job.
    #[error("sweep {sweep} has the jobs 1 to {jobs}, not {job}", sweep = .job.sweep, job = .job.job)]
    NoSuchJob {
        /// What was asked for.
        job: JobKey,
        /// How many there are.
        jobs: u64,
    },
    /// The job has ended, in whatever way.
    #[error("job {0} has ended already")]
    JobHasEnded(JobKey),
    /// Jobs of a sweep that was stopped or cancelled are retried together.
    #[error("sweep {sweep} is {state}, so that its jobs go on together or not at all", state = .state.as_str())]
    OnlyAsAWhole { sweep: SweepId, state: SweepState },
    /// The epochs that count cannot change while there are weights that were chosen by them.
    #[error(
        "sweep {sweep} has weights that were chosen with `metric.use: {used}`, so that setting cannot change; \
         submit another sweep to choose otherwise",
        used = .used.as_str()
    )]
    WeightsChosen {
        sweep: SweepId,
        /// What they were chosen by.
        used: MetricUse,
    },
    /// The specifications of all sweeps together, with the points that searches keep, would be too long.
    #[error(
        "this coordinator's sweeps have specifications and searched points of {kept} bytes, and {bytes} more would not fit in \
         memory; write ranges instead of long lists, or submit to a coordinator with another store"
    )]
    TooManySpecifications {
        /// Of all sweeps, in bytes.
        kept: usize,
        /// Of the one to add.
        bytes: usize,
    },
    /// Those of one owner would be.
    #[error(
        "the sweeps of {owner} have specifications and searched points of {kept} bytes, and with {bytes} more they would have more than \
         the {SPECIFICATIONS_BYTES_OF_OWNER_MAX} that one owner may have; write ranges instead of long lists, or ask an admin to submit it"
    )]
    TooManySpecificationsOfOwner {
        owner: String,
        /// Of the owner's sweeps, in bytes.
        kept: usize,
        /// Of the one to add.
        bytes: usize,
    },
    /// The data set of a sweep with complete results moves, and no job is left whose worker would check it.
    #[error(
        "all jobs of sweep {sweep} are done with the data set at {path}, so that no worker would see whether another path has \
         the same pictures; leave `dataset.path` as it is, or submit another sweep for other pictures"
    )]
    NobodyLooks {
        sweep: SweepId,
        /// The path of its data set.
        path: String,
    },
    /// The sweep's points do not come from outside.
    #[error(
        "sweep {0} chooses its points by itself; points from outside are for sweeps with `method: external`"
    )]
    NotFromOutside(SweepId),
    /// A point has been proposed otherwise.
    #[error(
        "point {point} of sweep {sweep} has other parameters already; one searcher at a time may propose points, from the number \
         that the sweep says is the next"
    )]
    PointIsOther { sweep: SweepId, point: u64 },
    /// There would be a gap.
    #[error(
        "the next point of sweep {sweep} is {next}, so that none can begin at {first}; propose from {next} on"
    )]
    PointsMissing { sweep: SweepId, first: u64, next: u64 },
    /// There may not be so many points.
    #[error(
        "sweep {sweep} has {points} points at most; `sweep submit --extend {sweep}` with a larger `run_cap` makes it more"
    )]
    TooManyPoints { sweep: SweepId, points: u64 },
    /// A searcher says that it has seen what is not there.
    #[error(
        "sweep {sweep} has {told} results so far, and the searcher says that it has seen {seen}; start it again without what it remembers, so that it hears all of them"
    )]
    NoSuchResult { sweep: SweepId, seen: u64, told: u64 },
    /// A search that ends before it has begun.
    #[error(
        "sweep {0} has no point yet, so that it cannot end with those that it has; `sweep cancel {0}` ends it"
    )]
    NoPointYet(SweepId),
    /// There is no such worker.
    #[error("no worker {0} is connected; `sweep workers` lists the workers")]
    NoSuchWorker(WorkerName),
    /// A job has what the sweep looks for.
    #[error(
        "{why}, so sweep {sweep} trains no more; give it another target first, `sweep set {sweep} metric.target=VALUE`, or none, \
         `metric.target=none`"
    )]
    TargetReached {
        sweep: SweepId,
        /// Which job, and by which value.
        why: String,
    },
    /// The file that adds jobs has a target that is reached, and not the one that the sweep has by now.
    #[error(
        "{why}, which is this file's `metric.target`: sweep {sweep} would train none of its jobs; change it in the file, or remove it"
    )]
    TargetOfFileReached {
        sweep: SweepId,
        /// Which job, and by which value.
        why: String,
    },
    /// The sweep has ended before all its jobs had, and is to get others.
    #[error(
        "sweep {sweep} is {state}, and takes no jobs; `sweep retry {sweep}` has it go on, and then it takes them",
        state = .state.as_str()
    )]
    EndedEarly { sweep: SweepId, state: SweepState },
    /// The sweep has ended.
    #[error(
        "sweep {sweep} is {state} already: no more of its jobs begin, so that nothing of it can be paused, resumed or stopped; `sweep show \
         {sweep}` shows what it has",
        state = .state.as_str()
    )]
    AlreadyFinal { sweep: SweepId, state: SweepState },
}
