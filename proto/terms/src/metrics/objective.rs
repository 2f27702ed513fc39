//! What ranks the jobs of a sweep.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The metric that ranks jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objective {
    /// Its name.
    pub name: Arc<str>,
    /// Which way is better.
    pub goal: Goal,
    /// Which of a job's epochs counts.
    pub used: MetricUse,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Larger is better.
    Maximize,
    /// Smaller is better.
    Minimize,
}

/// Which of a job's epochs counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricUse {
    /// The last, as the original report has it.
    #[default]
    Last,
    /// The one with the best value.
    Best,
}

impl Objective {
    /// Whether `candidate` beats `champion`; on a tie the champion stays.
    pub fn beats(&self, candidate: f64, champion: f64) -> bool {
        match self.goal {
            Goal::Maximize => candidate > champion,
            Goal::Minimize => candidate < champion,
        }
    }

    /// Whether one job is better than another. On a tie the smaller number wins, so that the order in which they ended
    /// does not matter.
    pub fn outranks(&self, one: (u64, f64), other: (u64, f64)) -> bool {
        self.beats(one.1, other.1) || (one.1 == other.1 && one.0 < other.0)
    }
}

impl Goal {
    /// The goal of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Maximize, Self::Minimize].into_iter().find(|goal| goal.as_str() == name)
    }

    /// The name in sweep files and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maximize => "maximize",
            Self::Minimize => "minimize",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl MetricUse {
    /// The name in sweep files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Best => "best",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_jobs_the_first_is_the_best() {
        let objective = Objective { name: "f1".into(), goal: Goal::Minimize, used: MetricUse::Best };
        assert!(objective.beats(0.1, 0.2) && !objective.beats(0.2, 0.2));
        assert!(objective.outranks((1, 0.5), (2, 0.5)) && !objective.outranks((2, 0.5), (1, 0.5)));
        assert_eq!(Goal::from_name(Goal::Maximize.as_str()), Some(Goal::Maximize));
    }
}
