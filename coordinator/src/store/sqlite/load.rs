//! Tables back into what the engine needs to go on.

use proto::{SweepId, WorkerName};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{super::StoreError, integer, natural, optional_natural, write::DatasetJson};
use crate::core::{
    record::{EpochMetrics, History, StoredAttempt, StoredJob, StoredSweep},
    state::{JobState, SweepState},
};

/// Every sweep with its jobs that have no end, in the order of their numbers.
pub(super) async fn sweeps(connection: &mut SqliteConnection) -> Result<Vec<StoredSweep>, StoreError> {
    let rows = sqlx::query(
        "SELECT sweep_id, COALESCE(request_id, '') AS request_id, specification, metric, goal, state, dataset, \
         created_unix_ms, ended_unix_ms FROM sweeps ORDER BY sweep_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut sweeps = Vec::with_capacity(rows.len());
    for row in rows {
        sweeps.push(sweep(connection, &row).await?);
    }
    Ok(sweeps)
}

async fn sweep(connection: &mut SqliteConnection, row: &SqliteRow) -> Result<StoredSweep, StoreError> {
    let id = SweepId(natural(row, "sweep_id")?);
    let state: String = row.try_get("state")?;
    let state = SweepState::from_name(&state)
        .ok_or_else(|| StoreError::Damaged(format!("sweep {id} has the state {state:?}")))?;
    let dataset: Option<String> = row.try_get("dataset")?;
    let dataset = dataset
        .map(|json| serde_json::from_str::<DatasetJson>(&json))
        .transpose()
        .map_err(|error| StoreError::Damaged(format!("the data set of sweep {id}: {error}")))?;
    let last_started: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(job), 0) FROM jobs WHERE sweep_id = ?")
        .bind(integer(id.0)?)
        .fetch_one(&mut *connection)
        .await?;
    Ok(StoredSweep {
        sweep: id,
        request_id: row.try_get("request_id")?,
        specification: row.try_get("specification")?,
        state,
        created_unix_ms: natural(row, "created_unix_ms")?,
        ended_unix_ms: optional_natural(row, "ended_unix_ms")?,
        dataset: dataset.map(Into::into),
        last_started: last_started.unsigned_abs(),
        finals: finals(connection, id).await?,
        best: best(connection, id, row.try_get("metric")?, row.try_get("goal")?).await?,
        open_jobs: open_jobs(connection, id).await?,
    })
}

async fn finals(
    connection: &mut SqliteConnection,
    sweep: SweepId,
) -> Result<Vec<(JobState, u64)>, StoreError> {
    let rows = sqlx::query("SELECT state, COUNT(*) AS jobs FROM jobs WHERE sweep_id = ? GROUP BY state")
        .bind(integer(sweep.0)?)
        .fetch_all(connection)
        .await?;
    let mut finals = Vec::new();
    for row in &rows {
        let state = super::job_state(row)?;
        if state.is_final() {
            finals.push((state, natural(row, "jobs")?));
        }
    }
    Ok(finals)
}

async fn best(
    connection: &mut SqliteConnection,
    sweep: SweepId,
    metric: &str,
    goal: &str,
) -> Result<Option<(u64, f64)>, StoreError> {
    let query = match (metric, goal) {
        ("val_accuracy", "maximize") => {
            "SELECT job, val_accuracy AS value FROM jobs WHERE sweep_id = ? AND state = 'done' \
             AND val_accuracy IS NOT NULL ORDER BY val_accuracy DESC, job LIMIT 1"
        }
        ("val_accuracy", "minimize") => {
            "SELECT job, val_accuracy AS value FROM jobs WHERE sweep_id = ? AND state = 'done' \
             AND val_accuracy IS NOT NULL ORDER BY val_accuracy, job LIMIT 1"
        }
        ("train_loss", "maximize") => {
            "SELECT job, train_loss AS value FROM jobs WHERE sweep_id = ? AND state = 'done' \
             AND train_loss IS NOT NULL ORDER BY train_loss DESC, job LIMIT 1"
        }
        ("train_loss", "minimize") => {
            "SELECT job, train_loss AS value FROM jobs WHERE sweep_id = ? AND state = 'done' \
             AND train_loss IS NOT NULL ORDER BY train_loss, job LIMIT 1"
        }
        _ => return Err(StoreError::Damaged(format!("sweep {sweep} is ranked by {metric:?}, {goal:?}"))),
    };
    let row = sqlx::query(query).bind(integer(sweep.0)?).fetch_optional(connection).await?;
    row.map(|row| Ok((natural(&row, "job")?, row.try_get("value")?))).transpose()
}

async fn open_jobs(connection: &mut SqliteConnection, sweep: SweepId) -> Result<Vec<StoredJob>, StoreError> {
    let rows = sqlx::query(
        "SELECT j.job, j.state, j.attempts, j.failures, j.losses, j.lost_with, j.reason, j.epochs_done, j.train_seconds, \
         a.worker, a.slot, a.device, a.started, \
         e.epoch, e.train_loss, e.val_accuracy, e.epoch_seconds \
         FROM jobs j \
         JOIN attempts a ON a.sweep_id = j.sweep_id AND a.job = j.job AND a.attempt = j.attempts \
         LEFT JOIN epochs e ON e.sweep_id = j.sweep_id AND e.job = j.job AND e.attempt = j.attempts \
             AND e.epoch = j.epochs_done \
         WHERE j.sweep_id = ? AND j.state IN ('pending', 'running') ORDER BY j.job",
    )
    .bind(integer(sweep.0)?)
    .fetch_all(connection)
    .await?;
    rows.iter().map(open_job).collect()
}

fn open_job(row: &SqliteRow) -> Result<StoredJob, StoreError> {
    let running = match super::job_state(row)? {
        JobState::Running => Some(running_attempt(row)?),
        _ => None,
    };
    Ok(StoredJob {
        job: natural(row, "job")?,
        attempts: natural(row, "attempts")?,
        history: History {
            failures: natural(row, "failures")?,
            losses: natural(row, "losses")?,
            lost_with: serde_json::from_str(row.try_get("lost_with")?).map_err(|error| {
                StoreError::Damaged(format!("the workers that a job was lost with: {error}"))
            })?,
        },
        reason: row.try_get("reason")?,
        running,
    })
}

fn running_attempt(row: &SqliteRow) -> Result<StoredAttempt, StoreError> {
    let worker: String = row.try_get("worker")?;
    let worker: WorkerName = worker.parse().map_err(|error| StoreError::Damaged(format!("{error}")))?;
    let epoch: Option<i64> = row.try_get("epoch")?;
    let last: Option<EpochMetrics> = epoch.map(|_| super::metrics(row)).transpose()?;
    Ok(StoredAttempt {
        worker,
        slot: natural(row, "slot")?,
        device: row.try_get("device")?,
        started: row.try_get("started")?,
        train_seconds: row.try_get("train_seconds")?,
        last,
    })
}
