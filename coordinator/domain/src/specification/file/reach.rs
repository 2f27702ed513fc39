//! What a file refers to and its jobs do not have: conditions that never hold, exclusions that match nothing, a target that no job
//! can have; and a name that stands for two things. Only the target is refused. The others may be meant, as in a file whose values were narrowed, and get a note; values
//! that a manifest does not allow were refused while they were read. Not applied to stored sweeps.

use terms::ParameterValue;

use super::{
    super::Specification,
    build::Problem,
    place::{entry_line, parameter_line, section_line},
    suggestion::suggestion,
};
use crate::{
    space::{Axis, PartialPoint, Requirement, written_condition},
    text::significant,
};

/// Most notes about entries of `exclude`; a file may have a thousand.
const ENTRIES_NOTED_MAX: usize = 5;
/// Unit of metrics that lie in [0, 1].
const SHARE: &str = "share";

/// A sweep file as it was given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// Whether it adds to a sweep, whose other jobs may have what this file does not list.
    pub(super) is_extension: bool,
}

impl Given<'_> {
    /// A note in the form of an error: `file:line: key: message`.
    fn note(self, line: Option<usize>, key: &str, message: &str) -> String {
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line}: {key}: {message}", self.file)
    }
}

/// Refuses a target that cannot be, and notes what else may be a mistake.
pub(super) fn check_reach(
    given: Given<'_>,
    mut specification: Specification,
) -> Result<Specification, Problem> {
    check_target(&specification)?;
    if !given.is_extension {
        let mut notes = unmet(given, &specification);
        notes.extend(unmatched(given, &specification.axes, &specification.exclude));
        notes.extend(shared_name(given, &specification));
        specification.notes.extend(notes);
    }
    Ok(specification)
}

/// Notes about parameters whose condition holds in no job.
fn unmet(given: Given<'_>, specification: &Specification) -> Vec<String> {
    let Specification { axes, include, .. } = specification;
    let mut notes = Vec::new();
    for own in axes {
        for requirement in &own.when {
            let Some(other) = axes.iter().find(|axis| axis.name == requirement.name) else { continue };
            if can_hold(requirement, other, include) {
                continue;
            }
            let values: Vec<String> = requirement.values.iter().map(ParameterValue::written).collect();
            let mut hints = requirement.values.iter().map(|value| near(value, other));
            let hint = hints.find(|hint| !hint.is_empty()).unwrap_or_default();
            let why = lacks(other, &values.join(" or "), &hint);
            let message = format!("has a value in no job: its `when` never holds, as {why}");
            let line = parameter_line(given.text, &own.name);
            notes.push(given.note(line, &format!("parameters.{}", own.name), &message));
        }
    }
    notes
}

/// A note where a parameter has the name of the metric that ranks the jobs; what else a program reports is not known before it runs.
fn shared_name(given: Given<'_>, specification: &Specification) -> Option<String> {
    let name = &*specification.metric.name;
    let axis = specification.axes.iter().find(|axis| *axis.name == *name)?;
    let message = format!(
        "has the name of the metric that ranks the jobs, so that tables and JSON call the metric `metrics.{name}`; rename one of the two"
    );
    Some(given.note(parameter_line(given.text, &axis.name), &format!("parameters.{name}"), &message))
}

/// Whether the other parameter has one of the values, in the space or in a point beyond it.
fn can_hold(requirement: &Requirement, other: &Axis, include: &[PartialPoint]) -> bool {
    let included = include.iter().flatten().filter(|(name, _)| *name == other.name);
    let mut included = included.map(|(_, value)| value);
    requirement.values.iter().any(|value| other.domain.own(value).is_some())
        || included.any(|value| requirement.values.contains(value))
}

/// Refuses a target that no job can have, or every job has.
pub(super) fn check_target(specification: &Specification) -> Result<(), Problem> {
    let name = &specification.metric.name;
    let metric = specification.trainable.model().and_then(|model| model.metric(name));
    let outside = specification.target.filter(|target| !(0.0..=1.0).contains(target));
    match (metric.filter(|metric| metric.unit == SHARE), outside) {
        (Some(_), Some(target)) => {
            let share = target / 100.0;
            let hint = if (0.0..=1.0).contains(&share) {
                format!("; write {} for {target} %", significant(share))
            } else {
                String::new()
            };
            let message =
                format!("`target` must be from 0 to 1, as {name} is a share, but is {target}{hint}");
            Err(Problem::of("metric", message))
        }
        _ => Ok(()),
    }
}

fn lacks(axis: &Axis, value: &str, hint: &str) -> String {
    format!("`{}` is never {value}, but {}{hint}", axis.name, axis.domain)
}

/// Of texts, the nearest value that there is.
fn near(value: &ParameterValue, axis: &Axis) -> String {
    let text = |value: &ParameterValue| match value {
        ParameterValue::Text(text) => Some(text.clone()),
        _ => None,
    };
    let known: Vec<String> = axis.values().iter().filter_map(text).collect();
    text(value).map_or_else(String::new, |value| suggestion(&value, known.iter().map(String::as_str)))
}

/// Notes about entries of `exclude` that match no point.
fn unmatched(given: Given<'_>, axes: &[Axis], exclude: &[PartialPoint]) -> Vec<String> {
    let entries =
        (1..).zip(exclude).filter_map(|(number, entry)| Some((number, why_unmatched(axes, entry)?)));
    let mut entries = entries.peekable();
    let mut notes = Vec::new();
    while let Some((number, why)) = entries.next() {
        if notes.len() == ENTRIES_NOTED_MAX {
            let more = 1 + entries.count();
            notes.push(given.note(None, "exclude", &format!("{more} more of the entries match no point")));
            break;
        }
        let line = entry_line(given.text, "exclude", number).or_else(|| section_line(given.text, "exclude"));
        notes.push(given.note(line, "exclude", &format!("entry {number} matches no point: {why}")));
    }
    notes
}

/// Why an entry matches no point, where that is seen from its values one by one or from a condition between two of them.
fn why_unmatched(axes: &[Axis], entry: &PartialPoint) -> Option<String> {
    entry.iter().find_map(|(name, value)| {
        let axis = axes.iter().find(|axis| axis.name == *name)?;
        if axis.domain.own(value).is_none() {
            return Some(lacks(axis, &value.written(), &near(value, axis)));
        }
        let fails = |requirement: &&Requirement| {
            let other = entry.iter().find(|(other, _)| *other == requirement.name);
            other.is_some_and(|(_, value)| !requirement.values.contains(value))
        };
        axis.when.iter().find(fails)?;
        Some(format!("`{name}` has a value only where {}", written_condition(&axis.when)))
    })
}
