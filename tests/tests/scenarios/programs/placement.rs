//! Which workers run programs, and with which files.

use super::*;

#[tokio::test]
async fn a_program_whose_files_are_not_there_is_refused_before_anything_is_kept() {
    let cluster = Cluster::start(ClusterOptions::default());
    let folder = cluster.folder.path().join("own");
    let sweep = "name: own\ncommand: [python3, train.py]\nmetric: {name: recall, goal: maximize}\n\
                 parameters: {width: {values: [1, 2]}}\n";
    let file = project(&folder, REPORTING, sweep);
    let file = file.to_str().unwrap();
    let results = folder.join("results").to_str().unwrap().to_owned();
    for arguments in [&["validate", file][..], &["submit", file], &["run", file, "--output", &results]] {
        let output = match arguments[0] {
            "submit" => command(&cluster, arguments),
            _ => Command::new(program("sweep")).args(arguments).output().unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("\"train.py\" is a file next to the sweep file"), "{arguments:?}: {said}");
    }
    assert!(!fs::exists(&results).unwrap());
    // Who does not send them is refused, too.
    let text = "program: train.py\nmetric: {name: recall, goal: maximize}\n".to_owned();
    let source = v1::SweepSource { text, ..v1::SweepSource::default() };
    let mut request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let refused = cluster.client().await.submit(request.clone()).await.unwrap_err();
    assert!(refused.message().contains("execution.files"), "{refused:?}");
    let sweeps = cluster.client().await.list_sweeps(v1::ListSweepsRequest::default()).await.unwrap();
    assert!(sweeps.into_inner().sweeps.is_empty());
    // The same where it would add jobs to a sweep whose files are there.
    let whole = sweep.replace("}}\n", "}}\nexecution: {files: [train.py]}\n");
    fs::write(file, &whole).unwrap();
    printed(&cluster, &["submit", file]);
    fs::write(file, sweep.replace("[1, 2]", "[3]")).unwrap();
    let output = command(&cluster, &["submit", file, "--extend", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\"train.py\" is a file next to the sweep file"), "{said}");
    request.extend_sweep_id = 1;
    request.source.as_mut().unwrap().text = whole.replace("[1, 2]", "[3]");
    let refused = cluster.client().await.submit(request).await.unwrap_err();
    assert!(refused.message().contains("were not sent"), "{refused:?}");
    fs::write(file, whole.replace("[1, 2]", "[3]")).unwrap();
    let told = printed(&cluster, &["submit", file, "--extend", "1"]);
    assert!(told.contains("1 of 3 jobs is new"), "{told}");
}

#[tokio::test]
async fn a_worker_that_may_run_no_programs_is_given_none_and_the_sweep_says_why_it_waits() {
    let cluster = Cluster::start(ClusterOptions::default());
    let worker = cluster.worker("strict");
    worker.until_connected();
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\n";
    let file = project(&cluster.folder.path().join("own"), REPORTING, sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    let shown = printed(&cluster, &["show", "1"]);
    assert!(
        shown.contains("no worker can train this sweep") && shown.contains("--allow-commands"),
        "{shown}"
    );
    assert!(cluster.job(1, 1).await.attempts.is_empty(), "it was given nothing");
    // The next worker may, and the sweep continues.
    let may = permissive_worker(&cluster);
    cluster.watch(1).await.until_end().await;
    let attempts = cluster.job(1, 1).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.worker.as_str()).collect::<Vec<_>>(), ["may"]);
    drop(may);
}

#[tokio::test]
async fn a_worker_without_a_trainer_that_can_be_loaded_runs_programs_and_no_models() {
    for trainer in [None, Some("/bin/false")] {
        let installed = tempfile::tempdir().unwrap();
        let own = installed.path().join("sweep-worker");
        fs::copy(program("sweep-worker"), &own).unwrap();
        if let Some(trainer) = trainer {
            fs::copy(trainer, installed.path().join("sweep-trainer")).unwrap();
        }
        let spool = installed.path().join("spool").display().to_string();
        let arguments = ["start", "--device", "cpu", "--name", "strict", "--spool", &spool];
        let strict = Command::new(&own).args(arguments).output().unwrap();
        assert_eq!(strict.status.code(), Some(1), "it trains models alone");
        let cluster = Cluster::start(ClusterOptions {
            worker: vec!["--allow-commands".to_owned()],
            worker_program: Some(own),
            ..ClusterOptions::default()
        });
        let worker = cluster.worker("one");
        worker.until_it_says("trains no models and runs programs alone");
        worker.until_connected();
        let workers = cluster.workers().await;
        let [known] = workers.as_slice() else { panic!("{workers:?}") };
        assert!(known.runs_programs && known.models.is_empty(), "{known:?}");
        let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\n";
        let file = project(&cluster.folder.path().join("own"), REPORTING, sweep);
        printed(&cluster, &["submit", file.to_str().unwrap()]);
        cluster.watch(1).await.until_end().await;
        assert_eq!(cluster.job(1, 1).await.job.unwrap().state(), v1::JobState::Done);
        let told = printed(&cluster, &["workers", "-o", "csv"]);
        let row: Vec<&str> = told.lines().nth(1).unwrap().split(',').collect();
        let column = |name| told.lines().next().unwrap().split(',').position(|found| found == name).unwrap();
        assert_eq!((row[column("models")], row[column("programs")]), ("", "yes"), "{told}");
    }
}

/// A worker of a cluster whose others may run no programs.
pub(super) fn permissive_worker(cluster: &Cluster) -> Leaving {
    let path = |name: &str| cluster.folder.path().join(name);
    let worker = Command::new(program("sweep-worker"))
        .args(["start", "--slots", "1", "--device", "cpu", "--name", "may", "--allow-commands"])
        .args(["--coordinator", &format!("http://{}", cluster.coordinator.address)])
        .arg("--spool")
        .arg(path("spool-may"))
        .arg("--cache-dir")
        .arg(path("cache"))
        .stderr(fs::File::create(path("may.log")).unwrap())
        .spawn();
    Leaving(worker.unwrap())
}

/// A process that is killed when this is dropped.
pub(super) struct Leaving(pub(super) std::process::Child);

impl Drop for Leaving {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
