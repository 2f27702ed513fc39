//! Builds rows from records.

use domain::record::Record;
use terms::{AttemptKey, Epoch, JobKey, SweepId};

use super::super::{
    StoreError,
    cells::integer,
    tables::{self, Added, text},
};

/// The error for a record of the wrong kind: a bug in this program.
fn other() -> StoreError {
    StoreError::Unfit("a record of another kind than its row's".to_owned())
}

pub(super) fn sweep(record: &Record) -> Result<tables::Sweep, StoreError> {
    let Record::SweepSubmitted {
        sweep,
        name,
        request_id,
        specification,
        manifest,
        objective,
        job_count,
        created_unix_ms,
        owner,
    } = record
    else {
        return Err(other());
    };
    Ok(tables::Sweep {
        sweep_id: integer(sweep.0)?,
        name: text(name)?,
        // Of older rows: no two sweeps can have the same there.
        request_id: None,
        specification: text(specification)?,
        metric: text(&objective.name)?,
        goal: objective.goal.as_str().into(),
        job_count: integer(*job_count)?,
        state: "running".into(),
        dataset: None,
        created_unix_ms: integer(*created_unix_ms)?,
        ended_unix_ms: None,
        manifest: Added(Some(text(manifest)?)),
        parameters: Added(None),
        without_checkpoint: Added(None),
        owner: Added(owner.as_deref().map(text).transpose()?),
        owners_request_id: Added(if request_id.is_empty() { None } else { Some(text(request_id)?) }),
    })
}

pub(super) fn metric(sweep: SweepId, place: u64, name: &str) -> Result<tables::Metric, StoreError> {
    Ok(tables::Metric { sweep_id: integer(sweep.0)?, place: integer(place)?, name: text(name)? })
}

/// A job that has no results yet.
pub(super) fn job(key: JobKey) -> Result<tables::Job, StoreError> {
    Ok(tables::Job {
        sweep_id: integer(key.sweep.0)?,
        job: integer(key.job)?,
        state: "running".into(),
        attempts: 0,
        failures: 0,
        losses: 0,
        lost_with: "".into(),
        worker: "".into(),
        reason: "".into(),
        pack_size: None,
        epochs_done: 0,
        train_seconds: 0.0,
        objective: None,
        metrics: None,
        best_epoch: None,
        best_objective: None,
        best_metrics: None,
        budget: Added(None),
        rungs: Added(None),
    })
}

pub(super) fn attempt(record: &Record) -> Result<tables::Attempt, StoreError> {
    let Record::AttemptGranted { attempt, worker, slot, device, pack_size, at_unix_ms, .. } = record else {
        return Err(other());
    };
    Ok(tables::Attempt {
        sweep_id: integer(attempt.job.sweep.0)?,
        job: integer(attempt.job.job)?,
        attempt: attempt.attempt.into(),
        worker: text(worker.as_str())?,
        slot: (*slot).into(),
        device: text(device)?,
        started: false,
        resumed_epochs: 0,
        state: "running".into(),
        reason: "".into(),
        log_tail: "".into(),
        granted_unix_ms: integer(*at_unix_ms)?,
        ended_unix_ms: None,
        // NULL for a job alone, as most are.
        pack_size: Added((*pack_size > 1).then(|| (*pack_size).into())),
    })
}

pub(super) fn epoch(key: AttemptKey, epoch: &Epoch) -> Result<tables::Epoch, StoreError> {
    Ok(tables::Epoch {
        sweep_id: integer(key.job.sweep.0)?,
        job: integer(key.job.job)?,
        attempt: key.attempt.into(),
        epoch: epoch.number.into(),
        seconds: epoch.seconds,
        metrics: epoch.row.to_bytes(),
    })
}

pub(super) fn artifact(record: &Record) -> Result<tables::Artifact, StoreError> {
    let Record::WeightsChanged { attempt, state, worker, file, value, reason } = record else {
        return Err(other());
    };
    Ok(tables::Artifact {
        sweep_id: integer(attempt.job.sweep.0)?,
        job: integer(attempt.job.job)?,
        attempt: attempt.attempt.into(),
        state: state.as_str().into(),
        worker: text(worker.as_str())?,
        bytes: integer(file.bytes)?,
        blake3: text(&file.blake3)?,
        value: *value,
        reason: text(reason)?,
    })
}
