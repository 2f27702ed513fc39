//! Migrates from the version whose metrics were four columns to the one whose sweeps name theirs. The tables of jobs and
//! epochs are rebuilt in the caller's transaction, a page at a time. The best epoch is computed again from the epochs,
//! because the old tables only knew the one with the largest validation accuracy.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use domain::record::BestEpoch;
use terms::{
    Epoch, MISSING, MetricRow, MetricSchema, Objective,
    metrics::known::{TRAIN_ACCURACY, TRAIN_LOSS, VAL_ACCURACY, VAL_LOSS},
};

use super::{
    StoreError,
    cells::{names, names_json, number},
    read::{Queries, objective, select},
    rows::{Before, Write, set_best},
    tables::{self, Added, OldEpoch, OldJob, TableRow, text},
};

/// Rows that are read and written at a time: a few hundred kilobytes.
const ROWS_MAX: i64 = 1_000;

/// A database whose tables are rebuilt.
#[async_trait]
pub(super) trait Database: Queries {
    /// Inserts rows.
    async fn write(&mut self, writes: &[Write]) -> Result<(), StoreError>;
}

/// Fills the new tables from the old ones. Rows have checksums if `are_sealed`.
pub(super) async fn rows<D: Database>(database: &mut D, are_sealed: bool) -> Result<(), StoreError> {
    let sweeps: Vec<tables::Sweep> = select(database, "ORDER BY sweep_id", &[]).await?;
    for sweep in sweeps {
        let objective = objective(&sweep)?;
        let names = metrics(database, sweep.sweep_id).await?;
        let sweep = Moved { sweep: sweep.sweep_id, objective, names, are_sealed };
        sweep.write_names(database).await?;
        sweep.rows(database).await?;
    }
    Ok(())
}

/// The metrics that the epochs of a sweep have.
async fn metrics(database: &mut impl Queries, sweep: i64) -> Result<MetricSchema, StoreError> {
    let mut names = MetricSchema::default();
    for name in [TRAIN_LOSS, VAL_ACCURACY, VAL_LOSS, TRAIN_ACCURACY] {
        let found = format!("SELECT 1 FROM epochs_1 WHERE sweep_id = $1 AND {name} IS NOT NULL LIMIT 1");
        if !database.rows(found, &[sweep]).await?.is_empty() {
            names.add(name).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        }
    }
    Ok(names)
}

/// A sweep whose rows are moved.
struct Moved {
    sweep: i64,
    objective: Objective,
    names: MetricSchema,
    are_sealed: bool,
}

/// The result of an attempt's epochs.
#[derive(Default)]
struct Trained {
    last: Option<Epoch>,
    objective: Option<f64>,
    best: Option<BestEpoch>,
}

impl Moved {
    async fn write_names<D: Database>(&self, database: &mut D) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for (place, name) in (0..).zip(self.names.names()) {
            rows.push(Arc::new(tables::Metric { sweep_id: self.sweep, place, name: text(name)? }));
        }
        database.write(&[Write::of(Before::Nothing, rows)]).await
    }

    async fn rows<D: Database>(&self, database: &mut D) -> Result<(), StoreError> {
        let mut next = i64::MIN;
        loop {
            let page = "WHERE sweep_id = $1 AND job >= $2 ORDER BY job LIMIT $3";
            let jobs: Vec<OldJob> = self.select(database, page, &[self.sweep, next, ROWS_MAX]).await?;
            let (Some(first), Some(last)) = (jobs.first(), jobs.last()) else { return Ok(()) };
            next = last.job + 1;
            let mut trained = self.epochs(database, first.job, &jobs).await?;
            let mut rows = Vec::with_capacity(jobs.len());
            for job in jobs {
                let trained = trained.remove(&job.job).unwrap_or_default();
                rows.push(Arc::new(new_job(job, &trained)?));
            }
            database.write(&[Write::of(Before::Nothing, rows)]).await?;
        }
    }

    /// Moves the epochs of some jobs. Returns the results of each job's last attempt.
    async fn epochs<D: Database>(
        &self,
        database: &mut D,
        first: i64,
        jobs: &[OldJob],
    ) -> Result<HashMap<i64, Trained>, StoreError> {
        let attempts: HashMap<i64, i64> = jobs.iter().map(|job| (job.job, job.attempts)).collect();
        let last = jobs.last().map_or(first, |job| job.job);
        let mut trained: HashMap<i64, Trained> = HashMap::new();
        let mut place = [first, 0, 0];
        loop {
            let page = "WHERE sweep_id = $1 AND (job, attempt, epoch) > ($2, $3, $4) AND job <= $5 \
                        ORDER BY job, attempt, epoch LIMIT $6";
            let numbers = [self.sweep, place[0], place[1], place[2], last, ROWS_MAX];
            let epochs: Vec<OldEpoch> = self.select(database, page, &numbers).await?;
            let Some(end) = epochs.last() else { return Ok(trained) };
            place = [end.job, end.attempt, end.epoch];
            let mut rows = Vec::with_capacity(epochs.len());
            for old in epochs {
                let epoch = self.epoch(&old)?;
                rows.push(Arc::new(tables::Epoch {
                    sweep_id: self.sweep,
                    job: old.job,
                    attempt: old.attempt,
                    epoch: old.epoch,
                    seconds: old.epoch_seconds,
                    metrics: epoch.row.to_bytes(),
                }));
                if attempts.get(&old.job) == Some(&old.attempt) {
                    trained.entry(old.job).or_default().take(&self.names, &self.objective, epoch);
                }
            }
            database.write(&[Write::of(Before::Nothing, rows)]).await?;
        }
    }

    fn epoch(&self, old: &OldEpoch) -> Result<Epoch, StoreError> {
        let mut values = vec![MISSING; self.names.len()];
        for (name, value) in [
            (TRAIN_LOSS, Some(old.train_loss)),
            (VAL_ACCURACY, Some(old.val_accuracy)),
            (VAL_LOSS, old.val_loss.0),
            (TRAIN_ACCURACY, old.train_accuracy.0),
        ] {
            if let Some((index, value)) = self.names.index(name).zip(value) {
                values[index] = value;
            }
        }
        let number = number(old.epoch, "epoch")?;
        Ok(Epoch { number, seconds: old.epoch_seconds, row: MetricRow::new(&values) })
    }

    /// Rows of an old table, verified if they have checksums.
    async fn select<R: TableRow>(
        &self,
        database: &mut impl Queries,
        rest: &str,
        numbers: &[i64],
    ) -> Result<Vec<R>, StoreError> {
        if self.are_sealed {
            return select(database, rest, numbers).await;
        }
        let query = format!("SELECT {} FROM {} {rest}", R::TABLE.column_list(), R::TABLE.name);
        database.rows(query, numbers).await?.iter().map(R::read).collect()
    }
}

impl Trained {
    fn take(&mut self, names: &MetricSchema, objective: &Objective, epoch: Epoch) {
        self.objective = names.get(&epoch.row, &objective.name).filter(|value| value.is_finite());
        self.best = BestEpoch::after(self.best.take(), objective, &epoch, self.objective);
        self.last = Some(epoch);
    }
}

fn new_job(old: OldJob, trained: &Trained) -> Result<tables::Job, StoreError> {
    let last = trained.last.as_ref().map_or(0, |last| last.number);
    if i64::from(last) != old.epochs_done {
        let OldJob { sweep_id, job, epochs_done, .. } = old;
        let found = format!("job {sweep_id}/{job} has {last} epochs, and its row says {epochs_done}");
        return Err(StoreError::Corrupt(found));
    }
    let mut job = tables::Job {
        sweep_id: old.sweep_id,
        job: old.job,
        state: old.state,
        attempts: old.attempts,
        failures: old.failures,
        losses: old.losses,
        lost_with: text(&names_json(&names(&old.lost_with)?)?)?,
        worker: old.worker,
        reason: old.reason,
        pack_size: old.pack_size.0,
        epochs_done: old.epochs_done,
        train_seconds: old.train_seconds,
        objective: trained.objective,
        metrics: trained.last.as_ref().map(|last| last.row.to_bytes()),
        best_epoch: None,
        best_objective: None,
        best_metrics: None,
        budget: Added(None),
        rungs: Added(None),
    };
    set_best(&mut job, trained.best.as_ref(), last);
    Ok(job)
}
