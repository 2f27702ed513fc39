//! Values that are right one by one and wrong together, by the rules of SimpleCNN's manifest.

use terms::SweepId;

use super::*;
use crate::definition::SweepDefinition;

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The optimiser and the momentum of each job; `-` where it has none.
fn points(specification: &Specification) -> Vec<String> {
    let jobs = specification.jobs().unwrap();
    let point = |job| {
        let point = jobs.parameters(job).unwrap();
        let value = |name: &str| point.get(name).map_or("-".to_owned(), ToString::to_string);
        format!("{} {}", value("optimizer"), value("momentum"))
    };
    (1..=jobs.count()).map(point).collect()
}

const BOTH: &str = "  optimizer: {values: [adam, sgd]}\n  momentum: {values: [0.0, 0.9]}";

fn drawn(method: &str, parameters: &str) -> String {
    format!("method: {method}\nrun_cap: 40\n{}", with_parameters(parameters))
}

#[test]
fn a_parameter_that_needs_a_value_of_another_has_one_only_there() {
    let specification = parse(&with_parameters(BOTH)).unwrap();
    assert_eq!(points(&specification), ["adam -", "sgd 0", "sgd 0.9"]);
    let note = "`momentum` has a value only where `optimizer` is `sgd`, as it has no effect elsewhere; points that differ in nothing \
                else are one";
    assert_eq!(specification.notes, [note]);
    let stored = Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap();
    assert_eq!(
        (points(&stored), &stored.notes),
        (points(&specification), &Vec::new()),
        "its condition is kept"
    );
    let set = specification.with_overrides(&["execution.attempts_max=5".into()]).unwrap();
    assert_eq!(points(&set), points(&specification));
    // The file may say the condition itself.
    let said = BOTH.replace("0.9]", "0.9], when: {optimizer: sgd}");
    let said = parse(&with_parameters(&said)).unwrap();
    assert_eq!((points(&said), said.notes.len()), (points(&specification), 0));
    // One value is meant for sgd, too.
    let one = "  optimizer: {values: [adamw, sgd]}\n  momentum: {value: 0.9}";
    assert_eq!(points(&parse(&with_parameters(one)).unwrap()), ["adamw -", "sgd 0.9"]);
}

#[test]
fn points_that_differ_only_in_what_has_no_effect_are_drawn_once() {
    for method in ["random", "sobol"] {
        let found = points(&parse(&drawn(method, BOTH)).unwrap());
        let different: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), different.len()), (3, 3), "{method}: {found:?}");
        let ranges = [
            "  optimizer: {values: [adam, sgd, adamw]}\n  momentum: {min: 0.0, max: 0.9}",
            "  optimizer: {values: [adam, sgd, adamw], probabilities: [0.8, 0.1, 0.1]}\n  momentum: {min: 0.0, max: 0.9}",
        ];
        for range in ranges {
            let found = points(&parse(&drawn(method, range)).unwrap());
            let without = found.iter().filter(|point| point.ends_with('-')).count();
            assert_eq!((found.len(), without), (40, 2), "{method}: {found:?}");
        }
    }
    assert!(parse(&drawn("tpe", BOTH)).is_ok());
}

#[test]
fn points_that_a_file_excludes_need_no_condition() {
    let text = format!("{}exclude: [{{optimizer: adam, momentum: 0.9}}]\n", with_parameters(BOTH));
    let specification = parse(&text).unwrap();
    assert_eq!(points(&specification), ["adam 0", "sgd 0", "sgd 0.9"], "as it says");
    assert_eq!(specification.notes.len(), 0);
    // Without the momentum, the point is right.
    let more = format!("{}exclude: [{{optimizer: adam}}]\n", with_parameters(BOTH));
    assert_eq!(points(&parse(&more).unwrap()), ["sgd 0", "sgd 0.9"]);
    // Only some of them.
    let three = format!("{BOTH}\n  seed: {{values: [1, 2]}}");
    let some = format!("{}exclude: [{{optimizer: adam, momentum: 0.9, seed: 1}}]\n", with_parameters(&three));
    assert_eq!(parse(&some).unwrap().jobs().unwrap().count(), 6);
}

#[test]
fn a_sweep_may_be_extended_by_another_optimizer() {
    let of = |parameters: &str| parse(&with_parameters(parameters)).unwrap();
    let sgd = of("  optimizer: {value: sgd}\n  momentum: {values: [0.0, 0.9]}");
    let sweep = SweepDefinition::new(SweepId(1), sgd.clone()).unwrap();
    let extended = sweep.extended(of(BOTH)).unwrap();
    assert_eq!(extended.job_count(), 3, "adam is new");
    assert_eq!(extended.parameters(3).get("momentum"), None);
    let stored = SweepDefinition::from_stored(SweepId(1), &extended.text(), None).unwrap();
    assert_eq!(stored.parameters(3), extended.parameters(3));
    assert_eq!(extended.extended(sgd).unwrap().job_count(), 3, "all are known");
}

/// The file with the line of a cure in place of that of its parameter.
fn cured(text: &str, parameter: &str, line: &str) -> String {
    let is_own = |line: &&str| line.trim_start().starts_with(&format!("{parameter}:"));
    let others: Vec<&str> = text.lines().filter(|line| !is_own(line)).collect();
    format!("{}\n  {line}\n", others.join("\n"))
}

#[test]
fn a_parameter_that_never_has_an_effect_is_refused_with_its_line_and_a_line_that_helps() {
    let momentum = "  momentum: {values: [0.0, 0.9]}";
    let drawn_one = "  momentum: {min: 0.0, max: 0.9}";
    for (optimizer, line) in [
        ("", "optimizer: {value: sgd}"),
        ("\n  optimizer: {value: adam}", "optimizer: {value: sgd}"),
        ("\n  optimizer: {values: [adam, adamw]}", "optimizer: {values: [adam, adamw, sgd]}"),
    ] {
        for text in [
            with_parameters(&format!("  seed: {{value: 1}}\n{momentum}{optimizer}")),
            drawn("random", &format!("{drawn_one}{optimizer}")),
            drawn("tpe", &format!("{drawn_one}{optimizer}")),
        ] {
            let error = refusal(&text);
            let place = text.lines().position(|line| line.contains("momentum")).unwrap() + 1;
            let start = format!(
                "grid.yaml:{place}: parameters.momentum: `momentum` must be `0.0` unless `optimizer` is `sgd`"
            );
            assert!(error.starts_with(&start), "{error}");
            assert!(error.ends_with(&format!("; write `{line}`, or leave `momentum` out")), "{error}");
            assert!(parse(&cured(&text, "optimizer", line)).is_ok(), "{line}");
        }
    }
    // A condition that lets it have a value elsewhere.
    let text = with_parameters(&BOTH.replace("0.9]", "0.9], when: {optimizer: [adam, sgd]}"));
    let error = refusal(&text);
    assert!(error.ends_with("write `when: {optimizer: sgd}` next to the values of `momentum`"), "{error}");
    assert!(parse(&text.replace("when: {optimizer: [adam, sgd]}", "when: {optimizer: sgd}")).is_ok());
}

#[test]
fn the_line_of_a_parameter_is_that_of_its_own_key() {
    let line = |text: &str| refusal(text).split(':').nth(1).unwrap().trim().to_owned();
    let nested = "name: x\ndataset: {path: d}\nparameters:\n\n# rates\n     # momentum: {value: 1}\n\n  batch_size:\n    values: [1, 2]\n  \
                  \"momentum\" :\n    values: [0.9]\nexecution:\n  attempts_max: 3\n";
    assert_eq!(line(nested), "10");
    let condition = "  optimizer: {value: sgd}\n  momentum:\n    value: 0.5\n    when:\n      warmup_epochs: 7\n  warmup_epochs: {value: 7}";
    assert_eq!(line(&with_parameters(condition)), "9", "not that of a condition");
    assert_eq!(
        line("name: x\nparameters: {momentum: {value: 0.9}}\ndataset: {path: d}\n"),
        "2",
        "the section's"
    );
    let set =
        parse_with(&with_parameters("  seed: {value: 1}"), &["warmup_epochs=7"]).unwrap_err().to_string();
    assert!(set.starts_with("grid.yaml:3: parameters.warmup_epochs: "), "{set}");
}

#[test]
fn a_number_that_must_stay_below_another_is_refused_with_what_would_fit() {
    for (parameters, cure) in [
        (
            "  warmup_epochs: {value: 5}",
            "give `warmup_epochs` values below 5, or give `epochs` larger values",
        ),
        (
            "  warmup_epochs: {values: [0, 5, 6]}",
            "give `warmup_epochs` values below 5, or give `epochs` larger values",
        ),
        ("  warmup_epochs: {values: [1]}\n  epochs: {value: 1}", "give `warmup_epochs` values below 1"),
        (
            "  warmup_epochs: {values: [0, 2]}\n  epochs: {values: [2, 9]}",
            "`exclude: [{epochs: 2, warmup_epochs: 2}]`",
        ),
    ] {
        let error = refusal(&with_parameters(parameters));
        assert!(
            error.contains("parameters.warmup_epochs: `warmup_epochs` must be less than `epochs`"),
            "{error}"
        );
        assert!(error.contains(cure), "{error}");
    }
    let excluded = "  warmup_epochs: {values: [0, 2]}\n  epochs: {values: [2, 9]}\nexclude: [{epochs: 2, warmup_epochs: 2}]";
    for right in [
        "  optimizer: {value: sgd}\n  momentum: {values: [0.0, 0.9]}",
        "  warmup_epochs: {values: [0, 4]}",
        "  optimizer: {values: [adam, adamw, sgd]}\n  weight_decay: {values: [0, 0.1]}",
        excluded,
    ] {
        assert!(parse(&with_parameters(right)).is_ok(), "{right}");
    }
}

#[test]
fn ranges_that_do_not_fit_each_other_are_refused_and_others_drawn() {
    let drawn = |parameters: &str| drawn("random", parameters);
    assert!(parse(&drawn("  optimizer: {value: sgd}\n  momentum: {min: 0.0, max: 0.9}")).is_ok());
    let error = refusal(&drawn("  warmup_epochs: {min: 0, max: 5}\n  epochs: {value: 4}"));
    assert!(error.contains("give `warmup_epochs` values below 4"), "{error}");
    let error = refusal(&drawn("  warmup_epochs: {min: 0, max: 5}\n  epochs: {min: 4, max: 9}"));
    assert!(error.contains("`warmup_epochs` must be less than `epochs`, but is `4`"), "{error}");
    assert!(parse(&drawn("  warmup_epochs: {min: 0, max: 3}\n  epochs: {min: 4, max: 9}")).is_ok());
    // Of these, the ends are looked at.
    assert!(parse(&drawn("  warmup_epochs: {min: 0, max: 4999}\n  epochs: {min: 5000, max: 10000}")).is_ok());
    let list = |from: u32| (from..from + 1_001).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    let lists =
        format!("  warmup_epochs: {{values: [{}]}}\n  epochs: {{values: [{}]}}", list(0), list(2_000));
    let error = refusal(&drawn(&lists));
    assert!(error.contains("more than 1000000 pairs of values"), "{error}");
}

#[test]
fn a_point_that_is_included_must_fit_too() {
    let with = |point: &str| {
        format!("{}include: [{{optimizer: sgd}}, {point}]\n", with_parameters("  optimizer: {value: adam}"))
    };
    let error = refusal(&with("{optimizer: adamw, momentum: 0.5}"));
    assert!(error.contains("entry 2: `momentum` must be `0.0`"), "{error}");
    assert_eq!(parse(&with("{optimizer: sgd, momentum: 0.5}")).unwrap().jobs().unwrap().count(), 3);
    let implied = format!("{}include: [{{optimizer: adamw, momentum: 0.0}}]\n", with_parameters(BOTH));
    let error = refusal(&implied);
    let expected = "entry 1 gives `momentum`, which has no value there, only where `optimizer` is `sgd`";
    assert!(error.contains(expected), "{error}");
}
