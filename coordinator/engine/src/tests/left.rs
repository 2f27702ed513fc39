//! What is left of a quota for jobs with several GPUs, and from whom.

use terms::SweepId;

use super::{
    cluster::Cluster,
    kept::{end, of},
    resources::with,
    shares::{quota, set, submit},
};
use crate::{Measure, WaitReason, command::Pause, query::DescribeSweep};

/// Jobs of four GPUs that come before those of one slot.
const FOUR_GPUS: &str = "resources: {gpus: 4}\nexecution: {priority: 1}";

/// A sweep of ann, who has a quota of so many slots, has jobs on workers with so many GPUs each.
fn full(slots: u32, workers: &[u32]) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.runs_programs = true;
    set(&mut cluster, quota("ann", Some(slots), 1));
    submit(&mut cluster, "ann", with(""));
    for (worker, gpus) in (1..).zip(workers) {
        cluster.devices = ["cuda:0", "cuda:1", "cuda:2", "cuda:3"][..*gpus as usize].to_vec();
        cluster.connect(worker, &format!("w{worker}"), *gpus, &[]);
    }
    cluster
}

#[test]
fn the_slots_of_a_full_quota_are_left_to_the_sweep_that_comes_first_as_they_become_free() {
    let mut cluster = full(4, &[4]);
    assert_eq!(cluster.grants(), [1, 2, 3, 4].map(|job| (1, of(1, job))));
    submit(&mut cluster, "ann", with(FOUR_GPUS));
    assert_eq!(cluster.ask(&Measure).startable_jobs, 0);
    for job in [1, 2, 3] {
        end(&mut cluster, 1, of(1, job));
        assert_eq!(cluster.grants(), []);
        assert_eq!(cluster.ask(&Measure).startable_jobs, 0);
    }
    let why = |cluster: &Cluster, sweep| {
        let waiting = cluster.ask(&DescribeSweep::new(SweepId(sweep))).waiting.unwrap();
        assert_eq!(waiting.reason, WaitReason::Quota);
        waiting.text
    };
    assert_eq!(
        why(&cluster, 1),
        "the jobs of ann hold 1 slot of a quota of 4, and 4 are left for jobs with several GPUs, those of sweep 2 first"
    );
    assert_eq!(why(&cluster, 2), "the jobs of ann hold 1 slot of a quota of 4, and a job takes 4 at once");
    end(&mut cluster, 1, of(1, 4));
    assert_eq!(cluster.grants(), [(1, of(2, 1))]);
    end(&mut cluster, 1, of(2, 1));
    assert_eq!(cluster.grants(), [(1, of(2, 2))]);
    cluster.order(Pause(SweepId(2)));
    end(&mut cluster, 1, of(2, 2));
    assert_eq!(cluster.grants(), [5, 6, 7, 8].map(|job| (1, of(1, job))));
}

#[test]
fn no_more_is_left_than_the_next_job_takes() {
    let mut cluster = full(6, &[4, 4]);
    assert_eq!(cluster.grants().len(), 6);
    submit(&mut cluster, "ann", with(FOUR_GPUS));
    for job in [1, 2, 3] {
        end(&mut cluster, 1, of(1, job));
        assert_eq!(cluster.grants(), []);
    }
    // Two slots are held, so that there is room; two more jobs have to end on its worker, or one here.
    end(&mut cluster, 1, of(1, 4));
    assert_eq!(cluster.grants(), [(1, of(2, 1))]);
    // Its next job cannot start before this one ends: two slots are anyone's.
    end(&mut cluster, 2, of(1, 5));
    assert_eq!(cluster.grants(), [(2, of(1, 7))]);
}

#[test]
fn nothing_is_left_for_a_job_that_no_worker_could_run() {
    let mut cluster = full(4, &[2, 2]);
    assert_eq!(cluster.grants().len(), 4);
    submit(&mut cluster, "ann", with(FOUR_GPUS));
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [(1, of(1, 5))]);
    // Nor where its own jobs have all the GPUs that it could get.
    let mut cluster = full(8, &[4]);
    submit(&mut cluster, "ann", with(FOUR_GPUS));
    for job in [1, 2, 3, 4] {
        end(&mut cluster, 1, of(1, job));
    }
    cluster.grants();
    cluster.devices = vec!["cpu"];
    cluster.connect(2, "w2", 13, &[]);
    assert_eq!(cluster.grants(), [5, 6, 7, 8].map(|job| (2, of(1, job))));
    end(&mut cluster, 2, of(1, 5));
    assert_eq!(cluster.grants(), [(2, of(1, 9))]);
}

#[test]
fn nor_where_earlier_sweeps_hold_what_it_would_need() {
    let mut cluster = Cluster::with_gpus(4);
    set(&mut cluster, quota("ann", Some(4), 1));
    submit(&mut cluster, "ann", with("execution: {priority: 2, max_parallel: 1}"));
    submit(&mut cluster, "ann", with(FOUR_GPUS));
    submit(&mut cluster, "ann", with(""));
    cluster.connect(1, "w1", 4, &[]);
    assert_eq!(cluster.grants(), [(1, of(1, 1)), (1, of(3, 1)), (1, of(3, 2)), (1, of(3, 3))]);
    end(&mut cluster, 1, of(3, 1));
    assert_eq!(cluster.grants(), [(1, of(3, 4))]);
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [(1, of(1, 2))]);
}

#[test]
fn two_sweeps_of_several_gpus_leave_the_later_ones_what_neither_needs() {
    let mut cluster = full(4, &[4]);
    assert_eq!(cluster.grants().len(), 4);
    for gpus in [3, 2] {
        submit(
            &mut cluster,
            "ann",
            with(&format!("resources: {{gpus: {gpus}}}\nexecution: {{priority: 1}}")),
        );
    }
    for job in [1, 2] {
        end(&mut cluster, 1, of(1, job));
        assert_eq!(cluster.grants(), []);
    }
    // One slot is held: three are there for the first of them, and nothing for the second.
    end(&mut cluster, 1, of(1, 3));
    assert_eq!(cluster.grants(), [(1, of(2, 1))]);
    end(&mut cluster, 1, of(1, 4));
    assert_eq!(cluster.grants(), [(1, of(1, 5))]);
}

#[test]
fn what_would_start_is_counted_without_what_is_left_for_a_job_that_is_not_there() {
    let mut cluster = Cluster::with_gpus(4);
    submit(&mut cluster, "ben", with(""));
    cluster.connect(1, "w1", 4, &[]);
    assert_eq!(cluster.grants().len(), 4);
    cluster.order(Pause(SweepId(1)));
    set(&mut cluster, quota("ann", Some(12), 1));
    submit(&mut cluster, "ann", with("resources: {gpus: 4}\nexecution: {max_parallel: 1}"));
    submit(&mut cluster, "ann", with(""));
    assert_eq!(cluster.ask(&Measure).startable_jobs, 9, "one with four GPUs, and eight");
}

#[test]
fn what_is_kept_stays_so_also_where_the_owners_jobs_on_it_leave_no_room_for_as_much_again() {
    let mut cluster = full(8, &[4]);
    assert_eq!(cluster.grants().len(), 4);
    submit(&mut cluster, "ann", with(FOUR_GPUS));
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [], "it is kept");
    submit(&mut cluster, "ben", with(""));
    // The three jobs on the GPUs that are kept count once: four more have room in the quota.
    cluster.devices = vec!["cpu"];
    cluster.connect(2, "w2", 13, &[]);
    let at_others = cluster.grants();
    assert_eq!(
        at_others.iter().filter(|(_, attempt)| attempt.job.sweep == SweepId(1)).count(),
        4,
        "{at_others:?}"
    );
    for job in [2, 3] {
        end(&mut cluster, 1, of(1, job));
        assert_eq!(cluster.grants(), [], "still");
    }
    end(&mut cluster, 1, of(1, 4));
    assert_eq!(cluster.grants(), [(1, of(2, 1))]);
}

#[test]
fn an_earlier_sweep_takes_nothing_of_what_is_kept_where_another_slot_is_free() {
    let mut cluster = Cluster::with_gpus(2);
    submit(&mut cluster, "ben", with(""));
    cluster.connect(1, "w1", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(1, 1)), (1, of(1, 2))]);
    cluster.order(Pause(SweepId(1)));
    submit(&mut cluster, "ann", with("execution: {max_parallel: 1}"));
    cluster.devices = vec!["cpu"];
    cluster.connect(2, "w2", 1, &[]);
    assert_eq!(cluster.grants(), [(2, of(2, 1))]);
    submit(&mut cluster, "ann", with("resources: {gpus: 2}"));
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [], "it is kept");
    end(&mut cluster, 2, of(2, 1));
    assert_eq!(cluster.grants(), [(2, of(2, 2))]);
    end(&mut cluster, 1, of(1, 2));
    assert_eq!(cluster.grants(), [(1, of(3, 1))]);
}
