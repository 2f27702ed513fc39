//! What the jobs of a sweep are: the specification that was submitted and those that extended it. A job keeps its
//! number permanently; the points that an extension adds follow those that the sweep has. Settings that cannot change a
//! result, such as a limit or the name, may change: the first specification has their current values.

mod extension;

use std::sync::Arc;

use terms::{
    ParameterMap, ParameterValue, SweepId,
    manifest::{InPack, Manifest, ManifestError},
};

use crate::{
    known_points::KnownPoints,
    mutants::{self, Mutant},
    points::{Jobs, LearnedPoints, Method, PointsError},
    proposals::Proposed,
    space::Name,
    specification::{
        Change, Execution, Models, Objective, Specification, SpecificationError, SpecificationSource,
        is_of_program,
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

/// Points of a grid that are examined as pack candidates: each costs some nanoseconds. Where jobs start in the order of their
/// numbers, the candidates follow the job.
const GRID_LOOKED_AT_MAX: u64 = 65_536;
/// Waiting jobs of a search that are examined: each may have its point computed, which takes some hundred nanoseconds.
const QUEUE_LOOKED_AT_MAX: usize = 4_096;

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
    /// Its jobs of points that no earlier part has.
    jobs: Arc<Jobs>,
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
    /// The points are too many or none.
    #[error("the points cannot be built ({0:?})")]
    Points(PointsError),
    /// What decides the results of a sweep would change.
    #[error("{}", refused_change(.0))]
    Differs(Change),
    /// Existing jobs would change.
    #[error(
        "`{0}` cannot be set: existing jobs keep their parameters; add others with `sweep submit --extend`"
    )]
    Jobs(String),
    /// Early stopping would go by another rule.
    #[error("{}", refused_rule(.0))]
    Rule(String),
    /// There would be fewer jobs than there are.
    #[error(
        "the sweep may have {own} jobs and this file's `run_cap` is {other}; jobs are never taken away, so raise `run_cap` above \
         {own}"
    )]
    Cap {
        /// How many jobs the sweep may have, or has where it is a grid.
        own: u64,
        /// What the extension says.
        other: u64,
    },
    /// A search would draw other points.
    #[error(
        "`{0}` cannot change, as a search computes its points from their numbers: an extension raises `run_cap` and leaves \
         the rest as it is; submit it as a sweep of its own"
    )]
    Search(String),
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
    if is_of_rule(key) {
        return refused_rule(key);
    }
    format!(
        "`{key}` cannot change, as existing results would not be comparable: the sweep has {before}, this has {after}; submit \
         it as a sweep of its own"
    )
}

/// Whether a key is of `early_terminate`.
fn is_of_rule(key: &str) -> bool {
    key.split('.').next() == Some("early_terminate")
}

/// Why early stopping keeps its rule, and what to do.
fn refused_rule(key: &str) -> String {
    format!(
        "`{key}` cannot change: a sweep keeps the rule that it began with, or none; submit it as a sweep of its own, or end single \
         jobs with `sweep stop SWEEP/JOB`"
    )
}

impl SweepDefinition {
    /// The sweep of one specification.
    pub fn new(id: SweepId, specification: Specification) -> Result<Self, DefinitionError> {
        let jobs = specification.jobs().map_err(DefinitionError::Points)?;
        Ok(Self::of(id, specification, jobs))
    }

    /// The sweep of a file, not numbered yet.
    pub fn parse(source: &SpecificationSource) -> Result<Self, SpecificationError> {
        let (specification, jobs) = Specification::parse_with_jobs(source)?;
        Ok(Self::of(SweepId(0), specification, jobs))
    }

    fn of(id: SweepId, specification: Specification, jobs: Jobs) -> Self {
        let text = specification.to_yaml().into();
        let part = Part { specification: Arc::new(specification.clone()), jobs: Arc::new(jobs), text };
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
        let mut first = Specification::from_stored(documents.next().unwrap_or_default(), &models)?;
        if let Method::Random { seed } = &mut first.method
            && mutants::is_on(Mutant::OtherPointsAfterRestart)
        {
            *seed += 1;
        }
        let mut definition = Self::new(id, first)?;
        let mut known = KnownPoints::default();
        for document in documents {
            if let Some(last) = definition.parts.last() {
                known.add(&last.jobs);
            }
            let mut extension = Specification::from_stored(document, &models)?;
            definition.check_kind(&mut extension)?;
            let jobs = extension.jobs().map_err(DefinitionError::Points)?;
            let jobs = definition.new_of(&extension, jobs, &known)?;
            definition.add(extension, jobs)?;
        }
        if let Some(last) = definition.parts.last() {
            definition.execution = last.specification.execution.clone();
            definition.metric = last.specification.metric.clone();
            definition.specification.execution = definition.execution.clone();
            definition.specification.metric = definition.metric.clone();
            definition.specification.target = last.specification.target;
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

    /// What counts against the memory for all sweeps: the text, and the parameters of the first `points` points of a search that learns.
    pub fn kept_bytes(&self, points: u64) -> usize {
        let of_points = self.learned().map_or(0, |learned| {
            usize::try_from(points).unwrap_or(usize::MAX).saturating_mul(learned.bytes_of_point())
        });
        self.text_bytes().saturating_add(of_points)
    }

    /// The same once all points that there may be are proposed.
    pub fn kept_bytes_max(&self) -> usize {
        self.kept_bytes(self.learned().map_or(0, LearnedPoints::count))
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

    /// The settings in which this one and an earlier one differ.
    pub fn changes_from(&self, before: &Self) -> Vec<Change> {
        self.specification.kind_changes_from(&before.specification)
    }

    fn add(&mut self, specification: Specification, jobs: Jobs) -> Result<(), DefinitionError> {
        if self.parts.len() == SPECIFICATIONS_MAX {
            return Err(DefinitionError::TooManyExtensions);
        }
        let text = specification.to_yaml().into();
        self.parts.push(Part { specification: Arc::new(specification), jobs: Arc::new(jobs), text });
        Ok(())
    }

    /// How many jobs there are, at least 1.
    pub fn job_count(&self) -> u64 {
        self.parts.iter().map(|part| part.jobs.count()).sum()
    }

    /// The points, where a searcher that learns proposes them. Such a sweep has one specification.
    pub fn learned(&self) -> Option<&LearnedPoints> {
        self.parts.first().and_then(|part| part.jobs.learned())
    }

    /// This definition where it begins to count, after another or as the first. A command is carried out again after a commit that
    /// failed, with the same definition: what was proposed meanwhile must not be in it.
    pub fn after(&self, before: Option<&Self>) -> Self {
        let mut definition = self.clone();
        for part in &mut definition.parts {
            if let Some(jobs) = part.jobs.after(before.and_then(Self::learned)) {
                part.jobs = Arc::new(jobs);
            }
        }
        definition
    }

    /// This definition with `jobs` jobs, where a searcher that learns has no points for more. Those who have this one keep
    /// it as it is: what they hear of it was so at one time.
    pub fn ending_after(&self, jobs: u64) -> Self {
        let mut definition = self.clone();
        for part in &mut definition.parts {
            if let Some(jobs) = part.jobs.ending_after(jobs) {
                part.jobs = Arc::new(jobs);
            }
        }
        definition
    }

    /// Why a job has its point, where a searcher that learns proposed it.
    pub fn proposed(&self, job: u64) -> Option<&Proposed> {
        let points = self.learned()?;
        points.proposals().get(points.point_of(job))
    }

    /// The parameters of a job; empty for a number beyond the last, and for a job whose point is not proposed yet.
    pub fn parameters(&self, job: u64) -> ParameterMap {
        self.locate(job).and_then(|(_, jobs, job)| jobs.parameters(job)).unwrap_or_default()
    }

    /// Calls with each parameter of a job and its value: of many jobs, without a copy of each name.
    pub fn visit_parameters(&self, job: u64, call: impl FnMut(&str, ParameterValue)) {
        if let Some((_, jobs, job)) = self.locate(job) {
            // A point that is not proposed yet has none.
            let _ = jobs.visit(job, call);
        }
    }

    /// How many jobs there are before those of its specification, those, and the job's number there.
    fn locate(&self, job: u64) -> Option<(u64, &Jobs, u64)> {
        let mut before = 0;
        for Part { jobs, .. } in &self.parts {
            let own = job.checked_sub(before)?;
            if own <= jobs.count() {
                return Some((before, jobs, own));
            }
            before += jobs.count();
        }
        None
    }

    /// Which training of its point a job is, from 1; none where each point is trained once.
    pub fn repeat(&self, job: u64) -> Option<u32> {
        let (_, jobs, job) = self.locate(job).filter(|_| self.specification.repeats > 1)?;
        Some(jobs.point(job)?.1)
    }

    /// Jobs that may train in one pack with `job`, without itself. In a grid they are computed: larger numbers first. In a
    /// search they are those of `queue`, which has the jobs that wait in the order in which they would start. The list is not
    /// complete: jobs of different extensions are not matched, and a bounded number is looked at.
    pub fn pack_candidates<'a>(
        &'a self,
        job: u64,
        waits: impl Fn(u64) -> bool + 'a,
        queue: impl Iterator<Item = u64> + 'a,
    ) -> Box<dyn Iterator<Item = u64> + 'a> {
        let own =
            |name: &str| self.manifest.parameter(name).is_some_and(|known| known.in_pack == InPack::Own);
        let Some((before, jobs, number)) = self.locate(job) else { return Box::new(std::iter::empty()) };
        if let Some(alike) = jobs.is_alike(number, own) {
            if !jobs.has_alike(own, QUEUE_LOOKED_AT_MAX as u64) {
                return Box::new(std::iter::empty());
            }
            // A search has one specification.
            return Box::new(
                queue.take(QUEUE_LOOKED_AT_MAX).filter(move |other| *other != job && alike(*other)),
            );
        }
        let computed = jobs.differing_only_in(number, own, GRID_LOOKED_AT_MAX);
        let computed = computed.into_iter().flatten().map(move |candidate| before + candidate);
        Box::new(computed.filter(move |candidate| waits(*candidate)))
    }

    /// Says of other jobs whether they may train in a pack with `job`: it differs from them in nothing but what a pack's members may each have.
    pub fn is_pack_candidate(&self, job: u64) -> Box<dyn Fn(u64) -> bool + '_> {
        let own =
            |name: &str| self.manifest.parameter(name).is_some_and(|known| known.in_pack == InPack::Own);
        let Some((before, jobs, number)) = self.locate(job) else { return Box::new(|_| false) };
        if let Some(is_listed) = jobs.is_listed(number, own) {
            return Box::new(move |other| other.checked_sub(before).is_some_and(&is_listed));
        }
        match jobs.is_alike(number, own) {
            // A search has one specification.
            Some(is_alike) => Box::new(move |other| other != job && is_alike(other)),
            None => Box::new(|_| false),
        }
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
        let (_, jobs, job) = self.locate(job)?;
        u32::try_from(jobs.value(job, name)?.whole()?).ok().filter(|epochs| *epochs > 0)
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
                    .any(|part| part.specification.axes[*position].domain != first.axes[*position].domain)
        };
        (0..first.axes.len()).filter(differs).map(|position| first.axes[position].name.clone()).collect()
    }
}

/// The first of a sweep's specifications, which has its settings, from [`SweepDefinition::text`] or
/// [`SweepDefinition::shown_text`].
pub fn first_document(text: &str) -> &str {
    documents(text).next().unwrap_or_default()
}

/// All of a sweep's specifications: the first, and those that extended it.
pub fn documents(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR)
}

#[cfg(test)]
mod tests;
