//! Attempts: their events, their ends, their leases, and what their ends mean for their jobs.

use domain::record::{History, Record};
use terms::{
    AttemptKey, AttemptState, DatasetSummary, Epoch, EpochReport, JobState, Outcome, ParameterUse,
    SweepState, WorkerName, count,
};

use super::{
    AttemptEvent, Effect, Engine, Now, Observation, Output, SessionId,
    attribution::{LOSSES_MAX, attribute},
    control::stop_at_target,
    observe_change,
    sessions::revoke,
    settle,
    sweep_run::{ActiveAttempt, Placement, SweepRun, metrics::Measured, stopping::Compared},
    weights::Left,
    workers::WorkerState,
};
use crate::mutants::{self, Mutant};

impl Engine {
    pub(super) fn event(
        &mut self,
        now: Now,
        session: SessionId,
        sequence: u64,
        attempt: AttemptKey,
        event: AttemptEvent,
        out: &mut Output,
    ) {
        let Some(name) = self.heard(now, session) else { return };
        // What is refused is acknowledged, too, or the worker would send it indefinitely.
        out.effects.push(Effect::Acknowledge { session, sequence });
        let has_paused = matches!(event, AttemptEvent::Ended { outcome: Outcome::Paused, .. });
        let keeps_slot = has_paused && mutants::is_on(Mutant::PausedJobsKeepTheirSlots);
        if matches!(event, AttemptEvent::Ended { .. }) && !keeps_slot {
            self.workers.release(&name, attempt);
        }
        let lease_ms = self.config.lease_ms;
        let active = self.active_mut(attempt).filter(|active| active.is_of(&name));
        // Late events of a fenced attempt change nothing.
        let Some(active) = active else {
            out.refused.fenced += 1;
            if self.is_foreign(&name, attempt) {
                self.refuse(&name, &format!("it reported on {attempt}, which it was never given"));
            }
            return;
        };
        active.extend_lease(now.monotonic_ms + lease_ms);
        match event {
            AttemptEvent::Started { dataset, resumed_epochs } => {
                self.started(now, session, attempt, (dataset, resumed_epochs), out);
            }
            AttemptEvent::Epoch(report) => self.epoch(now, session, attempt, &report, out),
            AttemptEvent::Ended { outcome, reason, log_tail, weights, details } => {
                active.judge(&details);
                let (mut state, mut reason) = verdict(active, outcome, reason);
                if state == AttemptState::Failed && outcome == Outcome::OutOfMemory {
                    (state, reason) = self.out_of_memory(&name, attempt, &reason);
                }
                let run = self.sweeps.get_mut(attempt.job.sweep);
                let Some(active) = run.and_then(|run| run.active_mut(attempt)) else { return };
                let (objective, best) = (active.results().objective, active.results().best_value());
                let pack_size = active.placement().pack_size;
                let left = Left { attempt, worker: name.clone(), objective, best, weights };
                if let Some(key) = active.pack_key().filter(|_| pack_size > 1) {
                    match outcome {
                        Outcome::OutOfMemory => self.pack_sizes.too_large(key, pack_size),
                        Outcome::PackLost => self.pack_sizes.lost(key, pack_size, active.epochs_done() > 0),
                        Outcome::Done | Outcome::Paused => self.pack_sizes.trained(key, pack_size),
                        _ => {}
                    }
                }
                if state == AttemptState::Unavailable && self.is_away(now, &name, attempt, &reason) {
                    state = AttemptState::Rejected;
                    reason = format!("no worker that is connected has the data set: {reason}");
                }
                if state == AttemptState::Rejected {
                    (state, reason) = self.cannot_run(&name, attempt, reason);
                }
                self.end_attempt(now, attempt, state, reason, log_tail, out);
                if state == AttemptState::Done {
                    self.parameters_used(attempt, details.parameters.as_ref(), out);
                    self.weights_left(left, out);
                }
            }
            AttemptEvent::Unusable(reason) => {
                out.refused.invalid += 1;
                self.refuse(&name, &reason);
                self.break_off(now, session, attempt, AttemptState::Failed, reason, out);
            }
        }
    }

    fn active_mut(&mut self, attempt: AttemptKey) -> Option<&mut ActiveAttempt> {
        self.sweeps.get_mut(attempt.job.sweep)?.active_mut(attempt)
    }

    /// What becomes of an attempt that trained alone and whose memory ran out: where another worker has more, its job is given to that
    /// one, and nothing is charged to it.
    fn out_of_memory(
        &mut self,
        name: &WorkerName,
        attempt: AttemptKey,
        reason: &str,
    ) -> (AttemptState, String) {
        let sweep = attempt.job.sweep;
        let had = self.workers.get(name).map_or(0, WorkerState::memory_bytes);
        let most = self.workers.get(name).map_or(0, |own| self.most_memory_beside(sweep, own));
        let beyond = self.active_mut(attempt).map_or(0, |active| active.run_out_of_memory(had));
        let charges = mutants::is_on(Mutant::MemoryIsCharged);
        let goes_on = (most > beyond && !charges) || mutants::is_on(Mutant::MemoryIsNeverCharged);
        if had > 0 && goes_on {
            let reason = format!("{reason}; it is given to a worker with more memory than {}", in_gib(had));
            return (AttemptState::HandedBack, reason);
        }
        let more = if had > 0 { "; no other worker that takes its jobs has more memory" } else { "" };
        (AttemptState::Failed, format!("{reason}{more}"))
    }

    /// Takes in which parameters the program of a job that is done has read.
    fn parameters_used(&mut self, attempt: AttemptKey, used: Option<&ParameterUse>, out: &mut Output) {
        let run = self.sweeps.get_mut(attempt.job.sweep);
        out.records.extend(run.zip(used).and_then(|(run, used)| run.find_parameters(used)));
    }

    fn started(
        &mut self,
        now: Now,
        session: SessionId,
        attempt: AttemptKey,
        (dataset, resumed_epochs): (DatasetSummary, u32),
        out: &mut Output,
    ) {
        let has_moved = self.dataset_of(attempt).is_some_and(|(_, has_moved)| has_moved);
        let Some(run) = self.sweeps.get_mut(attempt.job.sweep) else { return };
        if has_moved && !run.data_set_is_settled() {
            // Otherwise the data set at the path that the user has just corrected would become the sweep's.
            let reason =
                "tried again, as the sweep's data set had another path by the time it began".to_owned();
            return self.break_off(now, session, attempt, AttemptState::HandedBack, reason, out);
        }
        match run.dataset().filter(|_| run.data_set_is_settled()) {
            None => out.records.extend(run.find_dataset(dataset)),
            Some(known)
                if known.content_hash != dataset.content_hash
                    || known.skipped_count != dataset.skipped_count =>
            {
                let reason = format!(
                    "the worker has another data set at this path (content {}) than the sweep began with (content {}); \
                     make them the same",
                    short(&dataset.content_hash),
                    short(&known.content_hash)
                );
                let Some(name) = self.sessions.get(&session).cloned() else { return };
                let (state, reason) = self.cannot_run(&name, attempt, reason);
                return self.break_off(now, session, attempt, state, reason, out);
            }
            Some(_) => {}
        }
        if resumed_epochs > 0 {
            // Other jobs of the pack may have moved to other workers, so this speed says nothing about the size of the pack.
            run.forget_pack_keys(attempt);
        }
        let Some(active) = run.active_mut(attempt) else { return };
        let had_started = active.has_started();
        out.records.extend(active.start(attempt, resumed_epochs));
        if !had_started {
            if let Some(worker) = self.workers.get_mut(active.worker()) {
                worker.found(active.dataset_path());
            }
            out.effects
                .push(Effect::Observed { sweep: attempt.job.sweep, observation: Observation::Progress });
        }
    }

    fn epoch(
        &mut self,
        now: Now,
        session: SessionId,
        attempt: AttemptKey,
        report: &EpochReport,
        out: &mut Output,
    ) {
        let Some(run) = self.sweeps.get_mut(attempt.job.sweep) else { return };
        let train_images = run.dataset().map(|dataset| dataset.train_images as f64);
        let Some(active) = run.active(attempt) else { return };
        let done = active.epochs_done();
        let total = active.epochs_max();
        let counts_twice = mutants::is_on(Mutant::NoEpochDeduplication);
        // Sent again after a reconnection: known, and acknowledged with the rest of its batch.
        if report.number <= done && !counts_twice {
            out.refused.repeated += 1;
            return;
        }
        if (report.number != done + 1 && !counts_twice) || report.number > total {
            out.refused.invalid += 1;
            let reason = format!("the worker sent epoch {} after epoch {done} of {total}", report.number);
            if let Some(name) = self.sessions.get(&session).cloned() {
                self.refuse(&name, &reason);
            }
            return self.break_off(now, session, attempt, AttemptState::Failed, reason, out);
        }
        if let Some((key, train_images)) = active.pack_key().zip(train_images) {
            let pack_size = active.placement().pack_size;
            let images = f64::from(pack_size) * train_images;
            self.pack_sizes.measured(key, pack_size, images / report.seconds);
        }
        let Measured { row, named, objective } = run.measure(report);
        if !named.is_empty() {
            let first = run.metrics().len() - named.len();
            out.records.push(Record::MetricsNamed { sweep: run.id(), first, names: named });
        }
        let epoch = Epoch { number: report.number, seconds: report.seconds, row };
        let Some((record, observation)) = run.record_epoch(attempt, epoch, objective) else { return };
        let Compared { record: compared, stops } = run.compare(attempt);
        out.records.extend([record].into_iter().chain(compared));
        out.effects.push(Effect::Observed { sweep: attempt.job.sweep, observation });
        if let Some(reason) = stops {
            self.stop_early(now, attempt, reason, out);
        }
    }

    /// Ends an attempt that its worker still runs.
    fn break_off(
        &mut self,
        now: Now,
        session: SessionId,
        attempt: AttemptKey,
        state: AttemptState,
        reason: String,
        out: &mut Output,
    ) {
        revoke(session, &[attempt], &reason, out);
        self.end_attempt(now, attempt, state, reason, Vec::new(), out);
    }

    /// Ends an attempt, and its job with it, because the rule of early stopping says so. The epochs that it has count.
    pub(super) fn stop_early(&mut self, now: Now, attempt: AttemptKey, reason: String, out: &mut Output) {
        let session = self.session_of(attempt);
        let active = self.sweeps.get_mut(attempt.job.sweep).and_then(|run| run.active_mut(attempt));
        let Some(active) = active else { return };
        active.stop_early();
        if let Some(session) = session {
            revoke(session, &[attempt], &reason, out);
        }
        self.end_attempt(now, attempt, AttemptState::Revoked, reason, Vec::new(), out);
    }

    /// Ends an attempt that a worker cannot run, and returns its state and reason. Remembers that the worker cannot run
    /// the sweep, so that its jobs go to others; unless the sweep's data set has moved since, as the worker has not
    /// looked there.
    fn cannot_run(
        &mut self,
        name: &WorkerName,
        attempt: AttemptKey,
        reason: String,
    ) -> (AttemptState, String) {
        if self.dataset_of(attempt).is_some_and(|(_, has_moved)| has_moved) {
            let reason = format!("{reason}; tried again, as the sweep's data set has another path by now");
            return (AttemptState::HandedBack, reason);
        }
        if let Some(worker) = self.workers.get_mut(name) {
            worker.refuse_sweep(attempt.job.sweep);
        }
        (AttemptState::Rejected, reason)
    }

    /// Ends an active attempt and decides what happens to its job. Does not free the slot: that happens when the worker
    /// reports that the attempt has ended there.
    pub(super) fn end_attempt(
        &mut self,
        now: Now,
        attempt: AttemptKey,
        state: AttemptState,
        reason: String,
        log_tail: Vec<String>,
        out: &mut Output,
    ) {
        let others_fit = self.some_worker_takes_jobs(attempt.job.sweep);
        let are_others = state == AttemptState::Failed && self.others_than_its_own_take_jobs(attempt);
        let Some(run) = self.sweeps.get_mut(attempt.job.sweep) else { return };
        if state == AttemptState::Diverged && run.active(attempt).is_some() {
            out.records.extend(run.compare_diverged(attempt));
        }
        let mut reason = reason;
        if state == AttemptState::Paused {
            let missed = run.miss_checkpoint(attempt);
            if missed.is_some() {
                observe_change(run, out);
            }
            out.records.extend(missed);
            reason = run.why_paused(attempt).unwrap_or(reason);
        }
        let Some(mut ended) = run.end(attempt) else { return };
        debug_assert!(AttemptState::Running.may_become(state));
        let Placement { worker, pack_size, .. } = ended.placement().clone();
        let (history, reason) = attribute(ended.history().clone(), state, &worker, pack_size, reason);
        let failed = if state == AttemptState::Failed { ended.fail(&reason, are_others) } else { None };
        let not_again = failed.filter(|_| history.failures < run.definition().execution.attempts_max);
        let reason = not_again.map_or(reason.clone(), |why| format!("{reason}; {why}"));
        out.records.push(Record::AttemptEnded {
            attempt,
            state,
            reason: reason.clone(),
            log_tail,
            at_unix_ms: now.unix_ms,
        });
        let job_state = match not_again {
            Some(_) => JobState::Failed,
            None => job_after(run, &ended, state, &history, others_fit),
        };
        if state == AttemptState::Lost && pack_size > 1 {
            ended.halve_next_pack();
        }
        out.records.push(run.move_on(attempt.job.job, ended, job_state, history, reason.clone()));
        observe_end(attempt, &worker, (state, job_state), &reason, out);
        // Jobs that are tried again after that go on.
        if run.reached().is_some_and(|(best, ..)| best == attempt.job.job) {
            stop_at_target(run, out);
        }
        settle(run, now, out);
        self.attribute_to_worker(&worker, attempt.job, state, &reason);
        self.end_probe(now, &worker, attempt);
    }

    /// Ends leases that have run out.
    pub(super) fn tick(&mut self, now: Now, out: &mut Output) {
        let expired: Vec<(AttemptKey, WorkerName)> = self
            .sweeps
            .attempts()
            .filter(|(_, active)| {
                active.lease().has_run_out(now.monotonic_ms) && !self.waits_for_us(active.worker())
            })
            .map(|(attempt, active)| (attempt, active.worker().clone()))
            .collect();
        for (attempt, name) in expired {
            if let Some(session) = self.workers.get(&name).and_then(WorkerState::session) {
                revoke(session, &[attempt], "the lease is lost", out);
            }
            let reason = format!("worker {name} was silent for longer than its lease");
            self.end_attempt(now, attempt, AttemptState::Lost, reason, Vec::new(), out);
        }
        self.cut_off_silent_workers(now, out);
        self.note_idle_sweeps(now, out);
        self.forget_workers(now.unix_ms);
        self.forget_data_sets();
    }
}

/// Decides what happens to the job of an attempt that has ended.
fn job_after(
    run: &SweepRun,
    ended: &ActiveAttempt,
    state: AttemptState,
    history: &History,
    others_fit: bool,
) -> JobState {
    let attempts_max = run.definition().execution.attempts_max;
    match state {
        AttemptState::Done => JobState::Done,
        AttemptState::Paused if ended.is_last() => JobState::Cancelled,
        AttemptState::Paused => JobState::Paused,
        AttemptState::Diverged => JobState::Diverged,
        AttemptState::Failed | AttemptState::Lost if history.failures >= attempts_max => JobState::Failed,
        AttemptState::Lost if history.losses >= LOSSES_MAX => JobState::Failed,
        AttemptState::Rejected if !others_fit => JobState::Failed,
        AttemptState::Revoked if ended.is_stopped_early() => JobState::Stopped,
        _ if ended.is_last() => JobState::Cancelled,
        _ if matches!(run.state(), SweepState::Running | SweepState::Paused) => JobState::Pending,
        _ => JobState::Cancelled,
    }
}

/// Reports the end of an attempt to watchers.
fn observe_end(
    attempt: AttemptKey,
    worker: &WorkerName,
    (state, job_state): (AttemptState, JobState),
    reason: &str,
    out: &mut Output,
) {
    // A missing data set is reported once, as what the sweep waits for, and not for each job.
    let reason = if state == AttemptState::Unavailable { String::new() } else { reason.to_owned() };
    let observation = Observation::Job { attempt, state: job_state, worker: worker.clone(), reason };
    out.effects.push(Effect::Observed { sweep: attempt.job.sweep, observation });
}

/// Turns the outcome that a worker reports into a state and a reason.
fn verdict(active: &mut ActiveAttempt, outcome: Outcome, reason: String) -> (AttemptState, String) {
    match outcome {
        Outcome::Done if active.epochs_needed().is_some_and(|total| active.epochs_done() < total) => {
            let (done, total) = (active.epochs_done(), active.epochs_needed().unwrap_or_default());
            (
                AttemptState::Failed,
                format!("the trainer said that it was done after {done} of {}", count(total.into(), "epoch")),
            )
        }
        Outcome::Done => (AttemptState::Done, reason),
        Outcome::Paused => match active.until_epoch() {
            Some(until) if active.epochs_done() >= until => (AttemptState::Paused, reason),
            Some(until) => {
                let done = active.epochs_done();
                (
                    AttemptState::Failed,
                    format!("the trainer paused after {done} of {}", count(until.into(), "epoch")),
                )
            }
            None => (AttemptState::Failed, "the trainer paused a job that trains to its end".to_owned()),
        },
        Outcome::Diverged => (AttemptState::Diverged, reason),
        // Not the job's fault, or not only: it is tried again in smaller packs, in the end alone.
        Outcome::OutOfMemory | Outcome::PackLost if active.placement().pack_size > 1 => {
            active.halve_next_pack();
            (AttemptState::HandedBack, reason)
        }
        Outcome::Unavailable => (AttemptState::Unavailable, reason),
        Outcome::Failed | Outcome::OutOfMemory | Outcome::PackLost => (AttemptState::Failed, reason),
        Outcome::HandedBack => (AttemptState::HandedBack, reason),
        Outcome::Revoked => (AttemptState::Revoked, reason),
        Outcome::Rejected => (AttemptState::Rejected, reason),
    }
}

/// Bytes for people.
fn in_gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// The first digits of a hash, enough to tell two apart.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
