//! Runs on a real MLflow server.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use terms::JobState;
use tests::{PATIENCE, kill};

use super::{
    relay::{Fault, Relay},
    swept::{HOSTILE_NAME, HOSTILE_TEXT, Job, Swept},
    tools::{Mlflow, readers},
};

/// The names that MLflow does not take, as they are there.
const NAME_THERE: &str = "_opt/設定_s_b_";
const METRIC_THERE: &str = "val/損失 ___";

/// All runs of the experiment.
fn all_runs(mlflow: &Mlflow, experiment: &str) -> Vec<Value> {
    let found = mlflow.ask("runs/search", &json!({ "experiment_ids": [experiment], "max_results": 1_000 }));
    found["runs"].as_array().cloned().unwrap_or_default()
}

/// The runs of the experiment by their jobs; each job has one.
fn runs(mlflow: &Mlflow, experiment: &str) -> BTreeMap<u64, Value> {
    let found = all_runs(mlflow, experiment);
    let count = found.len();
    let runs: BTreeMap<u64, Value> =
        found.into_iter().map(|run| (tag(&run, "sweep.job").parse().unwrap(), run)).collect();
    assert_eq!(runs.len(), count, "no job has two");
    runs
}

fn tag(run: &Value, key: &str) -> String {
    let tags = run["data"]["tags"].as_array().unwrap();
    let found = tags.iter().find(|tag| tag["key"] == key).unwrap_or_else(|| panic!("no {key}: {tags:?}"));
    found["value"].as_str().unwrap().to_owned()
}

fn experiment(mlflow: &Mlflow) -> String {
    let found = mlflow.ask("experiments/search", &json!({ "max_results": 10, "filter": "name LIKE 'é %'" }));
    found["experiments"][0]["experiment_id"].as_str().unwrap().to_owned()
}

/// All values of a metric of a run, by epoch, as bits.
fn history(mlflow: &Mlflow, run: &Value, metric: &str) -> Vec<(u64, u64)> {
    let path = format!(
        "metrics/get-history?run_id={}&metric_key={}",
        run["info"]["run_id"].as_str().unwrap(),
        escaped(metric)
    );
    let found = mlflow.get(&path);
    let value = |value: &Value| match value {
        Value::String(text) => text.parse::<f64>().unwrap(),
        value => value.as_f64().unwrap(),
    };
    let step = |one: &Value| one["step"].as_u64().unwrap_or(0);
    found["metrics"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (step(one), value(&one["value"]).to_bits()))
        .collect()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What MLflow's database makes of a value: infinities are its largest numbers, and SQLite has one zero.
fn kept(value: f64) -> f64 {
    value.clamp(-f64::MAX, f64::MAX) + 0.0
}

fn check(mlflow: &Mlflow, jobs: &[Job]) {
    let runs = runs(mlflow, &experiment(mlflow));
    let begun: Vec<_> = jobs.iter().filter(|job| job.attempts > 0).collect();
    assert_eq!(
        runs.keys().copied().collect::<Vec<_>>(),
        begun.iter().map(|job| job.number).collect::<Vec<_>>()
    );
    for job in begun {
        let run = &runs[&job.number];
        let status = match job.state {
            JobState::Done => "FINISHED",
            JobState::Cancelled => "KILLED",
            _ => "FAILED",
        };
        assert_eq!(run["info"]["status"], status);
        assert_eq!(
            (&run["info"]["start_time"], &run["info"]["end_time"]),
            (&json!(job.started_unix_ms), &json!(job.ended_unix_ms))
        );
        let parameters = run["data"]["params"].as_array().unwrap();
        let parameters: BTreeMap<_, _> = parameters
            .iter()
            .map(|one| (one["key"].as_str().unwrap(), one["value"].as_str().unwrap()))
            .collect();
        assert_eq!((parameters[NAME_THERE], parameters["mixed"]), (HOSTILE_TEXT, "null"));
        assert_eq!(parameters["rate"], job.parameters.get("rate").unwrap().to_string());
        assert_eq!(parameters.len(), 6);
        for (name, there) in
            [("score", "score"), ("val/損失 (%)", METRIC_THERE), ("special 0", "special 0"), ("late", "late")]
        {
            let values = job.epochs.iter().filter_map(|(epoch, metrics)| Some((*epoch, *metrics.get(name)?)));
            let mut values: Vec<_> =
                values.map(|(epoch, value)| (u64::from(epoch), kept(value).to_bits())).collect();
            let mut found = history(mlflow, run, there);
            values.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, values, "{name} of job {}", job.number);
        }
    }
}

#[tokio::test]
async fn an_mlflow_server_has_each_run_once_also_after_an_export_was_killed() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    let folder = swept.cluster.folder.path();
    let mlflow = Mlflow::start(&readers, &folder.join("mlflow"));
    let id = swept.id.to_string();
    let export = || swept.command(&["export", &id, "--to", "mlflow", "--url", &mlflow.address]);
    let said = |output: std::process::Output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let told = said(export().output().unwrap());
    assert!(told.contains("exported 11 runs, 0 were there: experiment é & <i>-1"), "{told}");
    assert!(told.contains(NAME_THERE) && told.contains(HOSTILE_NAME), "the other names are said: {told}");
    assert!(told.contains("4 of 14 jobs had not ended"), "{told}");

    // Only the job that blocked has changed, and those that ended stay as they are.
    swept.end().await;
    let jobs = swept.jobs().await;
    let told = said(export().output().unwrap());
    assert!(told.contains("exported 1 run, 10 were there"), "{told}");
    check(&mlflow, &jobs);
    assert!(said(export().output().unwrap()).contains("exported 0 runs, 11 were there"));
    check(&mlflow, &jobs);

    // Also under another name of the sweep: its experiment is found by the tag.
    assert!(swept.sweep(&["set", &id, "name=renamed"]).status.success());
    let told = said(export().output().unwrap());
    assert!(told.contains("exported 0 runs, 11 were there: experiment é & <i>-1"), "{told}");
    assert!(swept.sweep(&["set", &id, "name=é & <i>"]).status.success());

    // Killed once the server has some of the runs: the next export completes them.
    for run in runs(&mlflow, &experiment(&mlflow)).values() {
        mlflow.ask("runs/delete", &json!({ "run_id": run["info"]["run_id"] }));
    }
    let mut killed = export().spawn().unwrap();
    let patience = std::time::Instant::now() + PATIENCE;
    while runs(&mlflow, &experiment(&mlflow)).len() < 2 {
        assert!(std::time::Instant::now() < patience, "the export writes no runs");
    }
    kill(killed.id());
    killed.wait().unwrap();
    said(export().output().unwrap());
    // The server may have answered requests of the killed one since the export looked, later on a busy machine: the next one removes what
    // they made.
    said(export().output().unwrap());
    let begun = jobs.iter().filter(|job| job.attempts > 0).count();
    let patience = std::time::Instant::now() + PATIENCE;
    while all_runs(&mlflow, &experiment(&mlflow)).len() > begun {
        assert!(std::time::Instant::now() < patience, "a job keeps two runs");
        said(export().output().unwrap());
    }
    check(&mlflow, &jobs);
}

#[tokio::test]
async fn an_experiment_of_another_sweep_and_a_server_that_is_away_are_refused_by_name() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    let mlflow = Mlflow::start(&readers, &swept.cluster.folder.path().join("mlflow"));
    mlflow.ask("experiments/create", &json!({ "name": "taken" }));
    let id = swept.id.to_string();
    for (more, code, told) in [
        (
            &["--url", &mlflow.address, "--experiment", "taken"][..],
            1,
            "the experiment taken at http://127.0.0.1",
        ),
        (&["--url", "sqlite:///mlflow.db"], 2, "begins with http:// or https://"),
        (&["--url", &mlflow.address, "--output", "x"], 2, "leave out --output"),
    ] {
        let output = swept.sweep(&[&["export", &id, "--to", "mlflow"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(told), "{output:?}");
    }
    let address = mlflow.address.clone();
    drop(mlflow);
    let away =
        swept.sweep(&["export", &id, "--to", "mlflow", "--url", &address.replace("://", "://user:secret@")]);
    let said = String::from_utf8_lossy(&away.stderr);
    assert!(!away.status.success() && said.contains(&address) && !said.contains("secret"), "{said}");
    assert!(said.contains("export again once the server answers"), "{said}");
}

#[tokio::test]
async fn lost_answers_and_a_busy_server_double_nothing_and_lose_nothing() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    swept.end().await;
    let jobs = swept.jobs().await;
    let mlflow = Mlflow::start(&readers, &swept.cluster.folder.path().join("mlflow"));
    let id = swept.id.to_string();
    let export = |relay: &Relay| swept.sweep(&["export", &id, "--to", "mlflow", "--url", &relay.address]);

    // A server that stays away ends the export, and the next one goes on from what is there.
    let of_experiment = [
        ("experiments/search", Fault::Refused(503)),
        ("experiments/search", Fault::AnswerLost),
        ("experiments/get-by-name", Fault::Refused(503)),
        ("experiments/get-by-name", Fault::AnswerLost),
    ];
    let away = [("runs/create", Fault::Refused(503)); 33];
    let relay = Relay::start(&mlflow.address, &[&of_experiment[..], &away].concat());
    let output = export(&relay);
    assert!(relay.left().iter().all(|(path, _)| *path == "runs/create"), "{:?}", relay.left());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains("export again once the server answers"),
        "{said}"
    );

    let faults = [
        ("experiments/search", Fault::Refused(503)),
        ("experiments/search", Fault::AnswerLost),
        ("runs/search", Fault::Refused(502)),
        ("runs/search", Fault::AnswerLost),
        // Runs that no one knows of.
        ("runs/create", Fault::AnswerLost),
        ("runs/create", Fault::Refused(429)),
        // Metrics that would be there twice if they were sent once more.
        ("runs/log-batch", Fault::AnswerLost),
        ("runs/log-batch", Fault::Refused(500)),
        ("runs/log-batch", Fault::AnswerLost),
        ("runs/update", Fault::AnswerLost),
        ("runs/update", Fault::Refused(503)),
        // What is removed is half-written, and is gone already when it is removed once more.
        ("runs/delete", Fault::AnswerLost),
    ];
    let relay = Relay::start(&mlflow.address, &faults);
    let output = export(&relay);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("exported 11 runs, 0 were there"), "{output:?}");
    assert_eq!(relay.left(), []);
    check(&mlflow, &jobs);
}
