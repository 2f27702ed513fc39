//! Programs that pause where their attempt was granted no more epochs: what ends them, and which epochs count.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Script, Told, Trainer};

/// Asks for no answer of `report` and would train a thousand epochs. `SAVES` is run before or after the report.
const IGNORES: &str = r"
import json, os, sweep
state = {'epoch': 0, 'weight': 1.0}
path = KEEPS and sweep.load()
if path:
    with open(os.path.join(path, 'state.json')) as file:
        state = json.load(file)
def save(folder):
    with open(os.path.join(folder, 'state.json'), 'w') as file:
        json.dump(state, file)
for epoch in range(state['epoch'] + 1, 1001):
    state = {'epoch': epoch, 'weight': state['weight'] * 1.1 + epoch}
    if KEEPS and BEFORE:
        sweep.checkpoint(save)
    sweep.report(epoch, loss=state['weight'])
    if KEEPS and not BEFORE:
        sweep.checkpoint(save)
print('trained to its end')
";

fn ignores(keeps: bool, is_before: bool) -> Script {
    let python = |is: bool| if is { "True" } else { "False" };
    Script::new(&IGNORES.replace("KEEPS", python(keeps)).replace("BEFORE", python(is_before)))
}

/// An attempt that trains as far as `until`.
fn attempt(script: &Script, number: u32, until: u32) -> Value {
    let mut job = script.job(json!({}), json!({"metrics": {"objective": "loss"}}));
    job["id"] = json!(format!("3/14#{number}"));
    job["checkpoints"] = json!({"key": "3-99/14", "attempt": number, "every_epochs": 0});
    job["until_epoch"] = json!(until);
    job
}

/// What a job has after that many epochs.
fn weights(epochs: u32) -> Vec<Value> {
    let next = |weight: &f64, epoch: u32| weight * 1.1 + f64::from(epoch);
    let weights = (1..=epochs).scan(1.0, |weight, epoch| {
        *weight = next(weight, epoch);
        Some(*weight)
    });
    weights.map(|weight| json!(weight)).collect()
}

/// What one attempt tells, and what its trainer's log says.
fn run(place: &Path, job: Value) -> (Told, String) {
    let mut trainer = Trainer::start(Some(place));
    let told = trainer.run(job);
    (told, trainer.end())
}

#[test]
fn one_that_ignores_the_answer_is_ended_by_the_helper_and_has_the_epochs_of_its_rung_alone() {
    for (keeps, is_before) in [(false, false), (true, false), (true, true)] {
        let (place, script) = (tempfile::tempdir().unwrap(), ignores(keeps, is_before));
        for (number, until) in [(1, 2), (2, 5)] {
            let (told, log) = run(place.path(), attempt(&script, number, until));
            assert_eq!(told.outcome(), "paused", "{}", told.reason());
            assert_eq!(told.values("loss"), weights(until), "keeps: {keeps}, before: {is_before}");
            assert!(!log.contains("is killed") && !log.contains("trained to its end"), "{log}");
            let resumed = if keeps && number == 2 { 2 } else { 0 };
            assert_eq!(told.resumed_epochs(), resumed, "keeps: {keeps}, before: {is_before}");
            let lacks = told.0.last().unwrap()["without_checkpoint"] == json!(true);
            assert_eq!(lacks, !keeps, "{told:?}");
        }
    }
}

/// Knows nothing of `sweep`: it prints, keeps its state in its folder, and goes on for six epochs after it was asked to end.
const GOES_ON: &str = r"
import os, pathlib, signal, time
state = pathlib.Path(os.environ['SWEEP_CHECKPOINT_DIR']) / 'state'
epoch, weight = eval(state.read_text()) if state.exists() else (0, 1.0)
last, is_asked = ALL, False
def asked(*_):
    global last, is_asked
    last, is_asked = min(last, epoch + 6), True
signal.signal(signal.SIGTERM, asked)
while epoch < last:
    epoch, weight = epoch + 1, weight * 1.1 + epoch + 1
    state.write_text(str((epoch, weight)))
    print(f'epoch {epoch} loss={weight!r}')
    while epoch in (2, 9) and not is_asked:
        time.sleep(0.005)
";

#[test]
fn epochs_beyond_a_rung_count_once_the_job_goes_on_from_a_checkpoint_that_has_them() {
    for all in [8, 12] {
        let place = tempfile::tempdir().unwrap();
        let script = Script::new(&GOES_ON.replace("ALL", &all.to_string()));
        for (number, until, resumed) in [(1, Some(2), 0), (2, Some(5), 2), (3, None, 5)] {
            let mut job = attempt(&script, number, 0);
            job["until_epoch"] = json!(until);
            job["program"]["metrics"] = json!({"pattern": r"epoch (?P<epoch>\d+) loss=(?P<loss>\S+)"});
            let (told, log) = run(place.path(), job);
            let outcome = if until.is_some() { "paused" } else { "done" };
            assert_eq!(told.outcome(), outcome, "attempt {number} of {all} epochs: {}", told.reason());
            assert_eq!(told.values("loss"), weights(until.unwrap_or(all)), "attempt {number}");
            assert_eq!(told.resumed_epochs(), resumed);
            assert_eq!(
                log.contains("goes on after epoch"),
                number == 1 || (number == 2 && all == 12),
                "{log}"
            );
        }
    }
}

#[test]
fn a_plain_script_is_ended_at_once() {
    for metrics in [json!({"pattern": r"epoch (?P<epoch>\d+) loss=(?P<loss>\S+)"}), json!({"csv": "log.csv"})]
    {
        let text = r"
import time
with open('log.csv', 'w') as log:
    print('epoch,loss', file=log, flush=True)
    for epoch in range(1, 4):
        print(f'{epoch},0.5', file=log, flush=True)
        print(f'epoch {epoch} loss=0.5')
time.sleep(1000)
";
        let (place, script) = (tempfile::tempdir().unwrap(), Script::new(text));
        let mut job = attempt(&script, 1, 2);
        job["program"]["metrics"] = metrics;
        // Longer than anyone waits here: only the signal can have ended it.
        job["program"]["stop_seconds"] = json!(3600);
        let (told, _) = run(place.path(), job);
        assert_eq!((told.outcome(), told.values("loss").len()), ("paused", 2), "{}", told.reason());
        assert_eq!(told.0.last().unwrap()["without_checkpoint"], json!(true));
    }
}
