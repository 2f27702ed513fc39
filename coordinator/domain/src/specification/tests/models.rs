//! Sweep files of models that are not built in.

use std::fmt::Write as _;

use terms::manifest::{Described, Manifest};

use super::*;

/// A model that is in no table.
const MANIFEST: &str = r#"{"name": "odd", "version": 4, "meaning": "", "parameters": [
    {"name": "depth", "type": "integer", "min": 1, "max": 8, "default": 3},
    {"name": "norm", "type": "choice", "values": ["batch", "layer"], "default": "layer"},
    {"name": "rounds", "type": "integer", "min": 1, "max": 20}],
    "metrics": [{"name": "gap", "goal": "minimize"}, {"name": "recall", "goal": "maximize"}], "objective": "gap",
    "dataset": "none", "progress": "epoch", "budget": "rounds", "resumes": false, "packs": false}"#;

fn read(text: &str) -> Result<Specification, SpecificationError> {
    let models = Models::from_json(MANIFEST).unwrap();
    let file_name = "odd.yaml".to_owned();
    Specification::parse(&SpecificationSource {
        text: text.to_owned(),
        file_name,
        models,
        ..SpecificationSource::default()
    })
}

#[test]
fn a_file_of_a_model_that_is_not_built_in_is_read_by_its_manifest() {
    let specification =
        read("parameters: {rounds: {value: 2}, depth: {values: [1, 2]}}\nname: x\nmodel: odd\n").unwrap();
    let axes: Vec<&str> = specification.axes.iter().map(|axis| &*axis.name).collect();
    assert_eq!(axes, ["depth", "norm", "rounds"]);
    assert_eq!(specification.dataset, None);
    assert_eq!((&*specification.metric.name, specification.metric.goal), ("gap", Goal::Minimize));
    let models = Models::from_json(MANIFEST).unwrap();
    assert_eq!(Specification::from_stored(&specification.to_yaml(), &models).unwrap(), specification);
    let changed = specification.with_overrides(&["depth=7".to_owned()]).unwrap();
    assert_eq!(changed.trainable, specification.trainable);
    let wrong = [
        (
            "unknown parameter",
            "name: x\nmodel: odd\nparameters:\n  rounds: {value: 1}\n  dropout: {value: 1}\n",
        ),
        (
            "out of range",
            "name: x\nmodel: odd\nparameters:\n  rounds: {value: 1}\n  depth: {values: [1, 9]}\n",
        ),
        ("no default", "name: x\nmodel: odd\n"),
        (
            "unknown metric",
            "name: x\nmodel: odd\nmetric: {name: val_loss}\nparameters: {rounds: {value: 1}}\n",
        ),
        ("a data set", "name: x\nmodel: odd\ndataset: {path: d}\nparameters: {rounds: {value: 1}}\n"),
        ("unknown model", "name: x\nparameters: {rounds: {value: 1}}\nmodel: old\n"),
    ];
    let mut told = String::new();
    for (what, text) in wrong {
        writeln!(told, "{what}: {}", read(text).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_given_manifest_counts_before_a_built_in_one_and_that_before_what_was_heard_of() {
    let renamed =
        |name: &str| Described::new(Manifest { name: name.into(), ..Manifest::from_json(MANIFEST).unwrap() });
    let versions =
        |models: &Models| ["simple_cnn", "odd"].map(|name| models.get(name).map(|model| model.version));
    assert_eq!(versions(&Models::default()), [Some(1), None]);
    assert_eq!(versions(&Models::default().or([renamed("simple_cnn"), renamed("odd")])), [Some(1), Some(4)]);
    let given = Models::given(vec![renamed("simple_cnn")]);
    assert_eq!((versions(&given), given.names()), ([Some(4), None], vec!["simple_cnn"]));
}
