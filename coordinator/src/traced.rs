//! What the coordinator says in traces. It is told of submissions that have a caller's context, and of records once they are durable,
//! and says to workers which span the attempts that they are granted belong to.
//!
//! A sweep's first span is its submission. Its ids are derived from the request's id, or else from the sweep's number and the time of
//! its submission, and those of an attempt's span from them: so that whichever coordinator leads knows them, without anything in the
//! store. The attempts of a sweep's first jobs are in the sweep's trace; each later one has a trace of its own that is linked to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use domain::record::Record;
use proto::v1::{self, coordinator_message::Message};
use terms::{AttemptKey, AttemptState, JobKey, SweepId};
use tonic::{Request, Response, metadata::MetadataMap};
use traces::{Context, Kind, Span, TRACEPARENT, Traces, number};

/// Jobs of a sweep whose attempts are in the sweep's own trace: as many as people look at together, and few enough for any backend.
const JOBS_IN_TRACE_MAX: u64 = 100;
/// Submissions on their way whose caller is remembered; of more, the last ones have no caller.
const CALLERS_MAX: usize = 1_024;

/// What makes the spans of a coordinator; makes none by default.
#[derive(Debug, Clone, Default)]
pub struct Traced(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    traces: Traces,
    /// The first span of each sweep that the engine knows.
    sweeps: Mutex<HashMap<SweepId, Context>>,
    /// By the ids of requests: who calls, and since when.
    callers: Mutex<HashMap<String, (Context, SystemTime)>>,
}

/// The caller of a submission, who is forgotten with this.
#[derive(Debug)]
pub(crate) struct Called(Option<(Arc<Inner>, String)>);

impl Drop for Called {
    fn drop(&mut self) {
        if let Some((inner, request)) = &self.0 {
            locked(&inner.callers).remove(request);
        }
    }
}

impl Traced {
    /// Makes them for these, if they are sent anywhere.
    pub fn new(traces: Traces) -> Self {
        let inner = |traces| Arc::new(Inner { traces, sweeps: Mutex::default(), callers: Mutex::default() });
        Self(traces.is_on().then(|| inner(traces)))
    }

    /// A driver begins with the sweeps that the store holds: their numbers, the ids of their requests, and when they were submitted.
    pub(crate) fn restored<'a>(&self, stored: impl Iterator<Item = (SweepId, &'a str, u64)>) {
        let Some(inner) = &self.0 else { return };
        let root = |(sweep, request, created_unix_ms)| {
            (sweep, inner.traces.decided(first_span(request, sweep, created_unix_ms), None))
        };
        *locked(&inner.sweeps) = stored.map(root).collect();
    }

    /// A submission has come, whose caller may be in a trace.
    pub(crate) fn called(&self, request: &Request<v1::SubmitRequest>) -> Called {
        let id = &request.get_ref().request_id;
        let caller = told(request.metadata());
        let (Some(inner), Some(caller), false) = (&self.0, caller, id.is_empty()) else {
            return Called(None);
        };
        let mut callers = locked(&inner.callers);
        if callers.len() >= CALLERS_MAX {
            return Called(None);
        }
        callers.insert(id.clone(), (caller, SystemTime::now()));
        Called(Some((Arc::clone(inner), id.clone())))
    }

    /// An answer about a sweep, with its trace for the caller.
    pub(crate) fn answered<T>(&self, sweep: SweepId, mut response: Response<T>) -> Response<T> {
        let context = self.0.as_ref().and_then(|inner| inner.of_sweep(sweep));
        if let Some(text) = context.and_then(|context| context.to_string().parse().ok()) {
            response.metadata_mut().insert(TRACEPARENT, text);
        }
        response
    }

    /// A message to a worker, in which each granted attempt has its span.
    pub(crate) fn with_contexts(&self, mut message: v1::CoordinatorMessage) -> v1::CoordinatorMessage {
        if let (Some(inner), Some(Message::Grant(grant))) = (&self.0, &mut message.message) {
            for job in &mut grant.jobs {
                let attempt =
                    job.attempt.as_ref().map(|key| AttemptKey::new(key.sweep_id, key.job, key.attempt));
                let context =
                    attempt.and_then(|attempt| inner.of_attempt(attempt)).map(|(context, _)| context);
                job.traceparent = context.map(|context| context.to_string()).unwrap_or_default();
            }
        }
        message
    }

    /// These records are durable, by a commit that took so long.
    pub(crate) fn committed(&self, records: &[Record], took: Duration) {
        let Some(inner) = &self.0 else { return };
        let end = SystemTime::now();
        let times = (end.checked_sub(took).unwrap_or(end), end);
        for record in records {
            inner.recorded(record, times);
        }
    }
}

impl Inner {
    fn of_sweep(&self, sweep: SweepId) -> Option<Context> {
        locked(&self.sweeps).get(&sweep).copied()
    }

    /// The span of an attempt, and the sweep's.
    fn of_attempt(&self, attempt: AttemptKey) -> Option<(Context, Context)> {
        let sweep = self.of_sweep(attempt.job.sweep)?;
        let JobKey { job, .. } = attempt.job;
        let text = format!("{job}#{}", attempt.attempt);
        let context = match job <= JOBS_IN_TRACE_MAX {
            true => sweep.child_of_text(&text),
            false => self.traces.decided(sweep.own_trace_of_text(&text), None),
        };
        Some((context, sweep))
    }

    fn recorded(&self, record: &Record, (begun, end): (SystemTime, SystemTime)) {
        match record {
            Record::SweepSubmitted { sweep, request_id, job_count, created_unix_ms, .. } => {
                self.submitted((*sweep, request_id, *created_unix_ms), *job_count, end);
            }
            Record::SweepExtended { sweep, job_count, .. } => {
                let span =
                    self.child("extend", *sweep).map(|span| span.with("sweep.jobs", number(*job_count)));
                end_within(span, begun, end);
            }
            Record::SweepChanged { sweep, state, ended_unix_ms: Some(_) } => {
                let span = self.child("end", *sweep).map(|span| span.with("sweep.state", state.as_str()));
                end_within(span, begun, end);
            }
            Record::AttemptGranted { attempt, worker, slot, device, pack_size, .. } => {
                let Some((context, sweep)) = self.of_attempt(*attempt) else { return };
                let is_in_trace = context.is_of_trace(sweep);
                let span = self.traces.span("grant", Kind::Internal, context, is_in_trace.then_some(sweep));
                let span = if is_in_trace { span } else { span.linked_to(sweep) };
                let span = of_attempt(span, *attempt)
                    .with("sweep.worker", worker.to_string())
                    .with("sweep.slot", i64::from(*slot))
                    .with("sweep.device", device.clone())
                    .with("sweep.pack_size", i64::from(*pack_size));
                end_within(Some(span), begun, end);
            }
            Record::AttemptEnded { attempt, state, reason, .. } => {
                let Some((context, _)) = self.of_attempt(*attempt) else { return };
                let span = self.traces.span("commit", Kind::Internal, context.random_child(), Some(context));
                let mut span = of_attempt(span, *attempt).with("sweep.outcome", state.as_str());
                if matches!(state, AttemptState::Failed | AttemptState::Lost) {
                    span.fail(reason);
                }
                end_within(Some(span), begun, end);
            }
            _ => {}
        }
    }

    /// The first span of a sweep: from the call, where that is known, until it is durable.
    fn submitted(&self, (sweep, request, created_unix_ms): (SweepId, &str, u64), jobs: u64, end: SystemTime) {
        let root = first_span(request, sweep, created_unix_ms);
        let caller = locked(&self.callers).remove(request);
        let created = UNIX_EPOCH + Duration::from_millis(created_unix_ms);
        let since = caller.map_or(created, |(_, since)| since);
        let caller = caller.map(|(caller, _)| caller);
        // A caller in a trace of its own is linked: this one is known without it.
        let parent = caller.filter(|caller| caller.is_of_trace(root));
        let root = self.traces.decided(root, parent);
        locked(&self.sweeps).insert(sweep, root);
        let span = self.traces.span("submit", Kind::Server, root, parent).since(since);
        let span = span.with("sweep.id", number(sweep.0)).with("sweep.jobs", number(jobs));
        let other = caller.filter(|caller| !caller.is_of_trace(root));
        other.into_iter().fold(span, Span::linked_to).end_at(end);
    }

    fn child(&self, name: &'static str, sweep: SweepId) -> Option<Span> {
        let parent = self.of_sweep(sweep)?;
        let span = self.traces.span(name, Kind::Internal, parent.random_child(), Some(parent));
        Some(span.with("sweep.id", number(sweep.0)))
    }
}

/// The trace that belongs to a request, and which its caller may begin, where its id is one that no other request has.
pub(crate) fn trace_of_request(request_id: &str) -> Option<Context> {
    uuid::Uuid::try_parse(request_id).ok().map(|id| Context::of_text(&id.to_string()))
}

/// The span of a sweep's submission.
fn first_span(request_id: &str, sweep: SweepId, created_unix_ms: u64) -> Context {
    let own = || Context::of_text(&format!("sweep {sweep} of {created_unix_ms}"));
    trace_of_request(request_id).unwrap_or_else(own).child_of_text("submit")
}

fn of_attempt(span: Span, attempt: AttemptKey) -> Span {
    span.with("sweep.id", number(attempt.job.sweep.0))
        .with("sweep.job", number(attempt.job.job))
        .with("sweep.attempt", i64::from(attempt.attempt))
}

fn end_within(span: Option<Span>, begun: SystemTime, end: SystemTime) {
    if let Some(span) = span {
        span.since(begun).end_at(end);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps have no state in between.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The context in an answer's metadata.
pub(crate) fn told(metadata: &MetadataMap) -> Option<Context> {
    metadata.get(TRACEPARENT).and_then(|text| Context::read(text.to_str().ok()?))
}

#[cfg(test)]
mod tests;
