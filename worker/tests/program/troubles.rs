//! Programs that misbehave.

use serde_json::json;

use crate::harness::{Script, Trainer};

#[test]
fn garbage_on_every_channel_hurts_no_job() {
    let text = r"
import os, socket, sys
for stream in (1, 2):
    os.write(stream, bytes(range(256)) * 100)
for garbage in (b'hello\n', b'\xff\xfe\n', b'{\x22epoch\x22: [}\n', b'x' * 300000, b'{\x22metrics\x22: {\x22a\x22: 1e999}}\n'):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(os.environ['SWEEP_REPORT'])
        try:
            one.sendall(garbage)
            assert b'error' in one.recv(10000)
        except ConnectionError:
            pass
import sweep
sweep.report(1, loss=0.5)
";
    let mut trainer = Trainer::start(None);
    let told = trainer.run(Script::new(text).job(json!({}), json!({"metrics": {"pattern": "(?P<x>y)"}})));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert_eq!(told.values("loss"), [json!(0.5)]);
    assert!(trainer.end().contains("a report is left out"));
}

#[test]
fn a_flood_is_cut_short_and_its_last_lines_are_kept() {
    let text = r"
import sys, sweep
line = 'x' * 999 + '\n'
for _ in range(100):
    sys.stdout.write(line * 1000)
sys.stdout.write('y' * 10_000_000)
print()
sweep.report(1, loss=1)
print('the end')
sys.exit(1)
";
    let mut trainer = Trainer::start(None);
    let told = trainer.run(Script::new(text).job(json!({}), json!({})));
    assert!(told.reason().contains("the end"), "{}", told.reason());
    let log = trainer.end();
    assert!(log.len() < 20_000_000, "{} bytes", log.len());
    assert!(log.contains("lines left out") && log.contains("the end"));
}

#[test]
fn outputs_that_are_closed_are_no_end() {
    let text =
        "import os, sweep\nos.close(1)\nos.close(2)\nfor epoch in range(1, 4): sweep.report(epoch, loss=1)";
    let told = Trainer::start(None).run(Script::new(text).job(json!({}), json!({})));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
    assert_eq!(told.values("loss").len(), 3);
}

#[test]
fn a_program_with_many_orphans_is_waited_for_and_they_do_not_pile_up() {
    let text = r"
import os, sweep
for _ in range(300):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
def zombies():
    count = 0
    for pid in os.listdir('/proc'):
        try:
            with open(f'/proc/{pid}/stat') as file:
                rest = file.read().rsplit(')', 1)[1].split()
            count += rest[0] == 'Z' and rest[1] == str(os.getppid())
        except OSError:
            pass
    return count
while zombies():
    pass
sweep.report(1, loss=1)
";
    let told = Trainer::start(None).run(Script::new(text).job(json!({}), json!({})));
    assert_eq!(told.outcome(), "done", "{}", told.reason());
}

#[test]
fn an_epoch_that_comes_again_changes_nothing_and_is_said() {
    let text = r"
import sweep
for epoch in (1, 2, 2, 1, 3):
    sweep.report(epoch, loss=epoch / 10)
";
    let mut trainer = Trainer::start(None);
    let told = trainer.run(Script::new(text).job(json!({}), json!({})));
    assert_eq!(told.values("loss"), [json!(0.1), json!(0.2), json!(0.3)]);
    assert_eq!(trainer.end().matches("was reported again").count(), 1);
}
