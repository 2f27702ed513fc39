//! The user, who changes their mind, and the faults.

use super::*;

impl World {
    pub(super) fn ask(&mut self) {
        if !self.submitted {
            let command =
                Submit { definition: Box::new(self.definition.clone()), request_id: REQUEST_ID.to_owned() };
            let wish = Wish::order(Question::Submit, command, |submitted| Some(submitted.sweep));
            for _ in 0..1 + self.random.below(2) {
                self.tell_hub(Input::Asked(wish.clone()));
            }
        }
        // A sweep that was paused goes on some day.
        let open = self.durable.open_sweeps().next();
        if let Some((sweep, _)) = open.filter(|_| self.calm) {
            self.tell_hub(Input::Asked(Wish::order(Question::Other, Resume(sweep), Some)));
        }
        self.after(ASK_AGAIN_MS, WorldEvent::Ask);
    }

    pub(super) fn change_mind(&mut self) {
        let sweep = SWEEP;
        let other = Question::Other;
        let wish = match self.random.below(20) {
            0..4 => Wish::order(other, Pause(sweep), Some),
            4..9 => Wish::order(other, Resume(sweep), Some),
            9..11 => match self.retry(sweep) {
                Some(wish) => wish,
                None => return,
            },
            11 => {
                let job = JobKey { sweep, job: 1 + self.random.below(9) };
                let how = if self.random.one_in(2) { JobEnd::Stop } else { JobEnd::Cancel };
                Wish::order(other, EndJob { job, how }, Some)
            }
            12..15 => {
                let node = self.random.below(self.nodes.len() as u64) as usize;
                Wish::order(other, Drain(self.nodes[node].identity.name.clone()), |_| None)
            }
            15..17 => Wish::ask(DescribeSweep::new(sweep)),
            17..19 => match self.extension(sweep) {
                Some(wish) => wish,
                None => return,
            },
            _ if self.random.one_in(2) => Wish::order(other, Stop(sweep), Some),
            _ => Wish::order(other, Cancel(sweep), Some),
        };
        // Now and then twice, as by somebody to whom no answer came.
        for _ in 0..1 + self.random.below(2) {
            self.tell_hub(Input::Asked(wish.clone()));
        }
    }

    /// What ended badly is to be tried again; now and then, what was read of it comes late.
    pub(super) fn retry(&mut self, sweep: SweepId) -> Option<Wish> {
        if self.random.one_in(3)
            && let Some(late) = self.late_retry.take()
        {
            return Some(late);
        }
        let seen = self.hub.as_mut()?.see_ends(self.now, sweep)?;
        let command = Retry { sweep, jobs: self.durable.ended_jobs(sweep), all: true, seen };
        let wish = Wish::order(Question::Other, command, |retried| Some(retried.sweep));
        self.late_retry = Some(wish.clone());
        Some(wish)
    }

    /// One more job for the sweep, or another limit, as the service makes it of what a user says.
    pub(super) fn extension(&mut self, sweep: SweepId) -> Option<Wish> {
        let base = self.hub.as_mut()?.define(self.now, sweep)?;
        let definition = if self.random.one_in(3) {
            let limit = self.random.within(1..5);
            base.set(&[format!("execution.max_parallel={limit}")])
        } else {
            base.extended(self.extended.clone())
        };
        let definition = Arc::new(definition.ok()?);
        let command = Extend { sweep, base, definition };
        Some(Wish::order(Question::Other, command, |extended| Some(extended.sweep)))
    }

    pub(super) fn go_wrong(&mut self) -> Result<(), Broken> {
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let link = self.nodes[node].link;
        match self.random.below(15) {
            0 | 1 => self.crash_hub()?,
            2 | 3 => self.crash_node(node),
            4 => self.nodes[node].frozen_until = self.now + self.random.below(5_000),
            5 => self.hub_frozen_until = self.now + self.random.below(4_000),
            6 | 7 => {
                if let Some(link) = link {
                    self.break_link(link);
                }
            }
            8 | 9 => {
                // A partition, one way or both; the streams stay.
                if let Some(link) = link {
                    let until = self.now + self.random.within(100..6_000);
                    let sides = self.random.below(3);
                    if sides != 0 {
                        self.links[link].up.stalled_until = until;
                    }
                    if sides != 1 {
                        self.links[link].down.stalled_until = until;
                    }
                }
            }
            10 => self.change_mind(),
            11 => self.refusals.full_until = self.now + self.random.within(100..4_000),
            12 => self.refusals.next_epoch = true,
            13 => self.refusals.lead_is_lost = true,
            _ => self.slow_disk = !self.slow_disk,
        }
        let pause = self.random.within(100..1_500);
        self.after(pause, WorldEvent::Fault);
        Ok(())
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.refusals = Refusals { epochs: std::mem::take(&mut self.refusals.epochs), ..Refusals::default() };
        self.after(0, WorldEvent::HubStarts);
        (0..self.nodes.len()).for_each(|node| self.after(0, WorldEvent::NodeStarts(node)));
    }
}
