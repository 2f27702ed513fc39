//! Parquet by DuckDB, runs by TensorBoard, a storage by Optuna.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use terms::{JobState, ParameterValue};

use super::{
    swept::{HOSTILE_NAME, HOSTILE_TEXT, Job, Metrics, Swept},
    tools::{bits, read, readers},
};

/// The names of metrics in the order in which they first came.
fn metric_names(jobs: &[Job]) -> Vec<String> {
    let all = jobs.iter().flat_map(|job| &job.epochs).flat_map(|(_, metrics)| metrics.keys());
    all.cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn value(metrics: &Metrics, name: &str) -> Value {
    metrics.get(name).map_or(Value::Null, |value| bits(*value))
}

/// All files below a folder with their bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn duckdb_reads_the_table_of_jobs() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    swept.end().await;
    let jobs = swept.jobs().await;
    let path = swept.cluster.folder.path().join("jobs.csv");
    swept.export("csv", &path, &[]);
    let seen = read(&readers, "csv", &path);
    let columns = seen["columns"].as_array().unwrap();
    let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows = seen["rows"].as_array().unwrap();
    assert_eq!(rows.len(), jobs.len());
    for (row, job) in rows.iter().zip(&jobs) {
        assert_eq!(row[place("job")], job.number.to_string());
        // Texts that a spreadsheet would take for formulas begin with an apostrophe.
        let text = row[place(&format!("'{HOSTILE_NAME}"))].as_str().unwrap();
        assert!(text.starts_with("'-1,\"a\"") && text.ends_with("\n語"), "{text}");
        for name in metric_names(&jobs) {
            let cell = row[place(&name)].as_str().map(|cell| bits(cell.parse().unwrap()));
            assert_eq!(
                cell.unwrap_or(Value::Null),
                value(&job.metrics, &name),
                "{name} of job {}",
                job.number
            );
        }
    }
}

#[tokio::test]
async fn parquet_has_every_value_with_its_type() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    swept.end().await;
    let jobs = swept.jobs().await;
    let path = swept.cluster.folder.path().join("tables");
    swept.export("parquet", &path, &[]);
    let first = files(&path);
    swept.export("parquet", &path, &[]);
    assert_eq!(files(&path), first, "the same sweep gives the same bytes");

    let seen = read(&readers, "parquet", &path);
    let types = &seen["jobs"]["types"];
    for (column, of) in [
        ("job", "BIGINT"),
        ("rate", "DOUBLE"),
        ("width", "BIGINT"),
        ("flag", "BOOLEAN"),
        (HOSTILE_NAME, "VARCHAR"),
        ("case", "VARCHAR"),
        ("score", "DOUBLE"),
        ("best_score", "DOUBLE"),
        ("started", "TIMESTAMP WITH TIME ZONE"),
    ] {
        assert_eq!(types[column], of, "{column}");
    }
    let rows = seen["jobs"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), jobs.len());
    let moment = |unix_ms: u64| if unix_ms == 0 { Value::Null } else { unix_ms.into() };
    for (row, job) in rows.iter().zip(&jobs) {
        assert_eq!(row["job"], job.number);
        assert_eq!(row["state"], job.state.as_str());
        assert_eq!(
            (&row[HOSTILE_NAME], &row["flag"], &row["width"]),
            (&json!(HOSTILE_TEXT), &json!(true), &json!(64))
        );
        assert_eq!(row["mixed"], Value::Null);
        let Some(ParameterValue::Float(rate)) = job.parameters.get("rate") else {
            panic!("{:?}", job.parameters)
        };
        assert_eq!(row["rate"], json!({ "bits": bits(*rate) }));
        for name in metric_names(&jobs) {
            let value = value(&job.metrics, &name);
            let expected = if value.is_null() { value } else { json!({ "bits": value }) };
            assert_eq!(row[&name], expected, "{name} of job {}", job.number);
        }
        assert_eq!(
            (&row["started"], &row["ended"]),
            (&moment(job.started_unix_ms), &moment(job.ended_unix_ms))
        );
    }
    let mut rows = seen["epochs"]["rows"].as_array().unwrap().iter();
    for (job, (epoch, metrics)) in
        jobs.iter().flat_map(|job| job.epochs.iter().map(move |epoch| (job, epoch)))
    {
        let row = rows.next().unwrap();
        assert_eq!((&row["job"], &row["epoch"]), (&json!(job.number), &json!(epoch)));
        for name in metric_names(&jobs) {
            let value = value(metrics, &name);
            let expected = if value.is_null() { value } else { json!({ "bits": value }) };
            assert_eq!(row[&name], expected, "{name} of job {} epoch {epoch}", job.number);
        }
    }
    assert!(rows.next().is_none());
}

/// By the value at the best epoch, and not by the last one, the jobs are ranked.
fn is_ranked_by_its_best(job: &Job, read: &Value, group: &Value) {
    let scores = job.epochs.iter().filter_map(|(epoch, metrics)| Some((epoch, *metrics.get("score")?)));
    let best = scores.filter(|(_, score)| score.is_finite()).max_by(|one, other| one.1.total_cmp(&other.1));
    let (epoch, best) = best.unwrap();
    let read: Vec<Value> = read.as_array().unwrap().iter().map(|one| json!([one[0], one[2]])).collect();
    assert_eq!(read, [json!([epoch, bits(f64::from(best as f32))])], "job {}", job.number);
    let shown = group["metricValues"].as_array().unwrap();
    let shown = shown.iter().find(|one| one["name"]["tag"] == "best_score").unwrap();
    assert_eq!(shown["value"].as_f64(), Some(f64::from(best as f32)), "job {}", job.number);
}

#[tokio::test]
async fn tensorboard_shows_every_scalar_and_the_parameters_of_each_run() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    swept.end().await;
    let jobs = swept.jobs().await;
    let path = swept.cluster.folder.path().join("runs");
    let told = swept.export("tensorboard", &path, &[]);
    assert!(told.contains("3 of the jobs never began"), "{told}");
    let first = files(&path);
    swept.export("tensorboard", &path, &[]);
    assert_eq!(files(&path), first, "the same sweep gives the same bytes");

    // By the loader in Python and the one that TensorBoard uses by default, which must agree.
    let seen = read(&readers, "tensorboard", &path);
    let begun: Vec<_> = jobs.iter().filter(|job| job.attempts > 0).collect();
    let run = |job: &Job| format!("job-{:02}", job.number);
    for job in &begun {
        let mut expected: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (epoch, metrics) in &job.epochs {
            for (name, value) in metrics {
                expected.entry(name).or_default().push(json!([epoch, bits(f64::from(*value as f32))]));
            }
        }
        for (name, values) in expected {
            let read = seen["scalars"][run(job)][name].as_array().unwrap();
            let read: Vec<Value> = read.iter().map(|one| json!([one[0], one[2]])).collect();
            assert_eq!(read, values, "{name} of job {}", job.number);
            let times: Vec<f64> = seen["scalars"][run(job)][name]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one[1].as_f64().unwrap())
                .collect();
            let within = job.started_unix_ms as f64 / 1e3..=job.ended_unix_ms as f64 / 1e3;
            assert!(
                times.is_sorted() && times.iter().all(|time| within.contains(time)),
                "{times:?} {within:?}"
            );
        }
    }
    let types: BTreeMap<&str, &str> = seen["experiment"]["hparamInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| (info["name"].as_str().unwrap(), info["type"].as_str().unwrap_or("unset")))
        .collect();
    assert_eq!(types["rate"], "DATA_TYPE_FLOAT64");
    assert_eq!((types["flag"], types[HOSTILE_NAME]), ("DATA_TYPE_BOOL", "DATA_TYPE_STRING"));
    let tags = [0, 1].map(|place| &seen["experiment"]["metricInfos"][place]["name"]["tag"]);
    assert_eq!(tags, ["best_score", "score"], "what ranks the jobs comes first, then the objective");
    let groups = seen["groups"].as_array().unwrap();
    assert_eq!(groups.len(), begun.len());
    for job in begun {
        let session = |group: &&Value| group["sessions"][0]["name"] == run(job).as_str();
        let group = groups.iter().find(session).unwrap_or_else(|| panic!("{groups:?}"));
        let Some(ParameterValue::Float(rate)) = job.parameters.get("rate") else {
            panic!("{:?}", job.parameters)
        };
        assert_eq!(group["hparams"]["rate"], json!(rate));
        assert_eq!(group["hparams"]["flag"], json!(true));
        assert_eq!(group["hparams"][HOSTILE_NAME], json!(HOSTILE_TEXT));
        assert_eq!(group["hparams"].get("mixed"), None);
        let read = &seen["scalars"][run(job)]["best_score"];
        is_ranked_by_its_best(job, read, group);
        let status = if job.state == JobState::Done { "STATUS_SUCCESS" } else { "STATUS_FAILURE" };
        assert_eq!(group["sessions"][0]["status"], status);
    }
}

#[tokio::test]
async fn optuna_loads_the_study_agrees_on_the_best_and_goes_on_from_it() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    swept.end().await;
    let jobs = swept.jobs().await;
    let path = swept.cluster.folder.path().join("study.db");
    swept.export("optuna", &path, &[]);
    let first = fs::read(&path).unwrap();
    swept.export("optuna", &path, &[]);
    assert!(fs::read(&path).unwrap() == first, "the same sweep gives the same bytes");

    let seen = read(&readers, "optuna", &path);
    assert_eq!((&seen["direction"], &seen["metrics"]), (&json!("MAXIMIZE"), &json!(["score"])));
    let best: Value =
        serde_json::from_slice(&swept.sweep(&["show", &swept.id.to_string(), "-o", "json"]).stdout).unwrap();
    assert_eq!(seen["best"].as_u64().unwrap() + 1, best["best_job"].as_u64().unwrap());
    assert!(
        seen["importances"]["case"].is_number() && seen["importances"]["rate"].is_number(),
        "{}",
        seen["importances"]
    );
    let trials = seen["trials"].as_array().unwrap();
    assert_eq!(trials.len(), jobs.len());
    for (trial, job) in trials.iter().zip(&jobs) {
        assert_eq!(trial["number"].as_u64().unwrap() + 1, job.number);
        assert_eq!(trial["attributes"]["state"], job.state.as_str());
        let Some(ParameterValue::Float(rate)) = job.parameters.get("rate") else {
            panic!("{:?}", job.parameters)
        };
        assert_eq!(trial["params"]["rate"], json!({ "bits": bits(*rate) }));
        assert_eq!(trial["params"][HOSTILE_NAME], json!(HOSTILE_TEXT));
        assert_eq!((&trial["params"]["flag"], &trial["params"]["mixed"]), (&json!(true), &Value::Null));
        let log = "FloatDistribution(high=0.30000000000000004, log=True, low=1e-05, step=None)";
        assert_eq!(trial["distributions"]["rate"], log);
        let scores = job
            .epochs
            .iter()
            .filter_map(|(epoch, metrics)| Some((epoch.to_string(), bits(*metrics.get("score")?))));
        assert_eq!(trial["intermediate"], Value::Object(scores.collect()), "job {}", job.number);
        let best =
            job.epochs.iter().filter_map(|(_, metrics)| metrics.get("score")).copied().reduce(f64::max);
        let (state, values) = match job.state {
            JobState::Done => ("COMPLETE", json!([bits(best.unwrap())])),
            _ => ("FAIL", Value::Null),
        };
        assert_eq!((&trial["state"], &trial["values"]), (&json!(state), &values));
        if job.attempts > 0 {
            assert_eq!(
                (&trial["start"], &trial["complete"]),
                (&json!(job.started_unix_ms), &json!(job.ended_unix_ms))
            );
        }
    }

    assert_eq!(read(&readers, "goes_on", &path), 14, "Optuna adds a trial of its own");
    let id = swept.id.to_string();
    let refused = swept.sweep(&["export", &id, "--to", "optuna", "--output", path.to_str().unwrap()]);
    assert!(!refused.status.success(), "its trial would be lost: {refused:?}");
}

#[tokio::test]
async fn optuna_gives_a_point_of_its_own_and_none_that_a_running_sweep_will_train() {
    let Some(readers) = readers() else { return };
    let swept = Swept::start().await;
    let path = swept.cluster.folder.path().join("study.db");
    let told = swept.export("optuna", &path, &[]);
    assert!(told.contains("3 of the jobs have not begun, and have no trial"), "{told}");
    let seen = read(&readers, "optuna", &path);
    let states: Vec<&str> =
        seen["trials"].as_array().unwrap().iter().map(|trial| trial["state"].as_str().unwrap()).collect();
    assert_eq!((states.len(), states[10]), (11, "RUNNING"), "{states:?}");
    let proposed = read(&readers, "proposes", &path);
    assert_eq!(proposed, json!({"state": "COMPLETE", "job": null, "numbers": (0..12).collect::<Vec<_>>()}));
}
