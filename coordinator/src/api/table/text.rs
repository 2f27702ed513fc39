//! The words of the table's filter. Of a column with few different values each is looked at once, and not each job.

use terms::ParameterValue;

use super::{Values, number_of};
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
    if let Some(test) = compared(columns, word) {
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
    for (name, column) in &columns.parameters {
        tests.extend(contains(&format!("{}=", name.to_lowercase()), Values::of(column), word));
    }
    Box::new(move |row| tests.iter().any(|test| test(row)))
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
    let (_, column) = columns.parameters.iter().find(|(known, _)| known.to_lowercase() == name)?;
    Some(match Values::of(column) {
        Values::Few(values, indexes) => {
            let holds: Vec<bool> = values
                .iter()
                .map(|value| number_of(value).is_some_and(|value| holds(value, limit)))
                .collect();
            Box::new(move |row| {
                indexes.get(row).is_some_and(|index| holds.get(*index as usize) == Some(&true))
            })
        }
        Values::Real(numbers) => {
            // As the column has it, or a value would not equal itself.
            let limit = f64::from(limit as f32);
            Box::new(move |row| numbers.get(row).is_some_and(|number| holds(f64::from(*number), limit)))
        }
        Values::Whole(_) | Values::States(_) => return None,
    })
}

/// Whether a value, written after `name`, has the word in it; none where no value can have it.
fn contains<'a>(name: &str, values: Values<'a>, word: &str) -> Option<Test<'a>> {
    match values {
        Values::Few(values, indexes) => {
            let is_in = |value: &ParameterValue| {
                let all = format!("{name}{value}").to_lowercase();
                all.contains(word)
            };
            let holds: Vec<bool> = values.iter().map(is_in).collect();
            holds.contains(&true).then(|| {
                Box::new(move |row: usize| {
                    indexes.get(row).is_some_and(|index| holds.get(*index as usize) == Some(&true))
                }) as Test<'a>
            })
        }
        Values::Real(numbers) => {
            if name.contains(word) {
                return Some(Box::new(move |row| numbers.get(row).is_some_and(|number| !number.is_nan())));
            }
            // What is left for the number, if anything can match at all.
            let digits = match word.rfind('=') {
                Some(at) if name.ends_with(&word[..=at]) => &word[at + 1..],
                Some(_) => return None,
                None => word,
            };
            let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e');
            if digits.is_empty() || !digits.bytes().all(is_number) {
                return None;
            }
            let is_whole = digits.len() == word.len();
            let digits = digits.to_owned();
            Some(Box::new(move |row| {
                let Some(number) = numbers.get(row).filter(|number| !number.is_nan()) else { return false };
                let text = number.to_string();
                if is_whole { text.contains(&digits) } else { text.starts_with(&digits) }
            }))
        }
        Values::Whole(_) | Values::States(_) => None,
    }
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
