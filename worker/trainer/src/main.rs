//! `sweep-trainer`: `sweep-worker` starts it once for each slot.

use std::{path::PathBuf, process::ExitCode};

use terminal::{logging, output};
use trainer::{DeviceChoice, EvaluateOptions, PredictOptions, TrainerOptions};

/// Trains jobs requested on standard input, started by sweep-worker once for each slot; uses trained weights
#[derive(Debug, clap::Parser)]
#[command(name = "sweep-trainer", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    logging: logging::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Train what standard input requests, in lines of JSON (worker/TRAINER.md)
    Train(TrainArguments),
    /// Classify pictures with trained weights: CSV of file, class and probabilities
    Predict(PredictOptions),
    /// Show how good trained weights are on a data set: accuracy, loss, accuracy by class, confusion matrix
    Evaluate(EvaluateOptions),
    /// Print the manifest of what this program trains: parameters, metrics, what it can do
    Describe,
    /// List the GPUs that libtorch can use, one JSON object per line
    Devices,
}

#[derive(Debug, clap::Args)]
struct TrainArguments {
    /// Version of the worker, which must be this program's
    #[arg(long)]
    for_worker: Option<String>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads on the CPU
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Where packed data sets are kept
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    /// Most that they may have together, such as 16GiB
    #[arg(long, value_name = "BYTES", value_parser = dataset::read_bytes)]
    cache_max_bytes: Option<u64>,
    /// Leave out pictures that cannot be decoded
    #[arg(long)]
    skip_corrupt: bool,
    /// Folder or URL for checkpoints; none keeps none
    #[arg(long)]
    checkpoints: Option<String>,
}

fn main() -> ExitCode {
    // The daemon starts it from an open file, so that lists of processes would show a number as its name.
    let _ = rustix::thread::set_name(c"sweep-trainer");
    let Arguments { logging, command } = match output::arguments() {
        Ok((arguments, _)) => arguments,
        Err(code) => return code,
    };
    logging.start("warn");
    let done = match command {
        Command::Train(arguments) => train(arguments),
        Command::Predict(options) => trainer::predict(&options),
        Command::Evaluate(options) => trainer::evaluate(&options),
        Command::Describe => trainer::describe(),
        Command::Devices => trainer::list_devices(),
    };
    output::exit_code(done.map(|()| ExitCode::SUCCESS))
}

fn train(arguments: TrainArguments) -> anyhow::Result<()> {
    let TrainArguments { for_worker, device, threads, cache_dir, cache_max_bytes, skip_corrupt, checkpoints } =
        arguments;
    let own = env!("CARGO_PKG_VERSION");
    if let Some(worker) = for_worker.filter(|version| version != own) {
        anyhow::bail!("sweep-trainer has version {own}, sweep-worker {worker}");
    }
    let cache_dir = cache_dir.unwrap_or_else(dataset::default_cache_dir);
    trainer::run(TrainerOptions {
        device,
        threads: usize::from(threads),
        cache_dir,
        cache_bytes_max: cache_max_bytes,
        skip_corrupt,
        checkpoints,
    })
}
