//! The world: one clock, one queue of what happens next, and everything that can go wrong, all from one seed.
//!
//! For a while, processes crash, freeze and stop, coordinators are cut off from their store, workers lose their spools, streams
//! break, stall and deliver late, the disk is slow or full or cannot keep an epoch, trainers die, and users change their minds.
//! Then nothing bad happens any more, and everything must come to its end.

mod at_hub;
mod faults;
mod leading;
mod leaving;
pub(super) mod searching;
mod streams;
mod told;
mod wishes;
mod workers;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use coordinator::{
    driver::{Action, Asked, Delivery, Input, Refused, Released},
    rpc::convert,
};
use domain::{definition::SweepDefinition, record::Record, specification::Specification};
use engine::{
    Event, JobEnd, Observation, Revived,
    command::{Cancel, Drain, EndJob, Extend, Pause, Resume, Retry, Stop, Submit},
    query::DescribeSweep,
};
use proto::v1;
use store::{
    StoreError,
    lead::{BEAT_INTERVAL, Beat, Candidate, LOOK_INTERVAL, NextStep, SILENCE_MAX, Tenure, Term},
};
use terms::{AttemptKey, AttemptState, JobKey, SweepId};
use tests::Random;
use trainer_protocol::TrainerOutcome;
use worker::agent::{
    session::types::{EventKind, Input as Heard, Output, TrainerEvent, Work},
    wire,
};

use self::searching::Searcher;
use super::{
    coordinator::{Coordinator, Follower, Leader, Life, Part},
    durable::{Durable, rule},
    hub::{Hub, Question, Wish},
    kinds::Kind,
    link::Link,
    node::{Checkpoints, HandingOver, Member, Node, Step, keep},
    row::Row,
};

/// Epochs of a job whose sweep does not say how many.
pub(super) const EPOCHS: u32 = 2;
/// Machines, the last of which shares its name with the first and is not always there.
const NODES: usize = 3;
/// When faults stop, in milliseconds, where one coordinator has the store, and where several compete for it, which takes longer.
const CALM_AT: u64 = 7_000;
const CALM_AT_SHARED: u64 = 12_000;
/// How long everything may take to come to its end afterwards.
const END_WITHIN: u64 = 120_000;
/// What memory is counted in, in bytes.
const GIB: u64 = 1 << 30;
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
    CoordinatorStarts(usize),
    /// A follower looks at the leader's row.
    Looks(Life),
    /// It has the row.
    Saw(Life),
    /// A leader has the content of the store.
    Loads(Life),
    /// It begins to write its beat.
    Beats(Life),
    BeatArrives {
        life: Life,
        begun: u64,
    },
    BeatEnds {
        life: Life,
        begun: u64,
        beat: Beat,
    },
    /// Time goes by for its driver.
    Tick(Life),
    /// Its driver takes what waits.
    Turn(Life),
    CommitArrives(Life),
    CommitEnds(Life),
    /// A commit arrives that was given up.
    OrphanArrives(usize),
    NodeStarts(usize),
    Dial {
        node: usize,
        life: u32,
    },
    Wake {
        node: usize,
        life: u32,
    },
    /// A checkpoint is at the coordinator.
    HandedOver {
        node: usize,
        life: u32,
        attempt: AttemptKey,
    },
    /// A worker gives up a stream.
    Breaks(usize),
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
    /// The user wants more jobs.
    Extends,
    ExtensionArrives,
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
    coordinators: Vec<Coordinator>,
    row: Row,
    /// The term of the last commit that was kept, and whose it was.
    last_commit: Option<(Term, Life)>,
    /// Commits on their way that were given up.
    orphans: Vec<(Life, Term, Vec<Record>)>,
    /// A retry that was asked for, to come once more later.
    late_retry: Option<Wish>,
    /// An extension that was made, to come later.
    late_extension: Option<Wish>,
    /// Until then it may be on its way.
    asks_until: u64,
    /// The searcher outside, where the sweep has one.
    searcher: Searcher,
    nodes: Vec<Node>,
    links: Vec<Link>,
    durable: Durable,
    checkpoints: Checkpoints,
    /// The checkpoint that the coordinator has of each job, and the attempt that handed it over.
    handed_over: BTreeMap<JobKey, (AttemptKey, u32)>,
    /// Whether some jobs need more memory than some workers have.
    memory_is_short: bool,
    /// Whether programs now and then keep no checkpoint.
    misses_checkpoints: bool,
    /// Attempts whose trainers paused, which they do only where they were granted up to there; and whether each left a checkpoint.
    paused: BTreeMap<AttemptKey, bool>,
    /// Who was given each attempt.
    given: BTreeMap<AttemptKey, usize>,
    /// The parameters that each job had first.
    parameters: BTreeMap<u64, Vec<v1::Parameter>>,
    submitted: bool,
    calm: bool,
    slow_disk: bool,
    refusals: Refusals,
    /// Jobs that would have run on one GPU.
    crowded: Option<Broken>,
    trace: bool,
}

/// What the disk refuses.
#[derive(Debug, Default)]
struct Refusals {
    /// Until then it is full.
    full_until: u64,
    /// The next epoch that is to be kept cannot be, now or later.
    next_epoch: bool,
    /// Epochs that cannot be kept.
    epochs: BTreeSet<(AttemptKey, u32)>,
    /// Another coordinator led meanwhile.
    lead_is_lost: bool,
}

/// A kind of sweep, each as often as its weight has it.
fn some_kind<'a>(random: &mut Random, kinds: &'a [Kind]) -> &'a Kind {
    let mut place = random.below(kinds.iter().map(|kind| kind.weight).sum());
    let is_it = |kind: &&Kind| {
        let is_it = place < kind.weight;
        place = place.saturating_sub(kind.weight);
        is_it
    };
    kinds.iter().find(is_it).unwrap_or(&kinds[0])
}

/// What broke which rule.
pub(super) type Broken = String;

impl World {
    /// The world of a seed. Its user wants the first of two sweeps of one kind, and later perhaps the points of the second.
    pub(super) fn new(seed: u64, kinds: &[Kind], trace: bool) -> Self {
        let mut random = Random(seed);
        let specifications = &some_kind(&mut random, kinds).sweeps;
        let has_gpus = specifications[0].resources.gpus.is_some();
        let coordinators = if random.one_in(2) { 1 } else { random.within(2..4) as usize };
        let nodes = if random.one_in(3) { NODES } else { NODES - 1 };
        let (memory_is_short, hands_over) = (random.one_in(3), !random.one_in(3));
        // One for each name.
        let memory: Vec<u64> =
            (1..NODES).map(|_| if memory_is_short { random.below(4) * GIB } else { 0 }).collect();
        let mut node = |number| {
            let (slots, pack_size_max) = (1 + random.below(2) as u32, 1 + random.below(4) as u32);
            let name = number % (NODES - 1);
            let node = Node::new(number, name, slots, pack_size_max).with(memory[name], hands_over);
            if has_gpus { node.with_gpus(2 + random.below(3) as u32) } else { node }
        };
        let nodes = (0..nodes).map(&mut node).collect();
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            definition: SweepDefinition::new(SweepId(0), specifications[0].clone()).expect("it has a grid"),
            extended: specifications[1].clone(),
            coordinators: (0..coordinators).map(Coordinator::new).collect(),
            row: Row::new(),
            last_commit: None,
            orphans: Vec::new(),
            late_retry: None,
            late_extension: None,
            asks_until: 0,
            searcher: Searcher::default(),
            nodes,
            links: Vec::new(),
            durable: Durable::default(),
            checkpoints: Checkpoints::new(),
            handed_over: BTreeMap::new(),
            memory_is_short,
            misses_checkpoints: random.one_in(3),
            paused: BTreeMap::new(),
            given: BTreeMap::new(),
            parameters: BTreeMap::new(),
            submitted: false,
            calm: false,
            slow_disk: random.one_in(3),
            refusals: Refusals::default(),
            crowded: None,
            random,
            trace,
        }
    }

    /// Lives to the end; how many things happened.
    pub(super) fn live(mut self) -> Result<u64, Broken> {
        (0..self.coordinators.len()).for_each(|index| self.after(0, WorldEvent::CoordinatorStarts(index)));
        let calm_at = if self.is_alone() { CALM_AT } else { CALM_AT_SHARED };
        for node in 0..self.nodes.len() {
            let delay = self.random.below(1_000);
            self.after(delay, WorldEvent::NodeStarts(node));
        }
        self.after(0, WorldEvent::Ask);
        let first = self.random.below(1_000);
        self.after(first, WorldEvent::Fault);
        self.after(calm_at, WorldEvent::Calm);
        let mut happened = 0;
        while let Some(Reverse((time, _, index))) = self.queue.pop() {
            self.now = time;
            happened += 1;
            let event = self.events[index];
            if self.trace {
                eprintln!("{time:>7} ms  {event:?}");
            }
            self.happen(event)?;
            if let Some(crowded) = self.crowded.take() {
                return Err(crowded);
            }
            self.check_leaders()?;
            let is_over = self.submitted && self.durable.open_sweeps().next().is_none();
            if self.calm && is_over && self.now >= self.asks_until {
                self.durable.check_results()?;
                return if self.durable.sweep_count() == 1 {
                    Ok(happened)
                } else {
                    Err("one request made several sweeps".into())
                };
            }
            if self.now > calm_at + END_WITHIN {
                break;
            }
        }
        self.durable.check_results()?;
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
            WorldEvent::CoordinatorStarts(index) => self.start_coordinator(index)?,
            WorldEvent::Looks(life) if self.is_current(life) => self.look(life),
            WorldEvent::Saw(life) if self.is_current(life) => self.see(life),
            WorldEvent::Loads(life) if self.is_current(life) => self.load(life)?,
            WorldEvent::Beats(life) if self.is_current(life) => self.beat(life),
            WorldEvent::BeatArrives { life, begun } if self.is_current(life) => self.take_beat(life, begun),
            WorldEvent::BeatEnds { life, begun, beat } if self.is_current(life) => {
                self.end_beat(life, begun, beat);
            }
            WorldEvent::Tick(life) if self.is_current(life) => {
                self.after(TICK_MS, event);
                if let Some(hub) = self.coordinators[life.of].hub(self.now) {
                    hub.pipeline.tick();
                }
                self.turn_soon(life.of);
            }
            WorldEvent::Turn(life) if self.is_current(life) => self.take_turn(life)?,
            WorldEvent::CommitArrives(life) if self.is_current(life) => self.take_commit(life)?,
            WorldEvent::CommitEnds(life) if self.is_current(life) => self.end_commit(life)?,
            WorldEvent::OrphanArrives(orphan) => self.take_orphan(orphan)?,
            WorldEvent::NodeStarts(node) => self.start_node(node),
            WorldEvent::Dial { node, life } if life == self.nodes[node].life => self.dial(node),
            WorldEvent::Wake { node, life } if life == self.nodes[node].life => {
                self.nodes[node].wakes_at = None;
                self.tell_node(node, Heard::Tick);
            }
            WorldEvent::HandedOver { node, life, attempt } if life == self.nodes[node].life => {
                self.hand_over_ends(node, attempt);
            }
            WorldEvent::Breaks(link) => self.break_link(link),
            WorldEvent::Up(link) => self.arrive_up(link),
            WorldEvent::Down(link) => self.arrive_down(link)?,
            WorldEvent::Trainer { node, slot, turn, step } => self.train(node, slot, turn, step),
            WorldEvent::Fault if !self.calm => self.go_wrong(),
            WorldEvent::Ask => self.ask(),
            WorldEvent::Extends => self.extend(),
            WorldEvent::ExtensionArrives => self.bring_extension(),
            WorldEvent::Calm => self.calm_down(),
            // Of a life that is over.
            _ => {}
        }
        Ok(())
    }
}
