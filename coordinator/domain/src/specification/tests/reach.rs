//! What a file refers to and its space does not have.

use super::*;

fn program(text: &str) -> String {
    format!("program: train.py\nmetric: {{name: val_loss, goal: minimize}}\n{text}")
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn notes(text: &str, overrides: &[&str]) -> Vec<String> {
    parse_with(text, overrides).unwrap_or_else(|error| panic!("{text}: {error}")).notes
}

const CONDITION: &str =
    "parameters:\n  opt: {values: [adam, sgd]}\n  momentum:\n    values: [0.1, 0.9]\n    when: {opt: NEED}\n";

#[test]
fn a_condition_that_never_holds_is_noted_with_the_value_that_may_be_meant() {
    let with = |need: &str| program(&CONDITION.replace("NEED", need));
    let never =
        "grid.yaml:5: parameters.momentum: has a value in no job: its `when` never holds, as `opt` is never ";
    for (need, why) in [
        ("sdg", "`sdg`, but one of `adam`, `sgd`; did you mean `sgd`?"),
        ("[rmsprop, asgd]", "`rmsprop` or `asgd`, but one of `adam`, `sgd`; did you mean `sgd`?"),
        ("rmsprop", "`rmsprop`, but one of `adam`, `sgd`"),
    ] {
        assert_eq!(notes(&with(need), &[]), [format!("{never}{why}")], "{need}");
    }
    let narrowed = notes(&with("sgd"), &["opt=adam"]);
    assert!(narrowed.len() == 1 && narrowed[0].contains("`opt` is never `sgd`, but `adam`"), "{narrowed:?}");
    for need in ["sgd", "[sgd, rmsprop]"] {
        assert_eq!(notes(&with(need), &[]), Vec::<String>::new(), "{need}");
    }
}

#[test]
fn a_parameter_with_the_name_of_the_metric_is_noted() {
    let told = notes(&program("parameters:\n  rate: {values: [1, 2]}\n  val_loss: {values: [1, 2]}\n"), &[]);
    let note = "grid.yaml:5: parameters.val_loss: has the name of the metric that ranks the jobs, so that tables and JSON call the metric \
                `metrics.val_loss`; rename one of the two";
    assert_eq!(told, [note]);
    assert_eq!(notes(&program("parameters:\n  val_losses: {values: [1, 2]}\n"), &[]), Vec::<String>::new());
}

#[test]
fn a_condition_may_hold_in_points_beyond_the_grid_and_a_narrowed_file_is_taken() {
    let with = |values: &str, include: &str| {
        let decay = "decay: {value: 0.01, when: {opt: adam}}";
        program(&format!("parameters: {{opt: {{values: [{values}]}}, {decay}}}\n{include}"))
    };
    let include = "include: [{opt: adam, decay: 0.1}]\n";
    assert_eq!(notes(&with("adamw, sgd", include), &[]), Vec::<String>::new());
    for values in ["adamw, sgd", "adamw"] {
        let narrowed = notes(&with(values, ""), &[]);
        assert!(narrowed.len() == 1 && narrowed[0].contains("has a value in no job"), "{narrowed:?}");
    }
    // A manifest says what can only be a mistake.
    let of_model = |need: &str| {
        let momentum = format!("momentum: {{value: 0.9, when: {{optimizer: {need}}}}}");
        parse(&with_parameters(&format!("  optimizer: {{values: [sgd, adam]}}\n  {momentum}")))
    };
    assert!(of_model("sgd").is_ok(), "{:?}", of_model("sgd"));
    let told = of_model("sdg").unwrap_err().to_string();
    assert!(told.starts_with("grid.yaml:5:") && told.contains("`sdg`"), "{told}");
}

#[test]
fn what_only_the_jobs_of_an_extension_lack_is_not_noted() {
    let conditions = CONDITION.replace("[adam, sgd]", "[adamw]").replace("NEED", "adam");
    let exclude = "exclude: [{opt: sgd, momentum: 0.1}]\n";
    let text = program(&format!("{conditions}{exclude}early_terminate: {{type: top_k, k: 10}}\n"));
    let read = |is_extension| {
        let source = SpecificationSource { is_extension, ..source(&text) };
        Specification::parse(&source).unwrap_or_else(|error| panic!("{error}")).notes
    };
    let of_space = |notes: &[String]| {
        let is = |note: &&String| {
            ["no job", "no point", "among the best 10"].iter().any(|part| note.contains(part))
        };
        notes.iter().filter(is).count()
    };
    assert_eq!((of_space(&read(false)), of_space(&read(true))), (3, 0), "{:?}", read(false));
}

#[test]
fn an_exclusion_that_matches_nothing_is_noted_with_its_line() {
    let with = |exclude: &str| program(&format!("{}exclude:\n{exclude}", CONDITION.replace("NEED", "sgd")));
    let none = Vec::<String>::new();
    assert_eq!(notes(&with("  - {opt: sgd, momentum: 0.1}\n  - opt: adam\n"), &[]), none);
    assert_eq!(
        notes(
            &with(
                "  - {momentum: 0.1}\n  - opt: sdg\n    momentum: 0.9\n  - {momentum: 0.5}\n  - {opt: adam, momentum: 0.9}\n"
            ),
            &[]
        ),
        [
            "grid.yaml:10: exclude: entry 2 matches no point: `opt` is never `sdg`, but one of `adam`, `sgd`; did you mean `sgd`?",
            "grid.yaml:12: exclude: entry 3 matches no point: `momentum` is never `0.5`, but one of `0.1`, `0.9`",
            "grid.yaml:13: exclude: entry 4 matches no point: `momentum` has a value only where `opt` is `sgd`",
        ]
    );
    let many = notes(&with(&"  - {opt: none}\n".repeat(8)), &[]);
    assert_eq!(
        (many.len(), many[5].as_str()),
        (6, "grid.yaml: exclude: 3 more of the entries match no point")
    );
    let inline =
        program("parameters: {x: {min: 1, max: 9, q: 4}}\nmethod: random\nexclude: [{x: 5}, {x: 6}]\n");
    let expected = "grid.yaml:5: exclude: entry 2 matches no point: `x` is never `6`, but a whole number from 1 to 9 in steps of 4";
    assert_eq!(notes(&inline, &[]), [expected]);
}

#[test]
fn a_target_that_a_share_cannot_have_is_refused_in_a_file_and_when_it_is_set() {
    let with = |metric: &str| with_parameters("  epochs: {value: 2}") + &format!("metric: {metric}\n");
    let expected =
        "metric: `target` must be from 0 to 1, as val_accuracy is a share, but is 99; write 0.99 for 99 %";
    assert_eq!(refused(&with("{target: 99}")), format!("grid.yaml:5: {expected}"));
    assert!(refused(&with("{target: 99.9}")).ends_with("write 0.999 for 99.9 %"));
    assert!(refused(&with("{target: -1}")).contains("as val_accuracy is a share, but is -1"));
    for target in ["{target: 0}", "{target: 1}", "{name: val_loss, target: 99}"] {
        assert!(parse(&with(target)).is_ok(), "{target}");
    }
    assert!(
        parse(&program("parameters: {x: {value: 1}}\n").replace("minimize", "minimize, target: 99")).is_ok()
    );
    let first = parse(&with("{target: 0.5}")).unwrap();
    let told = first.with_overrides(&["metric.target=99".to_owned()]).unwrap_err().to_string();
    assert!(told.contains("as val_accuracy is a share, but is 99"), "{told}");
    // One of an older version keeps what it has.
    let older = Specification { target: Some(99.0), ..first };
    assert!(older.with_overrides(&["name=y".to_owned()]).is_ok());
}

#[test]
fn a_tab_is_named_with_its_line() {
    let expected = ":4: the line begins with a tab, which YAML does not take; indent it with spaces";
    for parameters in ["parameters:\n\tx: {value: 1}\n", "parameters:\n  \tx:\n    value: 1\n   y: 2\n"] {
        let told = refused(&program(parameters));
        assert!(told.ends_with(expected), "{parameters:?}: {told}");
    }
    // Within a text, a tab is one of its characters.
    let text = program("description: |\n  a\n  \tb\nparameters: {x: {value: 1}}\n");
    assert!(parse(&text).is_ok(), "{:?}", parse(&text));
    let told = refused(&text.replace("{x: {value: 1}}", "{x: {value: 1}"));
    assert!(!told.contains("tab"), "{told}");
}
