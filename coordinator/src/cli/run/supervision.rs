//! One worker process of `sweep run`: started, restarted when it ends, asked to leave. Each has its own task, so that no
//! other event restarts its supervision.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use proto::v1;
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::{mpsc, watch},
    time::Instant,
};

use super::super::{client::Target, failure::Failure};

/// A worker may end this often within the window and is restarted; one that ends more often cannot work here.
const RESTARTS_MAX: usize = 5;
/// How long an end counts: a worker that dies once a day for a week is kept.
const RESTART_WINDOW: Duration = Duration::from_secs(600);
/// Pause before a worker is restarted, times the number of its ends within the window.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// How long a worker may take to leave, including its grace and the end of its trainers.
const END_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of a worker's log that are shown when it cannot work.
const LOG_TAIL_BYTES: u64 = 2_000;
/// Exit code of a program whose options are wrong, which no restart fixes.
const USAGE_EXIT_CODE: i32 = 2;

/// What a worker process must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Work,
    /// Leave in order.
    Leave,
    /// End at once.
    End,
}

/// How a worker is started.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<std::ffi::OsString>,
    pub(super) visible_gpus: Option<String>,
    pub(super) log: PathBuf,
}

/// A process that runs.
struct Running {
    child: Child,
    /// Held open; the worker leaves when it is closed, which this process's death also does.
    stdin: Option<ChildStdin>,
    /// Where its part of the log begins.
    log_start: u64,
}

impl WorkerProcess {
    /// Keeps the worker running until something else is wanted; a premature end goes to `failures`.
    pub(super) async fn supervise(
        self,
        target: Target,
        mut wish: watch::Receiver<Wish>,
        failures: mpsc::Sender<Failure>,
    ) {
        let mut ends = Ends::default();
        let failure = loop {
            let mut running = match self.spawn() {
                Ok(running) => running,
                Err(failure) => break failure,
            };
            let status = tokio::select! {
                status = running.child.wait() => status.ok(),
                () = until(&mut wish, Wish::Leave) => return running.leave(&mut wish).await,
            };
            let end = tail(&self.log, running.log_start).unwrap_or_default();
            if self.is_lasting(status, &target).await {
                break self.cannot_start(status, &end);
            }
            tracing::warn!(worker = self.name, ?status, "the worker ended");
            let count = ends.count(Instant::now());
            if count > RESTARTS_MAX {
                break self.ends_too_often(count, status, &end);
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_DELAY * u32::try_from(count).unwrap_or(1)) => {}
                () = until(&mut wish, Wish::Leave) => return,
            }
        };
        // The first of several failures ends the run.
        let _ = failures.try_send(failure);
    }

    /// Whether a restart would end the same way: its options are wrong, or it ended by itself before it reached the
    /// coordinator.
    async fn is_lasting(&self, status: Option<ExitStatus>, target: &Target) -> bool {
        match status.and_then(|status| status.code()) {
            Some(USAGE_EXIT_CODE) => true,
            Some(0) | None => false,
            Some(_) => {
                let listed =
                    target.call(async |client| client.list_workers(v1::ListWorkersRequest::default()).await);
                // If the coordinator does not answer, nothing is known about the worker.
                listed.await.is_ok_and(|listed| listed.workers.iter().all(|worker| worker.name != self.name))
            }
        }
    }

    fn cannot_start(&self, status: Option<ExitStatus>, log: &str) -> Failure {
        let mut errors = log.lines().filter_map(|line| line.strip_prefix("error: "));
        let reason = errors.next_back().map_or_else(|| describe(status), str::to_owned);
        Failure::operation(format!("worker {} cannot start: {reason}", self.name))
    }

    fn ends_too_often(&self, count: usize, status: Option<ExitStatus>, log: &str) -> Failure {
        Failure::operation(format!(
            "worker {} ended {count} times within {}, at last with {}; the end of its log, {}:\n{log}",
            self.name,
            humantime::format_duration(RESTART_WINDOW),
            describe(status),
            self.log.display(),
        ))
    }

    fn spawn(&self) -> Result<Running, Failure> {
        let open = OpenOptions::new().create(true).append(true).mode(0o644).open(&self.log);
        let output = open.with_context(|| format!("cannot write {}", self.log.display()))?;
        let log_start = output.metadata().map_or(0, |metadata| metadata.len());
        let errors = output.try_clone().context("cannot share the log")?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // These settings in the environment, meant for a cluster, would contradict the flags.
            .env_remove("SWEEP_TLS_CA")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C on the terminal is for this process, which then ends the workers in order.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(gpus) = &self.visible_gpus {
            command.env("CUDA_VISIBLE_DEVICES", gpus);
        }
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let stdin = child.stdin.take();
        Ok(Running { child, stdin, log_start })
    }
}

impl Running {
    /// Asks the worker to leave and waits until it has; kills it when it does not in time, or when that is wanted.
    async fn leave(mut self, wish: &mut watch::Receiver<Wish>) {
        self.stdin = None;
        tokio::select! {
            _ = self.child.wait() => return,
            () = tokio::time::sleep(END_WITHIN) => {}
            () = until(wish, Wish::End) => {}
        }
        // Its trainers notice its end. An error means that it is gone.
        let _ = self.child.kill().await;
    }
}

/// Waits until at least this is wanted, or no one is left to want anything.
async fn until(wish: &mut watch::Receiver<Wish>, at_least: Wish) {
    let _ = wish.wait_for(|wish| *wish >= at_least).await;
}

/// When a worker ended, within the window.
#[derive(Debug, Default)]
struct Ends {
    times: VecDeque<Instant>,
}

impl Ends {
    /// Counts one more; returns how many there were within the window.
    fn count(&mut self, now: Instant) -> usize {
        self.times.push_back(now);
        while self.times.front().is_some_and(|first| now.duration_since(*first) >= RESTART_WINDOW) {
            self.times.pop_front();
        }
        self.times.len()
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "an unknown status".to_owned(), |status| status.to_string())
}

/// The last bytes of a log, at most those after `start`.
fn tail(path: &Path, start: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_within_the_window_and_are_forgotten_after_it() {
        let (mut ends, start) = (Ends::default(), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert_eq!([0, 1, 9].map(|minute| ends.count(minutes(minute))), [1, 2, 3]);
        assert_eq!(ends.count(minutes(10)), 3, "the first is ten minutes old");
        assert_eq!(ends.count(minutes(1_000)), 1);
    }
}
