//! Commands: what users ask of the engine that changes it, each with its own answer and its issuer.

use std::{fmt, sync::Arc};

use domain::{
    definition::SweepDefinition,
    points::CheckedPoint,
    record::{EndedJob, WeightsFile},
};
use terms::{AttemptKey, JobKey, ParameterValue, SweepId, WorkerName};

use super::{
    ControlError, Effect, Engine, NotSearchable, Now, Output, Revived, SweepView, WeightsAnswer, WorkerView,
    learning::Searcher,
};

/// Who gave a command, for people: the name of the token that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// The holder of the token of that name.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// Anyone who can reach a coordinator that requires no token.
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
    /// The answer, given once everything that it rests on is durable.
    type Answer: fmt::Debug + Send + 'static;

    /// Roughly the memory that its texts and lists take.
    fn bytes(&self) -> usize {
        0
    }

    /// Changes the state. What must be durable, and what must be done then, goes to `out`.
    ///
    /// # Errors
    /// The command is refused, and nothing has changed.
    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Self::Answer, ControlError>;
}

#[derive(Debug, Clone)]
pub struct Submit {
    /// What to run, with its grid; not numbered yet.
    definition: Box<SweepDefinition>,
    /// What proposes its points, where it learns.
    searcher: Option<Searcher>,
    /// Makes a repeated call harmless; empty for none.
    request_id: String,
}

impl Submit {
    /// Makes the searcher of the sweep, where it has one of its own: some milliseconds, so this must be done beside the engine.
    ///
    /// # Errors
    /// No search is possible in its space.
    pub fn new(definition: Box<SweepDefinition>, request_id: String) -> Result<Self, NotSearchable> {
        let searcher = Searcher::of(&definition)?;
        Ok(Self { definition, searcher, request_id })
    }
}

/// The answer to [`Submit`].
#[derive(Debug, Clone)]
pub struct Submitted {
    pub sweep: SweepView,
    /// Whether it is new.
    pub created: bool,
}

impl Command for Submit {
    type Answer = Submitted;

    fn bytes(&self) -> usize {
        let searcher = self.searcher.as_ref().map_or(0, Searcher::bytes);
        self.definition.specification.bytes() + searcher + self.request_id.len()
    }

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Submitted, ControlError> {
        let Self { definition, searcher, request_id } = self;
        engine.submit(now, (*definition, searcher), request_id, out)
    }
}

/// Adds jobs to a sweep or changes its settings.
#[derive(Debug, Clone)]
pub struct Extend {
    pub sweep: SweepId,
    /// The definition that the new one is based on.
    pub base: Arc<SweepDefinition>,
    /// The sweep as it must be.
    pub definition: Arc<SweepDefinition>,
    /// The searcher of a sweep that has ended, and gets more jobs.
    pub revived: Revived,
}

/// The answer to [`Extend`].
#[derive(Debug, Clone)]
pub struct Extended {
    pub sweep: SweepView,
    /// How many jobs were added.
    pub added_jobs: u64,
}

impl Command for Extend {
    type Answer = Extended;

    fn bytes(&self) -> usize {
        // Most is shared with the sweep that is kept.
        self.definition.specification.bytes() + self.revived.bytes()
    }

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Extended, ControlError> {
        let answer = engine.extend(now, &self, out);
        out.effects.extend(self.revived.discard().map(Effect::Discard));
        answer
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

/// Starts no more jobs; running ones finish.
#[derive(Debug, Clone)]
pub struct Stop(pub SweepId);

impl Command for Stop {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.stop(now, self.0, out)
    }
}

/// Ends a sweep now, with everything of it that runs.
#[derive(Debug, Clone)]
pub struct Cancel(pub SweepId);

impl Command for Cancel {
    type Answer = SweepView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<SweepView, ControlError> {
        engine.cancel(now, self.0, out)
    }
}

/// Identifies the ends of a sweep's jobs as they were when this was handed out. The engine replaces it when jobs are
/// retried or the sweep ends, and each engine has its own, so that a list read before a restart is of no use after it.
#[derive(Debug, Clone, Default)]
pub struct EndsSeen(Arc<()>);

impl PartialEq for EndsSeen {
    fn eq(&self, other: &Self) -> bool {
        // While someone holds one, no other has its address.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Retries jobs that failed or were cancelled.
#[derive(Debug, Clone)]
pub struct Retry {
    pub sweep: SweepId,
    /// The jobs, as the store had them after [`super::query::SeeEnds`] was answered.
    pub jobs: Vec<EndedJob>,
    /// Whether they are all that the sweep has: a sweep that was stopped or cancelled can only be retried as a whole.
    pub all: bool,
    /// The state of the ends that the list was read from.
    pub seen: EndsSeen,
    /// The searcher of a sweep that has ended.
    pub revived: Revived,
}

/// The answer to [`Retry`].
#[derive(Debug, Clone)]
pub struct Retried {
    pub sweep: SweepView,
    /// How many of its jobs are tried again.
    pub jobs: u64,
}

impl Command for Retry {
    type Answer = Retried;

    fn bytes(&self) -> usize {
        size_of_val(self.jobs.as_slice()) + self.revived.bytes()
    }

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Retried, ControlError> {
        let answer = engine.retry(now, &self, out);
        out.effects.extend(self.revived.discard().map(Effect::Discard));
        answer
    }
}

/// Gives a sweep the next points of a searcher outside.
#[derive(Debug, Clone)]
pub struct ProposePoints {
    pub sweep: SweepId,
    /// The number of the first of them.
    pub first_point: u64,
    pub points: Vec<CheckedPoint>,
    /// How many results the searcher had when it chose them.
    pub seen: u64,
    /// Whether no others will come.
    pub is_exhausted: bool,
}

/// The answer to [`ProposePoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    /// The number of the point after these.
    pub next_point: u64,
}

impl Command for ProposePoints {
    type Answer = Proposed;

    fn bytes(&self) -> usize {
        let of_value = |value: &ParameterValue| match value {
            ParameterValue::Text(text) => text.len(),
            _ => 0,
        };
        let parameters = self.points.iter().flat_map(|point| &point.parameters().0);
        parameters.map(|pair| size_of_val(pair) + pair.0.len() + of_value(&pair.1)).sum()
    }

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<Proposed, ControlError> {
        engine.propose_points(now, self, out)
    }
}

/// How a user ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It gets no more attempts; the running one finishes.
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

/// Tells a worker to take no more jobs and leave.
#[derive(Debug, Clone)]
pub struct Drain(pub WorkerName);

impl Command for Drain {
    type Answer = WorkerView;

    fn apply(self, engine: &mut Engine, now: Now, out: &mut Output) -> Result<WorkerView, ControlError> {
        engine.drain(now, &self.0, out)
    }
}

/// Reports that a file of weights is in its place, whole and synced to disk.
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

/// Reports that a worker no longer has weights that it offered.
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
