//! Programs that go on where an earlier attempt was.

use super::{placement::permissive_worker, *};

/// How both begin that keep checkpoints with the helper: from the last one, if there is any.
pub(super) const LOADS: &str = "\
import json, os, time
import sweep
p = sweep.parameters(rate=0.5)
value, start = 1.0, 1
found = sweep.load()
if found:
    with open(os.path.join(found, 'state.json')) as file:
        value, start = json.load(file)
def save(folder):
    with open(os.path.join(folder, 'state.json'), 'w') as file:
        json.dump([value, epoch + 1], file)
";

/// Keeps a checkpoint after each epoch; in the middle of the fourth, its first attempt waits for the gate file.
pub(super) const RESUMING: &str = "\
for epoch in range(start, 9):
    value = value * p.rate + 1 / epoch
    if epoch == 4:
        with open(os.environ['REACHED'], 'a') as file:
            file.write('%s %d\\n' % (os.environ['SWEEP_ATTEMPT'], start))
        while not os.path.exists(os.environ['GATE']):
            time.sleep(0.01)
    sweep.checkpoint(save)
    sweep.report(epoch, value=value)
";

/// Keeps a checkpoint after each epoch; between the fourth one and its report, it waits until there is a gate;
/// before the fourth epoch, until there is another one.
const BETWEEN: &str = "\
def wait(ending):
    while not os.path.exists(os.environ['GATE'] + ending):
        time.sleep(0.01)
for epoch in range(start, 9):
    if epoch == 4:
        wait('.begin')
    value = value * p.rate + 1 / epoch
    sweep.checkpoint(save)
    if epoch == 4:
        wait('')
    with open(os.environ['REACHED'], 'a') as file:
        file.write('%s %d\\n' % (os.environ['SWEEP_ATTEMPT'], epoch))
    sweep.report(epoch, value=value)
";

/// Knows of the folder for checkpoints, and nothing else of any sweep. Its first attempt dies between its third state and what it
/// would have printed.
const FOLDER_ALONE: &str = "\
import json, os
path = os.path.join(os.environ['SWEEP_CHECKPOINT_DIR'], 'state.json')
value, start = 1.0, 1
if os.path.exists(path):
    with open(path) as file:
        value, start = json.load(file)
for epoch in range(start, 6):
    value = value * 0.5 + 1 / epoch
    with open(path + '.new', 'w') as file:
        json.dump([value, epoch + 1], file)
    os.replace(path + '.new', path)
    if epoch == 3 and os.environ['SWEEP_ATTEMPT'] == '1':
        os._exit(3)
    print(f'epoch {epoch}: value={value!r}', flush=True)
";

/// Submits a program that begins with [`LOADS`], with its gate at `gate`.
pub(super) fn submit_resuming(cluster: &Cluster, script: &str, gate: &Path) {
    let reached = cluster.folder.path().join("reached");
    let sweep = format!(
        "program: train.py\nmetric: {{name: value, goal: minimize}}\nparameters: {{rate: {{value: 0.3}}}}\n\
         execution: {{env: {{REACHED: {reached:?}, GATE: {gate:?}}}}}\n"
    );
    let script = format!("{LOADS}{script}");
    let file = project(&cluster.folder.path().join("own"), &script, &sweep);
    printed(cluster, &["submit", file.to_str().unwrap()]);
}

/// Whether a file whose name begins and ends so lies below the folder.
fn has_file(folder: &Path, prefix: &str, ending: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (name.starts_with(prefix) && name.ends_with(ending)) || has_file(&path, prefix, ending)
    })
}

/// Waits until the third epoch is kept, which was reported after its checkpoint.
fn until_third_epoch(checkpoints: &Path) {
    let third = || has_file(checkpoints, "0000000002-", ".tail").then_some(());
    until("the third epoch, which was reported after its checkpoint", third);
}

#[tokio::test]
async fn a_program_that_is_killed_with_its_worker_goes_on_elsewhere_with_the_same_numbers() {
    let cluster = permissive();
    let gate = cluster.folder.path().join("gate");
    submit_resuming(&cluster, RESUMING, &gate);
    let one = cluster.worker("one");
    let mut watch = cluster.watch(1).await;
    let reached = cluster.folder.path().join("reached");
    until("the middle of the fourth epoch", || fs::exists(&reached).unwrap().then_some(()));
    let checkpoints = cluster.folder.path().join("checkpoints");
    until_third_epoch(&checkpoints);
    watch.until_epoch(3).await;
    let processes = tests::descendants(one.pid());
    one.kill();
    processes.into_iter().for_each(tests::wait_for_end);
    fs::write(&gate, "").unwrap();
    let _two = cluster.worker("two");
    watch.until_end().await;
    let attempts = cluster.job(1, 1).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!((first.worker.as_str(), second.worker.as_str()), ("one", "two"));
    assert_eq!(second.resumed_epochs, 3, "{second:?}");
    assert_eq!(fs::read_to_string(&reached).unwrap(), "1 1\n2 4\n", "no epoch is trained twice");
    let undisturbed = permissive();
    submit_resuming(&undisturbed, RESUMING, &gate);
    let _worker = undisturbed.worker("one");
    undisturbed.watch(1).await.until_end().await;
    let expected = values(&undisturbed.results(1).await);
    assert_eq!(expected.len(), 8);
    assert_eq!(values(&cluster.results(1).await), expected);
}

#[tokio::test]
async fn a_program_continues_on_its_machine_where_no_place_for_checkpoints_is_given() {
    let cluster = Cluster::start(ClusterOptions { lease: "2s", ..ClusterOptions::default() });
    let gate = cluster.folder.path().join("gate");
    submit_resuming(&cluster, RESUMING, &gate);
    let worker = permissive_worker(&cluster);
    let mut watch = cluster.watch(1).await;
    watch.until_epoch(3).await;
    let kept = cluster.folder.path().join("spool-may/checkpoints");
    until_third_epoch(&kept);
    let reached = cluster.folder.path().join("reached");
    until("the middle of the fourth epoch", || fs::exists(&reached).unwrap().then_some(()));
    let processes = tests::descendants(worker.0.id());
    drop(worker);
    processes.into_iter().for_each(tests::wait_for_end);
    fs::write(&gate, "").unwrap();
    let _again = permissive_worker(&cluster);
    watch.until_end().await;
    assert_eq!(fs::read_to_string(&reached).unwrap(), "1 1\n2 4\n", "no epoch is trained twice");
    let attempts = cluster.job(1, 1).await.attempts;
    assert_eq!(attempts.last().unwrap().resumed_epochs, 3, "{attempts:?}");
    until("the end of what was kept", || (!has_file(&kept, "", ".checkpoint")).then_some(()));
}

#[tokio::test]
async fn an_epoch_whose_report_was_lost_after_its_checkpoint_is_trained_again() {
    let cluster = permissive();
    let gate = cluster.folder.path().join("gate");
    submit_resuming(&cluster, BETWEEN, &gate);
    let one = cluster.worker("one");
    let mut watch = cluster.watch(1).await;
    watch.until_epoch(3).await;
    let checkpoints = cluster.folder.path().join("checkpoints");
    until_third_epoch(&checkpoints);
    fs::write(gate.with_extension("begin"), "").unwrap();
    let fourth = || has_file(&checkpoints, "0000000003-0000000001-", ".checkpoint").then_some(());
    until("the fourth checkpoint", fourth);
    let processes = tests::descendants(one.pid());
    one.kill();
    processes.into_iter().for_each(tests::wait_for_end);
    fs::write(&gate, "").unwrap();
    let _two = cluster.worker("two");
    watch.until_end().await;
    let attempts = cluster.job(1, 1).await.attempts;
    let [_, ahead, last] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert!(ahead.reason.contains("ahead of the reported epochs"), "{ahead:?}");
    assert_eq!(last.resumed_epochs, 3, "{last:?}");
    let reached = fs::read_to_string(cluster.folder.path().join("reached")).unwrap();
    assert_eq!(reached, "1 1\n1 2\n1 3\n2 5\n3 4\n3 5\n3 6\n3 7\n3 8\n");
    let undisturbed = permissive();
    submit_resuming(&undisturbed, BETWEEN, &gate);
    let _worker = undisturbed.worker("one");
    undisturbed.watch(1).await.until_end().await;
    let expected = values(&undisturbed.results(1).await);
    assert_eq!(expected.len(), 8);
    assert_eq!(values(&cluster.results(1).await), expected);
}

#[test]
fn no_epoch_is_missing_of_a_script_that_uses_the_folder_for_checkpoints_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: value, goal: minimize}\nparameters: {rate: {value: 1}}\n\
                 metrics: {pattern: 'epoch (?P<epoch>\\d+): value=(?P<value>\\S+)'}\n";
    let results = run(folder.path(), FOLDER_ALONE, sweep);
    let jobs = rows(&results.join("results.csv"));
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    // It failed, was ahead of what was printed, and started over.
    assert_eq!((job["state"].as_str(), job["attempts"].as_str()), ("done", "3"), "{job:?}");
    let mut value = 1.0;
    let expected: Vec<(f64, f64)> = (1..=5)
        .map(|epoch| {
            value = value * 0.5 + 1.0 / f64::from(epoch);
            (f64::from(epoch), value)
        })
        .collect();
    let epochs = rows(&results.join("epochs.csv"));
    let told: Vec<_> = epochs.iter().map(|row| (number(row, "epoch"), number(row, "value"))).collect();
    assert_eq!(told, expected);
}
