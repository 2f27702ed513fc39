//! Things as JSON, for the command line and for the page. They come as messages and are made into the report's types, whose views are the
//! one shape that each thing has.

pub(crate) mod rows;
pub(crate) mod space;

use domain::{
    definition::first_document,
    specification::{Models, Specification},
};
use proto::v1;
use report::{
    Columns,
    view::{self, Attempts},
};

use self::rows::Rows;

/// A sweep as lists show it.
pub(crate) fn listed(sweep: &v1::Sweep) -> view::Sweep {
    view::Sweep::listed(&rows::sweep(sweep.clone(), Vec::new(), &[]))
}

/// A sweep with all that is known of it.
pub(crate) fn whole(sweep: &v1::Sweep) -> view::Sweep {
    whole_with(sweep, parameters(sweep))
}

/// The same of a sweep with these parameters.
pub(crate) fn whole_with(sweep: &v1::Sweep, parameters: Vec<String>) -> view::Sweep {
    view::Sweep::whole(&rows::sweep(sweep.clone(), parameters, &sweep.metric_names))
}

/// The jobs of one sweep.
pub(crate) struct Jobs {
    rows: Rows,
    parameters: Vec<String>,
    columns: Columns,
}

impl Jobs {
    /// The jobs of this sweep, whose parameters are read from its specification.
    pub(crate) fn new(sweep: &v1::Sweep) -> Self {
        Self::with_parameters(sweep, parameters(sweep))
    }

    /// The jobs of a sweep with these parameters.
    pub(crate) fn with_parameters(sweep: &v1::Sweep, parameters: Vec<String>) -> Self {
        let metrics = sweep.metric_names.clone();
        let header = v1::ReportHeader { sweep: Some(sweep.clone()), parameters: parameters.clone(), metrics };
        let (rows, sweep) = Rows::new(header);
        let columns = Columns::new(&parameters, &sweep.metrics, &sweep.objective.name);
        Self { rows, parameters, columns }
    }

    /// A job without its epochs.
    pub(crate) fn job(&mut self, job: v1::Job) -> view::Job {
        let best = self.best(&job);
        let job = self.rows.job(job);
        view::Job::new(&self.parameters, &self.columns, &job, best, None)
    }

    /// A job with its attempts and epochs.
    pub(crate) fn detail(&mut self, detail: v1::JobDetail) -> view::Job {
        let job = detail.job.unwrap_or_default();
        let best = self.best(&job);
        let job = self.rows.job(job);
        let epochs: Vec<_> = detail.epochs.into_iter().map(|epoch| self.rows.epoch(epoch)).collect();
        let mut shown = view::Job::new(&self.parameters, &self.columns, &job, best, Some(&epochs));
        let attempts = detail.attempts.into_iter().map(attempt).collect();
        shown.attempts = Attempts::List(attempts);
        shown.proposal = Some(detail.proposal).filter(|proposal| !proposal.is_empty());
        shown
    }

    fn best(&self, job: &v1::Job) -> Option<(u32, Option<f64>)> {
        Some((job.best_epoch?, rows::best_objective_of(job, self.rows.objective())))
    }
}

/// The first of a sweep's specifications, which has its settings, its model and its data set. What follows it may be shortened for people.
///
/// # Errors
/// This version cannot read it, or what its model says of itself.
pub(crate) fn specification(sweep: &v1::Sweep) -> anyhow::Result<Specification> {
    let models = Models::from_json(&sweep.manifest)?;
    Ok(Specification::from_stored(first_document(&sweep.specification), &models)?)
}

/// The names of a sweep's parameters; of a sweep file that this version cannot read, those that vary.
fn parameters(sweep: &v1::Sweep) -> Vec<String> {
    match specification(sweep) {
        Ok(specification) => specification.axes.iter().map(|axis| axis.name.to_string()).collect(),
        Err(_) => sweep.varying.clone(),
    }
}

fn attempt(attempt: v1::Attempt) -> view::Attempt {
    view::Attempt {
        attempt: attempt.attempt,
        outcome: attempt.outcome,
        worker: attempt.worker,
        slot: attempt.slot,
        device: attempt.device,
        resumed_epochs: attempt.resumed_epochs,
        pack_size: attempt.pack_size,
        granted: view::time(attempt.granted_unix_ms),
        ended: view::time(attempt.ended_unix_ms),
        reason: attempt.reason,
    }
}

fn gpu(gpu: &v1::GpuUse) -> view::Gpu {
    view::Gpu {
        device: gpu.device.clone(),
        name: gpu.name.clone(),
        utilization_percent: gpu.utilization_percent,
        memory_used_bytes: gpu.memory_used_bytes,
        memory_total_bytes: gpu.memory_total_bytes,
    }
}

/// A worker.
pub(crate) fn worker(worker: &v1::Worker) -> view::Worker {
    let mut devices: Vec<&str> = worker.slots.iter().map(|slot| slot.device.as_str()).collect();
    devices.dedup();
    view::Worker {
        name: worker.name.clone(),
        state: worker.state.clone(),
        host: worker.host.clone(),
        slots: worker.slots.len() as u64,
        busy: match worker.busy_slots {
            // Older coordinators do not say it.
            0 => worker.running.len().min(worker.slots.len()) as u64,
            busy => busy.into(),
        },
        running: worker.running.len() as u64,
        devices: devices.join(" "),
        gpus: worker.gpus.iter().map(gpu).collect(),
        models: worker.models.clone(),
        programs: worker.runs_programs,
        version: worker.software_version.clone(),
        last_seen: view::time(worker.last_seen_unix_ms),
        reason: worker.reason.clone(),
    }
}
