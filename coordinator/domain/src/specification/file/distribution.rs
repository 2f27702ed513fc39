//! W&B's `distribution`, as far as a grid supports it.

use serde::Deserialize;

use super::range::Scale;

/// How W&B says that values are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
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

impl Distribution {
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
                "takes exponents for `min` and `max`; write the values themselves, with `scale: log` and `count: N`",
            ),
            _ => wrong(
                "draws values, which `method: grid` does not do; write `values`, or `min`, `max`, `count` and `scale: \
                 linear|log`",
            ),
        }
    }
}
