//! Which checkpoints are kept and on their way, and whether there is room for another. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Instant, SystemTime},
};

use terms::{JobKey, outputs::OUTPUT_BYTES_MAX};

use super::{ABANDONED_AFTER, Checkpoint};
use crate::artifacts::place::Found;

/// Most checkpoints that are kept: the jobs of a large cluster that loses all of its machines at once.
pub(super) const COUNT_MAX: usize = 1_000;

/// Most bytes of all of them: a thousand of the largest of SimpleCNN at the report's size need a quarter.
pub(super) const BYTES_MAX: u64 = 64 << 30;

/// Longest checkpoint: the most that a job may leave, with the names of its files far below as much again. Workers bring none that is longer.
const CHECKPOINT_BYTES_MAX: u64 = 2 * OUTPUT_BYTES_MAX;

/// What is there and on its way, by name.
#[derive(Debug, Default)]
pub(super) struct Index {
    kept: BTreeMap<String, Kept>,
    expected: BTreeMap<String, Expected>,
    /// How many were written.
    written: u64,
}

#[derive(Debug)]
struct Kept {
    checkpoint: Checkpoint,
    bytes: u64,
    modified: SystemTime,
    /// Grows with each that is written.
    order: u64,
}

/// One on its way.
#[derive(Debug)]
struct Expected {
    job: JobKey,
    /// As announced.
    bytes: u64,
    /// When a piece of it came last.
    heard: Instant,
}

impl Index {
    /// Of these files; those that are no checkpoints are left alone.
    pub(super) fn new(found: Vec<Found>) -> Self {
        let mut index = Self::default();
        index.add(found);
        index
    }

    /// Adds those of these files that are checkpoints and not known yet.
    pub(super) fn add(&mut self, mut found: Vec<Found>) {
        found.sort_by_key(|file| file.modified);
        for Found { name, modified, bytes } in found {
            if let Some(checkpoint) = Checkpoint::parse(&name).filter(|_| !self.has(&name)) {
                self.insert(name, checkpoint, bytes, modified);
            }
        }
    }

    fn insert(&mut self, name: String, checkpoint: Checkpoint, bytes: u64, modified: SystemTime) {
        self.written += 1;
        let order = self.written;
        self.kept.insert(name, Kept { checkpoint, bytes, modified, order });
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.kept.contains_key(name)
    }

    /// Counts a checkpoint on its way; why there is no room for it.
    pub(super) fn expect(&mut self, checkpoint: &Checkpoint, bytes: u64, now: Instant) -> Result<(), String> {
        let name = checkpoint.name();
        if self.has(&name) {
            return Ok(());
        }
        if bytes > CHECKPOINT_BYTES_MAX {
            return Err(format!("it has {bytes} bytes, and a checkpoint has at most {CHECKPOINT_BYTES_MAX}"));
        }
        let job = checkpoint.attempt.job;
        // Of a job, the one that was announced last: the others will not come any more.
        self.expected.retain(|_, expected| {
            expected.job != job && now.saturating_duration_since(expected.heard) < ABANDONED_AFTER
        });
        // A job may always bring its next one.
        let kept = self.kept.values().map(|kept| (kept.checkpoint.attempt.job, kept.bytes));
        let expected = self.expected.values().map(|expected| (expected.job, expected.bytes));
        let others: Vec<u64> =
            kept.chain(expected).filter(|(of, _)| *of != job).map(|(_, bytes)| bytes).collect();
        let sum = others.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        if others.len() >= COUNT_MAX {
            return Err(format!(
                "{COUNT_MAX} checkpoints are kept already or on their way, which is the most"
            ));
        }
        if sum.saturating_add(bytes) > BYTES_MAX {
            return Err(format!(
                "the checkpoints that are kept already or on their way have {sum} of {BYTES_MAX} bytes"
            ));
        }
        self.expected.insert(name, Expected { job, bytes, heard: now });
        Ok(())
    }

    /// Notes that a checkpoint is there; those of its job that it takes the place of.
    pub(super) fn arrived(
        &mut self,
        checkpoint: &Checkpoint,
        bytes: u64,
        modified: SystemTime,
    ) -> Vec<Checkpoint> {
        let name = checkpoint.name();
        self.expected.remove(&name);
        self.insert(name, checkpoint.clone(), bytes, modified);
        // A later attempt may have been handed back meanwhile.
        let is_earlier = |one: &&Checkpoint| {
            one.is_of(&checkpoint.folder, checkpoint.attempt.job)
                && one.attempt.attempt <= checkpoint.attempt.attempt
                && *one != checkpoint
        };
        self.kept.values().map(|kept| &kept.checkpoint).filter(is_earlier).cloned().collect()
    }

    /// The checkpoint from which a job goes on: of its last attempt, the one that was written last.
    pub(super) fn last_of(&self, folder: &str, job: JobKey) -> Option<Checkpoint> {
        let of_job = self.kept.values().filter(|kept| kept.checkpoint.is_of(folder, job));
        let last = of_job.max_by_key(|kept| (kept.checkpoint.attempt.attempt, kept.order));
        last.map(|kept| kept.checkpoint.clone())
    }

    pub(super) fn gone(&mut self, name: &str) {
        self.kept.remove(name);
    }

    pub(super) fn all(&self) -> Vec<Checkpoint> {
        self.kept.values().map(|kept| kept.checkpoint.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn on_their_way(&self) -> usize {
        self.expected.len()
    }

    /// Those in none of these folders that were written before `before`.
    pub(super) fn unknown(&self, folders: &BTreeSet<String>, before: SystemTime) -> Vec<Checkpoint> {
        let is_unknown = |kept: &&Kept| !folders.contains(&kept.checkpoint.folder) && kept.modified < before;
        self.kept.values().filter(is_unknown).map(|kept| kept.checkpoint.clone()).collect()
    }
}
