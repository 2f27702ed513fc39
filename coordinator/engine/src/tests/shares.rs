//! Which owner's sweeps get free slots, in which order, and how many.

use domain::{
    definition::SweepDefinition,
    record::{Quota, Record, StoredAttempt, StoredSweep, Token},
    specification::Specification,
};
use proptest::prelude::*;
use terms::{AttemptKey, Outcome, SweepId};

use super::{
    cluster::{Cluster, ended, packable, specification, stored},
    resources::with,
};
use crate::{
    AttemptEvent, ControlError, Engine, Issuer, Measure, QuotaView, Share, WaitReason,
    command::{Cancel, Command as _, Drain, KeepQuota, KeepToken, Submit},
    query::{DescribeSweep, ListQuotas, ListSweeps},
};

/// A sweep of an owner, whose number it returns.
pub(super) fn submit(cluster: &mut Cluster, owner: &str, specification: Specification) -> u64 {
    let issuer = Issuer::named(owner);
    let definition = Box::new(SweepDefinition::new(SweepId(0), specification).unwrap());
    let command = Submit::new(definition, String::new()).unwrap().owned_by(issuer.owner());
    cluster.try_order_as(issuer, command).unwrap().sweep.id().0
}

fn priority(jobs: u32, priority: i32) -> Specification {
    specification(jobs, &format!("execution: {{priority: {priority}}}\n"))
}

pub(super) fn quota(owner: &str, slots: Option<u32>, weight: u32) -> Quota {
    Quota { owner: owner.to_owned(), slots, weight, set_unix_ms: 7, set_by: "root".to_owned() }
}

pub(super) fn set(cluster: &mut Cluster, quota: Quota) -> QuotaView {
    cluster.try_order_as(Issuer::admin("root"), KeepQuota(quota)).unwrap()
}

#[test]
fn deeds_have_names_in_quotes_and_numbers_as_they_are_said() {
    let lifted = KeepQuota(quota("ann", None, 1));
    let token = Token {
        id: "a1".to_owned(),
        name: "ann".to_owned(),
        role: terms::Role::Viewer,
        secret_hash: [0; 32],
        created_unix_ms: 1,
        created_by: "root".to_owned(),
        expires_unix_ms: None,
        revoked_unix_ms: None,
    };
    for (deed, expected) in [
        (KeepQuota(quota("ann", Some(1), 2)).deed(), r#"set the quota of "ann" to 1 slot, weight 2"#),
        (KeepQuota(quota("ann", Some(2), 1)).deed(), r#"set the quota of "ann" to 2 slots, weight 1"#),
        (KeepQuota(quota("ann", None, 2)).deed(), r#"set the weight of "ann" to 2"#),
        (lifted.deed(), r#"lift the quota of "ann""#),
        (KeepToken(token).deed(), r#"create token a1 of "ann" (viewer)"#),
        (Drain("one".parse().unwrap()).deed(), r#"drain worker "one""#),
    ] {
        assert_eq!(deed.as_deref(), Some(expected));
    }
}

#[test]
fn a_quota_says_whether_a_sweep_is_of_its_owner() {
    let mut cluster = Cluster::new();
    assert!(!set(&mut cluster, quota("ann", Some(1), 1)).has_sweeps);
    submit(&mut cluster, "ann", specification(1, ""));
    assert!(set(&mut cluster, quota("ann", Some(1), 1)).has_sweeps);
    assert!(!set(&mut cluster, quota("ben", Some(1), 1)).has_sweeps);
}

/// The sweeps of the grants since the last look.
fn granted(cluster: &mut Cluster) -> Vec<u64> {
    cluster.packs().iter().map(|(_, jobs)| jobs[0].job.sweep.0).collect()
}

/// All attempts that run are done, one after the other; the sweeps that got the slots.
fn turns(cluster: &mut Cluster, running: &mut Vec<AttemptKey>, count: usize) -> Vec<u64> {
    let mut turns = Vec::new();
    for _ in 0..count {
        cluster.train(1, running.remove(0));
        for (_, jobs) in cluster.packs() {
            turns.push(jobs[0].job.sweep.0);
            running.extend(jobs);
        }
    }
    turns
}

fn running(cluster: &mut Cluster) -> Vec<AttemptKey> {
    cluster.packs().into_iter().flat_map(|(_, jobs)| jobs).collect()
}

#[test]
fn slots_are_shared_equally_among_owners_and_not_among_their_sweeps() {
    let mut cluster = Cluster::new();
    for owner in ["ann", "ann", "ann", "ben"] {
        submit(&mut cluster, owner, specification(9, ""));
    }
    cluster.connect(1, "a", 4, &[]);
    assert_eq!(granted(&mut cluster), [1, 4, 1, 4]);
    // What is free once everyone has had enough goes to whoever waits.
    cluster.try_order_as(Issuer::named("ben"), Cancel(SweepId(4))).unwrap();
    cluster.connect(2, "b", 2, &[]);
    assert_eq!(granted(&mut cluster), [1, 1]);
}

#[test]
fn without_owners_the_oldest_sweep_comes_first_as_far_as_priorities_are_equal() {
    let mut cluster = Cluster::new();
    for value in [0, 0, 5, -5, 5] {
        cluster.submit_this(priority(2, value));
    }
    cluster.connect(1, "a", 9, &[]);
    assert_eq!(granted(&mut cluster), [3, 3, 5, 5, 1, 1, 2, 2, 4]);
}

#[test]
fn a_priority_orders_the_sweeps_of_its_owner_alone_and_can_change() {
    let mut cluster = Cluster::new();
    submit(&mut cluster, "ann", priority(99, 0));
    submit(&mut cluster, "ben", priority(99, 0));
    submit(&mut cluster, "ann", priority(99, 1_000));
    cluster.connect(1, "a", 4, &[]);
    let mut running = running(&mut cluster);
    assert_eq!(running.iter().map(|attempt| attempt.job.sweep.0).collect::<Vec<_>>(), [3, 2, 3, 2]);
    let change = cluster.change("execution.priority=1000");
    cluster.try_order_as(Issuer::named("ann"), change).unwrap();
    // Nothing that runs makes way.
    assert_eq!(turns(&mut cluster, &mut running, 4), [1, 2, 1, 2]);
}

#[test]
fn one_slot_goes_round_as_often_as_weights_say() {
    let mut cluster = Cluster::new();
    for owner in ["ann", "ben", "cleo"] {
        submit(&mut cluster, owner, specification(99, ""));
    }
    set(&mut cluster, quota("ben", None, 2));
    cluster.connect(1, "a", 1, &[]);
    let mut running = running(&mut cluster);
    let turns = turns(&mut cluster, &mut running, 40);
    let of = |sweep: u64| turns.iter().filter(|turn| **turn == sweep).count();
    assert_eq!((of(1), of(2), of(3)), (10, 20, 10), "{turns:?}");
}

#[test]
fn who_was_away_does_not_save_up_turns() {
    let mut cluster = Cluster::new();
    submit(&mut cluster, "ann", specification(99, ""));
    cluster.connect(1, "a", 1, &[]);
    let mut running = running(&mut cluster);
    turns(&mut cluster, &mut running, 30);
    submit(&mut cluster, "ben", specification(99, ""));
    let turns = turns(&mut cluster, &mut running, 10);
    assert_eq!(turns.iter().filter(|turn| **turn == 1).count(), 5, "{turns:?}");
}

#[test]
fn weights_divide_the_slots() {
    let mut cluster = Cluster::new();
    submit(&mut cluster, "ann", specification(99, ""));
    submit(&mut cluster, "ben", specification(99, ""));
    set(&mut cluster, quota("ben", None, 3));
    cluster.connect(1, "a", 8, &[]);
    let all = granted(&mut cluster);
    assert_eq!(all.iter().filter(|sweep| **sweep == 2).count(), 6, "{all:?}");
}

#[test]
fn a_quota_is_never_exceeded_and_says_why_jobs_wait() {
    let mut cluster = Cluster::new();
    assert_eq!(set(&mut cluster, quota("ann", Some(2), 1)).slots, 0);
    let (first, second) = (
        submit(&mut cluster, "ann", specification(9, "")),
        submit(&mut cluster, "ann", specification(9, "")),
    );
    assert_eq!(cluster.ask(&Measure).startable_jobs, 2);
    cluster.connect(1, "a", 4, &[]);
    let mut running = running(&mut cluster);
    assert_eq!(running.len(), 2);
    let waiting = cluster.ask(&DescribeSweep::new(SweepId(second))).waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::Quota);
    assert_eq!(waiting.text, "the jobs of ann hold 2 slots of a quota of 2");
    assert_eq!(cluster.ask(&Measure).startable_jobs, 0);
    assert_eq!(turns(&mut cluster, &mut running, 3), [first; 3]);
    // A smaller one ends nothing; a larger one counts at once.
    set(&mut cluster, quota("ann", Some(0), 1));
    assert_eq!(cluster.ask(&ListQuotas)[0].slots, 2);
    assert_eq!(turns(&mut cluster, &mut running, 2), [0_u64; 0]);
    set(&mut cluster, quota("ann", None, 1));
    assert_eq!(granted(&mut cluster).len(), 4);
    assert_eq!(cluster.ask(&ListQuotas), []);
}

#[test]
fn a_pack_counts_as_its_slot_and_a_job_of_several_gpus_as_them() {
    let mut cluster = Cluster::new();
    set(&mut cluster, quota("ann", Some(2), 1));
    submit(&mut cluster, "ann", packable(99, ""));
    cluster.connect_packing(1, "a", "one", (4, 64), &[]);
    let packs = cluster.packs();
    assert_eq!(packs.len(), 2);
    assert!(packs.iter().all(|(_, jobs)| jobs.len() > 1), "{packs:?}");
    let share = |cluster: &Cluster, sweep| cluster.ask(&DescribeSweep::new(SweepId(sweep))).share;
    assert_eq!(share(&cluster, 1), Some(Share { slots: 2, quota: Some(2), weight: 1 }));
    // The slot is held until the last of the pack has ended.
    let [(_, pack), _] = &packs[..] else { panic!("{packs:?}") };
    for attempt in pack {
        assert_eq!(share(&cluster, 1).unwrap().slots, 2);
        cluster.start(1, *attempt);
        cluster.event(1, *attempt, ended(Outcome::Diverged, ""));
    }
    assert_eq!(cluster.packs().len(), 1);

    let mut cluster = Cluster::with_gpus(4);
    set(&mut cluster, quota("ann", Some(3), 1));
    submit(&mut cluster, "ann", with("resources: {gpus: 2}"));
    assert_eq!(cluster.ask(&Measure).startable_jobs, 1);
    cluster.connect(1, "a", 4, &[]);
    assert_eq!(granted(&mut cluster), [1]);
    assert_eq!(cluster.ask(&Measure).startable_jobs, 0, "more slots would not help");
    let waiting = cluster.ask(&DescribeSweep::new(SweepId(1))).waiting.unwrap();
    assert_eq!(waiting.text, "the jobs of ann hold 2 slots of a quota of 3, and a job takes 2 at once");
}

#[test]
fn slots_that_are_kept_for_a_job_of_several_gpus_stay_kept_whatever_the_shares_are() {
    let mut cluster = Cluster::with_gpus(2);
    cluster.connect(1, "a", 2, &[]);
    submit(&mut cluster, "ann", with(""));
    let first = running(&mut cluster);
    assert_eq!(first.len(), 2);
    submit(&mut cluster, "ben", with("resources: {gpus: 2}"));
    let end = |cluster: &mut Cluster, attempts: Vec<AttemptKey>| {
        for attempt in attempts {
            let started = AttemptEvent::Started { dataset: Default::default(), resumed_epochs: 0 };
            cluster.event(1, attempt, started);
            cluster.event(1, attempt, ended(Outcome::Diverged, ""));
        }
    };
    let sweeps = |attempts: &[AttemptKey]| -> Vec<u64> {
        attempts.iter().map(|attempt| attempt.job.sweep.0).collect()
    };
    // Once both of ann's jobs have ended, neither owner holds a slot, and ann's sweep is older.
    end(&mut cluster, first);
    for _ in 0..3 {
        let of_ben = running(&mut cluster);
        assert_eq!(sweeps(&of_ben), [2]);
        // What was kept was for that job: then it is the other's turn.
        end(&mut cluster, of_ben);
        let of_ann = running(&mut cluster);
        assert_eq!(sweeps(&of_ann), [1]);
        end(&mut cluster, of_ann);
    }
}

#[test]
fn quotas_and_priorities_outlive_a_restart_and_running_jobs_count_at_once() {
    let running = |slot| StoredAttempt {
        worker: "gone".parse().unwrap(),
        slot,
        device: "cuda:0,cuda:1".into(),
        pack_size: 1,
        started: true,
        train_seconds: 0.0,
        last: None,
        best: None,
    };
    let of = |sweep: u64, specification: &Specification| StoredSweep {
        sweep: SweepId(sweep),
        owner: Some("ann".to_owned()),
        ..stored(specification, running(u32::try_from(sweep).unwrap()), Default::default(), "")
    };
    let mut cluster = Cluster::new();
    let stored = vec![of(1, &priority(9, 0)), of(2, &priority(9, 3))];
    let restored = Engine::restore(super::cluster::CONFIG, cluster.now(), stored).unwrap();
    cluster.engine = restored.with_quotas(vec![quota("ann", Some(5), 1)]);
    let listed = cluster.ask(&ListSweeps { before: None, limit: 9 });
    assert_eq!(listed[0].share, Some(Share { slots: 4, quota: Some(5), weight: 1 }));
    // The worker of what runs has not come back yet.
    cluster.connect(1, "a", 3, &[]);
    assert_eq!(granted(&mut cluster), [2]);
}

#[test]
fn a_quota_is_recorded_with_who_set_it_and_there_are_only_so_many() {
    let mut cluster = Cluster::new();
    set(&mut cluster, quota("o0", Some(3), 2));
    assert_eq!(cluster.records, [Record::QuotaKept(Box::new(quota("o0", Some(3), 2)))]);
    for owner in 1..crate::shares::QUOTAS_MAX {
        set(&mut cluster, quota(&format!("o{owner}"), Some(1), 1));
    }
    let refused = cluster.refusal(KeepQuota(quota("more", Some(1), 1)));
    assert_eq!(refused, ControlError::TooManyQuotas);
    // One that was lifted makes room, and one can be lifted that never was.
    set(&mut cluster, quota("never", None, 1));
    set(&mut cluster, quota("o0", None, 1));
    set(&mut cluster, quota("more", Some(1), 1));
    assert_eq!(cluster.refusal(KeepQuota(quota("o0", Some(1), 1))), ControlError::TooManyQuotas);
}

/// What an owner has in a random cluster: a quota, a weight, and sweeps with so many jobs and such a priority.
type Owner = (Option<u32>, u32, Vec<(u32, i32)>);

fn owner() -> impl Strategy<Value = Owner> {
    (prop::option::of(0..6_u32), 1..5_u32, prop::collection::vec((1..9_u32, -2..3_i32), 1..4))
}

proptest! {
    /// Without ends of jobs, slots are divided as a table says: one at a time to the smallest share with jobs and room.
    #[test]
    fn the_slots_of_a_cluster_are_divided_as_shares_quotas_and_priorities_say(
        owners in prop::collection::vec(owner(), 1..5),
        slots in 1..40_u32,
    ) {
        let mut cluster = Cluster::new();
        for (number, (slots, weight, sweeps)) in owners.iter().enumerate() {
            let name = format!("o{number}");
            set(&mut cluster, quota(&name, *slots, *weight));
            for (jobs, value) in sweeps {
                submit(&mut cluster, &name, priority(*jobs, *value));
            }
        }
        cluster.connect(1, "a", slots, &[]);
        let all = granted(&mut cluster);
        let mut first = 1;
        let mut held = Vec::new();
        let mut waits = Vec::new();
        for (quota, _, sweeps) in &owners {
            let of = |sweep: u64| all.iter().filter(|granted| **granted == sweep).count() as u64;
            let own: Vec<u64> = (first..).take(sweeps.len()).map(of).collect();
            first += sweeps.len() as u64;
            held.push(own.iter().sum::<u64>());
            let left = |(place, (jobs, _)): (usize, &(u32, i32))| u64::from(*jobs) > own[place];
            waits.push(sweeps.iter().enumerate().any(left));
            prop_assert!(quota.is_none_or(|quota| held.last().unwrap() <= &u64::from(quota)));
            for (place, (_, value)) in sweeps.iter().enumerate() {
                let is_lower = |other: usize| (sweeps[other].1, place) < (*value, other) && own[other] > 0;
                let before = left((place, &sweeps[place])) && (0..sweeps.len()).any(is_lower);
                prop_assert!(!before, "a sweep of {value} waits behind one that comes later: {own:?}");
            }
        }
        let has_room = |owner: usize| {
            waits[owner] && owners[owner].0.is_none_or(|quota| held[owner] < u64::from(quota))
        };
        for owner in (0..owners.len()).filter(|owner| has_room(*owner)) {
            prop_assert_eq!(all.len(), slots as usize, "a slot stays free while an owner has jobs and room");
            for other in 0..owners.len() {
                // No other could give a slot away and still have as much for its weight.
                let (own, others) = (held[owner] * u64::from(owners[other].1), held[other].saturating_sub(1));
                prop_assert!(others * u64::from(owners[owner].1) <= own, "{held:?} of {owners:?}");
            }
        }
    }
}
