//! Trainers that crash, workers that are asked to leave.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use proto::v1::{self, JobState, SweepState, watch_sweep_response::Event};
use tests::{Cluster, ClusterOptions, kill, program, terminate, wait_for_end};

use crate::{commands, completion::assert_whole};

/// The real trainer behind a script that crashes on jobs with a learning rate of 0.005.
fn crashing_trainer(folder: &Path) -> String {
    let script = folder.join("trainer.sh");
    let real = program("sweep-trainer");
    let text = format!(
        "while read -r line; do\n\
           case \"$line\" in *0.005*) echo 'out of luck' >&2; kill -9 $$;; esac\n\
           printf '%s\\n' \"$line\"\n\
         done | {} train --device cpu --threads 1 --cache-dir {}\n",
        real.display(),
        folder.join("cache").display()
    );
    run_by_shell(&script, &text)
}

/// A command that runs this script. The script itself is not executed: a process forked while it is written would have
/// it open.
fn run_by_shell(script: &Path, text: &str) -> String {
    std::fs::write(script, text).unwrap();
    format!("sh {}", script.display())
}

/// Copies a program in a separate process, for the same reason.
fn copy_program(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) {
    assert!(std::process::Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test]
async fn a_trainer_that_crashes_is_tried_again_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let worker = vec!["--trainer".to_owned(), crashing_trainer(folder.path())];
    let cluster = Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() });
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{learning_rate: {values: [0.001, 0.005, 0.0001]}, epochs: {value: 1}}").await;
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!(ended.state(), SweepState::Finished);
    let states: Vec<_> = cluster.results(sweep).await.iter().map(|(job, _)| job.state()).collect();
    assert_eq!(states, [JobState::Done, JobState::Failed, JobState::Done]);
    let detail = cluster.job(sweep, 2).await;
    assert_eq!(detail.attempts.len(), 3, "attempts_max is 3 where a file says nothing");
    for attempt in &detail.attempts {
        assert_eq!(attempt.outcome, "failed");
        assert!(attempt.log_tail.iter().any(|line| line.contains("out of luck")), "{attempt:?}");
    }
    for (states, jobs) in [
        (&[JobState::Failed][..], &[2][..]),
        (&[JobState::Done], &[1, 3]),
        (&[JobState::Done, JobState::Failed, JobState::Running], &[1, 2, 3]),
        (&[JobState::Failed, JobState::Pending], &[2]),
        (&[JobState::Cancelled], &[]),
        (&[], &[1, 2, 3]),
    ] {
        assert_eq!(listed(&cluster, sweep, states).await, jobs, "{states:?}");
    }
}

#[tokio::test]
async fn jobs_are_not_blamed_for_trainers_that_never_get_ready_and_their_worker_leaves() {
    let folder = tempfile::tempdir().unwrap();
    // Ready when the worker starts, and never again.
    let script = folder.path().join("trainer.sh");
    let text = format!(
        "if [ -e {0} ]; then echo 'the GPU has fallen off the bus' >&2; exit 3; fi\n\
         touch {0}\n\
         echo '{{\"type\": \"ready\", \"protocol\": 1, \"device\": \"cpu\"}}'\n\
         read -r line\n",
        folder.path().join("started").display()
    );
    let worker = vec!["--trainer".to_owned(), run_by_shell(&script, &text)];
    let cluster = Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() });
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    let (code, log) = cluster.worker("one").end();
    assert!(log.contains("before it was ready: the GPU has fallen off the bus"), "{log}");
    assert_eq!(code, Some(1));
    let attempts = cluster.job(sweep, 1).await.attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(
        outcomes,
        ["failed", "handed_back", "handed_back", "handed_back", "handed_back", "handed_back"]
    );
    assert_eq!(cluster.results(sweep).await[0].0.state(), JobState::Pending);
}

/// The jobs in these states, in pages of one job.
async fn listed(cluster: &Cluster, sweep_id: u64, states: &[JobState]) -> Vec<u64> {
    let mut client = cluster.client().await;
    let (mut jobs, mut page_token) = (Vec::new(), String::new());
    loop {
        let states = states.iter().map(|state| (*state).into()).collect();
        let request = v1::ListJobsRequest { sweep_id, states, page_size: 1, page_token };
        let page = client.list_jobs(request).await.unwrap().into_inner();
        assert!(page.jobs.len() <= 1);
        jobs.extend(page.jobs.iter().map(|job| job.point.as_ref().unwrap().job));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return jobs;
        }
    }
}

#[tokio::test]
async fn a_worker_that_is_asked_to_leave_finishes_or_hands_back() {
    let worker = vec!["--grace".to_owned(), "0s".to_owned()];
    let cluster = Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() });
    let one = cluster.worker("one");
    let sweep = cluster.submit("{learning_rate: {values: [0.001, 0.0001]}, epochs: {value: 12}}").await;
    let mut watch = cluster.watch(sweep).await;
    let job = watch.until_some_job_is_in_the_middle().await;
    terminate(one.pid());
    let log = one.farewell();
    assert!(!log.contains("not reachable"), "it ended the session itself: {log}");
    assert_eq!(one.wait(), Some(0), "leaving in order is no failure");
    let _two = cluster.worker("two");
    watch.until_end().await;
    assert_whole(&cluster.results(sweep).await, 2, 12);
    let attempts = cluster.job(sweep, job).await.attempts;
    assert_eq!(attempts[0].outcome, "handed_back", "{attempts:?}");
    assert_eq!(attempts[1].worker, "two");
}

#[tokio::test]
async fn a_data_set_that_is_not_there_fails_its_jobs_and_says_why() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let mut source = tests::source("{epochs: {value: 1}}");
    source.dataset_path = "/nowhere/pictures".into();
    let request =
        proto::v1::SubmitRequest { source: Some(source), request_id: String::new(), extend_sweep_id: 0 };
    let sweep = cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id;
    cluster.watch(sweep).await.until_end().await;
    let job = cluster.job(sweep, 1).await.job.unwrap();
    assert_eq!(job.state(), JobState::Failed);
    assert!(job.reason.contains("/nowhere/pictures"), "{}", job.reason);
    // Whoever follows it is told by the exit status, as who waits for it.
    let told = ["watch", "wait"].map(|command| commands::sweep(&cluster, &[command, "1"]));
    for output in &told {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(output.stderr, told[0].stderr);
    }
    assert!(String::from_utf8_lossy(&told[0].stderr).contains("1 of 1 job has no result (1 failed"));
}

/// Copies a folder of folders.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_data_set_that_is_away_for_a_while_fails_no_job() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let (here, gone) = (cluster.folder.path().join("pictures"), cluster.folder.path().join("gone"));
    copy_folder(&tests::dataset(), &here);
    let mut source = tests::source("{seed: {values: [1, 2, 3, 4]}, epochs: {value: 6}}");
    source.overrides.push("execution.attempts_max=1".into());
    source.dataset_path = here.to_str().unwrap().into();
    let request = v1::SubmitRequest { source: Some(source), request_id: String::new(), extend_sweep_id: 0 };
    let sweep = cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id;
    let mut watch = cluster.watch(sweep).await;
    watch.until_some_job_is_in_the_middle().await;
    std::fs::rename(&here, &gone).unwrap();
    let waits = |event: &Event| match event {
        Event::Snapshot(snapshot) => {
            let waiting = snapshot.sweep.as_ref()?.waiting.as_ref()?;
            (waiting.reason() == v1::WaitReason::DataSet).then_some(())
        }
        _ => None,
    };
    watch.until("jobs that wait for the data set", waits).await;
    let worker = cluster.workers().await.remove(0);
    assert_eq!(worker.state, "quarantined");
    assert!(worker.reason.contains("pictures") && worker.reason.contains("tried again"), "{}", worker.reason);
    std::fs::rename(&gone, &here).unwrap();
    let ended = watch.until_end().await;
    assert_eq!(ended.counts.unwrap().done, 4, "{ended:?}");
    assert_whole(&cluster.results(sweep).await, 4, 6);
}

#[tokio::test]
async fn two_workers_of_one_name_do_not_take_it_from_each_other() {
    let worker = vec!["--trainer".to_owned(), program("light-trainer").display().to_string()];
    let environment = vec![("LIGHT_TRAINER_EPOCH_MS", "20".to_owned())];
    let options = ClusterOptions { worker, worker_environment: environment, ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    let first = cluster.worker("twin");
    first.until_connected();
    let twin = cluster.worker_with_spool("twin", "elsewhere");
    twin.until_it_says("another worker named twin is connected");
    let sweep = cluster.submit("{seed: {values: [1, 2, 3]}, epochs: {value: 20}}").await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_some_job_is_in_the_middle().await;
    let shown = cluster.workers().await.remove(0);
    assert!(shown.reason.contains("another worker named twin"), "{}", shown.reason);
    // The one that was turned away is accepted once the first is gone.
    first.kill();
    twin.until_connected();
    watch.until_end().await;
    let results = cluster.results(sweep).await;
    assert!(results.iter().all(|(job, _)| job.state() == JobState::Done), "{results:?}");
    let mut lost = 0;
    for job in 1..=3 {
        let attempts = cluster.job(sweep, job).await.attempts;
        lost += attempts.iter().filter(|attempt| attempt.outcome == "lost").count();
    }
    assert_eq!(lost, 1, "with the one that was killed");
}

#[tokio::test]
async fn one_job_is_stopped_cancelled_and_tried_again() {
    let worker = vec!["--trainer".to_owned(), program("light-trainer").display().to_string()];
    let environment = vec![("LIGHT_TRAINER_EPOCH_MS", "50".to_owned())];
    let options = ClusterOptions { worker, worker_environment: environment, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options);
    let sweep_id = cluster.submit("{seed: {values: [1, 2, 3]}, epochs: {value: 3}}").await;
    let cancel = |job| v1::CancelSweepRequest { sweep_id, job };
    for _ in 0..2 {
        cluster.client().await.cancel_sweep(cancel(2)).await.unwrap();
    }
    cluster.client().await.stop_sweep(v1::StopSweepRequest { sweep_id, job: 3 }).await.unwrap();
    let refused = cluster.client().await.cancel_sweep(cancel(4)).await.unwrap_err();
    assert!(refused.message().contains("has the jobs 1 to 3, not 4"), "{refused}");
    cluster.replace_coordinator();
    let states = async |cluster: &Cluster| -> Vec<JobState> {
        cluster.results(sweep_id).await.iter().map(|(job, _)| job.state()).collect()
    };
    use JobState::{Cancelled, Done, Pending};
    assert_eq!(states(&cluster).await, [Pending, Cancelled, Cancelled], "it is durable");
    let _worker = cluster.worker("one");
    cluster.watch(sweep_id).await.until_end().await;
    assert_eq!(states(&cluster).await, [Done, Cancelled, Cancelled]);
    let refused = cluster.client().await.cancel_sweep(cancel(1)).await.unwrap_err();
    assert!(refused.message().contains("job 1/1 is done already"), "{refused}");
    let retry = |job, cancelled_too| v1::RetrySweepRequest { sweep_id, job, cancelled_too };
    let answer = cluster.client().await.retry_sweep(retry(0, false)).await.unwrap().into_inner();
    assert_eq!(answer.jobs, 0, "none has failed");
    let answer = cluster.client().await.retry_sweep(retry(2, true)).await.unwrap().into_inner();
    assert_eq!(answer.jobs, 1);
    cluster.watch(sweep_id).await.until_end().await;
    assert_eq!(states(&cluster).await, [Done, Done, Cancelled]);
    let answer = cluster.client().await.retry_sweep(retry(0, true)).await.unwrap().into_inner();
    assert_eq!(answer.jobs, 1);
    cluster.watch(sweep_id).await.until_end().await;
    assert_eq!(states(&cluster).await, [Done, Done, Done]);
}

#[test]
fn a_worker_whose_trainer_does_not_work_here_takes_no_jobs() {
    for (trainer, reason) in [("/bin/false", "exit status 1"), ("/bin/true", "exit status 0")] {
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("sweep-worker");
        copy_program(program("sweep-worker"), &worker);
        copy_program(trainer, folder.path().join("sweep-trainer"));
        let mut start = std::process::Command::new(&worker);
        start.args(["start", "--device", "cpu", "--coordinator", "http://127.0.0.1:1"]);
        start.arg("--spool").arg(folder.path().join("spool"));
        let ended = start.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains("the trainer of slot 0 cannot be used here: ") && said.contains(reason),
            "{said}"
        );
    }
    // Without a check of its trainer it would wait for a coordinator.
    let folder = tempfile::tempdir().unwrap();
    let mut start = std::process::Command::new("timeout");
    start.arg("60").arg(program("sweep-worker"));
    start.args(["start", "--device", "cpu", "--coordinator", "http://127.0.0.1:1", "--trainer", "exit 7"]);
    start.arg("--spool").arg(folder.path());
    let ended = start.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("exit status 7; fix the command that --trainer names"), "{said}");
    let mut other = std::process::Command::new(program("sweep-trainer"));
    let ended = other.args(["train", "--device", "cpu", "--for-worker", "0.0.0"]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("sweep-worker 0.0.0"), "{said}");
}

#[test]
fn programs_whose_log_no_one_reads_any_more_end_when_they_are_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = std::process::Command::new(program("sweep-worker"));
    worker
        .args(["start", "--device", "cpu", "--coordinator", "http://127.0.0.1:1", "--spool"])
        .arg(folder.path());
    let mut coordinator = std::process::Command::new(program("sweep"));
    let store = format!("sqlite:{}", folder.path().join("sweep.db").display());
    coordinator.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]);
    for (mut command, up) in [(worker, "the worker is up"), (coordinator, "the coordinator is ready")] {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(log.any(|line| line.unwrap().contains(up)), "{up}");
        drop(log);
        terminate(child.id());
        wait_for_end(child.id());
        assert!(child.wait().unwrap().success(), "{up}");
    }
}

#[tokio::test]
async fn a_worker_whose_program_was_replaced_goes_on_with_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("sweep-worker");
    let trainer_copy = folder.path().join("sweep-trainer");
    copy_program(program("sweep-worker"), &copy);
    copy_program(program("sweep-trainer"), &trainer_copy);
    let options = ClusterOptions { worker_program: Some(copy.clone()), ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    let worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    cluster.watch(sweep).await.until_end().await;
    std::fs::remove_file(&copy).unwrap();
    let newer = folder.path().join("newer");
    std::fs::write(&newer, "of another version").unwrap();
    std::fs::rename(&newer, &trainer_copy).unwrap();
    let trainer = worker.trainer();
    kill(trainer);
    wait_for_end(trainer);
    let sweep = cluster.submit("{epochs: {value: 2}}").await;
    cluster.watch(sweep).await.until_end().await;
    assert_whole(&cluster.results(sweep).await, 1, 2);
}
