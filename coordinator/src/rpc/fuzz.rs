//! Bytes on a worker's stream, whole and corrupt: whatever they say, the engine stays consistent.

use proptest::prelude::*;
use prost::Message as _;
use proto::v1;
use terms::AttemptKey;

use super::{bodies, convert};
use crate::api;
use domain::{
    definition::SweepDefinition,
    record::Record,
    specification::{Specification, SpecificationSource},
};
use engine::{Engine, EngineConfig, Event, Issued, Issuer, Now, Output, SessionId, command::Submit};

fn engine() -> Engine {
    let source = SpecificationSource {
        text: "name: x\ndataset: {path: /data}\nparameters: {seed: {values: [1, 2, 3]}, epochs: {value: 2}}"
            .into(),
        file_name: "fuzz.yaml".into(),
        overrides: Vec::new(),
        ..SpecificationSource::default()
    };
    let definition = Box::new(SweepDefinition::parse(&source).unwrap());
    let mut engine = Engine::new(EngineConfig::with_lease_ms(1_000));
    submit(&mut engine, Submit::new(definition, String::new()).unwrap());
    engine
}

fn submit(engine: &mut Engine, command: Submit) -> Output {
    engine.execute(now(0), Issued { command, issuer: Issuer::local() }).1
}

fn now(milliseconds: u64) -> Now {
    Now { monotonic_ms: milliseconds, unix_ms: milliseconds }
}

/// A message that a worker may send, with numbers that often fit.
#[allow(clippy::too_many_lines)] // A table.
fn message() -> impl Strategy<Value = v1::WorkerMessage> {
    use v1::{event::Event as Wire, worker_message::Message};
    let number = || prop_oneof![4 => 0..4u64, 1 => any::<u64>()];
    let small = || prop_oneof![4 => 0..4u32, 1 => any::<u32>()];
    let real = || prop_oneof![3 => 0.0..1.0f64, 1 => any::<f64>()];
    let attempt = move || {
        (1..3u64, number(), small()).prop_map(|(sweep, job, attempt)| {
            Some(v1::AttemptRef::from(AttemptKey::new(sweep, job, attempt)))
        })
    };
    let text = || prop_oneof![3 => "[a-z:0-9]{0,8}", 1 => ".{0,8}", 1 => "[a-z\\x00-\\x1f\\x7f-\\x9f]{0,8}"];
    let hello = ("[a-z.\\-/ ]{0,12}", prop::collection::vec((small(), attempt()), 0..4), text(), text())
        .prop_map(|(name, held, device, host)| {
            Message::Hello(v1::Hello {
                protocol_version: proto::PROTOCOL_VERSION,
                name,
                slots: held
                    .iter()
                    .map(|(index, _)| v1::Slot {
                        index: *index,
                        device: device.clone(),
                        ..v1::Slot::default()
                    })
                    .collect(),
                host,
                held: held
                    .into_iter()
                    .map(|(slot, attempt)| v1::HeldAttempt { attempt, slot, ended: false })
                    .collect(),
                ..v1::Hello::default()
            })
        });
    let started = (small(), text(), number()).prop_map(|(resumed_epochs, content_hash, images)| {
        let dataset = v1::DatasetSummary {
            classes: vec![content_hash.clone()],
            content_hash,
            train_images: images,
            val_images: images,
            ..v1::DatasetSummary::default()
        };
        Wire::Started(v1::AttemptStarted { resumed_epochs, dataset: Some(dataset) })
    });
    let epoch = (small(), [real(), real(), real(), real(), real()]).prop_map(
        |(epoch, [loss, share, time, more, less])| {
            Wire::Epoch(v1::EpochRecord {
                epoch,
                train_loss: loss,
                val_accuracy: share,
                epoch_seconds: time,
                val_loss: Some(more),
                train_accuracy: Some(less),
                ..v1::EpochRecord::default()
            })
        },
    );
    let ended = (any::<i32>(), text(), text()).prop_map(|(outcome, reason, line)| {
        Wire::Ended(v1::AttemptEnded {
            outcome: outcome % 10,
            reason,
            log_tail: vec![line],
            weights: None,
            ..v1::AttemptEnded::default()
        })
    });
    let event = (number(), attempt(), prop::option::of(prop_oneof![started, epoch, ended]))
        .prop_map(|(sequence, attempt, event)| Message::Event(v1::Event { sequence, attempt, event }));
    let length = prop_oneof![9 => 0..3_usize, 1 => 120..140_usize];
    let beat = (attempt(), small(), any::<f64>());
    let heartbeat =
        length.prop_flat_map(move |length| prop::collection::vec(beat.clone(), length)).prop_map(|running| {
            let running = running
                .into_iter()
                .map(|(attempt, epoch, fraction)| v1::AttemptProgress { attempt, epoch, fraction })
                .collect();
            Message::Heartbeat(v1::Heartbeat { running, gpus: Vec::new() })
        });
    let message = prop_oneof![
        2 => hello,
        5 => event,
        1 => heartbeat,
        1 => Just(Message::Draining(v1::Draining::default())),
    ];
    prop::option::weighted(0.95, message).prop_map(|message| v1::WorkerMessage { message })
}

/// The message's bytes, some of them with a wrong byte.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    (message(), prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(
        |(message, harm)| {
            let mut bytes = message.encode_to_vec();
            if let Some((place, byte)) = harm.filter(|_| !bytes.is_empty()) {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        },
    )
}

/// Whether the stores can keep every text of a record that is not kept as JSON.
fn can_be_kept(record: &Record) -> bool {
    match record {
        Record::SweepSubmitted { name, request_id, specification, .. } => {
            [name, request_id, specification].iter().all(|text| !text.contains('\0'))
        }
        Record::SweepExtended { specification: text, .. }
        | Record::AttemptGranted { device: text, .. }
        | Record::AttemptEnded { reason: text, .. }
        | Record::JobChanged { reason: text, .. } => !text.contains('\0'),
        _ => true,
    }
}

proptest! {
    #[test]
    fn whatever_workers_send_the_engine_stays_consistent(
        streams in prop::collection::vec(prop::collection::vec(bytes(), 0..12), 1..4),
    ) {
        let mut engine = engine();
        let mut time = 0;
        for (number, stream) in (1..).zip(streams) {
            let session = SessionId(number);
            let mut is_open = false;
            for bytes in stream {
                time += 10;
                let Ok(message) = v1::WorkerMessage::decode(bytes.as_slice()) else { break };
                let event = match message.message {
                    Some(v1::worker_message::Message::Hello(hello)) if !is_open => {
                        is_open = true;
                        convert::hello(hello).map(|hello| Event::SessionOpened { session, hello })
                    }
                    _ if is_open => convert::event(session, 128, message),
                    _ => break,
                };
                // A stream ends with its first message that cannot be used.
                let Ok(event) = event else { break };
                let bytes = event.bytes();
                prop_assert!(bytes < terms::WORKER_MESSAGE_BYTES_MAX, "{} bytes", bytes);
                let output = engine.hear(now(time), event);
                prop_assert!(output.records.iter().all(can_be_kept), "{:?}", output.records);
                prop_assert_eq!(engine.check_invariants(), Ok(()));
            }
            if number % 2 == 0 {
                engine.hear(now(time), Event::SessionClosed(session));
            }
            time += 500;
            engine.hear(now(time), Event::Tick);
            prop_assert_eq!(engine.check_invariants(), Ok(()));
        }
    }

    #[test]
    fn whatever_bytes_a_user_sends_they_are_a_submission_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = v1::SubmitRequest::decode(bytes.as_slice()) {
            let source = api::Source::from(request.source.unwrap_or_default());
            // Without a panic.
            let _ = source.specification().map(|source| Specification::parse(&source));
        }
    }

    #[test]
    fn whatever_texts_a_user_sends_the_store_can_keep_what_is_let_in(
        key in ".{0,6}|[a\\x00-\\x9f]{0,4}",
        name in ".{0,8}|[a-c\\x00-\\x9f]{0,6}",
        path in ".{1,8}|[a-c\\x00-\\x9f]{1,6}",
        escaped in "[\\\\0enNu_ x1b]{0,6}",
    ) {
        let text = format!("name: \"{escaped}\"\ndataset: {{path: \"{escaped}\"}}\nparameters: {{}}\n");
        let overrides = vec![format!("name={name}"), format!("dataset.path='{path}'")];
        for overrides in [Vec::new(), overrides] {
            let source = v1::SweepSource { text: text.clone(), overrides, ..v1::SweepSource::default() };
            let source = api::Source::from(source);
            if api::plain("request_id", &key).is_err() || source.check().is_err() {
                continue;
            }
            let Ok(definition) = SweepDefinition::parse(&source.specification().unwrap()) else { continue };
            let command = Submit::new(Box::new(definition), key.clone()).unwrap();
            let output = submit(&mut engine(), command);
            prop_assert!(output.records.iter().all(can_be_kept), "{:?}", output.records);
        }
    }

    #[test]
    fn however_messages_are_cut_their_ends_are_found(
        lengths in prop::collection::vec(0..300_usize, 0..6),
        cut in 1..64_usize,
        last in 0..5_usize,
    ) {
        let message = |length: &usize| [&[0][..], &u32::try_from(*length).unwrap().to_be_bytes(), &vec![7; *length]].concat();
        let mut bytes: Vec<u8> = lengths.iter().flat_map(message).collect();
        bytes.extend(&[0, 0, 1, 0, 0][..last]);
        let mut reader = bodies::Message::default();
        let mut come = 0;
        for part in bytes.chunks(cut) {
            reader.take(part);
            come = reader.come;
            prop_assert!(come < 5 + 300);
        }
        prop_assert_eq!(come, last);
    }
}
