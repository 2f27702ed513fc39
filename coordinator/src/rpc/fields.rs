//! Every text and every number that a peer can send, and what becomes of it: refused where it comes in, or kept as it is.
//! The tables are compared with the wire format, so that a field that is new must be thought of. Here those of workers, in `users` those of users.

mod users;

use std::collections::BTreeSet;

use engine::{AttemptEvent, Event, SessionId};
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use proto::{
    Message,
    v1::{self, worker_message::Message as Said},
};
use terms::snapshot::ContentHash;

use self::users::Served;
use super::convert;

/// Texts that a store may take for another, or that end what they stand in.
const HOSTILE: [&str; 5] = ["a\0b", "a\u{1b}b", "a\u{7f}b", "a\u{9b}b", "\0"];
/// Numbers at the edges of what columns hold.
const EDGES: [u64; 4] = [u64::MAX, 1 << 63, (1 << 63) - 1, 0];

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

/// What a heartbeat says of a GPU.
fn beat(gpu: v1::GpuUse) -> v1::WorkerMessage {
    let beat = v1::Heartbeat { running: Vec::new(), gpus: vec![gpu] };
    v1::WorkerMessage { message: Some(Said::Heartbeat(beat)) }
}

/// What is kept of it, in memory alone.
fn seen(gpu: v1::GpuUse) -> Result<terms::GpuUse, ()> {
    match convert::event(SessionId(1), 128, beat(gpu)) {
        Ok(Event::Heartbeat { gpus, .. }) => gpus.into_iter().next().ok_or(()),
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
        "Hello.checkpoints" => hello(&|hello| hello.checkpoints.clone_from(&text)).map(|()| text.clone()),
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
        "GpuUse.device" => seen(v1::GpuUse { device: text, ..v1::GpuUse::default() }).map(|gpu| gpu.device),
        "GpuUse.name" => seen(v1::GpuUse { name: text, ..v1::GpuUse::default() }).map(|gpu| gpu.name),
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
                Ok(kept)
                    if ["AttemptEnded.reason", "GpuUse.name", "WeightsFile.problem"]
                        .contains(&field.as_str()) =>
                {
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
        // Beyond the end there is nothing: `artifacts::handed_over::tests`.
        "GetCheckpointRequest.offset",
        "GpuUse.memory_total_bytes",
        "GpuUse.memory_used_bytes",
        "Hello.memory_bytes",
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
        let hello = convert::hello(hello(|hello| hello.memory_bytes = number)).unwrap();
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
        let gpu = v1::GpuUse {
            device: "cpu".into(),
            memory_used_bytes: number,
            memory_total_bytes: number,
            ..v1::GpuUse::default()
        };
        for message in [started(number, 1, 1), started(1, number, 1), started(1, 1, number), beat(gpu)] {
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
