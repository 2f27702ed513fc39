//! The sweep file: its YAML shape, its overrides, and the way back from a specification to a file. Each value
//! is checked while it is read, so that the parser itself knows the line and the key of what is wrong.

mod axis;
mod checked;
mod depth;
mod overrides;
mod point;
mod range;
mod raw;
mod suggestion;

use std::path::PathBuf;

use serde_yaml::{Mapping, Value};

use self::{
    axis::RawParameters,
    depth::{DEPTH_MAX, too_deep},
    overrides::read_overrides,
    raw::RawFile,
    suggestion::suggestion_for,
};
use super::{
    Artifacts, Axis, Change, DatasetSpecification, Execution, FILE_BYTES_MAX, Goal, Keep, MetricUse,
    Objective, PartialPoint, Specification, SpecificationError, SpecificationSource,
};
use crate::{
    grid::{Grid, GridError, POINTS_MAX},
    parameters::Model,
    text::shortened,
};

/// Attempts that may fail where a file says nothing: a flaky machine is forgiven twice.
const ATTEMPTS_MAX_DEFAULT: u32 = 3;
/// The report's image side, in pixels.
const IMAGE_SIZE_DEFAULT: u32 = 128;
/// The report's share of validation images.
const VAL_FRACTION_DEFAULT: f64 = 0.2;

/// Longest value in a message, in bytes.
const VALUE_BYTES_MAX: usize = 200;

/// Reads and checks a file with its overrides.
pub(super) fn read(source: &SpecificationSource) -> Result<(Specification, Grid), SpecificationError> {
    let file = &source.file_name;
    // Editors of Windows begin a file with a mark of its byte order.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let set: usize = source.overrides.iter().map(String::len).sum();
    if text.len() + set > FILE_BYTES_MAX {
        return Err(SpecificationError::new(&format!(
            "{file}: the file has {} bytes with what is set over it, more than the {FILE_BYTES_MAX} that a sweep file may \
             have; write ranges instead of long lists",
            text.len() + set
        )));
    }
    if let Some(line) = too_deep(text) {
        return Err(SpecificationError::new(&format!(
            "{file}:{line}: lists and mappings nest more than {DEPTH_MAX} levels deep; is a bracket not closed?"
        )));
    }
    let mut raw: RawFile = serde_yaml::from_str(text).map_err(|error| located(file, &error))?;
    read_overrides(&source.overrides)?.into_iter().for_each(|top| raw.overlay(top));
    if let Some(path) = &source.dataset_path {
        raw.dataset.get_or_insert_default().path = Some(PathBuf::from(path));
    }
    build(raw).and_then(check_metric).and_then(check_grid).map_err(|problem| {
        let line = problem.section.and_then(|section| section_line(text, section));
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        let key = problem.section.map_or_else(String::new, |section| format!("{section}: "));
        SpecificationError::new(&format!("{file}{place}: {key}{}", problem.message))
    })
}

/// Reads what [`write`] wrote.
pub(super) fn read_stored(text: &str) -> Result<Specification, SpecificationError> {
    let stored = "the stored specification";
    let raw: RawFile = serde_yaml::from_str(text).map_err(|error| located(stored, &error))?;
    build(raw).map_err(|problem| SpecificationError::new(&format!("{stored}: {}", problem.message)))
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

/// The line, from 1, on which a top-level key stands.
fn section_line(text: &str, section: &str) -> Option<usize> {
    let is_key =
        |line: &str| line.strip_prefix(section).is_some_and(|rest| rest.trim_start().starts_with(':'));
    text.lines().position(is_key).map(|index| index + 1)
}

/// What is wrong across keys, and the top-level key to blame.
struct Problem {
    section: Option<&'static str>,
    message: String,
}

/// Not checked of what is stored: older versions let a file ask for the largest loss.
fn check_metric(specification: Specification) -> Result<Specification, Problem> {
    let Objective { name, goal, .. } = &specification.metric;
    let Some(better) = specification.model.goal(name).filter(|better| better != goal) else {
        return Ok(specification);
    };
    let message = format!(
        "the goal of {name} is to {better}, so that `goal: {goal}` would call the worst job the best; leave `goal` out or \
         choose another `name`",
    );
    Err(Problem { section: Some("metric"), message })
}

fn check_grid(specification: Specification) -> Result<(Specification, Grid), Problem> {
    let (section, message) = match specification.grid() {
        Ok(grid) => return Ok((specification, grid)),
        Err(GridError::TooManyPoints { points }) => (
            "parameters",
            format!(
                "the grid has {points} points, more than the {POINTS_MAX} that a sweep may have; \
                 list fewer values or split the sweep"
            ),
        ),
        Err(GridError::Empty) => (
            "exclude",
            "every point of the grid is excluded, so there is nothing to train; exclude less or include points".into(),
        ),
        Err(GridError::TooMuchExclusion) => (
            "exclude",
            "the entries match more than 100 million points together; write fewer, or ones that name more parameters"
                .into(),
        ),
    };
    Err(Problem { section: Some(section), message })
}

fn build(raw: RawFile) -> Result<Specification, Problem> {
    let missing = |what: &str| Problem { section: None, message: what.to_owned() };
    let name = raw.name.ok_or_else(|| missing("the key `name` is missing; add `name: my-sweep`"))?;
    let model = raw.model.unwrap_or(Model::SimpleCnn);
    let dataset = raw.dataset.unwrap_or_default();
    let path = dataset.path.ok_or_else(|| {
        missing("the key `dataset.path` is missing; add `dataset: {path: FOLDER}` or give --dataset FOLDER")
    })?;
    if dataset.val_path.is_some() && dataset.val_fraction.is_some() {
        let message = "`val_path` names the validation set, so `val_fraction` has nothing to hold out; remove one of them";
        return Err(Problem { section: Some("dataset"), message: message.to_owned() });
    }
    let axes = complete_axes(model, raw.parameters.unwrap_or_default());
    let include = raw.include.unwrap_or_default();
    for (position, point) in include.iter().enumerate() {
        let open = |axis: &&Axis| axis.values.len() > 1 && !point.iter().any(|(name, _)| *name == axis.name);
        if let Some(axis) = axes.iter().find(open) {
            let message = format!(
                "entry {} must give `{}`, which has {} values in `parameters`",
                position + 1,
                axis.name,
                axis.values.len()
            );
            return Err(Problem { section: Some("include"), message });
        }
    }
    let metric = raw.metric.unwrap_or_default();
    let metric_name = metric.name.unwrap_or_else(|| model.objective().into());
    let execution = raw.execution.unwrap_or_default();
    Ok(Specification {
        name,
        model,
        metric: Objective {
            goal: metric.goal.or(model.goal(&metric_name)).unwrap_or(Goal::Maximize),
            name: metric_name,
            used: metric.used.unwrap_or_default(),
        },
        dataset: DatasetSpecification {
            path,
            val_path: dataset.val_path,
            image_size: dataset.image_size.unwrap_or(IMAGE_SIZE_DEFAULT),
            val_fraction: dataset.val_fraction.unwrap_or(VAL_FRACTION_DEFAULT),
            split_seed: dataset.split_seed.unwrap_or(0),
        },
        axes,
        exclude: raw.exclude.unwrap_or_default(),
        include,
        execution: Execution {
            max_parallel: execution.max_parallel.flatten(),
            attempts_max: execution.attempts_max.unwrap_or(ATTEMPTS_MAX_DEFAULT),
            job_timeout_ms: execution.job_timeout.flatten(),
            checkpoint_every_epochs: execution.checkpoint_every_epochs.flatten(),
            pack_size_max: execution.pack_size_max.flatten(),
        },
        artifacts: raw.artifacts.and_then(|raw| raw.keep).map(|keep| Artifacts { keep }).unwrap_or_default(),
    })
}

/// Every parameter of the model in its order, defaults where the file says nothing.
fn complete_axes(model: Model, mut given: RawParameters) -> Vec<Axis> {
    let axis = |definition: &'static crate::parameters::ParameterDefinition| Axis {
        name: definition.name,
        values: given.0.remove(definition.name).unwrap_or_else(|| vec![definition.default_value()]),
    };
    model.parameters().iter().map(axis).collect()
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
    let mut raw: RawFile =
        serde_yaml::from_str(&write(specification)).map_err(|error| located("the specification", &error))?;
    read_overrides(overrides)?.into_iter().for_each(|top| raw.overlay(top));
    build(raw).map_err(|problem| SpecificationError::new(&problem.message))
}

/// What differs between two specifications, key by key, such as `parameters.epochs`.
pub(super) fn changes(before: &Specification, after: &Specification) -> Vec<Change> {
    differing("", &document(before, true), &document(after, true))
}

/// The same but for the points, which may be many.
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
            // A section's keys; what is below those is one value.
            (Some(Value::Mapping(a)), Some(Value::Mapping(b))) if prefix.is_empty() => {
                found.extend(differing(&format!("{name}."), a, b));
            }
            (a, b) => found.push(Change { key: name, before: shown(a), after: shown(b) }),
        }
    }
    found
}

/// A value for people.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => {
            let yaml = serde_yaml::to_string(value).unwrap_or_default();
            shortened(yaml.trim_end(), VALUE_BYTES_MAX)
        }
    }
}

fn document(specification: &Specification, with_points: bool) -> Mapping {
    let Specification { name, model, metric, dataset, axes, exclude, include, execution, artifacts } =
        specification;
    let mut file =
        mapping([("name", name.as_str().into()), ("model", model.name().into()), ("method", "grid".into())]);
    let goal = metric.goal.to_string();
    let mut ranking = mapping([("name", metric.name.to_string().into()), ("goal", goal.into())]);
    if metric.used != MetricUse::default() {
        ranking.insert("use".into(), metric.used.as_str().into());
    }
    insert(&mut file, "metric", ranking);
    let path = |path: &std::path::Path| Value::from(path.to_string_lossy().into_owned());
    let validation = match &dataset.val_path {
        Some(val_path) => ("val_path", path(val_path)),
        None => ("val_fraction", dataset.val_fraction.into()),
    };
    let dataset = mapping([
        ("path", path(&dataset.path)),
        ("image_size", dataset.image_size.into()),
        validation,
        ("split_seed", dataset.split_seed.into()),
    ]);
    insert(&mut file, "dataset", dataset);
    let axis = |axis: &Axis| {
        let values = match axis.values.as_slice() {
            [value] => mapping([("value", to_value(value))]),
            values => mapping([("values", Value::Sequence(values.iter().map(to_value).collect()))]),
        };
        (axis.name, Value::Mapping(values))
    };
    if with_points {
        insert(&mut file, "parameters", mapping(axes.iter().map(axis)));
    }
    for (key, points) in [("exclude", exclude), ("include", include)] {
        if with_points && !points.is_empty() {
            let point = |point: &PartialPoint| {
                Value::Mapping(mapping(point.iter().map(|(name, value)| (*name, to_value(value)))))
            };
            file.insert(key.into(), Value::Sequence(points.iter().map(point).collect()));
        }
    }
    let mut run = mapping([("attempts_max", execution.attempts_max.into())]);
    if let Some(max_parallel) = execution.max_parallel {
        run.insert("max_parallel".into(), max_parallel.into());
    }
    if let Some(timeout_ms) = execution.job_timeout_ms {
        let timeout = humantime::format_duration(std::time::Duration::from_millis(timeout_ms)).to_string();
        run.insert("job_timeout".into(), timeout.into());
    }
    if let Some(epochs) = execution.checkpoint_every_epochs {
        run.insert("checkpoint_every_epochs".into(), epochs.into());
    }
    if let Some(pack_size_max) = execution.pack_size_max {
        run.insert("pack_size_max".into(), pack_size_max.into());
    }
    insert(&mut file, "execution", run);
    let keep = match artifacts.keep {
        Keep::Best(count) => Value::from(count),
        keep => keep.to_string().into(),
    };
    insert(&mut file, "artifacts", mapping([("keep", keep)]));
    file
}

fn to_value(value: &terms::ParameterValue) -> Value {
    match value {
        terms::ParameterValue::Null => Value::Null,
        terms::ParameterValue::Boolean(value) => (*value).into(),
        terms::ParameterValue::Integer(number) => (*number).into(),
        terms::ParameterValue::Float(number) => (*number).into(),
        terms::ParameterValue::Text(text) => text.as_str().into(),
    }
}

fn mapping<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Mapping {
    pairs.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
}

fn insert(file: &mut Mapping, key: &str, value: Mapping) {
    file.insert(key.into(), Value::Mapping(value));
}
