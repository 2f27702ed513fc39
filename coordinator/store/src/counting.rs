//! The epochs that count, read page by page: a sweep may have more of them than memory.

use std::{collections::VecDeque, sync::Arc};

use terms::SweepId;

use super::{EpochPlace, EpochRow, ResultRows, StoreError};

/// Epochs read at a time: a few megabytes in a database driver's memory.
const EPOCHS_READ_MAX: u32 = 1_000;

/// Reads the epochs that count, by job number: for each job those of its last attempt, as its row says. They are stored
/// no later than the row, and stay.
#[derive(Debug)]
pub struct CountingEpochs {
    rows: Arc<dyn ResultRows>,
    sweep: SweepId,
    last_job: u64,
    /// Epochs that were read and not returned yet.
    page: VecDeque<EpochRow>,
    /// Where the next page begins.
    place: EpochPlace,
    /// Whether there is no next page.
    is_at_end: bool,
}

impl CountingEpochs {
    /// Reads those of the jobs `first` to `last`.
    pub fn new(rows: Arc<dyn ResultRows>, sweep: SweepId, first: u64, last: u64) -> Self {
        let place = EpochPlace::before(first, 0);
        Self { rows, sweep, last_job: last, page: VecDeque::new(), place, is_at_end: false }
    }

    /// Reads those of one attempt that come after this place.
    pub fn beyond(rows: Arc<dyn ResultRows>, sweep: SweepId, place: EpochPlace) -> Self {
        Self { place, ..Self::new(rows, sweep, place.job, place.job) }
    }

    /// The next of the first `epochs_done` epochs of a job whose last attempt has this number; none after the last one. Jobs
    /// that are skipped cannot be read later.
    pub async fn next(
        &mut self,
        job: u64,
        attempt: u32,
        epochs_done: u32,
    ) -> Result<Option<EpochRow>, StoreError> {
        if epochs_done == 0 {
            return Ok(None);
        }
        let first = EpochPlace::before(job, attempt);
        loop {
            while self.page.front().is_some_and(|row| place(row) < first) {
                self.page.pop_front();
            }
            if let Some(next) = self.page.front() {
                let counts = next.job == job && next.attempt == attempt && next.epoch.number <= epochs_done;
                return Ok(if counts { self.page.pop_front() } else { None });
            }
            if self.is_at_end {
                return Ok(None);
            }
            // Earlier attempts may have many epochs.
            self.place = self.place.max(first);
            let page = self.rows.epochs(self.sweep, self.place, self.last_job, EPOCHS_READ_MAX).await?;
            self.is_at_end = page.len() < EPOCHS_READ_MAX as usize;
            self.place = page.last().map_or(self.place, place);
            self.page = page.into();
        }
    }
}

fn place(row: &EpochRow) -> EpochPlace {
    EpochPlace { job: row.job, attempt: row.attempt, epoch: row.epoch.number }
}
