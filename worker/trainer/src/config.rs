//! The parameters of a job, read from the map that the coordinator sends. The coordinator has validated them
//! with line and key; this is the trainer's own check, for nothing may be trained other than what was asked.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::model::{Activation, Precision};

/// The model family that this trainer knows.
pub const MODEL: &str = "simple_cnn";

/// The parameters, as they are listed in messages.
const PARAMETERS: &str = "activation, learning_rate, batch_size, epochs, seed and precision";

/// What to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// The activation at all three places of the model.
    pub activation: Activation,
    /// Adam's learning rate; finite and positive.
    pub learning_rate: f64,
    /// Images a training batch, at least 1; the last batch of an epoch may hold fewer.
    pub batch_size: i64,
    /// Passes over the training images, at least 1.
    pub epochs: u32,
    /// Seed of the initial weights and the batch orders.
    pub seed: u64,
    /// The numbers that layers compute with.
    pub precision: Precision,
}

/// Why a job cannot be trained as it is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Another model.
    #[error("model \"{found}\" is not known to this trainer; it trains \"{MODEL}\"")]
    Model {
        /// What was asked for.
        found: String,
    },
    /// A parameter is not there.
    #[error("parameter `{name}` is missing; {MODEL} needs {PARAMETERS}")]
    Missing {
        /// The parameter.
        name: &'static str,
    },
    /// A parameter that the model does not have: training without it would answer another question.
    #[error("parameter `{name}` is not known to {MODEL}; it has {PARAMETERS}")]
    Unknown {
        /// The parameter.
        name: String,
    },
    /// A parameter of the wrong type or out of its range.
    #[error("parameter `{name}` must be {expected}, but is {found}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was found, as JSON.
        found: String,
    },
}

impl TrainingConfig {
    /// Whether both can train in one pack: their shapes, batches and initial weights are the same.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let shared = |config: &Self| (config.batch_size, config.epochs, config.seed, config.precision);
        shared(self) == shared(other)
    }

    /// Reads a job's model and parameters.
    ///
    /// # Errors
    /// The first parameter that is missing, unknown, of the wrong type or out of range.
    pub fn read(model: &str, parameters: &Map<String, Value>) -> Result<Self, ConfigError> {
        if model != MODEL {
            return Err(ConfigError::Model { found: model.to_owned() });
        }
        let known = ["activation", "learning_rate", "batch_size", "epochs", "seed", "precision"];
        if let Some(name) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(ConfigError::Unknown { name: name.clone() });
        }
        Ok(Self {
            activation: read(parameters, "activation", "\"relu\" or \"sigmoid\"", |value| {
                value.as_str().and_then(|name| Activation::from_str(name).ok())
            })?,
            learning_rate: read(parameters, "learning_rate", "a finite number above 0", |value| {
                value.as_f64().filter(|rate| rate.is_finite() && *rate > 0.0)
            })?,
            // 32 bits: more than any memory holds, and sums of them stay within 64 bits.
            batch_size: read(parameters, "batch_size", "a whole number from 1 to 4294967295", |value| {
                positive(value).map(i64::from)
            })?,
            epochs: read(parameters, "epochs", "a whole number from 1 to 4294967295", positive)?,
            seed: read(parameters, "seed", "a whole number from 0 to 18446744073709551615", Value::as_u64)?,
            // PyTorch's default, for a coordinator that does not know of it.
            precision: match parameters.get("precision") {
                None => Precision::Fp32,
                Some(_) => read(parameters, "precision", "\"fp32\" or \"bf16\"", |value| {
                    value.as_str().and_then(|name| Precision::from_str(name).ok())
                })?,
            },
        })
    }
}

fn positive(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

fn read<Read>(
    parameters: &Map<String, Value>,
    name: &'static str,
    expected: &'static str,
    convert: impl FnOnce(&Value) -> Option<Read>,
) -> Result<Read, ConfigError> {
    let value = parameters.get(name).ok_or(ConfigError::Missing { name })?;
    convert(value).ok_or_else(|| ConfigError::Value { name, expected, found: value.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let config = TrainingConfig::read("simple_cnn", &with("seed", json!(u64::MAX))).unwrap();
        let expected = TrainingConfig {
            activation: Activation::Relu,
            learning_rate: 0.0001,
            batch_size: 32,
            epochs: 5,
            seed: u64::MAX,
            precision: Precision::Fp32,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn jobs_agree_whatever_their_activations_and_learning_rates() {
        let read = |name, value| TrainingConfig::read("simple_cnn", &with(name, value)).unwrap();
        let report = read("seed", json!(0));
        let alike =
            [("activation", json!("sigmoid")), ("learning_rate", json!(0.1)), ("precision", json!("fp32"))];
        for (name, value) in alike {
            assert!(report.agrees_with(&read(name, value)), "{name}");
        }
        let unlike = [
            ("batch_size", json!(64)),
            ("epochs", json!(6)),
            ("seed", json!(1)),
            ("precision", json!("bf16")),
        ];
        for (name, value) in unlike {
            assert!(!report.agrees_with(&read(name, value)), "{name}");
        }
    }

    #[test]
    fn a_learning_rate_may_be_a_whole_number() {
        assert_eq!(
            TrainingConfig::read("simple_cnn", &with("learning_rate", json!(1))).unwrap().learning_rate,
            1.0
        );
    }

    #[test]
    fn what_cannot_be_trained_is_refused_with_what_would_be_right() {
        let cases = [
            (
                "activation",
                json!("tanh"),
                "parameter `activation` must be \"relu\" or \"sigmoid\", but is \"tanh\"",
            ),
            (
                "learning_rate",
                json!(0),
                "parameter `learning_rate` must be a finite number above 0, but is 0",
            ),
            (
                "learning_rate",
                json!(null),
                "parameter `learning_rate` must be a finite number above 0, but is null",
            ),
            (
                "batch_size",
                json!(0),
                "parameter `batch_size` must be a whole number from 1 to 4294967295, but is 0",
            ),
            (
                "batch_size",
                json!(1.5),
                "parameter `batch_size` must be a whole number from 1 to 4294967295, but is 1.5",
            ),
            (
                "epochs",
                json!("5"),
                "parameter `epochs` must be a whole number from 1 to 4294967295, but is \"5\"",
            ),
            (
                "seed",
                json!(-1),
                "parameter `seed` must be a whole number from 0 to 18446744073709551615, but is -1",
            ),
            (
                "dropout",
                json!(0.5),
                "parameter `dropout` is not known to simple_cnn; it has activation, learning_rate, batch_size, epochs, \
                 seed and precision",
            ),
        ];
        for (name, value, message) in cases {
            let error = TrainingConfig::read("simple_cnn", &with(name, value)).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_missing_parameter_and_another_model_are_named() {
        let mut parameters = with("seed", json!(0));
        parameters.remove("epochs");
        let error = TrainingConfig::read("simple_cnn", &parameters).unwrap_err();
        assert_eq!(error, ConfigError::Missing { name: "epochs" });
        let error = TrainingConfig::read("resnet", &parameters).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model \"resnet\" is not known to this trainer; it trains \"simple_cnn\""
        );
    }
}
