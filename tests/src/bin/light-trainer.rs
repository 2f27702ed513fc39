//! A trainer that trains nothing: it speaks the trainer protocol and gives numbers that follow from the job alone,
//! so that faults can be tried on thousands of jobs. Epochs take `LIGHT_TRAINER_EPOCH_MS` milliseconds (10 by
//! default).

use std::{
    io::{BufRead, Write, stdin, stdout},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let milliseconds = std::env::var("LIGHT_TRAINER_EPOCH_MS").ok().and_then(|text| text.parse().ok());
    let pause = Duration::from_millis(milliseconds.unwrap_or(10));
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            // What cannot be read is nothing that could be answered.
            let request: Value = serde_json::from_str(&line).unwrap_or_default();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    say(&json!({"type": "ready", "protocol": 1, "device": "cpu"}))?;
    while let Ok(request) = requests.recv() {
        let Some(jobs) = request["jobs"].as_array() else { continue };
        for job in jobs {
            train(job, pause, &requests)?;
        }
    }
    Ok(())
}

fn train(job: &Value, pause: Duration, requests: &Receiver<Value>) -> std::io::Result<()> {
    let number = |name: &str| job["parameters"][name].as_u64().unwrap_or(0);
    let id = &job["id"];
    let dataset = json!({
        "content_hash": "light", "classes": ["cat", "dog"], "train_images": 8, "val_images": 2,
        "skipped": [], "skipped_count": 0
    });
    say(&json!({"type": "started", "id": id, "dataset": dataset}))?;
    for epoch in 1..=number("epochs") {
        if is_stopped(id, pause, requests) {
            return say(&json!({"type": "ended", "id": id, "outcome": "stopped", "reason": ""}));
        }
        let (train_loss, val_accuracy) = tests::chaos::light_metrics(number("seed"), epoch);
        say(&json!({
            "type": "epoch", "id": id, "epoch": epoch, "train_loss": train_loss, "val_accuracy": val_accuracy,
            "epoch_seconds": pause.as_secs_f64()
        }))?;
    }
    say(&json!({"type": "ended", "id": id, "outcome": "done", "reason": ""}))
}

/// Lets an epoch's time go by; whether the job is asked to end meanwhile.
fn is_stopped(id: &Value, pause: Duration, requests: &Receiver<Value>) -> bool {
    let end = Instant::now() + pause;
    loop {
        match requests.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(request) if request["type"] == "stop" && &request["id"] == id => return true,
            // There is one job at a time, so nothing else can be asked for now.
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            // The agent is gone.
            Err(RecvTimeoutError::Disconnected) => std::process::exit(0),
        }
    }
}

/// One line, whole.
fn say(message: &Value) -> std::io::Result<()> {
    let mut output = stdout().lock();
    output.write_all(format!("{message}\n").as_bytes())?;
    output.flush()
}
