//! Runs users' programs as jobs of sweep: `sweep-worker program` is a trainer in the sense of TRAINER.md, which starts a command for
//! each job and makes of what that says and does what the agent hears.
//!
//! - `macros`: the command, with the job's parameters; `environment`, `scratch`: what a program finds.
//! - `start`, `processes`, `log`: the process, what it prints, and its end with all that it started.
//! - `metrics`: a channel, a regular expression or a CSV file, and the epochs that come of them.
//! - `outputs`: the files that it leaves.
//! - `checkpoint`: a folder that survives attempts and machines.
//! - `job`: what happens to one job; `session`: the conversation with the agent.
//!
//! # What a program is told
//! | variable | meaning |
//! |---|---|
//! | `SWEEP_ID`, `SWEEP_JOB`, `SWEEP_ATTEMPT` | numbers of the sweep, the job and the attempt |
//! | `SWEEP_PARAMETERS` | path of a JSON file with the parameters, nested where names have dots |
//! | `SWEEP_REPORT` | path of a UNIX socket for metrics; `metrics::channel` says what is written to it |
//! | `SWEEP_CHECKPOINT_DIR` | a folder that the next attempt finds again |
//! | `SWEEP_RESUME` | `1` where an earlier attempt left something there |
//! | `SWEEP_OUTPUT_DIR` | a folder for the files that are to be kept |
//! | `CUDA_VISIBLE_DEVICES` | the job's GPUs, where its slot has one or the job has several |
//! | `SWEEP_GPUS` | how many these are, where that is set |
//! | `SWEEP_REPEAT` | which training of its point the job is, from 1, where there are several |
//! | `OMP_NUM_THREADS`, `PYTHONUNBUFFERED` | the slot's threads and `1`, unless they are set |
//!
//! `import sweep` finds the helper, `worker/python/sweep.py`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod checkpoint;
mod ending;
mod environment;
mod events;
mod job;
mod log;
pub mod macros;
pub mod memory;
mod metrics;
mod outputs;
pub mod plain;
pub mod processes;
mod protocol;
mod scratch;
mod session;
mod start;

pub use ending::signal_name;

use std::{
    io::{BufReader, stdin, stdout},
    path::PathBuf,
    sync::Arc,
    thread,
};

use anyhow::Context;

use crate::{
    checkpoint::shelf::Shelf,
    environment::Slot,
    processes::{adopt_orphans, end_descendants, ignore_leaving},
    protocol::{Output, read_requests},
    scratch::Scratch,
    session::{Places, Session},
};

/// How users' programs are run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where jobs have their temporary folders; the system's place where none is named.
    pub folder: Option<PathBuf>,
    /// Folder or URL for checkpoints; none keeps none.
    pub checkpoints: Option<String>,
    /// Where a file for each job keeps what its program prints; none keeps none.
    pub logs: Option<PathBuf>,
}

/// Runs what standard input asks for, until it ends.
///
/// # Errors
/// The place for checkpoints cannot be used, or the agent cannot be understood.
pub fn run(options: &Options) -> anyhow::Result<()> {
    // The agent asks to stop in order; the programs hear of it then.
    ignore_leaving();
    adopt_orphans().context("this system cannot have it keep what programs start")?;
    let shelf = options.checkpoints.as_deref().map(Shelf::open).transpose()?.map(Arc::new);
    let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    Scratch::remove_stale(&folder);
    let (sender, events) = events::channel();
    let requests = sender.clone();
    thread::Builder::new()
        .name("requests".to_owned())
        .spawn(move || read_requests(BufReader::new(stdin()), &requests))
        .context("cannot read requests")?;
    let places = Places { folder, logs: options.logs.clone() };
    let session =
        Session::new(Output::new(stdout()), events, sender, shelf, places, Slot::from_environment());
    let served = session.serve();
    end_descendants();
    Ok(served?)
}
