//! The ways in which metrics come, and how parameters reach a program.

use serde_json::{Value, json};

use crate::harness::{Script, Told, Trainer, eventually};

fn run(text: &str, parameters: Value, program: Value) -> Told {
    Trainer::start(None).run(Script::new(text).job(parameters, program))
}

#[test]
fn a_script_changed_by_three_lines_is_swept() {
    let text = r"
import argparse, math
import sweep
parser = argparse.ArgumentParser()
parser.add_argument('--lr', type=float, default=9.0)
parser.add_argument('--model.layers', dest='layers', type=int)
parser.add_argument('--fast', action='store_true')
parser.add_argument('--slow', action='store_true')
parser.add_argument('--name', default='none')
args = parser.parse_args()
p = sweep.parameters(lr=7.0, other=5, model={'width': 2})
assert (p.lr, p.other, p.model.layers, p.model.width, p['name']) == (0.25, 5, 3, 2, None), p
assert (args.lr, args.layers, args.fast, args.slow, args.name) == (0.25, 3, True, False, 'none'), args
for epoch in range(1, 4):
    assert not sweep.report(epoch, loss=args.lr / epoch, other=math.nan)
";
    let parameters = json!({"lr": 0.25, "model.layers": 3, "fast": true, "slow": false, "name": null});
    let told = run(text, parameters, json!({"metrics": {"objective": "loss"}}));
    assert_eq!((told.outcome(), told.reason()), ("done", ""));
    assert_eq!(told.values("loss"), [json!(0.25), json!(0.125), json!(0.25 / 3.0)]);
    assert_eq!(told.values("other"), [json!("nan"), json!("nan"), json!("nan")]);
    assert_eq!(told.values("step"), [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn a_script_that_knows_nothing_of_sweep_is_read_by_a_pattern() {
    let text = r"
import sys
for epoch in range(3):
    print(f'\rstep 1 of epoch {epoch}', end='', file=sys.stderr)
    print(f'Epoch {epoch}: train loss=0.{epoch}5, acc 9{epoch}.5%')
";
    let pattern = r"Epoch (?P<epoch>\d+).*loss=(?P<loss>\S+) acc (?P<acc>\S+)";
    let told = run(text, json!({}), json!({"metrics": {"pattern": pattern, "objective": "acc"}}));
    assert_eq!((told.outcome(), told.reason()), ("done", ""));
    assert_eq!(told.values("acc"), [json!(90.5), json!(91.5), json!(92.5)]);
}

#[test]
fn a_csv_file_that_grows_is_read() {
    let text = r"
import csv, os
with open('log.csv', 'w', newline='') as file:
    rows = csv.writer(file)
    rows.writerow(['step', 'loss', 'note'])
    for step in (100, 200, 300):
        rows.writerow([step, 1 / step, 'fine'])
        file.flush()
";
    let told = run(text, json!({}), json!({"metrics": {"csv": "log.csv", "objective": "loss"}}));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert_eq!(told.values("loss"), [json!(0.01), json!(0.005), json!(1.0 / 300.0)]);
    assert_eq!(told.values("step"), [json!(100.0), json!(200.0), json!(300.0)]);
}

#[test]
fn processes_of_a_program_share_the_channel() {
    let text = r"
import multiprocessing, subprocess, sys
import sweep
def work(number):
    sweep.report(number, loss=number)
if __name__ == '__main__':
    sweep.report(1, loss=1)
    for start, number in (('fork', 2), ('spawn', 3)):
        one = multiprocessing.get_context(start).Process(target=work, args=(number,))
        one.start(); one.join(); assert one.exitcode == 0
    subprocess.run([sys.executable, '-c', 'import sweep; sweep.report(4, loss=4)'], check=True)
";
    let told = run(text, json!({}), json!({}));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert_eq!(told.values("loss"), [json!(1.0), json!(2.0), json!(3.0), json!(4.0)]);
}

#[test]
fn nothing_that_a_parameter_holds_is_run() {
    let text = r"
import sys, sweep
assert sys.argv[1:] == ['--a=$(touch /tmp/x); `id`', '--b=--evil ${args}'], sys.argv
sweep.report(1, loss=1)
";
    let parameters = json!({"a": "$(touch /tmp/x); `id`", "b": "--evil ${args}"});
    let told = run(text, parameters, json!({}));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
}

#[test]
fn a_metric_that_diverges_ends_the_job_where_it_is_the_objective() {
    let text = r"
import sweep
for epoch in range(1, 100):
    if sweep.report(epoch, loss=1.0 if epoch < 3 else float('inf'), lr=float('nan')):
        break
";
    let told = run(text, json!({}), json!({"metrics": {"objective": "loss"}}));
    assert_eq!((told.outcome(), told.reason()), ("diverged", "loss was inf in epoch 3"));
    assert_eq!(told.values("lr"), [json!("nan"), json!("nan")]);
}

#[test]
fn a_program_that_prints_on_after_it_diverged_has_no_epoch_under_anothers_number() {
    let text = r"
import math, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for epoch in range(1, 8):
    print(f'epoch {epoch} loss={math.nan if epoch == 3 else 1 / epoch}', flush=True)
";
    let pattern = r"epoch (?P<epoch>\d+) loss=(?P<loss>\S+)";
    let told = run(text, json!({}), json!({"metrics": {"pattern": pattern, "objective": "loss"}}));
    assert_eq!((told.outcome(), told.reason()), ("diverged", "loss was NaN in epoch 3"));
    assert_eq!(told.values("loss"), [json!(1.0), json!(0.5)]);
    assert_eq!(told.values("step"), [Value::Null, Value::Null]);
}

#[test]
fn a_program_stops_at_its_budget() {
    let text = r"
import sweep
epoch = 1
while not sweep.report(epoch, loss=epoch):
    epoch += 1
";
    let mut job = Script::new(text);
    let mut asked = job_with_budget(&mut job);
    let told = Trainer::start(None).run(asked.take());
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert_eq!(told.values("loss").len(), 4);
}

fn job_with_budget(script: &mut Script) -> Value {
    let mut job = script.job(json!({}), json!({}));
    job["budget"] = json!(4);
    job
}

#[test]
fn a_program_that_reports_nothing_of_use_has_failed_with_what_would_be_right() {
    let plain = json!({"objective": "loss"});
    let by_pattern = json!({"objective": "loss", "pattern": "los=(?P<loss>\\d+)"});
    let by_table = json!({"objective": "loss", "csv": "metric.csv"});
    for (text, metrics, part) in [
        ("print('done')", &plain, "reported no metrics; have it call sweep.report"),
        ("print('loss=1')", &by_pattern, "no line that it printed matches metrics.pattern"),
        (
            "open('metrics.csv', 'w').close()",
            &by_table,
            "it wrote no row of metrics to metric.csv (metrics.csv)",
        ),
        ("import sweep; sweep.report(1, los=1)", &plain, "it reported los"),
        ("import sweep; sweep.report(1, loss='low')", &plain, "'loss' is no number"),
    ] {
        let told = run(text, json!({}), json!({"metrics": metrics}));
        assert_eq!(told.outcome(), "failed");
        assert!(told.reason().contains(part), "{}", told.reason());
    }
}

#[test]
fn the_helper_is_inert_outside_of_a_sweep() {
    let text = r"
import ast, sys
with open(sys.argv[1] + '/sweep.py', encoding='utf-8') as file:
    ast.parse(file.read(), feature_version=(3, 8))
sys.path.insert(0, sys.argv[1])
import sweep
p = sweep.parameters(lr=0.5, model={'layers': 2})
assert (p.lr, p.model.layers) == (0.5, 2)
assert sweep.report(1, loss=0.5) is False and sweep.load() is None and sweep.output() is None
assert sweep.checkpoint(lambda folder: 1 / 0) is None and not sweep.active()
";
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let ran = std::process::Command::new("python3").args(["-c", text, helper]).output().unwrap();
    assert!(ran.status.success() && ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn an_epoch_took_as_long_as_its_program_says_however_late_it_is_handled() {
    let text = r"
import os, time
began = time.monotonic()
for epoch in range(1, 301):
    print(f'epoch {epoch}', *(f'm{number}={epoch}' for number in range(8)), flush=True)
with open('.written', 'w') as file:
    file.write(str(time.monotonic() - began))
os.rename('.written', 'written')
while not os.path.exists('go'):
    time.sleep(0.01)
";
    // So long that what is told of a hundred epochs fills a pipe.
    let name = |number: u32| format!("{}{number}", "loss_".repeat(19));
    let groups = (0..8).map(|number| format!(" m{number}=(?P<{}>\\d+)", name(number)));
    let pattern = format!("epoch (?P<epoch>\\d+){}", groups.collect::<String>());
    let (hears, until) = std::sync::mpsc::channel();
    let script = Script::new(text);
    let mut trainer = Trainer::start_unheard(until);
    trainer.train(script.job(json!({}), json!({"metrics": {"pattern": pattern}})));
    eventually("it has printed all", || script.path().join("written").exists());
    // Whoever hears it is slow meanwhile.
    let deaf = std::time::Duration::from_secs(5);
    std::thread::sleep(deaf);
    drop(hears);
    std::fs::write(script.path().join("go"), "").unwrap();
    let told = Told(trainer.until("ended"));
    assert_eq!(told.values(&name(0)).len(), 300, "{}", told.reason());
    let took: f64 = std::fs::read_to_string(script.path().join("written")).unwrap().parse().unwrap();
    let epochs = told.0.iter().filter(|message| message["type"] == "epoch").skip(1);
    let seconds: f64 = epochs.map(|epoch| epoch["epoch_seconds"].as_f64().unwrap()).sum();
    // As much less as a busy machine needs to read a line.
    assert!(seconds < took + 0.8 * deaf.as_secs_f64(), "{seconds} s for {took} s");
}

/// What the end of a job says of its parameters: those that were read, and those that were not.
fn read(script: &str, parameters: Value) -> Value {
    let told = run(script, parameters, json!({}));
    assert_eq!((told.outcome(), told.reason()), ("done", ""));
    told.0.last().unwrap()["parameters"].clone()
}

#[test]
fn a_program_says_which_of_its_parameters_it_has_read() {
    let parameters = || json!({"lr": 0.5, "learning_rat": 0.1, "opt.name": "sgd", "opt.decay": 0.0});
    let all = json!(["learning_rat", "lr", "opt.decay", "opt.name"]);
    let of = |code: &str| {
        read(
            &format!(
                "import copy, json, sweep\np = sweep.parameters(learning_rate=1)\n{code}\nsweep.report(loss=1)\n"
            ),
            parameters(),
        )
    };
    for code in ["p.lr, p.opt.name", "p['lr'], p.get('opt')['name']", "'lr' in p and p.opt.pop('name')"] {
        assert_eq!(
            of(code),
            json!({"read": ["lr", "opt.name"], "unread": ["learning_rat", "opt.decay"]}),
            "{code}"
        );
    }
    for code in [
        "dict(p)",
        "dict(**p)",
        "json.dumps(p)",
        "copy.deepcopy(p)",
        "list(p.items())",
        "[name for name in p]",
    ] {
        assert_eq!(of(code), json!({"read": all, "unread": []}), "{code}");
    }
    assert_eq!(of("print(p, len(p))")["read"], json!([]), "to print them is not to use them");
    // What a child has read counts, and a script that takes its arguments elsewhere is no script without parameters.
    assert_eq!(
        of("import os\nif os.fork() == 0:\n    p.lr\n    os._exit(0)\nos.wait()")["read"],
        json!(["lr"])
    );
    assert_eq!(read("import sweep\nsweep.report(loss=1)\n", parameters()), Value::Null);
}
