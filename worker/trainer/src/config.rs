//! The parameters of a job, read from the map that the coordinator sends. Their names, ranges and defaults are in the
//! model's manifest. The coordinator has checked them with line and key; the trainer checks again, because it must not
//! train anything else than what was asked.

use std::{collections::HashMap, str::FromStr};

use serde::Deserialize;
use serde_json::{Map, Value};
use terms::{
    ParameterValue,
    manifest::{self, Manifest, ManifestParameter},
};

use super::{
    augmentation::Augmentation,
    layers::Architecture,
    model::{Activation, Precision},
    optimiser::{OptimiserKind, OptimiserSettings},
    schedule::{LearningRates, LrSchedule},
};

/// The model family that this trainer knows.
pub const MODEL: &str = "simple_cnn";

/// Parameters that every coordinator sends. All others were added later: an older coordinator leaves them out, and means
/// the default.
const FIRST_PARAMETERS: [&str; 5] = ["activation", "learning_rate", "batch_size", "epochs", "seed"];

/// SimpleCNN's manifest.
pub fn simple_cnn() -> &'static Manifest {
    manifest::builtin(MODEL).expect("the manifest of simple_cnn is compiled in")
}

/// The parameters, for messages.
fn names() -> String {
    let names: Vec<&str> = simple_cnn().parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    names.join(", ")
}

#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// The activation after each convolution and after fc1.
    pub activation: Activation,
    /// The learning rate, which the warm-up reaches and the schedule begins with; finite and positive.
    pub learning_rate: f64,
    /// Images in a training batch, at least 1; the last batch of an epoch may hold fewer.
    pub batch_size: i64,
    /// Passes over the training images, at least 1.
    pub epochs: u32,
    /// Seed of the initial weights, the batch orders, dropout and augmentation.
    pub seed: u64,
    /// The number format that layers compute with.
    pub precision: Precision,
    pub architecture: Architecture,
    /// Share of fc1's values that a training step drops, in [0, 1).
    pub dropout: f64,
    pub optimiser: OptimiserSettings,
    /// Share of the training loss that asks for all classes alike, in [0, 1].
    pub label_smoothing: f64,
    pub lr_schedule: LrSchedule,
    /// Epochs in which the learning rate rises; fewer than `epochs`.
    pub warmup_epochs: u32,
    /// Longest gradient of all parameters together; 0 for any.
    pub gradient_clip_norm: f64,
    pub augmentation: Augmentation,
}

/// The manifest's defaults: the report's model.
impl Default for TrainingConfig {
    fn default() -> Self {
        let defaults = simple_cnn().parameters.iter().filter_map(|parameter| {
            Some((parameter.name.clone(), serde_json::to_value(parameter.default.as_ref()?).ok()?))
        });
        Self::read(MODEL, &defaults.collect())
            .expect("each parameter of the manifest has a default that can be trained")
    }
}

/// Why a job cannot be trained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Another model.
    #[error("model \"{found}\" is not known to this trainer; it trains \"{MODEL}\"")]
    Model {
        /// What was asked for.
        found: String,
    },
    /// A parameter is missing.
    #[error("parameter `{name}` is missing; {MODEL} needs {}", names())]
    Missing { name: String },
    /// A parameter that the model does not have: training without it would answer another question.
    #[error("parameter `{name}` is not known to {MODEL}; it has {}", names())]
    Unknown { name: String },
    /// A parameter of the wrong type or out of its range.
    #[error("parameter {0}")]
    Value(String),
    /// Parameters that are right one by one.
    #[error("parameter {0}")]
    Together(String),
}

impl TrainingConfig {
    /// Whether both can train in one pack: their shapes, batches and initial weights are the same.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let shared = |config: &Self| {
            (config.batch_size, config.epochs, config.seed, config.precision, config.augmentation)
        };
        shared(self) == shared(other) && self.architecture == other.architecture
    }

    /// The learning rate of each step.
    pub fn learning_rates(&self) -> LearningRates {
        LearningRates {
            peak: self.learning_rate,
            schedule: self.lr_schedule,
            warmup_epochs: self.warmup_epochs,
            epochs: self.epochs,
        }
    }

    /// Reads a job's model and parameters.
    ///
    /// # Errors
    /// The first parameter that is missing, unknown, of the wrong type or out of range.
    pub fn read(model: &str, parameters: &Map<String, Value>) -> Result<Self, ConfigError> {
        if model != MODEL {
            return Err(ConfigError::Model { found: model.to_owned() });
        }
        let manifest = simple_cnn();
        if let Some(name) = parameters.keys().find(|name| manifest.parameter(name).is_none()) {
            return Err(ConfigError::Unknown { name: name.clone() });
        }
        let given = Given { manifest, parameters };
        given.check_together()?;
        Ok(Self {
            activation: given.read("activation", named)?,
            learning_rate: given.read("learning_rate", number)?,
            batch_size: given.read("batch_size", ParameterValue::whole)?,
            epochs: given.read("epochs", natural)?,
            seed: given.read("seed", natural)?,
            precision: given.read("precision", named)?,
            architecture: Architecture {
                channels: given.read("channels", numbers)?,
                hidden_units: given.read("hidden_units", ParameterValue::whole)?,
                batch_norm: given.read("batch_norm", |value| match value {
                    ParameterValue::Boolean(is_on) => Some(*is_on),
                    _ => None,
                })?,
            },
            dropout: given.read("dropout", number)?,
            optimiser: OptimiserSettings {
                kind: given.read("optimizer", |value| text(value).and_then(OptimiserKind::named))?,
                momentum: given.read("momentum", number)?,
                weight_decay: given.read("weight_decay", number)?,
            },
            label_smoothing: given.read("label_smoothing", number)?,
            lr_schedule: given.read("lr_schedule", |value| text(value).and_then(LrSchedule::named))?,
            warmup_epochs: given.read("warmup_epochs", natural)?,
            gradient_clip_norm: given.read("gradient_clip_norm", number)?,
            augmentation: given.read("augmentation", |value| text(value).and_then(Augmentation::named))?,
        })
    }
}

/// The parameters of a job, and their allowed values.
struct Given<'a> {
    manifest: &'a Manifest,
    parameters: &'a Map<String, Value>,
}

impl Given<'_> {
    /// Reads one of them, converted from a value that the manifest allows.
    fn read<Read>(
        &self,
        name: &'static str,
        convert: impl FnOnce(&ParameterValue) -> Option<Read>,
    ) -> Result<Read, ConfigError> {
        let parameter =
            self.manifest.parameter(name).ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })?;
        let value = self.value(parameter)?;
        convert(&value).ok_or_else(|| ConfigError::Value(parameter.refusal(&value.written())))
    }

    /// The value of a parameter, which the manifest allows.
    fn value(&self, parameter: &ManifestParameter) -> Result<ParameterValue, ConfigError> {
        let name = parameter.name.as_str();
        let wrong = |found: &Value| ConfigError::Value(parameter.refusal(&format!("`{found}`")));
        let value = match (self.parameters.get(name), &parameter.default) {
            (Some(value), _) => ParameterValue::deserialize(value).map_err(|_| wrong(value))?,
            (None, Some(default)) if !FIRST_PARAMETERS.contains(&name) => default.clone(),
            (None, _) => return Err(ConfigError::Missing { name: name.to_owned() }),
        };
        parameter.check(&value).map_err(ConfigError::Value)
    }

    /// Checks the values against each other.
    fn check_together(&self) -> Result<(), ConfigError> {
        let mut values = HashMap::new();
        for parameter in &self.manifest.parameters {
            values.insert(parameter.name.as_str(), self.value(parameter)?);
        }
        self.manifest.check_together(|name| values.get(name)).map_err(ConfigError::Together)
    }
}

/// Parses the name in a text value.
fn named<Read: FromStr>(value: &ParameterValue) -> Option<Read> {
    text(value)?.parse().ok()
}

fn text(value: &ParameterValue) -> Option<&str> {
    match value {
        ParameterValue::Text(text) => Some(text),
        _ => None,
    }
}

fn number(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Float(number) => Some(*number),
        _ => None,
    }
}

/// The numbers in a list.
fn numbers(value: &ParameterValue) -> Option<Vec<i64>> {
    match value {
        ParameterValue::Text(list) => manifest::listed(list),
        _ => None,
    }
}

fn natural<Read: TryFrom<i64>>(value: &ParameterValue) -> Option<Read> {
    value.whole().and_then(|number| Read::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use terms::manifest::{InPack, ParameterKind};

    use super::*;

    fn with(name: &str, value: Value) -> Map<String, Value> {
        let mut parameters = json!({
            "activation": "relu", "learning_rate": 0.0001, "batch_size": 32, "epochs": 5, "seed": 0
        });
        parameters[name] = value;
        parameters.as_object().unwrap().clone()
    }

    #[test]
    fn a_job_of_the_report_is_read() {
        let config = TrainingConfig::read("simple_cnn", &with("seed", json!(i64::MAX))).unwrap();
        let expected = TrainingConfig {
            activation: Activation::Relu,
            learning_rate: 0.0001,
            batch_size: 32,
            epochs: 5,
            seed: i64::MAX as u64,
            precision: Precision::Fp32,
            architecture: Architecture { channels: vec![16, 32], hidden_units: 128, batch_norm: false },
            dropout: 0.0,
            optimiser: OptimiserSettings { kind: OptimiserKind::Adam, momentum: 0.0, weight_decay: 0.0 },
            label_smoothing: 0.0,
            lr_schedule: LrSchedule::Constant,
            warmup_epochs: 0,
            gradient_clip_norm: 0.0,
            augmentation: Augmentation::None,
        };
        assert_eq!(config, expected);
        assert_eq!(config, TrainingConfig { seed: i64::MAX as u64, ..TrainingConfig::default() });
    }

    /// The values of the report's job, with another allowed value of one parameter.
    fn with_another(parameter: &ManifestParameter) -> TrainingConfig {
        let other = match &parameter.kind {
            ParameterKind::Choice(names) => json!(names.last()),
            ParameterKind::Float(_) => json!(0.125),
            ParameterKind::Boolean => json!(true),
            ParameterKind::Integers { .. } => json!("7, 5"),
            // Less than the epochs, where that must be.
            _ if parameter.below.is_some() => json!(2),
            _ => json!(7),
        };
        let mut parameters = with(&parameter.name, other);
        for (name, values) in &parameter.needs {
            parameters.insert(name.clone(), json!(values[0]));
        }
        TrainingConfig::read(MODEL, &parameters).unwrap()
    }

    #[test]
    fn every_parameter_of_the_manifest_is_read_and_jobs_agree_whatever_is_their_own_in_a_pack() {
        let report = TrainingConfig::read(MODEL, &with("seed", json!(0))).unwrap();
        for parameter in &simple_cnn().parameters {
            let other = with_another(parameter);
            assert_ne!(other, report, "{} is not read", parameter.name);
            let is_own = parameter.in_pack == InPack::Own;
            assert_eq!(report.agrees_with(&other), is_own, "{}", parameter.name);
        }
    }

    #[test]
    fn every_name_of_the_manifest_is_known_to_the_model() {
        for (parameter, name) in simple_cnn()
            .parameters
            .iter()
            .filter_map(|parameter| match &parameter.kind {
                ParameterKind::Choice(names) => Some(names.iter().map(|name| (parameter.name.clone(), name))),
                _ => None,
            })
            .flatten()
        {
            assert!(
                TrainingConfig::read(MODEL, &with(&parameter, json!(name))).is_ok(),
                "{parameter} {name}"
            );
        }
    }

    #[test]
    fn what_came_later_has_the_manifests_default_where_it_is_left_out() {
        let default = simple_cnn().parameter("precision").and_then(|precision| precision.default.clone());
        assert_eq!(default, Some(ParameterValue::Text("fp32".into())));
        let read = TrainingConfig::read(MODEL, &with("seed", json!(0))).unwrap();
        assert_eq!(read.precision, Precision::Fp32);
    }

    #[test]
    fn a_learning_rate_may_be_a_whole_number() {
        assert_eq!(
            TrainingConfig::read("simple_cnn", &with("learning_rate", json!(1))).unwrap().learning_rate,
            1.0
        );
    }

    #[test]
    #[allow(clippy::too_many_lines)] // A table.
    fn what_cannot_be_trained_is_refused_with_what_would_be_right() {
        let cases = [
            (
                "activation",
                json!("elu"),
                "parameter `activation` must be one of relu, sigmoid, tanh, gelu, leaky_relu, silu, but is `elu`",
            ),
            (
                "learning_rate",
                json!(0),
                "parameter `learning_rate` must be a number greater than 0 and at most 1000, but is `0`",
            ),
            (
                "learning_rate",
                json!(null),
                "parameter `learning_rate` must be a number greater than 0 and at most 1000, but is `null`",
            ),
            (
                "batch_size",
                json!(0),
                "parameter `batch_size` must be a whole number from 1 to 65536, but is `0`",
            ),
            (
                "batch_size",
                json!(1.5),
                "parameter `batch_size` must be a whole number from 1 to 65536, but is `1.5`",
            ),
            (
                "epochs",
                json!("5"),
                "parameter `epochs` must be a whole number from 1 to 10000, but is `\"5\"` (text)",
            ),
            ("epochs", json!([5]), "parameter `epochs` must be a whole number from 1 to 10000, but is `[5]`"),
            (
                "seed",
                json!(-1),
                "parameter `seed` must be a whole number from 0 to 9223372036854775807, but is `-1`",
            ),
            (
                "channels",
                json!("16,0"),
                "parameter `channels` must be a list of 1 to 10 whole numbers from 1 to 1024, such as [1, 1024], but is \
                 `16,0`",
            ),
            (
                "dropout",
                json!(1.0),
                "parameter `dropout` must be a number of at least 0 and at most 0.99, but is `1.0`",
            ),
            (
                "weight_decay",
                json!(-0.1),
                "parameter `weight_decay` must be a number of at least 0 and at most 1000, but is `-0.1`",
            ),
            (
                "gradient_clip_norm",
                json!(1e-46),
                "parameter `gradient_clip_norm` must be 0, or a number of at least 0.000001 and at most 1000000, but is `1e-46`",
            ),
            (
                "optimizer",
                json!("lion"),
                "parameter `optimizer` must be one of adam, adamw, sgd, but is `lion`",
            ),
            (
                "momentum",
                json!(0.9),
                "parameter `momentum` must be `0.0` unless `optimizer` is `sgd`, but is `0.9` where `optimizer` is `adam`",
            ),
            (
                "warmup_epochs",
                json!(5),
                "parameter `warmup_epochs` must be less than `epochs`, but is `5` where `epochs` is `5`",
            ),
        ];
        for (name, value, message) in cases {
            let error = TrainingConfig::read("simple_cnn", &with(name, value)).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn an_unknown_parameter_is_named_with_those_there_are() {
        let error = TrainingConfig::read(MODEL, &with("drop", json!(0.5))).unwrap_err().to_string();
        let expected = "parameter `drop` is not known to simple_cnn; it has activation, learning_rate,";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_missing_parameter_and_another_model_are_named() {
        let mut parameters = with("seed", json!(0));
        parameters.remove("epochs");
        let error = TrainingConfig::read("simple_cnn", &parameters).unwrap_err();
        assert_eq!(error, ConfigError::Missing { name: "epochs".into() });
        let error = TrainingConfig::read("resnet", &parameters).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model \"resnet\" is not known to this trainer; it trains \"simple_cnn\""
        );
    }
}
