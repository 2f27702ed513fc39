//! The records of one commit, put together so that each table needs one statement: what a transaction costs does
//! not grow with the number of its records' round trips.

use std::collections::BTreeMap;

use proto::{AttemptKey, JobKey};

use crate::core::{
    record::{EpochMetrics, History, Record},
    state::{AttemptState, JobState},
};

/// What a commit does to jobs, attempts and epochs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fold<'r> {
    /// The last grant of each job.
    pub(super) grants: BTreeMap<JobKey, (u32, &'r str)>,
    /// What becomes of a job after its last grant.
    pub(super) jobs: BTreeMap<JobKey, JobPatch<'r>>,
    /// Attempts that begin.
    pub(super) begun: Vec<Begun<'r>>,
    /// What becomes of attempts.
    pub(super) attempts: BTreeMap<AttemptKey, AttemptPatch<'r>>,
    /// Epochs, in the order in which they were told.
    pub(super) epochs: Vec<(AttemptKey, EpochMetrics)>,
}

/// Columns of a job that change; the others stay.
#[derive(Debug, Default, PartialEq)]
pub(super) struct JobPatch<'r> {
    /// Of a change after the last grant; a grant sets it as well.
    pub(super) state: Option<JobState>,
    /// Of the last change.
    pub(super) history: Option<(&'r History, &'r str)>,
    /// The last epoch that counts, and the sum of their seconds.
    pub(super) epoch: Option<(EpochMetrics, f64)>,
}

/// A new attempt.
#[derive(Debug, PartialEq)]
pub(super) struct Begun<'r> {
    pub(super) attempt: AttemptKey,
    pub(super) worker: &'r str,
    pub(super) slot: u32,
    pub(super) device: &'r str,
    pub(super) at_unix_ms: u64,
}

/// Columns of an attempt that change.
#[derive(Debug, Default, PartialEq)]
pub(super) struct AttemptPatch<'r> {
    /// It started, with so many epochs taken over.
    pub(super) started: Option<u32>,
    /// It ended.
    pub(super) ended: Option<Ended<'r>>,
}

/// How an attempt ended.
#[derive(Debug, PartialEq)]
pub(super) struct Ended<'r> {
    pub(super) state: AttemptState,
    pub(super) reason: &'r str,
    pub(super) log_tail: &'r [String],
    pub(super) at_unix_ms: u64,
}

impl<'r> Fold<'r> {
    /// Folds records in their order; those of sweeps are not its business.
    pub(super) fn of(records: &'r [Record]) -> Self {
        let mut fold = Self::default();
        records.iter().for_each(|record| fold.add(record));
        fold
    }

    fn add(&mut self, record: &'r Record) {
        match record {
            Record::AttemptGranted { attempt, worker, slot, device, at_unix_ms } => {
                self.grants.insert(attempt.job, (attempt.attempt, worker.as_str()));
                // The job starts over: nothing of an earlier attempt counts any more. Its history stays.
                if let Some(patch) = self.jobs.get_mut(&attempt.job) {
                    (patch.state, patch.epoch) = (None, None);
                }
                self.begun.push(Begun {
                    attempt: *attempt,
                    worker: worker.as_str(),
                    slot: *slot,
                    device,
                    at_unix_ms: *at_unix_ms,
                });
            }
            Record::AttemptStarted { attempt, resumed_epochs } => {
                self.attempts.entry(*attempt).or_default().started = Some(*resumed_epochs);
            }
            Record::AttemptEnded { attempt, state, reason, log_tail, at_unix_ms } => {
                self.attempts.entry(*attempt).or_default().ended =
                    Some(Ended { state: *state, reason, log_tail, at_unix_ms: *at_unix_ms });
            }
            Record::EpochRecorded { attempt, epoch, train_seconds } => {
                self.epochs.push((*attempt, *epoch));
                self.jobs.entry(attempt.job).or_default().epoch = Some((*epoch, *train_seconds));
            }
            Record::JobChanged { job, state, history, reason } => {
                let patch = self.jobs.entry(*job).or_default();
                patch.state = Some(*state);
                patch.history = Some((history, reason));
            }
            Record::SweepSubmitted { .. }
            | Record::SweepExtended { .. }
            | Record::SweepChanged { .. }
            | Record::DatasetFound { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(attempt: u32) -> Record {
        Record::AttemptGranted {
            attempt: AttemptKey::new(1, 1, attempt),
            worker: "w".parse().unwrap(),
            slot: 0,
            device: "cpu".into(),
            at_unix_ms: 5,
        }
    }

    #[test]
    fn a_grant_takes_back_what_an_earlier_attempt_brought_but_not_the_history() {
        let history = History { failures: 1, ..History::default() };
        let metrics = EpochMetrics { epoch: 1, train_loss: 0.5, val_accuracy: 0.5, epoch_seconds: 1.0 };
        let job = JobKey { sweep: proto::SweepId(1), job: 1 };
        let records = [
            granted(1),
            Record::EpochRecorded { attempt: AttemptKey::new(1, 1, 1), epoch: metrics, train_seconds: 1.0 },
            Record::JobChanged {
                job,
                state: JobState::Pending,
                history: history.clone(),
                reason: "because".into(),
            },
            granted(2),
        ];
        let fold = Fold::of(&records);
        assert_eq!(fold.grants[&job], (2, "w"));
        assert_eq!(
            fold.jobs[&job],
            JobPatch { state: None, history: Some((&history, "because")), epoch: None }
        );
        assert_eq!((fold.begun.len(), fold.epochs.len()), (2, 1));
    }
}
