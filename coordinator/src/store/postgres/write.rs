//! Records into tables: one statement a table, however many records there are.

use proto::{AttemptKey, JobKey};
use sqlx::PgConnection;

use super::{
    super::{
        StoreError,
        cells::{dataset_json, integer, names_json},
    },
    fold::Fold,
};
use crate::core::record::Record;

/// Keeps records, inside a transaction of the caller's.
pub(super) async fn records(connection: &mut PgConnection, records: &[Record]) -> Result<(), StoreError> {
    for record in records {
        sweep(connection, record).await?;
    }
    // In the order in which the tables refer to each other.
    let fold = Fold::of(records);
    grants(connection, &fold).await?;
    jobs(connection, &fold).await?;
    begun(connection, &fold).await?;
    attempts(connection, &fold).await?;
    epochs(connection, &fold).await
}

/// PostgreSQL keeps every character but this one.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn sweep(connection: &mut PgConnection, record: &Record) -> Result<(), StoreError> {
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
             created_unix_ms) VALUES ($1, $2, NULLIF($3, ''), $4, $5, $6, $7, 'running', $8)",
        )
        .bind(integer(sweep.0)?)
        .bind(text(name))
        .bind(text(request_id))
        .bind(text(specification))
        .bind(metric.name.as_str())
        .bind(metric.goal.to_string())
        .bind(integer(*job_count)?)
        .bind(integer(*created_unix_ms)?),
        Record::SweepExtended { sweep, specification, job_count } => {
            sqlx::query("UPDATE sweeps SET specification = $2, job_count = $3 WHERE sweep_id = $1")
                .bind(integer(sweep.0)?)
                .bind(text(specification))
                .bind(integer(*job_count)?)
        }
        Record::SweepChanged { sweep, state, ended_unix_ms } => {
            sqlx::query("UPDATE sweeps SET state = $2, ended_unix_ms = $3 WHERE sweep_id = $1")
                .bind(integer(sweep.0)?)
                .bind(state.as_str())
                .bind(ended_unix_ms.map(integer).transpose()?)
        }
        Record::DatasetFound { sweep, dataset } => {
            sqlx::query("UPDATE sweeps SET dataset = $2 WHERE sweep_id = $1")
                .bind(integer(sweep.0)?)
                .bind(dataset_json(dataset)?)
        }
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// Keys of jobs as two columns.
#[derive(Default)]
struct Jobs {
    sweeps: Vec<i64>,
    jobs: Vec<i64>,
}

impl Jobs {
    fn push(&mut self, job: JobKey) -> Result<(), StoreError> {
        self.sweeps.push(integer(job.sweep.0)?);
        self.jobs.push(integer(job.job)?);
        Ok(())
    }
}

/// Keys of attempts as three columns.
#[derive(Default)]
struct Attempts {
    jobs: Jobs,
    attempts: Vec<i64>,
}

impl Attempts {
    fn push(&mut self, attempt: AttemptKey) -> Result<(), StoreError> {
        self.attempts.push(attempt.attempt.into());
        self.jobs.push(attempt.job)
    }
}

async fn grants(connection: &mut PgConnection, fold: &Fold<'_>) -> Result<(), StoreError> {
    if fold.grants.is_empty() {
        return Ok(());
    }
    let (mut keys, mut attempts, mut workers) = (Jobs::default(), Vec::new(), Vec::new());
    for (job, (attempt, worker)) in &fold.grants {
        keys.push(*job)?;
        attempts.push(i64::from(*attempt));
        workers.push(text(worker));
    }
    sqlx::query(
        "INSERT INTO jobs (sweep_id, job, state, attempts, worker) \
         SELECT sweep_id, job, 'running', attempts, worker \
         FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS n (sweep_id, job, attempts, worker) \
         ON CONFLICT (sweep_id, job) DO UPDATE SET state = 'running', attempts = excluded.attempts, \
         worker = excluded.worker, epochs_done = 0, train_seconds = 0, train_loss = NULL, val_accuracy = NULL",
    )
    .bind(keys.sweeps)
    .bind(keys.jobs)
    .bind(attempts)
    .bind(workers)
    .execute(connection)
    .await?;
    Ok(())
}

async fn jobs(connection: &mut PgConnection, fold: &Fold<'_>) -> Result<(), StoreError> {
    if fold.jobs.is_empty() {
        return Ok(());
    }
    let mut keys = Jobs::default();
    let (mut states, mut failures, mut losses, mut lost_with, mut reasons) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut epochs, mut seconds, mut train_loss, mut val_accuracy) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (job, patch) in &fold.jobs {
        keys.push(*job)?;
        states.push(patch.state.map(|state| state.as_str()));
        failures.push(patch.history.map(|(history, _)| i64::from(history.failures)));
        losses.push(patch.history.map(|(history, _)| i64::from(history.losses)));
        lost_with.push(patch.history.map(|(history, _)| names_json(&history.lost_with)).transpose()?);
        reasons.push(patch.history.map(|(_, reason)| text(reason)));
        epochs.push(patch.epoch.map(|(metrics, _)| i64::from(metrics.epoch)));
        seconds.push(patch.epoch.map(|(_, seconds)| seconds));
        train_loss.push(patch.epoch.map(|(metrics, _)| metrics.train_loss));
        val_accuracy.push(patch.epoch.map(|(metrics, _)| metrics.val_accuracy));
    }
    sqlx::query(
        "UPDATE jobs AS j SET state = COALESCE(n.state, j.state), failures = COALESCE(n.failures, j.failures), \
         losses = COALESCE(n.losses, j.losses), lost_with = COALESCE(n.lost_with, j.lost_with), \
         reason = COALESCE(n.reason, j.reason), epochs_done = COALESCE(n.epochs_done, j.epochs_done), \
         train_seconds = COALESCE(n.train_seconds, j.train_seconds), \
         train_loss = COALESCE(n.train_loss, j.train_loss), \
         val_accuracy = COALESCE(n.val_accuracy, j.val_accuracy) \
         FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], \
         $8::bigint[], $9::float8[], $10::float8[], $11::float8[]) AS n (sweep_id, job, state, failures, losses, \
         lost_with, reason, epochs_done, train_seconds, train_loss, val_accuracy) \
         WHERE j.sweep_id = n.sweep_id AND j.job = n.job",
    )
    .bind(keys.sweeps)
    .bind(keys.jobs)
    .bind(states)
    .bind(failures)
    .bind(losses)
    .bind(lost_with)
    .bind(reasons)
    .bind(epochs)
    .bind(seconds)
    .bind(train_loss)
    .bind(val_accuracy)
    .execute(connection)
    .await?;
    Ok(())
}

async fn begun(connection: &mut PgConnection, fold: &Fold<'_>) -> Result<(), StoreError> {
    if fold.begun.is_empty() {
        return Ok(());
    }
    let mut keys = Attempts::default();
    let (mut workers, mut slots, mut devices, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for begun in &fold.begun {
        keys.push(begun.attempt)?;
        workers.push(text(begun.worker));
        slots.push(i64::from(begun.slot));
        devices.push(text(begun.device));
        times.push(integer(begun.at_unix_ms)?);
    }
    sqlx::query(
        "INSERT INTO attempts (sweep_id, job, attempt, worker, slot, device, state, granted_unix_ms) \
         SELECT sweep_id, job, attempt, worker, slot, device, 'running', granted_unix_ms \
         FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[]) \
         AS n (sweep_id, job, attempt, worker, slot, device, granted_unix_ms)",
    )
    .bind(keys.jobs.sweeps)
    .bind(keys.jobs.jobs)
    .bind(keys.attempts)
    .bind(workers)
    .bind(slots)
    .bind(devices)
    .bind(times)
    .execute(connection)
    .await?;
    Ok(())
}

async fn attempts(connection: &mut PgConnection, fold: &Fold<'_>) -> Result<(), StoreError> {
    if fold.attempts.is_empty() {
        return Ok(());
    }
    let (mut keys, mut resumed) = (Attempts::default(), Vec::new());
    let (mut states, mut reasons, mut logs, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (attempt, patch) in &fold.attempts {
        keys.push(*attempt)?;
        resumed.push(patch.started.map(i64::from));
        let ended = patch.ended.as_ref();
        states.push(ended.map(|ended| ended.state.as_str()));
        reasons.push(ended.map(|ended| text(ended.reason)));
        logs.push(ended.map(|ended| serde_json::Value::from(ended.log_tail).to_string()));
        times.push(ended.map(|ended| integer(ended.at_unix_ms)).transpose()?);
    }
    sqlx::query(
        "UPDATE attempts AS a SET started = a.started OR n.resumed_epochs IS NOT NULL, \
         resumed_epochs = COALESCE(n.resumed_epochs, a.resumed_epochs), state = COALESCE(n.state, a.state), \
         reason = COALESCE(n.reason, a.reason), log_tail = COALESCE(n.log_tail, a.log_tail), \
         ended_unix_ms = COALESCE(n.ended_unix_ms, a.ended_unix_ms) \
         FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], \
         $8::bigint[]) AS n (sweep_id, job, attempt, resumed_epochs, state, reason, log_tail, ended_unix_ms) \
         WHERE a.sweep_id = n.sweep_id AND a.job = n.job AND a.attempt = n.attempt",
    )
    .bind(keys.jobs.sweeps)
    .bind(keys.jobs.jobs)
    .bind(keys.attempts)
    .bind(resumed)
    .bind(states)
    .bind(reasons)
    .bind(logs)
    .bind(times)
    .execute(connection)
    .await?;
    Ok(())
}

async fn epochs(connection: &mut PgConnection, fold: &Fold<'_>) -> Result<(), StoreError> {
    if fold.epochs.is_empty() {
        return Ok(());
    }
    let (mut keys, mut epochs) = (Attempts::default(), Vec::new());
    let (mut train_loss, mut val_accuracy, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for (attempt, metrics) in &fold.epochs {
        keys.push(*attempt)?;
        epochs.push(i64::from(metrics.epoch));
        train_loss.push(metrics.train_loss);
        val_accuracy.push(metrics.val_accuracy);
        seconds.push(metrics.epoch_seconds);
    }
    sqlx::query(
        "INSERT INTO epochs (sweep_id, job, attempt, epoch, train_loss, val_accuracy, epoch_seconds) \
         SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[], \
         $7::float8[])",
    )
    .bind(keys.jobs.sweeps)
    .bind(keys.jobs.jobs)
    .bind(keys.attempts)
    .bind(epochs)
    .bind(train_loss)
    .bind(val_accuracy)
    .bind(seconds)
    .execute(connection)
    .await?;
    Ok(())
}
