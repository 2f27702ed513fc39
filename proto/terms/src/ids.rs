//! Identifiers that cannot be mixed up.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A sweep's number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SweepId(pub u64);

impl fmt::Display for SweepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job: its sweep and its number there, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The sweep that the job belongs to.
    pub sweep: SweepId,
    /// The job's number within its sweep, from 1.
    pub job: u64,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sweep, self.job)
    }
}

/// One execution of a job: the fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The job that is executed.
    pub job: JobKey,
    /// The execution's number within its job, from 1, never reused.
    pub attempt: u32,
}

impl AttemptKey {
    /// The attempt number `attempt` of job `job` of sweep `sweep`.
    pub fn new(sweep: u64, job: u64, attempt: u32) -> Self {
        Self { job: JobKey { sweep: SweepId(sweep), job }, attempt }
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.job, self.attempt)
    }
}

/// A worker's name: 1 to 100 characters of `[A-Za-z0-9._-]`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerName(Arc<str>);

/// Longest worker name, in characters: it is a column of every table that people read.
const WORKER_NAME_CHARACTERS_MAX: usize = 100;

/// Text that cannot be a worker's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a worker: use 1 to 100 letters, digits, '.', '_' or '-'")]
pub struct WorkerNameError(String);

impl WorkerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WorkerName {
    type Err = WorkerNameError;

    fn from_str(text: &str) -> Result<Self, WorkerNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty() || text.len() > WORKER_NAME_CHARACTERS_MAX || !text.chars().all(allowed) {
            return Err(WorkerNameError(text.chars().take(WORKER_NAME_CHARACTERS_MAX).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for WorkerName {
    type Error = WorkerNameError;

    fn try_from(text: String) -> Result<Self, WorkerNameError> {
        text.parse()
    }
}

impl From<WorkerName> for String {
    fn from(name: WorkerName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_written_with_its_job() {
        assert_eq!(AttemptKey::new(3, 14, 2).to_string(), "3/14#2");
    }

    #[test]
    fn worker_names_are_short_and_plain() {
        assert!("gpu-7.rack_2".parse::<WorkerName>().is_ok());
        for bad in ["", "a b", "a/b", "ワーカー", &"x".repeat(101)] {
            assert!(bad.parse::<WorkerName>().is_err(), "{bad:?}");
        }
    }
}
