//! Accepted users and workers that ask for too much: no one else waits for them, and memory stays bounded.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use proto::v1::{self, worker_message::Message};
use tests::{Client, Cluster, ClusterOptions, PATIENCE, chaos, program};
use tokio::task::JoinSet;
use tonic::Code;

use super::limits::Stranger;

/// How long a list may take while others have much read: it should take at most a second, and takes a tenth on two idle
/// cores; three times as long, as the tests share their cores.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// The peak memory of the coordinator, in MiB.
fn memory_mib(cluster: &Cluster) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.coordinator.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

async fn submit(
    client: &mut Client,
    text: String,
    request_id: &str,
) -> Result<v1::SubmitResponse, tonic::Status> {
    let source = Some(v1::SweepSource { text, ..v1::SweepSource::default() });
    let request = v1::SubmitRequest { source, request_id: request_id.to_owned(), extend_sweep_id: 0 };
    client.submit(request).await.map(tonic::Response::into_inner)
}

/// A sweep over `count` learning rates, written out.
fn rates(count: u32) -> String {
    let rates: Vec<String> = (1..=count).map(|rate| format!("0.{rate:05}123456789")).collect();
    format!(
        "name: many\ndataset: {{path: d}}\nparameters: {{learning_rate: {{values: [{}]}}}}\n",
        rates.join(", ")
    )
}

#[tokio::test]
async fn whose_keys_look_alike_are_distinguished_or_refused_also_after_a_restart() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    for round in 0..2 {
        let mut client = cluster.client().await;
        for key in ["a\0b", "\0", "a\u{1b}b"] {
            let refused = submit(&mut client, rates(1), key).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{key:?}: {refused:?}");
        }
        for key in ["a\u{fffd}b", "ab"] {
            let submitted = submit(&mut client, rates(1), key).await.unwrap();
            assert_eq!(submitted.created, round == 0, "{key:?}");
        }
        let sweeps = client.list_sweeps(v1::ListSweepsRequest::default()).await.unwrap().into_inner().sweeps;
        assert_eq!(sweeps.len(), 2);
        cluster.replace_coordinator();
    }
}

#[tokio::test]
async fn that_take_long_to_read_hold_up_no_one_else_and_cost_no_lease() {
    const CALLS: usize = 700;
    const EPOCHS: u32 = 60;
    let cluster = Cluster::start(ClusterOptions { lease: "5s", ..chaos::light(100) });
    let _worker = cluster.worker("one");
    let sweep =
        cluster.submit(&format!("{{epochs: {{value: {EPOCHS}}}, seed: {{min: 1, max: 2, count: 2}}}}")).await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;
    // Half of a million points are marked again and again.
    let exclude = vec!["{activation: relu}"; 40].join(", ");
    let text = format!(
        "name: slow\ndataset: {{path: d}}\nparameters: {{activation: {{values: [relu, sigmoid]}}, \
         learning_rate: {{min: 1, max: 1000, count: 1000}}, seed: {{min: 1, max: 400, count: 400}}}}\n\
         exclude: [{exclude}]\n#{}\n",
        "x".repeat(100 << 10)
    );
    let mut calls = JoinSet::new();
    for _ in 0..CALLS.div_ceil(100) {
        let client = cluster.client().await;
        for _ in 0..100 {
            let (mut client, text) = (client.clone(), text.clone());
            calls.spawn(async move {
                let source = Some(v1::SweepSource { text, ..v1::SweepSource::default() });
                client.validate(v1::ValidateRequest { source, preview: 1 }).await.map(drop)
            });
        }
    }
    let (mut witness, mut refused, mut longest) = (cluster.client().await, 0, Duration::ZERO);
    for _ in 0..20 {
        let asked = Instant::now();
        witness.list_sweeps(v1::ListSweepsRequest::default()).await.unwrap();
        longest = longest.max(asked.elapsed());
        if let Some(answer) = calls.join_next().await
            && let Err(status) = answer.unwrap()
        {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            assert!(status.message().contains("try again in"), "{status:?}");
            refused += 1;
        }
    }
    println!("others waited for {longest:?} at most");
    assert!(longest < ANSWERED_WITHIN, "others wait for {longest:?}");
    assert!(refused > 0, "as many were read at the same time as were sent");
    assert!(memory_mib(&cluster) < 700, "{} MiB", memory_mib(&cluster));
    // A client that leaves frees its place for the next one.
    calls.shutdown().await;
    let asked = Instant::now();
    while let Err(status) = submit(&mut witness, rates(1), "").await {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(asked.elapsed() < PATIENCE, "it is read although no one waits for it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.watch(sweep).await.until_end().await;
    for (job, epochs) in cluster.results(sweep).await {
        assert_eq!((job.state(), job.attempts), (v1::JobState::Done, 1), "{job:?}");
        assert_eq!(epochs.len(), EPOCHS as usize);
    }
}

#[tokio::test]
async fn of_workers_that_read_nothing_fill_no_memory() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut deaf = Vec::new();
    for number in 0..4 {
        let slots = (0..16).map(|index| v1::Slot { index, pack_size_max: 1_024, ..v1::Slot::default() });
        deaf.push(Stranger::connect_with(&cluster, &format!("deaf-{number}"), slots.collect()).await);
    }
    let progress = |job| {
        let attempt = Some(v1::AttemptRef { sweep_id: 9, job, attempt: 1 });
        v1::AttemptProgress { attempt, epoch: 1, fraction: 0.5 }
    };
    // It receives an order to stop each of these, and never reads.
    let beat = v1::Heartbeat { running: (1..=20_000).map(progress).collect(), gpus: Vec::new() };
    let mut cut_off = Vec::new();
    for _ in 0..200 {
        for stranger in std::mem::take(&mut deaf) {
            // A worker that was cut off gets no more orders; it stays and reads nothing.
            let is_heard = stranger.try_say(Message::Heartbeat(beat.clone())).await;
            if is_heard { deaf.push(stranger) } else { cut_off.push(stranger) }
        }
    }
    let mut witness = cluster.client().await;
    witness.list_sweeps(v1::ListSweepsRequest::default()).await.unwrap();
    assert!(memory_mib(&cluster) < 600, "{} MiB", memory_mib(&cluster));
}

#[tokio::test]
async fn of_watchers_that_read_nothing_fill_no_memory() {
    const WATCHERS: usize = 400;
    let cluster = Cluster::start(ClusterOptions::default());
    let mut client = cluster.client().await;
    let sweep_id = submit(&mut client, rates(10_000), "").await.unwrap().sweep.unwrap().sweep_id;
    let mut watches = Vec::new();
    for _ in 0..WATCHERS / 100 {
        let mut client = cluster.client().await;
        for _ in 0..100 {
            watches.push(client.watch_sweep(v1::WatchSweepRequest { sweep_id }).await.unwrap());
        }
    }
    let mut reader = cluster.watch(sweep_id).await;
    for _ in 0..20 {
        for wanted in [v1::SweepState::Paused, v1::SweepState::Running] {
            if wanted == v1::SweepState::Paused {
                client.pause_sweep(v1::PauseSweepRequest { sweep_id }).await.unwrap();
            } else {
                client.resume_sweep(v1::ResumeSweepRequest { sweep_id }).await.unwrap();
            }
            // Each is a snapshot for every watcher.
            let is_wanted = |event: &v1::watch_sweep_response::Event| match event {
                v1::watch_sweep_response::Event::Snapshot(snapshot) => {
                    (snapshot.sweep.as_ref()?.state() == wanted).then_some(())
                }
                _ => None,
            };
            reader.until("the state", is_wanted).await;
        }
    }
    assert_eq!(watches.len(), WATCHERS);
    assert!(memory_mib(&cluster) < 400, "{} MiB", memory_mib(&cluster));
}

#[tokio::test]
async fn for_large_answers_at_once_fill_no_memory() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut client = cluster.client().await;
    let sweep_id = submit(&mut client, rates(10_000), "").await.unwrap().sweep.unwrap().sweep_id;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let client = cluster.client().await;
        for _ in 0..150 {
            let mut client = client.clone();
            calls.spawn(async move { client.get_sweep(v1::GetSweepRequest { sweep_id }).await.map(drop) });
        }
    }
    let mut answered = 0;
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(()) => answered += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
        }
    }
    assert!(answered > 100, "{answered}");
    assert!(memory_mib(&cluster) < 500, "{} MiB", memory_mib(&cluster));
}

#[tokio::test]
async fn of_many_workers_with_large_hellos_are_listed_in_pages() {
    const WORKERS: usize = 100;
    let cluster = Cluster::start(ClusterOptions::default());
    for number in 0..WORKERS {
        let slot = |index| v1::Slot {
            index,
            description: "d".repeat(1_000),
            device: "x".repeat(64),
            pack_size_max: 1,
        };
        Stranger::connect_with(&cluster, &format!("w{number:03}"), (0..1_024).map(slot).collect()).await;
    }
    let workers = cluster.workers().await;
    let names: Vec<String> = workers.into_iter().map(|worker| worker.name).collect();
    assert_eq!(names, (0..WORKERS).map(|number| format!("w{number:03}")).collect::<Vec<_>>());
    let listed = Command::new(program("sweep"))
        .args(["--coordinator", &format!("http://{}", cluster.coordinator.address), "workers", "-o", "csv"])
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), WORKERS + 1, "{listed:?}");
    assert!(memory_mib(&cluster) < 300, "{} MiB", memory_mib(&cluster));
}

#[test]
fn with_few_descriptors_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sweep.yaml");
    fs::write(&file, tests::source("{epochs: {value: 1}}").text).unwrap();
    let (file, output) = (file.display().to_string(), folder.path().join("output").display().to_string());
    for (program_name, arguments, needed) in [
        ("sweep", vec!["run", &file, "--output", &output], "84"),
        ("sweep", vec!["serve", "--listen", "127.0.0.1:0"], "80"),
        ("sweep-worker", vec!["start", "--slots", "2", "--device", "cpu", "--trainer", "true"], "80"),
    ] {
        let refused = Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$@\"", "sh"])
            .arg(program(program_name))
            .args(&arguments)
            .env("SWEEP_CONFIG", "/dev/null")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains(&format!("needs {needed} open files")) && text.contains("ulimit -n 1024"),
            "{text}"
        );
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["sweep.yaml"], "nothing is left behind");
}
