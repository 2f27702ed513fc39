//! Messages of workers into events of the engine, checked and cut to size. The rest has files of its own: `requests` of users, `shown` and
//! `jobs` for users, `to_worker`, and `files` both ways.

mod files;
mod jobs;
mod requests;
mod search;
mod shown;
mod to_worker;

use std::collections::HashSet;

use domain::record::WeightsFile;
use engine::{AttemptEvent, Event, Heartbeat, HeldAttempt, Hello, SessionId, SlotDescription};
use proto::v1;
use terms::{
    EndDetails, EpochReport, GpuUse, LOG_LINES_MAX, Outcome, ParameterUse, Progress, TEXT_CHARACTERS_MAX,
    manifest::{Described, PARAMETERS_MAX, builtins_described},
};
use tonic::Status;

pub use self::to_worker::to_worker;
pub(super) use self::{
    files::{
        WeightsSaid, artifact, content_piece, content_state, manifest, pieces, snapshot_id, weights_reply,
        weights_said,
    },
    requests::{job_or_all, page, source, worker_name},
    search::{proposal, search_news, verified},
};
pub(crate) use self::{
    jobs::{
        attempts, change, detail, epoch_row, epoch_seen, job, job_seen, report_header, submitted, validated,
    },
    shown::{listed, snapshot, sweep, watch_snapshot, worker},
};
use crate::{
    api::{for_people, manifests, plain},
    artifacts::WEIGHTS_BYTES_MAX,
};

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
/// Longest URL of a place for checkpoints, in bytes: that of a path on Linux.
const CHECKPOINTS_BYTES_MAX: usize = 4_096;
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
    let models = if wire.trains_no_models { Vec::new() } else { models(&wire.trainables)? };
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
        spans_slots: wire.spans_slots,
        pauses: wire.pauses,
        checkpoints: wire.checkpoints,
        memory_bytes: wire.memory_bytes,
        models,
    })
}

/// Whether the texts of a hello are plain and as short as they must be.
fn check_texts(wire: &v1::Hello) -> Result<(), Status> {
    for (field, text, bytes_max) in [
        ("hello.instance", &wire.instance, INSTANCE_BYTES_MAX),
        ("hello.host", &wire.host, HOST_BYTES_MAX),
        ("hello.software_version", &wire.software_version, VERSION_BYTES_MAX),
        ("hello.checkpoints", &wire.checkpoints, CHECKPOINTS_BYTES_MAX),
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
    Ok(manifests(wire)?)
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
            let running = beat.running.into_iter().filter_map(|beat| {
                let progress = Progress::reported(beat.epoch, beat.fraction);
                Some(Heartbeat { attempt: beat.attempt?.into(), progress })
            });
            let gpus = beat.gpus.into_iter().take(SLOTS_MAX).filter_map(gpu_use).collect();
            Ok(Event::Heartbeat { session, running: running.collect(), gpus })
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

/// What a GPU does; none where it says what cannot be. A hint costs no worker its stream.
fn gpu_use(wire: v1::GpuUse) -> Option<GpuUse> {
    let v1::GpuUse { device, name, utilization_percent, memory_used_bytes, memory_total_bytes } = wire;
    let is_plain = plain("heartbeat.gpus.device", &device).is_ok() && device.len() <= DEVICE_BYTES_MAX;
    is_plain.then(|| GpuUse {
        device,
        name: for_people(name, GpuUse::NAME_CHARACTERS_MAX),
        utilization_percent: utilization_percent.and_then(|percent| u8::try_from(percent.min(100)).ok()),
        memory_used_bytes: memory_used_bytes.min(memory_total_bytes),
        memory_total_bytes,
    })
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
        Some(Event::Ended(ended)) => {
            let outcome = Outcome::try_from(ended.outcome()).unwrap_or(Outcome::Failed);
            let again = ended.again().into();
            let parameters = ended.parameters.map(parameter_use);
            let details = EndDetails { again, parameters, without_checkpoint: ended.without_checkpoint };
            AttemptEvent::Ended {
                // One that a later version knows: no more than that it did not succeed can be told.
                outcome,
                reason: for_people(ended.reason, TEXT_CHARACTERS_MAX),
                log_tail: ended.log_tail.into_iter().rev().take(LOG_LINES_MAX).map(cut).rev().collect(),
                weights: ended.weights.map(weights_left),
                details,
            }
        }
        None => {
            AttemptEvent::Unusable("the worker sent an event that this coordinator does not know".to_owned())
        }
    }
}

/// Which parameters a program has read: those whose names may be names of parameters.
fn parameter_use(used: v1::ParameterUse) -> ParameterUse {
    let names = |names: Vec<String>| {
        names.into_iter().take(PARAMETERS_MAX).filter(|name| plain("parameter", name).is_ok()).collect()
    };
    ParameterUse { read: names(used.read), unread: names(used.unread) }
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

fn epoch(record: v1::EpochRecord) -> AttemptEvent {
    let report = EpochReport::from(record);
    match report.check() {
        Ok(()) => AttemptEvent::Epoch(report),
        Err(error) => AttemptEvent::Unusable(format!("the worker sent an impossible epoch: {error}")),
    }
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
