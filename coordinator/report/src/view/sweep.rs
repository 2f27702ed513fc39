//! A sweep: its state, its best job, and what lists leave out.

use serde::Serialize;
use terms::{DatasetSummary, Goal, LeftOut, Objective, ParameterMap, SweepState};
use utoipa::ToSchema;

use super::{Number, Parameters, schema, time};
use crate::{columns::Columns, model};

/// A sweep.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Sweep {
    /// Its number, from 1.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// `running`, `paused`, `stopping`, `finished`, `stopped`, `cancelled`; `unknown` where this version does not know it.
    pub state: &'static str,
    /// How many jobs it has.
    pub jobs: u64,
    /// Its jobs by state.
    #[serde(flatten)]
    pub counts: model::JobCounts,
    /// The objective of the best configuration: the mean of its trainings. Those with all of their trainings come before the others.
    pub best: Number,
    /// How many trainings that is the mean of: 1 unless `repeats` trains each configuration several times.
    pub best_trainings: Option<u32>,
    /// The number of that configuration's first job that is done.
    pub best_job: Option<u64>,
    /// Those of its parameters that vary, or all where none does. Without the seed where `best` is a mean.
    #[schema(schema_with = schema::parameters_or_null)]
    pub best_parameters: Option<Parameters>,
    /// What ranks jobs.
    pub metric: Metric,
    /// The parameters that differ between jobs, in the order of the space.
    pub varying: Vec<String>,
    /// Which weights are kept or on their way, for people.
    pub weights: Option<String>,
    /// The best weights that are kept.
    pub best_weights: Option<model::Weights>,
    /// Who submitted it, where the coordinator asked.
    pub owner: Option<String>,
    /// Which of its owner's sweeps gets a free slot first: the one with the largest.
    pub priority: i32,
    /// What its owner has of the slots, where that is known.
    pub share: Option<model::Share>,
    /// When it was submitted.
    pub created: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// Parameters that no job has read, where its program says it.
    pub unread_parameters: Vec<String>,
    /// What lists leave out.
    #[serde(flatten)]
    #[schema(schema_with = schema::nothing)]
    pub details: Option<SweepDetails>,
}

/// What a list of sweeps leaves out, as it may be long.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SweepDetails {
    /// What the workers found in the data set.
    pub dataset: Option<Dataset>,
    /// Images that train or validate.
    pub images: Option<u64>,
    /// The metrics: those of its model, then the others that jobs have reported.
    pub metrics: Vec<String>,
    /// By which keys a job has their values.
    pub keys: Keys,
    /// Why jobs wait, for people.
    pub waiting: Option<String>,
    /// Why it was stopped, where no one asked for it.
    pub why_stopped: Option<String>,
    /// Why its jobs cannot pause, where early stopping wants them to, and what happens instead.
    pub cannot_pause: Option<String>,
    /// The sweep file as it was understood, as YAML.
    pub specification: String,
}

/// The keys of metrics in the JSON of a sweep's jobs: their names, with a prefix where a parameter or a key of every job has that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Keys {
    /// In a job, in the order of `metrics`.
    pub metrics: Vec<String>,
    /// In a job, of the objective at the best epoch.
    pub best: String,
    /// In an epoch, in the order of `metrics`.
    pub epochs: Vec<String>,
}

impl Keys {
    fn of(sweep: &model::Sweep) -> Self {
        let columns = Columns::new(&sweep.parameters, &sweep.metrics, &sweep.objective.name);
        let key = |place| columns.metrics.iter().find(|(of, _)| *of == Some(place));
        let metrics = (0..sweep.metrics.names().len()).filter_map(key).map(|(_, key)| key.clone()).collect();
        Self { metrics, best: columns.best, epochs: columns.of_epochs }
    }
}

/// What ranks jobs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Metric {
    /// The metric's name.
    pub name: String,
    /// Whether larger is better.
    pub maximize: bool,
    /// `best` or `last`: which epoch of a job counts.
    #[serde(rename = "use")]
    pub used: &'static str,
}

/// What the workers found in a data set. A type of its own, as scripts read it: all keys are always there, while the
/// [`DatasetSummary`] that trainers send and the store keeps leaves out what is empty.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Dataset {
    pub content_hash: String,
    pub classes: Vec<String>,
    pub train_images: u64,
    pub val_images: u64,
    pub skipped: Vec<String>,
    pub skipped_count: u64,
    pub train_by_class: Vec<u64>,
    pub val_by_class: Vec<u64>,
    pub validation: Option<String>,
    #[schema(schema_with = schema::left_out)]
    pub left_out: Vec<LeftOut>,
}

impl Metric {
    pub(super) fn of(objective: &Objective) -> Self {
        Self {
            name: objective.name.to_string(),
            maximize: objective.goal == Goal::Maximize,
            used: objective.used.as_str(),
        }
    }
}

impl Sweep {
    /// A sweep as lists show it.
    pub fn listed(sweep: &model::Sweep) -> Self {
        Self {
            id: sweep.id,
            name: sweep.name.clone(),
            state: sweep.state.map_or("unknown", SweepState::as_str),
            jobs: sweep.job_count,
            counts: sweep.counts,
            best: Number(sweep.best.as_ref().map(|best| best.value)),
            best_job: sweep.best.as_ref().map(|best| best.job),
            best_trainings: sweep.best.as_ref().map(|best| best.trainings),
            best_parameters: sweep.best.as_ref().map(|best| {
                // The trainings of a configuration differ in it.
                let seed = sweep.seed().filter(|_| best.trainings > 1);
                Parameters(shown_of(&best.parameters, &sweep.varying, seed))
            }),
            metric: Metric::of(&sweep.objective),
            varying: sweep.varying.clone(),
            weights: weights(sweep),
            best_weights: sweep.best_weights.clone(),
            owner: sweep.owner.clone(),
            priority: sweep.priority,
            share: sweep.share,
            created: time(sweep.created_unix_ms),
            ended: time(sweep.ended_unix_ms),
            unread_parameters: sweep.unread_parameters.clone(),
            details: None,
        }
    }

    /// A sweep with all that is known of it.
    pub fn whole(sweep: &model::Sweep) -> Self {
        let images = sweep.dataset.as_ref().map_or(0, |set| set.train_images.saturating_add(set.val_images));
        let details = SweepDetails {
            dataset: sweep.dataset.clone().map(Dataset::from),
            images: Some(images).filter(|images| *images > 0),
            metrics: sweep.metrics.names().iter().map(ToString::to_string).collect(),
            keys: Keys::of(sweep),
            waiting: sweep.waiting.clone(),
            why_stopped: sweep.stopped.clone(),
            cannot_pause: sweep.cannot_pause.clone(),
            specification: sweep.specification.clone(),
        };
        Self { details: Some(details), ..Self::listed(sweep) }
    }
}

/// Said of the job whose weights are kept: `artifacts.keep` goes by single jobs, and not by means over repeats.
fn one_training(sweep: &model::Sweep) -> &'static str {
    match sweep.best.as_ref().is_some_and(|best| best.trainings > 1) {
        true => " (the best single training)",
        false => "",
    }
}

/// Of these parameters those that vary, or all where none does, without this seed.
pub(crate) fn shown_of(all: &ParameterMap, varying: &[String], seed: Option<&str>) -> ParameterMap {
    let is_constant = varying.iter().all(|name| Some(name.as_str()) == seed);
    let is_shown = |name: &String| Some(name.as_str()) != seed && (is_constant || varying.contains(name));
    ParameterMap(all.0.iter().filter(|(name, _)| is_shown(name)).cloned().collect())
}

/// Which weights are kept or on their way, for people.
fn weights(sweep: &model::Sweep) -> Option<String> {
    let kept = sweep.best_weights.as_ref().map(|best| {
        format!("of job {}{} kept; `sweep artifact get {}`", best.job, one_training(sweep), sweep.id)
    });
    let awaited = (sweep.weights_awaited > 0).then(|| format!("{} on their way", sweep.weights_awaited));
    let parts: Vec<String> = [kept, awaited].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl From<DatasetSummary> for Dataset {
    fn from(found: DatasetSummary) -> Self {
        let DatasetSummary {
            content_hash,
            classes,
            train_images,
            val_images,
            skipped,
            skipped_count,
            train_by_class,
            val_by_class,
            left_out,
            validation,
        } = found;
        let validation = Some(validation).filter(|validation| !validation.is_empty());
        Self {
            content_hash,
            classes,
            train_images,
            val_images,
            skipped,
            skipped_count,
            train_by_class,
            val_by_class,
            validation,
            left_out,
        }
    }
}
