//! `sweep-worker`: the worker daemon, its trainer process and the data-set tools.

use std::process::ExitCode;

use clap::Parser;
use worker::agent::{self, StartOptions};

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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Start(options) => {
            arguments.logging.start("info");
            agent::start(options)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
