//! Points whose values are right one by one and wrong together, by the rules of the model. A parameter that needs a value of another
//! has no value elsewhere; a sweep with a point that still breaks a rule is refused.

use terms::{
    ParameterValue,
    manifest::{Manifest, ManifestParameter, ParameterKind},
};

use super::build::Problem;
use crate::space::{Axis, Conditions, Domain, PartialPoint, Requirement, completed, written_condition};

/// Most values of a range that are looked at one by one; of a larger range, its ends.
const VALUES_MAX: u64 = 1_000;
/// Most pairs of values of two parameters that are compared: with exclusions some milliseconds.
const PAIRS_MAX: usize = 1_000_000;
/// Texts that YAML reads as something else.
const YAML_WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Two parameters that a rule names, with their values.
#[derive(Clone, Copy)]
struct Pair<'a> {
    parameter: &'a ManifestParameter,
    own: &'a Axis,
    other: &'a Axis,
}

/// Values of a pair that are wrong together, and why.
struct Misfit {
    own: ParameterValue,
    other: ParameterValue,
    message: String,
}

/// Gives each parameter that needs values of another, and whose sweep has others as well, the condition that the other has them:
/// who sweeps `momentum` next to `optimizer` means it for the optimisers that have one. Points that differ in nothing else are
/// one point then. What the file says itself stays, and so does a sweep without such points.
pub(super) fn imply_conditions(
    model: &Manifest,
    axes: &mut [Axis],
    exclude: &[PartialPoint],
    notes: &mut Vec<String>,
) -> Result<(), Problem> {
    for parameter in model.parameters.iter().filter(|parameter| !parameter.needs.is_empty()) {
        let mut implied = Vec::new();
        for (other, values) in &parameter.needs {
            let Some(pair) = Pair::of(parameter, axes, other) else { continue };
            let is_said = pair.own.when.iter().any(|said| *said.name == **other);
            let can_hold = pair.other.domain.cells().is_some()
                && values.iter().any(|value| pair.other.domain.position(value).is_some());
            if can_hold && !is_said && pair.misfit(exclude)?.is_some() {
                implied.push(Requirement { name: other.as_str().into(), values: values.clone() });
            }
        }
        let Some(own) = axes.iter_mut().find(|axis| *axis.name == *parameter.name) else { continue };
        if !implied.is_empty() {
            notes.push(format!(
                "`{}` has a value only where {}, as it has no effect elsewhere; points that differ in nothing else are one",
                own.name,
                written_condition(&implied)
            ));
            own.when.extend(implied);
        }
    }
    Ok(())
}

/// Refuses a space with points that the model's rules do not allow.
pub(super) fn check_together(
    model: &Manifest,
    axes: &[Axis],
    exclude: &[PartialPoint],
    include: &[PartialPoint],
) -> Result<(), Problem> {
    for parameter in &model.parameters {
        for other in parameter.partners() {
            let Some(pair) = Pair::of(parameter, axes, other) else { continue };
            if let Some(misfit) = pair.misfit(exclude)? {
                let message = format!("{}; {}", misfit.message, pair.cure(&misfit));
                return Err(Problem::of_parameter(&pair.own.name, message));
            }
        }
    }
    // The axes have passed this check already.
    let conditions = Conditions::new(axes).unwrap_or_default();
    for (position, point) in include.iter().enumerate() {
        let values = completed(axes, &conditions, point);
        let value = |name: &str| values[axes.iter().position(|axis| *axis.name == *name)?].as_ref();
        if let Err(message) = model.check_together(value) {
            return Err(Problem::of("include", format!("entry {}: {message}", position + 1)));
        }
    }
    Ok(())
}

impl<'a> Pair<'a> {
    fn of(parameter: &'a ManifestParameter, axes: &'a [Axis], other: &str) -> Option<Self> {
        let axis = |name: &str| axes.iter().find(|axis| *axis.name == *name);
        Some(Self { parameter, own: axis(&parameter.name)?, other: axis(other)? })
    }

    /// The first values that are wrong together, unless their points are excluded or the parameter has no value in them.
    fn misfit(self, exclude: &[PartialPoint]) -> Result<Option<Misfit>, Problem> {
        let Self { parameter, own, other } = self;
        let (mut own_values, values) = (candidates(&own.domain), candidates(&other.domain));
        if own_values.len().saturating_mul(values.len()) > PAIRS_MAX {
            let message = format!(
                "`{}` and `{}` have more than {PAIRS_MAX} pairs of values, too many to see whether they fit each other; give one \
                 of them fewer values",
                own.name, other.name
            );
            return Err(Problem::of_parameter(&own.name, message));
        }
        if !own.when.is_empty() {
            // Without a value of its own, a job has the default.
            own_values.extend(parameter.default.clone());
        }
        for one in own_values {
            for value in &values {
                let Err(message) = parameter.check_with(&one, &other.name, value) else { continue };
                let pair = [(&*own.name, &one), (&*other.name, value)];
                if self.is_reached(&one, value) && !exclude.iter().any(|point| excludes(point, pair)) {
                    return Ok(Some(Misfit { other: value.clone(), own: one, message }));
                }
            }
        }
        Ok(None)
    }

    /// Whether the conditions of the parameter, as far as they name the other, let it have this value there.
    fn is_reached(self, own: &ParameterValue, other: &ParameterValue) -> bool {
        let mut of_other = self.own.when.iter().filter(|when| when.name == self.other.name);
        self.parameter.default.as_ref() == Some(own) || of_other.all(|when| when.values.contains(other))
    }

    /// What makes the sweep right.
    fn cure(self, misfit: &Misfit) -> String {
        match self.parameter.needs.get(&*self.other.name) {
            Some(needed) => self.cure_of_need(needed),
            None => self.cure_of_bound(misfit),
        }
    }

    fn cure_of_need(self, needed: &[ParameterValue]) -> String {
        let Self { own, other, .. } = self;
        let (own, name) = (&own.name, &other.name);
        let can_hold = needed.iter().any(|value| other.domain.position(value).is_some());
        if !can_hold && !other.domain.listed().is_empty() {
            let kept = if other.domain.is_constant() { &[] } else { other.values() };
            let values: Vec<&ParameterValue> = kept.iter().chain(needed.first()).collect();
            let key = if values.len() == 1 { "value" } else { "values" };
            return format!("write `{name}: {{{key}: {}}}`, or leave `{own}` out", one_or_list(&values));
        }
        if other.domain.cells().is_none() {
            return format!("list the values of `{name}`, or leave `{own}` out");
        }
        let values: Vec<&ParameterValue> = needed.iter().collect();
        format!("write `when: {{{name}: {}}}` next to the values of `{own}`", one_or_list(&values))
    }

    fn cure_of_bound(self, misfit: &Misfit) -> String {
        let Self { parameter, own, other } = self;
        let are_listed = [own, other].iter().all(|axis| axis.domain.cells().is_some());
        if are_listed && ![own, other].iter().any(|axis| axis.domain.is_constant()) {
            let (value, found) = (in_file(&misfit.own), in_file(&misfit.other));
            return format!(
                "leave such points out: `exclude: [{{{}: {found}, {}: {value}}}]`",
                other.name, own.name
            );
        }
        let least =
            candidates(&other.domain).iter().filter_map(ParameterValue::whole).min().unwrap_or(i64::MIN);
        let larger = format!("give `{}` larger values", other.name);
        match parameter.kind {
            // No value of it is less.
            ParameterKind::Integer { min, .. } if min >= least => larger,
            _ => format!("give `{}` values below {least}, or {larger}", own.name),
        }
    }
}

/// The values of a domain that decide whether it fits another.
fn candidates(domain: &Domain) -> Vec<ParameterValue> {
    if !domain.listed().is_empty() {
        return domain.listed().to_vec();
    }
    match domain.cells() {
        Some(cells) if cells <= VALUES_MAX => (0..cells).map(|place| domain.at(place)).collect(),
        _ => [0, u64::MAX].map(|bits| domain.at(domain.place(bits))).to_vec(),
    }
}

/// Whether an entry of `exclude` leaves out all points with these two values.
fn excludes(entry: &PartialPoint, pair: [(&str, &ParameterValue); 2]) -> bool {
    entry.iter().all(|(name, value)| pair.iter().any(|(own, found)| **name == **own && value == *found))
}

/// A value or a list of values, as a sweep file has them in one line.
fn one_or_list(values: &[&ParameterValue]) -> String {
    match values {
        [value] => in_file(value),
        values => format!("[{}]", values.iter().map(|value| in_file(value)).collect::<Vec<_>>().join(", ")),
    }
}

/// A value as a sweep file has it between brackets.
fn in_file(value: &ParameterValue) -> String {
    let is_plain = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            && !YAML_WORDS.contains(&text.to_ascii_lowercase().as_str())
    };
    match value {
        ParameterValue::Text(text) if !is_plain(text) => format!("'{}'", text.replace('\'', "''")),
        value => value.to_string(),
    }
}
