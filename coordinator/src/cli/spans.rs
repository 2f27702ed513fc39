//! The spans of commands, and where they go. A submission's trace is the one of its request, so that the coordinator's spans of the sweep
//! are in it; a report's is the one that the coordinator says is the sweep's.

use std::time::SystemTime;

use proto::v1;
use tonic::{Request, Response};
use traces::{Context, Kind, Options, Span, TRACEPARENT, Traces, number};

use super::failure::Failure;
use crate::traced::{told, trace_of_request};

/// The name of the service under which commands send their spans.
pub(super) const COMMAND: &str = "sweep";
/// The same of coordinators, also of the one within `sweep run`.
pub(super) const COORDINATOR: &str = "sweep-coordinator";

/// Starts to send spans where the options say.
pub(super) fn start(options: &Options, service: &'static str) -> Result<Traces, Failure> {
    Traces::start(options, service).map_err(|error| Failure::usage(error.to_string()))
}

/// A command that submits, in the trace of its request.
pub(super) fn submission(traces: &Traces, request_id: &str) -> Span {
    let context = trace_of_request(request_id).unwrap_or_else(Context::random);
    traces.span("sweep submit", Kind::Client, traces.decided(context, None), None)
}

/// What a submission was answered: of which sweep it is, whose trace may be another one where jobs were added.
pub(super) fn submitted(span: &mut Span, sweep: Option<&v1::Sweep>, first_span: Option<Context>) {
    if let Some(sweep) = sweep {
        span.set("sweep.id", number(sweep.sweep_id));
    }
    if let Some(other) = first_span.filter(|other| !other.is_of_trace(span.context())) {
        span.link(other);
    }
}

/// A request that hands the span's context on.
pub(super) fn request<T>(message: T, span: &Span) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(text) = span.handed_on().and_then(|context| context.to_string().parse().ok()) {
        request.metadata_mut().insert(TRACEPARENT, text);
    }
    request
}

/// The first span of the sweep, as an answer says it.
pub(super) fn of_sweep<T>(response: &Response<T>) -> Option<Context> {
    told(response.metadata())
}

/// A command that has begun, and whose sweep's span was told later: in the sweep's trace, or in one of its own.
pub(super) fn about(traces: &Traces, name: &'static str, begun: SystemTime, sweep: Option<Context>) -> Span {
    let context = traces.decided(sweep.map_or_else(Context::random, Context::random_child), sweep);
    traces.span(name, Kind::Client, context, sweep).since(begun)
}

/// Ends a command's span with its outcome.
pub(super) fn end<T>(mut span: Span, outcome: &Result<T, Failure>) {
    if let Err(failure) = outcome {
        span.fail(&failure.to_string());
    }
    span.end();
}
