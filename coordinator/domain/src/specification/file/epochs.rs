//! `execution.epochs_parameter`: which parameter of a program is its number of epochs.

use terms::{EPOCHS_MAX, ParameterValue};

use super::{Problem, suggestion::suggestion};
use crate::{
    space::{Axis, Domain, PartialPoint},
    specification::Trainable,
};

/// Checks that the parameter exists and can only be a number of epochs.
pub(super) fn check_epochs_parameter(
    trainable: &Trainable,
    axes: &[Axis],
    include: &[PartialPoint],
) -> Result<(), Problem> {
    let Some(name) = trainable.program().and_then(|program| program.epochs_parameter.as_deref()) else {
        return Ok(());
    };
    let Some(axis) = axes.iter().find(|axis| *axis.name == *name) else {
        let hint = suggestion(name, axes.iter().map(|axis| &*axis.name));
        let message = format!("`epochs_parameter` is `{name}`, and there is no such parameter{hint}");
        return Err(Problem::of("execution", message));
    };
    let included = include.iter().flatten().filter(|(known, _)| **known == *name).map(|(_, value)| value);
    let refuse = |what: &str| {
        let message = format!(
            "`epochs_parameter` is `{name}`, whose values must be whole numbers from 1 to {EPOCHS_MAX}, and {what}"
        );
        Err(Problem::of("execution", message))
    };
    let ends = match &axis.domain {
        Domain::Values(_) | Domain::Weighted(..) => Vec::new(),
        Domain::Integer { low, high, .. } => {
            vec![ParameterValue::Integer(*low), ParameterValue::Integer(*high)]
        }
        Domain::Float { .. } | Domain::Normal { .. } | Domain::Beta { .. } => {
            return refuse("it is a range of other numbers");
        }
    };
    match axis.values().iter().chain(&ends).chain(included).find(|value| !is_epochs(value)) {
        Some(other) => refuse(&format!("one is {other}")),
        None => Ok(()),
    }
}

fn is_epochs(value: &ParameterValue) -> bool {
    value.whole().is_some_and(|epochs| (1..=i64::from(EPOCHS_MAX)).contains(&epochs))
}
