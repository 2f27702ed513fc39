//! A folder for TensorBoard: for each job a run with its metrics by epoch, and what the HParams plugin shows.

mod events;
mod messages;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use prost_types::{ListValue, Value, value::Kind as Typed};
use report::{Columns, Epoch, Job, Ranking, Sweep};
use terms::{JobState, MetricUse, ParameterValue};

use self::{
    events::Events,
    messages::{
        DataType, Domain, Experiment, HParamInfo, Interval, MetricInfo, MetricName, PluginContent,
        SessionEnd, SessionStart, Status,
    },
};
use super::{Export, ExportError, Identity, marker, space, times};
use crate::space::{Kind, Parameter};

/// What the training loop took, next to the metrics.
const SECONDS: &str = "sweep/epoch_seconds";

/// A run for each job, in a folder.
#[derive(Debug)]
pub struct TensorBoardFolder {
    folder: PathBuf,
    sweep: Sweep,
    parameters: Vec<Parameter>,
    kinds: Vec<Kind>,
    /// The names of metrics, and of the time of epochs.
    metrics: Vec<String>,
    seconds: String,
    /// The name of the objective at the best epoch: tables of runs show last values, and rank by them.
    best: String,
    ranking: Ranking,
    /// Jobs that have no run.
    not_begun: u64,
}

impl TensorBoardFolder {
    /// Begins it in a new folder.
    ///
    /// # Errors
    /// The folder is there or cannot be made.
    pub fn create(folder: &Path, sweep: &Sweep, parameters: Vec<Parameter>) -> Result<Self, ExportError> {
        fs::create_dir(folder)?;
        marker::write(folder, "tensorboard", &Identity::of(sweep))?;
        let metrics: Vec<String> = sweep.metrics.names().iter().map(ToString::to_string).collect();
        let mut seconds = SECONDS.to_owned();
        while metrics.contains(&seconds) {
            seconds.insert_str(0, "sweep/");
        }
        let kinds = parameters.iter().map(Parameter::kind).collect();
        let begun = Self {
            folder: folder.to_owned(),
            sweep: sweep.clone(),
            parameters,
            kinds,
            metrics,
            seconds,
            best: Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name).best,
            ranking: Ranking::new(sweep.objective.clone(), &sweep.metrics),
            not_begun: 0,
        };
        begun.write_experiment()?;
        Ok(begun)
    }

    /// Says which parameters and metrics the runs have.
    fn write_experiment(&self) -> Result<(), ExportError> {
        let objective = self.sweep.objective.name.to_string();
        let others = self.metrics.iter().filter(|name| **name != objective);
        // What ranks the jobs comes first.
        let ranked = match self.sweep.objective.used {
            MetricUse::Best => [&self.best, &objective],
            MetricUse::Last => [&objective, &self.best],
        };
        let metric = |tag: &String| MetricInfo { name: Some(MetricName { tag: tag.clone() }) };
        let experiment = Experiment {
            name: self.sweep.name.clone(),
            description: format!("sweep {}", self.sweep.id),
            created_secs: seconds(self.sweep.created_unix_ms),
            hparams: self.parameters.iter().zip(&self.kinds).map(|(one, kind)| hparam(one, *kind)).collect(),
            metrics: ranked.into_iter().chain(others).map(metric).collect(),
        };
        let created = self.sweep.created_unix_ms;
        let mut events = self.events(&self.folder, created)?;
        events.hparams(seconds(created), PluginContent::Experiment(experiment))?;
        events.finish()
    }

    /// A file of events, named as TensorBoard's writers do.
    fn events(&self, folder: &Path, began_unix_ms: u64) -> Result<Events<BufWriter<File>>, ExportError> {
        let name = format!("events.out.tfevents.{}.sweep", began_unix_ms / 1_000);
        Events::begin(BufWriter::new(File::create_new(folder.join(name))?), seconds(began_unix_ms))
    }

    /// The parameters of a job that have a value; null is none.
    fn hparams(&self, job: &Job) -> BTreeMap<String, Value> {
        let values = space::values(&self.parameters, &job.parameters).zip(&self.kinds);
        let known = values.filter_map(|((parameter, value), kind)| {
            Some((parameter.name.clone(), Value { kind: Some(typed(value?, *kind)?) }))
        });
        known.collect()
    }
}

impl Export for TensorBoardFolder {
    fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError> {
        if job.attempts == 0 {
            self.not_begun += 1;
            return Ok(());
        }
        let folder = self.folder.join(run_name(job.number, self.sweep.job_count));
        fs::create_dir(&folder)?;
        let began = times::began(&self.sweep, job);
        let mut events = self.events(&folder, began)?;
        let start = SessionStart { hparams: self.hparams(job), start_secs: seconds(began) };
        events.hparams(seconds(began), PluginContent::SessionStart(start))?;
        let (mut last, best) = (began, self.ranking.best_of(job, epochs));
        for (epoch, ended) in epochs.iter().zip(times::of_epochs(&self.sweep, job, epochs)) {
            last = ended;
            let values = self.metrics.iter().enumerate();
            let values = values.filter_map(|(index, name)| Some((name, epoch.metrics.get(index)?)));
            let best = best.filter(|(best, _)| *best == epoch.number).map(|(_, value)| (&self.best, value));
            let values = values.chain([(&self.seconds, epoch.seconds)]).chain(best);
            events.scalars(seconds(ended), epoch.number.into(), values)?;
        }
        let ended = if job.ended_unix_ms == 0 { last } else { job.ended_unix_ms };
        let end = SessionEnd { status: status(job.state).into(), end_secs: seconds(job.ended_unix_ms) };
        events.hparams(seconds(ended), PluginContent::SessionEnd(end))?;
        events.finish()
    }

    fn finish(self: Box<Self>) -> Result<Vec<String>, ExportError> {
        let note = || format!("{} of the jobs never began, and have no run in TensorBoard", self.not_begun);
        Ok((self.not_begun > 0).then(note).into_iter().collect())
    }
}

/// A run's name, which sorts by the job's number.
fn run_name(job: u64, jobs: u64) -> String {
    let digits = jobs.to_string().len();
    format!("job-{job:0digits$}")
}

/// Whether an entry of a folder is one that an export writes.
pub(crate) fn is_own(name: &str) -> bool {
    let is_run = |name: &str| name.strip_prefix("job-").is_some_and(|job| job.parse::<u64>().is_ok());
    name == marker::NAME
        || is_run(name)
        || name.starts_with("events.out.tfevents.") && name.ends_with(".sweep")
}

fn seconds(unix_ms: u64) -> f64 {
    unix_ms as f64 / 1_000.0
}

fn status(state: Option<JobState>) -> Status {
    match state {
        // Early stopping ends a job because others are better.
        Some(JobState::Done | JobState::Stopped) => Status::Success,
        Some(JobState::Diverged | JobState::Failed | JobState::Cancelled) => Status::Failure,
        Some(JobState::Pending | JobState::Running | JobState::Paused) => Status::Running,
        None => Status::Unknown,
    }
}

/// A value with the type that the plugin has for its parameter; none of null.
fn typed(value: &ParameterValue, kind: Kind) -> Option<Typed> {
    Some(match (value, kind) {
        (ParameterValue::Null, _) => return None,
        (ParameterValue::Boolean(value), Kind::Boolean) => Typed::BoolValue(*value),
        (value, Kind::Whole | Kind::Real) => match space::number(value) {
            Some(number) => Typed::NumberValue(number),
            None => Typed::StringValue(value.to_string()),
        },
        (value, _) => Typed::StringValue(value.to_string()),
    })
}

fn hparam(parameter: &Parameter, kind: Kind) -> HParamInfo {
    let listed = parameter.listed.iter().filter_map(|value| Some(Value { kind: Some(typed(value, kind)?) }));
    let domain = match parameter.range {
        None => Some(Domain::Discrete(ListValue { values: listed.collect() })),
        Some(range) => range.ends.map(|(min, max)| Domain::Interval(Interval { min, max })),
    };
    let of = match kind {
        Kind::Boolean => DataType::Bool,
        Kind::Whole | Kind::Real => DataType::Float64,
        Kind::Text | Kind::Mixed => DataType::String,
    };
    // Of an unknown parameter nothing is said, and the plugin looks at the runs.
    let is_known = !parameter.listed.is_empty() || parameter.range.is_some();
    HParamInfo { name: parameter.name.clone(), of: of.into(), domain: domain.filter(|_| is_known) }
}

#[cfg(test)]
mod tests;
