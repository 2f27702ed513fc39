//! Which manifests are taken, and the messages about others.

use super::*;
use crate::ParameterValue;

fn simple_cnn() -> &'static Manifest {
    builtin("simple_cnn").unwrap()
}

#[allow(clippy::needless_pass_by_value)] // So that a table of cases reads as values.
fn check(name: &str, value: ParameterValue) -> Result<ParameterValue, String> {
    simple_cnn().parameter(name).unwrap().check(&value)
}

/// A manifest in which `parameter` is the only one.
fn with_parameter(parameter: &str) -> String {
    format!(
        r#"{{"name": "m", "version": 1, "meaning": "", "parameters": [{parameter}],
            "metrics": [{{"name": "loss", "goal": "minimize"}}], "objective": "loss",
            "dataset": "none", "progress": "epoch", "resumes": false, "packs": false}}"#
    )
}

#[test]
fn every_builtin_manifest_is_named_as_its_file_and_survives_being_written() {
    for (name, _) in BUILTIN {
        let manifest = builtin(name).unwrap();
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), *manifest);
    }
    assert_eq!(builtins().len(), BUILTIN.len());
    assert_eq!(builtin("resnet"), None);
}

#[test]
fn a_trainable_may_have_parameters_and_metrics_that_no_other_has() {
    let parameters: Vec<String> =
        (0..12).map(|number| format!(r#"{{"name": "p{number}", "type": "any", "default": null}}"#)).collect();
    let manifest = Manifest::from_json(&with_parameter(&parameters.join(","))).unwrap();
    assert_eq!(manifest.parameters.len(), 12);
    assert_eq!(manifest.parameter("p3").unwrap().default, Some(ParameterValue::Null));
    assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
}

#[test]
fn a_whole_number_is_a_fine_learning_rate() {
    assert_eq!(check("learning_rate", ParameterValue::Integer(1)), Ok(ParameterValue::Float(1.0)));
    let quoted = ParameterValue::Text("1e-3".into());
    assert_eq!(check("learning_rate", quoted), Ok(ParameterValue::Float(0.001)));
}

#[test]
fn what_switches_a_parameter_off_is_allowed_next_to_its_range() {
    for number in [0.0, 1e-6, 1e6] {
        let value = ParameterValue::Float(number);
        assert_eq!(check("gradient_clip_norm", value.clone()), Ok(value));
    }
}

#[test]
fn a_whole_number_may_be_written_as_a_decimal_one() {
    for (written, number) in [(32.0, 32), (1e2, 100)] {
        assert_eq!(check("batch_size", ParameterValue::Float(written)), Ok(ParameterValue::Integer(number)));
    }
    let exact = ParameterValue::Float(9_007_199_254_740_992.0);
    assert_eq!(check("seed", exact), Ok(ParameterValue::Integer(1 << 53)));
}

#[test]
fn a_list_of_whole_numbers_is_text_without_spaces() {
    for written in ["16,32", "16, 32", " 16 ,32"] {
        let found = check("channels", ParameterValue::Text(written.into())).unwrap();
        assert_eq!(found, ParameterValue::Text("16,32".into()));
    }
    let one = ParameterValue::Text("8".into());
    assert_eq!(check("channels", one.clone()), Ok(one));
    assert_eq!(listed(&written_list(&[16, 32])), Some(vec![16, 32]));
}

#[test]
fn values_out_of_range_are_refused_with_what_would_be_right() {
    for (name, value, expected) in [
        ("activation", ParameterValue::Text("tanhh".into()), "one of relu, sigmoid"),
        (
            "channels",
            ParameterValue::Text("16,2000".into()),
            "from 1 to 1024, such as [1, 1024], but is `16,2000`",
        ),
        ("channels", ParameterValue::Text(["8"; 11].join(",")), "a list of 1 to 10 whole numbers"),
        ("channels", ParameterValue::Text("16,,32".into()), "but is `16,,32`"),
        // Or `values: [16, 32]` would quietly be two models of one layer.
        ("channels", ParameterValue::Integer(16), "a list"),
        ("learning_rate", ParameterValue::Float(0.0), "a number greater than 0 and at most 1000"),
        ("learning_rate", ParameterValue::Float(f64::NAN), "greater than 0"),
        ("learning_rate", ParameterValue::Float(f64::INFINITY), "greater than 0"),
        ("learning_rate", ParameterValue::Text("fast".into()), "greater than 0"),
        (
            "gradient_clip_norm",
            ParameterValue::Float(1e-46),
            "must be 0, or a number of at least 0.000001 and at most 1000000, but is `1e-46`",
        ),
        ("gradient_clip_norm", ParameterValue::Float(-1.0), "must be 0, or a number"),
        ("batch_size", ParameterValue::Integer(0), "from 1 to 65536"),
        ("batch_size", ParameterValue::Float(32.5), "a whole number"),
        ("batch_size", ParameterValue::Boolean(true), "but is `true`"),
        ("seed", ParameterValue::Integer(-1), "from 0 to 9223372036854775807, but is `-1`"),
        ("seed", ParameterValue::Null, "but is `null`"),
        ("batch_size", ParameterValue::Text("32".into()), "but is `\"32\"` (text)"),
        ("batch_size", ParameterValue::Float(65_537.0), "but is `65537.0`"),
        ("seed", ParameterValue::Float(1e16), "but is `1e16`"),
    ] {
        let error = check(name, value).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_parameter_that_makes_no_sense_is_refused() {
    for (parameter, expected) in [
        (r#"{"name": "a", "type": "float", "min": 2, "max": 1}"#, "no number between"),
        (r#"{"name": "a", "type": "integer", "min": 2, "max": 1}"#, "`min` above its `max`"),
        (r#"{"name": "a", "type": "integer", "min": 0.5}"#, "whole numbers of 64 bits"),
        (r#"{"name": "a", "type": "choice", "values": []}"#, "1 to 1000 `values`"),
        (r#"{"name": "a", "type": "choice"}"#, "must list `values`"),
        (r#"{"name": "a", "type": "text", "min": 1}"#, "may have `min` and `max` only"),
        (r#"{"name": "a", "type": "integers", "min": 1}"#, "must have a `length_max`"),
        (r#"{"name": "a", "type": "text", "length_max": 1}"#, "if and only if its type is `integers`"),
        (r#"{"name": "a", "type": "integers", "length_max": 0}"#, "`length_max` of 1 to 100"),
        (r#"{"name": "a", "type": "integers", "max": 9, "length_max": 2, "default": 7}"#, "but is `7`"),
        (r#"{"name": "a", "type": "integer", "above": 1}"#, "may have `above` and `off` only"),
        (r#"{"name": "a", "type": "integer", "off": 1}"#, "may have `above` and `off` only"),
        (r#"{"name": "a", "type": "float", "min": 0, "off": 1}"#, "has an `off` that its range has, too"),
        (r#"{"name": "a", "type": "boolean", "default": 1}"#, "`a` must be true or false, but is `1`"),
        (r#"{"name": "a", "type": "text", "defualt": ""}"#, "unknown field `defualt`"),
        (r#"{"name": "a b", "type": "text"}"#, "no spaces"),
        (r#"{"name": "--a", "type": "text"}"#, "not begin with `-`"),
        (r#"{"name": "a..b", "type": "text"}"#, "but is `a..b`"),
        (r#"{"name": "a", "type": "text"}, {"name": "a", "type": "any"}"#, "`a` is listed twice"),
        (r#"{"name": "a", "type": "text", "default": "", "needs": {"b": ["c"]}}"#, "which is no other"),
        (r#"{"name": "a", "type": "integer", "below": "a"}"#, "names `a`, which is no other"),
        (
            r#"{"name": "a", "type": "text", "needs": {"b": [1]}}, {"name": "b", "type": "integer"}"#,
            "no `default`",
        ),
        (
            r#"{"name": "a", "type": "text", "default": "", "needs": {"b": ["c"]}}, {"name": "b", "type": "integer"}"#,
            "needs `b` to be `c`, which it cannot be",
        ),
        (
            r#"{"name": "a", "type": "integer", "below": "b"}, {"name": "b", "type": "float"}"#,
            "only where both are integers",
        ),
        (
            r#"{"name": "a", "type": "text", "default": "", "needs": {"b": ["c"]}}, {"name": "b", "type": "text", "default": "", "needs": {"d": ["e"]}}, {"name": "d", "type": "text"}"#,
            "names `b`, which has `needs` itself",
        ),
        ("", "1 to 100 parameters"),
    ] {
        let error = Manifest::from_json(&with_parameter(parameter)).unwrap_err().to_string();
        assert!(error.contains(expected), "{parameter}: {error}");
    }
}

#[test]
fn values_are_checked_against_each_other() {
    let text = |text: &str| ParameterValue::Text(text.into());
    let check = |values: &[(&str, ParameterValue)]| {
        simple_cnn()
            .check_together(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value))
    };
    let momentum = |optimizer, value| {
        check(&[("optimizer", text(optimizer)), ("momentum", ParameterValue::Float(value))])
    };
    assert_eq!(momentum("sgd", 0.9), Ok(()));
    assert_eq!(momentum("adam", 0.0), Ok(()), "the default needs nothing");
    let expected =
        "`momentum` must be `0.0` unless `optimizer` is `sgd`, but is `0.9` where `optimizer` is `adamw`";
    assert_eq!(momentum("adamw", 0.9), Err(expected.to_owned()));
    let warmup = |warmup, epochs| {
        let [warmup, epochs] = [warmup, epochs].map(ParameterValue::Integer);
        check(&[("warmup_epochs", warmup), ("epochs", epochs)])
    };
    assert_eq!(warmup(1, 2), Ok(()));
    let expected = "`warmup_epochs` must be less than `epochs`, but is `2` where `epochs` is `2`";
    assert_eq!(warmup(2, 2), Err(expected.to_owned()));
    assert_eq!(check(&[("momentum", ParameterValue::Float(0.9))]), Ok(()), "what is not known is not judged");
}

#[test]
fn what_a_manifest_refers_to_must_be_there() {
    let change = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = simple_cnn().clone();
        change(&mut manifest);
        Manifest::from_json(&manifest.to_json()).unwrap_err().to_string()
    };
    let redefined = change(&|manifest: &mut Manifest| manifest.metrics[0].redefined_by.push("smooth".into()));
    assert!(
        redefined.contains("is `redefined_by` `smooth`, which is not one of the parameters"),
        "{redefined}"
    );
    assert!(
        change(&|manifest: &mut Manifest| manifest.budget = Some("steps".into()))
            .contains("not one of its parameters")
    );
    assert!(
        change(&|manifest: &mut Manifest| manifest.budget = Some("seed".into()))
            .contains("an integer from 1")
    );
    let needs = |manifest: &mut Manifest, name: &str| {
        let sgd = vec![ParameterValue::Text("sgd".into())];
        let own = manifest.parameters.iter_mut().find(|parameter| parameter.name == name).unwrap();
        own.needs.insert("optimizer".into(), sgd);
    };
    for (name, change) in [
        (
            "budget",
            change(&move |manifest: &mut Manifest| {
                manifest.parameters.iter_mut().for_each(|parameter| parameter.below = None);
                needs(manifest, "epochs");
            }),
        ),
        ("seed", change(&move |manifest: &mut Manifest| needs(manifest, "seed"))),
    ] {
        assert!(
            change.contains(&format!("`{name}` is")) && change.contains("must not have `needs`"),
            "{change}"
        );
    }
    assert!(
        change(&|manifest: &mut Manifest| manifest.objective = "f1".into())
            .contains("not one of its metrics")
    );
    assert!(change(&|manifest: &mut Manifest| manifest.name = "Simple CNN".into()).contains("[a-z0-9_.-]"));
    assert!(change(&|manifest: &mut Manifest| manifest.meaning = "a\nb".into()).contains("one line"));
    assert!(change(&|manifest: &mut Manifest| manifest.metrics.clear()).contains("1 to 100 metrics"));
}

#[test]
fn a_manifest_that_is_no_manifest_is_refused_in_few_words() {
    for text in
        ["", "[]", "{}", &"x".repeat(MANIFEST_BYTES_MAX + 1), &format!("{{\"{}\": 1}}", "k".repeat(9_000))]
    {
        let error = Manifest::from_json(text).unwrap_err().to_string();
        assert!(error.len() < 1_100, "{} bytes", error.len());
    }
}

#[test]
fn a_trainer_trains_sweeps_of_its_manifest_and_of_one_to_which_it_has_only_added() {
    let described = |parameters: &[&str]| {
        let rows: Vec<String> = parameters
            .iter()
            .map(|name| format!(r#"{{"name": "{name}", "type": "integer", "default": 1}}"#))
            .collect();
        Described::new(Manifest::from_json(&with_parameter(&rows.join(","))).unwrap())
    };
    let (one, more) = (described(&["a"]), described(&["a", "b"]));
    assert!(one.trains(&described(&["a"])) && one.hash() == described(&["a"]).hash());
    assert!(more.trains(&one) && more.hash() != one.hash());
    assert!(!one.trains(&more), "it does not know the parameter b");
    let newer = Described::new(Manifest { version: 2, ..Manifest::clone(&one) });
    assert!(!newer.trains(&one) && !one.trains(&newer), "another version gives other numbers");
    let mut other_type = Manifest::clone(&one);
    other_type.parameters[0].kind = ParameterKind::Text;
    other_type.parameters[0].default = None;
    assert!(!Described::new(other_type).trains(&one));
}

#[test]
fn manifests_may_follow_one_another_in_a_text() {
    let one = with_parameter(r#"{"name": "a", "type": "any"}"#);
    assert_eq!(Manifest::all_from_json(&format!("{one}\n{one}\n")).unwrap().len(), 2);
    assert_eq!(Manifest::all_from_json(" \n").unwrap(), []);
    assert!(Manifest::all_from_json(&format!("{one}\n{{}}")).is_err());
    assert!(Manifest::all_from_json(&one.repeat(TRAINABLES_MAX + 1)).is_err());
}
