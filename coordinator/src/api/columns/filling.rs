//! Columns of values that are being filled: few different values are kept once each, many numbers as they are.

use std::collections::{HashMap, hash_map::Entry};

use terms::ParameterValue;

/// Different numbers of a parameter that are kept each once, with an index of one byte a job; with more, each job has its number.
const NUMBERS_MAX: usize = 256;
/// As many different values are looked through for an equal one, which is faster than hashing a value of a few bytes and copies no text.
const LOOKED_THROUGH: usize = 16;
/// Different texts of a parameter that are kept.
const TEXTS_MAX: usize = 65_535;
/// The largest number up to which a number of four bytes tells all integers apart: seeds are larger.
const SHORT_MAX: u64 = 1 << 24;

/// The values of a parameter.
#[derive(Debug)]
pub enum ParameterColumn {
    /// Few that are different: each once, and which one each job has; [`ParameterColumn::ABSENT`] where it has none.
    Few { values: Vec<ParameterValue>, indexes: Vec<u32> },
    /// Numbers, nearly all of them different; NaN where a job has none.
    Numbers(Vec<f32>),
    /// The same where some are integers that four bytes cannot tell apart.
    Exact(Vec<f64>),
}

/// A value by which equal ones are found.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(u64),
    Text(String),
}

/// A column that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    known: HashMap<Key, u32>,
    pub(super) column: ParameterColumn,
}

impl Default for ParameterColumn {
    fn default() -> Self {
        Self::Few { values: Vec::new(), indexes: Vec::new() }
    }
}

impl ParameterColumn {
    /// Stands for no value among indexes.
    pub const ABSENT: u32 = u32::MAX;
}

impl Key {
    fn of(value: &ParameterValue) -> Self {
        match value {
            ParameterValue::Null => Self::Null,
            ParameterValue::Boolean(value) => Self::Boolean(*value),
            ParameterValue::Integer(value) => Self::Integer(*value),
            ParameterValue::Float(value) => Self::Float(value.to_bits()),
            ParameterValue::Text(value) => Self::Text(value.clone()),
        }
    }
}

/// A value as charts place it; none where it is no number.
pub(in super::super) fn number(value: &ParameterValue) -> Option<f32> {
    match value {
        // Charts are drawn to a few digits; whoever wants all of them asks for the job.
        ParameterValue::Integer(value) => Some(*value as f32),
        ParameterValue::Float(value) => Some(*value as f32),
        _ => None,
    }
}

/// The same with all its digits, as far as a browser has them.
pub(in super::super) fn exact(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Integer(value) => Some(*value as f64),
        ParameterValue::Float(value) => Some(*value),
        _ => None,
    }
}

fn is_long(value: &ParameterValue) -> bool {
    matches!(value, ParameterValue::Integer(value) if value.unsigned_abs() > SHORT_MAX)
}

impl Filling {
    pub(super) fn new() -> Self {
        Self { known: HashMap::new(), column: ParameterColumn::default() }
    }

    /// Pushes a text, which is mostly that of the row before.
    pub(super) fn push_text(&mut self, text: &str) {
        if let ParameterColumn::Few { values, indexes } = &mut self.column
            && let Some(last) = indexes.last().copied()
            && values
                .get(last as usize)
                .is_some_and(|known| matches!(known, ParameterValue::Text(known) if known == text))
        {
            indexes.push(last);
            return;
        }
        self.push(Some(&ParameterValue::Text(text.to_owned())));
    }

    pub(super) fn push(&mut self, value: Option<&ParameterValue>) {
        if let ParameterColumn::Few { values, indexes } = &mut self.column {
            let Some(value) = value else {
                indexes.push(ParameterColumn::ABSENT);
                return;
            };
            let count = values.len();
            if let Some(known) = values.iter().take(LOOKED_THROUGH).position(|known| is_same(known, value)) {
                indexes.push(u32::try_from(known).unwrap_or(ParameterColumn::ABSENT));
                return;
            }
            match self.known.entry(Key::of(value)) {
                Entry::Occupied(known) => indexes.push(*known.get()),
                Entry::Vacant(new) if count < NUMBERS_MAX || (count < TEXTS_MAX && !are_numbers(values)) => {
                    let index = u32::try_from(count).unwrap_or(ParameterColumn::ABSENT);
                    new.insert(index);
                    values.push(value.clone());
                    indexes.push(index);
                }
                Entry::Vacant(_) => {
                    self.spread();
                    self.push(Some(value));
                }
            }
        } else {
            self.push_number(value);
        }
    }

    fn push_number(&mut self, value: Option<&ParameterValue>) {
        if let ParameterColumn::Numbers(numbers) = &mut self.column {
            if !value.is_some_and(is_long) {
                numbers.push(value.and_then(number).unwrap_or(f32::NAN));
                return;
            }
            let numbers = numbers.iter().map(|number| f64::from(*number)).collect();
            self.column = ParameterColumn::Exact(numbers);
        }
        if let ParameterColumn::Exact(numbers) = &mut self.column {
            numbers.push(value.and_then(exact).unwrap_or(f64::NAN));
        }
    }

    /// Gives each job its number.
    fn spread(&mut self) {
        let ParameterColumn::Few { values, indexes } = &self.column else { return };
        let of = |index: &u32| values.get(*index as usize);
        self.column = if values.iter().any(is_long) {
            let number = |index| of(index).and_then(exact).unwrap_or(f64::NAN);
            ParameterColumn::Exact(indexes.iter().map(number).collect())
        } else {
            let number = |index| of(index).and_then(number).unwrap_or(f32::NAN);
            ParameterColumn::Numbers(indexes.iter().map(number).collect())
        };
        self.known = HashMap::new();
    }
}

/// Whether two values have equal keys.
fn is_same(one: &ParameterValue, other: &ParameterValue) -> bool {
    match (one, other) {
        (ParameterValue::Float(one), ParameterValue::Float(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

fn are_numbers(values: &[ParameterValue]) -> bool {
    values.iter().all(|value| number(value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: &[Option<ParameterValue>]) -> ParameterColumn {
        let mut filling = Filling::new();
        values.iter().for_each(|value| filling.push(value.as_ref()));
        filling.column
    }

    #[test]
    fn few_values_are_kept_once_each() {
        let text = |text: &str| Some(ParameterValue::Text(text.to_owned()));
        let column = filled(&[text("a"), None, text("b"), text("a"), Some(ParameterValue::Integer(1))]);
        let ParameterColumn::Few { values, indexes } = column else { panic!("{column:?}") };
        assert_eq!(values.len(), 3);
        assert_eq!(indexes, [0, ParameterColumn::ABSENT, 1, 0, 2]);
    }

    #[test]
    fn values_are_told_apart_as_keys_are() {
        use ParameterValue::{Boolean, Float, Integer, Null};
        let nan = || Some(Float(f64::NAN));
        let values = [
            nan(),
            Some(Float(0.0)),
            Some(Float(-0.0)),
            Some(Integer(0)),
            Some(Boolean(false)),
            Some(Null),
            nan(),
        ];
        let ParameterColumn::Few { values, indexes } = filled(&values) else { panic!() };
        assert_eq!((values.len(), indexes), (6, vec![0, 1, 2, 3, 4, 5, 0]));
        let mut filling = Filling::new();
        ["a", "a", "b", "a"].iter().for_each(|text| filling.push_text(text));
        assert!(matches!(filling.column, ParameterColumn::Few { indexes, .. } if indexes == [0, 0, 1, 0]));
    }

    #[test]
    fn many_numbers_stand_for_themselves_and_many_texts_do_not() {
        let count = NUMBERS_MAX as i64 + 10;
        let mut values: Vec<_> = (0..count).map(|n| Some(ParameterValue::Integer(n))).collect();
        values.insert(3, None);
        let column = filled(&values);
        let ParameterColumn::Numbers(numbers) = column else { panic!("{column:?}") };
        assert_eq!(numbers.len(), values.len());
        assert!(numbers[3].is_nan());
        assert_eq!((numbers[0], numbers[values.len() - 1]), (0.0, (count - 1) as f32));
        let texts: Vec<_> = (0..count).map(|n| Some(ParameterValue::Text(n.to_string()))).collect();
        assert!(matches!(filled(&texts), ParameterColumn::Few { values, .. } if values.len() == texts.len()));
    }

    #[test]
    fn integers_that_four_bytes_cannot_tell_apart_keep_all_their_digits() {
        let seeds = |first: i64| (0..300).map(move |n| Some(ParameterValue::Integer(first + n)));
        let column = filled(&seeds(123_456_789).chain([None]).collect::<Vec<_>>());
        let ParameterColumn::Exact(numbers) = column else { panic!("{column:?}") };
        assert_eq!(numbers[..2], [123_456_789.0, 123_456_790.0]);
        assert!(numbers[300].is_nan());
        // Also where the first ones are short.
        let column = filled(&seeds(1).chain(seeds(-20_000_001)).collect::<Vec<_>>());
        let ParameterColumn::Exact(numbers) = column else { panic!("{column:?}") };
        assert_eq!((numbers[1], numbers[300]), (2.0, -20_000_001.0));
        let short = filled(&seeds(SHORT_MAX as i64 - 299).collect::<Vec<_>>());
        assert!(matches!(short, ParameterColumn::Numbers(_)), "{short:?}");
    }
}
