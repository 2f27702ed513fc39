//! What the jobs of a sweep are: the specification that was submitted and those that extended it. A job keeps its
//! number for ever; an extension's points that the sweep has not yet follow those that it has. What cannot change a
//! number, such as a limit or the name, may change: the first of the specifications has it as it is now.

use std::sync::Arc;

use proto::{ParameterMap, ParameterValue, SweepId, v1};

use super::{
    grid::{Grid, GridError},
    known_points::KnownPoints,
    parameters::InPack,
    specification::{
        Change, Execution, Metric, Specification, SpecificationError, SpecificationSource, is_setting,
    },
};

/// Most specifications of one sweep.
const SPECIFICATIONS_MAX: usize = 100;
const _: () = assert!(SPECIFICATIONS_MAX <= super::known_points::GRIDS_MAX);
/// What stands between two specifications in the stored text: YAML's mark between documents.
const SEPARATOR: &str = "\n---\n";
/// Longest text of all specifications of a sweep, in bytes: it is written as a whole whenever the sweep changes its state, and
/// read as a whole at each start. Those of a hundred thousand long numbers fit several times over.
const TEXT_BYTES_MAX: usize = 32 << 20;
/// Longest text of a sweep that is shown, in bytes: each who asks for the sweep is sent it. That of one file is a
/// fraction of it.
const SHOWN_BYTES_MAX: usize = 4 << 20;

/// What a sweep is; an extension makes another one of it.
#[derive(Debug, Clone)]
pub struct SweepDefinition {
    /// The sweep's number; 0 before it has one.
    pub id: SweepId,
    /// What was submitted first, with its name, its data set's path and its limits as they are now.
    pub specification: Specification,
    /// How to run the jobs.
    pub execution: Execution,
    /// What ranks the jobs. Its name and goal are those of all specifications; which epochs count is as the latest has it.
    pub metric: Metric,
    /// Parameters that differ between jobs, in the model's order.
    pub varying: Vec<&'static str>,
    parts: Vec<Part>,
}

/// One of a sweep's specifications.
#[derive(Debug, Clone)]
struct Part {
    specification: Arc<Specification>,
    /// Its points that no part before it has.
    grid: Arc<Grid>,
    /// As a YAML document.
    text: Arc<str>,
}

/// Why a sweep has no such definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The text cannot be read.
    #[error(transparent)]
    Specification(#[from] SpecificationError),
    /// The points cannot be counted.
    #[error("the grid cannot be built ({0:?})")]
    Grid(GridError),
    /// What decides the numbers of a sweep would change.
    #[error(
        "`{}` cannot change, as numbers that are there would be of another kind: the sweep has {}, this has {}; submit it \
         as a sweep of its own", .0.key, .0.before, .0.after
    )]
    Differs(Change),
    /// Jobs would change that are there.
    #[error(
        "`{0}` cannot be set: the jobs that are there keep their parameters; add others with `sweep submit --extend`"
    )]
    Jobs(String),
    /// Extended too often.
    #[error("a sweep can be extended {} times; submit the points as a sweep of their own", SPECIFICATIONS_MAX - 1)]
    TooManyExtensions,
    /// Extended by too much.
    #[error(
        "the sweep's specifications would have {0} bytes together, more than the {TEXT_BYTES_MAX} that they may have; submit the \
         points as a sweep of their own, or write their values as ranges"
    )]
    TooLong(usize),
}

impl SweepDefinition {
    /// The sweep of one specification.
    pub fn new(id: SweepId, specification: Specification) -> Result<Self, DefinitionError> {
        let grid = specification.grid().map_err(DefinitionError::Grid)?;
        Ok(Self::of(id, specification, grid))
    }

    /// The sweep of a file, which has no number yet.
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
            metric: specification.metric,
            varying: specification.varying(),
            specification,
            parts: vec![part],
        }
    }

    /// Reads what [`Self::text`] gave. Takes time in proportion to its length and to the points.
    pub fn from_stored(id: SweepId, text: &str) -> Result<Self, DefinitionError> {
        let mut documents = text.split(SEPARATOR);
        let first = Specification::from_stored(documents.next().unwrap_or_default())?;
        let mut definition = Self::new(id, first)?;
        let mut known = KnownPoints::default();
        for document in documents {
            if let Some(last) = definition.parts.last() {
                known.add(&last.grid);
            }
            let extension = Specification::from_stored(document)?;
            definition.check_kind(&extension)?;
            let mut grid = extension.grid().map_err(DefinitionError::Grid)?;
            grid.leave_out(&known);
            definition.add(extension, grid)?;
        }
        if let Some(last) = definition.parts.last() {
            definition.execution = last.specification.execution.clone();
            definition.metric = last.specification.metric;
            definition.specification.execution = definition.execution.clone();
            definition.specification.metric = definition.metric;
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

    /// The length of [`Self::text`], about.
    pub fn text_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.text.len() + SEPARATOR.len()).sum()
    }

    /// [`Self::text`] for people: of a sweep that was extended by very many values, the first and the last specifications.
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

    /// This sweep with the points of `extension` that it does not have yet, and its settings. Takes time in proportion to
    /// the points and to the values of all specifications.
    pub fn extended(&self, extension: Specification) -> Result<Self, DefinitionError> {
        let grid = extension.grid().map_err(DefinitionError::Grid)?;
        self.extended_with(extension, grid)
    }

    /// The same, with the grid of the extension.
    pub fn extended_with(&self, extension: Specification, mut grid: Grid) -> Result<Self, DefinitionError> {
        self.check_kind(&extension)?;
        let mut known = KnownPoints::default();
        self.parts.iter().for_each(|part| known.add(&part.grid));
        grid.leave_out(&known);
        let mut definition = self.clone();
        definition.take_settings(&extension);
        if grid.job_count() > 0 {
            definition.add(extension, grid)?;
            // Not of what is read back: older versions took more.
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

    /// The settings at which this one and an earlier one differ.
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

    /// Takes what cannot change a number. The first and the last of the parts have it: the limits of the last one are
    /// those that count when the text is read.
    fn take_settings(&mut self, settings: &Specification) {
        if self.specification.has_settings_of(settings) {
            return;
        }
        self.specification.take_settings(settings);
        self.execution = self.specification.execution.clone();
        self.metric = self.specification.metric;
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
        self.place(job).and_then(|(grid, job)| grid.parameters(job)).unwrap_or_default()
    }

    /// The grid that a job is of, and its number there.
    fn place(&self, job: u64) -> Option<(&Grid, u64)> {
        let mut left = job;
        for Part { grid, .. } in &self.parts {
            if left <= grid.job_count() {
                return Some((grid, left));
            }
            left -= grid.job_count();
        }
        None
    }

    /// Jobs that may be trained in one pack with `job`, itself left out, those with larger numbers first. Not all of them:
    /// those that an extension added are only found for each other, and no more than `points_max` points are looked at.
    pub fn mates(&self, job: u64, points_max: u64) -> impl Iterator<Item = u64> + '_ {
        let model = self.specification.model;
        let own = move |name: &str| model.parameter(name).is_some_and(|known| known.in_pack == InPack::Own);
        let mut before = 0;
        let grid = self.parts.iter().find_map(|Part { grid, .. }| {
            let (first, count) = (before, grid.job_count());
            before += count;
            (first < job && job - first <= count).then_some((first, grid))
        });
        grid.into_iter().flat_map(move |(first, grid)| {
            grid.mates(job - first, own, points_max).map(move |mate| first + mate)
        })
    }

    /// What decides how large a pack pays with such a job, in words: model, image size and the parameters that shape it.
    pub fn shape(&self, job: u64) -> String {
        let specification = &self.specification;
        let mut shape =
            format!("{} image_size={}", specification.model.name(), specification.dataset.image_size);
        for (name, value) in self.parameters(job).0 {
            if specification.model.parameter(&name).is_some_and(|known| known.in_pack == InPack::Shape) {
                shape.push_str(&format!(" {name}={value}"));
            }
        }
        shape
    }

    /// The job's number and its parameters.
    pub fn point(&self, job: u64) -> v1::JobPoint {
        v1::JobPoint { job, parameters: self.parameters(job).into_wire() }
    }

    /// How many epochs the job trains.
    pub fn epochs(&self, job: u64) -> u32 {
        match self.place(job).and_then(|(grid, job)| grid.value(job, "epochs")) {
            Some(ParameterValue::Integer(epochs)) => u32::try_from(*epochs).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// Whether all that decides numbers is as in the sweep, but for the points.
    fn check_kind(&self, extension: &Specification) -> Result<(), DefinitionError> {
        let changes = extension.kind_changes_from(&self.specification);
        match changes.into_iter().find(|change| !is_setting(&change.key)) {
            Some(change) => Err(DefinitionError::Differs(change)),
            None => Ok(()),
        }
    }

    fn find_varying(&self) -> Vec<&'static str> {
        let first = &self.specification;
        let varying: Vec<_> = self.parts.iter().map(|part| part.specification.varying()).collect();
        let differs = |position: &usize| {
            let name = first.axes[*position].name;
            varying.iter().any(|names| names.contains(&name))
                || self
                    .parts
                    .iter()
                    .any(|part| part.specification.axes[*position].values != first.axes[*position].values)
        };
        (0..first.axes.len()).filter(differs).map(|position| first.axes[position].name).collect()
    }
}

/// The first of a sweep's specifications, which has its settings, out of [`SweepDefinition::text`] or
/// [`SweepDefinition::shown_text`].
pub fn first_document(text: &str) -> &str {
    text.split(SEPARATOR).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::specification::SpecificationSource;

    fn specification(rates: &str, more: &str) -> Specification {
        let text = format!(
            "name: x\ndataset: {{path: d}}\nparameters:\n  learning_rate: {{values: {rates}}}\n{more}"
        );
        Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
    }

    fn rates(definition: &SweepDefinition) -> Vec<String> {
        let rate = |job| {
            let parameters = definition.parameters(job).0;
            parameters.into_iter().find(|(name, _)| name == "learning_rate").unwrap().1.to_string()
        };
        (1..=definition.job_count()).map(rate).collect()
    }

    #[test]
    fn an_extension_adds_what_is_new_and_leaves_the_numbers_of_the_old() {
        let first = SweepDefinition::new(SweepId(1), specification("[0.1, 0.2]", "")).unwrap();
        assert_eq!(first.varying, ["learning_rate"]);
        let second =
            first.extended(specification("[0.3, 0.2, 0.4]", "execution: {attempts_max: 7}")).unwrap();
        assert_eq!(rates(&second), ["0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(second.execution.attempts_max, 7);
        let third = second.extended(specification("[0.4, 0.1]", "include: [{learning_rate: 0.9}]")).unwrap();
        assert_eq!(rates(&third), ["0.1", "0.2", "0.3", "0.4", "0.9"]);
        assert_eq!(third.parameters(6), ParameterMap::default());
        let stored = SweepDefinition::from_stored(SweepId(1), &third.text()).unwrap();
        assert_eq!((rates(&stored), stored.text()), (rates(&third), third.text()));
        assert_eq!(stored.execution, third.execution);
    }

    #[test]
    fn a_constant_that_an_extension_changes_varies() {
        let constant = SweepDefinition::new(SweepId(1), specification("[0.1]", "")).unwrap();
        assert!(constant.varying.is_empty());
        let extended = constant.extended(specification("[0.2]", "")).unwrap();
        assert_eq!(extended.varying, ["learning_rate"]);
    }

    #[test]
    fn jobs_of_one_shape_and_order_are_mates_within_their_specification() {
        let text = "name: x\ndataset: {path: d}\nparameters:\n  activation: {values: [relu, sigmoid]}\n  \
                    learning_rate: {values: [0.1, 0.2]}\n  batch_size: {values: [32, 64]}\n  seed: {values: [1, 2]}\n";
        let source = SpecificationSource { text: text.into(), ..SpecificationSource::default() };
        let first = SweepDefinition::new(SweepId(1), Specification::parse(&source).unwrap()).unwrap();
        let mates = |definition: &SweepDefinition, job| definition.mates(job, 99).collect::<Vec<_>>();
        assert_eq!(mates(&first, 2), [6, 10, 14]);
        assert_eq!(mates(&first, 6), [10, 14, 2]);
        assert_eq!(first.shape(2), "simple_cnn image_size=128 batch_size=32 precision=fp32");
        assert_eq!(first.shape(4), "simple_cnn image_size=128 batch_size=64 precision=fp32");
        let more = SpecificationSource {
            text: text.replace("0.1, 0.2", "0.1, 0.3, 0.4"),
            ..SpecificationSource::default()
        };
        let second = first.extended(Specification::parse(&more).unwrap()).unwrap();
        assert_eq!(mates(&second, 2), [6, 10, 14]);
        assert_eq!(mates(&second, 17), [21, 25, 29]);
        assert!(mates(&second, 33).is_empty());
    }

    #[test]
    fn an_extension_is_of_the_same_kind() {
        let first = SweepDefinition::new(SweepId(1), specification("[0.1]", "")).unwrap();
        let others = [
            ("`metric.name`", specification("[0.2]", "metric: {name: train_loss}")),
            (
                "`dataset.split_seed` cannot change, as numbers that are there would be of another kind: the sweep has 0, this has 9",
                {
                    let mut other = specification("[0.2]", "");
                    other.dataset.split_seed = 9;
                    other
                },
            ),
        ];
        for (what, other) in others {
            let error = first.extended(other).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("sweep of its own"), "{error}");
        }
    }

    #[test]
    fn what_cannot_change_a_number_may_change() {
        let first = SweepDefinition::new(SweepId(1), specification("[0.1, 0.2]", "")).unwrap();
        let set = |definition: &SweepDefinition, what: &[&str]| {
            definition.set(&what.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let changed =
            set(&first, &["execution.job_timeout=10m", "name=y: #7", "dataset.path=/else/where"]).unwrap();
        let told: Vec<_> = changed.changes_from(&first).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["name: x -> y: #7", "dataset.path: d -> /else/where", "execution.job_timeout: none -> 10m"]
        );
        assert_eq!(changed.execution.job_timeout_ms, Some(600_000));
        assert_eq!(rates(&changed), rates(&first));
        // The same again changes nothing, and a limit can be lifted.
        let again = set(&changed, &["execution.job_timeout=10m"]).unwrap();
        assert!(again.changes_from(&changed).is_empty() && again.text() == changed.text());
        for nothing in ["none", "null", ""] {
            let lifted = set(&changed, &[&format!("execution.job_timeout={nothing}")]).unwrap();
            assert_eq!(lifted.execution.job_timeout_ms, None, "{nothing:?}");
        }
        for (what, key) in [
            ("epochs=9", "`parameters.epochs`"),
            ("exclude=[{epochs: 9}]", "`exclude`"),
            ("dataset.split_seed=9", "`dataset.split_seed`"),
            ("metric.name=train_loss", "`metric.name`"),
            ("execution.job_timeout=soon", "execution.job_timeout: expected a duration"),
            ("job_timeout=10m", "did you mean `execution.job_timeout`?"),
        ] {
            let error = set(&first, &[what]).unwrap_err().to_string();
            assert!(error.contains(key), "{what}: {error}");
        }
    }

    #[test]
    fn settings_are_those_of_the_latest_change_also_when_read_back() {
        let first =
            SweepDefinition::new(SweepId(1), specification("[0.1]", "execution: {attempts_max: 1}")).unwrap();
        let second = first.extended(specification("[0.2]", "execution: {attempts_max: 2}")).unwrap();
        let third = second.set(&["execution.attempts_max=3".into(), "name=z".into()]).unwrap();
        // Without new points, an extension is its settings.
        let fourth = third.extended(specification("[0.2]", "execution: {attempts_max: 4}")).unwrap();
        for (definition, attempts_max, name) in [(&second, 2, "x"), (&third, 3, "z"), (&fourth, 4, "x")] {
            let stored = SweepDefinition::from_stored(SweepId(1), &definition.text()).unwrap();
            for read in [definition, &stored] {
                assert_eq!(read.execution.attempts_max, attempts_max);
                assert_eq!(read.specification.execution.attempts_max, attempts_max);
                assert_eq!((read.specification.name.as_str(), rates(read).len()), (name, 2));
            }
            assert_eq!(stored.text(), definition.text());
        }
        assert_eq!(fourth.text().matches("---").count(), 1);
    }

    #[test]
    fn what_is_shown_of_a_very_long_text_is_its_ends() {
        let long = |from: u32| {
            let seeds: Vec<_> =
                (from..from + 10_000).map(|seed| (1_000_000_000 + seed).to_string()).collect();
            specification("[0.1]", &format!("  seed: {{values: [{}]}}\n", seeds.join(", ")))
        };
        let mut definition = SweepDefinition::new(SweepId(1), long(0)).unwrap();
        for part in 1..30 {
            definition = definition.extended(long(part * 10_000)).unwrap();
        }
        assert_eq!(definition.job_count(), 300_000);
        let (text, shown) = (definition.text(), definition.shown_text());
        assert!(text.len() > SHOWN_BYTES_MAX && shown.len() <= SHOWN_BYTES_MAX + 200, "{}", shown.len());
        assert_eq!(first_document(&shown), first_document(&text));
        assert!(
            shown.contains("extensions are left out here") && text.ends_with(&shown[shown.len() - 1_000..])
        );
        let stored = SweepDefinition::from_stored(SweepId(1), &text).unwrap();
        assert_eq!((stored.job_count(), stored.varying.as_slice()), (300_000, ["seed"].as_slice()));
        for job in [1, 10_000, 10_001, 299_999] {
            assert_eq!(stored.parameters(job), definition.parameters(job));
        }
    }

    #[test]
    fn a_sweep_is_not_extended_beyond_what_is_written_at_each_of_its_changes() {
        // A path may be as long as a file.
        let long = |seed: u64| {
            let mut long = specification("[0.1]", &format!("  seed: {{value: {seed}}}\n"));
            long.dataset.val_path = Some("v".repeat(1 << 20).into());
            long
        };
        let mut definition = SweepDefinition::new(SweepId(1), long(0)).unwrap();
        let error = loop {
            match definition.extended(long(definition.job_count())) {
                Ok(extended) => definition = extended,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DefinitionError::TooLong(bytes) if bytes > TEXT_BYTES_MAX), "{error}");
        assert!(definition.text_bytes() <= TEXT_BYTES_MAX);
        // What does not add points is taken, and what is there is read back.
        definition.set(&["execution.attempts_max=9".to_owned()]).unwrap();
    }

    #[test]
    fn points_that_were_included_are_not_added_again() {
        let more = "include: [{learning_rate: 0.5}, {learning_rate: 0.6}]";
        let first = SweepDefinition::new(SweepId(1), specification("[0.1]", more)).unwrap();
        let second = first.extended(specification("[0.5, 0.7]", "")).unwrap();
        assert_eq!(rates(&second), ["0.1", "0.5", "0.6", "0.7"]);
        let third =
            second.extended(specification("[0.6, 0.7, 0.8]", "include: [{learning_rate: 0.1}]")).unwrap();
        assert_eq!(rates(&third), ["0.1", "0.5", "0.6", "0.7", "0.8"]);
    }
}
