//! The metrics of a program, which come in one of three ways: [`channel`] (JSON lines on a socket), [`pattern`] (a regular
//! expression over what it prints) and [`table`] (a CSV file that grows). [`tally`] makes epochs of them.

pub(crate) mod channel;
pub(crate) mod pattern;
pub(crate) mod table;
pub(crate) mod tally;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most metrics of one report: those of a sweep.
pub(crate) const METRICS_MAX: usize = 100;

/// Longest name of a metric, in characters.
pub(crate) const NAME_CHARACTERS_MAX: usize = 100;

/// What a program said at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// Its number of the epoch or step; absent where reports just count on.
    pub(crate) number: Option<f64>,
    /// Whether the number was counted here, in place of one that the program gave.
    pub(crate) is_counted: bool,
    /// The values by name: at least one.
    pub(crate) metrics: Metrics,
}

/// Values by name.
pub(crate) type Metrics = BTreeMap<String, Number>;

/// A value that JSON has no number for is written as a text: `nan`, `inf`, `-inf`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) struct Number(pub(crate) f64);

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Special(Special),
}

#[derive(Deserialize, Serialize)]
enum Special {
    #[serde(rename = "nan", alias = "NaN", alias = "-nan")]
    Nan,
    #[serde(rename = "inf", alias = "Infinity", alias = "+inf")]
    Infinity,
    #[serde(rename = "-inf", alias = "-Infinity")]
    NegativeInfinity,
}

impl From<Written> for Number {
    fn from(written: Written) -> Self {
        Self(match written {
            Written::Number(value) => value,
            Written::Special(Special::Nan) => f64::NAN,
            Written::Special(Special::Infinity) => f64::INFINITY,
            Written::Special(Special::NegativeInfinity) => f64::NEG_INFINITY,
        })
    }
}

impl From<Number> for Written {
    fn from(Number(value): Number) -> Self {
        match value {
            value if value.is_nan() => Self::Special(Special::Nan),
            f64::INFINITY => Self::Special(Special::Infinity),
            f64::NEG_INFINITY => Self::Special(Special::NegativeInfinity),
            value => Self::Number(value),
        }
    }
}

/// Why a report is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("it has no metrics; report at least one, such as loss=0.5")]
    Empty,
    #[error("it has {0} metrics; at most {METRICS_MAX} are kept")]
    TooMany(usize),
    #[error(
        "the metric {0:?} has no name that can be used: 1 to {NAME_CHARACTERS_MAX} characters, none of them a control character"
    )]
    Name(String),
    #[error("its epoch is not a finite number")]
    Epoch,
}

impl Report {
    /// # Errors
    /// Names, their number or the epoch's number cannot be used.
    pub(crate) fn new(number: Option<f64>, metrics: Metrics) -> Result<Self, ReportError> {
        if metrics.is_empty() {
            return Err(ReportError::Empty);
        }
        if metrics.len() > METRICS_MAX {
            return Err(ReportError::TooMany(metrics.len()));
        }
        if let Some(name) = metrics.keys().find(|name| !is_name(name)) {
            return Err(ReportError::Name(name.chars().take(NAME_CHARACTERS_MAX).collect()));
        }
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(ReportError::Epoch);
        }
        Ok(Self { number, is_counted: number.is_none(), metrics })
    }

    /// The same with a number that was counted here.
    pub(crate) fn counted(self) -> Self {
        Self { is_counted: true, ..self }
    }
}

/// Whether a metric may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// A number as programs print it: Rust's grammar knows `nan` and `inf` in any case; a sign of percent or a comma behind it
/// belongs to the sentence.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().trim_end_matches([',', ';', '%', ')', ']', '|']).trim_end_matches('.').parse().ok()
}
