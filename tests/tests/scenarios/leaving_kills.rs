//! Several workers leave at once, and one of them, the coordinator or both are killed while checkpoints of some megabytes are on their
//! way: whatever of them arrived, the sweep has the numbers of one that nothing disturbs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proto::v1::{self, watch_sweep_response::Event};
use rustix::process::Signal;
use tests::{Cluster, ClusterOptions, Random, Worker, send, source};

use crate::completion::{assert_whole, numbers, undisturbed};

const JOBS: usize = 3;
const EPOCHS: u32 = 16;
const PARAMETERS: &str = "{learning_rate: {values: [0.002, 0.001, 0.0005]}, epochs: {value: 16}}";

/// About as long as a checkpoint is: a million parameters, and two moments of each.
const CHECKPOINT_BYTES: u64 = 12 << 20;

/// How long checkpoints may take to arrive.
const SOON: Duration = Duration::from_secs(30);

/// Who is killed while checkpoints are on their way.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Coordinator,
    Worker,
    Both,
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The bytes of checkpoints that the coordinator has, whole and on their way.
fn arrived(cluster: &Cluster) -> u64 {
    let place = cluster.folder.path().join("sweep.db-artifacts");
    let whole = entries(&place.join("handed-over")).into_iter().flat_map(|folder| entries(&folder));
    let files = whole.chain(entries(&place.join("incoming")));
    // One may get its name meanwhile.
    files.filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
}

/// Waits until `bytes` more have arrived than `before`, or no more will.
fn until_arrived(cluster: &Cluster, before: u64, bytes: u64) {
    let give_up_at = Instant::now() + SOON;
    while arrived(cluster) < before + bytes && Instant::now() < give_up_at {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until two jobs train.
async fn until_two_train(cluster: &Cluster, sweep: u64) {
    let mut seen = BTreeSet::new();
    let mut watch = cluster.watch(sweep).await;
    let two = |event: &Event| {
        if let Event::Epoch(epoch) = event {
            seen.extend(epoch.point.as_ref().map(|point| point.job));
        }
        (seen.len() >= 2).then_some(())
    };
    watch.until("two jobs that train", two).await;
}

/// Has three workers train, leave at once, and meet a victim's end after so many bytes.
async fn leave_and_kill(cluster: &mut Cluster, sweep: u64, round: u64, victim: Victim, random: &mut Random) {
    let mut workers: Vec<Worker> =
        (0..JOBS).map(|number| cluster.worker(&format!("leaving-{round}-{number}"))).collect();
    until_two_train(cluster, sweep).await;
    let before = arrived(cluster);
    workers.iter().for_each(|worker| send(worker.pid(), Signal::USR1));
    until_arrived(cluster, before, random.below(CHECKPOINT_BYTES * 3 / 2));
    if matches!(victim, Victim::Worker | Victim::Both) {
        workers.remove(random.below(JOBS as u64) as usize).kill();
    }
    if matches!(victim, Victim::Coordinator | Victim::Both) {
        cluster.replace_coordinator();
    }
    for worker in workers {
        assert_eq!(worker.wait(), Some(0), "{victim:?}");
    }
}

#[tokio::test]
async fn whoever_is_killed_while_checkpoints_change_hands_changes_no_number() {
    let options = ClusterOptions { lease: "2s", checkpoints_are_own: true, ..ClusterOptions::default() };
    let (mut cluster, mut random) = (Cluster::start(options), Random(7));
    // Nothing but the workers' leaving has checkpoints kept.
    let source = v1::SweepSource { overrides: Vec::new(), ..source(PARAMETERS) };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let submitted = cluster.client().await.submit(request).await.unwrap().into_inner();
    let sweep = submitted.sweep.unwrap().sweep_id;
    for (round, victim) in (1..).zip([Victim::Coordinator, Victim::Worker, Victim::Both]) {
        leave_and_kill(&mut cluster, sweep, round, victim, &mut random).await;
    }
    let _last = [cluster.worker("last-1"), cluster.worker("last-2")];
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    assert_whole(&results, JOBS, EPOCHS);
    assert_eq!(numbers(&results), undisturbed(PARAMETERS).await, "bit for bit");
    let mut resumed = 0;
    for job in 1..=JOBS as u64 {
        let attempts = cluster.job(sweep, job).await.attempts;
        assert!(attempts.iter().all(|attempt| attempt.outcome != "failed"), "{attempts:?}");
        resumed += attempts.iter().map(|attempt| attempt.resumed_epochs).sum::<u32>();
    }
    assert!(resumed > 0, "no checkpoint was handed over");
}
