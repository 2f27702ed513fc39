//! The environment of a program: the worker's without what is the worker's own business, what the sweep file adds, and what the
//! program is told about its job.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use trainer_protocol::TrainJob;

/// Variables of sweep's own programs, some of which are secret.
const OWN: &str = "SWEEP_";

/// The only one of them that a coordinator sets: which training of its point a job is.
const REPEAT: &str = "SWEEP_REPEAT";

/// The GPUs that a program can use.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// The folder with the helper goes behind what is there.
const PYTHON_PATH: &str = "PYTHONPATH";

/// Variables by name.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// What the trainer was told about its slot.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// `cpu`, `cuda:0`, or the GPUs of a job that has several, with commas.
    pub(crate) device: String,
    /// Threads on the CPU, where that is said.
    pub(crate) threads: Option<String>,
}

impl Slot {
    /// From the environment, as for all trainers.
    pub(crate) fn from_environment() -> Self {
        let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            device: said("SWEEP_TRAINER_DEVICE").unwrap_or_else(|| "cpu".to_owned()),
            threads: said("SWEEP_TRAINER_THREADS"),
        }
    }
}

/// The paths that a program is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths<'a> {
    pub(crate) parameters: &'a Path,
    pub(crate) report: &'a Path,
    pub(crate) checkpoints: &'a Path,
    pub(crate) output: &'a Path,
    pub(crate) helper: &'a Path,
}

/// A variable cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "execution.env has {0:?}, which cannot be a variable of the environment: its name is empty, has = or begins with {OWN}, or there is a NUL character"
)]
pub(crate) struct VariableError(String);

/// The environment of a job's program.
///
/// # Errors
/// A variable of the sweep file cannot be set.
pub(crate) fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    job: &TrainJob,
    added: &BTreeMap<String, String>,
    slot: &Slot,
    paths: Paths<'_>,
    is_resumed: bool,
) -> Result<Environment, VariableError> {
    let is_own = |name: &OsStr| name.as_bytes().starts_with(OWN.as_bytes());
    let mut variables: Environment = inherited.filter(|(name, _)| !is_own(name)).collect();
    let mut default = |name: &str, value: &str| {
        variables.entry(name.into()).or_insert_with(|| value.into());
    };
    // Lines that wait in a buffer are neither seen nor matched before the end.
    default("PYTHONUNBUFFERED", "1");
    if let Some(threads) = &slot.threads {
        default("OMP_NUM_THREADS", threads);
    }
    let visible = visible_devices(&slot.device, variables.get(OsStr::new(VISIBLE)));
    let is_told_gpus = visible.is_some();
    if let Some(visible) = visible {
        variables.insert(VISIBLE.into(), visible.into());
    }
    for (name, value) in added {
        let is_ours = name.starts_with(OWN) && name != REPEAT;
        if name.is_empty() || is_ours || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(VariableError(name.clone()));
        }
        variables.insert(name.into(), value.into());
    }
    let helper = paths.helper.as_os_str().to_owned();
    let before = variables.remove(OsStr::new(PYTHON_PATH)).filter(|before| !before.is_empty());
    let python_path = match before {
        Some(mut before) => {
            before.push(":");
            before.push(helper);
            before
        }
        None => helper,
    };
    variables.insert(PYTHON_PATH.into(), python_path);
    let gpus =
        variables.get(OsStr::new(VISIBLE)).filter(|_| is_told_gpus).map(|visible| count(visible).to_string());
    let (sweep, number, attempt) = names(&job.id);
    let mut tell =
        |name: &str, value: &OsStr| variables.insert(format!("{OWN}{name}").into(), value.to_owned());
    for (name, value) in [("ID", sweep), ("JOB", number), ("ATTEMPT", attempt)] {
        tell(name, OsStr::new(value));
    }
    for (name, path) in [
        ("PARAMETERS", paths.parameters),
        ("REPORT", paths.report),
        ("CHECKPOINT_DIR", paths.checkpoints),
        ("OUTPUT_DIR", paths.output),
    ] {
        tell(name, path.as_os_str());
    }
    if let Some(gpus) = gpus {
        tell("GPUS", OsStr::new(&gpus));
    }
    if is_resumed {
        tell("RESUME", OsStr::new("1"));
    }
    Ok(variables)
}

/// Sweep, job and attempt of a name such as `3/14#2`.
pub(crate) fn names(id: &str) -> (&str, &str, &str) {
    let (job, attempt) = id.rsplit_once('#').unwrap_or((id, "1"));
    let (sweep, number) = job.split_once('/').unwrap_or(("", job));
    (sweep, number, attempt)
}

/// The GPUs of a slot, as the driver counts them: `cuda:1` is the second of those that the worker itself may see.
fn visible_devices(device: &str, visible: Option<&OsString>) -> Option<String> {
    let visible: Option<Vec<&str>> =
        visible.and_then(|visible| visible.to_str()).map(|visible| visible.split(',').collect());
    let numbers = device.split(',').map(|one| {
        let number = one.trim().strip_prefix("cuda:")?;
        match &visible {
            Some(visible) => visible.get(number.parse::<usize>().ok()?).map(|name| name.trim().to_owned()),
            None => number.parse::<usize>().ok().map(|number| number.to_string()),
        }
    });
    numbers.collect::<Option<Vec<_>>>().map(|numbers| numbers.join(","))
}

/// How many GPUs are named; the sweep file may have hidden them.
fn count(visible: &OsStr) -> usize {
    visible.as_bytes().split(|byte| *byte == b',').filter(|name| !name.is_empty()).count()
}

/// The Python that runs programs: `python3`, which is Python wherever there is one, or else `python`.
pub(crate) fn interpreter(variables: &Environment) -> &'static str {
    let path = variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let is_there = |name: &str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if !is_there("python3") && is_there("python") { "python" } else { "python3" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(
        inherited: &[(&str, &str)],
        added: &[(&str, &str)],
        device: &str,
    ) -> Result<Environment, VariableError> {
        let job: TrainJob =
            serde_json::from_str(r#"{"id": "3/14#2", "model": "", "parameters": {}}"#).unwrap();
        let inherited = inherited.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let added = added.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let slot = Slot { device: device.to_owned(), threads: Some("4".to_owned()) };
        let path = |name| Path::new(name);
        let paths = Paths {
            parameters: path("/p"),
            report: path("/r"),
            checkpoints: path("/c"),
            output: path("/o"),
            helper: path("/h"),
        };
        environment(inherited, &job, &added, &slot, paths, true)
    }

    fn of(variables: &Environment, name: &str) -> Option<String> {
        variables.get(OsStr::new(name)).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_program_receives_its_job_and_not_the_workers_secrets() {
        let inherited = [("SWEEP_TOKEN", "secret"), ("HOME", "/me"), ("PYTHONPATH", "/mine")];
        let variables = made(&inherited, &[("LEVEL", "3"), ("OMP_NUM_THREADS", "1")], "cpu").unwrap();
        for (name, expected) in [
            ("SWEEP_TOKEN", None),
            ("SWEEP_ID", Some("3")),
            ("SWEEP_JOB", Some("14")),
            ("SWEEP_ATTEMPT", Some("2")),
            ("SWEEP_PARAMETERS", Some("/p")),
            ("SWEEP_RESUME", Some("1")),
            ("HOME", Some("/me")),
            ("LEVEL", Some("3")),
            ("OMP_NUM_THREADS", Some("1")),
            ("PYTHONUNBUFFERED", Some("1")),
            ("PYTHONPATH", Some("/mine:/h")),
            ("CUDA_VISIBLE_DEVICES", None),
        ] {
            assert_eq!(of(&variables, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_slots_gpus_are_counted_among_those_that_the_worker_sees() {
        for (device, visible, expected) in [
            ("cuda:1", None, Some("1")),
            ("cuda:1", Some("4,GPU-7,6"), Some("GPU-7")),
            ("cuda:0,cuda:2", Some("4,5,6"), Some("4,6")),
            ("cpu", Some("4,5"), Some("4,5")),
        ] {
            let inherited: Vec<_> =
                visible.map(|visible| ("CUDA_VISIBLE_DEVICES", visible)).into_iter().collect();
            let variables = made(&inherited, &[], device).unwrap();
            assert_eq!(of(&variables, "CUDA_VISIBLE_DEVICES").as_deref(), expected, "{device} {visible:?}");
            let told = expected.filter(|_| device != "cpu").map(|gpus| gpus.split(',').count().to_string());
            assert_eq!(of(&variables, "SWEEP_GPUS"), told, "{device} {visible:?}");
        }
        let hidden = made(&[], &[("CUDA_VISIBLE_DEVICES", "")], "cuda:1").unwrap();
        assert_eq!(of(&hidden, "SWEEP_GPUS").as_deref(), Some("0"));
    }

    #[test]
    fn variables_that_cannot_be_are_refused() {
        for name in ["", "A=B", "SWEEP_REPORT", "A\0"] {
            assert_eq!(made(&[], &[(name, "1")], "cpu"), Err(VariableError(name.to_owned())));
        }
        assert!(made(&[], &[("A", "x\0")], "cpu").is_err());
        let repeated = made(&[("SWEEP_REPEAT", "9")], &[("SWEEP_REPEAT", "2")], "cpu").unwrap();
        assert_eq!(of(&repeated, "SWEEP_REPEAT").as_deref(), Some("2"));
    }
}
