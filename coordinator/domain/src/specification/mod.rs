//! A sweep specification: what one sweep file says once it has been checked. `file` reads the YAML, this
//! file gives it meaning; errors name the file, the line and the key.

mod file;

use std::{fmt, path::PathBuf};

use terms::ParameterValue;
pub use terms::{Goal, MetricUse, Objective};

use crate::{
    grid::{Grid, GridError},
    parameters::Model,
    text::shortened,
};

/// Largest sweep file, in bytes: a thousand lines of values fit many times over.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most `exclude` and most `include` entries.
pub const POINT_PATTERNS_MAX: usize = 1_000;
/// Most jobs whose weights a sweep may keep by number: each job's end is compared with all of them. More is `all`.
pub const KEEP_MAX: u32 = 1_000;
/// Most values of one parameter, listed or by range.
pub const VALUES_MAX: usize = 10_000;

/// The text of a sweep file, and what the command line changes in it.
#[derive(Debug, Clone, Default)]
pub struct SpecificationSource {
    /// The YAML.
    pub text: String,
    /// Its name, for error messages.
    pub file_name: String,
    /// `KEY=VALUE` changes, applied in order.
    pub overrides: Vec<String>,
    /// Replaces `dataset.path`.
    pub dataset_path: Option<String>,
}

/// Why a specification was refused: one message that says where and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecificationError(String);

impl SpecificationError {
    /// Longest message, in bytes: what it quotes may be as long as the file.
    const BYTES_MAX: usize = 2_000;

    fn new(message: &str) -> Self {
        Self(shortened(message, Self::BYTES_MAX))
    }
}

/// A key of the sweep file whose value changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, such as `execution.job_timeout`.
    pub key: String,
    /// Its value before, for people; `none` where it had none.
    pub before: String,
    /// Its value after.
    pub after: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after } = self;
        write!(f, "{key}: {before} -> {after}")
    }
}

/// Whether a key cannot change a number of a sweep's results, so that it may change while the sweep runs. Whether the
/// pictures at another path are the same, the workers find out.
pub fn is_setting(key: &str) -> bool {
    ["name", "dataset.path", "metric.use"].contains(&key)
        || key.starts_with("execution.")
        || key.starts_with("artifacts.")
}

/// One checked sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Specification {
    /// The sweep's name, for people and for folders.
    pub name: String,
    /// What is trained.
    pub model: Model,
    /// What ranks the jobs.
    pub metric: Objective,
    /// The images.
    pub dataset: DatasetSpecification,
    /// Every parameter of the model in the model's order, each with at least one value, without duplicates.
    pub axes: Vec<Axis>,
    /// Points of the grid to leave out; each names some parameters.
    pub exclude: Vec<PartialPoint>,
    /// Points beyond the grid; each names some parameters, the others are constants or defaults.
    pub include: Vec<PartialPoint>,
    /// How to run it.
    pub execution: Execution,
    /// What is kept of its jobs.
    pub artifacts: Artifacts,
}

/// One parameter and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The parameter's name.
    pub name: &'static str,
    /// Its values in the order of the file, never empty.
    pub values: Vec<ParameterValue>,
}

/// Some parameters of a point, in the model's order.
pub type PartialPoint = Vec<(&'static str, ParameterValue)>;

/// The data set of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetSpecification {
    /// Folder, .zip or packed .safetensors on the workers.
    pub path: PathBuf,
    /// Folder or .zip with the validation set; none for the data set's own, or a share of the images.
    pub val_path: Option<PathBuf>,
    /// Side of the square images, in pixels; a multiple of 4 because two 2×2 poolings halve it twice.
    pub image_size: u32,
    /// Share held out for validation, in (0, 1); of no meaning where there is a validation set.
    pub val_fraction: f64,
    /// Seed of the split.
    pub split_seed: u64,
}

/// How a sweep is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Most jobs at the same time; none for as many as there are slots.
    pub max_parallel: Option<u32>,
    /// Most attempts that may fail before the job has failed.
    pub attempts_max: u32,
    /// Longest time of one attempt, in milliseconds.
    pub job_timeout_ms: Option<u64>,
    /// A checkpoint after each so many epochs, at least 1; none for as often as costs little.
    pub checkpoint_every_epochs: Option<u32>,
    /// Most jobs that one slot trains at the same time, at least 1; none for as many as pay.
    pub pack_size_max: Option<u32>,
}

/// What a sweep keeps of its jobs beside their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artifacts {
    /// Whose trained weights.
    pub keep: Keep,
}

/// Whose weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those of the best jobs, so many, at least 1 and at most [`KEEP_MAX`].
    Best(u32),
    /// Those of every job that is done.
    All,
    /// Nobody's.
    None,
}

impl Default for Artifacts {
    /// The best job's: one file, which everybody asks for in the end.
    fn default() -> Self {
        Self { keep: Keep::Best(1) }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best(count) => count.fmt(f),
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
        }
    }
}

impl Specification {
    /// Reads and checks a sweep file with its overrides.
    pub fn parse(source: &SpecificationSource) -> Result<Self, SpecificationError> {
        Ok(Self::parse_with_grid(source)?.0)
    }

    /// The same, with the grid that the check has built.
    pub fn parse_with_grid(source: &SpecificationSource) -> Result<(Self, Grid), SpecificationError> {
        file::read(source)
    }

    /// Reads what [`Self::to_yaml`] wrote.
    pub fn from_stored(text: &str) -> Result<Self, SpecificationError> {
        file::read_stored(text)
    }

    /// The specification as a sweep file, overrides applied and defaults filled in.
    pub fn to_yaml(&self) -> String {
        file::write(self)
    }

    /// This specification with `KEY=VALUE` changes, which name what is wrong with them. Its points are not counted.
    pub fn with_overrides(&self, overrides: &[String]) -> Result<Self, SpecificationError> {
        file::overlaid(self, overrides)
    }

    /// The keys of the sweep file at which this one and an earlier one differ, such as `parameters.epochs`.
    pub fn changes_from(&self, before: &Self) -> Vec<Change> {
        file::changes(before, self)
    }

    /// The same but for the points.
    pub fn kind_changes_from(&self, before: &Self) -> Vec<Change> {
        file::kind_changes(before, self)
    }

    /// Takes over all for which [`is_setting`] holds.
    pub fn take_settings(&mut self, other: &Self) {
        self.name.clone_from(&other.name);
        self.dataset.path.clone_from(&other.dataset.path);
        self.metric.used = other.metric.used;
        self.execution.clone_from(&other.execution);
        self.artifacts = other.artifacts;
    }

    /// Whether [`Self::take_settings`] would change nothing.
    pub fn has_settings_of(&self, other: &Self) -> bool {
        self.name == other.name
            && self.dataset.path == other.dataset.path
            && self.metric.used == other.metric.used
            && self.execution == other.execution
            && self.artifacts == other.artifacts
    }

    /// About how much memory it takes up.
    pub fn bytes(&self) -> usize {
        let values = self.axes.iter().map(|axis| size_of_val(axis.values.as_slice())).sum::<usize>();
        let points = self.exclude.iter().chain(&self.include);
        size_of::<Self>() + values + points.map(|point| size_of_val(point.as_slice())).sum::<usize>()
    }

    /// The jobs of this sweep.
    pub fn grid(&self) -> Result<Grid, GridError> {
        Grid::new(&self.axes, &self.exclude, &self.include)
    }

    /// Names of the parameters that differ between jobs, in the model's order.
    pub fn varying(&self) -> Vec<&'static str> {
        let constant = |axis: &&Axis| {
            let included = |point: &PartialPoint| point.iter().find(|(name, _)| *name == axis.name).cloned();
            axis.values.len() == 1
                && self.include.iter().filter_map(included).all(|(_, value)| value == axis.values[0])
        };
        self.axes.iter().filter(|axis| !constant(axis)).map(|axis| axis.name).collect()
    }
}

#[cfg(test)]
mod tests;
