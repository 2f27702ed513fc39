//! What the jobs of a sweep are: the specification that was submitted and those that extended it. A job keeps its
//! number for ever; an extension's points that the sweep has not yet follow those that it has.

use proto::{ParameterMap, ParameterValue, SweepId, v1};

use super::{
    grid::{Grid, GridError},
    parameters::InPack,
    specification::{Execution, Metric, Specification, SpecificationError},
};

/// Most specifications of one sweep: each is looked at for each point of the next.
const SPECIFICATIONS_MAX: usize = 100;
/// What stands between two specifications in the stored text: YAML's mark between documents.
const SEPARATOR: &str = "\n---\n";

/// What a sweep is; an extension makes another one of it.
#[derive(Debug)]
pub struct SweepDefinition {
    /// The sweep's number.
    pub id: SweepId,
    /// What was submitted first: its name, model, metric and data set are the sweep's.
    pub specification: Specification,
    /// All specifications as YAML documents.
    pub text: String,
    /// How to run the jobs: as the latest specification has it.
    pub execution: Execution,
    /// What ranks the jobs. Its name and goal are those of all specifications; which epochs count is as the latest has it.
    pub metric: Metric,
    /// Parameters that differ between jobs, in the model's order.
    pub varying: Vec<&'static str>,
    grids: Vec<Grid>,
    extensions: Vec<Specification>,
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
    /// An extension is of another kind than its sweep.
    #[error("an extension keeps the sweep's {what}: {own} is not {found}; submit it as a sweep of its own")]
    Differs {
        /// What it would change.
        what: &'static str,
        /// The sweep's.
        own: String,
        /// The extension's.
        found: String,
    },
    /// Extended too often.
    #[error("a sweep can be extended {} times; submit the points as a sweep of their own", SPECIFICATIONS_MAX - 1)]
    TooManyExtensions,
}

impl SweepDefinition {
    /// The sweep of one specification.
    pub fn new(id: SweepId, specification: Specification) -> Result<Self, DefinitionError> {
        let grid = specification.grid().map_err(DefinitionError::Grid)?;
        let mut definition = Self {
            id,
            text: specification.to_yaml(),
            execution: specification.execution.clone(),
            metric: specification.metric,
            varying: Vec::new(),
            grids: vec![grid],
            extensions: Vec::new(),
            specification,
        };
        definition.varying = definition.find_varying();
        Ok(definition)
    }

    /// Reads what [`Self::text`] held.
    pub fn from_stored(id: SweepId, text: &str) -> Result<Self, DefinitionError> {
        let mut documents = text.split(SEPARATOR).map(Specification::from_stored);
        let first = documents.next().unwrap_or_else(|| Specification::from_stored(""))?;
        let mut definition = Self::new(id, first)?;
        for extension in documents {
            definition = definition.extended(extension?)?;
        }
        definition.text = text.to_owned();
        Ok(definition)
    }

    /// This sweep with the points of `extension` that it does not have yet. Takes time in proportion to them.
    pub fn extended(&self, extension: Specification) -> Result<Self, DefinitionError> {
        self.check_kind(&extension)?;
        let mut grid = extension.grid().map_err(DefinitionError::Grid)?;
        grid.leave_out(|point| self.grids.iter().any(|grid| grid.contains(point)));
        if self.grids.len() == SPECIFICATIONS_MAX {
            return Err(DefinitionError::TooManyExtensions);
        }
        let mut definition = Self {
            id: self.id,
            specification: self.specification.clone(),
            text: format!("{}{SEPARATOR}{}", self.text, extension.to_yaml()),
            execution: extension.execution.clone(),
            metric: extension.metric,
            varying: Vec::new(),
            grids: self.grids.iter().cloned().chain([grid]).collect(),
            extensions: self.extensions.iter().cloned().chain([extension]).collect(),
        };
        definition.varying = definition.find_varying();
        Ok(definition)
    }

    /// How many jobs there are, at least 1.
    pub fn job_count(&self) -> u64 {
        self.grids.iter().map(Grid::job_count).sum()
    }

    /// The parameters of a job; empty for a number beyond the last.
    pub fn parameters(&self, job: u64) -> ParameterMap {
        self.place(job).and_then(|(grid, job)| grid.parameters(job)).unwrap_or_default()
    }

    /// The grid that a job is of, and its number there.
    fn place(&self, job: u64) -> Option<(&Grid, u64)> {
        let mut left = job;
        for grid in &self.grids {
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
        let grid = self.grids.iter().find_map(|grid| {
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

    fn check_kind(&self, extension: &Specification) -> Result<(), DefinitionError> {
        let own = &self.specification;
        let differs = |what, own: String, found: String| {
            if own == found { Ok(()) } else { Err(DefinitionError::Differs { what, own, found }) }
        };
        let dataset = |specification: &Specification| {
            let of = &specification.dataset;
            let validation = match &of.val_path {
                Some(path) => format!("val_path: {}", path.display()),
                None => format!("val_fraction: {}", of.val_fraction),
            };
            format!(
                "{{path: {}, image_size: {}, {validation}, split_seed: {}}}",
                of.path.display(),
                of.image_size,
                of.split_seed
            )
        };
        differs("model", own.model.name().to_owned(), extension.model.name().to_owned())?;
        let metric = |of: &Specification| format!("{}, {}", of.metric.name.as_str(), of.metric.goal);
        differs("metric", metric(own), metric(extension))?;
        differs("data set", dataset(own), dataset(extension))
    }

    fn find_varying(&self) -> Vec<&'static str> {
        let first = &self.specification;
        let differs = |position: &usize| {
            let name = first.axes[*position].name;
            let all = || std::iter::once(first).chain(&self.extensions);
            all().any(|one| one.varying().contains(&name))
                || all().any(|one| one.axes[*position].values != first.axes[*position].values)
        };
        (0..first.axes.len()).filter(differs).map(|position| first.axes[position].name).collect()
    }
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
        let stored = SweepDefinition::from_stored(SweepId(1), &third.text).unwrap();
        assert_eq!((rates(&stored), &stored.text), (rates(&third), &third.text));
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
            ("metric", specification("[0.2]", "metric: {name: train_loss}")),
            ("data set", {
                let mut other = specification("[0.2]", "");
                other.dataset.split_seed = 9;
                other
            }),
        ];
        for (what, other) in others {
            let error = first.extended(other).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("sweep of its own"), "{error}");
        }
    }
}
