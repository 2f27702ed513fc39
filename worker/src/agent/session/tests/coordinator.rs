//! What the session tells its coordinator and does for it.

use terms::Outcome;

use super::*;
use crate::agent::session::conversation::{HEARTBEAT_GAP_MIN, WELCOME_WITHIN};

#[test]
fn trainings_go_on_while_the_coordinator_is_away_and_their_events_follow_in_order() {
    let mut bench = Bench::training();
    bench.feed([Input::Disconnected, epoch(0, 1, 1)]).expect(&["spool 2 1/1#1 epoch 1"]);
    bench.feed([Input::Connected]).expect(&["hello [1/1#1@0]"]);
    bench.feed([epoch(0, 1, 2)]).expect(&["spool 3 1/1#1 epoch 2"]);
    bench.feed([welcome(vec![])]).expect(&[
        "send 1 1/1#1 started",
        "send 2 1/1#1 epoch 1",
        "send 3 1/1#1 epoch 2",
    ]);
}

#[test]
fn what_was_acknowledged_is_not_sent_again_and_ends_in_the_spool_are_held() {
    let mut bench = Bench::training();
    bench.feed([
        acknowledged(1),
        epoch(0, 1, 1),
        epoch(0, 1, 2),
        ended(0, 1, TrainerOutcome::Done),
        grant(0, 2),
    ]);
    bench.feed([Input::Disconnected]);
    bench.seen.clear();
    bench.feed([Input::Connected]).expect(&["hello [1/2#1@0 1/1#1@0!]"]);
    bench.feed([welcome(vec![])]).expect(&[
        "send 2 1/1#1 epoch 1",
        "send 3 1/1#1 epoch 2",
        "send 4 1/1#1 done ()",
    ]);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_forgets_nothing() {
    let mut bench = Bench::training();
    bench.feed([Input::Disconnected, epoch(0, 1, 1), Input::Connected]);
    bench.seen.clear();
    bench.feed([acknowledged(99)]).expect(&[]);
}

#[test]
fn a_restarted_worker_sends_what_the_last_one_left() {
    let end = EventKind::Ended(End::new(Outcome::Diverged, "so"));
    let mut bench = Bench::recovered(1, 9, vec![Event { sequence: 7, attempt: attempt(1), kind: end }]);
    bench
        .feed([Input::Connected, welcome(vec![])])
        .expect(&["hello [1/1#1@0!]", "send 7 1/1#1 diverged (so)"]);
    bench.feed([acknowledged(7), grant(0, 2), exited(0)]);
    let end = "1/2#1 handed_back (the trainer was killed by SIGKILL before it was ready) +x";
    bench.expect(&[
        "forget 8",
        "start 1/2#1@0 in a new trainer",
        &format!("spool 9 {end}"),
        &format!("send 9 {end}"),
    ]);
}

#[test]
fn the_number_of_events_on_their_way_is_bounded() {
    let kind = EventKind::Ended(End::new(Outcome::Diverged, ""));
    let event = |sequence| Event { sequence, attempt: attempt(sequence), kind: kind.clone() };
    let count = EVENTS_IN_FLIGHT_MAX as u64 + 2;
    let mut bench = Bench::recovered(1, count + 1, (1..=count).map(event).collect());
    bench.feed([Input::Connected, welcome(vec![])]);
    assert_eq!(bench.seen.iter().filter(|line| line.starts_with("send")).count(), EVENTS_IN_FLIGHT_MAX);
    bench.seen.clear();
    bench.feed([acknowledged(1)]).expect(&["forget 1", "send 257 1/257#1 diverged ()"]);
}

#[test]
fn a_refused_attempt_is_stopped_and_forgotten_and_its_slot_is_free_for_another() {
    let mut bench = Bench::training();
    bench.feed([Input::Disconnected, Input::Connected]);
    bench.seen.clear();
    bench.feed([welcome(vec![attempt(1)])]).expect(&["forget 1", "stop 1/1#1@0"]);
    bench.feed([grant(0, 2), epoch(0, 1, 1)]).expect(&[]);
    assert!(!bench.has_dropped(1));
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]);
    assert!(bench.has_dropped(1), "its files are removed");
    bench.expect(&["start 1/2#1@0"]);
}

#[test]
fn a_refused_end_is_dropped_from_the_spool() {
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged), Input::Disconnected, Input::Connected]);
    bench.seen.clear();
    bench.feed([welcome(vec![attempt(1)])]).expect(&["forget 2"]);
}

#[test]
fn a_revoked_attempt_is_stopped_and_ends_as_revoked() {
    let mut bench = Bench::training();
    bench.feed([revoke(1)]).expect(&["forget 1", "stop 1/1#1@0"]);
    bench.feed([epoch(0, 1, 1)]).expect(&[]);
    bench
        .feed([ended(0, 1, TrainerOutcome::Stopped)])
        .expect(&["spool 2 1/1#1 revoked (cancelled)", "send 2 1/1#1 revoked (cancelled)"]);
}

#[test]
fn revoking_what_does_not_run_changes_nothing() {
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged)]);
    bench.seen.clear();
    bench.feed([revoke(1), revoke(9)]).expect(&[]);
}

#[test]
fn a_grant_that_cannot_be_run_here_is_handed_back() {
    let mut bench = Bench::training();
    bench.feed([grant(0, 2)]);
    let busy = "1/2#1 handed_back (slot 0 is busy with another attempt)";
    bench.expect(&[&format!("spool 2 {busy}"), &format!("send 2 {busy}")]);
    bench.feed([grant(5, 3)]);
    let unknown = "1/3#1 handed_back (the worker has no slot 5, it has 1)";
    bench.expect(&[&format!("spool 3 {unknown}"), &format!("send 3 {unknown}")]);
}

#[test]
fn a_grant_that_comes_twice_is_taken_once() {
    let mut bench = Bench::training();
    bench.feed([grant(0, 1)]).expect(&[]);
    bench.feed([ended(0, 1, TrainerOutcome::Diverged)]);
    bench.seen.clear();
    bench.feed([grant(0, 1)]).expect(&[]);
}

#[test]
fn a_job_that_no_worker_can_train_is_rejected() {
    let mut bench = Bench::connected(1);
    let jobs = vec![GrantedJob { attempt: attempt(1), work: Err("no data set".into()) }];
    bench.feed([Input::Message(FromCoordinator::Grant { slot: 0, jobs })]);
    bench.expect(&["spool 1 1/1#1 rejected (no data set)", "send 1 1/1#1 rejected (no data set)"]);
}

#[test]
fn heartbeats_come_at_the_interval_and_soon_after_progress() {
    let progress = |fraction| {
        said(0, FromTrainer::Progress { id: attempt(1).to_string(), epoch: 1, fraction, validating: false })
    };
    let mut bench = Bench::training();
    bench.wait(HEARTBEAT).expect_with_heartbeats(&["heartbeat [1/1#1 1:0]"]);
    bench.wait(HEARTBEAT - Duration::from_millis(1)).expect_with_heartbeats(&[]);
    bench.wait(Duration::from_millis(1)).expect_with_heartbeats(&["heartbeat [1/1#1 1:0]"]);
    bench.feed([progress(0.25), progress(0.5)]).expect_with_heartbeats(&[]);
    assert_eq!(bench.session.next_deadline(), Some(bench.now + HEARTBEAT_GAP_MIN));
    bench.wait(HEARTBEAT_GAP_MIN).expect_with_heartbeats(&["heartbeat [1/1#1 1:0.5]"]);
    bench.wait(HEARTBEAT_GAP_MIN).expect_with_heartbeats(&[]);
}

#[test]
fn a_coordinator_that_does_not_answer_hello_is_tried_again() {
    let mut bench = Bench::new(1);
    bench.feed([Input::Connected]).wait(WELCOME_WITHIN).expect(&["hello []", "close"]);
    bench.feed([Input::Disconnected, Input::Connected]).expect(&["hello []"]);
}

#[test]
fn a_waiting_job_is_held_and_its_lease_is_kept() {
    let mut bench = with_a_waiting_job();
    bench.wait(HEARTBEAT).expect_with_heartbeats(&["heartbeat [1/2#1 0:0]"]);
    bench.feed([Input::Disconnected, Input::Connected]).expect(&["hello [1/2#1@0]"]);
}

#[test]
fn a_waiting_job_that_is_refused_never_starts() {
    let mut bench = with_a_waiting_job();
    bench.feed([Input::Disconnected, Input::Connected, welcome(vec![attempt(2)])]);
    bench.seen.clear();
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]).expect(&[]);
}

#[test]
fn a_waiting_job_that_is_revoked_ends_without_starting() {
    let mut bench = with_a_waiting_job();
    let end = "1/2#1 revoked (cancelled)";
    bench.feed([revoke(2)]).expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]).expect(&[]);
}
