//! Bytes of a coordinator and lines of a trainer, whole and corrupt: whatever they say, the session goes on.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;
use proto::v1::{self, coordinator_message::Message};
use trainer_protocol::{EpochLine, FromTrainer, TRAINER_PROTOCOL_VERSION, TrainerOutcome};

use super::{
    session::{
        Session,
        tests::{attempt, summary},
        types::{Input, Output, TrainerEvent},
    },
    wire,
};
use crate::corruption::corrupted;

const SLOTS: usize = 2;

/// What a coordinator says, as bytes.
fn messages() -> Vec<Vec<u8>> {
    let job = |job| v1::JobAssignment {
        attempt: Some(attempt(job).into()),
        model: "simple_cnn".into(),
        dataset: Some(v1::Dataset {
            path: "d".into(),
            image_size: 8,
            val_fraction: 0.2,
            split_seed: 0,
            val_path: String::new(),
        }),
        timeout_ms: 1_000,
        checkpoints: Some(v1::CheckpointPlan { key: "1-2/3".into(), every_epochs: 1, pauses: true }),
        ..v1::JobAssignment::default()
    };
    let refused = vec![attempt(1).into()];
    [
        Message::Welcome(v1::Welcome { lease_ms: 9, heartbeat_interval_ms: 3, refused: refused.clone() }),
        Message::Grant(v1::Grant { slot: 0, jobs: vec![job(1)] }),
        Message::Grant(v1::Grant { slot: 1, jobs: vec![job(2)] }),
        Message::Acknowledgement(v1::Acknowledgement { sequence: 2 }),
        Message::Revoke(v1::Revoke { attempts: refused, reason: "so".into() }),
        Message::Drain(v1::Drain::default()),
    ]
    .map(|message| v1::CoordinatorMessage { message: Some(message) }.encode_to_vec())
    .to_vec()
}

/// What a trainer says, as lines.
fn lines() -> Vec<Vec<u8>> {
    let id = || attempt(1).to_string();
    [
        FromTrainer::Ready {
            protocol: TRAINER_PROTOCOL_VERSION,
            device: "cpu".into(),
            trainables: terms::manifest::builtins().to_vec(),
        },
        FromTrainer::Started { id: id(), dataset: summary(), resumed_epochs: 0 },
        FromTrainer::Progress { id: id(), epoch: 1, fraction: 0.5, validating: true },
        FromTrainer::Epoch(EpochLine {
            id: id(),
            epoch: 1,
            metrics: [("train_loss", 0.5), ("val_accuracy", 0.5), ("val_loss", f64::NAN)]
                .into_iter()
                .collect(),
            epoch_seconds: 1.0,
        }),
        FromTrainer::ended(id(), TrainerOutcome::Done, ""),
    ]
    .map(|line| serde_json::to_vec(&line).unwrap())
    .to_vec()
}

#[derive(Debug, Clone)]
enum Heard {
    Coordinator(Vec<u8>),
    Trainer(usize, Vec<u8>),
    Wait(u64),
}

/// One of them, whole or corrupt.
fn heard() -> impl Strategy<Value = Heard> {
    let of = |whole: Vec<Vec<u8>>| {
        prop::sample::select(whole)
            .prop_flat_map(|whole| prop_oneof![3 => Just(whole.clone()), 1 => corrupted(whole)])
    };
    prop_oneof![
        3 => of(messages()).prop_map(Heard::Coordinator),
        3 => (0..SLOTS, of(lines())).prop_map(|(slot, line)| Heard::Trainer(slot, line)),
        1 => (0..20_000_u64).prop_map(Heard::Wait),
    ]
}

fn input(heard: &Heard) -> Option<Input> {
    Some(match heard {
        Heard::Coordinator(bytes) => {
            let message = v1::CoordinatorMessage::decode(bytes.as_slice()).ok()?;
            Input::Message(wire::decode(message).ok()?)
        }
        Heard::Trainer(slot, line) => {
            let event = match serde_json::from_slice(line) {
                Ok(message) => TrainerEvent::Said { message, log_tail: Vec::new(), weights: None },
                Err(error) => TrainerEvent::Broken { reason: error.to_string() },
            };
            Input::Trainer { slot: *slot, event }
        }
        Heard::Wait(_) => Input::Tick,
    })
}

proptest! {
    #[test]
    fn whatever_coordinators_and_trainers_say_the_session_goes_on(all in prop::collection::vec(heard(), 0..40)) {
        let mut session = Session::new(SLOTS, Duration::from_secs(30), 1, Vec::new());
        let (mut now, mut last) = (Duration::ZERO, 0);
        session.apply(now, Input::Connected);
        for one in &all {
            if let Heard::Wait(milliseconds) = one {
                now += Duration::from_millis(*milliseconds);
            }
            let Some(input) = input(one) else { continue };
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                for output in session.apply(now, input) {
                    match output {
                        Output::Append(event) => {
                            prop_assert_eq!(event.sequence, last + 1, "events are numbered in turn");
                            last = event.sequence;
                        }
                        Output::KillTrainer { slot } => inputs.push(Input::Trainer {
                            slot,
                            event: TrainerEvent::Exited {
                                reason: "killed".into(),
                                log_tail: Vec::new(),
                                data_lost: false,
                                trains_heard: u32::MAX,
                                out_of_memory: false,
                            },
                        }),
                        _ => {}
                    }
                }
            }
            prop_assert!(session.next_deadline().is_none_or(|deadline| std::time::Instant::now().checked_add(deadline).is_some()));
        }
    }
}
