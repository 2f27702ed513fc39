//! What the jobs of a sweep are: the specification that was submitted and those that extended it. A job keeps its
//! number permanently; the points that an extension adds follow those that the sweep has. Settings that cannot change a
//! result, such as a limit or the name, may change: the first specification has their current values.

use std::sync::Arc;

use terms::{
    ParameterMap, ParameterValue, SweepId,
    manifest::{Described, InPack, Manifest, ManifestError},
};

use crate::{
    grid::{Grid, GridError},
    known_points::KnownPoints,
    space::{Name, ValueKey},
    specification::{
        Change, Execution, Models, Objective, Specification, SpecificationError, SpecificationSource,
        is_of_program, is_setting,
    },
};

/// Most specifications of one sweep.
const SPECIFICATIONS_MAX: usize = 100;
const _: () = assert!(SPECIFICATIONS_MAX <= super::known_points::GRIDS_MAX);
/// Separates two specifications in the stored text: YAML's mark between documents.
const SEPARATOR: &str = "\n---\n";
/// Longest text of all specifications of a sweep, in bytes: it is written whole whenever the sweep changes its state,
/// and read whole at each start. A hundred thousand long numbers fit several times over.
const TEXT_BYTES_MAX: usize = 32 << 20;
/// Longest text of a sweep that is shown, in bytes: everyone who asks for the sweep receives it. One file has a
/// fraction of it.
const SHOWN_BYTES_MAX: usize = 4 << 20;

/// What a sweep is. Extending it makes a new definition.
#[derive(Debug, Clone)]
pub struct SweepDefinition {
    /// The sweep's number; 0 before it has one.
    pub id: SweepId,
    /// The first specification, with the current name, data set path and limits.
    pub specification: Specification,
    /// How to run the jobs.
    pub execution: Execution,
    /// What ranks the jobs. All specifications share its name and goal; the latest decides which epochs count.
    pub metric: Objective,
    /// What the trainable says about itself.
    pub manifest: Arc<Manifest>,
    /// Parameters that differ between jobs, in the order of the space.
    pub varying: Vec<Name>,
    parts: Vec<Part>,
}

/// One of a sweep's specifications.
#[derive(Debug, Clone)]
struct Part {
    specification: Arc<Specification>,
    /// Its points that no earlier part has.
    grid: Arc<Grid>,
    /// As a YAML document.
    text: Arc<str>,
}

/// Why a definition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The text cannot be read.
    #[error(transparent)]
    Specification(#[from] SpecificationError),
    /// What was stored of its model cannot be read.
    #[error("its model: {0}")]
    Manifest(#[from] ManifestError),
    /// The grid is too large or empty.
    #[error("the grid cannot be built ({0:?})")]
    Grid(GridError),
    /// What decides the results of a sweep would change.
    #[error("{}", refused_change(.0))]
    Differs(Change),
    /// Existing jobs would change.
    #[error(
        "`{0}` cannot be set: existing jobs keep their parameters; add others with `sweep submit --extend`"
    )]
    Jobs(String),
    /// Extended too often.
    #[error("a sweep can be extended {} times; submit the points as a sweep of their own", SPECIFICATIONS_MAX - 1)]
    TooManyExtensions,
    /// Extended by too much.
    #[error(
        "the sweep's specifications would have {0} bytes together, but at most {TEXT_BYTES_MAX} are allowed; submit the \
         points as a sweep of their own, or write their values as ranges"
    )]
    TooLong(usize),
}

/// Said where the files of a program are not those that its sweep began with.
pub const FILES_CHANGED: &str = "the program or a file of `execution.files` has changed since the sweep began, and the results of \
                                 both would not be comparable; submit it as a sweep of its own";

/// Why results before and after a change would not be comparable, and what to do.
fn refused_change(Change { key, before, after }: &Change) -> String {
    // The id of the program's files, which no one wrote into a sweep file.
    if key == "execution.snapshot" {
        return FILES_CHANGED.to_owned();
    }
    format!(
        "`{key}` cannot change, as existing results would not be comparable: the sweep has {before}, this has {after}; submit \
         it as a sweep of its own"
    )
}

impl SweepDefinition {
    /// The sweep of one specification.
    pub fn new(id: SweepId, specification: Specification) -> Result<Self, DefinitionError> {
        let grid = specification.grid().map_err(DefinitionError::Grid)?;
        Ok(Self::of(id, specification, grid))
    }

    /// The sweep of a file, not numbered yet.
    pub fn parse(source: &SpecificationSource) -> Result<Self, SpecificationError> {
        let (specification, grid) = Specification::parse_with_grid(source)?;
        Ok(Self::of(SweepId(0), specification, grid))
    }

    fn of(id: SweepId, specification: Specification, grid: Grid) -> Self {
        let text = specification.to_yaml().into();
        let part = Part { specification: Arc::new(specification.clone()), grid: Arc::new(grid), text };
        Self {
            id,
            execution: specification.execution.clone(),
            metric: specification.metric.clone(),
            manifest: specification.manifest(),
            varying: specification.varying(),
            specification,
            parts: vec![part],
        }
    }

    /// Reads the output of [`Self::text`], with the manifest that was stored with it: that of a model counts, whatever this program
    /// or a worker knows of the model by now. Sweeps of older versions have none. Takes time in proportion to the lengths and to
    /// the points.
    pub fn from_stored(id: SweepId, text: &str, manifest: Option<&str>) -> Result<Self, DefinitionError> {
        let models = match manifest {
            // A program's is made from the file again.
            Some(manifest) if !is_of_program(first_document(text)) => Models::from_json(manifest)?,
            _ => Models::default(),
        };
        let mut documents = text.split(SEPARATOR);
        let first = Specification::from_stored(documents.next().unwrap_or_default(), &models)?;
        let mut definition = Self::new(id, first)?;
        let mut known = KnownPoints::default();
        for document in documents {
            if let Some(last) = definition.parts.last() {
                known.add(&last.grid);
            }
            let mut extension = Specification::from_stored(document, &models)?;
            definition.check_kind(&mut extension)?;
            let mut grid = extension.grid().map_err(DefinitionError::Grid)?;
            grid.leave_out(&known);
            definition.add(extension, grid)?;
        }
        if let Some(last) = definition.parts.last() {
            definition.execution = last.specification.execution.clone();
            definition.metric = last.specification.metric.clone();
            definition.specification.execution = definition.execution.clone();
            definition.specification.metric = definition.metric.clone();
            definition.specification.resources = last.specification.resources;
            definition.specification.artifacts = last.specification.artifacts;
        }
        definition.varying = definition.find_varying();
        Ok(definition)
    }

    /// All specifications as YAML documents.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.parts.iter().map(|part| &*part.text).collect();
        texts.join(SEPARATOR)
    }

    /// The approximate length of [`Self::text`].
    pub fn text_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.text.len() + SEPARATOR.len()).sum()
    }

    /// [`Self::text`] for people: of a sweep that was extended by very many values, only the first and the last
    /// specifications.
    pub fn shown_text(&self) -> String {
        let bytes = self.text_bytes();
        let Some((first, others)) = self.parts.split_first().filter(|_| bytes > SHOWN_BYTES_MAX) else {
            return self.text();
        };
        let mut left = SHOWN_BYTES_MAX.saturating_sub(first.text.len());
        let fits = |part: &&Part| match left.checked_sub(part.text.len() + SEPARATOR.len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        let mut last: Vec<&str> = others.iter().rev().take_while(fits).map(|part| &*part.text).collect();
        last.reverse();
        let note = format!(
            "# {} extensions are left out here: the text has {bytes} bytes",
            others.len() - last.len()
        );
        [&*first.text, &note].into_iter().chain(last).collect::<Vec<_>>().join(SEPARATOR)
    }

    /// This sweep with the new points of `extension`, and its settings. Takes time in proportion to the number of
    /// points and to the values of all specifications.
    pub fn extended(&self, extension: Specification) -> Result<Self, DefinitionError> {
        let grid = extension.grid().map_err(DefinitionError::Grid)?;
        self.extended_with(extension, grid)
    }

    /// The same, with the grid of the extension already built.
    pub fn extended_with(
        &self,
        mut extension: Specification,
        mut grid: Grid,
    ) -> Result<Self, DefinitionError> {
        let is_reordered = self.check_kind(&mut extension)?;
        if self.write_zeros_alike(&mut extension) || is_reordered {
            grid = extension.grid().map_err(DefinitionError::Grid)?;
        }
        let mut known = KnownPoints::default();
        self.parts.iter().for_each(|part| known.add(&part.grid));
        grid.leave_out(&known);
        let mut definition = self.clone();
        definition.take_settings(&extension);
        if grid.job_count() > 0 {
            definition.add(extension, grid)?;
            // Not checked for a stored sweep: older versions accepted more.
            let bytes = definition.text_bytes();
            if bytes > TEXT_BYTES_MAX {
                return Err(DefinitionError::TooLong(bytes));
            }
            definition.varying = definition.find_varying();
        }
        Ok(definition)
    }

    /// This sweep with some of its settings changed, each as `KEY=VALUE`.
    pub fn set(&self, overrides: &[String]) -> Result<Self, DefinitionError> {
        let changed = self.specification.with_overrides(overrides)?;
        for change in changed.changes_from(&self.specification) {
            if !is_setting(&change.key) {
                let section = change.key.split('.').next().unwrap_or_default();
                let is_jobs = ["parameters", "exclude", "include"].contains(&section);
                return Err(if is_jobs {
                    DefinitionError::Jobs(change.key)
                } else {
                    DefinitionError::Differs(change)
                });
            }
        }
        let mut definition = self.clone();
        definition.take_settings(&changed);
        Ok(definition)
    }

    /// The settings in which this one and an earlier one differ.
    pub fn changes_from(&self, before: &Self) -> Vec<Change> {
        self.specification.kind_changes_from(&before.specification)
    }

    fn add(&mut self, specification: Specification, grid: Grid) -> Result<(), DefinitionError> {
        if self.parts.len() == SPECIFICATIONS_MAX {
            return Err(DefinitionError::TooManyExtensions);
        }
        let text = specification.to_yaml().into();
        self.parts.push(Part { specification: Arc::new(specification), grid: Arc::new(grid), text });
        Ok(())
    }

    /// Takes over the settings that cannot change a result. The first and the last part have them, as the limits of the
    /// last one count when the text is read.
    fn take_settings(&mut self, settings: &Specification) {
        if self.specification.has_settings_of(settings) {
            return;
        }
        self.specification.take_settings(settings);
        self.execution = self.specification.execution.clone();
        self.metric = self.specification.metric.clone();
        let last = self.parts.len() - 1;
        for index in [0, last] {
            let part = &mut self.parts[index];
            let mut specification = Specification::clone(&part.specification);
            specification.take_settings(settings);
            part.text = specification.to_yaml().into();
            part.specification = Arc::new(specification);
        }
    }

    /// How many jobs there are, at least 1.
    pub fn job_count(&self) -> u64 {
        self.parts.iter().map(|part| part.grid.job_count()).sum()
    }

    /// The parameters of a job; empty for a number beyond the last.
    pub fn parameters(&self, job: u64) -> ParameterMap {
        self.locate(job).and_then(|(grid, job)| grid.parameters(job)).unwrap_or_default()
    }

    /// The grid of a job, and its number there.
    fn locate(&self, job: u64) -> Option<(&Grid, u64)> {
        let mut left = job;
        for Part { grid, .. } in &self.parts {
            if left <= grid.job_count() {
                return Some((grid, left));
            }
            left -= grid.job_count();
        }
        None
    }

    /// Jobs that may train in one pack with `job`, without itself, larger numbers first. The list is not complete: jobs
    /// of different extensions are not matched, and at most `points_max` points are looked at.
    pub fn pack_candidates(&self, job: u64, points_max: u64) -> impl Iterator<Item = u64> + '_ {
        let own =
            |name: &str| self.manifest.parameter(name).is_some_and(|known| known.in_pack == InPack::Own);
        let mut before = 0;
        let grid = self.parts.iter().find_map(|Part { grid, .. }| {
            let (first, count) = (before, grid.job_count());
            before += count;
            (first < job && job - first <= count).then_some((first, grid))
        });
        grid.into_iter().flat_map(move |(first, grid)| {
            grid.differing_only_in(job - first, own, points_max).map(move |candidate| first + candidate)
        })
    }

    /// What decides how large a pack pays with such a job, as text: model, image size and the parameters that shape it.
    pub fn shape(&self, job: u64) -> String {
        let mut shape = self.manifest.name.clone();
        if let Some(dataset) = &self.specification.dataset {
            shape.push_str(&format!(" image_size={}", dataset.image_size));
        }
        for (name, value) in self.parameters(job).0 {
            if self.manifest.parameter(&name).is_some_and(|known| known.in_pack == InPack::Shape) {
                shape.push_str(&format!(" {name}={value}"));
            }
        }
        shape
    }

    /// How many epochs the job trains; none where the program decides.
    pub fn budget(&self, job: u64) -> Option<u32> {
        let name = self.manifest.budget.as_deref()?;
        let (grid, job) = self.locate(job)?;
        u32::try_from(grid.value(job, name)?.whole()?).ok().filter(|epochs| *epochs > 0)
    }

    /// Checks that everything that decides results is as in the sweep, except the points. Puts the parameters into the
    /// order that they have in the sweep, and says whether it had to.
    fn check_kind(&self, extension: &mut Specification) -> Result<bool, DefinitionError> {
        if let (Some(own), Some(other)) = (self.specification.trainable.model(), extension.trainable.model())
            && own.name == other.name
            && own != other
        {
            let words = |model: &Described| format!("version {} ({})", model.version, model.hash());
            let (before, after) = (words(own), words(other));
            return Err(DefinitionError::Differs(Change {
                key: format!("model {}", own.name),
                before,
                after,
            }));
        }
        let changes = extension.kind_changes_from(&self.specification);
        if let Some(change) = changes.into_iter().find(|change| !is_setting(&change.key)) {
            return Err(DefinitionError::Differs(change));
        }
        let place = |name: &Name| self.specification.axes.iter().position(|axis| axis.name == *name);
        let is_ordered = extension.axes.is_sorted_by_key(|axis| place(&axis.name));
        if !is_ordered {
            extension.axes.sort_by_key(|axis| place(&axis.name));
        }
        Ok(!is_ordered)
    }

    /// Writes zeros as the sweep has them: one of an earlier version may have -0.0, which is read as 0.0 today, and its jobs
    /// must be recognised. Says whether there were any.
    fn write_zeros_alike(&self, extension: &mut Specification) -> bool {
        let zero = |sign: f64| ValueKey::from(&ParameterValue::Float(0.0_f64.copysign(sign)));
        let has = |name: &Name, key: &ValueKey| {
            let axes = self.parts.iter().flat_map(|part| &part.specification.axes);
            axes.filter(|axis| axis.name == *name)
                .any(|axis| axis.values.iter().any(|value| ValueKey::from(value) == *key))
        };
        let mut is_changed = false;
        let mut write = |name: &Name, value: &mut ParameterValue| {
            if ValueKey::from(&*value) == zero(1.0) && has(name, &zero(-1.0)) && !has(name, &zero(1.0)) {
                *value = ParameterValue::Float(-0.0);
                is_changed = true;
            }
        };
        for axis in &mut extension.axes {
            axis.values.iter_mut().for_each(|value| write(&axis.name, value));
        }
        let points = extension.exclude.iter_mut().chain(&mut extension.include).flatten();
        points.for_each(|(name, value)| write(name, value));
        is_changed
    }

    fn find_varying(&self) -> Vec<Name> {
        let first = &self.specification;
        let varying: Vec<_> = self.parts.iter().map(|part| part.specification.varying()).collect();
        let differs = |position: &usize| {
            let name = &first.axes[*position].name;
            varying.iter().any(|names| names.contains(name))
                || self
                    .parts
                    .iter()
                    .any(|part| part.specification.axes[*position].values != first.axes[*position].values)
        };
        (0..first.axes.len()).filter(differs).map(|position| first.axes[position].name.clone()).collect()
    }
}

/// The first of a sweep's specifications, which has its settings, from [`SweepDefinition::text`] or
/// [`SweepDefinition::shown_text`].
pub fn first_document(text: &str) -> &str {
    text.split(SEPARATOR).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
