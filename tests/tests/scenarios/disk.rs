//! Disks that are full, that fail, and that are slower than an answer: below the real store.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use proto::v1;
use tempfile::TempDir;
use tests::{Cluster, ClusterOptions, Postgres, chaos, program, skipped, source};
use tonic::{Code, Status};

const EPOCHS: u32 = 10;
const JOBS: u64 = 12;

fn can(command: &[&str]) -> bool {
    let mut tried = Command::new(command[0]);
    tried.args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    tried.status().is_ok_and(|status| status.success())
}

/// A folder on which a command mounts a small file system, and the command.
pub(crate) fn small_disk() -> Option<(TempDir, Vec<String>)> {
    disk_of("6m")
}

/// The same with a file system of this size.
pub(crate) fn disk_of(size: &str) -> Option<(TempDir, Vec<String>)> {
    let unshare: &[&str] = match () {
        () if can(&["unshare", "-m", "true"]) => &["unshare", "-m"],
        () if can(&["unshare", "-rm", "true"]) => &["unshare", "-rm"],
        () => {
            skipped("no file system can be mounted here, so a full disk is not tested");
            return None;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
    let mut command: Vec<String> = unshare.iter().map(ToString::to_string).collect();
    command.extend(["sh", "-c", &mount].map(str::to_owned));
    command.push(folder.path().display().to_string());
    Some((folder, command))
}

/// A coordinator whose file system calls go through `strace` with these options; none without strace.
fn traced(options: &[&str]) -> Option<(TempDir, Cluster)> {
    if !can(&["strace", "-o", "/dev/null", "true"]) {
        skipped("strace is not there or may not be used, so what happens below the store is not tested");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace").display().to_string();
    // -D makes the program the process that was started.
    let through = ["strace", "-D", "-f", "-yy", "-o", &trace].into_iter().chain(options.iter().copied());
    let through = through.map(str::to_owned).collect();
    Some((folder, Cluster::start(ClusterOptions { through, ..ClusterOptions::default() })))
}

async fn submit(cluster: &Cluster) -> Result<u64, Status> {
    let source = Some(source("{epochs: {value: 1}}"));
    let request = v1::SubmitRequest { source, ..v1::SubmitRequest::default() };
    let answer = cluster.client().await.submit(request).await?;
    Ok(answer.into_inner().sweep.unwrap_or_default().sweep_id)
}

async fn listed(cluster: &Cluster) -> Vec<u64> {
    let request = v1::ListSweepsRequest { page_size: 1_000, ..v1::ListSweepsRequest::default() };
    let answer = cluster.client().await.list_sweeps(request).await.unwrap().into_inner();
    let mut ids: Vec<u64> = answer.sweeps.iter().map(|sweep| sweep.sweep_id).collect();
    ids.sort_unstable();
    ids
}

pub(crate) fn fill(folder: &Path) {
    let mut filler = fs::File::create(folder.join("filler")).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        while filler.write_all(&vec![1; size]).is_ok() {}
    }
}

/// Fills the disk of a coordinator's store while a job runs, and makes room again.
async fn fill_and_make_room(cluster: &Cluster, disk: &Path) {
    let _worker = cluster.worker("one");
    let parameters = format!("{{epochs: {{value: {EPOCHS}}}, seed: {{min: 1, max: {JOBS}, count: {JOBS}}}}}");
    let sweep = cluster.submit(&parameters).await;
    cluster.watch(sweep).await.until_epoch(EPOCHS / 2).await;
    fill(disk);
    let mut acknowledged = vec![sweep];
    let refused = loop {
        match submit(cluster).await {
            Ok(sweep) => acknowledged.push(sweep),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("full"), "{refused:?}");
    for _ in 0..20 {
        assert_eq!(submit(cluster).await.unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(listed(cluster).await, acknowledged, "what is kept can be read, and nothing else");
    }
    assert_eq!(cluster.results(sweep).await.len() as u64, JOBS);
    // One message per second would be more: that is how often free space is checked.
    let told = cluster.coordinator.log().matches("are refused until there is room").count();
    assert!((1..=3).contains(&told), "told {told} times: {}", cluster.coordinator.log());
    fs::remove_file(disk.join("filler")).unwrap();
    cluster.coordinator.until_it_says("has room again");
    cluster.watch(sweep).await.until_end().await;
    for (job, epochs) in cluster.results(sweep).await {
        let number = job.point.as_ref().map_or(0, |point| point.job);
        assert_eq!((job.state(), job.attempts), (v1::JobState::Done, 1), "{job:?}");
        assert_eq!(epochs.len(), EPOCHS as usize);
        for record in epochs.iter().filter_map(|row| row.record.clone()) {
            let expected = chaos::light_epoch(number, record.epoch);
            assert_eq!(v1::EpochRecord { epoch_seconds: 0.0, ..record.clone() }, expected);
        }
    }
    acknowledged.push(submit(cluster).await.unwrap());
    assert_eq!(listed(cluster).await, acknowledged);
}

#[tokio::test]
async fn that_are_full_refuse_what_must_be_kept_and_go_on_when_there_is_room() {
    let Some((folder, through)) = small_disk() else { return };
    let store = Some(format!("sqlite:{}", folder.path().join("sweep.db").display()));
    let cluster = Cluster::start(ClusterOptions { store, through, ..chaos::light(50) });
    // The disk as the coordinator sees it.
    let disk = format!("/proc/{}/root{}", cluster.coordinator.pid(), folder.path().display());
    fill_and_make_room(&cluster, disk.as_ref()).await;
}

#[tokio::test]
async fn that_are_full_under_postgresql_do_the_same() {
    let Some(server) = Postgres::start_on_small_disk() else { return };
    let cluster = Cluster::start(ClusterOptions { store: Some(server.database()), ..chaos::light(50) });
    fill_and_make_room(&cluster, &server.data()).await;
}

#[tokio::test]
async fn whose_database_is_corrupt_are_refused_with_what_to_do() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    submit(&cluster).await.unwrap();
    assert_eq!(cluster.coordinator.leave(), Some(0));
    let path = cluster.folder.path().join("sweep.db");
    let whole = fs::read(&path).unwrap();
    let store = format!("sqlite:{}", path.display());
    // All pages but the first, the beginning of that one, and the second half of the file.
    for harmed in [4096..whole.len(), 0..100, whole.len() / 2..whole.len()] {
        let mut bytes = whole.clone();
        bytes[harmed.clone()].fill(0x5a);
        fs::write(&path, bytes).unwrap();
        let mut serve = Command::new(program("sweep"));
        let refused = serve.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{harmed:?}");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("the database is corrupt"), "{harmed:?}: {told}");
        assert!(told.contains("restore it from a backup"), "{harmed:?}: {told}");
    }
}

#[tokio::test]
async fn that_fail_an_fsync_end_the_coordinator_and_the_next_one_has_all_it_reported() {
    // Making the store takes about 25 of them, two for each migration.
    let inject = "inject=fsync,fdatasync:error=EIO:when=60+";
    let Some((_trace, mut cluster)) = traced(&["-e", "trace=fsync,fdatasync", "-e", inject]) else { return };
    let mut acknowledged = Vec::new();
    while let Ok(sweep) = submit(&cluster).await {
        acknowledged.push(sweep);
    }
    assert!(!acknowledged.is_empty(), "{}", cluster.coordinator.log());
    cluster.coordinator.until_it_says("error: the store failed and the coordinator must start again from it");
    assert_eq!(cluster.coordinator.wait(), Some(1));
    cluster.start_plain_coordinator();
    let kept = listed(&cluster).await;
    assert_eq!(&kept[..acknowledged.len()], acknowledged, "what was reported is there");
    assert!(kept.len() <= acknowledged.len() + 1, "at most the one that was not answered");
}

#[tokio::test]
async fn have_every_record_before_anyone_hears_of_it() {
    let calls = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg";
    let Some((folder, mut cluster)) = traced(&["-e", calls]) else { return };
    let mut client = cluster.client().await;
    for _ in 0..20 {
        let request =
            v1::SubmitRequest { source: Some(source("{epochs: {value: 1}}")), ..Default::default() };
        client.submit(request).await.unwrap();
    }
    cluster.coordinator.kill();
    let trace = fs::read_to_string(folder.path().join("trace")).unwrap();
    let (mut is_synced, mut commits, mut answers) = (true, 0, 0);
    for line in trace.lines() {
        let is_send = ["write(", "writev(", "sendto(", "sendmsg("].iter().any(|call| line.contains(call));
        if line.contains("pwrite64(") && line.contains("sweep.db-wal") {
            is_synced = false;
        } else if (line.contains("fdatasync") || line.contains("fsync")) && line.ends_with("= 0") {
            commits += u32::from(!is_synced);
            is_synced = true;
        } else if is_send && line.contains("<TCP:") {
            answers += 1;
            assert!(is_synced, "something was sent between a write and its fsync: {line}");
        }
    }
    assert!(commits >= 20 && answers >= 20, "{commits} commits, {answers} answers");
}
