//! The file's sections as they are read: every key is optional, because an override is such a file, too.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Deserializer, de::MapAccess};
use terms::{ParameterValue, manifest::check_metric_name, snapshot::SnapshotId};

use super::{
    super::{ArgumentStyle, Goal, KEEP_MAX, Keep, MetricUse, limits},
    axis::{ParametersSeed, RawParameters},
    checked::{checked, integer, text},
    command::{Command, Files, Pattern, ProgramPath, RelativePath, Variables},
    keys::{Read, Section, known_key},
    known::Known,
    numbers::Numbers,
    point::PointsSeed,
    wandb,
};
use crate::space::PartialPoint;

/// Longest sweep name, in characters: it becomes a folder's name and a heading.
const NAME_CHARACTERS_MAX: usize = 100;
/// Longest description, in characters: it stands below a heading.
const DESCRIPTION_CHARACTERS_MAX: usize = 10_000;
/// Largest image side, in pixels: above it one fc1 alone takes over 8 GB.
const IMAGE_SIZE_MAX: u32 = 1024;

/// The keys of a sweep file.
const KEYS: [&str; 15] = [
    "name",
    "description",
    "model",
    "program",
    "command",
    "method",
    "metric",
    "metrics",
    "dataset",
    "parameters",
    "exclude",
    "include",
    "execution",
    "resources",
    "artifacts",
];

/// A file, or an override.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) model: Option<String>,
    pub(super) program: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) metric: Option<RawMetric>,
    pub(super) metrics: Option<RawMetrics>,
    pub(super) dataset: Option<RawDataset>,
    pub(super) parameters: Option<RawParameters>,
    pub(super) exclude: Option<Vec<PartialPoint>>,
    pub(super) include: Option<Vec<PartialPoint>>,
    pub(super) execution: Option<RawExecution>,
    pub(super) resources: Option<Numbers>,
    pub(super) artifacts: Option<RawArtifacts>,
    /// Keys that have no effect here.
    pub(super) unused: Vec<&'static str>,
}

/// Reads a file with the names that are known.
pub(super) struct FileSection<'a> {
    pub(super) known: Known<'a>,
    pub(super) file: RawFile,
}

impl<'a> FileSection<'a> {
    /// What reads a file.
    pub(super) fn seed(known: Known<'a>) -> Read<Self> {
        Read(Self { known, file: RawFile::default() })
    }
}

impl<'de> Section<'de> for FileSection<'_> {
    type Output = RawFile;

    fn expecting(&self) -> &str {
        "a mapping with the keys `name`, `dataset` and `parameters`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        wandb::key(name).unwrap_or_else(|| known_key(name, KEYS))
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        let Self { known, file } = self;
        match key {
            "name" => file.name = map.next_value::<Name>()?.0,
            "description" => file.description = map.next_value::<Description>()?.0,
            "model" => file.model = map.next_value::<Model>()?.0,
            "program" => file.program = Some(map.next_value::<ProgramPath>()?.0),
            "command" => file.command = Some(map.next_value::<Command>()?.0),
            "method" => {
                map.next_value::<wandb::Method>()?;
            }
            "metric" => file.metric = Some(map.next_value_seed(Read(MetricSection::new(*known)))?),
            "metrics" => file.metrics = Some(map.next_value()?),
            "dataset" => file.dataset = Some(map.next_value()?),
            "parameters" => {
                let seed = ParametersSeed { known: *known, prefix: String::new() };
                file.parameters = Some(map.next_value_seed(seed)?);
            }
            "exclude" => file.exclude = Some(map.next_value_seed(PointsSeed(*known))?),
            "include" => file.include = Some(map.next_value_seed(PointsSeed(*known))?),
            "execution" => {
                file.execution = Some(map.next_value_seed(Read(ExecutionSection(RawExecution::default())))?);
            }
            "resources" => {
                file.resources = Some(map.next_value_seed(Read(ResourcesSection(Numbers::default())))?);
            }
            "artifacts" => file.artifacts = Some(map.next_value()?),
            unused => {
                map.next_value::<serde::de::IgnoredAny>()?;
                file.unused.push(unused);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<RawFile, String> {
        Ok(self.file)
    }
}

#[derive(Debug, Default)]
pub(super) struct RawMetric {
    pub(super) name: Option<Arc<str>>,
    pub(super) goal: Option<Goal>,
    pub(super) used: Option<MetricUse>,
}

struct MetricSection {
    names: Vec<String>,
    metric: RawMetric,
}

impl MetricSection {
    fn new(known: Known<'_>) -> Self {
        let names = match known {
            Known::Model(manifest) => manifest.metrics.iter().map(|metric| metric.name.clone()).collect(),
            Known::Program(_) => Vec::new(),
        };
        Self { names, metric: RawMetric::default() }
    }
}

impl<'de> Section<'de> for MetricSection {
    type Output = RawMetric;

    fn expecting(&self) -> &str {
        "`{name: …, goal: …, use: …}`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        wandb::metric_key(name).unwrap_or_else(|| known_key(name, ["name", "goal", "use"]))
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.metric.name = map.next_value_seed(MetricNameSeed(&self.names))?,
            "goal" => self.metric.goal = map.next_value::<GoalWord>()?.0,
            _ => self.metric.used = map.next_value::<UseWord>()?.0,
        }
        Ok(())
    }

    fn finish(self) -> Result<RawMetric, String> {
        Ok(self.metric)
    }
}

/// Reads the name of a metric: one of a model's, or any name where none are listed.
struct MetricNameSeed<'a>(&'a [String]);

impl<'de> serde::de::DeserializeSeed<'de> for MetricNameSeed<'_> {
    type Value = Option<Arc<str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let expected = match self.0.split_last() {
            None => "a metric's name of 1 to 100 characters, without control characters".to_owned(),
            Some((last, others)) => format!("one of the metrics {} and {last}", others.join(", ")),
        };
        text(deserializer, &expected, |name| {
            let is_listed = self.0.is_empty() || self.0.contains(&name);
            (is_listed && check_metric_name(&name).is_ok()).then(|| name.into())
        })
    }
}

/// Where the metrics of a program come from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "`{pattern: …, csv: …}`")]
pub(super) struct RawMetrics {
    pub(super) pattern: Option<Pattern>,
    pub(super) csv: Option<RelativePath>,
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

/// How a sweep is run, and what its programs need.
#[derive(Debug, Default)]
pub(super) struct RawExecution {
    pub(super) numbers: Numbers,
    pub(super) arguments: Option<ArgumentStyle>,
    pub(super) env: Option<BTreeMap<String, String>>,
    pub(super) files: Option<Vec<String>>,
    pub(super) snapshot: Option<SnapshotId>,
}

struct ExecutionSection(RawExecution);

impl<'de> Section<'de> for ExecutionSection {
    type Output = RawExecution;

    fn expecting(&self) -> &str {
        "`{max_parallel: …, attempts_max: …, job_timeout: …, files: …, env: …}`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        // Written by the command line, not by people, so that no message proposes it.
        if name == "snapshot" {
            return Ok("snapshot");
        }
        let numbers = limits::EXECUTION.iter().map(|number| number.name);
        known_key(name, numbers.chain(["arguments", "env", "files"]))
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "arguments" => self.0.arguments = map.next_value::<StyleWord>()?.0,
            "env" => self.0.env = Some(map.next_value::<Variables>()?.0),
            "files" => self.0.files = Some(map.next_value::<Files>()?.0),
            "snapshot" => self.0.snapshot = Some(map.next_value()?),
            number => self.0.numbers.read(limits::EXECUTION, number, map)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<RawExecution, String> {
        Ok(self.0)
    }
}

struct ResourcesSection(Numbers);

impl<'de> Section<'de> for ResourcesSection {
    type Output = Numbers;

    fn expecting(&self) -> &str {
        "`{gpus: …, cpus: …, per_gpu: …}`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        known_key(name, limits::RESOURCES.iter().map(|number| number.name))
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        self.0.read(limits::RESOURCES, key, map)
    }

    fn finish(self) -> Result<Numbers, String> {
        Ok(self.0)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "`{keep: 1}`")]
pub(super) struct RawArtifacts {
    #[serde(default, deserialize_with = "keep")]
    pub(super) keep: Option<Keep>,
}

impl RawFile {
    /// Overrides this with what `top` says, key by key; lists are replaced whole.
    pub(super) fn overlay(&mut self, top: Self) {
        replace(&mut self.name, top.name);
        replace(&mut self.description, top.description);
        replace(&mut self.model, top.model);
        replace(&mut self.program, top.program);
        replace(&mut self.command, top.command);
        replace(&mut self.exclude, top.exclude);
        replace(&mut self.include, top.include);
        self.unused.extend(top.unused);
        if let Some(top) = top.metric {
            let below = self.metric.get_or_insert_default();
            replace(&mut below.name, top.name);
            replace(&mut below.goal, top.goal);
            replace(&mut below.used, top.used);
        }
        if let Some(top) = top.metrics {
            let below = self.metrics.get_or_insert_default();
            replace(&mut below.pattern, top.pattern);
            replace(&mut below.csv, top.csv);
        }
        if let Some(top) = top.dataset {
            let below = self.dataset.get_or_insert_default();
            replace(&mut below.path, top.path);
            replace(&mut below.val_path, top.val_path);
            replace(&mut below.image_size, top.image_size);
            replace(&mut below.val_fraction, top.val_fraction);
            replace(&mut below.split_seed, top.split_seed);
        }
        if let Some(top) = top.parameters {
            self.parameters.get_or_insert_default().overlay(top);
        }
        if let Some(top) = top.execution {
            let below = self.execution.get_or_insert_default();
            below.numbers.overlay(top.numbers);
            replace(&mut below.arguments, top.arguments);
            replace(&mut below.files, top.files);
            replace(&mut below.snapshot, top.snapshot);
            if let Some(env) = top.env {
                below.env.get_or_insert_default().extend(env);
            }
        }
        if let Some(top) = top.resources {
            self.resources.get_or_insert_default().overlay(top);
        }
        if let Some(top) = top.artifacts {
            replace(&mut self.artifacts.get_or_insert_default().keep, top.keep);
        }
    }
}

fn replace<T>(below: &mut Option<T>, top: Option<T>) {
    if top.is_some() {
        *below = top;
    }
}

/// A value that one of the functions below reads.
macro_rules! words {
    ($($name:ident: $type:ty = $read:literal),+ $(,)?) => {$(
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct $name(#[serde(deserialize_with = $read)] Option<$type>);
    )+};
}

words!(
    Name: String = "name",
    Description: String = "description",
    Model: String = "model",
    GoalWord: Goal = "goal",
    UseWord: MetricUse = "metric_use",
    StyleWord: ArgumentStyle = "style",
);

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected =
        "a name of 1 to 100 characters, without slashes or control characters, not beginning with a dot";
    text(deserializer, expected, |name| is_name(&name).then_some(name))
}

/// Whether a sweep may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| !c.is_control() && c != '/' && c != '\\';
    let fits =
        !name.trim().is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX && !name.starts_with('.');
    fits && name.chars().all(allowed)
}

fn description<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer, "a text of at most 10000 characters", |text| {
        (text.chars().count() <= DESCRIPTION_CHARACTERS_MAX && !text.contains('\0')).then_some(text)
    })
}

/// Whether there is such a model is looked at when all is read.
fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer, "the name of a model", |name| (!name.trim().is_empty()).then_some(name))
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

fn style<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ArgumentStyle>, D::Error> {
    let expected = "argparse (`--flag` for true, nothing for false and null) or wandb (`--flag=True`)";
    text(deserializer, expected, |name| ArgumentStyle::ALL.into_iter().find(|style| style.as_str() == name))
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
        ParameterValue::Float(share) if share > 0.0 && share < 1.0 => Some(share),
        _ => None,
    })
}

fn split_seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    checked(deserializer, "a whole number from 0 to 9223372036854775807", |value| integer::<u64>(&value))
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
