//! Values that are right one by one and wrong together, by the rules of SimpleCNN's manifest.

use super::*;

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_grid_with_points_that_cannot_be_trained_is_refused_with_what_leaves_them_out() {
    let grid = "  optimizer: {values: [adam, sgd]}\n  momentum: {values: [0.0, 0.9]}";
    let error = refusal(&with_parameters(grid));
    let expected = "parameters: `momentum` must be `0.0` unless `optimizer` is `sgd`, but is `0.9` where `optimizer` is `adam`; leave \
                    such points out: `exclude: [{optimizer: adam, momentum: 0.9}]`";
    assert!(error.contains(expected), "{error}");
    assert!(error.starts_with("grid.yaml:3"), "{error}");
    let cured = format!("{}exclude: [{{optimizer: adam, momentum: 0.9}}]\n", with_parameters(grid));
    assert_eq!(parse(&cured).unwrap().jobs().unwrap().count(), 3);
    // Without the momentum, the point is right.
    let more = format!("{}exclude: [{{optimizer: adam}}]\n", with_parameters(grid));
    assert_eq!(parse(&more).unwrap().jobs().unwrap().count(), 2);
    // Only some of them.
    let three = format!("{grid}\n  seed: {{values: [1, 2]}}");
    let some = format!("{}exclude: [{{optimizer: adam, momentum: 0.9, seed: 1}}]\n", with_parameters(&three));
    assert!(refusal(&some).contains("`momentum` must be"), "{}", refusal(&some));
}

#[test]
fn one_value_that_does_not_fit_another_is_named_with_both() {
    let error = refusal(&with_parameters("  momentum: {value: 0.9}"));
    assert!(error.contains("`0.9` where `optimizer` is `adam`; change one of them"), "{error}");
    let error = refusal(&with_parameters("  warmup_epochs: {value: 5}"));
    let expected =
        "`warmup_epochs` must be less than `epochs`, but is `5` where `epochs` is `5`; change one of them";
    assert!(error.contains(expected), "{error}");
    let grid = "  warmup_epochs: {values: [0, 2]}\n  epochs: {values: [2, 9]}";
    assert!(refusal(&with_parameters(grid)).contains("`exclude: [{epochs: 2, warmup_epochs: 2}]`"));
    for right in [
        "  optimizer: {value: sgd}\n  momentum: {values: [0.0, 0.9]}",
        "  warmup_epochs: {values: [0, 4]}",
        "  optimizer: {values: [adam, adamw, sgd]}\n  weight_decay: {values: [0, 0.1]}",
    ] {
        assert!(parse(&with_parameters(right)).is_ok(), "{right}");
    }
    let error = parse_with(&with_parameters(""), &["warmup_epochs=7"]).unwrap_err().to_string();
    assert!(error.contains("`7` where `epochs` is `5`"), "{error}");
}

#[test]
fn ranges_that_do_not_fit_each_other_are_refused_and_others_drawn() {
    let drawn = |parameters: &str| format!("method: random\nrun_cap: 9\n{}", with_parameters(parameters));
    let error = refusal(&drawn("  optimizer: {values: [adam, sgd]}\n  momentum: {min: 0.0, max: 0.9}"));
    assert!(error.contains("in sweeps of their own"), "{error}");
    assert!(parse(&drawn("  optimizer: {value: sgd}\n  momentum: {min: 0.0, max: 0.9}")).is_ok());
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
}
