//! The worker processes of `sweep run`: how many, with which arguments, and how all of them leave. `supervision` keeps
//! each of them running.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context;
use domain::specification::{Resources, Trainable};
use terms::{DeviceChoice, manifest::Manifest};
use tokio::{
    process::Command,
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    super::{
        client::{Target, Token},
        failure::Failure,
    },
    gpus,
    placement::{Placement, place},
    supervision::{Wish, WorkerProcess},
};

const PROGRAM: &str = "sweep-worker";
/// How long running jobs may continue when the user stops the sweep, before they are handed back.
const GRACE: &str = "5s";
/// Folder of what the jobs of a program print, within the output folder.
pub(in crate::cli) const LOGS: &str = "logs";
/// Folder of the workers' checkpoints, within that of their logs.
const CHECKPOINTS: &str = "checkpoints";
/// Most slots of one worker, as in `sweep-worker`.
const SLOTS_MAX: u16 = 1_024;

/// Options that are passed on to the workers.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct WorkersOptions {
    /// Jobs at a time in each worker: a number or auto [default: the GPUs, else the cores, shared out]
    #[arg(long, env = "SWEEP_SLOTS", value_name = "N|auto", value_parser = slots)]
    slots: Option<String>,
    /// What to train on: auto for the GPUs that libtorch can use, or else the CPU; cpu; cuda for the GPUs, of which there
    /// must be one; or these GPUs, as in cuda:0,cuda:1
    #[arg(long, env = "SWEEP_DEVICE", value_name = "auto|cpu|cuda|GPUS", default_value = "auto")]
    device: DeviceChoice,
    /// Folder for packed data sets [default: ~/.cache/sweep/datasets]
    #[arg(long, env = "SWEEP_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Another program that trains, run by /bin/sh, as `sweep-worker start` has it (see worker/TRAINER.md); the sweep file may
    /// name its models
    #[arg(long, env = "SWEEP_TRAINER", value_name = "COMMAND")]
    pub(super) trainer: Option<OsString>,
    /// Leave images out that cannot be decoded, and say so in the report
    #[arg(long, env = "SWEEP_SKIP_CORRUPT", value_parser = clap::builder::BoolishValueParser::new())]
    skip_corrupt: bool,
    /// Where they send traces.
    #[arg(skip)]
    traces: traces::Options,
}

impl WorkersOptions {
    /// The same with so many slots where the command line does not say it.
    pub(in crate::cli) fn or_slots(mut self, count: u32) -> Self {
        self.slots.get_or_insert_with(|| count.to_string());
        self
    }

    /// The same with traces that go where these say.
    pub(super) fn traced(&self, traces: &traces::Options) -> Self {
        Self { traces: traces.clone(), ..self.clone() }
    }
}

/// Checked here, as the workers' own parser would only report it after the sweep has begun.
fn slots(text: &str) -> Result<String, String> {
    let valid = text == "auto" || text.parse().is_ok_and(|slots| (1..=SLOTS_MAX).contains(&slots));
    if valid {
        Ok(text.to_owned())
    } else {
        Err(format!("use auto, or a whole number from 1 to {SLOTS_MAX}"))
    }
}

/// The worker processes. Dropping this kills them.
pub(in crate::cli) struct Workers {
    wish: watch::Sender<Wish>,
    failures: mpsc::Receiver<Failure>,
    tasks: JoinSet<()>,
    // Removed together with the workers.
    _token: tempfile::NamedTempFile,
}

impl Workers {
    /// Starts `count` workers that log into `folder/workers`, for a sweep of `trainable` whose jobs have `resources`.
    pub(in crate::cli) async fn start(
        options: &WorkersOptions,
        count: u16,
        (trainable, resources): (&Trainable, &Resources),
        folder: &Path,
        target: &Target,
    ) -> Result<Self, Failure> {
        let program = find_program()?;
        let count = usize::from(count);
        let is_program = trainable.program().is_some();
        let gpus = match &options.device {
            DeviceChoice::Cpu => Vec::new(),
            DeviceChoice::Named(numbers) => numbers.iter().map(u16::to_string).collect(),
            DeviceChoice::Cuda => gpus::some(gpus::probe(&program).await?)?,
            DeviceChoice::Auto if resources.gpus > Some(0) => gpus::if_known(&program).await,
            DeviceChoice::Auto if count > 1 && is_program => gpus::if_known(&program).await,
            DeviceChoice::Auto if count > 1 => gpus::probe(&program).await?,
            DeviceChoice::Auto => Vec::new(),
        };
        let slots = options.slots.as_deref().and_then(|slots| slots.parse().ok());
        gpus::suffices(&options.device, resources, (count, slots), gpus.len())?;
        let (logs, folder) = (folder.join(LOGS), folder.join("workers"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let token = write_token(&folder, target).context("cannot write the workers' token")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (wish, wished) = watch::channel(Wish::Work);
        let (failed, failures) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for (index, placement) in place(count, &gpus, cores).into_iter().enumerate() {
            let name = format!("local-{}", index + 1);
            let mut arguments = arguments(options, &name, &folder, &placement, target, token.path());
            if is_program {
                // `sweep run` starts its user's own program; `sweep verify` asks for its own --allow-commands before it comes here.
                arguments.extend(["--allow-commands".into(), "--programs-only".into()]);
                arguments.extend(["--job-logs".into(), logs.clone().into_os_string()]);
            }
            let process = WorkerProcess {
                arguments,
                log: folder.join(format!("{name}.log")),
                name,
                program: program.clone(),
                visible_gpus: gpus::visible(&options.device, &placement.gpus),
            };
            tasks.spawn(process.supervise(target.clone(), wished.clone(), failed.clone()));
        }
        Ok(Self { wish, failures, tasks, _token: token })
    }

    /// Resolves when a worker cannot work here. May be dropped and called again.
    pub(in crate::cli) async fn failed(&mut self) -> Failure {
        let failure = self.failures.recv().await;
        failure.unwrap_or_else(|| Failure::operation("the workers' supervision has ended; this is a bug"))
    }

    /// Asks all workers to leave and waits until they have; ends those that do not in time. May be dropped and called
    /// again.
    pub(in crate::cli) async fn end(&mut self) {
        self.tell(Wish::Leave);
        while self.tasks.join_next().await.is_some() {}
    }

    /// Kills all workers; their trainers notice it.
    pub(in crate::cli) async fn kill(&mut self) {
        self.tell(Wish::End);
        while self.tasks.join_next().await.is_some() {}
    }

    fn tell(&self, wish: Wish) {
        self.wish.send_if_modified(|wished| {
            let is_more = *wished < wish;
            *wished = wish.max(*wished);
            is_more
        });
    }
}

/// The worker's program: next to this one, as both are installed together, else on the PATH.
fn find_program() -> Result<PathBuf, Failure> {
    let next_to_this = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(PROGRAM)));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join(PROGRAM));
    let found = next_to_this.into_iter().chain(on_path).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::operation(
            "sweep-worker is neither next to sweep nor on the PATH; build it with `cargo build --release`",
        )
    })
}

/// The token in a file that only this user can read; everyone can read command lines.
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
) -> Vec<OsString> {
    let slots = options.slots.as_deref().unwrap_or(&placement.slots);
    let device = gpus::of_worker(&options.device, &placement.gpus);
    let mut arguments: Vec<OsString> = vec!["start".into()];
    for (flag, value) in [
        ("--coordinator", target.url.as_str()),
        ("--name", name),
        ("--slots", slots),
        ("--device", &device),
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
    if let Some(trainer) = &options.trainer {
        arguments.extend(["--trainer".into(), trainer.clone()]);
    }
    arguments.extend(options.traces.arguments().into_iter().map(OsString::from));
    arguments.push("--exit-with-stdin".into());
    arguments
}

/// The manifests of what the trainer trains that the workers are to start, each as JSON; none where that is the own one.
pub(in crate::cli) async fn models(options: &WorkersOptions) -> Result<Vec<String>, Failure> {
    let Some(trainer) = &options.trainer else { return Ok(Vec::new()) };
    let program = find_program()?;
    let output = Command::new(&program)
        .args(["describe", "--device", "cpu", "--trainer"])
        .arg(trainer)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let errors = errors.trim();
        return Err(Failure::operation(format!(
            "--trainer: {}",
            errors.strip_prefix("error: ").unwrap_or(errors)
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let read =
        Manifest::all_from_json(&text).map_err(|error| Failure::operation(format!("--trainer: {error}")))?;
    Ok(read.iter().map(Manifest::to_json).collect())
}
