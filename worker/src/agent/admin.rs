//! What the port for probes and metrics says of a worker: it is ready once the coordinator has welcomed it.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use telemetry::admin::{Condition, Subject};
use traces::Traces;

use super::{
    gpus::Gpus,
    metrics::{Metrics, Stage},
};

/// A worker as its port sees it.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) metrics: Arc<Metrics>,
    /// What its GPUs do, once they are known.
    gpus: OnceLock<Gpus>,
}

impl Watched {
    /// One whose spans are counted.
    pub(crate) fn new(traces: &Traces) -> Self {
        Self { metrics: Arc::new(Metrics::with(traces)), gpus: OnceLock::new() }
    }

    /// These are its GPUs; they stay the same for as long as the process lives.
    pub(crate) fn has_gpus(&self, gpus: &Gpus) {
        // A worker that takes another name looks for its devices again, and finds the same.
        let _ = self.gpus.set(gpus.clone());
    }
}

#[async_trait]
impl Subject for Watched {
    fn readiness(&self) -> Condition {
        let fails = |why: &str| Condition::Fails(why.to_owned());
        match self.metrics.stage() {
            Stage::Welcomed => Condition::Holds("the coordinator has welcomed it".to_owned()),
            Stage::Starting => fails("it looks for devices and waits for its trainers"),
            Stage::Away => fails("it has no connection to a coordinator that leads"),
            Stage::Unanswered => fails("the coordinator has not answered it yet"),
            Stage::Leaving => fails("it leaves"),
        }
    }

    async fn metrics(&self) -> String {
        self.metrics.encode(&self.gpus.get().map(Gpus::seen).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_is_ready_once_it_is_welcomed() {
        let watched = Watched::default();
        for (stage, why) in [
            (Stage::Starting, "waits for its trainers"),
            (Stage::Away, "no connection"),
            (Stage::Unanswered, "has not answered"),
        ] {
            watched.metrics.reached(stage);
            assert!(matches!(watched.readiness(), Condition::Fails(text) if text.contains(why)), "{stage:?}");
        }
        watched.metrics.reached(Stage::Welcomed);
        assert!(matches!(watched.readiness(), Condition::Holds(_)));
        assert_eq!(watched.leadership(), None);
        watched.has_gpus(&Gpus::none());
        assert!(watched.metrics().await.contains("\nsweep_worker_connected 1\n"));
    }
}
