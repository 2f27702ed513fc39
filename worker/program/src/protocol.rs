//! What the agent says and hears: protocol 2 of TRAINER.md, as far as it is about users' programs.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError, mpsc::SyncSender},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{events::Event, macros::Style, metrics::tally::EpochRecord};

/// Revision of the protocol.
const PROTOCOL: u32 = 2;

/// Longest line that is read, in bytes; the agent's bound.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Longest reason that is told, in characters; the agent keeps as many.
const REASON_CHARACTERS_MAX: usize = 1_000;

/// Agent to trainer. Fields that concern other trainers are not looked at.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Run these jobs, one after another.
    Train {
        /// At least one.
        jobs: Vec<Job>,
    },
    /// End a job soon.
    Stop {
        /// Which.
        id: String,
        /// Another attempt will follow, and is to go on from here.
        #[serde(default)]
        checkpoint: bool,
    },
}

/// One job.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    /// `SWEEP/JOB#ATTEMPT`.
    pub(crate) id: String,
    /// By name.
    #[serde(default)]
    pub(crate) parameters: Map<String, Value>,
    /// What to run.
    pub(crate) program: Option<Program>,
    /// How many epochs to train, where that is known.
    #[serde(default)]
    pub(crate) budget: Option<u32>,
    /// The job's place for checkpoints, where there is one.
    #[serde(default)]
    pub(crate) checkpoints: Option<CheckpointPlan>,
    /// Where trained weights are wanted.
    #[serde(default)]
    pub(crate) weights: Option<PathBuf>,
}

/// A job's place for checkpoints.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CheckpointPlan {
    /// Below the place of all jobs.
    pub(crate) key: String,
    /// The attempt's number.
    pub(crate) attempt: u32,
}

/// A user's program.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    /// `program:` of the sweep file, for `${program}`.
    #[serde(default)]
    pub(crate) program: Option<String>,
    /// Its arguments, the first of which is what is run; empty: W&B's command for `program`.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// How parameters become arguments.
    #[serde(default)]
    pub(crate) arguments: Style,
    /// Where it runs: the folder with its files, which is the attempt's own. Absent: a new one.
    #[serde(default)]
    pub(crate) folder: Option<PathBuf>,
    /// Added to the worker's environment.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Where its metrics come from.
    #[serde(default)]
    pub(crate) metrics: MetricsPlan,
    /// Seconds between SIGTERM and SIGKILL when it is to stop.
    #[serde(default)]
    pub(crate) stop_seconds: Option<f64>,
}

/// Where a program's metrics come from. The channel is always there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsPlan {
    /// Whether the channel is used, for people; it is there in any case.
    #[serde(default, rename = "channel")]
    _channel: bool,
    /// A regular expression over the lines that are printed.
    #[serde(default)]
    pub(crate) pattern: Option<String>,
    /// A CSV file, from the working folder.
    #[serde(default)]
    pub(crate) csv: Option<PathBuf>,
    /// The metric that the sweep is about: where it is not finite, the job has diverged.
    #[serde(default)]
    pub(crate) objective: Option<String>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The program ended well.
    Done,
    /// Its objective is not finite any more.
    Diverged,
    /// It ended badly; another attempt may succeed.
    Failed,
    /// It cannot be run here.
    Rejected,
    /// This machine's disk does not do what it should.
    Unavailable,
    /// It was asked to stop.
    Stopped,
}

/// Trainer to agent.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told<'a> {
    /// First of all, once.
    Ready {
        /// [`PROTOCOL`].
        protocol: u32,
        /// What it was told to use.
        device: &'a str,
    },
    /// The program is about to start.
    Started {
        /// The job.
        id: &'a str,
        /// There is none; the protocol's first revision wants one.
        dataset: NoDataset,
        /// Epochs of an earlier attempt, which are told again.
        resumed_epochs: u32,
    },
    /// A sign of life.
    Progress {
        /// The job.
        id: &'a str,
        /// The epoch that runs.
        epoch: u32,
        /// Not known.
        fraction: f64,
    },
    /// The program reported an epoch.
    Epoch {
        /// The job.
        id: &'a str,
        /// From 1.
        epoch: u32,
        /// By name.
        metrics: &'a crate::metrics::Metrics,
        /// Since the report before.
        epoch_seconds: f64,
    },
    /// The job has its end.
    Ended {
        /// The job.
        id: &'a str,
        /// How.
        outcome: Outcome,
        /// Why, for people.
        reason: &'a str,
    },
}

/// A data set without anything.
#[derive(Debug, Default, Serialize)]
pub(crate) struct NoDataset {
    content_hash: &'static str,
    classes: [&'static str; 0],
    train_images: u64,
    val_images: u64,
    skipped: [&'static str; 0],
    skipped_count: u64,
}

/// Reads requests until there are no more, or one that is not understood.
pub(crate) fn read_requests(mut input: impl BufRead, events: &SyncSender<Event>) {
    loop {
        let request = match read_request(&mut input) {
            Ok(None) => break,
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        let is_last = request.is_err();
        if events.send(Event::Request(request)).is_err() || is_last {
            return;
        }
    }
    let _ = events.send(Event::RequestsEnded);
}

fn read_request(input: &mut impl BufRead) -> Result<Option<Request>, String> {
    let mut line = Vec::new();
    let read = input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
    read.map_err(|error| format!("the agent's requests cannot be read: {error}"))?;
    match line.len() {
        0 => Ok(None),
        length if length > LINE_BYTES_MAX => Err(format!("a request of more than {LINE_BYTES_MAX} bytes")),
        _ => serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| format!("not a request: {error}; is the other side an agent of this version?")),
    }
}

/// The output: whole lines, each flushed.
pub(crate) struct Output<W> {
    writer: Mutex<W>,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer: Mutex::new(writer) }
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn say(&self, told: &Told<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(told)?;
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&line)?;
        writer.flush()
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn ready(&self, device: &str) -> io::Result<()> {
        self.say(&Told::Ready { protocol: PROTOCOL, device })
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn epoch(&self, id: &str, record: &EpochRecord) -> io::Result<()> {
        let EpochRecord { epoch, metrics, seconds, .. } = record;
        self.say(&Told::Epoch { id, epoch: *epoch, metrics, epoch_seconds: *seconds })
    }

    /// # Errors
    /// The agent is gone.
    pub(crate) fn end(&self, id: &str, outcome: Outcome, reason: &str) -> io::Result<()> {
        if !reason.is_empty() {
            terminal::say!("{outcome:?}: {reason}");
        }
        let reason: String = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        self.say(&Told::Ended { id, outcome, reason: &reason })
    }
}
