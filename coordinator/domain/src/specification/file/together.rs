//! Points whose values are right one by one and wrong together, by the rules of the model: a sweep that has one is refused.

use terms::{ParameterValue, manifest::Manifest};

use super::build::Problem;
use crate::space::{Axis, Conditions, Domain, PartialPoint, completed};

/// Most values of a range that are looked at one by one; of a larger range, its ends.
const VALUES_MAX: u64 = 1_000;
/// Most pairs of values of two parameters that are compared: with exclusions some milliseconds.
const PAIRS_MAX: usize = 1_000_000;

/// Refuses a space with points that the model's rules do not allow.
pub(super) fn check_together(
    model: &Manifest,
    axes: &[Axis],
    exclude: &[PartialPoint],
    include: &[PartialPoint],
) -> Result<(), Problem> {
    let axis = |name: &str| axes.iter().find(|axis| *axis.name == *name);
    for parameter in &model.parameters {
        for other in parameter.partners() {
            let (Some(own), Some(others)) = (axis(&parameter.name), axis(other)) else { continue };
            let (own_values, values) = (candidates(&own.domain), candidates(&others.domain));
            if own_values.len().saturating_mul(values.len()) > PAIRS_MAX {
                return Err(Problem::of(
                    "parameters",
                    format!(
                        "`{}` and `{other}` have more than {PAIRS_MAX} pairs of values, too many to see whether they fit each other; \
                         give one of them fewer values",
                        own.name
                    ),
                ));
            }
            for one in own_values {
                for value in &values {
                    let pair = [(&*own.name, &one), (other, value)];
                    let Err(message) = parameter.check_with(&one, other, value) else { continue };
                    if !exclude.iter().any(|point| excludes(point, pair)) {
                        let cure = cure(own, others, pair);
                        return Err(Problem::of("parameters", format!("{message}; {cure}")));
                    }
                }
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

/// What makes the sweep right.
fn cure(own: &Axis, other: &Axis, pair: [(&str, &ParameterValue); 2]) -> String {
    if [own, other].iter().all(|axis| axis.domain.is_constant()) {
        return "change one of them".to_owned();
    }
    if [own, other].iter().any(|axis| axis.domain.cells().is_none()) {
        return "sweep the values that fit each other in sweeps of their own".to_owned();
    }
    let [(name, value), (other, found)] = pair;
    format!("leave such points out: `exclude: [{{{other}: {found}, {name}: {value}}}]`")
}
