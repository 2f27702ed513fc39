//! The world: one clock, one queue of what happens next, and everything that can go wrong, all from one seed.
//!
//! Until `CALM_AT`, processes crash and freeze, workers lose their spools, streams break, stall and deliver late, the disk is
//! slow, trainers die, and users change their minds. Then nothing bad happens any more, and everything must come to its end.

mod streams;
mod wishes;
mod workers;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use coordinator::{
    driver::{Delivery, Released},
    rpc::convert,
};
use domain::{definition::SweepDefinition, specification::Specification};
use engine::{
    Event, JobEnd, Observation,
    command::{Cancel, Drain, EndJob, Extend, Pause, Resume, Retry, Stop, Submit},
    query::DescribeSweep,
};
use proto::v1;
use terms::{AttemptKey, JobKey, SweepId};
use tests::Random;
use trainer_protocol::TrainerOutcome;
use worker::agent::{
    session::types::{EventKind, Input as Heard, Output, TrainerEvent, Work},
    wire,
};

use super::{
    durable::Durable,
    hub::{Answered, Heard as HubHeard, Hub, Question, Wish},
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
enum WorldEvent {
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
    events: Vec<WorldEvent>,
    definition: SweepDefinition,
    extended: Specification,
    hub: Option<Hub>,
    hub_life: u32,
    /// A retry that was asked for, to come once more later.
    late_retry: Option<Wish>,
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
            events: Vec::new(),
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
        self.after(0, WorldEvent::HubStarts);
        for node in 0..self.nodes.len() {
            let delay = self.random.below(1_000);
            self.after(delay, WorldEvent::NodeStarts(node));
        }
        self.after(0, WorldEvent::Ask);
        let first = self.random.below(1_000);
        self.after(first, WorldEvent::Fault);
        self.after(CALM_AT, WorldEvent::Calm);
        let mut happened = 0;
        while let Some(Reverse((time, _, index))) = self.queue.pop() {
            self.now = time;
            happened += 1;
            let event = self.events[index];
            if self.trace {
                eprintln!("{time:>7} ms  {event:?}");
            }
            self.happen(event)?;
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

    fn after(&mut self, delay: u64, event: WorldEvent) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, time: u64, event: WorldEvent) {
        let index = self.events.len();
        self.events.push(event);
        self.queue.push(Reverse((time.max(self.now), index as u64, index)));
    }

    fn happen(&mut self, event: WorldEvent) -> Result<(), Broken> {
        match event {
            WorldEvent::Tick(life) if life == self.hub_life => {
                self.after(TICK_MS, event);
                match &mut self.hub {
                    Some(hub) if hub.committing.is_some() => hub.tick_is_due = true,
                    _ => self.tell_hub(HubHeard::Event(Event::Tick)),
                }
            }
            WorldEvent::Turn(life) if life == self.hub_life => self.take_turn()?,
            WorldEvent::Committed(life) if life == self.hub_life => self.end_commit()?,
            WorldEvent::HubStarts => self.start_hub()?,
            WorldEvent::NodeStarts(node) => self.start_node(node),
            WorldEvent::Dial { node, life } if life == self.nodes[node].life => self.dial(node),
            WorldEvent::Wake { node, life } if life == self.nodes[node].life => {
                self.nodes[node].wakes_at = None;
                self.tell_node(node, Heard::Tick);
            }
            WorldEvent::Up(link) => self.arrive_up(link),
            WorldEvent::Down(link) => self.arrive_down(link)?,
            WorldEvent::Trainer { node, slot, turn, step } => self.train(node, slot, turn, step),
            WorldEvent::Fault if !self.calm => self.go_wrong(),
            WorldEvent::Ask => self.ask(),
            WorldEvent::Calm => self.calm_down(),
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
            self.after(TICK_MS, WorldEvent::Tick(self.hub_life));
        }
        Ok(())
    }

    fn tell_hub(&mut self, heard: HubHeard) {
        let Some(hub) = &mut self.hub else { return };
        hub.inbox.push(heard);
        if !std::mem::replace(&mut hub.turn_is_due, true) {
            let time = (self.now + self.random.below(3)).max(self.hub_frozen_until);
            self.at(time, WorldEvent::Turn(self.hub_life));
        }
    }

    fn take_turn(&mut self) -> Result<(), Broken> {
        if self.hub_frozen_until > self.now {
            self.at(self.hub_frozen_until, WorldEvent::Turn(self.hub_life));
            return Ok(());
        }
        let Some(hub) = &mut self.hub else { return Ok(()) };
        hub.turn_is_due = false;
        self.history_length = self.durable.history_length(SWEEP);
        hub.take_turn(self.now)?;
        if let Some(early) = hub.next.early() {
            self.release(early)?;
        }
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
        self.after(takes, WorldEvent::Committed(self.hub_life));
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
            hub.hear(self.now, vec![HubHeard::Event(Event::Tick)])?;
        }
        self.begin_commit()
    }

    fn release(&mut self, released: Released<Answered>) -> Result<(), Broken> {
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
    fn answer(&mut self, answered: &Answered) -> Result<(), Broken> {
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
        self.after(pause, WorldEvent::HubStarts);
    }
}
