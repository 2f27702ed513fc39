//! What is written of a sweep to an MLflow server: an experiment, and for each job a run, as bodies of its REST API. Whoever sends them
//! needs to know nothing of sweeps.

mod batches;
mod names;

use report::{Columns, Epoch, Job, Ranking, Sweep};
use serde_json::{Value, json};
use terms::JobState;

pub use self::batches::Batches;
use self::{batches::cut, names::Names};
use super::{Identity, times};

/// The tag of an experiment that says of which sweep it is.
pub const SWEEP_TAG: &str = "sweep";
/// The tag of a run that says of which job it is.
pub const JOB_TAG: &str = "sweep.job";
/// The tag that a run gets last: what its job was when it was written. A run without it is not whole.
pub const WRITTEN_TAG: &str = "sweep.written";
/// The tag of an experiment with the names that MLflow does not take, by those that they have there.
const NAMES_TAG: &str = "sweep.names";
/// Experiments that are asked for at a time.
const EXPERIMENTS_FOUND_AT_A_TIME: u32 = 100;
/// Longest value of a tag of an experiment.
const EXPERIMENT_TAG_CHARACTERS_MAX: usize = 20_000;

/// An experiment for a sweep.
#[derive(Debug)]
pub struct MlflowExperiment {
    sweep: Sweep,
    columns: Columns,
    ranking: Ranking,
    parameters: Names,
    metrics: Names,
    /// The name of the time of an epoch, which no metric of the jobs has.
    seconds: String,
}

/// A run for a job.
#[derive(Debug)]
pub struct MlflowRun {
    /// The job's number.
    pub job: u64,
    /// What the job is now: a run with this value of [`WRITTEN_TAG`] need not be written again.
    pub written: String,
    create: Value,
    end: Value,
    tags: Vec<Value>,
    parameters: Vec<Value>,
    metrics: Vec<(String, f64, u64, u32)>,
}

impl MlflowExperiment {
    pub fn new(sweep: &Sweep) -> Self {
        let columns = Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name);
        let metrics = sweep.metrics.names().iter().map(|name| &**name);
        // A metric of that name is the job's own.
        let mut seconds = "epoch_seconds".to_owned();
        while sweep.metrics.names().iter().any(|name| **name == *seconds) || columns.best == seconds {
            seconds.insert_str(0, "sweep_");
        }
        Self {
            ranking: Ranking::new(sweep.objective.clone(), &sweep.metrics),
            parameters: Names::new(sweep.parameters.iter().map(String::as_str)),
            // What the coordinator measured comes after what jobs reported.
            metrics: Names::new(metrics.chain([columns.best.as_str(), seconds.as_str()])),
            seconds,
            columns,
            sweep: sweep.clone(),
        }
    }

    /// Its name where none is given.
    pub fn name(&self) -> String {
        format!("{}-{}", self.sweep.name, self.sweep.id)
    }

    /// The body that creates it.
    pub fn create(&self, name: &str) -> Value {
        let identity = json!(Identity::of(&self.sweep)).to_string();
        let mut tags = vec![tag(SWEEP_TAG, &identity)];
        if let Some(names) = self.other_names() {
            tags.push(tag(NAMES_TAG, &cut(&names, EXPERIMENT_TAG_CHARACTERS_MAX)));
        }
        json!({ "name": name, "tags": tags })
    }

    /// The body that searches for experiments of this sweep, whatever their names: a sweep may get another one. None where it does not say when
    /// it was submitted. It may find experiments of other sweeps, too.
    pub fn search(&self) -> Option<Value> {
        let created = Identity::of(&self.sweep).created?;
        let filter = format!("tags.{SWEEP_TAG} LIKE '%\"created\":\"{created}\"%'");
        Some(
            json!({ "filter": filter, "view_type": "ACTIVE_ONLY", "max_results": EXPERIMENTS_FOUND_AT_A_TIME }),
        )
    }

    /// Whether an experiment with this value of [`SWEEP_TAG`] is the one of this sweep.
    pub fn is_own(&self, tag: &str) -> bool {
        serde_json::from_str::<Identity>(tag).is_ok_and(|found| found.is_same(&Identity::of(&self.sweep)))
    }

    /// The names that MLflow does not take, by those that they have there; none where it takes all.
    pub fn other_names(&self) -> Option<String> {
        let others = [("parameters", &self.parameters), ("metrics", &self.metrics)];
        let others = others.map(|(what, names)| (what.to_owned(), names.others()));
        let others: serde_json::Map<_, _> = others
            .into_iter()
            .filter(|(_, names)| names.as_object().is_some_and(|names| !names.is_empty()))
            .collect();
        (!others.is_empty()).then(|| Value::Object(others).to_string())
    }

    /// The run of a job with the epochs that count; none of one that never began.
    pub fn run(&self, job: &Job, epochs: &[Epoch]) -> Option<MlflowRun> {
        if job.attempts == 0 {
            return None;
        }
        let state = job.state.map_or("unknown", JobState::as_str);
        let ended = job.ended_unix_ms;
        let name = format!("job {}", job.number);
        let number = job.number.to_string();
        Some(MlflowRun {
            job: job.number,
            // A metric that came later would be missing from a run that was written before.
            written: format!(
                "{state}, attempt {}, {} epochs, {} metrics",
                job.attempts,
                job.epochs_done,
                self.sweep.metrics.names().len()
            ),
            create: json!({
                "run_name": name,
                "start_time": times::began(&self.sweep, job),
                "tags": [tag(JOB_TAG, &number), tag("mlflow.runName", &name), tag("mlflow.source.name", "sweep")],
            }),
            end: match ended {
                0 => json!({ "status": status(job.state) }),
                ended => json!({ "status": status(job.state), "end_time": ended }),
            },
            tags: self.tags(job, state),
            parameters: self.parameters(job),
            metrics: self.metrics(job, epochs),
        })
    }

    fn tags(&self, job: &Job, state: &str) -> Vec<Value> {
        let (id, attempt) = (self.sweep.id.to_string(), job.attempts.to_string());
        let mut tags = vec![
            tag("sweep.id", &id),
            tag("sweep.name", &self.sweep.name),
            tag("sweep.state", state),
            tag("sweep.attempt", &attempt),
            tag("sweep.worker", &job.worker),
        ];
        if !job.reason.is_empty() {
            tags.extend([tag("sweep.reason", &job.reason), tag("mlflow.note.content", &job.reason)]);
        }
        tags
    }

    fn parameters(&self, job: &Job) -> Vec<Value> {
        let parameter = |(name, value): &(String, terms::ParameterValue)| json!({ "key": self.parameters.of(name), "value": batches::parameter_value(&value.to_string()) });
        job.parameters.0.iter().map(parameter).collect()
    }

    /// Each value with its time and epoch. The best value of the objective is one of its own, as tables of runs show last values.
    fn metrics(&self, job: &Job, epochs: &[Epoch]) -> Vec<(String, f64, u64, u32)> {
        let mut metrics = Vec::new();
        let best = self.ranking.best_of(job, epochs);
        for (epoch, ended) in epochs.iter().zip(times::of_epochs(&self.sweep, job, epochs)) {
            let mut add = |name: &str, value| {
                metrics.push((self.metrics.of(name).into_owned(), value, ended, epoch.number));
            };
            for (name, value) in self.sweep.metrics.pairs(&epoch.metrics) {
                add(name, value);
            }
            add(&self.seconds, epoch.seconds);
            if let Some((_, value)) = best.filter(|(best, _)| *best == epoch.number) {
                add(&self.columns.best, value);
            }
        }
        metrics
    }
}

impl MlflowRun {
    /// The body that creates it.
    pub fn create(&self, experiment: &str) -> Value {
        with(&self.create, "experiment_id", experiment)
    }

    /// The bodies with what it has, each within the bounds of the server.
    pub fn batches<'r>(&'r self, run: &'r str) -> Batches<'r> {
        Batches::new(run, &self.tags, &self.parameters, &self.metrics)
    }

    /// The body that says how it ended.
    pub fn end(&self, run: &str) -> Value {
        with(&self.end, "run_id", run)
    }

    /// The body that says that it is whole.
    pub fn whole(&self, run: &str) -> Value {
        json!({ "run_id": run, "tags": [tag(WRITTEN_TAG, &self.written)] })
    }
}

fn with(body: &Value, key: &str, value: &str) -> Value {
    let mut body = body.clone();
    body[key] = value.into();
    body
}

fn tag(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": batches::tag_value(value) })
}

fn status(state: Option<JobState>) -> &'static str {
    match state {
        // Early stopping ends a job because others are better.
        Some(JobState::Done | JobState::Stopped) => "FINISHED",
        Some(JobState::Diverged | JobState::Failed) => "FAILED",
        Some(JobState::Cancelled) => "KILLED",
        Some(JobState::Pending | JobState::Running | JobState::Paused) | None => "RUNNING",
    }
}

#[cfg(test)]
mod tests;
