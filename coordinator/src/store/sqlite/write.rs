//! Records into tables.

use proto::AttemptKey;
use sqlx::SqliteConnection;

use super::super::{
    StoreError,
    cells::{dataset_json, integer, names_json},
    tables::epoch_checksum,
};
use crate::core::record::Record;

/// Keeps one record, inside a transaction of the caller's.
pub(super) async fn record(connection: &mut SqliteConnection, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::SweepSubmitted { .. }
        | Record::SweepExtended { .. }
        | Record::SweepChanged { .. }
        | Record::DatasetFound { .. } => sweep_record(connection, record).await,
        Record::AttemptGranted { .. } | Record::AttemptStarted { .. } | Record::AttemptEnded { .. } => {
            attempt_record(connection, record).await
        }
        Record::EpochRecorded { .. } | Record::JobChanged { .. } => job_record(connection, record).await,
    }
}

async fn sweep_record(connection: &mut SqliteConnection, record: &Record) -> Result<(), StoreError> {
    let query = match record {
        Record::SweepSubmitted {
            sweep,
            name,
            request_id,
            specification,
            metric,
            job_count,
            created_unix_ms,
        } => sqlx::query(
            "INSERT INTO sweeps (sweep_id, name, request_id, specification, metric, goal, job_count, state, \
                 created_unix_ms) VALUES (?, ?, NULLIF(?, ''), ?, ?, ?, ?, 'running', ?)",
        )
        .bind(integer(sweep.0)?)
        .bind(name)
        .bind(request_id)
        .bind(specification)
        .bind(metric.name.as_str())
        .bind(metric.goal.to_string())
        .bind(integer(*job_count)?)
        .bind(integer(*created_unix_ms)?),
        Record::SweepExtended { sweep, specification, job_count } => {
            sqlx::query("UPDATE sweeps SET specification = ?, job_count = ? WHERE sweep_id = ?")
                .bind(specification)
                .bind(integer(*job_count)?)
                .bind(integer(sweep.0)?)
        }
        Record::SweepChanged { sweep, state, ended_unix_ms } => {
            sqlx::query("UPDATE sweeps SET state = ?, ended_unix_ms = ? WHERE sweep_id = ?")
                .bind(state.as_str())
                .bind(ended_unix_ms.map(integer).transpose()?)
                .bind(integer(sweep.0)?)
        }
        Record::DatasetFound { sweep, dataset } => {
            sqlx::query("UPDATE sweeps SET dataset = ? WHERE sweep_id = ?")
                .bind(dataset_json(dataset)?)
                .bind(integer(sweep.0)?)
        }
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

async fn attempt_record(connection: &mut SqliteConnection, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::AttemptGranted { attempt, worker, slot, device, at_unix_ms } => {
            let (sweep, job, number) = keys(attempt)?;
            // The job starts over: nothing of an earlier attempt counts any more.
            sqlx::query(
                "INSERT INTO jobs (sweep_id, job, state, attempts, worker) VALUES (?, ?, 'running', ?, ?) \
                 ON CONFLICT (sweep_id, job) DO UPDATE SET state = 'running', attempts = excluded.attempts, \
                 worker = excluded.worker, epochs_done = 0, train_seconds = 0, train_loss = NULL, val_accuracy = NULL",
            )
            .bind(sweep)
            .bind(job)
            .bind(number)
            .bind(worker.as_str())
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "INSERT INTO attempts (sweep_id, job, attempt, worker, slot, device, state, granted_unix_ms) \
                 VALUES (?, ?, ?, ?, ?, ?, 'running', ?)",
            )
            .bind(sweep)
            .bind(job)
            .bind(number)
            .bind(worker.as_str())
            .bind(*slot)
            .bind(device)
            .bind(integer(*at_unix_ms)?)
            .execute(connection)
            .await?;
        }
        Record::AttemptStarted { attempt, resumed_epochs } => {
            let (sweep, job, number) = keys(attempt)?;
            sqlx::query(
                "UPDATE attempts SET started = 1, resumed_epochs = ? WHERE sweep_id = ? AND job = ? AND attempt = ?",
            )
            .bind(*resumed_epochs)
            .bind(sweep)
            .bind(job)
            .bind(number)
            .execute(connection)
            .await?;
        }
        Record::AttemptEnded { attempt, state, reason, log_tail, at_unix_ms } => {
            let (sweep, job, number) = keys(attempt)?;
            sqlx::query(
                "UPDATE attempts SET state = ?, reason = ?, log_tail = ?, ended_unix_ms = ? \
                 WHERE sweep_id = ? AND job = ? AND attempt = ?",
            )
            .bind(state.as_str())
            .bind(reason)
            .bind(serde_json::Value::from(log_tail.as_slice()).to_string())
            .bind(integer(*at_unix_ms)?)
            .bind(sweep)
            .bind(job)
            .bind(number)
            .execute(connection)
            .await?;
        }
        _ => {}
    }
    Ok(())
}

async fn job_record(connection: &mut SqliteConnection, record: &Record) -> Result<(), StoreError> {
    match record {
        Record::EpochRecorded { attempt, epoch, train_seconds } => {
            let (sweep, job, number) = keys(attempt)?;
            sqlx::query(
                "INSERT INTO epochs (sweep_id, job, attempt, epoch, train_loss, val_accuracy, epoch_seconds, checksum) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(sweep)
            .bind(job)
            .bind(number)
            .bind(epoch.epoch)
            .bind(epoch.train_loss)
            .bind(epoch.val_accuracy)
            .bind(epoch.epoch_seconds)
            .bind(epoch_checksum((sweep, job, number), epoch))
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "UPDATE jobs SET epochs_done = ?, train_seconds = ?, train_loss = ?, val_accuracy = ? \
                 WHERE sweep_id = ? AND job = ?",
            )
            .bind(epoch.epoch)
            .bind(*train_seconds)
            .bind(epoch.train_loss)
            .bind(epoch.val_accuracy)
            .bind(sweep)
            .bind(job)
            .execute(connection)
            .await?;
        }
        Record::JobChanged { job, state, history, reason } => {
            sqlx::query(
                "UPDATE jobs SET state = ?, failures = ?, losses = ?, lost_with = ?, reason = ? \
                 WHERE sweep_id = ? AND job = ?",
            )
            .bind(state.as_str())
            .bind(history.failures)
            .bind(history.losses)
            .bind(names_json(&history.lost_with)?)
            .bind(reason)
            .bind(integer(job.sweep.0)?)
            .bind(integer(job.job)?)
            .execute(connection)
            .await?;
        }
        _ => {}
    }
    Ok(())
}

fn keys(attempt: &AttemptKey) -> Result<(i64, i64, u32), StoreError> {
    Ok((integer(attempt.job.sweep.0)?, integer(attempt.job.job)?, attempt.attempt))
}
