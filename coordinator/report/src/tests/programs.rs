//! Sweeps of programs: parameters and metrics that no table knows.

use super::*;

/// Metrics with names that mean something to CSV, HTML, Markdown or a terminal; the third ranks the jobs.
const NAMES: [&str; 5] =
    ["reason", "=cmd|' /C calc'!A0", "val/loss|<b>x</b>", "train/loss|<b>x</b>", "精度 \"q\", `c`"];
const OBJECTIVE: usize = 2;

/// A sweep of a program with these numbers of parameters and metrics.
pub(super) fn program(parameters: usize, metrics: usize, jobs: u64) -> (Sweep, Vec<Trained>) {
    let name = |place: usize| match place {
        0 => "state".to_owned(),
        1 => "optimizer.kind".to_owned(),
        2 => "nesterov".to_owned(),
        place => format!("layer_{place}.a_rather_long_name"),
    };
    let names: Vec<String> = (0..parameters).map(name).collect();
    let of_metrics: Vec<String> = (0..metrics)
        .map(|place| NAMES.get(place).map_or_else(|| format!("metric {place}"), |name| (*name).into()))
        .collect();
    let mut sweep = header(jobs, JobCounts { done: jobs - 1, diverged: 1, ..JobCounts::default() });
    sweep.name = "a program".into();
    sweep.manifest = None;
    sweep.dataset = None;
    sweep.specification = "name: a program\nprogram: train.py\n".into();
    sweep.varying.clone_from(&names);
    sweep.metrics = MetricSchema::of(of_metrics.iter().map(String::as_str)).unwrap();
    sweep.objective = objective(NAMES[OBJECTIVE], Goal::Minimize, MetricUse::Best);
    sweep.parameters = names;
    let jobs = (1..=jobs).map(|number| trained(&sweep, number)).collect();
    (sweep, jobs)
}

/// A job whose objective falls; of the last, nothing is a number in the end.
fn trained(sweep: &Sweep, number: u64) -> Trained {
    let value = |place: usize| match place {
        0 => ParameterValue::Integer(number as i64),
        1 => ParameterValue::Text(["adam", "sgd"][number as usize % 2].into()),
        2 => ParameterValue::Boolean(number.is_multiple_of(3)),
        place if place % 4 == 3 => ParameterValue::Null,
        place => ParameterValue::Float(number as f64 / (place as f64 * 7.0)),
    };
    // A parameter whose condition does not hold is not there.
    let is_there = |place: &usize| *place != 5 || number.is_multiple_of(2);
    let pairs = sweep.parameters.iter().enumerate().filter(|(place, _)| is_there(place));
    let parameters = ParameterMap(pairs.map(|(place, name)| (name.clone(), value(place))).collect());
    let epochs_done = 3 + number as u32 % 5;
    let is_last = number == sweep.job_count;
    let row = |epoch: u32| {
        let loss = 4_000.0 / f64::from(epoch).powi(4) / number as f64;
        let mut row = MetricRow::default();
        for place in 0..sweep.metrics.len() {
            match place {
                OBJECTIVE if is_last && epoch >= 2 => set(&mut row, place, f64::NAN),
                OBJECTIVE if number == 2 && epoch == 2 => set(&mut row, place, f64::NAN),
                OBJECTIVE if number == 3 && epoch == 1 => set(&mut row, place, f64::INFINITY),
                0 if epoch == 1 => {}
                4 if number == 4 => set(&mut row, place, f64::NEG_INFINITY),
                place => set(&mut row, place, loss * (1.0 + place as f64)),
            }
        }
        row
    };
    let epoch = |epoch: u32| Epoch { attempt: 1, number: epoch, seconds: 1.5, metrics: row(epoch) };
    let epochs: Vec<Epoch> = (1..=epochs_done).map(epoch).collect();
    let job = Job {
        number,
        parameters,
        state: Some(if is_last { JobState::Diverged } else { JobState::Done }),
        attempts: 1,
        worker: "local-1".into(),
        epochs_done,
        train_seconds: 1.5 * f64::from(epochs_done),
        metrics: row(epochs_done),
        pack_size: 1,
        ..Job::default()
    };
    (job, epochs)
}

fn rows(folder: &TempDir, name: &str) -> (csv::StringRecord, Vec<csv::StringRecord>) {
    let mut reader = csv::Reader::from_path(folder.path().join(name)).unwrap();
    (reader.headers().unwrap().clone(), reader.records().map(Result::unwrap).collect())
}

#[test]
fn every_parameter_and_metric_of_a_program_has_columns_of_its_own() {
    let (sweep, jobs) = program(12, 5, 8);
    let folder = write(&sweep, &jobs, Language::English);
    let (names, records) = rows(&folder, "results.csv");
    let column =
        |name: &str| names.iter().position(|one| one == name).unwrap_or_else(|| panic!("{name}: {names:?}"));
    assert_eq!(records[1][column("parameters.state")], *"2");
    assert_eq!((&records[1][column("nesterov")], &records[2][column("nesterov")]), ("false", "true"));
    assert_eq!(records[0][column("layer_3.a_rather_long_name")], *"null");
    assert_eq!(records[0][column("layer_5.a_rather_long_name")], *"", "its condition does not hold");
    assert_eq!(records[7][column(NAMES[OBJECTIVE])], *"NaN");
    assert_eq!(records[3][column(NAMES[4])], *"-inf");
    assert!(names.iter().all(|name| !name.starts_with('=')), "no name is a formula: {names:?}");
    assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
    let (names, records) = rows(&folder, "epochs.csv");
    assert_eq!(&names[0], "job");
    assert_eq!(records.len(), jobs.iter().map(|(_, epochs)| epochs.len()).sum::<usize>());
    let json: serde_json::Value = serde_json::from_str(&read(&folder, "results.json")).unwrap();
    let last = &json["jobs"][7];
    assert_eq!(last[NAMES[OBJECTIVE]], "nan");
    assert_eq!(last["state"], "diverged");
    assert_eq!(last["reason"], "", "a metric of this name stands elsewhere");
    assert_eq!(last["metrics.reason"], last["epochs"][5]["reason"]);
    assert_eq!(json["jobs"][2]["parameters"]["nesterov"], true);
}

#[test]
fn the_pages_of_a_program_rank_by_its_objective_and_name_what_is_not_drawn() {
    let (sweep, jobs) = program(12, 5, 8);
    for (language, told) in [
        (Language::English, ["Best**: val/loss", "◇: 2 jobs have epochs"]),
        (Language::Japanese, ["最良**: val/loss", "◇: 2 件のジョブに"]),
    ] {
        let folder = write(&sweep, &jobs, language);
        let page = read(&folder, "report.md");
        assert!(told.iter().all(|told| page.contains(told)), "{page}");
        assert!(!read(&folder, "report.html").contains("<b>x"));
        for figure in ["figures/time-vs-objective.svg", "figures/learning-curves.svg"] {
            let svg = read(&folder, figure);
            assert!(
                !["\"NaN", ",NaN", " NaN", "inf"].iter().any(|place| svg.contains(place)),
                "{figure}: {svg}"
            );
        }
    }
}

#[test]
fn jobs_whose_last_value_is_not_a_number_are_counted_where_the_last_epoch_ranks() {
    let (mut sweep, jobs) = program(3, 3, 8);
    sweep.objective.used = MetricUse::Last;
    for (language, told) in [
        (Language::English, "1 job is not drawn, as it has no finite value of val/loss"),
        (Language::Japanese, "の有限な値がない 1 件のジョブは表示していません"),
    ] {
        let page = read(&write(&sweep, &jobs, language), "report.md");
        assert!(page.contains(told), "{page}");
    }
}

#[test]
fn hundreds_of_columns_are_all_there_and_the_table_stays_narrow() {
    let (sweep, jobs) = program(300, 100, 8);
    let folder = write(&sweep, &jobs, Language::English);
    let (names, _) = rows(&folder, "results.csv");
    assert!(names.len() > 400);
    let page = read(&folder, "report.html");
    let (main, folded) = page.split_once("<details>").unwrap();
    let columns = |part: &str| {
        let table = part
            .rsplit_once("<table class=\"sorts screen\">")
            .or_else(|| part.rsplit_once("<table class=\"sorts\">"));
        let table = table.unwrap().1;
        table.split("</tr>").next().unwrap().matches("</th>").count()
    };
    let all = columns(folded.split("</table>").next().unwrap());
    let shown = columns(main.split("</table>").next().unwrap());
    assert!(shown < 30, "{shown}");
    assert_eq!(shown - 6 + all, 1 + 300 + 100, "the others are folded: {shown} {all}");
    assert!(read(&folder, "report.md").contains("more columns (results.csv has all): "));
}
