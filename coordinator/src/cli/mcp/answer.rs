//! What an assistant is answered: JSON within bounds, whatever programs and other people have written into it.

use serde_json::{Map, Value};

/// Longest text, in characters: a sweep file, or a reason with the last lines of a program.
const TEXT_CHARACTERS_MAX: usize = 4_000;
/// Most items of a list, such as the latest epochs; the next where the answer is too large with so many. Pages are not cut: what was
/// left out of them would never be seen.
const ITEMS_MAX: [usize; 3] = [200, 40, 8];
/// What a page's list is called.
const PAGE: &str = "items";
/// Largest answer, in bytes: more is of no use to an assistant, which reads all of it.
const ANSWER_BYTES_MAX: usize = 200_000;

/// The answer with long texts and lists cut; what was left out is counted.
///
/// # Errors
/// It is still too large.
pub(super) fn bounded(answer: &Value) -> Result<Value, String> {
    let mut bytes = 0;
    for items_max in ITEMS_MAX {
        let mut cut = answer.clone();
        shorten(&mut cut, items_max);
        bytes = cut.to_string().len();
        if bytes <= ANSWER_BYTES_MAX {
            return Ok(cut);
        }
    }
    Err(format!("the answer has {bytes} bytes, more than {ANSWER_BYTES_MAX}; ask for fewer rows"))
}

fn shorten(value: &mut Value, items_max: usize) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS_MAX) {
                let more = text[end..].chars().count();
                text.truncate(end);
                text.push_str(&format!("… ({more} more characters)"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, items_max)),
        Value::Object(keys) => {
            let left_out = shorten_lists(keys, items_max);
            keys.extend(left_out);
            keys.values_mut().for_each(|value| shorten(value, items_max));
        }
        _ => {}
    }
}

/// Keeps the last items of long lists: how a job ended tells more than how it began.
fn shorten_lists(keys: &mut Map<String, Value>, items_max: usize) -> Vec<(String, Value)> {
    let mut counts = Vec::new();
    for (key, value) in keys.iter_mut().filter(|(key, _)| *key != PAGE) {
        if let Value::Array(items) = value
            && items.len() > items_max
        {
            let left_out = items.len() - items_max;
            items.drain(..left_out);
            counts.push((format!("{key}_left_out"), left_out.into()));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_texts_and_lists_are_cut_and_counted() {
        let epochs: Vec<u32> = (1..=250).collect();
        let answer =
            bounded(&json!({"reason": "ü".repeat(4_010), "job": {"epochs": epochs}, "x": 1})).unwrap();
        assert!(answer["reason"].as_str().unwrap().ends_with("ü… (10 more characters)"));
        assert_eq!(answer["job"]["epochs"].as_array().unwrap().len(), 200);
        assert_eq!(
            (&answer["job"]["epochs"][0], &answer["job"]["epochs_left_out"]),
            (&51.into(), &50.into())
        );
    }

    #[test]
    fn of_an_answer_that_is_too_large_lists_are_cut_further_and_pages_are_not() {
        let long: Vec<String> = (0..200).map(|_| "x".repeat(4_000)).collect();
        let answer = bounded(&json!({"epochs": long, "state": "done"})).unwrap();
        assert_eq!(
            (answer["epochs"].as_array().unwrap().len(), &answer["epochs_left_out"]),
            (40, &160.into())
        );
        assert!(bounded(&json!({"items": long})).unwrap_err().contains("fewer rows"));
        let rows: Vec<u32> = (0..300).collect();
        assert_eq!(bounded(&json!({"items": rows})).unwrap()["items"].as_array().unwrap().len(), 300);
    }
}
