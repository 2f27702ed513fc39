//! The parameters of a sweep with their values, from its specifications: those of its first, and those that extended it.

use domain::{
    definition::documents,
    space::{Axis, Domain},
    specification::{Models, Specification},
};
use export::{Parameter, Range};
use proto::v1;
use report::Sweep;
use terms::ParameterValue;

/// The parameters of a sweep in its order. Of a specification that this version cannot read, their names alone are known.
pub(crate) fn parameters(sweep: &Sweep, message: &v1::Sweep) -> Vec<Parameter> {
    let mut parameters: Vec<_> = sweep.parameters.iter().map(|name| Parameter::unknown(name)).collect();
    // A program has no model.
    let models = Models::from_json(&message.manifest).unwrap_or_default();
    for document in documents(&message.specification) {
        let Ok(specification) = Specification::from_stored(document, &models) else {
            parameters.iter_mut().for_each(|parameter| parameter.has_others = true);
            continue;
        };
        for parameter in &mut parameters {
            let axis = specification.axes.iter().find(|axis| *axis.name == *parameter.name);
            axis.into_iter().for_each(|axis| add_axis(parameter, axis));
            for (name, value) in specification.include.iter().flatten() {
                if **name == *parameter.name {
                    add_value(parameter, value);
                }
            }
        }
    }
    parameters
}

fn add_axis(parameter: &mut Parameter, axis: &Axis) {
    axis.domain.listed().iter().for_each(|value| add_value(parameter, value));
    let range = match &axis.domain {
        Domain::Values(_) | Domain::Weighted(..) => return,
        Domain::Float { low, high, is_log, .. } => {
            Range { ends: Some((*low, *high)), is_whole: false, is_log: *is_log }
        }
        Domain::Integer { low, high, is_log, .. } => {
            Range { ends: Some((*low as f64, *high as f64)), is_whole: true, is_log: *is_log }
        }
        Domain::Normal { is_log, .. } => Range { ends: None, is_whole: false, is_log: *is_log },
        Domain::Beta { .. } => Range { ends: Some((0.0, 1.0)), is_whole: false, is_log: false },
    };
    parameter.range.get_or_insert(range);
}

fn add_value(parameter: &mut Parameter, value: &ParameterValue) {
    if !parameter.listed.contains(value) {
        parameter.listed.push(value.clone());
    }
}
