//! The queue with exporters that work, hang and refuse.

use std::sync::Arc;

use opentelemetry_sdk::error::OTelSdkError;
use tokio::sync::Semaphore;

use super::*;
use crate::{Context, Kind, Sending, Traces, sampling::Sampling};

/// Takes a batch for each permit, and says which; without permits it hangs.
#[derive(Debug, Clone)]
struct Collector {
    permits: Arc<Semaphore>,
    taken: mpsc::UnboundedSender<usize>,
    refuses: bool,
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.taken.send(batch.len());
        if self.refuses {
            return Err(OTelSdkError::InternalFailure("refused".to_owned()));
        }
        self.permits.acquire().await.map_err(|_| OTelSdkError::AlreadyShutdown)?.forget();
        Ok(())
    }
}

fn traces(permits: usize, refuses: bool) -> (Traces, mpsc::UnboundedReceiver<usize>) {
    let (taken, batches) = mpsc::unbounded_channel();
    let collector = Collector { permits: Arc::new(Semaphore::new(permits)), taken, refuses };
    let counted = Counted::default();
    let queue = Queue::start(collector, counted.clone());
    let sampling = Sampling::read(None, None).unwrap();
    (Traces { sending: Some(Arc::new(Sending { queue, sampling })), counted }, batches)
}

fn make(traces: &Traces, count: usize) {
    for _ in 0..count {
        let context = traces.decided(Context::random(), None);
        traces.span("work", Kind::Internal, context, None).with("sweep", 1).end();
    }
}

fn counts(traces: &Traces) -> [u64; 3] {
    let Counted { sent, dropped, failed, .. } = &traces.counted;
    [sent.get(), dropped.get(), failed.get()]
}

#[tokio::test]
async fn spans_leave_in_batches_and_the_rest_at_the_end() {
    let (traces, mut batches) = traces(10, false);
    make(&traces, BATCH_MAX + 3);
    assert_eq!((batches.recv().await, batches.recv().await), (Some(BATCH_MAX), Some(3)));
    make(&traces, 2);
    traces.end().await;
    assert_eq!(batches.recv().await, Some(2));
    assert_eq!(counts(&traces), [BATCH_MAX as u64 + 5, 0, 0]);
}

#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_keeps_no_one_for_long() {
    let (traces, mut batches) = traces(0, false);
    make(&traces, BATCH_MAX);
    assert_eq!(batches.recv().await, Some(BATCH_MAX));
    // No one waits for room.
    make(&traces, WAITING_MAX + 7);
    assert_eq!(counts(&traces), [0, 7, 0]);
    traces.end().await;
    assert_eq!(counts(&traces), [0, 7, 0], "it was given up");
    make(&traces, 1);
    assert_eq!(counts(&traces), [0, 8, 0]);
}

#[tokio::test]
async fn spans_that_a_collector_refuses_are_counted() {
    let (traces, mut batches) = traces(0, true);
    make(&traces, 3);
    assert_eq!(batches.recv().await, Some(3));
    make(&traces, 2);
    traces.end().await;
    assert_eq!(counts(&traces), [0, 0, 5]);
    let mut registry = Registry::default();
    traces.register(&mut registry, "spans");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("spans_total{result=\"failed\"} 5"), "{text}");
}

#[tokio::test]
async fn without_a_collector_and_of_traces_that_are_not_kept_nothing_is_made() {
    let off = Traces::default();
    assert!(!off.is_on() && !off.decided(Context::random(), None).is_sampled());
    make(&off, 1);
    off.end().await;
    assert_eq!(counts(&off), [0, 0, 0]);
    let (on, _batches) = traces(1, false);
    let context = on.decided(Context::random(), Some(Context::random()));
    let mut span = on.span("work", Kind::Internal, context, None);
    span.event("never", || panic!("nothing is made"));
    span.end();
    on.end().await;
    assert_eq!(counts(&on), [0, 0, 0]);
}
