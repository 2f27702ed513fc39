//! Differences between points that are equal in everything but one parameter: what the values of other parameters bring is in both, and
//! falls out.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use terms::ParameterValue;
use utoipa::ToSchema;

use super::{
    frame::{ABSENT, Frame, Parameter, Unit},
    statistics::{Interval, Mean, mean_of, paired, without_rounding},
};

/// Of so many values each is compared with each other; of more with the first, and the best with the worst.
const ALL_PAIRS_MAX: usize = 5;

/// Two values of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Pair {
    #[schema(value_type = Value)]
    pub first: ParameterValue,
    #[schema(value_type = Value)]
    pub second: ParameterValue,
    /// How many pairs of points are equal in everything else.
    pub pairs: u64,
    /// The mean difference, the second less the first.
    pub difference: f64,
    /// Student's interval of it; none of a single pair, or where all pairs have the same difference.
    pub interval: Option<Interval>,
    /// Of the paired t-test.
    pub p: Option<f64>,
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
    // By group, the mean at each code: trainings without seeds may be several.
    let mut by_group: HashMap<u32, BTreeMap<u32, Mean>> = HashMap::new();
    for unit in units.iter().filter(|unit| parameter.codes[unit.row] != ABSENT) {
        let group = by_group.entry(groups[unit.row]).or_default();
        group.entry(parameter.codes[unit.row]).or_default().add(unit.value);
    }
    let mut differences: BTreeMap<(u32, u32), Vec<(u32, f64)>> = BTreeMap::new();
    let largest = units.iter().map(|unit| unit.value.abs()).fold(0.0, f64::max);
    for (group, means) in &by_group {
        for (first, one) in means {
            for (second, other) in means.range(first + 1..) {
                let is_told = *first == 0 || values.len() <= ALL_PAIRS_MAX;
                if is_told || extremes == Some((*first, *second)) {
                    differences.entry((*first, *second)).or_default().push((*group, other.mean - one.mean));
                }
            }
        }
    }
    let value = |code: u32| values.get(code as usize).cloned().unwrap_or(ParameterValue::Null);
    let pair = |((first, second), mut differences): ((u32, u32), Vec<(u32, f64)>)| {
        // In an order of its own, so that sums are the same each time.
        differences.sort_by_key(|(group, _)| *group);
        let mean = mean_of(differences.into_iter().map(|(_, difference)| difference));
        let compared = paired(&mean, largest);
        Pair {
            first: value(first),
            second: value(second),
            pairs: mean.count,
            difference: without_rounding(mean.mean, largest),
            interval: compared.map(|compared| compared.interval),
            p: compared.map(|compared| compared.p),
        }
    };
    differences.into_iter().map(pair).collect()
}
