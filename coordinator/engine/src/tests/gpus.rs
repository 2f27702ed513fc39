//! Jobs with several GPUs: they get all slots of their GPUs at once, keep them as long as their processes run, and get their turn.

use std::collections::BTreeMap;

use domain::{
    record::{Record, StoredAttempt, StoredSweep},
    specification::Specification,
};
use proptest::prelude::*;
use terms::{AttemptKey, JobKey, Outcome, SweepId};

use super::{
    cluster::{Cluster, ended, key, stored},
    resources::{two_gpus, with},
};
use crate::{
    Effect, JobEnd, ToWorker, WaitReason,
    command::{EndJob, Pause, Resume},
    query::{DescribeSweep, DescribeWorker},
};

/// A cluster whose workers have these GPUs and run programs.
fn cluster(devices: &[&'static str]) -> Cluster {
    let mut cluster = Cluster::new();
    (cluster.runs_programs, cluster.devices) = (true, devices.to_vec());
    cluster
}

/// How many slots of a worker are busy, and with how many attempts.
fn busy(cluster: &Cluster, worker: &str) -> (u32, usize) {
    let view = cluster.ask(&DescribeWorker(worker.parse().unwrap()));
    (view.busy_slots, view.running.len())
}

/// Why jobs of a sweep wait.
fn waiting(cluster: &Cluster, sweep: u64) -> (WaitReason, String) {
    let waiting = cluster.ask(&DescribeSweep::new(SweepId(sweep))).waiting.unwrap();
    (waiting.reason, waiting.text)
}

/// The slots of each grant since the last look: the one that runs the job, and the others.
fn slots(cluster: &mut Cluster) -> Vec<(u32, Vec<u32>)> {
    let granted = |effect: Effect| match effect {
        Effect::Send { message: ToWorker::Grant(grant), .. } => {
            Some((grant.slot, grant.jobs[0].also_slots.clone()))
        }
        _ => None,
    };
    cluster.take_effects().into_iter().filter_map(granted).collect()
}

fn of(sweep: u64, job: u64, attempt: u32) -> AttemptKey {
    AttemptKey::new(sweep, job, attempt)
}

#[test]
fn a_job_gets_all_slots_of_its_gpus_in_one_step_and_the_rest_is_for_others() {
    let mut cluster = cluster(&["cuda:0", "cuda:1", "cuda:2"]);
    cluster.submit_this(with("resources: {gpus: 2}"));
    cluster.submit_this(with(""));
    cluster.connect(1, "a", 5, &[]);
    // The third GPU has one slot. The next job of the first sweep waits for the two others, so that this one is kept for no job.
    assert_eq!(slots(&mut cluster), [(0, vec![1, 3, 4]), (2, vec![])]);
}

#[test]
fn what_a_job_has_is_recorded_and_shown() {
    let mut cluster = two_gpus("resources: {gpus: 2}");
    assert_eq!(slots(&mut cluster), [(0, vec![1, 2, 3])]);
    assert_eq!(busy(&cluster, "a"), (4, 1));
    let granted = cluster.records.iter().find_map(|record| match record {
        Record::AttemptGranted { slot, device, pack_size, .. } => Some((*slot, device.as_str(), *pack_size)),
        _ => None,
    });
    assert_eq!(granted, Some((0, "cuda:0,cuda:1", 1)));
    let text =
        "no worker has 2 free GPUs; those that become free are kept until the next job can have 2 at once";
    assert_eq!(waiting(&cluster, 1), (WaitReason::SlotsBusy, text.to_owned()));
    cluster.event(1, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(1, key(2, 1))]);
}

#[test]
fn a_job_holds_no_gpu_while_it_waits_for_another() {
    let mut cluster = cluster(&["cuda:0"]);
    cluster.submit_this(with("resources: {gpus: 2}"));
    cluster.connect(1, "a", 2, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(
        (cluster.grants(), busy(&cluster, "a")),
        (vec![], (0, 0)),
        "GPUs of two machines are not added"
    );
    let text = "no connected worker that could run this sweep has the 2 GPUs of a job, which `resources: {gpus: 2}` asks for; the \
                largest, b, has 1";
    assert_eq!(waiting(&cluster, 1), (WaitReason::NoneCanTrain, text.to_owned()));
    // Others lose nothing by it.
    cluster.submit_this(with("resources: {gpus: 1}"));
    assert_eq!(cluster.grants().len(), 3);
}

#[test]
fn a_worker_that_gives_each_job_one_slot_gets_none_of_several_gpus_and_the_sweep_says_so() {
    let mut cluster = cluster(&["cuda:0", "cuda:1"]);
    cluster.submit_this(with("resources: {gpus: 2}"));
    cluster.spans_slots = false;
    cluster.connect(1, "old", 2, &[]);
    assert_eq!(cluster.grants(), []);
    let (reason, text) = waiting(&cluster, 1);
    assert_eq!(reason, WaitReason::NoneCanTrain);
    assert!(
        text.ends_with(
            "; old has 2, but its version gives each job one slot; update it, and its jobs can have several"
        ),
        "{text}"
    );
    cluster.spans_slots = true;
    cluster.connect(2, "new", 2, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1))]);
}

/// Jobs of a later sweep run in the four slots of two GPUs, and a sweep whose jobs take both waits for them.
fn streamed_past() -> Cluster {
    let mut cluster = cluster(&["cuda:0", "cuda:1"]);
    cluster.submit_this(with("resources: {gpus: 2}"));
    cluster.order(Pause(SweepId(1)));
    cluster.submit_this(with(""));
    cluster.connect(1, "a", 4, &[]);
    assert_eq!(cluster.grants().len(), 4);
    cluster.order(Resume(SweepId(1)));
    cluster
}

#[test]
fn what_becomes_free_is_kept_for_the_first_in_order_until_it_suffices() {
    let mut cluster = streamed_past();
    for job in [2, 4, 1] {
        cluster.event(1, of(2, job, 1), ended(Outcome::Done, ""));
        assert_eq!(cluster.grants(), [], "after job {job}");
        let text = "the slots that are free are kept for sweep 1, whose next job takes 2 GPUs at once";
        assert_eq!(waiting(&cluster, 2), (WaitReason::SlotsBusy, text.to_owned()));
    }
    cluster.event(1, of(2, 3, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(1, key(1, 1))]);
}

#[test]
fn what_a_waiting_job_could_not_use_goes_to_others() {
    let mut cluster = cluster(&["cuda:0", "cuda:1", "cuda:2"]);
    cluster.submit_this(with("resources: {gpus: 2}"));
    cluster.order(Pause(SweepId(1)));
    cluster.submit_this(with(""));
    cluster.connect(1, "a", 3, &[]);
    cluster.order(Resume(SweepId(1)));
    cluster.grants();
    cluster.event(1, of(2, 1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [], "it is kept");
    // Its next job waits for the same GPUs as it did, and what is left of another worker is not enough for one.
    cluster.connect(2, "b", 3, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1)), (2, of(2, 4, 1))]);
    cluster.event(1, of(2, 2, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(1, key(2, 1))]);
    cluster.event(1, of(2, 3, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(1, of(2, 5, 1))]);
}

#[test]
fn a_sweep_that_was_submitted_before_has_what_is_kept_and_one_that_has_reached_its_limit_keeps_nothing() {
    let mut cluster = cluster(&["cuda:0", "cuda:1"]);
    cluster.submit_this(with(""));
    cluster.order(Pause(SweepId(1)));
    cluster.submit_this(with("resources: {gpus: 2}\nexecution: {max_parallel: 1}"));
    cluster.submit_this(with(""));
    cluster.connect(1, "a", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(2, 1, 1))]);
    cluster.connect(2, "b", 2, &[]);
    assert_eq!(cluster.grants(), [(2, of(3, 1, 1)), (2, of(3, 2, 1))]);
    cluster.event(1, of(2, 1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(1, of(2, 2, 1))]);
    cluster.order(Resume(SweepId(1)));
    cluster.event(2, of(3, 1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(2, of(1, 1, 1))]);
}

#[test]
fn a_job_that_was_cancelled_keeps_its_gpus_until_it_has_ended() {
    let mut cluster = two_gpus("resources: {gpus: 2}");
    cluster.submit_this(with(""));
    cluster.grants();
    cluster.order(Pause(SweepId(1)));
    let job = JobKey { sweep: SweepId(1), job: 1 };
    assert!(cluster.try_order(EndJob { job, how: JobEnd::Cancel }).is_ok());
    assert_eq!((cluster.grants(), busy(&cluster, "a")), (vec![], (4, 1)), "its process still uses them");
    cluster.event(1, key(1, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants().len(), 4);
}

#[test]
fn a_worker_that_comes_back_keeps_the_gpus_of_what_it_holds_and_frees_those_of_what_it_lost() {
    let mut cluster = two_gpus("resources: {gpus: 2}");
    cluster.submit_this(with(""));
    cluster.grants();
    cluster.connect(2, "a", 4, &[(key(1, 1), 0)]);
    assert_eq!((cluster.grants(), busy(&cluster, "a")), (vec![], (4, 1)));
    cluster.order(Pause(SweepId(1)));
    cluster.connect(3, "a", 4, &[]);
    assert_eq!(cluster.grants().len(), 4);
}

/// The first sweep, whose first job runs on the worker `a`.
fn on_a(specification: &Specification, slot: u32, device: &str) -> StoredSweep {
    let running = StoredAttempt {
        worker: "a".parse().unwrap(),
        slot,
        device: device.to_owned(),
        pack_size: 1,
        started: true,
        train_seconds: 0.0,
        last: None,
        best: None,
    };
    stored(specification, running, Default::default(), "")
}

#[test]
fn a_coordinator_that_starts_again_knows_which_gpus_its_jobs_have() {
    let mut cluster = cluster(&["cuda:0", "cuda:1", "cuda:2"]);
    // The file may have changed since the grant.
    cluster.restart(on_a(&with("resources: {gpus: 1}"), 0, "cuda:0,cuda:2"));
    cluster.connect(1, "a", 5, &[(key(1, 1), 0)]);
    assert_eq!(slots(&mut cluster), [(1, vec![]), (4, vec![])], "the slots of the GPU between them");
    assert_eq!(busy(&cluster, "a"), (5, 3));
    cluster.event(1, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!(slots(&mut cluster), [(0, vec![]), (2, vec![]), (3, vec![])]);
}

#[test]
fn a_job_with_one_gpu_has_its_slot_alone_after_a_restart() {
    let mut cluster = cluster(&["cuda:0", "cuda:1"]);
    cluster.restart(on_a(&with("resources: {gpus: 2}"), 2, "cuda:0"));
    cluster.connect(1, "a", 4, &[(key(1, 1), 2)]);
    assert_eq!((cluster.grants(), busy(&cluster, "a")), (vec![], (1, 1)));
}

/// Two workers with GPUs, and sweeps whose jobs take one, two and three of them.
fn mixed() -> Cluster {
    let mut cluster = cluster(&["cuda:0", "cuda:1", "cuda:2"]);
    for resources in ["resources: {gpus: 2}", "resources: {gpus: 3}", "resources: {per_gpu: 1}", ""] {
        cluster.submit_this(with(resources));
    }
    cluster.connect(1, "a", 3, &[]);
    cluster.connect(2, "b", 5, &[]);
    cluster
}

/// What shares a GPU that a job has alone.
fn is_shared(cluster: &Cluster) -> Option<String> {
    let mut users: BTreeMap<(String, String), Vec<(AttemptKey, bool)>> = BTreeMap::new();
    for (attempt, active) in cluster.engine.sweeps.attempts() {
        let devices: Vec<&str> = active.placement().device.split(',').collect();
        for device in &devices {
            let gpu = (active.worker().to_string(), (*device).to_owned());
            users.entry(gpu).or_default().push((attempt, devices.len() > 1));
        }
    }
    let crowded =
        users.into_iter().find(|(_, users)| users.len() > 1 && users.iter().any(|(_, alone)| *alone));
    crowded.map(|crowded| format!("{crowded:?}"))
}

proptest! {
    #[test]
    fn a_job_with_several_gpus_has_them_alone_and_leaves_them_free(
        steps in prop::collection::vec((0..8_u32, 0..9_usize), 1..80)
    ) {
        let mut cluster = mixed();
        let (mut streams, mut last) = (BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]), 2);
        // What its worker still ends, after a user has cancelled it.
        let mut ending: Vec<(u64, AttemptKey)> = Vec::new();
        for (step, choice) in steps {
            let active: Vec<_> =
                cluster.engine.sweeps.attempts().map(|(key, active)| (key, active.worker().to_string(), active.placement().slot)).collect();
            let chosen = active.get(choice % active.len().max(1)).cloned();
            match (step, chosen) {
                (0..3, Some((attempt, worker, _))) => {
                    cluster.event(streams[&worker], attempt, ended(Outcome::HandedBack, "away"));
                }
                (3, Some((attempt, worker, _))) => {
                    let ends = EndJob { job: attempt.job, how: JobEnd::Cancel };
                    if cluster.try_order(ends).is_ok() {
                        ending.push((streams[&worker], attempt));
                    }
                }
                (4, _) if !ending.is_empty() => {
                    let (stream, attempt) = ending.remove(choice % ending.len());
                    cluster.event(stream, attempt, ended(Outcome::Revoked, ""));
                }
                (5 | 6, _) => {
                    // It comes back, with what it holds or without.
                    let (worker, count) = if choice % 2 == 0 { ("a", 3) } else { ("b", 5) };
                    let held: Vec<_> = active
                        .iter()
                        .filter(|(_, name, _)| step == 5 && name == worker)
                        .map(|(attempt, _, slot)| (*attempt, *slot))
                        .collect();
                    ending.retain(|(stream, _)| *stream != streams[worker]);
                    last += 1;
                    streams.insert(worker.to_owned(), last);
                    cluster.connect(last, worker, count, &held);
                }
                _ => cluster.pass(100),
            }
            prop_assert_eq!(is_shared(&cluster), None);
        }
        ending.into_iter().for_each(|(stream, attempt)| cluster.event(stream, attempt, ended(Outcome::Revoked, "")));
        // Silence may have cost them their streams.
        for (worker, count) in [("a", 3), ("b", 5)] {
            last += 1;
            streams.insert(worker.to_owned(), last);
            cluster.connect(last, worker, count, &[]);
        }
        // Everything comes to its end, and nothing stays occupied.
        for _ in 0..200 {
            let active: Vec<_> =
                cluster.engine.sweeps.attempts().map(|(key, active)| (key, active.worker().to_string())).collect();
            for (attempt, worker) in active {
                cluster.event(streams[&worker], attempt, ended(Outcome::Done, ""));
            }
            prop_assert_eq!(is_shared(&cluster), None);
        }
        prop_assert_eq!((busy(&cluster, "a"), busy(&cluster, "b")), ((0, 0), (0, 0)));
        for sweep in 1..5 {
            let view = cluster.ask(&DescribeSweep::new(SweepId(sweep)));
            prop_assert!(view.state.is_final(), "sweep {sweep} waits: {:?}", view.waiting);
        }
    }

    #[test]
    fn a_job_gets_its_turn_within_a_few_of_the_jobs_that_run_before_it(
        lengths in prop::collection::vec(1..10_u64, 200)
    ) {
        let mut cluster = cluster(&["cuda:0", "cuda:1", "cuda:2", "cuda:3"]);
        cluster.submit_this(with("resources: {gpus: 4}"));
        cluster.order(Pause(SweepId(1)));
        for _ in 0..60 {
            cluster.submit_this(with(""));
        }
        for (stream, name) in [(1, "a"), (2, "b"), (3, "c")] {
            cluster.connect(stream, name, 8, &[]);
        }
        cluster.order(Resume(SweepId(1)));
        // When each job that runs ends.
        let mut ends: BTreeMap<AttemptKey, (u64, u64)> = BTreeMap::new();
        let mut lengths = lengths.into_iter().cycle();
        // A kept set has at most eight busy slots, and is given up only for one with no more of them.
        for now in 0..9 * 10 {
            for (stream, attempt) in cluster.grants() {
                if attempt.job.sweep == SweepId(1) {
                    return Ok(());
                }
                ends.insert(attempt, (stream, now + lengths.next().unwrap()));
            }
            let due: Vec<_> =
                ends.iter().filter(|(_, (_, at))| *at <= now).map(|(attempt, (stream, _))| (*stream, *attempt)).collect();
            for (stream, attempt) in due {
                ends.remove(&attempt);
                cluster.event(stream, attempt, ended(Outcome::Done, ""));
            }
        }
        prop_assert!(false, "it never got its turn");
    }
}

#[test]
fn a_job_of_several_gpus_that_failed_goes_to_another_worker_that_has_them_free() {
    let mut cluster = cluster(&["cuda:0", "cuda:1"]);
    cluster.submit_this(with("resources: {gpus: 2}"));
    cluster.connect(1, "a", 2, &[]);
    cluster.order(EndJob { job: JobKey { sweep: SweepId(1), job: 2 }, how: JobEnd::Cancel });
    (3..=9).for_each(|job| {
        cluster.order(EndJob { job: JobKey { sweep: SweepId(1), job }, how: JobEnd::Cancel });
    });
    cluster.connect(2, "b", 2, &[]);
    cluster.start(1, key(1, 1));
    assert_eq!(cluster.grants(), [(1, key(1, 1))]);
    cluster.event(1, key(1, 1), ended(Outcome::Failed, "no"));
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}
