//! Holds the options of SimpleCNN to PyTorch's numbers: every case of `options.json`, made by `make_golden_options.py` next to
//! it, in `tests/fixtures/golden/options` or the folder that `SWEEP_GOLDEN_DIR` names (there, or in its folder `options`);
//! its README says what an option means and what a case holds. Weights and inputs are made here by the script's formulas.
//! Each case trains alone, and as a member of a pack whose other members differ in all that may differ. Run with
//! `--nocapture` to see the differences reached.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, env, fs, path::PathBuf, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use trainer::{
    config::TrainingConfig,
    layers::Layers,
    learner::{DataShape, Learner},
    model::{channels_last, initial_parameters},
    optimiser::{OptimiserKind, OptimiserSettings},
    pack_model::{self, Layout},
    parameters::Parameters,
    schedule::LrSchedule,
    training::{Place, Position, Snapshot, Start},
};

/// Images of the batch that is evaluated after training.
const EVALUATED: i64 = 24;
/// Number of that batch.
const EVALUATED_BATCH: usize = 99;

/// Tolerances of the fixture's README: absolute, or as a share of the sum of absolute values; to each comes ten times the
/// case's own rounding.
const LOSS_TOLERANCE: f64 = 1e-5;
const LOGIT_TOLERANCE: f64 = 1e-4;
const SUM_TOLERANCE: f64 = 1e-5;
const ROUNDINGS: f64 = 10.0;

/// `[Σv, Σ|v|]` of tensors by name.
type Sums = BTreeMap<String, [f64; 2]>;

#[derive(Deserialize)]
struct Case {
    name: String,
    seed: u32,
    image_size: i64,
    num_classes: i64,
    batch_size: i64,
    steps_per_epoch: usize,
    epochs: usize,
    learning_rates: Vec<f64>,
    losses: Vec<f64>,
    gradient_norms: Vec<f64>,
    logits_on_batch_99_of_4: Vec<Vec<f64>>,
    on_batch_99_of_24: Evaluation,
    parameter_sum_and_abs_sum: Sums,
    running_sum_and_abs_sum: Sums,
    drawn_by_manual_seed_sum_and_abs_sum: Sums,
    rounding: Rounding,
    /// The options, by their names in sweep files.
    #[serde(flatten)]
    options: Map<String, Value>,
}

#[derive(Deserialize)]
struct Evaluation {
    val_loss: f64,
    val_accuracy: f64,
    class_accuracies: Vec<f64>,
    smallest_margin: f64,
}

#[derive(Deserialize)]
struct Rounding {
    losses: Vec<f64>,
    gradient_norms: Vec<f64>,
    logits_on_batch_99_of_4: f64,
    val_loss: f64,
    parameter_sum_and_abs_sum: BTreeMap<String, f64>,
    running_sum_and_abs_sum: BTreeMap<String, f64>,
}

fn cases() -> Vec<Case> {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/golden");
    let folder = env::var_os("SWEEP_GOLDEN_DIR").map_or_else(|| PathBuf::from(committed), PathBuf::from);
    let places = ["options/options.json", "options.json"].map(|name| folder.join(name));
    let path = places.iter().find(|path| path.exists()).unwrap_or(&places[0]);
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty(), "{} holds no case", path.display());
    cases
}

impl Case {
    /// The job of the case. An option that the manifest lacks is an error, so that no case is left out.
    fn config(&self) -> TrainingConfig {
        let mut parameters: Map<String, Value> = self
            .options
            .iter()
            .map(|(name, value)| {
                let list =
                    value.as_array().map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
                (name.clone(), list.map_or_else(|| value.clone(), |list| json!(list.join(","))))
            })
            .collect();
        parameters.insert("batch_size".into(), json!(self.batch_size));
        parameters.insert("seed".into(), json!(self.seed));
        // A case without training is none of a job.
        parameters.insert("epochs".into(), json!(self.epochs.max(1)));
        TrainingConfig::read("simple_cnn", &parameters)
            .unwrap_or_else(|error| panic!("{} cannot be trained: {error}", self.name))
    }

    fn layers(&self, config: &TrainingConfig) -> Arc<Layers> {
        Layers::new(&config.architecture, self.image_size, self.num_classes)
    }

    /// Images and classes of one step, as `batch` of the script makes them, laid out as training lays them out.
    fn batch(&self, step: usize, size: i64) -> (Tensor, Tensor) {
        let side = self.image_size;
        let frequency = 0.0137 + 0.001 * f64::from(self.seed);
        let values: Vec<f32> =
            wave((size * 3 * side * side) as usize, frequency, 0.5 * step as f64).collect();
        let images = Tensor::from_slice(&values).view([size, 3, side, side]);
        let classes: Vec<i64> = (0..size).map(|i| (i * 7 + step as i64 * 3) % self.num_classes).collect();
        (channels_last(&images).unwrap(), Tensor::from_slice(&classes))
    }
}

/// `wave` of the script: sin(frequency · i + phase), rounded to f32.
fn wave(length: usize, frequency: f64, phase: f64) -> impl Iterator<Item = f32> {
    (0..length).map(move |i| (frequency * i as f64 + phase).sin() as f32)
}

/// Overwrites drawn weights with those of the script: k counts weights and biases, those of batch norm aside.
fn set_weights(parameters: &Parameters, seed: u32) {
    let mut fan_in = 0.0;
    let drawn = parameters.named().filter(|(one, _)| !one.name.starts_with("bn"));
    for (k, (described, tensor)) in drawn.enumerate() {
        if described.name.ends_with("weight") {
            fan_in = described.shape[1..].iter().product::<i64>() as f64;
        }
        let bound = 1.0 / fan_in.sqrt();
        let values = wave(tensor.numel(), 0.7311 + 0.01 * f64::from(seed), 0.1 * k as f64);
        let values: Vec<f32> = values.map(|value| (f64::from(value) * bound) as f32).collect();
        tensor.shallow_clone().copy_(&Tensor::from_slice(&values).view(&described.shape[..]));
    }
}

/// What this implementation makes of a case.
#[derive(Debug, PartialEq)]
struct Trajectory {
    losses: Vec<f64>,
    /// Before clipping; none where the case does not clip.
    gradient_norms: Vec<f64>,
    /// Of the batch that is evaluated, by image.
    logits: Vec<Vec<f64>>,
    val_loss: f64,
    /// Accuracy of all images, then of each class.
    accuracies: Vec<f64>,
    learnt: Sums,
    running: Sums,
}

/// Trains the first of the configurations as the case does, in the company of the others.
fn train(case: &Case, configs: &[TrainingConfig]) -> Trajectory {
    let data = DataShape {
        image_size: case.image_size,
        classes: case.num_classes,
        train_images: case.steps_per_epoch as u64 * case.batch_size.unsigned_abs(),
    };
    let learner =
        |starts: &[Start<'_>]| Learner::new(starts, data, Device::Cpu, Layout::ChannelsLast).unwrap();
    let starts = configs.iter().map(|config| {
        let (parameters, optimiser) = learner(&[Start { config, snapshot: None }]).state(0).unwrap();
        set_weights(&parameters, case.seed);
        let position = Position { epoch: 1, images_done: 0, loss_sum: 0.0, right: Some(0), seconds: 0.0 };
        Start { config, snapshot: Some(Snapshot { position, records: Vec::new(), parameters, optimiser }) }
    });
    let mut learner = learner(&starts.collect::<Vec<_>>());
    let (mut losses, mut gradient_norms) = (Vec::new(), Vec::new());
    for step in 0..case.epochs * case.steps_per_epoch {
        let (images, classes) = case.batch(step, case.batch_size);
        let place = Place {
            epoch: (step / case.steps_per_epoch) as u32 + 1,
            images_done: (step % case.steps_per_epoch) as i64 * case.batch_size,
        };
        let step = learner.step(&images, &classes, place).unwrap();
        losses.push(step.loss.double_value(&[0]));
        gradient_norms.extend(step.gradient_norms.map(|norms| norms.double_value(&[learner.row(0)])));
    }
    let _no_gradients = tch::no_grad_guard();
    let (images, classes) = case.batch(EVALUATED_BATCH, EVALUATED);
    let logits = learner.forward(&images).unwrap();
    let val_loss = pack_model::losses(&logits, &classes).unwrap().double_value(&[0]);
    let logits = Vec::<Vec<f64>>::try_from(logits.get(0).to_kind(Kind::Double)).unwrap();
    let parameters = learner.parameters(0).unwrap();
    let running = parameters.layers().statistics().iter().zip(parameters.statistics());
    let running = running.filter(|(one, _)| one.name.contains("running"));
    let learnt = parameters.layers().learnt().iter().zip(&parameters);
    let all = |named: &mut dyn Iterator<Item = (String, [f64; 2])>| named.collect::<Sums>();
    Trajectory {
        losses,
        gradient_norms,
        accuracies: accuracies(&logits, &Vec::<i64>::try_from(classes).unwrap(), case.num_classes),
        logits,
        val_loss,
        learnt: all(&mut learnt.map(|(one, tensor)| (one.name.clone(), sums(tensor)))),
        running: all(&mut running.map(|(one, tensor)| (one.name.clone(), sums(tensor)))),
    }
}

fn sums(tensor: &Tensor) -> [f64; 2] {
    [tensor.sum(Kind::Double), tensor.abs().sum(Kind::Double)].map(|sum| sum.double_value(&[]))
}

fn accuracies(logits: &[Vec<f64>], classes: &[i64], count: i64) -> Vec<f64> {
    let largest =
        |logits: &Vec<f64>| (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let right: Vec<(i64, bool)> = logits
        .iter()
        .zip(classes)
        .map(|(logits, class)| (*class, largest(logits) as i64 == *class))
        .collect();
    let share = |of: &dyn Fn(i64) -> bool| {
        let own: Vec<bool> = right.iter().filter(|(class, _)| of(*class)).map(|(_, right)| *right).collect();
        own.iter().filter(|right| **right).count() as f64 / own.len() as f64
    };
    let each = (0..count).map(|class| share(&|one| one == class));
    [share(&|_| true)].into_iter().chain(each.collect::<Vec<_>>()).collect()
}

/// The largest difference as a share of what is allowed; more than 1 is a mistake.
#[derive(Default)]
struct Found {
    largest: f64,
    mistakes: Vec<String>,
}

impl Found {
    fn compare(&mut self, what: &str, found: f64, expected: f64, allowed: f64) {
        let share = (found - expected).abs() / allowed;
        // Not a `max`, which would overlook a NaN.
        if share.is_nan() || share > self.largest {
            self.largest = share;
        }
        if share.is_nan() || share > 1.0 {
            self.mistakes.push(format!("{what} is {found}, not {expected} (± {allowed:.1e})"));
        }
    }

    fn compare_sums(&mut self, found: &Sums, expected: &Sums, rounding: &BTreeMap<String, f64>) {
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, expected) in expected {
            let rounding = rounding.get(name).copied().unwrap_or(0.0);
            let allowed = SUM_TOLERANCE * expected[1] + ROUNDINGS * rounding;
            for (which, (found, expected)) in found[name].iter().zip(expected).enumerate() {
                // A sum of nothing but zeros is exact.
                self.compare(
                    &format!("sum {which} of {name}"),
                    *found,
                    *expected,
                    allowed.max(f64::MIN_POSITIVE),
                );
            }
        }
    }
}

/// Holds what was found to a case.
fn compare(case: &Case, found: &Trajectory, how: &str) -> Vec<String> {
    let mut all = Found::default();
    let rounding = &case.rounding;
    assert_eq!(found.losses.len(), case.losses.len(), "{}", case.name);
    for (step, (found, expected)) in found.losses.iter().zip(&case.losses).enumerate() {
        let allowed = LOSS_TOLERANCE + ROUNDINGS * rounding.losses[step];
        all.compare(&format!("loss {step}"), *found, *expected, allowed);
    }
    for (step, (found, expected)) in found.gradient_norms.iter().zip(&case.gradient_norms).enumerate() {
        let allowed = LOGIT_TOLERANCE + ROUNDINGS * rounding.gradient_norms[step];
        all.compare(&format!("gradient norm {step}"), *found, *expected, allowed);
    }
    let of_logits = LOGIT_TOLERANCE + ROUNDINGS * rounding.logits_on_batch_99_of_4;
    for (found, expected) in found.logits.iter().zip(&case.logits_on_batch_99_of_4) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(one, other)| all.compare("a logit", *one, *other, of_logits));
    }
    let evaluated = &case.on_batch_99_of_24;
    let allowed = LOSS_TOLERANCE + ROUNDINGS * rounding.val_loss;
    all.compare("val_loss", found.val_loss, evaluated.val_loss, allowed);
    if evaluated.smallest_margin > 2.0 * of_logits {
        let expected = [evaluated.val_accuracy].into_iter().chain(evaluated.class_accuracies.iter().copied());
        for (found, expected) in found.accuracies.iter().zip(expected) {
            all.compare("an accuracy", *found, expected, 1e-12);
        }
    }
    all.compare_sums(&found.learnt, &case.parameter_sum_and_abs_sum, &rounding.parameter_sum_and_abs_sum);
    all.compare_sums(&found.running, &case.running_sum_and_abs_sum, &rounding.running_sum_and_abs_sum);
    println!("{} {how}: at most {:.3} of what is allowed", case.name, all.largest);
    all.mistakes.into_iter().map(|mistake| format!("{} {how}: {mistake}", case.name)).collect()
}

/// The configurations of a pack: the case's, then others that differ in all that they may, with limits of their gradients, so
/// that all norms are measured.
fn in_company(config: TrainingConfig) -> Vec<TrainingConfig> {
    let is = |kind| config.optimiser.kind == kind;
    let kind = if is(OptimiserKind::Sgd) { OptimiserKind::AdamW } else { OptimiserKind::Sgd };
    let momentum = if is(OptimiserKind::Sgd) { 0.0 } else { 0.5 };
    let other = TrainingConfig {
        activation: if config.activation.as_str() == "relu" { "gelu" } else { "relu" }.parse().unwrap(),
        learning_rate: 1e-2,
        dropout: 0.5,
        optimiser: OptimiserSettings { kind, momentum, weight_decay: 0.2 },
        label_smoothing: 0.3,
        lr_schedule: LrSchedule::Step,
        gradient_clip_norm: 0.1,
        ..config.clone()
    };
    let near = TrainingConfig { learning_rate: 1e-4, gradient_clip_norm: 1e9, ..config.clone() };
    vec![config, other, near]
}

/// The configurations of packs in which nothing is clipped, smoothed, decayed or dropped: members that differ in what computes
/// their numbers all the same, and members that are computed alike.
fn in_plain_company(config: &TrainingConfig) -> [Vec<TrainingConfig>; 2] {
    let [_, other, _] = <[TrainingConfig; 3]>::try_from(in_company(config.clone())).unwrap();
    let other = TrainingConfig {
        dropout: 0.0,
        optimiser: OptimiserSettings { weight_decay: 0.0, ..other.optimiser },
        label_smoothing: 0.0,
        gradient_clip_norm: 0.0,
        ..other
    };
    let near = TrainingConfig { learning_rate: 1e-4, ..config.clone() };
    [vec![config.clone(), other, near.clone()], vec![config.clone(), near]]
}

#[test]
fn golden_options_are_those_of_packs_in_which_nothing_is_clipped_or_smoothed() {
    tch::set_num_threads(1);
    let mut mistakes = Vec::new();
    let mut plain = 0;
    for case in cases() {
        let config = case.config();
        let TrainingConfig { gradient_clip_norm, label_smoothing, dropout, optimiser, .. } = &config;
        if [*gradient_clip_norm, *label_smoothing, *dropout, optimiser.weight_decay] != [0.0; 4] {
            continue;
        }
        plain += 1;
        for (configs, how) in in_plain_company(&config).iter().zip(["plainly packed", "packed alike"]) {
            let found = train(&case, configs);
            assert_eq!(found.gradient_norms, [0.0; 0], "{}: no norm is computed", case.name);
            mistakes.extend(compare(&case, &found, how));
        }
    }
    assert!(plain >= 20, "only {plain} cases are plain");
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn golden_options_are_pytorchs() {
    tch::set_num_threads(1);
    let mut mistakes = Vec::new();
    for case in cases() {
        let config = case.config();
        let found = train(&case, std::slice::from_ref(&config));
        mistakes.extend(compare(&case, &found, "alone"));
        let steps = case.epochs * case.steps_per_epoch;
        let clips = config.gradient_clip_norm != 0.0;
        assert_eq!(found.gradient_norms.len(), if clips { steps } else { 0 }, "{}", case.name);
        if !clips {
            // A limit that no gradient reaches measures the norms and changes nothing.
            let limited = TrainingConfig { gradient_clip_norm: f64::INFINITY, ..config };
            let measured = train(&case, &[limited]);
            assert_eq!(measured.gradient_norms.len(), steps, "{}", case.name);
            mistakes.extend(compare(&case, &measured, "measured"));
            assert_eq!(Trajectory { gradient_norms: Vec::new(), ..measured }, found, "{}", case.name);
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn golden_options_are_those_of_packed_members() {
    tch::set_num_threads(1);
    let mut mistakes = Vec::new();
    for case in cases() {
        let found = train(&case, &in_company(case.config()));
        assert_eq!(found.gradient_norms.len(), case.epochs * case.steps_per_epoch, "{}", case.name);
        mistakes.extend(compare(&case, &found, "packed"));
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn golden_learning_rates_are_those_of_the_steps() {
    for case in cases() {
        let (rates, steps_per_epoch) = (case.config().learning_rates(), case.steps_per_epoch as u64);
        let found = (0..).map(|step| rates.at(step, steps_per_epoch));
        assert_eq!(case.learning_rates.len(), case.epochs * case.steps_per_epoch, "{}", case.name);
        for (found, expected) in found.zip(&case.learning_rates) {
            let difference = (found - expected).abs() / expected;
            assert!(difference < 1e-12, "{}: {found} is not {expected}", case.name);
        }
    }
}

#[test]
fn golden_weights_are_what_pytorch_draws_from_the_seed() {
    for case in cases() {
        let parameters = initial_parameters(case.seed.into(), &case.layers(&case.config())).unwrap();
        let mut all = Found::default();
        let found: Sums = parameters
            .named()
            .filter(|(one, _)| case.drawn_by_manual_seed_sum_and_abs_sum.contains_key(&one.name))
            .map(|(one, tensor)| (one.name.clone(), sums(tensor)))
            .collect();
        all.compare_sums(&found, &case.drawn_by_manual_seed_sum_and_abs_sum, &BTreeMap::new());
        assert!(all.mistakes.is_empty(), "{}: {:?}", case.name, all.mistakes);
    }
}

#[test]
fn dropout_changes_nothing_outside_training() {
    tch::set_num_threads(1);
    for case in cases().iter().filter(|case| case.epochs == 0) {
        let [with, without] = [0.5, 0.0].map(|dropout| {
            let config = TrainingConfig { dropout, ..case.config() };
            train(case, &[config])
        });
        assert_eq!(with, without, "{}", case.name);
    }
}
