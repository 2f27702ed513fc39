//! The jobs of a request that can train together, from their first lines to their last: what each continues from, what
//! is reported about each, and how each ends; `members` says who trains next. A single job is a group of one.

mod keeping;

use std::{io::Write, time::Instant};

use tch::TchError;
use trainer_protocol::{CheckpointPlan, DatasetSummary, EpochLine, FromTrainer, TrainerOutcome};

use super::{
    checkpoint::{self, CheckpointPolicy, CheckpointStore, Wanted},
    conversation::Conversation,
    ffi,
    layers::Layers,
    lines::SessionError,
    members::{Job, Member, Segment, State, next_segment},
    pack::{Pack, PackEnd},
    torch_errors::{first_line, is_out_of_memory},
    training::{EpochRecord, Flow, Start, TrainingEvent},
    training_data::TrainingData,
    weights::{self, Facts, WeightsError},
};

/// Why a segment was interrupted.
enum Trouble {
    Torch(TchError),
    /// The agent's input is invalid, or the agent is gone.
    Agent(SessionError),
}

impl From<TchError> for Trouble {
    fn from(error: TchError) -> Self {
        Self::Torch(error)
    }
}

impl From<SessionError> for Trouble {
    fn from(error: SessionError) -> Self {
        Self::Agent(error)
    }
}

/// The context of a group: its data, and the conversation with the agent.
pub(super) struct Group<'a, 'c, W> {
    pub(super) conversation: &'a mut Conversation<'c, W>,
    pub(super) data: &'a TrainingData,
}

impl<W: Write + Send> Group<'_, '_, W> {
    /// Trains the jobs of a group, each to its end.
    ///
    /// # Errors
    /// An agent whose input is invalid or who is gone, and a device that is lost.
    pub(super) fn train(&mut self, jobs: &[Job<'_>]) -> Result<(), SessionError> {
        self.conversation.look_for_stops()?;
        let mut policy = CheckpointPolicy::new(Instant::now());
        let mut members = Vec::with_capacity(jobs.len());
        for job in jobs {
            if self.conversation.stopped.contains_key(&job.request.id) {
                self.conversation.end(
                    &job.request.id,
                    TrainerOutcome::Stopped,
                    "stopped before it began".into(),
                )?;
            } else {
                members.push(self.begin(job)?);
            }
        }
        loop {
            let places: Vec<_> = members.iter().map(Member::waiting_place).collect();
            let Some(segment) = next_segment(&places) else { return Ok(()) };
            match self.train_segment(&mut members, &segment, &mut policy) {
                Ok(()) => {}
                Err(Trouble::Torch(error)) => self.fail(&mut members, &segment, &error)?,
                Err(Trouble::Agent(error)) => return Err(error),
            }
        }
    }

    /// Finds what a job continues from, and reports that it begins.
    fn begin<'a>(&mut self, job: &'a Job<'_>) -> Result<Member<'a>, SessionError> {
        let Job { request, config, dataset } = job;
        let identity = checkpoint::identity(request, dataset, self.data.summary());
        let layers = Layers::new(&config.architecture, self.data.image_size(), self.data.classes());
        let kept = self.conversation.checkpoints.as_mut().zip(request.checkpoints.as_ref());
        let wanted = Wanted { identity: &identity, layers: &layers, optimiser: &config.optimiser };
        let snapshot = kept.and_then(|(store, plan)| store.latest(plan, wanted));
        let records = snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.records);
        let (id, resumed_epochs) = (&request.id, records.len() as u32);
        let found = self.data.summary().clone();
        self.conversation.output.send(&FromTrainer::Started {
            id: id.clone(),
            dataset: found,
            resumed_epochs,
        })?;
        if resumed_epochs > 0 {
            terminal::say!("continuing after epoch {resumed_epochs}");
        }
        records.iter().try_for_each(|record| self.conversation.output.send(&line(id, *record)))?;
        let mut member = Member { request, config, dataset, identity, state: State::Waiting(snapshot) };
        if member.is_to_pause_after(resumed_epochs) {
            // An attempt before this one got that far, and its end was lost.
            self.end_member(&mut member, TrainerOutcome::Paused, String::new())?;
        }
        Ok(member)
    }

    /// Trains some members together, to their ends or until they have caught up with those that wait for them.
    fn train_segment(
        &mut self,
        members: &mut [Member<'_>],
        segment: &Segment,
        policy: &mut CheckpointPolicy,
    ) -> Result<(), Trouble> {
        let mut starts = Vec::with_capacity(segment.members.len());
        for (index, &number) in segment.members.iter().enumerate() {
            let member = &mut members[number];
            if let State::Waiting(snapshot) = std::mem::replace(&mut member.state, State::Training(index)) {
                starts.push(Start { config: member.config, snapshot });
            }
        }
        let mut pack = Pack::new(starts, self.data)?;
        while pack.live().next().is_some() && Some(pack.place()) != segment.until && !pack.is_done() {
            let epoch = pack.place().epoch;
            let images_max =
                segment.until.filter(|place| place.epoch == epoch).map(|place| place.images_done);
            // The pack does not know the session: an error of the agent is stored here and stops the pack.
            let mut heard = Ok(());
            let end = pack.run_epoch(images_max, &mut |event| {
                self.hear(members, event).unwrap_or_else(|error| {
                    heard = Err(error);
                    Flow::Stop
                })
            })?;
            heard?;
            match end {
                PackEnd::Diverged(indexes) => self.end_diverged(members, &mut pack, &indexes)?,
                PackEnd::Done => self.tell_epoch(members, &mut pack, policy)?,
                PackEnd::Reached | PackEnd::Stopped => {}
            }
            self.obey_stops(members, &mut pack)?;
            self.keep_as_asked(members, &pack)?;
        }
        for member in members {
            let State::Training(index) = member.state else { continue };
            if pack.is_done() {
                self.end_done(member, &pack, index)?;
            } else {
                member.state = State::Waiting(Some(pack.snapshot(index)?));
            }
        }
        Ok(())
    }

    /// Reports an event, and says whether a member was asked to stop, or to keep a checkpoint.
    fn hear(&mut self, members: &[Member<'_>], event: TrainingEvent) -> Result<Flow, SessionError> {
        let hint = match event {
            TrainingEvent::Batch { epoch, fraction } => {
                self.conversation.epoch = epoch;
                Some((epoch, fraction, false))
            }
            // Always reported: one batch may take longer than the interval between hints.
            TrainingEvent::ValidationBegins => {
                self.conversation.output.next_hint_is_due();
                Some((self.conversation.epoch, 1.0, true))
            }
            // A sign of life.
            TrainingEvent::ValidationBatch => Some((self.conversation.epoch, 1.0, true)),
            TrainingEvent::Epoch(_) => None,
        };
        // Before the first batch, the epoch is not known: a job that continues in a validation.
        if let Some((epoch, fraction, validating)) = hint.filter(|(epoch, ..)| *epoch > 0) {
            self.conversation.output.hints(|| {
                let training = members.iter().filter(|member| matches!(member.state, State::Training(_)));
                training.map(move |member| FromTrainer::Progress {
                    id: member.id().to_owned(),
                    epoch,
                    fraction,
                    validating,
                })
            })?;
        }
        self.conversation.look_for_stops()?;
        let interrupts = |member: &Member<'_>| {
            let (stopped, to_keep) = (&self.conversation.stopped, &self.conversation.to_keep);
            !member.has_ended() && (stopped.contains_key(member.id()) || to_keep.contains(member.id()))
        };
        Ok(if members.iter().any(interrupts) { Flow::Stop } else { Flow::Continue })
    }

    /// Reports the results of the epoch, ends the members whose last epoch it was or that pause after it, and keeps
    /// checkpoints of the others if due.
    fn tell_epoch(
        &mut self,
        members: &mut [Member<'_>],
        pack: &mut Pack<'_>,
        policy: &mut CheckpointPolicy,
    ) -> Result<(), Trouble> {
        let together = members.len() > 1;
        for member in members.iter_mut() {
            let State::Training(index) = member.state else { continue };
            let Some(record) = pack.records(index).last() else { continue };
            let EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds, .. } = record;
            let (epochs, id) = (member.config.epochs, member.id());
            let whose = if together { format!("{id}: ") } else { String::new() };
            terminal::say!(
                "{whose}epoch {epoch}/{epochs}  loss {train_loss:.4}  val_accuracy {val_accuracy:.4}  {epoch_seconds:.1} s"
            );
            self.conversation.output.send(&line(id, *record))?;
            if pack.is_done() {
                self.end_done(member, pack, index)?;
            }
        }
        self.pause(members, pack)?;
        if members.iter().all(Member::has_ended) {
            // After this, the agent's next line is a request and not a stop.
            return Ok(());
        }
        self.conversation.look_for_stops()?;
        let (began, mut kept) = (Instant::now(), false);
        for member in members {
            let State::Training(index) = member.state else { continue };
            let epochs = pack.records(index).len() as u32;
            let is_due = |plan: &CheckpointPlan| policy.is_due(plan.every_epochs, epochs, began);
            // A member that was asked to stop keeps its own checkpoint.
            if member.request.checkpoints.as_ref().is_some_and(is_due)
                && self.conversation.checkpoints.is_some()
                && !self.conversation.stopped.contains_key(member.id())
            {
                self.keep(member, &pack.snapshot(index)?)?;
                kept = true;
            }
        }
        if kept {
            policy.kept(began, Instant::now());
        }
        Ok(())
    }

    /// Ends the members that have trained as far as they are to for now, each with a checkpoint.
    fn pause(&mut self, members: &mut [Member<'_>], pack: &mut Pack<'_>) -> Result<(), Trouble> {
        let mut paused = Vec::new();
        for member in members {
            let State::Training(index) = member.state else { continue };
            if member.is_to_pause_after(pack.records(index).len() as u32) {
                self.keep(member, &pack.snapshot(index)?)?;
                pack.retire(index);
                paused.push(member);
            }
        }
        if paused.is_empty() {
            return Ok(());
        }
        // The next attempt may begin elsewhere as soon as the end is heard.
        self.conversation.checkpoints.iter_mut().for_each(CheckpointStore::flush);
        for member in paused {
            self.end_member(member, TrainerOutcome::Paused, String::new())?;
        }
        Ok(())
    }

    fn end_diverged(
        &mut self,
        members: &mut [Member<'_>],
        pack: &mut Pack<'_>,
        indexes: &[usize],
    ) -> Result<(), SessionError> {
        let epoch = pack.place().epoch;
        for member in members {
            let State::Training(index) = member.state else { continue };
            if indexes.contains(&index) {
                pack.retire(index);
                self.remove_checkpoints(member);
                let reason = format!("the training loss was not finite any more in epoch {epoch}");
                self.end_member(member, TrainerOutcome::Diverged, reason)?;
            }
        }
        Ok(())
    }

    fn end_done(
        &mut self,
        member: &mut Member<'_>,
        pack: &Pack<'_>,
        index: usize,
    ) -> Result<(), SessionError> {
        if let Some(path) = &member.request.weights {
            // The metrics are the result: they count with or without the weights.
            if let Err(error) = write_weights(path, member, pack, index, self.data.summary()) {
                terminal::say!("the weights are lost: {error}");
            }
        }
        self.remove_checkpoints(member);
        self.end_member(member, TrainerOutcome::Done, String::new())
    }

    /// Ends the members that were asked to stop, with a checkpoint if one was requested.
    fn obey_stops(&mut self, members: &mut [Member<'_>], pack: &mut Pack<'_>) -> Result<(), Trouble> {
        let mut stopped = Vec::new();
        for member in members.iter_mut().filter(|member| !member.has_ended()) {
            let Some(&wanted) = self.conversation.stopped.get(member.id()) else { continue };
            let is_kept =
                wanted && self.conversation.checkpoints.is_some() && member.request.checkpoints.is_some();
            let snapshot = match &mut member.state {
                State::Training(index) => {
                    let index = *index;
                    pack.retire(index);
                    is_kept.then(|| pack.snapshot(index)).transpose()?
                }
                State::Waiting(snapshot) => snapshot.take(),
                State::Ended => None,
            };
            if let Some(snapshot) = snapshot.filter(|_| is_kept) {
                self.keep(member, &snapshot)?;
            }
            stopped.push(member);
        }
        if stopped.is_empty() {
            return Ok(());
        }
        // Once for all of them: whoever stops jobs has little patience.
        self.conversation.checkpoints.iter_mut().for_each(CheckpointStore::flush);
        for member in stopped {
            self.end_member(member, TrainerOutcome::Stopped, "stopped as asked".into())?;
        }
        Ok(())
    }

    /// Ends those that trained when libtorch failed. If memory ran out for several together, each that has not ended
    /// can continue in a smaller pack. After any other failure of a CUDA device, none can: the process ends without a
    /// report on any job, or the agent might send it the next one meanwhile.
    fn fail(
        &mut self,
        members: &mut [Member<'_>],
        segment: &Segment,
        error: &TchError,
    ) -> Result<(), SessionError> {
        let (together, reason) = (segment.members.len(), first_line(error));
        let device = self.data.device();
        let out_of_memory = is_out_of_memory(error);
        if !out_of_memory && device.is_cuda() {
            return Err(SessionError::DeviceLost(reason));
        }
        if out_of_memory {
            // The pack's memory goes back to the device, for others that share it. A device that has failed may also
            // report that it is out of memory.
            ffi::empty_cache(device).map_err(|error| SessionError::DeviceLost(first_line(&error)))?;
        }
        if out_of_memory && together > 1 {
            let reason = format!("memory ran out for {together} jobs that trained as one pack: {reason}");
            return members
                .iter_mut()
                .filter(|member| !member.has_ended())
                .try_for_each(|member| self.end_member(member, TrainerOutcome::OutOfMemory, reason.clone()));
        }
        for member in members.iter_mut().filter(|member| matches!(member.state, State::Training(_))) {
            self.end_member(member, TrainerOutcome::Failed, reason.clone())?;
        }
        Ok(())
    }

    fn end_member(
        &mut self,
        member: &mut Member<'_>,
        outcome: TrainerOutcome,
        reason: String,
    ) -> Result<(), SessionError> {
        member.state = State::Ended;
        self.conversation.end(member.id(), outcome, reason)
    }
}

/// Writes a member's trained weights.
fn write_weights(
    path: &std::path::Path,
    member: &Member<'_>,
    pack: &Pack<'_>,
    index: usize,
    found: &DatasetSummary,
) -> Result<(), WeightsError> {
    let Member { request, config, dataset, .. } = member;
    let facts = Facts::of(request, config, dataset, found, pack.records(index).last());
    weights::write(path, &facts, &pack.parameters(index)?)
}

/// The line that reports an epoch.
fn line(id: &str, record: EpochRecord) -> FromTrainer {
    let EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds, val_loss, train_accuracy } = record;
    let values = [
        ("train_loss", Some(train_loss)),
        ("val_accuracy", Some(val_accuracy)),
        ("val_loss", val_loss),
        ("train_accuracy", train_accuracy),
    ];
    let metrics = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    FromTrainer::Epoch(EpochLine { id: id.to_owned(), epoch, metrics, epoch_seconds })
}
