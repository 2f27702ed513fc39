//! Programs of a sweep whose jobs pause: those that keep checkpoints go on, those that keep none are stopped instead.

use proto::v1::JobState;

use super::{checkpoints::LOADS, *};

/// Four rates, of which the smallest gives the smallest value: a job pauses after two epochs, and one of three goes on.
const SWEEP: &str = "\
program: train.py
metric: {name: value, goal: minimize}
parameters: {rate: {values: [0.1, 0.2, 0.3, 0.4]}}
early_terminate: {type: asha, min_iter: 2, eta: 3, promote: true}
";

/// Five epochs, with a checkpoint before the report of each.
const KEEPS: &str = "\
for epoch in range(start, 6):
    value = p.rate / epoch
    sweep.checkpoint(save)
    if sweep.report(epoch, value=value):
        break
";

/// The same without checkpoints.
const KEEPS_NONE: &str = "\
import sweep
p = sweep.parameters(rate=0.5)
for epoch in range(1, 6):
    if sweep.report(epoch, value=p.rate / epoch):
        break
";

const WHY: &str = "job 1 paused without a checkpoint, so from then on jobs are stopped at rungs where they would have paused";

/// The sweep of this script when it has ended, on one slot: the state of each job, and what its attempts took over.
async fn trained(cluster: &Cluster, script: &str) -> Vec<(JobState, Vec<u32>)> {
    let file = project(&cluster.folder.path().join("own"), script, SWEEP);
    printed(cluster, &["submit", file.to_str().unwrap()]);
    let _worker = cluster.worker("one");
    let waited = command(cluster, &["wait", "1"]);
    assert!(waited.status.success(), "{waited:?}");
    let told = String::from_utf8_lossy(&waited.stderr).matches(WHY).count();
    assert_eq!(told, usize::from(script == KEEPS_NONE), "{waited:?}");
    let mut jobs = Vec::new();
    for job in 1..=4 {
        let detail = cluster.job(1, job).await;
        let resumed = detail.attempts.iter().map(|attempt| attempt.resumed_epochs).collect();
        jobs.push((detail.job.unwrap().state(), resumed));
    }
    jobs
}

#[tokio::test]
async fn a_program_that_keeps_checkpoints_pauses_and_goes_on_from_the_last_one() {
    let cluster = permissive();
    let jobs = trained(&cluster, &format!("{LOADS}{KEEPS}")).await;
    let paused = || (JobState::Stopped, vec![0]);
    assert_eq!(jobs, [(JobState::Done, vec![0, 2]), paused(), paused(), paused()]);
    let shown: serde_json::Value =
        serde_json::from_str(&printed(&cluster, &["show", "1", "-o", "json"])).unwrap();
    assert_eq!(shown["cannot_pause"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_program_that_keeps_none_is_stopped_at_rungs_once_that_is_known_and_the_sweep_says_so() {
    let cluster = permissive();
    let jobs = trained(&cluster, KEEPS_NONE).await;
    let stopped = || (JobState::Stopped, vec![0]);
    assert_eq!(jobs, [(JobState::Done, vec![0, 0]), stopped(), stopped(), stopped()]);
    let reason = |job: &str| printed(&cluster, &["show", job]);
    assert!(reason("1/2").contains("stopped after epoch 2"), "{}", reason("1/2"));
    let first = cluster.job(1, 1).await.attempts.swap_remove(0);
    assert!(first.reason.contains("it left no checkpoint"), "{first:?}");
    let shown: serde_json::Value =
        serde_json::from_str(&printed(&cluster, &["show", "1", "-o", "json"])).unwrap();
    assert_eq!(shown["cannot_pause"], WHY);
    let told = String::from_utf8(command(&cluster, &["show", "1"]).stderr).unwrap();
    assert!(told.contains(&format!("warning: {WHY}; have the program keep checkpoints")), "{told}");
    let report = cluster.folder.path().join("report");
    printed(&cluster, &["report", "1", "--output", report.to_str().unwrap()]);
    let page = fs::read_to_string(report.join("report.md")).unwrap();
    assert!(page.contains(&format!("- **No pauses**: {WHY}")), "{page}");
}

/// The number of epochs is a parameter, and the rung is the last one. The third job ends before it by its own rule, and the fourth has
/// another idea of how many there are, and does not look whether it is to end.
const TO_THE_LAST: &str = "\
program: train.py
metric: {name: value, goal: minimize}
parameters: {rate: {values: [0.1, 0.2, 0.3, 0.4]}, epochs: {value: 2}}
early_terminate: {type: asha, min_iter: 2, eta: 3, promote: true}
execution: {epochs_parameter: epochs, attempts_max: 1}
";

const TRAINS_SO_MANY: &str = "\
import sweep
p = sweep.parameters(rate=0.5, epochs=0)
for epoch in range(1, {0.3: p.epochs - 1, 0.4: p.epochs + 1}.get(p.rate, p.epochs) + 1):
    if sweep.report(epoch, value=p.rate / epoch) and p.rate != 0.4:
        break
";

#[tokio::test]
async fn a_job_whose_last_epoch_is_a_rung_is_done_there_where_the_file_says_how_many_epochs_it_has() {
    let cluster = permissive();
    let file = project(&cluster.folder.path().join("own"), TRAINS_SO_MANY, TO_THE_LAST);
    let told = command(&cluster, &["submit", file.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    // What is known before is said before.
    assert!(told.contains("a job ends with epoch 2") && !told.contains("how many epochs"), "{told}");
    let _worker = cluster.worker("one");
    command(&cluster, &["wait", "1"]);
    let mut ended = Vec::new();
    for number in 1..=4 {
        let job = cluster.job(1, number).await.job.unwrap();
        ended.push((job.state(), job.epochs_done));
    }
    assert_eq!(ended, [2, 2, 1, 2].map(|epochs| (JobState::Done, epochs)));
}
