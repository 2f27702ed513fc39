//! The parameters of a sweep as formats with types have them.

use terms::{ParameterMap, ParameterValue};

/// Whole numbers up to this size are exact as doubles.
pub(crate) const EXACT_MAX: i64 = 1 << 53;

/// A parameter and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    /// Values that the sweep file lists, in their order.
    pub listed: Vec<ParameterValue>,
    /// A range that it draws from.
    pub range: Option<Range>,
    /// Whether it may have other values, too: one of the sweep's files cannot be read.
    pub has_others: bool,
}

/// Numbers between two others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The ends; none where there is none.
    pub ends: Option<(f64, f64)>,
    /// Whether only whole numbers are drawn.
    pub is_whole: bool,
    /// Whether each order of magnitude is as likely as another.
    pub is_log: bool,
}

/// What type all values of a parameter have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    /// Whole numbers.
    Whole,
    /// Numbers, all of which are exact as doubles.
    Real,
    Text,
    /// Several types, or ones that are not known.
    Mixed,
}

impl Parameter {
    /// A parameter of which nothing is known but its name.
    pub fn unknown(name: &str) -> Self {
        Self { name: name.to_owned(), listed: Vec::new(), range: None, has_others: false }
    }

    /// What type its values have; those that are null have any.
    pub fn kind(&self) -> Kind {
        if self.has_others {
            return Kind::Mixed;
        }
        let range = self.range.map(|range| if range.is_whole { Kind::Whole } else { Kind::Real });
        let listed = self.listed.iter().filter_map(kind_of);
        range.into_iter().chain(listed).reduce(Kind::with).unwrap_or(Kind::Mixed)
    }

    /// Whether null is among its values.
    pub fn may_be_null(&self) -> bool {
        self.listed.contains(&ParameterValue::Null)
    }
}

/// The type of a value; null has none.
fn kind_of(value: &ParameterValue) -> Option<Kind> {
    match value {
        ParameterValue::Null => None,
        ParameterValue::Boolean(_) => Some(Kind::Boolean),
        ParameterValue::Integer(number) if number.unsigned_abs() > EXACT_MAX.unsigned_abs() => {
            Some(Kind::Mixed)
        }
        ParameterValue::Integer(_) => Some(Kind::Whole),
        ParameterValue::Float(_) => Some(Kind::Real),
        ParameterValue::Text(_) => Some(Kind::Text),
    }
}

impl Kind {
    /// The type that values of both have.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, two) if one == two => one,
            (Self::Whole, Self::Real) | (Self::Real, Self::Whole) => Self::Real,
            _ => Self::Mixed,
        }
    }
}

/// A number, if the value is one.
pub(crate) fn number(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Integer(number) => Some(*number as f64),
        ParameterValue::Float(number) => Some(*number),
        _ => None,
    }
}

/// For each parameter the value that a job has; jobs mostly have all, in the same order.
pub(crate) fn values<'a>(
    parameters: &'a [Parameter],
    of: &'a ParameterMap,
) -> impl Iterator<Item = (&'a Parameter, Option<&'a ParameterValue>)> {
    parameters.iter().enumerate().map(|(place, parameter)| {
        let guess = of.0.get(place).filter(|(name, _)| *name == parameter.name);
        let value = guess.map(|(_, value)| value).or_else(|| of.get(&parameter.name));
        (parameter, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(values: &[ParameterValue]) -> Parameter {
        Parameter { listed: values.to_vec(), ..Parameter::unknown("x") }
    }

    #[test]
    fn a_parameter_has_the_type_that_all_its_values_have() {
        use ParameterValue::{Boolean, Float, Integer, Null, Text};
        let text = || Text("a".into());
        for (values, kind) in [
            (vec![Integer(1), Integer(1 << 53)], Kind::Whole),
            (vec![Integer(1), Float(0.5)], Kind::Real),
            (vec![Null, Float(0.5)], Kind::Real),
            (vec![Boolean(true)], Kind::Boolean),
            (vec![text(), Null], Kind::Text),
            (vec![text(), Integer(1)], Kind::Mixed),
            (vec![Boolean(true), Integer(1)], Kind::Mixed),
            // As doubles they could be another number.
            (vec![Integer(1), Integer((1 << 53) + 1)], Kind::Mixed),
            (vec![Null], Kind::Mixed),
            (vec![], Kind::Mixed),
        ] {
            assert_eq!(listed(&values).kind(), kind, "{values:?}");
        }
        let range = Range { ends: Some((1.0, 9.0)), is_whole: true, is_log: false };
        let drawn = |values: &[ParameterValue]| Parameter { range: Some(range), ..listed(values) };
        assert_eq!([drawn(&[]).kind(), drawn(&[Float(0.5)]).kind()], [Kind::Whole, Kind::Real]);
        // As texts, all values have a place.
        assert_eq!(Parameter { has_others: true, ..drawn(&[]) }.kind(), Kind::Mixed);
    }
}
