//! The user, who changes their mind.

use super::*;

impl World {
    pub(super) fn ask(&mut self) {
        if !self.submitted {
            let command = Submit::new(Box::new(self.definition.clone()), REQUEST_ID.to_owned())
                .expect("its space can be searched");
            let wish = Wish::order(Question::Submit, command, |submitted| Some(submitted.sweep));
            for _ in 0..1 + self.random.below(2) {
                self.tell_a_leader(wish.clone());
            }
        }
        // Someone follows it, at each that believes to lead.
        for index in 0..self.coordinators.len() {
            self.tell_hub(index, Input::Asked(Wish::ask(DescribeSweep::new(SWEEP))));
        }
        self.search();
        // A sweep that was paused goes on some day.
        let open = self.durable.open_sweeps().next();
        if let Some((sweep, _)) = open.filter(|_| self.calm) {
            self.tell_a_leader(Wish::order(Question::Other, Resume(sweep), Some));
        }
        self.after(ASK_AGAIN_MS, WorldEvent::Ask);
    }

    /// Asks one of those that believe to lead.
    pub(super) fn tell_a_leader(&mut self, wish: Wish) {
        let leaders: Vec<usize> =
            self.coordinators.iter().filter(|one| one.has_hub()).map(|one| one.life.of).collect();
        if leaders.is_empty() {
            return;
        }
        let index = leaders[self.random.below(leaders.len() as u64) as usize];
        self.tell_hub(index, Input::Asked(wish));
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
            17 => return self.extend(),
            18 => match self.extension(sweep) {
                Some(wish) => wish,
                None => return,
            },
            _ if self.random.one_in(2) => Wish::order(other, Stop(sweep), Some),
            _ => Wish::order(other, Cancel(sweep), Some),
        };
        if self.trace {
            eprintln!("{:>7} ms  asked: {wish:?}", self.now);
        }
        // Now and then twice, as by someone who got no answer.
        for _ in 0..1 + self.random.below(2) {
            self.tell_a_leader(wish.clone());
        }
    }

    /// What ended badly is to be tried again; now and then, what was read of it comes late.
    fn retry(&mut self, sweep: SweepId) -> Option<Wish> {
        if self.random.one_in(3)
            && let Some(late) = self.late_retry.take()
        {
            return Some(late);
        }
        let seen =
            self.coordinators.iter_mut().find_map(|one| one.hub(self.now)?.see_ends(self.now, sweep))?;
        let revived = self.revived(sweep);
        let command = Retry { sweep, jobs: self.durable.ended_jobs(sweep), all: true, seen, revived };
        let wish = Wish::order(Question::Other, command, |retried| Some(retried.sweep));
        self.late_retry = Some(wish.clone());
        Some(wish)
    }

    /// The searcher of the sweep as the store has it, for one that has ended and goes on.
    fn revived(&self, sweep: SweepId) -> Revived {
        self.durable.revived(sweep).expect("what is stored can be searched")
    }

    /// The user wants more jobs. What the service makes of it takes time, in which the sweep may end.
    pub(super) fn extend(&mut self) {
        self.late_extension = self.extension(SWEEP);
        let takes = self.random.below(4_000);
        self.asks_until = self.now + takes + ASK_AGAIN_MS;
        self.after(takes, WorldEvent::ExtensionArrives);
    }

    pub(super) fn bring_extension(&mut self) {
        if let Some(extension) = self.late_extension.take() {
            self.tell_a_leader(extension);
        }
    }

    /// Some jobs more for the sweep, or another limit, as the service makes it of what a user says.
    fn extension(&mut self, sweep: SweepId) -> Option<Wish> {
        let base = self.coordinators.iter_mut().find_map(|one| one.hub(self.now)?.define(self.now, sweep))?;
        let definition = if self.random.one_in(3) {
            let has_gpus = base.specification.resources.gpus.is_some();
            let setting = if has_gpus { "resources.gpus" } else { "execution.max_parallel" };
            let number = self.random.within(1..if has_gpus { 3 } else { 5 });
            base.set(&[format!("{setting}={number}")])
        } else {
            base.extended(self.extended.clone())
        };
        let definition = Arc::new(definition.ok()?);
        let revived = self.revived(sweep);
        let command = Extend { sweep, base, definition, revived };
        Some(Wish::order(Question::Other, command, |extended| Some(extended.sweep)))
    }
}
