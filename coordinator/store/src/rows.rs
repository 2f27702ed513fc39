//! Turns records into rows. Rows of jobs and attempts that have not ended are cached, so that a commit writes each row
//! that it changes once and in full, and reads few: `fetch` reads those before the commit's transaction begins.

mod fetch;
mod made;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
};

use domain::record::{BestEpoch, Record};
use terms::{AttemptKey, JobKey, JobState, SweepId};

use super::{
    StoreError,
    cells::{dataset_json, integer, lines_json, names_json, parameters_json},
    quotas, rungs, search,
    tables::{self, Added, Row, Table, TableRow, text},
    tokens,
};

/// Cached rows, which further records are likely to change.
#[derive(Debug, Default)]
pub(super) struct Rows {
    sweeps: HashMap<SweepId, Arc<tables::Sweep>>,
    jobs: HashMap<JobKey, Arc<tables::Job>>,
    attempts: HashMap<AttemptKey, Arc<tables::Attempt>>,
}

/// What a commit changes.
#[derive(Debug, Default)]
struct Changes {
    sweeps: BTreeSet<SweepId>,
    metrics: BTreeMap<(SweepId, i64), Row>,
    /// Jobs and attempts that had no row before.
    new_jobs: BTreeSet<JobKey>,
    new_attempts: BTreeSet<AttemptKey>,
    jobs: BTreeSet<JobKey>,
    attempts: BTreeSet<AttemptKey>,
    epochs: Vec<(AttemptKey, u32, Row)>,
    proposals: Vec<Row>,
    learned: Vec<Row>,
    /// The last state of each token.
    tokens: BTreeMap<String, Row>,
    /// The last state of each owner's quota.
    quotas: BTreeMap<String, Row>,
    /// The final state of each job's weights.
    weights: BTreeMap<JobKey, Row>,
    /// Jobs and attempts that have ended: their rows leave the cache.
    ended_jobs: BTreeSet<JobKey>,
    ended_attempts: BTreeSet<AttemptKey>,
}

/// What a table holds under the keys of the rows to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// A row for each, which the new one replaces.
    Rows,
    /// Possibly a row, which the new one replaces.
    Unknown,
}

/// Rows of one table to write.
#[derive(Debug)]
pub(super) struct Write {
    /// The table.
    pub(super) table: &'static Table,
    /// What is there under the rows' keys.
    pub(super) before: Before,
    /// The rows, by their keys.
    pub(super) rows: Vec<Row>,
}

impl Write {
    /// Of rows of one kind.
    pub(super) fn of<R: TableRow>(before: Before, rows: impl IntoIterator<Item = Arc<R>>) -> Self {
        Self { table: R::TABLE, before, rows: rows.into_iter().map(|row| row as Row).collect() }
    }
}

impl Rows {
    /// Applies records, whose rows have been fetched. Returns what to write, referenced tables first.
    pub(super) fn take(&mut self, records: &[Record]) -> Result<Vec<Write>, StoreError> {
        let mut changes = Changes::default();
        for record in records {
            self.take_one(record, &mut changes)?;
        }
        Ok(self.writes(changes))
    }

    fn take_one(&mut self, record: &Record, changes: &mut Changes) -> Result<(), StoreError> {
        match record {
            Record::SweepSubmitted { sweep, .. } => {
                self.sweeps.insert(*sweep, Arc::new(made::sweep(record)?));
                changes.sweeps.insert(*sweep);
            }
            Record::SweepExtended { sweep, .. }
            | Record::SweepChanged { sweep, .. }
            | Record::DatasetFound { sweep, .. }
            | Record::ParametersRead { sweep, .. }
            | Record::CheckpointMissed { job: JobKey { sweep, .. } } => {
                if let Some(row) = self.sweeps.get_mut(sweep).map(Arc::make_mut) {
                    change_sweep(row, record)?;
                    changes.sweeps.insert(*sweep);
                }
            }
            Record::MetricsNamed { sweep, first, names } => {
                for (place, name) in (*first as u64..).zip(names) {
                    let row = made::metric(*sweep, place, name)?;
                    changes.metrics.insert((*sweep, row.place), Arc::new(row));
                }
            }
            Record::PointProposed { job, proposed } => {
                changes.proposals.push(Arc::new(search::proposal(*job, proposed)?));
            }
            Record::ResultLearned { sweep, number, learned } => {
                changes.learned.push(Arc::new(search::learned(*sweep, *number, learned)?));
            }
            Record::TokenKept(token) => {
                changes.tokens.insert(token.id.clone(), Arc::new(tokens::row(token)?));
            }
            Record::QuotaKept(quota) => {
                changes.quotas.insert(quota.owner.clone(), Arc::new(quotas::row(quota)?));
            }
            Record::AttemptGranted { attempt, .. } => self.grant(*attempt, record, changes)?,
            Record::AttemptStarted { attempt, .. } | Record::AttemptEnded { attempt, .. } => {
                if let Some(row) = self.attempts.get_mut(attempt).map(Arc::make_mut) {
                    change_attempt(row, record)?;
                    changes.attempts.insert(*attempt);
                }
                if matches!(record, Record::AttemptEnded { .. }) {
                    changes.ended_attempts.insert(*attempt);
                }
            }
            Record::EpochRecorded { .. } => self.take_epoch(record, changes)?,
            Record::JobChanged { job, state, .. } => self.take_state((*job, *state), record, changes)?,
            Record::RungReached { job, .. } | Record::JobPromoted { job, .. } => {
                if let Some(row) = self.jobs.get_mut(job).map(Arc::make_mut) {
                    compare_job(row, record)?;
                    changes.jobs.insert(*job);
                }
            }
            Record::WeightsChanged { attempt, .. } => {
                changes.weights.insert(attempt.job, Arc::new(made::artifact(record)?));
            }
        }
        Ok(())
    }

    fn take_epoch(&mut self, record: &Record, changes: &mut Changes) -> Result<(), StoreError> {
        let Record::EpochRecorded { attempt, epoch, objective, best, train_seconds } = record else {
            return Ok(());
        };
        let row = made::epoch(*attempt, epoch)?;
        if let Some(job) = self.jobs.get_mut(&attempt.job).map(Arc::make_mut) {
            job.train_seconds = *train_seconds;
            job.epochs_done = row.epoch;
            job.objective = *objective;
            job.metrics = Some(row.metrics.clone());
            set_best(job, best.as_ref(), epoch.number);
            changes.jobs.insert(attempt.job);
        }
        changes.epochs.push((*attempt, epoch.number, Arc::new(row)));
        Ok(())
    }

    fn take_state(
        &mut self,
        (job, state): (JobKey, JobState),
        record: &Record,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        if state == JobState::Cancelled && !self.jobs.contains_key(&job) {
            // A job that never had an attempt had no row until now.
            self.jobs.insert(job, Arc::new(made::job(job)?));
            changes.new_jobs.insert(job);
        }
        if let Some(row) = self.jobs.get_mut(&job).map(Arc::make_mut) {
            change_job(row, record)?;
            changes.jobs.insert(job);
        }
        // What is paused may stay so for long.
        if state.is_final() || state == JobState::Paused {
            changes.ended_jobs.insert(job);
        }
        Ok(())
    }

    /// The job starts over: nothing of an earlier attempt counts any more, but its history stays.
    fn grant(&mut self, key: AttemptKey, record: &Record, changes: &mut Changes) -> Result<(), StoreError> {
        let Record::AttemptGranted { is_first, budget, .. } = record else { return Ok(()) };
        let attempt = made::attempt(record)?;
        // The first attempt of a job creates its row, unless the job was cancelled before.
        if *is_first {
            self.jobs.insert(key.job, Arc::new(made::job(key.job)?));
            changes.new_jobs.insert(key.job);
        }
        if let Some(row) = self.jobs.get_mut(&key.job).map(Arc::make_mut) {
            row.state = "running".into();
            row.attempts = attempt.attempt;
            row.worker = attempt.worker.clone();
            row.pack_size = attempt.pack_size.0;
            row.budget = Added(budget.map(i64::from));
            row.epochs_done = 0;
            row.train_seconds = 0.0;
            (row.objective, row.metrics) = (None, None);
            set_best(row, None, 0);
            changes.jobs.insert(key.job);
        }
        self.attempts.insert(key, Arc::new(attempt));
        changes.new_attempts.insert(key);
        Ok(())
    }

    fn writes(&mut self, mut changes: Changes) -> Vec<Write> {
        let changed_jobs = &changes.jobs - &changes.new_jobs;
        let changed_attempts = &changes.attempts - &changes.new_attempts;
        changes.epochs.sort_unstable_by_key(|(attempt, epoch, _)| (*attempt, *epoch));
        let epochs = changes.epochs.into_iter().map(|(_, _, row)| row).collect();
        let sweeps: Vec<_> = changes.sweeps.iter().filter_map(|sweep| self.sweeps.remove(sweep)).collect();
        // They change rarely and may be long.
        self.sweeps.clear();
        let mut jobs = |keys| rows_of(&mut self.jobs, keys, &changes.ended_jobs);
        let (new_jobs, changed_jobs) = (jobs(&changes.new_jobs), jobs(&changed_jobs));
        let mut attempts = |keys| rows_of(&mut self.attempts, keys, &changes.ended_attempts);
        let (new_attempts, changed_attempts) = (attempts(&changes.new_attempts), attempts(&changed_attempts));
        let of = |table, before, rows| Write { table, before, rows };
        let writes = [
            Write::of(Before::Unknown, sweeps),
            of(tables::Metric::TABLE, Before::Nothing, changes.metrics.into_values().collect()),
            Write::of(Before::Nothing, new_jobs),
            Write::of(Before::Rows, changed_jobs),
            Write::of(Before::Nothing, new_attempts),
            Write::of(Before::Rows, changed_attempts),
            of(tables::Epoch::TABLE, Before::Nothing, epochs),
            of(tables::Proposal::TABLE, Before::Nothing, changes.proposals),
            of(tables::Learned::TABLE, Before::Nothing, changes.learned),
            of(tables::Token::TABLE, Before::Unknown, changes.tokens.into_values().collect()),
            of(tables::Quota::TABLE, Before::Unknown, changes.quotas.into_values().collect()),
            of(tables::Artifact::TABLE, Before::Unknown, changes.weights.into_values().collect()),
        ];
        writes.into_iter().filter(|write| !write.rows.is_empty()).collect()
    }
}

/// The rows of `keys`. Those that have ended leave the cache.
fn rows_of<K: Ord + Hash, R>(
    rows: &mut HashMap<K, Arc<R>>,
    keys: &BTreeSet<K>,
    ended: &BTreeSet<K>,
) -> Vec<Arc<R>> {
    let row = |key| if ended.contains(key) { rows.remove(key) } else { rows.get(key).cloned() };
    keys.iter().filter_map(row).collect()
}

fn change_sweep(row: &mut tables::Sweep, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::SweepExtended { name, specification, job_count, .. } => {
            row.name = text(name)?;
            row.specification = text(specification)?;
            row.job_count = integer(*job_count)?;
        }
        Record::SweepChanged { state, ended_unix_ms, .. } => {
            row.state = state.as_str().into();
            row.ended_unix_ms = ended_unix_ms.map(integer).transpose()?;
        }
        Record::DatasetFound { dataset, .. } => row.dataset = Some(text(&dataset_json(dataset)?)?),
        Record::ParametersRead { parameters, .. } => {
            row.parameters = Added(Some(text(&parameters_json(parameters)?)?));
        }
        Record::CheckpointMissed { job } => row.without_checkpoint = Added(Some(integer(job.job)?)),
        _ => {}
    }
    Ok(())
}

fn change_attempt(row: &mut tables::Attempt, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::AttemptStarted { resumed_epochs, .. } => {
            row.started = true;
            row.resumed_epochs = (*resumed_epochs).into();
        }
        Record::AttemptEnded { state, reason, log_tail, at_unix_ms, .. } => {
            row.state = state.as_str().into();
            row.reason = text(reason)?;
            row.log_tail = text(&lines_json(log_tail))?;
            row.ended_unix_ms = Some(integer(*at_unix_ms)?);
        }
        _ => {}
    }
    Ok(())
}

/// What early stopping records of a job.
fn compare_job(row: &mut tables::Job, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::RungReached { rung, .. } => {
            row.rungs = Added(Some(rungs::with(row.rungs.0.as_deref(), *rung)?.into()));
        }
        Record::JobPromoted { budget, reason, .. } => {
            row.rungs = Added(rungs::promoted(row.rungs.0.as_deref())?.map(Into::into));
            row.state = JobState::Pending.as_str().into();
            row.budget = Added(Some((*budget).into()));
            row.reason = text(reason)?;
        }
        _ => {}
    }
    Ok(())
}

fn change_job(row: &mut tables::Job, record: &Record) -> Result<(), StoreError> {
    let Record::JobChanged { state, history, reason, .. } = record else { return Ok(()) };
    let has_ended = [JobState::Failed, JobState::Cancelled].iter().any(|ended| row.state == ended.as_str());
    if *state == JobState::Pending && has_ended {
        // A user tries it again: the rule of early stopping says afresh how far.
        row.budget = Added(None);
    }
    row.state = state.as_str().into();
    row.failures = history.failures.into();
    row.losses = history.losses.into();
    row.lost_with = text(&names_json(&history.lost_with)?)?;
    row.reason = text(reason)?;
    Ok(())
}

/// Sets the best epoch of a job whose last one is `last`. If they are the same, its results are in the columns of the last.
pub(super) fn set_best(row: &mut tables::Job, best: Option<&BestEpoch>, last: u32) {
    row.best_epoch = best.map(|best| best.epoch.into());
    let earlier = best.filter(|best| best.epoch != last);
    row.best_objective = earlier.map(|best| best.value);
    row.best_metrics = earlier.map(|best| best.row.to_bytes());
}
