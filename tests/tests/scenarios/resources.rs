//! What `resources` of a sweep file means to users' programs, read in the programs themselves. For their GPUs, a worker only passes
//! on numbers, so these scenarios need no GPU: one is in use while a program holds the lock of a file that has its number.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proto::v1::{self, watch_sweep_response::Event};
use rustix::fs::{CWD, FileType, Mode};
use tests::{Cluster, ClusterOptions, program};

use crate::commands::sweep;

/// How often to look for a file.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Takes one of `PLACES` places on each of its GPUs, notes its start and waits at the gate; it fails where all places are taken.
const SHARING: &str = "\
import fcntl, os, sys
import sweep
gpus, folder = os.environ['CUDA_VISIBLE_DEVICES'], os.environ['NOTES']
def place(gpu):
    for number in range(int(os.environ['PLACES'])):
        file = open(os.path.join(folder, 'gpu-%s-%d' % (gpu, number)), 'w')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            file.close()
    with open(os.path.join(folder, 'crowded'), 'a') as notes:
        notes.write('%s\\n' % gpu)
    sys.exit('all places are taken')
held = [place(gpu) for gpu in gpus.split(',')]
with open(os.path.join(folder, 'started'), 'a') as notes:
    notes.write('%s\\n' % gpus)
open(os.path.join(folder, 'gate')).close()
sweep.report(1, gpu=len(held))
";

/// Notes what its environment says.
const NOTING: &str = "\
import os
import sweep
with open(os.path.join(os.environ['NOTES'], 'seen'), 'a') as notes:
    for name in ('CUDA_VISIBLE_DEVICES', 'SWEEP_GPUS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        notes.write('%s=%s\\n' % (name, os.environ.get(name, 'nothing')))
sweep.report(1, gpu=0)
";

/// A sweep of such a program with that many jobs. Returns the sweep's number.
fn submit(cluster: &Cluster, script: &str, jobs: usize, resources: &str, places: usize) -> u64 {
    let notes = cluster.folder.path();
    let folder = tempfile::tempdir_in(notes).unwrap();
    fs::write(folder.path().join("train.py"), script).unwrap();
    let file = folder.path().join("sweep.yaml");
    let numbers: Vec<_> = (0..jobs).collect();
    let text = format!(
        "program: train.py\nmetric: {{name: gpu, goal: minimize}}\nparameters: {{number: {{values: {numbers:?}}}}}\n\
         resources: {resources}\nexecution: {{env: {{NOTES: {notes:?}, PLACES: '{places}'}}}}\n"
    );
    fs::write(&file, text).unwrap();
    let output = sweep(cluster, &["submit", "--format", "json", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let submitted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    submitted["id"].as_u64().unwrap_or_else(|| panic!("no number in {submitted}"))
}

/// A worker that leaves when this is dropped.
struct Worker(Child);

impl Worker {
    /// Starts it by a command of `env`: variables of the environment, and then a program with its arguments.
    fn start(cluster: &Cluster, command: &str) -> Self {
        let path = |name: &str| cluster.folder.path().join(name);
        let programs = program("sweep-worker").parent().unwrap().to_owned();
        let search = std::env::var_os("PATH").unwrap_or_default();
        let search = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&search)));
        let worker = Command::new("env")
            .args(command.split(' '))
            .env("PATH", search.unwrap())
            .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
            .env("SWEEP_NAME", "one")
            .env("SWEEP_SPOOL", path("spool"))
            .env("SWEEP_CACHE_DIR", path("cache"))
            .env_remove("OMP_NUM_THREADS")
            .stdin(Stdio::null())
            .stderr(fs::File::create(path("one.log")).unwrap())
            .spawn();
        Self(worker.unwrap())
    }

    /// One with two GPUs and that many slots, which the first GPU gets the first of, and so on in turn.
    fn of_two_gpus(cluster: &Cluster, slots: usize) -> Self {
        let devices = "--device cuda:0,cuda:1 --allow-commands --programs-only";
        Self::start(cluster, &format!("-u CUDA_VISIBLE_DEVICES sweep-worker start --slots {slots} {devices}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a file, sorted, once there are that many.
fn lines(file: &Path, count: usize) -> Vec<String> {
    let patience = Instant::now() + tests::PATIENCE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            lines.sort();
            return lines;
        }
        assert!(Instant::now() < patience, "gave up waiting for {count} lines of {}: {text}", file.display());
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Runs a sweep on two GPUs with `slots` slots in total and `per_gpu` jobs on each GPU at the same time.
async fn share(per_gpu: usize, slots: usize) {
    let cluster = Cluster::start(ClusterOptions::default());
    let path = |name: &str| cluster.folder.path().join(name);
    rustix::fs::mknodat(CWD, path("gate"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _worker = Worker::of_two_gpus(&cluster, slots);
    let jobs = per_gpu * 4;
    let id = submit(&cluster, SHARING, jobs, &format!("{{per_gpu: {per_gpu}}}"), per_gpu);
    let mut watch = cluster.watch(id).await;
    let crowded = || fs::read_to_string(path("crowded")).unwrap_or_default();
    let limit = format!("`per_gpu: {per_gpu}` allows");
    let waits = |event: &Event| match event {
        Event::Snapshot(snapshot) => {
            assert_eq!(crowded(), "", "GPUs that had more than {per_gpu} jobs");
            snapshot
                .sweep
                .as_ref()?
                .waiting
                .as_ref()
                .filter(|waiting| waiting.text.contains(&limit))
                .map(drop)
        }
        _ => None,
    };
    watch.until("jobs that wait for a GPU with room", waits).await;
    // None of them goes on before the gate opens: these run at the same time.
    let together = lines(&path("started"), 2 * per_gpu);
    let expected: Vec<_> = ["0", "1"].iter().flat_map(|gpu| vec![*gpu; per_gpu]).collect();
    assert_eq!(together, expected, "{per_gpu} jobs on each GPU");
    // While this has it open for writing, whoever opens it for reading does not wait.
    let _gate = fs::File::options().read(true).write(true).open(path("gate")).unwrap();
    watch.until_end().await;
    assert_eq!(crowded(), "", "GPUs that had more than {per_gpu} jobs");
    let results = cluster.results(id).await;
    assert_eq!(results.len(), jobs);
    for (job, epochs) in results {
        assert_eq!((job.state(), job.attempts, epochs.len()), (v1::JobState::Done, 1, 1), "{job:?}");
    }
    assert_eq!(lines(&path("started"), jobs).len(), jobs);
}

#[tokio::test]
async fn with_per_gpu_1_no_two_jobs_of_a_sweep_are_on_one_gpu_though_it_has_two_slots() {
    share(1, 4).await;
}

#[tokio::test]
async fn with_per_gpu_2_two_jobs_share_a_gpu_at_the_same_time_and_a_third_waits() {
    share(2, 6).await;
}

#[tokio::test]
async fn a_program_sees_its_slots_gpu_or_none_and_takes_as_many_threads_as_its_file_says() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = Worker::of_two_gpus(&cluster, 2);
    let seen = cluster.folder.path().join("seen");
    for (resources, gpus, count, threads) in [
        ("{gpus: 1, cpus: 2}", ["0", "1"], "1", "2"),
        ("{gpus: 0, cpus: 3}", ["", ""], "0", "3"),
        ("{gpus: 2, cpus: 3}", ["0,1", "0,1"], "2", "3"),
    ] {
        let id = submit(&cluster, NOTING, 6, resources, 1);
        cluster.watch(id).await.until_end().await;
        let told = lines(&seen, 6 * 4);
        for line in &told {
            let (name, value) = line.split_once('=').unwrap();
            match name {
                "CUDA_VISIBLE_DEVICES" => assert!(gpus.contains(&value), "{resources}: {told:?}"),
                "SWEEP_GPUS" => assert_eq!(value, count, "{resources}: {told:?}"),
                _ => assert_eq!(value, threads, "{resources}: {told:?}"),
            }
        }
        fs::remove_file(&seen).unwrap();
    }
}

/// Why jobs of a sweep wait, as `sweep show` says it.
fn why(cluster: &Cluster, id: u64) -> String {
    let shown = sweep(cluster, &["show", &id.to_string(), "-o", "json"]);
    assert!(shown.status.success(), "{shown:?}");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    shown["waiting"].to_string()
}

/// Waits until jobs of a sweep wait for a reason with this text.
async fn until_it_waits(cluster: &Cluster, id: u64, text: &str) {
    let waits = |event: &Event| match event {
        Event::Snapshot(snapshot) => {
            let waiting = snapshot.sweep.as_ref()?.waiting.as_ref()?;
            waiting.text.contains(text).then_some(())
        }
        _ => None,
    };
    cluster.watch(id).await.until(text, waits).await;
}

/// Slots of the only worker, those that are busy, and the attempts that occupy them, as `sweep workers` says it.
fn occupied(cluster: &Cluster) -> [u64; 3] {
    let shown = sweep(cluster, &["workers", "-o", "json"]).stdout;
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    ["slots", "busy", "running"].map(|name| shown[0][name].as_u64().unwrap_or_else(|| panic!("{shown}")))
}

/// A sweep whose jobs take two GPUs, and one whose jobs share them with nobody of it, of which two run at the gate. The first sweep
/// is paused. Returns the numbers of both.
fn several_and_single(cluster: &Cluster) -> (u64, u64) {
    rustix::fs::mknodat(CWD, cluster.folder.path().join("gate"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    let several = submit(cluster, SHARING, 3, "{gpus: 2}", 1);
    assert!(sweep(cluster, &["pause", &several.to_string()]).status.success());
    let single = submit(cluster, SHARING, 6, "{per_gpu: 1}", 1);
    (several, single)
}

#[tokio::test]
async fn a_job_with_two_gpus_has_both_alone_and_its_turn_comes_although_others_wait_for_one() {
    let cluster = Cluster::start(ClusterOptions::default());
    let path = |name: &str| cluster.folder.path().join(name);
    let (several, single) = several_and_single(&cluster);
    let _worker = Worker::of_two_gpus(&cluster, 4);
    assert_eq!(lines(&path("started"), 2), ["0", "1"]);
    assert!(sweep(&cluster, &["resume", &several.to_string()]).status.success());
    until_it_waits(&cluster, several, "no worker has 2 free GPUs").await;
    until_it_waits(
        &cluster,
        single,
        &format!("kept for sweep {several}, whose next job takes 2 GPUs at once"),
    )
    .await;
    assert!(why(&cluster, single).contains("are kept for sweep"), "{}", why(&cluster, single));
    assert_eq!(occupied(&cluster), [4, 2, 2]);
    // While this has it open for writing, whoever opens it for reading does not wait.
    let _gate = fs::File::options().read(true).write(true).open(path("gate")).unwrap();
    for id in [several, single] {
        cluster.watch(id).await.until_end().await;
    }
    assert_eq!(fs::read_to_string(path("crowded")).unwrap_or_default(), "", "GPUs that two jobs had");
    let started = fs::read_to_string(path("started")).unwrap();
    let started: Vec<&str> = started.lines().collect();
    assert_eq!(started[2..5], ["0,1"; 3], "all in the order of their starts: {started:?}");
    assert_eq!(started.len(), 9, "{started:?}");
    for id in [several, single] {
        for (job, _) in cluster.results(id).await {
            assert_eq!((job.state(), job.attempts), (v1::JobState::Done, 1), "{job:?}");
        }
    }
}

#[tokio::test]
async fn a_job_keeps_its_gpus_while_the_coordinator_is_replaced_and_until_it_has_ended_after_it_is_cancelled()
{
    let mut cluster = Cluster::start(ClusterOptions::default());
    let (several, single) = several_and_single(&cluster);
    assert!(sweep(&cluster, &["pause", &single.to_string()]).status.success());
    assert!(sweep(&cluster, &["resume", &several.to_string()]).status.success());
    let worker = Worker::of_two_gpus(&cluster, 4);
    let started = cluster.folder.path().join("started");
    assert_eq!(lines(&started, 1), ["0,1"]);
    assert_eq!(occupied(&cluster), [4, 4, 1]);
    cluster.replace_coordinator();
    assert!(sweep(&cluster, &["resume", &single.to_string()]).status.success());
    // It waits for slots once the worker is back with what it holds.
    until_it_waits(&cluster, single, "every slot is busy").await;
    assert_eq!(occupied(&cluster), [4, 4, 1]);
    assert_eq!(lines(&started, 1), ["0,1"]);
    assert!(sweep(&cluster, &["cancel", &several.to_string(), "--yes"]).status.success());
    let after = lines(&started, 3);
    assert_eq!(after, ["0", "0,1", "1"]);
    assert_eq!(fs::read_to_string(cluster.folder.path().join("crowded")).unwrap_or_default(), "");
    drop(worker);
}

#[tokio::test]
async fn a_sweep_that_takes_more_gpus_than_any_worker_has_says_so_and_what_the_largest_has() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = Worker::of_two_gpus(&cluster, 4);
    let id = submit(&cluster, NOTING, 1, "{gpus: 3}", 1);
    until_it_waits(
        &cluster,
        id,
        "has the 3 GPUs of a job, which `resources: {gpus: 3}` asks for; the largest, one, has 2",
    )
    .await;
    assert!(why(&cluster, id).contains("the largest, one, has 2"), "{}", why(&cluster, id));
    // It goes on with another setting.
    assert!(sweep(&cluster, &["set", &id.to_string(), "resources.gpus=2"]).status.success());
    cluster.watch(id).await.until_end().await;
    let seen = lines(&cluster.folder.path().join("seen"), 4);
    assert_eq!(seen[..1], ["CUDA_VISIBLE_DEVICES=0,1"], "{seen:?}");
}

#[tokio::test]
async fn a_worker_shows_its_models_and_whether_it_runs_programs_and_one_for_programs_alone_has_no_models() {
    let options = ClusterOptions { worker: vec!["--allow-commands".to_owned()], ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    let _alone = Worker::of_two_gpus(&cluster, 2);
    let id = cluster.submit("{epochs: {value: 1}}").await;
    let mut watch = cluster.watch(id).await;
    let waits = |event: &Event| match event {
        Event::Snapshot(snapshot) => {
            let sweep = snapshot.sweep.as_ref()?;
            assert_eq!(sweep.counts.unwrap_or_default().running, 0, "{sweep:?}");
            let waiting = sweep.waiting.as_ref()?;
            if waiting.reason() == v1::WaitReason::NoWorker {
                return None;
            }
            assert!(waiting.text.contains("one: it trains no models"), "{waiting:?}");
            Some(())
        }
        _ => None,
    };
    watch.until("a sweep of a model that no worker has", waits).await;
    let _both = cluster.worker("two");
    watch.until_end().await;
    let attempts = cluster.job(id, 1).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.worker.as_str()).collect::<Vec<_>>(), ["two"]);
    let shown = sweep(&cluster, &["workers", "-o", "json"]).stdout;
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    let told = |index: usize| [&shown[index]["name"], &shown[index]["models"], &shown[index]["programs"]];
    let expected = serde_json::json!([["one", [], true], ["two", ["simple_cnn"], true]]);
    assert_eq!(serde_json::json!([told(0), told(1)]), expected, "{shown}");
    let table = String::from_utf8(sweep(&cluster, &["workers"]).stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("two")).unwrap();
    assert!(row.contains(" simple_cnn ") && row.contains(" yes "), "{table}");
}
