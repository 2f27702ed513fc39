//! The section `parameters`: each parameter with one value, a list of values, or a range.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};
use terms::{
    ParameterValue,
    manifest::{ManifestParameter, PARAMETERS_MAX},
};

use super::{
    distribution::Distribution,
    drawn::{Range, Shape},
    keys::{Read, Section, known_key},
    known::Known,
    range::{Scale, Steps, range},
    suggestion::suggestion,
    value::{CountSeed, EndSeed, ValueSeed, ValuesSeed, without_duplicates},
    when::WhenSeed,
};
use crate::space::{Domain, Name, Requirement};

/// The parameters that a file names, with their values checked and without duplicates.
#[derive(Debug, Default)]
pub(super) struct RawParameters(pub(super) Vec<RawAxis>);

/// A parameter that a file names.
#[derive(Debug)]
pub(super) struct RawAxis {
    pub(super) name: Name,
    pub(super) domain: Domain,
    pub(super) when: Option<Vec<Requirement>>,
}

impl RawParameters {
    /// Overrides this with what `top` says; conditions stay where `top` has none.
    pub(super) fn overlay(&mut self, top: Self) {
        for axis in top.0 {
            match self.0.iter_mut().find(|below| below.name == axis.name) {
                None => self.0.push(axis),
                Some(below) => {
                    below.domain = axis.domain;
                    below.when = axis.when.or(below.when.take());
                }
            }
        }
    }

    /// The names, in the order of the file.
    pub(super) fn names(&self) -> Vec<Name> {
        self.0.iter().map(|axis| axis.name.clone()).collect()
    }
}

/// Reads parameters whose names begin with `prefix`.
pub(super) struct ParametersSeed<'a> {
    pub(super) known: Known<'a>,
    /// Whether values may be drawn.
    pub(super) draws: bool,
    /// Empty, or a name followed by a dot.
    pub(super) prefix: String,
}

impl<'de> DeserializeSeed<'de> for ParametersSeed<'_> {
    type Value = RawParameters;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawParameters, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ParametersSeed<'_> {
    type Value = RawParameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters by name, as in `learning_rate: {values: [0.01, 0.001]}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawParameters, A::Error> {
        let mut parameters: Vec<RawAxis> = Vec::new();
        let Self { known, draws, prefix } = self;
        while let Some(parameter) = map.next_key_seed(ParameterName { known, prefix: &prefix })? {
            let fields = Fields::new(known, draws, parameter);
            let axes = map.next_value_seed(Read(fields))?;
            for axis in axes {
                if let Some(other) = parameters.iter().find(|other| collide(&other.name, &axis.name)) {
                    return Err(A::Error::custom(collision(&other.name, &axis.name)));
                }
                parameters.push(axis);
            }
            if parameters.len() > PARAMETERS_MAX {
                return Err(A::Error::custom(format!("there are more than {PARAMETERS_MAX} parameters")));
            }
        }
        Ok(RawParameters(parameters))
    }
}

/// Whether two names exclude each other: they are equal, or one is the group of the other.
fn collide(one: &str, other: &str) -> bool {
    let is_group =
        |group: &str, name: &str| name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
    one == other || is_group(one, other) || is_group(other, one)
}

fn collision(one: &str, other: &str) -> String {
    if one == other {
        return format!("the parameter `{one}` is listed twice");
    }
    let (group, name) = if one.len() < other.len() { (one, other) } else { (other, one) };
    format!("`{group}` is a parameter and also the group of `{name}`; rename one of them")
}

/// Reads a key that must be a parameter's name, so that an unknown one is reported with its own line.
pub(super) struct ParameterName<'a, 'b> {
    pub(super) known: Known<'a>,
    pub(super) prefix: &'b str,
}

impl<'de, 'a> DeserializeSeed<'de> for ParameterName<'a, '_> {
    type Value = Cow<'a, ManifestParameter>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for ParameterName<'a, '_> {
    type Value = Cow<'a, ManifestParameter>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        self.known.parameter(&format!("{}{name}", self.prefix)).map_err(E::custom)
    }
}

/// What a file says about one parameter.
struct Fields<'a> {
    known: Known<'a>,
    draws: bool,
    parameter: Cow<'a, ManifestParameter>,
    listed: Option<Vec<ParameterValue>>,
    min: Option<ParameterValue>,
    max: Option<ParameterValue>,
    count: Option<usize>,
    step: Option<ParameterValue>,
    scale: Option<Scale>,
    distribution: Option<Distribution>,
    shape: Shape,
    when: Option<Vec<Requirement>>,
    nested: Option<RawParameters>,
}

const KEYS: [&str; 10] =
    ["value", "values", "min", "max", "count", "scale", "q", "distribution", "when", "parameters"];
/// W&B's keys for distributions that a grid cannot have.
const DRAWN: [&str; 5] = ["mu", "sigma", "probabilities", "a", "b"];

impl<'a> Fields<'a> {
    fn new(known: Known<'a>, draws: bool, parameter: Cow<'a, ManifestParameter>) -> Self {
        Self {
            known,
            draws,
            parameter,
            listed: None,
            min: None,
            max: None,
            count: None,
            step: None,
            scale: None,
            distribution: None,
            shape: Shape::default(),
            when: None,
            nested: None,
        }
    }

    fn domain(&mut self) -> Result<Domain, String> {
        if !self.draws {
            return self.values().map(Domain::Values);
        }
        let range = match (self.listed.take(), self.count) {
            (Some(values), _) => {
                let has_range = self.min.is_some() || self.max.is_some() || self.count.is_some();
                if has_range || self.step.is_some() || self.scale.is_some() {
                    let name = &self.parameter.name;
                    return Err(format!("`{name}` must have either values or a range, not both"));
                }
                return self.shape.of_values(&self.parameter.name, self.distribution, values);
            }
            (None, Some(_)) => {
                self.shape.of_count(&self.parameter.name, self.distribution)?;
                return self.values().map(Domain::Values);
            }
            (None, None) => Range {
                distribution: self.distribution,
                scale: self.scale,
                ends: (self.min.take(), self.max.take()),
                step: self.step.take(),
            },
        };
        self.shape.drawn(&self.parameter, range)
    }

    fn values(&mut self) -> Result<Vec<ParameterValue>, String> {
        let name = &self.parameter.name;
        let (is_list, is_range) = (self.listed.is_some(), self.min.is_some() || self.max.is_some());
        let has_steps = self.count.is_some() || self.step.is_some() || self.scale.is_some();
        if is_list && (is_range || has_steps) {
            return Err(format!("`{name}` must have either values or a range, not both"));
        }
        if let Some(distribution) = self.distribution {
            distribution.check(name, is_list, self.count.is_some(), self.step.is_some())?;
        }
        if let Some(values) = self.listed.take() {
            return Ok(values);
        }
        let scale = self.scale.or(self.distribution.and_then(Distribution::scale)).unwrap_or(Scale::Linear);
        let (Some(min), Some(max)) = (self.min.take(), self.max.take()) else {
            return Err(self.incomplete());
        };
        let is_whole = matches!((&min, &max), (ParameterValue::Integer(_), ParameterValue::Integer(_)));
        let steps = match (self.count, self.step.take()) {
            (Some(_), Some(_)) => {
                return Err(format!("`{name}` must have either `count` or `q`, not both"));
            }
            (Some(count), None) => Steps::Count(count),
            (None, Some(step)) => Steps::Of(step),
            (None, None) if is_whole => Steps::Of(ParameterValue::Integer(1)),
            (None, None) => return Err(self.incomplete()),
        };
        range(&self.parameter, (&min, &max), &steps, scale).map(without_duplicates)
    }

    /// The keys of distributions, where values may be drawn.
    fn drawn_keys(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        DRAWN.into_iter().take(if self.draws { DRAWN.len() } else { 0 })
    }

    fn incomplete(&self) -> String {
        format!("`{}` needs `value`, `values`, or all of `min`, `max` and `count`", self.parameter.name)
    }
}

/// The error about an unknown key of a parameter. Who writes `opt: {lr: …}` means a group, which is written in another way.
fn unknown_key(error: String, group: &str, name: &str) -> String {
    if !suggestion(name, KEYS).is_empty() {
        return error;
    }
    let group = group.rsplit('.').next().unwrap_or(group);
    let name: String = name.chars().take(SHOWN_CHARACTERS_MAX).collect();
    format!(
        "`{name}` is no key of a parameter, which has `value`, `values`, or `min`, `max` and `count`; if it is a parameter in the \
         group `{group}`, write `{group}: {{parameters: {{{name}: {{values: […]}}}}}}`"
    )
}

/// Longest part of an unknown key that a way to write it repeats, in characters.
const SHOWN_CHARACTERS_MAX: usize = 60;

impl<'de, 'a> Section<'de> for Fields<'a> {
    type Output = Vec<RawAxis>;

    fn expecting(&self) -> &str {
        "`{value: …}`, `{values: […]}` or `{min: …, max: …, count: …, scale: linear|log}`"
    }

    fn key(&self, name: &str) -> Result<&'static str, String> {
        let own = &self.parameter.name;
        match (name, self.known) {
            ("when", Known::Model(model)) if self.parameter.needs.is_empty() => Err(format!(
                "`when` is for parameters of programs, and for those that need a value of another: each job of {} has a value of \
                 `{own}`",
                model.name
            )),
            ("parameters", Known::Model(model)) => {
                Err(format!("`{own}` has no parameters of its own: those of {} do not nest", model.name))
            }
            _ if DRAWN.contains(&name) && !self.draws => Err(format!(
                "`{name}` of `{own}` is for values that are drawn, which `method: grid` does not do; write `values`, or \
                 `min`, `max` and `count`"
            )),
            (_, Known::Model(_)) => {
                let is_offered = |key: &&str| match *key {
                    "parameters" => false,
                    "when" => !self.parameter.needs.is_empty(),
                    _ => true,
                };
                known_key(name, KEYS.into_iter().filter(is_offered).chain(self.drawn_keys()))
            }
            _ => known_key(name, KEYS.into_iter().chain(self.drawn_keys()))
                .map_err(|error| unknown_key(error, own, name)),
        }
    }

    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        let parameter = &*self.parameter;
        match key {
            "value" | "values" if self.listed.is_some() => {
                return Err(A::Error::custom(format!("`{}` has its values twice", parameter.name)));
            }
            "value" => self.listed = Some(vec![map.next_value_seed(ValueSeed(parameter))?]),
            "values" => self.listed = Some(map.next_value_seed(ValuesSeed(parameter))?),
            "min" => self.min = Some(map.next_value_seed(EndSeed::new(parameter, self.distribution))?),
            "max" => self.max = Some(map.next_value_seed(EndSeed::new(parameter, self.distribution))?),
            "count" => self.count = map.next_value_seed(CountSeed)?,
            "scale" => self.scale = Some(map.next_value()?),
            "q" => self.step = Some(map.next_value_seed(super::range::StepSeed)?),
            "distribution" => self.distribution = Some(map.next_value()?),
            "mu" => self.shape.mean = Some(map.next_value()?),
            "sigma" => self.shape.deviation = Some(map.next_value()?),
            "a" => self.shape.a = Some(map.next_value()?),
            "b" => self.shape.b = Some(map.next_value()?),
            "probabilities" => self.shape.probabilities = Some(map.next_value()?),
            "when" => self.when = Some(map.next_value_seed(WhenSeed(self.known))?),
            _ => {
                let prefix = format!("{}.", parameter.name);
                self.nested = Some(map.next_value_seed(ParametersSeed {
                    known: self.known,
                    draws: self.draws,
                    prefix,
                })?);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RawAxis>, String> {
        if let Some(nested) = self.nested.take() {
            let has_values = self.listed.is_some() || self.min.is_some() || self.max.is_some();
            if has_values || self.when.is_some() {
                return Err(format!(
                    "`{}` has `parameters`, so it is a group and cannot have values or conditions itself",
                    self.parameter.name
                ));
            }
            return Ok(nested.0);
        }
        let domain = self.domain()?;
        Ok(vec![RawAxis { name: self.parameter.name.as_str().into(), domain, when: self.when }])
    }
}
