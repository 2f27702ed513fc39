//! What one process hands to the next of a trace: the W3C trace context, `traceparent`. The vendors' list beside it, `tracestate`, is
//! not handed on. Ids are random, or derived from what several processes know.

use std::{collections::HashMap, fmt};

use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator},
};
use sha2::{Digest, Sha256};

/// The name of the header, of metadata and of fields that carry a context.
pub const TRACEPARENT: &str = "traceparent";

/// Longest text that is read as a context: versions to come may add to the 55 characters.
const CHARACTERS_MAX: usize = 512;

/// A span within its trace, and whether that trace is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    trace: TraceId,
    span: SpanId,
    is_sampled: bool,
}

impl Context {
    /// The first span of a new trace.
    pub fn random() -> Self {
        let ids = RandomIdGenerator::default();
        Self { trace: ids.new_trace_id(), span: ids.new_span_id(), is_sampled: false }
    }

    /// The first span of the trace that belongs to a text: the same in each process, and another one for each text.
    pub fn of_text(text: &str) -> Self {
        let (trace, span) = ids(&[b"trace", text.as_bytes()]);
        Self { trace, span, is_sampled: false }
    }

    /// Another span of the trace.
    #[must_use]
    pub fn random_child(self) -> Self {
        Self { span: RandomIdGenerator::default().new_span_id(), ..self }
    }

    /// The span of the trace that belongs to a text.
    #[must_use]
    pub fn child_of_text(self, text: &str) -> Self {
        let (_, span) = ids(&[b"span", &self.trace.to_bytes(), text.as_bytes()]);
        Self { span, ..self }
    }

    /// The first span of a trace of its own, which belongs to a text and to this trace.
    #[must_use]
    pub fn own_trace_of_text(self, text: &str) -> Self {
        let (trace, span) = ids(&[b"own trace", &self.trace.to_bytes(), text.as_bytes()]);
        Self { trace, span, is_sampled: false }
    }

    /// The same, kept or not.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        Self { is_sampled, ..self }
    }

    /// Whether its trace is kept.
    pub fn is_sampled(self) -> bool {
        self.is_sampled
    }

    /// Whether both are of one trace.
    pub fn is_of_trace(self, other: Self) -> bool {
        self.trace == other.trace
    }

    /// Reads a `traceparent`; none where it is not one.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > CHARACTERS_MAX {
            return None;
        }
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), text.to_owned())]);
        let found =
            TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &carrier);
        let span = found.span();
        let found = span.span_context();
        let context = Self { trace: found.trace_id(), span: found.span_id(), is_sampled: found.is_sampled() };
        found.is_valid().then_some(context)
    }

    pub(crate) fn trace_id(self) -> TraceId {
        self.trace
    }

    pub(crate) fn span_id(self) -> SpanId {
        self.span
    }

    /// The same for the exporter.
    pub(crate) fn exported(self) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(self.is_sampled);
        SpanContext::new(self.trace, self.span, flags, false, TraceState::NONE)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// Ids from a hash of the parts, each with its length before it.
fn ids(parts: &[&[u8]]) -> (TraceId, SpanId) {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    trace.copy_from_slice(&hash[..16]);
    span.copy_from_slice(&hash[16..24]);
    (TraceId::from_bytes(trace), SpanId::from_bytes(span))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_context_is_read_as_it_was_written() {
        for context in [Context::random(), Context::of_text("a").sampled(true)] {
            assert_eq!(Context::read(&context.to_string()), Some(context), "{context}");
        }
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(Context::read(text).unwrap().to_string(), text, "the example of the standard");
    }

    #[test]
    fn what_is_no_context_is_none() {
        let zeros = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let long = format!("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-{}", "a".repeat(1_000));
        for text in
            ["", "00", "nonsense", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &zeros, &long]
        {
            assert_eq!(Context::read(text), None, "{text}");
        }
    }

    #[test]
    fn derived_ids_are_the_same_everywhere_and_differ_by_what_they_are_of() {
        let root = Context::of_text("sweep");
        // Processes of several versions must agree.
        assert_eq!(root.to_string(), Context::of_text("sweep").to_string());
        let child = root.child_of_text("1#1");
        assert!(child.is_of_trace(root) && child != root && child != root.child_of_text("1#2"));
        let own = root.own_trace_of_text("1#1");
        assert!(!own.is_of_trace(root) && own != root.own_trace_of_text("1#2"));
        assert_ne!(own, Context::of_text("other").own_trace_of_text("1#1"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in ".{0,80}") {
            if let Some(context) = Context::read(&text) {
                prop_assert_eq!(Context::read(&context.to_string()), Some(context));
            }
        }
    }
}
