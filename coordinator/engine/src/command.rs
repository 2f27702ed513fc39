//! Commands: what users ask of the engine that changes it, each with its own answer and its issuer.

mod submit;

use std::{fmt, sync::Arc};

use domain::{
    definition::SweepDefinition,
    points::CheckedPoint,
    record::{EndedJob, Quota, Record, Token, WeightsFile},
};
use terms::{AttemptKey, JobKey, ParameterValue, SweepId, WorkerName, count};

use super::{
    ControlError, Effect, Engine, Issuer, Now, Output, QuotaView, Revived, SweepView, WeightsAnswer,
    WorkerView,
};

pub use self::submit::{Submit, Submitted};

/// A command and who gave it.
#[derive(Debug, Clone)]
pub struct Issued<C> {
    pub command: C,
    pub issuer: Issuer,
}

/// The answer to a command, or why it is refused.
pub type Answered<C> = Result<<C as Command>::Answer, ControlError>;

/// Something that changes the engine. [`Engine::execute`] carries it out.
pub trait Command: fmt::Debug + Clone + Send + 'static {
    /// The answer, given once everything that it rests on is durable.
    type Answer: fmt::Debug + Send + 'static;

    /// Roughly the memory that its texts and lists take.
    fn bytes(&self) -> usize {
        0
    }

    /// The sweep that it changes, which has to be its issuer's.
    fn sweep(&self) -> Option<SweepId> {
        None
    }

    /// What is told of it where changes are accounted for; nothing of what workers do.
    fn deed(&self) -> Option<String> {
        None
    }

    /// Changes the state, as someone wants it who may. What must be durable, and what must be done then, goes to `out`.
    ///
    /// # Errors
    /// The command is refused, and nothing has changed.
    fn apply(self, engine: &mut Engine, now: Now, by: &Issuer, out: &mut Output) -> Answered<Self>;
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

    fn sweep(&self) -> Option<SweepId> {
        Some(self.sweep)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("change sweep {}", self.sweep))
    }

    fn apply(self, engine: &mut Engine, now: Now, by: &Issuer, out: &mut Output) -> Answered<Self> {
        let answer = engine.extend(now, &self, by, out);
        out.effects.extend(self.revived.discard().map(Effect::Discard));
        answer
    }
}

/// Starts no more jobs until [`Resume`].
#[derive(Debug, Clone)]
pub struct Pause(pub SweepId);

impl Command for Pause {
    type Answer = SweepView;

    fn sweep(&self) -> Option<SweepId> {
        Some(self.0)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("pause sweep {}", self.0))
    }

    fn apply(self, engine: &mut Engine, now: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        engine.pause(now, self.0, out)
    }
}

/// Starts jobs again.
#[derive(Debug, Clone)]
pub struct Resume(pub SweepId);

impl Command for Resume {
    type Answer = SweepView;

    fn sweep(&self) -> Option<SweepId> {
        Some(self.0)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("resume sweep {}", self.0))
    }

    fn apply(self, engine: &mut Engine, _: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        engine.resume(self.0, out)
    }
}

/// Starts no more jobs; running ones finish.
#[derive(Debug, Clone)]
pub struct Stop(pub SweepId);

impl Command for Stop {
    type Answer = SweepView;

    fn sweep(&self) -> Option<SweepId> {
        Some(self.0)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("stop sweep {}", self.0))
    }

    fn apply(self, engine: &mut Engine, now: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        engine.stop(now, self.0, out)
    }
}

/// Ends a sweep now, with everything of it that runs.
#[derive(Debug, Clone)]
pub struct Cancel(pub SweepId);

impl Command for Cancel {
    type Answer = SweepView;

    fn sweep(&self) -> Option<SweepId> {
        Some(self.0)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("cancel sweep {}", self.0))
    }

    fn apply(self, engine: &mut Engine, now: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
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

    fn sweep(&self) -> Option<SweepId> {
        Some(self.sweep)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("retry {} of sweep {}", count(self.jobs.len() as u64, "job"), self.sweep))
    }

    fn apply(self, engine: &mut Engine, now: Now, by: &Issuer, out: &mut Output) -> Answered<Self> {
        let answer = engine.retry(now, &self, by, out);
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

    fn sweep(&self) -> Option<SweepId> {
        Some(self.sweep)
    }

    fn deed(&self) -> Option<String> {
        Some(format!("propose {} of sweep {}", count(self.points.len() as u64, "point"), self.sweep))
    }

    fn bytes(&self) -> usize {
        let of_value = |value: &ParameterValue| match value {
            ParameterValue::Text(text) => text.len(),
            _ => 0,
        };
        let parameters = self.points.iter().flat_map(|point| &point.parameters().0);
        parameters.map(|pair| size_of_val(pair) + pair.0.len() + of_value(&pair.1)).sum()
    }

    fn apply(self, engine: &mut Engine, now: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
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

    fn sweep(&self) -> Option<SweepId> {
        Some(self.job.sweep)
    }

    fn deed(&self) -> Option<String> {
        let how = match self.how {
            JobEnd::Stop => "stop",
            JobEnd::Cancel => "cancel",
        };
        Some(format!("{how} job {}", self.job))
    }

    fn apply(self, engine: &mut Engine, now: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        engine.end_job(now, self.job, self.how, out)
    }
}

/// Tells a worker to take no more jobs and leave.
#[derive(Debug, Clone)]
pub struct Drain(pub WorkerName);

impl Command for Drain {
    type Answer = WorkerView;

    fn deed(&self) -> Option<String> {
        Some(format!("drain worker {:?}", self.0.as_str()))
    }

    fn apply(self, engine: &mut Engine, now: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
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

    fn apply(self, engine: &mut Engine, _: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
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

    fn apply(self, engine: &mut Engine, _: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        Ok(engine.weights_lost(self.attempt, &self.file, self.reason, out))
    }
}

/// Sets an owner's quota; one that says nothing lifts it.
#[derive(Debug, Clone)]
pub struct KeepQuota(pub Quota);

impl Command for KeepQuota {
    type Answer = QuotaView;

    fn deed(&self) -> Option<String> {
        let Quota { owner, slots, weight, .. } = &self.0;
        Some(match slots {
            _ if self.0.is_lifted() => format!("lift the quota of {owner:?}"),
            Some(slots) => {
                format!("set the quota of {owner:?} to {}, weight {weight}", count((*slots).into(), "slot"))
            }
            None => format!("set the weight of {owner:?} to {weight}"),
        })
    }

    fn apply(self, engine: &mut Engine, _: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        engine.keep_quota(self.0, out)
    }
}

/// Keeps a token, or what became of it. The engine itself knows no tokens: the record alone counts.
#[derive(Debug, Clone)]
pub struct KeepToken(pub Token);

impl Command for KeepToken {
    type Answer = ();

    fn deed(&self) -> Option<String> {
        let Token { id, name, role, revoked_unix_ms, .. } = &self.0;
        let verb = if revoked_unix_ms.is_some() { "revoke" } else { "create" };
        Some(format!("{verb} token {id} of {name:?} ({})", role.as_str()))
    }

    fn apply(self, _: &mut Engine, _: Now, _: &Issuer, out: &mut Output) -> Answered<Self> {
        out.records.push(Record::TokenKept(Box::new(self.0)));
        Ok(())
    }
}
