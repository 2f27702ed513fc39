//! The training process, `sweep-trainer train`: one per slot, a child of the agent, with which it exchanges JSON lines
//! on standard input and output (`trainer_protocol`). It trains SimpleCNN and knows nothing of gRPC. It ends at once
//! when its standard input does, and with status 101 when it panics.
#![deny(unsafe_code, clippy::print_stdout, clippy::print_stderr)]

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use anyhow::Context;

mod activation;
pub mod adam;
pub mod augmentation;
pub mod checkpoint;
pub mod clipping;
pub mod config;
mod conversation;
pub mod device;
pub mod epoch;
mod evaluate;
#[allow(unsafe_code)]
mod ffi;
mod forward;
mod group;
pub mod layers;
pub mod learner;
mod lines;
mod members;
pub mod model;
pub mod optimiser;
pub mod pack;
pub mod pack_model;
pub mod parameters;
mod precision;
mod predict;
mod preparing;
pub mod random;
pub mod schedule;
mod session;
pub mod sgd;
pub mod smoothing;
pub mod split;
pub mod step;
mod torch_errors;
pub mod training;
pub mod training_data;
pub mod weights;

/// Corrupted bytes for tests of what is read.
#[cfg(test)]
#[path = "../../dataset/src/corruption.rs"]
mod corruption;

use checkpoint::CheckpointStore;
pub use device::{DeviceChoice, open as open_device};
pub use evaluate::{EvaluateOptions, evaluate};
use lines::RequestsEnd;
pub use predict::{PredictOptions, predict};
use training_data::DatasetLoader;

/// Exit status of a trainer that cannot continue.
const FAILURE_EXIT_CODE: i32 = 1;

/// Exit status of a Rust program that panicked.
const PANIC_EXIT_CODE: i32 = 101;

/// Options of a trainer.
#[derive(Debug, Clone)]
pub struct TrainerOptions {
    pub device: DeviceChoice,
    /// Threads of libtorch on the CPU, at least 1. The results depend on it in their last bits.
    pub threads: usize,
    /// Where packed data sets are kept.
    pub cache_dir: PathBuf,
    /// Most bytes of these together; none for no limit.
    pub cache_bytes_max: Option<u64>,
    /// Leave out images that cannot be decoded instead of refusing the data set.
    pub skip_corrupt: bool,
    /// Folder or URL for checkpoints; none keeps none.
    pub checkpoints: Option<String>,
}

/// Trains what the agent requests on standard input until that ends, which ends the process.
///
/// Must be called once, on the main thread, before any other use of libtorch.
///
/// # Errors
/// A device that does not exist, an agent whose input is invalid.
pub fn run(options: TrainerOptions) -> anyhow::Result<()> {
    exit_on_panic();
    let device = device::open(options.device)?;
    set_up_process(options.threads)?;

    let (sender, requests) = mpsc::sync_channel(lines::REQUESTS_WAITING_MAX);
    thread::Builder::new().name("requests".into()).spawn(move || {
        // The agent is gone or no longer needs this trainer: no one needs what is in training. If the input is broken
        // instead, the main thread reports it.
        if lines::read_requests(io::stdin().lock(), &sender) == RequestsEnd::Closed {
            ffi::exit_now(0);
        }
    })?;
    let mut loader = DatasetLoader::new(device, options.cache_dir, options.skip_corrupt)
        .with_cache_of(options.cache_bytes_max);
    let checkpoints = options.checkpoints.as_deref().map(CheckpointStore::open).transpose()?;
    let served =
        session::serve(&requests, io::stdout(), device::name(device), checkpoints, &mut |spec, progress| {
            loader.load(spec, progress)
        });
    if let Err(error) = served {
        // Skips the data set's destructors: those of a failed device may not return.
        terminal::say!("error: {error}");
        ffi::exit_now(FAILURE_EXIT_CODE);
    }
    Ok(())
}

/// Settings of libtorch and the allocator for the whole process; called once, on the thread that trains, before any
/// work.
///
/// # Errors
/// More threads than libtorch can count.
pub fn set_up_process(threads: usize) -> anyhow::Result<()> {
    ffi::keep_freed_memory();
    tch::set_num_threads(i32::try_from(threads.max(1)).context("more threads than libtorch can count")?);
    // Nothing here runs operations in parallel; the pool would only take memory.
    tch::set_num_interop_threads(1);
    Ok(())
}

/// Prints the manifest of SimpleCNN as JSON.
///
/// # Errors
/// Standard output that is closed.
pub fn describe() -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string_pretty(config::simple_cnn())?)?;
    Ok(output.flush()?)
}

/// Prints every GPU that libtorch can use, one JSON object per line. Runs in its own process, because it loads CUDA.
///
/// # Errors
/// Standard output that is closed.
pub fn list_devices() -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    for gpu in device::gpus() {
        writeln!(output, "{}", serde_json::to_string(&gpu)?)?;
    }
    Ok(output.flush()?)
}

/// A panic in any thread ends the process after its message: the agent sees a crash and never a trainer that hangs with
/// half its threads. A panic in a decoder means a broken picture, and is caught.
fn exit_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if dataset::panics_are_caught() {
            return;
        }
        print(panic);
        ffi::exit_now(PANIC_EXIT_CODE);
    }));
}
