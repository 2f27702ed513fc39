//! `sweep-trainer evaluate`: how good weights are on a data set. The arithmetic is that of a job's validation, batch by
//! batch, so that the job's own validation images give the job's own accuracy, to the bit.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::json;
use tch::{Kind, Reduction, TchError, Tensor};
use trainer_protocol::{DatasetSpec, DatasetSummary};

use super::{
    device::{self, DeviceChoice},
    model::{Pass, SimpleCnn},
    pack::{count_correct, evaluation_batch},
    set_up_process,
    training::{Flow, IGNORED_CLASS},
    training_data::{DatasetLoader, TrainingData},
    weights::{self, Facts},
};

/// Images of the data set to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Every image
    All,
    /// The images that the job was trained on, if the data set is the job's
    Train,
    /// The images that the job was validated on, if the data set is the job's
    Validation,
}

/// Arguments of `sweep-trainer evaluate`.
#[derive(Debug, Clone, clap::Args)]
pub struct EvaluateOptions {
    /// Weights, as `sweep run` and `sweep artifact get` write them
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Image folder, flat folder, .zip of either, or packed .safetensors
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    /// Which of its images; the split is that of the job
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,
    /// Folder or .zip with the validation set, as `dataset.val_path` in the sweep file
    #[arg(long, value_name = "PATH")]
    val_path: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads on the CPU; with 1, as a job has by default, the numbers are the job's to the bit
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Where packed data sets are kept
    #[arg(long, env = "SWEEP_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Leave out pictures that cannot be decoded
    #[arg(long)]
    skip_corrupt: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// The results.
#[derive(Debug, PartialEq)]
struct Evaluation {
    classes: Vec<String>,
    correct: i64,
    /// Sum of the images' cross-entropies, in nats.
    loss_sum: f64,
    /// Images by true class and predicted class.
    confusion: Vec<Vec<i64>>,
    /// Images by true class whose logits are not all numbers: they count as wrong, and for no other class.
    no_answer: Vec<i64>,
}

impl Evaluation {
    fn images(&self) -> i64 {
        self.confusion.iter().flatten().chain(&self.no_answer).sum()
    }

    /// Share of the images classified correctly, computed as a job's `val_accuracy`.
    fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images() as f64
    }

    fn loss(&self) -> f64 {
        self.loss_sum / self.images() as f64
    }

    /// The number of images of a class, and the share of them classified correctly; none if there are none.
    fn of_class(&self, class: usize) -> (i64, Option<f64>) {
        let images: i64 = self.confusion[class].iter().sum::<i64>() + self.no_answer[class];
        (images, (images > 0).then(|| self.confusion[class][class] as f64 / images as f64))
    }
}

/// Evaluates weights on a data set and prints the results.
///
/// Must be called once, on the main thread, before any other use of libtorch.
///
/// # Errors
/// Weights or a data set that cannot be read, classes that differ, standard output that is closed.
pub fn evaluate(options: &EvaluateOptions) -> anyhow::Result<()> {
    let device = device::open(options.device)?;
    set_up_process(usize::from(options.threads))?;
    let (facts, model) = weights::load(&options.weights, device)?;
    let cache_dir = options.cache_dir.clone().unwrap_or_else(dataset::default_cache_dir);
    let mut loader = DatasetLoader::new(device, cache_dir, options.skip_corrupt);
    let dataset = DatasetSpec {
        path: options.dataset.clone(),
        image_size: facts.image_size,
        // All images are used anyway; with 0.5, even two images can be split.
        val_fraction: if options.part == Part::All { 0.5 } else { facts.val_fraction },
        split_seed: facts.split_seed,
        val_path: options.val_path.clone(),
    };
    let data = loader.load(&dataset, &mut |_| Flow::Continue)?;
    let found = data.summary();
    notes(found).iter().for_each(|note| terminal::say!("{note}"));
    if options.part != Part::All && found.content_hash != facts.content_hash {
        anyhow::bail!(
            "{} is not the data set of the job (content {}, not {}), so it is not known which of its images the job was \
             trained on; use --part all",
            options.dataset.display(),
            found.content_hash,
            facts.content_hash
        );
    }
    let images = match options.part {
        Part::All => Tensor::f_arange((found.train_images + found.val_images) as i64, (Kind::Int64, device))?,
        Part::Train => data.train().f_to_device(device)?,
        Part::Validation => data.validation().shallow_clone(),
    };
    let evaluation = look_at(&model, &facts, &data, &images)?;
    let text = if options.json { json_text(&evaluation) } else { table(&evaluation) };
    Ok(terminal::output::print(&text)?)
}

/// What is left out of the data set, and where its separate validation set is from.
fn notes(found: &DatasetSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if !found.validation.is_empty() {
        let (count, from) = (found.val_images, &found.validation);
        notes.push(format!("data set: {count} of the images are the validation set, from {from}"));
    }
    if found.skipped_count > 0 {
        notes.push(format!("left out because they cannot be decoded: {} pictures", found.skipped_count));
    }
    notes.extend(found.left_out.iter().map(|one| format!("left out: {}", one.words())));
    notes
}

/// The data set's classes as labels of the model, which may have more.
fn labels(facts: &Facts, found: &[String]) -> anyhow::Result<Vec<i64>> {
    let label = |class: &String| {
        let place = facts.classes.iter().position(|known| known == class);
        place.map(|place| place as i64).ok_or_else(|| {
            anyhow::anyhow!(
                "the data set has the class {class:?}, which the weights do not know; theirs are {}",
                facts.classes.join(", ")
            )
        })
    };
    found.iter().map(label).collect()
}

fn look_at(
    model: &SimpleCnn,
    facts: &Facts,
    data: &TrainingData,
    images: &Tensor,
) -> anyhow::Result<Evaluation> {
    let labels =
        Tensor::f_from_slice(&labels(facts, &data.summary().classes)?)?.f_to_device(data.device())?;
    let _no_gradients = tch::no_grad_guard();
    let (count, classes) = (images.numel() as i64, facts.classes.len());
    let batch_size = evaluation_batch(data.image_size(), count);
    let mut evaluation = Evaluation {
        classes: facts.classes.clone(),
        correct: 0,
        loss_sum: 0.0,
        confusion: vec![vec![0; classes]; classes],
        no_answer: vec![0; classes],
    };
    let mut done = 0;
    while done < count {
        let size = batch_size.min(count - done);
        let (inputs, own) = data.batch(&images.f_narrow(0, done, size)?)?;
        let truth = labels.f_index_select(0, &own)?;
        let logits = model.forward(&inputs, Pass::Evaluation)?;
        add(&mut evaluation, &logits, &truth)?;
        done += size;
    }
    Ok(evaluation)
}

fn add(evaluation: &mut Evaluation, logits: &Tensor, truth: &Tensor) -> Result<(), TchError> {
    evaluation.correct += i64::try_from(count_correct(logits, truth)?)?;
    let losses = logits.f_cross_entropy_loss(truth, None::<&Tensor>, Reduction::Sum, IGNORED_CLASS, 0.0)?;
    evaluation.loss_sum += f64::try_from(losses.f_to_kind(Kind::Double)?)?;
    let predicted = Vec::<i64>::try_from(logits.f_argmax(-1, false)?)?;
    let said = Vec::<bool>::try_from(logits.f_isfinite()?.f_all_dim(-1, false)?)?;
    for ((truth, predicted), said) in Vec::<i64>::try_from(truth)?.into_iter().zip(predicted).zip(said) {
        match said {
            true => evaluation.confusion[truth as usize][predicted as usize] += 1,
            false => evaluation.no_answer[truth as usize] += 1,
        }
    }
    Ok(())
}

fn json_text(evaluation: &Evaluation) -> String {
    let class = |(index, name): (usize, &String)| {
        let (images, accuracy) = evaluation.of_class(index);
        json!({"class": name, "images": images, "accuracy": accuracy})
    };
    let value = json!({
        "images": evaluation.images(),
        "accuracy": evaluation.accuracy(),
        "loss": evaluation.loss(),
        "classes": evaluation.classes.iter().enumerate().map(class).collect::<Vec<_>>(),
        "confusion": evaluation.confusion,
        "no_answer": evaluation.no_answer,
    });
    format!("{value:#}\n")
}

fn table(evaluation: &Evaluation) -> String {
    let names = &evaluation.classes;
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(8);
    let mut text = format!(
        "images    {}\naccuracy  {}\nloss      {}\n\n{:width$}  {:>8}  {:>8}\n",
        evaluation.images(),
        evaluation.accuracy(),
        evaluation.loss(),
        "class",
        "images",
        "accuracy"
    );
    for (class, name) in names.iter().enumerate() {
        let (images, accuracy) = evaluation.of_class(class);
        let accuracy = accuracy.map_or_else(String::new, |accuracy| format!("{accuracy:.4}"));
        let _ = writeln!(text, "{name:width$}  {images:>8}  {accuracy:>8}");
    }
    text.push_str("\nconfusion matrix: a row is the true class, a column the predicted one\n");
    let _ = write!(text, "{:width$}", "");
    for name in names {
        let _ = write!(text, "  {name:>width$}");
    }
    text.push('\n');
    for (name, row) in names.iter().zip(&evaluation.confusion) {
        let _ = write!(text, "{name:width$}");
        for count in row {
            let _ = write!(text, "  {count:>width$}");
        }
        text.push('\n');
    }
    let silent: i64 = evaluation.no_answer.iter().sum();
    if silent > 0 {
        let _ = writeln!(text, "\n{silent} images have no answer, because their logits are not numbers");
    }
    text
}

#[cfg(test)]
mod tests {
    use trainer_protocol::LeftOut;

    use super::*;
    use crate::{
        config::TrainingConfig,
        epoch::{EpochEnd, Training, tests::easy_data},
        layers::Architecture,
        model::{Activation, Precision},
        training::Flow,
    };

    fn facts(precision: Precision) -> Facts {
        Facts {
            classes: vec!["dark".into(), "light".into()],
            image_size: 16,
            architecture: Architecture::default(),
            activation: Activation::Relu,
            precision,
            val_fraction: 0.25,
            split_seed: 0,
            content_hash: String::new(),
            parameters: "{}".into(),
            metrics: "{}".into(),
            job: "1/1#1".into(),
        }
    }

    #[test]
    fn the_validation_images_give_the_jobs_own_accuracy_to_the_bit() {
        let data = easy_data(40);
        for more in [
            json!({"precision": "fp32"}),
            json!({"precision": "bf16"}),
            json!({"batch_norm": true, "dropout": 0.5, "channels": "4,8,8", "activation": "gelu"}),
            json!({"batch_norm": true, "precision": "bf16", "hidden_units": 24}),
        ] {
            let parameters = json!({"activation": "relu", "learning_rate": 0.001, "batch_size": 7, "epochs": 3, "seed": 1});
            let mut parameters = parameters.as_object().unwrap().clone();
            parameters.extend(more.as_object().unwrap().clone());
            let config = TrainingConfig::read("simple_cnn", &parameters).unwrap();
            let mut training = Training::new(&config, &data).unwrap();
            while !training.is_done() {
                assert!(matches!(training.run_epoch(&mut |_| Flow::Continue), Ok(EpochEnd::Done(_))));
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.safetensors");
            let (architecture, activation) = (config.architecture.clone(), config.activation);
            let mut facts = Facts { architecture, activation, ..facts(config.precision) };
            facts.classes.clone_from(&data.summary().classes);
            weights::write(&path, &facts, &training.snapshot().unwrap().parameters).unwrap();
            let (facts, model) = weights::load(&path, tch::Device::Cpu).unwrap();
            let evaluation = look_at(&model, &facts, &data, data.validation()).unwrap();
            let expected = training.records().last().unwrap().val_accuracy;
            assert_eq!(evaluation.accuracy().to_bits(), expected.to_bits());
            assert_eq!(evaluation.images(), data.validation().numel() as i64);
            let right: i64 = (0..2).map(|class| evaluation.confusion[class][class]).sum();
            assert_eq!(right, evaluation.correct);
            assert!(evaluation.loss() > 0.0 && evaluation.loss().is_finite());
        }
    }

    #[test]
    fn images_without_an_answer_are_wrong_and_of_no_class() {
        let mut evaluation = Evaluation {
            classes: vec!["cat".into(), "dog".into()],
            correct: 0,
            loss_sum: 0.0,
            confusion: vec![vec![0; 2]; 2],
            no_answer: vec![0; 2],
        };
        let logits = Tensor::from_slice(&[f32::NAN, 0.0, 2.0, 1.0, f32::INFINITY, 0.0]).view([3, 2]);
        add(&mut evaluation, &logits, &Tensor::from_slice(&[0_i64, 0, 1])).unwrap();
        assert_eq!((evaluation.images(), evaluation.correct, evaluation.accuracy()), (3, 1, 1.0 / 3.0));
        assert_eq!(evaluation.confusion, [[1, 0], [0, 0]]);
        assert_eq!((evaluation.of_class(0), evaluation.of_class(1)), ((2, Some(0.5)), (1, Some(0.0))));
        assert!(table(&evaluation).contains("2 images have no answer"));
    }

    #[test]
    fn what_is_left_out_and_where_the_validation_set_is_from_is_said() {
        let gifs =
            LeftOut { reason: "other_format".into(), detail: ".gif".into(), count: 2, examples: Vec::new() };
        let found = DatasetSummary {
            skipped_count: 3,
            val_images: 7,
            validation: "val".into(),
            left_out: vec![gifs],
            ..DatasetSummary::default()
        };
        let expected = [
            "data set: 7 of the images are the validation set, from val",
            "left out because they cannot be decoded: 3 pictures",
            "left out: 2 .gif files, which are not read",
        ];
        assert!(
            notes(&found).iter().map(String::as_str).zip(expected).all(|(one, other)| one.starts_with(other))
        );
        assert_eq!(notes(&found).len(), 3);
        assert!(notes(&DatasetSummary::default()).is_empty());
    }

    #[test]
    fn classes_are_matched_by_name_and_others_are_refused() {
        let facts = facts(Precision::Fp32);
        assert_eq!(labels(&facts, &["light".into()]).unwrap(), [1]);
        let error = labels(&facts, &["grey".into()]).unwrap_err().to_string();
        assert!(error.contains("grey") && error.contains("dark, light"), "{error}");
    }

    #[test]
    fn the_tables_say_what_is_right_and_what_is_taken_for_what() {
        let evaluation = Evaluation {
            classes: vec!["cat".into(), "dog".into()],
            correct: 7,
            loss_sum: 5.0,
            confusion: vec![vec![3, 1], vec![2, 4]],
            no_answer: vec![0, 0],
        };
        let text = table(&evaluation);
        assert!(!text.contains("no answer"), "{text}");
        for part in ["images    10\naccuracy  0.7\nloss      0.5\n", "cat              4    0.7500"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(json_text(&evaluation).matches("accuracy").count(), 3);
    }
}
