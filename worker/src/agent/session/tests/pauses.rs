//! Jobs that pause: the worker hands the request to its trainer, and asks one that does not know it to stop.

use terms::EndDetails;

use super::*;

/// A grant of a job that trains `until` of its four epochs.
fn grant_until(until: u32) -> Input {
    let work = Work { epochs: Some(4), until_epoch: Some(until), ..work() };
    let jobs = vec![GrantedJob { attempt: attempt(1), work: Ok(work) }];
    Input::Message(FromCoordinator::Grant { slot: 0, jobs })
}

/// With a trainer of this revision, which trains that job.
fn training(protocol: u32) -> Bench {
    let mut bench = Bench::connected(1);
    let ready = FromTrainer::Ready { protocol, device: "cpu".into(), trainables: Vec::new() };
    bench.feed([grant_until(2), said(0, ready), started(0, 1), epoch(0, 1, 1)]);
    bench.seen.clear();
    bench
}

#[test]
fn a_trainer_that_pauses_by_itself_is_not_asked_to() {
    let mut bench = training(3);
    bench.feed([epoch(0, 1, 2), ended(0, 1, TrainerOutcome::Paused)]);
    bench.expect(&[
        "spool 3 1/1#1 epoch 2",
        "send 3 1/1#1 epoch 2",
        "spool 4 1/1#1 paused ()",
        "send 4 1/1#1 paused ()",
    ]);
}

#[test]
fn a_trainer_of_the_revision_before_is_asked_to_stop_with_a_checkpoint() {
    let mut bench = training(2);
    bench.feed([epoch(0, 1, 2)]);
    assert!(bench.seen.contains(&"stop 1/1#1@0 with a checkpoint".to_owned()), "{:?}", bench.seen);
    bench.seen.clear();
    // It had begun the next one, which counts.
    bench.feed([epoch(0, 1, 3), ended(0, 1, TrainerOutcome::Stopped)]);
    assert_eq!(bench.seen.last().unwrap(), "send 5 1/1#1 paused ()");
}

#[test]
fn a_pause_that_no_one_asked_for_or_that_comes_too_early_is_a_fault_of_the_trainer() {
    let mut early = training(3);
    early.feed([ended(0, 1, TrainerOutcome::Paused)]);
    assert!(early.seen.contains(&"kill 0".to_owned()), "{:?}", early.seen);
    let mut bench = Bench::connected(1);
    bench.feed([grant(0, 1), ready(0), started(0, 1), epoch(0, 1, 1)]);
    bench.seen.clear();
    bench.feed([ended(0, 1, TrainerOutcome::Paused)]);
    assert!(bench.seen.contains(&"kill 0".to_owned()), "{:?}", bench.seen);
}

#[test]
fn a_pause_without_a_checkpoint_says_so_and_a_failure_does_not() {
    let without = |outcome| {
        let mut bench = training(3);
        let details = EndDetails { without_checkpoint: true, ..EndDetails::default() };
        let (id, reason) = (attempt(1).to_string(), "so".to_owned());
        bench.feed([epoch(0, 1, 2), said(0, FromTrainer::Ended { id, outcome, reason, details })]);
        bench.seen.pop().unwrap()
    };
    assert_eq!(without(TrainerOutcome::Paused), "send 4 1/1#1 paused () without a checkpoint");
    assert_eq!(without(TrainerOutcome::Failed), "send 4 1/1#1 failed (so)");
}
