//! Several jobs of one slot, trained at the same time by one trainer.

use super::*;

/// Connected, with a pack of the jobs 1 to 3 in training in slot 0.
fn packed() -> Bench {
    let mut bench = Bench::connected(1);
    bench.feed([grant_pack(0, &[1, 2, 3]), ready(0), started(0, 1), started(0, 2), started(0, 3)]);
    bench.seen.clear();
    bench
}

fn events(bench: &mut Bench) -> Vec<String> {
    let lines = std::mem::take(&mut bench.seen);
    lines.into_iter().filter_map(|line| line.strip_prefix("send ").map(str::to_owned)).collect()
}

#[test]
fn the_jobs_of_a_grant_go_to_the_trainer_together() {
    let mut bench = Bench::connected(1);
    bench.feed([grant_pack(0, &[1, 2, 3])]).expect(&["start 1/1#1+1/2#1+1/3#1@0 in a new trainer"]);
}

#[test]
fn each_job_has_its_own_events_and_its_own_end_and_the_slot_is_free_after_the_last() {
    let mut bench = packed();
    bench.feed([epoch(0, 2, 1), epoch(0, 1, 1), ended(0, 3, TrainerOutcome::Diverged), epoch(0, 2, 2)]);
    assert_eq!(
        events(&mut bench),
        ["4 1/2#1 epoch 1", "5 1/1#1 epoch 1", "6 1/3#1 diverged (so)", "7 1/2#1 epoch 2"]
    );
    bench.feed([ended(0, 2, TrainerOutcome::Done), grant(0, 4)]);
    assert_eq!(
        events(&mut bench),
        ["8 1/2#1 done ()", "9 1/4#1 handed_back (slot 0 is busy with another attempt)"]
    );
    bench.feed([epoch(0, 1, 2), ended(0, 1, TrainerOutcome::Done)]);
    bench.seen.clear();
    bench.feed([grant(0, 5)]).expect(&["start 1/5#1@0"]);
}

#[test]
fn stopping_one_job_leaves_the_others_alone() {
    let mut bench = packed();
    bench.feed([revoke(2)]);
    bench.expect(&["forget 0", "stop 1/2#1@0"]);
    bench.feed([ended(0, 2, TrainerOutcome::Stopped), epoch(0, 1, 1)]);
    assert_eq!(events(&mut bench), ["4 1/2#1 revoked (cancelled)", "5 1/1#1 epoch 1"]);
}

#[test]
fn a_trainer_that_dies_loses_its_pack_and_no_job_is_said_to_have_failed() {
    let mut bench = packed();
    bench.feed([ended(0, 3, TrainerOutcome::Failed)]);
    bench.seen.clear();
    bench.feed([exited(0)]);
    let reason = "pack_lost (the trainer was killed by SIGKILL in epoch 1, in a pack of 3 jobs) +x";
    assert_eq!(events(&mut bench), [format!("5 1/1#1 {reason}"), format!("6 1/2#1 {reason}")]);
}

#[test]
fn a_trainer_that_breaks_the_protocol_loses_its_pack_too() {
    let mut bench = packed();
    bench.feed([epoch(0, 1, 2)]).expect(&["kill 0"]);
    bench.feed([exited(0)]);
    let reason = "pack_lost (the trainer reported epoch 2 after epoch 0, in a pack of 3 jobs) +x";
    let expected: Vec<_> = (1..=3).map(|job| format!("{} 1/{job}#1 {reason}", job + 3)).collect();
    assert_eq!(events(&mut bench), expected);
}

#[test]
fn memory_that_runs_out_is_the_packs_trouble_and_a_job_s_only_when_it_is_alone() {
    let mut bench = packed();
    bench.feed((1..=3).map(|job| ended(0, job, TrainerOutcome::OutOfMemory)));
    let expected: Vec<_> = (1..=3).map(|job| format!("{} 1/{job}#1 out_of_memory (so)", job + 3)).collect();
    assert_eq!(events(&mut bench), expected);
    let mut bench = Bench::training();
    bench.feed([ended(0, 1, TrainerOutcome::OutOfMemory)]);
    assert_eq!(events(&mut bench), ["2 1/1#1 failed (so)"]);
}

#[test]
fn a_worker_that_leaves_hands_every_job_of_its_packs_back_with_a_checkpoint() {
    let mut bench = packed();
    bench.feed([Input::Shutdown]).wait(GRACE);
    let stops: Vec<_> = bench.seen.iter().filter(|line| line.starts_with("stop")).cloned().collect();
    let expected: Vec<_> = (1..=3).map(|job| format!("stop 1/{job}#1@0 with a checkpoint")).collect();
    assert_eq!(stops, expected);
    bench.seen.clear();
    bench.feed((1..=3).map(|job| ended(0, job, TrainerOutcome::Stopped)));
    assert_eq!(events(&mut bench).iter().filter(|line| line.contains("handed_back")).count(), 3);
}

#[test]
fn a_heartbeat_and_a_hello_name_every_job_of_a_pack() {
    let mut bench = packed();
    bench.wait(HEARTBEAT);
    assert!(bench.seen.contains(&"heartbeat [1/1#1 1:0 1/2#1 1:0 1/3#1 1:0]".to_owned()), "{:?}", bench.seen);
    bench.seen.clear();
    bench.feed([Input::Disconnected, Input::Connected]).expect(&["hello [1/1#1@0 1/2#1@0 1/3#1@0]"]);
    bench.feed([welcome(vec![attempt(2)])]);
    assert!(bench.seen.contains(&"stop 1/2#1@0".to_owned()), "{:?}", bench.seen);
}

#[test]
fn what_fails_or_takes_too_long_in_a_pack_is_charged_to_no_job() {
    let mut bench = packed();
    bench.feed([ended(0, 1, TrainerOutcome::Failed)]);
    assert_eq!(events(&mut bench), ["4 1/1#1 pack_lost (so)"]);
    bench.wait(Duration::from_secs(7200));
    bench.seen.clear();
    bench.feed([ended(0, 2, TrainerOutcome::Stopped)]);
    assert_eq!(
        events(&mut bench),
        [
            "5 1/2#1 pack_lost (exceeded job_timeout of 2h in epoch 1: training took 2h, validating and the rest 0.0 s, in a pack of 3 jobs)"
        ]
    );
}
