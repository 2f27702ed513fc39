//! A job as JSON: the same keys wherever one is printed.

use serde_json::{Map, Value};
use terms::{ParameterMap, ParameterValue};

use super::{
    columns::Columns,
    rows::{JobRow, cut},
};

/// A measurement. JSON has no NaN and no infinities, so these are texts.
pub fn number(value: Option<f64>) -> Value {
    match value {
        None => Value::Null,
        Some(value) if value.is_finite() => value.into(),
        Some(value) if value.is_nan() => "nan".into(),
        Some(value) => if value > 0.0 { "inf" } else { "-inf" }.into(),
    }
}

/// Parameters by name.
pub fn parameters(parameters: &ParameterMap) -> Value {
    let value = |value: &ParameterValue| serde_json::to_value(value).unwrap_or(Value::Null);
    Value::Object(parameters.0.iter().map(|(name, one)| (name.clone(), value(one))).collect())
}

/// A job, without its epochs.
pub(super) fn job(columns: &Columns, row: &JobRow) -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("job".into(), row.number.into());
    json.insert("parameters".into(), parameters(&row.parameters));
    json.insert("state".into(), row.state.into());
    json.insert("attempts".into(), row.attempts.into());
    json.insert("worker".into(), row.worker.as_str().into());
    json.insert("epochs_done".into(), row.epochs_done.into());
    json.insert("train_seconds".into(), number(row.train_seconds));
    for (index, name) in &columns.metrics {
        json.insert(name.clone(), number(index.and_then(|index| row.metrics.get(index))));
    }
    json.insert("pack_size".into(), row.pack_size.into());
    json.insert("best_epoch".into(), row.best.map(|(epoch, _)| epoch).into());
    json.insert(columns.best.clone(), number(row.best.map(|(_, value)| value)));
    json.insert("reason".into(), cut(&row.reason).into());
    json.insert("weights".into(), (!row.weights.is_empty()).then_some(row.weights.as_str()).into());
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_number_is_told_from_one_that_is_missing() {
        assert_eq!(number(None), Value::Null);
        assert_eq!(number(Some(0.5)), 0.5);
        for (value, text) in [(f64::NAN, "nan"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
            assert_eq!(number(Some(value)), text);
        }
    }
}
