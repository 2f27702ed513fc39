//! What a trainer prints: its answers, its log, and lines that are neither.

use super::*;

#[tokio::test]
async fn a_line_of_the_log_is_a_sign_of_life_wherever_it_is_written() {
    for line in ["echo loading >&2", "echo loading"] {
        let mut bench = Bench::started(script(&format!("{line}; read -r x")));
        assert_eq!(bench.next_of_all().await, TrainerEvent::Alive);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_breaks_the_trainer_and_its_end_is_the_workers_doing() {
    let text = r#"echo '{"type":"epoch","train_loss":NaN}'; sleep 1000"#;
    let mut bench = Bench::started(script(text));
    let reason = bench.broken().await;
    assert!(reason.starts_with("the trainer wrote a line that is not of the trainer protocol: "), "{reason}");
    bench.slots.kill_trainer(0);
    assert_eq!(bench.exited().await.0, "the worker killed the trainer");
}

#[tokio::test]
async fn what_a_trainer_prints_besides_its_answers_goes_to_its_log() {
    let done = r#"{"type":"ended","id":"1/1#1","outcome":"done","reason":""}"#;
    let text =
        format!("echo 'loading…'; echo '{{1: 2}}'; echo \"$ready\"; read -r x; echo '{done}'; read -r x");
    let mut bench = Bench::started(script(&text));
    assert_eq!(kind(&bench.said().await), READY);
    let TrainerEvent::Said { log_tail, .. } = bench.next().await else { panic!("expected the job's end") };
    assert_eq!(log_tail, ["loading…", "{1: 2}"]);
}

#[tokio::test]
async fn an_endless_line_breaks_the_trainer() {
    let mut bench = Bench::started(script("exec cat /dev/zero"));
    assert_eq!(bench.broken().await, format!("the trainer wrote a line of more than {LINE_BYTES_MAX} bytes"));
}

#[tokio::test]
async fn a_failure_comes_with_the_log_that_was_written_before_it() {
    let failed = r#"{"type":"ended","id":"1/1#1","outcome":"failed","reason":"CUDA"}"#;
    let trainer = script(&format!("echo \"$ready\"; read -r x; echo why >&2; echo '{failed}'; read -r x"));
    let mut bench = Bench::started(trainer);
    assert_eq!(kind(&bench.said().await), READY);
    let TrainerEvent::Said { log_tail, .. } = bench.next().await else {
        panic!("expected the end of the job")
    };
    assert_eq!(log_tail, ["why"]);
}

#[tokio::test]
async fn of_a_long_log_the_last_lines_are_kept_and_cut() {
    let trainer = script(
        "i=1; while [ $i -le 60 ]; do echo $i >&2; i=$((i+1)); done; \
         head -c 5000 /dev/zero | tr '\\0' a >&2; exit 1",
    );
    let (_, log) = Bench::started(trainer).exited().await;
    assert_eq!((log.len(), log[0].as_str(), log[49].len()), (50, "12", 1_000));
}

#[tokio::test]
async fn the_log_of_a_job_has_no_lines_of_jobs_before_it() {
    let failing = |job: u32| {
        format!(
            r#"read -r x; echo of job {job} >&2; echo '{{"type":"ended","id":"1/{job}#1","outcome":"failed","reason":""}}'"#
        )
    };
    let text = format!(r#"echo starting >&2; echo "$ready"; {}; {}; read -r x"#, failing(1), failing(2));
    let mut bench = Bench::started(script(&text));
    assert_eq!(kind(&bench.said().await), READY);
    for (job, log) in [(1, vec!["starting", "of job 1"]), (2, vec!["of job 2"])] {
        if job == 2 {
            bench.slots.start_jobs(0, vec![(attempt(2), work())], false);
        }
        match bench.next().await {
            TrainerEvent::Said { log_tail, .. } => assert_eq!(log_tail, log),
            other => panic!("expected the end of job {job}, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_line_that_is_not_understood_is_shown_in_part_however_long_it_is() {
    let long = "x".repeat(900_000);
    let lines =
        [format!(r#"{{"type":"{long}"}}"#), format!(r#"{{"type":"ready","protocol":"{long}","device":""}}"#)];
    for line in lines {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line + "\n").unwrap();
        let mut bench = Bench::started(script(&format!("cat {}; read -r x", file.path().display())));
        let reason = bench.broken().await;
        assert!(
            reason.contains("is not of the trainer protocol") && reason.len() < 1_000,
            "{}",
            reason.len()
        );
    }
}
