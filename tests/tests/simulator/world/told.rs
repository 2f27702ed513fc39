//! What must hold of all that leaves a coordinator.

use super::*;

impl World {
    pub(super) fn release(&mut self, index: usize, released: Released<Wish>) -> Result<(), Broken> {
        self.check_speaker(index)?;
        for delivery in released.deliveries {
            match delivery {
                Delivery::Messages(session, messages) => {
                    let hub = self.coordinators[index].hub(self.now);
                    let Some(link) = hub.and_then(|hub| hub.links.get(&session).copied()) else { continue };
                    for message in messages.into_iter().map(convert::to_worker) {
                        self.check_told(link, &message)?;
                        self.send_down(link, Some(message));
                    }
                }
                Delivery::RemoveWeights(_) | Delivery::Discard(_) => {}
                Delivery::Close(session, _) => {
                    let hub = self.coordinators[index].hub(self.now);
                    if let Some(link) = hub.and_then(|hub| hub.links.remove(&session)) {
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
                    "a watcher heard of epoch {} of {attempt}, which is not durable",
                    epoch.number
                ));
            }
        }
        for answered in released.answered {
            self.answer(&answered)?;
        }
        Ok(())
    }

    /// What has no commit of its own is only reported by the coordinator that leads.
    fn check_speaker(&mut self, index: usize) -> Result<(), Broken> {
        let Some(leader) = self.coordinators[index].leader() else { return Ok(()) };
        let (term, now) = (leader.term, self.row.term());
        let had_commit = leader.hub.as_mut().is_some_and(|hub| std::mem::take(&mut hub.tells_a_commit));
        if !had_commit && term != now {
            return Err(format!("the leader of {term:?} tells what it knows in {now:?}"));
        }
        Ok(())
    }

    /// What a user hears is durable, and was so when the driver took the question, or later.
    fn answer(&mut self, answered: &Wish) -> Result<(), Broken> {
        if let Some(news) = answered.news() {
            return self.hear_news(&news);
        }
        let Some(sweep) = &answered.sweep else { return Ok(()) };
        if !self.durable.was_as_told(answered.taken_at, sweep) {
            let (state, jobs) = (sweep.state, sweep.job_count());
            return Err(format!(
                "a user heard of a sweep that is {state:?} with {jobs} jobs, which is not durable"
            ));
        }
        self.submitted |= answered.question == Question::Submit;
        Ok(())
    }

    /// What a worker hears is durable.
    fn check_told(&self, link: usize, message: &v1::CoordinatorMessage) -> Result<(), Broken> {
        use v1::coordinator_message::Message;
        match &message.message {
            // What is sent to a process that has ended is not heard, and may be of another spool.
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
    fn hears(&self, link: usize) -> bool {
        let link = &self.links[link];
        self.nodes[link.worker].life == link.worker_life && self.nodes[link.worker].session.is_some()
    }
}
