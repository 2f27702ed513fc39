//! Trained weights: kept where the coordinator keeps its data, across kills and full disks, and usable.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use proto::v1;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use serde_json::Value;
use tests::{
    Cluster, ClusterOptions, PATIENCE,
    chaos::{light, light_metrics, light_weights, settled_weights},
    dataset, program,
};

use crate::disk::{fill, small_disk};

/// Bytes of weights that take long enough to upload that a kill hits them in transit.
const LARGE: usize = 192 << 20;

pub(crate) fn folder_of(cluster: &Cluster) -> PathBuf {
    cluster.folder.path().join("sweep.db-artifacts")
}

fn with_large_weights() -> ClusterOptions {
    ClusterOptions {
        worker_environment: vec![("LIGHT_TRAINER_WEIGHTS_BYTES", LARGE.to_string())],
        lease: "2s",
        ..light(1)
    }
}

fn sweep_command(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("sweep"));
    command.arg("--coordinator").arg(format!("http://{}", cluster.coordinator.address)).args(arguments);
    command.output().unwrap()
}

fn trainer(arguments: &[&str]) -> Output {
    Command::new(program("sweep-trainer")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Bytes of uploads in progress.
fn incoming(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder.join("incoming")) else { return 0 };
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

/// Waits until more than `beyond` bytes of weights have arrived, but not all: each write wakes it.
pub(crate) fn until_more_came(folder: &Path, beyond: u64) -> u64 {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, folder.join("incoming"), inotify::WatchFlags::MODIFY).unwrap();
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        let bytes = incoming(folder);
        if bytes > beyond {
            return bytes;
        }
        let mut polled = [PollFd::new(&watch, PollFlags::IN)];
        assert!(poll(&mut polled, Some(&patience)).unwrap() > 0, "after {bytes} bytes nothing more came");
        rustix::io::read(&watch, &mut [0; 4_096]).unwrap();
    }
}

#[tokio::test]
async fn of_real_training_are_those_of_the_best_job_and_give_its_accuracy_to_the_bit() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster
        .submit(
            "{learning_rate: {values: [0.00001, 0.001]}, precision: {values: [fp32, bf16]}, \
             batch_norm: {values: [false, true]}, dropout: {value: 0.2}, epochs: {value: 2}}\nartifacts: {keep: all}",
        )
        .await;
    cluster.watch(sweep).await.until_end().await;
    let kept = settled_weights(&cluster, sweep, &folder_of(&cluster)).await;
    assert_eq!(kept.contents.len(), 8);
    let cache = cluster.folder.path().join("cache").display().to_string();
    let pictures = dataset().display().to_string();
    for (job, _) in cluster.results(sweep).await {
        let number = job.point.as_ref().unwrap().job;
        assert_eq!(job.weights, "kept", "{job:?}");
        let place = cluster.folder.path().join(format!("got-{number}"));
        let (id, place) = (format!("{sweep}/{number}"), place.display().to_string());
        stdout(&sweep_command(&cluster, &["artifact", "get", &id, "--output", &place]));
        let weights = format!("{place}/model.safetensors");
        assert_eq!(fs::read(&weights).unwrap(), kept.contents[&number]);
        let facts: Value = serde_json::from_slice(&fs::read(format!("{place}/model.json")).unwrap()).unwrap();
        assert_eq!((&facts["job"], &facts["classes"][1]), (&number.into(), &"dog".into()));
        let metrics = &facts["metrics"];
        for (name, value) in [
            ("val_accuracy", job.val_accuracy),
            ("val_loss", job.val_loss),
            ("train_accuracy", job.train_accuracy),
            ("best_val_accuracy", job.best_val_accuracy),
        ] {
            assert_eq!(metrics[name].as_f64(), value, "{name}");
        }
        assert_eq!(metrics["best_epoch"].as_u64(), job.best_epoch.map(u64::from));
        let arguments =
            ["evaluate", "--weights", &weights, "--cache-dir", &cache, "--part", "validation", "--json"];
        let evaluated: Value =
            serde_json::from_str(&stdout(&trainer(&[&arguments[..], &[&pictures]].concat()))).unwrap();
        assert_eq!(
            evaluated["accuracy"].as_f64().unwrap().to_bits(),
            job.val_accuracy.unwrap().to_bits(),
            "job {number}"
        );
    }
    // The best job without naming it, and its predictions.
    let best =
        cluster.client().await.get_sweep(v1::GetSweepRequest { sweep_id: sweep }).await.unwrap().into_inner();
    let place = cluster.folder.path().join("best").display().to_string();
    let told = stdout(&sweep_command(&cluster, &["artifact", "get", &sweep.to_string(), "--output", &place]));
    let number = best.best.unwrap().point.unwrap().job;
    assert!(told.contains(&format!("job {sweep}/{number}")), "{told}");
    let rows = stdout(&trainer(&[
        "predict",
        "--device",
        "cpu",
        "--weights",
        &format!("{place}/model.safetensors"),
        &pictures,
    ]));
    let mut lines = rows.lines();
    assert_eq!(lines.next(), Some("file,class,p_cat,p_dog"));
    let drawn = fs::read_dir(dataset()).unwrap().map(|entry| entry.unwrap().path());
    let drawn = drawn.filter(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    assert_eq!(lines.clone().count(), drawn.count());
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let (cat, dog): (f64, f64) = (cells[2].parse().unwrap(), cells[3].parse().unwrap());
        assert!((cat + dog - 1.0).abs() < 1e-5 && (cells[1] == "cat") == (cat >= dog), "{line}");
    }
}

#[tokio::test]
async fn survive_kills_of_coordinator_and_worker_while_they_are_handed_over() {
    let mut cluster = Cluster::start(with_large_weights());
    let folder = folder_of(&cluster);
    let worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    let before = until_more_came(&folder, 0);
    cluster.replace_coordinator();
    let before = until_more_came(&folder, before);
    worker.kill();
    assert!(before < LARGE as u64, "the weights were on their way");
    let _worker = cluster.worker("one");
    let kept = settled_weights(&cluster, sweep, &folder).await;
    assert_eq!(kept.contents, [(1, light_weights(0, LARGE))].into());
    assert_eq!(cluster.job(sweep, 1).await.attempts.len(), 1, "handing over is no part of the attempt");
}

#[tokio::test]
async fn of_the_best_jobs_alone_are_left_in_the_end() {
    let cluster = Cluster::start(light(1));
    let _workers = ["one", "two"].map(|name| cluster.worker(name));
    let parameters = "{epochs: {value: 1}, seed: {min: 1, max: 60, count: 60}}\nartifacts: {keep: 3}";
    let sweep = cluster.submit(parameters).await;
    cluster.watch(sweep).await.until_end().await;
    let kept = settled_weights(&cluster, sweep, &folder_of(&cluster)).await;
    let mut ranked: Vec<u64> = (1..=60).collect();
    ranked.sort_by(|one, other| {
        light_metrics(*other, 1).1.total_cmp(&light_metrics(*one, 1).1).then(one.cmp(other))
    });
    let best: std::collections::BTreeMap<_, _> =
        ranked[..3].iter().map(|seed| (*seed, light_weights(*seed, 1_000))).collect();
    assert_eq!(kept.contents, best);
    for spool in ["spool-one", "spool-two"] {
        // A worker keeps nothing that the coordinator has or does not want; it learns that a moment later.
        let folder = cluster.folder.path().join(spool).join("weights");
        let emptied = async {
            while fs::read_dir(&folder).unwrap().count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, emptied).await.unwrap_or_else(|_| panic!("{spool} keeps weights"));
    }
    let listed = stdout(&sweep_command(&cluster, &["artifact", "ls", &sweep.to_string(), "-o", "json"]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.iter().filter(|row| row["state"] == "kept").count(), 3);
    let dropped = ranked[59].to_string();
    let refused = sweep_command(&cluster, &["artifact", "get", &format!("{sweep}/{dropped}")]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("sweep artifact ls"), "{told}");
}

#[tokio::test]
async fn wait_at_their_worker_while_the_coordinators_disk_is_full() {
    let Some((disk, through)) = small_disk() else { return };
    let place = disk.path().join("weights");
    let serve = vec!["--artifacts".to_owned(), place.display().to_string()];
    let cluster = Cluster::start(ClusterOptions { serve, through, ..light(50) });
    // The disk as the coordinator sees it.
    let seen = PathBuf::from(format!("/proc/{}/root{}", cluster.coordinator.pid(), disk.path().display()));
    fill(&seen);
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    cluster.coordinator.until_it_says("the disk where weights are kept is full");
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    assert_eq!((results[0].0.state(), results[0].0.weights.as_str()), (v1::JobState::Done, "awaited"));
    fs::remove_file(seen.join("filler")).unwrap();
    let kept = settled_weights(&cluster, sweep, &seen.join("weights")).await;
    assert_eq!(kept.contents, [(1, light_weights(0, 1_000))].into());
}

#[tokio::test]
async fn that_a_crash_left_are_removed_and_foreign_files_are_not() {
    let mut cluster = Cluster::start(light(1));
    let folder = folder_of(&cluster);
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    cluster.watch(sweep).await.until_end().await;
    settled_weights(&cluster, sweep, &folder).await;
    let own = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| !path.ends_with("incoming"));
    let leftover = own.unwrap().join("1-1-leftover.safetensors");
    let foreign = folder.join("7-7").join("1-1-other.safetensors");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    for path in [&leftover, &foreign] {
        fs::write(path, b"x").unwrap();
    }
    cluster.replace_coordinator();
    cluster.coordinator.until_it_has_said("weights that a crash left were removed");
    assert!(!leftover.exists() && foreign.exists());
    fs::remove_dir_all(foreign.parent().unwrap()).unwrap();
    assert_eq!(settled_weights(&cluster, sweep, &folder).await.contents.len(), 1);
}
