//! The words of the table's filter. Of a column with few different values each is looked at once, and not each job.

use terms::ParameterValue;

use super::{Values, exact};
use crate::api::JobColumns;

/// Whether a value compares so with a limit.
type Comparison = fn(f64, f64) -> bool;

/// How a number is compared, the longer signs first.
const COMPARISONS: &[(&str, Comparison)] = &[
    ("<=", |value, limit| value <= limit),
    (">=", |value, limit| value >= limit),
    ("<", |value, limit| value < limit),
    (">", |value, limit| value > limit),
];

type Test<'a> = Box<dyn Fn(usize) -> bool + 'a>;

/// Whether a row has this word, which is in lower case.
pub(super) fn test<'a>(columns: &'a JobColumns, word: &str) -> Test<'a> {
    if let Some(test) = compared(columns, word).or_else(|| equal(columns, word)) {
        return test;
    }
    let mut tests: Vec<Test<'a>> = Vec::new();
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = word.to_owned();
        tests.push(Box::new(move |row| {
            columns.jobs.get(row).is_some_and(|job| has_digits(*job, digits.as_bytes()))
        }));
    }
    let word_of_state = word.to_owned();
    tests.push(Box::new(move |row| {
        columns.states.get(row).is_some_and(|state| state.as_str().contains(&word_of_state))
    }));
    tests.extend(contains("", Values::of(&columns.workers), word));
    for (name, column) in columns.parameters() {
        tests.extend(contains(&name.to_lowercase(), Values::of(column), word));
    }
    Box::new(move |row| tests.iter().any(|test| test(row)))
}

/// Whether a parameter equals a value, where the word is `name=value` with the name of one; without a name, whether any does, and without a
/// value, whether there is one at all.
fn equal<'a>(columns: &'a JobColumns, word: &str) -> Option<Test<'a>> {
    let (name, value) = word.split_once('=')?;
    let named =
        columns.parameters().iter().filter(|(known, _)| name.is_empty() || known.to_lowercase() == name);
    let tests: Vec<Test<'a>> = named.map(|(_, column)| equals(Values::of(column), value)).collect();
    // A value may have the sign in it.
    (!tests.is_empty()).then(|| Box::new(move |row: usize| tests.iter().any(|test| test(row))) as Test<'a>)
}

/// Whether a value is this one, as a number or as a text, or whether there is one where this is empty.
fn equals<'a>(values: Values<'a>, wanted: &str) -> Test<'a> {
    let (number, any) = (wanted.parse::<f64>().ok(), wanted.is_empty());
    match values {
        Values::Few(values, indexes) => {
            let is_it = |value: &ParameterValue| {
                let is_number = exact(value).is_some_and(|value| number == Some(value));
                any || is_number || value.to_string().to_lowercase() == wanted
            };
            of_index(values.iter().map(is_it).collect(), indexes)
        }
        Values::Real(numbers) => {
            // As the column has it, or a value would not equal itself.
            let number = number.map(|number| number as f32);
            Box::new(move |row| {
                numbers.get(row).is_some_and(|found| !found.is_nan() && (any || number == Some(*found)))
            })
        }
        Values::Exact(numbers) => Box::new(move |row| {
            numbers.get(row).is_some_and(|found| !found.is_nan() && (any || number == Some(*found)))
        }),
        Values::Whole(_) | Values::States(_) => Box::new(|_| false),
    }
}

/// Whether the value that a row has is one of those that hold.
fn of_index(holds: Vec<bool>, indexes: &[u32]) -> Test<'_> {
    Box::new(move |row| indexes.get(row).is_some_and(|index| holds.get(*index as usize) == Some(&true)))
}

/// Whether a number, as it is written, has these digits in it. No text is made of it, as there may be a million.
fn has_digits(mut number: u32, digits: &[u8]) -> bool {
    let mut written = [0; 10];
    let mut from = written.len();
    while from == written.len() || number > 0 {
        from -= 1;
        written[from] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    written[from..].windows(digits.len().max(1)).any(|some| some == digits)
}

/// A comparison of a parameter with a number, where the word is one.
fn compared<'a>(columns: &'a JobColumns, word: &str) -> Option<Test<'a>> {
    let (sign, holds) = COMPARISONS.iter().find(|(sign, _)| word.contains(sign))?;
    let (name, limit) = word.split_once(sign)?;
    let limit: f64 = limit.parse().ok()?;
    let (_, column) = columns.parameters().iter().find(|(known, _)| known.to_lowercase() == name)?;
    Some(match Values::of(column) {
        Values::Few(values, indexes) => {
            let holds = |value| exact(value).is_some_and(|value| holds(value, limit));
            of_index(values.iter().map(holds).collect(), indexes)
        }
        Values::Real(numbers) => {
            // As the column has it, or a value would not equal itself.
            let limit = f64::from(limit as f32);
            Box::new(move |row| numbers.get(row).is_some_and(|number| holds(f64::from(*number), limit)))
        }
        Values::Exact(numbers) => {
            Box::new(move |row| numbers.get(row).is_some_and(|number| holds(*number, limit)))
        }
        Values::Whole(_) | Values::States(_) => return None,
    })
}

/// Whether a value or the name before it has the word in it; none where no value can have it.
fn contains<'a>(name: &str, values: Values<'a>, word: &str) -> Option<Test<'a>> {
    let is_named = name.contains(word);
    match values {
        Values::Few(values, indexes) => {
            let is_in = |value: &ParameterValue| is_named || value.to_string().to_lowercase().contains(word);
            let holds: Vec<bool> = values.iter().map(is_in).collect();
            holds.contains(&true).then(|| of_index(holds, indexes))
        }
        Values::Real(numbers) => contains_number(is_named, numbers, word, f32::is_nan),
        Values::Exact(numbers) => contains_number(is_named, numbers, word, f64::is_nan),
        Values::Whole(_) | Values::States(_) => None,
    }
}

fn contains_number<'a, N: Copy + ToString>(
    is_named: bool,
    numbers: &'a [N],
    word: &str,
    is_nan: fn(N) -> bool,
) -> Option<Test<'a>> {
    let is_there = move |row: usize| numbers.get(row).copied().filter(|number| !is_nan(*number));
    if is_named {
        return Some(Box::new(move |row| is_there(row).is_some()));
    }
    let is_of_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e');
    if !word.bytes().all(is_of_number) {
        return None;
    }
    let digits = word.to_owned();
    Some(Box::new(move |row| is_there(row).is_some_and(|number| number.to_string().contains(&digits))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_found_where_the_written_number_has_them() {
        for number in [0, 7, 10, 121, 90_210, u32::MAX] {
            for digits in ["0", "1", "21", "902", "4294967295", "42949672950", "00"] {
                let written = number.to_string();
                assert_eq!(
                    has_digits(number, digits.as_bytes()),
                    written.contains(digits),
                    "{digits} in {number}"
                );
            }
        }
    }
}
