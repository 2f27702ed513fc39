//! The keys that scripts rely on.

use serde_json::{Value, json};
use terms::{JobState, MetricRow, MetricSchema, ParameterMap, ParameterValue};

use super::*;
use crate::{columns::Columns, model};

#[test]
fn a_value_that_is_no_number_differs_from_one_that_is_missing() {
    assert_eq!(number(None), Value::Null);
    assert_eq!(number(Some(0.5)), 0.5);
    for (value, text) in [(f64::NAN, "nan"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        assert_eq!(number(Some(value)), text);
    }
}

#[test]
fn times_are_in_utc() {
    assert_eq!(time(1_700_000_000_007).unwrap(), "2023-11-14T22:13:20.007Z");
    assert_eq!(time_for_people(1_700_000_000_007).unwrap(), "2023-11-14T22:13:20Z");
    assert_eq!(time(u64::MAX).unwrap(), "9999-12-31T23:59:59.000Z");
    assert_eq!(time(0), None);
}

/// A job with parameters that have the names of keys, and without one of its sweep.
fn job() -> (Vec<String>, Columns, model::Job) {
    let names = ["lr", "epochs", "parameters", "momentum"].map(str::to_owned).to_vec();
    let metrics = MetricSchema::of(["loss", "f1"]).unwrap();
    let job = model::Job {
        number: 3,
        parameters: ParameterMap(vec![
            ("lr".into(), ParameterValue::Float(0.5)),
            ("epochs".into(), ParameterValue::Integer(2)),
            ("parameters".into(), ParameterValue::Null),
        ]),
        state: Some(JobState::Done),
        attempts: 1,
        worker: "w".into(),
        epochs_done: 1,
        train_seconds: 2.0,
        metrics: MetricRow::new(&[f64::NAN, 0.25]),
        best_epoch: Some(1),
        ..model::Job::default()
    };
    let columns = Columns::new(&names, &metrics, "f1");
    (names, columns, job)
}

#[test]
fn a_job_has_the_same_keys_with_and_without_its_epochs() {
    let (names, columns, job) = job();
    let best = Some((1, Some(0.25)));
    let listed = serde_json::to_value(Job::new(&names, &columns, &job, best, None)).unwrap();
    let expected = json!({
        "job": 3, "parameters": {"lr": 0.5, "epochs": 2, "parameters": null}, "state": "done", "attempts": 1,
        "worker": "w", "epochs_done": 1, "train_seconds": 2.0, "pack_size": 0, "best_epoch": 1, "weights": null,
        "reason": "", "lr": 0.5, "momentum": null, "epochs": 2, "f1": 0.25, "loss": "nan", "best_f1": 0.25,
    });
    assert_eq!(listed, expected);
    let epoch =
        model::Epoch { attempt: 1, number: 1, seconds: 2.0, metrics: MetricRow::new(&[f64::NAN, 0.25]) };
    let shown = Job::new(&names, &columns, &job, best, Some(&[epoch]));
    let mut expected = expected;
    expected["epochs"] = json!([{"epoch": 1, "attempt": 1, "loss": "nan", "f1": 0.25, "epoch_seconds": 2.0}]);
    let text = serde_json::to_string(&shown).unwrap();
    assert_eq!(text.matches(r#""epochs":"#).count(), 2, "one below `parameters`: {text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
}
