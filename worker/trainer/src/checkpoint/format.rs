//! One checkpoint as a `.safetensors` file: the model's parameters and running statistics under PyTorch's names, Adam's
//! moments under `adam.first.…` and `adam.second.…` with its step count, or the velocities of SGD with a momentum under
//! `sgd.velocity.…`, and in the metadata the position, the epochs so far, the identity of the training, and a BLAKE3 hash over
//! all of that.

use std::{collections::HashMap, sync::Arc};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};
use trainer_protocol::{DatasetSpec, DatasetSummary, TrainJob};

use super::super::{
    adam::AdamState,
    layers::{Described, Layers},
    optimiser::{OptimiserKind, OptimiserSettings, OptimiserState},
    parameters::{Parameters, contents, dtype},
    training::{EpochRecord, Position, Snapshot},
};

/// Revision of this format. The first had neither the validation loss nor the training accuracy.
const FORMAT: u32 = 2;
/// Oldest revision that is read. What it lacks is unknown for its epochs.
const FORMAT_MIN: u32 = 1;
/// Revision of an identity: a checkpoint of an older format belongs to the same training.
const IDENTITY_FORMAT: u32 = 1;
/// Metadata entry with everything except tensors.
const STATE: &str = "sweep.checkpoint";
/// Metadata entry with the hash.
const HASH: &str = "sweep.blake3";
/// Names of the optimisers' tensors: a prefix to a parameter's, and Adam's step count.
const FIRST: &str = "adam.first.";
const SECOND: &str = "adam.second.";
const STEP: &str = "adam.step";
const VELOCITY: &str = "sgd.velocity.";

/// Why a checkpoint is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its bytes differ from those that were written.
    #[error("it is corrupt ({0})")]
    Corrupt(String),
    /// It belongs to another job, data set or version.
    #[error("it belongs to another training")]
    Foreign,
}

/// What is kept besides the tensors.
#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    identity: String,
    epoch: u32,
    images_done: i64,
    loss_sum: f64,
    seconds: f64,
    records: Vec<(u32, f64, f64, f64)>,
    /// Images of the current epoch that were classified correctly.
    #[serde(default)]
    right: Option<i64>,
    /// Validation loss and training accuracy of each record.
    #[serde(default)]
    more: Vec<(Option<f64>, Option<f64>)>,
}

/// One hash over everything that decides a training's results: a checkpoint is only used by the training it was taken
/// from.
pub fn identity(job: &TrainJob, dataset: &DatasetSpec, found: &DatasetSummary) -> String {
    let mut decides = serde_json::json!({
        "format": IDENTITY_FORMAT,
        "model": job.model,
        // This type of map is sorted by name.
        "parameters": job.parameters,
        "image_size": dataset.image_size,
        "val_fraction": dataset.val_fraction,
        "split_seed": dataset.split_seed,
        "content_hash": found.content_hash,
    });
    // The hash covers all pictures: a version that cannot decode the same ones trains on others. If none was left out,
    // the identity stays as in older versions.
    if found.skipped_count > 0 {
        decides["skipped_count"] = found.skipped_count.into();
    }
    blake3::hash(decides.to_string().as_bytes()).to_hex().to_string()
}

/// The bytes of a checkpoint.
///
/// # Errors
/// What libtorch says.
pub fn encode(identity: &str, snapshot: &Snapshot) -> Result<Vec<u8>, TchError> {
    let Position { epoch, images_done, loss_sum, right, seconds } = snapshot.position;
    let record = |one: &EpochRecord| (one.epoch, one.train_loss, one.val_accuracy, one.epoch_seconds);
    let records = snapshot.records.iter().map(record).collect();
    let more = snapshot.records.iter().map(|one| (one.val_loss, one.train_accuracy)).collect();
    let identity = identity.to_owned();
    let state =
        State { format: FORMAT, identity, epoch, images_done, loss_sum, seconds, records, right, more };
    let state = serde_json::to_string(&state).map_err(|error| TchError::Convert(error.to_string()))?;

    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, tensor) in named(snapshot) {
        let (shape, bytes) = contents(tensor)?;
        tensors.push((name, dtype(tensor.kind()), shape, bytes));
    }
    // The order in which they are read.
    tensors.sort_by(|one, other| one.0.cmp(&other.0));
    let mut views = Vec::with_capacity(tensors.len());
    for (name, dtype, shape, bytes) in &tensors {
        let view = TensorView::new(*dtype, shape.clone(), bytes)
            .map_err(|error| TchError::Convert(error.to_string()))?;
        views.push((name.clone(), view));
    }
    let hash = hash(&state, &views);
    let metadata = HashMap::from([(STATE.to_owned(), state), (HASH.to_owned(), hash)]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| TchError::Convert(error.to_string()))
}

/// The training that a checkpoint must be of.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub identity: &'a str,
    pub layers: &'a Arc<Layers>,
    pub optimiser: &'a OptimiserSettings,
}

/// The training that a checkpoint holds, if it is the one that is wanted.
///
/// # Errors
/// It is corrupt or foreign.
pub fn decode(bytes: &[u8], wanted: Wanted<'_>) -> Result<Snapshot, Refusal> {
    let Wanted { identity, layers, optimiser } = wanted;
    let corrupt = |what: &dyn std::fmt::Display| Refusal::Corrupt(what.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| corrupt(&error))?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| corrupt(&error))?;
    let metadata = header.metadata().as_ref().ok_or_else(|| corrupt(&"it has no metadata"))?;
    let entry = |name| metadata.get(name).ok_or_else(|| corrupt(&format!("{name} is missing")));
    let mut views: Vec<(String, TensorView<'_>)> = file.tensors().into_iter().collect();
    views.sort_by(|one, other| one.0.cmp(&other.0));
    let state = entry(STATE)?;
    if *entry(HASH)? != hash(state, &views) {
        return Err(corrupt(&"its content does not match its hash"));
    }
    // Every byte is as it was written; it remains to check whether it is ours.
    let state: State = serde_json::from_str(state).map_err(|error| corrupt(&error))?;
    if !(FORMAT_MIN..=FORMAT).contains(&state.format) || state.identity != identity {
        return Err(Refusal::Foreign);
    }
    let read = |name: &str, shape: &[i64], kind: Kind| {
        let view = file.tensor(name).map_err(|error| corrupt(&error))?;
        let fits = view.dtype() == dtype(kind)
            && view.shape().iter().map(|extent| *extent as i64).eq(shape.iter().copied());
        if !fits {
            return Err(corrupt(&format!("the tensor {name} does not fit the model")));
        }
        Tensor::f_from_data_size(view.data(), shape, kind).map_err(|error| corrupt(&error))
    };
    let own = |one: &Described| read(&one.name, &one.shape, one.kind);
    let parameters = Parameters::new(layers, layers.all().map(own).collect::<Result<_, _>>()?);
    let all = |prefix: &str| {
        let learnt = layers.learnt().iter();
        let moments = learnt.map(|one| read(&format!("{prefix}{}", one.name), &one.shape, Kind::Float));
        moments.collect::<Result<Vec<_>, _>>()
    };
    let optimiser = match optimiser.kind {
        OptimiserKind::Adam | OptimiserKind::AdamW => OptimiserState::Adam(AdamState {
            first_moments: all(FIRST)?,
            second_moments: all(SECOND)?,
            step: read(STEP, &[1], Kind::Float)?,
        }),
        OptimiserKind::Sgd if optimiser.momentum == 0.0 => OptimiserState::Sgd { velocities: Vec::new() },
        OptimiserKind::Sgd => OptimiserState::Sgd { velocities: all(VELOCITY)? },
    };
    Ok(Snapshot { position: position(&state), records: records(&state), parameters, optimiser })
}

fn position(state: &State) -> Position {
    let &State { epoch, images_done, loss_sum, seconds, right, .. } = state;
    // For an epoch that has not begun, it is known in every format.
    let right = right.or((images_done == 0).then_some(0));
    Position { epoch, images_done, loss_sum, right, seconds }
}

fn records(state: &State) -> Vec<EpochRecord> {
    let more = state.more.iter().copied().chain(std::iter::repeat((None, None)));
    let record = |(&(epoch, train_loss, val_accuracy, epoch_seconds), (val_loss, train_accuracy))| {
        EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds, val_loss, train_accuracy }
    };
    state.records.iter().zip(more).map(record).collect()
}

/// The bytes in the first format.
#[cfg(test)]
pub(super) fn in_first_format(bytes: &[u8]) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).expect("it was encoded");
    let file = SafeTensors::deserialize(bytes).expect("it was encoded");
    let mut views: Vec<(String, TensorView<'_>)> = file.tensors().into_iter().collect();
    views.sort_by(|one, other| one.0.cmp(&other.0));
    let state = header.metadata().as_ref().expect("it has metadata")[STATE].clone();
    let mut state: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&state).expect("it is a State");
    state.insert("format".to_owned(), 1.into());
    state.retain(|name, _| name != "right" && name != "more");
    let state = serde_json::Value::from(state).to_string();
    let hash = hash(&state, &views);
    let metadata = HashMap::from([(STATE.to_owned(), state), (HASH.to_owned(), hash)]);
    safetensors::serialize(views, Some(metadata)).expect("it is as before")
}

fn named(snapshot: &Snapshot) -> Vec<(String, &Tensor)> {
    let Snapshot { parameters, optimiser, .. } = snapshot;
    let learnt = parameters.layers().learnt();
    let mut all: Vec<_> = parameters.named().map(|(one, tensor)| (one.name.clone(), tensor)).collect();
    match optimiser {
        OptimiserState::Adam(AdamState { first_moments, second_moments, step }) => {
            all.extend(prefixed(FIRST, learnt, first_moments));
            all.extend(prefixed(SECOND, learnt, second_moments));
            all.push((STEP.to_owned(), step));
        }
        OptimiserState::Sgd { velocities } => all.extend(prefixed(VELOCITY, learnt, velocities)),
    }
    all
}

fn prefixed<'a>(
    prefix: &'static str,
    described: &'a [Described],
    tensors: &'a [Tensor],
) -> impl Iterator<Item = (String, &'a Tensor)> {
    described.iter().zip(tensors).map(move |(one, tensor)| (format!("{prefix}{}", one.name), tensor))
}

/// A hash over everything that matters, each part with its length, so that no two contents look alike.
fn hash(state: &str, views: &[(String, TensorView<'_>)]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update_rayon(bytes);
    };
    part(state.as_bytes());
    for (name, view) in views {
        part(name.as_bytes());
        part(format!("{:?} {:?}", view.dtype(), view.shape()).as_bytes());
        part(view.data());
    }
    hasher.finalize().to_hex().to_string()
}
