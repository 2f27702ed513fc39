//! Jobs of users' programs next to those of models: one slot, two kinds of trainer, one process at a time.

use super::*;
use crate::agent::session::limits::{PROGRAM_TO_TRAINER, STOP_TO_KILL};

/// A grant of a program's job.
fn grant_program(slot: usize, job: u64) -> Input {
    let program = Work { program: Some(trainer_protocol::Program::default()), dataset: None, ..work() };
    let job = GrantedJob { attempt: attempt(job), work: Ok(program) };
    Input::Message(FromCoordinator::Grant { slot, jobs: vec![job] })
}

/// The same for a program that has so many seconds to stop.
fn grant_program_with(job: u64, stop_seconds: f64) -> Input {
    let program = trainer_protocol::Program { stop_seconds: Some(stop_seconds), ..Default::default() };
    let work = Work { program: Some(program), dataset: None, ..work() };
    let job = GrantedJob { attempt: attempt(job), work: Ok(work) };
    Input::Message(FromCoordinator::Grant { slot: 0, jobs: vec![job] })
}

fn bench(runs_programs: bool) -> Bench {
    let mut bench = Bench::connected(1);
    bench.session = Session::new(1, GRACE, 1, Vec::new()).with_programs(runs_programs);
    bench.feed([Input::Connected, welcome(vec![])]);
    bench.seen.clear();
    bench
}

#[test]
fn a_program_is_run_only_where_programs_are_allowed() {
    let mut bench = bench(false);
    let rejected = "1 1/1#1 rejected (the worker runs no programs; start it with --allow-commands)";
    bench.feed([grant_program(0, 1)]).expect(&[&format!("spool {rejected}"), &format!("send {rejected}")]);
    // The slot is free for what it can train.
    bench.feed([grant(0, 2)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

#[test]
fn a_program_has_the_time_to_stop_that_its_sweep_gives_it_and_no_more_than_a_leaving_worker_has() {
    let mut revoked = bench(true);
    revoked.feed([grant_program_with(1, 60.0), ready(0), started(0, 1)]);
    revoked.seen.clear();
    revoked.feed([revoke(1)]).wait(Duration::from_secs(61));
    assert!(!revoked.seen.iter().any(|seen| seen == "kill 0"), "{:?}", revoked.seen);
    revoked.wait(PROGRAM_TO_TRAINER);
    assert!(revoked.seen.iter().any(|seen| seen == "kill 0"), "{:?}", revoked.seen);
    let mut leaving = bench(true);
    leaving.feed([grant_program_with(1, 60.0), ready(0), started(0, 1), Input::Shutdown]);
    leaving.wait(GRACE).wait(STOP_TO_KILL);
    assert!(leaving.seen.iter().any(|seen| seen == "kill 0"), "{:?}", leaving.seen);
}

#[test]
fn a_trainer_of_the_other_kind_makes_way_and_the_job_waits_for_its_end() {
    let mut bench = bench(true);
    bench.feed([grant(0, 1), ready(0), started(0, 1), epoch(0, 1, 1), epoch(0, 1, 2)]);
    bench.feed([ended(0, 1, TrainerOutcome::Done)]);
    bench.seen.clear();
    bench.feed([grant_program(0, 2)]).expect(&["kill 0"]);
    bench.feed([exited(0)]).expect(&["start 1/2#1@0 in a new trainer"]);
    bench.feed([ready(0), started(0, 2), epoch(0, 2, 1), epoch(0, 2, 2), ended(0, 2, TrainerOutcome::Done)]);
    bench.seen.clear();
    // The next one of its kind finds it.
    bench.feed([grant_program(0, 3)]).expect(&["start 1/3#1@0"]);
    bench.feed([started(0, 3), epoch(0, 3, 1), epoch(0, 3, 2), ended(0, 3, TrainerOutcome::Done)]);
    bench.seen.clear();
    bench.feed([grant(0, 4)]).expect(&["kill 0"]);
    bench.feed([exited(0)]).expect(&["start 1/4#1@0 in a new trainer"]);
}

#[test]
fn a_job_that_is_revoked_while_the_other_trainer_ends_is_not_started() {
    let mut bench = bench(true);
    bench.feed([grant(0, 1), ready(0), started(0, 1), epoch(0, 1, 1), epoch(0, 1, 2)]);
    bench.feed([ended(0, 1, TrainerOutcome::Done), grant_program(0, 2), revoke(2)]);
    bench.seen.clear();
    bench.feed([exited(0)]).expect(&[]);
    bench.feed([grant(0, 3)]).expect(&["start 1/3#1@0 in a new trainer"]);
}
