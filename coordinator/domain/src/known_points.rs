//! The points that a sweep already has, so that one pass over an extension finds its new ones: by value, which of the
//! sweep's grids have it. A grid is searched only if it has all values of a point.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use terms::ParameterValue;

use crate::{
    points::Jobs,
    space::{Axis, ValueKey},
};

/// Some of a sweep's grids, one bit each.
pub type Holders = u128;

/// Most grids: one bit is for the points beyond the axes of all grids.
pub const GRIDS_MAX: usize = 127;
const INCLUDED: Holders = 1 << GRIDS_MAX;

/// The points of several grids together.
#[derive(Debug, Default)]
pub struct KnownPoints {
    grids: Vec<Arc<Jobs>>,
    /// By axis and value, the grids that have it.
    holders: Vec<HashMap<ValueKey, Holders>>,
    included: HashSet<Vec<ValueKey>>,
}

impl KnownPoints {
    /// Adds the points of a grid, whose axes must be those of the others; beyond [`GRIDS_MAX`] grids, further ones are
    /// ignored. A search has no others.
    pub fn add(&mut self, jobs: &Arc<Jobs>) {
        let Some(grid) = jobs.grid() else { return };
        self.holders.resize_with(grid.axes().len(), HashMap::new);
        if self.grids.len() < GRIDS_MAX {
            let bit = 1 << self.grids.len();
            for (holders, axis) in self.holders.iter_mut().zip(grid.axes()) {
                for value in axis.values() {
                    *holders.entry(value.into()).or_default() |= bit;
                }
                if !axis.when.is_empty() {
                    *holders.entry(ValueKey::Absent).or_default() |= bit;
                }
            }
            self.grids.push(Arc::clone(jobs));
        }
        for point in grid.included() {
            for (holders, value) in self.holders.iter_mut().zip(point) {
                *holders.entry(value.into()).or_default() |= INCLUDED;
            }
            self.included.insert(point.iter().map(ValueKey::from).collect());
        }
    }

    /// The grids that have each value of an axis.
    pub fn holders(&self, axis: usize, values: &Axis) -> Vec<Holders> {
        values.values().iter().map(|value| self.holder(axis, &value.into())).collect()
    }

    /// The grids that have points in which an axis has no value.
    pub fn holders_without(&self, axis: usize) -> Holders {
        self.holder(axis, &ValueKey::Absent)
    }

    /// The grids that have all values of a point.
    pub fn holders_of(&self, point: &[Option<ParameterValue>]) -> Holders {
        (0..).zip(point).fold(Holders::MAX, |all, (axis, value)| all & self.holder(axis, &value.into()))
    }

    fn holder(&self, axis: usize, value: &ValueKey) -> Holders {
        self.holders.get(axis).and_then(|holders| holders.get(value)).copied().unwrap_or(0)
    }

    /// Whether one of `holders` has the point.
    pub fn has(&self, holders: Holders, point: &[Option<ParameterValue>]) -> bool {
        let holds = |(index, jobs): (usize, &Arc<Jobs>)| {
            holders >> index & 1 == 1 && jobs.grid().is_some_and(|grid| grid.holds(point))
        };
        if self.grids.iter().enumerate().any(holds) {
            return true;
        }
        let keys = || point.iter().map(ValueKey::from).collect::<Vec<_>>();
        holders & INCLUDED != 0 && self.included.contains(&keys())
    }
}
