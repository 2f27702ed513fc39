//! What `resources` of a sweep file say about the slots that its jobs get.

use std::collections::BTreeMap;

use domain::specification::{Specification, SpecificationSource};
use proptest::prelude::*;
use terms::{JobKey, Outcome, SweepId};

use super::cluster::{Cluster, ended, key};
use crate::{JobEnd, WaitReason, command::EndJob};

/// A sweep of nine jobs of a program.
pub(super) fn with(resources: &str) -> Specification {
    let text = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters: {{a: {{min: 1, max: 9, count: 9}}}}\n{resources}"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

/// A sweep, and a worker with two GPUs of two slots each.
pub(super) fn two_gpus(resources: &str) -> Cluster {
    let mut cluster = Cluster::with_gpus(2);
    cluster.submit_this(with(resources));
    cluster.connect(1, "a", 4, &[]);
    cluster
}

/// How many jobs run on each device.
fn running(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut devices = BTreeMap::new();
    for (_, active) in cluster.engine.sweeps.attempts() {
        *devices.entry(format!("{} {}", active.worker(), active.placement().device)).or_default() += 1;
    }
    devices
}

#[test]
fn no_more_jobs_of_a_sweep_share_a_gpu_than_it_says_and_the_sweep_says_why_the_others_wait() {
    let mut cluster = two_gpus("");
    assert_eq!(cluster.grants().len(), 4, "a file without `resources` fills every slot");
    let mut cluster = two_gpus("resources: {per_gpu: 1}");
    assert_eq!(cluster.grants().len(), 2);
    assert_eq!(running(&cluster).into_values().collect::<Vec<_>>(), [1, 1]);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(
        (waiting.reason, waiting.text.as_str()),
        (
            WaitReason::SlotsBusy,
            "every GPU is busy, or runs as many jobs of this sweep as `per_gpu: 1` allows"
        )
    );
    // Another sweep may have what this one leaves.
    cluster.submit_this(with(""));
    assert_eq!(cluster.grants().len(), 2);
    cluster.event(1, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.grants(), [(1, key(3, 1))]);
}

#[test]
fn jobs_that_ask_for_a_gpu_get_no_slot_of_a_processor_and_the_sweep_says_so() {
    let mut cluster = Cluster::new();
    cluster.runs_programs = true;
    cluster.submit_this(with("resources: {gpus: 1}"));
    cluster.connect(1, "slow", 2, &[]);
    assert_eq!(cluster.grants(), []);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::NoneCanTrain);
    assert!(waiting.text.contains("has a GPU, which `resources: {gpus: 1}` asks for"), "{}", waiting.text);
    cluster.devices = vec!["cuda:0"];
    cluster.connect(2, "fast", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1))]);
    assert_eq!(cluster.sweep().waiting.unwrap().text, "every GPU is busy");
}

#[test]
fn what_runs_already_counts_when_its_worker_comes_back() {
    let mut cluster = two_gpus("resources: {per_gpu: 1}");
    let granted = cluster.grants();
    let held: Vec<_> = granted.iter().zip([0, 1]).map(|((_, attempt), slot)| (*attempt, slot)).collect();
    cluster.connect(2, "a", 4, &held);
    assert_eq!(cluster.grants(), []);
    assert_eq!(running(&cluster).len(), 2);
    assert_eq!(cluster.engine.sweeps.get(SweepId(1)).unwrap().running_jobs(), 2);
}

#[test]
fn a_job_that_was_cancelled_keeps_its_place_on_the_gpu_until_it_has_ended() {
    let mut cluster = two_gpus("resources: {per_gpu: 1}");
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (1, key(2, 1))]);
    let job = JobKey { sweep: SweepId(1), job: 1 };
    assert!(cluster.try_order(EndJob { job, how: JobEnd::Cancel }).is_ok());
    assert_eq!(cluster.grants(), [], "its process still uses the GPU");
    cluster.event(1, key(1, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants(), [(1, key(3, 1))]);
}

proptest! {
    #[test]
    fn a_gpu_never_has_more_jobs_of_a_sweep_than_it_says(
        per_gpu in 1..4_usize, steps in prop::collection::vec((0..3_u32, 0..9_u64), 1..40)
    ) {
        let mut cluster = two_gpus(&format!("resources: {{per_gpu: {per_gpu}}}"));
        cluster.connect(2, "b", 5, &[]);
        for (step, choice) in steps {
            let active: Vec<_> = cluster.engine.sweeps.attempts().map(|(key, active)| (key, active.worker().to_string())).collect();
            match (step, active.get(choice as usize % active.len().max(1))) {
                (0, Some((attempt, worker))) => {
                    let session = if worker == "a" { 1 } else { 2 };
                    cluster.event(session, *attempt, ended(Outcome::HandedBack, "away"));
                }
                (1, _) => { cluster.submit_this(with("")); }
                _ => cluster.pass(100),
            }
            let of_first = cluster.engine.sweeps.attempts().filter(|(key, _)| key.job.sweep == SweepId(1));
            let mut devices: BTreeMap<(String, String), usize> = BTreeMap::new();
            for (_, active) in of_first {
                *devices.entry((active.worker().to_string(), active.placement().device.clone())).or_default() += 1;
            }
            prop_assert!(devices.values().all(|jobs| *jobs <= per_gpu), "{devices:?}");
        }
    }
}
