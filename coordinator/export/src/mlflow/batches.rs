//! Bodies of `runs/log-batch` within the bounds of MLflow's server.

use std::borrow::Cow;

use serde_json::{Value, json};

/// Most items of a kind in a body.
const METRICS_MAX: usize = 1_000;
const PARAMETERS_MAX: usize = 100;
/// Most bytes of the items of a body: of the million that it may have, the rest is for what is around them.
const BYTES_MAX: usize = 900_000;
/// Longest values, in characters.
const PARAMETER_CHARACTERS_MAX: usize = 6_000;
const TAG_CHARACTERS_MAX: usize = 8_000;

/// The batches of a run, one kind of item at a time.
#[derive(Debug)]
pub struct Batches<'r> {
    run: &'r str,
    tags: &'r [Value],
    parameters: &'r [Value],
    metrics: &'r [(String, f64, u64, u32)],
}

impl<'r> Batches<'r> {
    /// All tags are in one: there are few.
    pub(super) fn new(
        run: &'r str,
        tags: &'r [Value],
        parameters: &'r [Value],
        metrics: &'r [(String, f64, u64, u32)],
    ) -> Self {
        Self { run, tags, parameters, metrics }
    }
}

impl Iterator for Batches<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let mut body = json!({ "run_id": self.run });
        if !self.tags.is_empty() {
            body["tags"] = std::mem::take(&mut self.tags).into();
        } else if !self.parameters.is_empty() {
            let items = self.parameters.iter().cloned();
            let items = fitting(items, PARAMETERS_MAX);
            self.parameters = &self.parameters[items.len()..];
            body["params"] = items.into();
        } else if !self.metrics.is_empty() {
            let items = fitting(self.metrics.iter().map(metric), METRICS_MAX);
            self.metrics = &self.metrics[items.len()..];
            body["metrics"] = items.into();
        } else {
            return None;
        }
        Some(body)
    }
}

/// As many items as a body may have, at least one.
fn fitting(items: impl Iterator<Item = Value>, count_max: usize) -> Vec<Value> {
    let mut bytes = 0;
    let fits = |item: &Value| {
        let is_first = bytes == 0;
        bytes += item.to_string().len() + 1;
        is_first || bytes <= BYTES_MAX
    };
    items.take(count_max).take_while(fits).collect()
}

fn metric((key, value, time, step): &(String, f64, u64, u32)) -> Value {
    // JSON has no numbers for the others; protobuf's JSON has these texts.
    let value: Value = match *value {
        value if value.is_finite() => value.into(),
        value if value.is_nan() => "NaN".into(),
        value => if value > 0.0 { "Infinity" } else { "-Infinity" }.into(),
    };
    json!({ "key": key, "value": value, "timestamp": time, "step": step })
}

/// A parameter's value as long as MLflow takes it.
pub(super) fn parameter_value(value: &str) -> Cow<'_, str> {
    cut(value, PARAMETER_CHARACTERS_MAX)
}

/// A tag's value, likewise.
pub(super) fn tag_value(value: &str) -> Cow<'_, str> {
    cut(value, TAG_CHARACTERS_MAX)
}

/// A text of at most so many characters, the last of which shows that it was cut.
pub(super) fn cut(text: &str, characters_max: usize) -> Cow<'_, str> {
    if text.char_indices().nth(characters_max).is_none() {
        return text.into();
    }
    let end = text.char_indices().nth(characters_max - 1).map_or(text.len(), |(end, _)| end);
    format!("{}…", &text[..end]).into()
}
