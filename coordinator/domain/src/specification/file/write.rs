//! The way back from a specification to a file.

use serde_yaml::{Mapping, Value};
use terms::ParameterValue;

use super::super::{
    ArgumentStyle, DatasetSpecification, EarlyTermination, Keep, MetricUse, Program, Specification,
    Trainable,
    early::EARLY,
    limits::{EXECUTION, NumberKey, RESOURCES},
};
use crate::space::{Axis, Domain, PartialPoint, Requirement};

/// The specification as a file, with its points or with the names of its parameters alone; those of a program with their conditions,
/// which say what it is given. A job of a model has the default where it has no value, so that conditions are a matter of points.
pub(super) fn document(specification: &Specification, with_points: bool) -> Mapping {
    let mut file = head(specification);
    if let Some(dataset) = &specification.dataset {
        insert(&mut file, "dataset", dataset_section(dataset));
    }
    let is_model = specification.trainable.model().is_some();
    let axis = |axis: &Axis| match with_points || !is_model {
        true => (axis.name.to_string(), axis_section(axis, with_points)),
        false => (axis.name.to_string(), A_PARAMETER.into()),
    };
    insert(&mut file, "parameters", specification.axes.iter().map(axis).map(pair).collect());
    for (key, points) in [("exclude", &specification.exclude), ("include", &specification.include)] {
        if with_points && !points.is_empty() {
            let point = |point: &PartialPoint| {
                let value = |(name, value): &(crate::space::Name, ParameterValue)| {
                    (name.to_string(), to_value(value))
                };
                Value::Mapping(point.iter().map(value).map(pair).collect())
            };
            file.insert(key.into(), Value::Sequence(points.iter().map(point).collect()));
        }
    }
    if let Some(cap) = specification.run_cap.filter(|_| with_points) {
        file.insert("run_cap".into(), cap.into());
    }
    if specification.repeats > 1 {
        file.insert("repeats".into(), specification.repeats.into());
    }
    if let Some(early) = &specification.early_terminate {
        insert(&mut file, "early_terminate", early_section(*early));
    }
    let mut execution = numbers(EXECUTION, &specification.execution);
    if let Trainable::Program(program) = &specification.trainable {
        program_execution(program, &mut execution);
    }
    insert(&mut file, "execution", execution);
    let resources = numbers(RESOURCES, &specification.resources);
    if !resources.is_empty() {
        insert(&mut file, "resources", resources);
    }
    let keep = match specification.artifacts.keep {
        Keep::Best(count) => Value::from(count),
        keep => keep.to_string().into(),
    };
    insert(&mut file, "artifacts", mapping([("keep", keep)]));
    file
}

/// Everything above the data and the parameters.
fn head(specification: &Specification) -> Mapping {
    let mut file = mapping([("name", specification.name.as_str().into())]);
    if !specification.description.is_empty() {
        file.insert("description".into(), specification.description.as_str().into());
    }
    match &specification.trainable {
        Trainable::Model(manifest) => {
            file.insert("model".into(), manifest.name.as_str().into());
        }
        Trainable::Program(program) => {
            if let Some(path) = &program.program {
                file.insert("program".into(), path.as_str().into());
            }
            if !program.command.is_empty() {
                file.insert("command".into(), texts(&program.command));
            }
        }
    }
    file.insert("method".into(), specification.method.as_str().into());
    if let Some(seed) = specification.method.seed() {
        file.insert("search_seed".into(), seed.into());
    }
    let metric = &specification.metric;
    let goal = metric.goal.to_string();
    let mut ranking = mapping([("name", (*metric.name).into()), ("goal", goal.into())]);
    if metric.used != MetricUse::default() {
        ranking.insert("use".into(), metric.used.as_str().into());
    }
    if let Some(target) = specification.target {
        ranking.insert("target".into(), target.into());
    }
    insert(&mut file, "metric", ranking);
    if let Some(source) = specification.trainable.program().map(|program| &program.metrics) {
        let keys = [("pattern", &source.pattern), ("csv", &source.csv)];
        let said = keys.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?.into())));
        let said = mapping(said);
        if !said.is_empty() {
            insert(&mut file, "metrics", said);
        }
    }
    file
}

fn dataset_section(dataset: &DatasetSpecification) -> Mapping {
    let path = |path: &std::path::Path| Value::from(path.to_string_lossy().into_owned());
    let validation = match &dataset.val_path {
        Some(val_path) => ("val_path", path(val_path)),
        None => ("val_fraction", dataset.val_fraction.into()),
    };
    mapping([
        ("path", path(&dataset.path)),
        ("image_size", dataset.image_size.into()),
        validation,
        ("split_seed", dataset.split_seed.into()),
    ])
}

/// Stands for the values of a parameter.
const A_PARAMETER: &str = "a parameter";

fn axis_section(axis: &Axis, with_values: bool) -> Value {
    let list = |values: &[ParameterValue]| Value::Sequence(values.iter().map(to_value).collect());
    let mut section = match &axis.domain {
        _ if !with_values && axis.when.is_empty() => return A_PARAMETER.into(),
        _ if !with_values => Mapping::new(),
        domain => domain_section(domain, list),
    };
    if !axis.when.is_empty() {
        let need = |need: &Requirement| {
            let values = match need.values.as_slice() {
                [value] => to_value(value),
                values => list(values),
            };
            (need.name.to_string(), values)
        };
        insert(&mut section, "when", axis.when.iter().map(need).map(pair).collect());
    }
    Value::Mapping(section)
}

fn early_section(early: EarlyTermination) -> Mapping {
    let said = early.to_said();
    let mut section = mapping([("type", said.kind.as_str().into())]);
    section.extend(numbers(EARLY, &said.numbers));
    let truths = [("strict", said.strict), ("promote", said.promote)];
    section.extend(mapping(truths.into_iter().filter_map(|(key, truth)| Some((key, truth?.into())))));
    section
}

/// The values of a parameter as W&B writes them.
fn domain_section(domain: &Domain, list: impl Fn(&[ParameterValue]) -> Value) -> Mapping {
    let scaled = |is_log: bool, (even, log): (&str, &str)| Value::from(if is_log { log } else { even });
    let (mut section, step) = match domain {
        Domain::Values(values) if values.len() == 1 => {
            (mapping([("value", to_value(&domain.first()))]), None)
        }
        Domain::Values(values) => (mapping([("values", list(values))]), None),
        Domain::Weighted(values, probabilities) => {
            let probabilities = probabilities.iter().map(|share| Value::from(*share)).collect();
            let section = [("values", list(values)), ("probabilities", Value::Sequence(probabilities))];
            (mapping(section), None)
        }
        Domain::Float { low, high, is_log, step } => {
            let names = if step.is_some() { STEPPED } else { UNIFORM };
            let distribution = scaled(*is_log, names);
            let section = [("distribution", distribution), ("min", (*low).into()), ("max", (*high).into())];
            (mapping(section), step.map(ParameterValue::Float))
        }
        Domain::Integer { low, high, is_log, step } => {
            let is_plain = !is_log && *step == 1;
            let distribution = if is_plain { "int_uniform".into() } else { scaled(*is_log, STEPPED) };
            let section = [("distribution", distribution), ("min", (*low).into()), ("max", (*high).into())];
            (mapping(section), (!is_plain).then_some(ParameterValue::Integer(*step)))
        }
        Domain::Normal { mean, deviation, is_log, step } => {
            let names = if step.is_some() { ("q_normal", "q_log_normal") } else { ("normal", "log_normal") };
            let distribution = scaled(*is_log, names);
            let section =
                [("distribution", distribution), ("mu", (*mean).into()), ("sigma", (*deviation).into())];
            (mapping(section), step.clone())
        }
        Domain::Beta { a, b, step } => {
            let distribution = if step.is_some() { "q_beta" } else { "beta" };
            let section = [("distribution", distribution.into()), ("a", (*a).into()), ("b", (*b).into())];
            (mapping(section), step.clone())
        }
    };
    if let Some(step) = step {
        section.insert("q".into(), to_value(&step));
    }
    section
}

/// The distributions of a range, evenly and on the logarithmic scale.
const UNIFORM: (&str, &str) = ("uniform", "log_uniform_values");
const STEPPED: (&str, &str) = ("q_uniform", "q_log_uniform_values");

fn program_execution(program: &Program, execution: &mut Mapping) {
    if program.arguments != ArgumentStyle::default() {
        execution.insert("arguments".into(), program.arguments.as_str().into());
    }
    if !program.env.is_empty() {
        let variable = |(name, value): &(String, String)| (name.clone(), Value::from(value.as_str()));
        insert(execution, "env", program.env.iter().map(variable).map(pair).collect());
    }
    if let Some(parameter) = &program.epochs_parameter {
        execution.insert("epochs_parameter".into(), parameter.as_str().into());
    }
    execution.insert("files".into(), texts(&program.files));
    if let Some(snapshot) = program.snapshot {
        execution.insert("snapshot".into(), snapshot.to_string().into());
    }
}

fn numbers<T>(table: &[NumberKey<T>], section: &T) -> Mapping {
    let number = |key: &NumberKey<T>| Some((key.name, (key.write)((key.get)(section)?)));
    mapping(table.iter().filter_map(number))
}

fn texts(texts: &[String]) -> Value {
    Value::Sequence(texts.iter().map(|text| text.as_str().into()).collect())
}

fn to_value(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Null => Value::Null,
        ParameterValue::Boolean(value) => (*value).into(),
        ParameterValue::Integer(number) => (*number).into(),
        ParameterValue::Float(number) => (*number).into(),
        ParameterValue::Text(text) => text.as_str().into(),
    }
}

fn pair((key, value): (String, Value)) -> (Value, Value) {
    (Value::from(key), value)
}

fn mapping<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Mapping {
    pairs.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
}

fn insert(file: &mut Mapping, key: &str, value: Mapping) {
    file.insert(key.into(), Value::Mapping(value));
}
