//! Records into rows. Rows of what is not at its end are kept in memory, so that a commit writes each row that it
//! changes once and whole, and reads hardly any: `fetch` reads those, before the commit's transaction begins.

mod fetch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use domain::record::{BestEpoch, Record};
use terms::{AttemptKey, EpochMetrics, JobKey, JobState, SweepId};

use super::{
    StoreError,
    cells::{dataset_json, integer, names_json},
    tables::{ARTIFACTS, ATTEMPTS, EPOCHS, JOBS, SWEEPS, Table, Value},
};

/// Columns of `sweeps` that change.
mod sweep {
    use super::SWEEPS;
    pub(super) const NAME: usize = SWEEPS.position("name");
    pub(super) const SPECIFICATION: usize = SWEEPS.position("specification");
    pub(super) const JOB_COUNT: usize = SWEEPS.position("job_count");
    pub(super) const STATE: usize = SWEEPS.position("state");
    pub(super) const DATASET: usize = SWEEPS.position("dataset");
    pub(super) const ENDED: usize = SWEEPS.position("ended_unix_ms");
}

/// Columns of `jobs` that change.
mod job {
    use super::JOBS;
    pub(super) const STATE: usize = JOBS.position("state");
    pub(super) const ATTEMPTS: usize = JOBS.position("attempts");
    pub(super) const FAILURES: usize = JOBS.position("failures");
    pub(super) const LOSSES: usize = JOBS.position("losses");
    pub(super) const LOST_WITH: usize = JOBS.position("lost_with");
    pub(super) const WORKER: usize = JOBS.position("worker");
    pub(super) const REASON: usize = JOBS.position("reason");
    pub(super) const EPOCHS_DONE: usize = JOBS.position("epochs_done");
    pub(super) const TRAIN_SECONDS: usize = JOBS.position("train_seconds");
    pub(super) const TRAIN_LOSS: usize = JOBS.position("train_loss");
    pub(super) const VAL_ACCURACY: usize = JOBS.position("val_accuracy");
    pub(super) const PACK_SIZE: usize = JOBS.position("pack_size");
    pub(super) const VAL_LOSS: usize = JOBS.position("val_loss");
    pub(super) const TRAIN_ACCURACY: usize = JOBS.position("train_accuracy");
    pub(super) const BEST_EPOCH: usize = JOBS.position("best_epoch");
    pub(super) const BEST_VAL_ACCURACY: usize = JOBS.position("best_val_accuracy");
    pub(super) const BEST_METRIC: usize = JOBS.position("best_metric");
}

/// Columns of `attempts` that change.
mod attempt {
    use super::ATTEMPTS;
    pub(super) const STARTED: usize = ATTEMPTS.position("started");
    pub(super) const RESUMED_EPOCHS: usize = ATTEMPTS.position("resumed_epochs");
    pub(super) const STATE: usize = ATTEMPTS.position("state");
    pub(super) const REASON: usize = ATTEMPTS.position("reason");
    pub(super) const LOG_TAIL: usize = ATTEMPTS.position("log_tail");
    pub(super) const ENDED: usize = ATTEMPTS.position("ended_unix_ms");
}

/// A row in the order of its table's columns. It is shared, so that a commit writes the rows that are kept without copies of
/// them, and in one piece, as there are two or more for each job.
pub(super) type Row = Arc<[Value]>;

/// Rows that further records are likely to change.
#[derive(Debug, Default)]
pub(super) struct Rows {
    sweeps: HashMap<SweepId, Row>,
    jobs: HashMap<JobKey, Row>,
    attempts: HashMap<AttemptKey, Row>,
}

/// What a commit changes.
#[derive(Debug, Default)]
struct Changes {
    sweeps: BTreeSet<SweepId>,
    /// Jobs and attempts that had no row before.
    new_jobs: BTreeSet<JobKey>,
    new_attempts: BTreeSet<AttemptKey>,
    jobs: BTreeSet<JobKey>,
    attempts: BTreeSet<AttemptKey>,
    epochs: Vec<(AttemptKey, u32, Row)>,
    /// As each job's weights are in the end.
    weights: BTreeMap<JobKey, Row>,
    /// Jobs and attempts that have come to their end: their rows are not kept in memory.
    ended_jobs: BTreeSet<JobKey>,
    ended_attempts: BTreeSet<AttemptKey>,
}

/// What a table holds under the keys of rows that are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// A row under each, which the new one replaces.
    Rows,
    /// Perhaps a row, which the new one replaces.
    Unknown,
}

/// Rows of one table to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// The table.
    pub(super) table: &'static Table,
    /// What is there under the rows' keys.
    pub(super) before: Before,
    /// The rows, by their keys.
    pub(super) rows: Vec<Row>,
}

impl Rows {
    /// Takes records in, whose rows have been fetched; what is to be written, in the order in which tables refer to each other.
    pub(super) fn take(&mut self, records: &[Record]) -> Result<Vec<Write>, StoreError> {
        let mut changes = Changes::default();
        for record in records {
            match record {
                Record::SweepSubmitted { .. }
                | Record::SweepExtended { .. }
                | Record::SweepChanged { .. }
                | Record::DatasetFound { .. } => self.sweep(record, &mut changes)?,
                Record::JobChanged { .. } => self.job(record, &mut changes)?,
                Record::WeightsChanged { attempt, .. } => {
                    changes.weights.insert(attempt.job, weights_row(record)?);
                }
                _ => self.attempt(record, &mut changes)?,
            }
        }
        Ok(self.writes(changes))
    }

    fn sweep(&mut self, record: &Record, changes: &mut Changes) -> Result<(), StoreError> {
        let id = match record {
            Record::SweepSubmitted { sweep, .. } => {
                self.sweeps.insert(*sweep, new_sweep(record)?);
                *sweep
            }
            Record::SweepExtended { sweep, .. }
            | Record::SweepChanged { sweep, .. }
            | Record::DatasetFound { sweep, .. } => *sweep,
            _ => return Ok(()),
        };
        let Some(row) = self.known_sweep(id) else { return Ok(()) };
        match record {
            Record::SweepExtended { name, specification, job_count, .. } => {
                row[sweep::NAME] = Value::text(name)?;
                row[sweep::SPECIFICATION] = Value::text(specification)?;
                row[sweep::JOB_COUNT] = integer(*job_count)?.into();
            }
            Record::SweepChanged { state, ended_unix_ms, .. } => {
                row[sweep::STATE] = state.as_str().into();
                row[sweep::ENDED] = Value::Integer(ended_unix_ms.map(integer).transpose()?);
            }
            Record::DatasetFound { dataset, .. } => {
                row[sweep::DATASET] = Value::text(&dataset_json(dataset)?)?;
            }
            _ => {}
        }
        changes.sweeps.insert(id);
        Ok(())
    }

    fn job(&mut self, record: &Record, changes: &mut Changes) -> Result<(), StoreError> {
        let Record::JobChanged { job: key, state, history, reason } = record else { return Ok(()) };
        if *state == JobState::Cancelled && !self.jobs.contains_key(key) {
            // A job that never had an attempt had no row until now.
            self.jobs.insert(*key, new_job(*key)?);
            changes.new_jobs.insert(*key);
        }
        let Some(row) = self.known_job(*key) else { return Ok(()) };
        row[job::STATE] = state.as_str().into();
        row[job::FAILURES] = history.failures.into();
        row[job::LOSSES] = history.losses.into();
        row[job::LOST_WITH] =
            if history.lost_with.is_empty() { "[]".into() } else { names_json(&history.lost_with)?.into() };
        row[job::REASON] = Value::text(reason)?;
        changes.jobs.insert(*key);
        if state.is_final() {
            changes.ended_jobs.insert(*key);
        }
        Ok(())
    }

    fn attempt(&mut self, record: &Record, changes: &mut Changes) -> Result<(), StoreError> {
        match record {
            Record::AttemptGranted {
                attempt: key,
                is_first,
                worker,
                slot,
                device,
                pack_size,
                at_unix_ms,
            } => {
                // The first attempt of a job makes its row, unless it was cancelled before.
                if *is_first {
                    self.jobs.insert(key.job, new_job(key.job)?);
                    changes.new_jobs.insert(key.job);
                }
                if let Some(row) = self.known_job(key.job) {
                    grant(row, key.attempt, worker.as_str(), *pack_size)?;
                    changes.jobs.insert(key.job);
                }
                let row = new_attempt(*key, worker.as_str(), *slot, device, *at_unix_ms, *pack_size)?;
                self.attempts.insert(*key, row);
                changes.new_attempts.insert(*key);
            }
            Record::AttemptStarted { attempt: key, resumed_epochs } => {
                if let Some(row) = self.known_attempt(*key) {
                    row[attempt::STARTED] = Value::Boolean(true);
                    row[attempt::RESUMED_EPOCHS] = (*resumed_epochs).into();
                    changes.attempts.insert(*key);
                }
            }
            Record::AttemptEnded { attempt: key, state, reason, log_tail, at_unix_ms } => {
                if let Some(row) = self.known_attempt(*key) {
                    row[attempt::STATE] = state.as_str().into();
                    row[attempt::REASON] = Value::text(reason)?;
                    row[attempt::LOG_TAIL] = if log_tail.is_empty() {
                        "[]".into()
                    } else {
                        Value::text(&serde_json::Value::from(log_tail.as_slice()).to_string())?
                    };
                    row[attempt::ENDED] = integer(*at_unix_ms)?.into();
                    changes.attempts.insert(*key);
                    changes.ended_attempts.insert(*key);
                }
            }
            Record::EpochRecorded { attempt: key, epoch, best, train_seconds } => {
                changes.epochs.push((*key, epoch.epoch, epoch_row(*key, epoch)?));
                if let Some(row) = self.known_job(key.job) {
                    row[job::TRAIN_SECONDS] = (*train_seconds).into();
                    last_epoch(row, epoch, best);
                    changes.jobs.insert(key.job);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn known_sweep(&mut self, id: SweepId) -> Option<&mut [Value]> {
        self.sweeps.get_mut(&id).map(Arc::make_mut)
    }

    fn known_job(&mut self, key: JobKey) -> Option<&mut [Value]> {
        self.jobs.get_mut(&key).map(Arc::make_mut)
    }

    fn known_attempt(&mut self, key: AttemptKey) -> Option<&mut [Value]> {
        self.attempts.get_mut(&key).map(Arc::make_mut)
    }

    fn writes(&mut self, mut changes: Changes) -> Vec<Write> {
        let changed_jobs = &changes.jobs - &changes.new_jobs;
        let changed_attempts = &changes.attempts - &changes.new_attempts;
        changes.epochs.sort_unstable_by_key(|(attempt, epoch, _)| (*attempt, *epoch));
        let epochs = changes.epochs.into_iter().map(|(_, _, row)| row).collect();
        let weights = changes.weights.into_values().collect();
        let sweeps = changes.sweeps.iter().filter_map(|sweep| self.sweeps.remove(sweep)).collect();
        // They change rarely and may be long.
        self.sweeps.clear();
        let mut jobs = |keys| rows_of(&mut self.jobs, keys, &changes.ended_jobs);
        let (new_jobs, changed_jobs) = (jobs(&changes.new_jobs), jobs(&changed_jobs));
        let mut attempts = |keys| rows_of(&mut self.attempts, keys, &changes.ended_attempts);
        let (new_attempts, changed_attempts) = (attempts(&changes.new_attempts), attempts(&changed_attempts));
        let writes = [
            Write { table: &SWEEPS, before: Before::Unknown, rows: sweeps },
            Write { table: &JOBS, before: Before::Nothing, rows: new_jobs },
            Write { table: &JOBS, before: Before::Rows, rows: changed_jobs },
            Write { table: &ATTEMPTS, before: Before::Nothing, rows: new_attempts },
            Write { table: &ATTEMPTS, before: Before::Rows, rows: changed_attempts },
            Write { table: &EPOCHS, before: Before::Nothing, rows: epochs },
            Write { table: &ARTIFACTS, before: Before::Unknown, rows: weights },
        ];
        writes.into_iter().filter(|write| !write.rows.is_empty()).collect()
    }
}

/// The rows of `keys`; those that have come to their end are not kept.
fn rows_of<K: Ord + std::hash::Hash + Eq>(
    rows: &mut HashMap<K, Row>,
    keys: &BTreeSet<K>,
    ended: &BTreeSet<K>,
) -> Vec<Row> {
    let row = |key| if ended.contains(key) { rows.remove(key) } else { rows.get(key).cloned() };
    keys.iter().filter_map(row).collect()
}

fn new_sweep(record: &Record) -> Result<Row, StoreError> {
    let Record::SweepSubmitted { sweep, name, request_id, specification, metric, job_count, created_unix_ms } =
        record
    else {
        return Ok(Row::default());
    };
    let request_id = if request_id.is_empty() { Value::Text(None) } else { Value::text(request_id)? };
    Ok(Arc::new([
        integer(sweep.0)?.into(),
        Value::text(name)?,
        request_id,
        Value::text(specification)?,
        metric.name.as_str().into(),
        Value::text(&metric.goal.to_string())?,
        integer(*job_count)?.into(),
        "running".into(),
        Value::Text(None),
        integer(*created_unix_ms)?.into(),
        Value::Integer(None),
    ]))
}

fn new_job(key: JobKey) -> Result<Row, StoreError> {
    Ok(Arc::new([
        integer(key.sweep.0)?.into(),
        integer(key.job)?.into(),
        "running".into(),
        0_u32.into(),
        0_u32.into(),
        0_u32.into(),
        "[]".into(),
        "".into(),
        "".into(),
        0_u32.into(),
        0.0.into(),
        Value::Real(None),
        Value::Real(None),
        Value::Added(None),
        Value::AddedReal(None),
        Value::AddedReal(None),
        Value::Added(None),
        Value::AddedReal(None),
        Value::AddedReal(None),
    ]))
}

/// What an epoch leaves in its job's row.
fn last_epoch(row: &mut [Value], epoch: &EpochMetrics, best: &BestEpoch) {
    row[job::EPOCHS_DONE] = epoch.epoch.into();
    row[job::TRAIN_LOSS] = epoch.train_loss.into();
    row[job::VAL_ACCURACY] = epoch.val_accuracy.into();
    row[job::VAL_LOSS] = Value::AddedReal(epoch.val_loss);
    row[job::TRAIN_ACCURACY] = Value::AddedReal(epoch.train_accuracy);
    row[job::BEST_EPOCH] = Value::Added(Some(best.epoch.into()));
    row[job::BEST_VAL_ACCURACY] = Value::AddedReal(Some(best.val_accuracy));
    row[job::BEST_METRIC] = Value::AddedReal(best.other_metric);
}

/// The column `pack_size`: nothing for a job alone, as most are.
fn pack(size: u32) -> Value {
    Value::Added((size > 1).then(|| size.into()))
}

/// The job starts over: nothing of an earlier attempt counts any more. Its history stays.
fn grant(row: &mut [Value], number: u32, worker: &str, pack_size: u32) -> Result<(), StoreError> {
    row[job::STATE] = "running".into();
    row[job::ATTEMPTS] = number.into();
    row[job::WORKER] = Value::text(worker)?;
    row[job::EPOCHS_DONE] = 0_u32.into();
    row[job::TRAIN_SECONDS] = 0.0.into();
    row[job::TRAIN_LOSS] = Value::Real(None);
    row[job::VAL_ACCURACY] = Value::Real(None);
    row[job::PACK_SIZE] = pack(pack_size);
    for column in [job::VAL_LOSS, job::TRAIN_ACCURACY, job::BEST_VAL_ACCURACY, job::BEST_METRIC] {
        row[column] = Value::AddedReal(None);
    }
    row[job::BEST_EPOCH] = Value::Added(None);
    Ok(())
}

fn new_attempt(
    key: AttemptKey,
    worker: &str,
    slot: u32,
    device: &str,
    at_unix_ms: u64,
    pack_size: u32,
) -> Result<Row, StoreError> {
    Ok(Arc::new([
        integer(key.job.sweep.0)?.into(),
        integer(key.job.job)?.into(),
        key.attempt.into(),
        Value::text(worker)?,
        slot.into(),
        Value::text(device)?,
        Value::Boolean(false),
        0_u32.into(),
        "running".into(),
        "".into(),
        "[]".into(),
        integer(at_unix_ms)?.into(),
        Value::Integer(None),
        pack(pack_size),
    ]))
}

fn weights_row(record: &Record) -> Result<Row, StoreError> {
    let Record::WeightsChanged { attempt, state, worker, file, value, reason } = record else {
        return Ok(Row::default());
    };
    Ok(Arc::new([
        integer(attempt.job.sweep.0)?.into(),
        integer(attempt.job.job)?.into(),
        attempt.attempt.into(),
        state.as_str().into(),
        Value::text(worker.as_str())?,
        integer(file.bytes)?.into(),
        Value::text(&file.blake3)?,
        (*value).into(),
        Value::text(reason)?,
    ]))
}

fn epoch_row(key: AttemptKey, metrics: &EpochMetrics) -> Result<Row, StoreError> {
    Ok(Arc::new([
        integer(key.job.sweep.0)?.into(),
        integer(key.job.job)?.into(),
        key.attempt.into(),
        metrics.epoch.into(),
        metrics.train_loss.into(),
        metrics.val_accuracy.into(),
        metrics.epoch_seconds.into(),
        Value::AddedReal(metrics.val_loss),
        Value::AddedReal(metrics.train_accuracy),
    ]))
}
