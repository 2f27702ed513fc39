//! Sweeps of few jobs against each other.

use std::sync::Arc;

use terms::{DatasetSummary, MetricSchema, MetricUse, Objective, manifest::builtin};

use super::*;
use crate::model::JobCounts;

fn sweep(id: u64, specification: &str) -> Sweep {
    Sweep {
        id,
        name: format!("sweep-{id}"),
        state: Some(terms::SweepState::Finished),
        job_count: 4,
        counts: JobCounts { done: 4, ..JobCounts::default() },
        created_unix_ms: 1,
        ended_unix_ms: 2,
        objective: Objective { name: "val_accuracy".into(), goal: Goal::Maximize, used: MetricUse::Last },
        best: None,
        best_weights: None,
        weights_awaited: 0,
        waiting: None,
        parameters: vec!["rate".into(), "seed".into()],
        varying: vec!["rate".into()],
        repeats: 1,
        metrics: MetricSchema::of(["val_accuracy"]).unwrap(),
        metrics_left_out: 0,
        metrics_left_out_reason: String::new(),
        unread_parameters: Vec::new(),
        stopped: None,
        cannot_pause: None,
        owner: None,
        priority: 0,
        share: None,
        manifest: builtin("simple_cnn").cloned().map(Arc::new),
        specification: specification.into(),
        dataset: None,
    }
}

/// A sweep whose jobs have these rates, seeds and accuracies, two epochs each.
fn side(id: u64, specification: &str, jobs: &[(f64, i64, f64)]) -> Side {
    let mut side = Side::new(sweep(id, specification));
    for (number, (rate, seed, value)) in (1..).zip(jobs) {
        let parameters = ParameterMap(vec![
            ("rate".into(), ParameterValue::Float(*rate)),
            ("seed".into(), ParameterValue::Integer(*seed)),
        ]);
        side.job(Trained {
            job: number,
            parameters: &parameters,
            state: Some(JobState::Done),
            value: Some(*value),
            epochs: 2,
            seconds: 3.0,
            pack_size: 1,
        });
    }
    side
}

#[test]
fn bests_are_tested_where_both_have_repeats_and_common_configurations_in_pairs() {
    let one = side(1, "name: a\n", &[(0.1, 0, 0.70), (0.1, 1, 0.72), (0.2, 0, 0.60), (0.2, 1, 0.61)]);
    let other = side(2, "name: b\n", &[(0.1, 5, 0.80), (0.1, 6, 0.81), (0.2, 7, 0.70), (0.2, 8, 0.72)]);
    let mut other = other;
    assert_eq!(other.best_job(), Some(1));
    let parameters = [("rate", ParameterValue::Float(0.1)), ("seed", ParameterValue::Integer(5))];
    other.set_best_parameters(ParameterMap(parameters.map(|(name, value)| (name.to_owned(), value)).into()));
    let compared = compare(&[one, other]);
    assert!(compared.differences.is_empty(), "a name is no difference of method: {compared:?}");
    let [first, second] = compared.sweeps.as_slice() else { panic!("{compared:?}") };
    assert_eq!((first.best.0, first.trainings, first.best_job), (Some(0.71), 2, Some(1)));
    assert_eq!((second.epochs, second.train_seconds), (8, 12.0));
    let shown = serde_json::to_value(&second.best_parameters).unwrap();
    assert_eq!(shown, serde_json::json!({"rate": 0.1}), "those that vary");
    let pair = &compared.against_first[0];
    let bests = pair.bests.unwrap();
    assert!((bests.difference - 0.095).abs() < 1e-9 && bests.interval.low > 0.0, "{bests:?}");
    // Seeds differ, and are no part of a configuration.
    let paired = pair.paired.unwrap();
    assert!(
        (paired.difference - 0.1).abs() < 1e-9 && (pair.common, pair.second_better) == (2, 2),
        "{pair:?}"
    );
}

#[test]
fn of_single_trainings_the_bests_are_not_tested_and_one_pair_is_none() {
    let one = side(1, "name: a\n", &[(0.1, 0, 0.7), (0.3, 0, 0.6)]);
    let other = side(2, "name: b\n", &[(0.1, 0, 0.6), (0.2, 0, 0.8)]);
    let pair = &compare(&[one, other]).against_first[0];
    assert_eq!((pair.bests, pair.paired, pair.common), (None, None, 1));
    assert_eq!((pair.first_better, pair.second_better), (1, 0));
}

#[test]
fn other_metrics_do_not_compare_and_other_data_are_named() {
    let jobs = [(0.1, 0, 0.7), (0.2, 0, 0.6)];
    let (one, mut other) = (side(1, "name: a\n", &jobs), side(2, "name: b\n", &jobs));
    other.sweep.objective.used = MetricUse::Best;
    let pair = &compare(&[one, other]).against_first[0];
    assert_eq!((pair.not_compared, pair.common), (Some(NotCompared::OtherMetric), 0));
    let (mut one, mut other) = (side(1, "name: a\n", &jobs), side(2, "name: b\n", &jobs));
    let dataset = |hash: &str| DatasetSummary { content_hash: hash.into(), ..DatasetSummary::default() };
    (one.sweep.dataset, other.sweep.dataset) = (Some(dataset("a")), Some(dataset("b")));
    let compared = compare(&[one, other]);
    assert_eq!(compared.against_first[0].not_compared, Some(NotCompared::OtherData));
    assert_eq!(compared.differences[0].key, "dataset (content hash)");
    assert_eq!(compared.against_first[0].other_data, ["dataset (content hash)"]);
}

#[test]
fn a_split_that_differs_is_other_data() {
    let file = |seed: u32| format!("name: a\ndataset:\n  path: d\n  split_seed: {seed}\n");
    let of = |id, seed| side(id, &file(seed), &[(0.1, 0, 0.7)]);
    let other_data = |one, other| compare(&[one, other]).against_first[0].not_compared;
    assert_eq!(other_data(of(1, 0), of(2, 1)), Some(NotCompared::OtherData));
    assert_eq!(other_data(of(1, 0), of(2, 0)), None);
    // What differs is named: pictures of another size are the same pictures.
    let file = |size: u32| format!("name: a\ndataset:\n  path: d\n  image_size: {size}\n");
    let of = |id, size| side(id, &file(size), &[(0.1, 0, 0.7)]);
    let pair = compare(&[of(1, 32), of(2, 64)]).against_first.remove(0);
    assert_eq!(
        (pair.not_compared, pair.other_data),
        (Some(NotCompared::OtherData), vec!["dataset.image_size"])
    );
}

#[test]
fn one_repeat_more_than_planned_makes_no_configuration_the_best() {
    let one = side(1, "name: a\n", &[(0.1, 0, 0.5), (0.1, 1, 0.5), (0.2, 0, 0.9)]);
    assert_eq!(one.best_job(), Some(3), "a single training is all that is planned");
    let mut planned = side(1, "name: a\n", &[(0.1, 0, 0.5), (0.1, 1, 0.5), (0.2, 0, 0.9)]);
    planned.planned = 2;
    assert_eq!(planned.best_job(), Some(1), "one of two trainings is missing");
    planned.planned = 3;
    assert_eq!(planned.best_job(), Some(3), "none is complete");
}

#[test]
fn the_best_has_the_trainings_that_a_grid_lists_seeds_for() {
    let jobs = [(0.1, 0, 0.5), (0.1, 1, 0.5), (0.2, 0, 0.9)];
    let file = |method: &str| {
        format!(
            "name: a\n{method}parameters:\n  rate:\n    values: [0.1, 0.2]\n  seed:\n    values: [0, 1]\n"
        )
    };
    assert_eq!(side(1, &file(""), &jobs).best_job(), Some(1), "of the other, a training is missing");
    assert_eq!(side(1, &file("method: random\n"), &jobs).best_job(), Some(3), "a search plans nothing");
}

#[test]
fn tests_of_several_sweeps_are_corrected_for_each_other() {
    let with = |id, by: [f64; 4]| {
        let jobs: Vec<_> = (1..).zip(by).map(|(place, by)| (f64::from(place), 0, 0.5 + by)).collect();
        side(id, "name: a\n", &jobs)
    };
    let (near, far) = ([0.01, 0.02, 0.04, 0.02], [0.10, 0.11, 0.10, 0.11]);
    let alone = compare(&[with(1, [0.0; 4]), with(2, near)]);
    let paired = alone.against_first[0].paired.unwrap();
    assert!(paired.separable && paired.p > 0.025, "{paired:?}");
    let several = compare(&[with(1, [0.0; 4]), with(2, near), with(3, near), with(4, far)]);
    let [second, third, fourth] = [0, 1, 2].map(|place| several.against_first[place].paired.unwrap());
    assert!((second.p_corrected - 2.0 * second.p).abs() < 1e-12 && !second.separable, "{second:?}");
    assert!(!third.separable && fourth.separable, "{third:?} {fourth:?}");
}

#[test]
fn large_integers_are_not_confused() {
    let key = |value| {
        let side = Side::new(sweep(1, ""));
        side.key(&ParameterMap(vec![("n".into(), value)]))
    };
    let whole = ParameterValue::Integer;
    assert_ne!(key(whole(9_007_199_254_740_992)), key(whole(9_007_199_254_740_993)));
    assert_eq!(key(whole(3)), key(ParameterValue::Float(3.0)));
}

#[test]
fn the_best_of_several_trainings_is_shown_without_the_seed_of_one() {
    let of = |jobs: &[(f64, i64, f64)]| {
        let mut side = side(1, "name: a\n", jobs);
        side.sweep.varying = vec!["rate".into(), "seed".into(), "batch".into()];
        side.set_best_parameters(ParameterMap(vec![
            ("rate".into(), ParameterValue::Float(0.1)),
            ("seed".into(), ParameterValue::Integer(4)),
            ("batch".into(), ParameterValue::Integer(1)),
        ]));
        serde_json::to_string(&side.shown().best_parameters).unwrap()
    };
    assert_eq!(of(&[(0.1, 4, 0.9), (0.1, 5, 0.8)]), r#"{"rate":0.1,"batch":1}"#);
    // In the order of the space, which no alphabet has.
    assert_eq!(of(&[(0.1, 4, 0.9), (0.2, 4, 0.8)]), r#"{"rate":0.1,"seed":4,"batch":1}"#);
}

#[test]
fn files_differ_by_their_keys_and_a_value_that_one_lacks_is_absent() {
    let (one, other) = (
        side(1, "name: a\ndataset:\n  split_seed: 0\nparameters:\n  rate:\n    values: [0.1, 0.2]\n", &[]),
        side(
            2,
            "name: b\ndataset:\n  split_seed: 1\nparameters:\n  rate:\n    values: [0.1, 0.2]\n    when: {a: 1}\n",
            &[],
        ),
    );
    let compared = compare(&[one, other]);
    let told: Vec<(&str, &[Option<String>])> =
        compared.differences.iter().map(|one| (one.key.as_str(), one.values.as_slice())).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        [
            ("dataset.split_seed", [text("0"), text("1")].as_slice()),
            ("parameters.rate.when.a", [None, text("1")].as_slice())
        ]
    );
    assert_eq!(compared.sweeps[0].best, Number(None));
}

#[test]
fn of_a_file_that_extended_a_sweep_what_its_points_have_of_their_own_is_listed() {
    let head = "name: a\nmethod: grid\nmetric:\n  name: m\n  goal: maximize\nexecution:\n  attempts_max: 3\n  lease: 30s\n";
    let parameters =
        |rates: &str| format!("parameters:\n  rate:\n    values: {rates}\n  batch:\n    values: [32]\n");
    let plain = format!("{head}{}", parameters("[0.1, 0.2]"));
    // A setting of an older extension is not the one in effect, which the first file has.
    let older = head.replace("attempts_max: 3", "attempts_max: 9");
    let extended = format!("{plain}\n---\n{older}{}include:\n- rate: 0.9\n", parameters("[0.4]"));
    let listed = |one: &str, other: &str| -> Vec<(String, Vec<Option<String>>)> {
        let compared = compare(&[side(1, one, &[]), side(2, other, &[])]);
        compared.differences.into_iter().map(|one| (one.key, one.values)).collect()
    };
    let only = |value: &str| vec![None, Some(value.to_owned())];
    let expected = [
        ("extension 1.include".to_owned(), only(r#"[{"rate":0.9}]"#)),
        ("extension 1.parameters.rate.values".to_owned(), only("[0.4]")),
    ];
    assert_eq!(listed(&plain, &extended), expected);
    assert_eq!(listed(&extended, &extended), []);
    // Nor that it has no exclusions where the first file has some.
    let excluding = format!("{head}exclude:\n- rate: 0.1\n{}", parameters("[0.1, 0.2]"));
    let with = format!("{excluding}\n---\n{excluding}include:\n- rate: 0.9\n");
    let without = format!("{excluding}\n---\n{plain}include:\n- rate: 0.9\n");
    assert_eq!(listed(&with, &without), [("extension 1.exclude".to_owned(), only("none"))]);
    // A text that is not understood is not left out.
    let (key, _) = listed(&plain, &format!("{plain}\n---\na: b: c")).remove(0);
    assert_eq!(key, "extension 1.specification");
}

#[test]
fn epochs_that_count_are_a_difference_of_their_own() {
    let file = |used: &str| format!("name: a\nmetric:\n  name: val_accuracy\n  goal: maximize\n{used}");
    let mut best = side(2, &file("  use: best\n"), &[(0.1, 0, 0.7)]);
    best.sweep.objective.used = MetricUse::Best;
    let compared = compare(&[side(1, &file(""), &[(0.1, 0, 0.7)]), best]);
    let [Difference { key, values }] = compared.differences.as_slice() else { panic!("{compared:?}") };
    assert_eq!((key.as_str(), values.as_slice()), ("metric.use", [None, Some("best".to_owned())].as_slice()));
    assert_eq!(compared.against_first[0].not_compared, Some(NotCompared::OtherMetric));
}

#[test]
fn programs_which_read_their_data_themselves_have_no_facts_of_a_data_set() {
    let of = |id, file: &str| {
        let mut side = side(id, file, &[(0.1, 0, 0.5)]);
        side.sweep.dataset = Some(DatasetSummary::default());
        side
    };
    let mut with_data = of(3, "model: simple_cnn\n");
    with_data.sweep.dataset =
        Some(DatasetSummary { content_hash: "a".to_owned(), ..DatasetSummary::default() });
    let compared = compare(&[of(1, "command: [a]\n"), with_data]);
    let of_data = compared.differences.iter().filter(|one| one.key.starts_with("dataset ("));
    let of_data: Vec<_> = of_data.map(|one| one.values.clone()).collect();
    assert_eq!(of_data[0], [None, Some("a".to_owned())]);
    assert!(of_data.iter().all(|values| values[0].is_none()), "{of_data:?}");
}
