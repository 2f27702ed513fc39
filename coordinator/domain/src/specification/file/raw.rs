//! The file's sections as serde reads them: every key optional, because an override is such a file too.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Deserializer};
use terms::ParameterValue;

use super::{
    super::{Goal, KEEP_MAX, Keep, MetricUse, PartialPoint},
    axis::RawParameters,
    checked::{Limit, checked, checked_limit, integer, text},
    point::read_points,
};
use crate::parameters::Model;

/// Longest sweep name, in characters: it becomes a folder's name and a heading.
const NAME_CHARACTERS_MAX: usize = 100;
/// Largest image side, in pixels: above it one fc1 alone takes over 8 GB.
const IMAGE_SIZE_MAX: u32 = 1024;
/// Most failed attempts a file may ask for.
const ATTEMPTS_MAX_LIMIT: u32 = 100;
/// Most jobs at a time that a file may ask for: more than any cluster has slots.
const MAX_PARALLEL_LIMIT: u32 = 1_000_000;
/// Longest timeout, in milliseconds: a year.
const TIMEOUT_MS_MAX: u64 = 365 * 24 * 3600 * 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping with the keys `name`, `dataset` and `parameters`")]
pub(super) struct RawFile {
    #[serde(default, deserialize_with = "name")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "model")]
    pub(super) model: Option<Model>,
    #[serde(default, rename = "method")]
    _method: Option<RawMethod>,
    pub(super) metric: Option<RawMetric>,
    pub(super) dataset: Option<RawDataset>,
    pub(super) parameters: Option<RawParameters>,
    #[serde(default, deserialize_with = "read_points")]
    pub(super) exclude: Option<Vec<PartialPoint>>,
    #[serde(default, deserialize_with = "read_points")]
    pub(super) include: Option<Vec<PartialPoint>>,
    pub(super) execution: Option<RawExecution>,
    pub(super) artifacts: Option<RawArtifacts>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawMethod {
    Grid,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "`{name: …, goal: …, use: …}`")]
pub(super) struct RawMetric {
    #[serde(default, deserialize_with = "metric_name")]
    pub(super) name: Option<Arc<str>>,
    #[serde(default, deserialize_with = "goal")]
    pub(super) goal: Option<Goal>,
    #[serde(default, rename = "use", deserialize_with = "metric_use")]
    pub(super) used: Option<MetricUse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "`{path: …, image_size: …}`")]
pub(super) struct RawDataset {
    #[serde(default, deserialize_with = "path")]
    pub(super) path: Option<PathBuf>,
    #[serde(default, deserialize_with = "path")]
    pub(super) val_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "image_size")]
    pub(super) image_size: Option<u32>,
    #[serde(default, deserialize_with = "val_fraction")]
    pub(super) val_fraction: Option<f64>,
    #[serde(default, deserialize_with = "split_seed")]
    pub(super) split_seed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "`{max_parallel: …, attempts_max: …, job_timeout: …, checkpoint_every_epochs: …, pack_size_max: …}`"
)]
pub(super) struct RawExecution {
    #[serde(default, deserialize_with = "max_parallel")]
    pub(super) max_parallel: Limit<u32>,
    #[serde(default, deserialize_with = "attempts_max")]
    pub(super) attempts_max: Option<u32>,
    /// In milliseconds.
    #[serde(default, deserialize_with = "job_timeout")]
    pub(super) job_timeout: Limit<u64>,
    #[serde(default, deserialize_with = "checkpoint_every_epochs")]
    pub(super) checkpoint_every_epochs: Limit<u32>,
    #[serde(default, deserialize_with = "pack_size_max")]
    pub(super) pack_size_max: Limit<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "`{keep: 1}`")]
pub(super) struct RawArtifacts {
    #[serde(default, deserialize_with = "keep")]
    pub(super) keep: Option<Keep>,
}

impl RawFile {
    /// Puts what `top` says over what this says, key by key; lists are replaced whole.
    pub(super) fn overlay(&mut self, top: Self) {
        let Self {
            name,
            model,
            _method: _,
            metric,
            dataset,
            parameters,
            exclude,
            include,
            execution,
            artifacts,
        } = top;
        replace(&mut self.name, name);
        replace(&mut self.model, model);
        replace(&mut self.exclude, exclude);
        replace(&mut self.include, include);
        if let Some(top) = metric {
            let below = self.metric.get_or_insert_default();
            replace(&mut below.name, top.name);
            replace(&mut below.goal, top.goal);
            replace(&mut below.used, top.used);
        }
        if let Some(top) = dataset {
            let below = self.dataset.get_or_insert_default();
            replace(&mut below.path, top.path);
            replace(&mut below.val_path, top.val_path);
            replace(&mut below.image_size, top.image_size);
            replace(&mut below.val_fraction, top.val_fraction);
            replace(&mut below.split_seed, top.split_seed);
        }
        if let Some(top) = parameters {
            self.parameters.get_or_insert_default().0.extend(top.0);
        }
        if let Some(top) = execution {
            let below = self.execution.get_or_insert_default();
            replace(&mut below.max_parallel, top.max_parallel);
            replace(&mut below.attempts_max, top.attempts_max);
            replace(&mut below.job_timeout, top.job_timeout);
            replace(&mut below.checkpoint_every_epochs, top.checkpoint_every_epochs);
            replace(&mut below.pack_size_max, top.pack_size_max);
        }
        if let Some(top) = artifacts {
            replace(&mut self.artifacts.get_or_insert_default().keep, top.keep);
        }
    }
}

fn replace<T>(below: &mut Option<T>, top: Option<T>) {
    if top.is_some() {
        *below = top;
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected =
        "a name of 1 to 100 characters, without slashes or control characters, not beginning with a dot";
    text(deserializer, expected, |name| {
        let allowed = |c: char| !c.is_control() && c != '/' && c != '\\';
        let fits =
            !name.trim().is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX && !name.starts_with('.');
        (fits && name.chars().all(allowed)).then_some(name)
    })
}

fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Model>, D::Error> {
    text(deserializer, "the model simple_cnn", |name| Model::from_name(&name))
}

fn metric_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    let expected = "one of the metrics val_accuracy, val_loss, train_accuracy and train_loss";
    text(deserializer, expected, |name| Model::SimpleCnn.goal(&name).map(|_| name.into()))
}

fn metric_use<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MetricUse>, D::Error> {
    let expected = "last (a job counts as it is after its last epoch) or best (as it was after its best one)";
    text(deserializer, expected, |name| {
        [MetricUse::Last, MetricUse::Best].into_iter().find(|used| used.as_str() == name)
    })
}

fn goal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Goal>, D::Error> {
    text(deserializer, "maximize or minimize", |goal| Goal::from_name(&goal))
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    text(deserializer, "the path of a folder, a .zip or a packed .safetensors", |path| {
        // A lone `~` is YAML's word for nothing.
        (!path.trim().is_empty() && path != "~" && !path.contains('\0')).then(|| path.into())
    })
}

fn image_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    checked(deserializer, "a multiple of 4 from 8 to 1024 (pixels)", |value| {
        integer(&value).filter(|size| (8..=IMAGE_SIZE_MAX).contains(size) && size % 4 == 0)
    })
}

fn val_fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    checked(deserializer, "a share between 0 and 1, as 0.2 is", |value| match value {
        terms::ParameterValue::Float(share) if share > 0.0 && share < 1.0 => Some(share),
        _ => None,
    })
}

fn split_seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    checked(deserializer, "a whole number from 0 to 9223372036854775807", |value| integer::<u64>(&value))
}

fn max_parallel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit<u32>, D::Error> {
    checked_limit(deserializer, "a number of jobs at a time from 1 to 1000000", |value| {
        integer(&value).filter(|count| (1..=MAX_PARALLEL_LIMIT).contains(count))
    })
}

fn attempts_max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    checked(deserializer, "a number of attempts from 1 to 100", |value| {
        integer(&value).filter(|count| (1..=ATTEMPTS_MAX_LIMIT).contains(count))
    })
}

fn checkpoint_every_epochs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit<u32>, D::Error> {
    checked_limit(deserializer, "a number of epochs from 1 to 4294967295", |value| {
        integer(&value).filter(|epochs| *epochs >= 1)
    })
}

fn pack_size_max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit<u32>, D::Error> {
    checked_limit(deserializer, "a number of jobs from 1 to 4294967295", |value| {
        integer(&value).filter(|jobs| *jobs >= 1)
    })
}

fn job_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit<u64>, D::Error> {
    checked_limit(deserializer, "a duration from 1s to 365days, such as 90s, 30m or 2h", |value| {
        let duration = humantime::parse_duration(&value.to_string()).ok()?;
        u64::try_from(duration.as_millis())
            .ok()
            .filter(|milliseconds| (1_000..=TIMEOUT_MS_MAX).contains(milliseconds))
    })
}

fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Keep>, D::Error> {
    checked(deserializer, "all, none, or a number of jobs from 1 to 1000", |value| match &value {
        ParameterValue::Text(text) if text == "all" => Some(Keep::All),
        ParameterValue::Text(text) if text == "none" => Some(Keep::None),
        value => match integer(value)? {
            0 => Some(Keep::None),
            count => (count <= KEEP_MAX).then_some(Keep::Best(count)),
        },
    })
}
