//! The worker's numbers for Prometheus, and whether it is connected: counted by the shell as it carries things out. No label has a job,
//! a sweep or a name; devices are those of the slots. `deploy/monitoring/README.md` has the table of all of them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use telemetry::process::{Fraction, Process, signed};
use terms::{AttemptKey, GpuUse, Outcome};
use tokio::sync::watch;
use traces::Traces;

use super::session::types::{End, Event, EventKind};

type ByName<M> = Family<[(&'static str, &'static str); 1], M>;
type ByDevice<M> = Family<[(&'static str, String); 1], M>;

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It looks for devices and waits for its trainers.
    Starting,
    /// It has no stream.
    Away,
    /// It has a stream, on which the coordinator has not answered yet.
    Unanswered,
    /// The coordinator has welcomed it.
    Welcomed,
    /// It was asked to leave.
    Leaving,
}

/// All numbers of a worker.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    stage: watch::Sender<Stage>,
    started: Counter,
    /// Each outcome that an attempt may end with.
    ended: Vec<(Outcome, Counter)>,
    epochs: Counter,
    epoch_seconds: Counter<f64, AtomicU64>,
    images: Counter,
    connections: Counter,
    upload_failures: Counter,
    checkpoints_missed: Counter,
    /// Pictures that one epoch of each attempt trains; an attempt stays for as long as it runs.
    images_an_epoch: Mutex<HashMap<AttemptKey, u64>>,
    now: Now,
    process: Process,
}

/// What is seen when someone looks.
#[derive(Debug, Clone, Default)]
struct Now {
    connected: Gauge,
    slots: Gauge,
    spool_bytes: Gauge,
    weights_bytes: Gauge,
    gpu_utilization: ByDevice<Fraction>,
    gpu_memory_used: ByDevice<Gauge>,
    gpu_memory: ByDevice<Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let info = ByName::<Gauge>::default();
        info.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("sweep_worker_build_info", "The version of this worker; always 1", info);
        let family = ByName::<Counter>::default();
        let end = |outcome: Outcome| (outcome, family.get_or_create_owned(&[("outcome", outcome.as_str())]));
        let ended = Outcome::all().iter().copied().map(end).collect();
        registry.register("sweep_worker_attempts_ended", "Attempts that have ended here, by outcome", family);
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let (started, epochs, images, connections, upload_failures, checkpoints_missed) = (
            counter("sweep_worker_attempts_started", "Attempts that were given to trainers"),
            counter("sweep_worker_epochs", "Epochs that trainers reported"),
            counter("sweep_worker_images", "Pictures that those epochs trained, where there is a data set"),
            counter("sweep_worker_connections", "Streams to a coordinator that were opened"),
            counter("sweep_worker_upload_failures", "Calls for weights that failed; they are tried again"),
            counter("sweep_worker_checkpoints_missed", "Pauses of jobs for which no checkpoint was kept"),
        );
        let epoch_seconds = Counter::<f64, AtomicU64>::default();
        let help = "Time that those epochs took; packs count once for each job";
        registry.register("sweep_worker_epoch_seconds", help, epoch_seconds.clone());
        let (now, process) = (Now::register(&mut registry), Process::register(&mut registry));
        let stage = watch::Sender::new(Stage::Starting);
        let images_an_epoch = Mutex::default();
        Self {
            registry,
            stage,
            started,
            ended,
            epochs,
            epoch_seconds,
            images,
            connections,
            upload_failures,
            checkpoints_missed,
            images_an_epoch,
            now,
            process,
        }
    }
}

impl Now {
    fn register(registry: &mut Registry) -> Self {
        let now = Self::default();
        let own = now.clone();
        registry.register("sweep_worker_connected", "1 while a coordinator has welcomed it", own.connected);
        registry.register("sweep_worker_slots", "Slots that train jobs", own.slots);
        let help = "Bytes of events that the coordinator has not acknowledged";
        registry.register("sweep_worker_spool_bytes", help, own.spool_bytes);
        let help = "Bytes of trained weights that wait for the coordinator";
        registry.register("sweep_worker_weights_bytes", help, own.weights_bytes);
        let help = "Share of the time in which the GPU works, from 0 to 1";
        registry.register("sweep_worker_gpu_utilization_ratio", help, own.gpu_utilization);
        let help = "Bytes of the GPU's memory that are occupied";
        registry.register("sweep_worker_gpu_memory_used_bytes", help, own.gpu_memory_used);
        registry.register("sweep_worker_gpu_memory_bytes", "Bytes of the GPU's memory", own.gpu_memory);
        now
    }

    fn set_gpus(&self, gpus: &[GpuUse]) {
        // A GPU that cannot be asked any more has no series, rather than old numbers.
        self.gpu_utilization.clear();
        self.gpu_memory_used.clear();
        self.gpu_memory.clear();
        for gpu in gpus {
            let label = [("device", gpu.device.clone())];
            if let Some(percent) = gpu.utilization_percent {
                self.gpu_utilization.get_or_create(&label).set(f64::from(percent) / 100.0);
            }
            self.gpu_memory_used.get_or_create(&label).set(signed(gpu.memory_used_bytes));
            self.gpu_memory.get_or_create(&label).set(signed(gpu.memory_total_bytes));
        }
    }
}

impl Metrics {
    /// With those of what these send.
    pub(crate) fn with(traces: &Traces) -> Self {
        let mut metrics = Self::default();
        traces.register(&mut metrics.registry, "sweep_worker_trace_spans");
        metrics
    }

    /// It has come so far. A worker that leaves does so to its end.
    pub(crate) fn reached(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let changes = *now != stage && (*now != Stage::Leaving || stage == Stage::Starting);
            if changes {
                *now = stage;
            }
            changes
        });
        if stage == Stage::Unanswered {
            self.connections.inc();
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(crate) fn has_slots(&self, slots: usize) {
        self.now.slots.set(signed(slots as u64));
    }

    /// Attempts were given to a trainer.
    pub(crate) fn jobs_started(&self, count: usize) {
        self.started.inc_by(count as u64);
    }

    /// Something happened to an attempt.
    pub(crate) fn happened(&self, event: &Event) {
        let mut images = self.images_an_epoch.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::Started(start) => {
                images.insert(event.attempt, start.dataset.train_images);
            }
            EventKind::Epoch(report) => {
                self.epochs.inc();
                self.epoch_seconds.inc_by(report.seconds.max(0.0));
                self.images.inc_by(images.get(&event.attempt).copied().unwrap_or_default());
            }
            EventKind::Ended(End { outcome, details, .. }) => {
                images.remove(&event.attempt);
                if let Some((_, ended)) = self.ended.iter().find(|(one, _)| one == outcome) {
                    ended.inc();
                }
                if details.without_checkpoint {
                    self.checkpoints_missed.inc();
                }
            }
        }
    }

    /// An attempt is gone whose end no one wants to know.
    pub(crate) fn dropped(&self, attempt: AttemptKey) {
        self.images_an_epoch.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt);
    }

    /// So much waits for the coordinator.
    pub(crate) fn waits(&self, spool_bytes: u64, weights_bytes: u64) {
        self.now.spool_bytes.set(signed(spool_bytes));
        self.now.weights_bytes.set(signed(weights_bytes));
    }

    /// A call for weights failed.
    pub(crate) fn upload_failed(&self) {
        self.upload_failures.inc();
    }

    /// All of them as text, with what the GPUs do now.
    pub(crate) fn encode(&self, gpus: &[GpuUse]) -> String {
        self.now.connected.set(i64::from(self.stage() == Stage::Welcomed));
        self.now.set_gpus(gpus);
        self.process.look();
        telemetry::encode(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use terms::{DatasetSummary, EpochReport, JobKey, SweepId};

    use super::{super::session::types::Start, *};

    fn event(kind: EventKind) -> Event {
        let job = JobKey { sweep: SweepId(1), job: 1 };
        Event { sequence: 1, attempt: AttemptKey { job, attempt: 1 }, kind }
    }

    fn has(metrics: &Metrics, gpus: &[GpuUse], line: &str) {
        let text = metrics.encode(gpus);
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }

    #[test]
    fn what_happens_to_attempts_is_counted_with_the_pictures_of_their_epochs() {
        let metrics = Metrics::default();
        let dataset = DatasetSummary { train_images: 80, ..DatasetSummary::default() };
        metrics.jobs_started(2);
        metrics.happened(&event(EventKind::Started(Start { dataset, resumed_epochs: 0 })));
        for number in 1..=3 {
            let report = EpochReport { number, seconds: 0.5, ..EpochReport::default() };
            metrics.happened(&event(EventKind::Epoch(report)));
        }
        metrics.happened(&event(EventKind::Ended(End::new(Outcome::HandedBack, "it leaves"))));
        metrics.waits(5, 7);
        for line in [
            "sweep_worker_attempts_started_total 2",
            "sweep_worker_epochs_total 3",
            "sweep_worker_images_total 240",
            "sweep_worker_epoch_seconds_total 1.5",
            "sweep_worker_attempts_ended_total{outcome=\"handed_back\"} 1",
            "sweep_worker_attempts_ended_total{outcome=\"done\"} 0",
            "sweep_worker_spool_bytes 5",
            "sweep_worker_weights_bytes 7",
        ] {
            has(&metrics, &[], line);
        }
        assert!(metrics.images_an_epoch.lock().unwrap().is_empty(), "nothing is kept of what has ended");
    }

    #[test]
    fn a_worker_is_connected_while_it_is_welcomed_and_one_that_leaves_does_not_come_back() {
        let metrics = Metrics::default();
        for (stage, connected) in [
            (Stage::Away, 0),
            (Stage::Unanswered, 0),
            (Stage::Welcomed, 1),
            (Stage::Away, 0),
            (Stage::Unanswered, 0),
            (Stage::Leaving, 0),
            (Stage::Welcomed, 0),
        ] {
            metrics.reached(stage);
            has(&metrics, &[], &format!("sweep_worker_connected {connected}"));
        }
        has(&metrics, &[], "sweep_worker_connections_total 2");
    }

    #[test]
    fn a_gpu_that_is_no_longer_seen_has_no_numbers() {
        let metrics = Metrics::default();
        let gpu = GpuUse {
            device: "cuda:0".to_owned(),
            name: "H200".to_owned(),
            utilization_percent: Some(25),
            memory_used_bytes: 3,
            memory_total_bytes: 9,
        };
        has(
            &metrics,
            std::slice::from_ref(&gpu),
            "sweep_worker_gpu_utilization_ratio{device=\"cuda:0\"} 0.25",
        );
        has(&metrics, std::slice::from_ref(&gpu), "sweep_worker_gpu_memory_used_bytes{device=\"cuda:0\"} 3");
        has(&metrics, std::slice::from_ref(&gpu), "sweep_worker_gpu_memory_bytes{device=\"cuda:0\"} 9");
        assert!(!metrics.encode(&[]).contains("device="));
    }
}
