//! W&B's distributions: the values of a parameter in a search whose points are drawn.

use terms::{
    ParameterValue,
    manifest::{ManifestParameter, ParameterKind},
};

use super::{distribution::Distribution, range::Scale};
use crate::space::Domain;

/// Largest parameter of a beta distribution: above it all values are the same to four digits.
const BETA_MAX: f64 = 1e6;
/// How far from their mean, in standard deviations, the most extreme values are that 52 random bits choose: 8.2.
const DEVIATIONS_MAX: f64 = 9.0;
/// By how much the sum of probabilities may differ from 1: W&B's users write 0.33 three times and mean thirds.
const PROBABILITIES_OFF_MAX: f64 = 0.011;

/// The numbers that shape a distribution.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) mean: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) a: Option<f64>,
    pub(super) b: Option<f64>,
    pub(super) probabilities: Option<Vec<f64>>,
}

/// What a file says of a range.
pub(super) struct Range {
    pub(super) distribution: Option<Distribution>,
    pub(super) scale: Option<Scale>,
    pub(super) ends: (Option<ParameterValue>, Option<ParameterValue>),
    pub(super) step: Option<ParameterValue>,
}

impl Shape {
    /// A list of values, perhaps with a probability for each.
    pub(super) fn of_values(
        &self,
        name: &str,
        distribution: Option<Distribution>,
        values: Vec<ParameterValue>,
    ) -> Result<Domain, String> {
        use Distribution::{Categorical, CategoricalWProbabilities, Constant};
        if !matches!(distribution, None | Some(Constant | Categorical | CategoricalWProbabilities)) {
            return Err(format!(
                "the `distribution` of `{name}` is for a range; leave it out next to `value` and `values`"
            ));
        }
        self.only(name, "a list of values", &["probabilities"])?;
        let Some(probabilities) = &self.probabilities else { return Ok(Domain::Values(values)) };
        if probabilities.len() != values.len() {
            return Err(format!(
                "`{name}` has {} `probabilities` for {} different values; give one for each, and each value once",
                probabilities.len(),
                values.len()
            ));
        }
        let sum: f64 = probabilities.iter().sum();
        let are_shares = probabilities.iter().all(|share| *share > 0.0 && *share <= 1.0);
        if !are_shares || (sum - 1.0).abs() > PROBABILITIES_OFF_MAX {
            return Err(format!(
                "the `probabilities` of `{name}` must be above 0 and have the sum 1; leave values out that are never drawn"
            ));
        }
        if values.len() == 1 {
            return Ok(Domain::Values(values));
        }
        // What was stored has been divided already, and keeps its bits.
        let divisor = if (sum - 1.0).abs() < 1e-12 { 1.0 } else { sum };
        Ok(Domain::Weighted(values, probabilities.iter().map(|share| share / divisor).collect()))
    }

    /// Checks a range of which evenly spaced values are taken, from which the search draws.
    pub(super) fn of_count(&self, name: &str, distribution: Option<Distribution>) -> Result<(), String> {
        use Distribution::{IntUniform, LogUniformValues, QUniform, Uniform};
        match distribution {
            None | Some(IntUniform | QUniform | Uniform | LogUniformValues) => {
                self.only(name, "a range with `count`", &[])
            }
            Some(_) => {
                Err(format!("`count` of `{name}` is for a range; leave it out next to this `distribution`"))
            }
        }
    }

    /// Numbers that are drawn, within what the parameter may be.
    pub(super) fn drawn(&self, parameter: &ManifestParameter, range: Range) -> Result<Domain, String> {
        use Distribution as D;
        let name = &parameter.name;
        let wrong = |what: &str| Err(format!("the `distribution` of `{name}` {what}"));
        match range.distribution {
            Some(D::Constant | D::Categorical | D::CategoricalWProbabilities) => {
                wrong("is for `value` and `values`; a range has another one")
            }
            Some(refused @ (D::LogUniform | D::QLogUniform | D::InvLogUniform)) => {
                wrong(&exponents(refused.of_values().unwrap_or("log_uniform_values")))
            }
            Some(D::Normal | D::QNormal | D::LogNormal | D::QLogNormal) => self.normal(parameter, range),
            Some(D::Beta | D::QBeta) => self.beta(parameter, range),
            None if self.mean.is_some() || self.deviation.is_some() => Err(format!(
                "`{name}` needs a `distribution` for `mu` and `sigma`, such as `normal` or `log_normal`"
            )),
            _ => {
                self.only(name, "a range", &[])?;
                let domain = uniform(parameter, &range)?;
                check_gap(parameter, &domain).map(|()| domain)
            }
        }
    }

    fn normal(&self, parameter: &ManifestParameter, range: Range) -> Result<Domain, String> {
        let name = &parameter.name;
        self.only(name, "a normal distribution", &["mu", "sigma"])?;
        let (is_stepped, is_log) = match range.distribution {
            Some(Distribution::QNormal) => (true, false),
            Some(Distribution::LogNormal) => (false, true),
            Some(Distribution::QLogNormal) => (true, true),
            _ => (false, false),
        };
        let step = without_range(name, range, is_stepped)?;
        let (mean, deviation) = (self.mean.unwrap_or(0.0), self.deviation.unwrap_or(1.0));
        let far = mean.abs() + DEVIATIONS_MAX * deviation;
        let is_finite = if is_log { libm::exp(far).is_finite() } else { far.is_finite() };
        if !(deviation > 0.0 && is_finite) {
            return Err(format!(
                "`{name}` needs a `sigma` above 0, and a `mu` and a `sigma` whose values are finite numbers"
            ));
        }
        let ends = if is_log { [f64::MIN_POSITIVE, f64::MAX] } else { [f64::MIN, f64::MAX] };
        check_ends(parameter, &ends.map(ParameterValue::Float))?;
        Ok(Domain::Normal { mean, deviation, is_log, step })
    }

    fn beta(&self, parameter: &ManifestParameter, range: Range) -> Result<Domain, String> {
        let name = &parameter.name;
        self.only(name, "a beta distribution", &["a", "b"])?;
        let is_stepped = range.distribution == Some(Distribution::QBeta);
        let step = without_range(name, range, is_stepped)?;
        let fits = |number: Option<f64>| number.filter(|number| *number > 0.0 && *number <= BETA_MAX);
        let (Some(a), Some(b)) = (fits(self.a), fits(self.b)) else {
            return Err(format!("`{name}` needs `a` and `b`, each above 0 and at most 1000000"));
        };
        let ends = match &step {
            Some(ParameterValue::Integer(_)) => [ParameterValue::Integer(0), ParameterValue::Integer(1)],
            Some(_) => [0.0, 1.0].map(ParameterValue::Float),
            None => [f64::MIN_POSITIVE, 1.0].map(ParameterValue::Float),
        };
        check_ends(parameter, &ends)?;
        Ok(Domain::Beta { a, b, step })
    }

    /// Refuses the numbers of other distributions.
    fn only(&self, name: &str, what: &str, allowed: &[&str]) -> Result<(), String> {
        let said = [
            ("mu", self.mean.is_some()),
            ("sigma", self.deviation.is_some()),
            ("a", self.a.is_some()),
            ("b", self.b.is_some()),
            ("probabilities", self.probabilities.is_some()),
        ];
        match said.into_iter().find(|(key, is_said)| *is_said && !allowed.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(format!("`{key}` of `{name}` has no meaning for {what}; remove it")),
        }
    }
}

fn exponents(values: &str) -> String {
    format!("takes exponents for `min` and `max`; write the values themselves, and `distribution: {values}`")
}

/// The step of a distribution that has no `min` and `max`: W&B's is 1 where the file says none.
fn without_range(name: &str, range: Range, is_stepped: bool) -> Result<Option<ParameterValue>, String> {
    let (min, max) = range.ends;
    if min.is_some() || max.is_some() || range.scale.is_some() {
        return Err(format!("`{name}` has a distribution without `min`, `max` and `scale`; remove them"));
    }
    match range.step {
        Some(_) if !is_stepped => Err(format!(
            "`q` of `{name}` is for distributions whose names begin with `q_`; write such a one, or remove `q`"
        )),
        None if is_stepped => Ok(Some(ParameterValue::Integer(1))),
        step => Ok(step),
    }
}

fn check_ends(parameter: &ManifestParameter, ends: &[ParameterValue]) -> Result<(), String> {
    let fits = parameter.kind == ParameterKind::Any
        || ends.iter().all(|end| parameter.check(end).as_ref() == Ok(end));
    if fits {
        return Ok(());
    }
    Err(format!(
        "`{}` must be {}, and this `distribution` draws other numbers, too; take one with `min` and `max`",
        parameter.name,
        parameter.kind.range()
    ))
}

/// Refuses a range from the number that switches a parameter off to its others, where those between them may be drawn.
fn check_gap(parameter: &ManifestParameter, domain: &Domain) -> Result<(), String> {
    let (ParameterKind::Float(range), Domain::Float { low, high, step, .. }) = (&parameter.kind, domain)
    else {
        return Ok(());
    };
    let Some(off) = range.off.filter(|off| (*low..=*high).contains(off)) else { return Ok(()) };
    let next = |place: Option<u64>| place.and_then(|place| number(&domain.at(place)));
    let next = match domain.cells().filter(|_| step.is_some()) {
        None => None,
        Some(_) if *low == off => next(Some(1)),
        Some(cells) => next(cells.checked_sub(2)),
    };
    if next.is_some_and(|number| range.is_within(number)) {
        return Ok(());
    }
    Err(format!(
        "`{}` must be {}, and a range that includes {off} has other numbers, too; leave {off} out of it, or list the values",
        parameter.name,
        parameter.kind.range()
    ))
}

/// Numbers of a range, evenly or on the logarithmic scale.
fn uniform(parameter: &ManifestParameter, range: &Range) -> Result<Domain, String> {
    let name = &parameter.name;
    let is_log = is_log(name, range)?;
    let (Some(min), Some(max)) = &range.ends else {
        return Err(format!("`{name}` needs `value`, `values`, or both `min` and `max`"));
    };
    let (Some(low), Some(high)) = (number(min), number(max)) else {
        return Err(format!("`{name}` has no range: it is {}", parameter.kind.range()));
    };
    let whole = match (min, max) {
        (ParameterValue::Integer(low), ParameterValue::Integer(high)) => Some((*low, *high)),
        _ => None,
    };
    if whole.map_or(low > high, |(low, high)| low > high) {
        return Err(format!("`{name}` has its `min` {min} above its `max` {max}"));
    }
    if is_log && low <= 0.0 {
        return Err(format!("`{name}` needs a `min` above 0 for a logarithmic scale, but has {min}"));
    }
    if min == max {
        return Ok(Domain::Values(vec![min.clone()]));
    }
    let step = step(name, range)?;
    let domain = match (whole, range.distribution, &step) {
        (Some((low, high)), None | Some(Distribution::IntUniform), None) => {
            Domain::Integer { low, high, is_log, step: 1 }
        }
        (Some((low, high)), _, Some(ParameterValue::Integer(step))) => {
            Domain::Integer { low, high, is_log, step: *step }
        }
        (_, Some(Distribution::IntUniform), _) => {
            return Err(format!("int_uniform of `{name}` needs whole numbers for `min`, `max` and `q`"));
        }
        _ => Domain::Float { low, high, is_log, step: step.as_ref().and_then(number) },
    };
    if matches!(parameter.kind, ParameterKind::Integer { .. }) && !matches!(domain, Domain::Integer { .. }) {
        return Err(format!(
            "`{name}` is {}; take int_uniform, or q_uniform or q_log_uniform_values with a whole `q`",
            parameter.kind.range()
        ));
    }
    if domain.cells() == Some(1) {
        let step = step.unwrap_or(ParameterValue::Integer(1));
        return Err(one_value(name, &step, (min, max), &domain.first()));
    }
    Ok(domain)
}

/// Why a range with steps that are too large is refused: who writes it means several values.
pub(super) fn one_value(
    name: &str,
    step: &ParameterValue,
    (min, max): (&ParameterValue, &ParameterValue),
    only: &ParameterValue,
) -> String {
    format!(
        "`{name}` has one value, {only}, as steps of {step} (`q`) are longer than the range from {min} to {max}; write a smaller \
         `q`, or `value: {only}`"
    )
}

fn is_log(name: &str, range: &Range) -> Result<bool, String> {
    use Distribution::{InvLogUniformValues, LogUniformValues, QLogUniformValues};
    let by_name = range.distribution.map(|distribution| {
        matches!(distribution, LogUniformValues | QLogUniformValues | InvLogUniformValues)
    });
    let by_scale = range.scale.map(|scale| matches!(scale, Scale::Log));
    match (by_name, by_scale) {
        (Some(by_name), Some(by_scale)) if by_name != by_scale => {
            Err(format!("`scale` and `distribution` of `{name}` contradict each other; leave `scale` out"))
        }
        (by_name, by_scale) => Ok(by_name.or(by_scale).unwrap_or(false)),
    }
}

/// The distance of two values, where they have one: W&B's is 1 where the file says none.
fn step(name: &str, range: &Range) -> Result<Option<ParameterValue>, String> {
    use Distribution::{IntUniform, QLogUniformValues, QUniform};
    match (range.distribution, &range.step) {
        (Some(QUniform | QLogUniformValues), None) => Ok(Some(ParameterValue::Integer(1))),
        (None | Some(QUniform | QLogUniformValues | IntUniform), step) => Ok(step.clone()),
        (_, None) => Ok(None),
        (_, Some(_)) => Err(format!(
            "`q` of `{name}` is for distributions whose names begin with `q_`; write such a one, or remove `q`"
        )),
    }
}

fn number(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Integer(number) => Some(*number as f64),
        ParameterValue::Float(number) => Some(*number),
        _ => None,
    }
}
