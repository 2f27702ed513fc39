//! What a searcher outside of the coordinator gives and asks: points for a sweep, and what became of its jobs.

use std::collections::BTreeMap;

use domain::points::CheckedPoint;
use terms::{ParameterMap, ParameterValue, SweepId, SweepState, WorkerName};

use super::{
    ControlError, Engine, Now, Output,
    command::{ProposePoints, Proposed},
    gpus::is_gpu,
    learning::{IsOther, Outside},
    observe_change,
    query::{SearchNews, SearchResult},
    resources::allows,
    settle,
    sweep_run::SweepRun,
    workers::{SlotState, WorkerState},
};

/// Results in one answer. They are made in the engine's turn, and people's sweeps have some ten parameters.
const RESULTS_MAX: usize = 256;
/// Their parameters together, in bytes, where these are texts; one more may go beyond it.
const RESULTS_BYTES_MAX: usize = 256 << 10;

impl Engine {
    /// Gives a sweep its next points, all of them or none. Those that it has already are taken as they are, so that a searcher which
    /// has heard no answer can say the same again.
    pub(super) fn propose_points(
        &mut self,
        now: Now,
        command: ProposePoints,
        out: &mut Output,
    ) -> Result<Proposed, ControlError> {
        let ProposePoints { sweep, first_point, points, seen, is_exhausted } = command;
        let Some(run) = self.sweeps.get_mut(sweep) else { return Err(ControlError::NoSuchSweep(sweep)) };
        let new = new_points(run, first_point, &points, seen)?;
        // Where no job waits for a point, the search has ended: with its last point, or because it was said before.
        let ends = is_exhausted && run.jobs_without_point() > 0;
        if new.is_empty() && !ends {
            return Ok(Proposed { next_point: next_point(run) });
        }
        match run.state() {
            SweepState::Running | SweepState::Paused => {}
            state => return Err(ControlError::AlreadyFinal { sweep, state }),
        }
        if new.is_empty() && next_point(run) == 1 {
            return Err(ControlError::NoPointYet(sweep));
        }
        run.take_points(new, seen);
        out.records.append(&mut run.take_learned());
        if is_exhausted {
            out.records.append(&mut run.end_proposals());
        }
        observe_change(run, out);
        settle(run, now, out);
        Ok(Proposed { next_point: next_point(run) })
    }

    /// What a searcher that has the results up to `after` does not know yet.
    pub(super) fn search_news(
        &self,
        now: Now,
        sweep: SweepId,
        after: u64,
    ) -> Result<SearchNews, ControlError> {
        let run = self.sweep(sweep)?;
        let outside = run.outside().ok_or(ControlError::NotFromOutside(sweep))?;
        let told = outside.learned().len() as u64;
        let not_seen = usize::try_from(after).ok().and_then(|after| outside.learned().get(after..));
        let not_seen = not_seen.ok_or(ControlError::NoSuchResult { sweep, seen: after, told })?;
        let mut results = Vec::new();
        let mut bytes = 0;
        for (number, learned) in (after + 1..).zip(not_seen).take(RESULTS_MAX) {
            if bytes > RESULTS_BYTES_MAX {
                break;
            }
            let parameters = run.definition().parameters(learned.job);
            bytes += text_bytes(&parameters);
            let point = outside.point_of(learned.job);
            results.push(SearchResult {
                number,
                job: learned.job,
                point,
                parameters,
                result: learned.result,
            });
        }
        let has_more = results.len() < not_seen.len();
        let wanted = if has_more { 0 } else { self.wanted_points(now, run, outside) };
        let (next_point, points_max) = (outside.next_point(), outside.points_max());
        Ok(SearchNews { results, has_more, wanted, next_point, points_max, state: run.state() })
    }

    /// How many points would be trained at once if they were there; at least one where no job of the sweep waits for a slot or runs.
    fn wanted_points(&self, now: Now, run: &SweepRun, outside: &Outside) -> u64 {
        if run.state() != SweepState::Running {
            return 0;
        }
        let free: u64 = self
            .workers
            .iter()
            .filter(|(_, worker)| self.takes_jobs(worker, run.id()) && worker.may_read(now, run))
            .map(|(name, worker)| self.places_at(name, worker, run))
            .sum();
        let parallel = run.definition().execution.max_parallel.map_or(u64::MAX, u64::from);
        let parallel = parallel.saturating_sub(run.running_jobs() as u64);
        let room = parallel.min(self.room_in_quota(run));
        // Where none waits or runs, no one would know that the sweep needs a worker.
        let first = u64::from(run.running_jobs() as u64 + run.startable_jobs() == 0);
        let jobs = free.max(first).min(room).saturating_sub(run.startable_jobs());
        let left = outside.points_max().saturating_sub(outside.next_point() - 1);
        jobs.div_ceil(outside.repeats()).min(left)
    }

    /// How many jobs of the sweep could start at a worker now, as far as slots matter.
    pub(super) fn places_at(&self, name: &WorkerName, worker: &WorkerState, run: &SweepRun) -> u64 {
        if run.gpus() > 1 {
            return worker.places_of_gpus(name, &self.kept, run.id(), run.gpus());
        }
        let is_open = |(position, slot): &(usize, &SlotState)| {
            slot.is_free()
                && !self.kept.is_kept_from(run.id(), name, *position)
                && allows(run, worker, &slot.description)
        };
        // On a GPU that several jobs share, no more than may share it.
        let per_gpu = run.definition().specification.resources.per_gpu.map_or(u64::MAX, u64::from);
        let mut by_device: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (_, slot) in worker.slots().iter().enumerate().filter(is_open) {
            by_device.entry(&slot.description.device).or_default().0 += 1;
        }
        for slot in worker.slots() {
            if let Some((_, busy)) = by_device.get_mut(&*slot.description.device) {
                *busy += slot.occupants_of(run.id()) as u64;
            }
        }
        let places = by_device.into_iter().map(|(device, (free, busy))| match is_gpu(device) {
            true => free.min(per_gpu.saturating_sub(busy)),
            false => free,
        });
        places.sum()
    }
}

/// Those of the given points that the sweep does not have: the last of them.
fn new_points<'a>(
    run: &SweepRun,
    first_point: u64,
    points: &'a [CheckedPoint],
    seen: u64,
) -> Result<&'a [CheckedPoint], ControlError> {
    let sweep = run.id();
    let Some((learning, outside)) = run.learning().and_then(|learning| Some((learning, learning.outside()?)))
    else {
        return Err(ControlError::NotFromOutside(sweep));
    };
    let told = outside.learned().len() as u64;
    if seen > told {
        return Err(ControlError::NoSuchResult { sweep, seen, told });
    }
    let next = outside.next_point();
    if !points.is_empty() && !(1..=next).contains(&first_point) {
        return Err(ControlError::PointsMissing { sweep, first: first_point, next });
    }
    let mut known = 0;
    for (point, given) in (first_point..).zip(points) {
        match learning.is_new(point, given) {
            Ok(is_new) => known += usize::from(!is_new),
            Err(IsOther) => return Err(ControlError::PointIsOther { sweep, point }),
        }
        if point > outside.points_max() {
            return Err(ControlError::TooManyPoints { sweep, points: outside.points_max() });
        }
    }
    // Those that it has come first, as points have no gaps.
    Ok(&points[known..])
}

fn next_point(run: &SweepRun) -> u64 {
    run.outside().map_or(1, Outside::next_point)
}

fn text_bytes(ParameterMap(parameters): &ParameterMap) -> usize {
    let bytes = |(name, value): &(String, ParameterValue)| match value {
        ParameterValue::Text(text) => name.len() + text.len(),
        _ => name.len(),
    };
    parameters.iter().map(bytes).sum()
}
