//! W&B's `distribution`, as far as a grid supports it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{range::Scale, suggestion::suggestion};

/// Those whose `min` and `max` are exponents, which are refused, and what to write in their place. Other tools have names like
/// these for the values themselves.
const OF_EXPONENTS: [(&str, Distribution, &str); 3] = [
    ("log_uniform", Distribution::LogUniform, "log_uniform_values"),
    ("q_log_uniform", Distribution::QLogUniform, "q_log_uniform_values"),
    ("inv_log_uniform", Distribution::InvLogUniform, "inv_log_uniform_values"),
];

/// How W&B says that values are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distribution {
    Constant,
    Categorical,
    IntUniform,
    QUniform,
    Uniform,
    LogUniformValues,
    QLogUniformValues,
    CategoricalWProbabilities,
    LogUniform,
    QLogUniform,
    InvLogUniform,
    InvLogUniformValues,
    Normal,
    QNormal,
    LogNormal,
    QLogNormal,
    Beta,
    QBeta,
}

/// The names of those that are read.
const NAMED: [(&str, Distribution); 15] = [
    ("constant", Distribution::Constant),
    ("categorical", Distribution::Categorical),
    ("int_uniform", Distribution::IntUniform),
    ("q_uniform", Distribution::QUniform),
    ("uniform", Distribution::Uniform),
    ("log_uniform_values", Distribution::LogUniformValues),
    ("q_log_uniform_values", Distribution::QLogUniformValues),
    ("categorical_w_probabilities", Distribution::CategoricalWProbabilities),
    ("inv_log_uniform_values", Distribution::InvLogUniformValues),
    ("normal", Distribution::Normal),
    ("q_normal", Distribution::QNormal),
    ("log_normal", Distribution::LogNormal),
    ("q_log_normal", Distribution::QLogNormal),
    ("beta", Distribution::Beta),
    ("q_beta", Distribution::QBeta),
];

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DistributionName)
    }
}

struct DistributionName;

impl Visitor<'_> for DistributionName {
    type Value = Distribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a distribution, such as `uniform` or `log_uniform_values`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Distribution, E> {
        let named = NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, distribution)| distribution);
        let of_exponents = OF_EXPONENTS.into_iter().find(|(known, ..)| *known == name);
        named
            .or(of_exponents.map(|(_, distribution, _)| distribution))
            .ok_or_else(|| E::custom(unknown(name)))
    }
}

/// What to say of a name that is none. One like a refused name gets the name that is read in its place.
fn unknown(name: &str) -> String {
    let known = NAMED.map(|(known, _)| known);
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let alike = OF_EXPONENTS.into_iter().find(|(refused, ..)| plain(refused) == plain(name));
    let hint = match alike {
        Some((.., values)) => format!("; did you mean `{values}`?"),
        None => suggestion(name, known),
    };
    format!(
        "unknown distribution `{name}`, expected one of {}{hint}",
        known.map(|known| format!("`{known}`")).join(", ")
    )
}

impl Distribution {
    /// What to write in place of one whose `min` and `max` are exponents.
    pub(super) fn of_values(self) -> Option<&'static str> {
        OF_EXPONENTS.into_iter().find(|(_, refused, _)| *refused == self).map(|(.., values)| values)
    }

    /// The scale of the values where the file says nothing else.
    pub(super) fn scale(self) -> Option<Scale> {
        (self == Self::LogUniformValues).then_some(Scale::Log)
    }

    /// Whether a grid supports it for the parameter `name`.
    pub(super) fn check(
        self,
        name: &str,
        is_list: bool,
        has_count: bool,
        has_step: bool,
    ) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("the `distribution` of `{name}` {what}"));
        match self {
            Self::Constant | Self::Categorical if is_list => Ok(()),
            Self::Constant | Self::Categorical => {
                wrong("is for `value` and `values`; a range has another one")
            }
            _ if is_list => wrong("is for a range; leave it out next to `value` and `values`"),
            Self::IntUniform => Ok(()),
            Self::QUniform if has_step => Ok(()),
            Self::QUniform => wrong("is q_uniform, which needs `q`, the distance between two values"),
            Self::Uniform | Self::LogUniformValues if has_count => Ok(()),
            Self::Uniform => wrong(
                "is uniform, whose values are drawn, which `method: grid` does not do; add `count: N` for N values, evenly \
                 from `min` to `max`",
            ),
            Self::LogUniformValues => wrong(
                "is log_uniform_values, whose values are drawn, which `method: grid` does not do; add `count: N` for N \
                 values, by equal ratios from `min` to `max`",
            ),
            Self::LogUniform | Self::QLogUniform | Self::InvLogUniform => wrong(
                "takes exponents for `min` and `max`; write the values themselves, with `distribution: log_uniform_values` and \
                 `count: N`",
            ),
            _ => wrong(
                "draws values, which `method: grid` does not do; write `values`, or `min`, `max`, `count` and `scale: \
                 linear|log`",
            ),
        }
    }
}
