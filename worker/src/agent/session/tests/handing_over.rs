//! Checkpoints of jobs that are handed back, and notices that a machine will be taken away.

use super::*;

fn kept() -> Input {
    said(0, FromTrainer::Kept { id: attempt(1).to_string() })
}

fn notice() -> Input {
    Input::Notice { why: "SIGUSR1".into() }
}

const BACK: &str = "1/1#1 handed_back (the worker is shutting down)";

#[test]
fn who_leaves_keeps_a_checkpoint_at_once_and_hands_it_over_while_its_job_goes_on() {
    let mut bench = Bench::training_to_hand_over();
    bench.feed([Input::Shutdown]).expect(&["keep 1/1#1@0", "draining"]);
    bench.feed([kept()]).expect(&["hand over 1/1#1 of 1-9/1"]);
    bench.feed([Input::HandedOver(attempt(1)), epoch(0, 1, 1)]);
    bench.expect(&["spool 2 1/1#1 epoch 1", "send 2 1/1#1 epoch 1"]);
    // Half of the grace period is for the last checkpoint and its way.
    bench.wait(GRACE / 2).expect(&["stop 1/1#1@0 with a checkpoint"]);
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]).expect(&["hand over 1/1#1 of 1-9/1"]);
    bench.feed([Input::HandedOver(attempt(1)), acknowledged(3)]);
    bench.expect(&[&format!("spool 3 {BACK}"), &format!("send 3 {BACK}"), "forget 3", "exit Orderly"]);
}

#[test]
fn a_trainer_that_does_not_keep_when_asked_is_not_asked() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown]).expect(&["draining"]);
    let mut bench = Bench::training_to_hand_over();
    bench.feed([kept()]).expect(&[]);
}

#[test]
fn what_cannot_be_handed_over_in_time_is_handed_back_without() {
    let mut bench = Bench::training_to_hand_over();
    bench.feed([Input::Shutdown]).wait(GRACE / 2).feed([ended(0, 1, TrainerOutcome::Stopped)]);
    bench.seen.clear();
    bench.wait(GRACE / 2 - Duration::from_secs(3)).expect(&[]);
    assert_eq!(bench.session.next_deadline().map(|at| at > bench.now), Some(true));
    bench.wait(Duration::from_secs(1)).expect(&[&format!("spool 2 {BACK}"), &format!("send 2 {BACK}")]);
    bench.feed([Input::HandedOver(attempt(1))]).expect(&[]);
}

#[test]
fn an_attempt_whose_checkpoint_is_on_its_way_is_held_and_can_be_taken_back() {
    let on_its_way = || {
        let mut bench = Bench::training_to_hand_over();
        bench.feed([notice(), ended(0, 1, TrainerOutcome::Stopped), Input::Disconnected]);
        bench.seen.clear();
        bench
    };
    let mut bench = on_its_way();
    bench.feed([Input::Connected]).expect(&["hello [1/1#1@0] draining"]);
    bench.feed([welcome(vec![attempt(1)])]);
    assert!(bench.has_dropped(1));
    let mut bench = on_its_way();
    bench.feed([Input::Connected, welcome(vec![])]);
    assert!(bench.seen.contains(&"heartbeat [1/1#1 1:0]".to_owned()), "{:?}", bench.seen);
    bench.seen.clear();
    bench.feed([revoke(1)]);
    bench.expect(&["spool 2 1/1#1 revoked (cancelled)", "send 2 1/1#1 revoked (cancelled)"]);
}

#[test]
fn after_a_notice_jobs_are_handed_back_at_once_and_a_signal_that_follows_is_the_first() {
    let mut bench = Bench::training_to_hand_over();
    bench.feed([notice()]).expect(&["stop 1/1#1@0 with a checkpoint", "draining"]);
    bench.feed([notice(), grant(0, 2), Input::Shutdown]);
    let refused = "1/2#1 handed_back (the worker takes no new jobs, it is about to leave)";
    bench.expect(&[&format!("spool 2 {refused}"), &format!("send 2 {refused}")]);
    // With the signal, there may be no more time than the grace period.
    bench.wait(Duration::from_secs(8)).expect(&["kill 0"]);
}

#[test]
fn what_a_trainer_kept_is_handed_over_though_it_had_to_be_killed() {
    let mut bench = Bench::training_to_hand_over();
    bench.feed([notice(), kept(), Input::Shutdown]).wait(Duration::from_secs(8));
    bench.seen.clear();
    bench.feed([exited_after_reading(0, 1)]).expect(&["hand over 1/1#1 of 1-9/1"]);
    bench.feed([Input::HandedOver(attempt(1))]);
    assert!(bench.seen.iter().any(|seen| seen.starts_with("spool 2 1/1#1 handed_back")), "{:?}", bench.seen);
}

#[test]
fn a_signal_shortens_the_time_to_hand_over_that_a_notice_gave() {
    let mut bench = Bench::training_to_hand_over();
    bench.feed([notice(), ended(0, 1, TrainerOutcome::Stopped), Input::Shutdown]);
    bench.seen.clear();
    bench.wait(GRACE / 2).expect(&[&format!("spool 2 {BACK}"), &format!("send 2 {BACK}")]);
}

#[test]
fn a_worker_without_a_job_for_long_leaves_but_not_while_it_is_away() {
    const LIMIT: Duration = Duration::from_secs(600);
    let mut bench = Bench::new(1);
    bench.session = Session::new(1, GRACE, 1, Vec::new()).with_exit_when_idle(Some(LIMIT));
    bench.wait(2 * LIMIT);
    bench.feed([Input::Connected, welcome(vec![])]);
    bench.seen.clear();
    bench.wait(LIMIT / 2).feed([grant(0, 1), ready(0), started(0, 1)]).wait(2 * LIMIT);
    bench.feed([ended(0, 1, TrainerOutcome::Diverged)]).wait(2 * LIMIT);
    bench.seen.clear();
    // What was not acknowledged keeps it.
    bench.feed([acknowledged(2)]).expect(&["forget 2"]);
    bench.wait(LIMIT - Duration::from_secs(1)).feed([Input::Disconnected]).wait(LIMIT).expect(&[]);
    bench.feed([Input::Connected, welcome(vec![])]).wait(LIMIT / 2);
    bench.expect(&["hello []"]);
    assert!(bench.session.next_deadline() <= Some(bench.now + LIMIT / 2));
    bench.wait(LIMIT / 2).expect(&["draining", "exit Orderly"]);
}
