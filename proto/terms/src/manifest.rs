//! What a trainable says about itself: its parameters, its metrics and what it needs. A manifest is JSON. Those of the
//! built-in models are compiled in from `manifests/`, and each is the only list of its model's parameters in the
//! workspace.

mod described;
mod parameter;
mod together;

use std::{collections::HashSet, sync::LazyLock};

use serde::{Deserialize, Serialize};

pub use self::{
    described::{Described, ManifestHash, builtins_described},
    parameter::{FloatRange, InPack, ManifestParameter, ParameterKind, Scale, listed, written_list},
};
use crate::{Goal, cut};

/// Most parameters of a trainable: each is a column of every table.
pub const PARAMETERS_MAX: usize = 100;
/// Most metrics of a trainable: each is a number of every epoch.
pub const METRICS_MAX: usize = 100;
/// Longest name of a parameter or a metric, in characters: it is a column's heading.
pub const NAME_CHARACTERS_MAX: usize = 100;
/// Longest manifest, in bytes: a hundred parameters with a long list of choices each fit.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Most trainables of one trainer, and most manifests that are given with a sweep: more than there are models.
pub const TRAINABLES_MAX: usize = 16;
/// Longest description or unit, in characters: it is one line of help.
const MEANING_CHARACTERS_MAX: usize = 1_000;

/// Longest error message, in characters: it quotes the manifest.
const MESSAGE_CHARACTERS_MAX: usize = 1_000;

/// The manifests that are compiled in, by file name.
const BUILTIN: &[(&str, &str)] = &[("simple_cnn", include_str!("../manifests/simple_cnn.json"))];

/// What a trainable says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name, which sweep files give as `model`.
    pub name: String,
    /// Grows when the same parameters may give other results.
    pub version: u32,
    /// What it is, for people.
    pub meaning: String,
    /// Its parameters, in the order of columns.
    pub parameters: Vec<ManifestParameter>,
    /// The metrics of each epoch, in the order of columns.
    pub metrics: Vec<ManifestMetric>,
    /// The metric that ranks jobs where a sweep file names none.
    pub objective: String,
    /// What it trains on.
    pub dataset: DatasetKind,
    /// What it counts.
    pub progress: Progress,
    /// The parameter that says how many units of progress a job trains for; none where the trainable decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// The parameter that seeds what is random: where a point is trained several times, it is 1 larger each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Whether it can continue from a checkpoint.
    pub resumes: bool,
    /// Whether it can train several jobs at the same time, as a pack.
    pub packs: bool,
}

/// A number that each epoch brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestMetric {
    /// Its name.
    pub name: String,
    /// Its unit, for people; empty where it has none.
    #[serde(default)]
    pub unit: String,
    /// Which way is better.
    pub goal: Goal,
    /// What it measures, for people.
    #[serde(default)]
    pub meaning: String,
    /// The parameters that change what it measures, so that it does not compare jobs which differ in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redefined_by: Vec<String>,
    /// What it is a share of, where each of these is counted as right or wrong: then its error is that of a proportion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_of: Option<ShareOf>,
}

/// The unit of metrics that are a share, from 0 to 1.
const UNIT_SHARE: &str = "share";

impl ManifestMetric {
    /// Whether it is a share, so that neither a value nor a mean of values lies outside of 0 to 1.
    pub fn is_share(&self) -> bool {
        self.unit == UNIT_SHARE || self.share_of.is_some()
    }
}

/// What a metric may be a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareOf {
    /// The images for validation.
    ValidationImages,
}

/// What a trainable trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// Images in folders by class, which the sweep file names.
    Images,
    /// Nothing that sweep files name.
    None,
}

/// What a trainable counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Passes over the training data.
    Epoch,
    /// Training steps.
    Step,
}

/// Why a text is not a manifest: what is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest cannot be used: {0}")]
pub struct ManifestError(String);

impl ManifestError {
    fn new(message: String) -> Self {
        Self(cut(message, MESSAGE_CHARACTERS_MAX))
    }
}

/// The parameter that repeats of a program differ in, if it has one of that name: a program has no manifest that could say it.
const SEED_OF_PROGRAMS: &str = "seed";

/// The parameter in which trainings of one configuration may differ: the seed of what is random. Of a program, without a manifest, the one of
/// that name.
pub fn seed_of(manifest: Option<&Manifest>) -> Option<&str> {
    manifest.map_or(Some(SEED_OF_PROGRAMS), |manifest| manifest.seed.as_deref())
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            let message = format!("it has {} bytes, at most {MANIFEST_BYTES_MAX} are read", text.len());
            return Err(ManifestError::new(message));
        }
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| ManifestError::new(error.to_string()))?;
        manifest.check().map_err(ManifestError::new)?;
        Ok(manifest)
    }

    /// The same for a text with several, one after another.
    ///
    /// # Errors
    /// The first thing that is wrong with the first of them that cannot be used.
    pub fn all_from_json(text: &str) -> Result<Vec<Self>, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            let message = format!("it has {} bytes, at most {MANIFEST_BYTES_MAX} are read", text.len());
            return Err(ManifestError::new(message));
        }
        let mut all = Vec::new();
        for manifest in serde_json::Deserializer::from_str(text).into_iter::<Self>() {
            let manifest = manifest.map_err(|error| ManifestError::new(error.to_string()))?;
            manifest.check().map_err(ManifestError::new)?;
            all.push(manifest);
            if all.len() > TRAINABLES_MAX {
                let message = format!("the text has more than the {TRAINABLES_MAX} manifests that are read");
                return Err(ManifestError::new(message));
            }
        }
        Ok(all)
    }

    /// The manifest as JSON on one line, the same text for equal manifests.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a manifest holds texts, finite numbers and lists of them")
    }

    /// The parameter `name`.
    pub fn parameter(&self, name: &str) -> Option<&ManifestParameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// The metric `name`.
    pub fn metric(&self, name: &str) -> Option<&ManifestMetric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Checks everything that the types do not. A manifest that was not read by [`Self::from_json`] must pass it before
    /// it is used.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        is_model_name(&self.name)
            .then_some(())
            .ok_or_else(|| format!("`name` must be 1 to 100 of [a-z0-9_.-], but is `{}`", self.name))?;
        bounded("parameters", self.parameters.len(), PARAMETERS_MAX)?;
        bounded("metrics", self.metrics.len(), METRICS_MAX)?;
        is_meaning("meaning", &self.meaning)?;
        distinct("parameter", self.parameters.iter().map(|parameter| parameter.name.as_str()))?;
        distinct("metric", self.metrics.iter().map(|metric| metric.name.as_str()))?;
        for parameter in &self.parameters {
            check_parameter_name(&parameter.name)?;
            is_meaning(&parameter.name, &parameter.meaning)?;
            parameter.check_itself()?;
            self.check_rules(parameter)?;
        }
        for metric in &self.metrics {
            check_metric_name(&metric.name)?;
            is_meaning(&metric.name, &metric.meaning)?;
            is_meaning(&metric.name, &metric.unit)?;
            if let Some(name) = metric.redefined_by.iter().find(|name| self.parameter(name).is_none()) {
                return Err(format!(
                    "the metric `{}` is `redefined_by` `{name}`, which is not one of the parameters",
                    metric.name
                ));
            }
        }
        if self.metric(&self.objective).is_none() {
            return Err(format!("`objective` is `{}`, which is not one of its metrics", self.objective));
        }
        self.check_seed()?;
        self.check_budget()
    }

    /// Whether a job may have no value of a parameter.
    fn is_conditional(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|parameter| !parameter.needs.is_empty())
    }

    fn check_seed(&self) -> Result<(), String> {
        let Some(seed) = &self.seed else { return Ok(()) };
        match self.parameter(seed).map(|parameter| &parameter.kind) {
            _ if self.is_conditional(seed) => Err(format!("`seed` is `{seed}`, which must not have `needs`")),
            Some(ParameterKind::Integer { .. }) => Ok(()),
            Some(_) => Err(format!("`seed` is `{seed}`, which must be an integer")),
            None => Err(format!("`seed` is `{seed}`, which is not one of its parameters")),
        }
    }

    fn check_budget(&self) -> Result<(), String> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let parameter = self
            .parameter(budget)
            .ok_or_else(|| format!("`budget` is `{budget}`, which is not one of its parameters"))?;
        match parameter.kind {
            _ if self.is_conditional(budget) => {
                Err(format!("`budget` is `{budget}`, which must not have `needs`, as each job has one"))
            }
            ParameterKind::Integer { min: 1.., max } if max <= i64::from(u32::MAX) => Ok(()),
            _ => Err(format!(
                "`budget` is `{budget}`, which must be an integer from 1 to at most {}",
                u32::MAX
            )),
        }
    }
}

/// The manifest of a built-in model.
pub fn builtin(name: &str) -> Option<&'static Manifest> {
    builtins().iter().find(|manifest| manifest.name == name)
}

/// The manifests of all built-in models.
pub fn builtins() -> &'static [Manifest] {
    static MANIFESTS: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
        let read = |(name, text): &(&str, &str)| {
            Manifest::from_json(text).unwrap_or_else(|error| panic!("manifests/{name}.json: {error}"))
        };
        BUILTIN.iter().map(read).collect()
    });
    &MANIFESTS
}

/// Whether a parameter of a sweep may have this name: it becomes a column, a key of `--set` and an argument of a
/// command.
///
/// # Errors
/// What would be right.
pub fn check_parameter_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !"=,`\"'{}[]".contains(c);
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX && name.chars().all(allowed);
    let nests = name.split('.').all(|part| !part.is_empty());
    if fits && nests && !name.starts_with('-') {
        return Ok(());
    }
    Err(format!(
        "a parameter's name must have 1 to {NAME_CHARACTERS_MAX} characters, not begin with `-` and have no spaces, commas, \
         quotes, brackets or `=`, but is `{name}`"
    ))
}

/// Whether a metric may have this name.
///
/// # Errors
/// What would be right.
pub fn check_metric_name(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX && name.trim() == name;
    if fits && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "a metric's name must have 1 to {NAME_CHARACTERS_MAX} characters without control characters, but is `{name}`"
    ))
}

fn is_model_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
    !name.is_empty() && name.len() <= NAME_CHARACTERS_MAX && name.chars().all(allowed)
}

fn is_meaning(of: &str, text: &str) -> Result<(), String> {
    if text.chars().count() <= MEANING_CHARACTERS_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("the texts of `{of}` must be one line of at most {MEANING_CHARACTERS_MAX} characters"))
}

fn bounded(what: &str, count: usize, max: usize) -> Result<(), String> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(format!("it must have 1 to {max} {what}, but has {count}"))
}

fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("the {what} `{name}` is listed twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
