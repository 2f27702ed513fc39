//! Jobs that occupy several slots: nothing else runs there, not even an idle trainer.

use super::*;
use crate::agent::session::limits::{KILL_TO_GONE, STOP_TO_KILL};

/// Trains a job of two epochs to its end.
fn trained(slot: usize, job: u64) -> [Input; 4] {
    [started(slot, job), epoch(slot, job, 1), epoch(slot, job, 2), ended(slot, job, TrainerOutcome::Done)]
}

#[test]
fn nothing_is_accepted_for_the_slots_of_a_running_job_until_it_has_ended() {
    let mut bench = Bench::connected(3);
    bench.feed([grant_several(0, &[2], 1)]).expect(&["start 1/1#1@0 in a new trainer"]);
    let busy = |sequence: u64, job: u64, slot: usize| {
        format!("{sequence} {} handed_back (slot {slot} is busy with another attempt)", attempt(job))
    };
    let refused = [(1, 2, 2), (2, 3, 0)].map(|(sequence, job, slot)| busy(sequence, job, slot));
    bench.feed([grant(2, 2), grant(0, 3)]).expect(&[
        &format!("spool {}", refused[0]),
        &format!("send {}", refused[0]),
        &format!("spool {}", refused[1]),
        &format!("send {}", refused[1]),
    ]);
    // A slot that it does not occupy.
    bench.feed([grant(1, 4)]).expect(&["start 1/4#1@1 in a new trainer"]);
    // Nor can another job have one of its slots besides.
    bench.feed([ready(1)]).feed(trained(1, 4));
    bench.seen.clear();
    bench.feed([grant_several(1, &[0], 5)]);
    assert!(bench.seen.iter().any(|line| line.contains("busy with another attempt")), "{:?}", bench.seen);
    bench.feed([ready(0)]).feed(trained(0, 1));
    bench.seen.clear();
    bench.feed([grant(2, 6)]).expect(&["start 1/6#1@2 in a new trainer"]);
}

#[test]
fn idle_trainers_of_the_other_slots_end_before_the_job_starts() {
    let mut bench = Bench::connected(2);
    bench.feed([grant(1, 1), ready(1)]).feed(trained(1, 1));
    bench.seen.clear();
    bench.feed([grant_several(0, &[1], 2)]).expect(&["kill 1"]);
    bench.feed([exited(1)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

#[test]
fn a_job_waits_until_what_was_revoked_in_any_of_its_slots_has_ended() {
    let mut bench = Bench::connected(2);
    bench.feed([grant(1, 1), ready(1), started(1, 1), revoke(1)]);
    bench.seen.clear();
    bench.feed([grant_several(0, &[1], 2)]).expect(&[]);
    // Its trainer is of no more use either.
    bench.feed([ended(1, 1, TrainerOutcome::Stopped)]);
    assert!(bench.seen.iter().any(|line| line == "kill 1"), "{:?}", bench.seen);
    bench.seen.clear();
    bench.feed([exited(1)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

#[test]
fn a_job_waits_for_one_that_occupies_its_slot_and_was_refused() {
    let mut bench = Bench::connected(2);
    bench.feed([grant_several(0, &[1], 1), ready(0), started(0, 1)]);
    bench.feed([Input::Disconnected, Input::Connected]);
    assert!(bench.seen.contains(&"hello [1/1#1@0]".to_owned()), "{:?}", bench.seen);
    bench.feed([welcome(vec![attempt(1)])]);
    bench.seen.clear();
    bench.feed([grant(1, 2)]).expect(&[]);
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]).expect(&["start 1/2#1@1 in a new trainer"]);
}

#[test]
fn slots_of_a_job_whose_trainer_cannot_be_killed_are_out_of_use_until_it_has_ended() {
    let mut bench = Bench::connected(2);
    bench.feed([grant_several(0, &[1], 1), ready(0), started(0, 1), revoke(1), grant(1, 2)]);
    bench.wait(STOP_TO_KILL).wait(KILL_TO_GONE);
    let is_handed_back =
        |line: &String| line.contains("1/2#1 handed_back") && line.contains("slot 0 is out of use");
    assert!(bench.seen.iter().any(is_handed_back), "{:?}", bench.seen);
    bench.feed([grant(1, 3), exited(0)]);
    assert!(bench.seen.contains(&"start 1/3#1@1 in a new trainer".to_owned()), "{:?}", bench.seen);
}

#[test]
fn a_slot_that_the_worker_does_not_have_is_refused() {
    let mut bench = Bench::connected(1);
    let refused = "1 1/1#1 handed_back (the worker has no slot 1, it has 1)";
    let expected = [format!("spool {refused}"), format!("send {refused}")];
    bench.feed([grant_several(0, &[1], 1)]).expect(&[&expected[0], &expected[1]]);
}
