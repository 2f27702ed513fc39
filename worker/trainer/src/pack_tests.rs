//! Specification of packs: each member's numbers are those of its job alone, whatever becomes of the others.

use super::super::{
    augmentation::Augmentation,
    epoch::tests::easy_data,
    layers::Architecture,
    model::{self, Activation, Precision},
    optimiser::{OptimiserKind, OptimiserSettings},
    schedule::LrSchedule,
};
use super::*;
use crate::split::split;

const RELU: Activation = Activation::Relu;
const SIGMOID: Activation = Activation::Sigmoid;

fn config(activation: Activation, learning_rate: f64) -> TrainingConfig {
    TrainingConfig {
        activation,
        learning_rate,
        batch_size: 7,
        epochs: 3,
        seed: 1,
        ..TrainingConfig::default()
    }
}

fn pack<'a>(configs: &'a [TrainingConfig], data: &'a TrainingData) -> Pack<'a> {
    Pack::new(configs.iter().map(|config| Start { config, snapshot: None }).collect(), data).unwrap()
}

/// Trains to the end, retiring what diverges.
fn finish(pack: &mut Pack<'_>) {
    while !pack.is_done() && pack.live().next().is_some() {
        if let PackEnd::Diverged(members) = pack.run_epoch(None, &mut |_| Flow::Continue).unwrap() {
            members.into_iter().for_each(|member| pack.retire(member));
        }
    }
}

/// Trains that many batches.
fn train_batches(pack: &mut Pack<'_>, count: usize) {
    let mut left = count;
    while left > 0 {
        pack.run_epoch(None, &mut |event| {
            left -= usize::from(matches!(event, TrainingEvent::Batch { .. }));
            if left == 0 { Flow::Stop } else { Flow::Continue }
        })
        .unwrap();
    }
}

/// Everything of a snapshot but the times, bit for bit.
fn bits(snapshot: &Snapshot) -> (Vec<u64>, Vec<Vec<u32>>) {
    let Snapshot { position, records, parameters, optimiser } = snapshot;
    let all = |record: &EpochRecord| {
        let more = [record.val_loss, record.train_accuracy].map(|value| value.expect("it is known"));
        [record.train_loss, record.val_accuracy, more[0], more[1]]
    };
    let numbers = records.iter().flat_map(all);
    let numbers = numbers.chain([position.loss_sum]).map(f64::to_bits);
    let right = position.right.expect("it is known");
    let place = [u64::from(position.epoch), position.images_done as u64, right as u64];
    let tensors = parameters.iter().chain(parameters.statistics());
    let tensors = tensors.chain(optimiser.tensors());
    let values = tensors.map(|tensor| {
        let values = Vec::<f32>::try_from(tensor.contiguous().view(-1).to_kind(Kind::Float)).unwrap();
        values.into_iter().map(f32::to_bits).collect()
    });
    (numbers.chain(place).collect(), values.collect())
}

fn losses(records: &[EpochRecord]) -> Vec<f64> {
    records.iter().map(|record| record.train_loss).collect()
}

/// Trains the jobs in one pack and each alone, and compares each epoch.
fn assert_packed_is_alone(configs: &[TrainingConfig], data: &TrainingData) {
    let mut packed = pack(configs, data);
    finish(&mut packed);
    for (member, config) in configs.iter().enumerate() {
        let mut alone = pack(std::slice::from_ref(config), data);
        finish(&mut alone);
        assert_eq!(packed.records(member).len(), config.epochs as usize);
        for (found, expected) in packed.records(member).iter().zip(alone.records(0)) {
            let relative = (found.train_loss - expected.train_loss).abs() / expected.train_loss;
            let images =
                (found.val_accuracy - expected.val_accuracy).abs() * data.validation().numel() as f64;
            let bound = if found.epoch == 1 { 1e-4 } else { 1e-3 };
            assert!(relative <= bound, "{config:?}: {found:?} is not {expected:?}");
            assert!(images < 2.5, "{config:?}: {found:?} is not {expected:?}");
            assert!(found.epoch_seconds > 0.0);
            let [val_loss, expected_loss] = [found, expected].map(|record| record.val_loss.unwrap());
            // It is of the last weights alone and may be tiny, so that rounding weighs more than in an epoch's mean.
            let bound = 1e-2 * expected_loss + 1e-4;
            assert!((val_loss - expected_loss).abs() <= bound, "{config:?}: {found:?} is not {expected:?}");
            let accuracies = [found, expected].map(|record| record.train_accuracy.unwrap());
            let images = (accuracies[0] - accuracies[1]).abs() * data.train_images() as f64;
            assert!(images < 2.5, "{config:?}: {found:?} is not {expected:?}");
        }
    }
}

#[test]
fn packed_jobs_have_the_numbers_of_jobs_alone() {
    let data = easy_data(200);
    for batch_size in [32, 64] {
        // In an order that is not the array's.
        let jobs = [(SIGMOID, 1e-3), (RELU, 1e-3), (SIGMOID, 5e-5), (RELU, 1e-4), (RELU, 5e-5)];
        let configs = jobs.map(|(activation, learning_rate)| TrainingConfig {
            batch_size,
            epochs: 5,
            ..config(activation, learning_rate)
        });
        assert_packed_is_alone(&configs, &data);
    }
}

/// What jobs of a pack share of the layers: each option, and several together.
fn layers() -> [Architecture; 5] {
    let of = |channels: &[i64], hidden_units, batch_norm| Architecture {
        channels: channels.to_vec(),
        hidden_units,
        batch_norm,
    };
    [
        of(&[16, 32], 128, true),
        of(&[4], 128, false),
        of(&[4, 8, 8], 128, false),
        of(&[16, 32], 24, false),
        of(&[4, 8, 8], 24, true),
    ]
}

#[test]
fn packed_jobs_have_the_numbers_of_jobs_alone_with_any_layers_activations_and_dropout() {
    let data = easy_data(60);
    let own =
        [("tanh", 0.0), ("gelu", 0.5), ("relu", 0.2), ("silu", 0.0), ("gelu", 0.0), ("leaky_relu", 0.1)];
    for architecture in layers() {
        let configs = own.map(|(activation, dropout)| TrainingConfig {
            architecture: architecture.clone(),
            dropout,
            ..config(activation.parse().unwrap(), 3e-4)
        });
        assert_packed_is_alone(&configs, &data);
    }
    // All of one activation, which is applied to the whole array.
    for activation in ["gelu", "tanh", "silu", "leaky_relu"] {
        let configs =
            [0.3, 0.0].map(|dropout| TrainingConfig { dropout, ..config(activation.parse().unwrap(), 3e-4) });
        assert_packed_is_alone(&configs, &data);
    }
}

#[test]
fn what_a_member_drops_does_not_depend_on_the_others() {
    let data = easy_data(40);
    let with = |dropout| TrainingConfig { dropout, ..config(RELU, 1e-3) };
    let trained = |configs: &[TrainingConfig]| {
        let mut pack = pack(configs, &data);
        finish(&mut pack);
        bits(&pack.snapshot(0).unwrap())
    };
    // Of as many members, so that the order of additions is the same.
    let first = trained(&[with(0.5), with(0.0), with(0.1)]);
    assert!(first == trained(&[with(0.5), with(0.9), with(0.4)]));
    assert!(first != trained(&[with(0.4), with(0.0), with(0.1)]));
}

#[test]
fn a_pack_with_batch_norm_and_dropout_goes_on_with_the_same_bits() {
    let data = easy_data(40);
    let configs = [("gelu", 0.5), ("relu", 0.0), ("relu", 0.2)].map(|(activation, dropout)| TrainingConfig {
        architecture: Architecture { batch_norm: true, ..Architecture::default() },
        dropout,
        ..config(activation.parse().unwrap(), 1e-3)
    });
    let mut whole = pack(&configs, &data);
    finish(&mut whole);
    let mut first = pack(&configs, &data);
    train_batches(&mut first, 7);
    let starts = configs
        .iter()
        .enumerate()
        .map(|(member, config)| Start { config, snapshot: Some(first.snapshot(member).unwrap()) });
    let mut second = Pack::new(starts.collect(), &data).unwrap();
    finish(&mut second);
    for member in 0..3 {
        let [found, expected] = [&second, &whole].map(|pack| bits(&pack.snapshot(member).unwrap()));
        assert!(found == expected, "member {member} is another one");
        let batches = whole.parameters(member).unwrap().statistics()[2].int64_value(&[]);
        assert_eq!(batches, 3 * 5, "three epochs of five batches");
    }
}

/// Members that differ in all that moves their parameters.
fn trained_differently() -> [TrainingConfig; 6] {
    let with = |kind, learning_rate, momentum, weight_decay| TrainingConfig {
        optimiser: OptimiserSettings { kind, momentum, weight_decay },
        ..config(RELU, learning_rate)
    };
    use OptimiserKind::{Adam, AdamW, Sgd};
    [
        with(Adam, 3e-4, 0.0, 0.0),
        TrainingConfig { label_smoothing: 0.1, lr_schedule: LrSchedule::Step, ..with(Adam, 3e-4, 0.0, 0.01) },
        TrainingConfig { warmup_epochs: 1, activation: SIGMOID, ..with(Sgd, 0.05, 0.9, 0.05) },
        TrainingConfig { lr_schedule: LrSchedule::Cosine, ..with(AdamW, 3e-4, 0.0, 0.5) },
        TrainingConfig { gradient_clip_norm: 0.3, ..with(Sgd, 0.02, 0.9, 0.0) },
        TrainingConfig { gradient_clip_norm: 2.0, dropout: 0.3, ..with(Sgd, 0.05, 0.0, 0.0) },
    ]
}

#[test]
fn packed_jobs_have_the_numbers_of_jobs_alone_however_each_is_trained() {
    let data = easy_data(60);
    assert_packed_is_alone(&trained_differently(), &data);
    let augmented =
        trained_differently().map(|config| TrainingConfig { augmentation: Augmentation::FlipCrop, ..config });
    assert_packed_is_alone(&augmented, &data);
}

#[test]
fn how_a_member_is_trained_changes_no_bit_of_the_others() {
    let data = easy_data(40);
    let [plain, decayed, momentum, decoupled, clipped, sgd] = trained_differently();
    let trained = |configs: [&TrainingConfig; 3]| {
        let configs = configs.map(Clone::clone);
        let mut pack = pack(&configs, &data);
        finish(&mut pack);
        bits(&pack.snapshot(0).unwrap())
    };
    // Of as many members, so that the order of additions is the same.
    for one in [&plain, &decayed, &decoupled, &clipped] {
        let expected = trained([one, &plain, &plain]);
        assert!(expected == trained([one, &decayed, &clipped]), "{one:?}");
        assert!(expected == trained([one, &sgd, &decoupled]), "{one:?}");
    }
    assert!(trained([&momentum, &plain, &sgd]) != trained([&clipped, &plain, &sgd]));
}

#[test]
fn a_pack_of_members_that_are_trained_differently_goes_on_with_the_same_bits() {
    let data = easy_data(40);
    let configs =
        trained_differently().map(|config| TrainingConfig { augmentation: Augmentation::FlipCrop, ..config });
    let mut whole = pack(&configs, &data);
    finish(&mut whole);
    for batches in [2, 7, 10] {
        let mut first = pack(&configs, &data);
        train_batches(&mut first, batches);
        let starts = configs
            .iter()
            .enumerate()
            .map(|(member, config)| Start { config, snapshot: Some(first.snapshot(member).unwrap()) });
        let mut second = Pack::new(starts.collect(), &data).unwrap();
        finish(&mut second);
        for member in 0..configs.len() {
            let [found, expected] = [&second, &whole].map(|pack| bits(&pack.snapshot(member).unwrap()));
            assert!(found == expected, "member {member} is another one after {batches} batches");
        }
    }
}

#[test]
fn packs_of_one_activation_have_the_numbers_of_jobs_alone() {
    let data = easy_data(60);
    for activation in [RELU, SIGMOID] {
        assert_packed_is_alone(&[1e-3, 1e-4].map(|rate| config(activation, rate)), &data);
    }
}

#[test]
fn packed_jobs_have_the_numbers_of_jobs_alone_at_the_reports_size() {
    const IMAGES: usize = 80;
    tch::set_num_threads(1);
    let bytes: Vec<u8> = (0..IMAGES * 128 * 128 * 3)
        .map(|place| ((place * 2_654_435_761) >> 13) as u8 / 2 + 90 * ((place / (128 * 128 * 3)) % 2) as u8)
        .collect();
    let images = Tensor::from_slice(&bytes).view([IMAGES as i64, 128, 128, 3]);
    let labels: Vec<u8> = (0..IMAGES).map(|image| (image % 2) as u8).collect();
    let split = split(IMAGES, 0.2, 0).unwrap();
    let data = TrainingData::in_memory(&images, &labels, &["dark", "bright"], &split, Device::Cpu).unwrap();
    let configs = [(RELU, 1e-4), (SIGMOID, 1e-3)].map(|(activation, learning_rate)| TrainingConfig {
        batch_size: 32,
        epochs: 2,
        ..config(activation, learning_rate)
    });
    assert_packed_is_alone(&configs, &data);
}

#[test]
fn bf16_packs_stay_near_bf16_alone() {
    let data = easy_data(64);
    let configs = [(SIGMOID, 1e-3), (RELU, 1e-3)].map(|(activation, learning_rate)| TrainingConfig {
        precision: Precision::Bf16,
        ..config(activation, learning_rate)
    });
    let mut packed = pack(&configs, &data);
    finish(&mut packed);
    for (member, config) in configs.iter().enumerate() {
        let mut alone = pack(std::slice::from_ref(config), &data);
        finish(&mut alone);
        let (found, expected) = (losses(packed.records(member)), losses(alone.records(0)));
        assert!((found[0] - expected[0]).abs() / expected[0] < 0.02, "{found:?} is not {expected:?}");
    }
}

#[test]
fn channels_first_has_the_numbers_of_channels_last() {
    let data = easy_data(40);
    let configs = [(SIGMOID, 1e-3), (RELU, 1e-4)].map(|(activation, rate)| config(activation, rate));
    let trained = [Layout::ChannelsLast, Layout::ChannelsFirst].map(|layout| {
        let starts = configs.iter().map(|config| Start { config, snapshot: None }).collect();
        let mut pack = Pack::with_layout(starts, &data, layout).unwrap();
        finish(&mut pack);
        [0, 1].map(|member| losses(pack.records(member))).concat()
    });
    for (one, other) in trained[0].iter().zip(&trained[1]) {
        assert!((one - other).abs() / one < 1e-3, "{trained:?}");
    }
}

#[test]
fn members_begin_with_the_weights_of_jobs_alone() {
    let data = easy_data(16);
    let configs = [(SIGMOID, 1e-3), (RELU, 1e-4)].map(|(activation, rate)| config(activation, rate));
    let expected =
        model::initial_parameters(1, &Layers::new(&configs[0].architecture, data.image_size(), 2)).unwrap();
    let pack = pack(&configs, &data);
    for member in 0..2 {
        let Snapshot { parameters, optimiser, .. } = pack.snapshot(member).unwrap();
        assert!(parameters.iter().zip(&expected).all(|(one, other)| one.equal(other)));
        assert!(optimiser.tensors().iter().all(|one| one.abs().sum(Kind::Double).double_value(&[]) == 0.0));
    }
}

#[test]
fn the_same_pack_gives_the_same_bits() {
    let data = easy_data(40);
    let configs = [(SIGMOID, 1e-3), (RELU, 1e-4)].map(|(activation, rate)| config(activation, rate));
    let [first, again] = [(), ()].map(|()| {
        let mut pack = pack(&configs, &data);
        finish(&mut pack);
        [0, 1].map(|member| bits(&pack.snapshot(member).unwrap()))
    });
    assert_eq!(first, again);
}

#[test]
fn what_diverges_leaves_the_others_their_bits() {
    let data = easy_data(120);
    for wild in [RELU, SIGMOID] {
        // 90 batches an epoch, so that the divergence is seen in the middle of the first.
        let jobs =
            |rate| {
                [(RELU, 1e-3), (wild, rate), (SIGMOID, 1e-3)].map(|(activation, learning_rate)| {
                    TrainingConfig { batch_size: 1, epochs: 2, ..config(activation, learning_rate) }
                })
            };
        let (tame, wild) = (jobs(1e-3), jobs(1e38));
        let mut expected = pack(&tame, &data);
        finish(&mut expected);
        let mut found = pack(&wild, &data);
        let end = found.run_epoch(None, &mut |_| Flow::Continue).unwrap();
        assert_eq!(end, PackEnd::Diverged(vec![1]));
        let Place { epoch, images_done } = found.place();
        assert_eq!((epoch, images_done), (1, BATCHES_BETWEEN_LOOKS as i64));
        found.retire(1);
        assert_eq!(found.live().collect::<Vec<_>>(), [0, 2]);
        finish(&mut found);
        for member in [0, 2] {
            let [found, expected] = [&found, &expected].map(|pack| bits(&pack.snapshot(member).unwrap()));
            assert!(found == expected, "member {member} is another one");
        }
        assert!(found.records(1).is_empty());
    }
}

#[test]
fn what_is_stopped_leaves_the_others_their_bits_and_goes_on_where_it_was() {
    let data = easy_data(40);
    let configs =
        [(RELU, 1e-3), (SIGMOID, 1e-3), (RELU, 1e-4)].map(|(activation, rate)| config(activation, rate));
    let mut whole = pack(&configs, &data);
    finish(&mut whole);
    let mut broken = pack(&configs, &data);
    train_batches(&mut broken, 7);
    let kept = broken.snapshot(0).unwrap();
    broken.retire(0);
    finish(&mut broken);
    for member in [1, 2] {
        let [found, expected] = [&broken, &whole].map(|pack| bits(&pack.snapshot(member).unwrap()));
        assert!(found == expected, "member {member} is another one");
    }
    assert_eq!(broken.records(0).len(), 1);

    let mut alone = Pack::new(vec![Start { config: &configs[0], snapshot: Some(kept) }], &data).unwrap();
    assert_eq!(alone.place(), Place { epoch: 2, images_done: 14 });
    finish(&mut alone);
    for (found, expected) in losses(alone.records(0)).into_iter().zip(losses(whole.records(0))) {
        assert!((found - expected).abs() / expected < 1e-3, "{found} is not {expected}");
    }
}

#[test]
fn a_snapshot_is_exact_alone_and_in_any_pack() {
    let data = easy_data(40);
    let configs =
        [(SIGMOID, 1e-3), (RELU, 1e-3), (RELU, 1e-4)].map(|(activation, rate)| config(activation, rate));
    let mut first = pack(&configs, &data);
    train_batches(&mut first, 8);
    let snapshots = || [0, 1, 2].map(|member| first.snapshot(member).unwrap());
    let expected = snapshots().map(|snapshot| bits(&snapshot));
    let start = |member: usize, snapshot| Start { config: &configs[member], snapshot: Some(snapshot) };
    let [one, two, three] = snapshots();
    let alone = Pack::new(vec![start(0, one)], &data).unwrap();
    assert!(bits(&alone.snapshot(0).unwrap()) == expected[0]);
    let other_order = Pack::new(vec![start(2, three), start(1, two)], &data).unwrap();
    assert!(bits(&other_order.snapshot(0).unwrap()) == expected[2]);
    assert!(bits(&other_order.snapshot(1).unwrap()) == expected[1]);

    // In the same company it goes on with the same bits, too.
    let starts = snapshots().into_iter().enumerate().map(|(member, snapshot)| start(member, snapshot));
    let mut resumed = Pack::new(starts.collect(), &data).unwrap();
    finish(&mut first);
    finish(&mut resumed);
    for member in 0..3 {
        let [found, expected] = [&resumed, &first].map(|pack| bits(&pack.snapshot(member).unwrap()));
        assert!(found == expected, "member {member} is another one");
    }
}

#[test]
fn a_pack_trains_as_far_as_it_is_asked_to() {
    let data = easy_data(40);
    let configs = [(RELU, 1e-3), (SIGMOID, 1e-3)].map(|(activation, rate)| config(activation, rate));
    let mut whole = pack(&configs, &data);
    finish(&mut whole);
    let mut parts = pack(&configs, &data);
    for images in [14, 30] {
        let end = parts.run_epoch(Some(images), &mut |_| Flow::Continue).unwrap();
        assert_eq!((end, parts.place()), (PackEnd::Reached, Place { epoch: 1, images_done: images }));
        assert!(parts.records(0).is_empty(), "not validated");
    }
    finish(&mut parts);
    for member in [0, 1] {
        let [found, expected] = [&parts, &whole].map(|pack| bits(&pack.snapshot(member).unwrap()));
        assert!(found == expected, "member {member} is another one");
    }
}

#[test]
fn layers_that_kernels_cannot_count_are_want_of_memory() {
    let widest = Layers::new(&TrainingConfig::default().architecture, 128, 2).widest();
    assert!(check_layers(127, 64, widest).is_ok());
    let error = check_layers(128, 64, widest).unwrap_err().to_string();
    assert!(error.contains("out of memory"), "{error}");
    assert!(check_layers(1, i64::from(u32::MAX), widest).is_ok(), "a job alone is as it always was");
}
