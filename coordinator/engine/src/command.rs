//! What is wanted of the engine and changes it: each command with its own answer, and with who gave it.

use std::{fmt, sync::Arc};

use domain::{
    definition::SweepDefinition,
    record::{EndedJob, WeightsFile},
};
use terms::{AttemptKey, JobKey, SweepId, WorkerName};

use super::{ControlError, Engine, Now, Output, SweepView, WeightsAnswer, WorkerView};

/// Who gave a command, for people: the name of the token that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// Whoever has a token of that name.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// Whoever can reach a coordinator that asks for no token.
    pub fn local() -> Self {
        Self::named("local")
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command and who gave it.
#[derive(Debug, Clone)]
pub struct Issued<C> {
    pub command: C,
    pub issuer: Issuer,
}

/// Something that changes the engine. [`Engine::execute`] carries it out.
pub trait Command: fmt::Debug + Clone + Send + 'static {
    /// What is answered once what it brought is durable.
    type Answer: fmt::Debug + Send + 'static;

    /// About how much memory its texts and lists take up.
    fn bytes(&self) -> usize {
        0
    }

    /// Changes the state; what must be durable and what is to be done then goes to `out`.
    ///
    /// # Errors
    /// The command is refused, and nothing has changed.
    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Self::Answer, ControlError>;
}

#[derive(Debug, Clone)]
pub struct Submit {
    /// What to run, with its grid; has no number yet.
    pub definition: Box<SweepDefinition>,
    /// Makes a repeated call harmless; empty for none.
    pub request_id: String,
}

/// What came of [`Submit`].
#[derive(Debug, Clone)]
pub struct Submitted {
    pub sweep: SweepView,
    /// Whether it is new.
    pub created: bool,
}

impl Command for Submit {
    type Answer = Submitted;

    fn bytes(&self) -> usize {
        self.definition.specification.bytes() + self.request_id.len()
    }

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Submitted, ControlError> {
        engine.submit(now, *self.definition, self.request_id, out)
    }
}

/// Adds jobs to a sweep or changes its settings.
#[derive(Debug, Clone)]
pub struct Extend {
    pub sweep: SweepId,
    /// What the definition was made of.
    pub base: Arc<SweepDefinition>,
    /// The sweep as it must be.
    pub definition: Arc<SweepDefinition>,
}

/// What came of [`Extend`].
#[derive(Debug, Clone)]
pub struct Extended {
    pub sweep: SweepView,
    /// How many jobs were added.
    pub added_jobs: u64,
}

impl Command for Extend {
    type Answer = Extended;

    fn bytes(&self) -> usize {
        // Most is shared with what is kept.
        self.definition.specification.bytes()
    }

    fn apply(self, engine: &mut Engine, _: Now, out: &mut Output) -> Result<Extended, ControlError> {
        engine.extend(self.sweep, &self.base, self.definition, out)
    }
}

/// Starts no more jobs until [`Resume`].
#[derive(Debug, Clone)]
pub struct Pause(pub SweepId);

impl Command for Pause {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.pause(now, self.0, out)
    }
}

/// Starts jobs again.
#[derive(Debug, Clone)]
pub struct Resume(pub SweepId);

impl Command for Resume {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, _: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.resume(self.0, out)
    }
}

/// Starts no more jobs; those that run come to their end.
#[derive(Debug, Clone)]
pub struct Stop(pub SweepId);

impl Command for Stop {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.stop(now, self.0, out)
    }
}

/// Ends a sweep now, with all that runs of it.
#[derive(Debug, Clone)]
pub struct Cancel(pub SweepId);

impl Command for Cancel {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.cancel(now, self.0, out)
    }
}

/// Stands for the ends of a sweep's jobs as they were when it was asked for: the engine has another one once jobs are tried
/// again, or the sweep has its end. Every engine has its own, so that what was seen before a restart is of no use after it.
#[derive(Debug, Clone, Default)]
pub struct EndsSeen(Arc<()>);

impl PartialEq for EndsSeen {
    fn eq(&self, other: &Self) -> bool {
        // Who holds one keeps its place from becoming another's.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Has jobs that failed or were cancelled tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    pub sweep: SweepId,
    /// The jobs, as the store had them after [`super::query::SeeEnds`] was answered.
    pub jobs: Vec<EndedJob>,
    /// Whether they are all that the sweep has: one that was stopped or cancelled can only be taken up as a whole.
    pub all: bool,
    /// That answer.
    pub seen: EndsSeen,
}

/// What came of [`Retry`].
#[derive(Debug, Clone)]
pub struct Retried {
    pub sweep: SweepView,
    /// How many of its jobs are tried again.
    pub jobs: u64,
}

impl Command for Retry {
    type Answer = Retried;

    fn bytes(&self) -> usize {
        size_of_val(self.jobs.as_slice())
    }

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Retried, ControlError> {
        engine.retry(now, &self, out)
    }
}

/// How a user ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It gets no more attempts; the one that runs goes on.
    Stop,
    /// It ends now.
    Cancel,
}

#[derive(Debug, Clone)]
pub struct EndJob {
    pub job: JobKey,
    pub how: JobEnd,
}

impl Command for EndJob {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.end_job(now, self.job, self.how, out)
    }
}

/// Has a worker take no more jobs and leave.
#[derive(Debug, Clone)]
pub struct Drain(pub WorkerName);

impl Command for Drain {
    type Answer = WorkerView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<WorkerView, ControlError> {
        engine.drain(now, &self.0, out)
    }
}

/// A file of weights lies where it must lie, whole and forced to the disk.
#[derive(Debug, Clone)]
pub struct KeepWeights {
    pub attempt: AttemptKey,
    pub file: WeightsFile,
}

impl Command for KeepWeights {
    type Answer = WeightsAnswer;

    fn apply(self, engine: &mut Engine, _: Now, out: &mut Output) -> Result<WeightsAnswer, ControlError> {
        Ok(engine.weights_kept(self.attempt, &self.file, out))
    }
}

/// A worker does not have the weights any more that it said it had.
#[derive(Debug, Clone)]
pub struct GiveUpWeights {
    pub attempt: AttemptKey,
    /// What they were.
    pub file: WeightsFile,
    pub reason: String,
}

impl Command for GiveUpWeights {
    type Answer = WeightsAnswer;

    fn apply(self, engine: &mut Engine, _: Now, out: &mut Output) -> Result<WeightsAnswer, ControlError> {
        Ok(engine.weights_lost(self.attempt, &self.file, self.reason, out))
    }
}
