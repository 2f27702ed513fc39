//! What `resources` of a sweep file means to users' programs, read in the programs themselves. For their GPUs, a worker only passes
//! on numbers, so these scenarios need no GPU: one is in use while a program holds the lock of a file that has its number.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use proto::v1::{self, watch_sweep_response::Event};
use rustix::fs::{CWD, FileType, Mode};
use tests::{Cluster, ClusterOptions, program};

/// How often to look for a file.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Takes one of `PLACES` places on its GPU, notes its start and waits at the gate; it fails where all places are taken.
const SHARING: &str = "\
import fcntl, os, sys
import sweep
gpu, folder = os.environ['CUDA_VISIBLE_DEVICES'], os.environ['NOTES']
def place():
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
held = place()
with open(os.path.join(folder, 'started'), 'a') as notes:
    notes.write('%s\\n' % gpu)
open(os.path.join(folder, 'gate')).close()
sweep.report(1, gpu=int(gpu))
";

/// Notes what its environment says.
const NOTING: &str = "\
import os
import sweep
with open(os.path.join(os.environ['NOTES'], 'seen'), 'a') as notes:
    for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
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

fn sweep(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(program("sweep"))
        .args(arguments)
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap()
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
    for (resources, gpus, threads) in
        [("{gpus: 1, cpus: 2}", ["0", "1"], "2"), ("{gpus: 0, cpus: 3}", ["", ""], "3")]
    {
        let id = submit(&cluster, NOTING, 6, resources, 1);
        cluster.watch(id).await.until_end().await;
        let told = lines(&seen, 6 * 3);
        for line in &told {
            let (name, value) = line.split_once('=').unwrap();
            match name {
                "CUDA_VISIBLE_DEVICES" => assert!(gpus.contains(&value), "{resources}: {told:?}"),
                _ => assert_eq!(value, threads, "{resources}: {told:?}"),
            }
        }
        fs::remove_file(&seen).unwrap();
    }
}

#[tokio::test]
async fn several_gpus_a_job_are_refused_and_the_command_that_the_refusal_names_gives_them() {
    let cluster = Cluster::start(ClusterOptions::default());
    let file = cluster.folder.path().join("several.yaml");
    fs::write(&file, "program: train.py\nmetric: {name: gpu, goal: minimize}\nresources: {gpus: 2}\n")
        .unwrap();
    fs::write(cluster.folder.path().join("train.py"), NOTING).unwrap();
    let refused = sweep(&cluster, &["validate", file.to_str().unwrap()]);
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    let quoted = said.split('`').find(|quoted| quoted.contains("sweep-worker start"));
    let _worker = Worker::start(&cluster, quoted.unwrap_or_else(|| panic!("no command in {said}")));
    let id = submit(&cluster, NOTING, 1, "{}", 1);
    cluster.watch(id).await.until_end().await;
    let seen = lines(&cluster.folder.path().join("seen"), 3);
    assert_eq!(seen[0], "CUDA_VISIBLE_DEVICES=0,1", "{seen:?}");
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
