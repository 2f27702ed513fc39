//! What the programs say to a collector of traces, by OTLP over gRPC: `context` is what one process hands to the next, `span` a piece
//! of work, `settings` says whether and where to, `sampling` which traces are kept, `queue` is how spans leave. Which work is a span is
//! the programs' own matter.
//!
//! Without a collector nothing is made: no span, no queue, no task. A collector that is away costs spans, which are counted, and
//! nothing else.
//!
//! Imports no other crate of the workspace. The ids of contexts can be derived, so that a process knows the trace of a sweep after a
//! restart, without anything being kept for it. The tracers of the SDK and of `tracing-opentelemetry` choose ids themselves, and count no
//! spans that they drop; of the SDK, the sampler, the resource and the exporter are used.

mod context;
mod queue;
mod sampling;
mod settings;
mod span;

use std::sync::Arc;

use prometheus_client::registry::Registry;

pub use self::{
    context::{Context, TRACEPARENT},
    settings::{Options, SettingsError},
    span::{Kind, Span, number},
};
use self::{
    queue::{Counted, Queue},
    sampling::Sampling,
    settings::Settings,
};

/// Where the spans of a process go; nowhere by default. Clones go to the same place.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    sending: Option<Arc<Sending>>,
    counted: Counted,
}

#[derive(Debug)]
struct Sending {
    queue: Queue,
    sampling: Sampling,
}

impl Traces {
    /// Sends spans where the options or the environment say, under this name unless `OTEL_SERVICE_NAME` has another. Needs a runtime.
    ///
    /// # Errors
    /// What they say cannot be done; what would be right.
    pub fn start(options: &Options, service: &'static str) -> Result<Self, SettingsError> {
        let Some(settings) = Settings::read(options, &|name| std::env::var(name).ok())? else {
            return Ok(Self::default());
        };
        let counted = Counted::default();
        let sampling = settings.sampling.clone();
        let queue = Queue::start(settings.exporter(service)?, counted.clone());
        Ok(Self { sending: Some(Arc::new(Sending { queue, sampling })), counted })
    }

    /// Counts spans in this registry under a name, by what became of them; also where there are none.
    pub fn register(&self, registry: &mut Registry, name: &str) {
        self.counted.register(registry, name);
    }

    /// Whether spans are made at all.
    pub fn is_on(&self) -> bool {
        self.sending.is_some()
    }

    /// The context with the decision whether its trace is kept: its parent's in the same trace, where there is one and the sampler
    /// follows parents, or else the sampler's own, which is the same in each process with the same settings.
    #[must_use]
    pub fn decided(&self, context: Context, parent: Option<Context>) -> Context {
        match &self.sending {
            Some(sending) => context.sampled(sending.sampling.keeps(context, parent)),
            None => context.sampled(false),
        }
    }

    /// Begins a piece of work now; nothing is made where its trace is not kept.
    pub fn span(&self, name: &'static str, kind: Kind, context: Context, parent: Option<Context>) -> Span {
        match &self.sending {
            Some(sending) if context.is_sampled() => {
                Span::begin(Arc::clone(sending), name, kind, context, parent)
            }
            other => Span::none(context, other.is_some()),
        }
    }

    /// Sends what waits, for at most a second; what is left then is given up. Spans that end later are given up, too.
    pub async fn end(&self) {
        if let Some(sending) = &self.sending {
            sending.queue.end().await;
        }
    }
}
