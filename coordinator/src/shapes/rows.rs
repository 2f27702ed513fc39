//! Converts messages into the report's own types. Only this file knows both.

use std::sync::Arc;

use proto::v1;
use report::{BestJob, Epoch, Job, JobCounts, Share, Sweep, Weights};
use terms::{
    EpochReport, Goal, JobState, METRICS_MAX, MISSING, MetricRow, MetricSchema, MetricUse, Objective,
    SweepState,
    manifest::{Manifest, builtins_described},
    metrics::known,
};

/// Reads the rows of one sweep.
#[derive(Debug)]
pub(crate) struct Rows {
    metrics: MetricSchema,
    objective: Objective,
    /// Values of metrics that the header does not name: they arrived while the rows were sent.
    later: u64,
}

/// What ranks the jobs of a sweep.
pub(crate) fn objective(sweep: &v1::Sweep) -> Objective {
    let Some(metric) = &sweep.metric else {
        return Objective { name: known::VAL_ACCURACY.into(), goal: Goal::Maximize, used: MetricUse::Last };
    };
    let goal = if metric.maximize { Goal::Maximize } else { Goal::Minimize };
    let used = if metric.use_best { MetricUse::Best } else { MetricUse::Last };
    Objective { name: metric.name.as_str().into(), goal, used }
}

/// What the model of a sweep says about itself; nothing of a program. Coordinators that do not send it know built-in models
/// alone; the specification was written by them, with each key of its own on a line.
fn manifest(sweep: &v1::Sweep) -> Option<Arc<Manifest>> {
    if let Ok(manifest) = Manifest::from_json(&sweep.manifest) {
        return Some(Arc::new(manifest));
    }
    let model = sweep.specification.lines().find_map(|line| line.strip_prefix("model:"))?;
    let known = builtins_described().iter().find(|known| known.name == model.trim())?;
    Some(Arc::clone(known.manifest()))
}

/// The metrics of a sweep: those of its model in the model's order, then the others that arrived.
pub(crate) fn metrics(sweep: &v1::Sweep, names: &[String]) -> MetricSchema {
    let manifest = manifest(sweep);
    let of_model = manifest.as_ref().map_or(&[] as &[_], |manifest| &manifest.metrics);
    let mut schema = MetricSchema::default();
    let objective = objective(sweep).name;
    let names = names.iter().map(String::as_str).chain([&*objective]);
    for name in of_model.iter().map(|metric| metric.name.as_str()).chain(names) {
        // At most a hundred arrived; invalid names were not accepted either.
        let _ = schema.add(name);
    }
    schema
}

/// A metric of the last epoch of a job. A coordinator that only knows four metrics has fields for them.
pub(crate) fn metric_of(job: &v1::Job, name: &str) -> Option<f64> {
    if !job.metrics.is_empty() {
        return job.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value);
    }
    match name {
        known::TRAIN_LOSS => job.train_loss,
        known::VAL_ACCURACY => job.val_accuracy,
        known::VAL_LOSS => job.val_loss,
        known::TRAIN_ACCURACY => job.train_accuracy,
        _ => None,
    }
}

/// The objective, which has this name, at the best epoch of a job.
pub(crate) fn best_objective_of(job: &v1::Job, name: &str) -> Option<f64> {
    if !job.best_metrics.is_empty() {
        return job.best_metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value);
    }
    best_of_fields(job, name).or(job.best_objective)
}

/// A sweep with these parameters, of which metrics of these names arrived.
pub(crate) fn sweep(sweep: v1::Sweep, parameters: Vec<String>, names: &[String]) -> Sweep {
    let counts = sweep.counts.unwrap_or_default();
    Sweep {
        state: SweepState::try_from(sweep.state()).ok(),
        objective: objective(&sweep),
        metrics: metrics(&sweep, names),
        manifest: manifest(&sweep),
        best: sweep.best.and_then(|best| {
            let point = best.point?;
            let parameters = proto::parameters_from_wire(point.parameters);
            Some(BestJob { job: point.job, parameters, value: best.value, trainings: best.trainings.max(1) })
        }),
        id: sweep.sweep_id,
        name: sweep.name,
        job_count: sweep.job_count,
        counts: JobCounts {
            pending: counts.pending,
            running: counts.running,
            paused: counts.paused,
            done: counts.done,
            diverged: counts.diverged,
            stopped: counts.stopped,
            failed: counts.failed,
            cancelled: counts.cancelled,
        },
        created_unix_ms: sweep.created_unix_ms,
        ended_unix_ms: sweep.ended_unix_ms,
        best_weights: sweep.best_weights.map(|best| Weights {
            job: best.job,
            attempt: best.attempt,
            bytes: best.bytes,
            blake3: best.blake3,
        }),
        weights_awaited: sweep.weights_awaited,
        waiting: sweep.waiting.map(|waiting| waiting.text),
        parameters,
        varying: sweep.varying,
        repeats: domain::best::repeats(&sweep.specification),
        metrics_left_out: sweep.metrics_left_out,
        metrics_left_out_reason: sweep.metrics_left_out_reason,
        unread_parameters: sweep.unread_parameters,
        stopped: Some(sweep.stopped).filter(|why| !why.is_empty()),
        cannot_pause: Some(sweep.cannot_pause).filter(|why| !why.is_empty()),
        owner: Some(sweep.owner).filter(|owner| !owner.is_empty()),
        priority: sweep.priority,
        share: sweep.share.map(|v1::Share { slots, quota, weight }| Share { slots, quota, weight }),
        specification: sweep.specification,
        dataset: sweep.dataset.map(Into::into),
    }
}

impl Rows {
    /// Begins with the header; also returns what it says about the sweep.
    pub(crate) fn new(header: v1::ReportHeader) -> (Self, Sweep) {
        let sweep = sweep(header.sweep.unwrap_or_default(), header.parameters, &header.metrics);
        let rows = Self { metrics: sweep.metrics.clone(), objective: sweep.objective.clone(), later: 0 };
        (rows, sweep)
    }

    /// The name of the metric that ranks jobs.
    pub(crate) fn objective(&self) -> &str {
        &self.objective.name
    }

    pub(crate) fn job(&mut self, job: v1::Job) -> Job {
        let state = JobState::try_from(job.state()).ok();
        let names: Vec<String> = self.metrics.names().iter().map(ToString::to_string).collect();
        let known = |of: fn(&v1::Job, &str) -> Option<f64>| -> MetricRow {
            MetricRow::new(&names.iter().map(|name| of(&job, name).unwrap_or(MISSING)).collect::<Vec<_>>())
        };
        let metrics = if job.metrics.is_empty() { known(metric_of) } else { self.row(pairs(&job.metrics)) };
        let best_metrics = match job.best_metrics.as_slice() {
            [] => known(best_of_fields),
            metrics => self.row(pairs(metrics)),
        };
        let point = job.point.unwrap_or_default();
        Job {
            number: point.job,
            parameters: proto::parameters_from_wire(point.parameters),
            state,
            attempts: job.attempts,
            started_unix_ms: job.started_unix_ms,
            ended_unix_ms: job.ended_unix_ms,
            worker: job.worker,
            device: job.device,
            epochs_done: job.epochs_done,
            train_seconds: job.train_seconds,
            metrics,
            best_epoch: job.best_epoch,
            best_metrics,
            reason: job.reason,
            pack_size: job.pack_size,
            weights: job.weights,
        }
    }

    pub(crate) fn epoch(&mut self, epoch: v1::EpochRow) -> Epoch {
        let EpochReport { number, seconds, metrics } = epoch.record.unwrap_or_default().into();
        let metrics = self.row(metrics.iter().map(|(name, value)| (&**name, *value)));
        Epoch { attempt: epoch.attempt, number, seconds, metrics }
    }

    /// Values of metrics that are in no table, as they arrived too late.
    pub(crate) fn later(&self) -> u64 {
        self.later
    }

    fn row<'n>(&mut self, metrics: impl Iterator<Item = (&'n str, f64)>) -> MetricRow {
        let mut row = [MISSING; METRICS_MAX];
        for (guess, (name, value)) in metrics.enumerate() {
            match self.metrics.index_near(guess, name) {
                Some(index) => row[index] = value,
                None => self.later += 1,
            }
        }
        MetricRow::new(&row)
    }
}

/// Names and values as the wire has them.
fn pairs(metrics: &[v1::MetricValue]) -> impl Iterator<Item = (&str, f64)> {
    metrics.iter().map(|metric| (&*metric.name, metric.value))
}

/// Such a coordinator only reports the validation accuracy of the best epoch.
fn best_of_fields(job: &v1::Job, name: &str) -> Option<f64> {
    job.best_val_accuracy.filter(|_| name == known::VAL_ACCURACY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(specification: &str, metrics: &[&str]) -> v1::ReportHeader {
        let metric = v1::Metric { name: "f1".into(), maximize: true, use_best: true };
        let sweep =
            v1::Sweep { metric: Some(metric), specification: specification.into(), ..v1::Sweep::default() };
        let metrics = metrics.iter().map(|name| (*name).to_owned()).collect();
        v1::ReportHeader { sweep: Some(sweep), metrics, ..v1::ReportHeader::default() }
    }

    #[test]
    fn metrics_are_those_of_the_model_then_those_that_came_in_then_the_objective() {
        let names = |header| -> Vec<String> {
            Rows::new(header).1.metrics.names().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(header("name: x\nprogram: train.py\n", &["loss"])), ["loss", "f1"]);
        assert_eq!(
            names(header("name: x\nmodel: simple_cnn\n", &["val_loss"])),
            ["train_loss", "val_accuracy", "val_loss", "train_accuracy", "f1"]
        );
        let (_, sweep) = Rows::new(header("name: |\n  model: simple_cnn\nprogram: x\n", &[]));
        assert!(sweep.manifest.is_none(), "a line of a text is no key");
    }

    #[test]
    fn what_an_older_coordinator_says_in_fields_is_understood() {
        let (mut rows, _) = Rows::new(header("model: simple_cnn\n", &[]));
        let job = v1::Job { val_accuracy: Some(0.5), val_loss: Some(0.25), ..v1::Job::default() };
        assert_eq!(rows.job(job).metrics, MetricRow::new(&[MISSING, 0.5, 0.25]));
        let record =
            v1::EpochRecord { epoch: 1, train_loss: 0.75, val_accuracy: 0.5, ..v1::EpochRecord::default() };
        let epoch = v1::EpochRow { record: Some(record), ..v1::EpochRow::default() };
        assert_eq!(rows.epoch(epoch).metrics, MetricRow::new(&[0.75, 0.5]));
    }

    #[test]
    fn a_metric_that_comes_in_too_late_is_counted() {
        let (mut rows, _) = Rows::new(header("program: x\n", &["loss"]));
        let value = |name: &str, value| v1::MetricValue { name: name.into(), value };
        let metrics = vec![value("new", 1.0), value("loss", f64::NAN)];
        let metrics = rows.job(v1::Job { metrics, ..v1::Job::default() }).metrics;
        assert!(metrics.get(0).is_some_and(f64::is_nan) && rows.later() == 1);
    }
}
