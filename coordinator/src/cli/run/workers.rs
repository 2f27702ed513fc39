//! The worker processes of `sweep run`: started, watched over, started again, ended.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use serde::Deserialize;
use tokio::process::{Child, ChildStdin, Command};

use super::{
    super::{
        client::{Target, Token},
        failure::Failure,
    },
    placement::{Placement, place},
};

const PROGRAM: &str = "sweep-worker";
/// A worker that ends is started again this often; one that ends more often cannot work here.
const RESTARTS_MAX: u32 = 5;
/// Pause before a worker is started again, times the number of its restarts.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// How long running jobs may go on when the user stops the sweep, before they are handed back.
const GRACE: &str = "5s";
/// Folder of the workers' checkpoints, within that of their logs.
const CHECKPOINTS: &str = "checkpoints";
/// How long the workers may take to leave, their grace and their trainers' end included.
const END_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of a worker's log that are shown when it cannot work.
const LOG_TAIL_BYTES: u64 = 2_000;
/// How long looking for GPUs may take: loading CUDA from a slow disk takes a minute at worst.
const PROBE_WITHIN: Duration = Duration::from_secs(120);

/// Options that the workers get as they are.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WorkersOptions {
    /// Jobs at a time in each worker: a number or auto [default: the GPUs, else the cores, shared out]
    #[arg(long, env = "SWEEP_SLOTS", value_name = "N|auto", value_parser = slots)]
    slots: Option<String>,
    /// What to train on: auto, cpu or cuda
    #[arg(long, env = "SWEEP_DEVICE", default_value = "auto", value_parser = ["auto", "cpu", "cuda"])]
    device: String,
    /// Folder for packed data sets [default: ~/.cache/sweep/datasets]
    #[arg(long, env = "SWEEP_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Leave images out that cannot be decoded, and say so in the report
    #[arg(long, env = "SWEEP_SKIP_CORRUPT", value_parser = clap::builder::BoolishValueParser::new())]
    skip_corrupt: bool,
}

/// The workers' own parser would say so only after the sweep has begun.
fn slots(text: &str) -> Result<String, String> {
    let valid = text == "auto" || text.parse::<u16>().is_ok_and(|slots| slots > 0);
    if valid { Ok(text.to_owned()) } else { Err("use auto, or a whole number of at least 1".to_owned()) }
}

/// The worker processes.
pub(super) struct Workers {
    processes: Vec<Process>,
    // Removed with the workers.
    _token: tempfile::NamedTempFile,
}

struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    visible_gpus: Option<String>,
    log: PathBuf,
    child: Child,
    /// Held open; the worker leaves when it is closed, even by this process's death.
    stdin: Option<ChildStdin>,
    restarts: u32,
}

impl Workers {
    /// Starts `count` workers that log into `folder/workers`.
    pub(super) async fn start(
        options: &WorkersOptions,
        count: u16,
        folder: &Path,
        target: &Target,
    ) -> Result<Self, Failure> {
        let program = find_program()?;
        let folder = folder.join("workers");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let token = write_token(&folder, target).context("cannot write the workers' token")?;
        let count = usize::from(count);
        let gpus =
            if count > 1 && options.device != "cpu" { probe_gpus(&program).await? } else { Vec::new() };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut processes = Vec::with_capacity(count);
        for (index, placement) in place(count, &gpus, cores).into_iter().enumerate() {
            let name = format!("local-{}", index + 1);
            let log = folder.join(format!("{name}.log"));
            let arguments = arguments(options, &name, &folder, &placement, target, token.path());
            let visible_gpus = placement.visible_gpus;
            let (child, stdin) = spawn(&program, &arguments, visible_gpus.as_deref(), &log)?;
            let program = program.clone();
            processes.push(Process {
                name,
                program,
                arguments,
                visible_gpus,
                log,
                child,
                stdin,
                restarts: 0,
            });
        }
        Ok(Self { processes, _token: token })
    }

    /// Starts workers again that ended; resolves when one ended too often, with its last words.
    pub(super) async fn supervise(&mut self) -> Failure {
        loop {
            let (index, status) = self.next_end().await;
            let process = &mut self.processes[index];
            process.restarts += 1;
            tracing::warn!(worker = process.name, ?status, "the worker ended");
            if process.restarts > RESTARTS_MAX {
                return process.last_words(status);
            }
            tokio::time::sleep(RESTART_DELAY * process.restarts).await;
            match spawn(&process.program, &process.arguments, process.visible_gpus.as_deref(), &process.log) {
                Ok((child, stdin)) => (process.child, process.stdin) = (child, stdin),
                Err(failure) => return failure,
            }
        }
    }

    /// The next worker to end. May be dropped and called again.
    async fn next_end(&mut self) -> (usize, Option<ExitStatus>) {
        std::future::poll_fn(|context| {
            for (index, process) in self.processes.iter_mut().enumerate() {
                let wait = std::pin::pin!(process.child.wait());
                if let std::task::Poll::Ready(status) = wait.poll(context) {
                    return std::task::Poll::Ready((index, status.ok()));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Asks all workers to leave and waits until they have; ends those that do not in time.
    pub(super) async fn end(&mut self) {
        for process in &mut self.processes {
            process.stdin = None;
        }
        let all = async {
            for process in &mut self.processes {
                // An error means that it has been waited for.
                let _ = process.child.wait().await;
            }
        };
        if tokio::time::timeout(END_WITHIN, all).await.is_err() {
            self.kill();
        }
    }

    /// Ends all workers at once; their trainers notice that they are alone.
    pub(super) fn kill(&mut self) {
        for process in &mut self.processes {
            // An error means that it is gone.
            let _ = process.child.start_kill();
        }
    }
}

impl Process {
    fn last_words(&self, status: Option<ExitStatus>) -> Failure {
        let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        let tail = tail(&self.log).unwrap_or_default();
        let log = self.log.display();
        Failure::operation(format!(
            "worker {} ended {} times, at last with {status}; the end of its log, {log}:\n{tail}",
            self.name, self.restarts
        ))
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// The worker's program: beside this one, as both are built and installed together, else on the PATH.
fn find_program() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(PROGRAM)));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join(PROGRAM));
    let found = beside.into_iter().chain(on_path).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::operation(
            "sweep-worker is neither beside sweep nor on the PATH; build it with `cargo build --release`",
        )
    })
}

/// The token in a file that only this user reads; command lines can be read by everyone.
fn write_token(folder: &Path, target: &Target) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".token-").tempfile_in(folder)?;
    if let Some(Token::Text(token)) = &target.token {
        file.write_all(token.as_bytes())?;
    }
    Ok(file)
}

fn arguments(
    options: &WorkersOptions,
    name: &str,
    folder: &Path,
    placement: &Placement,
    target: &Target,
    token: &Path,
) -> Vec<std::ffi::OsString> {
    let slots = options.slots.as_deref().unwrap_or(&placement.slots);
    let mut arguments: Vec<std::ffi::OsString> = vec!["start".into()];
    for (flag, value) in [
        ("--coordinator", target.url.as_str()),
        ("--name", name),
        ("--slots", slots),
        ("--device", &options.device),
        ("--grace", GRACE),
    ] {
        arguments.extend([flag.into(), value.into()]);
    }
    arguments.extend(["--token-file".into(), token.into()]);
    arguments.extend(["--spool".into(), folder.join(name).into_os_string()]);
    arguments.extend(["--checkpoints".into(), folder.join(CHECKPOINTS).into_os_string()]);
    if let Some(cache) = &options.cache_dir {
        arguments.extend(["--cache-dir".into(), cache.into()]);
    }
    if options.skip_corrupt {
        arguments.push("--skip-corrupt".into());
    }
    arguments.push("--exit-with-stdin".into());
    arguments
}

fn spawn(
    program: &Path,
    arguments: &[std::ffi::OsString],
    visible_gpus: Option<&str>,
    log: &Path,
) -> Result<(Child, Option<ChildStdin>), Failure> {
    let open = OpenOptions::new().create(true).append(true).mode(0o644).open(log);
    let output = open.with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().context("cannot share the log")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        // Of a cluster's settings in the environment, these would contradict the flags above.
        .env_remove("SWEEP_TLS_CA")
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        // Ctrl-C on the terminal is for this process, which then ends the workers in order.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(gpus) = visible_gpus {
        command.env("CUDA_VISIBLE_DEVICES", gpus);
    }
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let stdin = child.stdin.take();
    Ok((child, stdin))
}

/// One line of `sweep-worker devices`.
#[derive(Deserialize)]
struct Device {
    device: String,
}

/// The GPUs that libtorch finds, by the names of `CUDA_VISIBLE_DEVICES`.
async fn probe_gpus(program: &Path) -> Result<Vec<String>, Failure> {
    let output = Command::new(program).arg("devices").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PROBE_WITHIN, output)
        .await
        .map_err(|_| Failure::operation("looking for GPUs took too long; use --device cpu to do without"))?
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::operation(format!("{PROGRAM} cannot work here: {}", errors.trim())));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let devices = lines.lines().filter_map(|line| serde_json::from_str::<Device>(line).ok());
    let count = devices.filter(|found| found.device.starts_with("cuda")).count();
    let named = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let named: Vec<_> =
        named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(if named.len() == count { named } else { (0..count).map(|index| index.to_string()).collect() })
}
