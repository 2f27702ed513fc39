//! Reports of small sweeps, file by file.

use std::fs;

use tempfile::TempDir;
use terms::{
    DatasetSummary, Goal, JobState, LeftOut, MISSING, MetricRow, MetricSchema, MetricUse, Objective,
    ParameterMap, ParameterValue, SweepState, manifest::builtin,
};

use super::*;

mod document;
mod figures;
mod gallery;
mod pages;
mod pieces;
mod programs;
mod repeats;
mod verdicts;

const VARYING: [&str; 3] = ["activation", "learning_rate", "batch_size"];

/// The metrics of SimpleCNN in their order, and their places in rows.
const METRICS: [&str; 4] = ["train_loss", "val_accuracy", "val_loss", "train_accuracy"];
const TRAIN_LOSS: usize = 0;
const VAL_ACCURACY: usize = 1;
const VAL_LOSS: usize = 2;
const TRAIN_ACCURACY: usize = 3;

/// A job of a report with its epochs.
type Trained = (Job, Vec<Epoch>);

fn header(job_count: u64, counts: JobCounts) -> Sweep {
    let names = ["activation", "learning_rate", "batch_size", "epochs", "seed"];
    Sweep {
        id: 1,
        name: "activation-lr-batch".into(),
        state: Some(SweepState::Finished),
        job_count,
        counts,
        created_unix_ms: 1_700_000_000_000,
        ended_unix_ms: 1_700_000_100_000,
        objective: objective("val_accuracy", Goal::Maximize, MetricUse::Last),
        best: None,
        best_weights: None,
        weights_awaited: 0,
        waiting: None,
        parameters: names.map(str::to_owned).into(),
        varying: VARYING.map(str::to_owned).into(),
        repeats: 1,
        metrics: MetricSchema::of(METRICS).unwrap(),
        metrics_left_out: 0,
        metrics_left_out_reason: String::new(),
        unread_parameters: Vec::new(),
        cannot_pause: None,
        owner: None,
        priority: 0,
        share: None,
        stopped: None,
        manifest: builtin("simple_cnn").cloned().map(Into::into),
        specification: "name: activation-lr-batch\nmodel: simple_cnn\n".into(),
        dataset: Some(DatasetSummary {
            content_hash: "af1349b9f5f9a1a6".into(),
            classes: vec!["cat".into(), "dog".into()],
            train_images: 800,
            val_images: 200,
            ..DatasetSummary::default()
        }),
    }
}

fn objective(name: &str, goal: Goal, used: MetricUse) -> Objective {
    Objective { name: name.into(), goal, used }
}

/// The row with another value at a place.
fn set(row: &mut MetricRow, place: usize, value: f64) {
    let count = row.iter().len().max(place + 1);
    let mut values: Vec<f64> = (0..count).map(|place| row.get(place).unwrap_or(MISSING)).collect();
    values[place] = value;
    *row = MetricRow::new(&values);
}

/// A job's number and parameters.
fn point(number: u64, activation: &str, learning_rate: f64, batch_size: i64) -> Job {
    let parameters = ParameterMap(vec![
        ("activation".into(), ParameterValue::Text(activation.into())),
        ("learning_rate".into(), ParameterValue::Float(learning_rate)),
        ("batch_size".into(), ParameterValue::Integer(batch_size)),
        ("epochs".into(), ParameterValue::Integer(2)),
        ("seed".into(), ParameterValue::Integer(0)),
    ]);
    Job { number, parameters, ..Job::default() }
}

fn job(point: Job, accuracy: f64, seconds: f64) -> Trained {
    let epoch = |number: u32| Epoch {
        attempt: 1,
        number,
        seconds: seconds / 2.0,
        metrics: MetricRow::new(&[
            0.75 - 0.125 * f64::from(number),
            accuracy - 0.0625 * f64::from(2 - number),
            0.875 - 0.125 * f64::from(number),
            accuracy - 0.03125,
        ]),
    };
    let metrics = MetricRow::new(&[0.5, accuracy, 0.625, accuracy - 0.03125]);
    let job = Job {
        state: Some(JobState::Done),
        attempts: 1,
        started_unix_ms: 1_700_000_001_000,
        ended_unix_ms: 1_700_000_099_007,
        pack_size: 1,
        worker: "local-1".into(),
        epochs_done: 2,
        train_seconds: seconds,
        metrics: metrics.clone(),
        best_epoch: Some(2),
        best_metrics: metrics,
        ..point
    };
    (job, vec![epoch(1), epoch(2)])
}

/// The report's own grid with values like its own.
fn whole_grid() -> Vec<Trained> {
    let mut jobs = Vec::new();
    for activation in ["relu", "sigmoid"] {
        for learning_rate in [0.01, 0.005, 0.0001, 0.00005] {
            for batch_size in [32, 64] {
                let number = jobs.len() as u64 + 1;
                let learns = activation == "relu" && learning_rate < 0.001;
                let accuracy =
                    if learns { 0.78 + 0.005 * number as f64 } else { 0.4914 + 0.01 * (number % 2) as f64 };
                let seconds = 300.0 - batch_size as f64 / 2.0 + (number * 7 % 16) as f64;
                jobs.push(job(point(number, activation, learning_rate, batch_size), accuracy, seconds));
            }
        }
    }
    jobs
}

fn write(header: &Sweep, jobs: &[Trained], language: Language) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ReportWriter::create(folder.path(), header.clone(), language).unwrap();
    for (job, epochs) in jobs {
        writer.job(job, epochs).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), folder.path().join("report.html"));
    folder
}

fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

fn some_jobs() -> Vec<Trained> {
    let diverged = Job {
        state: Some(JobState::Diverged),
        attempts: 1,
        pack_size: 1,
        worker: "local-1".into(),
        reason: "the loss of epoch 1 is not a finite number".into(),
        ..point(3, "sigmoid", 1000.0, 32)
    };
    let failed = Job {
        state: Some(JobState::Failed),
        attempts: 3,
        pack_size: 1,
        worker: "<b>worker</b>".into(),
        reason: "a|b <script>alert(1)</script>\nsecond line".into(),
        ..point(4, "sigmoid", 0.01, 32)
    };
    vec![
        job(point(1, "relu", 0.0001, 32), 0.788, 296.99),
        job(point(2, "relu", 0.00005, 64), 0.7928, 255.5),
        (diverged, Vec::new()),
        (failed, Vec::new()),
    ]
}

fn some_header() -> Sweep {
    header(4, JobCounts { done: 2, diverged: 1, failed: 1, ..JobCounts::default() })
}

#[test]
fn the_files_for_programs_hold_every_number_as_it_is() {
    let folder = write(&some_header(), &some_jobs(), Language::English);
    insta::assert_snapshot!(read(&folder, "results.csv"));
    insta::assert_snapshot!(read(&folder, "epochs.csv"));
    let json: serde_json::Value = serde_json::from_str(&read(&folder, "results.json")).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn the_pages_say_it_in_both_languages() {
    for language in [Language::English, Language::Japanese] {
        let folder = write(&some_header(), &some_jobs(), language);
        insta::assert_snapshot!(format!("markdown_{language:?}"), read(&folder, "report.md"));
        let html = read(&folder, "report.html");
        let body = html.split_once("</style>").unwrap().1.split_once("<script>").unwrap().0;
        let without_figures: Vec<_> = body
            .split("<figure")
            .map(|part| part.rsplit_once("</figure>").map_or(part, |(_, rest)| rest))
            .collect();
        insta::assert_snapshot!(format!("html_{language:?}"), without_figures.join("<figure/>"));
    }
}

#[test]
fn where_the_best_epoch_counts_the_page_names_it() {
    let mut header = some_header();
    header.objective = objective("val_loss", Goal::Minimize, MetricUse::Best);
    let mut jobs = some_jobs();
    set(&mut jobs[0].1[0].metrics, VAL_LOSS, 0.25);
    for (language, best) in [
        (Language::English, "Validation loss 0.2500 (epoch 1) — Job 1"),
        (Language::Japanese, "検証損失 0.2500 (エポック1) — ジョブ 1"),
    ] {
        let folder = write(&header, &jobs, language);
        assert!(read(&folder, "report.md").contains(best), "{}", read(&folder, "report.md"));
        let json: serde_json::Value = serde_json::from_str(&read(&folder, "results.json")).unwrap();
        assert_eq!(json["sweep"]["metric"]["use"], "best");
    }
}

#[test]
fn pictures_that_were_left_out_are_named() {
    let mut header = some_header();
    let dataset = header.dataset.as_mut().unwrap();
    dataset.skipped = (1..=100).map(|number| format!("cat.{number}.jpg")).collect();
    dataset.skipped_count = 250;
    let folder = write(&header, &some_jobs(), Language::English);
    let page = read(&folder, "report.md");
    let line = page.lines().find(|line| line.contains("left out")).unwrap();
    insta::assert_snapshot!(line);
    let json: serde_json::Value = serde_json::from_str(&read(&folder, "results.json")).unwrap();
    let kept = &json["sweep"]["dataset"];
    assert_eq!((kept["skipped"].as_array().unwrap().len(), &kept["skipped_count"]), (100, &250.into()));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_runs_only_its_own_script() {
    let folder = write(&some_header(), &some_jobs(), Language::English);
    let html = read(&folder, "report.html");
    for foreign in ["<script ", "<link", "<img", "href=", "src=", "@import", "url(", "style=", "onclick="] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert_eq!((html.matches("<svg").count(), html.matches("<script>").count()), (3, 1));
    let within = |element: &str| {
        let (_, rest) = html.split_once(&format!("<{element}>")).unwrap();
        rest.split_once(&format!("</{element}>")).unwrap().0
    };
    let policy = crate::pages::policy(within("style"), within("script"));
    assert!(html.contains(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")));
    assert!(html.find("Content-Security-Policy").unwrap() < html.find("<style>").unwrap());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "{left:?}");
}

#[test]
fn a_sweep_without_results_has_a_report() {
    let folder = write(&header(16, JobCounts::default()), &[], Language::English);
    assert!(read(&folder, "figures/learning-curves.svg").contains("no results"));
    assert!(read(&folder, "report.md").contains("no job is done"));
    assert_eq!(read(&folder, "results.csv").lines().count(), 1);
}

#[test]
fn a_large_sweep_has_every_row_in_the_tables_and_the_best_on_the_page() {
    let jobs: Vec<_> = (1..=3_000u64)
        .map(|n| job(point(n, "relu", 1.0 / n as f64, 32), (n % 997) as f64 / 1000.0, 10.0))
        .collect();
    let header = header(3_000, JobCounts { done: 3_000, ..JobCounts::default() });
    let folder = write(&header, &jobs, Language::English);
    assert_eq!(read(&folder, "results.csv").lines().count(), 3_001);
    assert_eq!(read(&folder, "epochs.csv").lines().count(), 6_001);
    let page = read(&folder, "report.md");
    let (_, table) = page.split_once("\nTable 1. ").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), 2 + TABLE_ROWS_MAX);
    assert!(page.contains("Only the best jobs are listed"));
    assert!(page.contains("the best 5 and the worst 3 of 3000 jobs; 2992 jobs are not drawn"));
    assert!(page.contains("of 3000 jobs shown: the best"));
}

#[test]
fn a_report_that_is_not_finished_leaves_the_one_before_whole() {
    let folder = write(&some_header(), &some_jobs(), Language::English);
    let before = read(&folder, "results.csv");
    let mut writer = ReportWriter::create(folder.path(), some_header(), Language::English).unwrap();
    let (job, epochs) = &some_jobs()[0];
    writer.job(job, epochs).unwrap();
    // One that was killed, which the next finds.
    let killed = folder.path().join(".report-kiLLed");
    fs::create_dir(&killed).unwrap();
    fs::write(killed.join("lock"), held_folder::MARK).unwrap();
    fs::write(killed.join("table"), "x").unwrap();
    // A folder of the user's, which only begins alike.
    let users = folder.path().join(".report-2025");
    fs::create_dir(&users).unwrap();
    fs::write(users.join("lock"), "x").unwrap();
    let other = ReportWriter::create(folder.path(), some_header(), Language::English).unwrap();
    assert!(!killed.exists() && users.join("lock").exists());
    fs::remove_dir_all(users).unwrap();
    writer.job(&some_jobs()[1].0, &some_jobs()[1].1).unwrap();
    drop((writer, other));
    assert_eq!(read(&folder, "results.csv"), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = ReportWriter::create(&file, some_header(), Language::English).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn a_value_is_no_formula_in_a_table_and_a_number_stays_one() {
    let (mut job, epochs) = job(point(1, "=cmd|'/c calc'!A0", -0.5, 32), 0.5, 10.0);
    job.worker = "@sum".into();
    let header = header(1, JobCounts { done: 1, ..JobCounts::default() });
    let table = read(&write(&header, &[(job, epochs)], Language::English), "results.csv");
    assert!(table.contains("\n1,'=cmd|'/c calc'!A0,-0.5,32,") && table.contains(",'@sum,"), "{table}");
}
