//! A sweep specification: what a sweep file says once it has been checked. `file` reads the YAML, this file gives it
//! meaning. Errors name the file, the line and the key.

mod comparable;
mod early;
mod file;
mod limits;
mod models;
mod rungs;
mod trainable;

use std::{fmt, path::PathBuf, sync::Arc};

pub use terms::{Goal, MetricUse, Objective};
use terms::{manifest::Manifest, snapshot::SnapshotId};

pub use self::{
    early::{EarlyTermination, HyperbandRungs, StoppingRule},
    limits::{Execution, is_setting},
    models::Models,
    trainable::{ArgumentStyle, MetricSource, PROGRAM, Program, Resources, Trainable},
};
use crate::{
    grid::Grid,
    points::{DrawnPoints, Jobs, LearnedPoints, Method, Points, PointsError},
    space::{Axis, Name, PartialPoint},
    text::shortened,
};

/// Largest sweep file, in bytes: a thousand lines of values fit many times over.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most `exclude` and most `include` entries.
pub const POINT_PATTERNS_MAX: usize = 1_000;
/// Most jobs whose weights a sweep may keep by number: each finished job is compared with all of them. More is `all`.
pub const KEEP_MAX: u32 = 1_000;
/// Most values of one parameter, listed or by range.
pub const VALUES_MAX: usize = 10_000;
/// Most jobs that `run_cap` may allow: as many as a grid may have.
pub const RUN_CAP_MAX: u64 = crate::grid::POINTS_MAX;
/// Most trainings of each point.
pub const REPEATS_MAX: u32 = 1_000;

/// The text of a sweep file, and what the command line changes in it.
#[derive(Debug, Clone, Default)]
pub struct SpecificationSource {
    pub text: String,
    /// Its name, for error messages.
    pub file_name: String,
    /// `KEY=VALUE` changes, applied in order.
    pub overrides: Vec<String>,
    /// Replaces `dataset.path`.
    pub dataset_path: Option<String>,
    /// The models that it may name.
    pub models: Models,
    /// Whether it adds to a sweep: its own jobs are then not all, and what only they lack is not worth a note.
    pub is_extension: bool,
}

impl SpecificationSource {
    /// Whether it names a model that is none of its `models`.
    pub fn lacks_model(&self) -> bool {
        file::lacks_model(self)
    }
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

#[derive(Debug, Clone, PartialEq)]
pub struct Specification {
    /// The sweep's name, for people and for folders.
    pub name: String,
    /// What it is about, for people; empty where the file does not say.
    pub description: String,
    pub trainable: Trainable,
    /// What ranks the jobs.
    pub metric: Objective,
    /// The value of the metric with which the sweep has found enough.
    pub target: Option<f64>,
    /// How points are chosen.
    pub method: Method,
    /// Most jobs of the sweep.
    pub run_cap: Option<u64>,
    /// How often each point is trained, at least 1.
    pub repeats: u32,
    /// The images; none for a program, which finds its data by itself.
    pub dataset: Option<DatasetSpecification>,
    /// Every parameter, each with at least one value, without duplicates: a model's in the model's order, a program's
    /// in the order of the file.
    pub axes: Vec<Axis>,
    /// Points of the grid to leave out; each names some parameters.
    pub exclude: Vec<PartialPoint>,
    /// Points beyond the grid; each names some parameters, the others are constants or defaults.
    pub include: Vec<PartialPoint>,
    /// How far jobs train, where a rule decides it; none where each trains to its end.
    pub early_terminate: Option<EarlyTermination>,
    /// How to run it.
    pub execution: Execution,
    /// What a job of a program occupies.
    pub resources: Resources,
    /// What is kept of its jobs.
    pub artifacts: Artifacts,
    /// What the file says that has no effect here, for people. It is not kept with the sweep.
    pub notes: Vec<String>,
}

/// The data set of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetSpecification {
    /// Folder, .zip or packed .safetensors on the workers.
    pub path: PathBuf,
    /// Folder or .zip with the validation set; none for the data set's own, or a share of the images.
    pub val_path: Option<PathBuf>,
    /// Side of the square images, in pixels; a multiple of 4 because two 2×2 poolings halve it twice.
    pub image_size: u32,
    /// Share held out for validation, in (0, 1); has no effect where there is a validation set.
    pub val_fraction: f64,
    /// Seed of the split.
    pub split_seed: u64,
}

/// What a sweep keeps of its jobs besides their metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artifacts {
    /// Whose trained weights.
    pub keep: Keep,
}

/// Whose weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those of the best N jobs, at least 1 and at most [`KEEP_MAX`].
    Best(u32),
    /// Those of every job that is done.
    All,
    None,
}

impl Default for Artifacts {
    /// The best job's: one file, which everyone wants in the end.
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

/// Whether what [`Specification::to_yaml`] wrote is of a program.
pub(crate) fn is_of_program(text: &str) -> bool {
    file::is_of_program(text)
}

impl Specification {
    /// Reads and checks a sweep file with its overrides.
    pub fn parse(source: &SpecificationSource) -> Result<Self, SpecificationError> {
        Ok(Self::parse_with_jobs(source)?.0)
    }

    /// The same, with the jobs that the check built.
    pub fn parse_with_jobs(source: &SpecificationSource) -> Result<(Self, Jobs), SpecificationError> {
        let (mut specification, jobs) = file::read(source)?;
        if !source.is_extension {
            specification.note_on_early_stopping(jobs.count());
        }
        Ok((specification, jobs))
    }

    /// Reads the output of [`Self::to_yaml`]; its model is one of `models`.
    pub fn from_stored(text: &str, models: &Models) -> Result<Self, SpecificationError> {
        file::read_stored(text, models)
    }

    /// The specification as a sweep file, overrides applied and defaults filled in.
    pub fn to_yaml(&self) -> String {
        file::write(self)
    }

    /// This specification with `KEY=VALUE` overrides; errors name the override. Points are not counted.
    pub fn with_overrides(&self, overrides: &[String]) -> Result<Self, SpecificationError> {
        file::overlaid(self, overrides)
    }

    /// The keys of the sweep file in which this one and an earlier one differ, such as `parameters.epochs`.
    pub fn changes_from(&self, before: &Self) -> Vec<Change> {
        file::changes(before, self)
    }

    /// The same, without the points.
    pub fn kind_changes_from(&self, before: &Self) -> Vec<Change> {
        file::kind_changes(before, self)
    }

    /// What the trainable says about itself; for a program, what the file says about it.
    pub fn manifest(&self) -> Arc<Manifest> {
        match &self.trainable {
            Trainable::Model(model) => Arc::clone(model.manifest()),
            Trainable::Program(program) => Arc::new(program.manifest(&self.axes, &self.metric)),
        }
    }

    /// The files of its program as they were sent.
    pub fn snapshot(&self) -> Option<SnapshotId> {
        self.trainable.program()?.snapshot
    }

    /// Where the images are; empty where there are none.
    pub fn dataset_path(&self) -> &std::path::Path {
        self.dataset.as_ref().map_or(std::path::Path::new(""), |dataset| dataset.path.as_path())
    }

    /// Takes over all keys for which [`is_setting`] holds.
    pub fn take_settings(&mut self, other: &Self) {
        self.name.clone_from(&other.name);
        self.description.clone_from(&other.description);
        if let (Some(own), Some(other)) = (&mut self.dataset, &other.dataset) {
            own.path.clone_from(&other.path);
        }
        self.metric.used = other.metric.used;
        self.target = other.target;
        self.execution.clone_from(&other.execution);
        self.resources = other.resources;
        self.artifacts = other.artifacts;
    }

    /// Whether [`Self::take_settings`] would change nothing.
    pub fn has_settings_of(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.dataset_path() == other.dataset_path()
            && self.metric.used == other.metric.used
            && self.target == other.target
            && self.execution == other.execution
            && self.resources == other.resources
            && self.artifacts == other.artifacts
    }

    /// Roughly the memory that it takes.
    pub fn bytes(&self) -> usize {
        let values = |axis: &Axis| size_of::<Axis>() + axis.name.len() + axis.domain.bytes();
        let values = self.axes.iter().map(values).sum::<usize>();
        let points = self.exclude.iter().chain(&self.include);
        size_of::<Self>() + values + points.map(|point| size_of_val(point.as_slice())).sum::<usize>()
    }

    /// The jobs of this sweep. Takes time in proportion to the number of points where a search excludes or repeats some.
    pub fn jobs(&self) -> Result<Jobs, PointsError> {
        let points_max = self.points_max()?;
        let points = match self.method {
            Method::Grid => {
                let mut grid = Grid::new(&self.axes, &self.exclude, &self.include)?;
                grid.limit(points_max);
                Points::Grid(grid)
            }
            Method::Random { .. } | Method::Sobol { .. } => {
                let listed = (self.exclude.as_slice(), self.include.as_slice());
                Points::Drawn(DrawnPoints::new(&self.axes, listed, self.method, points_max)?)
            }
            Method::Tpe { .. } | Method::External => {
                let listed = (self.exclude.as_slice(), self.include.as_slice());
                Points::Learned(LearnedPoints::new(
                    &self.axes,
                    listed,
                    self.method,
                    self.repeats,
                    points_max,
                )?)
            }
        };
        let seed = self.trainable.model().and_then(|model| model.seed.clone());
        Ok(Jobs::new(points, self.repeats, seed))
    }

    /// How many points `run_cap` leaves.
    pub(crate) fn points_max(&self) -> Result<Option<u64>, PointsError> {
        match self.run_cap.map(|cap| cap / u64::from(self.repeats.max(1))) {
            Some(0) => Err(PointsError::NoneFits),
            points_max => Ok(points_max),
        }
    }

    /// Names of the parameters that differ between jobs, in order. A parameter with a value in only some jobs differs.
    pub fn varying(&self) -> Vec<Name> {
        let constant = |axis: &&Axis| {
            let included = |point: &PartialPoint| point.iter().find(|(name, _)| *name == axis.name).cloned();
            axis.domain.is_constant()
                && axis.when.is_empty()
                && self.include.iter().filter_map(included).all(|(_, value)| value == axis.domain.first())
        };
        // Each training of a point has a seed of its own.
        let repeated =
            self.trainable.model().and_then(|model| model.seed.as_deref()).filter(|_| self.repeats > 1);
        let varies = |axis: &&Axis| !constant(axis) || repeated == Some(&*axis.name);
        self.axes.iter().filter(varies).map(|axis| axis.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
