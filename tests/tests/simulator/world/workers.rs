//! The workers and their trainers.

use super::*;

impl World {
    pub(super) fn start_node(&mut self, index: usize) {
        if self.nodes[index].session.is_some() {
            return;
        }
        self.nodes[index].start();
        self.after(0, WorldEvent::Dial { node: index, life: self.nodes[index].life });
    }

    pub(super) fn crash_node(&mut self, index: usize) {
        self.nodes[index].end();
        if !self.calm && self.random.one_in(6) {
            self.nodes[index].lose_disk();
        }
        if let Some(link) = self.nodes[index].link.take() {
            self.break_link(link);
        }
        let pause = self.random.within(10..4_000);
        self.after(pause, WorldEvent::NodeStarts(index));
    }

    pub(super) fn tell_node(&mut self, index: usize, input: Heard) {
        let node = &mut self.nodes[index];
        // A frozen process hears it when it goes on; what comes by its streams and pipes waits there.
        if node.frozen_until > self.now && input == Heard::Tick {
            let (time, life) = (node.frozen_until, node.life);
            return self.at(time, WorldEvent::Wake { node: index, life });
        }
        let Some(session) = &mut node.session else { return };
        let outputs = session.apply(Duration::from_millis(self.now), input);
        let wakes_at = session.next_deadline().map(|deadline| deadline.as_millis() as u64);
        for output in outputs {
            self.perform(index, output);
        }
        let node = &mut self.nodes[index];
        if let Some(time) = wakes_at.filter(|time| node.wakes_at.is_none_or(|known| *time < known)) {
            node.wakes_at = Some(time);
            let life = node.life;
            self.at(time, WorldEvent::Wake { node: index, life });
        }
    }

    pub(super) fn perform(&mut self, index: usize, output: Output) {
        let node = &mut self.nodes[index];
        match output {
            Output::Append(event) => {
                self.check_hand_back(index, &event);
                self.nodes[index].spool.append(event);
            }
            Output::Forget { through } => node.spool.forget(through),
            // Its workers keep no files of programs.
            Output::Dropped(_) => {}
            Output::KeepJob { slot, attempt } => {
                // Now and then its disk refuses, or it has no time.
                if node.trainers[slot].lives && !self.random.one_in(4) {
                    self.next_steps(index, slot, vec![Step::Keep(attempt)]);
                }
            }
            Output::HandOver { attempt, .. } => self.hand_over(index, attempt),
            Output::Send(message) => {
                if let Some(link) = node.link {
                    let message = node.encode(message);
                    self.send_up(link, Some(message));
                }
            }
            Output::StartJobs { slot, jobs, fresh } => self.start_jobs(index, slot, jobs, fresh),
            Output::StopJob { slot, attempt, checkpoint } => {
                let trainer = &mut node.trainers[slot];
                // One that hangs is killed in the end.
                if trainer.lives && (self.calm || !self.random.one_in(5)) {
                    for member in trainer.members.iter_mut().filter(|member| member.attempt == attempt) {
                        member.stops = true;
                        if let Some(own) = node.own.as_mut().filter(|_| checkpoint && member.done > 0) {
                            keep(*member, own);
                        }
                    }
                    self.next_steps(index, slot, vec![Step::End(attempt, TrainerOutcome::Stopped)]);
                }
            }
            Output::KillTrainer { slot } => {
                let trainer = &mut node.trainers[slot];
                if trainer.lives {
                    trainer.turn += 1;
                    self.next_steps(index, slot, vec![Step::Exit]);
                }
            }
            Output::CloseSession => {
                if let Some(link) = self.nodes[index].link {
                    self.break_link(link);
                }
            }
            Output::Exit(_) => self.crash_node(index),
        }
    }

    /// Gives jobs to a slot's trainer, each with the checkpoint that it finds.
    fn start_jobs(&mut self, index: usize, slot: usize, jobs: Vec<(AttemptKey, Work)>, fresh: bool) {
        let node = &mut self.nodes[index];
        let also = jobs.first().map(|(_, work)| work.also_slots.clone()).unwrap_or_default();
        let occupied: Vec<usize> = also.iter().copied().chain([slot]).collect();
        if node.runs_in_any(&occupied) {
            let attempt = jobs[0].0;
            self.crowded =
                Some(format!("{attempt} was started in slots {occupied:?}, where another job runs"));
        }
        let brought: Vec<u32> = jobs.iter().map(|(attempt, _)| self.bring(index, *attempt)).collect();
        let mut brought = brought.into_iter();
        let node = &mut self.nodes[index];
        let memory_bytes = node.identity.memory_bytes;
        let mut member = |(attempt, work): (AttemptKey, Work)| {
            let saved = brought.next().unwrap_or(0);
            let again = if self.random.one_in(2) { saved } else { 0 };
            let needs = if self.memory_is_short { attempt.job.job % 5 * GIB } else { 0 };
            let is_too_large = memory_bytes > 0 && needs > memory_bytes;
            let saves = !(self.misses_checkpoints && self.random.one_in(3));
            let epochs = work.epochs.unwrap_or(EPOCHS);
            let until = work.until_epoch;
            Member { attempt, epochs, until, again, done: 0, is_too_large, saves, stops: false }
        };
        let members = jobs.into_iter().map(&mut member).collect();
        let trainer = &mut node.trainers[slot];
        trainer.take(members, fresh);
        trainer.also = also;
        if trainer.lives {
            let steps = if fresh { vec![Step::Ready] } else { trainer.starts() };
            self.next_steps(index, slot, steps);
        }
    }

    pub(super) fn next_steps(&mut self, node: usize, slot: usize, steps: Vec<Step>) {
        for step in steps {
            let takes = if self.random.one_in(8) { self.random.below(3_000) } else { self.random.below(400) };
            let turn = self.nodes[node].trainers[slot].turn;
            self.after(takes, WorldEvent::Trainer { node, slot, turn, step });
        }
    }

    pub(super) fn train(&mut self, index: usize, slot: usize, turn: u64, step: Step) {
        let node = &mut self.nodes[index];
        let trainer = &mut node.trainers[slot];
        if trainer.turn != turn || !trainer.lives || node.session.is_none() {
            return;
        }
        if node.frozen_until > self.now {
            let time = node.frozen_until;
            return self.at(time, WorldEvent::Trainer { node: index, slot, turn, step });
        }
        let is_killed =
            matches!(step, Step::Epoch(..)) && trainer.members.iter().any(|member| member.is_too_large);
        let crashes = step == Step::Exit || (!self.calm && self.random.one_in(25));
        if crashes || is_killed {
            let trains_heard = trainer.exit();
            let event = TrainerEvent::Exited {
                reason: "the trainer died".into(),
                log_tail: Vec::new(),
                data_lost: false,
                trains_heard,
                out_of_memory: is_killed && !crashes,
            };
            return self.tell_node(index, Heard::Trainer { slot, event });
        }
        if trainer.members.len() > 1 && !self.calm && self.random.one_in(40) {
            return self.run_out_of_memory(index, slot);
        }
        let is_away = matches!(step, Step::Start(_)) && !self.calm && self.random.one_in(12);
        let fails = matches!(step, Step::Epoch(..)) && !self.calm && self.random.one_in(40);
        let diverges = matches!(step, Step::Epoch(..)) && !self.calm && self.random.one_in(60);
        let step = match step {
            Step::Epoch(attempt, _) if diverges => Step::End(attempt, TrainerOutcome::Diverged),
            Step::Start(attempt) if is_away => Step::End(attempt, TrainerOutcome::Unavailable),
            Step::Epoch(attempt, _) if fails => Step::End(attempt, TrainerOutcome::Failed),
            step => step,
        };
        let checkpoints = node.own.as_mut().unwrap_or(&mut self.checkpoints);
        let (events, next) = trainer.step(step, checkpoints);
        if let Step::End(attempt, TrainerOutcome::Paused) = step
            && !events.is_empty()
        {
            self.paused.insert(attempt, checkpoints.contains_key(&attempt.job));
        }
        for event in events {
            self.tell_node(index, Heard::Trainer { slot, event });
        }
        if self.nodes[index].trainers[slot].turn == turn {
            self.next_steps(index, slot, next);
        }
    }

    /// Every job of a pack ends because memory ran out.
    pub(super) fn run_out_of_memory(&mut self, index: usize, slot: usize) {
        let trainer = &mut self.nodes[index].trainers[slot];
        let turn = trainer.turn;
        for member in trainer.members.clone() {
            let node = &mut self.nodes[index];
            let trainer = &mut node.trainers[slot];
            if trainer.turn != turn {
                return;
            }
            let checkpoints = node.own.as_mut().unwrap_or(&mut self.checkpoints);
            let (events, _) =
                trainer.step(Step::End(member.attempt, TrainerOutcome::OutOfMemory), checkpoints);
            for event in events {
                self.tell_node(index, Heard::Trainer { slot, event });
            }
        }
    }
}
