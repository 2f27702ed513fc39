//! Commands with macros: what each of them stands for, and that no parameter becomes anything but data.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn run(command: &[&str], parameters: &Value, style: Style) -> Result<Vec<String>, MacroError> {
    let command: Vec<String> = command.iter().map(|item| (*item).to_owned()).collect();
    let facts = Facts {
        program: Some("train.py"),
        parameters: parameters.as_object().unwrap(),
        style,
        parameters_file: Path::new("/tmp/p.json"),
        interpreter: "python3",
        variable: &|name| (name == "HOME").then(|| OsString::from("/home/me")),
    };
    let expanded = expand(&command, &facts)?;
    Ok(expanded.into_iter().map(|argument| argument.into_string().unwrap()).collect())
}

fn some() -> Value {
    json!({"a": true, "b": false, "c": 1, "d": null, "lr": 0.00001, "model": {"layers": 3}, "name": "x y"})
}

#[test]
fn wandb_style_writes_what_wandb_writes() {
    for (name, expected) in [
        ("args", vec!["--a=True", "--b=False", "--c=1", "--d=None"]),
        ("args_no_hyphens", vec!["a=True", "b=False", "c=1", "d=None"]),
        ("args_no_boolean_flags", vec!["--a", "--c=1", "--d=None"]),
        ("args_no_equals", vec!["--a", "True", "--b", "False", "--c", "1", "--d", "None"]),
        ("args_append_hydra", vec!["+a=True", "+b=False", "+c=1", "+d=None"]),
        ("args_override_hydra", vec!["++a=True", "++b=False", "++c=1", "++d=None"]),
        ("args_json", vec![r#"{"a":true,"b":false,"c":1,"d":null}"#]),
    ] {
        let parameters = json!({"a": true, "b": false, "c": 1, "d": null});
        let found = run(&[&format!("${{{name}}}")], &parameters, Style::Wandb).unwrap();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn argparse_style_writes_flags_and_leaves_out_what_is_false_or_null() {
    let plain = ["--c=1", "--lr=0.00001", "--model.layers=3", "--name=x y"];
    let with = |first: &[&'static str]| [first, &plain[..]].concat();
    for (name, expected) in [
        ("args", with(&["--a"])),
        ("args_no_boolean_flags", with(&["--a"])),
        ("args_boolean_optional", with(&["--a", "--no-b"])),
        (
            "args_no_equals",
            vec!["--a", "--c", "1", "--lr", "0.00001", "--model.layers", "3", "--name", "x y"],
        ),
        (
            "args_no_hyphens",
            vec!["a=True", "b=False", "c=1", "d=null", "lr=0.00001", "model.layers=3", "name=x y"],
        ),
        (
            "args_override_hydra",
            vec![
                "++a=true",
                "++b=false",
                "++c=1",
                "++d=null",
                "++lr=0.00001",
                "++model.layers=3",
                "++name='x y'",
            ],
        ),
    ] {
        let found = run(&[&format!("${{{name}}}")], &some(), Style::Argparse).unwrap();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_program_alone_is_run_as_wandb_runs_it() {
    let found = run(&DEFAULT_COMMAND, &json!({"x": 1}), Style::Argparse).unwrap();
    assert_eq!(found, ["/usr/bin/env", "python3", "train.py", "--x=1"]);
}

#[test]
fn single_macros_may_be_a_part_of_an_argument() {
    let command =
        ["--home=${envvar:HOME}/x", "p=${program}", "${args_json_file}", "$${literal}", "a$b", "$5"];
    let found = run(&command, &json!({}), Style::Argparse).unwrap();
    assert_eq!(found, ["--home=/home/me/x", "p=train.py", "/tmp/p.json", "${literal}", "a$b", "$5"]);
}

#[test]
fn what_cannot_be_is_named_with_what_would_be_right() {
    for (command, parameters, parts) in [
        ("${arg}", json!({}), ["${arg}", "${args_no_boolean_flags}"]),
        ("x${args}", json!({}), ["x${args}", "by itself"]),
        ("${envvar:NOPE}", json!({}), ["NOPE", "execution.env"]),
        ("${envvar:}", json!({}), ["envvar:", "${envvar:NAME}"]),
        ("a${args", json!({}), ["a${args", "not closed"]),
        ("${args}", json!({"a=b": 1}), ["a=b", "contains ="]),
        ("${args}", json!({"--evil": 1}), ["--evil", "hyphen"]),
        ("${args}", json!({"": 1}), ["\"\"", "empty"]),
        ("${args_no_equals}", json!({"a": "--evil"}), ["\"a\"", "${args}"]),
        ("${args}", json!({"a": "x\0"}), ["\"a\"", "NUL"]),
    ] {
        let error = run(&[command], &parameters, Style::Argparse).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{command}: {error}");
    }
    assert_eq!(run(&["${args}"], &json!({}), Style::Argparse), Err(MacroError::Empty));
}

#[test]
fn dotted_names_are_nested_in_json_unless_their_place_is_taken() {
    let nested = |parameters: Value| -> Value {
        serde_json::from_str(&super::json(parameters.as_object().unwrap(), Style::Argparse)).unwrap()
    };
    assert_eq!(nested(json!({"m.a": 1, "m.b.c": 2, "x": 3})), json!({"m": {"a": 1, "b": {"c": 2}}, "x": 3}));
    assert_eq!(nested(json!({"m": 1, "m.a": 2})), json!({"m": 1, "m.a": 2}));
    assert_eq!(nested(json!({"m": {"a": 1}, "m.a": 2})), json!({"m": {"a": 1}, "m.a": 2}));
    assert_eq!(nested(json!({".a": 1, "b.": 2, "c..d": 3})), json!({".a": 1, "b.": 2, "c..d": 3}));
}

#[test]
fn texts_that_hydra_would_read_as_something_else_are_quoted() {
    for (text, expected) in [
        ("adam", "+x=adam"),
        ("true", "+x='true'"),
        ("1", "+x='1'"),
        ("a,b", "+x='a,b'"),
        ("it's", r"+x='it\'s'"),
        (r"a\", r"+x='a\\'"),
        ("${oc.env:HOME}", r"+x='\${oc.env:HOME}'"),
        ("", "+x=''"),
    ] {
        let found = run(&["${args_append_hydra}"], &json!({"x": text}), Style::Argparse).unwrap();
        assert_eq!(found, [expected], "{text}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(\\$\\{|args|\\}|-|=| |\\$)*".prop_map(Value::from),
    ]
}

proptest! {
    /// Each argument is that of one parameter: what it says before its first `=` is the parameter's name, and what it says
    /// after it the value, whatever both are.
    #[test]
    fn parameters_stay_data(parameters in proptest::collection::btree_map("[a-z${}.=\\- ]{0,6}", value(), 0..6)) {
        let map: Map<String, Value> = parameters.clone().into_iter().collect();
        let Ok(found) = run(&["go", "${args}"], &Value::Object(map), Style::Argparse) else { return Ok(()) };
        let expected: BTreeMap<_, _> = parameters
            .iter()
            .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
            .collect();
        prop_assert_eq!(found.len(), expected.len() + 1);
        for ((name, value), argument) in expected.into_iter().zip(&found[1..]) {
            let argument = argument.strip_prefix("--").unwrap();
            match value {
                Value::Bool(_) => prop_assert_eq!(argument, name),
                Value::String(text) => prop_assert_eq!(argument, format!("{name}={text}")),
                number => prop_assert_eq!(argument, format!("{name}={number}")),
            }
        }
    }

    #[test]
    fn no_command_panics(items in proptest::collection::vec("(\\$|\\{|\\}|args|_json|envvar:|.){0,8}", 0..4)) {
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let _ = run(&items, &some(), Style::Argparse);
        let _ = run(&items, &some(), Style::Wandb);
    }
}
