//! The command line of `sweep-worker start`, and what follows from it: names, folders, whether a trainer is needed. How trainers
//! are started is in `commands`.

mod commands;
mod credentials;

use std::{
    env,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use terms::{DeviceChoice, WorkerName};

pub(crate) use self::credentials::Credentials;
use super::{
    devices::{self, SlotCount},
    lineage,
    membership::Membership,
    own_trainer::OwnTrainer,
};
use trainer_protocol::PACK_SIZE_MAX;

/// Most jobs at the same time on a GPU by default: beyond it, small models fill every current GPU.
const PACK_SIZE_MAX_ON_GPU: u16 = 64;

/// Options of `sweep-worker start`. Each has an environment variable of the same meaning; the flag wins.
#[derive(Debug, Clone, clap::Args)]
pub struct StartOptions {
    /// Address of the coordinator, http:// or https://; if several share a database, all of them, separated by commas
    #[arg(long, env = "SWEEP_COORDINATOR", value_name = "URL", default_value = "http://127.0.0.1:7070")]
    pub coordinator: String,
    /// How many jobs run at a time: a number, or auto for one per GPU, else one per processor core
    #[arg(long, env = "SWEEP_SLOTS", value_name = "N|auto", default_value = "auto")]
    pub slots: SlotCount,
    /// What to train on: auto for the GPUs that libtorch can use, or else the CPU; cpu; cuda for the GPUs, of which there
    /// must be one; or these GPUs, as in cuda:0,cuda:1
    #[arg(long, env = "SWEEP_DEVICE", value_name = "auto|cpu|cuda|GPUS", default_value = "auto")]
    pub device: DeviceChoice,
    /// The worker's name, unique at its coordinator [default: the machine's name and a few random characters, kept for
    /// the next start]
    #[arg(long, env = "SWEEP_NAME", value_name = "NAME")]
    pub name: Option<WorkerName>,
    #[command(flatten)]
    pub credentials: Credentials,
    /// Answer probes and scrapers on this address, in plain text and without a token: /livez, /readyz and /metrics; port 0 lets
    /// the system choose
    #[arg(long, env = "SWEEP_ADMIN", value_name = "ADDR", value_parser = terminal::listen_address)]
    pub admin: Option<SocketAddr>,
    #[command(flatten)]
    pub traces: traces::Options,
    /// Folder for results the coordinator does not have yet [default: ~/.local/state/sweep/spool/NAME]
    #[arg(long, env = "SWEEP_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Folder for packed data sets [default: ~/.cache/sweep/datasets]
    #[arg(long, env = "SWEEP_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Most that the packed data sets there may have together, such as 16GiB: those used least recently are removed, and none that is
    /// in use [default: no limit]
    #[arg(long, env = "SWEEP_CACHE_MAX_BYTES", value_name = "BYTES", value_parser = dataset::read_bytes)]
    pub cache_max_bytes: Option<u64>,
    /// Folder or URL (file, s3, gs, az) for checkpoints, the same at every worker; without one, a job that is handed back goes on
    /// elsewhere by way of the coordinator, and one that is killed starts over, except that a program continues on the same machine
    #[arg(long, env = "SWEEP_CHECKPOINTS", value_name = "URL")]
    pub checkpoints: Option<String>,
    /// Where relative paths of data sets start [default: the working directory]
    #[arg(long, env = "SWEEP_DATA_ROOT", value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Leave out images that cannot be decoded, instead of refusing their data set
    #[arg(long, env = "SWEEP_SKIP_CORRUPT", value_parser = clap::builder::BoolishValueParser::new())]
    pub skip_corrupt: bool,
    /// How long running jobs may continue after SIGTERM, SIGINT or SIGHUP, before they are handed back; a checkpoint is kept at
    /// once, too
    #[arg(long, env = "SWEEP_GRACE", value_name = "TIME", default_value = "30s", value_parser = time)]
    pub grace: Duration,
    /// Hand jobs back and leave as soon as this file is there: a cloud's notice that it will take the machine away. SIGUSR1 does
    /// the same
    #[arg(long, env = "SWEEP_LEAVE_WHEN", value_name = "FILE")]
    pub leave_when: Option<PathBuf>,
    /// Leave, with exit status 0, after this long without a job while the coordinator is there
    #[arg(long, env = "SWEEP_EXIT_WHEN_IDLE", value_name = "TIME", value_parser = time)]
    pub exit_when_idle: Option<Duration>,
    /// Another program that trains, run by /bin/sh; it speaks JSON lines on standard input and output (see
    /// worker/TRAINER.md) and finds SWEEP_TRAINER_DEVICE, _THREADS, _SLOT and _CHECKPOINTS in its environment
    #[arg(long, env = "SWEEP_TRAINER", value_name = "COMMAND")]
    pub trainer: Option<OsString>,
    /// Run the programs of sweep files (`program:` and `command:`) as this worker's user, with its rights: anyone who
    /// may submit sweeps may then run anything here
    #[arg(long, env = "SWEEP_ALLOW_COMMANDS", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_commands: bool,
    /// Train no models, but run programs. So does a worker without sweep-trainer, or where that finds no libtorch, if it may run
    /// programs
    #[arg(long, env = "SWEEP_PROGRAMS_ONLY", requires = "allow_commands", value_parser = clap::builder::BoolishValueParser::new())]
    pub programs_only: bool,
    /// Folder for what each job of a program prints, as JOB.log, where there is one sweep. Set by `sweep run`.
    #[arg(long, hide = true, requires = "allow_commands", value_name = "DIR")]
    pub job_logs: Option<PathBuf>,
    /// How long a trainer with a job may be silent before it counts as hung and is ended, and the job is tried again; 0
    /// for no limit
    #[arg(long, env = "SWEEP_TRAINER_SILENCE", value_name = "TIME", default_value = "10m", value_parser = time)]
    pub trainer_silence: Duration,
    /// Threads of each trainer on the CPU; the results of a training depend on it in their last bits
    #[arg(long, env = "SWEEP_THREADS_PER_SLOT", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads_per_slot: u16,
    /// Most jobs that a slot trains at the same time as one model; how many it gets is found by measuring [default: 64
    /// on a GPU; 1 on the CPU, where it does not pay and a job's numbers must not depend on others, and for --trainer]
    #[arg(long, env = "SWEEP_PACK_SIZE_MAX", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(PACK_SIZE_MAX)))]
    pub pack_size_max: Option<u16>,
    /// Leave as on SIGTERM when standard input ends, so that the worker does not outlive its parent
    #[arg(long, env = "SWEEP_EXIT_WITH_STDIN", value_parser = clap::builder::BoolishValueParser::new())]
    pub exit_with_stdin: bool,
}

/// A time on the command line.
fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time such as 90s, 30m or 1h 30m".to_owned())
}

impl StartOptions {
    /// The name given, or the one that this machine keeps; a worker from before names were kept continues with its own.
    ///
    /// # Errors
    /// There is no place to keep a name.
    pub(crate) fn worker_name(&self) -> anyhow::Result<WorkerName> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let folder = self.name_folder()?;
        let old: Option<WorkerName> = lineage::plain(&host()).parse().ok();
        let old = old.filter(|old| !folder.join("name").exists() && self.has_old_spool(old));
        let kept = match &old {
            Some(old) => lineage::keep_name(&folder, old).map(|()| old.clone()),
            None => lineage::kept_name(&folder, &host()),
        };
        kept.with_context(|| {
            format!("cannot keep the worker's name in {}; give it a --name", folder.display())
        })
    }

    /// Another name, because the one that this machine kept turned out to be another worker's.
    ///
    /// # Errors
    /// There is no place to keep it.
    pub(crate) fn another_name(&self) -> anyhow::Result<WorkerName> {
        let folder = self.name_folder()?;
        let name = lineage::new_name(&folder, &host());
        name.with_context(|| {
            format!("cannot keep the worker's name in {}; give it a --name", folder.display())
        })
    }

    /// Where a chosen name is kept.
    fn name_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.spool.clone().or_else(|| Some(state_home(|name| env::var_os(name))?.join("sweep")));
        folder.context(
            "there is no home folder for the worker's name; name one with --spool DIR, or give a --name",
        )
    }

    fn has_old_spool(&self, name: &WorkerName) -> bool {
        self.spool_folder(name).is_ok_and(|folder| folder.join("events").exists())
    }

    /// The folder of the spool.
    ///
    /// # Errors
    /// None is given and there is no home folder to put it in.
    pub(crate) fn spool_folder(&self, name: &WorkerName) -> anyhow::Result<PathBuf> {
        let given = self.spool.clone();
        let folder = given
            .or_else(|| Some(state_home(|name| env::var_os(name))?.join("sweep/spool").join(name.as_str())));
        folder.context("there is no home folder for the spool; name one with --spool DIR")
    }

    /// How this worker is known by a certificate, where it is: it was given a join token, or has joined before with this spool and is given no
    /// other token now.
    pub(crate) fn membership(&self, name: &WorkerName, spool: &Path) -> Option<Membership> {
        let Credentials { token_file, tls_ca, join, .. } = &self.credentials;
        if token_file.is_some() || tls_ca.is_some() {
            return None;
        }
        Membership::new(&self.coordinator, join.clone(), spool.to_owned(), name)
    }

    /// Where the files of users' programs are kept by content.
    pub(crate) fn files_cache(&self) -> PathBuf {
        self.cache_dir.clone().unwrap_or_else(dataset::default_cache_dir).join("programs")
    }

    /// Where relative data-set paths start, absolute.
    ///
    /// # Errors
    /// It is relative and the working directory is gone.
    pub(crate) fn absolute_data_root(&self) -> anyhow::Result<PathBuf> {
        let root = self.data_root.clone().unwrap_or_else(|| PathBuf::from("."));
        std::path::absolute(&root).with_context(|| format!("--data-root {} is not a folder", root.display()))
    }

    /// Most jobs that a slot of this device trains at the same time.
    pub(crate) fn pack_size_max(&self, device: &str) -> u32 {
        let default =
            if self.trainer.is_none() && device.starts_with("cuda") { PACK_SIZE_MAX_ON_GPU } else { 1 };
        self.pack_size_max.unwrap_or(default).into()
    }

    /// How long a trainer that has jobs may be silent; none for no limit.
    pub(crate) fn trainer_silence(&self) -> Option<Duration> {
        Some(self.trainer_silence).filter(|silence| !silence.is_zero())
    }

    /// The trainer that comes with this program, if it is needed, to train or to look for GPUs. Where it is missing or finds no
    /// libtorch, a worker that may run programs does so alone.
    pub(crate) async fn own_trainer(&mut self) -> anyhow::Result<Option<OwnTrainer>> {
        if !self.needs_own_trainer() {
            return Ok(None);
        }
        if !self.may_run_programs_alone() {
            return OwnTrainer::find().map(Some);
        }
        let found = async { OwnTrainer::find()?.checked().await };
        match found.await {
            Ok(trainer) => Ok(Some(trainer)),
            Err(error) => {
                let consequence = "this worker trains no models and runs programs alone, on the CPU unless --device names GPUs";
                if std::mem::replace(&mut self.programs_only, true) {
                    tracing::info!("{error:#}; {consequence}");
                } else {
                    tracing::warn!("{error:#}; {consequence}");
                }
                Ok(None)
            }
        }
    }

    fn needs_own_trainer(&self) -> bool {
        (self.trainer.is_none() && !self.programs_only) || devices::asks_for_gpus(&self.device)
    }

    /// Why no trainer becomes ready, with the cure where GPUs were named that libtorch cannot use.
    pub(crate) fn never_ready(&self, reason: &str) -> String {
        let told = format!("trainers no longer become ready here ({reason})");
        let names_gpus = matches!(self.device, DeviceChoice::Named(_));
        if names_gpus && self.trainer.is_none() && !self.programs_only {
            return format!(
                "{told}. For users' programs alone on the GPUs that --device names, give --allow-commands --programs-only"
            );
        }
        told
    }

    /// Whether it is of use without a trainer of models. Only libtorch can say which GPUs `--device cuda` means.
    fn may_run_programs_alone(&self) -> bool {
        self.allow_commands && self.trainer.is_none() && self.device != DeviceChoice::Cuda
    }
}

/// The machine's name in the operating system.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `$XDG_STATE_HOME`, which only counts if it is absolute, else `~/.local/state`.
fn state_home(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        start: StartOptions,
    }

    pub(super) fn options(arguments: &[&str]) -> StartOptions {
        Command::parse_from([&["start"], arguments].concat()).start
    }

    #[test]
    fn a_worker_that_was_given_no_name_keeps_one_and_an_old_one_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().to_str().unwrap();
        let name = options(&["--spool", spool]).worker_name().unwrap();
        assert!(name.as_str().starts_with(&lineage::plain(&host())) && name.as_str() != host(), "{name}");
        assert_eq!(options(&["--spool", spool]).worker_name().unwrap(), name);
        assert_eq!(options(&["--spool", spool, "--name", "given"]).worker_name().unwrap().as_str(), "given");
        let old = tempfile::tempdir().unwrap();
        std::fs::write(old.path().join("events"), "").unwrap();
        let spool = old.path().to_str().unwrap();
        for _ in 0..2 {
            assert_eq!(options(&["--spool", spool]).worker_name().unwrap().as_str(), lineage::plain(&host()));
        }
        let other = options(&["--spool", spool]).another_name().unwrap();
        assert_eq!(options(&["--spool", spool]).worker_name().unwrap(), other);
    }

    #[test]
    fn the_state_folder_is_that_of_the_xdg_standard() {
        let both = |name: &str| Some(OsString::from(if name == "HOME" { "/home/a" } else { "/state" }));
        assert_eq!(state_home(both), Some("/state".into()));
        let relative = |name: &str| Some(OsString::from(if name == "HOME" { "/home/a" } else { "state" }));
        assert_eq!(state_home(relative), Some("/home/a/.local/state".into()));
        assert_eq!(state_home(|_| None), None);
    }

    #[test]
    fn slots_take_packs_where_the_own_trainer_has_a_gpu_or_the_user_says_so() {
        let size = |arguments: &[&str], device: &str| options(arguments).pack_size_max(device);
        assert_eq!((size(&[], "cuda:1"), size(&[], "cpu")), (64, 1));
        assert_eq!(size(&["--trainer", "python3 train.py"], "cuda:0"), 1);
        assert_eq!(size(&["--trainer", "python3 train.py", "--pack-size-max", "8"], "cpu"), 8);
        assert!(Command::try_parse_from(["start", "--pack-size-max", "257"]).is_err());
    }

    #[test]
    fn who_names_gpus_that_libtorch_cannot_use_is_told_of_programs_only() {
        let told = options(&["--device", "cuda:0,cuda:1"]).never_ready("no such device");
        assert!(told.contains("(no such device)") && told.contains("--programs-only"), "{told}");
        for others in
            [&["--device", "cpu"][..], &["--device", "cuda:0", "--allow-commands", "--programs-only"]]
        {
            assert!(!options(others).never_ready("x").contains("--programs-only"), "{others:?}");
        }
    }

    #[test]
    fn without_the_own_trainer_another_one_trains_on_the_cpu() {
        let needed = |arguments: &[&str]| options(arguments).needs_own_trainer();
        assert!(needed(&[]) && needed(&["--device", "cpu"]));
        assert!(needed(&["--trainer", "python3 train.py", "--device", "cuda"]));
        assert!(!needed(&["--trainer", "python3 train.py", "--device", "cpu"]));
        assert!(!needed(&["--allow-commands", "--programs-only", "--device", "cpu"]));
    }

    #[test]
    fn only_a_worker_that_may_run_programs_and_names_its_devices_does_without_a_trainer() {
        let may = |arguments: &[&str]| options(arguments).may_run_programs_alone();
        assert!(may(&["--allow-commands"]) && may(&["--allow-commands", "--device", "cuda:1"]));
        assert!(!may(&[]) && !may(&["--allow-commands", "--device", "cuda"]));
        assert!(!may(&["--allow-commands", "--trainer", "python3 train.py"]));
    }
}
