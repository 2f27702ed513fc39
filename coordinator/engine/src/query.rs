//! Queries: what is asked of the engine without changing it, each with its own answer.

use std::{cmp::Reverse, collections::BTreeMap, fmt, sync::Arc};

use domain::{definition::SweepDefinition, proposals::LearnedResult, record::WeightsFile};
use terms::{
    AttemptKey, JobKey, ParameterMap, SweepId, SweepState, WorkerName,
    manifest::{Described, ManifestHash},
};

use super::{
    ControlError, EndsSeen, Engine, Now, QuotaView, Snapshot, SweepView, WeightsAnswer, WeightsNames,
    WorkerView, control::stopped_as, learning::Learning, sweep_run::SweepRun, weights::weights_folder,
    workers::WorkerState,
};

/// A query. [`Engine::ask`] answers it.
pub trait Query: fmt::Debug + Clone + Send + Sync + 'static {
    /// The answer, given once everything that it rests on is durable.
    type Answer: fmt::Debug + Send + 'static;

    /// The query in a form for an engine that has only read its store and heard no worker; none where such an engine
    /// cannot know the answer.
    fn for_store(&self) -> Option<Self> {
        None
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// What it asks for does not exist.
    fn answer(&self, engine: &Engine, now: Now) -> Result<Self::Answer, ControlError>;
}

/// Asks for a sweep.
#[derive(Debug, Clone)]
pub struct DescribeSweep {
    sweep: SweepId,
    /// Whether the answer says why jobs wait, which depends on the workers.
    says_why_jobs_wait: bool,
}

impl DescribeSweep {
    /// For the sweep of that number.
    pub fn new(sweep: SweepId) -> Self {
        Self { sweep, says_why_jobs_wait: true }
    }
}

impl Query for DescribeSweep {
    type Answer = SweepView;

    fn for_store(&self) -> Option<Self> {
        Some(Self { says_why_jobs_wait: false, ..*self })
    }

    fn answer(&self, engine: &Engine, now: Now) -> Result<SweepView, ControlError> {
        let run = engine.sweep(self.sweep)?;
        let waiting = if self.says_why_jobs_wait { engine.waiting(now, run) } else { None };
        let share = engine.share_of(run, &engine.slots_held());
        Ok(SweepView { waiting, share, ..run.view() })
    }
}

/// Asks for the sweeps before a number, newest first.
#[derive(Debug, Clone)]
pub struct ListSweeps {
    /// Only sweeps with smaller numbers; none for all.
    pub before: Option<SweepId>,
    /// At most this many.
    pub limit: usize,
}

impl Query for ListSweeps {
    type Answer = Vec<SweepView>;

    fn for_store(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn answer(&self, engine: &Engine, _: Now) -> Result<Vec<SweepView>, ControlError> {
        Ok(engine.list(self.before, self.limit))
    }
}

/// Asks for the quotas that hold, in the order of their owners.
#[derive(Debug, Clone)]
pub struct ListQuotas;

impl Query for ListQuotas {
    type Answer = Vec<QuotaView>;

    fn answer(&self, engine: &Engine, _: Now) -> Result<Vec<QuotaView>, ControlError> {
        Ok(engine.quotas())
    }
}

/// Asks for a sweep and everything of it that runs.
#[derive(Debug, Clone)]
pub struct TakeSnapshot(pub SweepId);

impl Query for TakeSnapshot {
    type Answer = Snapshot;

    fn answer(&self, engine: &Engine, now: Now) -> Result<Snapshot, ControlError> {
        let run = engine.sweep(self.0)?;
        let mut snapshot = run.snapshot();
        snapshot.sweep.waiting = engine.waiting(now, run);
        Ok(snapshot)
    }
}

/// Asks for the models that workers or stored sweeps have made known, the best first where several have one name: of
/// connected workers before those of sweeps, newer versions before older ones, what many workers have before what few have.
#[derive(Debug, Clone)]
pub struct ListModels;

impl Query for ListModels {
    type Answer = Vec<Described>;

    fn answer(&self, engine: &Engine, _: Now) -> Result<Vec<Described>, ControlError> {
        let mut found: BTreeMap<ManifestHash, (usize, &Described)> = BTreeMap::new();
        for model in engine.workers.all().flat_map(WorkerState::models) {
            found.entry(model.hash()).or_insert((0, model)).0 += 1;
        }
        for model in engine.sweeps.all().filter_map(SweepRun::model) {
            found.entry(model.hash()).or_insert((0, model));
        }
        let mut found: Vec<(usize, &Described)> = found.into_values().collect();
        found.sort_by_key(|(workers, model)| Reverse((*workers > 0, model.version, *workers)));
        Ok(found.into_iter().map(|(_, model)| model.clone()).collect())
    }
}

/// Asks what a searcher outside does not know yet of its sweep.
#[derive(Debug, Clone)]
pub struct AskSearch {
    pub sweep: SweepId,
    /// The number of the last result that it has.
    pub after: u64,
}

/// The answer to [`AskSearch`].
#[derive(Debug, Clone, PartialEq)]
pub struct SearchNews {
    /// The next results.
    pub results: Vec<SearchResult>,
    /// Whether there are more.
    pub has_more: bool,
    /// How many points would be trained at once if they were there.
    pub wanted: u64,
    /// The number of the next point.
    pub next_point: u64,
    /// How many points there may be.
    pub points_max: u64,
    pub state: SweepState,
}

/// What became of a job whose point came from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    /// Counts from 1.
    pub number: u64,
    pub job: u64,
    /// The number of its point.
    pub point: u64,
    pub parameters: ParameterMap,
    pub result: LearnedResult,
}

impl Query for AskSearch {
    type Answer = SearchNews;

    fn answer(&self, engine: &Engine, now: Now) -> Result<SearchNews, ControlError> {
        engine.search_news(now, self.sweep, self.after)
    }
}

/// Asks for the definition of a sweep.
#[derive(Debug, Clone)]
pub struct Define(pub SweepId);

/// The answer to [`Define`].
#[derive(Debug, Clone)]
pub struct Defined {
    /// What the jobs are.
    pub definition: Arc<SweepDefinition>,
    pub state: SweepState,
    /// Why its jobs that never began have no results, where one of the others is the reason.
    pub not_needed: Option<String>,
    /// How many points a searcher that learns has proposed: those of later places are not durable yet.
    pub proposed: u64,
}

impl Query for Define {
    type Answer = Defined;

    fn for_store(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn answer(&self, engine: &Engine, _: Now) -> Result<Defined, ControlError> {
        let run = engine.sweep(self.0)?;
        let proposed = run.learning().map_or(0, Learning::proposed_points);
        let not_needed = run.stopped().as_deref().map(stopped_as);
        Ok(Defined { definition: Arc::clone(run.definition()), state: run.state(), not_needed, proposed })
    }
}

/// Asks for the numbers of jobs that never began, in order: nothing is stored of them.
#[derive(Debug, Clone)]
pub struct ListUnbegun {
    pub sweep: SweepId,
    /// From this number on.
    pub first: u64,
    /// At most this many.
    pub limit: usize,
}

impl Query for ListUnbegun {
    type Answer = Vec<u64>;

    fn for_store(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn answer(&self, engine: &Engine, _: Now) -> Result<Vec<u64>, ControlError> {
        Ok(engine.sweep(self.sweep)?.unbegun(self.first).take(self.limit).collect())
    }
}

/// Asks for the state of the ends of a sweep's jobs, before reading those that failed or were cancelled from the store.
#[derive(Debug, Clone)]
pub struct SeeEnds(pub SweepId);

impl Query for SeeEnds {
    type Answer = EndsSeen;

    fn answer(&self, engine: &Engine, _: Now) -> Result<EndsSeen, ControlError> {
        Ok(engine.sweep(self.0)?.ends().clone())
    }
}

/// Asks for the workers after a name, by name.
#[derive(Debug, Clone)]
pub struct ListWorkers {
    /// Only workers with larger names; none for all.
    pub after: Option<WorkerName>,
    /// At most this many.
    pub limit: usize,
}

/// The answer to [`ListWorkers`].
#[derive(Debug, Clone)]
pub struct WorkersPage {
    /// By name.
    pub workers: Vec<WorkerView>,
    /// Whether there are more.
    pub has_more: bool,
}

impl Query for ListWorkers {
    type Answer = WorkersPage;

    fn answer(&self, engine: &Engine, now: Now) -> Result<WorkersPage, ControlError> {
        Ok(engine.list_workers(now, self.after.as_ref(), self.limit))
    }
}

/// Asks for one worker.
#[derive(Debug, Clone)]
pub struct DescribeWorker(pub WorkerName);

impl Query for DescribeWorker {
    type Answer = WorkerView;

    fn answer(&self, engine: &Engine, now: Now) -> Result<WorkerView, ControlError> {
        engine.describe_worker(now, &self.0)
    }
}

/// Asks what to do with weights that a worker has.
#[derive(Debug, Clone)]
pub struct OfferWeights {
    pub attempt: AttemptKey,
    pub file: WeightsFile,
}

/// The answer to [`OfferWeights`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedWeights {
    pub answer: WeightsAnswer,
    /// The worker of the attempt, to which alone the answer is given; none where nothing depends on it: the weights are not wanted.
    pub worker: Option<WorkerName>,
}

impl Query for OfferWeights {
    type Answer = OfferedWeights;

    fn answer(&self, engine: &Engine, _: Now) -> Result<OfferedWeights, ControlError> {
        let answer = engine.weights_offered(self.attempt, &self.file);
        Ok(OfferedWeights { answer, worker: engine.worker_of(self.attempt) })
    }
}

/// Asks which worker has or had an attempt that runs, or whose weights are kept or on their way; none for any other attempt.
#[derive(Debug, Clone)]
pub struct WorkerOf(pub AttemptKey);

impl Query for WorkerOf {
    type Answer = Option<WorkerName>;

    fn answer(&self, engine: &Engine, _: Now) -> Result<Option<WorkerName>, ControlError> {
        Ok(engine.worker_of(self.0))
    }
}

/// Asks where the checkpoint of an attempt is kept. None where it does not run any more.
#[derive(Debug, Clone)]
pub struct PlaceCheckpoint(pub AttemptKey);

/// The answer to [`PlaceCheckpoint`] of an attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPlace {
    /// The folder of its sweep's files.
    pub folder: String,
    /// The worker that runs it, which alone hands over its checkpoint and goes on from one.
    pub worker: WorkerName,
}

impl Query for PlaceCheckpoint {
    type Answer = Option<CheckpointPlace>;

    fn answer(&self, engine: &Engine, _: Now) -> Result<Option<CheckpointPlace>, ControlError> {
        let Some(run) = engine.sweeps.get(self.0.job.sweep) else { return Ok(None) };
        Ok(run.active(self.0).map(|active| CheckpointPlace {
            folder: weights_folder(run.id(), run.created_unix_ms()),
            worker: active.worker().clone(),
        }))
    }
}

/// Asks which of these jobs have ended; a job of another coordinator's sweep, which has another folder, has not.
#[derive(Debug, Clone)]
pub struct WhichHaveEnded(pub Vec<(String, JobKey)>);

impl Query for WhichHaveEnded {
    type Answer = Vec<bool>;

    fn answer(&self, engine: &Engine, _: Now) -> Result<Vec<bool>, ControlError> {
        let has_ended = |(folder, job): &(String, JobKey)| {
            let run = engine.sweeps.get(job.sweep);
            run.is_some_and(|run| {
                *folder == weights_folder(run.id(), run.created_unix_ms()) && run.has_ended(job.job)
            })
        };
        Ok(self.0.iter().map(has_ended).collect())
    }
}

/// Asks for the names of all files of weights.
#[derive(Debug, Clone)]
pub struct NameWeights;

impl Query for NameWeights {
    type Answer = WeightsNames;

    fn answer(&self, engine: &Engine, _: Now) -> Result<WeightsNames, ControlError> {
        Ok(engine.weights_names())
    }
}
