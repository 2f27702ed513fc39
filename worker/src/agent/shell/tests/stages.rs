//! What a worker says of itself and what its port for probes shows: nothing is said that the port does not show yet.

use std::fmt::{self, Write};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::*;

/// Notes how far the worker is at each line of its log.
struct Log {
    metrics: Arc<Metrics>,
    lines: Arc<Mutex<Vec<(String, Stage)>>>,
}

/// The text of a line.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.lines.lock().unwrap().push((text.0, self.metrics.stage()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_worker_that_says_that_it_is_connected_is_ready_and_one_that_says_that_it_is_not_is_not() {
    let (metrics, lines) = (Arc::<Metrics>::default(), Arc::<Mutex<Vec<_>>>::default());
    // Everything here runs on this thread.
    let log = Log { metrics: Arc::clone(&metrics), lines: Arc::clone(&lines) };
    let _heard = tracing::subscriber::set_default(log);
    let folder = tempfile::tempdir().unwrap();
    let started = |configuration: &mut Configuration| configuration.metrics = metrics;
    let mut bench = Bench::start_with(folder.path(), ONE_EPOCH, None, started).await;
    let session = bench.training().await;
    set(&bench.answers, |answers| answers.refusal = Some(Status::unavailable("it stops")));
    drop(session);
    bench.refused().await;
    bench.refused().await;
    let lines = lines.lock().unwrap();
    let stage = |text: &str| lines.iter().find(|(line, _)| line.contains(text)).map(|(_, stage)| *stage);
    assert_eq!(stage("connected to the coordinator"), Some(Stage::Welcomed), "{lines:?}");
    assert_eq!(stage("the coordinator is not reachable"), Some(Stage::Away), "{lines:?}");
}
