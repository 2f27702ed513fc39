//! Sweep files of searches: W&B's distributions, ends, repetitions and targets.

use terms::{ParameterValue, SweepId};

use super::{parse, parse_with, told_of, with_parameters};
use crate::{
    definition::{DefinitionError, SweepDefinition},
    points::Method,
    space::Domain,
    specification::{Models, Specification, SpecificationSource},
};

fn program(text: &str) -> String {
    format!("program: train.py\nmetric: {{name: val_loss, goal: minimize}}\n{text}")
}

fn sweep(text: &str) -> SweepDefinition {
    let source = SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() };
    let mut parsed = SweepDefinition::parse(&source).unwrap_or_else(|error| panic!("{text}: {error}"));
    parsed.id = SweepId(1);
    parsed
}

fn points(definition: &SweepDefinition) -> Vec<String> {
    (1..=definition.job_count()).map(|job| format!("{:?}", definition.parameters(job).0)).collect()
}

#[test]
fn a_range_from_what_switches_a_parameter_off_to_its_numbers_is_refused() {
    let drawn = |range: &str| {
        let parameters = with_parameters(&format!("  gradient_clip_norm: {range}"));
        parse(&format!("method: random\nrun_cap: 9\n{parameters}"))
    };
    for range in ["{min: 0.0, max: 5.0}", "{min: 0, max: 0.000002, q: 0.0000005}"] {
        let error = drawn(range).unwrap_err().to_string();
        let expected = "`gradient_clip_norm` must be 0, or a number of at least 0.000001 and at most 1000000, and a range that includes 0 \
                        has other numbers, too; leave 0 out of it, or list the values";
        assert!(error.contains(expected), "{error}");
    }
    for range in
        ["{min: 0.5, max: 5.0}", "{min: 0, max: 5, q: 0.5}", "{values: [0, 1]}", "{min: 0, max: 5, count: 6}"]
    {
        assert!(drawn(range).is_ok(), "{range}: {:?}", drawn(range));
    }
}

#[test]
fn the_distributions_of_wandb_are_read_and_survive_being_stored() {
    let text = include_str!("../../../fixtures/wandb/distributions.yaml");
    let specification = parse(text).unwrap();
    assert_eq!((specification.run_cap, specification.target), (Some(50), Some(0.99)));
    let stored = Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap();
    assert_eq!(stored, specification);
    insta::assert_snapshot!(specification.to_yaml());
    let definition = sweep(text);
    let again = SweepDefinition::from_stored(SweepId(1), &definition.text(), None).unwrap();
    assert_eq!((points(&again), again.text()), (points(&definition), definition.text()));
    let sobol = sweep(&text.replace("method: random", "method: sobol"));
    assert_ne!(points(&sobol), points(&definition));
}

#[test]
fn plain_ends_are_whole_numbers_or_any_as_they_are_written() {
    let domain = |axis: &str| {
        let text = program(&format!("method: random\nrun_cap: 3\nparameters: {{x: {axis}}}\n"));
        parse(&text).unwrap().axes[0].domain.clone()
    };
    let integer = |low, high, is_log, step| Domain::Integer { low, high, is_log, step };
    let float = |low, high, is_log, step| Domain::Float { low, high, is_log, step };
    assert_eq!(domain("{min: 1, max: 9}"), integer(1, 9, false, 1));
    assert_eq!(domain("{min: 1, max: 9.0}"), float(1.0, 9.0, false, None));
    assert_eq!(domain("{min: 1, max: 9, scale: log}"), integer(1, 9, true, 1));
    assert_eq!(domain("{min: 1, max: 9, q: 4}"), integer(1, 9, false, 4));
    assert_eq!(domain("{min: 0.5, max: 9, q: 0.5}"), float(0.5, 9.0, false, Some(0.5)));
    assert_eq!(domain("{min: 0.001, max: 1, scale: log}"), float(0.001, 1.0, true, None));
    assert_eq!(domain("{min: 3, max: 3}"), Domain::Values(vec![ParameterValue::Integer(3)]));
    let listed = domain("{min: 1.0, max: 2.0, count: 3}");
    assert_eq!(listed, Domain::Values([1.0, 1.5, 2.0].map(ParameterValue::Float).to_vec()));
    // A model's parameters have their own types.
    let model = "  learning_rate: {min: 1, max: 2}\n  batch_size: {min: 16.0, max: 64, q: 16}";
    let model = parse(&format!("method: random\nrun_cap: 3\n{}", with_parameters(model))).unwrap();
    assert_eq!(model.axes[1].domain, float(1.0, 2.0, false, None));
    assert_eq!(model.axes[2].domain, integer(16, 64, false, 16));
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn wrong_searches_are_reported_with_line_and_key() {
    let random = |axis: &str| program(&format!("method: random\nrun_cap: 9\nparameters: {{x: {axis}}}\n"));
    let model = |axis: &str| format!("method: random\nrun_cap: 9\n{}", with_parameters(&format!("  {axis}")));
    let wrong = [
        ("no end", program("method: random\nparameters: {x: {min: 0.1, max: 1}}\n")),
        ("too many", program("method: sobol\nparameters: {x: {min: 1, max: 100000000}}\n")),
        ("a seed of a grid", program("search_seed: 1\nparameters: {x: {value: 1}}\n")),
        (
            "a long search that learns",
            program("method: tpe\nrun_cap: 10001\nparameters: {x: {min: 0.1, max: 1}}\n"),
        ),
        ("no jobs", program("run_cap: 0\nparameters: {x: {value: 1}}\n")),
        ("too many jobs", program("run_cap: 10000001\nparameters: {x: {value: 1}}\n")),
        ("no repetition", program("repeats: 0\nparameters: {x: {value: 1}}\n")),
        ("more repetitions than jobs", program("run_cap: 2\nrepeats: 3\nparameters: {x: {value: 1}}\n")),
        ("a target that is no number", "metric: {target: high}\n".to_owned()),
        ("drawn in a grid", program("parameters: {x: {distribution: uniform, min: 0, max: 1}}\n")),
        ("a mean in a grid", program("parameters: {x: {value: 1, mu: 1}}\n")),
        ("exponents", random("{distribution: log_uniform, min: -9, max: -2}")),
        ("exponents of a rate", model("learning_rate: {distribution: log_uniform, min: -9, max: -2}")),
        (
            "exponents before their name",
            model("learning_rate: {min: -9, max: -2, distribution: log_uniform}"),
        ),
        ("a negative rate", model("learning_rate: {distribution: uniform, min: -9, max: 2}")),
        ("the name of another tool", random("{distribution: loguniform, min: 0.1, max: 1}")),
        ("a misspelt distribution", random("{distribution: unifrom, min: 0.1, max: 1}")),
        ("a large step", random("{min: 0.0, max: 0.5, q: 1}")),
        ("a large step of its own", random("{distribution: q_uniform, min: 0.0, max: 0.5}")),
        ("a large step of a grid", program("parameters: {x: {min: 1, max: 5, q: 10}}\n")),
        (
            "all of a finite space excluded",
            program("method: random\nparameters: {x: {values: [1]}}\nexclude: [{x: 1}]\n"),
        ),
        ("inverse exponents", random("{distribution: inv_log_uniform, min: -9, max: -2}")),
        ("an unknown distribution", random("{distribution: cauchy, min: 1, max: 2}")),
        ("half a range", random("{distribution: uniform, min: 1}")),
        ("upside down", random("{min: 2.5, max: 1}")),
        ("log of zero", random("{distribution: log_uniform_values, min: 0, max: 1}")),
        ("contradiction", random("{distribution: uniform, min: 1, max: 2, scale: log}")),
        ("a step of none", random("{distribution: uniform, min: 1, max: 2, q: 1}")),
        ("not whole", random("{distribution: int_uniform, min: 1.5, max: 2}")),
        ("no width", random("{distribution: normal, mu: 1, sigma: 0}")),
        ("infinite values", random("{distribution: log_normal, mu: 700, sigma: 5}")),
        ("a normal range", random("{distribution: normal, min: 1, max: 2}")),
        ("no beta", random("{distribution: beta, a: 2}")),
        ("a mean of a range", random("{min: 1, max: 2, mu: 1}")),
        ("a mean alone", random("{mu: 1, sigma: 2}")),
        ("too few probabilities", random("{values: [1, 2], probabilities: [1.0]}")),
        ("probabilities of half", random("{values: [1, 2], probabilities: [0.2, 0.3]}")),
        ("never", random("{values: [1, 2], probabilities: [1.0, 0.0]}")),
        ("a count of a normal one", random("{distribution: normal, min: 1, max: 2, count: 3}")),
        ("values and a range", random("{values: [1, 2], min: 1}")),
        ("a rate out of range", model("learning_rate: {distribution: uniform, min: 0, max: 1}")),
        ("a normal rate", model("learning_rate: {distribution: log_normal, mu: 0, sigma: 1}")),
        ("a batch of any size", model("batch_size: {distribution: uniform, min: 16, max: 64}")),
        ("a range of names", model("activation: {min: relu, max: sigmoid}")),
        ("a seed that varies", "repeats: 2\n".to_owned() + &with_parameters("  seed: {values: [1, 2]}")),
        (
            "repeats beside a program's seeds",
            program("repeats: 2\nparameters: {x: {values: [1, 2]}, seed: {values: [1, 2]}}\n"),
        ),
        (
            "a seed that is too large",
            "repeats: 2\n".to_owned() + &with_parameters("  seed: {value: 9223372036854775807}"),
        ),
        (
            "a condition on any number",
            program(
                "method: random\nrun_cap: 9\nparameters: {x: {min: 0.1, max: 1}, y: {value: 1, when: {x: 0.5}}}\n",
            ),
        ),
        (
            "an excluded number",
            program("method: random\nrun_cap: 9\nparameters: {x: {min: 0.1, max: 1}}\nexclude: [{x: 0.5}]\n"),
        ),
        (
            "all excluded",
            program(
                "method: random\nrun_cap: 9\nparameters: {x: {min: 0.1, max: 1}, y: {values: [1, 2]}}\n\
                 exclude: [{y: 1}, {y: 2}]\n",
            ),
        ),
        (
            "an open point",
            program(
                "method: random\nrun_cap: 9\nparameters: {x: {min: 0.1, max: 1}, y: {value: 1}}\ninclude: [{y: 1}]\n",
            ),
        ),
    ];
    insta::assert_snapshot!(told_of(&wrong));
}

#[test]
fn a_cap_bounds_every_method_and_a_finite_search_ends_by_itself() {
    let jobs = |text: &str| sweep(&program(text)).job_count();
    let finite = "parameters: {x: {values: [1, 2, 3]}, y: {min: 1, max: 4}}\n";
    for method in ["grid", "random", "sobol"] {
        assert_eq!(jobs(&format!("method: {method}\n{finite}")), 12);
        assert_eq!(jobs(&format!("method: {method}\nrun_cap: 5\n{finite}")), 5);
        assert_eq!(jobs(&format!("method: {method}\nrun_cap: 50\n{finite}")), 12);
        assert_eq!(jobs(&format!("method: {method}\nrun_cap: 8\nrepeats: 3\n{finite}")), 6);
        assert_eq!(jobs(&format!("method: {method}\nrepeats: 3\n{finite}")), 36);
    }
}

#[test]
fn an_extension_raises_the_cap_and_leaves_the_points_as_they_are() {
    for method in ["random", "sobol"] {
        let text = |cap: u64, more: &str| {
            program(&format!(
                "method: {method}\nrun_cap: {cap}\nparameters: {{x: {{min: 0.1, max: 1}}, y: {{values: [1, 2]}}}}\n{more}"
            ))
        };
        let first = sweep(&text(5, ""));
        let second = first.extended(parse(&text(9, "execution: {max_parallel: 2}\n")).unwrap()).unwrap();
        assert_eq!((second.id, second.job_count(), second.execution.max_parallel), (first.id, 9, Some(2)));
        assert_eq!(points(&first), points(&second)[..5]);
        let stored = SweepDefinition::from_stored(SweepId(1), &second.text(), None).unwrap();
        assert_eq!(points(&stored), points(&second));
        // The same one is for settings, also where an answer was lost; a lower one takes no points away.
        let same = parse(&text(9, "execution: {max_parallel: 3}\n")).unwrap();
        let note = second.note_on_cap(&same).unwrap();
        assert!(note.starts_with("`run_cap: 9` is what the sweep has already"), "{note}");
        assert_eq!(points(&second.extended(same).unwrap()), points(&second));
        let told = second.extended(parse(&text(3, "")).unwrap()).unwrap_err().to_string();
        assert!(told.contains("may have 9 jobs and this file's `run_cap` is 3"), "{told}");
        assert_eq!(second.note_on_cap(&parse(&text(10, "")).unwrap()), None);
        for other in [
            text(9, "search_seed: 1\n"),
            text(9, "exclude: [{y: 1}]\n"),
            text(9, "repeats: 2\n"),
            text(9, "").replace("max: 1}", "max: 2}"),
            text(9, "").replace("method: ", "method: grid\nname: x #"),
        ] {
            let Ok(other) = parse(&other) else { continue };
            let error = first.extended(other).unwrap_err();
            let told = error.to_string();
            assert!(told.contains("submit it as a sweep of its own") || told.contains("submit it"), "{told}");
            assert!(matches!(error, DefinitionError::Search(_) | DefinitionError::Differs(_)), "{told}");
        }
        let error = first.set(&["run_cap=9".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("`run_cap` cannot be set") && error.contains("--extend"), "{error}");
    }
}

#[test]
fn a_grid_that_was_cut_short_goes_on_where_it_ended() {
    let text = |cap: u64| {
        program(&format!("run_cap: {cap}\nrepeats: 2\nparameters: {{x: {{values: [1, 2, 3, 4]}}}}\n"))
    };
    let first = sweep(&text(4));
    assert_eq!(first.job_count(), 4);
    let second = first.extended(parse(&text(6)).unwrap()).unwrap();
    let third = second.extended(parse(&text(100)).unwrap()).unwrap();
    let told = second.extended(parse(&text(5)).unwrap()).unwrap_err().to_string();
    assert!(told.contains("may have 6 jobs and this file's `run_cap` is 5"), "{told}");
    assert_eq!((second.job_count(), third.job_count()), (6, 8));
    let all = sweep(&text(100));
    assert_eq!(points(&third), points(&all));
    let stored = SweepDefinition::from_stored(SweepId(1), &third.text(), None).unwrap();
    assert_eq!(points(&stored), points(&all));
    assert_eq!((1..=8).map(|job| third.repeat(job).unwrap()).collect::<Vec<_>>(), [1, 2, 1, 2, 1, 2, 1, 2]);
}

#[test]
fn each_training_of_a_point_has_its_own_seed_or_says_its_number() {
    let model = sweep(&format!("repeats: 3\n{}", with_parameters("  seed: {value: 7}")));
    let seeds: Vec<_> = (1..=3).map(|job| model.parameters(job).get("seed").cloned().unwrap()).collect();
    assert_eq!(seeds, [7, 8, 9].map(ParameterValue::Integer));
    assert_eq!(model.varying, ["seed".into()]);
    let program = sweep(&program("repeats: 2\nparameters: {x: {value: 1}}\n"));
    assert_eq!(points(&program)[0], points(&program)[1]);
    assert_eq!((program.repeat(1), program.repeat(2), program.repeat(3)), (Some(1), Some(2), None));
    assert_eq!(sweep(&with_parameters("  epochs: {value: 1}")).repeat(1), None);
}

#[test]
fn a_target_is_a_setting() {
    let first = sweep(&program("parameters: {x: {value: 1}}\n"));
    let set = first.set(&["metric.target=0.1".to_owned()]).unwrap();
    assert_eq!(set.specification.target, Some(0.1));
    let stored = SweepDefinition::from_stored(SweepId(1), &set.text(), None).unwrap();
    assert_eq!(stored.specification.target, Some(0.1));
    assert_eq!(set.changes_from(&first)[0].to_string(), "metric.target: none -> 0.1");
    let lifted = set.set(&["metric.target=none".to_owned()]).unwrap();
    assert_eq!(lifted.specification.target, None);
    let told = set.set(&["metric.target=high".to_owned()]).unwrap_err().to_string();
    assert!(told.contains("expected a value of the metric, as 0.99 is, but found `high`"), "{told}");
}

#[test]
fn the_rule_of_early_stopping_is_no_setting() {
    let with = |rule: &str| {
        sweep(&program(&format!("{rule}parameters: {{epochs: {{value: 9}}, x: {{values: [1, 2]}}}}\n")))
    };
    let rule = with("early_terminate: {type: asha, min_iter: 1, eta: 3}\n");
    for definition in [&rule, &with("")] {
        for set in ["early_terminate.eta=4", "early_terminate={type: median}", "early_terminate=none"] {
            let told = definition.set(&[set.to_owned()]).unwrap_err().to_string();
            let key = set.split('=').next().unwrap();
            let expected =
                format!("`{key}` cannot change: a sweep keeps the rule that it began with, or none");
            assert!(told.starts_with(&expected) && told.contains("a sweep of its own"), "{told}");
        }
    }
    let other = with("early_terminate: {type: asha, min_iter: 1, eta: 4}\n").specification;
    let told = rule.extended(other).unwrap_err().to_string();
    assert!(told.starts_with("`early_terminate.eta` cannot change: a sweep keeps the rule"), "{told}");
}

#[test]
fn the_method_may_be_set_over_a_file() {
    let text = program("parameters: {x: {min: 0.1, max: 1}}\n");
    assert!(parse(&text).is_err());
    let random = parse_with(&text, &["method=random", "run_cap=4", "search_seed=3"]).unwrap();
    assert_eq!(random.method, Method::Random { seed: 3 });
    assert_eq!(random.jobs().unwrap().count(), 4);
}

#[test]
fn pack_candidates_of_a_search_are_those_of_its_queue_that_may_differ() {
    let axes = "  learning_rate: {min: 0.001, max: 0.1}\n  batch_size: {values: [16, 32]}";
    let definition = sweep(&format!("method: random\nrun_cap: 400\n{}", with_parameters(axes)));
    let batch = |job| definition.parameters(job).get("batch_size").cloned();
    let found: Vec<u64> = definition.pack_candidates(3, |_| true, 1..=400).collect();
    let expected: Vec<u64> = (1..=400).filter(|job| *job != 3 && batch(*job) == batch(3)).collect();
    assert_eq!(found, expected);
    assert!(found.len() > 100);
    assert_eq!((1..=401).filter(|job| definition.is_pack_candidate(3)(*job)).collect::<Vec<_>>(), expected);
    // Where hardly any two are alike, none is looked at.
    let axes = format!("{axes}\n  seed: {{min: 0, max: 1000000}}");
    let definition = sweep(&format!("method: random\nrun_cap: 400\n{}", with_parameters(&axes)));
    let queue = (1..=400).inspect(|job| panic!("job {job} is looked at"));
    assert_eq!(definition.pack_candidates(3, |_| true, queue).next(), None);
}
