//! The slots of this machine. A child process looks for GPUs, if there is a driver for them at all.

use std::{
    num::NonZeroUsize,
    os::unix::process::CommandExt,
    path::Path,
    process::{ExitCode, Stdio},
    str::FromStr,
    thread::available_parallelism,
    time::Duration,
};

use anyhow::Context;
use program::processes::{Role, detach};
use proto::v1;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::Deserialize;
use terms::DeviceChoice;
use tokio::process::Command;

use super::own_trainer::{self, OwnTrainer};

/// How long the search for devices may take: loading CUDA from a slow disk takes a minute at worst.
const DEVICES_WITHIN: Duration = Duration::from_secs(120);

/// Traces of NVIDIA's driver: on Linux and in containers, in WSL, on Jetson boards.
const TRACES_OF_DRIVER: [&str; 4] = ["/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "/dev/nvmap"];

/// Most slots of one worker; more trainers on one machine are a typing error.
const SLOTS_MAX: usize = 1_024;

/// Whether libtorch must be asked which GPUs it can use.
pub(crate) fn asks_for_gpus(choice: &DeviceChoice) -> bool {
    match choice {
        DeviceChoice::Cpu | DeviceChoice::Named(_) => false,
        DeviceChoice::Cuda => true,
        DeviceChoice::Auto => may_have_gpus(),
    }
}

/// Whether GPUs are named on a machine that shows no driver for any.
pub(crate) fn names_gpus_without_driver(choice: &DeviceChoice) -> bool {
    matches!(choice, DeviceChoice::Named(_)) && !may_have_gpus()
}

/// The GPUs that are named.
fn named(choice: &DeviceChoice) -> Vec<Device> {
    let DeviceChoice::Named(numbers) = choice else { return Vec::new() };
    let gpu = |number| Device { device: format!("cuda:{number}"), description: format!("GPU {number}") };
    numbers.iter().map(gpu).collect()
}

/// Whether there is a driver for GPUs, or a card for one.
fn may_have_gpus() -> bool {
    TRACES_OF_DRIVER.iter().any(|trace| Path::new(trace).exists()) || has_nvidia_card()
}

/// Whether there is a card whose driver may be loaded as soon as someone asks for it.
fn has_nvidia_card() -> bool {
    let cards = std::fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    let read =
        |card: &std::fs::DirEntry, name| std::fs::read_to_string(card.path().join(name)).unwrap_or_default();
    // NVIDIA's number, and the class of displays, which includes compute cards.
    cards
        .into_iter()
        .any(|card| read(&card, "vendor").trim() == "0x10de" && read(&card, "class").starts_with("0x03"))
}

/// How many slots there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotCount {
    /// One for each GPU, or one for each processor core that this process may use.
    Auto,
    /// That many, assigned to the devices in turn.
    Fixed(NonZeroUsize),
}

/// Text that is not a number of slots.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a number of slots: use auto, or a number from 1 to {SLOTS_MAX}")]
pub struct SlotCountError(String);

impl FromStr for SlotCount {
    type Err = SlotCountError;

    fn from_str(text: &str) -> Result<Self, SlotCountError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let number = text.parse::<NonZeroUsize>().ok().filter(|number| number.get() <= SLOTS_MAX);
        number.map(Self::Fixed).ok_or_else(|| SlotCountError(text.to_owned()))
    }
}

/// Why there are no slots.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevicesError {
    /// The child process failed.
    #[error("cannot find out which devices this machine has: {0}; use --device cpu to do without GPUs")]
    Probe(String),
    /// No GPU.
    #[error(
        "--device cuda was asked for, but libtorch can use no GPU here; use --device cpu, or see that the driver \
         and a libtorch with CUDA are found (LD_LIBRARY_PATH)"
    )]
    NoGpu,
}

/// A GPU, one line of `sweep-trainer devices`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Device {
    device: String,
    description: String,
}

/// The slots of this machine, from 0. Asks `own_trainer` for GPUs if there may be some.
///
/// # Errors
/// The devices cannot be determined, or none is of the kind asked for.
pub(crate) async fn slots(
    choice: &DeviceChoice,
    count: SlotCount,
    own_trainer: Option<&OwnTrainer>,
) -> Result<Vec<v1::Slot>, DevicesError> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let found = match own_trainer {
        Some(trainer) if asks_for_gpus(choice) => probe(trainer).await?,
        _ => named(choice),
    };
    lay_out(choice, count, cores, &found)
}

/// Becomes the trainer's program, which lists the GPUs, and ends together with its parent.
///
/// # Errors
/// The program cannot be started.
pub fn list_devices() -> anyhow::Result<ExitCode> {
    let trainer = OwnTrainer::find()?;
    // It stays set after exec.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot end with the parent process")?;
    let error = std::process::Command::new(trainer.executable()).arg("devices").exec();
    Err(anyhow::Error::new(error).context("sweep-trainer cannot be started"))
}

async fn probe(trainer: &OwnTrainer) -> Result<Vec<Device>, DevicesError> {
    let failed = |reason: String| DevicesError::Probe(reason);
    let mut command = Command::new(trainer.executable());
    command
        .arg0(own_trainer::PROGRAM)
        .arg("devices")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    detach(command.as_std_mut(), Role::Trainer);
    let child =
        command.spawn().map_err(|error| failed(format!("sweep-trainer cannot be started ({error})")))?;
    let output = tokio::time::timeout(DEVICES_WITHIN, child.wait_with_output())
        .await
        .map_err(|_| failed(format!("the search took more than {} s", DEVICES_WITHIN.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    let log = String::from_utf8_lossy(&output.stderr);
    log.lines().for_each(|line| tracing::info!("devices: {line}"));
    if !output.status.success() {
        let last = log.lines().last().unwrap_or("it said nothing");
        return Err(failed(format!("`sweep-trainer devices` failed ({}): {last}", output.status)));
    }
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(format!("its output is not understood ({error})")))
}

fn lay_out(
    choice: &DeviceChoice,
    count: SlotCount,
    cores: usize,
    found: &[Device],
) -> Result<Vec<v1::Slot>, DevicesError> {
    let gpus: Vec<&Device> = found.iter().filter(|device| device.device.starts_with("cuda")).collect();
    if *choice == DeviceChoice::Cuda && gpus.is_empty() {
        return Err(DevicesError::NoGpu);
    }
    let natural = if gpus.is_empty() { cores } else { gpus.len() };
    let count = match count {
        SlotCount::Auto => natural.min(SLOTS_MAX),
        SlotCount::Fixed(count) => count.get(),
    };
    let cpu = cpu_description();
    let slot = |index: usize| {
        let (device, description) = match gpus.get(index % gpus.len().max(1)) {
            Some(gpu) => (gpu.device.clone(), gpu.description.clone()),
            None => (
                "cpu".to_owned(),
                format!(
                    "{cpu}, one of {} on {}",
                    terms::count(count as u64, "slot"),
                    terms::count(cores as u64, "core")
                ),
            ),
        };
        v1::Slot { index: u32::try_from(index).unwrap_or(u32::MAX), device, description, pack_size_max: 1 }
    };
    Ok((0..count).map(slot).collect())
}

fn cpu_description() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, model)| model.trim().to_owned());
    model.unwrap_or_else(|| format!("{} CPU", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(count: usize) -> Vec<Device> {
        let gpu = |index| Device { device: format!("cuda:{index}"), description: "H200".into() };
        (0..count).map(gpu).collect()
    }

    fn devices(choice: &DeviceChoice, count: &str, found: &[Device]) -> Vec<String> {
        let slots = lay_out(choice, count.parse().unwrap(), 3, found).unwrap();
        slots.into_iter().map(|slot| slot.device).collect()
    }

    #[test]
    fn without_gpus_there_is_a_slot_a_core() {
        assert_eq!(devices(&DeviceChoice::Auto, "auto", &gpus(0)), ["cpu", "cpu", "cpu"]);
        assert_eq!(devices(&DeviceChoice::Cpu, "1", &[]), ["cpu"]);
    }

    #[test]
    fn with_gpus_there_is_a_slot_a_gpu_and_more_slots_share_them_in_turn() {
        assert_eq!(devices(&DeviceChoice::Auto, "auto", &gpus(2)), ["cuda:0", "cuda:1"]);
        assert_eq!(devices(&DeviceChoice::Cuda, "3", &gpus(2)), ["cuda:0", "cuda:1", "cuda:0"]);
    }

    #[tokio::test]
    async fn gpus_that_are_named_are_taken_without_asking() {
        let choice: DeviceChoice = "cuda:2, cuda:0".parse().unwrap();
        assert!(!asks_for_gpus(&choice));
        let slots = slots(&choice, "3".parse().unwrap(), None).await.unwrap();
        let devices: Vec<_> = slots.into_iter().map(|slot| slot.device).collect();
        assert_eq!(devices, ["cuda:2", "cuda:0", "cuda:2"]);
        for bad in ["", "gpu", "cuda:", "cuda:x", "0,1", "cuda:0,", "cuda:0,cuda:0", "cuda,cuda:1"] {
            assert!(bad.parse::<DeviceChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn asking_for_a_gpu_where_there_is_none_is_an_error() {
        let error = lay_out(&DeviceChoice::Cuda, SlotCount::Auto, 3, &gpus(0)).unwrap_err();
        assert!(error.to_string().contains("--device cpu"), "{error}");
    }

    #[test]
    fn slot_counts_are_auto_or_a_sensible_number() {
        for bad in ["0", "-1", "many", "1025", ""] {
            assert!(bad.parse::<SlotCount>().is_err(), "{bad}");
        }
    }
}
