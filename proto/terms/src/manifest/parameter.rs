//! A parameter of a trainable: its type, its range, and checking a value against them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ParameterValue;

/// Most names that a choice may list: messages print them.
const CHOICES_MAX: usize = 1_000;
/// Most numbers of a list: it is written in one column of a table.
const LENGTH_MAX: usize = 100;

/// One parameter of a trainable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Row", into = "Row")]
pub struct ManifestParameter {
    /// Name in sweep files and report columns.
    pub name: String,
    /// Type and range.
    pub kind: ParameterKind,
    /// Value where a sweep file gives none; absent where it must give one.
    pub default: Option<ParameterValue>,
    /// How its values are best spaced.
    pub scale: Scale,
    /// What it means for packs.
    pub in_pack: InPack,
    /// Where it may differ from its default: the values that other parameters must have there.
    pub needs: BTreeMap<String, Vec<ParameterValue>>,
    /// The parameter than whose value it must be less.
    pub below: Option<String>,
    /// What it does, for people.
    pub meaning: String,
}

/// Type and range of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterKind {
    /// One of these names.
    Choice(Vec<String>),
    /// A finite number in a range.
    Float(FloatRange),
    /// A whole number from `min` to `max`.
    Integer {
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
    },
    /// A list of whole numbers. As a value it is text, such as `16,32`.
    Integers {
        /// Smallest number allowed.
        min: i64,
        /// Largest number allowed.
        max: i64,
        /// Most numbers of a list, which has at least one.
        length_max: usize,
    },
    /// True or false.
    Boolean,
    /// Any text.
    Text,
    /// Any value, kept as the sweep file has it.
    Any,
}

/// Which finite numbers are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FloatRange {
    /// The number must be greater than this.
    pub above: Option<f64>,
    /// The number must be at least this.
    pub min: Option<f64>,
    /// The number must be at most this.
    pub max: Option<f64>,
    /// The number outside of the range that is allowed as well, as it switches off what the parameter does.
    pub off: Option<f64>,
}

/// How the values of a parameter are best spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By equal ratios.
    Log,
}

/// What a parameter means where several jobs are trained at the same time as one model, a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InPack {
    /// Each job of a pack may have its own value.
    Own,
    /// All jobs of a pack have the same value.
    #[default]
    Shared,
    /// As `Shared`, and how large a pack pays depends on the value.
    Shape,
}

impl ManifestParameter {
    /// `value` in the parameter's own type (a whole number is a fine learning rate), or what would be right.
    ///
    /// # Errors
    /// The value is of another type or out of the range.
    pub fn check(&self, value: &ParameterValue) -> Result<ParameterValue, String> {
        self.kind.accept(value).ok_or_else(|| self.refusal(&value.written()))
    }

    /// The message about a wrong value.
    pub fn refusal(&self, found: &str) -> String {
        format!("`{}` must be {}, but is {found}", self.name, self.kind.range())
    }

    /// Whether its range and default make sense.
    pub(super) fn check_itself(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("the parameter `{}` {what}", self.name));
        match &self.kind {
            ParameterKind::Choice(names) if names.is_empty() || names.len() > CHOICES_MAX => {
                return wrong(&format!("must have 1 to {CHOICES_MAX} `values`"));
            }
            ParameterKind::Integer { min, max } if min > max => {
                return wrong("has its `min` above its `max`");
            }
            ParameterKind::Integers { min, max, length_max }
                if min > max || !(1..=LENGTH_MAX).contains(length_max) =>
            {
                return wrong(&format!(
                    "must have its `min` below its `max` and a `length_max` of 1 to {LENGTH_MAX}"
                ));
            }
            ParameterKind::Float(range) if !range.is_sound() => {
                return wrong("has no number between `min` or `above` and `max`");
            }
            ParameterKind::Float(range) if range.off.is_some_and(|off| range.is_within(off)) => {
                return wrong("has an `off` that its range has, too");
            }
            _ => {}
        }
        match &self.default {
            Some(default) if self.kind.accept(default).as_ref() != Some(default) => {
                Err(format!("the default of a parameter is wrong: {}", self.refusal(&default.written())))
            }
            _ => Ok(()),
        }
    }
}

impl ParameterKind {
    /// `value` in the parameter's own type; none where it is not allowed.
    fn accept(&self, value: &ParameterValue) -> Option<ParameterValue> {
        match (self, value) {
            (Self::Any, ParameterValue::Float(number)) if !number.is_finite() => None,
            (Self::Any, _)
            | (Self::Text, ParameterValue::Text(_))
            | (Self::Boolean, ParameterValue::Boolean(_)) => Some(value.clone()),
            (Self::Choice(names), ParameterValue::Text(text)) => names.contains(text).then(|| value.clone()),
            (Self::Integers { min, max, length_max }, ParameterValue::Text(text)) => {
                let numbers = listed(text).filter(|numbers| numbers.len() <= *length_max)?;
                let fit = numbers.iter().all(|number| (min..=max).contains(&number));
                fit.then(|| ParameterValue::Text(written_list(&numbers)))
            }
            (Self::Float(range), _) => {
                let number = as_float(value).filter(|number| range.contains(*number))?;
                Some(ParameterValue::Float(number))
            }
            (Self::Integer { min, max }, ParameterValue::Integer(_) | ParameterValue::Float(_)) => {
                value.whole().filter(|number| (min..=max).contains(&number)).map(ParameterValue::Integer)
            }
            _ => None,
        }
    }

    /// The allowed values, for people.
    pub fn range(&self) -> String {
        match self {
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Float(range) => range.words(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Integers { min, max, length_max } => format!(
                "a list of 1 to {length_max} whole numbers from {min} to {max}, such as [{min}, {max}]"
            ),
            Self::Boolean => "true or false".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Any => "a finite number, true, false, null or text".to_owned(),
        }
    }
}

/// The whole numbers of a list that is written as text, such as `16,32`; none where it is something else.
pub fn listed(text: &str) -> Option<Vec<i64>> {
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

/// A list of whole numbers as the value of a parameter.
pub fn written_list(numbers: &[i64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// W&B users write 1e-3, which some YAML writers quote.
fn as_float(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Float(number) => Some(*number),
        #[allow(clippy::cast_precision_loss)]
        ParameterValue::Integer(number) => Some(*number as f64),
        ParameterValue::Text(text) => text.parse().ok(),
        ParameterValue::Boolean(_) | ParameterValue::Null => None,
    }
}

impl FloatRange {
    fn contains(&self, number: f64) -> bool {
        self.off == Some(number) || self.is_within(number)
    }

    /// Whether a number is allowed and does not switch off what the parameter does.
    pub fn is_within(&self, number: f64) -> bool {
        number.is_finite()
            && self.above.is_none_or(|above| number > above)
            && self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
    }

    fn is_sound(&self) -> bool {
        let finite = [self.above, self.min, self.max, self.off].into_iter().flatten().all(f64::is_finite);
        let max = self.max.unwrap_or(f64::INFINITY);
        finite
            && self.above.is_none_or(|above| above < max)
            && self.min.is_none_or(|min| min <= max)
            && !(self.above.is_some() && self.min.is_some())
    }

    fn words(&self) -> String {
        let low = match (self.above, self.min) {
            (Some(above), _) => Some(format!("greater than {above}")),
            (None, Some(min)) => Some(format!("of at least {min}")),
            (None, None) => None,
        };
        let within = match (low, self.max) {
            (None, None) => "a finite number".to_owned(),
            (Some(low), None) => format!("a number {low}"),
            (None, Some(max)) => format!("a number of at most {max}"),
            (Some(low), Some(max)) => format!("a number {low} and at most {max}"),
        };
        self.off.map_or_else(|| within.clone(), |off| format!("{off}, or {within}"))
    }
}

/// A parameter as it is written: one object, whose keys depend on its `type`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    r#type: Type,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    off: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<serde_json::Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<serde_json::Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length_max: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    default: Option<ParameterValue>,
    #[serde(default, skip_serializing_if = "is_default")]
    scale: Scale,
    #[serde(default, skip_serializing_if = "is_default")]
    in_pack: InPack,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    needs: BTreeMap<String, Vec<ParameterValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<String>,
    #[serde(default)]
    meaning: String,
}

/// Keeps a key whose value is `null`, which counts as present.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<ParameterValue>, D::Error> {
    ParameterValue::deserialize(deserializer).map(Some)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    Choice,
    Float,
    Integer,
    Integers,
    Boolean,
    Text,
    Any,
}

impl TryFrom<Row> for ManifestParameter {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let Row { name, r#type, values, off, above, min, max, length_max, default, .. } = row;
        let Row { scale, in_pack, needs, below, meaning, .. } = row;
        let refuse = |what: &str| Err(format!("the parameter `{name}` {what}"));
        if values.is_some() != (r#type == Type::Choice) {
            return refuse("must list `values` if and only if its type is `choice`");
        }
        if (above.is_some() || off.is_some()) && r#type != Type::Float {
            return refuse("may have `above` and `off` only where its type is `float`");
        }
        let is_bounded = matches!(r#type, Type::Float | Type::Integer | Type::Integers);
        if (min.is_some() || max.is_some()) && !is_bounded {
            return refuse(
                "may have `min` and `max` only where its type is `float`, `integer` or `integers`",
            );
        }
        if length_max.is_some() != (r#type == Type::Integers) {
            return refuse("must have a `length_max` if and only if its type is `integers`");
        }
        let kind = match r#type {
            Type::Choice => ParameterKind::Choice(values.unwrap_or_default()),
            Type::Float => {
                let number = |number: Option<serde_json::Number>| number.and_then(|number| number.as_f64());
                ParameterKind::Float(FloatRange { above, min: number(min), max: number(max), off })
            }
            Type::Integer | Type::Integers => {
                let bound = |number: Option<serde_json::Number>, open: i64| match number {
                    None => Some(open),
                    Some(number) => number.as_i64(),
                };
                match (bound(min, i64::MIN), bound(max, i64::MAX), length_max) {
                    (Some(min), Some(max), None) => ParameterKind::Integer { min, max },
                    (Some(min), Some(max), Some(length_max)) => {
                        ParameterKind::Integers { min, max, length_max }
                    }
                    _ => return refuse("must have whole numbers of 64 bits for `min` and `max`"),
                }
            }
            Type::Boolean => ParameterKind::Boolean,
            Type::Text => ParameterKind::Text,
            Type::Any => ParameterKind::Any,
        };
        // JSON knows one kind of number: 1 is a fine default of a float.
        let default = default.map(|value| kind.accept(&value).unwrap_or(value));
        Ok(Self { name, kind, default, scale, in_pack, needs, below, meaning })
    }
}

impl From<ManifestParameter> for Row {
    fn from(parameter: ManifestParameter) -> Self {
        let ManifestParameter { name, kind, default, scale, in_pack, needs, below, meaning } = parameter;
        let (mut values, mut off, mut above, mut min, mut max) = (None, None, None, None, None);
        let mut length_max = None;
        let r#type = match kind {
            ParameterKind::Choice(names) => {
                values = Some(names);
                Type::Choice
            }
            ParameterKind::Float(range) => {
                (off, above) = (range.off, range.above);
                min = range.min.and_then(serde_json::Number::from_f64);
                max = range.max.and_then(serde_json::Number::from_f64);
                Type::Float
            }
            ParameterKind::Integer { min: low, max: high } => {
                min = Some(low.into());
                max = Some(high.into());
                Type::Integer
            }
            ParameterKind::Integers { min: low, max: high, length_max: most } => {
                (min, max, length_max) = (Some(low.into()), Some(high.into()), Some(most));
                Type::Integers
            }
            ParameterKind::Boolean => Type::Boolean,
            ParameterKind::Text => Type::Text,
            ParameterKind::Any => Type::Any,
        };
        Self {
            name,
            r#type,
            values,
            off,
            above,
            min,
            max,
            length_max,
            default,
            scale,
            in_pack,
            needs,
            below,
            meaning,
        }
    }
}
