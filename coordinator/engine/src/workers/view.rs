//! What is shown of workers: pages of them, and one of them.

use std::collections::BTreeSet;

use terms::{AttemptKey, WorkerName};

use super::{Differences, SlotState, WorkerState};
use crate::{
    ControlError, Engine, Now, SlotCounts, WorkerCounts, WorkerStatus, WorkerView, query::WorkersPage,
};

/// How long to show that a worker of the same name was turned away, in milliseconds: it tries again every few seconds.
const RIVAL_SHOWN_MS: u64 = 60_000;

/// Bytes of a page of workers; the last one may exceed it. Far below the 4 MiB that gRPC clients accept.
const PAGE_BYTES_MAX: usize = 1 << 20;

impl Engine {
    /// At most `limit` workers with names after `after`, fewer where they are large. Those that have left in order are left out, unless
    /// attempts of theirs are still awaited.
    pub(crate) fn list_workers(&self, now: Now, after: Option<&WorkerName>, limit: usize) -> WorkersPage {
        let is_there = |(name, worker): &(&WorkerName, &WorkerState)| {
            !worker.has_left() || self.sweeps.are_held_by(name)
        };
        let mut later = self.workers.after(after).filter(is_there).peekable();
        let differences = Differences::of(&self.workers);
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < limit
            && bytes < PAGE_BYTES_MAX
            && let Some((name, worker)) = later.next()
        {
            let view = self.worker_view(now, name, worker, &differences);
            bytes += view.bytes();
            page.push(view);
        }
        WorkersPage { workers: page, has_more: later.peek().is_some() }
    }

    fn worker_view(
        &self,
        now: Now,
        name: &WorkerName,
        worker: &WorkerState,
        differences: &Differences<'_>,
    ) -> WorkerView {
        let quarantined = self.quarantine(worker);
        let away = worker.away_view(now);
        let status = worker.status(quarantined.is_some() || away.is_some());
        // An attempt with several GPUs occupies several slots.
        let occupants: BTreeSet<&AttemptKey> = worker.slots.iter().flat_map(|slot| &slot.occupants).collect();
        // Attempts that a departed worker has lost count as no longer running.
        let runs = |attempt: &&AttemptKey| worker.session.is_some() || self.is_active(name, **attempt);
        let is_busy = |slot: &&SlotState| slot.occupants.iter().any(|attempt| runs(&attempt));
        let busy_slots = worker.slots.iter().filter(is_busy).count();
        let shared = worker.rival.as_ref().filter(|rival| {
            let has_left = worker.session.is_none() && !worker.leaving.is_empty();
            !has_left && now.unix_ms < rival.at_unix_ms + RIVAL_SHOWN_MS
        });
        let shared = shared.map(|rival| {
            format!(
                "another worker named {name}, on {}, is turned away; start it with another --name",
                host_or_unknown(&rival.host)
            )
        });
        let leaving = (!worker.leaving.is_empty()).then(|| match worker.was_only_told() {
            true => format!("{}, which it has not confirmed", worker.leaving),
            false => worker.leaving.clone(),
        });
        let difference = differences.about(worker);
        let outvoted = difference.as_ref().filter(|difference| difference.is_outvoted);
        let outvoted = outvoted.map(|difference| difference.text.clone());
        // A trainer may have several versions of one.
        let models: BTreeSet<&String> = worker.models.iter().map(|model| &model.name).collect();
        WorkerView {
            name: name.clone(),
            host: worker.host.clone(),
            software_version: worker.software_version.clone(),
            status,
            slots: worker.slots.iter().map(|slot| slot.description.clone()).collect(),
            gpus: worker.gpu_use.clone(),
            running: occupants.into_iter().filter(runs).copied().collect(),
            busy_slots: u32::try_from(busy_slots).unwrap_or(u32::MAX),
            last_seen_unix_ms: worker.last_seen_unix_ms,
            reason: quarantined.or(away).or(shared).or(leaving).or(outvoted).unwrap_or_default(),
            differs: difference.map(|difference| difference.text),
            models: models.into_iter().cloned().collect(),
            runs_programs: worker.runs_programs,
            has_said_draining: worker.has_said_draining,
        }
    }

    /// How many workers are in each state, and their slots.
    pub(crate) fn count_workers(&self) -> (WorkerCounts, SlotCounts) {
        let (mut workers, mut slots) = (WorkerCounts::default(), SlotCounts::default());
        for worker in self.workers.all() {
            let status = worker.status(self.quarantine(worker).is_some() || !worker.away().is_empty());
            *match status {
                WorkerStatus::Connected => &mut workers.connected,
                WorkerStatus::Draining => &mut workers.draining,
                WorkerStatus::Quarantined => &mut workers.quarantined,
                WorkerStatus::Disconnected => &mut workers.disconnected,
            } += 1;
            if status == WorkerStatus::Disconnected {
                continue;
            }
            let free = worker.slots.iter().filter(|slot| slot.is_free()).count() as u64;
            slots.busy += worker.slots.len() as u64 - free;
            *if status == WorkerStatus::Connected { &mut slots.free } else { &mut slots.withheld } += free;
        }
        (workers, slots)
    }

    pub(crate) fn describe_worker(&self, now: Now, name: &WorkerName) -> Result<WorkerView, ControlError> {
        let worker = self.workers.get(name).ok_or_else(|| ControlError::NoSuchWorker(name.clone()))?;
        Ok(self.worker_view(now, name, worker, &Differences::of(&self.workers)))
    }

    /// Whether the attempt holds its lease on that worker.
    fn is_active(&self, name: &WorkerName, attempt: AttemptKey) -> bool {
        let active = self.sweeps.get(attempt.job.sweep).and_then(|run| run.active(attempt));
        active.is_some_and(|active| active.worker() == name)
    }
}

impl WorkerState {
    /// Its status, where it is told whether it gets no jobs for now.
    fn status(&self, is_quarantined: bool) -> WorkerStatus {
        match self.session {
            None => WorkerStatus::Disconnected,
            Some(_) if self.draining => WorkerStatus::Draining,
            Some(_) if is_quarantined => WorkerStatus::Quarantined,
            Some(_) => WorkerStatus::Connected,
        }
    }
}

/// A machine's name in messages.
fn host_or_unknown(host: &str) -> &str {
    if host.is_empty() { "an unknown machine" } else { host }
}
