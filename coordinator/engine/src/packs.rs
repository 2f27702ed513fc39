//! How many jobs a slot trains at the same time, learnt for each kind of device and each shape of job. Sizes are powers
//! of two. The search starts small, doubles while that brings more images a second, halves where it does not, and
//! remembers the best. It does not retry a size that memory or time does not allow. Where packs do not pay, the best is
//! 1.

use std::collections::{BTreeMap, HashMap};

/// The size that is tried first. Small models leave every GPU idle most of the time, so that one job alone need not be
/// measured first.
const SIZE_FIRST: u32 = 4;

/// The gain that justifies a larger pack's memory and coarser grain: more images a second by this factor.
const GAIN_MIN: f64 = 1.05;

/// Packs of one size that may be lost in a row before the size counts as the cause.
const LOST_PACKS_MAX: u32 = 2;

/// Pairs of device kind and shape that are remembered: more than a cluster has; beyond it, all are learnt again.
const KEYS_MAX: usize = 4_096;

/// A kind of device and a shape of job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PackKey {
    /// The device as people call it: all devices of one product share what is learnt.
    pub(super) device: String,
    /// What [`domain::definition::SweepDefinition::shape`] says.
    pub(super) shape: String,
}

/// What has been learnt.
#[derive(Debug, Default)]
pub(super) struct PackSizes(HashMap<PackKey, Learnt>);

#[derive(Debug, Default)]
struct Learnt {
    /// Images a second at each size, when last measured.
    rates: BTreeMap<u32, f64>,
    /// The largest size that memory and time may allow.
    size_max: Option<u32>,
    /// At each size, jobs that lost their packs before any epoch was trained, since the last job that trained one
    /// there.
    lost_untrained: BTreeMap<u32, u32>,
    /// At each size, jobs that lost their packs later, since the last job that finished there.
    lost_unfinished: BTreeMap<u32, u32>,
}

impl PackSizes {
    /// The size to use next, where at most `limit` jobs can train at the same time.
    pub(super) fn size(&self, key: &PackKey, limit: u32) -> u32 {
        self.0.get(key).map_or(SIZE_FIRST.min(power_of_two(limit)), |learnt| learnt.size(limit))
    }

    /// A pack of `size` trained at this speed, all members together.
    pub(super) fn measured(&mut self, key: &PackKey, size: u32, images_per_second: f64) {
        // Other sizes come from too few jobs waiting; they are not steps of the search.
        if size.is_power_of_two() && images_per_second.is_finite() {
            let learnt = self.learnt(key);
            learnt.rates.insert(size, images_per_second);
            learnt.lost_untrained.remove(&size);
        }
    }

    /// A job of a pack of `size` finished training.
    pub(super) fn trained(&mut self, key: &PackKey, size: u32) {
        // A key that was never measured or lost has nothing to forget.
        if let Some(learnt) = self.0.get_mut(key) {
            learnt.lost_unfinished.remove(&size);
        }
    }

    /// A pack of `size`, more than 1, was too large.
    pub(super) fn too_large(&mut self, key: &PackKey, size: u32) {
        let learnt = self.learnt(key);
        let smaller = power_of_two(size - 1);
        learnt.size_max = Some(learnt.size_max.map_or(smaller, |known| known.min(smaller)));
    }

    /// A job lost its pack of `size`, more than 1, for whatever reason. Where that happens to one pack after another,
    /// the size may be the cause: where none trains an epoch, the system may kill them for their memory; where none
    /// finishes, the time allowed for a job may be too short for that many jobs at once.
    pub(super) fn lost(&mut self, key: &PackKey, size: u32, trained: bool) {
        let learnt = self.learnt(key);
        let lost = if trained { &mut learnt.lost_unfinished } else { &mut learnt.lost_untrained };
        let lost = lost.entry(size).or_default();
        *lost += 1;
        if *lost >= LOST_PACKS_MAX * size {
            self.too_large(key, size);
        }
    }

    fn learnt(&mut self, key: &PackKey) -> &mut Learnt {
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(key) {
            self.0.clear();
        }
        self.0.entry(key.clone()).or_default()
    }
}

impl Learnt {
    fn size(&self, limit: u32) -> u32 {
        let size_max = self.size_max.unwrap_or(u32::MAX).min(power_of_two(limit));
        let first = SIZE_FIRST.min(size_max);
        let untried = |size: u32| !self.rates.contains_key(&size);
        // Also where smaller packs were measured, because few jobs waited.
        if untried(first) {
            return first;
        }
        let allowed = || self.rates.range(..=size_max);
        let fastest = allowed().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let best = allowed().find(|(_, rate)| **rate * GAIN_MIN >= fastest).map_or(first, |(&size, _)| size);
        let double = best.saturating_mul(2);
        // Where doubling does not pay or is not possible, halving may pay.
        let steps = [(double <= size_max, double), (best > 1, best / 2)];
        steps.into_iter().find(|(may_be, size)| *may_be && untried(*size)).map_or(best, |(_, size)| size)
    }
}

/// The largest power of two up to `limit`, which is at least 1.
fn power_of_two(limit: u32) -> u32 {
    1 << limit.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(device: &str) -> PackKey {
        PackKey { device: device.to_owned(), shape: "s".to_owned() }
    }

    /// Trains at the chosen size until it does not change, on a device with the images a second that `rate` gives;
    /// nothing where memory does not suffice.
    fn settle(rate: impl Fn(u32) -> Option<f64>) -> (u32, Vec<u32>) {
        let (mut sizes, key) = (PackSizes::default(), key("gpu"));
        let mut tried = Vec::new();
        for _ in 0..20 {
            let size = sizes.size(&key, 64);
            if tried.last() == Some(&size) && rate(size).is_some() {
                return (size, tried);
            }
            tried.push(size);
            match rate(size) {
                Some(rate) => sizes.measured(&key, size, rate),
                None => sizes.too_large(&key, size),
            }
        }
        panic!("it never settles: {tried:?}");
    }

    #[test]
    fn it_doubles_while_that_brings_more() {
        assert_eq!(settle(|size| Some(f64::from(size.min(16)))), (16, vec![4, 8, 16, 32, 16]));
    }

    #[test]
    fn where_packs_do_not_pay_jobs_are_trained_alone() {
        assert_eq!(settle(|_| Some(100.0)), (1, vec![4, 8, 2, 1]));
        assert_eq!(settle(|size| Some(100.0 / f64::from(size))).0, 1);
    }

    #[test]
    fn a_size_that_ran_out_of_memory_is_halved_and_not_tried_again() {
        let memory_for_six = |size| (size <= 6).then(|| f64::from(size));
        assert_eq!(settle(memory_for_six), (4, vec![4, 8, 2, 4]));
        assert_eq!(settle(|size| (size <= 1).then_some(1.0)), (1, vec![4, 2, 1]));
    }

    #[test]
    fn a_job_that_was_alone_for_want_of_others_does_not_begin_the_search() {
        let (mut sizes, key) = (PackSizes::default(), key("gpu"));
        sizes.measured(&key, 1, 10.0);
        assert_eq!(sizes.size(&key, 64), 4);
        sizes.measured(&key, 4, 30.0);
        assert_eq!(sizes.size(&key, 64), 8);
    }

    #[test]
    fn limits_count_as_the_power_of_two_below_them() {
        let (mut sizes, key) = (PackSizes::default(), key("gpu"));
        assert_eq!((sizes.size(&key, 6), sizes.size(&key, 3), sizes.size(&key, 1)), (4, 2, 1));
        sizes.measured(&key, 4, 10.0);
        assert_eq!(sizes.size(&key, 6), 2, "whether smaller packs are as fast");
        sizes.measured(&key, 2, 10.0);
        assert_eq!(sizes.size(&key, 6), 1);
        sizes.too_large(&key, 2);
        assert_eq!(sizes.size(&key, 64), 1);
    }

    #[test]
    fn packs_that_are_lost_one_after_the_other_are_too_large() {
        let (mut sizes, key) = (PackSizes::default(), key("gpu"));
        (0..7).for_each(|_| sizes.lost(&key, 4, false));
        assert_eq!(sizes.size(&key, 64), 4);
        sizes.lost(&key, 4, false);
        assert_eq!(sizes.size(&key, 64), 2);
        for trained in [false, true] {
            (0..3).for_each(|_| sizes.lost(&key, 2, trained));
            sizes.measured(&key, 2, 10.0);
            sizes.trained(&key, 2);
            (0..3).for_each(|_| sizes.lost(&key, 2, trained));
        }
        sizes.measured(&key, 1, 1.0);
        assert_eq!(sizes.size(&key, 64), 2, "one that trained or got to its end shows that they can");
    }

    #[test]
    fn devices_and_shapes_learn_apart_and_odd_sizes_teach_nothing() {
        let mut sizes = PackSizes::default();
        sizes.measured(&key("a"), 3, 1e9);
        sizes.measured(&key("a"), 4, f64::NAN);
        assert_eq!(sizes.size(&key("a"), 64), 4);
        sizes.measured(&key("a"), 4, 10.0);
        assert_eq!((sizes.size(&key("a"), 64), sizes.size(&key("b"), 64)), (8, 4));
    }
}
