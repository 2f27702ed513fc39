//! The coordinator: what the driver's task does for the pipeline, and what must hold of all that leaves it.

use super::*;

impl World {
    pub(super) fn start_hub(&mut self) -> Result<(), Broken> {
        if self.hub.is_none() {
            self.hub_life += 1;
            self.hub = Some(Hub::start(self.now, &self.durable)?);
            self.after(TICK_MS, WorldEvent::Tick(self.hub_life));
        }
        Ok(())
    }

    pub(super) fn tell_hub(&mut self, input: Input<Wish>) {
        let Some(hub) = &mut self.hub else { return };
        hub.inbox.push(input);
        self.turn_soon();
    }

    /// The driver takes what waits, soon.
    pub(super) fn turn_soon(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        if !std::mem::replace(&mut hub.turn_is_due, true) {
            let time = (self.now + self.random.below(3)).max(self.hub_frozen_until);
            self.at(time, WorldEvent::Turn(self.hub_life));
        }
    }

    pub(super) fn take_turn(&mut self) -> Result<(), Broken> {
        if self.hub_frozen_until > self.now {
            self.at(self.hub_frozen_until, WorldEvent::Turn(self.hub_life));
            return Ok(());
        }
        let Some(hub) = &mut self.hub else { return Ok(()) };
        hub.turn_is_due = false;
        self.history_length = self.durable.history_length(SWEEP);
        hub.take_turn(self.now);
        self.perform_all()
    }

    /// Performs what the pipeline asks for, as the driver's task does.
    pub(super) fn perform_all(&mut self) -> Result<(), Broken> {
        loop {
            let Some(hub) = &mut self.hub else { return Ok(()) };
            let action = hub.pipeline.poll(hub.moment(self.now));
            hub.pipeline.core().check()?;
            let Some(action) = action else { break };
            self.perform_of_hub(action)?;
        }
        let waits = self.hub.as_ref().is_some_and(|hub| !hub.inbox.is_empty() && hub.pipeline.has_room());
        if waits {
            self.turn_soon();
        }
        Ok(())
    }

    pub(super) fn perform_of_hub(&mut self, action: Action<Wish>) -> Result<(), Broken> {
        let Some(hub) = &mut self.hub else { return Ok(()) };
        match action {
            Action::Commit(batch) => {
                hub.committing = Some(batch);
                self.begin_commit();
            }
            Action::Release(released) => self.release(released)?,
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

    /// A commit is on its way to the disk.
    pub(super) fn begin_commit(&mut self) {
        let is_slow = self.slow_disk && !self.calm;
        let takes = match is_slow && self.random.one_in(6) {
            // Longer than a lease.
            true => self.random.within(2_000..6_000),
            false => self.random.below(if is_slow { 1_000 } else { 10 }),
        };
        self.after(takes, WorldEvent::Committed(self.hub_life));
    }

    pub(super) fn end_commit(&mut self) -> Result<(), Broken> {
        let Some(batch) = self.hub.as_mut().and_then(|hub| hub.committing.take()) else { return Ok(()) };
        let kept = self.keep(batch.records())?;
        let Some(hub) = &mut self.hub else { return Ok(()) };
        if hub.pipeline.commit_ended(hub.moment(self.now), batch, kept).is_err() {
            return self.crash_hub();
        }
        self.perform_all()
    }

    /// Whether the disk keeps a commit; an error where one that is kept breaks a rule.
    fn keep(&mut self, records: &[Record]) -> Result<Result<(), StoreError>, Broken> {
        if std::mem::take(&mut self.refusals.lead_is_lost) {
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
        records.iter().try_for_each(|record| self.durable.keep(record))?;
        Ok(Ok(()))
    }

    pub(super) fn release(&mut self, released: Released<Wish>) -> Result<(), Broken> {
        for delivery in released.deliveries {
            match delivery {
                Delivery::Messages(session, messages) => {
                    let Some(link) = self.hub.as_ref().and_then(|hub| hub.links.get(&session)).copied()
                    else {
                        continue;
                    };
                    for message in messages.into_iter().map(convert::to_worker) {
                        self.check_told(link, &message)?;
                        self.send_down(link, Some(message));
                    }
                }
                Delivery::RemoveWeights(_) => {}
                Delivery::Close(session, _) => {
                    let Some(hub) = &mut self.hub else { continue };
                    if let Some(link) = hub.links.remove(&session) {
                        self.send_down(link, None);
                    }
                }
            }
        }
        for (_, observation) in released.observed {
            if let Observation::Epoch { attempt, epoch, .. } = observation
                && !self.durable.has_epoch(attempt, epoch.number)
            {
                return Err(format!(
                    "a watcher was told of epoch {} of {attempt}, which is not durable",
                    epoch.number
                ));
            }
        }
        for answered in released.answered {
            self.answer(&answered)?;
        }
        Ok(())
    }

    /// What a user is told is durable.
    pub(super) fn answer(&mut self, answered: &Wish) -> Result<(), Broken> {
        let Some(sweep) = &answered.sweep else { return Ok(()) };
        if !self.durable.was_as_told(self.history_length, sweep) {
            let (state, jobs) = (sweep.state, sweep.job_count());
            return Err(format!(
                "a user was told of a sweep that is {state:?} with {jobs} jobs, which is not durable"
            ));
        }
        self.submitted |= answered.question == Question::Submit;
        Ok(())
    }

    /// What is told to a worker is durable.
    pub(super) fn check_told(&self, link: usize, message: &v1::CoordinatorMessage) -> Result<(), Broken> {
        use v1::coordinator_message::Message;
        match &message.message {
            // What is told to a process that has ended is not heard, and may be of another spool.
            Some(Message::Acknowledgement(acknowledged)) if self.hears(link) => {
                let events = &self.nodes[self.links[link].worker].spool.events;
                for event in events.iter().filter(|event| event.sequence <= acknowledged.sequence) {
                    let attempt = event.attempt;
                    let over = self.durable.has_ended(attempt);
                    let kept = match (&event.kind, over) {
                        (_, None) => false,
                        (_, Some(true)) => true,
                        (EventKind::Started(_), _) => true,
                        (EventKind::Epoch(report), _) => self.durable.has_epoch(attempt, report.number),
                        (EventKind::Ended(_), Some(false)) => false,
                    };
                    if !kept {
                        return Err(format!("{event:?} was acknowledged and is not durable"));
                    }
                }
            }
            Some(Message::Grant(grant)) => {
                for job in &grant.jobs {
                    let attempt = proto::attempt_from_wire(job.attempt).map_err(|error| error.to_string())?;
                    if self.durable.has_ended(attempt).is_none() {
                        return Err(format!("{attempt} was granted and is not durable"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the process that opened a stream still runs.
    pub(super) fn hears(&self, link: usize) -> bool {
        let link = &self.links[link];
        self.nodes[link.worker].life == link.worker_life && self.nodes[link.worker].session.is_some()
    }

    pub(super) fn crash_hub(&mut self) -> Result<(), Broken> {
        let Some(mut hub) = self.hub.take() else { return Ok(()) };
        self.hub_life += 1;
        self.hub_frozen_until = 0;
        if let Some(batch) = hub.committing.take()
            && self.random.one_in(2)
        {
            // The disk may have had it when the process died; no one was told.
            let _ = self.keep(batch.records())?;
        }
        for index in 0..self.links.len() {
            if self.links[index].coordinator_life + 1 == self.hub_life {
                self.break_link(index);
            }
        }
        let pause = self.random.within(10..3_000);
        self.after(pause, WorldEvent::HubStarts);
        Ok(())
    }
}
