//! What users are shown of a sweep, in its wire form.

use domain::specification::{Goal, MetricUse};
use proto::v1;

use super::sweep_run::SweepRun;

impl SweepRun {
    /// The sweep as users see it.
    pub(super) fn view(&self) -> v1::Sweep {
        v1::Sweep { specification: self.definition.shown_text(), ..self.summary() }
    }

    /// The sweep in a list: without what may be long, so that a page of a thousand has some megabytes at most.
    pub(super) fn listed(&self) -> v1::Sweep {
        v1::Sweep { dataset: None, ..self.summary() }
    }

    /// The sweep without its specification, which does not change with what the jobs do.
    fn summary(&self) -> v1::Sweep {
        let specification = &self.definition.specification;
        let metric = self.definition.metric;
        v1::Sweep {
            sweep_id: self.id.0,
            name: specification.name.clone(),
            state: v1::SweepState::from(self.state).into(),
            job_count: self.job_count(),
            counts: Some(self.counts()),
            created_unix_ms: self.created_unix_ms,
            ended_unix_ms: self.ended_unix_ms.unwrap_or(0),
            metric: Some(v1::Metric {
                name: metric.name.as_str().to_owned(),
                maximize: metric.goal == Goal::Maximize,
                use_best: metric.used == MetricUse::Best,
            }),
            best: self.best.of(metric.used).map(|(job, value)| v1::BestJob {
                point: Some(proto::job_point(job, self.definition.parameters(job))),
                value,
            }),
            varying: self.definition.varying.iter().map(|name| (*name).to_owned()).collect(),
            specification: String::new(),
            dataset: self.dataset.clone().map(Into::into),
            waiting: None,
            best_weights: self.best_weights(),
            weights_awaited: self.weights.awaited(),
        }
    }

    /// The sweep and what runs.
    pub(super) fn snapshot(&self) -> v1::WatchSnapshot {
        let running = self.active.iter().map(|(job, active)| {
            let (epoch, fraction) = active.progress;
            v1::RunningJob {
                point: Some(proto::job_point(*job, self.definition.parameters(*job))),
                attempt: active.attempt,
                worker: active.worker.to_string(),
                slot: active.slot,
                device: active.device.clone(),
                epochs_done: active.epochs_done(),
                epochs_total: active.epochs_total,
                // Progress that speaks of an epoch already recorded came late.
                fraction: if epoch > 0 && epoch <= active.epochs_done() { 0.0 } else { fraction },
                preparing: !active.started,
                last: active.last.map(Into::into),
            }
        });
        v1::WatchSnapshot { sweep: Some(self.summary()), running: running.collect() }
    }
}
