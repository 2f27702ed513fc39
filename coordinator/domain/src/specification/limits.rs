//! The numbers that a sweep file sets by name: how a sweep is run, and what a job occupies. Each is one row of a table,
//! by which it is read, written, compared and known to be a setting.

use std::{ops::RangeInclusive, time::Duration};

use serde_yaml::Value;
use terms::ParameterValue;

use super::Resources;

/// Most failed attempts a file may ask for.
const ATTEMPTS_MAX_LIMIT: u64 = 100;
/// Attempts that may fail where a file says nothing: a flaky machine is tolerated twice.
const ATTEMPTS_MAX_DEFAULT: u32 = 3;
/// Most jobs at a time that a file may ask for: more than any cluster has slots.
const MAX_PARALLEL_LIMIT: u64 = 1_000_000;
/// Longest timeout, in milliseconds: a year.
const TIMEOUT_MS_MAX: u64 = 365 * 24 * 3600 * 1000;
/// Shortest and longest time to stop, in milliseconds: an hour is more than any checkpoint takes, and a slot waits for it.
const STOP_MS_MIN: u64 = 1_000;
const STOP_MS_MAX: u64 = 3600 * 1000;
/// Priorities, from the last to the first: room for any order that people think of, and few enough to read.
const PRIORITIES: RangeInclusive<i64> = -1_000..=1_000;
/// Most GPUs of a job: more than any machine has.
const GPUS_MAX: u64 = 64;
/// Most processors of a job: more than any machine has.
const CPUS_MAX: u64 = 4_096;
/// Most jobs on one GPU: more do not fit into its memory.
const PER_GPU_MAX: u64 = 64;

/// How a sweep is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Most jobs at the same time; none for as many as there are slots.
    pub max_parallel: Option<u32>,
    /// Which of its owner's sweeps gets a free slot first: the one with the largest; from -1000 to 1000.
    pub priority: i32,
    /// Most attempts that may fail before the job has failed.
    pub attempts_max: u32,
    /// Longest time of one attempt, in milliseconds.
    pub job_timeout_ms: Option<u64>,
    /// Time that a program has from SIGTERM to SIGKILL, in milliseconds; none for what workers choose.
    pub stop_grace_period_ms: Option<u64>,
    /// A checkpoint every N epochs, at least 1; none for as often as costs little.
    pub checkpoint_every_epochs: Option<u32>,
    /// Most jobs that one slot trains at the same time, at least 1; none for as many as pay.
    pub pack_size_max: Option<u32>,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            max_parallel: None,
            priority: 0,
            attempts_max: ATTEMPTS_MAX_DEFAULT,
            job_timeout_ms: None,
            stop_grace_period_ms: None,
            checkpoint_every_epochs: None,
            pack_size_max: None,
        }
    }
}

/// What a number is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Whatever is swept.
    All,
    /// Models alone: programs decide it themselves.
    Models,
    /// Programs alone.
    Programs,
}

/// A number of a section `T` of the sweep file.
pub(super) struct NumberKey<T> {
    /// The key within its section.
    pub(super) name: &'static str,
    /// What would be right.
    pub(super) expected: &'static str,
    /// Whether `none` lifts it.
    pub(super) is_liftable: bool,
    /// What has it.
    pub(super) of: Of,
    /// The number that a value of the file stands for; none where it is wrong.
    pub(super) read: fn(&ParameterValue) -> Option<u64>,
    pub(super) get: fn(&T) -> Option<u64>,
    pub(super) set: fn(&mut T, Option<u64>),
    /// The number as a file has it.
    pub(super) write: fn(u64) -> Value,
}

/// The numbers of `execution`, in the order in which they are written.
pub(super) const EXECUTION: &[NumberKey<Execution>] = &[
    NumberKey {
        name: "attempts_max",
        expected: "a number of attempts from 1 to 100",
        is_liftable: false,
        of: Of::All,
        read: |value| within(value, ATTEMPTS_MAX_LIMIT),
        get: |execution| Some(execution.attempts_max.into()),
        set: |execution, number| execution.attempts_max = narrowed(number).unwrap_or(ATTEMPTS_MAX_DEFAULT),
        write: Value::from,
    },
    NumberKey {
        name: "max_parallel",
        expected: "a number of jobs at a time from 1 to 1000000",
        is_liftable: true,
        of: Of::All,
        read: |value| within(value, MAX_PARALLEL_LIMIT),
        get: |execution| execution.max_parallel.map(u64::from),
        set: |execution, number| execution.max_parallel = narrowed(number),
        write: Value::from,
    },
    NumberKey {
        name: "priority",
        expected: "a whole number from -1000 to 1000",
        is_liftable: false,
        of: Of::All,
        read: |value| value.whole().filter(|number| PRIORITIES.contains(number)).map(i64::cast_unsigned),
        // Files without one stay without one.
        get: |execution| Some(i64::from(execution.priority).cast_unsigned()).filter(|number| *number != 0),
        set: |execution, number| {
            execution.priority =
                number.and_then(|number| i32::try_from(number.cast_signed()).ok()).unwrap_or_default();
        },
        write: |number| Value::from(number.cast_signed()),
    },
    NumberKey {
        name: "job_timeout",
        expected: "a duration from 1s to 365days, such as 90s, 30m or 2h",
        is_liftable: true,
        of: Of::All,
        read: |value| milliseconds(value, 1_000..=TIMEOUT_MS_MAX),
        get: |execution| execution.job_timeout_ms,
        set: |execution, number| execution.job_timeout_ms = number,
        write: duration,
    },
    NumberKey {
        name: "stop_grace_period",
        expected: "a duration from 1s to 1h, such as 30s or 2m",
        is_liftable: true,
        of: Of::Programs,
        read: |value| milliseconds(value, STOP_MS_MIN..=STOP_MS_MAX),
        get: |execution| execution.stop_grace_period_ms,
        set: |execution, number| execution.stop_grace_period_ms = number,
        write: duration,
    },
    NumberKey {
        name: "checkpoint_every_epochs",
        expected: "a number of epochs from 1 to 4294967295",
        is_liftable: true,
        of: Of::Models,
        read: |value| within(value, u32::MAX.into()),
        get: |execution| execution.checkpoint_every_epochs.map(u64::from),
        set: |execution, number| execution.checkpoint_every_epochs = narrowed(number),
        write: Value::from,
    },
    NumberKey {
        name: "pack_size_max",
        expected: "a number of jobs from 1 to 4294967295",
        is_liftable: true,
        of: Of::Models,
        read: |value| within(value, u32::MAX.into()),
        get: |execution| execution.pack_size_max.map(u64::from),
        set: |execution, number| execution.pack_size_max = narrowed(number),
        write: Value::from,
    },
];

/// The numbers of `resources`.
pub(super) const RESOURCES: &[NumberKey<Resources>] = &[
    NumberKey {
        name: "gpus",
        expected: "a number of GPUs from 0 to 64",
        is_liftable: true,
        of: Of::All,
        read: |value| {
            value.whole().and_then(|gpus| u64::try_from(gpus).ok()).filter(|gpus| *gpus <= GPUS_MAX)
        },
        get: |resources| resources.gpus.map(u64::from),
        set: |resources, number| resources.gpus = narrowed(number),
        write: Value::from,
    },
    NumberKey {
        name: "cpus",
        expected: "a number of processors from 1 to 4096",
        is_liftable: true,
        of: Of::All,
        read: |value| within(value, CPUS_MAX),
        get: |resources| resources.cpus.map(u64::from),
        set: |resources, number| resources.cpus = narrowed(number),
        write: Value::from,
    },
    NumberKey {
        name: "per_gpu",
        expected: "a number of jobs on one GPU from 1 to 64",
        is_liftable: true,
        of: Of::All,
        read: |value| within(value, PER_GPU_MAX),
        get: |resources| resources.per_gpu.map(u64::from),
        set: |resources, number| resources.per_gpu = narrowed(number),
        write: Value::from,
    },
];

/// Keys that cannot change a result, besides those of the tables above.
const OTHER_SETTINGS: [&str; 6] =
    ["name", "description", "dataset.path", "metric.use", "metric.target", "artifacts.keep"];

/// Whether a key cannot change a sweep's results, so that it may change while the sweep runs. Whether the pictures at
/// another path are the same is checked by the workers.
pub fn is_setting(key: &str) -> bool {
    match key.split_once('.') {
        Some(("execution", name)) => EXECUTION.iter().any(|number| number.name == name),
        Some(("resources", name)) => RESOURCES.iter().any(|number| number.name == name),
        _ => OTHER_SETTINGS.contains(&key),
    }
}

/// A whole number from 1 to `max`.
pub(super) fn within(value: &ParameterValue, max: u64) -> Option<u64> {
    u64::try_from(value.whole()?).ok().filter(|number| (1..=max).contains(number))
}

/// A duration within these bounds.
fn milliseconds(value: &ParameterValue, bounds: RangeInclusive<u64>) -> Option<u64> {
    let duration = humantime::parse_duration(&value.to_string()).ok()?;
    u64::try_from(duration.as_millis()).ok().filter(|milliseconds| bounds.contains(milliseconds))
}

/// A duration as a file has it.
fn duration(milliseconds: u64) -> Value {
    humantime::format_duration(Duration::from_millis(milliseconds)).to_string().into()
}

fn narrowed(number: Option<u64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}
