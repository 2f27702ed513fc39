//! Points that a searcher outside proposes: whether each is one of the space, and how the space writes it.

use std::fmt;

use terms::{ParameterMap, ParameterValue};

use super::LearnedPoints;
use crate::space::{Conditions, Domain, Name, PartialPoint, completed};

/// Values of a list that a message names; more would fill the screen.
const NAMED_MAX: usize = 8;

/// Why a point is not one of the space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchPoint {
    #[error("`{name}` is not one of the parameters, which are {known}")]
    Unknown {
        name: String,
        /// All that there are.
        known: String,
    },
    #[error("`{0}` is given twice")]
    Twice(String),
    #[error("`{name}` must be {allowed}, but is {found}")]
    Outside {
        name: String,
        /// What the sweep file allows.
        allowed: String,
        found: String,
    },
    #[error("`{0}` is missing")]
    Missing(String),
    #[error("`{0}` has no value there, only where its condition (`when`) holds; leave it out")]
    WithoutValue(String),
    #[error("the sweep file excludes {0}")]
    Excluded(String),
}

/// A point of the space, as the space orders and writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedPoint(ParameterMap);

impl CheckedPoint {
    pub fn parameters(&self) -> &ParameterMap {
        &self.0
    }
}

/// Checks points; made once for many.
#[derive(Debug)]
pub struct PointCheck<'a> {
    points: &'a LearnedPoints,
    conditions: Conditions,
    /// The entries of `exclude` with the values as the space writes them, by axis. One with another value excludes nothing.
    excluded: Vec<(Vec<(usize, ParameterValue)>, &'a PartialPoint)>,
}

impl LearnedPoints {
    /// What checks points of this space.
    pub fn check(&self) -> PointCheck<'_> {
        let axes = self.axes();
        let own = |(name, value): &(Name, ParameterValue)| {
            let axis = axes.iter().position(|axis| axis.name == *name)?;
            Some((axis, axes[axis].domain.own(value)?))
        };
        PointCheck {
            points: self,
            // The axes passed this check with their sweep file.
            conditions: Conditions::new(axes).unwrap_or_default(),
            excluded: self
                .exclude()
                .iter()
                .filter_map(|entry| Some((entry.iter().map(own).collect::<Option<_>>()?, entry)))
                .collect(),
        }
    }
}

impl PointCheck<'_> {
    /// The point with these parameters. Those that have one value may be left out.
    ///
    /// # Errors
    /// It is not one of the space.
    pub fn of(&self, given: &ParameterMap) -> Result<CheckedPoint, NoSuchPoint> {
        let axes = self.points.axes();
        let mut named = PartialPoint::new();
        for (name, value) in &given.0 {
            let Some(axis) = axes.iter().find(|axis| *axis.name == **name) else {
                let known: Vec<_> = axes.iter().map(|axis| &*axis.name).collect();
                return Err(NoSuchPoint::Unknown { name: name.clone(), known: known.join(", ") });
            };
            if named.iter().any(|(other, _)| *other == axis.name) {
                return Err(NoSuchPoint::Twice(name.clone()));
            }
            let Some(own) = axis.domain.own(value) else {
                let (allowed, found) = (axis.domain.to_string(), value.written());
                return Err(NoSuchPoint::Outside { name: name.clone(), allowed, found });
            };
            named.push((axis.name.clone(), own));
        }
        let point = completed(axes, &self.conditions, &named);
        for (axis, value) in axes.iter().zip(&point) {
            let is_named = named.iter().any(|(name, _)| *name == axis.name);
            match value {
                Some(_) if !is_named && !axis.domain.is_constant() => {
                    return Err(NoSuchPoint::Missing(axis.name.to_string()));
                }
                None if is_named => return Err(NoSuchPoint::WithoutValue(axis.name.to_string())),
                _ => {}
            }
        }
        let has = |(axis, value): &(usize, ParameterValue)| point[*axis].as_ref() == Some(value);
        match self.excluded.iter().find(|(values, _)| values.iter().all(has)) {
            Some((_, entry)) => Err(NoSuchPoint::Excluded(words(entry))),
            None => Ok(CheckedPoint(self.points.map(&point))),
        }
    }
}

fn words(pattern: &PartialPoint) -> String {
    let each = pattern.iter().map(|(name, value)| format!("{name}={value}"));
    each.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Domain {
    /// What a value must be, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) | Self::Weighted(values, _) => {
                let named: Vec<_> = values.iter().take(NAMED_MAX).map(ParameterValue::written).collect();
                let more = values.len().saturating_sub(NAMED_MAX);
                match (named.len(), more) {
                    (1, 0) => f.write_str(&named[0]),
                    (_, 0) => write!(f, "one of {}", named.join(", ")),
                    _ => write!(f, "one of {} and {more} more", named.join(", ")),
                }
            }
            Self::Float { low, high, step: None, .. } => write!(f, "a number from {low} to {high}"),
            Self::Float { low, high, step: Some(step), .. } => {
                write!(f, "a number from {low} to {high} in steps of {step}")
            }
            Self::Integer { low, high, step: 1, .. } => write!(f, "a whole number from {low} to {high}"),
            Self::Integer { low, high, step, .. } => {
                write!(f, "a whole number from {low} to {high} in steps of {step}")
            }
            Self::Normal { is_log, step, .. } => {
                let number = if *is_log { "a number above 0" } else { "a number" };
                multiple(f, number, step.as_ref())
            }
            Self::Beta { step, .. } => multiple(f, "a number from 0 to 1", step.as_ref()),
        }
    }
}

fn multiple(f: &mut fmt::Formatter<'_>, number: &str, step: Option<&ParameterValue>) -> fmt::Result {
    match step {
        None => f.write_str(number),
        Some(step) => write!(f, "{number}, a multiple of {step}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::specification::{Models, Specification, SpecificationSource};

    fn points(parameters: &str, more: &str) -> LearnedPoints {
        let text = format!(
            "name: x\nmethod: external\nrun_cap: 5\nprogram: train.py\nmetric: {{name: loss, goal: minimize}}\n{more}parameters: {parameters}\n"
        );
        let source = SpecificationSource {
            text,
            file_name: "x.yaml".to_owned(),
            overrides: Vec::new(),
            dataset_path: None,
            models: Models::default(),
            ..SpecificationSource::default()
        };
        let (_, jobs) = Specification::parse_with_jobs(&source).unwrap();
        jobs.learned().unwrap().clone()
    }

    fn given(json: &str) -> ParameterMap {
        let object: BTreeMap<String, ParameterValue> = serde_yaml::from_str(json).unwrap();
        ParameterMap(object.into_iter().collect())
    }

    fn said(points: &LearnedPoints, json: &str) -> String {
        match points.check().of(&given(json)) {
            Ok(CheckedPoint(ParameterMap(parameters))) => {
                let each = parameters.iter().map(|(name, value)| format!("{name}={}", value.written()));
                each.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_point_is_written_as_the_space_does_and_one_outside_is_refused_by_name() {
        let space = "{rate: {min: 0.001, max: 0.1, distribution: log_uniform_values}, size: {min: 8, max: 64, q: 8}, kind: {values: \
                     [a, b]}, depth: {values: [1, 2], when: {kind: b}}, share: {min: 0.0, max: 1.0, q: 0.1}, fixed: {value: 3}}";
        let points = points(space, "exclude: [{kind: a, size: 8}]\n");
        for (json, expected) in [
            (
                r#"{"share": 0.30000000000000004, "rate": 0.01, "size": 16.0, "kind": "a"}"#,
                "rate=`0.01` size=`16` kind=`a` share=`0.3` fixed=`3`",
            ),
            (
                r#"{"rate": 0.1, "size": 8, "kind": "b", "depth": 2.0, "share": 1, "fixed": 3}"#,
                "rate=`0.1` size=`8` kind=`b` depth=`2` share=`1.0` fixed=`3`",
            ),
            (
                r#"{"rate": 0.2, "size": 16, "kind": "a", "share": 0}"#,
                "`rate` must be a number from 0.001 to 0.1, but is `0.2`",
            ),
            (
                r#"{"rate": "x", "size": 16, "kind": "a", "share": 0}"#,
                "`rate` must be a number from 0.001 to 0.1, but is `x`",
            ),
            (
                r#"{"rate": 0.01, "size": 12, "kind": "a", "share": 0}"#,
                "`size` must be a whole number from 8 to 64 in steps of 8, but is `12`",
            ),
            (
                r#"{"rate": 0.01, "size": 16, "kind": "c", "share": 0}"#,
                "`kind` must be one of `a`, `b`, but is `c`",
            ),
            (
                r#"{"rate": 0.01, "size": 16, "kind": "a", "share": 0.35}"#,
                "`share` must be a number from 0 to 1 in steps of 0.1, but is `0.35`",
            ),
            (
                r#"{"rate": 0.01, "size": 16, "kind": "a", "share": 0, "fixed": 4}"#,
                "`fixed` must be `3`, but is `4`",
            ),
            (r#"{"rate": 0.01, "size": 16, "kind": "a"}"#, "`share` is missing"),
            (r#"{"rate": 0.01, "size": 16, "kind": "b", "share": 0}"#, "`depth` is missing"),
            (
                r#"{"rate": 0.01, "size": 16, "kind": "a", "depth": 1, "share": 0}"#,
                "`depth` has no value there, only where its condition (`when`) holds; leave it out",
            ),
            (
                r#"{"rate": 0.01, "size": 8, "kind": "a", "share": 0}"#,
                "the sweep file excludes kind=a size=8",
            ),
            (
                r#"{"speed": 1}"#,
                "`speed` is not one of the parameters, which are rate, size, kind, depth, share, fixed",
            ),
        ] {
            assert_eq!(said(&points, json), expected, "{json}");
        }
        let twice = ParameterMap(vec![("kind".to_owned(), ParameterValue::Text("a".to_owned())); 2]);
        assert_eq!(points.check().of(&twice), Err(NoSuchPoint::Twice("kind".to_owned())));
    }

    #[test]
    fn numbers_of_distributions_without_ends_are_taken_as_they_are() {
        let space = "{a: {distribution: normal}, b: {distribution: log_normal}, c: {distribution: q_normal, q: 2}, d: {distribution: beta, \
                     a: 1, b: 2}}";
        let points = points(space, "");
        assert_eq!(
            said(&points, r#"{"a": -7, "b": 1e-9, "c": 4, "d": 0.5}"#),
            "a=`-7.0` b=`1e-9` c=`4` d=`0.5`"
        );
        for (json, expected) in [
            (r#"{"a": 0, "b": 0, "c": 4, "d": 0.5}"#, "`b` must be a number above 0, but is `0`"),
            (r#"{"a": 0, "b": 1, "c": 3, "d": 0.5}"#, "`c` must be a number, a multiple of 2, but is `3`"),
            (r#"{"a": 0, "b": 1, "c": 4, "d": 1.5}"#, "`d` must be a number from 0 to 1, but is `1.5`"),
            (r#"{"a": true, "b": 1, "c": 4, "d": 0.5}"#, "`a` must be a number, but is `true`"),
        ] {
            assert_eq!(said(&points, json), expected, "{json}");
        }
    }
}
