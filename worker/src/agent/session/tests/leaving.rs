//! How a worker leaves.

use super::*;

#[test]
fn an_idle_worker_leaves_when_asked_to() {
    Bench::connected(1).feed([Input::Shutdown]).expect(&["draining", "exit Orderly"]);
    Bench::new(1).feed([Input::Shutdown]).expect(&["exit Orderly"]);
}

#[test]
fn a_running_job_may_end_within_the_grace_period() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown]).expect(&["draining"]);
    bench.feed([epoch(0, 1, 1), epoch(0, 1, 2), ended(0, 1, TrainerOutcome::Done)]);
    bench.seen.clear();
    bench.feed([acknowledged(3)]).expect(&["forget 3"]);
    bench.feed([acknowledged(4)]).expect(&["forget 4", "exit Orderly"]);
}

#[test]
fn after_the_grace_period_jobs_are_handed_back_by_force_if_need_be() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown]).wait(GRACE - Duration::from_secs(10));
    bench.expect(&["draining", "stop 1/1#1@0 with a checkpoint"]);
    bench.wait(Duration::from_secs(8)).feed([exited(0)]);
    let end = "1/1#1 handed_back (the worker is shutting down) +x";
    bench.expect(&["kill 0", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
    bench.wait(Duration::from_secs(2)).expect(&["exit Orderly"]);
}

#[test]
fn a_draining_worker_hands_new_jobs_back() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown, grant(0, 2)]);
    let end = "1/2#1 handed_back (the worker takes no new jobs, it is about to leave)";
    bench.expect(&["draining", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
}

#[test]
fn the_second_request_to_leave_ends_at_once() {
    Bench::training()
        .feed([Input::Shutdown, Input::Shutdown, Input::Tick])
        .expect(&["draining", "exit AtOnce"]);
}

#[test]
fn a_worker_drained_by_its_coordinator_leaves_as_on_a_signal() {
    let mut bench = Bench::training();
    bench.feed([Input::Message(FromCoordinator::Drain)]);
    bench.feed([ended(0, 1, TrainerOutcome::Diverged), acknowledged(2)]);
    let [spooled, sent] = ["spool 2 1/1#1 diverged (so)", "send 2 1/1#1 diverged (so)"];
    bench.expect(&["draining", spooled, sent, "forget 2", "exit Orderly"]);

    let mut bench = Bench::training();
    bench.feed([Input::Message(FromCoordinator::Drain)]).wait(GRACE - Duration::from_secs(10));
    bench.expect(&["draining", "stop 1/1#1@0 with a checkpoint"]);
    bench.feed([ended(0, 1, TrainerOutcome::Stopped), acknowledged(2)]);
    let end = "1/1#1 handed_back (the worker is shutting down)";
    bench.expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}"), "forget 2", "exit Orderly"]);
}

#[test]
fn a_signal_after_a_drain_makes_the_grace_period_no_longer() {
    let mut bench = Bench::training();
    bench.feed([Input::Message(FromCoordinator::Drain)]).wait(GRACE / 2).feed([Input::Shutdown]);
    bench.wait(GRACE - Duration::from_secs(10) - GRACE / 2);
    bench.expect(&["draining", "stop 1/1#1@0 with a checkpoint"]);
    bench.feed([Input::Message(FromCoordinator::Drain), Input::Shutdown]).expect(&["exit AtOnce"]);
}

#[test]
fn draining_is_said_again_after_a_reconnection() {
    let mut bench = Bench::training();
    bench
        .feed([Input::Disconnected, Input::Shutdown, Input::Connected])
        .expect(&["hello [1/1#1@0] draining"]);
}

#[test]
fn a_waiting_job_is_handed_back_as_soon_as_the_worker_is_asked_to_leave() {
    let end = "1/2#1 handed_back (the worker is shutting down)";
    let expected = [&format!("spool 2 {end}"), "draining", &format!("send 2 {end}")];
    with_a_waiting_job().feed([Input::Shutdown]).expect(&expected);
    with_a_waiting_job().feed([Input::Message(FromCoordinator::Drain)]).expect(&expected);
}

#[test]
fn a_worker_that_is_not_let_in_any_more_hands_its_jobs_back_and_leaves_with_the_reason() {
    let refused = || Input::Refused { reason: "no".into() };
    let mut bench = Bench::training();
    bench.feed([Input::Disconnected, refused()]).wait(GRACE - Duration::from_secs(10));
    bench.expect(&["stop 1/1#1@0 with a checkpoint"]);
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]);
    bench.expect(&["spool 2 1/1#1 handed_back (the worker is shutting down)"]);
    // The first signal hurries nothing but the wait for acknowledgements.
    bench.feed([Input::Shutdown]).expect(&[]);
    bench.wait(Duration::from_secs(2)).expect(&[&format!("exit {:?}", Departure::Refused("no".into()))]);
}
