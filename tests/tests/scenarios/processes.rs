//! Signals, stopped processes, and what processes leave behind.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use proto::v1::{self, JobState, watch_sweep_response::Event};
use rustix::process::{Pid, Signal, kill_process};
use tests::{
    Cluster, ClusterOptions, Worker, children, descendants, freeze, kill, program, send, source, terminate,
    wait_for_end,
};

use crate::completion::{assert_counted, assert_whole};

/// A cluster whose workers hand their jobs back at once when they are asked to leave, with this trainer.
fn cluster(trainer: Option<String>, more: &[&str]) -> Cluster {
    let trainer = trainer.into_iter().flat_map(|command| ["--trainer".to_owned(), command]);
    let more = more.iter().map(|argument| (*argument).to_owned());
    let worker = ["--grace", "0s"].map(str::to_owned).into_iter().chain(trainer).chain(more).collect();
    Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() })
}

/// The light trainer, which signals end as they end most programs, after this shell command.
fn light_trainer(first: &str, epoch_ms: u32) -> String {
    format!("{first} LIGHT_TRAINER_EPOCH_MS={epoch_ms} exec '{}'", program("light-trainer").display())
}

/// A job with a single attempt.
async fn submit(cluster: &Cluster, epochs: u32) -> u64 {
    let mut source = source(&format!("{{epochs: {{value: {epochs}}}}}"));
    source.overrides.push("execution.attempts_max=1".to_owned());
    let request = v1::SubmitRequest { source: Some(source), request_id: String::new(), extend_sweep_id: 0 };
    let answer = cluster.client().await.submit(request).await.unwrap().into_inner();
    answer.sweep.unwrap().sweep_id
}

/// Sends a signal to a worker and everything that it has started, as systemd does: to trainers first, which is the
/// harder order.
fn send_to_all(worker: &Worker, signal: Signal) {
    for pid in descendants(worker.pid()).into_iter().rev().filter_map(|pid| Pid::from_raw(pid as i32)) {
        // A keeper may have ended with its trainer.
        let _ = kill_process(pid, signal);
    }
    send(worker.pid(), signal);
}

/// The trainer itself, behind its keeper.
fn kept_trainer(worker: &Worker) -> u32 {
    // What the trainer started and whose parent has ended is the keeper's child, too.
    let is_trainer = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "light-trainer\n")
    };
    children(worker.trainer()).into_iter().find(is_trainer).expect("a keeper keeps a trainer")
}

#[tokio::test]
async fn signals_that_reach_trainers_too_cost_no_job_an_attempt() {
    for (signal, trainer) in [
        (Signal::TERM, None),
        (Signal::INT, None),
        (Signal::HUP, None),
        (Signal::TERM, Some(light_trainer("", 20))),
        (Signal::INT, Some(light_trainer("", 20))),
        (Signal::HUP, Some(light_trainer("", 20))),
    ] {
        let epochs = if trainer.is_some() { 100 } else { 8 };
        let cluster = cluster(trainer, &[]);
        let one = cluster.worker("one");
        let sweep = submit(&cluster, epochs).await;
        let mut watch = cluster.watch(sweep).await;
        watch.until_some_job_is_in_the_middle().await;
        send_to_all(&one, signal);
        assert_eq!(one.wait(), Some(0), "{signal:?}");
        let _two = cluster.worker("two");
        watch.until_end().await;
        assert_whole(&cluster.results(sweep).await, 1, epochs);
        let attempts = cluster.job(sweep, 1).await.attempts;
        assert_eq!(attempts[0].outcome, "handed_back", "{signal:?}: {attempts:?}");
    }
}

#[tokio::test]
async fn a_hangup_that_was_ignored_at_the_start_is_ignored() {
    let cluster = cluster(Some(light_trainer("", 10)), &[]);
    let worker = cluster.worker_at("one", "localhost", &["nohup".to_owned()]);
    worker.until_connected();
    send(worker.pid(), Signal::HUP);
    let sweep = submit(&cluster, 3).await;
    cluster.watch(sweep).await.until_end().await;
    assert_whole(&cluster.results(sweep).await, 1, 3);
}

#[tokio::test]
async fn a_hangup_has_a_coordinator_leave_in_order() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    send(cluster.coordinator.pid(), Signal::HUP);
    assert_eq!(cluster.coordinator.wait(), Some(0));
}

#[tokio::test]
async fn a_trainer_that_stands_still_is_ended_and_its_job_is_tried_again() {
    let cluster = cluster(Some(light_trainer("", 20)), &["--trainer-silence", "5s"]);
    let worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 100}}").await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_some_job_is_in_the_middle().await;
    freeze(kept_trainer(&worker));
    watch.until_end().await;
    assert_whole(&cluster.results(sweep).await, 1, 100);
    let attempts = cluster.job(sweep, 1).await.attempts;
    assert!(attempts[0].reason.starts_with("the trainer said nothing for 5s in epoch "), "{attempts:?}");
}

#[tokio::test]
async fn a_data_set_whose_preparation_stands_still_costs_no_job_an_attempt() {
    let cluster = cluster(None, &["--trainer-silence", "2s"]);
    // Like another process that prepares it, and whose disk does not answer.
    let lock = dataset::lock_path(&dataset::PrepareOptions {
        path: tests::dataset(),
        val_path: None,
        image_size: 8,
        skip_corrupt: false,
        cache_dir: cluster.folder.path().join("cache"),
        cache_bytes_max: None,
        threads: 1,
    });
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = std::fs::File::create(lock).unwrap();
    held.lock().unwrap();
    let _worker = cluster.worker("one");
    let sweep = submit(&cluster, 2).await;
    let mut watch = cluster.watch(sweep).await;
    let waits = |event: &Event| match event {
        Event::Snapshot(snapshot) => {
            let waiting = snapshot.sweep.as_ref()?.waiting.as_ref()?;
            (waiting.reason() == v1::WaitReason::DataSet).then_some(())
        }
        _ => None,
    };
    watch.until("a job that waits for the data set", waits).await;
    drop(held);
    watch.until_end().await;
    assert_whole(&cluster.results(sweep).await, 1, 2);
    let attempts = cluster.job(sweep, 1).await.attempts;
    assert_eq!(attempts[0].outcome, "unavailable", "{attempts:?}");
    assert!(
        attempts[0].reason.starts_with("the trainer said nothing for 2s while it prepared"),
        "{attempts:?}"
    );
}

#[tokio::test]
async fn the_log_of_a_job_that_is_done_is_kept() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    cluster.watch(sweep).await.until_end().await;
    let mut logs = std::process::Command::new(program("sweep"));
    logs.args([
        "logs",
        &format!("{sweep}/1"),
        "--coordinator",
        &format!("http://{}", cluster.coordinator.address),
    ]);
    let printed = String::from_utf8(logs.output().unwrap().stdout).unwrap();
    assert!(printed.starts_with("== attempt 1, done on one slot 0\n"), "{printed}");
    assert!(printed.contains("epoch 1/1  loss "), "{printed}");
}

/// How a worker's trainer ends.
#[derive(Debug, Clone, Copy)]
enum End {
    OfTheTrainer,
    ByTheWorkersLeaving,
    OfTheWorker,
}

#[tokio::test]
async fn nothing_that_a_trainer_started_is_left_behind() {
    for end in [End::OfTheTrainer, End::ByTheWorkersLeaving, End::OfTheWorker] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        // One in another session, and one whose parent has ended as well.
        let start = "setsid sleep 1000 & echo $! >> 'FILE'; (setsid sleep 1001 & echo $! >> 'FILE');";
        let first = start.replace("FILE", file.to_str().unwrap());
        let cluster = cluster(Some(light_trainer(&first, 20)), &[]);
        let worker = cluster.worker("one");
        worker.until_connected();
        let left = started(&file);
        assert_eq!(left.len(), 2);
        match end {
            End::OfTheTrainer => kill(kept_trainer(&worker)),
            End::ByTheWorkersLeaving => terminate(worker.pid()),
            End::OfTheWorker => kill(worker.pid()),
        }
        left.into_iter().for_each(wait_for_end);
    }
}

/// The processes whose ids are in a file.
fn started(file: &Path) -> Vec<u32> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// The program in `worker/TRAINER.md`.
fn example(folder: &Path) -> String {
    let manual =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../worker/TRAINER.md")).unwrap();
    let (_, rest) = manual.split_once("```python\n").expect("the manual has an example");
    let (text, _) = rest.split_once("```").unwrap();
    let path = folder.join("train.py");
    std::fs::write(&path, text).unwrap();
    format!("exec python3 '{}'", path.display())
}

#[tokio::test]
async fn the_manuals_example_is_a_trainer() {
    // Each checkpoint holds all its epochs, so that this many take some seconds.
    const EPOCHS: u32 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(Some(example(folder.path())), &[]);
    let one = cluster.worker("one");
    let sweep = submit(&cluster, EPOCHS).await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_epoch(3).await;
    send_to_all(&one, Signal::TERM);
    assert_eq!(one.wait(), Some(0));
    let _two = cluster.worker("two");
    watch.until_end().await;
    let results = cluster.results(sweep).await;
    assert_counted(&results, 1, EPOCHS);
    let record = results[0].1.last().and_then(|row| row.record.clone()).unwrap();
    assert!(record.train_loss < 0.2 && record.val_accuracy > 0.1, "it learns: {record:?}");
    let detail = cluster.job(sweep, 1).await;
    assert_eq!(detail.attempts[0].outcome, "handed_back");
    let last = detail.attempts.last().unwrap();
    assert!(last.resumed_epochs > 0, "it goes on after its checkpoint: {last:?}");
    assert!(last.log_tail.iter().any(|line| line.starts_with("epoch 1000: weight ")), "{last:?}");
    assert_eq!(detail.job.unwrap().state(), JobState::Done);
}

/// Copies the programs to where a trainer that is asked for the GPUs does not answer, as when a driver hangs.
pub(crate) fn with_a_driver_that_hangs(folder: &Path) {
    for name in ["sweep", "sweep-worker"] {
        fs::copy(program(name), folder.join(name)).unwrap();
    }
    // It runs the script that is named like the trainer's argument.
    fs::copy("/bin/sh", folder.join("sweep-trainer")).unwrap();
    fs::write(folder.join("devices"), "echo $$ > pid.new\nmv pid.new pid\nexec sleep 1000\n").unwrap();
}

/// Waits until the trainer was asked; its process.
pub(crate) fn hanging_trainer(folder: &Path) -> u32 {
    let patience = Instant::now() + tests::PATIENCE;
    loop {
        if let Ok(pid) = fs::read_to_string(folder.join("pid")) {
            fs::remove_file(folder.join("pid")).unwrap();
            return pid.trim().parse().unwrap();
        }
        assert!(Instant::now() < patience, "the trainer is asked for GPUs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_worker_leaves_while_it_looks_for_gpus_and_what_looks_for_them_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    with_a_driver_that_hangs(folder.path());
    for (signal, code) in [(Signal::TERM, Some(0)), (Signal::KILL, None)] {
        let mut worker = Command::new(folder.path().join("sweep-worker"))
            .args(["start", "--device", "cuda", "--coordinator", "http://127.0.0.1:1", "--spool", "spool"])
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        let trainer = hanging_trainer(folder.path());
        send(worker.id(), signal);
        assert_eq!(worker.wait().unwrap().code(), code);
        wait_for_end(trainer);
    }
}
