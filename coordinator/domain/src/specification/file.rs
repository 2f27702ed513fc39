//! The sweep file: its YAML, its overrides, and the way back from a specification to a file. Each value is checked
//! while it is read, so that the parser itself knows the line and the key of an error.

mod axis;
mod build;
mod checked;
mod command;
mod depth;
mod distribution;
mod drawn;
mod epochs;
mod keys;
mod known;
mod numbers;
mod overlay;
mod overrides;
mod place;
mod point;
mod range;
mod raw;
mod reach;
mod scalars;
mod suggestion;
mod together;
mod unified;
mod value;
mod wandb;
mod when;
mod write;

use std::path::PathBuf;

use serde::de::{DeserializeSeed, IgnoredAny};
use serde_yaml::{Mapping, Value};

use self::{
    build::{Problem, build, check_seeds},
    depth::{DEPTH_MAX, too_deep},
    known::{Head, Known},
    overrides::read_overrides,
    place::{parameter_line, section_line, tab_line},
    raw::{FileSection, RawFile},
    reach::{Given, check_reach, check_target},
    suggestion::suggestion_for,
    unified::unified,
    write::document,
};
use super::{
    Change, FILE_BYTES_MAX, Models, Objective, Specification, SpecificationError, SpecificationSource,
    Trainable,
};
use crate::{
    grid::{GridError, POINTS_MAX},
    points::{COMPARED_MAX, Jobs, LEARNED_JOBS_MAX, Method, PointsError},
    text::shortened,
};

/// Longest value in a message, in bytes.
const VALUE_BYTES_MAX: usize = 200;

/// Reads and checks a file with its overrides.
pub(super) fn read(source: &SpecificationSource) -> Result<(Specification, Jobs), SpecificationError> {
    let file = &source.file_name;
    // Editors on Windows begin a file with a byte order mark.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let set: usize = source.overrides.iter().map(String::len).sum();
    if text.len() + set > FILE_BYTES_MAX {
        return Err(SpecificationError::new(&format!(
            "{file}: the file has {} bytes with its overrides, more than the {FILE_BYTES_MAX} that a sweep file may \
             have; write ranges instead of long lists",
            text.len() + set
        )));
    }
    if let Some(line) = too_deep(text) {
        return Err(SpecificationError::new(&format!(
            "{file}:{line}: lists and mappings nest more than {DEPTH_MAX} levels deep; is a bracket not closed?"
        )));
    }
    let head = Head::read(text, &source.overrides);
    let (known, draws) = (head.known(&source.models), head.draws());
    let mut raw = parsed(text, known, draws).map_err(|error| {
        // What is not YAML says nothing about its trainable, so that its keys would be read as those of a model.
        let syntax = serde_yaml::from_str::<IgnoredAny>(text).err();
        match syntax.as_ref().and_then(|error| tab_line(text, error.location()?.line())) {
            Some(line) => SpecificationError::new(&format!(
                "{file}:{line}: the line begins with a tab, which YAML does not take; indent it with spaces"
            )),
            None => located(file, &syntax.unwrap_or(error)),
        }
    })?;
    lay_over(&mut raw, (&source.overrides, OPTION), known, draws)?;
    if let Some(path) = &source.dataset_path {
        raw.dataset.get_or_insert_default().path = Some(PathBuf::from(path));
    }
    let given = Given { file, text, is_extension: source.is_extension };
    let built = build(raw, &source.models).map(unified).and_then(|built| check_reach(given, built));
    let built = match source.is_extension {
        true => built,
        false => built.and_then(check_seeds),
    };
    built.and_then(check_resources).and_then(check_metric).and_then(check_jobs).map_err(|problem| {
        let own = problem.parameter.as_deref();
        let line = own.and_then(|name| parameter_line(text, name));
        let line = line.or_else(|| problem.section.and_then(|section| section_line(text, section)));
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        let key = problem.section.into_iter().chain(own).collect::<Vec<_>>().join(".");
        let key = if key.is_empty() { key } else { format!("{key}: ") };
        SpecificationError::new(&format!("{file}{place}: {key}{}", problem.message))
    })
}

fn parsed(text: &str, known: Known<'_>, draws: bool) -> Result<RawFile, serde_yaml::Error> {
    FileSection::seed(known, draws).deserialize(serde_yaml::Deserializer::from_str(text))
}

/// How the overrides of a file are given. Settings are given without an option.
const OPTION: &str = "--set ";

/// Applies `KEY=VALUE` overrides, which errors name with the option by which they are given, to a file. Those of a program may name the parameters that the file has.
fn lay_over(
    raw: &mut RawFile,
    (overrides, option): (&[String], &str),
    known: Known<'_>,
    draws: bool,
) -> Result<(), SpecificationError> {
    let names = raw.parameters.as_ref().map(axis::RawParameters::names).unwrap_or_default();
    let known = match known {
        Known::Program(_) => Known::Program(&names),
        model @ Known::Model(_) => model,
    };
    read_overrides((overrides, option), known, draws)?.into_iter().for_each(|top| raw.overlay(top));
    Ok(())
}

/// Reads the output of [`write()`].
pub(super) fn read_stored(text: &str, models: &Models) -> Result<Specification, SpecificationError> {
    let stored = "the stored specification";
    let head = Head::read(text, &[]);
    let raw = parsed(text, head.known(models), head.draws()).map_err(|error| located(stored, &error))?;
    build(raw, models).map_err(|problem| SpecificationError::new(&format!("{stored}: {}", problem.message)))
}

/// See [`SpecificationSource::lacks_model`].
pub(super) fn lacks_model(source: &SpecificationSource) -> bool {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let may_name = text.contains("model") || source.overrides.iter().any(|set| set.contains("model"));
    may_name
        && text.len() <= FILE_BYTES_MAX
        && too_deep(text).is_none()
        && Head::read(text, &source.overrides).lacks_model(&source.models)
}

/// Whether what [`write()`] wrote is of a program.
pub(super) fn is_of_program(text: &str) -> bool {
    Head::read(text, &[]).is_of_program()
}

/// `file:line:column: key: message`.
fn located(file: &str, error: &serde_yaml::Error) -> SpecificationError {
    let message = error.to_string();
    let message = match message.as_str() {
        "repetition limit exceeded" => {
            "the aliases (`*name`) repeat too much; write the values out".to_owned()
        }
        _ => message,
    };
    let hint = suggestion_for(&message);
    let Some(location) = error.location() else {
        return SpecificationError::new(&format!("{file}: {message}{hint}"));
    };
    let (line, column) = (location.line(), location.column());
    let message = message.replace(&format!(" at line {line} column {column}"), "");
    SpecificationError::new(&format!("{file}:{line}:{column}: {message}{hint}"))
}

/// Refuses to share GPUs that a job has alone. Not checked for stored sweeps: older versions read and kept it.
fn check_resources(specification: Specification) -> Result<Specification, Problem> {
    let resources = &specification.resources;
    match resources.several_gpus().filter(|_| resources.per_gpu.is_some()) {
        None => Ok(specification),
        Some(gpus) => Err(Problem::of(
            "resources",
            format!(
                "`per_gpu` cannot go with `gpus: {gpus}`, as a job with several GPUs has them alone; leave `per_gpu` out"
            ),
        )),
    }
}

/// Not checked for stored sweeps: older versions let a file ask for the largest loss.
fn check_metric(specification: Specification) -> Result<Specification, Problem> {
    let Objective { name, goal, .. } = &specification.metric;
    let known = match &specification.trainable {
        Trainable::Model(manifest) => manifest.metric(name).map(|metric| metric.goal),
        Trainable::Program(_) => None,
    };
    match known.filter(|known| known != goal) {
        None => Ok(specification),
        Some(known) => Err(Problem::of(
            "metric",
            format!(
                "the goal of {name} is to {known}, so that `goal: {goal}` would call the worst job the best; leave `goal` out or \
                 choose another `name`"
            ),
        )),
    }
}

fn check_jobs(specification: Specification) -> Result<(Specification, Jobs), Problem> {
    let method = specification.method.as_str();
    let error = match specification.jobs() {
        Ok(jobs) if jobs.count() > POINTS_MAX => {
            let message = format!(
                "the sweep has {} jobs with all repetitions, more than the {POINTS_MAX} that it may have; repeat less often, or \
                 give a `run_cap`",
                jobs.count()
            );
            return Err(Problem::of("repeats", message));
        }
        Ok(jobs) => return Ok((specification, jobs)),
        Err(error) => error,
    };
    let infinite = specification.axes.iter().find(|axis| axis.domain.cells().is_none());
    Err(match error {
        PointsError::Grid(error) => of_grid(error, specification.method),
        PointsError::NoEnd => Problem::of(
            "method",
            match infinite {
                Some(axis) => format!(
                    "a {method} search has no end of its own here, as `{}` has infinitely many values; add `run_cap: 100` with \
                     the number of jobs",
                    axis.name
                ),
                None => format!(
                    "the space has more than {POINTS_MAX} points, the most that a sweep may have; add `run_cap: 100` with the \
                     number of jobs that the {method} search may draw"
                ),
            },
        ),
        PointsError::HardlyAny => Problem::of(
            "exclude",
            "nearly every point that is drawn is excluded; exclude less, or leave those values out under `parameters`",
        ),
        PointsError::HardlyAnyNew => Problem::of(
            "run_cap",
            "nearly every point that is drawn was drawn before, as the conditions (`when`) of the ranges hardly ever hold; lower \
             `run_cap`, or let them hold for more values",
        ),
        PointsError::TooManyCompared => Problem::of(
            "run_cap",
            format!(
                "the space is finite and has more than {POINTS_MAX} points, so that each point is compared with all others, which \
                 this {method} search does for at most {COMPARED_MAX}; lower it"
            ),
        ),
        PointsError::TooManyToLearn => Problem::of(
            "run_cap",
            format!(
                "a search that learns may have at most {LEARNED_JOBS_MAX} jobs, and this one may have more; give it a smaller \
                 `run_cap`, such as `run_cap: 200`, or write `method: random`"
            ),
        ),
        PointsError::NoneFits => Problem::of(
            "run_cap",
            format!(
                "allows fewer jobs than `repeats`, so that no point can be trained {} times; raise it to at least that",
                specification.repeats
            ),
        ),
    })
}

/// What is wrong with the points of a finite space.
fn of_grid(error: GridError, method: Method) -> Problem {
    let space = if method == Method::Grid { "grid" } else { "space" };
    let (section, message) = match error {
        GridError::TooManyPoints { points } => (
            "parameters",
            format!(
                "the {space} has {points} points, more than the {POINTS_MAX} that a sweep may have; \
                 list fewer values or split the sweep"
            ),
        ),
        GridError::Empty => (
            "exclude",
            format!(
                "every point of the {space} is excluded, so there is nothing to train; exclude less or include points"
            ),
        ),
        GridError::TooMuchExclusion => (
            "exclude",
            "the entries match more than 100 million points together; write fewer, or ones that name more parameters"
                .into(),
        ),
        GridError::Conditions => (
            "parameters",
            "the conditions (`when`) of the parameters cannot be used".into(),
        ),
    };
    Problem::of(section, message)
}

/// The specification as a file that [`read_stored`] reads.
pub(super) fn write(specification: &Specification) -> String {
    serde_yaml::to_string(&document(specification, true))
        .expect("a mapping of scalars, lists and mappings is always YAML")
}

/// See [`Specification::with_overrides`].
pub(super) fn overlaid(
    specification: &Specification,
    overrides: &[String],
) -> Result<Specification, SpecificationError> {
    let known = Known::of(&specification.trainable);
    let draws = specification.method != Method::Grid;
    let mut raw =
        parsed(&write(specification), known, draws).map_err(|error| located("the specification", &error))?;
    lay_over(&mut raw, (overrides, ""), known, draws)?;
    let models = Models::given(specification.trainable.model().cloned().into_iter().collect());
    let changed = build(raw, &models).and_then(check_resources);
    // One that was stored may be any, as older versions took it.
    let is_target_new = |changed: &Specification| changed.target != specification.target;
    let check = |changed: Specification| match is_target_new(&changed) {
        true => check_target(&changed).map(|()| changed),
        false => Ok(changed),
    };
    changed.and_then(check).map_err(|problem| SpecificationError::new(&problem.message))
}

/// The keys in which two specifications differ, such as `parameters.epochs`.
pub(super) fn changes(before: &Specification, after: &Specification) -> Vec<Change> {
    differing("", &document(before, true), &document(after, true))
}

/// The same, without the points, which may be many.
pub(super) fn kind_changes(before: &Specification, after: &Specification) -> Vec<Change> {
    differing("", &document(before, false), &document(after, false))
}

fn differing(prefix: &str, before: &Mapping, after: &Mapping) -> Vec<Change> {
    let mut keys: Vec<&Value> = before.keys().collect();
    keys.extend(after.keys().filter(|key| !before.contains_key(*key)));
    let mut found = Vec::new();
    for key in keys {
        let name = format!("{prefix}{}", key.as_str().unwrap_or_default());
        match (before.get(key), after.get(key)) {
            (Some(a), Some(b)) if a == b => {}
            // A section's keys; anything below them counts as one value.
            (Some(Value::Mapping(a)), Some(Value::Mapping(b))) if prefix.is_empty() => {
                found.extend(differing(&format!("{name}."), a, b));
            }
            (a, b) => {
                let (before, after) = (shown(&name, a), shown(&name, b));
                found.push(Change { key: name, before, after });
            }
        }
    }
    found
}

/// The value of a key for people. A priority is written where it is not 0.
fn shown(key: &str, value: Option<&Value>) -> String {
    match value {
        None if key == "execution.priority" => "0".to_owned(),
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => {
            let yaml = serde_yaml::to_string(value).unwrap_or_default();
            shortened(yaml.trim_end(), VALUE_BYTES_MAX)
        }
    }
}
