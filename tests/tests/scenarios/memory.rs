//! Memory that runs out: in a real control group of this machine, where it lets tests make one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proto::v1;
use tests::{Cluster, ClusterOptions, skipped};

/// Memory of the group, in bytes: the worker, its keepers and a small program have room.
const LIMIT: u64 = 400 << 20;

/// A control group of the tests; removed when it is dropped.
struct Group(PathBuf);

impl Group {
    /// None, with a printed reason, where none can be made.
    fn make() -> Option<Self> {
        let name = format!("sweep-test-{}", std::process::id());
        let places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (place, limit) in places {
            let folder = Path::new(place).join(&name);
            if fs::create_dir(&folder).is_ok() {
                let group = Self(folder);
                if fs::write(group.0.join(limit), LIMIT.to_string()).is_ok() {
                    // Otherwise pages go to the disk first.
                    let _ = fs::write(group.0.join("memory.swap.max"), "0");
                    return Some(group);
                }
            }
        }
        skipped(
            "no control group with a limit for memory can be made here (root, and a controller for memory)",
        );
        None
    }

    /// A command through which a program is started in it.
    fn through(&self) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).into()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn a_program_whose_memory_runs_out_fails_for_that_reason_and_others_go_on() {
    let Some(group) = Group::make() else { return };
    let arguments = ["--allow-commands", "--programs-only"].map(str::to_owned).into();
    let cluster = Cluster::start(ClusterOptions { worker: arguments, ..ClusterOptions::default() });
    let worker = cluster.worker_at("one", "127.0.0.1", &group.through());
    let program = "import json, os, sys; import socket; print('growing', flush=True)\n\
                   size = int(sys.argv[1].split('=')[1]) << 20\nblock = bytearray(size)\nprint('loss=0.5')";
    let text = format!(
        "name: memory\ncommand: [python3, -c, {program:?}, \"${{args}}\"]\nmetric: {{name: loss, goal: minimize}}\n\
         metrics: {{pattern: 'loss=(?P<loss>.*)'}}\nparameters: {{mib: {{values: [1, 2000, 2]}}}}\n"
    );
    let source = v1::SweepSource { text, file_name: "memory.yaml".into(), ..v1::SweepSource::default() };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let sweep = cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id;
    cluster.watch(sweep).await.until_end().await;
    let states: Vec<v1::JobState> = cluster.results(sweep).await.iter().map(|(job, _)| job.state()).collect();
    assert_eq!(states, [v1::JobState::Done, v1::JobState::Failed, v1::JobState::Done]);
    let attempts = cluster.job(sweep, 2).await.attempts;
    assert_eq!(attempts.len(), 2, "once more, as others may have had the memory: {attempts:?}");
    for attempt in &attempts {
        assert!(attempt.reason.starts_with("out of memory: the kernel has ended the program"), "{attempt:?}");
        assert!(attempt.log_tail.iter().any(|line| line.contains("growing")), "{attempt:?}");
    }
    worker.kill();
}

#[tokio::test]
async fn a_worker_that_comes_back_costs_its_job_nothing() {
    let cluster = Cluster::start(ClusterOptions::default());
    let one = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 12}}").await;
    let mut watch = cluster.watch(sweep).await;
    let job = watch.until_epoch(3).await;
    one.kill();
    let _again = cluster.worker("one");
    watch.until_end().await;
    let attempts = cluster.job(sweep, job).await.attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["handed_back", "done"], "{attempts:?}");
    assert!(attempts[0].reason.contains("has come back"), "{attempts:?}");
    assert!(attempts[1].resumed_epochs > 0, "{attempts:?}");
}
