//! Takes jobs in, one by one, and keeps a bounded number of them.

use std::collections::HashMap;

use serde::Serialize;
use terms::{
    DatasetSummary, Goal, Objective, ParameterMap, ParameterValue,
    manifest::{Manifest, ShareOf, seed_of},
};
use utoipa::ToSchema;

use super::{
    Analysis, best, best_of, effects, frame::Frame, importance, interaction, points, statistics::Interval,
};

/// Most jobs that are looked at; of a larger sweep an even choice is.
pub const JOBS_MAX: u64 = 200_000;
/// Most values of parameters that are kept: 32 MB.
const CELLS_MAX: u64 = 2_000_000;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// It trained to its end, with this objective.
    Done(Option<f64>),
    /// Its objective became something that is not a number.
    Diverged,
    /// It failed, was stopped or cancelled, or has not ended.
    Unfinished,
}

/// How many jobs there are, and what they count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Counted {
    /// Those with a value.
    pub counted: u64,
    /// Those that diverged: they enter no mean.
    pub diverged: u64,
    /// Those that trained to their end without a finite objective.
    pub without_value: u64,
    /// Those that failed, were stopped early or cancelled, or have not ended.
    pub unfinished: u64,
    /// Those that were not looked at, as there are too many.
    pub not_looked_at: u64,
}

/// A value of a parameter, in little room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell {
    /// The job does not have the parameter.
    Absent,
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// A text, by its number among those that were seen.
    Text(u32),
}

/// Jobs that were taken in.
#[derive(Debug)]
pub struct Collector {
    goal: Goal,
    /// How many trainings each point is planned to have.
    pub(crate) planned: u64,
    /// How many images the objective is a share of, where it is one.
    images: Option<u64>,
    /// Between which numbers every value lies, where that is known.
    pub(crate) bounds: Option<Interval>,
    pub(crate) names: Vec<String>,
    pub(crate) is_seed: Vec<bool>,
    /// Jobs whose hashes are at most this large are kept.
    threshold: u64,
    pub(crate) jobs: Vec<u64>,
    /// The objective of each job; NaN where it diverged.
    pub(crate) values: Vec<f64>,
    /// The values of each job, one after another.
    pub(crate) cells: Vec<Cell>,
    pub(crate) texts: Vec<String>,
    known: HashMap<String, u32>,
    counted: Counted,
}

impl Collector {
    /// For a sweep of so many jobs in which these parameters vary. Its model's manifest says which of them is the seed of what is random,
    /// and whether the objective is a share of the validation images.
    pub fn new(
        objective: &Objective,
        varying: &[String],
        manifest: Option<&Manifest>,
        dataset: Option<&DatasetSummary>,
        job_count: u64,
    ) -> Self {
        let jobs_max = JOBS_MAX.min(CELLS_MAX / (varying.len() as u64).max(1));
        let threshold = match job_count {
            count if count <= jobs_max => u64::MAX,
            count => (u64::MAX / count).saturating_mul(jobs_max),
        };
        let seed = seed_of(manifest);
        let metric = manifest.and_then(|manifest| manifest.metric(&objective.name));
        let is_share = metric.is_some_and(|metric| metric.share_of == Some(ShareOf::ValidationImages));
        let images = dataset.map(|dataset| dataset.val_images);
        Self {
            goal: objective.goal,
            planned: 1,
            images: images.filter(|images| is_share && *images > 0),
            bounds: metric.filter(|metric| metric.is_share()).map(|_| Interval { low: 0.0, high: 1.0 }),
            names: varying.to_vec(),
            is_seed: varying.iter().map(|name| seed == Some(name)).collect(),
            threshold,
            jobs: Vec::new(),
            values: Vec::new(),
            cells: Vec::new(),
            texts: Vec::new(),
            known: HashMap::new(),
            counted: Counted::default(),
        }
    }

    /// For a sweep in which each point is planned to have so many trainings, at least 1. It is 1 where this is not called.
    pub fn with_planned_trainings(self, planned: u64) -> Self {
        Self { planned, ..self }
    }

    /// Takes a job in, each once.
    pub fn job(&mut self, number: u64, parameters: &ParameterMap, end: End) {
        if mixed(number) > self.threshold {
            self.counted.not_looked_at += 1;
            return;
        }
        let value = match end {
            End::Done(Some(value)) if value.is_finite() => {
                self.counted.counted += 1;
                // Zeros are equal, whatever their sign.
                0.0 + value
            }
            End::Done(_) => {
                self.counted.without_value += 1;
                return;
            }
            End::Diverged => {
                self.counted.diverged += 1;
                f64::NAN
            }
            End::Unfinished => {
                self.counted.unfinished += 1;
                return;
            }
        };
        self.jobs.push(number);
        self.values.push(value);
        for place in 0..self.names.len() {
            let cell = self.cell(parameters.get(&self.names[place]));
            self.cells.push(cell);
        }
    }

    /// Counts jobs that were not given to it, as they have not begun.
    pub fn unfinished(&mut self, jobs: u64) {
        self.counted.unfinished += jobs;
    }

    fn cell(&mut self, value: Option<&ParameterValue>) -> Cell {
        match value {
            None => Cell::Absent,
            Some(ParameterValue::Null) => Cell::Null,
            Some(ParameterValue::Boolean(value)) => Cell::Boolean(*value),
            Some(ParameterValue::Integer(value)) => Cell::Integer(*value),
            Some(ParameterValue::Float(value)) => Cell::Float(0.0 + value),
            Some(ParameterValue::Text(text)) => Cell::Text(self.text(text)),
        }
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }

    /// What the jobs say. Takes up to a few seconds of a processor for the most jobs that are kept.
    pub fn analyze(self) -> Analysis {
        let (goal, images, jobs, bounds) = (self.goal, self.images, self.counted, self.bounds);
        let frame = Frame::new(self);
        let points = points::points(&frame);
        let rows = frame.units(&points);
        Analysis {
            jobs,
            points: points.iter().filter(|point| point.is_counted()).count() as u64,
            importance: importance::importance(&frame, &points, goal),
            interactions: interaction::interactions(&frame, &points, goal),
            effects: effects::effects(&frame, &rows, goal),
            repeats: points::repeats(&frame, &points, goal),
            // The best may be among those that were not looked at.
            best: (jobs.not_looked_at == 0).then(|| best::verdict(&frame, &points, goal, images)).flatten(),
            bounds,
            best_of: best_of::expected(frame.finite(), goal),
        }
    }
}

/// Hashes a number: the finaliser of SplitMix64, a bijection. Jobs are numbered along the grid, so that a fixed stride would pick jobs with
/// the same values.
pub fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
