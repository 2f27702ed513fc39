//! What users are shown, as it travels: sweeps, what runs of them, workers.

use domain::{
    record::WeightsState,
    specification::{Goal, MetricUse},
};
use engine::{
    JobCounts, KeptWeights, RunningJob, Share, SlotDescription, Snapshot, SweepView, WaitReason, Waiting,
    WorkerStatus, WorkerView,
};
use proto::v1;

/// A sweep with its specification.
pub(crate) fn sweep(view: &SweepView) -> v1::Sweep {
    let model = view.definition.specification.trainable.model();
    v1::Sweep {
        specification: view.definition.shown_text(),
        manifest: model.map(|model| model.to_json()).unwrap_or_default(),
        ..summary(view)
    }
}

/// A sweep in a list: without what may be long, so that a page of a thousand has some megabytes at most.
pub(crate) fn listed(view: &SweepView) -> v1::Sweep {
    v1::Sweep { dataset: None, metric_names: Vec::new(), ..summary(view) }
}

/// A sweep and what runs, without its specification, which does not change with what the jobs do.
pub(crate) fn watch_snapshot(view: Snapshot) -> v1::WatchSnapshot {
    let Snapshot { sweep, running } = view;
    let running = running.into_iter().map(|job| running_job(&sweep, job)).collect();
    v1::WatchSnapshot { sweep: Some(summary(&sweep)), running }
}

/// The same as an event of a watch.
pub(crate) fn snapshot(view: Snapshot) -> v1::WatchSweepResponse {
    let event = v1::watch_sweep_response::Event::Snapshot(watch_snapshot(view));
    v1::WatchSweepResponse { event: Some(event) }
}

fn summary(view: &SweepView) -> v1::Sweep {
    let definition = &view.definition;
    let metric = &definition.metric;
    v1::Sweep {
        sweep_id: view.id().0,
        name: definition.specification.name.clone(),
        state: v1::SweepState::from(view.state).into(),
        job_count: view.job_count(),
        counts: Some(counts(view.counts)),
        created_unix_ms: view.created_unix_ms,
        owner: view.owner.as_deref().unwrap_or_default().to_owned(),
        priority: definition.execution.priority,
        share: view.share.map(|Share { slots, quota, weight }| v1::Share { slots, quota, weight }),
        ended_unix_ms: view.ended_unix_ms.unwrap_or(0),
        metric: Some(v1::Metric {
            name: metric.name.to_string(),
            maximize: metric.goal == Goal::Maximize,
            use_best: metric.used == MetricUse::Best,
        }),
        best: view.best.map(|best| v1::BestJob {
            point: Some(point(view, best.job)),
            value: best.value,
            trainings: best.trainings,
        }),
        varying: definition.varying.iter().map(|name| name.to_string()).collect(),
        specification: String::new(),
        manifest: String::new(),
        dataset: view.dataset.as_deref().cloned().map(Into::into),
        waiting: view.waiting.clone().map(waiting),
        best_weights: view.best_weights.clone().map(kept_weights),
        weights_awaited: view.weights_awaited,
        metric_names: view.metrics.names().iter().map(ToString::to_string).collect(),
        metrics_left_out: view.left_out.values,
        metrics_left_out_reason: view.left_out.reason.clone(),
        unread_parameters: view.unread_parameters.clone(),
        stopped: view.stopped.clone().unwrap_or_default(),
        cannot_pause: view.cannot_pause.clone().unwrap_or_default(),
    }
}

fn point(view: &SweepView, job: u64) -> v1::JobPoint {
    proto::job_point(job, view.definition.parameters(job))
}

fn counts(counts: JobCounts) -> v1::JobCounts {
    let JobCounts { pending, running, paused, done, diverged, stopped, failed, cancelled } = counts;
    v1::JobCounts { pending, running, paused, done, diverged, stopped, failed, cancelled }
}

fn waiting(waiting: Waiting) -> v1::Waiting {
    let Waiting { reason, text, idle_ms, since_unix_ms } = waiting;
    let reason = match reason {
        WaitReason::NoWorker => v1::WaitReason::NoWorker,
        WaitReason::NoneCanTrain => v1::WaitReason::NoneCanTrain,
        WaitReason::AllQuarantined => v1::WaitReason::AllQuarantined,
        WaitReason::Paused => v1::WaitReason::Paused,
        WaitReason::MaxParallel => v1::WaitReason::MaxParallel,
        WaitReason::SlotsBusy => v1::WaitReason::SlotsBusy,
        WaitReason::DataSet => v1::WaitReason::DataSet,
        WaitReason::NoPoint => v1::WaitReason::NoPoint,
        WaitReason::Quota => v1::WaitReason::Quota,
    };
    v1::Waiting { reason: reason.into(), text, idle_ms, since_unix_ms: since_unix_ms.unwrap_or(0) }
}

fn kept_weights(weights: KeptWeights) -> v1::Artifact {
    let KeptWeights { job, attempt, worker, file, value } = weights;
    v1::Artifact {
        job,
        attempt,
        state: WeightsState::Kept.as_str().to_owned(),
        bytes: file.bytes,
        blake3: file.blake3,
        worker: worker.into(),
        value,
        reason: String::new(),
    }
}

fn running_job(view: &SweepView, job: RunningJob) -> v1::RunningJob {
    v1::RunningJob {
        point: Some(point(view, job.attempt.job.job)),
        attempt: job.attempt.attempt,
        worker: job.worker.into(),
        slot: job.slot,
        device: job.device,
        epochs_done: job.epochs_done,
        epochs_total: job.epochs_total.unwrap_or(0),
        fraction: job.fraction,
        preparing: job.preparing,
        last: job.last.map(|epoch| proto::epoch_to_wire(&view.metrics, &epoch)),
    }
}

/// A worker.
pub(crate) fn worker(view: WorkerView) -> v1::Worker {
    let (status, name) = match view.status {
        WorkerStatus::Connected => (v1::WorkerStatus::Connected, "connected"),
        WorkerStatus::Draining => (v1::WorkerStatus::Draining, "draining"),
        WorkerStatus::Quarantined => (v1::WorkerStatus::Quarantined, "quarantined"),
        WorkerStatus::Disconnected => (v1::WorkerStatus::Disconnected, "disconnected"),
    };
    let slot = |slot: SlotDescription| {
        let SlotDescription { index, device, description, pack_size_max } = slot;
        v1::Slot { index, device, description, pack_size_max }
    };
    v1::Worker {
        name: view.name.into(),
        host: view.host,
        software_version: view.software_version,
        state: name.to_owned(),
        slots: view.slots.into_iter().map(slot).collect(),
        running: view.running.into_iter().map(Into::into).collect(),
        last_seen_unix_ms: view.last_seen_unix_ms,
        reason: view.reason,
        status: status.into(),
        models: view.models,
        runs_programs: view.runs_programs,
        busy_slots: view.busy_slots,
        gpus: view.gpus.into_iter().map(Into::into).collect(),
    }
}
