//! A small OpenTelemetry collector: the standard's service for traces on a real socket, which keeps what it is sent, refuses it, or
//! never answers.

use std::{collections::BTreeMap, net::SocketAddr};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::status::StatusCode,
};
use tokio::sync::watch;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::PATIENCE;

/// What a collector does with spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    All,
    Refuses,
    Hangs,
}

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The service that sent it.
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// Empty of the first span of a trace.
    pub parent: Vec<u8>,
    /// The traces of the spans that it is linked to.
    pub links: Vec<Vec<u8>>,
    pub attributes: BTreeMap<String, String>,
    /// The attributes of its events.
    pub events: Vec<BTreeMap<String, String>>,
    pub has_failed: bool,
    pub times: (u64, u64),
}

/// A running collector; it ends with the test.
#[derive(Debug)]
pub struct Collector {
    pub url: String,
    sent: watch::Receiver<Vec<Sent>>,
    asked: watch::Receiver<usize>,
}

#[derive(Debug)]
struct Service {
    takes: Takes,
    sent: watch::Sender<Vec<Sent>>,
    asked: watch::Sender<usize>,
}

impl Collector {
    /// Starts one on a free port. It has a thread of its own, so that it answers while a test waits for a command.
    ///
    /// # Panics
    /// There is no port, or no thread.
    pub fn start(takes: Takes) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let bound = {
            let _entered = runtime.enter();
            TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        };
        let incoming = bound.expect("a port is free");
        let url = format!("http://{}", incoming.local_addr().expect("it has an address"));
        let ((sent, seen), (asks, asked)) = (watch::channel(Vec::new()), watch::channel(0));
        let service = TraceServiceServer::new(Service { takes, sent, asked: asks });
        std::thread::spawn(move || {
            runtime.block_on(Server::builder().add_service(service).serve_with_incoming(incoming))
        });
        Self { url, sent: seen, asked }
    }

    /// Waits until this holds of the spans that were sent; returns them.
    ///
    /// # Panics
    /// It does not come to hold.
    pub async fn until(&self, mut holds: impl FnMut(&[Sent]) -> bool) -> Vec<Sent> {
        let mut seen = self.sent.clone();
        match tokio::time::timeout(PATIENCE, seen.wait_for(|sent| holds(sent))).await {
            Ok(sent) => sent.expect("it runs").clone(),
            Err(_) => panic!("only these came: {:#?}", *self.sent.borrow()),
        }
    }

    /// Waits until someone has sent something, whatever became of it.
    ///
    /// # Panics
    /// No one does.
    pub async fn until_asked(&self) {
        let mut seen = self.asked.clone();
        let asked = tokio::time::timeout(PATIENCE, seen.wait_for(|asked| *asked > 0)).await;
        asked.expect("it is sent something").expect("it runs");
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.asked.send_modify(|asked| *asked += 1);
        match self.takes {
            Takes::All => self.sent.send_modify(|sent| sent.extend(spans(request.into_inner()))),
            Takes::Refuses => return Err(Status::unavailable("no room")),
            Takes::Hangs => std::future::pending().await,
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Sent> {
    let mut found = Vec::new();
    for group in request.resource_spans {
        let resource = texts(group.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            found.push(Sent {
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                links: span.links.into_iter().map(|link| link.trace_id).collect(),
                attributes: texts(span.attributes),
                events: span.events.into_iter().map(|event| texts(event.attributes)).collect(),
                has_failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
            });
        }
    }
    found
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}
