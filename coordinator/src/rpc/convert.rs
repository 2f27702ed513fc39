//! Messages of workers into events of the engine, checked and cut to size; rows of the store into messages. What the
//! engine says lies in files of its own: `to_worker`, and `shown` for users.

mod shown;
mod to_worker;

use std::collections::HashSet;

use domain::{
    definition::SweepDefinition,
    record::WeightsFile,
    specification::{Change, Models, SpecificationSource},
};
use engine::{AttemptEvent, Event, Heartbeat, HeldAttempt, Hello, SessionId, SlotDescription};
use proto::v1;
use store::{ArtifactRow, AttemptRow, EpochRow, JobRow};
use terms::{
    AttemptState, EpochReport, JobState, LOG_LINES_MAX, Outcome, SweepState, TEXT_CHARACTERS_MAX,
    manifest::{Described, MANIFEST_BYTES_MAX, Manifest, TRAINABLES_MAX, builtins_described},
    metrics::known,
};
use tonic::Status;

pub(super) use self::shown::{listed, snapshot, sweep, worker};
pub use self::to_worker::to_worker;
use super::edge::{for_people, plain};
use crate::artifacts::WEIGHTS_BYTES_MAX;

/// Most slots of one worker; the largest machines have 16 GPUs and some hundred cores.
const SLOTS_MAX: usize = 1_024;
/// Most jobs that a worker's slots may train at the same time: 16 GPUs with packs of the largest size.
const TRAINED_MAX: usize = 16_384;
/// Attempts that a heartbeat of the smallest worker may name, as one that came back with fewer slots does.
const RUNNING_MIN: usize = 128;
/// Longest texts of a hello, in bytes: a UUID, a name of DNS, a version with its build, `cuda:15`. Of what only people read,
/// the rest is cut.
const INSTANCE_BYTES_MAX: usize = 100;
const HOST_BYTES_MAX: usize = 253;
const VERSION_BYTES_MAX: usize = 100;
const DEVICE_BYTES_MAX: usize = 64;
const DESCRIPTION_CHARACTERS_MAX: usize = 100;
/// Longest content hash, in bytes: 256 bits as hexadecimal digits, and as much for another kind.
const HASH_BYTES_MAX: usize = 128;
/// All names of a list of a data set, in bytes.
const NAMES_BYTES_MAX: usize = 64 << 10;
/// Most jobs of one pack: a grant of them is far below the largest message.
const PACK_SIZE_MAX: u32 = 1_024;
/// Most attempts whose end a worker may still have to tell, whatever slots it has by now.
const ENDED_MAX: usize = 65_536;
/// Most earlier processes of a worker that are looked at.
const PREDECESSORS_MAX: usize = 16;
/// Most classes kept of a data set, and most names of images that were left out.
const NAMES_MAX: usize = 256;
/// Most reasons for which files of a data set are left out; a worker tells some 25.
const LEFT_OUT_MAX: usize = 32;
/// Most examples of one reason; a worker tells three.
const EXAMPLES_MAX: usize = 3;

/// A setting that changed.
pub(super) fn change(change: Change) -> v1::SettingChange {
    let Change { key, before, after } = change;
    v1::SettingChange { key, before, after }
}

/// A worker's first message.
pub fn hello(wire: v1::Hello) -> Result<Hello, Status> {
    if wire.protocol_version != proto::PROTOCOL_VERSION {
        return Err(Status::failed_precondition(format!(
            "this coordinator speaks revision {} of the worker protocol, the worker {}; use the same version of both",
            proto::PROTOCOL_VERSION,
            wire.protocol_version
        )));
    }
    check_texts(&wire)?;
    let models = models(&wire.trainables)?;
    let name = wire.name.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
    let indexes: HashSet<u32> = wire.slots.iter().map(|slot| slot.index).collect();
    if wire.slots.is_empty() || wire.slots.len() > SLOTS_MAX || indexes.len() != wire.slots.len() {
        return Err(Status::invalid_argument(format!(
            "a worker has 1 to {SLOTS_MAX} slots with distinct indexes"
        )));
    }
    let slots = wire.slots.iter().map(|slot| slot.pack_size_max.clamp(1, PACK_SIZE_MAX) as usize);
    let trained_max = slots.sum::<usize>();
    if trained_max > TRAINED_MAX {
        return Err(Status::invalid_argument(format!(
            "the slots of a worker train at most {TRAINED_MAX} jobs at the same time, not {trained_max}; lower \
             --pack-size-max"
        )));
    }
    // A slot may hold what it is given while it still ends what was taken back.
    let held_max = trained_max * 2;
    if wire.held.iter().filter(|held| !held.ended).count() > held_max
        || wire.held.len() > ENDED_MAX + held_max
    {
        return Err(Status::invalid_argument(format!(
            "a worker cannot hold more attempts than twice what its slots can train, nor {ENDED_MAX} that have ended"
        )));
    }
    let slot = |slot: v1::Slot| SlotDescription {
        index: slot.index,
        device: slot.device,
        description: for_people(slot.description, DESCRIPTION_CHARACTERS_MAX),
        pack_size_max: slot.pack_size_max.clamp(1, PACK_SIZE_MAX),
    };
    let held = |held: v1::HeldAttempt| {
        let attempt = proto::attempt_from_wire(held.attempt)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(HeldAttempt { attempt, slot: (!held.ended).then_some(held.slot) })
    };
    Ok(Hello {
        name,
        host: wire.host,
        instance: wire.instance,
        predecessors: wire.predecessors.into_iter().take(PREDECESSORS_MAX).collect(),
        software_version: wire.software_version,
        slots: wire.slots.into_iter().map(slot).collect(),
        held: wire.held.into_iter().map(held).collect::<Result<_, Status>>()?,
        draining: wire.draining,
        runs_programs: wire.allow_commands,
        models,
    })
}

/// Whether the texts of a hello are plain and as short as they must be.
fn check_texts(wire: &v1::Hello) -> Result<(), Status> {
    for (field, text, bytes_max) in [
        ("hello.instance", &wire.instance, INSTANCE_BYTES_MAX),
        ("hello.host", &wire.host, HOST_BYTES_MAX),
        ("hello.software_version", &wire.software_version, VERSION_BYTES_MAX),
    ]
    .into_iter()
    .chain(wire.predecessors.iter().map(|instance| ("hello.predecessors", instance, INSTANCE_BYTES_MAX)))
    .chain(wire.slots.iter().map(|slot| ("hello.slots.device", &slot.device, DEVICE_BYTES_MAX)))
    .chain(wire.slots.iter().map(|slot| ("hello.slots.description", &slot.description, usize::MAX)))
    {
        plain(field, text)?;
        if text.len() > bytes_max {
            return Err(Status::invalid_argument(format!(
                "`{field}` has {} bytes, more than the {bytes_max} that it may have",
                text.len()
            )));
        }
    }
    Ok(())
}

/// What a worker's trainer trains, by its manifests. One that names none trains the first of the built-in models.
fn models(wire: &[String]) -> Result<Vec<Described>, Status> {
    if wire.is_empty() {
        return Ok(builtins_described().iter().take(1).cloned().collect());
    }
    manifests(wire)
}

/// Manifests as they come in.
pub(super) fn manifests(wire: &[String]) -> Result<Vec<Described>, Status> {
    if wire.len() > TRAINABLES_MAX {
        let message = format!("there may be at most {TRAINABLES_MAX} manifests, not {}", wire.len());
        return Err(Status::invalid_argument(message));
    }
    let bytes = wire.iter().map(String::len).sum::<usize>();
    if bytes > MANIFEST_BYTES_MAX {
        let message = format!(
            "the manifests have {bytes} bytes, more than the {MANIFEST_BYTES_MAX} that they may have"
        );
        return Err(Status::invalid_argument(message));
    }
    let read = |text: &String| {
        Manifest::from_json(text)
            .map(Described::new)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    };
    wire.iter().map(read).collect()
}

/// Most attempts that a heartbeat of a worker with these slots may name: each may hold what it is given while it still ends
/// what was taken back.
pub fn running_max(slots: &[SlotDescription]) -> usize {
    (slots.iter().map(|slot| slot.pack_size_max as usize).sum::<usize>() * 2).max(RUNNING_MIN)
}

/// A later message of a worker whose heartbeats name at most `running_max` attempts.
pub fn event(session: SessionId, running_max: usize, wire: v1::WorkerMessage) -> Result<Event, Status> {
    use v1::worker_message::Message;
    match wire.message {
        Some(Message::Event(event)) => {
            let attempt = proto::attempt_from_wire(event.attempt)
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            Ok(Event::Attempt {
                session,
                sequence: event.sequence,
                attempt,
                event: attempt_event(event.event),
            })
        }
        Some(Message::Heartbeat(beat)) if beat.running.len() > running_max => {
            Err(Status::invalid_argument(format!(
                "a heartbeat named {} attempts; this worker's slots can hold {running_max}",
                beat.running.len()
            )))
        }
        Some(Message::Heartbeat(beat)) => {
            let running = beat.running.into_iter().filter_map(|progress| {
                let fraction =
                    if progress.fraction.is_finite() { progress.fraction.clamp(0.0, 1.0) } else { 0.0 };
                Some(Heartbeat { attempt: progress.attempt?.into(), epoch: progress.epoch, fraction })
            });
            Ok(Event::Heartbeat { session, running: running.collect() })
        }
        Some(Message::Draining(draining)) => {
            Ok(Event::WorkerDraining { session, reason: for_people(draining.reason, TEXT_CHARACTERS_MAX) })
        }
        Some(Message::Hello(_)) => {
            Err(Status::invalid_argument("a session has one hello, its first message"))
        }
        None => {
            Err(Status::invalid_argument("a message without content; use the same version of both programs"))
        }
    }
}

fn attempt_event(wire: Option<v1::event::Event>) -> AttemptEvent {
    use v1::event::Event;
    match wire {
        Some(Event::Started(started)) => match dataset(started.dataset.unwrap_or_default()) {
            Ok(dataset) => {
                AttemptEvent::Started { dataset: dataset.into(), resumed_epochs: started.resumed_epochs }
            }
            Err(reason) => AttemptEvent::Unusable(reason),
        },
        Some(Event::Epoch(record)) => epoch(record),
        Some(Event::Ended(ended)) => AttemptEvent::Ended {
            // One that a later version knows: no more than that it did not succeed can be told.
            outcome: Outcome::try_from(ended.outcome()).unwrap_or(Outcome::Failed),
            reason: for_people(ended.reason, TEXT_CHARACTERS_MAX),
            log_tail: ended.log_tail.into_iter().rev().take(LOG_LINES_MAX).map(cut).rev().collect(),
            weights: ended.weights.map(weights_left),
        },
        None => {
            AttemptEvent::Unusable("the worker sent an event that this coordinator does not know".to_owned())
        }
    }
}

/// What a worker says of the weights of an attempt that is done.
fn weights_left(file: v1::WeightsFile) -> Result<WeightsFile, String> {
    if !file.problem.is_empty() {
        return Err(reason(file.problem));
    }
    weights_file(Some(file)).map_err(|error| error.message().to_owned())
}

/// A reason that a worker gives, as it is kept.
pub(super) fn reason(reason: String) -> String {
    for_people(reason, TEXT_CHARACTERS_MAX)
}

/// A file of weights.
pub(super) fn weights_file(file: Option<v1::WeightsFile>) -> Result<WeightsFile, Status> {
    let v1::WeightsFile { bytes, blake3, .. } = file.unwrap_or_default();
    let is_hash = blake3.len() == 64
        && blake3.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !is_hash || bytes > WEIGHTS_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "weights are known by a BLAKE3 of 64 hexadecimal digits and have at most {WEIGHTS_BYTES_MAX} bytes"
        )));
    }
    Ok(WeightsFile { bytes, blake3 })
}

/// The state of the weights of a job, for people, and all that is known of them.
pub(super) fn artifact(row: ArtifactRow) -> v1::Artifact {
    let ArtifactRow { job, attempt, state, worker, file, value, reason } = row;
    let WeightsFile { bytes, blake3 } = file;
    v1::Artifact { job, attempt, state: state.as_str().to_owned(), bytes, blake3, worker, value, reason }
}

fn epoch(record: v1::EpochRecord) -> AttemptEvent {
    let report = EpochReport::from(record);
    match report.check() {
        Ok(()) => AttemptEvent::Epoch(report),
        Err(error) => AttemptEvent::Unusable(format!("the worker sent an impossible epoch: {error}")),
    }
}

/// A sweep file as it came, which may name the models that came with it.
pub fn read_source(wire: v1::SweepSource) -> Result<SpecificationSource, Status> {
    let models = Models::given(manifests(&wire.manifests)?);
    Ok(source_from_wire(wire, models))
}

/// A sweep file as it came, which may name `models`.
pub fn source_from_wire(wire: v1::SweepSource, models: Models) -> SpecificationSource {
    let file_name = if wire.file_name.is_empty() { "sweep file".to_owned() } else { wire.file_name };
    let dataset_path = (!wire.dataset_path.is_empty()).then_some(wire.dataset_path);
    let mut overrides = wire.overrides;
    if !wire.snapshot.is_empty() {
        overrides.push(format!("execution.snapshot={}", wire.snapshot));
    }
    SpecificationSource { text: wire.text, file_name, overrides, dataset_path, models }
}

/// A data set's facts, its names cut to size; an error says why they cannot be.
fn dataset(mut summary: v1::DatasetSummary) -> Result<v1::DatasetSummary, String> {
    let counts = [summary.train_images, summary.val_images, summary.skipped_count];
    let sum = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    if sum.is_none_or(|sum| i64::try_from(sum).is_err()) {
        return Err(format!("the worker sent an impossible data set: of {counts:?} images"));
    }
    if summary.content_hash.len() > HASH_BYTES_MAX || summary.content_hash.contains(char::is_control) {
        return Err("the worker sent an impossible data set: its content hash is none".to_owned());
    }
    let names = |names: Vec<String>| {
        let mut bytes = 0;
        let fits = |name: &String| {
            bytes += name.len();
            bytes <= NAMES_BYTES_MAX
        };
        names.into_iter().take(NAMES_MAX).map(cut).take_while(fits).collect()
    };
    summary.classes = names(summary.classes);
    summary.skipped = names(summary.skipped);
    summary.train_by_class.truncate(NAMES_MAX);
    summary.val_by_class.truncate(NAMES_MAX);
    summary.left_out.truncate(LEFT_OUT_MAX);
    for left_out in &mut summary.left_out {
        left_out.reason = cut(std::mem::take(&mut left_out.reason));
        left_out.detail = cut(std::mem::take(&mut left_out.detail));
        left_out.examples.truncate(EXAMPLES_MAX);
        left_out.examples.iter_mut().for_each(|example| *example = cut(std::mem::take(example)));
    }
    summary.validation = cut(summary.validation);
    Ok(summary)
}

/// At most [`TEXT_CHARACTERS_MAX`] characters, kept as they are.
fn cut(text: String) -> String {
    terms::cut(text, TEXT_CHARACTERS_MAX)
}

/// A job of the sweep: its row, or what its absence means.
pub(super) fn job(
    definition: &SweepDefinition,
    state: SweepState,
    number: u64,
    row: Option<JobRow>,
) -> v1::Job {
    let point = Some(proto::job_point(number, definition.parameters(number)));
    match row {
        Some(row) => v1::Job {
            point,
            state: v1::JobState::from(row.state).into(),
            attempts: row.attempts,
            epochs_done: row.epochs_done,
            train_seconds: row.train_seconds,
            val_accuracy: row.names.get(&row.last, known::VAL_ACCURACY),
            train_loss: row.names.get(&row.last, known::TRAIN_LOSS),
            val_loss: row.names.get(&row.last, known::VAL_LOSS),
            train_accuracy: row.names.get(&row.last, known::TRAIN_ACCURACY),
            metrics: proto::metrics_to_wire(&row.names, &row.last),
            objective: row.objective,
            best_epoch: row.best.as_ref().map(|best| best.epoch),
            best_val_accuracy: row
                .best
                .as_ref()
                .and_then(|best| row.names.get(&best.row, known::VAL_ACCURACY)),
            best_metrics: row
                .best
                .as_ref()
                .map(|best| proto::metrics_to_wire(&row.names, &best.row))
                .unwrap_or_default(),
            best_objective: row.best.as_ref().map(|best| best.value),
            worker: row.worker,
            reason: row.reason,
            pack_size: row.pack_size,
            weights: String::new(),
        },
        None => {
            let state = if state.is_final() { JobState::Cancelled } else { JobState::Pending };
            v1::Job { point, state: v1::JobState::from(state).into(), ..v1::Job::default() }
        }
    }
}

pub(super) fn attempt(row: AttemptRow) -> v1::Attempt {
    v1::Attempt {
        attempt: row.attempt,
        worker: row.worker,
        slot: row.slot,
        device: row.device,
        granted_unix_ms: row.granted_unix_ms,
        ended_unix_ms: row.ended_unix_ms.unwrap_or(0),
        state: AttemptState::from_name(&row.state).map_or(0, |state| v1::AttemptState::from(state).into()),
        outcome: row.state,
        reason: row.reason,
        log_tail: row.log_tail,
        resumed_epochs: row.resumed_epochs,
        pack_size: row.pack_size,
    }
}

pub(super) fn epoch_row(row: &EpochRow) -> v1::EpochRow {
    v1::EpochRow {
        job: row.job,
        attempt: row.attempt,
        record: Some(proto::epoch_to_wire(&row.names, &row.epoch)),
    }
}
