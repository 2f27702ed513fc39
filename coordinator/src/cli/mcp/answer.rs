//! What an assistant is answered: JSON within bounds, whatever programs and other people have written into it.

use serde_json::{Map, Value};

/// Longest text, in characters: a sweep file, or a reason with the last lines of a program.
const TEXT_CHARACTERS_MAX: usize = 4_000;
/// Most items of a list: the latest epochs, or a page of jobs.
const ITEMS_MAX: usize = 200;
/// Largest answer, in bytes: more is of no use to an assistant, which reads all of it.
const ANSWER_BYTES_MAX: usize = 200_000;

/// The answer with long texts and lists cut; what was left out is counted.
///
/// # Errors
/// It is still too large.
pub(super) fn bounded(mut answer: Value) -> Result<Value, String> {
    cut(&mut answer);
    let bytes = answer.to_string().len();
    if bytes > ANSWER_BYTES_MAX {
        return Err(format!(
            "the answer has {bytes} bytes, more than {ANSWER_BYTES_MAX}; ask for fewer rows"
        ));
    }
    Ok(answer)
}

fn cut(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS_MAX) {
                let more = text[end..].chars().count();
                text.truncate(end);
                text.push_str(&format!("… ({more} more characters)"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Object(keys) => {
            let left_out = cut_lists(keys);
            keys.extend(left_out);
            keys.values_mut().for_each(cut);
        }
        _ => {}
    }
}

/// Keeps the last items of long lists: how a job ended tells more than how it began.
fn cut_lists(keys: &mut Map<String, Value>) -> Vec<(String, Value)> {
    let mut counts = Vec::new();
    for (key, value) in keys.iter_mut() {
        if let Value::Array(items) = value
            && items.len() > ITEMS_MAX
        {
            let left_out = items.len() - ITEMS_MAX;
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
            bounded(json!({"reason": "ü".repeat(4_010), "job": {"epochs": epochs}, "x": 1})).unwrap();
        assert!(answer["reason"].as_str().unwrap().ends_with("ü… (10 more characters)"));
        assert_eq!(answer["job"]["epochs"].as_array().unwrap().len(), 200);
        assert_eq!(
            (&answer["job"]["epochs"][0], &answer["job"]["epochs_left_out"]),
            (&51.into(), &50.into())
        );
        let many: Vec<String> = (0..200).map(|_| "x".repeat(4_000)).collect();
        assert!(bounded(json!({"items": many})).unwrap_err().contains("fewer rows"));
    }
}
