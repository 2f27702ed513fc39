//! `sweep-worker`: the worker daemon and the data-set tools. Training, and with it libtorch, is in `sweep-trainer`.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use dataset::command::DatasetCommand;
use terminal::{logging, output};
use worker::agent::{self, DoctorOptions, StartOptions};

/// Trains jobs of hyperparameter sweeps for a coordinator
#[derive(Debug, clap::Parser)]
#[command(name = "sweep-worker", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    logging: logging::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the worker daemon until SIGTERM or SIGINT
    Start(Box<StartOptions>),
    /// Print the manifests of the models that the trainer trains, for `sweep submit --manifest`; the options are those of start
    Describe(Box<StartOptions>),
    /// Check whether this machine can train for a coordinator, a line for each thing that is looked at; the options are those of start
    Doctor(Box<DoctorOptions>),
    /// Make, pack and describe data sets
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Run a program, and end everything that it has started when it ends or standard input does
    #[command(hide = true)]
    Contain {
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run users' programs: a trainer (worker/TRAINER.md) that starts a command for each job
    #[command(hide = true)]
    Program {
        /// Where jobs have their temporary folders [default: the system's]
        #[arg(long)]
        folder: Option<PathBuf>,
        /// Folder or URL for checkpoints; none keeps none
        #[arg(long, env = "SWEEP_TRAINER_CHECKPOINTS")]
        checkpoints: Option<String>,
        /// Folder for what each job prints, as JOB.log; none keeps none
        #[arg(long, env = "SWEEP_TRAINER_LOGS")]
        logs: Option<PathBuf>,
    },
    /// List the GPUs that libtorch can use, one JSON object per line
    #[command(hide = true)]
    Devices,
}

fn main() -> ExitCode {
    let Arguments { logging, command } = match output::arguments() {
        Ok((arguments, _)) => arguments,
        Err(code) => return code,
    };
    logging.start(if matches!(command, Command::Start(_)) { "info" } else { "warn" });
    output::exit_code(match command {
        Command::Start(options) => agent::start(&options),
        Command::Describe(options) => agent::describe(&options),
        Command::Doctor(options) => agent::doctor(&options),
        Command::Dataset(command) => dataset::command::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Contain { command } => agent::contain(&command),
        Command::Program { folder, checkpoints, logs } => {
            program::run(&program::Options { folder, checkpoints, logs }).map(|()| ExitCode::SUCCESS)
        }
        Command::Devices => agent::list_devices(),
    })
}
