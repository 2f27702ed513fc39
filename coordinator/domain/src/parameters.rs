//! The parameters of each model: the one table that validation, report columns and help texts come from.
//! Adding a parameter means adding a row here, and its use in the trainer.

use std::fmt::Write as _;

use terms::{
    Goal, ParameterValue,
    manifest::{self, Manifest},
};

/// A model family that workers can train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// The two-convolution network of the report.
    SimpleCnn,
}

impl Model {
    /// Every model.
    pub const ALL: &'static [Self] = &[Self::SimpleCnn];

    /// The model's name in sweep files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SimpleCnn => "simple_cnn",
        }
    }

    /// The model called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|model| model.name() == name)
    }

    /// Which way is better of a metric of the model.
    pub fn goal(self, metric: &str) -> Option<Goal> {
        Some(manifest::builtin(self.name())?.metric(metric)?.goal)
    }

    /// The metric that ranks the model's jobs where a sweep file names none.
    pub fn objective(self) -> &'static str {
        manifest::builtin(self.name()).map_or("", |manifest| &manifest.objective)
    }

    /// What the model says of itself, as JSON.
    pub fn manifest(self) -> String {
        manifest::builtin(self.name()).map(Manifest::to_json).unwrap_or_default()
    }

    /// The model's parameters, in the order of report columns.
    pub fn parameters(self) -> &'static [ParameterDefinition] {
        match self {
            Self::SimpleCnn => SIMPLE_CNN,
        }
    }

    /// The definition of the parameter `name`.
    pub fn parameter(self, name: &str) -> Option<&'static ParameterDefinition> {
        self.parameters().iter().find(|definition| definition.name == name)
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct ParameterDefinition {
    /// Name in sweep files and report columns.
    pub name: &'static str,
    /// Type and range.
    pub kind: ParameterKind,
    /// Value where a sweep file says nothing.
    pub default: DefaultValue,
    /// What it means for packs.
    pub in_pack: InPack,
    /// What it does, for people.
    pub meaning: &'static str,
}

/// What a parameter means where several jobs are trained at the same time as one model, a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPack {
    /// Each job of a pack may have its own value.
    Own,
    /// All jobs of a pack have the same value.
    Shared,
    /// As `Shared`, and how large a pack pays depends on the value.
    Shape,
}

/// Type and range of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParameterKind {
    /// One of these names.
    Choice(&'static [&'static str]),
    /// A finite number greater than 0 and at most `at_most`.
    PositiveFloat {
        /// Largest value allowed.
        at_most: f64,
    },
    /// A whole number from `min` to `max`.
    Integer {
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
    },
}

/// A default that a constant table can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// A name.
    Text(&'static str),
    /// A number.
    Float(f64),
    /// A whole number.
    Integer(i64),
}

/// The report's parameters; epochs are bounded so that a job's epochs fit in memory many times over.
const SIMPLE_CNN: &[ParameterDefinition] = &[
    ParameterDefinition {
        name: "activation",
        kind: ParameterKind::Choice(&["relu", "sigmoid"]),
        default: DefaultValue::Text("relu"),
        in_pack: InPack::Own,
        meaning: "activation function after both convolutions and the first linear layer",
    },
    ParameterDefinition {
        name: "learning_rate",
        kind: ParameterKind::PositiveFloat { at_most: 1000.0 },
        default: DefaultValue::Float(0.0001),
        in_pack: InPack::Own,
        meaning: "step size of Adam",
    },
    ParameterDefinition {
        name: "batch_size",
        kind: ParameterKind::Integer { min: 1, max: 65_536 },
        default: DefaultValue::Integer(32),
        in_pack: InPack::Shape,
        meaning: "images a training step; the last batch of an epoch may be smaller",
    },
    ParameterDefinition {
        name: "epochs",
        kind: ParameterKind::Integer { min: 1, max: 10_000 },
        default: DefaultValue::Integer(5),
        in_pack: InPack::Shared,
        meaning: "passes over the training images",
    },
    ParameterDefinition {
        name: "seed",
        kind: ParameterKind::Integer { min: 0, max: i64::MAX },
        default: DefaultValue::Integer(0),
        in_pack: InPack::Shared,
        meaning: "seed of the initial weights and of the order of batches",
    },
    ParameterDefinition {
        name: "precision",
        kind: ParameterKind::Choice(&["fp32", "bf16"]),
        default: DefaultValue::Text("fp32"),
        in_pack: InPack::Shape,
        meaning: "numbers within the layers; parameters, gradients, Adam and loss are float32 with either",
    },
];

impl ParameterDefinition {
    /// The default as a value.
    pub fn default_value(&self) -> ParameterValue {
        match self.default {
            DefaultValue::Text(text) => ParameterValue::Text(text.to_owned()),
            DefaultValue::Float(number) => ParameterValue::Float(number),
            DefaultValue::Integer(number) => ParameterValue::Integer(number),
        }
    }

    /// `value` in the parameter's own type (a whole number is a fine learning rate), or what would be right.
    pub fn check(&self, value: ParameterValue) -> Result<ParameterValue, String> {
        let expected = || self.refusal(&written(&value));
        match (self.kind, &value) {
            (ParameterKind::Choice(names), ParameterValue::Text(text)) if names.contains(&text.as_str()) => {
                Ok(value)
            }
            (ParameterKind::PositiveFloat { at_most }, ParameterValue::Float(number)) => {
                if *number > 0.0 && *number <= at_most { Ok(value) } else { Err(expected()) }
            }
            #[allow(clippy::cast_precision_loss)]
            (ParameterKind::PositiveFloat { .. }, ParameterValue::Integer(number)) => {
                self.check(ParameterValue::Float(*number as f64)).map_err(|_| expected())
            }
            // W&B users write 1e-3, which some YAML writers quote.
            (ParameterKind::PositiveFloat { .. }, ParameterValue::Text(text)) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => self.check(ParameterValue::Float(number)),
                _ => Err(expected()),
            },
            (ParameterKind::Integer { min, max }, ParameterValue::Integer(_) | ParameterValue::Float(_)) => {
                let number = whole(&value).filter(|number| (min..=max).contains(number));
                number.map(ParameterValue::Integer).ok_or_else(expected)
            }
            _ => Err(expected()),
        }
    }

    /// What is said of a value that is wrong.
    pub fn refusal(&self, found: &str) -> String {
        format!("`{}` must be {}, but is {found}", self.name, self.kind.range())
    }
}

/// A whole number, also one that is written as a decimal one, such as `32.0` or `1e2`. Beyond 2^53 a decimal one may be
/// another than was written, so it is none.
pub fn whole(value: &ParameterValue) -> Option<i64> {
    value.whole()
}

/// A value as it is written in a file, with what tells it from another that looks like it.
pub fn written(value: &ParameterValue) -> String {
    value.written()
}

impl ParameterKind {
    /// The allowed values, for people.
    pub fn range(&self) -> String {
        match self {
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::PositiveFloat { at_most } => format!("a number greater than 0 and at most {at_most}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
        }
    }
}

/// The table as text, for `--help`.
pub fn help() -> String {
    let mut text = String::new();
    for model in Model::ALL {
        let _ = writeln!(text, "Parameters of {}:", model.name());
        for definition in model.parameters() {
            let _ = writeln!(
                text,
                "  {:<14} {}; {}; default {}",
                definition.name,
                definition.meaning,
                definition.kind.range(),
                definition.default_value()
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: ParameterValue) -> Result<ParameterValue, String> {
        Model::SimpleCnn.parameter(name).unwrap().check(value)
    }

    #[test]
    fn every_default_is_allowed() {
        for model in Model::ALL {
            for definition in model.parameters() {
                definition.check(definition.default_value()).unwrap();
            }
        }
    }

    #[test]
    fn a_whole_number_is_a_fine_learning_rate() {
        assert_eq!(check("learning_rate", ParameterValue::Integer(1)), Ok(ParameterValue::Float(1.0)));
        assert_eq!(
            check("learning_rate", ParameterValue::Text("1e-3".into())),
            Ok(ParameterValue::Float(0.001))
        );
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_decimal_one() {
        for (written, number) in [(32.0, 32), (1e2, 100)] {
            assert_eq!(
                check("batch_size", ParameterValue::Float(written)),
                Ok(ParameterValue::Integer(number))
            );
        }
        let exact = ParameterValue::Float(9_007_199_254_740_992.0);
        assert_eq!(check("seed", exact), Ok(ParameterValue::Integer(1 << 53)));
    }

    #[test]
    fn values_out_of_range_are_told_what_would_be_right() {
        for (name, value, expected) in [
            ("activation", ParameterValue::Text("tanhh".into()), "one of relu, sigmoid"),
            ("learning_rate", ParameterValue::Float(0.0), "greater than 0"),
            ("learning_rate", ParameterValue::Float(f64::NAN), "greater than 0"),
            ("learning_rate", ParameterValue::Float(f64::INFINITY), "greater than 0"),
            ("learning_rate", ParameterValue::Text("fast".into()), "greater than 0"),
            ("batch_size", ParameterValue::Integer(0), "from 1 to 65536"),
            ("batch_size", ParameterValue::Float(32.5), "a whole number"),
            ("seed", ParameterValue::Integer(-1), "from 0 to 9223372036854775807, but is `-1`"),
            ("batch_size", ParameterValue::Text("32".into()), "but is `\"32\"` (text)"),
            ("batch_size", ParameterValue::Float(65_537.0), "but is `65537.0`"),
            ("seed", ParameterValue::Float(1e16), "but is `1e16`"),
        ] {
            let error = check(name, value).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
