//! Differences between points that are equal in everything but one parameter: what the values of other parameters bring is in both, and
//! falls out. Trainings of the only parameter are compared by seed, or as two samples where no seed says which belong together.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use terms::ParameterValue;
use utoipa::ToSchema;

use super::{
    frame::{ABSENT, Frame, Parameter, Unit},
    statistics::{Compared, Interval, Mean, mean_of, paired, welch, without_rounding},
};

/// Of so many values each is compared with each other; of more with the first, and the best with the worst.
const ALL_PAIRS_MAX: usize = 5;

/// How two values of a parameter were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairTest {
    /// The paired t-test of points, or of trainings with the same seed, that are equal in everything else.
    Paired,
    /// Welch's t-test of all trainings of both, where a single parameter varies and no seed says which trainings belong together.
    Welch,
}

/// Two values of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Pair {
    #[schema(value_type = Value)]
    pub first: ParameterValue,
    #[schema(value_type = Value)]
    pub second: ParameterValue,
    /// How many pairs of points are equal in everything else; 0 where trainings were compared that make no pairs.
    pub pairs: u64,
    /// The mean difference, the second less the first.
    pub difference: f64,
    /// Which test was made; none of a single pair, or where nothing varies.
    pub test: Option<PairTest>,
    /// Student's interval of the difference, by that test.
    pub interval: Option<Interval>,
    /// Of that test.
    pub p: Option<f64>,
}

impl Pair {
    /// A difference of values of which the largest has this size.
    fn new(
        [first, second]: [ParameterValue; 2],
        (pairs, difference, largest): (u64, f64, f64),
        compared: Option<(PairTest, Compared)>,
    ) -> Self {
        Self {
            first,
            second,
            pairs,
            difference: without_rounding(difference, largest),
            test: compared.map(|(test, _)| test),
            interval: compared.map(|(_, compared)| compared.interval),
            p: compared.map(|(_, compared)| compared.p),
        }
    }
}

/// Finds the jobs that are equal in all parameters but one.
#[derive(Debug)]
pub(crate) struct Others {
    /// The groups by the first parameters, as many as the place says.
    before: Vec<Vec<u32>>,
    /// The groups by the parameters after the place.
    after: Vec<Vec<u32>>,
}

impl Others {
    pub(crate) fn new(frame: &Frame) -> Self {
        let rows = frame.jobs.len();
        let mut before = vec![vec![0; rows]];
        for parameter in &frame.parameters {
            let last = before.last().map_or(&[] as &[u32], Vec::as_slice);
            let next = frame.grouped([last, &parameter.codes].into_iter());
            before.push(next);
        }
        // Where trainings are compared, those with the same seed are a pair.
        let seed = frame.seed.as_deref().filter(|_| frame.compares_trainings());
        let mut after = vec![seed.map_or_else(|| vec![0; rows], <[u32]>::to_vec)];
        for parameter in frame.parameters.iter().rev() {
            let last = after.last().map_or(&[] as &[u32], Vec::as_slice);
            let next = frame.grouped([last, &parameter.codes].into_iter());
            after.push(next);
        }
        Self { before, after }
    }

    /// The groups of jobs that are equal in all parameters but the one at this place.
    pub(crate) fn groups(&self, frame: &Frame, place: usize) -> Vec<u32> {
        let after = self.after.len() - 2 - place;
        frame.grouped([self.before[place].as_slice(), &self.after[after]].into_iter())
    }
}

/// The differences between values of a parameter, for the groups of jobs that are equal in everything else; always that of the values with the
/// best and the worst mean, which have these codes.
pub(crate) fn pairs(
    parameter: &Parameter,
    values: &[ParameterValue],
    units: &[Unit],
    groups: &[u32],
    extremes: Option<(u32, u32)>,
) -> Vec<Pair> {
    // By group, the mean at each code: a seed may have been trained with several times.
    let mut by_group: HashMap<u32, BTreeMap<u32, Mean>> = HashMap::new();
    for unit in units.iter().filter(|unit| parameter.codes[unit.row] != ABSENT) {
        let group = by_group.entry(groups[unit.row]).or_default();
        group.entry(parameter.codes[unit.row]).or_default().add(unit.value);
    }
    let mut differences: BTreeMap<(u32, u32), Vec<(u32, f64)>> = BTreeMap::new();
    for (group, means) in &by_group {
        for (first, one) in means {
            for (second, other) in means.range(first + 1..) {
                if is_told(*first, *second, values.len(), extremes) {
                    differences.entry((*first, *second)).or_default().push((*group, other.mean - one.mean));
                }
            }
        }
    }
    let largest = units.iter().map(|unit| unit.value.abs()).fold(0.0, f64::max);
    let value = |code: u32| values.get(code as usize).cloned().unwrap_or(ParameterValue::Null);
    let pair = |((first, second), mut differences): ((u32, u32), Vec<(u32, f64)>)| {
        // In an order of its own, so that sums are the same each time.
        differences.sort_by_key(|(group, _)| *group);
        let mean = mean_of(differences.into_iter().map(|(_, difference)| difference));
        let compared = paired(&mean, largest).map(|compared| (PairTest::Paired, compared));
        Pair::new([value(first), value(second)], (mean.count, mean.mean, largest), compared)
    };
    differences.into_iter().map(pair).collect()
}

/// Whether two values of so many are compared: each with each other where they are few, of more each with the first, and the two with the best
/// and the worst mean.
fn is_told(first: u32, second: u32, values: usize, extremes: Option<(u32, u32)>) -> bool {
    first == 0 || values <= ALL_PAIRS_MAX || extremes == Some((first, second))
}

/// The differences between values of the only parameter, of which no seed says which trainings belong together; none where no value has several
/// trainings, as each two are a pair then.
pub(crate) fn of_trainings(
    parameter: &Parameter,
    values: &[ParameterValue],
    units: &[Unit],
    extremes: Option<(u32, u32)>,
) -> Option<Vec<Pair>> {
    let mut means = vec![Mean::default(); values.len()];
    for unit in units.iter().filter(|unit| parameter.codes[unit.row] != ABSENT) {
        means[parameter.codes[unit.row] as usize].add(unit.value);
    }
    if means.iter().all(|mean| mean.count <= 1) {
        return None;
    }
    let largest = units.iter().map(|unit| unit.value.abs()).fold(0.0, f64::max);
    let counted = |code: &usize| means[*code].count > 0;
    let codes: Vec<usize> = (0..values.len()).filter(counted).collect();
    let both = codes
        .iter()
        .enumerate()
        .flat_map(|(place, first)| codes[place + 1..].iter().map(move |second| (*first, *second)));
    let told = both.filter(|(first, second)| is_told(*first as u32, *second as u32, values.len(), extremes));
    let pair = |(first, second): (usize, usize)| {
        let (one, other) = (&means[first], &means[second]);
        let compared = welch(other, one).map(|compared| (PairTest::Welch, compared));
        let both = [values[first].clone(), values[second].clone()];
        Pair::new(both, (0, other.mean - one.mean, largest), compared)
    };
    Some(told.map(pair).collect())
}
