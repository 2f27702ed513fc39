//! Random inputs in random order: whatever workers say, the engine does not contradict itself, and the records
//! tell one consistent story.

use std::collections::{BTreeMap, BTreeSet};

use domain::record::{EndedJob, Record};
use proptest::prelude::*;
use terms::{AttemptKey, AttemptState, JobKey, JobState, Outcome, SweepId, SweepState, VariantArray};

use super::cluster::{Cluster, ended, key, packable, specification};
use crate::{
    AttemptEvent, Event, JobEnd, SessionId,
    command::{Cancel, Drain, EndJob, Pause, Resume, Retry, Stop},
};

const JOBS: u32 = 4;
const WORKERS: u64 = 3;

/// One thing that happens, in small numbers so that they often meet.
#[derive(Debug, Clone)]
enum Step {
    Connect { worker: u64, slots: (u32, u32), held: Vec<(u64, u32, u32)> },
    Close { session: u64 },
    Drain { session: u64 },
    Heartbeat { session: u64, attempts: Vec<(u64, u32)> },
    Start { session: u64, job: u64, attempt: u32, other_data: bool },
    Epoch { session: u64, job: u64, attempt: u32, epoch: u32 },
    End { session: u64, job: u64, attempt: u32, outcome: Outcome },
    Obey { session: u64, times: u32 },
    Pass { milliseconds: u64 },
    Pause,
    Resume,
    DrainWorker { worker: u64 },
    Stop,
    Cancel,
    EndJob { job: u64, how: JobEnd },
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    let session = 1..12u64;
    let job = 1..=u64::from(JOBS);
    let attempt = 1..4u32;
    prop_oneof![
        4 => (0..WORKERS, (1..3u32, 1..5u32), prop::collection::vec((1..=4u64, 1..4u32, 0..3u32), 0..3))
            .prop_map(|(worker, slots, held)| Step::Connect { worker, slots, held }),
        1 => session.clone().prop_map(|session| Step::Close { session }),
        1 => session.clone().prop_map(|session| Step::Drain { session }),
        3 => (session.clone(), prop::collection::vec((1..=4u64, 1..4u32), 0..3))
            .prop_map(|(session, attempts)| Step::Heartbeat { session, attempts }),
        4 => (session.clone(), job.clone(), attempt.clone(), prop::bool::weighted(0.1))
            .prop_map(|(session, job, attempt, other_data)| Step::Start { session, job, attempt, other_data }),
        6 => (session.clone(), job.clone(), attempt.clone(), 1..4u32)
            .prop_map(|(session, job, attempt, epoch)| Step::Epoch { session, job, attempt, epoch }),
        4 => (session.clone(), job, attempt, prop::sample::select(Outcome::VARIANTS))
            .prop_map(|(session, job, attempt, outcome)| Step::End { session, job, attempt, outcome }),
        6 => (session, 1..6u32).prop_map(|(session, times)| Step::Obey { session, times }),
        2 => (0..1500u64).prop_map(|milliseconds| Step::Pass { milliseconds }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => (0..WORKERS).prop_map(|worker| Step::DrainWorker { worker }),
        1 => Just(Step::Stop),
        1 => Just(Step::Cancel),
        1 => (1..=u64::from(JOBS), prop::bool::ANY)
            .prop_map(|(job, stop)| Step::EndJob { job, how: if stop { JobEnd::Stop } else { JobEnd::Cancel } }),
        1 => Just(Step::Retry),
    ]
}

/// Follows the records as a store would, and refuses what cannot be.
#[derive(Default)]
struct Ledger {
    running: BTreeMap<JobKey, u32>,
    attempts: BTreeMap<JobKey, u32>,
    epochs: BTreeSet<(AttemptKey, u32)>,
    last_epoch: BTreeMap<AttemptKey, u32>,
    ended: BTreeSet<AttemptKey>,
    finals: BTreeMap<JobKey, JobState>,
    states: BTreeMap<JobKey, JobState>,
    sweep: Option<SweepState>,
    read: usize,
}

impl Ledger {
    fn follow(&mut self, records: &[Record]) {
        for record in &records[self.read..] {
            match record {
                Record::AttemptGranted { attempt, .. } => {
                    let before = self.states.insert(attempt.job, JobState::Running);
                    assert!(before.unwrap_or(JobState::Pending).may_become(JobState::Running), "{before:?}");
                    assert!(
                        !self.finals.contains_key(&attempt.job),
                        "{attempt} is granted though its job has ended"
                    );
                    assert!(
                        self.running.insert(attempt.job, attempt.attempt).is_none(),
                        "two leases of {}",
                        attempt.job
                    );
                    let before = self.attempts.insert(attempt.job, attempt.attempt).unwrap_or(0);
                    assert_eq!(attempt.attempt, before + 1, "attempts count from one without a gap");
                }
                Record::EpochRecorded { attempt, epoch, .. } => {
                    assert_eq!(
                        self.running.get(&attempt.job),
                        Some(&attempt.attempt),
                        "only a lease may record"
                    );
                    assert!(self.epochs.insert((*attempt, epoch.number)), "an epoch twice");
                    let last = self.last_epoch.insert(*attempt, epoch.number).unwrap_or(0);
                    assert_eq!(epoch.number, last + 1, "epochs come in order");
                }
                Record::SweepChanged { state, .. } => {
                    let before = self.sweep.replace(*state).unwrap_or(SweepState::Running);
                    assert!(before == *state || before.may_become(*state), "{before:?} and then {state:?}");
                }
                Record::AttemptEnded { attempt, state, .. } => {
                    assert!(AttemptState::Running.may_become(*state), "{attempt} ended as {state:?}");
                    assert_eq!(self.running.remove(&attempt.job), Some(attempt.attempt));
                    assert!(self.ended.insert(*attempt), "{attempt} ends twice");
                    if *state == AttemptState::Done {
                        assert_eq!(self.last_epoch.get(attempt), Some(&2), "done without all epochs");
                    }
                }
                Record::JobChanged { job, state, .. } => {
                    let before = self.states.insert(*job, *state).unwrap_or(JobState::Pending);
                    // What a job waits or runs with may change, and not its end.
                    let stays = before == *state && !before.is_final();
                    assert!(stays || before.may_become(*state), "{job} was {before:?} and is {state:?}");
                    self.finals.remove(job);
                    if state.is_final() {
                        self.finals.insert(*job, *state);
                    }
                }
                _ => {}
            }
        }
        self.read = records.len();
    }
}

/// Takes a step; `next_session` numbers the streams, as the service does.
fn take(cluster: &mut Cluster, step: Step, next_session: &mut u64) {
    match step {
        Step::Connect { worker, slots, held } => {
            let held: Vec<_> =
                held.into_iter().map(|(job, attempt, slot)| (key(job, attempt), slot)).collect();
            cluster.connect_packing(*next_session, &format!("worker-{worker}"), "one", slots, &held);
            *next_session += 1;
        }
        Step::Close { session } => cluster.hear(Event::SessionClosed(SessionId(session))),
        Step::Drain { session } => {
            cluster.hear(Event::WorkerDraining { session: SessionId(session), reason: String::new() });
        }
        Step::Heartbeat { session, attempts } => {
            let attempts: Vec<_> = attempts.into_iter().map(|(job, attempt)| key(job, attempt)).collect();
            cluster.heartbeat(session, &attempts);
        }
        Step::Start { session, job, attempt, other_data } => {
            let hash = if other_data { "other" } else { "same" };
            let event = AttemptEvent::Started { dataset: super::cluster::dataset(hash), resumed_epochs: 0 };
            cluster.event(session, key(job, attempt), event);
        }
        Step::Epoch { session, job, attempt, epoch } => cluster.epoch(session, key(job, attempt), epoch),
        Step::End { session, job, attempt, outcome } => {
            cluster.event(session, key(job, attempt), ended(outcome, "because"));
        }
        Step::Obey { session, times } => {
            let granted =
                cluster.packs().into_iter().flat_map(|(to, pack)| pack.into_iter().map(move |one| (to, one)));
            for (to, attempt) in granted.filter(|(to, _)| *to == session || times > 3).take(times as usize) {
                cluster.train(to, attempt);
            }
        }
        Step::Pass { milliseconds } => cluster.pass(milliseconds),
        Step::Pause => drop(cluster.try_order(Pause(SweepId(1)))),
        Step::Resume => drop(cluster.try_order(Resume(SweepId(1)))),
        Step::DrainWorker { worker } => {
            let name = format!("worker-{worker}").parse().expect("a plain name");
            drop(cluster.try_order(Drain(name)));
        }
        Step::Stop => drop(cluster.try_order(Stop(SweepId(1)))),
        Step::Cancel => drop(cluster.try_order(Cancel(SweepId(1)))),
        Step::EndJob { job, how } => {
            drop(cluster.try_order(EndJob { job: JobKey { sweep: SweepId(1), job }, how }));
        }
        Step::Retry => {
            let mut ledger = Ledger::default();
            ledger.follow(&cluster.records);
            let wanted = ledger
                .finals
                .iter()
                .filter(|(_, state)| matches!(state, JobState::Failed | JobState::Cancelled));
            let attempts = |job: &JobKey| ledger.attempts.get(job).copied().unwrap_or(0);
            let jobs =
                wanted.map(|(job, state)| EndedJob { job: job.job, attempts: attempts(job), state: *state });
            let jobs = jobs.collect();
            let seen = cluster.ends();
            drop(cluster.try_order(Retry {
                sweep: SweepId(1),
                jobs,
                all: true,
                seen,
                revived: Default::default(),
            }));
        }
    }
}

/// A good worker trains everything that it is granted until the sweep has ended.
fn finish(cluster: &mut Cluster, session: u64) {
    drop(cluster.try_order(Resume(SweepId(1))));
    cluster.connect_packing(session, "good", "one", (2, 3), &[]);
    for _ in 0..200 {
        for (to, pack) in cluster.packs() {
            if to == session {
                pack.into_iter().for_each(|attempt| cluster.train(session, attempt));
            }
        }
        cluster.pass(super::cluster::LEASE_MS);
        cluster.heartbeat(session, &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_story_is_consistent_and_comes_to_an_end(
        steps in prop::collection::vec(step(), 1..60),
        packs in any::<bool>(),
    ) {
        let mut cluster = Cluster::new();
        cluster.submit_this(if packs { packable(JOBS, "") } else { specification(JOBS, "") });
        let mut ledger = Ledger::default();
        let mut next_session = 1;
        for step in steps {
            take(&mut cluster, step, &mut next_session);
            ledger.follow(&cluster.records);
        }
        finish(&mut cluster, next_session);
        ledger.follow(&cluster.records);
        let sweep = cluster.sweep();
        let ended = [SweepState::Finished, SweepState::Stopped, SweepState::Cancelled];
        prop_assert!(ended.contains(&sweep.state), "{sweep:?}");
        prop_assert!(ledger.running.is_empty());
        let counts = sweep.counts;
        prop_assert_eq!(counts.done, ledger.finals.values().filter(|state| **state == JobState::Done).count() as u64);
    }
}
