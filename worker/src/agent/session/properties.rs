//! Random inputs in any order: whatever comes, the session's promises hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    tests::{
        attempt, ended, epoch, exited, exited_after_reading, grant_pack, grant_several, ready, said, started,
        welcome,
    },
    types::*,
    *,
};
use trainer_protocol::{FromTrainer, TrainerOutcome};

const SLOTS: usize = 2;

/// What may happen next; trainers speak of the n-th of their jobs, as far as they have as many.
fn step() -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS;
    prop_oneof![
        1 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        6 => (0..SLOTS + 1, 1..4_u64).prop_map(|(slot, jobs)| Step::Grant(slot, jobs)),
        2 => Just(Step::GrantAgain),
        3 => slot.clone().prop_map(Step::GrantBoth),
        4 => slot.clone().prop_map(Step::Ready),
        6 => (slot.clone(), 0..3_usize).prop_map(|(slot, member)| Step::Started(slot, member)),
        6 => (slot.clone(), 0..3_usize, 1..4_u32)
            .prop_map(|(slot, member, number)| Step::Epoch(slot, member, number)),
        6 => (slot.clone(), 0..3_usize, 0..6_usize)
            .prop_map(|(slot, member, outcome)| Step::Ended(slot, member, outcome)),
        2 => (slot, 0..3_u32).prop_map(|(slot, trains_heard)| Step::Exited(slot, trains_heard)),
        3 => (0..40_u64).prop_map(Step::Acknowledge),
        2 => (0..20_u64).prop_map(Step::Revoke),
        4 => (0..20_000_u64).prop_map(Step::Wait),
        1 => (0..20_u64).prop_map(Step::WelcomeRefusing),
        1 => Just(Step::Drain),
        1 => Just(Step::Notice),
        1 => Just(Step::Shutdown),
        2 => slot_and_member().prop_map(|(slot, member)| Step::Kept(slot, member)),
        3 => (0..20_u64).prop_map(Step::HandedOver),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Connect,
    Disconnect,
    Grant(usize, u64),
    GrantAgain,
    /// A job that occupies the other slot besides.
    GrantBoth(usize),
    Ready(usize),
    Started(usize, usize),
    Epoch(usize, usize, u32),
    Ended(usize, usize, usize),
    Exited(usize, u32),
    Acknowledge(u64),
    Revoke(u64),
    Wait(u64),
    WelcomeRefusing(u64),
    Drain,
    Notice,
    Shutdown,
    Kept(usize, usize),
    HandedOver(u64),
}

fn slot_and_member() -> impl Strategy<Value = (usize, usize)> {
    (0..SLOTS, 0..3_usize)
}

/// Watches a session from outside.
struct Watch {
    session: Session,
    now: Duration,
    jobs: u64,
    last_granted: Option<(usize, Vec<u64>)>,
    /// What the slot's trainer was given and did not end yet.
    at_trainer: [Vec<AttemptKey>; SLOTS],
    trainer_lives: [bool; SLOTS],
    trainer_dies: [bool; SLOTS],
    /// Whether what the slot's trainer was given occupies the other slot besides.
    has_both: [bool; SLOTS],
    granted: BTreeSet<AttemptKey>,
    refused: BTreeSet<AttemptKey>,
    ends: BTreeMap<AttemptKey, u32>,
    last_spooled: u64,
    last_sent: u64,
    connected: bool,
    welcomed: bool,
    gone: bool,
}

impl Watch {
    fn new(hands_over: bool) -> Self {
        Self {
            session: Session::new(SLOTS, Duration::from_secs(30), 1, Vec::new()).with_hand_over(hands_over),
            now: Duration::ZERO,
            jobs: 0,
            last_granted: None,
            at_trainer: [const { Vec::new() }; SLOTS],
            trainer_lives: [false; SLOTS],
            trainer_dies: [false; SLOTS],
            has_both: [false; SLOTS],
            granted: BTreeSet::new(),
            refused: BTreeSet::new(),
            ends: BTreeMap::new(),
            last_spooled: 0,
            last_sent: 0,
            connected: false,
            welcomed: false,
            gone: false,
        }
    }

    /// The trainer's job; a number that no job has where it has none.
    fn job_at(&self, slot: usize, member: usize) -> u64 {
        let jobs = &self.at_trainer[slot];
        jobs.get(member).or_else(|| jobs.first()).map_or(9_999, |attempt| attempt.job.job)
    }

    fn input(&mut self, step: &Step) -> Option<Input> {
        Some(match *step {
            Step::Connect if !self.connected => {
                (self.connected, self.welcomed, self.last_sent) = (true, false, 0);
                Input::Connected
            }
            Step::Disconnect if self.connected => {
                self.connected = false;
                Input::Disconnected
            }
            Step::Grant(slot, count) if self.connected => {
                let jobs: Vec<u64> = (self.jobs + 1..=self.jobs + count).collect();
                self.jobs += count;
                self.granted.extend(jobs.iter().copied().map(attempt));
                self.last_granted = Some((slot, jobs.clone()));
                grant_pack(slot, &jobs)
            }
            Step::GrantBoth(slot) if self.connected => {
                self.jobs += 1;
                self.granted.insert(attempt(self.jobs));
                grant_several(slot, &[1 - slot], self.jobs)
            }
            Step::GrantAgain if self.connected => {
                let (slot, jobs) = self.last_granted.clone()?;
                // A coordinator repeats no grant whose end it has acknowledged or which it refused.
                let over = |job: &u64| {
                    self.refused.contains(&attempt(*job)) || self.ends.contains_key(&attempt(*job))
                };
                if jobs.iter().any(over) {
                    return None;
                }
                grant_pack(slot, &jobs)
            }
            Step::Acknowledge(through) if self.welcomed => {
                Input::Message(FromCoordinator::Acknowledged { through })
            }
            Step::Revoke(job) if self.connected => Input::Message(FromCoordinator::Revoke {
                attempts: vec![attempt(job)],
                reason: "cancelled".into(),
            }),
            Step::WelcomeRefusing(job) if self.connected && !self.welcomed => {
                self.welcomed = true;
                self.refused.insert(attempt(job));
                welcome(vec![attempt(job)])
            }
            Step::Wait(time_ms) => {
                self.now += Duration::from_millis(time_ms);
                Input::Tick
            }
            Step::Notice => Input::Notice { why: "x".into() },
            Step::Shutdown => Input::Shutdown,
            Step::HandedOver(job) => Input::HandedOver(attempt(job)),
            Step::Drain if self.connected => Input::Message(FromCoordinator::Drain),
            _ => return self.input_of_trainer(step),
        })
    }

    fn input_of_trainer(&mut self, step: &Step) -> Option<Input> {
        Some(match *step {
            Step::Ready(slot) if self.trainer_lives[slot] => ready(slot),
            Step::Started(slot, member) if self.trainer_lives[slot] => {
                started(slot, self.job_at(slot, member))
            }
            Step::Epoch(slot, member, number) if self.trainer_lives[slot] => {
                epoch(slot, self.job_at(slot, member), number)
            }
            Step::Ended(slot, member, outcome) if self.trainer_lives[slot] => {
                use TrainerOutcome::{Diverged, Done, Failed, OutOfMemory, Rejected, Stopped};
                let job = self.job_at(slot, member);
                self.at_trainer[slot].retain(|held| *held != attempt(job));
                ended(slot, job, [Done, Diverged, Failed, Rejected, Stopped, OutOfMemory][outcome])
            }
            Step::Exited(slot, trains_heard) if self.trainer_lives[slot] => {
                (self.trainer_lives[slot], self.trainer_dies[slot]) = (false, false);
                self.at_trainer[slot].clear();
                exited_after_reading(slot, trains_heard)
            }
            Step::Kept(slot, member) if self.trainer_lives[slot] => {
                said(slot, FromTrainer::Kept { id: attempt(self.job_at(slot, member)).to_string() })
            }
            _ => return None,
        })
    }

    fn feed(&mut self, input: Input) {
        for output in self.session.apply(self.now, input) {
            assert!(!self.gone, "{output:?} after the exit");
            match output {
                Output::Append(event) => self.on_append(&event),
                Output::Send(ToCoordinator::Event(event)) => {
                    assert!(self.connected, "an event was sent without a stream");
                    assert!(event.sequence > self.last_sent && event.sequence <= self.last_spooled);
                    self.last_sent = event.sequence;
                }
                Output::Send(ToCoordinator::Hello { held, .. }) => {
                    let distinct: BTreeSet<_> = held.iter().map(|held| held.attempt()).collect();
                    assert_eq!(distinct.len(), held.len(), "an attempt is held twice");
                }
                Output::StartJobs { slot, jobs, fresh } => {
                    assert!(self.at_trainer[slot].is_empty(), "two grants in slot {slot}");
                    assert!(
                        !jobs.is_empty() && !self.trainer_dies[slot],
                        "a job for a trainer that was killed"
                    );
                    assert_eq!(fresh, !self.trainer_lives[slot], "a second trainer in slot {slot}");
                    self.has_both[slot] = !jobs[0].1.also_slots.is_empty();
                    let other = 1 - slot;
                    let is_alone = self.at_trainer[other].is_empty() && !self.trainer_dies[other];
                    assert!(is_alone || !self.has_both[slot], "slot {other} was not free");
                    let has_this = self.has_both[other] && !self.at_trainer[other].is_empty();
                    assert!(!has_this, "slot {slot} is occupied by the job of slot {other}");
                    self.at_trainer[slot] = jobs.into_iter().map(|(attempt, _)| attempt).collect();
                    self.trainer_lives[slot] = true;
                }
                Output::KillTrainer { slot } => {
                    assert!(!std::mem::replace(&mut self.trainer_dies[slot], true), "killed twice");
                }
                Output::Exit(_) => self.gone = true,
                _ => {}
            }
        }
        let overdue = self.session.next_deadline().is_some_and(|deadline| deadline <= self.now);
        assert!(self.gone || !overdue, "the session would spin");
    }

    fn on_append(&mut self, event: &Event) {
        assert!(event.sequence > self.last_spooled, "the numbers of events do not grow");
        self.last_spooled = event.sequence;
        assert!(!self.ends.contains_key(&event.attempt), "{} goes on after its end", event.attempt);
        if let EventKind::Ended(_) = event.kind {
            *self.ends.entry(event.attempt).or_default() += 1;
        }
    }

    /// Lets every trainer die; then each attempt must have had its one end.
    fn finish(mut self) {
        // A job that waits starts when the trainer before it is gone, or when its slot may try again.
        for slot in (0..SLOTS).cycle().take(10 * SLOTS) {
            if self.trainer_lives[slot] && !self.gone {
                (self.trainer_lives[slot], self.trainer_dies[slot]) = (false, false);
                self.at_trainer[slot].clear();
                self.feed(exited(slot));
            }
            self.now += Duration::from_secs(60);
            self.feed(Input::Tick);
        }
        if self.gone {
            return;
        }
        for attempt in &self.granted {
            let ends = self.ends.get(attempt).copied().unwrap_or_default();
            let is_refused = self.refused.contains(attempt);
            assert!(ends == 1 || (ends == 0 && is_refused), "{attempt} has {ends} ends");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_slots_run_one_grant_and_every_job_ends_once(
        steps in prop::collection::vec(step(), 1..80), hands_over in any::<bool>(),
    ) {
        let mut watch = Watch::new(hands_over);
        for step in &steps {
            if !watch.gone && let Some(input) = watch.input(step) {
                watch.feed(input);
            }
        }
        watch.finish();
    }
}
