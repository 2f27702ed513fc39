//! A training that goes on from a checkpoint is the one that was never interrupted, and no other bytes are believed.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use trainer_protocol::{CheckpointPlan, DatasetSpec, DatasetSummary, TrainJob};

use super::{super::epoch::tests::easy_data, *};
use crate::{
    config::TrainingConfig,
    corruption::corrupted,
    epoch::{EpochEnd, Training},
    layers::{Architecture, Layers},
    training::{Flow, Snapshot, TrainingEvent},
    training_data::TrainingData,
};

fn job(seed: u64) -> TrainJob {
    job_with(seed, &json!({}))
}

/// A job with these parameters besides.
fn job_with(seed: u64, more: &serde_json::Value) -> TrainJob {
    let parameters =
        json!({"activation": "relu", "learning_rate": 0.001, "batch_size": 7, "epochs": 3, "seed": seed});
    let mut parameters = parameters.as_object().unwrap().clone();
    parameters.extend(more.as_object().unwrap().clone());
    TrainJob {
        id: "1/1#1".into(),
        model: "simple_cnn".into(),
        parameters,
        checkpoints: None,
        budget: None,
        until_epoch: None,
        program: None,
        weights: None,
    }
}

fn config() -> TrainingConfig {
    config_with(&json!({}))
}

fn config_with(more: &serde_json::Value) -> TrainingConfig {
    let job = job_with(1, more);
    TrainingConfig::read(&job.model, &job.parameters).unwrap()
}

fn found(content_hash: &str, skipped_count: u64) -> DatasetSummary {
    DatasetSummary { content_hash: content_hash.to_owned(), skipped_count, ..DatasetSummary::default() }
}

fn own_identity() -> String {
    let dataset = DatasetSpec {
        path: "/data".into(),
        image_size: 16,
        val_fraction: 0.25,
        split_seed: 0,
        val_path: None,
    };
    identity(&job(1), &dataset, &found("content", 0))
}

fn report_layers(image_size: i64) -> Arc<Layers> {
    Layers::new(&Architecture::default(), image_size, 2)
}

fn layers(data: &TrainingData) -> Arc<Layers> {
    report_layers(data.image_size())
}

/// What a checkpoint of the report's optimiser holds.
fn read(bytes: &[u8], identity: &str, layers: &Arc<Layers>) -> Result<Snapshot, Refusal> {
    decode(bytes, Wanted { identity, layers, optimiser: &config().optimiser })
}

/// The last checkpoint of this training.
fn latest(store: &mut CheckpointStore, plan: &CheckpointPlan, layers: &Arc<Layers>) -> Option<Snapshot> {
    let wanted = Wanted { identity: &own_identity(), layers, optimiser: &config().optimiser };
    store.latest(plan, wanted)
}

fn plan(attempt: u32) -> CheckpointPlan {
    CheckpointPlan { key: "1-9/3".into(), attempt, every_epochs: 1 }
}

/// Trains until that many batches were reported, or to the end.
fn train_for(training: &mut Training<'_>, batches: usize) {
    let mut left = batches;
    while !training.is_done() && left > 0 {
        let end = training.run_epoch(&mut |event| {
            left -= usize::from(matches!(event, TrainingEvent::Batch { .. }));
            if left == 0 { Flow::Stop } else { Flow::Continue }
        });
        assert!(matches!(end.unwrap(), EpochEnd::Done(_) | EpochEnd::Stopped));
    }
}

/// Epoch, losses and accuracies, bit for bit.
type Records = Vec<(u32, [u64; 2], [Option<u64>; 2])>;

/// All that a training has come to, bit for bit, its times aside.
fn outcome(training: &Training<'_>) -> (Records, Vec<Vec<u32>>) {
    let records = training.records().iter();
    let records = records.map(|record| {
        let more = [record.val_loss, record.train_accuracy].map(|value| value.map(f64::to_bits));
        (record.epoch, [record.train_loss, record.val_accuracy].map(f64::to_bits), more)
    });
    let Snapshot { parameters, optimiser, .. } = training.snapshot().unwrap();
    let tensors = parameters.iter().chain(parameters.statistics());
    let tensors = tensors.chain(optimiser.tensors());
    let bits = |tensor: &tch::Tensor| {
        let values = Vec::<f32>::try_from(tensor.to_kind(tch::Kind::Float).view(-1)).unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    (records.collect(), tensors.map(bits).collect())
}

#[test]
fn a_training_that_was_interrupted_anywhere_comes_to_the_same_bits() {
    let data = easy_data(40);
    let config = config();
    let mut whole = Training::new(&config, &data).unwrap();
    train_for(&mut whole, usize::MAX);
    let expected = outcome(&whole);
    // Three epochs of 30 images in batches of 7: five batches each, the last of two images.
    for batches in 1..15 {
        let mut first = Training::new(&config, &data).unwrap();
        train_for(&mut first, batches);
        let bytes = encode(&own_identity(), &first.snapshot().unwrap()).unwrap();
        drop(first);
        let snapshot = read(&bytes, &own_identity(), &layers(&data)).unwrap();
        assert_eq!(snapshot.records.len(), (batches - usize::from(batches % 5 == 0)) / 5);
        let mut second = Training::resume(&config, &data, snapshot).unwrap();
        train_for(&mut second, usize::MAX);
        assert_eq!(outcome(&second), expected, "interrupted after {batches} batches");
    }
}

/// Every option of the layers and of what trains them, and some together.
fn options() -> [serde_json::Value; 18] {
    [
        json!({"optimizer": "sgd", "learning_rate": 0.05}),
        json!({"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9}),
        json!({"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.05, "batch_norm": true}),
        json!({"optimizer": "adamw", "weight_decay": 0.5}),
        json!({"weight_decay": 0.01, "label_smoothing": 0.1}),
        json!({"lr_schedule": "cosine", "gradient_clip_norm": 0.2}),
        json!({"lr_schedule": "step", "warmup_epochs": 1}),
        json!({"augmentation": "flip", "warmup_epochs": 2}),
        json!({"augmentation": "flip_crop", "optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.02,
            "lr_schedule": "cosine", "warmup_epochs": 1, "gradient_clip_norm": 1.0, "label_smoothing": 0.1,
            "weight_decay": 0.01, "dropout": 0.2, "batch_norm": true}),
        json!({"dropout": 0.4}),
        json!({"batch_norm": true}),
        json!({"channels": "4,8,8"}),
        json!({"channels": "5", "activation": "gelu"}),
        json!({"hidden_units": 24, "activation": "silu"}),
        json!({"activation": "tanh", "dropout": 0.1}),
        json!({"activation": "leaky_relu", "channels": "4,4", "batch_norm": true}),
        json!({"activation": "gelu", "channels": "4,8,8", "hidden_units": 24, "batch_norm": true, "dropout": 0.5}),
        json!({"precision": "bf16", "batch_norm": true, "dropout": 0.5}),
    ]
}

#[test]
fn a_training_with_any_options_that_was_interrupted_comes_to_the_same_bits() {
    let data = easy_data(40);
    for more in options() {
        let config = config_with(&more);
        let own = Layers::new(&config.architecture, data.image_size(), data.classes());
        let mut whole = Training::new(&config, &data).unwrap();
        train_for(&mut whole, usize::MAX);
        let expected = outcome(&whole);
        assert!(whole.records().iter().all(|record| record.train_loss.is_finite()), "{more}");
        for batches in [1, 5, 8, 14] {
            let mut first = Training::new(&config, &data).unwrap();
            train_for(&mut first, batches);
            let bytes = encode("own", &first.snapshot().unwrap()).unwrap();
            drop(first);
            let wanted = Wanted { identity: "own", layers: &own, optimiser: &config.optimiser };
            let mut second = Training::resume(&config, &data, decode(&bytes, wanted).unwrap()).unwrap();
            train_for(&mut second, usize::MAX);
            assert!(outcome(&second) == expected, "{more} interrupted after {batches} batches");
        }
    }
}

#[test]
fn a_checkpoint_without_the_state_of_the_jobs_optimiser_is_not_used() {
    let data = easy_data(16);
    let of = |more: &serde_json::Value| {
        let config = config_with(more);
        let mut training = Training::new(&config, &data).unwrap();
        train_for(&mut training, 3);
        (encode("own", &training.snapshot().unwrap()).unwrap(), config.optimiser)
    };
    let (adam, sgd) = (of(&json!({})), of(&json!({"optimizer": "sgd", "momentum": 0.9})));
    let layers = layers(&data);
    for (bytes, optimiser, fits) in
        [(&adam.0, &adam.1, true), (&sgd.0, &sgd.1, true), (&adam.0, &sgd.1, false), (&sgd.0, &adam.1, false)]
    {
        let found = decode(bytes, Wanted { identity: "own", layers: &layers, optimiser });
        assert_eq!(found.is_ok(), fits);
        assert!(fits || matches!(found, Err(Refusal::Corrupt(_))));
    }
}

#[test]
fn the_reports_model_has_the_tensors_of_older_checkpoints() {
    let bytes = some_bytes(&easy_data(16), 3);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let of_model =
        ["conv1", "conv2", "fc1", "fc2"].map(|layer| ["weight", "bias"].map(|one| format!("{layer}.{one}")));
    let of_model = of_model.concat();
    let mut expected: Vec<String> = ["", "adam.first.", "adam.second."]
        .iter()
        .flat_map(|of| of_model.iter().map(move |one| format!("{of}{one}")))
        .collect();
    expected.push("adam.step".into());
    let mut found: Vec<String> = file.names().into_iter().map(Into::into).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_checkpoint_of_the_first_format_is_gone_on_with_and_what_it_does_not_know_is_not_made_up() {
    let data = easy_data(40);
    let config = config();
    let mut whole = Training::new(&config, &data).unwrap();
    train_for(&mut whole, usize::MAX);
    let (expected, weights) = outcome(&whole);
    // In the middle of the second epoch, before its validation, and after it; of each epoch, whether the validation loss
    // and the training accuracy are known.
    let (neither, loss, both) = ([false, false], [true, false], [true, true]);
    for (batches, validated, known) in [
        (7, false, [neither, loss, both]),
        (10, false, [neither, loss, both]),
        (7, true, [neither, neither, both]),
    ] {
        let mut first = Training::new(&config, &data).unwrap();
        train_for(&mut first, batches);
        if validated {
            first.run_epoch(&mut |_| Flow::Continue).unwrap();
        }
        let bytes = encode(&own_identity(), &first.snapshot().unwrap()).unwrap();
        let snapshot = read(&in_first_format(&bytes), &own_identity(), &layers(&data)).unwrap();
        let mut second = Training::resume(&config, &data, snapshot).unwrap();
        train_for(&mut second, usize::MAX);
        let (found, found_weights) = outcome(&second);
        assert!(found_weights == weights, "the training is the same");
        for ((found, expected), known) in found.iter().zip(&expected).zip(known) {
            assert_eq!((found.0, found.1), (expected.0, expected.1));
            let more = [0, 1].map(|which| expected.2[which].filter(|_| known[which]));
            assert_eq!(found.2, more, "epoch {} after {batches} batches", found.0);
        }
    }
}

#[test]
fn the_time_of_an_interrupted_epoch_is_that_of_all_its_parts() {
    let data = easy_data(40);
    let config = config();
    let mut training = Training::new(&config, &data).unwrap();
    train_for(&mut training, 2);
    let before = training.snapshot().unwrap();
    let mut resumed = Training::resume(&config, &data, training.snapshot().unwrap()).unwrap();
    train_for(&mut resumed, usize::MAX);
    assert!(resumed.records()[0].epoch_seconds > before.position.seconds && before.position.seconds > 0.0);
}

fn some_bytes(data: &TrainingData, batches: usize) -> Vec<u8> {
    let config = config();
    let mut training = Training::new(&config, data).unwrap();
    train_for(&mut training, batches);
    encode(&own_identity(), &training.snapshot().unwrap()).unwrap()
}

#[test]
fn no_corrupt_byte_is_believed() {
    let data = easy_data(16);
    let layers = layers(&data);
    let whole = some_bytes(&data, 3);
    assert!(read(&whole, &own_identity(), &layers).is_ok());
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    // Every byte of the header, and bytes all over the tensors.
    let places = (0..header).chain((header..whole.len()).step_by(997)).chain([whole.len() - 1]);
    for place in places {
        let mut corrupt = whole.clone();
        corrupt[place] ^= 0x10;
        let Err(refusal) = read(&corrupt, &own_identity(), &layers) else {
            panic!("a flipped bit of byte {place} is not noticed");
        };
        assert!(matches!(refusal, Refusal::Corrupt(_)), "{place}: {refusal}");
    }
    for length in (0..header).step_by(7).chain([header, header + 100, whole.len() - 1]) {
        assert!(read(&whole[..length], &own_identity(), &layers).is_err(), "cut at {length}");
    }
}

#[test]
fn only_the_trainings_own_checkpoint_is_used() {
    let data = easy_data(16);
    let bytes = some_bytes(&data, 3);
    let dataset = DatasetSpec {
        path: "/data".into(),
        image_size: 16,
        val_fraction: 0.25,
        split_seed: 0,
        val_path: None,
    };
    let moved = DatasetSpec { path: "/elsewhere".into(), ..dataset.clone() };
    assert_eq!(identity(&job(1), &moved, &found("content", 0)), own_identity(), "only what is in it decides");
    let others = [
        identity(&job(2), &dataset, &found("content", 0)),
        identity(&job(1), &DatasetSpec { split_seed: 1, ..dataset.clone() }, &found("content", 0)),
        identity(&job(1), &dataset, &found("other content", 0)),
        identity(&job(1), &dataset, &found("content", 1)),
    ];
    for other in others {
        assert_eq!(read(&bytes, &other, &layers(&data)).unwrap_err(), Refusal::Foreign);
    }
    let smaller = report_layers(8);
    assert!(matches!(read(&bytes, &own_identity(), &smaller), Err(Refusal::Corrupt(_))));
}

fn store(folder: &TempDir) -> CheckpointStore {
    CheckpointStore::open(folder.path().to_str().unwrap()).unwrap()
}

fn files(folder: &TempDir) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.path().join("1-9/3")) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_furthest_whole_checkpoint_is_used_and_only_the_newest_two_are_kept() {
    let data = easy_data(16);
    let layers = layers(&data);
    let folder = tempfile::tempdir().unwrap();
    let mut first = store(&folder);
    assert!(latest(&mut first, &plan(1), &layers).is_none());
    let latest = |store: &mut CheckpointStore| {
        self::latest(store, &plan(2), &layers).map(|snapshot| snapshot.position.epoch)
    };
    // Two batches an epoch: each checkpoint is one epoch further.
    for epoch in 1..=3 {
        first.write(&plan(1), epoch, 0, some_bytes(&data, 2 * epoch as usize - 1), &mut || {});
    }
    assert_eq!(latest(&mut first), Some(3));
    assert_eq!(files(&folder).len(), 2);
    // Another trainer, after a crash in the middle of a write.
    let newest = files(&folder).pop().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let mut second = store(&folder);
    assert_eq!(latest(&mut second), Some(2));
    second.remove(&plan(2));
    assert!(files(&folder).is_empty());
    assert_eq!(latest(&mut second), None);
}

#[test]
fn a_job_that_starts_over_behind_corrupt_checkpoints_goes_on_from_its_new_ones() {
    let data = easy_data(16);
    let layers = layers(&data);
    let folder = tempfile::tempdir().unwrap();
    let mut first = store(&folder);
    for epoch in 2..=3 {
        first.write(&plan(1), epoch, 0, some_bytes(&data, 2 * epoch as usize - 1), &mut || {});
    }
    first.flush();
    files(&folder).iter().for_each(|file| std::fs::write(file, b"corrupt").unwrap());
    let mut second = store(&folder);
    assert!(latest(&mut second, &plan(2), &layers).is_none());
    assert_eq!(files(&folder).len(), 2, "nothing is removed before there is something better");
    second.write(&plan(2), 1, 0, some_bytes(&data, 1), &mut || {});
    second.flush();
    let found = latest(&mut store(&folder), &plan(3), &layers);
    assert_eq!((found.map(|snapshot| snapshot.position.epoch), files(&folder).len()), (Some(1), 1));
}

#[test]
fn a_checkpoint_that_could_not_be_written_is_not_said_to_be_there() {
    let data = easy_data(16);
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let write = |store: &mut CheckpointStore, epoch| {
        store.write(&plan(1), epoch, 0, some_bytes(&data, 1), &mut || {});
        store.flush();
        store.has_kept(&plan(1))
    };
    std::fs::write(folder.path().join("1-9"), b"").unwrap();
    assert!(!write(&mut store, 1));
    std::fs::remove_file(folder.path().join("1-9")).unwrap();
    assert!(write(&mut store, 2));
}

#[test]
fn what_a_write_left_that_was_cut_off_goes_with_the_rest() {
    let data = easy_data(16);
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    store.write(&plan(1), 1, 0, some_bytes(&data, 1), &mut || {});
    store.flush();
    let torn = format!("{}#1", files(&folder)[0].display());
    std::fs::write(torn, b"half").unwrap();
    std::fs::write(folder.path().join("1-9/3").join(trainer_protocol::BROUGHT), b"a hash").unwrap();
    store.remove(&plan(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_place_that_cannot_be_is_named() {
    for (place, part) in [
        ("/dev/null/checkpoints", "writable"),
        ("ftp://host/folder", "s3://bucket/folder"),
        ("file://relative", "absolute"),
    ] {
        let error = CheckpointStore::open(place).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(part), "{error}");
    }
}

/// Made once, as it takes a training.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| some_bytes(&easy_data(16), 3));

proptest! {
    #[test]
    fn whatever_bytes_lie_there_no_other_training_comes_out(bytes in corrupted(WHOLE.clone())) {
        let layers = report_layers(16);
        if read(&bytes, &own_identity(), &layers).is_ok() {
            prop_assert!(bytes == *WHOLE, "{} bytes are believed", bytes.len());
        }
    }
}
