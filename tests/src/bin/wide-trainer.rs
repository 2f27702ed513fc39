//! A trainer of a model that only it knows: twelve parameters and five metrics, as its manifest says, which it tells the worker
//! when it is ready. Its numbers follow from the parameters by arithmetic that tests can repeat.

use std::io::{BufRead, Write, stdin, stdout};

use serde_json::{Value, json};

/// What it says of its model.
const MANIFEST: &str = include_str!("../../fixtures/wide_net.json");

fn main() -> std::io::Result<()> {
    let manifest: Value = serde_json::from_str(MANIFEST)?;
    say(&json!({"type": "ready", "protocol": 2, "device": "cpu", "trainables": [manifest]}))?;
    for line in stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        // A stop comes after its job's end: a job takes no time.
        for job in request["jobs"].as_array().into_iter().flatten() {
            train(job, &request["dataset"])?;
        }
    }
    Ok(())
}

/// Trains a job, or says what is wrong with what came of it.
fn train(job: &Value, dataset: &Value) -> std::io::Result<()> {
    let (id, parameters) = (&job["id"], &job["parameters"]);
    let refused =
        |reason: &str| say(&json!({"type": "ended", "id": id, "outcome": "rejected", "reason": reason}));
    if job["model"] != "wide_net" || !dataset.is_null() {
        return refused("it trains wide_net alone, which takes no data set");
    }
    let count = parameters.as_object().map_or(0, serde_json::Map::len);
    if count != 12 || parameters["bias"] != true || !parameters["warmup"].is_null() {
        return refused(&format!("{count} parameters came, or not with the defaults: {parameters}"));
    }
    say(&json!({"type": "started", "id": id}))?;
    let number = |name: &str| parameters[name].as_f64().unwrap_or(f64::NAN);
    for epoch in 1..=parameters["rounds"].as_u64().unwrap_or(0) {
        let [gap, recall, energy, spread, speed] = tests::wide_metrics(epoch, number);
        say(&json!({"type": "epoch", "id": id, "epoch": epoch, "epoch_seconds": 0.5, "metrics": {
            "gap": gap, "recall/top-5": recall, "energy": energy, "spread": spread, "speed": speed
        }}))?;
    }
    say(&json!({"type": "ended", "id": id, "outcome": "done", "reason": ""}))
}

/// One line, whole.
fn say(message: &Value) -> std::io::Result<()> {
    let mut output = stdout().lock();
    output.write_all(format!("{message}\n").as_bytes())?;
    output.flush()
}
