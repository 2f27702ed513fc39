//! The jobs that wait for another attempt. They are kept by the workers that have their checkpoints, too: what a free slot costs
//! depends on how many of these there are, not on how many jobs wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
};

use terms::WorkerName;

use super::WaitingJob;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    jobs: BTreeMap<u64, WaitingJob>,
    /// Their numbers by the worker that has kept their checkpoints; those under none go on anywhere.
    by_keeper: BTreeMap<Option<WorkerName>, BTreeSet<u64>>,
}

impl Queue {
    pub(crate) fn insert(&mut self, job: u64, waiting: WaitingJob) {
        self.remove(job);
        self.by_keeper.entry(waiting.kept_by().cloned()).or_default().insert(job);
        self.jobs.insert(job, waiting);
    }

    pub(crate) fn remove(&mut self, job: u64) -> Option<WaitingJob> {
        let waiting = self.jobs.remove(&job)?;
        let keeper = waiting.kept_by().cloned();
        if let Some(jobs) = self.by_keeper.get_mut(&keeper) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.by_keeper.remove(&keeper);
            }
        }
        Some(waiting)
    }

    pub(crate) fn get(&self, job: u64) -> Option<&WaitingJob> {
        self.jobs.get(&job)
    }

    /// The job's history, to take a loss back.
    pub(crate) fn get_mut(&mut self, job: u64) -> Option<&mut WaitingJob> {
        self.jobs.get_mut(&job)
    }

    pub(crate) fn contains(&self, job: u64) -> bool {
        self.jobs.contains_key(&job)
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// By number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &WaitingJob)> {
        self.jobs.iter().map(|(job, waiting)| (*job, waiting))
    }

    /// The numbers in a range.
    pub(crate) fn range(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = u64> {
        self.jobs.range(range).map(|(job, _)| *job)
    }

    pub(crate) fn into_jobs(self) -> BTreeMap<u64, WaitingJob> {
        self.jobs
    }

    /// The first jobs up to `last` of each worker whose checkpoints are found, as far as they are wanted; in no order.
    pub(crate) fn first(
        &self,
        last: u64,
        finds: impl Fn(&WorkerName) -> bool,
        is_wanted: impl Fn(&WaitingJob) -> bool,
    ) -> impl Iterator<Item = u64> {
        let found = self.by_keeper.iter().filter(move |(keeper, _)| keeper.as_ref().is_none_or(&finds));
        found.filter_map(move |(_, jobs)| {
            jobs.range(..=last).copied().find(|job| self.jobs.get(job).is_some_and(&is_wanted))
        })
    }

    /// The jobs of all workers whose checkpoints are found; in no order.
    pub(crate) fn found(
        &self,
        finds: impl Fn(&WorkerName) -> bool,
    ) -> impl Iterator<Item = (u64, &WaitingJob)> {
        let found = self.by_keeper.iter().filter(move |(keeper, _)| keeper.as_ref().is_none_or(&finds));
        let jobs = found.flat_map(|(_, jobs)| jobs);
        jobs.filter_map(|job| Some((*job, self.jobs.get(job)?)))
    }

    /// Checks that the numbers are those of the jobs; says which is not.
    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let kept = self.by_keeper.values().map(BTreeSet::len).sum::<usize>();
        let is_there = |(job, waiting): (&u64, &WaitingJob)| {
            self.by_keeper.get(&waiting.kept_by().cloned()).is_some_and(|jobs| jobs.contains(job))
        };
        match kept == self.jobs.len() && self.jobs.iter().all(is_there) {
            true => Ok(()),
            false => Err("the jobs that wait are not those by whose checkpoints are kept".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use domain::record::History;
    use proptest::prelude::*;

    use super::*;

    fn keeper(number: u8) -> Option<WorkerName> {
        (number > 0).then(|| format!("w{number}").parse().unwrap())
    }

    fn waiting(attempts: u32, kept_by: u8) -> WaitingJob {
        WaitingJob::again(attempts, History::default(), None).kept_at(keeper(kept_by))
    }

    #[test]
    fn a_free_slot_asks_once_for_each_worker_that_keeps_checkpoints_however_many_jobs_wait() {
        let mut queue = Queue::default();
        (1..=10_000).for_each(|job| queue.insert(job, waiting(1, 1 + (job % 3) as u8)));
        let asked = Cell::new(0);
        let finds = |_: &WorkerName| {
            asked.set(asked.get() + 1);
            false
        };
        assert_eq!((queue.first(u64::MAX, finds, |_| true).next(), asked.get()), (None, 3));
    }

    proptest! {
        #[test]
        fn the_first_is_that_of_a_look_at_all_however_jobs_come_and_go(
            changes in prop::collection::vec((1..20_u64, 0..4_u32, 0..4_u8, any::<bool>()), 0..60),
            found in prop::collection::btree_set(1..4_u8, 0..4),
            last in 0..25_u64,
        ) {
            let mut queue = Queue::default();
            for (job, attempts, kept_by, comes) in changes {
                match comes {
                    true => queue.insert(job, waiting(attempts, kept_by)),
                    false => drop(queue.remove(job)),
                }
                prop_assert_eq!(queue.check_invariants(), Ok(()));
            }
            let finds = |worker: &WorkerName| found.iter().any(|number| keeper(*number).as_ref() == Some(worker));
            let is_wanted = |waiting: &WaitingJob| waiting.next_attempt() > 1;
            let fits = |(job, waiting): &(u64, &WaitingJob)| {
                *job <= last && waiting.goes_on_where(finds) && is_wanted(waiting)
            };
            let expected = queue.iter().find(fits).map(|(job, _)| job);
            prop_assert_eq!(queue.first(last, finds, is_wanted).min(), expected);
        }
    }
}
