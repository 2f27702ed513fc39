//! A piece of work: from when until when, of what, with what happened in it.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{Event, Link, SpanId, SpanKind, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{Context, Sending};

/// Events of one span; more are counted. A training of more epochs has its others in the store.
const EVENTS_MAX: usize = 100;
/// Longest text of an attribute, in characters.
const CHARACTERS_MAX: usize = 1_000;

/// Which side of a call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It asks another process.
    Client,
    /// It answers one.
    Server,
    /// Neither.
    Internal,
}

/// A piece of work that has begun. What is not ended is not sent. Of a trace that is not kept there is nothing but the context.
#[derive(Debug)]
pub struct Span {
    context: Context,
    /// Whether this process makes spans at all.
    is_traced: bool,
    kept: Option<(Box<SpanData>, Arc<Sending>)>,
}

impl Span {
    pub(crate) fn none(context: Context, is_traced: bool) -> Self {
        Self { context, is_traced, kept: None }
    }

    pub(crate) fn begin(
        sending: Arc<Sending>,
        name: &'static str,
        kind: Kind,
        context: Context,
        parent: Option<Context>,
    ) -> Self {
        let now = SystemTime::now();
        let data = SpanData {
            span_context: context.exported(),
            parent_span_id: parent.map_or(SpanId::INVALID, Context::span_id),
            parent_span_is_remote: parent.is_some() && kind != Kind::Internal,
            span_kind: match kind {
                Kind::Client => SpanKind::Client,
                Kind::Server => SpanKind::Server,
                Kind::Internal => SpanKind::Internal,
            },
            name: Cow::Borrowed(name),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("sweep").build(),
        };
        Self { context, is_traced: true, kept: Some((Box::new(data), sending)) }
    }

    /// Its place in its trace, for who works on.
    pub fn context(&self) -> Context {
        self.context
    }

    /// What other processes are told of it, so that they keep of its trace what this one keeps; nothing where this one makes no spans.
    pub fn handed_on(&self) -> Option<Context> {
        self.is_traced.then_some(self.context)
    }

    /// It began at another time than it was made.
    #[must_use]
    pub fn since(mut self, start: SystemTime) -> Self {
        if let Some((data, _)) = &mut self.kept {
            data.start_time = start;
        }
        self
    }

    /// Something that is known of it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// The same later.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some((data, _)) = &mut self.kept {
            data.attributes.push(KeyValue::new(key, cut(value.into())));
        }
    }

    /// It has to do with a span of another trace.
    #[must_use]
    pub fn linked_to(mut self, other: Context) -> Self {
        self.link(other);
        self
    }

    /// The same later.
    pub fn link(&mut self, other: Context) {
        if let Some((data, _)) = &mut self.kept {
            data.links.links.push(Link::new(other.exported(), Vec::new(), 0));
        }
    }

    /// Something has happened now.
    pub fn event(&mut self, name: &'static str, attributes: impl FnOnce() -> Vec<(String, Value)>) {
        let Some((data, _)) = &mut self.kept else { return };
        if data.events.events.len() == EVENTS_MAX {
            data.events.dropped_count = data.events.dropped_count.saturating_add(1);
            return;
        }
        let attributes =
            attributes().into_iter().map(|(key, value)| KeyValue::new(key, cut(value))).collect();
        data.events.events.push(Event::new(name, SystemTime::now(), attributes, 0));
    }

    /// It has failed, for this reason.
    pub fn fail(&mut self, reason: &str) {
        if let Some((data, _)) = &mut self.kept {
            data.status = Status::error(cut_text(reason).into_owned());
        }
    }

    /// It has ended now.
    pub fn end(self) {
        self.end_at(SystemTime::now());
    }

    /// It has ended then.
    pub fn end_at(self, end: SystemTime) {
        if let Some((mut data, sending)) = self.kept {
            // Clocks may be set back.
            data.end_time = end.max(data.start_time);
            sending.queue.add(*data);
        }
    }
}

/// A count as attributes have it.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn cut(value: Value) -> Value {
    match value {
        Value::String(text) => match cut_text(text.as_str()) {
            Cow::Borrowed(_) => Value::String(text),
            Cow::Owned(cut) => Value::String(cut.into()),
        },
        other => other,
    }
}

fn cut_text(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
