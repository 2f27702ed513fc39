//! Sweeps of users' programs: which workers are given their jobs, and what is reported where there is none.

use domain::specification::{Specification, SpecificationSource};
use terms::Outcome;

use super::cluster::{Cluster, ended, key};
use crate::WaitReason;

/// A sweep of two jobs of a program.
fn of_a_program() -> Specification {
    let text =
        "program: train.py\nmetric: {name: loss, goal: minimize}\nparameters:\n  lr: {values: [0.1, 0.2]}\n";
    Specification::parse(&SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() })
        .unwrap()
}

#[test]
fn jobs_of_a_program_wait_for_a_worker_that_runs_programs_and_the_sweep_says_so() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_a_program());
    cluster.connect(1, "careful", 2, &[]);
    assert_eq!(cluster.grants(), []);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(
        (waiting.reason, waiting.text.as_str()),
        (
            WaitReason::NoneCanTrain,
            "no worker can train this sweep: careful: it runs no programs, which it would with `sweep-worker start \
             --allow-commands`"
        )
    );
    cluster.runs_programs = true;
    cluster.connect(2, "open", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1))]);
    // The slots of the other one are free, and of no use.
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::SlotsBusy, "{}", waiting.text);
}

#[test]
fn a_program_that_the_only_worker_for_it_rejects_fails_whatever_others_could_run_of_models() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_a_program());
    cluster.connect(1, "careful", 1, &[]);
    cluster.runs_programs = true;
    cluster.connect(2, "open", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1))]);
    cluster.event(2, key(1, 1), ended(Outcome::Rejected, "there is no python3"));
    // It gets the next one, as no other worker can.
    assert_eq!(cluster.grants(), [(2, key(2, 1))]);
    cluster.event(2, key(2, 1), ended(Outcome::Rejected, "there is no python3"));
    assert_eq!(cluster.grants(), []);
    let counts = cluster.sweep().counts;
    assert_eq!((counts.failed, counts.pending), (2, 0));
}

#[test]
fn workers_that_run_programs_train_models_as_well() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.runs_programs = true;
    cluster.connect(1, "open", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1))]);
}
