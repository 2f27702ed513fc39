//! Sweeps next to each other: what their files differ in, the best of each, and whether a test tells them apart.
//!
//! Jobs come in one by one, and of each sweep a bounded number of configurations is kept: what its trainings come to, under a hash that is
//! the same in every sweep.

mod differences;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use analysis::{Interval, Mean, SIGNIFICANT, mean_of, paired, welch};
use serde::Serialize;
use terms::{Goal, JobState, ParameterMap, ParameterValue, Standing};
use utoipa::ToSchema;

use self::differences::{CONTENT_HASH, Difference, VALIDATION, VALIDATION_IMAGES, differences};
use super::{
    model::Sweep,
    recorded::Recorded,
    view::{Number, Parameters, schema, shown_of},
};

/// Most configurations of a sweep that are kept: 8 MB.
const POINTS_MAX: usize = 100_000;

/// What is kept of a configuration.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Its first job.
    job: u64,
    /// The objective of its trainings.
    mean: Mean,
}

/// A sweep whose jobs come in.
#[derive(Debug)]
pub struct Side {
    sweep: Sweep,
    /// The folder of the run that it was read from.
    folder: Option<String>,
    /// How many trainings each configuration is planned to have.
    planned: u64,
    points: HashMap<u128, Point>,
    /// The parameters of the best configuration, once they are told.
    best_parameters: Option<ParameterMap>,
    /// Trainings of configurations beyond those that are kept.
    left_out: u64,
    epochs: u64,
    seconds: f64,
}

/// Sweeps next to each other.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    /// In the order in which they were asked for.
    pub sweeps: Vec<Compared>,
    /// What their files and data sets differ in.
    pub differences: Vec<Difference>,
    /// How many differences are not listed.
    pub differences_left_out: usize,
    /// Each of the others against the first.
    pub against_first: Vec<Pair>,
}

/// A sweep among others.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ComparedSweep)]
pub struct Compared {
    /// Its number; of one that was read from a folder, one that no other has here.
    pub id: u64,
    /// The folder of the run that it was read from; null for a sweep of the coordinator.
    pub folder: Option<String>,
    pub name: String,
    pub state: &'static str,
    pub jobs: u64,
    pub done: u64,
    /// The metric that ranks its jobs.
    pub metric: String,
    pub maximize: bool,
    /// The mean of its best configuration: of those that were trained as often as the file says; of all where there are none.
    pub best: Number,
    /// The standard deviation of that configuration's trainings.
    pub deviation: Number,
    /// How many trainings it had.
    pub trainings: u64,
    /// Its first job.
    pub best_job: Option<u64>,
    /// Those of its parameters that vary, or all where none does. Without the seed where it had several trainings.
    #[schema(schema_with = schema::parameters_or_null)]
    pub best_parameters: Option<Parameters>,
    /// Trainings of configurations beyond the first 100,000, which are not compared.
    pub trainings_left_out: u64,
    /// Epochs that count, of all jobs.
    pub epochs: u64,
    /// Training time of all jobs; of jobs that trained at a time, their share.
    pub train_seconds: f64,
}

/// A sweep against the first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ComparedPair)]
pub struct Pair {
    pub first: u64,
    pub second: u64,
    /// Whether their values compare at all, and why not.
    pub not_compared: Option<NotCompared>,
    /// What of the data differs, where that is why, by the keys of `differences`.
    pub other_data: Vec<&'static str>,
    /// The best configurations, where both were trained several times. No test: each was chosen by its value, from more or fewer.
    pub bests: Option<Bests>,
    /// How many configurations both have with a value.
    pub common: u64,
    /// Those, in pairs, by the paired t-test; none of fewer than two.
    pub paired: Option<Tested>,
    /// In how many of them the second is better.
    pub second_better: u64,
    /// In how many the first is.
    pub first_better: u64,
}

/// Why values do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotCompared {
    /// They are of different metrics, or of different epochs of a job.
    OtherMetric,
    /// They are of different data, or of the same that is split or scaled otherwise.
    OtherData,
}

/// The best of the second less the best of the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ComparedBests)]
pub struct Bests {
    pub difference: f64,
    /// Welch's, with 95 % confidence for two configurations that were not chosen by their values.
    pub interval: Interval,
}

/// A test of a difference: the second less the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ComparedTest)]
pub struct Tested {
    pub difference: f64,
    /// With 95 % confidence.
    pub interval: Interval,
    pub p: f64,
    /// The same corrected by Holm for all sweeps that are compared with the first.
    pub p_corrected: f64,
    /// Whether that is less than 0.05.
    pub separable: bool,
}

/// A job as it comes in.
#[derive(Debug, Clone, Copy)]
pub struct Trained<'a> {
    pub job: u64,
    pub parameters: &'a ParameterMap,
    pub state: Option<JobState>,
    /// The objective by which the sweep ranks.
    pub value: Option<f64>,
    pub epochs: u32,
    pub seconds: f64,
    /// Jobs that were trained at a time.
    pub pack_size: u32,
}

impl Side {
    pub fn new(sweep: Sweep) -> Self {
        Self {
            planned: sweep.planned_trainings(),
            sweep,
            folder: None,
            points: HashMap::new(),
            best_parameters: None,
            left_out: 0,
            epochs: 0,
            seconds: 0.0,
        }
    }

    /// Says from which run's folder it was read.
    pub fn in_folder(self, folder: &str) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    /// Takes a job in, in the order of their numbers.
    pub fn job(&mut self, trained: Trained<'_>) {
        self.epochs += u64::from(trained.epochs);
        if trained.epochs > 0 {
            self.seconds += trained.seconds / f64::from(trained.pack_size.max(1));
        }
        let value = trained.value.filter(|value| value.is_finite() && trained.state == Some(JobState::Done));
        let Some(value) = value else { return };
        let key = self.key(trained.parameters);
        let room = self.points.len() < POINTS_MAX;
        let made = || Point { job: trained.job, mean: Mean::default() };
        match self.points.get_mut(&key) {
            // Zeros are equal, whatever their sign.
            Some(point) => point.mean.add(0.0 + value),
            None if room => self.points.entry(key).or_insert_with(made).mean.add(0.0 + value),
            None => self.left_out += 1,
        }
    }

    /// A configuration as a number that is the same in every sweep: names in order, without the seed that repeats differ in.
    fn key(&self, parameters: &ParameterMap) -> u128 {
        let seed = self.sweep.seed();
        let mut pairs: Vec<(&str, String)> = parameters
            .0
            .iter()
            .filter(|(name, _)| seed != Some(name.as_str()))
            .map(|(name, value)| (name.as_str(), written(value)))
            .collect();
        pairs.sort_unstable();
        // Two hashes of 64 bits: no two configurations share both by chance.
        let half = |which: u8| {
            let mut hasher = DefaultHasher::new();
            (which, &pairs).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }

    /// The first job of the best configuration.
    pub fn best_job(&self) -> Option<u64> {
        self.best().map(|point| point.job)
    }

    /// Takes note of that job's parameters: those of all jobs would take much memory.
    pub fn set_best_parameters(&mut self, parameters: ParameterMap) {
        self.best_parameters = Some(parameters);
    }

    /// The best configuration, of those that were trained as often as the file plans; of all where there are none.
    fn best(&self) -> Option<&Point> {
        let goal = self.sweep.objective.goal;
        let standing =
            |point: &&Point| Standing::new(goal, point.job, point.mean.mean, point.mean.count, self.planned);
        self.points.values().max_by_key(standing)
    }

    fn is_better(&self, one: f64, other: f64) -> bool {
        match self.sweep.objective.goal {
            Goal::Maximize => one > other,
            Goal::Minimize => one < other,
        }
    }

    /// How many trainings are of configurations beyond those that are kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn shown(&self) -> Compared {
        let (sweep, best) = (&self.sweep, self.best());
        let trainings = best.map_or(0, |point| point.mean.count);
        // Repeats differ in it.
        let seed = sweep.seed().filter(|_| trainings > 1);
        let shown = self.best_parameters.as_ref().map(|all| Parameters(shown_of(all, &sweep.varying, seed)));
        Compared {
            id: sweep.id,
            folder: self.folder.clone(),
            name: sweep.name.clone(),
            state: sweep.state.map_or("unknown", terms::SweepState::as_str),
            jobs: sweep.job_count,
            done: sweep.counts.done,
            metric: sweep.objective.name.to_string(),
            maximize: sweep.objective.goal == Goal::Maximize,
            best: Number(best.map(|point| point.mean.mean)),
            deviation: Number(best.and_then(|point| point.mean.deviation())),
            trainings,
            best_job: best.map(|point| point.job),
            best_parameters: shown,
            trainings_left_out: self.left_out,
            epochs: self.epochs,
            train_seconds: self.seconds,
        }
    }
}

/// A value as text, in which 1 and 1.0 are the same.
fn written(value: &ParameterValue) -> String {
    match value {
        ParameterValue::Null => "null".to_owned(),
        ParameterValue::Boolean(value) => value.to_string(),
        ParameterValue::Integer(value) => value.to_string(),
        // Without a fraction it is written like an integer.
        ParameterValue::Float(value) => (0.0 + value).to_string(),
        ParameterValue::Text(text) => format!("{text:?}"),
    }
}

/// Compares sweeps, each of the others with the first.
pub fn compare(sides: &[Side]) -> Comparison {
    let sweeps: Vec<&Sweep> = sides.iter().map(|side| &side.sweep).collect();
    let (listed, left_out) = differences(&sweeps);
    let against = |(first, others): (&Side, &[Side])| {
        let mut pairs: Vec<Pair> = others.iter().map(|other| pair(first, other)).collect();
        correct(&mut pairs);
        pairs
    };
    Comparison {
        sweeps: sides.iter().map(Side::shown).collect(),
        differences: listed,
        differences_left_out: left_out,
        against_first: sides.split_first().map(against).unwrap_or_default(),
    }
}

fn pair(first: &Side, second: &Side) -> Pair {
    let other_data = other_data(&first.sweep, &second.sweep);
    let not_compared = match first.sweep.objective == second.sweep.objective {
        false => Some(NotCompared::OtherMetric),
        true => (!other_data.is_empty()).then_some(NotCompared::OtherData),
    };
    let mut pair = Pair {
        first: first.sweep.id,
        second: second.sweep.id,
        not_compared,
        other_data,
        bests: None,
        common: 0,
        paired: None,
        second_better: 0,
        first_better: 0,
    };
    if not_compared == Some(NotCompared::OtherMetric) {
        return pair;
    }
    if let (Some(one), Some(other)) = (first.best(), second.best()) {
        let bests = welch(&other.mean, &one.mean);
        pair.bests = bests.map(|found| Bests { difference: found.difference, interval: found.interval });
    }
    // In an order of its own, so that sums are the same each time.
    let mut common: Vec<(u64, f64, f64)> = first
        .points
        .iter()
        .filter_map(|(key, one)| Some((one.job, one.mean.mean, second.points.get(key)?.mean.mean)))
        .collect();
    common.sort_unstable_by_key(|(job, ..)| *job);
    pair.common = common.len() as u64;
    let largest = common.iter().flat_map(|(_, one, other)| [one.abs(), other.abs()]).fold(0.0, f64::max);
    let differences = mean_of(common.iter().map(|(_, one, other)| other - one));
    pair.paired = paired(&differences, largest).map(|found| Tested {
        difference: found.difference,
        interval: found.interval,
        p: found.p,
        p_corrected: found.p,
        separable: found.p < SIGNIFICANT,
    });
    let count = |is_better: &dyn Fn(f64, f64) -> bool| {
        common.iter().filter(|(_, one, other)| is_better(*one, *other)).count() as u64
    };
    pair.second_better = count(&|one, other| first.is_better(other, one));
    pair.first_better = count(&|one, other| first.is_better(one, other));
    pair
}

/// Corrects the tests of several sweeps against the first by Holm: the smallest p counts as often as there are tests, and each next one
/// once less.
fn correct(pairs: &mut [Pair]) {
    let mut tests: Vec<&mut Tested> = pairs.iter_mut().filter_map(|pair| pair.paired.as_mut()).collect();
    tests.sort_by(|one, other| one.p.total_cmp(&other.p));
    let (count, mut least) = (tests.len(), 0.0_f64);
    for (place, test) in tests.into_iter().enumerate() {
        least = least.max(test.p * (count - place) as f64).min(1.0);
        test.p_corrected = least;
        test.separable = least < SIGNIFICANT;
    }
}

/// What of their data differs: what a job sees of it, and by what it is judged.
fn other_data(first: &Sweep, second: &Sweep) -> Vec<&'static str> {
    let recorded = [first, second].map(|sweep| Recorded::read(&sweep.specification).dataset);
    let [one, other] = &recorded;
    let mut differ = vec![
        ("dataset.image_size", one.image_size != other.image_size),
        ("dataset.val_fraction", one.val_fraction != other.val_fraction),
        ("dataset.split_seed", one.split_seed != other.split_seed),
    ];
    // Of a sweep that no worker has begun, nothing is found yet.
    if let Some((one, other)) = first.dataset.as_ref().zip(second.dataset.as_ref()) {
        differ.extend([
            (CONTENT_HASH, one.content_hash != other.content_hash),
            (VALIDATION_IMAGES, one.val_images != other.val_images),
            (VALIDATION, one.validation != other.validation),
        ]);
    }
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests;
