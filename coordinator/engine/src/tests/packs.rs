//! Packs: several jobs of one slot.

use domain::record::Record;
use terms::{AttemptKey, AttemptState, JobState, Outcome};

use super::cluster::{Cluster, LEASE_MS, dataset, ended, key, metrics, packable};
use super::epoch::EpochMetrics;
use crate::{AttemptEvent, Event, SessionId};

/// One worker with `slots` slots that take packs, and a sweep whose jobs can share a pack.
fn cluster(jobs: u32, more: &str, slots: u32) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.connect_packing(1, "a", "one", (slots, 64), &[]);
    cluster.submit_this(packable(jobs, more));
    cluster
}

/// The jobs of each grant since the last look.
fn packs(cluster: &mut Cluster) -> Vec<Vec<u64>> {
    let jobs = |(_, pack): (u64, Vec<AttemptKey>)| pack.into_iter().map(|attempt| attempt.job.job).collect();
    cluster.packs().into_iter().map(jobs).collect()
}

/// Every job of a pack trains both of its epochs, each of which takes `epoch_seconds`.
fn train(cluster: &mut Cluster, jobs: &[u64], attempt: u32, epoch_seconds: f64) {
    for &job in jobs {
        cluster.start(1, key(job, attempt));
        for epoch in 1..=2 {
            let metrics = EpochMetrics { epoch_seconds, ..metrics(epoch) };
            cluster.event(1, key(job, attempt), AttemptEvent::Epoch(metrics.into()));
        }
        cluster.event(1, key(job, attempt), ended(Outcome::Done, ""));
    }
}

#[test]
fn a_slot_that_takes_packs_is_given_a_pack_and_the_record_says_how_many() {
    let mut cluster = cluster(5, "", 1);
    assert_eq!(packs(&mut cluster), [[1, 2, 3, 4]]);
    let sizes = cluster.records.iter().filter_map(|record| match record {
        Record::AttemptGranted { pack_size, .. } => Some(*pack_size),
        _ => None,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [4; 4]);
    assert_eq!(cluster.counts(), [1, 4, 0, 0, 0, 0]);
}

#[test]
fn only_jobs_of_one_shape_and_order_share_a_pack_and_none_is_forgotten() {
    let mut cluster = cluster(3, "exclude: [{learning_rate: 2, batch_size: 64}]\n", 1);
    cluster.submit_this(packable(1, ""));
    let mut two = Cluster::new();
    two.connect_packing(1, "a", "one", (1, 64), &[]);
    let text = packable(3, "").to_yaml().replace("batch_size: {value: 32}", "batch_size: {values: [32, 64]}");
    let text = text.replace("batch_size:\n    value: 32", "batch_size:\n    values: [32, 64]");
    two.submit_this(domain::specification::Specification::from_stored(&text, &Default::default()).unwrap());
    assert_eq!(packs(&mut two), [[1, 3, 5]], "{text}");
    train(&mut two, &[1, 3, 5], 1, 1.0);
    assert_eq!(packs(&mut two), [[2, 4, 6]]);
    train(&mut two, &[2, 4, 6], 1, 1.0);
    assert_eq!(two.counts(), [0, 0, 6, 0, 0, 0]);
}

#[test]
fn what_waits_is_dealt_out_over_the_free_slots() {
    let mut three = cluster(6, "", 3);
    assert_eq!(packs(&mut three), [[1, 2], [3, 4], [5, 6]]);
    let mut tail = cluster(8, "", 2);
    assert_eq!(packs(&mut tail), [[1, 2, 3, 4], [5, 6, 7, 8]]);
    tail.submit_this(packable(6, ""));
    (1..=4).for_each(|job| tail.train(1, key(job, 1)));
    assert_eq!(packs(&mut tail), [[1, 2, 3]], "the other slot is free soon");
    let mut limited = cluster(6, "execution: {max_parallel: 3}", 1);
    assert_eq!(packs(&mut limited), [[1, 2, 3]]);
    let mut alone = cluster(6, "execution: {pack_size_max: 1}", 1);
    assert_eq!(packs(&mut alone), [[1]]);
    let mut pairs = cluster(6, "execution: {pack_size_max: 2}", 1);
    assert_eq!(packs(&mut pairs), [[1, 2]]);
}

#[test]
fn slots_that_take_no_packs_take_nothing_from_the_share_of_those_that_do() {
    let mut cluster = Cluster::new();
    cluster.connect(1, "a", 3, &[]);
    cluster.connect_packing(2, "b", "one", (2, 64), &[]);
    cluster.submit_this(packable(9, ""));
    assert_eq!(packs(&mut cluster), [vec![1], vec![2], vec![3], vec![4, 5, 6], vec![7, 8, 9]]);
}

#[test]
fn a_slot_is_free_when_every_job_of_its_pack_has_ended() {
    let mut cluster = cluster(6, "", 1);
    packs(&mut cluster);
    train(&mut cluster, &[1, 2, 3], 1, 1.0);
    assert!(packs(&mut cluster).is_empty());
    cluster.event(1, key(4, 1), ended(Outcome::Diverged, "NaN"));
    assert_eq!(packs(&mut cluster), [[5, 6]]);
    assert_eq!(cluster.counts(), [0, 2, 3, 1, 0, 0]);
}

#[test]
fn packs_grow_while_they_bring_more_images_a_second() {
    let mut cluster = cluster(100, "", 1);
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let pack = packs(&mut cluster).pop().unwrap();
        // A GPU that is idle until sixteen train at the same time.
        let epoch_seconds = (pack.len() as f64 / 16.0).max(1.0);
        sizes.push(pack.len());
        train(&mut cluster, &pack, 1, epoch_seconds);
    }
    assert_eq!(sizes, [4, 8, 16, 32, 16, 16]);
}

#[test]
fn memory_that_runs_out_halves_the_pack_and_charges_no_job() {
    let mut cluster = cluster(4, "execution: {attempts_max: 1}", 1);
    let pack = packs(&mut cluster).pop().unwrap();
    for job in pack {
        cluster.event(1, key(job, 1), ended(Outcome::OutOfMemory, "out of memory in a pack of 4"));
    }
    assert_eq!(packs(&mut cluster), [[1, 2]]);
    train(&mut cluster, &[1, 2], 2, 1.0);
    assert_eq!(packs(&mut cluster), [[3]], "four are not tried again; whether one is as fast as two is");
    train(&mut cluster, &[3], 2, 4.0);
    assert_eq!(packs(&mut cluster), [[4]]);
    train(&mut cluster, &[4], 2, 4.0);
    assert_eq!(cluster.counts(), [0, 0, 4, 0, 0, 0]);
}

#[test]
fn packs_too_large_for_the_time_allowed_become_smaller() {
    let mut cluster = cluster(100, "", 1);
    let mut lost = 0;
    // Packs of more than four train an epoch in less time for each than others, and are ended before the second.
    for _ in 0..50 {
        let Some((_, pack)) = cluster.packs().pop() else { break };
        let size = pack.len() as f64;
        for &attempt in &pack {
            cluster.start(1, attempt);
            let metrics = EpochMetrics { epoch_seconds: size.sqrt(), ..metrics(1) };
            cluster.event(1, attempt, AttemptEvent::Epoch(metrics.into()));
        }
        lost += u32::from(pack.len() > 4);
        for attempt in pack {
            if size > 4.0 {
                cluster.event(1, attempt, ended(Outcome::PackLost, "its time was up"));
            } else {
                cluster.event(1, attempt, AttemptEvent::Epoch(metrics(2).into()));
                cluster.event(1, attempt, ended(Outcome::Done, ""));
            }
        }
    }
    assert_eq!((cluster.counts()[2], lost), (100, 3), "larger packs are tried three times, and no more");
}

#[test]
fn a_job_that_takes_its_pack_with_it_ends_up_alone_and_is_charged_alone() {
    let mut cluster = cluster(4, "execution: {attempts_max: 2}", 1);
    let mut failed = 0;
    // Job 3 crashes every trainer that it meets.
    while let Some(pack) = packs(&mut cluster).pop() {
        let attempts: Vec<u32> = pack
            .iter()
            .map(|job| {
                cluster.records.iter().filter(|record| {
            matches!(record, Record::AttemptGranted { attempt, .. } if attempt.job.job == *job)
        }).count() as u32
            })
            .collect();
        for (&job, attempt) in pack.iter().zip(attempts) {
            match (pack.contains(&3), pack.len()) {
                (false, _) => train(&mut cluster, &[job], attempt, 1.0),
                (true, 1) => {
                    failed += 1;
                    cluster.event(1, key(job, attempt), ended(Outcome::Failed, "crashed"));
                }
                (true, _) => cluster.event(1, key(job, attempt), ended(Outcome::PackLost, "crashed")),
            }
        }
    }
    assert_eq!(failed, 2);
    assert_eq!(cluster.counts(), [0, 0, 3, 0, 1, 0]);
}

#[test]
fn a_job_is_not_blamed_for_workers_that_its_pack_was_lost_with() {
    let mut cluster = Cluster::new();
    cluster.submit_this(packable(2, ""));
    for (session, name) in (1..).zip(["a", "b", "c", "d"]) {
        cluster.connect_packing(session, name, "one", (1, 64), &[]);
        cluster.pass(LEASE_MS + 1);
    }
    let histories = cluster.records.iter().filter_map(|record| match record {
        Record::JobChanged { history, .. } => Some(history.clone()),
        _ => None,
    });
    let first: Vec<_> = histories.take(2).collect();
    assert!(first.iter().all(|history| history.losses == 0 && history.lost_with.is_empty()), "{first:?}");
    assert!(cluster.packs().iter().skip(1).all(|(_, pack)| pack.len() == 1), "apart from then on");
}

#[test]
fn a_worker_that_comes_back_keeps_what_it_holds_of_a_pack_and_loses_the_rest() {
    let mut cluster = cluster(4, "", 1);
    packs(&mut cluster);
    (1..=4).for_each(|job| cluster.start(1, key(job, 1)));
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.connect_packing(2, "a", "one", (1, 64), &[(key(1, 1), 0), (key(3, 1), 0)]);
    assert_eq!(cluster.counts(), [2, 2, 0, 0, 0, 0]);
    assert!(packs(&mut cluster).is_empty(), "the slot is not free");
    cluster.train(2, key(1, 1));
    cluster.train(2, key(3, 1));
    assert_eq!(packs(&mut cluster), [[2, 4]]);
}

#[test]
fn a_resumed_job_teaches_nothing_of_speed() {
    let mut cluster = cluster(20, "", 1);
    let pack = packs(&mut cluster).pop().unwrap();
    let resumed = AttemptEvent::Started { dataset: dataset("same"), resumed_epochs: 1 };
    cluster.event(1, key(pack[0], 1), resumed);
    train(&mut cluster, &pack, 1, 1.0);
    assert_eq!(packs(&mut cluster), [[5, 6, 7, 8]], "four, as nothing was learnt");
}

#[test]
fn one_job_of_a_pack_may_be_lost_to_another_data_set_without_the_others() {
    let mut cluster = cluster(4, "", 1);
    packs(&mut cluster);
    cluster.start(1, key(1, 1));
    let other = AttemptEvent::Started { dataset: dataset("other"), resumed_epochs: 0 };
    cluster.event(1, key(2, 1), other);
    let rejected = cluster.records.iter().any(|record| {
        matches!(record, Record::AttemptEnded { attempt, state: AttemptState::Rejected, .. } if *attempt == key(2, 1))
    });
    assert!(rejected);
    train(&mut cluster, &[1, 3, 4], 1, 1.0);
    let done = cluster
        .records
        .iter()
        .filter(|record| matches!(record, Record::JobChanged { state: JobState::Done, .. }));
    assert_eq!(done.count(), 3);
}

#[test]
fn mates_are_found_where_many_jobs_wait_that_are_none() {
    let mut cluster = Cluster::new();
    let sizes: Vec<String> = (1..=1_100).map(|size: u32| size.to_string()).collect();
    let text = packable(2, "").to_yaml();
    let text = text
        .replace("batch_size:\n    value: 32", &format!("batch_size:\n    values: [{}]", sizes.join(", ")));
    cluster
        .submit_this(domain::specification::Specification::from_stored(&text, &Default::default()).unwrap());
    cluster.connect(1, "a", 2_200, &[]);
    assert_eq!(cluster.grants().len(), 2_200, "{text}");
    // All of them wait again; the only mate of the first is behind 1,100 others.
    cluster.pass(LEASE_MS + 1);
    cluster.connect_packing(2, "b", "two", (1, 64), &[]);
    assert_eq!(packs(&mut cluster), [[1, 1_101]]);
}
