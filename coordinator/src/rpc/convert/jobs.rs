//! Jobs, their attempts and epochs, as they travel.

use domain::specification::Change;
use proto::v1;
use store::{AttemptRow, EpochRow, JobRow};
use terms::{AttemptState, metrics::known};

use super::sweep;
use crate::{
    api::{EpochSeen, JobDetail, JobSeen, JobView, Report, Submitted, Validated},
    rpc::pages::bound_logs,
};

/// A job.
pub(crate) fn job(view: JobView) -> v1::Job {
    let JobView { job, parameters, state, row, weights, reason, times, device } = view;
    let shown = v1::Job {
        point: Some(proto::job_point(job, parameters)),
        state: v1::JobState::from(state).into(),
        weights: weights.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        reason,
        started_unix_ms: times.started_unix_ms.unwrap_or(0),
        ended_unix_ms: times.ended_unix_ms.unwrap_or(0),
        device,
        ..v1::Job::default()
    };
    match row {
        Some(row) => with_row(shown, row),
        None => shown,
    }
}

/// A job with what its attempts brought.
fn with_row(job: v1::Job, row: JobRow) -> v1::Job {
    let best = row.best.as_ref();
    v1::Job {
        attempts: row.attempts,
        epochs_done: row.epochs_done,
        train_seconds: row.train_seconds,
        val_accuracy: row.names.get(&row.last, known::VAL_ACCURACY),
        train_loss: row.names.get(&row.last, known::TRAIN_LOSS),
        val_loss: row.names.get(&row.last, known::VAL_LOSS),
        train_accuracy: row.names.get(&row.last, known::TRAIN_ACCURACY),
        metrics: proto::metrics_to_wire(&row.names, &row.last),
        objective: row.objective,
        best_epoch: best.map(|best| best.epoch),
        best_val_accuracy: best.and_then(|best| row.names.get(&best.row, known::VAL_ACCURACY)),
        best_metrics: best.map(|best| proto::metrics_to_wire(&row.names, &best.row)).unwrap_or_default(),
        best_objective: best.map(|best| best.value),
        worker: row.worker,
        reason: row.reason,
        pack_size: row.pack_size,
        ..job
    }
}

/// A job with its attempts and epochs.
pub(crate) fn detail(detail: JobDetail) -> v1::JobDetail {
    v1::JobDetail {
        job: Some(job(detail.job)),
        attempts: attempts(detail.attempts),
        epochs: detail.epochs.iter().map(epoch_row).collect(),
        proposal: detail.proposal.unwrap_or_default(),
    }
}

/// The attempts of a job with as much of their logs as is sent of one.
pub(crate) fn attempts(mut attempts: Vec<AttemptRow>) -> Vec<v1::Attempt> {
    bound_logs(&mut attempts);
    attempts.into_iter().map(attempt).collect()
}

/// An attempt.
fn attempt(row: AttemptRow) -> v1::Attempt {
    v1::Attempt {
        attempt: row.attempt,
        worker: row.worker,
        slot: row.slot,
        device: row.device,
        granted_unix_ms: row.granted_unix_ms,
        ended_unix_ms: row.ended_unix_ms.unwrap_or(0),
        state: AttemptState::from_name(&row.state).map_or(0, |state| v1::AttemptState::from(state).into()),
        outcome: row.state,
        reason: row.reason,
        log_tail: row.log_tail,
        resumed_epochs: row.resumed_epochs,
        pack_size: row.pack_size,
        began: Some(row.started),
    }
}

/// An epoch.
pub(crate) fn epoch_row(row: &EpochRow) -> v1::EpochRow {
    v1::EpochRow {
        job: row.job,
        attempt: row.attempt,
        record: Some(proto::epoch_to_wire(&row.names, &row.epoch)),
    }
}

/// An epoch that became durable.
pub(crate) fn epoch_seen(seen: EpochSeen) -> v1::WatchSweepResponse {
    let EpochSeen { attempt, parameters, epochs_total, epoch, metrics, resumed_epochs } = seen;
    let event = v1::watch_sweep_response::Event::Epoch(v1::EpochObserved {
        point: Some(proto::job_point(attempt.job.job, parameters)),
        attempt: attempt.attempt,
        epochs_total: epochs_total.unwrap_or(0),
        record: Some(proto::epoch_to_wire(&metrics, &epoch)),
        resumed_epochs,
    });
    v1::WatchSweepResponse { event: Some(event) }
}

/// A job that changed its state.
pub(crate) fn job_seen(seen: JobSeen) -> v1::WatchSweepResponse {
    let JobSeen { attempt, parameters, state, worker, reason } = seen;
    let event = v1::watch_sweep_response::Event::Job(v1::JobChanged {
        point: Some(proto::job_point(attempt.job.job, parameters)),
        state: v1::JobState::from(state).into(),
        attempt: attempt.attempt,
        worker: worker.into(),
        reason,
    });
    v1::WatchSweepResponse { event: Some(event) }
}

/// What a sweep file would make.
pub(crate) fn validated(validated: Validated) -> v1::ValidateResponse {
    let Validated { name, job_count, varying, first_jobs, notes } = validated;
    let point = |(job, parameters)| proto::job_point(job, parameters);
    v1::ValidateResponse {
        name,
        job_count,
        varying,
        first_jobs: first_jobs.into_iter().map(point).collect(),
        notes,
    }
}

/// What came of a submission.
pub(crate) fn submitted(submitted: Submitted) -> v1::SubmitResponse {
    let Submitted { sweep: view, created, added_jobs, changes, notes } = submitted;
    let changed = changes.into_iter().map(change).collect();
    v1::SubmitResponse { sweep: Some(sweep(&view)), created, added_jobs, changed, notes }
}

/// A setting that changed.
pub(crate) fn change(change: Change) -> v1::SettingChange {
    let Change { key, before, after } = change;
    v1::SettingChange { key, before, after }
}

/// What a report begins with.
pub(crate) fn report_header(report: &Report) -> v1::ReportHeader {
    let header = sweep(&report.sweep);
    let metrics = header.metric_names.clone();
    v1::ReportHeader { sweep: Some(header), parameters: report.parameters.clone(), metrics }
}
