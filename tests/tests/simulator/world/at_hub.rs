//! A coordinator that leads: what the driver's task does for the pipeline.

use super::*;

impl World {
    /// Brings something to the driver of a coordinator, if it has one.
    pub(super) fn tell_hub(&mut self, index: usize, input: Input<Wish>) {
        let hub = self.coordinators[index].hub(self.now);
        let Some(hub) = hub.filter(|hub| !hub.stops) else { return };
        hub.inbox.push(input);
        self.turn_soon(index);
    }

    /// The driver takes what waits, soon.
    pub(super) fn turn_soon(&mut self, index: usize) {
        let coordinator = &mut self.coordinators[index];
        let (life, frozen_until) = (coordinator.life, coordinator.frozen_until);
        let Some(hub) = coordinator.hub(self.now) else { return };
        if !std::mem::replace(&mut hub.turn_is_due, true) {
            let time = (self.now + self.random.below(3)).max(frozen_until);
            self.at(time, WorldEvent::Turn(life));
        }
    }

    pub(super) fn take_turn(&mut self, life: Life) -> Result<(), Broken> {
        if self.sleeps(life, WorldEvent::Turn(life)) {
            return Ok(());
        }
        let Some(hub) = self.coordinators[life.of].hub(self.now) else { return Ok(()) };
        hub.turn_is_due = false;
        hub.take_turn(self.now, self.durable.history_length(SWEEP));
        self.perform_all(life.of)
    }

    /// Performs what the pipeline asks for, as the driver's task does.
    pub(super) fn perform_all(&mut self, index: usize) -> Result<(), Broken> {
        loop {
            let Some(hub) = self.coordinators[index].hub(self.now) else { return Ok(()) };
            let Some(action) = hub.pipeline.poll(hub.moment(self.now)) else { break };
            self.perform_of_hub(index, action)?;
        }
        let Some(hub) = self.coordinators[index].hub(self.now) else { return Ok(()) };
        hub.pipeline.core().check()?;
        if hub.stops && hub.is_idle() {
            self.end_process(index, true);
        } else if !hub.inbox.is_empty() && hub.pipeline.has_room() {
            self.turn_soon(index);
        }
        Ok(())
    }

    fn perform_of_hub(&mut self, index: usize, action: Action<Wish>) -> Result<(), Broken> {
        let life = self.coordinators[index].life;
        let is_cut_off = self.is_cut_off(life);
        let Some(hub) = self.coordinators[index].hub(self.now) else { return Ok(()) };
        match action {
            Action::Commit(batch) => {
                hub.committing = Some(batch);
                self.begin_commit(life);
            }
            Action::Release(released) => self.release(index, released)?,
            Action::Restore if is_cut_off => self.step_down(index),
            Action::Restore => hub.restore(self.now, &self.durable)?,
            Action::LookForRoom => {
                // Now and then there seems to be room, and is none.
                let has_room = self.now >= self.refusals.full_until || self.random.one_in(4);
                hub.pipeline.room_looked_for(hub.moment(self.now), has_room);
            }
            Action::CloseSessions(_) => {
                for link in std::mem::take(&mut hub.links).into_values() {
                    self.send_down(link, None);
                }
            }
            Action::RefuseSession(session) => {
                if let Some(link) = hub.links.remove(&session) {
                    self.send_down(link, None);
                }
            }
            Action::Fail(wish, Refused::Full) if wish.is_query() => {
                return Err(format!("{wish:?} was refused though it keeps nothing"));
            }
            // The user asks again.
            Action::Fail(_, Refused::Full) => {}
            // Only what workers say cannot be kept.
            Action::Fail(wish, Refused::Unfit(_)) => {
                return Err(format!("{wish:?} was refused for what a worker said"));
            }
        }
        Ok(())
    }

    /// A commit is on its way to the store.
    fn begin_commit(&mut self, life: Life) {
        let is_slow = self.slow_disk && !self.calm;
        let takes = match is_slow && self.random.one_in(6) {
            // Longer than a lease.
            true => self.random.within(2_000..6_000),
            false => self.random.below(if is_slow { 1_000 } else { 10 }),
        };
        self.after(takes, WorldEvent::CommitArrives(life));
    }

    /// A commit is at the store. Where the network is cut, it or the answer is lost.
    pub(super) fn take_commit(&mut self, life: Life) -> Result<(), Broken> {
        let is_lost = self.is_cut_off(life);
        let Some(leader) = self.coordinators[life.of].leader() else { return Ok(()) };
        let term = leader.term;
        let Some(batch) = leader.hub.as_mut().and_then(|hub| hub.committing.take()) else { return Ok(()) };
        let mut kept = Err(StoreError::Stalled(SILENCE_MAX));
        if !is_lost || self.random.one_in(2) {
            let known = self.keep(life, term, batch.records())?;
            kept = if is_lost { kept } else { known };
        }
        if let Some(hub) = self.coordinators[life.of].hub(self.now) {
            (hub.committing, hub.kept) = (Some(batch), Some(kept));
        }
        let takes = if is_lost { self.random.below(4_000) } else { 0 };
        if takes > 0 {
            self.after(takes, WorldEvent::CommitEnds(life));
            return Ok(());
        }
        self.end_commit(life)
    }

    /// A coordinator knows what became of its commit.
    pub(super) fn end_commit(&mut self, life: Life) -> Result<(), Broken> {
        if self.sleeps(life, WorldEvent::CommitEnds(life)) {
            return Ok(());
        }
        let Some(hub) = self.coordinators[life.of].hub(self.now) else { return Ok(()) };
        let Some((batch, kept)) = hub.committing.take().zip(hub.kept.take()) else { return Ok(()) };
        hub.tells_a_commit = kept.is_ok();
        if hub.pipeline.commit_ended(hub.moment(self.now), batch, kept).is_ok() {
            return self.perform_all(life.of);
        }
        if self.is_alone() {
            self.end_process(life.of, false);
        } else {
            self.step_down(life.of);
        }
        Ok(())
    }

    /// A commit arrives whose coordinator has given it up.
    pub(super) fn take_orphan(&mut self, orphan: usize) -> Result<(), Broken> {
        let (life, term, records) = self.orphans[orphan].clone();
        self.keep(life, term, &records).map(drop)
    }

    /// Whether the store keeps a commit; an error where one that is kept breaks a rule.
    fn keep(&mut self, life: Life, term: Term, records: &[Record]) -> Result<Result<(), StoreError>, Broken> {
        if !self.row.keeps(term) || std::mem::take(&mut self.refusals.lead_is_lost) {
            return Ok(Err(StoreError::Superseded));
        }
        if self.now < self.refusals.full_until {
            return Ok(Err(StoreError::Full("the disk is full".to_owned())));
        }
        for record in records {
            let Record::EpochRecorded { attempt, epoch, .. } = record else { continue };
            let key = (*attempt, epoch.number);
            if std::mem::take(&mut self.refusals.next_epoch) {
                self.refusals.epochs.insert(key);
            }
            if self.refusals.epochs.contains(&key) {
                return Ok(Err(StoreError::Unfit("the epoch cannot be kept".to_owned())));
            }
        }
        if let Some((last, by)) = self.last_commit.replace((term, life))
            && (term < last || (term == last && by != life))
        {
            return Err(format!("a commit of {term:?} was kept after one of {last:?} by another leader"));
        }
        for record in records {
            if self.trace {
                eprintln!("{:>7} ms  durable: {record:?}", self.now);
            }
            self.check_pause(record)?;
            self.durable.keep(record)?;
        }
        Ok(Ok(()))
    }

    /// An attempt whose trainer paused has not failed, unless an epoch of it cannot be kept. That one left no checkpoint is recorded
    /// with the first, and of no other.
    fn check_pause(&self, record: &Record) -> Result<(), Broken> {
        let left_none = |attempt: &AttemptKey| self.paused.get(attempt) == Some(&false);
        match record {
            Record::AttemptEnded { attempt, state: AttemptState::Failed, .. } => {
                let lacks_epochs = self.refusals.epochs.iter().any(|(refused, _)| refused == attempt);
                rule(!self.paused.contains_key(attempt) || lacks_epochs, || {
                    format!("{attempt} paused where it was to, and has failed for it")
                })
            }
            Record::AttemptEnded { attempt, state: AttemptState::Paused, .. } => {
                rule(!left_none(attempt) || self.durable.has_missed_checkpoint(attempt.job.sweep), || {
                    format!("{attempt} paused without a checkpoint, which is not recorded")
                })
            }
            Record::CheckpointMissed { job } => {
                let mut attempts = self.paused.keys().filter(|attempt| attempt.job == *job);
                rule(attempts.any(left_none), || format!("job {job} has missed no checkpoint"))
            }
            _ => Ok(()),
        }
    }
}
