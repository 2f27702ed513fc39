//! The user, who changes their mind, and the faults.

use super::*;

impl World {
    pub(super) fn ask(&mut self) {
        if !self.submitted {
            let input = Input::Submit {
                definition: Box::new(self.definition.clone()),
                request_id: REQUEST_ID.to_owned(),
            };
            for _ in 0..1 + self.random.below(2) {
                self.tell_hub(input.clone(), Some(Question::Submit));
            }
        }
        // A sweep that was paused goes on some day.
        let open = self.durable.open_sweeps().next();
        if let Some((sweep, _)) = open.filter(|_| self.calm) {
            self.tell_hub(Input::Resume(sweep), Some(Question::Other));
        }
        self.after(ASK_AGAIN_MS, Happening::Ask);
    }

    pub(super) fn change_mind(&mut self) {
        let sweep = SWEEP;
        let input = match self.random.below(20) {
            0..4 => Input::Pause(sweep),
            4..9 => Input::Resume(sweep),
            9..11 => match self.retry(sweep) {
                Some(input) => input,
                None => return,
            },
            11 => {
                let job = JobKey { sweep, job: 1 + self.random.below(9) };
                let how = if self.random.one_in(2) { JobEnd::Stop } else { JobEnd::Cancel };
                Input::EndJob { job, how }
            }
            12..15 => {
                let node = self.random.below(self.nodes.len() as u64) as usize;
                Input::Drain(self.nodes[node].identity.name.clone())
            }
            15..17 => Input::DescribeSweep(sweep),
            17..19 => match self.extension(sweep) {
                Some(input) => input,
                None => return,
            },
            _ if self.random.one_in(2) => Input::Stop(sweep),
            _ => Input::Cancel(sweep),
        };
        // Now and then twice, as by somebody to whom no answer came.
        for _ in 0..1 + self.random.below(2) {
            self.tell_hub(input.clone(), Some(Question::Other));
        }
    }

    /// What ended badly is to be tried again; now and then, what was read of it comes late.
    pub(super) fn retry(&mut self, sweep: SweepId) -> Option<Input> {
        if self.random.one_in(3)
            && let Some(late) = self.late_retry.take()
        {
            return Some(late);
        }
        let seen = self.hub.as_mut()?.see_ends(self.now, sweep)?;
        let input = Input::Retry { sweep, jobs: self.durable.ended_jobs(sweep), all: true, seen };
        self.late_retry = Some(input.clone());
        Some(input)
    }

    /// One more job for the sweep, or another limit, as the service makes it of what a user says.
    pub(super) fn extension(&mut self, sweep: SweepId) -> Option<Input> {
        let base = self.hub.as_mut()?.define(self.now, sweep)?;
        let definition = if self.random.one_in(3) {
            let limit = self.random.within(1..5);
            base.set(&[format!("execution.max_parallel={limit}")])
        } else {
            base.extended(self.extended.clone())
        };
        let definition = Arc::new(definition.ok()?);
        Some(Input::Extend { sweep, base, definition })
    }

    pub(super) fn go_wrong(&mut self) {
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let link = self.nodes[node].link;
        match self.random.below(12) {
            0 | 1 => self.crash_hub(),
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
            _ => self.slow_disk = !self.slow_disk,
        }
        let pause = self.random.within(100..1_500);
        self.after(pause, Happening::Fault);
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.after(0, Happening::HubStarts);
        (0..self.nodes.len()).for_each(|node| self.after(0, Happening::NodeStarts(node)));
    }
}
