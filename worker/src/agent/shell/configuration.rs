//! What an agent is started with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::agent::{
    gpus::Gpus, metrics::Metrics, notice::Notice, slots::Trainers, target::Target, traced::Traced,
    wire::Identity,
};

/// Everything that an agent needs to know.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) target: Target,
    /// The identity of this worker, with its slots.
    pub(crate) identity: Identity,
    /// What its GPUs do.
    pub(crate) gpus: Gpus,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What makes its spans.
    pub(crate) traced: Traced,
    /// How each slot's trainer is started.
    pub(crate) trainers: Vec<Trainers>,
    /// Folder of the spool.
    pub(crate) spool: PathBuf,
    /// Folder in which the files of users' programs are kept by content.
    pub(crate) files_cache: PathBuf,
    /// Where relative paths of data sets start; absolute.
    pub(crate) data_root: PathBuf,
    /// How long running jobs may continue after the first request to leave.
    pub(crate) grace: Duration,
    /// Says whether the machine will be taken away.
    pub(crate) notice: Notice,
    /// Whether checkpoints of jobs that are handed back go to the coordinator, because they are kept on this machine alone.
    pub(crate) hands_over: bool,
    /// After how long without a job it leaves; none for never.
    pub(crate) exit_when_idle: Option<Duration>,
    /// How long a trainer that has jobs may be silent; none for no limit.
    pub(crate) trainer_silence: Option<Duration>,
    /// Whether it ends with [`AgentError::NameTaken`] if another worker has its name, instead of trying again.
    pub(crate) leaves_its_name: bool,
    /// Most bytes of events that the coordinator has not acknowledged; beyond it the trainers wait.
    pub(crate) spool_bytes_max: u64,
    /// How long the coordinator may refuse this worker after it had accepted it.
    pub(crate) refused_within: Duration,
    /// Most bytes of weights that wait for the coordinator; beyond it the trainers wait, too.
    pub(crate) weights_bytes_max: u64,
}
