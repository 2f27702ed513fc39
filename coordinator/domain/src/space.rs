//! The space of a sweep: its parameters with their values, and under which conditions each has one.

pub mod domain;

use std::{collections::HashSet, sync::Arc};

use terms::ParameterValue;

pub use self::domain::Domain;

/// A parameter's name; nested names are joined by dots.
pub type Name = Arc<str>;

/// One parameter and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub name: Name,
    pub domain: Domain,
    /// What must hold in a point for the parameter to have a value there; usually empty.
    pub when: Vec<Requirement>,
}

impl Axis {
    /// A parameter with these values, which are not empty.
    pub fn listed(name: impl Into<Name>, values: Vec<ParameterValue>) -> Self {
        Self { name: name.into(), domain: Domain::Values(values), when: Vec::new() }
    }

    /// Its values where it lists them; empty where they are a range.
    pub fn values(&self) -> &[ParameterValue] {
        self.domain.listed()
    }
}

/// Requires that a parameter has one of some values.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    pub name: Name,
    /// The allowed values, never empty.
    pub values: Vec<ParameterValue>,
}

/// Conditions for people: `` `optimizer` is `sgd` or `nag` ``.
pub fn written_condition(when: &[Requirement]) -> String {
    let each = when.iter().map(|requirement| {
        let values: Vec<String> = requirement.values.iter().map(ParameterValue::written).collect();
        format!("`{}` is {}", requirement.name, values.join(" or "))
    });
    each.collect::<Vec<_>>().join(" and ")
}

/// Some parameters of a point, in the order of the file.
pub type PartialPoint = Vec<(Name, ParameterValue)>;

/// A point: for each axis its value, or none where its conditions do not hold.
pub type Point = Vec<Option<ParameterValue>>;

/// Axes by their position, one bit each.
pub type AxisSet = u128;

/// Most axes of a space, as an [`AxisSet`] has bits.
pub const AXES_MAX: usize = 128;
const _: () = assert!(terms::manifest::PARAMETERS_MAX <= AXES_MAX);

/// Why the conditions of a space cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// More axes than an [`AxisSet`] holds.
    #[error("there are {0} parameters; a sweep may have at most {AXES_MAX}")]
    TooManyAxes(usize),
    /// A condition names a parameter that does not exist.
    #[error("`{of}` has a value only where `{on}` has certain ones, but there is no parameter `{on}`")]
    Unknown {
        of: Name,
        /// What it names.
        on: Name,
    },
    /// A condition names a parameter whose values are drawn from infinitely many.
    #[error(
        "`{of}` has a value only where `{on}` has certain ones, but `{on}` is drawn from a range and hardly ever has \
         exactly one of them; list its values, or give it a `q`"
    )]
    Drawn {
        of: Name,
        /// What it names.
        on: Name,
    },
    /// Conditions that depend on their own parameter.
    #[error(
        "the conditions of {0} depend on each other in a circle, so that none of them could have a value"
    )]
    Circle(String),
}

/// When the parameters of a space have values.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// For each axis that has conditions; those that it depends on come before it.
    rules: Vec<Rule>,
}

/// When one axis has a value.
#[derive(Debug, Clone)]
struct Rule {
    axis: usize,
    needs: Vec<Need>,
}

#[derive(Debug, Clone)]
struct Need {
    /// The other axis.
    axis: usize,
    /// Which of its listed positions satisfy the condition.
    positions: Vec<bool>,
    /// The positions that do where they are not listed.
    cells: Vec<u64>,
    values: Vec<ParameterValue>,
}

impl Need {
    fn is_met_at(&self, position: u64) -> bool {
        if self.positions.is_empty() {
            return self.cells.contains(&position);
        }
        self.positions.get(position as usize).copied().unwrap_or(false)
    }
}

impl Conditions {
    /// The conditions of `axes`, in an order in which they can be decided.
    ///
    /// # Errors
    /// A condition names an unknown parameter, or depends on its own.
    pub fn new(axes: &[Axis]) -> Result<Self, ConditionError> {
        if axes.len() > AXES_MAX {
            return Err(ConditionError::TooManyAxes(axes.len()));
        }
        let mut open = Vec::new();
        for (axis, own) in axes.iter().enumerate().filter(|(_, own)| !own.when.is_empty()) {
            let needs = own.when.iter().map(|requirement| need(axes, own, requirement));
            open.push(Rule { axis, needs: needs.collect::<Result<_, _>>()? });
        }
        let mut rules = Vec::new();
        while !open.is_empty() {
            let undecided: HashSet<usize> = open.iter().map(|rule| rule.axis).collect();
            let waits = |rule: &Rule| rule.needs.iter().any(|need| undecided.contains(&need.axis));
            let (waiting, decided): (Vec<Rule>, Vec<Rule>) = open.into_iter().partition(waits);
            if decided.is_empty() {
                let names = waiting.iter().map(|rule| format!("`{}`", axes[rule.axis].name));
                return Err(ConditionError::Circle(names.collect::<Vec<_>>().join(", ")));
            }
            rules.extend(decided);
            open = waiting;
        }
        Ok(Self { rules })
    }

    /// Whether every parameter always has a value.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The axes that have no value when the axes are at these positions.
    pub fn without_value<D: Copy + Into<u64>>(&self, digits: &[D]) -> AxisSet {
        self.decide(|need| need.is_met_at(digits[need.axis].into()))
    }

    /// The axes that have no value in a point, which lists a value even for those.
    pub fn without_value_at(&self, point: &[ParameterValue]) -> AxisSet {
        self.decide(|need| need.values.contains(&point[need.axis]))
    }

    fn decide(&self, is_met: impl Fn(&Need) -> bool) -> AxisSet {
        self.rules.iter().fold(0, |set, rule| {
            let holds = rule.needs.iter().all(|need| !contains(set, need.axis) && is_met(need));
            if holds { set } else { set | 1 << rule.axis }
        })
    }
}

/// Whether an axis is one of a set.
pub fn contains(set: AxisSet, axis: usize) -> bool {
    set >> axis & 1 == 1
}

fn need(axes: &[Axis], own: &Axis, requirement: &Requirement) -> Result<Need, ConditionError> {
    let axis = axes.iter().position(|axis| axis.name == requirement.name);
    let axis =
        axis.ok_or_else(|| ConditionError::Unknown { of: own.name.clone(), on: requirement.name.clone() })?;
    let domain = &axes[axis].domain;
    if domain.cells().is_none() {
        return Err(ConditionError::Drawn { of: own.name.clone(), on: requirement.name.clone() });
    }
    let positions: Vec<bool> =
        domain.listed().iter().map(|value| requirement.values.contains(value)).collect();
    let cells = match positions.is_empty() {
        true => requirement.values.iter().filter_map(|value| domain.position(value)).collect(),
        false => Vec::new(),
    };
    Ok(Need { axis, positions, cells, values: requirement.values.clone() })
}

/// Completes a point of which `partial` names some parameters. A parameter whose conditions do not hold has no value;
/// every other one has its axis's first, which for a constant is the only one.
pub fn completed(axes: &[Axis], conditions: &Conditions, partial: &PartialPoint) -> Point {
    let named = |axis: &Axis| partial.iter().find(|(name, _)| *name == axis.name).map(|(_, value)| value);
    let value = |axis| named(axis).cloned().unwrap_or_else(|| axis.domain.first());
    let values: Vec<_> = axes.iter().map(value).collect();
    let without = conditions.without_value_at(&values);
    let value = |(axis, value)| (!contains(without, axis)).then_some(value);
    values.into_iter().enumerate().map(value).collect()
}

/// A value that can be looked up. Values of different types differ, even if they look alike. Floats are finite, and equal
/// ones have equal bits, as -0 is read as 0; only sweeps of earlier versions have both, as two values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueKey {
    /// The parameter has no value.
    Absent,
    /// See [`ParameterValue::Null`].
    Null,
    /// See [`ParameterValue::Boolean`].
    Boolean(bool),
    /// See [`ParameterValue::Integer`].
    Integer(i64),
    /// The bits of a [`ParameterValue::Float`].
    Float(u64),
    /// See [`ParameterValue::Text`].
    Text(String),
}

impl From<&ParameterValue> for ValueKey {
    fn from(value: &ParameterValue) -> Self {
        match value {
            ParameterValue::Null => Self::Null,
            ParameterValue::Boolean(value) => Self::Boolean(*value),
            ParameterValue::Integer(number) => Self::Integer(*number),
            ParameterValue::Float(number) => Self::Float(number.to_bits()),
            ParameterValue::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl From<&Option<ParameterValue>> for ValueKey {
    fn from(value: &Option<ParameterValue>) -> Self {
        value.as_ref().map_or(Self::Absent, Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(name: &str, values: &[i64], when: &[(&str, &[i64])]) -> Axis {
        let numbers = |values: &[i64]| values.iter().copied().map(ParameterValue::Integer).collect();
        let requirement =
            |(name, values): &(&str, &[i64])| Requirement { name: (*name).into(), values: numbers(values) };
        Axis { when: when.iter().map(requirement).collect(), ..Axis::listed(name, numbers(values)) }
    }

    #[test]
    fn a_condition_on_a_parameter_without_a_value_does_not_hold() {
        let axes =
            [axis("c", &[1, 2], &[("b", &[1])]), axis("b", &[1, 2], &[("a", &[2])]), axis("a", &[1, 2], &[])];
        let conditions = Conditions::new(&axes).unwrap();
        assert_eq!(conditions.without_value(&[0u32, 0, 0]), 0b011);
        assert_eq!(conditions.without_value(&[0u32, 0, 1]), 0);
        assert_eq!(conditions.without_value(&[0u32, 1, 1]), 0b001);
        let point = completed(&axes, &conditions, &vec![("a".into(), ParameterValue::Integer(2))]);
        assert_eq!(point, [1, 1, 2].map(|value| Some(ParameterValue::Integer(value))));
    }

    #[test]
    fn conditions_that_lead_nowhere_or_back_are_refused() {
        let circle = [axis("a", &[1], &[("b", &[1])]), axis("b", &[1], &[("a", &[1])])];
        assert!(
            matches!(Conditions::new(&circle), Err(ConditionError::Circle(names)) if names == "`a`, `b`")
        );
        let own = [axis("a", &[1], &[("a", &[1])])];
        assert!(matches!(Conditions::new(&own), Err(ConditionError::Circle(_))));
        let unknown = [axis("a", &[1], &[("b", &[1])])];
        assert!(matches!(Conditions::new(&unknown), Err(ConditionError::Unknown { .. })));
    }
}
