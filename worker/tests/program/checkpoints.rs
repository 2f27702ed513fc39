//! Programs that go on where an earlier attempt was.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{Script, Told, Trainer, eventually};

/// Trains a number by a rule whose result shows each epoch that was trained twice or not at all. `ORDER` says whether the
/// checkpoint comes before the report; the first attempt hangs in the middle of an epoch.
const TRAINS: &str = r"
import json, os, sweep, time
state = {'epoch': 0, 'weight': 1.0}
path = sweep.load()
assert (path is not None) == ('SWEEP_RESUME' in os.environ)
if path:
    with open(os.path.join(path, 'state.json')) as file:
        state = json.load(file)
def write(folder):
    with open(os.path.join(folder, 'state.json'), 'w') as file:
        json.dump(state, file)
for epoch in range(state['epoch'] + 1, 7):
    if epoch == HANGS and os.environ['SWEEP_ATTEMPT'] == '1':
        open('hangs', 'w').close()
        time.sleep(1000)
    state = {'epoch': epoch, 'weight': state['weight'] * 1.1 + epoch}
    if BEFORE:
        sweep.checkpoint(write)
    sweep.report(epoch * STEP, loss=state['weight'])
    if not BEFORE:
        sweep.checkpoint(write)
";

fn script(is_before: bool, hangs: u32, step: u32) -> Script {
    let before = if is_before { "True" } else { "False" };
    let text = TRAINS.replace("BEFORE", before).replace("HANGS", &hangs.to_string());
    Script::new(&text.replace("STEP", &step.to_string()))
}

fn attempt(script: &Script, number: u32) -> Value {
    let mut job = script.job(json!({"lr": 0.5}), json!({"metrics": {"objective": "loss"}}));
    job["id"] = json!(format!("3/14#{number}"));
    job["checkpoints"] = json!({"key": "3-99/14", "attempt": number, "every_epochs": 0});
    job
}

fn kept(place: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(place.join("3-99/14")).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
    found.sort();
    found
}

/// Whether the checkpoint after that many epochs lies there, with the epoch that was reported after it.
fn is_kept(place: &Path, epochs: u32, is_before: bool) -> bool {
    let name = format!("{epochs:010}-");
    let has = |ending| {
        kept(place, ending).iter().any(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&name))
    };
    has("checkpoint") && (!is_before || has("tail"))
}

fn uninterrupted() -> Vec<Value> {
    let place = tempfile::tempdir().unwrap();
    let told = Trainer::start(Some(place.path())).run(attempt(&script(false, 99, 1), 1));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert_eq!(told.resumed_epochs(), 0);
    told.values("loss")
}

#[test]
fn one_that_is_killed_in_mid_epoch_goes_on_elsewhere_with_the_same_result() {
    let expected = uninterrupted();
    for (is_before, step) in [(false, 1), (true, 1), (false, 100), (true, 100)] {
        let place = tempfile::tempdir().unwrap();
        let script = script(is_before, 4, step);
        let mut first = Trainer::start(Some(place.path()));
        first.train(attempt(&script, 1));
        (1..=3).for_each(|_| drop(first.until("epoch")));
        // Checkpoints are written while the job trains; a machine that fails before they are goes on from an earlier one.
        let records = if is_before { 2 } else { 3 };
        eventually("the checkpoint is kept", || is_kept(place.path(), records, is_before));
        eventually("it hangs", || script.path().join("hangs").exists());
        first.kill();
        let mut second = Trainer::start(Some(place.path()));
        let told = second.run(attempt(&script, 2));
        assert_eq!(told.outcome(), "done", "{}", told.reason());
        assert_eq!(told.resumed_epochs(), u64::from(records));
        assert_eq!(told.values("loss"), expected, "before: {is_before}, steps of {step}");
        assert!(kept(place.path(), "checkpoint").is_empty(), "a job that is done needs none");
    }
}

#[test]
fn a_checkpoint_that_is_torn_leaves_the_one_before() {
    let expected = uninterrupted();
    let place = tempfile::tempdir().unwrap();
    let script = script(false, 4, 1);
    let mut first = Trainer::start(Some(place.path()));
    first.train(attempt(&script, 1));
    eventually("the checkpoint is kept", || is_kept(place.path(), 3, false));
    first.kill();
    let newest = kept(place.path(), "checkpoint").pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 10]).unwrap();
    let mut second = Trainer::start(Some(place.path()));
    let told = second.run(attempt(&script, 2));
    assert!(told.resumed_epochs() < 3, "{told:?}");
    assert_eq!(told.values("loss"), expected);
    assert!(second.end().contains("corrupted"));
}

#[test]
fn only_the_jobs_own_checkpoints_are_used() {
    let place = tempfile::tempdir().unwrap();
    let script = script(false, 4, 1);
    let mut first = Trainer::start(Some(place.path()));
    first.train(attempt(&script, 1));
    eventually("the checkpoint is kept", || is_kept(place.path(), 3, false));
    first.kill();
    let mut other = attempt(&script, 2);
    other["parameters"] = json!({"lr": 0.25});
    let told = Trainer::start(Some(place.path())).run(other);
    assert_eq!((told.outcome(), told.resumed_epochs()), ("done", 0));
}

#[test]
fn a_program_without_the_helper_finds_its_folder_as_it_left_it() {
    let text = r"
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ['SWEEP_CHECKPOINT_DIR'])
state = folder / 'deep' / 'state'
state.parent.mkdir(exist_ok=True)
start = int(state.read_text()) if state.exists() else 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
for epoch in range(start + 1, 5):
    state.write_text(str(epoch))
    print(f'epoch {epoch} loss={epoch}.5')
    if epoch == 2 and start == 0:
        time.sleep(1000)
";
    let place = tempfile::tempdir().unwrap();
    let script = Script::new(text);
    let job = |number| {
        let mut job = attempt(&script, number);
        job["parameters"] = json!({});
        job["program"]["metrics"] = json!({"pattern": r"epoch (?P<epoch>\d+) loss=(?P<loss>\S+)"});
        job
    };
    let mut trainer = Trainer::start(Some(place.path()));
    trainer.train(job(1));
    (1..=2).for_each(|_| drop(trainer.until("epoch")));
    trainer.ask(&json!({"type": "stop", "id": "3/14#1", "checkpoint": true}));
    assert_eq!(Told(trainer.until("ended")).outcome(), "stopped");
    let told = trainer.run(job(2));
    assert_eq!((told.outcome(), told.resumed_epochs()), ("done", 2), "{}", told.reason());
    assert_eq!(told.values("loss"), [json!(1.5), json!(2.5), json!(3.5), json!(4.5)]);
}

#[test]
fn a_checkpoint_that_could_not_be_written_leaves_no_half() {
    let text = r"
import os, sweep
def breaks(folder):
    open(os.path.join(folder, 'half'), 'w').close()
    raise ValueError('broken')
try:
    sweep.checkpoint(breaks)
except ValueError:
    assert sweep.load() is None and os.listdir(os.environ['SWEEP_CHECKPOINT_DIR']) == []
for _ in range(5):
    sweep.checkpoint(lambda folder: open(os.path.join(folder, 'x'), 'w').close())
assert sweep.load().endswith('00000005')
assert sorted(os.listdir(os.environ['SWEEP_CHECKPOINT_DIR'])) == ['00000004', '00000005']
sweep.report(1, loss=1)
";
    let told = Trainer::start(None).run(Script::new(text).job(json!({}), json!({})));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
}
