//! A trainer that trains nothing: it speaks the trainer protocol and reports numbers derived only from the job, so that
//! faults can be tried on thousands of jobs. Epochs take `LIGHT_TRAINER_EPOCH_MS` milliseconds (10 by default), and its
//! weights have `LIGHT_TRAINER_WEIGHTS_BYTES` bytes (1,000 by default), also derived from the job. If
//! `LIGHT_TRAINER_GATE` is set, no job ends its last epoch before that file exists. Jobs whose seed is at least
//! `LIGHT_TRAINER_DIVERGES_FROM` diverge in their first epoch. It speaks the first revision of the protocol; with `LIGHT_TRAINER_PAUSES`, the third: its jobs pause, and keep where they stand in a checkpoint, also where they are asked to end with one.

use std::{
    io::{BufRead, Write, stdin, stdout},
    path::PathBuf,
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
            // An unreadable line gets no answer.
            let request: Value = serde_json::from_str(&line).unwrap_or_default();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    let protocol = if pauses() { 3 } else { 1 };
    say(&json!({"type": "ready", "protocol": protocol, "device": "cpu"}))?;
    while let Ok(request) = requests.recv() {
        let jobs = request["jobs"].as_array().cloned().unwrap_or_default();
        train(jobs, pause, &requests)?;
    }
    Ok(())
}

/// Trains jobs at the same time: all of them an epoch, then the next.
fn train(mut jobs: Vec<Value>, pause: Duration, requests: &Receiver<Value>) -> std::io::Result<()> {
    let dataset = json!({
        "content_hash": "light", "classes": ["cat", "dog"], "train_images": 8, "val_images": 2,
        "skipped": [], "skipped_count": 0
    });
    for job in &jobs {
        let again = kept_epochs(job);
        let started =
            json!({"type": "started", "id": job["id"], "dataset": dataset, "resumed_epochs": again});
        say(&started)?;
        (1..=again).try_for_each(|epoch| say_epoch(job, epoch, pause))?;
    }
    let (diverging, left) = jobs.into_iter().partition(diverges);
    jobs = left;
    for job in &diverging {
        let reason = "the training loss was not finite any more in epoch 1";
        say(&json!({"type": "ended", "id": job["id"], "outcome": "diverged", "reason": reason}))?;
    }
    // Those whose checkpoint is as far as they are to train.
    jobs = pause_at(jobs, 0)?;
    let Some(kept) = jobs.iter().map(kept_epochs).min() else { return Ok(()) };
    for epoch in kept + 1.. {
        loop {
            for request in stops(pause, requests) {
                let id = &request["id"];
                let (ending, going_on): (Vec<Value>, _) = jobs.into_iter().partition(|job| job["id"] == *id);
                jobs = going_on;
                if request["checkpoint"] == true {
                    ending.iter().try_for_each(|job| keep(job, kept_epochs(job).max(epoch - 1)))?;
                }
                if !ending.is_empty() {
                    say(&json!({"type": "ended", "id": id, "outcome": "stopped", "reason": ""}))?;
                }
            }
            if gate_is_open() || !jobs.iter().any(|job| is_last(job, epoch)) {
                break;
            }
        }
        for job in jobs.iter().filter(|job| kept_epochs(job) < epoch) {
            say_epoch(job, epoch, pause)?;
        }
        let (done, left) = jobs.into_iter().partition(|job| is_last(job, epoch));
        jobs = pause_at(left, epoch)?;
        for job in &done {
            if let Some(path) = job["weights"].as_str() {
                std::fs::write(path, tests::chaos::light_weights(identity(job), weights_bytes()))?;
            }
            say(&json!({"type": "ended", "id": job["id"], "outcome": "done", "reason": ""}))?;
        }
        if jobs.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Whether jobs pause, as the third revision of the protocol has it.
fn pauses() -> bool {
    std::env::var_os("LIGHT_TRAINER_PAUSES").is_some()
}

/// Says an epoch as the revision of the protocol has it.
fn say_epoch(job: &Value, epoch: u32, pause: Duration) -> std::io::Result<()> {
    let record = tests::chaos::light_epoch(identity(job), epoch);
    let metrics = json!({
        "train_loss": record.train_loss, "val_accuracy": record.val_accuracy, "val_loss": record.val_loss,
        "train_accuracy": record.train_accuracy
    });
    let mut line =
        json!({"type": "epoch", "id": job["id"], "epoch": epoch, "epoch_seconds": pause.as_secs_f64()});
    match (pauses(), metrics) {
        (false, Value::Object(mut metrics)) => {
            if let Some(line) = line.as_object_mut() {
                line.append(&mut metrics);
            }
        }
        (_, metrics) => line["metrics"] = metrics,
    }
    say(&line)
}

/// Ends the jobs that pause after this epoch or before, each with a checkpoint; returns the others.
fn pause_at(jobs: Vec<Value>, epoch: u32) -> std::io::Result<Vec<Value>> {
    let mut left = Vec::new();
    for job in jobs {
        let trained = epoch.max(kept_epochs(&job));
        match job["until_epoch"].as_u64() {
            Some(until) if pauses() && until <= trained.into() => {
                keep(&job, trained)?;
                say(&json!({"type": "ended", "id": job["id"], "outcome": "paused", "reason": ""}))?;
            }
            _ => left.push(job),
        }
    }
    Ok(left)
}

/// The file for the job's checkpoint: the number of its epochs.
fn checkpoint(job: &Value) -> Option<PathBuf> {
    let place = std::env::var_os("SWEEP_TRAINER_CHECKPOINTS").filter(|_| pauses())?;
    Some(PathBuf::from(place).join(job["checkpoints"]["key"].as_str()?).join("epochs"))
}

/// How many epochs the job's checkpoint has.
fn kept_epochs(job: &Value) -> u32 {
    let kept = checkpoint(job).and_then(|path| std::fs::read_to_string(path).ok());
    kept.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn keep(job: &Value, epochs: u32) -> std::io::Result<()> {
    let Some(path) = checkpoint(job) else { return Ok(()) };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension(std::process::id().to_string());
    std::fs::write(&new, epochs.to_string())?;
    std::fs::rename(new, path)
}

/// Whether this is the job's last epoch.
fn is_last(job: &Value, epoch: u32) -> bool {
    job["parameters"]["epochs"].as_u64() <= Some(epoch.into())
}

/// Whether jobs may end.
fn gate_is_open() -> bool {
    std::env::var_os("LIGHT_TRAINER_GATE").is_none_or(|gate| std::path::Path::new(&gate).exists())
}

/// How many bytes of weights each job leaves.
fn weights_bytes() -> usize {
    std::env::var("LIGHT_TRAINER_WEIGHTS_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// What distinguishes a job from the others of its sweep: its seed, or its learning rate where that counts from 1.
fn identity(job: &Value) -> u64 {
    let parameters = &job["parameters"];
    parameters["seed"].as_u64().unwrap_or(0) + parameters["learning_rate"].as_f64().unwrap_or(0.0) as u64
}

/// Whether a job is one of those that diverge.
fn diverges(job: &Value) -> bool {
    let from = std::env::var("LIGHT_TRAINER_DIVERGES_FROM").ok().and_then(|text| text.parse().ok());
    from.is_some_and(|from: u64| identity(job) >= from)
}

/// Waits for the time of an epoch; returns what asks jobs to end meanwhile.
fn stops(pause: Duration, requests: &Receiver<Value>) -> Vec<Value> {
    let end = Instant::now() + pause;
    let mut asked = Vec::new();
    loop {
        match requests.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(request) if request["type"] == "stop" => asked.push(request),
            // No other request is valid while jobs are trained.
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return asked,
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
