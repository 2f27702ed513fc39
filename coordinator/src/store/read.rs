//! Tables back into what the engine and its readers need. The tables have the same columns in every database, so
//! each question is asked in words that all of them understand.

use async_trait::async_trait;
use proto::{JobKey, SweepId, WorkerName};

use super::{
    AttemptRow, EpochRow, JobRow, StoreError,
    cells::{Cells, dataset, integer, job_row, job_state, metrics, natural, optional_natural, text},
};
use crate::core::{
    record::{EpochMetrics, FailedJob, History, StoredAttempt, StoredJob, StoredSweep},
    state::{JobState, SweepState},
};

/// A connection that can be asked.
#[async_trait]
pub(super) trait Queries: Send {
    /// A row of its answers.
    type Row: Cells;

    /// All rows of a query with the placeholders `$1`, `$2` …, which stand for `numbers`.
    async fn rows(&mut self, query: &'static str, numbers: &[i64]) -> Result<Vec<Self::Row>, sqlx::Error>;
}

/// Every sweep with its jobs that have no end, in the order of their numbers.
pub(super) async fn sweeps(connection: &mut impl Queries) -> Result<Vec<StoredSweep>, StoreError> {
    let rows = connection
        .rows(
            "SELECT sweep_id, COALESCE(request_id, '') AS request_id, specification, metric, goal, state, dataset, \
             created_unix_ms, ended_unix_ms FROM sweeps ORDER BY sweep_id",
            &[],
        )
        .await?;
    let mut sweeps = Vec::with_capacity(rows.len());
    for row in rows {
        sweeps.push(sweep(connection, &row).await?);
    }
    Ok(sweeps)
}

async fn sweep<Q: Queries>(connection: &mut Q, row: &Q::Row) -> Result<StoredSweep, StoreError> {
    let id = SweepId(natural(row, "sweep_id")?);
    let key = integer(id.0)?;
    let state = text(row, "state")?;
    let state = SweepState::from_name(&state)
        .ok_or_else(|| StoreError::Damaged(format!("sweep {id} has the state {state:?}")))?;
    let last_started =
        connection.rows("SELECT COALESCE(MAX(job), 0) AS job FROM jobs WHERE sweep_id = $1", &[key]).await?;
    Ok(StoredSweep {
        sweep: id,
        request_id: text(row, "request_id")?,
        specification: text(row, "specification")?,
        state,
        created_unix_ms: natural(row, "created_unix_ms")?,
        ended_unix_ms: optional_natural(row, "ended_unix_ms")?,
        dataset: row.text("dataset")?.map(|json| dataset(id, &json)).transpose()?,
        last_started: last_started.first().map_or(Ok(0), |row| natural(row, "job"))?,
        finals: finals(connection, key).await?,
        best: best(connection, id, &text(row, "metric")?, &text(row, "goal")?).await?,
        open_jobs: open_jobs(connection, key).await?,
    })
}

async fn finals(connection: &mut impl Queries, sweep: i64) -> Result<Vec<(JobState, u64)>, StoreError> {
    let rows = connection
        .rows("SELECT state, COUNT(*) AS jobs FROM jobs WHERE sweep_id = $1 GROUP BY state", &[sweep])
        .await?;
    let mut finals = Vec::new();
    for row in &rows {
        let state = job_state(row)?;
        if state.is_final() {
            finals.push((state, natural(row, "jobs")?));
        }
    }
    Ok(finals)
}

async fn best(
    connection: &mut impl Queries,
    sweep: SweepId,
    metric: &str,
    goal: &str,
) -> Result<Option<(u64, f64)>, StoreError> {
    let query = match (metric, goal) {
        ("val_accuracy", "maximize") => {
            "SELECT job, val_accuracy AS value FROM jobs WHERE sweep_id = $1 AND state = 'done' \
             AND val_accuracy IS NOT NULL ORDER BY val_accuracy DESC, job LIMIT 1"
        }
        ("val_accuracy", "minimize") => {
            "SELECT job, val_accuracy AS value FROM jobs WHERE sweep_id = $1 AND state = 'done' \
             AND val_accuracy IS NOT NULL ORDER BY val_accuracy, job LIMIT 1"
        }
        ("train_loss", "maximize") => {
            "SELECT job, train_loss AS value FROM jobs WHERE sweep_id = $1 AND state = 'done' \
             AND train_loss IS NOT NULL ORDER BY train_loss DESC, job LIMIT 1"
        }
        ("train_loss", "minimize") => {
            "SELECT job, train_loss AS value FROM jobs WHERE sweep_id = $1 AND state = 'done' \
             AND train_loss IS NOT NULL ORDER BY train_loss, job LIMIT 1"
        }
        _ => return Err(StoreError::Damaged(format!("sweep {sweep} is ranked by {metric:?}, {goal:?}"))),
    };
    let rows = connection.rows(query, &[integer(sweep.0)?]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(natural(row, "job")?).zip(row.real("value")?))
}

async fn open_jobs(connection: &mut impl Queries, sweep: i64) -> Result<Vec<StoredJob>, StoreError> {
    let rows = connection
        .rows(
            "SELECT j.job, j.state, j.attempts, j.failures, j.losses, j.lost_with, j.reason, j.epochs_done, \
             j.train_seconds, a.worker, a.slot, a.device, a.started, \
             e.epoch, e.train_loss, e.val_accuracy, e.epoch_seconds \
             FROM jobs j \
             LEFT JOIN attempts a ON a.sweep_id = j.sweep_id AND a.job = j.job AND a.attempt = j.attempts \
             LEFT JOIN epochs e ON e.sweep_id = j.sweep_id AND e.job = j.job AND e.attempt = j.attempts \
                 AND e.epoch = j.epochs_done \
             WHERE j.sweep_id = $1 AND j.state IN ('pending', 'running') ORDER BY j.job",
            &[sweep],
        )
        .await?;
    rows.iter().map(open_job).collect()
}

fn open_job(row: &impl Cells) -> Result<StoredJob, StoreError> {
    let running = match job_state(row)? {
        JobState::Running => Some(running_attempt(row)?),
        _ => None,
    };
    let lost_with = text(row, "lost_with")?;
    Ok(StoredJob {
        job: natural(row, "job")?,
        attempts: natural(row, "attempts")?,
        history: History {
            failures: natural(row, "failures")?,
            losses: natural(row, "losses")?,
            lost_with: serde_json::from_str(&lost_with).map_err(|error| {
                StoreError::Damaged(format!("the workers that a job was lost with: {error}"))
            })?,
        },
        reason: text(row, "reason")?,
        running,
    })
}

fn running_attempt(row: &impl Cells) -> Result<StoredAttempt, StoreError> {
    let worker = text(row, "worker")?;
    let worker: WorkerName = worker.parse().map_err(|error| StoreError::Damaged(format!("{error}")))?;
    let last: Option<EpochMetrics> = row.integer("epoch")?.map(|_| metrics(row)).transpose()?;
    Ok(StoredAttempt {
        worker,
        slot: natural(row, "slot")?,
        device: text(row, "device")?,
        started: row.boolean("started")?.unwrap_or_default(),
        train_seconds: row.real("train_seconds")?.unwrap_or_default(),
        last,
    })
}

/// See [`super::Store::jobs`].
pub(super) async fn jobs(
    connection: &mut impl Queries,
    sweep: SweepId,
    first: u64,
    limit: u32,
) -> Result<Vec<JobRow>, StoreError> {
    let rows = connection
        .rows(
            "SELECT job, state, attempts, worker, reason, epochs_done, train_seconds, train_loss, val_accuracy \
             FROM jobs WHERE sweep_id = $1 AND job >= $2 ORDER BY job LIMIT $3",
            &[integer(sweep.0)?, integer(first)?, limit.into()],
        )
        .await?;
    rows.iter().map(job_row).collect()
}

/// See [`super::Store::failed_jobs`].
pub(super) async fn failed_jobs(
    connection: &mut impl Queries,
    sweep: SweepId,
    limit: u32,
) -> Result<Vec<FailedJob>, StoreError> {
    let rows = connection
        .rows(
            "SELECT job, attempts FROM jobs WHERE sweep_id = $1 AND state = 'failed' ORDER BY job LIMIT $2",
            &[integer(sweep.0)?, limit.into()],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(FailedJob { job: natural(row, "job")?, attempts: natural(row, "attempts")? }))
        .collect()
}

/// See [`super::Store::attempts`].
pub(super) async fn attempts(
    connection: &mut impl Queries,
    job: JobKey,
) -> Result<Vec<AttemptRow>, StoreError> {
    let rows = connection
        .rows(
            "SELECT attempt, worker, slot, device, resumed_epochs, state, reason, log_tail, granted_unix_ms, \
             ended_unix_ms FROM attempts WHERE sweep_id = $1 AND job = $2 ORDER BY attempt",
            &[integer(job.sweep.0)?, integer(job.job)?],
        )
        .await?;
    rows.iter().map(attempt_row).collect()
}

fn attempt_row(row: &impl Cells) -> Result<AttemptRow, StoreError> {
    Ok(AttemptRow {
        attempt: natural(row, "attempt")?,
        worker: text(row, "worker")?,
        slot: natural(row, "slot")?,
        device: text(row, "device")?,
        resumed_epochs: natural(row, "resumed_epochs")?,
        state: text(row, "state")?,
        reason: text(row, "reason")?,
        log_tail: serde_json::from_str(&text(row, "log_tail")?)
            .map_err(|error| StoreError::Damaged(format!("a log: {error}")))?,
        granted_unix_ms: natural(row, "granted_unix_ms")?,
        ended_unix_ms: optional_natural(row, "ended_unix_ms")?,
    })
}

/// See [`super::Store::epochs`].
pub(super) async fn epochs<Q: Queries>(
    connection: &mut Q,
    sweep: SweepId,
    first: u64,
    last: u64,
) -> Result<Vec<EpochRow>, StoreError> {
    let rows = connection
        .rows(
            "SELECT job, attempt, epoch, train_loss, val_accuracy, epoch_seconds \
             FROM epochs WHERE sweep_id = $1 AND job BETWEEN $2 AND $3 ORDER BY job, epoch, attempt",
            &[integer(sweep.0)?, integer(first)?, integer(last)?],
        )
        .await?;
    let row = |row: &Q::Row| {
        Ok(EpochRow { job: natural(row, "job")?, attempt: natural(row, "attempt")?, metrics: metrics(row)? })
    };
    rows.iter().map(row).collect()
}
