//! What sweep files mean.

mod comparable;
mod early;
mod models;
mod programs;
mod reach;
mod search;
mod together;
mod wrong;

use std::path::Path;

use super::*;

const REPORT: &str = "\
name: activation-lr-batch
model: simple_cnn
method: grid
metric: {name: val_accuracy, goal: maximize}
dataset: {path: data/train, image_size: 128, val_fraction: 0.2, split_seed: 0}
parameters:
  activation:    {values: [relu, sigmoid]}
  learning_rate: {values: [0.01, 0.005, 0.0001, 0.00005]}
  batch_size:    {values: [32, 64]}
  epochs:        {value: 5}
  seed:          {value: 0}
exclude: [{activation: sigmoid, learning_rate: 0.01}]
include: [{activation: relu, learning_rate: 0.001, batch_size: 32}]
execution: {max_parallel: 8, attempts_max: 3, job_timeout: 2h, checkpoint_every_epochs: 2, pack_size_max: 4}
";

fn source(text: &str) -> SpecificationSource {
    SpecificationSource {
        text: text.to_owned(),
        file_name: "grid.yaml".into(),
        ..SpecificationSource::default()
    }
}

fn parse_with(text: &str, overrides: &[&str]) -> Result<Specification, SpecificationError> {
    let overrides = overrides.iter().map(ToString::to_string).collect();
    Specification::parse(&SpecificationSource { overrides, ..source(text) })
}

fn parse(text: &str) -> Result<Specification, SpecificationError> {
    parse_with(text, &[])
}

/// What is said of each of these wrong files.
fn told_of(wrong: &[(&str, String)]) -> String {
    let told = wrong.iter().map(|(what, text)| match parse(text) {
        Ok(_) => format!("{what}\n    WAS TAKEN\n"),
        Err(error) => format!("{what}\n    {error}\n"),
    });
    told.collect()
}

fn with_parameters(parameters: &str) -> String {
    format!("name: x\ndataset: {{path: d}}\nparameters:\n{parameters}\n")
}

fn images(specification: &Specification) -> &DatasetSpecification {
    specification.dataset.as_ref().unwrap()
}

#[test]
fn a_list_of_numbers_is_written_as_a_list_or_as_text_and_survives_being_stored() {
    for channels in ["{values: [[16, 32], [8]]}", "{values: [\"16, 32\", \"8\"]}"] {
        let specification = parse(&with_parameters(&format!("  channels: {channels}"))).unwrap();
        assert_eq!(values(&specification, "channels"), ["16,32", "8"], "{channels}");
        assert_eq!(parse(&specification.to_yaml()).unwrap(), specification);
    }
    let with = |value: &str| parse_with(&with_parameters(""), &[&format!("channels={value}")]);
    assert_eq!(values(&with("8,16,32").unwrap(), "channels"), ["8,16,32"]);
    for wrong in ["16", "[16, 32]", "{value: [16, 0]}", "{value: [1,1,1,1,1,1,1,1,1,1,1]}", "{value: []}"] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(error.contains("a list of 1 to 10 whole numbers from 1 to 1024"), "{wrong}: {error}");
    }
    let error = parse(&with_parameters("  batch_size: {value: [16, 32]}")).unwrap_err().to_string();
    assert!(error.contains("expected a whole number"), "{error}");
}

fn names(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

fn values(specification: &Specification, name: &str) -> Vec<String> {
    let axis = specification.axes.iter().find(|axis| *axis.name == *name).unwrap();
    axis.values().iter().map(ToString::to_string).collect()
}

#[test]
fn the_reports_file_has_its_jobs() {
    let specification = parse(REPORT).unwrap();
    assert_eq!(specification.jobs().unwrap().count(), 16 - 2 + 1);
    assert_eq!(names(&specification.varying()), ["activation", "learning_rate", "batch_size"]);
    assert_eq!(specification.execution.job_timeout_ms, Some(7_200_000));
    assert_eq!(specification.execution.checkpoint_every_epochs, Some(2));
    assert_eq!(specification.execution.pack_size_max, Some(4));
    assert_eq!(specification.artifacts.keep, Keep::Best(1));
}

#[test]
fn whose_weights_are_kept_is_a_number_of_jobs_or_a_word() {
    for (written, keep) in [
        ("1", Keep::Best(1)),
        ("1000", Keep::Best(1000)),
        ("all", Keep::All),
        ("none", Keep::None),
        ("0", Keep::None),
    ] {
        let specification = parse(&format!("{REPORT}artifacts: {{keep: {written}}}\n")).unwrap();
        assert_eq!(specification.artifacts.keep, keep);
        let stored = Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap();
        assert_eq!(stored.artifacts, specification.artifacts);
        let set = parse_with(REPORT, &[&format!("artifacts.keep={written}")]).unwrap();
        assert_eq!(set.artifacts, specification.artifacts);
    }
    // What was stored before there was such a key.
    let older = parse(REPORT).unwrap().to_yaml().replace("artifacts:\n  keep: 1\n", "");
    assert_eq!(
        Specification::from_stored(&older, &Models::default()).unwrap().artifacts,
        Artifacts::default()
    );
}

#[test]
fn a_specification_survives_being_stored() {
    let specification = parse(REPORT).unwrap();
    assert_eq!(
        Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap(),
        specification
    );
    insta::assert_snapshot!(specification.to_yaml());
}

#[test]
fn which_epoch_ranks_is_the_last_unless_the_file_says_the_best() {
    let metric = |text: &str| parse(&format!("name: x\ndataset: {{path: d}}\nmetric: {text}\n")).unwrap();
    for (text, name, goal, used) in [
        ("{}", "val_accuracy", Goal::Maximize, MetricUse::Last),
        ("{use: best}", "val_accuracy", Goal::Maximize, MetricUse::Best),
        ("{name: val_loss, use: best}", "val_loss", Goal::Minimize, MetricUse::Best),
        ("{name: train_accuracy, use: last}", "train_accuracy", Goal::Maximize, MetricUse::Last),
        ("{name: train_loss, goal: minimize}", "train_loss", Goal::Minimize, MetricUse::Last),
    ] {
        let specification = metric(text);
        assert_eq!(specification.metric, Objective { name: name.into(), goal, used }, "{text}");
        assert_eq!(
            Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap(),
            specification
        );
    }
    let set = parse_with(REPORT, &["metric.use=best"]).unwrap();
    assert_eq!(set.metric.used, MetricUse::Best);
    let changed: Vec<_> =
        set.changes_from(&parse(REPORT).unwrap()).into_iter().map(|change| change.key).collect();
    assert_eq!(changed, ["metric.use"]);
}

#[test]
fn a_stored_sweep_may_rank_by_the_goal_that_older_versions_took() {
    let worst = parse(REPORT).unwrap().to_yaml().replace("goal: maximize", "goal: minimize");
    assert_eq!(Specification::from_stored(&worst, &Models::default()).unwrap().metric.goal, Goal::Minimize);
}

#[test]
fn what_a_file_leaves_out_has_the_reports_value() {
    let specification = parse("name: x\ndataset: {path: d}\n").unwrap();
    insta::assert_snapshot!(specification.to_yaml());
}

#[test]
fn ranges_have_round_ends_and_middles() {
    let log =
        parse(&with_parameters("  learning_rate: {min: 1e-5, max: 1e-2, count: 4, scale: log}")).unwrap();
    assert_eq!(values(&log, "learning_rate"), ["0.00001", "0.0001", "0.001", "0.01"]);
    let linear = parse(&with_parameters("  batch_size: {min: 16, max: 64, count: 4}")).unwrap();
    assert_eq!(values(&linear, "batch_size"), ["16", "32", "48", "64"]);
    let crowded = parse(&with_parameters("  epochs: {min: 1, max: 3, count: 9}")).unwrap();
    assert_eq!(values(&crowded, "epochs"), ["1", "2", "3"]);
}

#[test]
fn duplicates_count_once() {
    let specification =
        parse(&with_parameters("  learning_rate: {values: [0.001, 1e-3, '1e-3', 0.01]}")).unwrap();
    assert_eq!(values(&specification, "learning_rate"), ["0.001", "0.01"]);
}

#[test]
fn overrides_go_over_the_file_in_order() {
    let overrides =
        ["epochs=1", "epochs=2", "activation=[relu]", "dataset.image_size=32", "exclude=[]", "name=y"];
    let specification = parse_with(REPORT, &overrides).unwrap();
    assert_eq!(values(&specification, "epochs"), ["2"]);
    assert_eq!(images(&specification).image_size, 32);
    assert_eq!(specification.dataset_path(), Path::new("data/train"));
    assert_eq!(specification.name, "y");
    assert_eq!(specification.jobs().unwrap().count(), 9);
}

#[test]
fn a_validation_set_that_is_named_is_kept_and_leaves_nothing_to_hold_out() {
    let specification = parse("name: x\ndataset: {path: d, val_path: d/other}\n").unwrap();
    assert_eq!(images(&specification).val_path, Some(PathBuf::from("d/other")));
    let stored = Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap();
    assert_eq!(stored, specification);
    let other = parse("name: x\ndataset: {path: d}\n").unwrap();
    assert!(specification.changes_from(&other).iter().any(|change| change.key == "dataset.val_path"));
    let both =
        parse("name: x\ndataset: {path: d, val_path: v, val_fraction: 0.2}\n").unwrap_err().to_string();
    assert!(both.contains("dataset") && both.contains("val_path") && both.contains("val_fraction"), "{both}");
}

#[test]
fn a_text_is_set_as_it_stands() {
    for text in [
        "/x/set #2",
        "a: b",
        "*a",
        "&a",
        "!a",
        "@a",
        "`a`",
        "'a'",
        "\"a\"",
        "~a",
        "null",
        "yes",
        "007",
        "1.0",
        "1e3",
        "- a",
        "[a]",
        "{a: b}",
        "a,b",
        "%a",
        "| a",
        "#a",
        "a\\b",
        "語 é",
        " a ",
        "a\u{1b}b\u{85}c\tz",
        "a=b",
    ] {
        let specification = parse_with(REPORT, &[&format!("dataset.path={text}")]).unwrap();
        assert_eq!(specification.dataset_path(), Path::new(text));
        assert_eq!(
            Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap(),
            specification
        );
        if !text.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
            assert_eq!(parse_with(REPORT, &[&format!("name={text}")]).unwrap().name, text);
        }
    }
}

#[test]
fn a_text_in_a_file_is_no_number() {
    for text in ["007", "1.10", "1e3", "0x1F", "true", "yes", "null"] {
        let specification = parse(&format!("name: {text}\ndataset: {{path: {text}}}\n")).unwrap();
        assert_eq!(
            (specification.name.as_str(), specification.dataset_path().to_str().unwrap()),
            (text, text)
        );
        assert_eq!(
            Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap(),
            specification
        );
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_once() {
    assert_eq!(parse(&format!("\u{feff}{REPORT}")).unwrap(), parse(REPORT).unwrap());
    assert!(
        parse("\u{feff}name: a\ndataset: {path: d}\nepoch: 1\n")
            .unwrap_err()
            .to_string()
            .starts_with("grid.yaml:3:1:")
    );
}

#[test]
fn whole_numbers_may_be_written_as_decimal_ones() {
    let text = "name: x\ndataset: {path: d, image_size: 64.0, split_seed: 1e3}\nexecution: {attempts_max: 2.0}\n\
                parameters:\n  epochs: {value: 1e2}\n  batch_size: {min: 16.0, max: 64, count: 4.0}\n  \
                learning_rate: {value: 1e-3}\n";
    let specification = parse(text).unwrap();
    assert_eq!(values(&specification, "epochs"), ["100"]);
    assert_eq!(values(&specification, "batch_size"), ["16", "32", "48", "64"]);
    assert_eq!(values(&specification, "learning_rate"), ["0.001"]);
    assert_eq!((images(&specification).image_size, images(&specification).split_seed), (64, 1000));
    assert_eq!(specification.execution.attempts_max, 2);
}

#[test]
fn a_range_keeps_large_and_close_numbers_apart() {
    let range = |parameter: &str, range: &str| {
        let specification = parse(&with_parameters(&format!("  {parameter}: {{{range}}}"))).unwrap();
        values(&specification, parameter)
    };
    let last = i64::MAX;
    let linear = range("seed", &format!("min: {}, max: {last}, count: 10000", last - 9_999));
    assert_eq!(linear, (last - 9_999..=last).map(|seed| seed.to_string()).collect::<Vec<_>>());
    let from = (1_i64 << 53) + 1;
    let log = range("seed", &format!("min: {from}, max: {}, count: 1000, scale: log", from + 999));
    assert_eq!(log, (from..from + 1_000).map(|seed| seed.to_string()).collect::<Vec<_>>());
    let wide = range("seed", &format!("min: 0, max: {last}, count: 3"));
    assert_eq!(wide, ["0", "4611686018427387904", "9223372036854775807"]);
    let wide = range("seed", &format!("min: 1, max: {last}, count: 64, scale: log"));
    assert_eq!((wide.len(), wide[1].as_str(), wide[63].as_str()), (64, "2", "9223372036854775807"));
    let close = range("learning_rate", "min: 0.1, max: 0.10000000000001, count: 50");
    assert_eq!(close.len(), 50);
    assert_eq!(
        range("batch_size", "min: 16, max: 256, count: 5, scale: log"),
        ["16", "32", "64", "128", "256"]
    );
}

#[test]
fn a_limit_may_be_none() {
    for nothing in ["", " none", " null", " ~"] {
        let limits = ["max_parallel", "job_timeout", "checkpoint_every_epochs", "pack_size_max"];
        let lines: String = limits.iter().map(|limit| format!("  {limit}:{nothing}\n")).collect();
        let specification = parse(&format!("name: x\ndataset: {{path: d}}\nexecution:\n{lines}")).unwrap();
        assert_eq!(specification.execution, parse("name: x\ndataset: {path: d}\n").unwrap().execution);
    }
}

#[test]
fn what_is_set_is_bounded_and_so_is_what_is_said_of_it() {
    let dots = format!("{}a=1", "a.".repeat(40_000));
    let long_value = format!("epochs={}", "x".repeat(200_000));
    let deep = format!("epochs={}", "[".repeat(200_000));
    let open = format!("exclude={}", "[{".repeat(100_000));
    for text in [&dots, &long_value, &deep, &open, &"x".repeat(200_000)] {
        let error = parse_with(REPORT, &[text]).unwrap_err().to_string();
        assert!(error.len() <= 2_000, "{} bytes", error.len());
    }
    assert!(parse_with(REPORT, &[&dots]).unwrap_err().to_string().contains("at most 4 parts"));
    assert!(
        parse_with(REPORT, &vec!["epochs=1"; 1_001])
            .unwrap_err()
            .to_string()
            .contains("there are 1001 overrides")
    );
    let large = format!("name={}", "x".repeat(FILE_BYTES_MAX));
    assert!(parse_with(REPORT, &[&large]).unwrap_err().to_string().contains("more than the 1048576"));
}

#[test]
fn a_file_that_nests_too_deep_is_refused_before_it_is_parsed() {
    for text in ["[".repeat(200_000), "{a: ".repeat(50_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        for text in [format!("name: x\nexclude: {text}"), text] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains("nest more than 32 levels deep"), "{error}");
        }
    }
    assert!(parse(&format!("name: '{0}'\ndataset: {{path: d}} # {0}\n", "[".repeat(90))).is_ok());
}

#[test]
fn the_keys_at_which_two_specifications_differ() {
    let report = parse(REPORT).unwrap();
    assert!(report.changes_from(&report).is_empty());
    let overrides = [
        "learning_rate=[0.1, 0.2]",
        "epochs=2",
        "dataset.path=elsewhere",
        "exclude=[]",
        "execution.max_parallel=2",
    ];
    let changes = parse_with(REPORT, &overrides).unwrap().changes_from(&report);
    let mut keys: Vec<_> = changes.into_iter().map(|change| change.key).collect();
    keys.sort();
    let expected = [
        "dataset.path",
        "exclude",
        "execution.max_parallel",
        "parameters.epochs",
        "parameters.learning_rate",
    ];
    assert_eq!(keys, expected);
}
