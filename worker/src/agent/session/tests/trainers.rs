//! What the session does with its trainers and believes of them.

use super::*;
use crate::agent::session::limits::STOP_TO_KILL;

#[test]
fn a_job_goes_to_its_slot_and_its_events_are_spooled_before_they_are_sent() {
    let mut bench = Bench::connected(2);
    bench.feed([grant(1, 7)]).expect(&["start 1/7#1@1 in a new trainer"]);
    bench.feed([ready(1), started(1, 7)]).expect(&["spool 1 1/7#1 started", "send 1 1/7#1 started"]);
    bench.feed([epoch(1, 7, 1)]).expect(&["spool 2 1/7#1 epoch 1", "send 2 1/7#1 epoch 1"]);
    bench.feed([epoch(1, 7, 2)]).expect(&["spool 3 1/7#1 epoch 2", "send 3 1/7#1 epoch 2"]);
    bench
        .feed([ended(1, 7, TrainerOutcome::Done)])
        .expect(&["spool 4 1/7#1 done ()", "send 4 1/7#1 done ()"]);
    bench.feed([acknowledged(3), acknowledged(4)]).expect(&["forget 3", "forget 4"]);
}

#[test]
fn the_trainer_stays_for_the_next_job() {
    let mut bench = Bench::training();
    bench.feed([epoch(0, 1, 1), epoch(0, 1, 2), ended(0, 1, TrainerOutcome::Done)]);
    bench.seen.clear();
    bench.feed([grant(0, 2)]).expect(&["start 1/2#1@0"]);
}

#[test]
fn what_the_trainer_says_of_the_end_is_passed_on() {
    for (outcome, expected) in [
        (TrainerOutcome::Diverged, "diverged"),
        (TrainerOutcome::Failed, "failed"),
        (TrainerOutcome::Rejected, "rejected"),
    ] {
        let mut bench = Bench::training();
        let expected = [format!("spool 2 1/1#1 {expected} (so)"), format!("send 2 1/1#1 {expected} (so)")];
        bench.feed([ended(0, 1, outcome)]).expect(&expected.each_ref().map(String::as_str));
    }
}

#[test]
fn a_crashed_trainer_is_a_failed_attempt_with_its_last_lines_and_the_next_job_gets_a_new_one() {
    let mut bench = Bench::training();
    let end = "1/1#1 failed (the trainer was killed by SIGKILL in epoch 1) +x";
    bench.feed([exited(0)]).expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);
    bench.feed([grant(0, 2)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

#[test]
fn a_trainer_that_gives_up_is_quoted() {
    let mut bench = Bench::training();
    let event = TrainerEvent::Exited {
        reason: "the trainer ended with exit status 1".into(),
        log_tail: vec!["epoch 1".into(), "error: the GPU is gone".into()],
        data_lost: false,
        trains_heard: 1,
        out_of_memory: false,
    };
    bench.feed([Input::Trainer { slot: 0, event }]);
    let told = "failed (the trainer ended with exit status 1 in epoch 1: the GPU is gone)";
    assert!(bench.seen.iter().any(|line| line.contains(told)), "{:?}", bench.seen);
}

#[test]
fn a_job_whose_trainer_ends_before_it_is_ready_goes_back_and_a_worker_where_all_do_leaves() {
    let mut bench = Bench::connected(1);
    let end =
        |job| format!("1/{job}#1 handed_back (the trainer was killed by SIGKILL before it was ready) +x");
    let pauses = [0, 1, 5, 15].map(Duration::from_secs);
    for (job, pause) in (1..).zip(pauses) {
        bench.wait(pause).feed([grant(0, job), exited(0)]).expect(&[
            &format!("start 1/{job}#1@0 in a new trainer"),
            &format!("spool {job} {}", end(job)),
            &format!("send {job} {}", end(job)),
        ]);
    }
    // One that begins with a job makes all that good.
    bench.wait(START_PAUSE_MAX).feed([grant(0, 5), ready(0), started(0, 5), exited(0)]);
    for (job, pause) in (6..).zip(pauses) {
        bench.wait(pause).feed([grant(0, job), exited(0)]);
    }
    assert!(!bench.session.is_leaving());
    bench.wait(START_PAUSE_MAX).feed([grant(0, 10), exited(0)]);
    assert!(bench.session.is_leaving());
    bench.seen.clear();
    let why = "slot 0, 5 times in a row: the trainer was killed by SIGKILL before it was ready: x";
    bench
        .feed([acknowledged(11)])
        .expect(&["forget 11", &format!("exit {:?}", Departure::Failed(why.into()))]);
}

/// Longest pause before another trainer is started.
const START_PAUSE_MAX: Duration = Duration::from_secs(30);

#[test]
fn after_a_failed_start_a_slot_keeps_its_next_job_until_it_tries_again() {
    let failed = || {
        let mut bench = Bench::connected(1);
        bench.feed([grant(0, 1), exited(0), grant(0, 2)]);
        bench.seen.clear();
        bench
    };
    let almost = Duration::from_millis(999);
    failed()
        .wait(almost)
        .expect(&[])
        .wait(Duration::from_millis(1))
        .expect(&["start 1/2#1@0 in a new trainer"]);
    failed().feed([Input::Disconnected, Input::Connected]).expect(&["hello [1/2#1@0 1/1#1@0!]"]);
    let end = "1/2#1 handed_back (the worker is shutting down)";
    failed().feed([Input::Shutdown]).expect(&[
        &format!("spool 2 {end}"),
        "draining",
        &format!("send 2 {end}"),
    ]);
}

#[test]
fn a_job_that_its_trainer_never_read_goes_back_and_the_next_one_gets_a_new_trainer() {
    let end = "1/2#1 handed_back (the trainer was killed by SIGKILL before it read its job) +x";
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged), grant(0, 2)]);
    bench.seen.clear();
    bench.feed([exited_after_reading(0, 1)]).expect(&[&format!("spool 3 {end}"), &format!("send 3 {end}")]);
    bench.feed([grant(0, 3)]).expect(&["start 1/3#1@0 in a new trainer"]);
    bench.feed([ready(0), exited_after_reading(0, 1)]);
    let charged = "1/3#1 failed (the trainer was killed by SIGKILL while it prepared the data set) +x";
    bench.expect(&[&format!("spool 4 {charged}"), &format!("send 4 {charged}")]);

    // Its output closes before it ends.
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged), grant(0, 2)]);
    let closed = TrainerEvent::Broken { reason: OUTPUT_CLOSED.into() };
    bench.seen.clear();
    bench.feed([Input::Trainer { slot: 0, event: closed }, exited_after_reading(0, 1)]);
    let end = format!("1/2#1 handed_back ({OUTPUT_CLOSED}) +x");
    bench.expect(&["kill 0", &format!("spool 3 {end}"), &format!("send 3 {end}")]);
}

#[test]
fn a_worker_whose_trainers_get_ready_and_never_read_a_job_leaves() {
    let mut bench = Bench::connected(1);
    for job in 1..=5 {
        assert!(!bench.session.is_leaving());
        bench.wait(START_PAUSE_MAX).feed([grant(0, job), ready(0), exited_after_reading(0, 0)]);
    }
    assert!(bench.session.is_leaving());
    assert!(!bench.seen.iter().any(|line| line.contains("failed")), "{:?}", bench.seen);
}

#[test]
fn a_slot_where_trainers_get_ready_does_not_hide_one_where_they_do_not() {
    let mut bench = Bench::connected(2);
    for job in 1..=5 {
        assert!(!bench.session.is_leaving());
        bench.feed([grant(0, 2 * job), ready(0), started(0, 2 * job), exited(0)]);
        bench.wait(START_PAUSE_MAX).feed([grant(1, 2 * job + 1), exited(1)]);
    }
    assert!(bench.session.is_leaving());
}

#[test]
fn a_trainer_that_is_killed_for_its_jobs_sake_before_it_is_ready_has_not_failed() {
    let mut bench = Bench::connected(1);
    for job in 1..=10 {
        bench.feed([grant(0, job), revoke(job)]).wait(STOP_TO_KILL).feed([exited(0)]);
    }
    assert!(!bench.session.is_leaving());
}

#[test]
fn an_idle_trainer_may_die_without_consequence() {
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged)]);
    bench.seen.clear();
    bench.feed([exited(0)]).expect(&[]);
    bench.feed([grant(0, 2)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

#[test]
fn a_trainer_that_breaks_the_protocol_is_killed_and_its_attempt_fails_with_the_reason() {
    let started_twice =
        FromTrainer::Started { id: attempt(1).to_string(), dataset: summary(), resumed_epochs: 0 };
    let done = FromTrainer::ended(attempt(1).to_string(), TrainerOutcome::Done, "");
    let stopped = FromTrainer::ended(attempt(1).to_string(), TrainerOutcome::Stopped, "");
    let cases = [
        (epoch_line(1, 2, 0.5, 0.5), "the trainer reported epoch 2 after epoch 0"),
        (epoch_line(2, 1, 0.5, 0.5), "the trainer spoke of the job \"1/2#1\" while it trained 1/1#1"),
        (started_twice, "the trainer said twice that training started"),
        (done, "the trainer said that it is done after epoch 0 of 2"),
        (stopped, "the trainer stopped without being asked to"),
        (ready_line(1), "the trainer said twice that it is ready"),
    ];
    for (message, reason) in cases {
        let mut bench = Bench::training();
        bench.feed([said(0, message), exited(0)]);
        let end = format!("1/1#1 failed ({reason}) +x");
        bench.expect(&["kill 0", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
    }
}

#[test]
fn an_epoch_has_whatever_metrics_its_trainer_reports() {
    let values = [("f1", 93.5), ("val_loss", f64::INFINITY), ("train_loss", f64::NAN)];
    for metrics in [&values[..], &[]] {
        let FromTrainer::Epoch(line) = epoch_line(1, 1, 0.5, 0.75) else { unreachable!("it is an epoch") };
        let line = EpochLine { metrics: metrics.iter().copied().collect(), ..line };
        let mut bench = Bench::training();
        let outputs = bench.session.apply(bench.now, said(0, FromTrainer::Epoch(line)));
        let kept = outputs.iter().find_map(|output| match output {
            Output::Append(Event { kind: EventKind::Epoch(report), .. }) => Some(report),
            _ => None,
        });
        let kept = &kept.expect("the epoch is kept").metrics;
        let bits = |value: f64| value.to_bits();
        assert_eq!(
            kept.iter().map(|(name, value)| (name.as_ref(), bits(*value))).collect::<Vec<_>>(),
            metrics.iter().map(|(name, value)| (*name, bits(*value))).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_time_that_no_epoch_takes_is_no_epoch() {
    for seconds in [0.0, 1e-9, terms::EPOCH_SECONDS_MAX, -1.0, f64::NAN, f64::INFINITY, 1.7e308] {
        let FromTrainer::Epoch(line) = epoch_line(1, 1, 0.5, 0.75) else { unreachable!("it is an epoch") };
        let line = FromTrainer::Epoch(EpochLine { epoch_seconds: seconds, ..line });
        let mut bench = Bench::training();
        bench.feed([said(0, line), exited(0)]);
        let reason = format!("failed (the trainer reported an impossible epoch: epoch 1 took {seconds} s:");
        let is_refused = bench.seen.iter().any(|line| line.contains(&reason));
        assert_eq!(is_refused, !(0.0..=terms::EPOCH_SECONDS_MAX).contains(&seconds), "{:?}", bench.seen);
    }
}

/// What a trainer of this revision of the protocol begins with.
fn ready_line(protocol: u32) -> FromTrainer {
    FromTrainer::Ready { protocol, device: "cpu".into(), trainables: Vec::new() }
}

#[test]
fn a_trainer_of_either_revision_is_used() {
    for protocol in [1, 2, 3, 4] {
        let mut bench = Bench::connected(1);
        bench.feed([grant(0, 1), said(0, ready_line(protocol)), started(0, 1)]);
        let has_started = bench.seen.iter().any(|line| line.contains("started"));
        assert!(has_started, "{:?}", bench.seen);
    }
}

#[test]
fn a_trainer_of_another_revision_is_not_used() {
    let mut bench = Bench::connected(1);
    bench.feed([grant(0, 1), said(0, ready_line(5)), exited(0)]);
    assert!(
        bench.seen.iter().any(|line| line.contains("handed_back (the trainer speaks revision 5")),
        "{:?}",
        bench.seen
    );
}

#[test]
fn a_job_granted_to_a_slot_whose_trainer_is_being_killed_waits_for_a_new_one() {
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged)]);
    bench.seen.clear();
    let garbage = TrainerEvent::Broken { reason: "garbage".into() };
    bench.feed([Input::Trainer { slot: 0, event: garbage }, grant(0, 2)]).expect(&["kill 0"]);
    bench.feed([exited(0)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

#[test]
fn a_trainer_that_loses_the_file_of_its_data_set_costs_its_jobs_nothing() {
    let lost = || {
        let reason = "the trainer was killed by SIGBUS".into();
        let event = TrainerEvent::Exited {
            reason,
            log_tail: Vec::new(),
            data_lost: true,
            trains_heard: 1,
            out_of_memory: false,
        };
        Input::Trainer { slot: 0, event }
    };
    let why = "the data set file was truncated or its disk went away: the trainer was killed by SIGBUS";
    let mut bench = Bench::training();
    bench.feed([lost()]);
    let end = format!("1/1#1 unavailable ({why} in epoch 1)");
    bench.expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);
    bench.feed([grant_pack(0, &[2, 3]), ready(0), lost()]);
    for job in [2, 3] {
        let end = format!("1/{job}#1 unavailable ({why} while it prepared the data set)");
        assert!(bench.seen.iter().any(|line| line.contains(&end)), "{:?}", bench.seen);
    }
}

#[test]
fn a_trainer_that_fails_a_job_while_its_worker_leaves_hands_it_back() {
    for jobs in [&[1][..], &[1, 2]] {
        let mut bench = Bench::connected(1);
        bench.feed([grant_pack(0, jobs), ready(0), started(0, 1)]);
        bench.feed([Input::Shutdown, ended(0, 1, TrainerOutcome::Failed)]);
        let end = "1/1#1 handed_back (the worker is shutting down; its trainer gave up: so)";
        assert!(bench.seen.iter().any(|line| line.contains(end)), "{:?}", bench.seen);
    }
}

#[test]
fn a_trainer_that_ends_while_its_worker_leaves_costs_its_job_nothing() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown, exited(0)]);
    let why = "the worker is shutting down, and the trainer was killed by SIGKILL in epoch 1";
    let end = format!("1/1#1 handed_back ({why}) +x");
    bench.expect(&["draining", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
}

#[test]
fn a_trainer_that_gives_up_its_output_while_its_worker_leaves_costs_its_job_nothing() {
    let mut bench = Bench::training();
    let closed = TrainerEvent::Broken { reason: OUTPUT_CLOSED.into() };
    bench.feed([Input::Shutdown, Input::Trainer { slot: 0, event: closed }, exited(0)]);
    let end = "1/1#1 handed_back (the worker is shutting down) +x";
    bench.expect(&["draining", "kill 0", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
}

#[test]
fn a_trainer_that_stops_by_itself_while_its_worker_leaves_hands_its_job_back() {
    let mut bench = Bench::training();
    bench.feed([Input::Shutdown, ended(0, 1, TrainerOutcome::Stopped)]);
    let end = "1/1#1 handed_back (the worker is shutting down)";
    bench.expect(&["draining", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
}

#[test]
fn the_other_jobs_of_a_pack_hear_why_their_trainer_was_killed() {
    let mut bench = Bench::connected(1);
    bench.feed([grant_pack(0, &[1, 2]), ready(0), started(0, 1), started(0, 2), revoke(1)]);
    bench.wait(STOP_TO_KILL).feed([exited(0)]);
    let why = "pack_lost (the worker killed the trainer, which did not stop 1/1#1 when asked to, in epoch 1";
    assert!(bench.seen.iter().any(|line| line.contains(why)), "{:?}", bench.seen);
}

#[test]
fn however_much_a_trainer_says_its_attempts_end_is_no_more_than_a_coordinator_takes() {
    // Shown, each of these characters has six bytes.
    let long = || "\u{7f}".repeat(900_000);
    let foreign = said(0, FromTrainer::ended(long(), TrainerOutcome::Failed, ""));
    let log_tail = vec![long(); 60];
    let broken = TrainerEvent::Broken { reason: long() };
    let exited = || TrainerEvent::Exited {
        reason: long(),
        log_tail: log_tail.clone(),
        data_lost: false,
        trains_heard: u32::MAX,
        out_of_memory: false,
    };
    let failed = FromTrainer::ended(attempt(1).to_string(), TrainerOutcome::Failed, long());
    let failed = TrainerEvent::Said { message: failed, log_tail: log_tail.clone(), weights: None };
    for inputs in [
        vec![foreign, Input::Trainer { slot: 0, event: exited() }],
        vec![Input::Trainer { slot: 0, event: broken }, Input::Trainer { slot: 0, event: exited() }],
        vec![Input::Trainer { slot: 0, event: exited() }],
        vec![Input::Trainer { slot: 0, event: failed }],
    ] {
        let mut bench = Bench::training();
        let now = bench.now;
        let outputs = inputs.into_iter().flat_map(|input| bench.session.apply(now, input));
        let ends: Vec<End> = outputs
            .filter_map(|output| match output {
                Output::Append(Event { kind: EventKind::Ended(end), .. }) => Some(end),
                _ => None,
            })
            .collect();
        let [end] = ends.as_slice() else { panic!("{} ends", ends.len()) };
        assert!(end.reason.starts_with("the trainer") || end.reason.starts_with('\u{7f}'), "{}", end.reason);
        assert!(end.reason.chars().count() <= terms::TEXT_CHARACTERS_MAX);
        assert_eq!(end.log_tail.len(), terms::LOG_LINES_MAX);
        assert!(end.log_tail.iter().all(|line| line.chars().count() == terms::TEXT_CHARACTERS_MAX));
    }
}

#[test]
fn a_trainer_that_the_kernel_ended_ran_out_of_memory_unless_this_worker_killed_it() {
    let oom = |reason: &str| TrainerEvent::Exited {
        reason: reason.into(),
        log_tail: vec!["reading".into()],
        data_lost: false,
        trains_heard: 1,
        out_of_memory: true,
    };
    let mut bench = Bench::training();
    bench.feed([Input::Trainer { slot: 0, event: oom("out of memory: the kernel has ended the trainer") }]);
    let end = "1/1#1 out_of_memory (out of memory: the kernel has ended the trainer in epoch 1) +reading";
    bench.expect(&[&format!("spool 2 {end}"), &format!("send 2 {end}")]);
    let mut bench = Bench::training();
    bench.feed([revoke(1), Input::Trainer { slot: 0, event: oom("x") }]);
    assert!(bench.seen.iter().any(|line| line.contains("revoked (cancelled)")), "{:?}", bench.seen);
}
