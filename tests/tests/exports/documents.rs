//! Tables and JSON.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use terms::JobState;

use super::swept::{CASES, HOSTILE_NAME, HOSTILE_TEXT, Job, Swept};

/// A row of a table by the names of its columns.
type Row = BTreeMap<String, String>;

fn rows(text: &[u8]) -> Vec<Row> {
    csv::Reader::from_reader(text).deserialize().map(Result::unwrap).collect()
}

/// The bits of a number in a cell; none of an empty one.
fn bits(cell: &str) -> Option<u64> {
    (!cell.is_empty()).then(|| cell.parse::<f64>().unwrap().to_bits())
}

/// What each job has become, in the order of their numbers.
fn states() -> Vec<JobState> {
    use JobState::{Cancelled, Diverged, Done, Failed};
    [Done, Done, Done, Diverged, Failed, Cancelled, Cancelled]
        .into_iter()
        .flat_map(|state| [state; 2])
        .collect()
}

fn check_jobs(rows: &[Row], jobs: &[Job]) {
    assert_eq!(rows.len(), jobs.len());
    for (row, job) in rows.iter().zip(jobs) {
        assert_eq!(row["job"], job.number.to_string());
        assert_eq!(row["state"], job.state.as_str());
        assert_eq!(row["attempts"], job.attempts.to_string());
        let rate = job.parameters.get("rate").map(ToString::to_string).unwrap();
        assert_eq!(bits(&row["rate"]), bits(&rate));
        for name in ["score", "val/損失 (%)", "late", "special 0", "special 1", "special 2"] {
            let value = job.metrics.get(name).map(|value| value.to_bits());
            assert_eq!(bits(&row[name]), value, "{name} of job {}", job.number);
        }
        assert_eq!(row["started"].is_empty(), job.started_unix_ms == 0);
        assert_eq!(row["ended"].is_empty(), job.ended_unix_ms == 0);
    }
}

fn check_epochs(rows: &[Row], jobs: &[Job]) {
    let epochs = jobs.iter().flat_map(|job| job.epochs.iter().map(move |epoch| (job, epoch)));
    assert_eq!(rows.len(), epochs.clone().count());
    for (row, (job, (epoch, metrics))) in rows.iter().zip(epochs) {
        assert_eq!((row["job"].clone(), row["epoch"].clone()), (job.number.to_string(), epoch.to_string()));
        for name in ["score", "val/損失 (%)", "late", "special 0", "special 1", "special 2"] {
            let value = metrics.get(name).map(|value| value.to_bits());
            assert_eq!(bits(&row[name]), value, "{name} of job {} epoch {epoch}", job.number);
        }
    }
}

fn check_document(document: &Value, jobs: &[Job]) {
    let shown = document["jobs"].as_array().unwrap();
    assert_eq!(shown.len(), jobs.len());
    let number = |value: &Value| match value {
        Value::String(text) => Some(text.parse::<f64>().unwrap().to_bits()),
        value => value.as_f64().map(f64::to_bits),
    };
    for (shown, job) in shown.iter().zip(jobs) {
        assert_eq!(shown["parameters"][HOSTILE_NAME], HOSTILE_TEXT);
        assert_eq!(shown["parameters"]["mixed"], Value::Null);
        assert_eq!(shown["started"].is_null(), job.started_unix_ms == 0);
        let epochs = shown["epochs"].as_array().unwrap();
        assert_eq!(epochs.len(), job.epochs.len());
        for (shown, (epoch, metrics)) in epochs.iter().zip(&job.epochs) {
            assert_eq!(shown["epoch"], *epoch);
            for (name, value) in metrics {
                assert_eq!(number(&shown[name]), Some(value.to_bits()), "{name} of job {}", job.number);
            }
        }
    }
}

#[tokio::test]
async fn tables_and_json_hold_every_value_to_the_bit_whole_or_while_the_sweep_runs() {
    let swept = Swept::start().await;
    let folder = swept.cluster.folder.path();
    let path = folder.join("running.csv");
    let told = swept.export("csv", &path, &[]);
    assert!(told.contains("note: 4 of 14 jobs had not ended"), "{told}");
    let states_now =
        rows(&fs::read(&path).unwrap()).iter().map(|row| row["state"].clone()).collect::<Vec<_>>();
    assert_eq!(states_now[10..], ["running", "pending", "pending", "pending"]);

    swept.end().await;
    let jobs = swept.jobs().await;
    assert_eq!(jobs.iter().map(|job| job.state).collect::<Vec<_>>(), states());
    let begun = jobs.iter().filter(|job| job.attempts > 0 && job.started_unix_ms > 0).count();
    assert_eq!(begun, 2 * CASES.len() - 3, "one that blocks and those after it never began");
    for (to, name, more) in
        [("csv", "running.csv", &[][..]), ("csv", "e/epochs.csv", &["--epochs"]), ("json", "x.json", &[])]
    {
        let path = folder.join(name);
        assert_eq!(swept.export(to, &path, more), "", "nothing is missing");
        let first = fs::read(&path).unwrap();
        swept.export(to, &path, more);
        assert_eq!(fs::read(&path).unwrap(), first, "the same sweep gives the same bytes");
        let id = swept.id.to_string();
        let printed = swept.sweep(&[&["export", &id, "--to", to, "--output", "-"], more].concat());
        assert_eq!(printed.stdout, first);
        match name {
            "running.csv" => check_jobs(&rows(&first), &jobs),
            "x.json" => check_document(&serde_json::from_slice(&first).unwrap(), &jobs),
            _ => check_epochs(&rows(&first), &jobs),
        }
    }
    assert_eq!(fs::read_dir(folder.join("e")).unwrap().count(), 1, "nothing else is left");
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused_with_what_to_do() {
    let swept = Swept::start().await;
    let id = swept.id.to_string();
    let folder = swept.cluster.folder.path();
    fs::write(folder.join("notes.csv"), "precious\n").unwrap();
    for (arguments, code, told) in [
        (
            &["export", &id, "--to", "csv", "--output", "notes.csv"][..],
            1,
            "notes.csv is there and is not such an export",
        ),
        (&["export", &id, "--to", "json", "--epochs"], 2, "--epochs is for csv"),
        (&["export", "99", "--to", "csv"], 1, "99"),
        (&["export", &id, "--to", "xml"], 2, "csv"),
    ] {
        let output = swept.sweep(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(told), "{arguments:?}: {output:?}");
    }
    assert_eq!(fs::read_to_string(folder.join("notes.csv")).unwrap(), "precious\n");
    let forced = swept.sweep(&["export", &id, "--to", "csv", "--output", "notes.csv", "--force"]);
    assert!(forced.status.success(), "{forced:?}");
    let named = swept.sweep(&["export", &id, "--to", "csv"]);
    assert_eq!(String::from_utf8_lossy(&named.stdout), "exported 14 jobs: sweep-exports/é----i--1.csv\n");
}
