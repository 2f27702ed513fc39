//! The conversation with the agent: jobs are run one after another, each with a program of its own.

use std::{
    collections::BTreeMap,
    env, fs, io,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use trainer_protocol::{Program, ToTrainer, TrainJob, TrainerOutcome};

use crate::{
    checkpoint::{
        archive::identity,
        keeper::{Keeper, Route},
        shelf::{Found, Shelf, empty},
    },
    environment::{Environment, Paths, Slot, environment, interpreter, names},
    events::{Event, Source},
    job::{End, Gone, Run, State, Stops},
    log::{Log, LogFile},
    macros::{DEFAULT_COMMAND, Facts, expand, json},
    memory::MemoryGroups,
    metrics::{channel::Channel, pattern::Pattern, tally::Tally},
    protocol::Output,
    scratch::Scratch,
    start::{start, watch},
};

/// Time between SIGTERM and SIGKILL: the agent kills a trainer ten seconds after it asked for a stop.
const GRACE: Duration = Duration::from_secs(8);

/// Longest such time that a sweep file may ask for.
const GRACE_MAX: Duration = Duration::from_secs(3600);

/// What runs jobs.
pub(crate) struct Session<W> {
    output: Output<W>,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    shelf: Option<Arc<Shelf>>,
    places: Places,
    slot: Slot,
    /// Jobs so far.
    jobs: u64,
}

/// Folders that it uses.
pub(crate) struct Places {
    /// Where temporary folders are made.
    pub(crate) folder: PathBuf,
    /// Where what programs print is kept, by job.
    pub(crate) logs: Option<PathBuf>,
}

/// A job that cannot start.
struct Refused(TrainerOutcome, String);

impl Refused {
    /// No worker can run it.
    fn rejected(error: impl std::fmt::Display) -> Self {
        Self(TrainerOutcome::Rejected, error.to_string())
    }

    /// This one cannot at the moment.
    fn unavailable(what: &str, error: &io::Error) -> Self {
        Self(TrainerOutcome::Unavailable, format!("{what}: {error}"))
    }
}

impl<W: Write> Session<W> {
    pub(crate) fn new(
        output: Output<W>,
        events: Receiver<Event>,
        sender: SyncSender<Event>,
        shelf: Option<Arc<Shelf>>,
        places: Places,
        slot: Slot,
    ) -> Self {
        Self { output, events, sender, shelf, places, slot, jobs: 0 }
    }

    /// Runs what is requested until the requests end.
    pub(crate) fn serve(mut self) -> Result<(), Gone> {
        self.output.ready(&self.slot.device)?;
        loop {
            match self.events.recv() {
                Ok(Event::Request(Ok(ToTrainer::Train { jobs, .. }))) => {
                    match self.run_all(&jobs) {
                        // The agent has ended its trainers; that is no fault.
                        Err(Gone::Ended) => return Ok(()),
                        ran => ran?,
                    }
                }
                // A stop that crossed its job's end, or a thread of an earlier job.
                Ok(Event::Request(Ok(ToTrainer::Stop { .. } | ToTrainer::Keep { .. })) | Event::Job(..)) => {}
                Ok(Event::Request(Err(error))) => return Err(Gone::Request(error)),
                Ok(Event::RequestsEnded) | Err(_) => return Ok(()),
            }
        }
    }

    fn run_all(&mut self, jobs: &[TrainJob]) -> Result<(), Gone> {
        let mut stopped = BTreeMap::new();
        for job in jobs {
            self.jobs += 1;
            if stopped.contains_key(&job.id) {
                self.output.end(&job.id, End::new(TrainerOutcome::Stopped, "stopped before it began"))?;
                continue;
            }
            match self.run(job, &mut stopped)? {
                Ok(end) => self.output.end(&job.id, end)?,
                Err(Refused(outcome, reason)) => self.output.end(&job.id, End::new(outcome, reason))?,
            }
        }
        Ok(())
    }

    fn run(&self, job: &TrainJob, stopped: &mut Stops) -> Result<Result<End, Refused>, Gone> {
        let prepared = match self.prepare(job) {
            Ok(prepared) => prepared,
            Err(refused) => return Ok(Err(refused)),
        };
        let Prepared { scratch, found, .. } = &prepared;
        let resumed_epochs =
            found.as_ref().and_then(|found| found.facts.records.last()).map_or(0, |last| last.epoch);
        self.output.started(&job.id, resumed_epochs)?;
        for record in found.iter().flat_map(|found| &found.facts.records) {
            self.output.epoch(&job.id, record)?;
        }
        let is_far_enough =
            |until: u32| resumed_epochs >= until && job.budget.is_none_or(|all| resumed_epochs < all);
        if job.until_epoch.is_some_and(is_far_enough) {
            // An attempt before this one got that far, and its end was lost.
            return Ok(Ok(End::new(TrainerOutcome::Paused, "")));
        }
        let run = match self.start(job, &prepared, stopped) {
            Ok(run) => run,
            Err(refused) => return Ok(Err(refused)),
        };
        let end = run.until_its_end()?;
        if let (Some(shelf), Some(plan)) = (&self.shelf, &job.checkpoints) {
            let is_settled = found.as_ref().is_some_and(|found| found.is_settled);
            let removed = match end.outcome {
                TrainerOutcome::Done | TrainerOutcome::Diverged => shelf.remove(&plan.key),
                // Of no use, whatever came after it.
                TrainerOutcome::Unavailable if is_settled => shelf.remove(&plan.key),
                TrainerOutcome::Unavailable => shelf.remove_unsettled(&plan.key),
                _ => Ok(()),
            };
            removed.unwrap_or_else(|error| terminal::say!("old checkpoints could not be removed: {error}"));
        }
        drop(fs::remove_dir_all(scratch.work()));
        Ok(Ok(end))
    }

    /// Makes everything that the program is to find.
    fn prepare(&self, job: &TrainJob) -> Result<Prepared, Refused> {
        let program = job
            .program
            .clone()
            .ok_or_else(|| Refused::rejected("the job has no program; this trainer runs programs alone"))?;
        if let Some(reason) = program.missing {
            return Err(Refused(TrainerOutcome::Unavailable, reason));
        }
        let pattern =
            program.metrics.pattern.as_deref().map(Pattern::new).transpose().map_err(Refused::rejected)?;
        let parameters = json(&job.parameters, program.arguments);
        let no_folder = |error| Refused::unavailable("the job's temporary folder cannot be made", &error);
        let scratch = Scratch::create(&self.places.folder, &parameters).map_err(no_folder)?;
        let identity = identity(&json!({
            "parameters": job.parameters,
            "program": program.program,
            "command": program.command,
        }));
        let found = self.look_for_checkpoint(job, &identity, &scratch)?;
        let paths = Paths {
            parameters: &scratch.parameters(),
            report: &scratch.report(),
            checkpoints: &scratch.checkpoints(),
            output: &scratch.output(),
            helper: &scratch.helper(),
        };
        let device = program.devices.clone().unwrap_or_else(|| self.slot.device.clone());
        let slot = Slot { device, ..self.slot.clone() };
        let variables = environment(env::vars_os(), job, &program.env, &slot, paths, found.is_some())
            .map_err(Refused::rejected)?;
        let folder = program.folder.clone().unwrap_or_else(|| scratch.work());
        let is_there = fs::metadata(&folder)
            .and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
        is_there.map_err(|error| {
            Refused::unavailable(&format!("the job's folder {} cannot be used", folder.display()), &error)
        })?;
        Ok(Prepared { program, pattern, scratch, identity, found, variables, folder })
    }

    fn look_for_checkpoint(
        &self,
        job: &TrainJob,
        identity: &str,
        scratch: &Scratch,
    ) -> Result<Option<Found>, Refused> {
        let (Some(shelf), Some(plan)) = (&self.shelf, &job.checkpoints) else { return Ok(None) };
        let why = match shelf.read(&plan.key, identity, &scratch.checkpoints()) {
            Ok(found) if found.as_ref().is_none_or(Found::can_be_used) => return Ok(found),
            Ok(_) => "no epoch was reported before or after its checkpoint".to_owned(),
            Err(error) => format!("its checkpoints cannot be read: {error}"),
        };
        terminal::say!("the job starts over: {why}");
        empty(&scratch.checkpoints())
            .map_err(|error| Refused::unavailable("the folder for checkpoints cannot be made", &error))?;
        Ok(None)
    }

    /// Where what a job's program prints is kept, if it is.
    fn log_file(&self, job: &TrainJob) -> Option<LogFile> {
        let (_, number, attempt) = names(&job.id);
        match LogFile::open(self.places.logs.as_deref()?, number, attempt) {
            Ok(file) => Some(file),
            Err(error) => {
                terminal::say!("the log of this job is not kept: {error}");
                None
            }
        }
    }

    fn start<'a>(
        &'a self,
        job: &'a TrainJob,
        prepared: &'a Prepared,
        stopped: &'a mut Stops,
    ) -> Result<Run<'a, W>, Refused> {
        let Prepared { program, scratch, variables, folder, found, .. } = prepared;
        let unavailable = |error| Refused::unavailable("the program cannot be watched", &error);
        let command = command(program, job, variables, scratch)?;
        let keeper = match (&self.shelf, &job.checkpoints) {
            (Some(shelf), Some(plan)) => Some(Route {
                shelf: Arc::clone(shelf),
                key: plan.key.clone(),
                attempt: plan.attempt,
                folder: scratch.checkpoints(),
                scratch: scratch.path().to_owned(),
            }),
            _ => None,
        };
        let keeper = keeper.map(Keeper::start).transpose().map_err(unavailable)?;
        let mut tally = Tally::new(program.metrics.objective.clone(), job.budget, keeper.is_some());
        tally.pause_after(job.until_epoch);
        if let Some(found) = found {
            tally.resume(found.facts.records.clone(), found.reserve.clone(), found.is_settled);
        }
        let source = Source::new(self.sender.clone(), self.jobs);
        let sources = source.counter();
        let channel = Channel::open(&scratch.report(), source.clone()).map_err(unavailable)?;
        let table = program.metrics.csv.as_ref().map(|csv| folder.join(csv));
        let table = table.map(|path| watch(path, source.clone())).transpose().map_err(unavailable)?;
        let (log, began) = (Log::new(self.log_file(job)), Instant::now());
        let pattern = prepared.pattern.clone();
        let groups = MemoryGroups::own();
        let memory = (groups.clone(), groups.oom_kills());
        let pid = start(&command, folder, variables, &source, &log, pattern).map_err(|error| {
            Refused::rejected(format!(
                "{} cannot be started in {}: {error}; it must be on this worker, and on its PATH where it is named without a folder",
                command[0].display(),
                folder.display()
            ))
        })?;
        Ok(Run {
            id: &job.id,
            number: self.jobs,
            parameters: &job.parameters,
            events: &self.events,
            output: &self.output,
            stopped,
            plan: &program.metrics,
            tally,
            log,
            scratch,
            folder,
            keeper,
            identity: prepared.identity.clone(),
            weights: job.weights.clone(),
            grace: grace(program),
            pid,
            began,
            memory,
            channel,
            table,
            sources,
            state: State::new(
                folders(scratch),
                found.as_ref().map_or(0, |found| found.facts.unreported),
                began,
            ),
        })
    }
}

/// A job that may start.
struct Prepared {
    program: Program,
    pattern: Option<Pattern>,
    scratch: Scratch,
    /// Whose checkpoints it may use.
    identity: String,
    /// What an earlier attempt left.
    found: Option<Found>,
    variables: Environment,
    /// Where it runs.
    folder: PathBuf,
}

fn command(
    program: &Program,
    job: &TrainJob,
    variables: &Environment,
    scratch: &Scratch,
) -> Result<Vec<std::ffi::OsString>, Refused> {
    let default = DEFAULT_COMMAND.map(str::to_owned);
    let command = if program.command.is_empty() { &default[..] } else { &program.command };
    let facts = Facts {
        program: program.program.as_deref(),
        parameters: &job.parameters,
        style: program.arguments,
        parameters_file: &scratch.parameters(),
        interpreter: interpreter(variables),
        variable: &|name| variables.get(std::ffi::OsStr::new(name)).cloned(),
    };
    expand(command, &facts).map_err(Refused::rejected)
}

fn grace(program: &Program) -> Duration {
    let asked = program.stop_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    asked.unwrap_or(GRACE).min(GRACE_MAX)
}

/// Folders of checkpoints that an earlier attempt has committed: those that the helper has numbered.
fn folders(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.checkpoints()).into_iter().flatten().flatten();
    let is_numbered =
        |name: &String| name.len() == NUMBER_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_numbered).collect();
    names.sort();
    names
}

/// Digits of the helper's numbers.
const NUMBER_DIGITS: usize = 8;
