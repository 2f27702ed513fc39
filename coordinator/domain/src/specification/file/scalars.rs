//! The single values of a sweep file: which are valid, and the messages about others.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use terms::ParameterValue;

use super::{
    super::{ArgumentStyle, Goal, KEEP_MAX, Keep, MetricUse, REPEATS_MAX, RUN_CAP_MAX, early::EarlyKind},
    checked::{Checked, CheckedLimit, Limit, checked, integer, text},
};

/// Longest sweep name, in characters: it becomes a folder's name and a heading.
const NAME_CHARACTERS_MAX: usize = 100;
/// Longest description, in characters: it stands below a heading.
const DESCRIPTION_CHARACTERS_MAX: usize = 10_000;
/// Largest image side, in pixels: above it one fc1 alone takes over 8 GB.
const IMAGE_SIZE_MAX: u32 = 1024;

/// A value that one of the functions below reads.
macro_rules! words {
    ($($name:ident: $type:ty = $read:literal),+ $(,)?) => {$(
        #[derive(Deserialize)]
        #[serde(transparent)]
        pub(super) struct $name(#[serde(deserialize_with = $read)] pub(super) Option<$type>);
    )+};
}

words!(
    Name: String = "name",
    Description: String = "description",
    Model: String = "model",
    GoalWord: Goal = "goal",
    UseWord: MetricUse = "metric_use",
    StyleWord: ArgumentStyle = "style",
    KindWord: EarlyKind = "early_kind",
    TruthWord: bool = "truth",
    SearchSeed: u64 = "split_seed",
    RunCap: u64 = "run_cap",
    Repeats: u32 = "repeats",
);

/// How a file says that points are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodName {
    Grid,
    Random,
    Sobol,
    Tpe,
    External,
}

impl<'de> Deserialize<'de> for MethodName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(MethodVisitor)
    }
}

struct MethodVisitor;

impl Visitor<'_> for MethodVisitor {
    type Value = MethodName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grid, random, sobol, tpe or external")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<MethodName, E> {
        match name {
            "grid" => Ok(MethodName::Grid),
            "random" => Ok(MethodName::Random),
            "sobol" => Ok(MethodName::Sobol),
            "tpe" | "bayes" => Ok(MethodName::Tpe),
            "external" => Ok(MethodName::External),
            _ => Err(E::custom(format!(
                "unknown method `{name}`, expected `grid`, `random`, `sobol`, `tpe` or `external`"
            ))),
        }
    }
}

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

fn early_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EarlyKind>, D::Error> {
    text(deserializer, "asha, hyperband, median or top_k", |name| {
        EarlyKind::NAMES.into_iter().find(|(_, known)| *known == name).map(|(kind, _)| kind)
    })
}

fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    text(deserializer, "true or false", |word| word.to_lowercase().parse().ok())
}

pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    text(deserializer, "the path of a folder, a .zip or a packed .safetensors", |path| {
        // A lone `~` is YAML's word for nothing.
        (!path.trim().is_empty() && path != "~" && !path.contains('\0')).then(|| path.into())
    })
}

pub(super) fn image_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    checked(deserializer, "a multiple of 4 from 8 to 1024 (pixels)", |value| {
        integer(&value).filter(|size| (8..=IMAGE_SIZE_MAX).contains(size) && size % 4 == 0)
    })
}

pub(super) fn val_fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    checked(deserializer, "a share between 0 and 1, as 0.2 is", |value| match value {
        ParameterValue::Float(share) if share > 0.0 && share < 1.0 => Some(share),
        _ => None,
    })
}

pub(super) fn split_seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    checked(deserializer, "a whole number from 0 to 9223372036854775807", |value| integer::<u64>(&value))
}

fn run_cap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    checked(deserializer, "a number of jobs from 1 to 10000000", |value| {
        integer(&value).filter(|jobs| (1..=RUN_CAP_MAX).contains(jobs))
    })
}

fn repeats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    checked(deserializer, "how often each point is trained, from 1 to 1000", |value| {
        integer(&value).filter(|times| (1..=REPEATS_MAX).contains(times))
    })
}

/// Where the search has found enough, which an override may also lift.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Target(#[serde(deserialize_with = "target")] pub(super) Limit<f64>);

fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit<f64>, D::Error> {
    let check = |value| match value {
        ParameterValue::Float(number) if number.is_finite() => Some(number),
        ParameterValue::Integer(number) => Some(number as f64),
        _ => None,
    };
    deserializer
        .deserialize_any(CheckedLimit(Checked { expected: "a value of the metric, as 0.99 is", check }))
}

pub(super) fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Keep>, D::Error> {
    checked(deserializer, "all, none, or a number of jobs from 1 to 1000", |value| match &value {
        ParameterValue::Text(text) if text == "all" => Some(Keep::All),
        ParameterValue::Text(text) if text == "none" => Some(Keep::None),
        value => match integer(value)? {
            0 => Some(Keep::None),
            count => (count <= KEEP_MAX).then_some(Keep::Best(count)),
        },
    })
}
