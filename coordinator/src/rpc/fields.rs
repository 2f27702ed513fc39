//! Every text and every number that a peer can send, and what becomes of it: refused where it comes in, or kept as it is.
//! The tables are compared with the wire format, so that a field that is new must be thought of.

use std::collections::BTreeSet;

use engine::{AttemptEvent, Event, SessionId};
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use proto::{
    Message,
    v1::{self, sweep_service_server::SweepService, worker_message::Message as Said},
};
use tempfile::TempDir;
use terms::snapshot::ContentHash;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Status};

use super::{SweepServer, convert};
use crate::{
    api::{Api, leader},
    driver::DriverHandle,
};

/// Texts that a store may take for another, or that end what they stand in.
const HOSTILE: [&str; 5] = ["a\0b", "a\u{1b}b", "a\u{7f}b", "a\u{9b}b", "\0"];
/// Numbers at the edges of what columns hold.
const EDGES: [u64; 4] = [u64::MAX, 1 << 63, (1 << 63) - 1, 0];

/// A service over a store of its own.
struct Served {
    server: SweepServer,
    driver: DriverHandle,
    _folder: TempDir,
}

impl Served {
    async fn start() -> Self {
        let (store, folder) = leader::store().await;
        let driver = leader::driver(&store).await;
        let api = Api::new(leader::led_by(&driver), store, None, TaskTracker::new());
        let server = SweepServer::new(api, TaskTracker::new());
        Self { server, driver, _folder: folder }
    }

    async fn submit(&self, request_id: &str) -> Result<(), Status> {
        let request =
            v1::SubmitRequest { source: Some(source()), request_id: request_id.into(), extend_sweep_id: 0 };
        self.server.submit(Request::new(request)).await.map(drop)
    }

    async fn put_file(&self, file: v1::SnapshotFile) -> Result<(), Status> {
        let snapshot = Some(v1::Snapshot { files: vec![file] });
        self.server.put_snapshot(Request::new(v1::PutSnapshotRequest { snapshot })).await.map(drop)
    }

    /// Calls with `text` in one field.
    async fn say(&self, field: &str, text: &str) -> Result<(), Status> {
        let (text, server) = (text.to_owned(), &self.server);
        let changed = |change: &dyn Fn(&mut v1::SweepSource)| {
            let mut source = source();
            change(&mut source);
            Request::new(v1::ValidateRequest { source: Some(source), preview: 0 })
        };
        match field {
            "SweepSource.text" => {
                let request = changed(&|source| source.text = format!("{}# {text}\n", source.text));
                server.validate(request).await.map(drop)
            }
            "SweepSource.file_name" => {
                server.validate(changed(&|source| source.file_name.clone_from(&text))).await.map(drop)
            }
            "SweepSource.overrides" => {
                let request = changed(&|source| source.overrides = vec![format!("name=\"{text}\"")]);
                server.validate(request).await.map(drop)
            }
            "SweepSource.dataset_path" => {
                server.validate(changed(&|source| source.dataset_path.clone_from(&text))).await.map(drop)
            }
            "SweepSource.snapshot" => {
                server.validate(changed(&|source| source.snapshot.clone_from(&text))).await.map(drop)
            }
            "SweepSource.manifests" => {
                server.validate(changed(&|source| source.manifests = vec![text.clone()])).await.map(drop)
            }
            "SnapshotFile.path" => self.put_file(v1::SnapshotFile { path: text, ..a_file() }).await,
            "SnapshotFile.blake3" => self.put_file(v1::SnapshotFile { blake3: text, ..a_file() }).await,
            "ContentPiece.blake3" => {
                let pieces = vec![v1::ContentPiece { blake3: text, ..v1::ContentPiece::default() }];
                server.put_contents(Request::new(v1::PutContentsRequest { pieces })).await.map(drop)
            }
            "SubmitRequest.request_id" => self.submit(&text).await,
            "ListSweepsRequest.page_token" => {
                let request = v1::ListSweepsRequest { page_size: 0, page_token: text };
                server.list_sweeps(Request::new(request)).await.map(drop)
            }
            "ListJobsRequest.page_token" => {
                let request =
                    v1::ListJobsRequest { sweep_id: 1, page_token: text, ..v1::ListJobsRequest::default() };
                server.list_jobs(Request::new(request)).await.map(drop)
            }
            "ListArtifactsRequest.page_token" => {
                let request = v1::ListArtifactsRequest {
                    sweep_id: 1,
                    page_token: text,
                    ..v1::ListArtifactsRequest::default()
                };
                server.list_artifacts(Request::new(request)).await.map(drop)
            }
            "ListWorkersRequest.page_token" => {
                let request = v1::ListWorkersRequest { page_size: 0, page_token: text };
                server.list_workers(Request::new(request)).await.map(drop)
            }
            "SetSweepRequest.settings" => {
                let request = v1::SetSweepRequest { sweep_id: 1, settings: vec![format!("name={text}")] };
                server.set_sweep(Request::new(request)).await.map(drop)
            }
            "DrainWorkerRequest.name" => {
                server.drain_worker(Request::new(v1::DrainWorkerRequest { name: text })).await.map(drop)
            }
            other => panic!("{other} is not guarded"),
        }
    }

    /// Calls with `number` in one field.
    #[allow(clippy::too_many_lines)] // A table.
    async fn count(&self, field: &str, number: u64) -> Result<(), Status> {
        let (sweep_id, server) = (number, &self.server);
        match field {
            "SubmitRequest.extend_sweep_id" => {
                let request = v1::SubmitRequest {
                    source: Some(source()),
                    request_id: String::new(),
                    extend_sweep_id: number,
                };
                server.submit(Request::new(request)).await.map(drop)
            }
            "GetSweepRequest.sweep_id" => {
                server.get_sweep(Request::new(v1::GetSweepRequest { sweep_id })).await.map(drop)
            }
            "WatchSweepRequest.sweep_id" => {
                server.watch_sweep(Request::new(v1::WatchSweepRequest { sweep_id })).await.map(drop)
            }
            "ListJobsRequest.sweep_id" => {
                let request = v1::ListJobsRequest { sweep_id, ..v1::ListJobsRequest::default() };
                server.list_jobs(Request::new(request)).await.map(drop)
            }
            "GetJobRequest.sweep_id" => {
                server.get_job(Request::new(v1::GetJobRequest { sweep_id, job: 1 })).await.map(drop)
            }
            "RetrySweepRequest.job" => {
                let request =
                    v1::RetrySweepRequest { sweep_id: 1, job: number, ..v1::RetrySweepRequest::default() };
                server.retry_sweep(Request::new(request)).await.map(drop)
            }
            "StopSweepRequest.job" => {
                let request = v1::StopSweepRequest { sweep_id: 1, job: number };
                server.stop_sweep(Request::new(request)).await.map(drop)
            }
            "CancelSweepRequest.job" => {
                let request = v1::CancelSweepRequest { sweep_id: 1, job: number };
                server.cancel_sweep(Request::new(request)).await.map(drop)
            }
            "GetJobRequest.job" => {
                server.get_job(Request::new(v1::GetJobRequest { sweep_id: 1, job: number })).await.map(drop)
            }
            "PauseSweepRequest.sweep_id" => {
                server.pause_sweep(Request::new(v1::PauseSweepRequest { sweep_id })).await.map(drop)
            }
            "ResumeSweepRequest.sweep_id" => {
                server.resume_sweep(Request::new(v1::ResumeSweepRequest { sweep_id })).await.map(drop)
            }
            "RetrySweepRequest.sweep_id" => server
                .retry_sweep(Request::new(v1::RetrySweepRequest {
                    sweep_id,
                    ..v1::RetrySweepRequest::default()
                }))
                .await
                .map(drop),
            "StopSweepRequest.sweep_id" => {
                server.stop_sweep(Request::new(v1::StopSweepRequest { sweep_id, job: 0 })).await.map(drop)
            }
            "CancelSweepRequest.sweep_id" => {
                server.cancel_sweep(Request::new(v1::CancelSweepRequest { sweep_id, job: 0 })).await.map(drop)
            }
            "SetSweepRequest.sweep_id" => {
                let request = v1::SetSweepRequest { sweep_id, settings: vec!["name=y".to_owned()] };
                server.set_sweep(Request::new(request)).await.map(drop)
            }
            "ListArtifactsRequest.sweep_id" => {
                let request = v1::ListArtifactsRequest { sweep_id, ..v1::ListArtifactsRequest::default() };
                server.list_artifacts(Request::new(request)).await.map(drop)
            }
            "ListArtifactsRequest.job" => {
                let request = v1::ListArtifactsRequest {
                    sweep_id: 1,
                    job: number,
                    ..v1::ListArtifactsRequest::default()
                };
                server.list_artifacts(Request::new(request)).await.map(drop)
            }
            "GetArtifactRequest.sweep_id" => {
                let request = v1::GetArtifactRequest { sweep_id, job: 1, offset: 0 };
                server.get_artifact(Request::new(request)).await.map(drop)
            }
            "GetArtifactRequest.job" => {
                let request = v1::GetArtifactRequest { sweep_id: 1, job: number, offset: 0 };
                server.get_artifact(Request::new(request)).await.map(drop)
            }
            "GetArtifactRequest.offset" => {
                let request = v1::GetArtifactRequest { sweep_id: 1, job: 1, offset: number };
                server.get_artifact(Request::new(request)).await.map(drop)
            }
            "SnapshotFile.bytes" => self.put_file(v1::SnapshotFile { bytes: number, ..a_file() }).await,
            // This server has no place for them; a service with one: `artifacts::snapshots::tests`.
            "ContentPiece.bytes" | "ContentPiece.offset" => {
                let blake3 = a_file().blake3;
                let pieces =
                    vec![v1::ContentPiece { blake3, bytes: number, offset: number, data: Vec::new() }];
                server.put_contents(Request::new(v1::PutContentsRequest { pieces })).await.map(drop)
            }
            "ReportRowsRequest.sweep_id" => {
                server.report_rows(Request::new(v1::ReportRowsRequest { sweep_id })).await.map(drop)
            }
            other => panic!("{other} is not guarded"),
        }
    }
}

fn a_file() -> v1::SnapshotFile {
    let blake3 = ContentHash::of(b"").to_string();
    v1::SnapshotFile { path: "a".to_owned(), executable: false, bytes: 0, blake3 }
}

fn source() -> v1::SweepSource {
    let text = "name: x\ndataset: {path: d}\nparameters: {seed: {value: 1}}\n".to_owned();
    v1::SweepSource { text, ..v1::SweepSource::default() }
}

/// The fields of a type, as `Message.field`, of all messages that are part of the inputs of a service.
fn fields(service: &str, wanted: Type) -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<DescriptorProto> = set
        .file
        .iter()
        .filter(|file| file.package() == "sweep.v1")
        .flat_map(|file| file.message_type.clone())
        .collect();
    let short = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let services = set.file.iter().flat_map(|file| &file.service).filter(|found| found.name() == service);
    let mut open: Vec<String> =
        services.flat_map(|found| &found.method).map(|method| short(method.input_type())).collect();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        let Some(message) = messages.iter().find(|message| message.name() == name) else { continue };
        if !seen.insert(name.clone()) {
            continue;
        }
        for field in &message.field {
            if field.r#type() == Type::Message {
                open.push(short(field.type_name()));
            } else if field.r#type() == wanted {
                found.insert(format!("{name}.{}", field.name()));
            }
        }
    }
    found
}

#[tokio::test]
async fn no_text_of_a_user_reaches_the_store_with_what_it_cannot_tell_apart() {
    let served = Served::start().await;
    served.submit("").await.unwrap();
    let texts = fields("SweepService", Type::String);
    assert!(texts.len() >= 9, "{texts:?}");
    for field in &texts {
        for hostile in HOSTILE {
            let refused = served.say(field, hostile).await.expect_err(field);
            assert_eq!(refused.code(), Code::InvalidArgument, "{field} {hostile:?}: {refused:?}");
        }
    }
    // What looks alike is not the same.
    for key in ["a\u{fffd}b", "ab", "a\u{200b}b", "a b"] {
        served.submit(key).await.unwrap();
    }
    let listed = served.server.list_sweeps(Request::new(v1::ListSweepsRequest::default())).await.unwrap();
    assert_eq!(listed.into_inner().sweeps.len(), 5);
}

#[tokio::test]
async fn no_number_of_a_user_is_taken_for_a_corrupt_store() {
    let served = Served::start().await;
    served.submit("").await.unwrap();
    for field in fields("SweepService", Type::Uint64) {
        for number in EDGES {
            let code = served.count(&field, number).await.map_or_else(|status| status.code(), |()| Code::Ok);
            let fits = [Code::NotFound, Code::InvalidArgument].contains(&code)
                // A sweep that has ended, and where 0 stands for none or all.
                || code == Code::FailedPrecondition
                || (code == Code::Ok && number == 0);
            assert!(fits, "{field} {number}: {code:?}");
        }
    }
    for number in EDGES {
        let token = number.to_string();
        for field in
            ["ListSweepsRequest.page_token", "ListJobsRequest.page_token", "ListArtifactsRequest.page_token"]
        {
            let said = served.say(field, &token).await;
            assert_eq!(said.is_ok(), i64::try_from(number).is_ok(), "{field} {number}: {said:?}");
            assert!(said.is_ok_and(|()| true) || number > 1 << 62, "{field} {number}");
        }
    }
}

fn hello(change: impl FnOnce(&mut v1::Hello)) -> v1::Hello {
    let slot = v1::Slot { index: 0, device: "cpu".into(), ..v1::Slot::default() };
    let mut hello = v1::Hello {
        protocol_version: proto::PROTOCOL_VERSION,
        name: "one".into(),
        slots: vec![slot],
        ..v1::Hello::default()
    };
    change(&mut hello);
    hello
}

fn event(attempt: v1::AttemptRef, sequence: u64, event: v1::event::Event) -> v1::WorkerMessage {
    let event = v1::Event { sequence, attempt: Some(attempt), event: Some(event) };
    v1::WorkerMessage { message: Some(Said::Event(event)) }
}

fn heard(message: v1::WorkerMessage) -> AttemptEvent {
    match convert::event(SessionId(1), 128, message) {
        Ok(Event::Attempt { event, .. }) => event,
        other => panic!("{other:?}"),
    }
}

/// What is known of a worker's text: whether it is refused, and what is kept of it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn said(field: &str, text: &str) -> Result<String, ()> {
    let text = text.to_owned();
    let attempt = v1::AttemptRef { sweep_id: 1, job: 1, attempt: 1 };
    let hello = |change: &dyn Fn(&mut v1::Hello)| convert::hello(hello(change)).map(drop).map_err(drop);
    let started = |dataset: v1::DatasetSummary| {
        let started = v1::AttemptStarted { dataset: Some(dataset), resumed_epochs: 0 };
        match heard(event(attempt, 1, v1::event::Event::Started(started))) {
            AttemptEvent::Started { dataset, .. } => Ok(dataset),
            _ => Err(()),
        }
    };
    let ended = |ended: v1::AttemptEnded| match heard(event(attempt, 1, v1::event::Event::Ended(ended))) {
        AttemptEvent::Ended { reason, log_tail, .. } => Ok((reason, log_tail.concat())),
        _ => Err(()),
    };
    let set = v1::DatasetSummary::default;
    match field {
        "Hello.name" => hello(&|hello| hello.name.clone_from(&text)).map(|()| text.clone()),
        "Hello.predecessors" => {
            hello(&|hello| hello.predecessors = vec![text.clone()]).map(|()| text.clone())
        }
        // Refused unless it is a manifest, whose names are plain.
        "Hello.trainables" => hello(&|hello| hello.trainables = vec![text.clone()]).map(|()| text.clone()),
        "DatasetSummary.validation" => {
            started(v1::DatasetSummary { validation: text, ..set() }).map(|set| set.validation)
        }
        "LeftOut.reason" | "LeftOut.detail" | "LeftOut.examples" => {
            let left_out = v1::LeftOut {
                reason: text.clone(),
                detail: text.clone(),
                examples: vec![text],
                ..v1::LeftOut::default()
            };
            started(v1::DatasetSummary { left_out: vec![left_out], ..set() })
                .map(|set| set.left_out[0].reason.clone())
        }
        "Hello.instance" => hello(&|hello| hello.instance.clone_from(&text)).map(|()| text.clone()),
        "Hello.host" => hello(&|hello| hello.host.clone_from(&text)).map(|()| text.clone()),
        "Hello.software_version" => {
            hello(&|hello| hello.software_version.clone_from(&text)).map(|()| text.clone())
        }
        "Slot.device" => hello(&|hello| hello.slots[0].device.clone_from(&text)).map(|()| text.clone()),
        "Slot.description" => {
            hello(&|hello| hello.slots[0].description.clone_from(&text)).map(|()| text.clone())
        }
        "DatasetSummary.content_hash" => {
            started(v1::DatasetSummary { content_hash: text, ..set() }).map(|set| set.content_hash)
        }
        "DatasetSummary.classes" => {
            started(v1::DatasetSummary { classes: vec![text], ..set() }).map(|set| set.classes.concat())
        }
        "DatasetSummary.skipped" => {
            started(v1::DatasetSummary { skipped: vec![text], ..set() }).map(|set| set.skipped.concat())
        }
        "AttemptEnded.reason" => {
            ended(v1::AttemptEnded { reason: text, ..v1::AttemptEnded::default() }).map(|(reason, _)| reason)
        }
        "AttemptEnded.log_tail" => {
            ended(v1::AttemptEnded { log_tail: vec![text], ..v1::AttemptEnded::default() })
                .map(|(_, log)| log)
        }
        "ParameterUse.read" | "ParameterUse.unread" => {
            let names = vec![text];
            let used = v1::ParameterUse { read: names.clone(), unread: names };
            let ended = v1::AttemptEnded { parameters: Some(used), ..v1::AttemptEnded::default() };
            match heard(event(attempt, 1, v1::event::Event::Ended(ended))) {
                AttemptEvent::Ended { details, .. } => {
                    let used = details.parameters.unwrap_or_default();
                    used.read.into_iter().chain(used.unread).next().ok_or(())
                }
                _ => Err(()),
            }
        }
        "WeightsFile.blake3" => {
            let file = v1::WeightsFile { bytes: 9, blake3: text, problem: String::new() };
            convert::weights_file(Some(file)).map(|file| file.blake3).map_err(drop)
        }
        "GetSnapshotRequest.snapshot_id" | "ContentPiece.blake3" => {
            text.parse::<ContentHash>().map(|hash| hash.to_string()).map_err(drop)
        }
        "MetricValue.name" => terms::MetricSchema::default().add(&text).map(|_| text).map_err(drop),
        "WeightsFile.problem" => Ok(convert::reason(text)),
        // Never kept.
        "Draining.reason" => Err(()),
        other => panic!("{other} is not guarded"),
    }
}

#[test]
fn no_text_of_a_worker_reaches_the_store_with_what_it_cannot_tell_apart() {
    for field in fields("WorkerService", Type::String) {
        for hostile in HOSTILE {
            match said(&field, hostile) {
                Err(()) => {}
                // For people alone; a job's end must not be lost for it.
                Ok(kept) if ["AttemptEnded.reason", "WeightsFile.problem"].contains(&field.as_str()) => {
                    assert_eq!(kept, hostile.replace('\0', "\u{fffd}"));
                }
                // Kept as JSON, which escapes them.
                Ok(kept) => {
                    assert!(
                        field.starts_with("DatasetSummary.")
                            || field.starts_with("LeftOut.")
                            || field == "AttemptEnded.log_tail",
                        "{field} lets {hostile:?} in"
                    );
                    assert_eq!(kept, hostile, "{field}");
                }
            }
        }
    }
}

#[tokio::test]
async fn no_number_of_a_worker_stops_the_coordinator() {
    let numbers = fields("WorkerService", Type::Uint64);
    let known = [
        "AttemptRef.job",
        "AttemptRef.sweep_id",
        // Of a piece that lies within its content, or the call is refused: `artifacts::snapshots::tests`.
        "ContentPiece.bytes",
        "ContentPiece.offset",
        "DatasetSummary.skipped_count",
        "DatasetSummary.train_by_class",
        "DatasetSummary.train_images",
        "DatasetSummary.val_by_class",
        "DatasetSummary.val_images",
        "Event.sequence",
        "LeftOut.count",
        // Refused below.
        "WeightsFile.bytes",
        // Of a piece that lies within the file, or the piece is refused: `artifacts::tests`.
        "WeightsRequest.offset",
    ];
    for bytes in EDGES {
        let file = v1::WeightsFile { bytes, blake3: "a".repeat(64), problem: String::new() };
        assert_eq!(convert::weights_file(Some(file)).is_ok(), bytes == 0, "{bytes}");
    }
    assert_eq!(
        numbers.iter().map(String::as_str).collect::<Vec<_>>(),
        known,
        "a number that is not tried below"
    );
    let served = Served::start().await;
    served.submit("").await.unwrap();
    let tell = async |session, number: u64| {
        let (outbox, messages) = served.driver.outbox();
        let hello = convert::hello(hello(|_| {})).unwrap();
        served.driver.open_session(session, hello, outbox).await.unwrap();
        let started = |sweep_id, job, images| {
            let dataset = v1::DatasetSummary {
                train_images: images,
                val_images: images,
                skipped_count: images,
                train_by_class: vec![images],
                val_by_class: vec![images],
                left_out: vec![v1::LeftOut { count: images, ..v1::LeftOut::default() }],
                ..v1::DatasetSummary::default()
            };
            let started = v1::AttemptStarted { dataset: Some(dataset), resumed_epochs: 0 };
            event(v1::AttemptRef { sweep_id, job, attempt: 1 }, number, v1::event::Event::Started(started))
        };
        for message in [started(number, 1, 1), started(1, number, 1), started(1, 1, number)] {
            let input = convert::event(session, 128, message).unwrap();
            served.driver.tell(vec![input]).await.unwrap();
        }
        assert!(std::future::poll_fn(|context| messages.poll_recv(context)).await.is_some());
    };
    for (session, number) in (1..).zip(EDGES) {
        tell(SessionId(session), number).await;
    }
    served.submit("still there").await.unwrap();
}
