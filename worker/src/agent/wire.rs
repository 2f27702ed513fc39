//! Conversions between the session's plain values and the generated messages of `proto`; only this file knows both.

use std::time::Duration;

use proto::{
    MissingField,
    v1::{
        self, coordinator_message::Message as Incoming, event::Event as WireKind,
        worker_message::Message as Outgoing,
    },
};
use terms::snapshot::SnapshotId;
use terms::{AttemptKey, EndDetails, GpuUse, Outcome, ParameterValue};
use trainer_protocol::{ArgumentStyle, CheckpointPlan, DatasetSpec, MetricsPlan, Program};

use super::session::types::{
    AttemptProgress, End, Event, EventKind, FromCoordinator, GrantedJob, Held, Start, ToCoordinator, Weights,
    Work,
};

/// What `Hello` contains besides what the session knows; constant for the life of the process.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: terms::WorkerName,
    /// Random identity of this process.
    pub instance: String,
    /// The processes that had its spool before, newest first.
    pub predecessors: Vec<String>,
    pub host: String,
    /// The slots, in the order of their indices.
    pub slots: Vec<v1::Slot>,
    /// Whether it runs the programs of sweep files.
    pub allow_commands: bool,
    /// Whether it runs those alone, and trains no models.
    pub programs_only: bool,
    /// The manifests of what its trainer trains, each as JSON; none of one that names none.
    pub trainables: Vec<String>,
    /// Where checkpoints are kept that all workers find, as a URL; empty where that is this machine.
    pub checkpoints: String,
    /// How much memory its trainers may have together, in bytes; 0 where that is not known.
    pub memory_bytes: u64,
}

/// The message for the wire.
pub fn encode(message: ToCoordinator, identity: &Identity) -> v1::WorkerMessage {
    let message = match message {
        ToCoordinator::Hello { held, draining } => Outgoing::Hello(v1::Hello {
            protocol_version: proto::PROTOCOL_VERSION,
            name: identity.name.to_string(),
            instance: identity.instance.clone(),
            predecessors: identity.predecessors.clone(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: identity.host.clone(),
            slots: identity.slots.clone(),
            held: held.into_iter().map(encode_held).collect(),
            draining,
            allow_commands: identity.allow_commands,
            trains_no_models: identity.programs_only,
            spans_slots: true,
            pauses: true,
            checkpoints: identity.checkpoints.clone(),
            memory_bytes: identity.memory_bytes,
            trainables: identity.trainables.clone(),
        }),
        ToCoordinator::Event(event) => Outgoing::Event(encode_event(event)),
        ToCoordinator::Heartbeat(running) => {
            let running = running.into_iter().map(encode_progress).collect();
            Outgoing::Heartbeat(v1::Heartbeat { running, gpus: Vec::new() })
        }
        ToCoordinator::Draining { reason } => Outgoing::Draining(v1::Draining { reason }),
    };
    v1::WorkerMessage { message: Some(message) }
}

/// The same message; a heartbeat also says what the GPUs do, which `seen` is asked for.
pub(crate) fn with_gpus(
    mut message: v1::WorkerMessage,
    seen: impl FnOnce() -> Vec<GpuUse>,
) -> v1::WorkerMessage {
    if let Some(Outgoing::Heartbeat(beat)) = &mut message.message {
        beat.gpus = seen().into_iter().map(v1::GpuUse::from).collect();
    }
    message
}

fn encode_held(held: Held) -> v1::HeldAttempt {
    let attempt = Some(held.attempt().into());
    match held {
        // A number beyond all slots stands for a slot that the coordinator cannot know.
        Held::Running { slot, .. } => {
            v1::HeldAttempt { attempt, slot: u32::try_from(slot).unwrap_or(u32::MAX), ended: false }
        }
        Held::Ended { .. } => v1::HeldAttempt { attempt, slot: 0, ended: true },
    }
}

fn encode_progress(AttemptProgress { attempt, progress }: AttemptProgress) -> v1::AttemptProgress {
    v1::AttemptProgress {
        attempt: Some(attempt.into()),
        epoch: progress.epoch(),
        fraction: progress.fraction(),
    }
}

/// A file of weights for the wire.
pub fn encode_weights(weights: Weights) -> v1::WeightsFile {
    match weights {
        Weights::File { bytes, blake3 } => v1::WeightsFile { bytes, blake3, problem: String::new() },
        Weights::Absent(problem) => v1::WeightsFile { problem, ..v1::WeightsFile::default() },
    }
}

fn decode_weights(file: v1::WeightsFile) -> Weights {
    match file {
        v1::WeightsFile { bytes, blake3, problem } if problem.is_empty() => Weights::File { bytes, blake3 },
        v1::WeightsFile { problem, .. } => Weights::Absent(problem),
    }
}

/// An event for the wire and the spool.
pub fn encode_event(event: Event) -> v1::Event {
    let kind = match event.kind {
        EventKind::Started(Start { dataset, resumed_epochs }) => {
            WireKind::Started(v1::AttemptStarted { dataset: Some(dataset.into()), resumed_epochs })
        }
        EventKind::Epoch(metrics) => WireKind::Epoch(metrics.into()),
        EventKind::Ended(end) => WireKind::Ended(v1::AttemptEnded {
            outcome: v1::Outcome::from(end.outcome).into(),
            reason: end.reason,
            log_tail: end.log_tail,
            weights: end.weights.map(encode_weights),
            again: v1::Again::from(end.details.again).into(),
            without_checkpoint: end.details.without_checkpoint,
            parameters: end.details.parameters.map(Into::into),
        }),
    };
    v1::Event { sequence: event.sequence, attempt: Some(event.attempt.into()), event: Some(kind) }
}

/// An event from the spool.
///
/// # Errors
/// It lacks its attempt or its content, which never happens to an event of this program.
pub fn decode_event(wire: v1::Event) -> Result<Event, MissingField> {
    let attempt = proto::attempt_from_wire(wire.attempt)?;
    let kind = match wire.event.ok_or(MissingField("event"))? {
        WireKind::Started(started) => {
            let dataset = started.dataset.ok_or(MissingField("dataset"))?.into();
            EventKind::Started(Start { dataset, resumed_epochs: started.resumed_epochs })
        }
        WireKind::Epoch(record) => EventKind::Epoch(record.into()),
        WireKind::Ended(ended) => {
            let outcome = Outcome::try_from(ended.outcome()).unwrap_or(Outcome::Failed);
            let again = ended.again().into();
            let v1::AttemptEnded { reason, log_tail, weights, parameters, without_checkpoint, .. } = ended;
            let details = EndDetails { again, parameters: parameters.map(Into::into), without_checkpoint };
            EventKind::Ended(End { outcome, reason, log_tail, weights: weights.map(decode_weights), details })
        }
    };
    Ok(Event { sequence: wire.sequence, attempt, kind })
}

/// A message of the coordinator.
///
/// # Errors
/// A field is missing without which the message has no meaning.
pub fn decode(wire: v1::CoordinatorMessage) -> Result<FromCoordinator, MissingField> {
    Ok(match wire.message.ok_or(MissingField("message"))? {
        Incoming::Welcome(welcome) => FromCoordinator::Welcome {
            heartbeat_interval: Duration::from_millis(welcome.heartbeat_interval_ms),
            refused: welcome.refused.into_iter().map(AttemptKey::from).collect(),
        },
        Incoming::Grant(grant) => FromCoordinator::Grant {
            slot: usize::try_from(grant.slot).unwrap_or(usize::MAX),
            jobs: grant.jobs.into_iter().map(decode_job).collect::<Result<_, _>>()?,
        },
        Incoming::Acknowledgement(acknowledgement) => {
            FromCoordinator::Acknowledged { through: acknowledgement.sequence }
        }
        Incoming::Revoke(revoke) => FromCoordinator::Revoke {
            attempts: revoke.attempts.into_iter().map(AttemptKey::from).collect(),
            reason: revoke.reason,
        },
        Incoming::Drain(_) => FromCoordinator::Drain,
    })
}

fn decode_job(wire: v1::JobAssignment) -> Result<GrantedJob, MissingField> {
    let attempt = proto::attempt_from_wire(wire.attempt)?;
    Ok(GrantedJob { attempt, work: decode_work(attempt, wire) })
}

fn decode_work(attempt: AttemptKey, wire: v1::JobAssignment) -> Result<Work, String> {
    if wire.program.is_none() && wire.model.is_empty() {
        return Err("the coordinator's grant names neither a model nor a program".to_owned());
    }
    let parameters = proto::parameters_from_wire(wire.parameters);
    // Older coordinators only have the parameter.
    let by_name = || parameters.positive_integer("epochs").and_then(|epochs| u32::try_from(epochs).ok());
    let epochs = Some(wire.budget).filter(|epochs| *epochs > 0);
    let epochs = epochs.or_else(|| wire.program.is_none().then(by_name).flatten());
    let (files, program) = wire.program.map(decode_program).transpose()?.unwrap_or_default();
    let to_json = |(name, value): (String, ParameterValue)| {
        let value = match value {
            ParameterValue::Null => serde_json::Value::Null,
            ParameterValue::Boolean(value) => value.into(),
            ParameterValue::Integer(value) => value.into(),
            ParameterValue::Text(value) => value.into(),
            ParameterValue::Float(value) => serde_json::Number::from_f64(value)
                .ok_or_else(|| format!("the parameter {name} is {value}; it must be a finite number"))?
                .into(),
        };
        Ok::<_, String>((name, value))
    };
    Ok(Work {
        model: wire.model,
        parameters: parameters.0.into_iter().map(to_json).collect::<Result<_, _>>()?,
        epochs,
        until_epoch: Some(wire.until_epoch).filter(|until| *until > 0),
        program,
        files,
        dataset: wire.dataset.map(|dataset| DatasetSpec {
            path: dataset.path.into(),
            image_size: dataset.image_size,
            val_fraction: dataset.val_fraction,
            split_seed: dataset.split_seed,
            val_path: (!dataset.val_path.is_empty()).then(|| dataset.val_path.into()),
        }),
        timeout: (wire.timeout_ms > 0).then(|| Duration::from_millis(wire.timeout_ms)),
        pauses: wire.checkpoints.as_ref().is_some_and(|plan| plan.pauses),
        checkpoints: wire.checkpoints.map(|plan| CheckpointPlan {
            key: plan.key,
            attempt: attempt.attempt,
            every_epochs: plan.every_epochs,
        }),
        keep_weights: wire.keep_weights,
        also_slots: wire.also_slots.into_iter().map(|slot| slot as usize).collect(),
    })
}

/// The snapshot of a program's files, and how to run it.
fn decode_program(wire: v1::Program) -> Result<(Option<SnapshotId>, Option<Program>), String> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let files = given(wire.files).map(|id| id.parse()).transpose();
    let files = files.map_err(|_| "the coordinator's grant names no proper snapshot of files".to_owned())?;
    let arguments = match wire.arguments.as_str() {
        "" | "argparse" => ArgumentStyle::Argparse,
        "wandb" => ArgumentStyle::Wandb,
        other => return Err(format!("this worker knows no style of arguments called {other:?}; update it")),
    };
    let metrics = wire.metrics.unwrap_or_default();
    let program = Program {
        program: given(wire.program),
        command: wire.command,
        arguments,
        env: wire.env.into_iter().map(|variable| (variable.name, variable.value)).collect(),
        metrics: MetricsPlan {
            channel: true,
            pattern: given(metrics.pattern),
            csv: given(metrics.csv).map(Into::into),
            objective: given(wire.objective),
        },
        stop_seconds: (wire.stop_grace_period_ms > 0)
            .then(|| Duration::from_millis(wire.stop_grace_period_ms).as_secs_f64()),
        ..Program::default()
    };
    Ok((files, Some(program)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::ParameterMap;
    use terms::{Again, DatasetSummary, EpochReport, LeftOut, ParameterUse};

    fn assignment() -> v1::JobAssignment {
        v1::JobAssignment {
            attempt: Some(AttemptKey::new(1, 2, 3).into()),
            model: "simple_cnn".into(),
            parameters: proto::parameters_to_wire(ParameterMap(vec![
                ("learning_rate".into(), ParameterValue::Float(5e-5)),
                ("epochs".into(), ParameterValue::Integer(5)),
            ])),
            dataset: Some(v1::Dataset {
                path: "train".into(),
                image_size: 64,
                val_fraction: 0.2,
                split_seed: 7,
                val_path: "val".into(),
            }),
            timeout_ms: 0,
            checkpoints: Some(v1::CheckpointPlan { key: "1-9/2".into(), every_epochs: 4, pauses: true }),
            until_epoch: 3,
            keep_weights: true,
            ..v1::JobAssignment::default()
        }
    }

    #[test]
    fn a_job_keeps_its_parameters_and_says_how_many_epochs_it_has() {
        let work = decode_job(assignment()).unwrap().work.unwrap();
        assert_eq!(work.parameters["learning_rate"], 5e-5);
        assert_eq!((work.epochs, work.timeout), (Some(5), None));
        assert_eq!(work.dataset.unwrap().val_path.as_deref(), Some(std::path::Path::new("val")));
        let plan = CheckpointPlan { key: "1-9/2".into(), attempt: 3, every_epochs: 4 };
        assert_eq!((work.checkpoints, work.keep_weights), (Some(plan), true));
        assert_eq!((work.until_epoch, work.pauses), (Some(3), true));
    }

    #[test]
    fn a_job_that_cannot_be_trained_is_still_known_by_its_attempt() {
        let job = decode_job(v1::JobAssignment { model: String::new(), ..assignment() }).unwrap();
        assert_eq!(job.attempt, AttemptKey::new(1, 2, 3));
        assert_eq!(job.work.unwrap_err(), "the coordinator's grant names neither a model nor a program");
    }

    #[test]
    fn a_program_has_the_time_to_stop_that_its_sweep_gives_it() {
        let stop = |stop_grace_period_ms| {
            let program = Some(v1::Program { stop_grace_period_ms, ..v1::Program::default() });
            let job = decode_job(v1::JobAssignment { program, ..assignment() }).unwrap();
            job.work.unwrap().program.unwrap().stop_seconds
        };
        assert_eq!((stop(90_500), stop(0)), (Some(90.5), None));
    }

    #[test]
    fn a_model_may_do_without_a_data_set() {
        let job = decode_job(v1::JobAssignment { dataset: None, ..assignment() }).unwrap();
        assert_eq!(job.work.unwrap().dataset, None);
    }

    #[test]
    fn events_survive_the_wire() {
        let kinds = [
            EventKind::Started(Start {
                dataset: DatasetSummary {
                    content_hash: "ab".into(),
                    classes: vec!["cat".into(), "dog".into()],
                    train_images: 8,
                    val_images: 2,
                    skipped: vec!["cat/1.jpg".into()],
                    skipped_count: 1,
                    train_by_class: vec![5, 3],
                    val_by_class: vec![1, 1],
                    left_out: vec![LeftOut {
                        reason: "other_format".into(),
                        detail: ".gif".into(),
                        count: 3,
                        examples: vec!["cat/1.gif".into()],
                    }],
                    validation: "val".into(),
                },
                resumed_epochs: 3,
            }),
            EventKind::Epoch(EpochReport {
                number: 1,
                seconds: 2.0,
                metrics: [("train_loss".into(), 0.5), ("f1".into(), f64::INFINITY)].into_iter().collect(),
            }),
            EventKind::Epoch(EpochReport { number: 2, seconds: 2.0, metrics: [].into_iter().collect() }),
            EventKind::Ended(End {
                outcome: Outcome::Failed,
                reason: "so".into(),
                log_tail: vec!["x".into()],
                weights: Some(Weights::Absent("no room".into())),
                details: EndDetails { again: Again::UnlessRepeated, ..EndDetails::default() },
            }),
            EventKind::Ended(End {
                details: EndDetails { without_checkpoint: true, ..EndDetails::default() },
                ..End::new(Outcome::Paused, "")
            }),
            EventKind::Ended(End {
                weights: Some(Weights::File { bytes: 7, blake3: "ab".into() }),
                details: EndDetails {
                    again: Again::Yes,
                    parameters: Some(ParameterUse {
                        read: ["lr".to_owned()].into(),
                        unread: ["typo".to_owned()].into(),
                    }),
                    ..EndDetails::default()
                },
                ..End::new(Outcome::Done, "")
            }),
        ];
        for kind in kinds {
            let event = Event { sequence: 9, attempt: AttemptKey::new(1, 1, 1), kind };
            assert_eq!(decode_event(encode_event(event.clone())).unwrap(), event);
        }
    }
}
