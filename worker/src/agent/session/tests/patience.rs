//! How long the session waits for a trainer: until it is ready, trains, reports, stops, and is gone.

use super::*;
use crate::agent::session::limits::{
    KILL_TO_GONE, KILL_TO_GONE_LEAVING, STOP_TO_KILL, UNKILLABLE_TO_HANDED_BACK,
};

#[test]
fn a_trainer_that_does_not_stop_is_killed() {
    let mut bench = Bench::training();
    bench.feed([revoke(1)]).wait(STOP_TO_KILL).expect(&["forget 1", "stop 1/1#1@0", "kill 0"]);
    bench.feed([epoch(0, 1, 1), ended(0, 1, TrainerOutcome::Done)]).expect(&[]);
    bench
        .feed([exited(0)])
        .expect(&["spool 2 1/1#1 revoked (cancelled) +x", "send 2 1/1#1 revoked (cancelled) +x"]);
}

#[test]
fn a_job_that_takes_too_long_is_stopped_and_fails() {
    let mut bench = Bench::training();
    bench.wait(Duration::from_secs(7200)).expect(&["stop 1/1#1@0"]);
    let end = "1/1#1 failed (exceeded job_timeout of 2h in epoch 1: training took 2h, validating and the rest 0.0 s)";
    bench
        .feed([ended(0, 1, TrainerOutcome::Stopped)])
        .expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);
}

#[test]
fn a_training_that_ends_just_when_its_time_is_over_is_done() {
    let mut bench = Bench::training();
    bench.feed([epoch(0, 1, 1), epoch(0, 1, 2)]).wait(Duration::from_secs(7200));
    bench.seen.clear();
    bench
        .feed([ended(0, 1, TrainerOutcome::Done)])
        .expect(&["spool 4 1/1#1 done ()", "send 4 1/1#1 done ()"]);
}

#[test]
fn a_trainer_that_never_gets_ready_is_killed() {
    let mut bench = Bench::connected(1);
    bench.feed([grant(0, 1)]).wait(TRAINER_READY_WITHIN).feed([exited(0)]);
    let end = "1/1#1 handed_back (the trainer was not ready within 120 s) +x";
    let (spool, send) = (format!("spool 1 {end}"), format!("send 1 {end}"));
    bench.expect(&["start 1/1#1@0 in a new trainer", "kill 0", &spool, &send]);
}

#[test]
fn the_time_of_a_job_begins_when_its_training_does() {
    let mut bench = Bench::connected(1);
    bench.feed([grant(0, 1), ready(0)]).wait(Duration::from_secs(10_000));
    bench.feed([started(0, 1)]).wait(Duration::from_secs(7_199));
    bench.seen.clear();
    bench.wait(Duration::from_secs(1)).expect(&["stop 1/1#1@0"]);
}

const SILENCE: Duration = Duration::from_secs(60);

/// As `Bench::connected`, where trainers may be silent for `SILENCE`.
fn impatient(slots: usize) -> Bench {
    let mut bench = Bench::new(slots);
    bench.session = Session::new(slots, GRACE, 1, Vec::new()).with_silence_max(Some(SILENCE));
    bench.feed([Input::Connected, welcome(vec![])]);
    bench.seen.clear();
    bench
}

fn hint(fraction: f64, validating: bool) -> Input {
    said(0, FromTrainer::Progress { id: attempt(1).to_string(), epoch: 1, fraction, validating })
}

#[test]
fn a_job_that_takes_too_long_says_what_the_time_went_into() {
    let mut bench = Bench::training();
    bench.wait(Duration::from_secs(100)).feed([hint(1.0, true)]);
    bench.wait(Duration::from_secs(7_100)).feed([ended(0, 1, TrainerOutcome::Stopped)]);
    let end = "failed (exceeded job_timeout of 2h while validating epoch 1: training took 1m 40s, validating and the rest 1h 58m 20s)";
    assert!(bench.seen.iter().any(|line| line.contains(end)), "{:?}", bench.seen);
}

#[test]
fn a_line_of_its_log_is_a_trainers_sign_of_life() {
    let mut bench = impatient(1);
    bench.feed([grant(0, 1), ready(0), started(0, 1)]);
    for _ in 0..3 {
        bench.wait(SILENCE / 2).feed([Input::Trainer { slot: 0, event: TrainerEvent::Alive }]);
    }
    bench.seen.retain(|line| line.starts_with("kill"));
    bench.expect(&[]);
}

const STILL_THERE: &str = "the process of its trainer is still there after SIGKILL, as where a disk or share does not \
                           answer; slot 0 is out of use until it has ended";

#[test]
fn a_trainer_that_cannot_be_killed_holds_its_attempts_no_longer_than_its_bound() {
    let mut bench = Bench::training();
    bench.feed([revoke(1)]).wait(STOP_TO_KILL).wait(KILL_TO_GONE - Duration::from_millis(1));
    bench.expect(&["forget 1", "stop 1/1#1@0", "kill 0"]);
    let end = format!("1/1#1 revoked (cancelled; {STILL_THERE})");
    bench.wait(Duration::from_millis(1)).expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);

    let mut bench = impatient(1);
    bench.feed([grant_pack(0, &[1, 2]), ready(0)]).wait(SILENCE).wait(KILL_TO_GONE);
    let why = "unavailable (the trainer said nothing for 1m while it prepared the data set";
    let ends = bench.seen.iter().filter(|line| {
        line.starts_with("send") && line.contains(why) && line.ends_with(&format!("{STILL_THERE})"))
    });
    assert_eq!(ends.count(), 2, "{:?}", bench.seen);
}

#[test]
fn a_slot_whose_trainer_cannot_be_killed_takes_no_jobs_until_it_has_ended() {
    let mut bench = impatient(2);
    bench.feed([grant(0, 1), ready(0)]).wait(SILENCE).wait(KILL_TO_GONE);
    bench.seen.clear();
    // Handed back at once, it would come back at once.
    bench.feed([grant(0, 2)]).wait(UNKILLABLE_TO_HANDED_BACK - Duration::from_millis(1)).expect(&[]);
    let end = format!("1/2#1 handed_back ({STILL_THERE})");
    bench.wait(Duration::from_millis(1)).expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);
    bench.feed([grant(1, 3), grant(0, 4)]).expect(&["start 1/3#1@1 in a new trainer"]);
    bench.feed([exited(0)]).expect(&["start 1/4#1@0 in a new trainer"]);
}

#[test]
fn a_worker_leaves_though_a_trainer_cannot_be_killed() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown]).wait(GRACE).wait(GRACE);
    bench.wait(KILL_TO_GONE_LEAVING);
    let end = format!("1/1#1 handed_back (the worker is shutting down; {STILL_THERE})");
    assert!(bench.seen.iter().any(|line| line.contains(&end)), "{:?}", bench.seen);
    bench.seen.clear();
    bench.feed([acknowledged(2)]).expect(&["forget 2", "exit Orderly"]);
}

#[test]
fn a_trainer_that_stands_still_is_ended_and_its_job_tried_again_uncharged_where_its_data_set_is_away() {
    let almost = SILENCE - Duration::from_millis(1);
    let preparing =
        |fraction, doing: &str| said(0, FromTrainer::Preparing { fraction, doing: doing.to_owned() });
    let away = "as where a disk or share does not answer (--trainer-silence))";
    for (inputs, end) in [
        (
            vec![preparing(0.0, "")],
            format!("unavailable (the trainer said nothing for 1m while it prepared the data set, {away}"),
        ),
        (
            vec![preparing(0.0, "listing its files, 12 so far")],
            format!(
                "unavailable (the trainer said nothing for 1m while it prepared the data set (listing its files, 12 so far), {away}"
            ),
        ),
        (
            vec![preparing(0.4, "reading")],
            format!(
                "unavailable (the trainer said nothing for 1m while it prepared the data set (40 % done, reading), {away}"
            ),
        ),
        (
            vec![started(0, 1), hint(0.5, false)],
            "failed (the trainer said nothing for 1m in epoch 1, as if it stood still".to_owned(),
        ),
    ] {
        let mut bench = impatient(1);
        bench.feed([grant(0, 1), ready(0)]);
        for input in inputs {
            bench.wait(almost).feed([input]);
        }
        bench.wait(almost);
        bench.seen.retain(|line| line.starts_with("kill"));
        bench.expect(&[]);
        bench.wait(Duration::from_millis(1)).feed([exited(0)]);
        assert!(bench.seen.iter().any(|line| line.contains(&end)), "{:?}", bench.seen);
    }
}

#[test]
fn a_trainer_owes_no_word_without_a_job_and_while_it_is_not_heard() {
    let mut bench = impatient(1);
    bench.feed([grant(0, 1), ready(0), started(0, 1)]).wait(SILENCE / 2);
    bench.now += SILENCE;
    bench.session.was_deaf(bench.now);
    bench.feed([Input::Tick, ended(0, 1, TrainerOutcome::Diverged)]).wait(2 * SILENCE);
    bench.seen.retain(|line| line.starts_with("kill"));
    bench.expect(&[]);
}

#[test]
fn time_in_which_a_trainer_waits_for_room_is_none_of_its_jobs_time() {
    let timeout = work().timeout.unwrap();
    let mut bench = Bench::training();
    bench.now += timeout;
    bench.session.trainers_waited(timeout);
    bench.feed([Input::Tick]).wait(timeout - Duration::from_secs(1));
    bench.seen.retain(|line| line.starts_with("stop"));
    bench.expect(&[]);
    bench.wait(Duration::from_secs(1));
    assert!(bench.seen.iter().any(|line| line.starts_with("stop 1/1#1")), "{:?}", bench.seen);
}

#[test]
fn a_trainer_that_is_not_heard_is_neither_killed_nor_given_up_meanwhile() {
    let deaf = |bench: &mut Bench| {
        let time = Duration::from_secs(3_600);
        bench.now += time;
        bench.session.was_deaf(bench.now);
        bench.session.trainers_waited(time);
        bench.feed([Input::Tick]);
        bench.seen.retain(|line| !line.starts_with("heartbeat"));
    };
    let mut bench = Bench::training();
    bench.feed([revoke(1)]).expect(&["forget 1", "stop 1/1#1@0"]);
    deaf(&mut bench);
    bench.expect(&[]).wait(STOP_TO_KILL).expect(&["kill 0"]);
    bench.feed([grant(0, 2)]);
    deaf(&mut bench);
    bench.expect(&[]).feed([exited(0)]);
    let end = "1/1#1 revoked (cancelled) +x";
    bench.expect(&[&format!("spool 2 {end}"), "start 1/2#1@0 in a new trainer", &format!("send 2 {end}")]);
    deaf(&mut bench);
    bench.expect(&[]).wait(TRAINER_READY_WITHIN).expect(&["kill 0"]);
}
