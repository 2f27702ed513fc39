//! The points of a sweep whose searcher learns: chosen or taken as jobs are about to begin, until none is left.

use std::ops::RangeInclusive;

use domain::{points::CheckedPoint, record::Record};
use terms::JobState;

use super::SweepRun;
use crate::learning::{Discarded, Learning, Outside, Revived};

impl SweepRun {
    /// The last job that may start as far as points are concerned: of those after it, a searcher outside has not proposed them.
    pub(super) fn last_with_point(&self) -> u64 {
        self.outside().map_or(u64::MAX, Outside::last_job)
    }

    /// Jobs that never had an attempt and have a point, or get it as they begin.
    pub(super) fn ready_to_begin(&self) -> u64 {
        let last = self.last_with_point();
        if last >= self.job_count() {
            return self.never_started();
        }
        let begun = self.out_of_order.range(..=last).count() as u64;
        (last + 1).saturating_sub(self.next_unstarted + begun)
    }

    /// How many jobs wait for points of a searcher outside.
    pub(crate) fn jobs_without_point(&self) -> u64 {
        let again = self.waiting.range(self.last_with_point().saturating_add(1)..).count() as u64;
        self.never_started() - self.ready_to_begin() + again
    }

    /// Whether the point of a job is yet to be proposed.
    pub(crate) fn proposes(&self, job: u64) -> bool {
        self.learning.as_ref().is_some_and(|learning| learning.proposes(job))
    }

    /// Makes sure that a job that is about to start has a point. False where a searcher that learns has none left.
    pub(crate) fn choose_point(&mut self, job: u64) -> bool {
        let Some(learning) = &mut self.learning else { return true };
        let Some(jobs) = learning.begin(job) else { return false };
        self.tell_of_cancelled(jobs);
        true
    }

    /// Tells a searcher of those jobs of new points that were cancelled before they had one.
    fn tell_of_cancelled(&mut self, jobs: RangeInclusive<u64>) {
        for job in jobs {
            let is_cancelled = self.has_begun(job) && !self.waiting.contains(job);
            if let Some(learning) = self.learning.as_mut().filter(|_| is_cancelled) {
                learning.entered(job, JobState::Cancelled, 0, None);
            }
        }
    }

    /// No point is left: there are no more jobs than have begun. All others end in one step, however many there are.
    pub(crate) fn end_points(&mut self) -> Vec<Record> {
        // Their numbers are known to users.
        let again: Vec<u64> = self.waiting.range(..).filter(|job| self.proposes(*job)).collect();
        let mut records = self.cancel_without_point(again);
        let (begun, Some(points)) = (self.next_unstarted - 1, self.definition.learned()) else {
            return records;
        };
        let ends_within_point = begun % u64::from(points.repeats()) > 0;
        if self.never_started() == 0 {
            return records;
        }
        if self.out_of_order.is_empty() && !ends_within_point {
            records.push(self.redefine(self.definition.ending_after(begun)));
            return records;
        }
        // A job of the same point or after them is known to users, and so are their numbers.
        let unstarted = self.next_unstarted..=self.job_count();
        let unstarted: Vec<u64> = unstarted.filter(|job| self.proposes(*job)).collect();
        records.append(&mut self.cancel_without_point(unstarted));
        records
    }

    fn cancel_without_point(&mut self, jobs: Vec<u64>) -> Vec<Record> {
        let cancel = |job| self.cancel_waiting_job(job, "no point of the space is left");
        jobs.into_iter().filter_map(cancel).collect()
    }

    /// What it counts against the memory for all sweeps: its points are kept once they are proposed, also after its end.
    pub(crate) fn kept_bytes(&self) -> usize {
        match &self.learning {
            Some(learning) if self.state.is_final() => self.definition.kept_bytes(learning.proposed_points()),
            _ => self.definition.kept_bytes_max(),
        }
    }

    /// The searcher, if it learns.
    pub(crate) fn learning(&self) -> Option<&Learning> {
        self.learning.as_ref()
    }

    /// The searcher, where it is outside of the coordinator.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        self.learning.as_ref()?.outside()
    }

    /// Takes the next points of a searcher outside, which are new.
    pub(crate) fn take_points(&mut self, points: &[CheckedPoint], seen: u64) {
        let Some(learning) = &mut self.learning else { return };
        let jobs = learning.take_points(points, seen);
        self.tell_of_cancelled(jobs);
    }

    /// The searcher outside proposes no other points: there are no more jobs than have one.
    pub(crate) fn end_proposals(&mut self) -> Vec<Record> {
        let last = self.last_with_point();
        let is_known = self.next_unstarted > last + 1
            || self.out_of_order.range(last + 1..).next().is_some()
            || self.waiting.range(last + 1..).next().is_some();
        if !is_known {
            return vec![self.redefine(self.definition.ending_after(last))];
        }
        // The number of one of them, or a larger one, is known to users.
        let without_point = last + 1..=self.job_count();
        let cancel = |job| self.cancel_waiting_job(job, "the searcher outside has no other points");
        without_point.filter_map(cancel).collect()
    }

    /// Gives up a searcher of its own, as nothing is proposed any more.
    pub(super) fn rest(&mut self) -> Option<Discarded> {
        self.learning.as_mut().and_then(Learning::rest)
    }

    /// Goes on with a searcher that was made beside the engine, where it needs one; false where that one does not know all.
    pub(crate) fn wake(&mut self, revived: &Revived) -> bool {
        self.learning.as_mut().is_none_or(|learning| learning.wake(revived))
    }

    /// What its searcher proposed and was told since the last time.
    pub(crate) fn take_learned(&mut self) -> Vec<Record> {
        self.learning.as_mut().map(Learning::take_records).unwrap_or_default()
    }
}
