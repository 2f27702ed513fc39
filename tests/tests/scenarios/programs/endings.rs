//! Programs that do not want to end, and disks that are full: the program's own, and its worker's.

use super::{
    checkpoints::{RESUMING, submit_resuming},
    *,
};
use crate::disk::{disk_of, fill, small_disk};

/// Prints invalid text, leaves a child in another session, and neither of them obeys SIGTERM.
const STUBBORN: &str = "\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.stdout.buffer.write(bytes(range(256)) * 64 + b'{\"epoch\": 1}\\n' + b'x' * 100000)
sys.stdout.flush()
child = os.fork()
if child == 0:
    os.setsid()
else:
    with open(os.environ['PIDS'] + '.new', 'w') as file:
        file.write('%d %d' % (os.getpid(), child))
    os.rename(os.environ['PIDS'] + '.new', os.environ['PIDS'])
while True:
    time.sleep(60)
";

#[tokio::test]
async fn of_a_program_that_does_not_want_to_end_nothing_is_left_after_cancel() {
    let cluster = permissive();
    let _worker = cluster.worker("one");
    let pids = cluster.folder.path().join("pids");
    let sweep = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nexecution: {{env: {{PIDS: {pids:?}}}}}\n"
    );
    let file = project(&cluster.folder.path().join("own"), STUBBORN, &sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    let written = until("both processes", || fs::read_to_string(&pids).ok());
    printed(&cluster, &["cancel", "1"]);
    written.split(' ').for_each(|pid| tests::wait_for_end(pid.parse().unwrap()));
    let sweep = cluster.watch(1).await.until_end().await;
    assert_eq!(sweep.state(), v1::SweepState::Cancelled);
}

/// Takes longer to end than programs may where the sweep file says nothing (8 s), and says so in the end.
const ENDS_LATE: &str = "\
import os, signal, sys, time
place = os.environ['PLACE']
def end(signal, frame):
    time.sleep(9)
    with open(place + '.ended', 'w') as file:
        file.write(str(os.getpid()))
    os._exit(0)
signal.signal(signal.SIGTERM, end)
with open(place + '.new', 'w') as file:
    file.write(str(os.getpid()))
os.rename(place + '.new', place)
while True:
    signal.pause()
";

#[tokio::test]
async fn a_program_that_takes_long_to_end_is_not_killed_within_its_stop_grace_period() {
    let cluster = permissive();
    let _worker = cluster.worker("one");
    let place = cluster.folder.path().join("place");
    let sweep = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\n\
         execution: {{stop_grace_period: 5m, env: {{PLACE: {place:?}}}}}\n"
    );
    let file = project(&cluster.folder.path().join("own"), ENDS_LATE, &sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    let pid = until("the program", || fs::read_to_string(&place).ok());
    printed(&cluster, &["cancel", "1"]);
    tests::wait_for_end(pid.parse().unwrap());
    assert_eq!(fs::read_to_string(place.with_extension("ended")).unwrap(), pid);
    assert_eq!(cluster.watch(1).await.until_end().await.state(), v1::SweepState::Cancelled);
}

/// Fills the disk of its working folder where it is told to.
const FILLS: &str = "\
import sweep
p = sweep.parameters(fills=False)
sweep.report(1, loss=1.0)
if p.fills:
    with open('big', 'wb') as file:
        while True:
            file.write(b'x' * 100000)
";

#[tokio::test]
async fn a_program_that_fills_its_disk_fails_with_that_reason_and_its_worker_goes_on() {
    let Some((disk, through)) = small_disk() else { return };
    let cluster = Cluster::start(ClusterOptions {
        worker: vec!["--allow-commands".to_owned()],
        // Where a program without files of its own runs.
        worker_environment: vec![("TMPDIR", disk.path().display().to_string())],
        ..ClusterOptions::default()
    });
    let _worker = cluster.worker_at("one", "localhost", &through);
    let script = cluster.folder.path().join("fills.py");
    fs::write(&script, FILLS).unwrap();
    let sweep = format!(
        "name: fills\ncommand: [python3, {script:?}]\nmetric: {{name: loss, goal: minimize}}\n\
         parameters: {{fills: {{values: [true, false]}}}}\nexecution: {{attempts_max: 2}}\n"
    );
    let file = project(&cluster.folder.path().join("own"), "", &sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    cluster.watch(1).await.until_end().await;
    let full = cluster.job(1, 1).await;
    assert_eq!(full.job.unwrap().state(), v1::JobState::Failed);
    assert_eq!(full.attempts.len(), 2, "each attempt finds the disk empty again");
    for attempt in full.attempts {
        assert!(attempt.reason.contains("No space left on device"), "{attempt:?}");
    }
    assert_eq!(cluster.job(1, 2).await.job.unwrap().state(), v1::JobState::Done);
}

#[tokio::test]
async fn a_worker_whose_own_disk_is_full_loses_nothing_and_says_it() {
    // More than the 64 MiB that a worker leaves free where it unpacks files of programs.
    let Some((disk, through)) = disk_of("80m") else { return };
    let cluster = Cluster::start(ClusterOptions {
        worker: vec!["--allow-commands".to_owned()],
        checkpoints: Some(disk.path().join("checkpoints").display().to_string()),
        ..ClusterOptions::default()
    });
    std::os::unix::fs::symlink(disk.path(), cluster.folder.path().join("spool-one")).unwrap();
    let worker = cluster.worker_at("one", "localhost", &through);
    let gate = cluster.folder.path().join("gate");
    // What it reports of an epoch takes more than what is left of the spool's last page.
    let script = RESUMING.replace("value=value)", "value=value, **{'m%090d' % n: n for n in range(90)})");
    submit_resuming(&cluster, &script, &gate);
    let reached = cluster.folder.path().join("reached");
    until("the middle of the fourth epoch", || fs::exists(&reached).unwrap().then_some(()));
    // The disk as the worker sees it.
    let seen = PathBuf::from(format!("/proc/{}/root{}", worker.pid(), disk.path().display()));
    fill(&seen);
    fs::write(&gate, "").unwrap();
    worker.until_it_says("the spool cannot be written; results stay in memory");
    cluster.watch(1).await.until_end().await;
    let found = values(&cluster.results(1).await);
    assert_eq!(found.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let [attempt] = cluster.job(1, 1).await.attempts.try_into().unwrap();
    let told = attempt.log_tail.join("\n");
    assert!(told.contains("a checkpoint could not be kept") && told.contains("No space left"), "{told}");
    // The next job's files have no place either; it is not charged for that, and begins when there is one.
    printed(&cluster, &["submit", cluster.folder.path().join("own/sweep.yaml").to_str().unwrap()]);
    let waits = async {
        while cluster.job(2, 1).await.attempts.is_empty() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, waits).await.unwrap();
    fs::remove_file(seen.join("filler")).unwrap();
    cluster.watch(2).await.until_end().await;
    let second = cluster.job(2, 1).await;
    assert_eq!(second.job.unwrap().state(), v1::JobState::Done, "{:?}", second.attempts);
    assert!(second.attempts[0].reason.contains("no storage space"), "{:?}", second.attempts);
    assert_eq!(values(&cluster.results(2).await), found);
}
