//! How many jobs a slot trains at the same time: what has been learnt of each kind of device and each shape of job.
//! Sizes are powers of two. It starts small, doubles while that brings more images a second, halves where it does not,
//! and remembers the best; a size that ran out of memory is not tried again. Where packs do not pay, the best is 1.

use std::collections::{BTreeMap, HashMap};

/// The size that is tried first. Small models leave every GPU idle most of the time, so that one job alone need not be
/// measured first.
const SIZE_FIRST: u32 = 4;

/// What a larger pack must bring to be worth its memory and its coarser grain: more images a second by this factor.
const GAIN_MIN: f64 = 1.05;

/// Kinds of device times shapes that are remembered: more than a cluster has; past it, all are learnt anew.
const KEYS_MAX: usize = 4_096;

/// A kind of device and a shape of job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PackKey {
    /// The device as people call it: all of one product learn together.
    pub(super) device: String,
    /// What [`crate::core::definition::SweepDefinition::shape`] says.
    pub(super) shape: String,
}

/// What has been learnt.
#[derive(Debug, Default)]
pub(super) struct PackSizes(HashMap<PackKey, Learnt>);

#[derive(Debug, Default)]
struct Learnt {
    /// Most images a second at each size.
    rates: BTreeMap<u32, f64>,
    /// The largest size that memory may allow.
    size_max: Option<u32>,
}

impl PackSizes {
    /// The size to try or to keep to.
    pub(super) fn size(&self, key: &PackKey) -> u32 {
        self.0.get(key).map_or(SIZE_FIRST, Learnt::size)
    }

    /// A pack of `size` trained so many images a second, all members together.
    pub(super) fn measured(&mut self, key: &PackKey, size: u32, images_per_second: f64) {
        // Others come about where too few jobs wait; they are no steps of the search.
        if size.is_power_of_two() && images_per_second.is_finite() {
            let best = self.learnt(key).rates.entry(size).or_insert(images_per_second);
            *best = best.max(images_per_second);
        }
    }

    /// A pack of `size`, more than 1, ran out of memory.
    pub(super) fn ran_out_of_memory(&mut self, key: &PackKey, size: u32) {
        let learnt = self.learnt(key);
        let half = (size / 2).max(1);
        learnt.size_max = Some(learnt.size_max.map_or(half, |known| known.min(half)));
    }

    fn learnt(&mut self, key: &PackKey) -> &mut Learnt {
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(key) {
            self.0.clear();
        }
        self.0.entry(key.clone()).or_default()
    }
}

impl Learnt {
    fn size(&self) -> u32 {
        let size_max = self.size_max.unwrap_or(u32::MAX);
        let first = SIZE_FIRST.min(size_max);
        // Also where smaller packs came about, as few jobs waited.
        if !self.rates.contains_key(&first) {
            return first;
        }
        let allowed = || self.rates.range(..=size_max);
        let fastest = allowed().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let Some((&best, _)) = allowed().find(|(_, rate)| **rate * GAIN_MIN >= fastest) else {
            return first;
        };
        let untried = |size: u32| !self.rates.contains_key(&size);
        let (double, half) = (best.saturating_mul(2), best / 2);
        if double <= size_max && untried(double) {
            double
        } else if half >= 1 && untried(half) && !untried(double) {
            // Doubling did not pay, so that halving may.
            half
        } else {
            best
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(device: &str) -> PackKey {
        PackKey { device: device.to_owned(), shape: "s".to_owned() }
    }

    /// Trains with what is said until it does not change, on a device whose images a second `rate` gives; nothing
    /// where memory does not suffice.
    fn settle(rate: impl Fn(u32) -> Option<f64>) -> (u32, Vec<u32>) {
        let (mut sizes, key) = (PackSizes::default(), key("gpu"));
        let mut tried = Vec::new();
        for _ in 0..20 {
            let size = sizes.size(&key);
            if tried.last() == Some(&size) && rate(size).is_some() {
                return (size, tried);
            }
            tried.push(size);
            match rate(size) {
                Some(rate) => sizes.measured(&key, size, rate),
                None => sizes.ran_out_of_memory(&key, size),
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
        assert_eq!(settle(memory_for_six), (4, vec![4, 8, 4]));
        assert_eq!(settle(|size| (size <= 1).then_some(1.0)), (1, vec![4, 2, 1]));
    }

    #[test]
    fn a_job_that_was_alone_for_want_of_others_does_not_begin_the_search() {
        let (mut sizes, key) = (PackSizes::default(), key("gpu"));
        sizes.measured(&key, 1, 10.0);
        assert_eq!(sizes.size(&key), 4);
        sizes.measured(&key, 4, 30.0);
        assert_eq!(sizes.size(&key), 8);
    }

    #[test]
    fn devices_and_shapes_learn_apart_and_odd_sizes_teach_nothing() {
        let mut sizes = PackSizes::default();
        sizes.measured(&key("a"), 3, 1e9);
        sizes.measured(&key("a"), 4, f64::NAN);
        assert_eq!(sizes.size(&key("a")), 4);
        sizes.measured(&key("a"), 4, 10.0);
        assert_eq!((sizes.size(&key("a")), sizes.size(&key("b"))), (8, 4));
    }
}
