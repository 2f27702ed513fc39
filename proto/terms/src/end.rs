//! What a trainer may add to the end of an attempt.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a trainer may add to the end of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndDetails {
    /// After a failure: whether another attempt may succeed.
    #[serde(default, skip_serializing_if = "Again::is_default")]
    pub again: Again,
    /// Which parameters were read, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<ParameterUse>,
    /// After a pause: nothing was kept that another attempt could go on from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_checkpoint: bool,
}

/// Whether another attempt may succeed where one has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// It may: a machine or a device can have been the cause.
    #[default]
    Yes,
    /// It may, unless an attempt failed at the same epoch and for the same reason before it, on another worker or where no
    /// other takes the sweep's jobs.
    UnlessRepeated,
    /// It cannot: it would be started in the same way.
    No,
}

impl Again {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which parameters were read, of one job or of all jobs of a sweep so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterUse {
    /// Those that were read.
    #[serde(default)]
    pub read: BTreeSet<String>,
    /// Those that were there and were not read.
    #[serde(default)]
    pub unread: BTreeSet<String>,
}

impl ParameterUse {
    /// Takes in one more job: what one job has read counts as read, as others may not need it. Returns whether anything
    /// has changed.
    pub fn take(&mut self, other: &Self, is_known: impl Fn(&str) -> bool) -> bool {
        let before = (self.read.len(), self.unread.len());
        let known = |names: &BTreeSet<String>, but: &BTreeSet<String>| {
            let new = names.iter().filter(|name| is_known(name) && !but.contains(*name));
            new.cloned().collect::<Vec<_>>()
        };
        self.read.extend(known(&other.read, &self.read));
        let were_unread = self.unread.len();
        self.unread.retain(|name| !self.read.contains(name));
        let lost = were_unread - self.unread.len();
        self.unread.extend(known(&other.unread, &self.read));
        lost > 0 || before != (self.read.len(), self.unread.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(read: &[&str], unread: &[&str]) -> ParameterUse {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ParameterUse { read: names(read), unread: names(unread) }
    }

    #[test]
    fn a_parameter_is_unread_while_no_job_has_read_it() {
        let mut all = ParameterUse::default();
        let known = |name: &str| name != "foreign";
        assert!(all.take(&used(&["lr"], &["momentum", "typo", "foreign"]), known));
        assert_eq!(all, used(&["lr"], &["momentum", "typo"]));
        assert!(!all.take(&used(&["lr"], &["typo"]), known), "nothing is new");
        assert!(all.take(&used(&["lr", "momentum", "foreign"], &["typo"]), known));
        assert_eq!(all, used(&["lr", "momentum"], &["typo"]));
        assert!(
            !all.take(&used(&[], &["lr", "momentum", "typo"]), known),
            "what one job has read stays read"
        );
    }
}
