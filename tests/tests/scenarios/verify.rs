//! `sweep verify SWEEP/JOB`: a job trained again, with the same numbers or not, and what cannot be told.

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use tests::{Cluster, ClusterOptions};

use crate::commands::{printed, sweep};

/// The command's exit code, and what it printed and said.
fn verify(cluster: &Cluster, job: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let cache = cluster.folder.path().join("cache");
    let own = ["verify", job, "--device", "cpu", "--cache-dir", cache.to_str().unwrap()];
    let Output { status, stdout, stderr } = sweep(cluster, &[&own, more].concat());
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// All that the coordinator knows of its sweeps and their jobs.
async fn record(cluster: &Cluster, id: u64) -> (String, String) {
    (printed(cluster, &["ls", "-o", "json"]), format!("{:?}", cluster.results(id).await))
}

/// Copies a folder of pictures, so that the copy is the test's own.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_trained_job_comes_out_the_same_to_the_bit_and_another_data_set_is_no_verdict() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let pictures = cluster.folder.path().join("pictures");
    copy(&tests::dataset(), &pictures);
    let mut source = tests::source(
        "{dropout: {values: [0.0, 0.25]}, augmentation: {value: flip_crop}, optimizer: {values: [adam, sgd]}, \
         momentum: {values: [0.5]}, epochs: {value: 2}}\nrepeats: 2",
    );
    source.dataset_path = pictures.display().to_string();
    let file = cluster.folder.path().join("sweep.yaml");
    fs::write(&file, &source.text).unwrap();
    printed(&cluster, &["submit", file.to_str().unwrap(), "--dataset", &source.dataset_path]);
    printed(&cluster, &["wait", "1"]);
    let before = record(&cluster, 1).await;
    let (code, told, said) = verify(&cluster, "1/6", &[]);
    assert_eq!(code, Some(0), "{told}{said}");
    assert_eq!(told, "job 1/6 comes out the same: 8 values of 2 epochs are equal to the bit\n", "{said}");
    let (code, told, said) = verify(&cluster, "1/1", &["--epochs", "1", "-o", "json"]);
    let found: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}{said}"));
    assert_eq!(
        (code, &found["same"], &found["values"], &found["differing"]),
        (Some(0), &true.into(), &4.into(), &0.into())
    );
    assert_eq!((&found["here"]["device"], &found["recorded"]["worker"]), (&"cpu".into(), &"one".into()));
    // A picture less is another data set, and not other numbers.
    let picture = fs::read_dir(&pictures).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(picture).unwrap();
    let (code, told, said) = verify(&cluster, "1/6", &[]);
    assert_eq!((code, told.as_str()), (Some(2), ""), "{said}");
    assert!(
        said.contains("the data set here is not the one that the job was trained on: recorded is "),
        "{said}"
    );
    fs::remove_dir_all(&pictures).unwrap();
    let (code, _, said) = verify(&cluster, "1/6", &[]);
    assert!(
        code == Some(2) && said.contains("cannot be read") && said.contains("--dataset"),
        "{code:?} {said}"
    );
    let own = tests::dataset();
    let (code, told, said) = verify(&cluster, "1/6", &["--dataset", own.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{told}{said}");
    for (job, reason) in [("1/99", "job"), ("7/1", "sweep"), ("1/6", "not the 3 of --epochs")] {
        let more: &[&str] = if job == "1/6" { &["--epochs", "3"] } else { &[] };
        let (code, _, said) = verify(&cluster, job, more);
        assert!(code == Some(2) && said.contains(reason), "{job}: {code:?} {said}");
    }
    assert_eq!(record(&cluster, 1).await, before, "nothing is written to the coordinator");
}

#[tokio::test]
async fn jobs_that_early_stopping_paused_promoted_and_stopped_have_the_numbers_of_jobs_that_train_on() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let text = tests::source(
        "{activation: {values: [relu, sigmoid]}, learning_rate: {values: [0.003, 0.001, 0.0001]}, lr_schedule: {value: cosine}, \
         epochs: {value: 3}}\nearly_terminate: {type: asha, min_iter: 1, eta: 3}",
    );
    let file = cluster.folder.path().join("sweep.yaml");
    fs::write(&file, text.text).unwrap();
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    printed(&cluster, &["wait", "1"]);
    let results = cluster.results(1).await;
    for state in ["done", "stopped"] {
        let found =
            results.iter().find(|(job, _)| job.state().as_str_name().to_ascii_lowercase().ends_with(state));
        let (job, epochs) = found.unwrap_or_else(|| panic!("a job is {state}: {results:?}"));
        let number = job.point.as_ref().unwrap().job;
        let (code, told, said) = verify(&cluster, &format!("1/{number}"), &[]);
        assert_eq!(code, Some(0), "{state}: {told}{said}");
        assert!(told.contains(&format!(": {} values of ", 4 * epochs.len())), "{told}");
    }
}

/// Its loss is in a file that is none of the sweep's.
const SCRIPT: &str = "\
import os, sweep
p = sweep.parameters(rate=0.5, place='')
for epoch in range(1, 4):
    sweep.report(epoch, loss=p.rate * float(open(p.place).read()) / epoch, repeat=int(os.environ['SWEEP_REPEAT']))
";

#[tokio::test]
async fn a_program_that_reads_something_else_does_not_come_out_the_same_and_the_first_value_is_named() {
    let worker = vec!["--allow-commands".to_owned()];
    let cluster = Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() });
    let _worker = cluster.worker("one");
    let folder = cluster.folder.path();
    let (read, script) = (folder.join("factor"), folder.join("train.py"));
    fs::write(&read, "1").unwrap();
    fs::write(&script, SCRIPT).unwrap();
    let file = folder.join("sweep.yaml");
    let text = format!(
        "program: train.py\nmethod: random\nsearch_seed: 1\nrun_cap: 4\nrepeats: 2\nmetric: {{name: loss, goal: minimize}}\n\
         parameters: {{rate: {{min: 0.25, max: 1}}, place: {{value: {read:?}}}}}\n"
    );
    fs::write(&file, text).unwrap();
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    printed(&cluster, &["wait", "1"]);
    // The script of the sweep counts, and not what has become of it.
    fs::write(&script, "raise SystemExit('another')").unwrap();
    // Whoever submitted it wrote it: it runs only where that is asked for.
    let (code, told, said) = verify(&cluster, "1/3", &[]);
    assert_eq!((code, told.as_str()), (Some(2), ""), "{said}");
    assert!(said.contains("\"train.py\"") && said.contains("with --allow-commands it is run"), "{said}");
    let verify = |job, more: &[&str]| verify(&cluster, job, &[more, &["--allow-commands"]].concat());
    for job in ["1/3", "1/4"] {
        let (code, told, said) = verify(job, &[]);
        assert_eq!(code, Some(0), "{told}{said}");
        assert!(told.ends_with("6 values of 3 epochs are equal to the bit\n"), "{told}");
    }
    fs::write(&read, "1.0001").unwrap();
    let (code, told, said) = verify("1/4", &[]);
    assert_eq!(code, Some(1), "{told}{said}");
    assert!(told.starts_with("epoch 1, loss: ") && told.contains(" came out here\n"), "{told}");
    assert!(
        said.contains(
            "job 1/4 does not come out the same: 3 of 6 values differ, the first in epoch 1, loss;"
        ),
        "{said}"
    );
    let (code, _, said) = verify("1/4", &["--tolerance", "0.001"]);
    assert_eq!(code, Some(0), "{said}");
    // As little as another kind of CPU gives is no verdict, unless it is to be one.
    fs::write(&read, "1.0000001").unwrap();
    let (code, told, said) = verify("1/4", &["-o", "json"]);
    let found: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}{said}"));
    assert_eq!((code, &found["same"], &found["differing"]), (Some(2), &Value::Null, &3.into()), "{said}");
    assert!(said.contains("the record does not say of which kind it was"), "{said}");
    let (code, _, said) = verify("1/4", &["--tolerance", "0"]);
    assert!(code == Some(1) && said.contains("does not come out the same: 3 of 6"), "{code:?} {said}");
    // What fails here gives no numbers.
    fs::remove_file(&read).unwrap();
    let (code, _, said) = verify("1/4", &[]);
    assert!(code == Some(2) && said.contains("job 1/4 failed here: "), "{code:?} {said}");
}
