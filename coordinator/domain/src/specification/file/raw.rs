//! The file's sections as they are read: every key is optional, because an override is such a file, too.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Deserializer, de::MapAccess};
use terms::{manifest::check_metric_name, snapshot::SnapshotId};

use super::{
    super::{
        ArgumentStyle, Goal, Keep, MetricUse,
        early::{EARLY, EarlyKind},
        limits,
    },
    axis::{ParametersSeed, RawParameters},
    checked::{Limit, text},
    command::{Command, Files, Pattern, ProgramPath, RelativePath, Variables},
    keys::{Read, Section, known_key},
    known::Known,
    numbers::Numbers,
    point::PointsSeed,
    scalars::{
        Description, GoalWord, KindWord, MethodName, Model, Name, Repeats, RunCap, SearchSeed, StyleWord,
        Target, TruthWord, UseWord, image_size, keep, path, split_seed, val_fraction,
    },
    wandb,
};
use crate::space::PartialPoint;

/// The keys of a sweep file.
const KEYS: [&str; 19] = [
    "name",
    "description",
    "model",
    "program",
    "command",
    "method",
    "search_seed",
    "run_cap",
    "repeats",
    "metric",
    "metrics",
    "dataset",
    "parameters",
    "exclude",
    "include",
    "early_terminate",
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
    pub(super) method: Option<MethodName>,
    pub(super) search_seed: Option<u64>,
    pub(super) run_cap: Option<u64>,
    pub(super) repeats: Option<u32>,
    pub(super) metric: Option<RawMetric>,
    pub(super) metrics: Option<RawMetrics>,
    pub(super) dataset: Option<RawDataset>,
    pub(super) parameters: Option<RawParameters>,
    pub(super) exclude: Option<Vec<PartialPoint>>,
    pub(super) include: Option<Vec<PartialPoint>>,
    pub(super) early_terminate: Option<RawEarly>,
    pub(super) execution: Option<RawExecution>,
    pub(super) resources: Option<Numbers>,
    pub(super) artifacts: Option<RawArtifacts>,
    /// Keys that have no effect here.
    pub(super) unused: Vec<&'static str>,
}

/// Reads a file with the names that are known.
pub(super) struct FileSection<'a> {
    pub(super) known: Known<'a>,
    /// Whether values may be drawn.
    pub(super) draws: bool,
    pub(super) file: RawFile,
}

impl<'a> FileSection<'a> {
    /// What reads a file.
    pub(super) fn seed(known: Known<'a>, draws: bool) -> Read<Self> {
        Read(Self { known, draws, file: RawFile::default() })
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
        let Self { known, draws, file } = self;
        match key {
            "name" => file.name = map.next_value::<Name>()?.0,
            "description" => file.description = map.next_value::<Description>()?.0,
            "model" => file.model = map.next_value::<Model>()?.0,
            "program" => file.program = Some(map.next_value::<ProgramPath>()?.0),
            "command" => file.command = Some(map.next_value::<Command>()?.0),
            "method" => file.method = Some(map.next_value()?),
            "search_seed" => file.search_seed = map.next_value::<SearchSeed>()?.0,
            "run_cap" => file.run_cap = map.next_value::<RunCap>()?.0,
            "repeats" => file.repeats = map.next_value::<Repeats>()?.0,
            "metric" => file.metric = Some(map.next_value_seed(Read(MetricSection::new(*known)))?),
            "metrics" => file.metrics = Some(map.next_value()?),
            "dataset" => file.dataset = Some(map.next_value()?),
            "parameters" => {
                let seed = ParametersSeed { known: *known, draws: *draws, prefix: String::new() };
                file.parameters = Some(map.next_value_seed(seed)?);
            }
            "exclude" => file.exclude = Some(map.next_value_seed(PointsSeed(*known))?),
            "include" => file.include = Some(map.next_value_seed(PointsSeed(*known))?),
            "early_terminate" => {
                file.early_terminate = Some(map.next_value_seed(Read(EarlySection(RawEarly::default())))?);
            }
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
    pub(super) target: Limit<f64>,
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
        "`{name: …, goal: …, use: …, target: …}`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        known_key(name, ["name", "goal", "use", "target"])
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.metric.name = map.next_value_seed(MetricNameSeed(&self.names))?,
            "goal" => self.metric.goal = map.next_value::<GoalWord>()?.0,
            "use" => self.metric.used = map.next_value::<UseWord>()?.0,
            _ => self.metric.target = map.next_value::<Target>()?.0,
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
    pub(super) epochs_parameter: Option<String>,
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
        known_key(name, numbers.chain(["arguments", "env", "epochs_parameter", "files"]))
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "arguments" => self.0.arguments = map.next_value::<StyleWord>()?.0,
            "epochs_parameter" => self.0.epochs_parameter = Some(map.next_value()?),
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

/// The rule of early stopping.
#[derive(Debug, Default)]
pub(super) struct RawEarly {
    pub(super) kind: Option<EarlyKind>,
    pub(super) numbers: Numbers,
    pub(super) strict: Option<bool>,
    pub(super) promote: Option<bool>,
}

struct EarlySection(RawEarly);

impl<'de> Section<'de> for EarlySection {
    type Output = RawEarly;

    fn expecting(&self) -> &str {
        "`{type: asha, min_iter: …, eta: …}`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        let numbers = EARLY.iter().map(|number| number.name);
        known_key(name, ["type"].into_iter().chain(numbers).chain(["strict", "promote"]))
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.0.kind = map.next_value::<KindWord>()?.0,
            "strict" => self.0.strict = map.next_value::<TruthWord>()?.0,
            "promote" => self.0.promote = map.next_value::<TruthWord>()?.0,
            number => self.0.numbers.read(EARLY, number, map)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<RawEarly, String> {
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
