//! Lines of both revisions, there and back.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn line(metrics: Metrics) -> FromTrainer {
    FromTrainer::Epoch(EpochLine { id: "1/1#1".into(), epoch: 2, metrics, epoch_seconds: 0.1 })
}

fn read(text: &str) -> Result<FromTrainer, serde_json::Error> {
    serde_json::from_str(text)
}

/// Every double, each pattern of bits alike.
fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![8 => any::<u64>().prop_map(f64::from_bits), 1 => Just(f64::NAN), 1 => Just(-0.0)]
}

proptest! {
    #[test]
    fn numbers_survive_to_the_last_bit(
        pairs in prop::collection::vec((".{1,8}", any_double()), 0..20), seconds in any::<f64>()
    ) {
        let metrics: Metrics = pairs.into_iter().collect();
        let written = EpochLine { id: "1".into(), epoch: 1, metrics, epoch_seconds: seconds };
        let text = serde_json::to_string(&FromTrainer::Epoch(written.clone())).unwrap();
        prop_assert_eq!(read(&text).unwrap(), FromTrainer::Epoch(written), "{}", text);
    }

    #[test]
    fn numbers_of_the_first_revision_survive_to_the_last_bit(value in any::<f64>()) {
        let text = json!({
            "type": "epoch", "id": "1", "epoch": 1, "train_loss": value, "val_accuracy": value, "epoch_seconds": 1.0
        });
        let FromTrainer::Epoch(EpochLine { metrics, .. }) = read(&text.to_string()).unwrap() else { panic!() };
        for name in ["train_loss", "val_accuracy"] {
            prop_assert_eq!(metrics.get(name).map(f64::to_bits), Some(value.to_bits()));
        }
    }
}

#[test]
fn what_is_not_finite_is_a_text() {
    let metrics = [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY), ("d", 1.0)];
    let epoch = line(metrics.into_iter().collect());
    let text = r#"{"type":"epoch","id":"1/1#1","epoch":2,"metrics":{"a":"nan","b":"inf","c":"-inf","d":1.0},"epoch_seconds":0.1}"#;
    assert_eq!(serde_json::to_string(&epoch).unwrap(), text);
    assert_eq!(read(text).unwrap(), epoch);
}

#[test]
fn whole_numbers_are_numbers_and_other_things_are_none() {
    let with = |value| {
        format!(r#"{{"type":"epoch","id":"1","epoch":1,"metrics":{{"x":{value}}},"epoch_seconds":1}}"#)
    };
    for (text, value) in [("3", 3.0), ("-3", -3.0), ("18446744073709551615", 1.8446744073709552e19)] {
        let FromTrainer::Epoch(EpochLine { metrics, .. }) = read(&with(text)).unwrap() else { panic!() };
        assert_eq!(metrics.get("x"), Some(value));
    }
    for text in ["\"low\"", "null", "true", "[1]", "{}", "\"NaN\""] {
        let error = read(&with(text)).unwrap_err().to_string();
        assert!(error.contains("expected a number, \"nan\", \"inf\" or \"-inf\""), "{text}: {error}");
    }
}

#[test]
fn an_epoch_of_the_first_revision_has_its_four_metrics() {
    let text =
        r#"{"type":"epoch","id":"1","epoch":1,"train_loss":0.5,"val_accuracy":0.75,"epoch_seconds":1.0}"#;
    let metrics = |text: &str| match read(text).unwrap() {
        FromTrainer::Epoch(line) => line.metrics,
        other => panic!("{other:?}"),
    };
    let two: Metrics = [("train_loss", 0.5), ("val_accuracy", 0.75)].into_iter().collect();
    assert_eq!(metrics(text), two);
    let null = text.replace("1.0}", "1.0,\"val_loss\":null,\"train_accuracy\":null}");
    assert_eq!(metrics(&null), two);
    let all = text.replace("1.0}", "1.0,\"val_loss\":0.625,\"train_accuracy\":0.25}");
    let more = two.iter().chain([("val_loss", 0.625), ("train_accuracy", 0.25)]);
    assert_eq!(metrics(&all), more.collect());
}

#[test]
fn what_is_said_by_name_counts_and_the_last_of_a_name() {
    let text = r#"{"type":"epoch","id":"1","epoch":1,"train_loss":0.5,"metrics":{"x":1,"train_loss":0.25,"x":2},"epoch_seconds":1}"#;
    let FromTrainer::Epoch(EpochLine { metrics, .. }) = read(text).unwrap() else { panic!() };
    assert_eq!(metrics.iter().collect::<Vec<_>>(), [("x", 2.0), ("train_loss", 0.25)]);
}

#[test]
fn an_epoch_of_more_metrics_than_are_read_is_refused() {
    let metrics = |count| line((0..count).map(|number| (format!("m{number}"), 0.5)).collect());
    let text = |count| serde_json::to_string(&metrics(count)).unwrap();
    assert!(read(&text(METRICS_MAX)).is_ok());
    assert!(read(&text(METRICS_MAX + 1)).unwrap_err().to_string().contains("at most 1000 metrics"));
}

#[test]
fn a_trainer_may_leave_out_what_came_later_to_the_protocol() {
    let ready = read(r#"{"type":"ready","protocol":1,"device":"cpu"}"#).unwrap();
    assert_eq!(ready, FromTrainer::Ready { protocol: 1, device: "cpu".into(), trainables: Vec::new() });
    let started = read(r#"{"type":"started","id":"1"}"#).unwrap();
    let dataset = DatasetSummary::default();
    assert_eq!(started, FromTrainer::Started { id: "1".into(), dataset, resumed_epochs: 0 });
}

#[test]
fn a_job_has_parameters_of_any_kind_and_may_be_a_program() {
    let job = json!({
        "id": "1/1#1", "model": "train.py",
        "parameters": {"rate": 0.5, "nesterov": true, "seed": null, "name": "x", "n": 3},
        "budget": 9,
        "program": {
            "command": ["python3", "train.py", "${args}"], "arguments": "wandb", "folder": "/f", "env": {"A": "b"},
            "metrics": {"pattern": "loss=(?P<loss>.*)", "objective": "loss"}, "stop_seconds": 5.0
        },
    });
    let read: TrainJob = serde_json::from_value(job.clone()).unwrap();
    let program = read.program.as_ref().unwrap();
    assert_eq!(
        (read.budget, program.arguments, program.metrics.channel),
        (Some(9), ArgumentStyle::Wandb, false)
    );
    assert_eq!(serde_json::to_value(&read).unwrap(), job);
    let plain = json!({"id": "1", "model": "simple_cnn", "parameters": {}});
    assert_eq!(
        serde_json::to_value(serde_json::from_value::<TrainJob>(plain.clone()).unwrap()).unwrap(),
        plain
    );
}
