//! The world: one clock, one queue of what happens next, and everything that can go wrong, all from one seed.
//!
//! Until `CALM_AT`, processes crash and freeze, workers lose their spools, streams break, stall and deliver late, the disk is
//! slow, trainers die, and users change their minds. Then nothing bad happens any more, and everything must come to its end.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use coordinator::{
    core::{
        definition::SweepDefinition,
        engine::{Input, JobEnd, Observation, Reply},
        specification::Specification,
    },
    driver::{Delivery, Released},
    rpc::convert,
};
use proto::{AttemptKey, JobKey, SweepId, v1};
use tests::Random;
use worker::{
    agent::{
        session::types::{EventKind, Input as Heard, Output, TrainerEvent, Work},
        wire,
    },
    protocol::TrainerOutcome,
};

use super::{
    durable::Durable,
    hub::{Hub, Question},
    link::Link,
    node::{Checkpoints, Member, Node, Step},
};

/// Epochs of each job.
pub(super) const EPOCHS: u32 = 2;
/// Machines, the last of which shares its name with the first and is not always there.
const NODES: usize = 3;
/// When faults stop, in milliseconds.
const CALM_AT: u64 = 7_000;
/// How long everything may take to come to its end afterwards.
const END_WITHIN: u64 = 120_000;
/// How often the driver looks at the leases.
const TICK_MS: u64 = 500;
/// The user asks again when no answer came.
const ASK_AGAIN_MS: u64 = 1_500;
const REQUEST_ID: &str = "request";
/// The only sweep.
const SWEEP: SweepId = SweepId(1);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Happening {
    /// Time goes by for the coordinator of this life.
    Tick(u32),
    /// Its driver takes what waits.
    Turn(u32),
    /// Its commit is on the disk.
    Committed(u32),
    HubStarts,
    NodeStarts(usize),
    Dial {
        node: usize,
        life: u32,
    },
    Wake {
        node: usize,
        life: u32,
    },
    /// The first message of a stream's direction arrives.
    Up(usize),
    Down(usize),
    Trainer {
        node: usize,
        slot: usize,
        turn: u64,
        step: Step,
    },
    Fault,
    Ask,
    Calm,
}

/// The world of one seed.
pub(super) struct World {
    random: Random,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    happenings: Vec<Happening>,
    definition: SweepDefinition,
    extended: Specification,
    hub: Option<Hub>,
    hub_life: u32,
    /// A retry that was asked for, to come once more later.
    late_retry: Option<Input>,
    hub_frozen_until: u64,
    nodes: Vec<Node>,
    links: Vec<Link>,
    durable: Durable,
    checkpoints: Checkpoints,
    /// How much had happened to the sweep when the driver took what it commits now.
    history_length: usize,
    /// Who was given each attempt.
    given: BTreeMap<AttemptKey, usize>,
    submitted: bool,
    calm: bool,
    slow_disk: bool,
    trace: bool,
}

/// What broke which rule.
pub(super) type Broken = String;

impl World {
    /// The world of a seed. Its user wants the first of the sweeps, and later perhaps the points of the second.
    pub(super) fn new(seed: u64, specifications: &[Specification; 2], trace: bool) -> Self {
        let mut random = Random(seed);
        let nodes = if random.one_in(3) { NODES } else { NODES - 1 };
        let mut node = |number| {
            Node::new(number, number % (NODES - 1), 1 + random.below(2) as u32, 1 + random.below(4) as u32)
        };
        let nodes = (0..nodes).map(&mut node).collect();
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            definition: SweepDefinition::new(SweepId(0), specifications[0].clone()).expect("it has a grid"),
            extended: specifications[1].clone(),
            hub: None,
            hub_life: 0,
            late_retry: None,
            hub_frozen_until: 0,
            nodes,
            links: Vec::new(),
            durable: Durable::default(),
            checkpoints: Checkpoints::new(),
            history_length: 0,
            given: BTreeMap::new(),
            submitted: false,
            calm: false,
            slow_disk: random.one_in(3),
            random,
            trace,
        }
    }

    /// Lives to the end; how many things happened.
    pub(super) fn live(mut self) -> Result<u64, Broken> {
        self.after(0, Happening::HubStarts);
        for node in 0..self.nodes.len() {
            let delay = self.random.below(1_000);
            self.after(delay, Happening::NodeStarts(node));
        }
        self.after(0, Happening::Ask);
        let first = self.random.below(1_000);
        self.after(first, Happening::Fault);
        self.after(CALM_AT, Happening::Calm);
        let mut happened = 0;
        while let Some(Reverse((time, _, index))) = self.queue.pop() {
            self.now = time;
            happened += 1;
            let happening = self.happenings[index];
            if self.trace {
                eprintln!("{time:>7} ms  {happening:?}");
            }
            self.happen(happening)?;
            if self.calm && self.submitted && self.durable.open_sweeps().next().is_none() {
                self.durable.check_results(EPOCHS)?;
                return if self.durable.sweep_count() == 1 {
                    Ok(happened)
                } else {
                    Err("one request made several sweeps".into())
                };
            }
            if self.now > CALM_AT + END_WITHIN {
                break;
            }
        }
        self.durable.check_results(EPOCHS)?;
        Err("the sweep was never submitted".into())
    }

    fn after(&mut self, delay: u64, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn at(&mut self, time: u64, happening: Happening) {
        let index = self.happenings.len();
        self.happenings.push(happening);
        self.queue.push(Reverse((time.max(self.now), index as u64, index)));
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Tick(life) if life == self.hub_life => {
                self.after(TICK_MS, happening);
                match &mut self.hub {
                    Some(hub) if hub.committing.is_some() => hub.tick_is_due = true,
                    _ => self.tell_hub(Input::Tick, None),
                }
            }
            Happening::Turn(life) if life == self.hub_life => self.take_turn()?,
            Happening::Committed(life) if life == self.hub_life => self.end_commit()?,
            Happening::HubStarts => self.start_hub()?,
            Happening::NodeStarts(node) => self.start_node(node),
            Happening::Dial { node, life } if life == self.nodes[node].life => self.dial(node),
            Happening::Wake { node, life } if life == self.nodes[node].life => {
                self.nodes[node].wakes_at = None;
                self.tell_node(node, Heard::Tick);
            }
            Happening::Up(link) => self.arrive_up(link),
            Happening::Down(link) => self.arrive_down(link)?,
            Happening::Trainer { node, slot, turn, step } => self.train(node, slot, turn, step),
            Happening::Fault if !self.calm => self.go_wrong(),
            Happening::Ask => self.ask(),
            Happening::Calm => self.calm_down(),
            // Of a life that is over.
            _ => {}
        }
        Ok(())
    }

    // The coordinator.

    fn start_hub(&mut self) -> Result<(), Broken> {
        if self.hub.is_none() {
            self.hub_life += 1;
            self.hub = Some(Hub::start(self.now, &self.durable)?);
            self.after(TICK_MS, Happening::Tick(self.hub_life));
        }
        Ok(())
    }

    fn tell_hub(&mut self, input: Input, question: Option<Question>) {
        let Some(hub) = &mut self.hub else { return };
        hub.inbox.push((input, question));
        if !std::mem::replace(&mut hub.turn_is_due, true) {
            let time = (self.now + self.random.below(3)).max(self.hub_frozen_until);
            self.at(time, Happening::Turn(self.hub_life));
        }
    }

    fn take_turn(&mut self) -> Result<(), Broken> {
        if self.hub_frozen_until > self.now {
            self.at(self.hub_frozen_until, Happening::Turn(self.hub_life));
            return Ok(());
        }
        let Some(hub) = &mut self.hub else { return Ok(()) };
        hub.turn_is_due = false;
        self.history_length = self.durable.history_length(SWEEP);
        hub.take_turn(self.now)?;
        let early = hub.next.early();
        self.release(early)?;
        self.begin_commit()
    }

    /// Sends what was applied on its way to the disk when no commit runs, as the driver does.
    fn begin_commit(&mut self) -> Result<(), Broken> {
        loop {
            let Some(hub) = self.hub.as_mut().filter(|hub| hub.committing.is_none()) else { return Ok(()) };
            if hub.next.inputs() == 0 {
                return Ok(());
            }
            let batch = std::mem::take(&mut hub.next);
            if !batch.records().is_empty() {
                hub.committing = Some(batch);
                break;
            }
            self.release(batch.committed())?;
        }
        let is_slow = self.slow_disk && !self.calm;
        let takes = match is_slow && self.random.one_in(6) {
            // Longer than a lease.
            true => self.random.within(2_000..6_000),
            false => self.random.below(if is_slow { 1_000 } else { 10 }),
        };
        self.after(takes, Happening::Committed(self.hub_life));
        Ok(())
    }

    fn end_commit(&mut self) -> Result<(), Broken> {
        let Some(hub) = &mut self.hub else { return Ok(()) };
        let Some(batch) = hub.committing.take() else { return Ok(()) };
        for record in batch.records() {
            self.durable.keep(record)?;
        }
        self.release(batch.committed())?;
        if let Some(hub) = &mut self.hub
            && std::mem::take(&mut hub.tick_is_due)
        {
            hub.hear(self.now, vec![(Input::Tick, None)])?;
        }
        self.begin_commit()
    }

    fn release(&mut self, released: Released<Question>) -> Result<(), Broken> {
        for delivery in released.deliveries {
            match delivery {
                Delivery::Messages(session, messages) => {
                    let Some(link) = self.hub.as_ref().and_then(|hub| hub.links.get(&session)).copied()
                    else {
                        continue;
                    };
                    for message in messages {
                        self.check_told(link, &message)?;
                        self.send_down(link, Some(message));
                    }
                }
                Delivery::RemoveWeights(_) => {}
                Delivery::Close(session, _) => {
                    let Some(hub) = &mut self.hub else { continue };
                    hub.close(session);
                    if let Some(link) = hub.links.remove(&session) {
                        self.send_down(link, None);
                    }
                }
            }
        }
        if let Some((hub, told)) = self.hub.as_mut().zip(released.told) {
            hub.told(self.now, told)?;
        }
        for (_, observation) in released.observed {
            if let Observation::Epoch { attempt, metrics, .. } = observation
                && !self.durable.has_epoch(attempt, metrics.epoch)
            {
                return Err(format!(
                    "a watcher was told of epoch {} of {attempt}, which is not durable",
                    metrics.epoch
                ));
            }
        }
        for (question, reply) in released.replies {
            self.answer(question, &reply)?;
        }
        Ok(())
    }

    /// What a user is told is durable.
    fn answer(&mut self, question: Question, reply: &Reply) -> Result<(), Broken> {
        let (Reply::Submitted(sweep, _)
        | Reply::Extended(sweep, _)
        | Reply::Retried(sweep, _)
        | Reply::Sweep(sweep)) = reply
        else {
            return Ok(());
        };
        if !self.durable.was_as_told(self.history_length, sweep) {
            let (state, jobs) = (sweep.state(), sweep.job_count);
            return Err(format!(
                "a user was told of a sweep that is {state:?} with {jobs} jobs, which is not durable"
            ));
        }
        self.submitted |= question == Question::Submit;
        Ok(())
    }

    /// What is told to a worker is durable.
    fn check_told(&self, link: usize, message: &v1::CoordinatorMessage) -> Result<(), Broken> {
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
                        (EventKind::Epoch(metrics), _) => self.durable.has_epoch(attempt, metrics.epoch),
                        (EventKind::Ended(_), Some(false)) => false,
                    };
                    if !kept {
                        return Err(format!("{event:?} was acknowledged and is not durable"));
                    }
                }
            }
            Some(Message::Grant(grant)) => {
                for job in &grant.jobs {
                    let attempt = AttemptKey::try_from(job.attempt).map_err(|error| error.to_string())?;
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

    fn crash_hub(&mut self) {
        let Some(mut hub) = self.hub.take() else { return };
        self.hub_life += 1;
        self.hub_frozen_until = 0;
        if let Some(batch) = hub.committing.take()
            && self.random.one_in(2)
        {
            // The disk had it when the process died; nobody was told.
            for record in batch.records() {
                self.durable.keep(record).expect("the rules are checked where commits end");
            }
        }
        for index in 0..self.links.len() {
            if self.links[index].coordinator_life + 1 == self.hub_life {
                self.break_link(index);
            }
        }
        let pause = self.random.within(10..3_000);
        self.after(pause, Happening::HubStarts);
    }

    // The streams.

    fn dial(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.session.is_none() || node.link.is_some() {
            return;
        }
        if node.frozen_until > self.now {
            let (time, life) = (node.frozen_until, node.life);
            return self.at(time, Happening::Dial { node: index, life });
        }
        if self.hub.is_none() {
            let pause = self.random.within(100..600);
            return self.after(pause, Happening::Dial { node: index, life: self.nodes[index].life });
        }
        node.link = Some(self.links.len());
        self.links.push(Link {
            worker: index,
            worker_life: node.life,
            coordinator_life: self.hub_life,
            session: None,
            up: Default::default(),
            down: Default::default(),
        });
        self.tell_node(index, Heard::Connected);
    }

    fn delay(&mut self) -> u64 {
        if !self.calm && self.random.one_in(20) { self.random.below(800) } else { self.random.below(15) }
    }

    fn send_up(&mut self, link: usize, message: Option<v1::WorkerMessage>) {
        let arrival = self.now + self.delay();
        if let Some(arrival) = self.links[link].up.send(arrival, message) {
            self.at(arrival, Happening::Up(link));
        }
    }

    fn send_down(&mut self, link: usize, message: Option<v1::CoordinatorMessage>) {
        let arrival = self.now + self.delay();
        if let Some(arrival) = self.links[link].down.send(arrival, message) {
            self.at(arrival, Happening::Down(link));
        }
    }

    /// Both directions lose what is on the way, from some point on; each side learns of it in its own time.
    fn break_link(&mut self, index: usize) {
        let link = &mut self.links[index];
        let cut = |length: usize, random: &mut Random| random.below(length as u64 + 1) as usize;
        let (kept_up, kept_down) = (
            cut(link.up.on_the_way.len(), &mut self.random),
            cut(link.down.on_the_way.len(), &mut self.random),
        );
        let late = if self.random.one_in(4) { 6_000 } else { 100 };
        let (up_at, down_at) = (self.now + self.random.below(late), self.now + self.random.below(500));
        if let Some(arrival) = link.up.cut(kept_up, up_at) {
            self.at(arrival, Happening::Up(index));
        }
        if let Some(arrival) = self.links[index].down.cut(kept_down, down_at) {
            self.at(arrival, Happening::Down(index));
        }
    }

    fn arrive_up(&mut self, index: usize) {
        let link = &mut self.links[index];
        let due = link.up.on_the_way.front().is_some_and(|(arrival, _)| *arrival <= self.now);
        let Some((_, message)) = due.then(|| link.up.on_the_way.pop_front()).flatten() else { return };
        if link.coordinator_life != self.hub_life || self.hub.is_none() {
            return;
        }
        let input = match (link.session, message) {
            (Some(session), None) => Input::SessionClosed(session),
            (None, None) => return,
            (Some(session), Some(message)) => match convert::input(session, usize::MAX, message) {
                Ok(input) => input,
                Err(_) => return self.break_link(index),
            },
            (None, Some(message)) => {
                let Some(v1::worker_message::Message::Hello(hello)) = message.message else {
                    return self.break_link(index);
                };
                let Ok(hello) = convert::hello(hello) else { return self.break_link(index) };
                let Some(hub) = &mut self.hub else { return };
                let session = hub.open(index);
                link.session = Some(session);
                Input::SessionOpened { session, hello }
            }
        };
        if let Input::SessionClosed(session) = &input
            && let Some(hub) = &mut self.hub
        {
            hub.links.remove(session);
        }
        self.tell_hub(input, None);
    }

    fn arrive_down(&mut self, index: usize) -> Result<(), Broken> {
        let link = &mut self.links[index];
        let node = link.worker;
        if link.worker_life != self.nodes[node].life || self.nodes[node].session.is_none() {
            link.down.on_the_way.clear();
            return Ok(());
        }
        let frozen_until = self.nodes[node].frozen_until;
        if frozen_until > self.now {
            self.at(frozen_until, Happening::Down(index));
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

    /// No attempt is in two hands.
    fn check_given(&mut self, node: usize, grant: &v1::Grant) -> Result<(), Broken> {
        for job in &grant.jobs {
            let attempt = AttemptKey::try_from(job.attempt).map_err(|error| error.to_string())?;
            if let Some(other) = self.given.insert(attempt, node)
                && other != node
            {
                return Err(format!("{attempt} was given to two workers"));
            }
        }
        Ok(())
    }

    fn lose_link(&mut self, node: usize) {
        self.nodes[node].link = None;
        self.tell_node(node, Heard::Disconnected);
        let pause = self.random.within(50..600);
        self.after(pause, Happening::Dial { node, life: self.nodes[node].life });
    }

    // The workers.

    fn start_node(&mut self, index: usize) {
        if self.nodes[index].session.is_some() {
            return;
        }
        self.nodes[index].start();
        self.after(0, Happening::Dial { node: index, life: self.nodes[index].life });
    }

    fn crash_node(&mut self, index: usize) {
        self.nodes[index].end();
        if !self.calm && self.random.one_in(6) {
            self.nodes[index].lose_disk();
        }
        if let Some(link) = self.nodes[index].link.take() {
            self.break_link(link);
        }
        let pause = self.random.within(10..4_000);
        self.after(pause, Happening::NodeStarts(index));
    }

    fn tell_node(&mut self, index: usize, input: Heard) {
        let node = &mut self.nodes[index];
        // A frozen process hears it when it goes on; what comes by its streams and pipes waits there.
        if node.frozen_until > self.now && input == Heard::Tick {
            let (time, life) = (node.frozen_until, node.life);
            return self.at(time, Happening::Wake { node: index, life });
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
            self.at(time, Happening::Wake { node: index, life });
        }
    }

    fn perform(&mut self, index: usize, output: Output) {
        let node = &mut self.nodes[index];
        match output {
            Output::Append(event) => node.spool.append(event),
            Output::Forget { through } => node.spool.forget(through),
            Output::Send(message) => {
                if let Some(link) = node.link {
                    let message = node.encode(message);
                    self.send_up(link, Some(message));
                }
            }
            Output::StartJobs { slot, jobs, fresh } => {
                let mut member = |(attempt, work): (AttemptKey, Work)| {
                    let saved = self.checkpoints.get(&attempt.job).copied().unwrap_or(0);
                    let again = if self.random.one_in(2) { saved } else { 0 };
                    Member { attempt, epochs: work.epochs.unwrap_or(EPOCHS), again, stops: false }
                };
                let members = jobs.into_iter().map(&mut member).collect();
                let trainer = &mut node.trainers[slot];
                trainer.take(members, fresh);
                if trainer.lives {
                    let steps = if fresh { vec![Step::Ready] } else { trainer.starts() };
                    self.next_steps(index, slot, steps);
                }
            }
            Output::StopJob { slot, attempt, .. } => {
                let trainer = &mut node.trainers[slot];
                // One that hangs is killed in the end.
                if trainer.lives && (self.calm || !self.random.one_in(5)) {
                    for member in trainer.members.iter_mut().filter(|member| member.attempt == attempt) {
                        member.stops = true;
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

    fn next_steps(&mut self, node: usize, slot: usize, steps: Vec<Step>) {
        for step in steps {
            let takes = if self.random.one_in(8) { self.random.below(3_000) } else { self.random.below(400) };
            let turn = self.nodes[node].trainers[slot].turn;
            self.after(takes, Happening::Trainer { node, slot, turn, step });
        }
    }

    fn train(&mut self, index: usize, slot: usize, turn: u64, step: Step) {
        let node = &mut self.nodes[index];
        let trainer = &mut node.trainers[slot];
        if trainer.turn != turn || !trainer.lives || node.session.is_none() {
            return;
        }
        if node.frozen_until > self.now {
            let time = node.frozen_until;
            return self.at(time, Happening::Trainer { node: index, slot, turn, step });
        }
        let crashes = step == Step::Exit || (!self.calm && self.random.one_in(25));
        if crashes {
            let trains_heard = trainer.exit();
            let event = TrainerEvent::Exited {
                reason: "the trainer died".into(),
                log_tail: Vec::new(),
                data_lost: false,
                trains_heard,
            };
            return self.tell_node(index, Heard::Trainer { slot, event });
        }
        if trainer.members.len() > 1 && !self.calm && self.random.one_in(40) {
            return self.run_out_of_memory(index, slot);
        }
        let is_away = matches!(step, Step::Start(_)) && !self.calm && self.random.one_in(12);
        let step = match step {
            Step::Start(attempt) if is_away => Step::End(attempt, TrainerOutcome::Unavailable),
            step => step,
        };
        let (events, next) = trainer.step(step, &mut self.checkpoints);
        for event in events {
            self.tell_node(index, Heard::Trainer { slot, event });
        }
        if self.nodes[index].trainers[slot].turn == turn {
            self.next_steps(index, slot, next);
        }
    }

    /// Every job of a pack ends for want of memory.
    fn run_out_of_memory(&mut self, index: usize, slot: usize) {
        let trainer = &mut self.nodes[index].trainers[slot];
        let turn = trainer.turn;
        for member in trainer.members.clone() {
            let trainer = &mut self.nodes[index].trainers[slot];
            if trainer.turn != turn {
                return;
            }
            let (events, _) =
                trainer.step(Step::End(member.attempt, TrainerOutcome::OutOfMemory), &mut self.checkpoints);
            for event in events {
                self.tell_node(index, Heard::Trainer { slot, event });
            }
        }
    }

    // The user and the faults.

    fn ask(&mut self) {
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

    fn change_mind(&mut self) {
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
    fn retry(&mut self, sweep: SweepId) -> Option<Input> {
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
    fn extension(&mut self, sweep: SweepId) -> Option<Input> {
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

    fn go_wrong(&mut self) {
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

    fn calm_down(&mut self) {
        self.calm = true;
        self.after(0, Happening::HubStarts);
        (0..self.nodes.len()).for_each(|node| self.after(0, Happening::NodeStarts(node)));
    }
}
