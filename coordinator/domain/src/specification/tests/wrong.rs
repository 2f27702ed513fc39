//! The messages about wrong sweep files and overrides, and that any text is a sweep or an error that names the file.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::definition::SweepDefinition;

#[test]
fn wrong_overrides_are_reported() {
    let mut said = String::new();
    for text in [
        "epochs",
        "epochs=0",
        "epoch=1",
        "epochs=[]",
        "dataset.size=3",
        "a b=1",
        "epochs={min: 1}",
        "epochs=\n",
        "leaning_rate=0.1",
        "max_parallel=3",
        "parameters.epoch.value=1",
        "execution.max_paralel=3",
        "epochs=5 # six",
        "a.b.c.d.e=1",
        "batch_size='32'",
    ] {
        let _ = writeln!(said, "{}", parse_with(REPORT, &[text]).unwrap_err());
    }
    insta::assert_snapshot!(said);
}

/// As the README's table has it.
#[test]
fn the_fewest_keys_make_a_sweep_and_each_of_them_is_required() {
    let drawn = "parameters: {rate: {min: 0.0, max: 1.0}}";
    let files: [&[(&str, &str)]; 4] = [
        &[("name", "name: x"), ("dataset.path", "dataset: {path: d}")],
        &[("program", "program: train.py"), ("metric.name", "metric: {name: loss}")],
        &[("name", "name: x"), ("command", "command: [python3]"), ("metric.name", "metric: {name: loss}")],
        &[
            ("program", "program: train.py"),
            ("metric.name", "metric: {name: loss}"),
            ("parameters", drawn),
            ("run_cap", "run_cap: 3\nmethod: random"),
        ],
    ];
    for keys in files {
        let without = |left_out: &str| {
            let lines = keys.iter().filter(|(key, _)| *key != left_out).map(|(_, line)| format!("{line}\n"));
            SweepDefinition::parse(&source(&lines.collect::<String>()))
        };
        without("").unwrap();
        for (key, _) in keys.iter().filter(|(key, _)| *key != "parameters") {
            assert!(without(key).is_err(), "{keys:?} without {key}");
        }
    }
    let uncapped = format!("program: t.py\nmetric: {{name: loss}}\nmethod: random\n{drawn}\n");
    let told = SweepDefinition::parse(&source(&uncapped)).unwrap_err().to_string();
    assert!(told.contains("run_cap"), "{told}");
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn wrong_files_are_reported_with_line_and_key() {
    let parameters = |text: &str| with_parameters(&format!("  {text}"));
    let wrong = [
        ("not YAML", "name: [x\ndataset: {path: d}\n".to_owned()),
        ("empty", String::new()),
        ("a list", "- name: x\n".to_owned()),
        ("unknown key", "name: x\nepoch: 5\n".to_owned()),
        ("key twice", "name: x\nname: y\n".to_owned()),
        ("no name", "dataset: {path: d}\n".to_owned()),
        ("no data set", "name: x\n".to_owned()),
        ("bad name", "name: a/b\n".to_owned()),
        ("unknown model", "name: x\nmodel: resnet\n".to_owned()),
        ("unknown method", "name: x\nmethod: annealing\n".to_owned()),
        ("unknown metric", "name: x\nmetric: {name: f1}\n".to_owned()),
        ("wrong goal", "name: x\nmetric: {name: val_loss, goal: maximize}\ndataset: {path: d}\n".to_owned()),
        ("unknown goal", "name: x\nmetric: {goal: up}\n".to_owned()),
        ("unknown epoch", "name: x\nmetric: {use: first}\n".to_owned()),
        ("image size", "name: x\ndataset: {path: d, image_size: 30}\n".to_owned()),
        ("share", "name: x\ndataset: {path: d, val_fraction: 1.0}\n".to_owned()),
        ("share not a number", "name: x\ndataset: {path: d, val_fraction: .nan}\n".to_owned()),
        ("timeout", "name: x\nexecution: {job_timeout: soon}\n".to_owned()),
        ("checkpoints", "name: x\nexecution: {checkpoint_every_epochs: 0}\n".to_owned()),
        ("packs", "name: x\nexecution: {pack_size_max: 0}\n".to_owned()),
        ("attempts", "name: x\nexecution: {attempts_max: 0}\n".to_owned()),
        ("weights of too many", "name: x\nartifacts: {keep: 1001}\n".to_owned()),
        ("weights of some", "name: x\nartifacts: {keep: some}\n".to_owned()),
        ("unknown parameter", parameters("layers: {value: 0.5}")),
        ("parameter twice", parameters("epochs: {value: 5}\n  epochs: {value: 6}")),
        ("unknown activation", parameters("activation: {values: [relu, swish]}")),
        ("empty list", parameters("batch_size: {values: []}")),
        ("bare value", parameters("epochs: 5")),
        ("wrong type", parameters("batch_size: {values: [32, many]}")),
        ("boolean", parameters("epochs: {value: true}")),
        ("negative rate", parameters("learning_rate: {values: [0.1, -0.1]}")),
        ("zero rate", parameters("learning_rate: {value: 0}")),
        ("not a number", parameters("learning_rate: {value: .nan}")),
        ("infinite", parameters("learning_rate: {value: .inf}")),
        ("batch size 0", parameters("batch_size: {value: 0}")),
        ("fraction of an epoch", parameters("epochs: {value: 2.5}")),
        ("huge integer", parameters("seed: {value: 18446744073709551615}")),
        ("half a range", parameters("learning_rate: {min: 0.1, count: 3}")),
        ("range and values", parameters("learning_rate: {min: 0.1, value: 1}")),
        ("range upside down", parameters("learning_rate: {min: 2.0, max: 1.0, count: 3}")),
        ("range of names", parameters("activation: {min: relu, max: relu, count: 3}")),
        ("range with no points", parameters("learning_rate: {min: 1.0, max: 2.0, count: 0}")),
        ("log of zero", parameters("seed: {min: 0, max: 9, count: 3, scale: log}")),
        ("unknown scale", parameters("learning_rate: {min: 1.0, max: 2.0, count: 3, scale: cubic}")),
        ("all excluded", "name: x\ndataset: {path: d}\nexclude:\n- {epochs: 5}\n".to_owned()),
        ("empty point", "name: x\ndataset: {path: d}\nexclude:\n- {}\n".to_owned()),
        (
            "open point",
            "name: x\ndataset: {path: d}\nparameters: {epochs: {values: [1, 2]}}\ninclude:\n- {seed: 1}\n"
                .to_owned(),
        ),
        (
            "too large",
            parameters(
                "seed: {min: 1, max: 10000, count: 10000}\n  batch_size: {min: 1, max: 2000, count: 2000}",
            ),
        ),
        ("text for a number", parameters("batch_size: {value: '32'}")),
        ("text for a share", "name: x\ndataset: {path: d, val_fraction: '0.2'}\n".to_owned()),
        ("a decimal number", parameters("batch_size: {value: 70000.0}")),
        ("a number that is too large", parameters("seed: {value: 9223372036854775808}")),
        ("a number that is far too large", parameters("seed: {value: 99999999999999999999999}")),
        ("an inexact number", parameters("seed: {value: 1e18}")),
        (
            "a large number elsewhere",
            "name: x\ndataset: {path: d, split_seed: 9223372036854775808}\n".to_owned(),
        ),
        ("a count", parameters("seed: {min: 1, max: 2, count: 2.5}")),
        ("a home", "name: x\ndataset: {path: ~}\n".to_owned()),
        ("a typing error", parameters("epoch: {value: 5}")),
        ("a typing error in a section", "name: x\nexecution: {max_paralell: 5}\n".to_owned()),
        ("many documents", "name: x\n---\nname: y\n".to_owned()),
    ];
    let mut said = String::new();
    for (what, text) in wrong {
        let error = parse(&text).expect_err(what);
        let _ = writeln!(said, "{what}\n    {error}");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn an_anchor_bomb_is_refused_quickly() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{before}]");
    }
    assert!(parse(&text).is_err());
    let listed = format!("{}\nexclude: [{}]\n", text, ["*a11"; 10].join(", "));
    assert!(parse(&listed).is_err());
    let nested = format!("name: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(parse(&nested).is_err());
}

#[test]
fn a_file_of_ten_megabytes_is_refused_unread() {
    let error = parse(&"#".repeat(10_000_000)).unwrap_err();
    assert!(error.to_string().starts_with("grid.yaml: the file has 10000000 bytes"), "{error}");
}

/// A sweep file in which some pieces are something else.
fn corrupt_file() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        Just("&a [*a, *a]".to_owned()),
        Just("{min: 0, max: 1e308, count: 18446744073709551615}".to_owned()),
        Just("-.inf".to_owned()),
        Just("!!binary xx".to_owned()),
        Just("? ".to_owned()),
        Just("\t- |".to_owned()),
        Just("<<: *b".to_owned()),
        "[\\x00-\\x7f\u{85}\u{2028}ü語]{1,12}",
        any::<f64>().prop_map(|number| number.to_string()),
        any::<i128>().prop_map(|number| number.to_string()),
    ];
    let search = include_str!("../../../fixtures/wandb/distributions.yaml");
    let whole = prop::sample::select(vec![REPORT, programs::TRAIN, search]);
    (whole, prop::collection::vec((0..1_500_usize, 0..40_usize, piece), 1..5)).prop_map(|(whole, edits)| {
        let mut text = whole.to_owned();
        for (place, length, piece) in edits {
            let start = place.min(text.len());
            let end = (start + length).min(text.len());
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, &piece);
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn whatever_a_file_says_it_is_a_sweep_that_can_be_kept_or_an_error_that_names_the_file(text in corrupt_file()) {
        match parse(&text) {
            Ok(specification) => {
                let stored = Specification::from_stored(&specification.to_yaml(), &Models::default());
                // Notes are of the file, not of the sweep.
                let specification = Specification { notes: Vec::new(), ..specification };
                prop_assert_eq!(stored.map_err(|error| error.to_string()), Ok(specification));
            }
            Err(error) => prop_assert!(error.to_string().contains("grid.yaml"), "{error}"),
        }
    }

    #[test]
    fn whatever_is_set_over_a_file_is_taken_or_refused(text in "[\\x00-\\x7f]{0,40}") {
        // Without a panic.
        let _ = parse_with(REPORT, &[&text]);
        let _ = parse_with(programs::TRAIN, &[&text]);
    }
}

#[test]
fn a_setting_and_an_override_are_named_as_they_were_given() {
    let wrong = "execution.max_paralel=3".to_owned();
    let told = parse_with(REPORT, &[&wrong]).unwrap_err().to_string();
    assert!(told.starts_with("--set execution.max_paralel=3: "), "{told}");
    let told = parse(REPORT).unwrap().with_overrides(&[wrong]).unwrap_err().to_string();
    assert!(told.starts_with("execution.max_paralel=3: "), "{told}");
}
