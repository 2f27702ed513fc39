//! Numbers that are equal but written in different ways. A list has one zero, 0.0: -0.0 would be a second job with the same
//! value. A whole number and an equal decimal stay two values, as a program receives `1` or `1.0` and may mean different
//! things by them; but where a point or a condition refers to a value, either way of writing it will do. Not applied to
//! stored sweeps, whose jobs must keep their numbers.

use terms::ParameterValue;

use super::{super::Specification, value::without_duplicates};
use crate::space::{Axis, Domain};

/// Most pairs of values that a note names.
const PAIRS_NAMED_MAX: usize = 3;

/// The specification of a new file with each number written in one way.
pub(super) fn unified(mut specification: Specification) -> Specification {
    for axis in &mut specification.axes {
        if let Domain::Values(values) = &mut axis.domain
            && values.iter().any(is_negative_zero)
        {
            values.iter_mut().for_each(one_zero);
            *values = without_duplicates(std::mem::take(values));
        }
    }
    let Specification { axes, exclude, include, .. } = &mut specification;
    for (name, value) in exclude.iter_mut().chain(include).flatten() {
        refer(value, axes.iter().find(|axis| axis.name == *name));
    }
    for axis in 0..axes.len() {
        let mut when = std::mem::take(&mut axes[axis].when);
        for need in &mut when {
            let other = axes.iter().find(|other| other.name == need.name);
            need.values.iter_mut().for_each(|value| refer(value, other));
            need.values = without_duplicates(std::mem::take(&mut need.values));
        }
        axes[axis].when = when;
    }
    let notes: Vec<String> = specification.axes.iter().filter_map(note).collect();
    specification.notes.extend(notes);
    specification
}

fn is_negative_zero(value: &ParameterValue) -> bool {
    matches!(value, ParameterValue::Float(number) if *number == 0.0 && number.is_sign_negative())
}

fn one_zero(value: &mut ParameterValue) {
    if is_negative_zero(value) {
        *value = ParameterValue::Float(0.0);
    }
}

/// Writes a value as the axis that it refers to does, if the axis has an equal one.
fn refer(value: &mut ParameterValue, axis: Option<&Axis>) {
    one_zero(value);
    let Some(axis) = axis else { return };
    if axis.domain.position(value).is_none()
        && let Some(equal) = axis.domain.as_written(value)
    {
        *value = equal;
    }
}

/// What to tell people about an axis with a whole number and an equal decimal.
fn note(axis: &Axis) -> Option<String> {
    let is_decimal = |value: &&ParameterValue| matches!(value, ParameterValue::Float(_));
    let whole: std::collections::HashSet<i64> =
        axis.values().iter().filter(|value| !is_decimal(value)).filter_map(ParameterValue::whole).collect();
    let twice = axis.values().iter().filter(is_decimal).filter_map(|value| {
        let number = value.whole().filter(|number| whole.contains(number))?;
        Some(format!("{number} and {}", value.written()))
    });
    let pairs: Vec<String> = twice.take(PAIRS_NAMED_MAX).collect();
    let name = &axis.name;
    (!pairs.is_empty()).then(|| {
        format!("`{name}` has {}, which are different values to a program; remove one of them if they are the same to yours", pairs.join(", "))
    })
}
