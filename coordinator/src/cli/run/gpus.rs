//! Which devices the workers of `sweep run` use: what the command line says, which GPUs there are, and whether they suffice for
//! the jobs.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context;
use domain::specification::Resources;
use serde::Deserialize;
use terms::DeviceChoice;
use tokio::process::Command;

use super::super::failure::Failure;

/// How long the search for GPUs may take: loading CUDA from a slow disk takes a minute at worst.
const PROBE_WITHIN: Duration = Duration::from_secs(120);

/// Value of `--device` of a worker that gets these GPUs, or all that there are.
pub(super) fn of_worker(choice: &DeviceChoice, gpus: &[String]) -> String {
    match choice {
        DeviceChoice::Named(_) if !gpus.is_empty() => named(gpus),
        _ => choice.to_string(),
    }
}

/// Value of `CUDA_VISIBLE_DEVICES` of a worker that gets these GPUs; none leaves it as it is.
pub(super) fn visible(choice: &DeviceChoice, gpus: &[String]) -> Option<String> {
    // Those that are named are counted among the visible ones.
    let is_set = !gpus.is_empty() && !matches!(choice, DeviceChoice::Named(_));
    is_set.then(|| gpus.join(","))
}

/// Refuses jobs that ask for more GPUs than any of `count` workers will have, which share `gpus` and have this many slots, if it
/// is said: the jobs would wait indefinitely.
pub(super) fn suffices(
    choice: &DeviceChoice,
    resources: &Resources,
    (count, slots): (usize, Option<usize>),
    gpus: usize,
) -> Result<(), Failure> {
    let wanted = resources.gpus.map_or(0, |gpus| gpus as usize);
    // As they are placed, the first worker has the most. Its slots take GPUs in turn.
    let share = if gpus == 0 { 0 } else { gpus.div_ceil(count).max(1) };
    let largest = slots.map_or(share, |slots| share.min(slots));
    if wanted <= largest {
        return Ok(());
    }
    let (found, cure) = match gpus {
        0 if *choice == DeviceChoice::Cpu => {
            ("with --device cpu there is none".to_owned(), "leave out --device cpu")
        }
        0 => (
            "sweep-trainer finds none that libtorch can use here".to_owned(),
            "see that the driver and a libtorch with CUDA are found (LD_LIBRARY_PATH), or name GPUs that programs can use \
             without it, as in --device cuda:0,cuda:1",
        ),
        _ => (
            format!("the largest of the workers here has {largest}"),
            "give one worker more of them, with fewer --workers, more --slots or more GPUs in --device",
        ),
    };
    Err(Failure::operation(format!(
        "each job asks for {} (`resources: {{gpus: {wanted}}}`), but {found}; {cure}, or lower `gpus` in the file, or use \
         `sweep serve` with workers that have them",
        terms::count(wanted as u64, "GPU"),
    )))
}

/// GPUs as `--device` names them.
fn named(numbers: &[String]) -> String {
    let names: Vec<_> = numbers.iter().map(|number| format!("cuda:{number}")).collect();
    names.join(",")
}

/// One line of `sweep-worker devices`.
#[derive(Deserialize)]
struct Device {
    device: String,
}

/// The GPUs that libtorch finds, named as in `CUDA_VISIBLE_DEVICES`.
pub(super) async fn probe(program: &Path) -> Result<Vec<String>, Failure> {
    let output = Command::new(program)
        .arg("devices")
        .stdin(Stdio::null())
        // Ctrl-C on the terminal is for this process.
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PROBE_WITHIN, output)
        .await
        .map_err(|_| Failure::operation("the search for GPUs took too long; use --device cpu to do without"))?
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::operation(format!("sweep-worker cannot look for GPUs here: {}", errors.trim())));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let devices = lines.lines().filter_map(|line| serde_json::from_str::<Device>(line).ok());
    let count = devices.filter(|found| found.device.starts_with("cuda")).count();
    let named = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let named: Vec<_> =
        named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(if named.len() == count { named } else { (0..count).map(|index| index.to_string()).collect() })
}

/// The GPUs that libtorch finds; none if it cannot be asked, as programs may need neither.
pub(super) async fn if_known(program: &Path) -> Vec<String> {
    probe(program).await.unwrap_or_else(|failure| {
        tracing::info!(%failure, "GPUs are not divided among the workers");
        Vec::new()
    })
}

/// Refuses to continue without GPUs where they were asked for: otherwise each worker would fail.
pub(super) fn some(gpus: Vec<String>) -> Result<Vec<String>, Failure> {
    if gpus.is_empty() {
        return Err(Failure::operation(
            "--device cuda was asked for, but libtorch can use no GPU here; use --device cpu, or see that the driver and a \
             libtorch with CUDA are found (LD_LIBRARY_PATH)",
        ));
    }
    Ok(gpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(text: &str) -> DeviceChoice {
        text.parse().unwrap()
    }

    #[test]
    fn a_worker_gets_its_share_of_named_gpus_by_name_and_of_found_ones_by_the_environment() {
        let own = ["1".to_owned(), "3".to_owned()];
        let named = choice("cuda:1,cuda:2,cuda:3");
        assert_eq!((of_worker(&named, &own), visible(&named, &own)), ("cuda:1,cuda:3".to_owned(), None));
        assert_eq!(of_worker(&named, &[]), "cuda:1,cuda:2,cuda:3", "where it is the only one");
        for found in ["auto", "cuda"] {
            let shown = visible(&choice(found), &own);
            assert_eq!((of_worker(&choice(found), &own), shown), (found.to_owned(), Some("1,3".to_owned())));
            assert_eq!(visible(&choice(found), &[]), None);
        }
    }

    fn refusal(
        device: &str,
        slots: Option<usize>,
        wanted: u32,
        workers: usize,
        gpus: usize,
    ) -> Option<String> {
        let resources = Resources { gpus: Some(wanted), ..Resources::default() };
        suffices(&choice(device), &resources, (workers, slots), gpus).err().map(|failure| failure.to_string())
    }

    #[test]
    fn jobs_that_ask_for_more_gpus_than_any_worker_has_are_refused_with_the_cure() {
        for (device, slots, wanted, workers, gpus) in [
            ("auto", None, 0, 1, 0),
            ("auto", None, 2, 1, 2),
            ("auto", None, 2, 2, 3),
            ("auto", None, 1, 4, 2),
            ("cuda", Some(4), 2, 1, 2),
            ("cuda:0,cuda:1", None, 2, 1, 2),
        ] {
            assert_eq!(refusal(device, slots, wanted, workers, gpus), None, "{wanted} of {gpus}");
        }
        for (device, slots, wanted, workers, gpus, parts) in [
            ("cpu", None, 1, 1, 0, ["asks for 1 GPU (`resources: {gpus: 1}`)", "leave out --device cpu"]),
            ("auto", None, 2, 1, 0, ["finds none", "--device cuda:0,cuda:1"]),
            ("auto", None, 3, 2, 4, ["the largest of the workers here has 2", "fewer --workers"]),
            ("cuda", Some(1), 2, 1, 2, ["has 1", "more --slots"]),
            ("cuda:0", None, 2, 1, 1, ["has 1", "more GPUs in --device"]),
        ] {
            let told = refusal(device, slots, wanted, workers, gpus).unwrap();
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        }
    }
}
