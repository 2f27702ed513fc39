//! How programs end, and are ended.

use std::fs;

use serde_json::json;

use crate::harness::{ID, Script, Told, Trainer, eventually, is_alive};

#[test]
fn a_failure_has_its_exit_status_and_last_lines_as_its_reason() {
    let text = "import sys\nprint('first')\nprint('no such layer', file=sys.stderr)\nsys.exit(3)";
    let told = Trainer::start(None).run(Script::new(text).job(json!({}), json!({})));
    assert_eq!(told.outcome(), "failed");
    let reason = told.reason();
    assert!(reason.contains("exit status 3") && reason.contains("no such layer"), "{reason}");
}

#[test]
fn a_failure_within_the_helper_names_the_line_of_the_script() {
    let text = "import sweep\np = sweep.parameters(rate=1)\nsweep.report(1, loss=p.speed)";
    let told = Trainer::start(None).run(Script::new(text).job(json!({"rate": 2}), json!({})));
    let reason = told.reason();
    assert!(
        reason.contains("train.py\", line 3, in <module> | sweep.report(1, loss=p.speed) | AttributeError: no parameter is named 'speed'"),
        "{reason}"
    );
}

#[test]
fn a_signal_is_named() {
    let text = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)";
    let told = Trainer::start(None).run(Script::new(text).job(json!({}), json!({})));
    assert!(told.reason().contains("SIGSEGV"), "{}", told.reason());
}

#[test]
fn what_cannot_be_started_is_rejected_with_the_reason() {
    let mut trainer = Trainer::start(None);
    let script = Script::new("");
    for (program, part) in [
        (json!({"command": ["/no/such/program"]}), "/no/such/program cannot be started"),
        (json!({"command": ["python3", "${arg}"]}), "${args_json_file}"),
        (json!({"metrics": {"pattern": "("}}), "metrics.pattern"),
        (json!({"env": {"SWEEP_REPORT": "x"}}), "execution.env"),
    ] {
        let told = trainer.run(script.job(json!({}), program));
        assert_eq!(told.outcome(), "rejected");
        assert!(told.reason().contains(part), "{}", told.reason());
    }
    let mut elsewhere = script.job(json!({}), json!({}));
    elsewhere["program"]["folder"] = json!("/no/such/folder");
    let told = trainer.run(elsewhere);
    assert!(told.outcome() == "unavailable" && told.reason().contains("/no/such/folder"), "{told:?}");
    let told = trainer.run(json!({"id": ID, "model": "simple_cnn", "parameters": {}}));
    assert_eq!(told.outcome(), "rejected");
}

#[test]
fn a_program_that_asks_hears_that_it_is_to_stop() {
    let text = r"
import sweep
epoch = 1
while not sweep.report(epoch, loss=1):
    epoch += 1
print('stopped in order')
";
    let mut trainer = Trainer::start(None);
    let script = Script::new(text);
    trainer.train(script.job(json!({}), json!({})));
    trainer.until("epoch");
    trainer.stop();
    assert_eq!(Told(trainer.until("ended")).outcome(), "stopped");
    assert!(trainer.end().contains("stopped in order"));
}

#[test]
fn a_program_behind_a_shell_stops_in_order_though_the_shell_does_not_wait_for_it() {
    let script = Script::new("import sweep\nwhile not sweep.report(loss=1): pass\nprint('stopped in order')");
    let mut trainer = Trainer::start(None);
    trainer.train(script.job(json!({}), json!({"command": ["sh", "-c", "python3 train.py; true"]})));
    trainer.until("epoch");
    trainer.stop();
    assert_eq!(Told(trainer.until("ended")).outcome(), "stopped");
    assert!(trainer.end().contains("stopped in order"));
}

/// A script that says its numbers of processes in a file, and then hangs.
const HANGS: &str = r"
import os, signal, subprocess, sweep, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen(['sleep', '1000'], start_new_session=True)
middle = subprocess.Popen(['sh', '-c', '(setsid sleep 1000 & echo $! > orphan) & wait'])
middle.wait()
orphan = open('orphan').read().strip()
with open('pids.new', 'w') as file:
    file.write(f'{os.getpid()} {other.pid} {orphan}')
os.rename('pids.new', 'pids')
sweep.report(1, loss=1)
";

fn processes(script: &Script) -> Vec<String> {
    let text = fs::read_to_string(script.path().join("pids")).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn one_that_ignores_sigterm_is_killed_with_all_that_it_started() {
    let script = Script::new(&format!("{HANGS}\nwhile True: time.sleep(1000)"));
    let mut trainer = Trainer::start(None);
    trainer.train(script.job(json!({}), json!({"stop_seconds": 0.2})));
    trainer.until("epoch");
    let pids = processes(&script);
    assert!(pids.len() == 3 && pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    trainer.stop();
    assert_eq!(Told(trainer.until("ended")).outcome(), "stopped");
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

#[test]
fn what_a_program_leaves_behind_is_ended_with_its_job() {
    let script = Script::new(HANGS);
    let mut trainer = Trainer::start(None);
    let told = trainer.run(script.job(json!({}), json!({})));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert!(!processes(&script).iter().any(|pid| is_alive(pid)));
}

#[test]
fn nothing_outlives_the_agent() {
    let script = Script::new(&format!("{HANGS}\nwhile True: time.sleep(1000)"));
    let mut trainer = Trainer::start(None);
    trainer.train(script.job(json!({}), json!({})));
    trainer.until("epoch");
    let pids = processes(&script);
    trainer.end();
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

#[test]
fn a_trainer_that_is_killed_takes_its_program_along() {
    let script = Script::new(&format!("{HANGS}\nwhile True: time.sleep(1000)"));
    let mut trainer = Trainer::start(None);
    trainer.train(script.job(json!({}), json!({})));
    trainer.until("epoch");
    let pids = processes(&script);
    trainer.kill();
    // What that has started in sessions of its own is the keeper's.
    eventually("the program is gone", || !is_alive(&pids[0]));
}

#[test]
fn signals_to_the_trainer_are_left_to_the_agent() {
    let script = Script::new("import sweep\nwhile not sweep.report(loss=1): pass");
    let mut trainer = Trainer::start(None);
    trainer.train(script.job(json!({}), json!({})));
    trainer.until("epoch");
    let pid = trainer.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    trainer.until("epoch");
    trainer.stop();
    assert_eq!(Told(trainer.until("ended")).outcome(), "stopped");
}

#[test]
fn jobs_of_one_request_run_one_after_another_and_one_that_waits_can_be_stopped() {
    let text = r"
import os, sweep
sweep.report(1, job=float(os.environ['SWEEP_JOB']))
if os.environ['SWEEP_JOB'] == '1':
    while not sweep.report(job=1): pass
";
    let script = Script::new(text);
    let job = |number: u32| {
        let mut job = script.job(json!({}), json!({}));
        job["id"] = json!(format!("3/{number}#1"));
        job
    };
    let mut trainer = Trainer::start(None);
    trainer.train_all(&json!([job(1), job(2), job(3)]));
    trainer.until("epoch");
    trainer.ask(&json!({"type": "stop", "id": "3/2#1"}));
    trainer.ask(&json!({"type": "stop", "id": "3/1#1"}));
    for (id, outcome) in [("3/1#1", "stopped"), ("3/2#1", "stopped"), ("3/3#1", "done")] {
        let ended = trainer.until("ended").pop().unwrap();
        assert_eq!((&ended["id"], &ended["outcome"]), (&json!(id), &json!(outcome)));
    }
}

#[test]
fn the_weights_that_come_out_are_handed_over() {
    let text = r"
import os, sweep
with open(os.path.join(sweep.output(), 'model.safetensors'), 'wb') as file:
    file.write(b'weights')
sweep.report(1, loss=1)
";
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("3-14-1.safetensors");
    let script = Script::new(text);
    let mut job = script.job(json!({}), json!({}));
    job["weights"] = json!(weights);
    assert_eq!(Trainer::start(None).run(job).outcome(), "done");
    assert_eq!(fs::read(weights).unwrap(), b"weights");
}

#[test]
fn a_failure_says_whether_another_attempt_may_succeed() {
    let exit = |before: &str, code: u32| format!("import sweep, sys\n{before}\nsys.exit({code})\n");
    let report = "sweep.report(1, loss=1)";
    for (script, outcome, again) in [
        (exit("", 2), "failed", json!("unless_repeated")),
        (exit(report, 2), "failed", json!("unless_repeated")),
        (exit("", 1), "failed", json!("unless_repeated")),
        (exit("", 127), "failed", json!("unless_repeated")),
        (exit(report, 127), "failed", json!("unless_repeated")),
        (exit("", 137), "failed", json!(null)),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)".to_owned(), "failed", json!(null)),
        ("print('no metrics')".to_owned(), "failed", json!("unless_repeated")),
    ] {
        let told = Trainer::start(None).run(Script::new(&script).job(json!({}), json!({})));
        assert_eq!((told.outcome(), &told.0.last().unwrap()["again"]), (outcome, &again), "{script}");
    }
}
