//! The session's behaviour, one rule a test. `Bench` feeds inputs and remembers every output; `expect` names all
//! that may have come out, so that nothing else did.

use serde_json::json;

use super::{types::*, *};
use crate::protocol::{DatasetSpec, DatasetSummary, FromTrainer, TrainerOutcome};

const HEARTBEAT: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(30);

pub(crate) fn attempt(job: u64) -> AttemptKey {
    AttemptKey::new(1, job, 1)
}

pub(crate) fn work() -> Work {
    let parameters = json!({"epochs": 2}).as_object().unwrap().clone();
    let dataset = DatasetSpec { path: "train".into(), image_size: 64, val_fraction: 0.2, split_seed: 0 };
    Work {
        model: "simple_cnn".into(),
        parameters,
        epochs: Some(2),
        dataset,
        timeout: Some(Duration::from_secs(7200)),
    }
}

pub(crate) fn granted(job: u64) -> GrantedJob {
    GrantedJob { attempt: attempt(job), work: Ok(work()) }
}

pub(crate) fn grant(slot: usize, job: u64) -> Input {
    Input::Message(FromCoordinator::Grant { slot, jobs: vec![granted(job)] })
}

pub(crate) fn said(slot: usize, message: FromTrainer) -> Input {
    Input::Trainer { slot, event: TrainerEvent::Said { message, log_tail: Vec::new() } }
}

pub(crate) fn ready(slot: usize) -> Input {
    said(slot, FromTrainer::Ready { protocol: 1, device: "cpu".into() })
}

pub(crate) fn summary() -> DatasetSummary {
    let classes = vec!["cat".into(), "dog".into()];
    DatasetSummary {
        content_hash: "ab".into(),
        classes,
        train_images: 8,
        val_images: 2,
        skipped: Vec::new(),
        skipped_count: 0,
    }
}

pub(crate) fn started(slot: usize, job: u64) -> Input {
    said(slot, FromTrainer::Started { id: attempt(job).to_string(), dataset: summary() })
}

pub(crate) fn epoch_line(job: u64, epoch: u32, train_loss: f64, val_accuracy: f64) -> FromTrainer {
    let id = attempt(job).to_string();
    FromTrainer::Epoch { id, epoch, train_loss, val_accuracy, epoch_seconds: 1.0 }
}

pub(crate) fn epoch(slot: usize, job: u64, epoch: u32) -> Input {
    said(slot, epoch_line(job, epoch, 0.5, 0.75))
}

pub(crate) fn ended(slot: usize, job: u64, outcome: TrainerOutcome) -> Input {
    said(slot, FromTrainer::Ended { id: attempt(job).to_string(), outcome, reason: "so".into() })
}

pub(crate) fn exited(slot: usize) -> Input {
    let event = TrainerEvent::Exited {
        reason: "the trainer was killed by SIGKILL".into(),
        log_tail: vec!["x".into()],
    };
    Input::Trainer { slot, event }
}

pub(crate) fn welcome(refused: Vec<AttemptKey>) -> Input {
    Input::Message(FromCoordinator::Welcome { heartbeat_interval: HEARTBEAT, refused })
}

fn acknowledged(through: u64) -> Input {
    Input::Message(FromCoordinator::Acknowledged { through })
}

fn revoke(job: u64) -> Input {
    Input::Message(FromCoordinator::Revoke { attempts: vec![attempt(job)], reason: "cancelled".into() })
}

/// A session with its clock and all that came out since the last look.
struct Bench {
    session: Session,
    now: Duration,
    seen: Vec<String>,
}

impl Bench {
    fn new(slots: usize) -> Self {
        Self::recovered(slots, 1, Vec::new())
    }

    fn recovered(slots: usize, next_sequence: u64, events: Vec<Event>) -> Self {
        Self {
            session: Session::new(slots, GRACE, next_sequence, events),
            now: Duration::from_secs(1),
            seen: Vec::new(),
        }
    }

    /// Connected, welcomed, and with its first heartbeat sent.
    fn connected(slots: usize) -> Self {
        let mut bench = Self::new(slots);
        bench.feed([Input::Connected, welcome(vec![])]);
        bench.seen.clear();
        bench
    }

    /// Connected, with job 1 of two epochs running in slot 0.
    fn training() -> Self {
        let mut bench = Self::connected(1);
        bench.feed([grant(0, 1), ready(0), started(0, 1)]);
        bench.seen.clear();
        bench
    }

    fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) -> &mut Self {
        for input in inputs {
            let outputs = self.session.apply(self.now, input);
            self.seen.extend(outputs.iter().map(brief));
        }
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.feed([Input::Tick])
    }

    /// All that came out since the last look, heartbeats aside.
    #[track_caller]
    fn expect(&mut self, expected: &[&str]) -> &mut Self {
        self.seen.retain(|line| !line.starts_with("heartbeat"));
        assert_eq!(self.seen, expected);
        self.seen.clear();
        self
    }

    #[track_caller]
    fn expect_with_heartbeats(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.seen, expected);
        self.seen.clear();
        self
    }
}

/// One output in a few words.
fn brief(output: &Output) -> String {
    let event = |event: &Event| {
        let kind = match &event.kind {
            EventKind::Started(_) => "started".to_owned(),
            EventKind::Epoch(metrics) => format!("epoch {}", metrics.epoch),
            EventKind::Ended(end) => {
                let tail = if end.log_tail.is_empty() {
                    String::new()
                } else {
                    format!(" +{}", end.log_tail.join("/"))
                };
                let name = end.outcome.as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
                format!("{name} ({}){tail}", end.reason)
            }
        };
        format!("{} {} {kind}", event.sequence, event.attempt)
    };
    match output {
        Output::Append(appended) => format!("spool {}", event(appended)),
        Output::Send(ToCoordinator::Event(sent)) => format!("send {}", event(sent)),
        Output::Send(ToCoordinator::Hello { held, draining }) => {
            let held: Vec<_> = held
                .iter()
                .map(|held| format!("{}@{}{}", held.attempt, held.slot, if held.ended { "!" } else { "" }))
                .collect();
            format!("hello [{}]{}", held.join(" "), if *draining { " draining" } else { "" })
        }
        Output::Send(ToCoordinator::Heartbeat(running)) => {
            let running: Vec<_> =
                running.iter().map(|at| format!("{} {}:{}", at.attempt, at.epoch, at.fraction)).collect();
            format!("heartbeat [{}]", running.join(" "))
        }
        Output::Send(ToCoordinator::Draining { .. }) => "draining".into(),
        Output::Forget { through } => format!("forget {through}"),
        Output::StartJob { slot, attempt, fresh, .. } => {
            format!("start {attempt}@{slot}{}", if *fresh { " in a new trainer" } else { "" })
        }
        Output::StopJob { slot, attempt } => format!("stop {attempt}@{slot}"),
        Output::KillTrainer { slot } => format!("kill {slot}"),
        Output::CloseSession => "close".into(),
        Output::Exit(departure) => format!("exit {departure:?}"),
    }
}

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
fn an_idle_trainer_may_die_without_consequence() {
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::Diverged)]);
    bench.seen.clear();
    bench.feed([exited(0)]).expect(&[]);
    bench.feed([grant(0, 2)]).expect(&["start 1/2#1@0 in a new trainer"]);
}

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
    let end = "1/2#1 failed (the trainer was killed by SIGKILL while it prepared the data set) +x";
    bench.expect(&[
        "forget 8",
        "start 1/2#1@0 in a new trainer",
        &format!("spool 9 {end}"),
        &format!("send 9 {end}"),
    ]);
}

#[test]
fn only_so_many_events_are_on_their_way_at_once() {
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
    bench.feed([ended(0, 1, TrainerOutcome::Stopped)]).expect(&["start 1/2#1@0"]);
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
    let end = "1/1#1 failed (exceeded job_timeout of 2h)";
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
    let end = "1/1#1 failed (the trainer was not ready within 120 s) +x";
    let (spool, send) = (format!("spool 1 {end}"), format!("send 1 {end}"));
    bench.expect(&["start 1/1#1@0 in a new trainer", "kill 0", &spool, &send]);
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
fn a_trainer_that_breaks_the_protocol_is_killed_and_its_attempt_fails_with_the_reason() {
    let started_twice = FromTrainer::Started { id: attempt(1).to_string(), dataset: summary() };
    let done = FromTrainer::Ended {
        id: attempt(1).to_string(),
        outcome: TrainerOutcome::Done,
        reason: String::new(),
    };
    let stopped = FromTrainer::Ended {
        id: attempt(1).to_string(),
        outcome: TrainerOutcome::Stopped,
        reason: String::new(),
    };
    let cases = [
        (epoch_line(1, 1, f64::NAN, 0.5), "the trainer reported a loss of NaN in epoch 1; it must be finite"),
        (
            epoch_line(1, 1, 0.5, 1.5),
            "the trainer reported a validation accuracy of 1.5 in epoch 1; it must be in [0, 1]",
        ),
        (epoch_line(1, 2, 0.5, 0.5), "the trainer reported epoch 2 after epoch 0"),
        (epoch_line(2, 1, 0.5, 0.5), "the trainer spoke of the job \"1/2#1\" while it trained 1/1#1"),
        (started_twice, "the trainer said twice that training started"),
        (done, "the trainer said that it is done after 0 of 2 epochs"),
        (stopped, "the trainer stopped without being asked to"),
        (FromTrainer::Ready { protocol: 1, device: "cpu".into() }, "the trainer said twice that it is ready"),
    ];
    for (message, reason) in cases {
        let mut bench = Bench::training();
        bench.feed([said(0, message), exited(0)]);
        let end = format!("1/1#1 failed ({reason}) +x");
        bench.expect(&["kill 0", &format!("spool 2 {end}"), &format!("send 2 {end}")]);
    }
}

#[test]
fn a_trainer_of_another_revision_is_not_used() {
    let mut bench = Bench::connected(1);
    bench.feed([grant(0, 1), said(0, FromTrainer::Ready { protocol: 2, device: "cpu".into() }), exited(0)]);
    assert!(
        bench.seen.iter().any(|line| line.contains("failed (the trainer speaks revision 2")),
        "{:?}",
        bench.seen
    );
}

#[test]
fn heartbeats_come_at_the_interval_and_soon_after_progress() {
    let progress =
        |fraction| said(0, FromTrainer::Progress { id: attempt(1).to_string(), epoch: 1, fraction });
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
fn a_coordinator_that_does_not_answer_hello_is_tried_anew() {
    let mut bench = Bench::new(1);
    bench.feed([Input::Connected]).wait(WELCOME_WITHIN).expect(&["hello []", "close"]);
    bench.feed([Input::Disconnected, Input::Connected]).expect(&["hello []"]);
}

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
    bench.feed([Input::Shutdown]).wait(GRACE).expect(&["draining", "stop 1/1#1@0"]);
    bench.wait(STOP_TO_KILL_LEAVING).feed([exited(0)]);
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
fn a_worker_drained_by_its_coordinator_gives_the_running_job_all_the_time_it_takes() {
    let mut bench = Bench::training();
    bench
        .feed([Input::Message(FromCoordinator::Drain)])
        .wait(Duration::from_secs(3600))
        .expect(&["draining"]);
    bench.feed([ended(0, 1, TrainerOutcome::Diverged), acknowledged(2)]);
    bench.expect(&["spool 2 1/1#1 diverged (so)", "send 2 1/1#1 diverged (so)", "forget 2", "exit Orderly"]);
}

#[test]
fn draining_is_said_again_after_a_reconnection() {
    let mut bench = Bench::training();
    bench
        .feed([Input::Disconnected, Input::Shutdown, Input::Connected])
        .expect(&["hello [1/1#1@0] draining"]);
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

/// A session whose slot still stops the refused job 1 while job 2 waits for it.
fn with_a_waiting_job() -> Bench {
    let mut bench = Bench::training();
    bench.feed([Input::Disconnected, Input::Connected, welcome(vec![attempt(1)]), grant(0, 2)]);
    bench.seen.clear();
    bench
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

#[test]
fn a_waiting_job_is_handed_back_as_soon_as_the_worker_is_asked_to_leave() {
    let end = "1/2#1 handed_back (the worker is shutting down)";
    let expected = [&format!("spool 2 {end}"), "draining", &format!("send 2 {end}")];
    with_a_waiting_job().feed([Input::Shutdown]).expect(&expected);
    with_a_waiting_job().feed([Input::Message(FromCoordinator::Drain)]).expect(&expected);
}
