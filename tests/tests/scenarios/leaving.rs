//! Workers that leave because their machine is taken away, or because there is nothing to do, and coordinators that end with their sweep.
//! No worker here has a place for checkpoints that others reach.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use proto::v1;
use rustix::process::Signal;
use tests::{Cluster, ClusterOptions, Coordinator, Worker, program, send, source, terminate};

use crate::completion::{assert_whole, numbers, undisturbed};

const EPOCHS: u32 = 12;
const PARAMETERS: &str = "{learning_rate: {value: 0.001}, epochs: {value: 12}}";

/// How long something may take that happens every few seconds.
const SOON: Duration = Duration::from_secs(30);

fn options(arguments: &[&str]) -> ClusterOptions {
    ClusterOptions {
        lease: "2s",
        checkpoints_are_own: true,
        worker: arguments.iter().map(ToString::to_string).collect(),
        ..ClusterOptions::default()
    }
}

/// A job that nothing but its worker's end has keep a checkpoint.
async fn submit(cluster: &Cluster) -> u64 {
    let source = v1::SweepSource { overrides: Vec::new(), ..source(PARAMETERS) };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id
}

/// The checkpoints that the coordinator has.
fn handed_over(cluster: &Cluster) -> Vec<PathBuf> {
    let place = cluster.folder.path().join("sweep.db-artifacts/handed-over");
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries(&place).flat_map(|folder| entries(&folder).collect::<Vec<_>>()).collect()
}

/// Ends the worker of a job by `end` in mid-training, and has another one, on another folder, train it to its end. Returns the
/// outcomes of the two attempts and how many epochs the second took over.
async fn change_hands(cluster: &Cluster, end: impl AsyncFnOnce(Worker)) -> ([String; 2], u32) {
    let one = cluster.worker("one");
    let sweep = submit(cluster).await;
    let mut watch = cluster.watch(sweep).await;
    let job = watch.until_epoch(3).await;
    end(one).await;
    assert_eq!(handed_over(cluster).len(), 1, "one checkpoint, the last one");
    let _two = cluster.worker("two");
    watch.until_end().await;
    let results = cluster.results(sweep).await;
    assert_whole(&results, 1, EPOCHS);
    assert_eq!(numbers(&results), undisturbed(PARAMETERS).await, "bit for bit");
    let give_up_at = Instant::now() + SOON;
    while !handed_over(cluster).is_empty() {
        assert!(Instant::now() < give_up_at, "a job that has ended needs no checkpoint");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let attempts = cluster.job(sweep, job).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!(second.worker, "two");
    ([first.outcome.clone(), second.outcome.clone()], second.resumed_epochs)
}

#[tokio::test]
async fn after_sigusr1_a_job_goes_on_elsewhere_by_way_of_the_coordinator() {
    let cluster = Cluster::start(options(&["--grace", "10m"]));
    let (outcomes, resumed) = change_hands(&cluster, async |worker| {
        send(worker.pid(), Signal::USR1);
        assert_eq!(worker.wait(), Some(0));
    })
    .await;
    assert_eq!(outcomes, ["handed_back", "done"]);
    assert!((3..EPOCHS).contains(&resumed), "no epoch was trained again: {resumed}");
}

#[tokio::test]
async fn a_file_that_appears_has_a_worker_leave_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let notice = folder.path().join("notice");
    let cluster = Cluster::start(options(&["--grace", "10m", "--leave-when", notice.to_str().unwrap()]));
    let (outcomes, resumed) = change_hands(&cluster, async |worker| {
        fs::write(&notice, "").unwrap();
        let (code, log) = worker.end();
        assert!(code == Some(0) && log.contains("this machine will be taken away"), "{log}");
        fs::remove_file(&notice).unwrap();
    })
    .await;
    assert_eq!(outcomes, ["handed_back", "done"]);
    assert!((3..EPOCHS).contains(&resumed), "{resumed}");
}

#[tokio::test]
async fn a_machine_that_gives_less_time_than_the_grace_period_costs_what_came_after_the_signal() {
    let cluster = Cluster::start(options(&["--grace", "10m"]));
    let (outcomes, resumed) = change_hands(&cluster, async |worker| {
        terminate(worker.pid());
        // Long before the grace period is over.
        worker.until_it_says("the coordinator has the checkpoint");
        worker.kill();
    })
    .await;
    assert_eq!(outcomes, ["lost", "done"]);
    assert!((3..EPOCHS).contains(&resumed), "{resumed}");
}

#[tokio::test]
async fn a_worker_without_work_ends_well() {
    let cluster = Cluster::start(options(&["--exit-when-idle", "1s"]));
    let worker = cluster.worker("one");
    worker.until_connected();
    let sweep = submit(&cluster).await;
    let (code, log) = worker.end();
    assert!(code == Some(0) && log.contains("the worker has left"), "{log}");
    assert_eq!(cluster.results(sweep).await[0].0.state(), v1::JobState::Done, "its job came first");
    assert!(cluster.workers().await.is_empty(), "who said goodbye is listed no longer");
}

/// A coordinator that ends with the sweep in `file`, in this folder.
fn start(folder: &Path, file: &Path) -> Cluster {
    let mut options = options(&[]);
    options.serve = ["--exit-with-sweep", file.to_str().unwrap()].map(str::to_owned).into();
    options.store = Some(format!("sqlite:{}", folder.join("sweep.db").display()));
    Cluster::start(options)
}

#[tokio::test]
async fn a_coordinator_ends_with_its_sweep_and_says_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        let file = folder.path().join("sweep.yaml");
        fs::write(&file, text).unwrap();
        file
    };
    let file = write(&source("{epochs: {value: 1}}").text);
    let mut cluster = start(folder.path(), &file);
    let worker = cluster.worker("one");
    assert_eq!(worker.wait(), Some(0), "it is told to leave");
    assert_eq!(cluster.coordinator.wait(), Some(0), "{}", cluster.coordinator.log());
    // The next one finds the sweep in the store.
    let ended = |coordinator: &mut Coordinator| (coordinator.wait(), coordinator.whole_log());
    let mut again = start(folder.path(), &file);
    let (code, log) = ended(&mut again.coordinator);
    assert!(code == Some(0) && log.contains("the sweep in the store has ended already"), "{log}");
    let file = write(&source("{epochs: {value: 2}}").text);
    let mut another = start(folder.path(), &file);
    let (code, log) = ended(&mut another.coordinator);
    assert!(code == Some(1) && log.contains("give another --store"), "{log}");
}

#[tokio::test]
async fn a_coordinator_that_is_stopped_before_its_sweep_has_ended_says_so_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sweep.yaml");
    fs::write(&file, source("{epochs: {value: 1}}").text).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut cluster = start(folder.path(), &file);
        cluster.coordinator.until_it_leads(true).await;
        send(cluster.coordinator.pid(), signal);
        let (code, log) = (cluster.coordinator.wait(), cluster.coordinator.whole_log());
        assert_eq!(
            code,
            Some(130),
            "neither success, nor the verdict of jobs (1), nor wrong usage (2): {log}"
        );
        assert!(log.contains("stopped before its sweep has ended"), "{log}");
    }
    let mut cluster = start(folder.path(), &file);
    let worker = cluster.worker("one");
    assert_eq!(worker.wait(), Some(0), "it is told to leave");
    assert_eq!(cluster.coordinator.wait(), Some(0), "{}", cluster.coordinator.log());
}

#[tokio::test]
async fn a_coordinator_with_an_authority_ends_with_its_sweep_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let init = |hosts: &[&str]| {
        let hosts = hosts.iter().flat_map(|host| ["--host", host]);
        let made =
            Command::new(program("sweep")).args(["certs", "init", &path("certs")]).args(hosts).output();
        assert!(made.unwrap().status.success());
    };
    init(&["localhost", "127.0.0.1"]);
    fs::write(path("token"), "secret\n").unwrap();
    fs::write(path("sweep.yaml"), source("{epochs: {value: 1}}").text).unwrap();
    let serve = [
        "--token-file",
        &path("token"),
        "--authority",
        &path("certs"),
        "--exit-with-sweep",
        &path("sweep.yaml"),
    ];
    let worker = ["--token-file", &path("token"), "--tls-ca", &path("certs/ca.pem")];
    let mut cluster = Cluster::start(ClusterOptions {
        serve: serve.map(str::to_owned).to_vec(),
        worker: worker.map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    });
    let worker = cluster.worker("one");
    assert_eq!(worker.wait(), Some(0), "it is told to leave");
    assert_eq!(cluster.coordinator.wait(), Some(0), "{}", cluster.coordinator.log());
    // One whose certificate has not the name by which it would ask itself says so before it serves anything.
    fs::remove_dir_all(path("certs")).unwrap();
    init(&["sweep.example"]);
    let refused = Command::new(program("sweep"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &format!("sqlite:{}", path("other.db"))])
        .args(serve)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && told.contains("has not that name"), "{told}");
    assert!(!told.contains("is ready") && !folder.path().join("other.db").exists(), "{told}");
}

#[test]
fn a_sweep_file_that_is_not_there_is_missed_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("sweep.db").display());
    let refused = Command::new(program("sweep"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &store, "--exit-with-sweep", "nosuch.yaml"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("cannot read nosuch.yaml"), "{told}");
    assert!(!told.contains("ready") && !folder.path().join("sweep.db").exists(), "{told}");
}

#[tokio::test]
async fn a_coordinator_whose_sweep_lacks_a_result_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sweep.yaml");
    fs::write(
        &file,
        "name: a\ncommand: [\"false\"]\nmetric: {name: loss, goal: minimize}\nparameters: {x: {values: [1]}}\nexecution: {attempts_max: 1}\n",
    )
    .unwrap();
    let mut cluster = start(folder.path(), &file);
    cluster.workers_get(vec!["--allow-commands".into(), "--programs-only".into()]);
    let _worker = cluster.worker("one");
    let (code, log) = (cluster.coordinator.wait(), cluster.coordinator.whole_log());
    assert!(code == Some(1) && log.contains("1 of 1 job has no result"), "{log}");
}
