//! `sweep-worker`: the worker daemon, its trainer process and the data-set tools.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use worker::{
    agent::{self, StartOptions},
    data::{self, command::DatasetCommand},
    trainer::{self, DeviceChoice, TrainerOptions},
};

mod logging;

/// Trains jobs of hyperparameter sweeps for a coordinator
#[derive(Debug, Parser)]
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
    /// Make, pack and describe data sets
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Train what standard input asks for; started by the daemon, one for each slot
    #[command(hide = true)]
    Trainer(TrainerArguments),
    /// List the devices that libtorch finds, one JSON object a line
    #[command(hide = true)]
    Devices,
}

#[derive(Debug, clap::Args)]
struct TrainerArguments {
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    #[arg(long)]
    skip_corrupt: bool,
    #[arg(long)]
    checkpoints: Option<String>,
}

fn main() -> ExitCode {
    let Arguments { logging, command } = Arguments::parse();
    logging.start(if matches!(command, Command::Start(_)) { "info" } else { "warn" });
    let done = |()| ExitCode::SUCCESS;
    let result = match command {
        Command::Start(options) => agent::start(&options),
        Command::Dataset(command) => data::command::run(&command).map(done),
        Command::Trainer(arguments) => run_trainer(arguments).map(done),
        Command::Devices => trainer::list_devices().map(done),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes, of which many repeat the next one's text already.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn run_trainer(arguments: TrainerArguments) -> anyhow::Result<()> {
    let TrainerArguments { device, threads, cache_dir, skip_corrupt, checkpoints } = arguments;
    let cache_dir = cache_dir.unwrap_or_else(data::default_cache_dir);
    trainer::run(TrainerOptions {
        device,
        threads: usize::from(threads),
        cache_dir,
        skip_corrupt,
        checkpoints,
    })
}
