//! What a file refers to and its space does not have: conditions that never hold, exclusions that match nothing, a target that no job
//! can have. A misspelt value of a condition is refused; all else may be meant, as where `--set` or an extension lists fewer values,
//! and gets a note. Not applied to stored sweeps.

use terms::ParameterValue;

use super::{
    super::Specification,
    build::Problem,
    place::{entry_line, parameter_line, section_line},
    suggestion::suggestion,
};
use crate::space::{Axis, PartialPoint, Requirement, written_condition};

/// Most notes about entries of `exclude`; a file may have a thousand.
const ENTRIES_NOTED_MAX: usize = 5;
/// Unit of metrics that lie in [0, 1].
const SHARE: &str = "share";

/// A sweep file as it was given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// Whether overrides may have taken values away.
    pub(super) is_overridden: bool,
}

impl Given<'_> {
    /// A note in the form of an error: `file:line: key: message`.
    fn note(self, line: Option<usize>, key: &str, message: &str) -> String {
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line}: {key}: {message}", self.file)
    }
}

/// Refuses what can only be a mistake, and notes what may be one.
pub(super) fn check_reach(
    given: Given<'_>,
    mut specification: Specification,
) -> Result<Specification, Problem> {
    check_target(&specification)?;
    let axes = &specification.axes;
    let mut notes = Vec::new();
    for own in axes {
        for requirement in &own.when {
            let Some(other) = axes.iter().find(|axis| axis.name == requirement.name) else { continue };
            let Some(unmet) = Unmet::of(requirement, other) else { continue };
            if !given.is_overridden && !unmet.hint.is_empty() {
                return Err(Problem::of_parameter(&own.name, format!("`when`: {}", unmet.words())));
            }
            let message = format!("has a value in no job: its `when` never holds, as {}", unmet.words());
            let line = parameter_line(given.text, &own.name);
            notes.push(given.note(line, &format!("parameters.{}", own.name), &message));
        }
    }
    notes.extend(unmatched(given, axes, &specification.exclude));
    specification.notes.extend(notes);
    Ok(specification)
}

/// Refuses a target that no job can have, or every job has.
pub(super) fn check_target(specification: &Specification) -> Result<(), Problem> {
    let name = &specification.metric.name;
    let metric = specification.trainable.model().and_then(|model| model.metric(name));
    let outside = specification.target.filter(|target| !(0.0..=1.0).contains(target));
    match (metric.filter(|metric| metric.unit == SHARE), outside) {
        (Some(_), Some(target)) => {
            let percent = target / 100.0;
            let hint = if (0.0..=1.0).contains(&percent) {
                format!("; write {percent} for {target} %")
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

/// A condition whose values the other parameter does not have.
struct Unmet<'a> {
    requirement: &'a Requirement,
    other: &'a Axis,
    /// The value that was meant, if one is near.
    hint: String,
}

impl<'a> Unmet<'a> {
    /// None where the condition can hold.
    fn of(requirement: &'a Requirement, other: &'a Axis) -> Option<Self> {
        if requirement.values.iter().any(|value| other.domain.own(value).is_some()) {
            return None;
        }
        let hint = requirement.values.iter().map(|value| near(value, other)).find(|hint| !hint.is_empty());
        Some(Self { requirement, other, hint: hint.unwrap_or_default() })
    }

    fn words(&self) -> String {
        let values: Vec<String> = self.requirement.values.iter().map(ParameterValue::written).collect();
        lacks(self.other, &values.join(" or "), &self.hint)
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
