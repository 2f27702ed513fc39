//! Specification of the training loop on small images in memory.

use tch::{Device, Tensor};

use super::super::{
    augmentation::Augmentation,
    layers::Layers,
    model::{self, Activation, Pass, Precision, SimpleCnn},
    pack::count_correct,
    schedule::LrSchedule,
    step::Single,
};
use super::*;
use crate::split::{Split, split};

const IMAGE_SIZE: i64 = 16;

/// Dark images of class 0 and bright ones of class 1, with noise: easy to learn.
pub(crate) fn easy_images(count: usize) -> (Tensor, Vec<u8>) {
    let labels: Vec<u8> = (0..count).map(|image| (image % 2) as u8).collect();
    let pixels = (IMAGE_SIZE * IMAGE_SIZE * 3) as usize;
    let bytes: Vec<u8> = (0..count * pixels)
        .map(|place| ((place * 2_654_435_761) >> 7) as u8 / 2 + 100 * labels[place / pixels])
        .collect();
    (Tensor::from_slice(&bytes).view([count as i64, IMAGE_SIZE, IMAGE_SIZE, 3]), labels)
}

pub(crate) fn easy_data(count: usize) -> TrainingData {
    tch::set_num_threads(1);
    let (images, labels) = easy_images(count);
    let split = split(count, 0.25, 0).unwrap();
    TrainingData::in_memory(&images, &labels, &["dark", "bright"], &split, Device::Cpu).unwrap()
}

fn config() -> TrainingConfig {
    TrainingConfig {
        activation: Activation::Relu,
        learning_rate: 0.001,
        batch_size: 7,
        epochs: 3,
        seed: 1,
        ..TrainingConfig::default()
    }
}

/// The model that a job of this configuration begins with.
fn initial_model(config: &TrainingConfig) -> SimpleCnn {
    let layers = Layers::new(&config.architecture, IMAGE_SIZE, 2);
    let initial = model::initial_parameters(config.seed, &layers).unwrap();
    SimpleCnn::new(&initial, config.activation, config.precision, Device::Cpu).unwrap()
}

/// Everything but the times, which no two runs share.
fn run(config: &TrainingConfig, data: &TrainingData) -> (Vec<(u32, f64, f64)>, TrainingEnd) {
    let mut records = Vec::new();
    let end = train(config, data, &mut |event| {
        if let TrainingEvent::Epoch(record) = event {
            assert!(record.epoch_seconds > 0.0);
            records.push((record.epoch, record.train_loss, record.val_accuracy));
        }
        Flow::Continue
    });
    (records, end.unwrap())
}

#[test]
fn what_is_easy_to_learn_is_learnt() {
    let (records, end) = run(&config(), &easy_data(64));
    assert_eq!(end, TrainingEnd::Done);
    assert_eq!(records.iter().map(|record| record.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(records[2].1 < records[0].1 / 2.0, "{records:?}");
    assert_eq!(records[2].2, 1.0);
}

#[test]
fn the_same_job_gives_the_same_bits() {
    let data = easy_data(40);
    let first = run(&config(), &data);
    assert_eq!(run(&config(), &data), first);
    assert_eq!(run(&config(), &easy_data(40)), first, "whatever trained before");
    assert_ne!(run(&TrainingConfig { seed: 2, ..config() }, &data), first);
}

#[test]
fn bf16_learns_what_is_easy_gives_the_same_bits_and_stays_near_fp32() {
    let (data, config) = (easy_data(64), config());
    let bf16 = TrainingConfig { precision: Precision::Bf16, ..config.clone() };
    let (records, end) = run(&bf16, &data);
    assert_eq!(end, TrainingEnd::Done);
    assert_eq!(run(&bf16, &data).0, records);
    let (exact, _) = run(&config, &data);
    // Eight bits of significand: 1/256 a rounding; the first epoch's mean loss is of many.
    let near = (records[0].1 - exact[0].1).abs() / exact[0].1;
    assert!(near > 0.0 && near < 0.02, "{near}");
    assert!(records[2].2 > 0.9, "{records:?}");
}

#[test]
fn the_last_batch_is_kept_and_weighs_by_its_size() {
    let data = easy_data(40);
    let config = TrainingConfig { batch_size: 13, epochs: 1, ..config() };
    let mut fractions = Vec::new();
    let mut reported = 0.0;
    train(&config, &data, &mut |event| {
        match event {
            TrainingEvent::Batch { fraction, .. } => fractions.push((fraction * 30.0).round() as i64),
            TrainingEvent::Epoch(record) => reported = record.train_loss,
            TrainingEvent::ValidationBegins | TrainingEvent::ValidationBatch => {}
        }
        Flow::Continue
    })
    .unwrap();
    assert_eq!(fractions, [13, 26, 30]);

    let mut single = Single::new(initial_model(&config), &config, None).unwrap();
    let order = data.epoch_order(config.seed, 1).unwrap();
    let mut sum = 0.0;
    for (start, size) in [(0, 13), (13, 13), (26, 4)] {
        let (inputs, classes) = data.batch(&order.narrow(0, start, size)).unwrap();
        let step = single.step(&inputs, &classes, config.learning_rate, 0).unwrap();
        sum += step.loss.double_value(&[0]) * size as f64;
    }
    assert_eq!(reported, sum / 30.0);
}

#[test]
fn augmentation_changes_the_training_images_of_each_epoch_and_no_validation_image() {
    let data = easy_data(120);
    let config = TrainingConfig { batch_size: 13, epochs: 2, ..config() };
    let plain = run(&config, &data);
    for augmentation in [Augmentation::Flip, Augmentation::FlipCrop] {
        let config = TrainingConfig { augmentation, ..config.clone() };
        assert_ne!(run(&config, &data), plain);
        let mut reported = Vec::new();
        train(&config, &data, &mut |event| {
            if let TrainingEvent::Epoch(record) = event {
                reported.push(record);
            }
            Flow::Continue
        })
        .unwrap();
        let mut single = Single::new(initial_model(&config), &config, None).unwrap();
        for record in &reported {
            let order = data.epoch_order(config.seed, record.epoch).unwrap();
            let drawn = data.draws(augmentation, config.seed, record.epoch).unwrap();
            let mut sum = 0.0;
            for start in (0..90).step_by(13) {
                let numbers = order.narrow(0, start, i64::min(13, 90 - start));
                let (inputs, classes) = data.training_batch(&numbers, drawn.as_ref()).unwrap();
                let step = single.step(&inputs, &classes, config.learning_rate, 0).unwrap();
                sum += step.loss.double_value(&[0]) * classes.numel() as f64;
            }
            assert_eq!(record.train_loss, sum / 90.0);
            let (inputs, classes) = data.batch(data.validation()).unwrap();
            let (loss, _) = by_hand(&single.model().forward(&inputs, Pass::Evaluation).unwrap(), &classes);
            let found = record.val_loss.unwrap();
            assert!((found - loss).abs() <= 1e-6 + 1e-5 * loss, "{found} is not {loss}");
        }
        let epochs = [1, 2].map(|epoch| data.draws(augmentation, config.seed, epoch).unwrap().unwrap());
        let (images, numbers) = (easy_images(120).0, Tensor::arange(120, (tch::Kind::Int64, Device::Cpu)));
        let [first, second] = epochs.map(|drawn| drawn.apply(&images, &numbers).unwrap());
        assert!(!first.equal(&second), "each epoch has other images");
        // An image is changed in the same way wherever it stands in a batch.
        let drawn = data.draws(augmentation, config.seed, 1).unwrap();
        let some = Tensor::from_slice(&[31_i64, 4, 17]);
        let [batch, all] =
            [&some, &numbers].map(|numbers| data.training_batch(numbers, drawn.as_ref()).unwrap().0);
        assert!(batch.equal(&all.index_select(0, &some)));
    }
}

#[test]
fn each_step_has_the_rate_of_its_schedule_and_the_validation_loss_is_not_smoothed() {
    let data = easy_data(40);
    let config = TrainingConfig {
        batch_size: 13,
        lr_schedule: LrSchedule::Cosine,
        warmup_epochs: 1,
        label_smoothing: 0.2,
        ..config()
    };
    let mut reported = Vec::new();
    train(&config, &data, &mut |event| {
        if let TrainingEvent::Epoch(record) = event {
            reported.push(record);
        }
        Flow::Continue
    })
    .unwrap();
    let mut single = Single::new(initial_model(&config), &config, None).unwrap();
    // Three steps an epoch, the last of four images.
    let mut steps = 0;
    for record in &reported {
        let order = data.epoch_order(config.seed, record.epoch).unwrap();
        let mut sum = 0.0;
        for (start, size) in [(0, 13), (13, 13), (26, 4)] {
            let (inputs, classes) = data.batch(&order.narrow(0, start, size)).unwrap();
            let rate = config.learning_rates().at(steps, 3);
            sum += single.step(&inputs, &classes, rate, 0).unwrap().loss.double_value(&[0]) * size as f64;
            steps += 1;
        }
        assert_eq!(record.train_loss, sum / 30.0, "epoch {}", record.epoch);
        let (inputs, classes) = data.batch(data.validation()).unwrap();
        let (loss, _) = by_hand(&single.model().forward(&inputs, Pass::Evaluation).unwrap(), &classes);
        let found = record.val_loss.unwrap();
        assert!((found - loss).abs() <= 1e-6 + 1e-5 * loss, "{found} is not {loss}");
    }
}

/// Mean cross-entropy in nats and how many are right, of two logits an image: by the definition, in doubles.
fn by_hand(logits: &Tensor, classes: &Tensor) -> (f64, usize) {
    let logits = Vec::<f32>::try_from(logits.detach().contiguous().view(-1)).unwrap();
    let classes = Vec::<i64>::try_from(classes).unwrap();
    let (mut sum, mut right) = (0.0, 0);
    for (pair, class) in logits.chunks(2).zip(&classes) {
        let [own, other] = [0, 1].map(|index| f64::from(pair[(*class as usize + index) % 2]));
        sum += (other - own).exp().ln_1p();
        right += usize::from(own > other);
    }
    (sum / classes.len() as f64, right)
}

#[test]
fn an_epoch_says_what_its_own_logits_say() {
    let data = easy_data(120);
    let config = TrainingConfig { batch_size: 13, epochs: 2, ..config() };
    let mut reported = Vec::new();
    train(&config, &data, &mut |event| {
        if let TrainingEvent::Epoch(record) = event {
            reported.push(record);
        }
        Flow::Continue
    })
    .unwrap();

    let mut single = Single::new(initial_model(&config), &config, None).unwrap();
    for record in &reported {
        let order = data.epoch_order(config.seed, record.epoch).unwrap();
        let mut right = 0;
        for start in (0..90).step_by(13) {
            let (inputs, classes) = data.batch(&order.narrow(0, start, i64::min(13, 90 - start))).unwrap();
            right += by_hand(&single.model().forward(&inputs, Pass::Evaluation).unwrap(), &classes).1;
            single.step(&inputs, &classes, config.learning_rate, 0).unwrap();
        }
        assert_eq!(
            record.train_accuracy,
            Some(right as f64 / 90.0),
            "each image by the weights before its step"
        );
        let (inputs, classes) = data.batch(data.validation()).unwrap();
        let (loss, right) = by_hand(&single.model().forward(&inputs, Pass::Evaluation).unwrap(), &classes);
        let found = record.val_loss.unwrap();
        assert!((found - loss).abs() <= 1e-6 + 1e-5 * loss, "{found} is not {loss}");
        assert_eq!(record.val_accuracy, right as f64 / 30.0);
    }
    let accuracies: Vec<_> = reported.iter().map(|record| record.train_accuracy).collect();
    assert!(accuracies[0] < accuracies[1] && accuracies[0] > Some(0.4), "{accuracies:?}");
}

#[test]
fn a_validation_loss_that_is_not_finite_leaves_the_epoch_its_other_numbers() {
    let (images, labels) = easy_images(8);
    let place = |class| (0..8_i64).filter(|image| i64::from(labels[*image as usize]) == class).collect();
    let split = Split { train: place(0), validation: place(1) };
    let data = TrainingData::in_memory(&images, &labels, &["dark", "bright"], &split, Device::Cpu).unwrap();
    let config = TrainingConfig { epochs: 1, ..config() };
    let snapshot = Training::new(&config, &data).unwrap().snapshot().unwrap();
    // So sure of the first class that the second's loss is beyond float32.
    let mut bias = snapshot.parameters.last().unwrap().shallow_clone();
    bias.copy_(&Tensor::from_slice(&[3e38_f32, -3e38]));
    let mut training = Training::resume(&config, &data, snapshot).unwrap();
    let end = training.run_epoch(&mut |_| Flow::Continue).unwrap();
    let EpochEnd::Done(record) = end else { panic!("{end:?}") };
    assert_eq!((record.train_loss, record.train_accuracy), (0.0, Some(1.0)));
    assert_eq!((record.val_loss, record.val_accuracy), (None, 0.0));
}

#[test]
fn each_epoch_has_its_own_order_of_the_same_images() {
    let data = easy_data(40);
    let orders = [1, 2, 1].map(|epoch| Vec::<i64>::try_from(data.epoch_order(0, epoch).unwrap()).unwrap());
    assert_ne!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
    let sorted = orders.map(|mut order| {
        order.sort_unstable();
        order
    });
    assert_eq!(sorted[0], sorted[1]);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_job_as_diverged_in_that_epoch() {
    let config = TrainingConfig { learning_rate: 1e30, epochs: 5, ..config() };
    let (records, end) = run(&config, &easy_data(40));
    assert_eq!(end, TrainingEnd::Diverged { epoch: 1 });
    assert_eq!(records, []);
}

#[test]
fn a_job_can_be_stopped_between_batches() {
    let mut batches = 0;
    let end = train(&config(), &easy_data(40), &mut |event| {
        batches += 1;
        let second = matches!(event, TrainingEvent::Batch { fraction, .. } if fraction > 0.4);
        if second { Flow::Stop } else { Flow::Continue }
    });
    assert_eq!((end.unwrap(), batches), (TrainingEnd::Stopped, 2));
}

#[test]
fn a_job_can_be_stopped_in_its_validation() {
    let mut after_epoch = 0;
    let end = train(&config(), &easy_data(40), &mut |event| match event {
        TrainingEvent::ValidationBatch => Flow::Stop,
        TrainingEvent::Epoch(_) => {
            after_epoch += 1;
            Flow::Continue
        }
        TrainingEvent::Batch { .. } | TrainingEvent::ValidationBegins => Flow::Continue,
    });
    assert_eq!((end.unwrap(), after_epoch), (TrainingEnd::Stopped, 0));
}

#[test]
fn a_stop_after_the_last_epoch_comes_too_late() {
    let config = TrainingConfig { epochs: 1, ..config() };
    let end = train(&config, &easy_data(40), &mut |event| {
        if matches!(event, TrainingEvent::Epoch(_)) { Flow::Stop } else { Flow::Continue }
    });
    assert_eq!(end.unwrap(), TrainingEnd::Done);
}

#[test]
fn a_batch_may_be_larger_than_the_data_set() {
    let config = TrainingConfig { batch_size: 1000, epochs: 1, ..config() };
    assert_eq!(run(&config, &easy_data(40)).1, TrainingEnd::Done);
}

#[test]
fn an_image_counts_as_right_only_with_finite_logits() {
    let infinite = f32::INFINITY;
    let logits =
        [[0.1, 0.2], [0.3, 0.2], [0.1, f32::NAN], [f32::NAN, 0.0], [0.0, infinite], [-infinite, 0.0]];
    let logits = Tensor::from_slice(&logits.concat()).view([6, 2]);
    let classes = Tensor::from_slice(&[1_i64, 1, 1, 0, 1, 1]);
    assert_eq!(count_correct(&logits, &classes).unwrap().int64_value(&[]), 1);
}

#[test]
fn what_libtorch_refuses_is_an_error_and_no_panic() {
    // A class that no logit exists for; memory that runs out is reported the same way.
    let (images, mut labels) = easy_images(8);
    labels.fill(2);
    let split = Split { train: vec![0, 1, 2, 3], validation: vec![4, 5, 6, 7] };
    let data = TrainingData::in_memory(&images, &labels, &["dark", "bright"], &split, Device::Cpu).unwrap();
    assert!(train(&config(), &data, &mut |_| Flow::Continue).is_err());
}
