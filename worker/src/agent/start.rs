//! `sweep-worker start`: from the command line to a running agent and its exit code.

use std::{
    io::Read,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use program::memory::{MemoryGroups, machine_bytes};
use telemetry::admin::Admin;
use terminal::signals::is_hangup_ignored;
use terms::WorkerName;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;
use traces::Traces;

use super::{
    admin::Watched,
    cgroups,
    connection::REFUSED_WITHIN,
    descriptors, devices,
    gpus::Gpus,
    notice::{self, Notice},
    options::{StartOptions, host},
    own_trainer::OwnTrainer,
    session::types::Departure,
    shell::{self, AgentError, Configuration},
    spool::UNACKNOWLEDGED_BYTES_MAX,
    target::Target,
    traced::Traced,
    weights::WAITING_BYTES_MAX,
    wire::Identity,
};

/// Exit status of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// How often a worker may choose another name: with 65,536 suffixes, more often than happens by chance.
const RENAMINGS_MAX: usize = 10;

/// Requests to leave that wait for the agent; only two matter.
const SHUTDOWNS_MAX: usize = 2;

/// Within this time after the first request to leave, another one belongs to it: whoever ends a worker may send a
/// signal, close its input and send the signal to its whole group.
const SAME_REQUEST_WITHIN: Duration = Duration::from_secs(2);

/// When this worker was first asked to leave.
#[derive(Debug, Default)]
struct FirstRequest(Mutex<Option<Instant>>);

impl FirstRequest {
    /// Whether a request at `now` is a new one: the first is, and after a while each signal.
    fn counts(&self, now: Instant, is_signal: bool) -> bool {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *first.get_or_insert(now);
        before == now || (is_signal && now.saturating_duration_since(before) > SAME_REQUEST_WITHIN)
    }
}

/// Runs a worker daemon until it has to leave. Blocks; brings its own runtime.
///
/// # Errors
/// The options are unusable, or the coordinator refuses this worker for good.
pub fn start(options: &StartOptions) -> anyhow::Result<ExitCode> {
    options.credentials.tell_unused();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2) // It only passes messages on; the cores are for the trainers.
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let code = runtime.block_on(async {
        // First, so that nothing that was started outlives a signal.
        let (shutdown, requests) = mpsc::channel(SHUTDOWNS_MAX);
        let asked = Arc::new(FirstRequest::default());
        let _signals = watch_signals(shutdown.clone(), Arc::clone(&asked))?;
        let (notice, _notices) = notice::watch(options.leave_when.clone())?;
        if options.exit_with_stdin {
            watch_stdin(shutdown, asked)?;
        }
        // Before the search for GPUs, which may take minutes: probes are told so.
        let traces = Traces::start(&options.traces, "sweep-worker")?;
        let watched = Arc::new(Watched::new(&traces));
        let _admin = match options.admin {
            Some(address) => Some(Admin::start(address, Arc::clone(&watched) as _).await?),
            None => None,
        };
        // Only searched for if it is needed; kept open until the end.
        let mut options = options.clone();
        let own_trainer = options.own_trainer().await?;
        let served = serve(&options, own_trainer.as_ref(), (&notice, &watched, &traces), requests).await;
        traces.end().await;
        match served? {
            Departure::Failed(reason) => {
                anyhow::bail!("{}; the worker has left", options.never_ready(&reason))
            }
            Departure::Refused(reason) => anyhow::bail!("{reason}; the worker has left"),
            Departure::Orderly => {
                tracing::info!("the worker has left");
                Ok(ExitCode::SUCCESS)
            }
            Departure::AtOnce => Ok(ExitCode::from(INTERRUPTED)),
        }
    });
    // A hanging name lookup must not delay the end.
    runtime.shutdown_background();
    code
}

/// Runs the agent. If it chose its own name and another worker has it, as happens on machines made from one image, the
/// agent runs again under another name.
async fn serve(
    options: &StartOptions,
    own_trainer: Option<&OwnTrainer>,
    (notice, watched, traces): (&Notice, &Watched, &Traces),
    mut requests: mpsc::Receiver<()>,
) -> anyhow::Result<Departure> {
    let mut name = options.worker_name()?;
    for _ in 0..RENAMINGS_MAX {
        let mut configuration = tokio::select! {
            configuration = configure(options, own_trainer, (notice.clone(), watched, traces), name.clone()) => configuration?,
            // The search for GPUs may take minutes.
            Some(()) = requests.recv() => return Ok(Departure::Orderly),
        };
        configuration.leaves_its_name = options.name.is_none();
        // Its lock first: the certificate lies in its folder, and may be that of a worker that is running.
        let Some(spool) = shell::open_spool(&configuration.spool, &mut requests).await? else {
            return Ok(Departure::Orderly);
        };
        // Renewed for as long as the agent runs.
        let _membership = tokio::select! {
            joined = join(options, &mut configuration, &name) => joined?,
            Some(()) = requests.recv() => return Ok(Departure::Orderly),
        };
        match shell::run(configuration, spool, &mut requests).await {
            Err(AgentError::NameTaken(reason)) => {
                let before = std::mem::replace(&mut name, options.another_name()?);
                tracing::warn!(
                    "{reason}: this worker, which had chosen the name {before}, is called {name} from now on"
                );
            }
            ended => return Ok(ended?),
        }
    }
    anyhow::bail!("every name that this worker chose belongs to another; give it a --name")
}

/// Becomes known to the coordinator by a certificate, where a join token was given, now or once.
async fn join(
    options: &StartOptions,
    configuration: &mut Configuration,
    name: &WorkerName,
) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
    let Some(membership) = options.membership(name, &configuration.spool) else { return Ok(None) };
    let renewal = membership.begin().await?;
    let target = &mut configuration.target;
    (target.tls_ca, target.identity) = (Some(membership.authority()), Some(membership.identity()));
    tracing::info!(spool = %configuration.spool.display(), "this worker has a certificate");
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(membership.keep(renewal)))))
}

async fn configure(
    options: &StartOptions,
    own_trainer: Option<&OwnTrainer>,
    (notice, watched, traces): (Notice, &Watched, &Traces),
    name: WorkerName,
) -> anyhow::Result<Configuration> {
    let mut slots = devices::slots(&options.device, options.slots, own_trainer).await?;
    descriptors::claim(slots.len())?;
    cgroups::divide(slots.len());
    if options.programs_only && devices::names_gpus_without_driver(&options.device) {
        tracing::warn!(
            "--device names GPUs, but this machine shows no driver for any; programs are told the named numbers all the same, \
             in CUDA_VISIBLE_DEVICES; use --device cpu if it has none"
        );
    }
    for slot in &mut slots {
        slot.pack_size_max = options.pack_size_max(&slot.device);
        tracing::info!(slot = slot.index, device = slot.device, "{}", slot.description);
    }
    let program = own_trainer.map(OwnTrainer::executable).unwrap_or_default();
    let spool =
        std::path::absolute(options.spool_folder(&name)?).context("cannot find the spool's folder")?;
    let gpus = Gpus::of(&slots);
    watched.has_gpus(&gpus);
    Ok(Configuration {
        target: Target {
            url: options.coordinator.clone(),
            token_file: options.credentials.token_file.clone(),
            tls_ca: options.credentials.tls_ca.clone(),
            identity: None,
        },
        gpus,
        metrics: Arc::clone(&watched.metrics),
        traced: Traced::new(traces),
        trainers: slots.iter().map(|slot| options.trainers(slot, &program, &spool)).collect(),
        spool,
        files_cache: options.files_cache(),
        data_root: options.absolute_data_root()?,
        grace: options.grace,
        notice,
        hands_over: options.checkpoints.is_none(),
        exit_when_idle: options.exit_when_idle,
        trainer_silence: options.trainer_silence(),
        spool_bytes_max: UNACKNOWLEDGED_BYTES_MAX,
        refused_within: REFUSED_WITHIN,
        weights_bytes_max: WAITING_BYTES_MAX,
        leaves_its_name: false,
        identity: Identity {
            name,
            instance: uuid::Uuid::new_v4().to_string(),
            predecessors: Vec::new(),
            host: host(),
            slots,
            allow_commands: options.allow_commands,
            programs_only: options.programs_only,
            trainables: Vec::new(),
            checkpoints: options.checkpoints.clone().unwrap_or_default(),
            memory_bytes: memory_bytes(),
        },
    })
}

/// How much memory trainers may have here: as their control group limits it, or all of the machine's; 0 where that is not known.
fn memory_bytes() -> u64 {
    let limits = [MemoryGroups::own().limit_bytes(), machine_bytes()];
    limits.into_iter().flatten().min().unwrap_or(0)
}

/// SIGTERM, SIGINT and SIGHUP, unless that was ignored at the start, become requests to leave.
fn watch_signals(
    shutdown: mpsc::Sender<()>,
    asked: Arc<FirstRequest>,
) -> anyhow::Result<AbortOnDropHandle<()>> {
    // A hangup is the end of the terminal or the ssh session. Checked before listening, which would end the ignoring.
    let hangup = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup()));
    let mut hangup = hangup.transpose().context("cannot watch for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let name = tokio::select! {
                _ = hung_up => "SIGHUP",
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if !asked.counts(Instant::now(), true) {
                continue;
            }
            tracing::info!("{name}: leaving; another one after two seconds leaves at once");
            if shutdown.send(()).await.is_err() {
                return;
            }
        }
    })))
}

/// The end of standard input becomes a request to leave. Uses its own thread, which ends with the process: nothing can
/// interrupt its read.
fn watch_stdin(shutdown: mpsc::Sender<()>, asked: Arc<FirstRequest>) -> anyhow::Result<()> {
    let watch = move || {
        let mut buffer = [0; 256];
        let mut stdin = std::io::stdin().lock();
        // An error counts as the end.
        while stdin.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        if !asked.counts(Instant::now(), false) {
            return;
        }
        tracing::info!("standard input has ended: leaving");
        // Only fails if the agent is gone already.
        let _ = shutdown.blocking_send(());
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(watch)
        .context("cannot watch standard input")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_arrives_in_several_ways_counts_once() {
        let (asked, begin) = (FirstRequest::default(), Instant::now());
        let counts =
            |milliseconds, is_signal| asked.counts(begin + Duration::from_millis(milliseconds), is_signal);
        assert!(counts(0, true));
        assert!(!counts(5, true) && !counts(10, false) && !counts(2_000, true));
        assert!(!counts(3_000, false), "the input's end belongs to the request before it");
        assert!(counts(3_000, true));
    }
}
