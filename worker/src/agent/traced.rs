//! What the worker says in traces: the life of each attempt whose grant names a span, from the grant to its end, with what came after.
//! The shell tells of everything as it carries it out, as it does to `metrics`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use proto::v1::{self, coordinator_message::Message};
use terms::{AttemptKey, Outcome};
use traces::{Context, Kind, Span, Traces, number};

use super::session::types::{Event, EventKind};

/// Attempts that are remembered: as many as the largest worker runs, and those whose weights wait for the coordinator. The first of those
/// that have ended are forgotten for more, and what comes after them has no span.
const ATTEMPTS_MAX: usize = 4_096;

/// What makes the spans of a worker; makes none by default. Clones make them together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traced(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    traces: Traces,
    attempts: Mutex<BTreeMap<AttemptKey, Attempt>>,
}

/// An attempt and what is under way of it.
#[derive(Debug)]
struct Attempt {
    context: Context,
    /// Until it ends.
    whole: Option<Span>,
    /// Bringing its data, or training.
    step: Option<Span>,
    handing_over: Option<Span>,
}

impl Traced {
    /// Makes them for these, if they are sent anywhere.
    pub(crate) fn new(traces: &Traces) -> Self {
        let inner = || Arc::new(Inner { traces: traces.clone(), attempts: Mutex::default() });
        Self(traces.is_on().then(inner))
    }

    /// The coordinator has said something.
    pub(crate) fn heard(&self, message: &v1::CoordinatorMessage) {
        let (Some(inner), Some(Message::Grant(grant))) = (&self.0, &message.message) else { return };
        for job in &grant.jobs {
            let attempt = job.attempt.as_ref().map(|key| AttemptKey::new(key.sweep_id, key.job, key.attempt));
            let granted = Context::read(&job.traceparent).filter(|granted| granted.is_sampled());
            if let (Some(attempt), Some(granted)) = (attempt, granted) {
                inner.granted(attempt, granted, grant.slot);
            }
        }
    }

    /// A slot's trainer gets an attempt: its data is brought first.
    pub(crate) fn started(&self, attempt: AttemptKey) {
        self.change(attempt, |inner, attempt| attempt.step = Some(inner.child(attempt.context, "prepare")));
    }

    /// Something has happened to an attempt.
    pub(crate) fn happened(&self, event: &Event) {
        self.change(event.attempt, |inner, attempt| match &event.kind {
            EventKind::Started(start) => {
                if let Some(prepared) = attempt.step.take() {
                    prepared.with("sweep.train_images", number(start.dataset.train_images)).end();
                }
                let trains = inner.child(attempt.context, "train");
                attempt.step = Some(trains.with("sweep.resumed_epochs", i64::from(start.resumed_epochs)));
            }
            EventKind::Epoch(report) => {
                let Some(step) = &mut attempt.step else { return };
                step.event("epoch", || {
                    let metrics =
                        report.metrics.iter().map(|(name, value)| (name.to_string(), (*value).into()));
                    let own = [
                        ("sweep.epoch".to_owned(), i64::from(report.number).into()),
                        ("sweep.epoch_seconds".to_owned(), report.seconds.into()),
                    ];
                    own.into_iter().chain(metrics).collect()
                });
            }
            EventKind::Ended(end) => {
                let fails = end.outcome == Outcome::Failed;
                for mut span in attempt.step.take().into_iter().chain(attempt.whole.take()) {
                    span.set("sweep.outcome", end.outcome.as_str());
                    if fails {
                        span.fail(&end.reason);
                    }
                    span.end();
                }
            }
        });
    }

    /// No one wants to know how an attempt ended.
    pub(crate) fn dropped(&self, attempt: AttemptKey) {
        self.change(attempt, |_, attempt| {
            for span in attempt.step.take().into_iter().chain(attempt.whole.take()) {
                span.with("sweep.outcome", "dropped").end();
            }
        });
    }

    /// The coordinator begins to get an attempt's checkpoint.
    pub(crate) fn hands_over(&self, attempt: AttemptKey) {
        self.change(attempt, |inner, attempt| {
            attempt.handing_over.get_or_insert_with(|| inner.child(attempt.context, "hand over"));
        });
    }

    /// It has it, or will not.
    pub(crate) fn handed_over(&self, attempt: AttemptKey) {
        self.change(attempt, |_, attempt| attempt.handing_over.take().into_iter().for_each(Span::end));
    }

    /// The coordinator has the weights of an attempt, which were offered then.
    pub(crate) fn uploaded(&self, attempt: AttemptKey, bytes: u64, begun: SystemTime) {
        self.change(attempt, |inner, attempt| {
            inner.child(attempt.context, "upload").since(begun).with("sweep.bytes", number(bytes)).end();
        });
    }

    fn change(&self, attempt: AttemptKey, change: impl FnOnce(&Inner, &mut Attempt)) {
        if let Some(inner) = &self.0
            && let Some(attempt) = inner.attempts().get_mut(&attempt)
        {
            change(inner, attempt);
        }
    }
}

impl Inner {
    fn attempts(&self) -> MutexGuard<'_, BTreeMap<AttemptKey, Attempt>> {
        // A map has no state in between.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn granted(&self, key: AttemptKey, granted: Context, slot: u32) {
        let mut attempts = self.attempts();
        if attempts.len() >= ATTEMPTS_MAX {
            let ended = attempts.iter().find(|(_, attempt)| attempt.whole.is_none()).map(|(key, _)| *key);
            let Some(ended) = ended else { return };
            attempts.remove(&ended);
        }
        let context = granted.random_child();
        let whole = self.traces.span("attempt", Kind::Server, context, Some(granted));
        let whole = whole
            .with("sweep.id", number(key.job.sweep.0))
            .with("sweep.job", number(key.job.job))
            .with("sweep.attempt", i64::from(key.attempt))
            .with("sweep.slot", i64::from(slot));
        attempts.insert(key, Attempt { context, whole: Some(whole), step: None, handing_over: None });
    }

    fn child(&self, parent: Context, name: &'static str) -> Span {
        self.traces.span(name, Kind::Internal, parent.random_child(), Some(parent))
    }
}
