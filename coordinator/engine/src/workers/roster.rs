//! All workers, and which of them have free slots: an event costs what is free, not what the cluster has.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use terms::{
    AttemptKey, WorkerName,
    manifest::{Described, ManifestHash},
};

use super::WorkerState;
use crate::mutants::{self, Mutant};

/// The workers by name.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    all: BTreeMap<WorkerName, WorkerState>,
    /// Every worker with a free slot, and perhaps others. Slots become free here alone.
    may_have_free_slots: BTreeSet<WorkerName>,
    /// The manifests of workers, each once however many workers have it.
    manifests: BTreeMap<ManifestHash, Described>,
}

impl Workers {
    pub(crate) fn get(&self, name: &WorkerName) -> Option<&WorkerState> {
        self.all.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &WorkerName) -> Option<&mut WorkerState> {
        self.all.get_mut(name)
    }

    /// Puts a worker in the place of the one that had its name, all of its slots free.
    pub(crate) fn insert(&mut self, name: WorkerName, mut worker: WorkerState) {
        worker.models.iter_mut().for_each(|model| *model = self.kept_once(model));
        self.may_have_free_slots.insert(name.clone());
        self.all.insert(name, worker);
    }

    /// The manifest as another worker has it already, where one does.
    fn kept_once(&mut self, model: &Described) -> Described {
        if let Some(known) = self.manifests.get(&model.hash()) {
            return known.clone();
        }
        self.manifests.retain(|_, known| Arc::strong_count(known.manifest()) > 1);
        self.manifests.insert(model.hash(), model.clone());
        model.clone()
    }

    /// The manifests of workers, each once, and perhaps some of workers that have left.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Described> {
        self.manifests.values()
    }

    pub(crate) fn remove(&mut self, name: &WorkerName) -> Option<WorkerState> {
        self.all.remove(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&WorkerName, &WorkerState)> {
        self.all.iter()
    }

    /// Those with names after `after`, by name.
    pub(crate) fn after(
        &self,
        after: Option<&WorkerName>,
    ) -> impl Iterator<Item = (&WorkerName, &WorkerState)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.all.range::<WorkerName, _>((after, Bound::Unbounded))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &WorkerState> {
        self.all.values()
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut WorkerState> {
        self.all.values_mut()
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&WorkerName, &mut WorkerState) -> bool) {
        self.all.retain(keep);
    }

    /// Whether any may have a free slot.
    pub(crate) fn may_have_free_slots(&self) -> bool {
        !self.may_have_free_slots.is_empty()
    }

    /// Those with a free slot, by name.
    pub(crate) fn with_free_slots(&mut self) -> impl Iterator<Item = (&WorkerName, &WorkerState)> {
        let all = &self.all;
        self.may_have_free_slots.retain(|name| all.get(name).is_some_and(WorkerState::has_free_slot));
        self.may_have_free_slots.iter().filter_map(|name| self.all.get_key_value(name))
    }

    /// An attempt has ended on a worker: its slot is free, unless others of its pack hold it.
    pub(crate) fn release(&mut self, name: &WorkerName, attempt: AttemptKey) {
        self.keep_occupants(name, |occupant| occupant != attempt);
    }

    /// Of the attempts that occupy slots of a worker, those stay of which `stays` says so.
    pub(crate) fn keep_occupants(&mut self, name: &WorkerName, stays: impl Fn(AttemptKey) -> bool) {
        let Some(worker) = self.all.get_mut(name) else { return };
        if mutants::is_on(Mutant::SlotsNotFreed) {
            return;
        }
        for slot in &mut worker.slots {
            slot.occupants.retain(|occupant| stays(*occupant));
        }
        if worker.has_free_slot() {
            self.may_have_free_slots.insert(name.clone());
        }
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let is_overlooked = |(name, worker): &(&WorkerName, &WorkerState)| {
            worker.has_free_slot() && !self.may_have_free_slots.contains(*name)
        };
        match self.all.iter().find(is_overlooked) {
            Some((name, _)) => Err(format!("{name} has a free slot that is never given a job")),
            None => Ok(()),
        }
    }
}
