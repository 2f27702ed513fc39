//! The streams between workers and coordinator.

use super::*;

impl World {
    pub(super) fn dial(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.session.is_none() || node.link.is_some() {
            return;
        }
        if node.frozen_until > self.now {
            let (time, life) = (node.frozen_until, node.life);
            return self.at(time, WorldEvent::Dial { node: index, life });
        }
        // One after the other: one that stands by says so at once.
        let tried = node.tries % self.coordinators.len();
        let coordinator = &mut self.coordinators[tried];
        node.tries += 1;
        if coordinator.hub(self.now).is_none() {
            let pause = self.random.within(100..600);
            return self.after(pause, WorldEvent::Dial { node: index, life: self.nodes[index].life });
        }
        node.link = Some(self.links.len());
        self.links.push(Link {
            worker: index,
            worker_life: node.life,
            coordinator: coordinator.life,
            session: None,
            up: Default::default(),
            down: Default::default(),
        });
        self.tell_node(index, Heard::Connected);
    }

    pub(super) fn delay(&mut self) -> u64 {
        if !self.calm && self.random.one_in(20) { self.random.below(800) } else { self.random.below(15) }
    }

    pub(super) fn send_up(&mut self, link: usize, message: Option<v1::WorkerMessage>) {
        let arrival = self.now + self.delay();
        if let Some(arrival) = self.links[link].up.send(arrival, message) {
            self.at(arrival, WorldEvent::Up(link));
        }
    }

    pub(super) fn send_down(&mut self, link: usize, message: Option<v1::CoordinatorMessage>) {
        let arrival = self.now + self.delay();
        if let Some(arrival) = self.links[link].down.send(arrival, message) {
            self.at(arrival, WorldEvent::Down(link));
        }
    }

    /// Both directions lose what is on the way, from some point on; each side learns of it in its own time.
    pub(super) fn break_link(&mut self, index: usize) {
        let link = &mut self.links[index];
        let cut = |length: usize, random: &mut Random| random.below(length as u64 + 1) as usize;
        let (kept_up, kept_down) = (
            cut(link.up.on_the_way.len(), &mut self.random),
            cut(link.down.on_the_way.len(), &mut self.random),
        );
        let late = if self.random.one_in(4) { 6_000 } else { 100 };
        let (up_at, down_at) = (self.now + self.random.below(late), self.now + self.random.below(500));
        if let Some(arrival) = link.up.cut(kept_up, up_at) {
            self.at(arrival, WorldEvent::Up(index));
        }
        if let Some(arrival) = self.links[index].down.cut(kept_down, down_at) {
            self.at(arrival, WorldEvent::Down(index));
        }
    }

    pub(super) fn arrive_up(&mut self, index: usize) {
        let link = &mut self.links[index];
        let due = link.up.on_the_way.front().is_some_and(|(arrival, _)| *arrival <= self.now);
        let Some((_, message)) = due.then(|| link.up.on_the_way.pop_front()).flatten() else { return };
        let coordinator = &mut self.coordinators[link.coordinator.of];
        let is_current = coordinator.life == link.coordinator;
        let Some(hub) = coordinator.hub(self.now).filter(|_| is_current) else { return };
        let input = match (link.session, message) {
            (Some(session), None) => {
                hub.links.remove(&session);
                Input::Events(vec![Event::SessionClosed(session)])
            }
            (None, None) => return,
            (Some(session), Some(message)) => match convert::event(session, usize::MAX, message) {
                Ok(event) => Input::Events(vec![event]),
                Err(_) => return self.break_link(index),
            },
            (None, Some(message)) => {
                let Some(v1::worker_message::Message::Hello(hello)) = message.message else {
                    return self.break_link(index);
                };
                let Ok(hello) = convert::hello(hello) else { return self.break_link(index) };
                let session = hub.open(index);
                link.session = Some(session);
                Input::Opened(session, Box::new(hello))
            }
        };
        let coordinator = link.coordinator.of;
        self.tell_hub(coordinator, input);
    }

    pub(super) fn arrive_down(&mut self, index: usize) -> Result<(), Broken> {
        let link = &mut self.links[index];
        let node = link.worker;
        if link.worker_life != self.nodes[node].life || self.nodes[node].session.is_none() {
            link.down.on_the_way.clear();
            return Ok(());
        }
        let frozen_until = self.nodes[node].frozen_until;
        if frozen_until > self.now {
            self.at(frozen_until, WorldEvent::Down(index));
            return Ok(());
        }
        let due = link.down.on_the_way.front().is_some_and(|(arrival, _)| *arrival <= self.now);
        let Some((_, message)) = due.then(|| link.down.on_the_way.pop_front()).flatten() else {
            return Ok(());
        };
        if self.nodes[node].link != Some(index) {
            return Ok(());
        }
        match message {
            None => self.lose_link(node),
            Some(message) => {
                if let Some(v1::coordinator_message::Message::Grant(grant)) = &message.message {
                    self.check_given(node, grant)?;
                }
                let message = wire::decode(message).map_err(|error| error.to_string())?;
                self.tell_node(node, Heard::Message(message));
            }
        }
        Ok(())
    }

    /// No attempt is in two hands, and all attempts of a job have its parameters.
    pub(super) fn check_given(&mut self, node: usize, grant: &v1::Grant) -> Result<(), Broken> {
        for job in &grant.jobs {
            let attempt = proto::attempt_from_wire(job.attempt).map_err(|error| error.to_string())?;
            if let Some(other) = self.given.insert(attempt, node)
                && other != node
            {
                return Err(format!("{attempt} was given to two workers"));
            }
            let first = self.parameters.entry(attempt.job.job).or_insert_with(|| job.parameters.clone());
            if *first != job.parameters {
                return Err(format!("{attempt} has other parameters than its job had before"));
            }
        }
        Ok(())
    }

    pub(super) fn lose_link(&mut self, node: usize) {
        self.nodes[node].link = None;
        self.tell_node(node, Heard::Disconnected);
        let pause = self.random.within(50..600);
        self.after(pause, WorldEvent::Dial { node, life: self.nodes[node].life });
    }
}
