//! How spans leave: a queue with a bound, and a task that sends them in batches. Who ends a span never waits. What finds no room, or
//! cannot be sent, is counted and given up.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Spans that may wait, as many as in the SDK: a few megabytes, and several seconds of a busy coordinator.
const WAITING_MAX: usize = 2_048;
/// Spans of one batch, as many as in the SDK: below the four megabytes that a collector takes at once.
const BATCH_MAX: usize = 512;
/// How long a span waits for others of its batch, and after a batch that could not be sent.
const BATCH_WITHIN: Duration = Duration::from_secs(1);
/// How long a collector may take for a batch; the standard's default.
pub(crate) const EXPORTED_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of a program waits for its collector.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// Spans by what became of them. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    sent: Counter,
    dropped: Counter,
    failed: Counter,
}

impl Default for Counted {
    fn default() -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let [sent, dropped, failed] =
            ["sent", "dropped", "failed"].map(|result| family.get_or_create_owned(&[("result", result)]));
        Self { family, sent, dropped, failed }
    }
}

impl Counted {
    pub(crate) fn register(&self, registry: &mut Registry, name: &str) {
        let help = "Spans of traces: sent, dropped since the queue was full, or failed since the collector did not take them";
        registry.register(name, help, self.family.clone());
    }
}

/// The queue of a process.
#[derive(Debug)]
pub(crate) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counted: Counted,
    ending: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Sends with this from now on.
    pub(crate) fn start(exporter: impl SpanExporter + 'static, counted: Counted) -> Self {
        let (spans, waiting) = mpsc::channel(WAITING_MAX);
        let ending = CancellationToken::new();
        let sender =
            Sender { waiting, exporter, counted: counted.clone(), ending: ending.clone(), fails: false };
        let task = Mutex::new(Some(tokio::spawn(sender.run())));
        Self { spans, counted, ending, task }
    }

    /// Adds a span if there is room.
    pub(crate) fn add(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counted.dropped.inc();
        }
    }

    /// Sends what waits, for at most [`ENDED_WITHIN`].
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && timeout(ENDED_WITHIN, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

struct Sender<E> {
    waiting: mpsc::Receiver<SpanData>,
    exporter: E,
    counted: Counted,
    ending: CancellationToken,
    /// Whether the last batch could not be sent.
    fails: bool,
}

impl<E: SpanExporter> Sender<E> {
    async fn run(mut self) {
        while let Some(batch) = self.batch().await {
            let count = batch.len() as u64;
            let sent = within(self.exporter.export(batch)).await;
            match &sent {
                Ok(()) => self.counted.sent.inc_by(count),
                Err(_) => self.counted.failed.inc_by(count),
            };
            self.say(sent).await;
        }
    }

    /// The next spans; none once the program ends and no more wait.
    async fn batch(&mut self) -> Option<Vec<SpanData>> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = self.ending.cancelled() => {}
            received = self.waiting.recv_many(&mut batch, BATCH_MAX) => if received == 0 { return None },
        }
        let others = tokio::time::sleep(BATCH_WITHIN);
        tokio::pin!(others);
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                () = self.ending.cancelled() => break,
                received = self.waiting.recv_many(&mut batch, room) => if received == 0 { break },
                () = &mut others => break,
            }
        }
        while batch.len() < BATCH_MAX && self.ending.is_cancelled() {
            let Ok(span) = self.waiting.try_recv() else { break };
            batch.push(span);
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Says when sending begins to fail and when it works again, and pauses after a failure.
    async fn say(&mut self, sent: Result<(), String>) {
        let failed_before = std::mem::replace(&mut self.fails, sent.is_err());
        match sent {
            Ok(()) if failed_before => tracing::info!("traces are sent again"),
            Ok(()) => {}
            Err(reason) => {
                if !failed_before {
                    tracing::warn!(
                        "traces cannot be sent, and are given up until they can be: {reason}; check --otlp and the collector there"
                    );
                }
                let ending = self.ending.clone();
                let _ = timeout(BATCH_WITHIN, ending.cancelled()).await;
            }
        }
    }
}

async fn within(export: impl Future<Output = OTelSdkResult>) -> Result<(), String> {
    match timeout(EXPORTED_WITHIN, export).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {EXPORTED_WITHIN:?}")),
    }
}

#[cfg(test)]
mod tests;
