//! Sweep files of programs, and W&B's as they are.

use std::{fmt::Write as _, path::Path};

use proptest::prelude::*;
use terms::ParameterValue;

use super::{names, parse, parse_with, told_of, values};
use crate::{
    definition::SweepDefinition,
    space::Domain,
    specification::{ArgumentStyle, Models, Specification, SpecificationSource, Trainable, is_setting},
};

#[test]
fn what_is_not_yaml_is_reported_as_that_and_not_as_keys_of_a_model() {
    let file = |rest: &str| {
        format!(
            "name: x\nprogram: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters: {{a: {{value: 1}}}}\n{rest}\n"
        )
    };
    for rest in ["metrics: {pattern: \"(?P<loss>\\S+)\"}", "execution: {attempts_max: 2"] {
        let said = parse(&file(rest)).unwrap_err().to_string();
        assert!(said.contains(":5:") || said.contains(":6:"), "{said}");
        assert!(!said.contains("metric.name"), "{said}");
    }
}

pub(super) const TRAIN: &str = "\
name: my-search
program: train.py
metric: {name: val_loss, goal: minimize}
metrics: {pattern: 'epoch (?P<epoch>\\d+): (?P<val_loss>\\S+)', csv: logs/metrics.csv}
parameters:
  lr: {values: [0.1, 0.01]}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      momentum: {values: [0.0, 0.9], when: {optimizer.name: sgd}}
  layers: {min: 1, max: 3}
  dropout: {values: [null, 0.5]}
  nesterov: {value: true}
execution: {files: [train.py, \"lib/**\"], env: {OMP_NUM_THREADS: 4, MODE: fast}, arguments: wandb, job_timeout: 2h, stop_grace_period: 90s}
resources: {gpus: 1, cpus: 2, per_gpu: 2}
";

fn program(text: &str) -> String {
    format!("program: train.py\nmetric: {{name: val_loss, goal: minimize}}\n{text}")
}

#[test]
fn a_programs_number_of_epochs_is_known_where_the_file_says_which_parameter_it_is() {
    let file = |execution: &str| {
        let text = program(&format!("parameters: {{n: {{values: [4, 9.0]}}}}\n{execution}"));
        SweepDefinition::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
    };
    let known = file("execution: {epochs_parameter: n}\n");
    assert_eq!(
        (known.budget(1), known.budget(2), known.specification.epochs_max()),
        (Some(4), Some(9), Some(9))
    );
    let stored = SweepDefinition::from_stored(known.id, &known.text(), None).unwrap();
    assert_eq!(stored.budget(2), Some(9));
    let unknown = file("");
    assert_eq!((unknown.budget(1), unknown.specification.epochs_max()), (None, None));
    // It decides when a job is done, so that it is no setting.
    let error = unknown.extended(known.specification).unwrap_err().to_string();
    assert!(error.contains("execution.epochs_parameter"), "{error}");
    assert!(!is_setting("execution.epochs_parameter"));
}

#[test]
fn a_program_has_whatever_parameters_its_file_names() {
    let specification = parse(TRAIN).unwrap();
    // 2 rates, 3 layers, 2 dropouts, and adam or sgd with one of two momenta.
    let grid = specification.jobs().unwrap();
    assert_eq!(grid.count(), 2 * 3 * 2 * (1 + 2));
    assert_eq!(
        names(&specification.varying()),
        ["lr", "optimizer.name", "optimizer.momentum", "layers", "dropout"]
    );
    let point = grid.parameters(1).unwrap();
    assert_eq!(point.get("optimizer.name"), Some(&ParameterValue::Text("adam".into())));
    assert_eq!(point.get("optimizer.momentum"), None);
    assert_eq!(point.get("dropout"), Some(&ParameterValue::Null));
    assert_eq!(point.get("nesterov"), Some(&ParameterValue::Boolean(true)));
    let Trainable::Program(program) = &specification.trainable else { panic!("a program") };
    assert_eq!(program.arguments, ArgumentStyle::Wandb);
    assert_eq!(program.env, [("MODE".into(), "fast".into()), ("OMP_NUM_THREADS".into(), "4".into())]);
    assert_eq!(specification.dataset, None);
    let manifest = specification.manifest();
    manifest.check().unwrap();
    assert_eq!(
        (manifest.parameters.len(), manifest.objective.as_str(), manifest.packs),
        (6, "val_loss", false)
    );
}

#[test]
fn a_sweep_of_a_program_survives_being_stored() {
    let specification = parse(TRAIN).unwrap();
    assert_eq!(
        Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap(),
        specification
    );
    insta::assert_snapshot!(specification.to_yaml());
}

#[test]
fn what_is_left_out_has_a_usual_value() {
    let specification = parse(&program("parameters: {x: {value: 1}}\n")).unwrap();
    assert_eq!(specification.name, "train");
    let trainable = specification.trainable.program().unwrap();
    assert_eq!(
        (trainable.files.as_slice(), trainable.command.len()),
        (["train.py".to_owned()].as_slice(), 0)
    );
    let command = "name: x\ncommand: [python3, /shared/train.py, \"${args}\"]\nmetric: {name: val_loss, goal: minimize}\n";
    let specification = parse(command).unwrap();
    let trainable = specification.trainable.program().unwrap();
    assert_eq!((trainable.files.len(), trainable.command.len()), (0, 3));
    assert_eq!(specification.jobs().unwrap().count(), 1, "a program without parameters runs once");
}

#[test]
fn a_metric_of_a_program_may_have_any_name() {
    let text = "name: x\nprogram: a.py\nmetric: {name: valid/F1 score, goal: maximize, use: best}\n";
    let specification = parse(text).unwrap();
    assert_eq!(&*specification.metric.name, "valid/F1 score");
    assert_eq!(
        Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap(),
        specification
    );
    assert_eq!(specification.manifest().objective, "valid/F1 score");
}

#[test]
fn a_program_may_be_set_and_so_may_its_parameters() {
    let overrides = [
        "lr=0.5",
        "optimizer.momentum=[0.5, 0.6, 0.7]",
        "layers={min: 2, max: 8, q: 2}",
        "parameters.extra.value=null",
        "parameters.optimizer.name.value=sgd",
        "execution.env.MODE=007",
        "execution.env.MORE=a: b",
        "metrics.pattern=loss=(?P<val_loss>.*)",
        "resources.gpus=none",
        "program=other.py",
    ];
    let specification = parse_with(TRAIN, &overrides).unwrap();
    assert_eq!(values(&specification, "lr"), ["0.5"]);
    assert_eq!(values(&specification, "layers"), ["2", "4", "6", "8"]);
    assert_eq!(values(&specification, "extra"), ["null"]);
    let momentum = specification.axes.iter().find(|axis| &*axis.name == "optimizer.momentum").unwrap();
    assert_eq!((momentum.values().len(), momentum.when.len()), (3, 1), "its condition stays");
    let program = specification.trainable.program().unwrap();
    assert_eq!(program.env[0], ("MODE".into(), "007".into()));
    assert_eq!(program.env[1], ("MORE".into(), "a: b".into()));
    assert_eq!(program.program.as_deref(), Some("other.py"));
    assert_eq!(program.metrics.pattern.as_deref(), Some("loss=(?P<val_loss>.*)"));
    assert_eq!(specification.resources.gpus, None);
}

#[test]
fn the_time_to_stop_is_a_programs_and_bounded() {
    let stop = |text: &str| parse(&program(&format!("execution: {{stop_grace_period: {text}}}\n")));
    for (text, milliseconds) in [("1s", Some(1_000)), ("1h", Some(3_600_000)), ("none", None)] {
        assert_eq!(stop(text).unwrap().execution.stop_grace_period_ms, milliseconds, "{text}");
    }
    for text in ["999ms", "61m", "soon", "30"] {
        let error = stop(text).unwrap_err().to_string();
        assert!(error.contains("a duration from 1s to 1h"), "{text}: {error}");
    }
    let of_a_model = "name: x\ndataset: {path: d}\nexecution: {stop_grace_period: 30s}\n";
    let error = parse(of_a_model).unwrap_err().to_string();
    assert!(error.contains("`stop_grace_period` is for programs"), "{error}");
}

#[test]
fn what_decides_numbers_of_a_program_cannot_be_set_later_and_what_it_takes_up_can() {
    let source = SpecificationSource { text: TRAIN.into(), file_name: "s.yaml".into(), ..Default::default() };
    let definition = SweepDefinition::parse(&source).unwrap();
    for set in ["resources.per_gpu=4", "description=a text", "execution.job_timeout=3h", "artifacts.keep=all"]
    {
        let changed = definition.set(&[set.to_owned()]).unwrap_or_else(|error| panic!("{set}: {error}"));
        let stored = SweepDefinition::from_stored(definition.id, &changed.text(), None).unwrap();
        assert_eq!(stored.specification, changed.specification, "{set}");
    }
    for (set, key) in [
        ("execution.env.MODE=slow", "`execution.env`"),
        ("execution.files=[a.py]", "`execution.files`"),
        ("execution.arguments=argparse", "`execution.arguments`"),
        ("program=other.py", "`program`"),
        ("metrics.csv=b.csv", "`metrics.csv`"),
        ("lr=0.5", "`parameters.lr`"),
    ] {
        let error = definition.set(&[set.to_owned()]).unwrap_err().to_string();
        assert!(error.contains(key), "{set}: {error}");
    }
    assert!(is_setting("resources.cpus") && !is_setting("execution.env") && !is_setting("execution"));
}

#[test]
fn an_extension_of_a_program_has_the_same_parameters_in_any_order() {
    let file = |text: &str| {
        let text = program(text);
        SweepDefinition::parse(&SpecificationSource { text, ..Default::default() }).unwrap()
    };
    let first = file("parameters: {a: {values: [1, 2]}, b: {values: [x, y], when: {a: 2}}}\n");
    assert_eq!(first.job_count(), 3);
    let more = file("parameters: {b: {values: [x, z], when: {a: 2}}, a: {values: [2, 3]}}\n");
    let extended = first.extended(more.specification).unwrap();
    let points: Vec<String> = (1..=extended.job_count())
        .map(|job| extended.parameters(job).0.iter().map(|(name, value)| format!("{name}{value}")).collect())
        .collect();
    assert_eq!(points, ["a1", "a2bx", "a2by", "a2bz", "a3"]);
    let stored = SweepDefinition::from_stored(extended.id, &extended.text(), None).unwrap();
    assert_eq!((stored.job_count(), stored.parameters(4)), (5, extended.parameters(4)));
    let other = file("parameters: {a: {value: 1}, c: {value: 1}}\n");
    let error = first.extended(other.specification).unwrap_err().to_string();
    assert!(error.contains("`parameters."), "{error}");
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn wrong_files_of_programs_are_reported_with_line_and_key() {
    let with = |text: &str| program(&format!("{text}\n"));
    let wrong = [
        ("a program and a model", with("model: simple_cnn")),
        ("a data set", with("dataset: {path: d}")),
        ("no metric", "program: train.py\n".to_owned()),
        ("no name", "command: [python3, a.py]\nmetric: {name: val_loss}\n".to_owned()),
        ("a path elsewhere", "program: /x/train.py\n".to_owned()),
        ("a path above", "program: ../train.py\n".to_owned()),
        ("an empty command", with("command: []")),
        ("a command that is a line", with("command: python3 train.py")),
        ("an unknown macro", with("command: [\"${arg}\"]")),
        ("an open macro", with("command: [\"${args\"]")),
        ("a program's macro", "name: x\ncommand: [\"${program}\"]\n".to_owned()),
        ("a file above", with("execution: {files: [../a]}")),
        ("one of our variables", with("execution: {env: {SWEEP_JOB: a}}")),
        ("a GPU's variable", with("execution: {env: {CUDA_VISIBLE_DEVICES: 0}}")),
        ("a bad variable", with("execution: {env: {A-B: a}}")),
        ("arguments", with("execution: {arguments: posix}")),
        ("packs", with("execution: {pack_size_max: 2}")),
        (
            "no parameter for epochs",
            with("execution: {epochs_parameter: epoch}\nparameters: {epochs: {value: 9}}"),
        ),
        ("no epochs", with("execution: {epochs_parameter: epochs}\nparameters: {epochs: {values: [9, 0]}}")),
        ("half an epoch", with("execution: {epochs_parameter: epochs}\nparameters: {epochs: {value: 1.5}}")),
        (
            "too many epochs",
            with("execution: {epochs_parameter: epochs}\nparameters: {epochs: {value: 100001}}"),
        ),
        ("epochs of a model", "name: x\ndataset: {path: d}\nexecution: {epochs_parameter: epochs}\n".into()),
        ("shared GPUs", with("resources: {gpus: 2, per_gpu: 2}")),
        ("several GPUs", with("resources: {gpus: 2, per_gpu: 1}")),
        ("no processors", with("resources: {cpus: 0}")),
        ("unknown resources", with("resources: {gpu: 1}")),
        ("no expression", with("metrics: {pattern: '('}")),
        ("no metric in it", with("metrics: {pattern: 'loss'}")),
        ("a channel", with("metrics: {channel: true}")),
        ("a name", with("parameters: {a b: {value: 1}}")),
        ("a list", with("parameters: {a: {value: [1]}}")),
        ("not finite", with("parameters: {a: {value: .nan}}")),
        ("nested without saying so", with("parameters: {opt: {lr: {values: [1, 2]}}}")),
        ("a misspelt key", with("parameters: {opt: {valuse: [1, 2]}}")),
        ("a group with a value", with("parameters: {a: {value: 1, parameters: {b: {value: 1}}}}")),
        ("a group and a parameter", with("parameters: {a.b: {value: 1}, a: {value: 1}}")),
        ("a condition on nothing", with("parameters: {a: {value: 1, when: {b: 1}}}")),
        ("a circle", with("parameters: {a: {value: 1, when: {b: 1}}, b: {value: 1, when: {a: 1}}}")),
        ("an empty condition", with("parameters: {a: {value: 1, when: {}}}")),
        ("a point of another", with("parameters: {a: {value: 1}}\nexclude: [{b: 1}]")),
        (
            "a point without a value",
            with("parameters: {a: {values: [1, 2]}, b: {value: 1, when: {a: 1}}}\ninclude: [{a: 2, b: 1}]"),
        ),
        ("a range of texts", with("parameters: {a: {min: x, max: y, count: 2}}")),
        ("a range without steps", with("parameters: {a: {min: 0.1, max: 1}}")),
        ("a range of too many", with("parameters: {a: {min: 1, max: 1000000}}")),
        ("a count and a step", with("parameters: {a: {min: 1, max: 9, q: 2, count: 3}}")),
        (
            "a condition of a model",
            "name: x\ndataset: {path: d}\nparameters: {seed: {value: 1, when: {epochs: 1}}}\n".into(),
        ),
        ("an environment of a model", "name: x\ndataset: {path: d}\nexecution: {env: {A: b}}\n".into()),
        ("metrics of a model", "name: x\ndataset: {path: d}\nmetrics: {csv: a}\n".into()),
        ("resources of a model", "name: x\ndataset: {path: d}\nresources: {gpus: 1}\n".into()),
    ];
    insta::assert_snapshot!(told_of(&wrong));
}

/// The files in `fixtures/wandb` are written as W&B's documentation writes them.
#[test]
fn sweep_files_of_wandb_are_read_as_they_are_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wandb");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut told = String::new();
    for path in files {
        let file_name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let source = SpecificationSource { text, file_name: file_name.clone(), ..Default::default() };
        let _ = match Specification::parse_with_jobs(&source) {
            Ok((specification, jobs)) => {
                let jobs = jobs.count();
                writeln!(
                    told,
                    "{file_name}: {jobs} jobs of {}: {:?}",
                    specification.name, specification.notes
                )
            }
            Err(error) => writeln!(told, "{error}"),
        };
    }
    insta::assert_snapshot!(told);
}

fn value() -> impl Strategy<Value = ParameterValue> {
    prop_oneof![
        Just(ParameterValue::Null),
        any::<bool>().prop_map(ParameterValue::Boolean),
        any::<i64>().prop_map(ParameterValue::Integer),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(ParameterValue::Float),
        "\\PC{0,12}".prop_map(ParameterValue::Text),
        prop::sample::select(vec![
            "true", "null", "~", "1e3", "007", "0x1F", "1.0", "yes", "", " a ", "- b", ".inf"
        ])
        .prop_map(|text| ParameterValue::Text(text.into())),
    ]
}

proptest! {
    #[test]
    fn values_of_programs_keep_their_type_and_bits_when_they_are_stored(
        values in prop::collection::vec(value(), 1..20),
    ) {
        let mut specification = parse(&program("parameters: {x: {value: 1}}\n")).unwrap();
        let unsigned = |value: ParameterValue| match value {
            ParameterValue::Float(0.0) => ParameterValue::Float(0.0),
            other => other,
        };
        let mut different: Vec<ParameterValue> = Vec::new();
        for value in values.into_iter().map(unsigned) {
            if !different.contains(&value) {
                different.push(value);
            }
        }
        specification.axes[0].domain = Domain::Values(different);
        let stored = Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap();
        prop_assert_eq!(stored, specification);
    }
}

#[test]
fn resources_reach_the_environment_of_a_program_unless_the_file_says_otherwise() {
    let read =
        |more: &str| parse(&format!("program: t.py\nmetric: {{name: l, goal: minimize}}\n{more}")).unwrap();
    let environment = |more: &str| {
        let specification = read(more);
        let Trainable::Program(program) = &specification.trainable else { panic!("a program is swept") };
        program.for_job(&specification.resources, None).env.clone()
    };
    assert_eq!(environment("resources: {per_gpu: 2}\n"), []);
    let both = environment("resources: {cpus: 3, gpus: 0}\nexecution: {env: {OMP_NUM_THREADS: '1'}}\n");
    let value = |name: &str| both.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"];
    assert_eq!(names.map(value), [Some("1"), Some("3"), Some("")]);
}

#[test]
fn both_zeros_are_one_value_and_so_one_job() {
    let sweep = |text: &str| parse(&program(text)).unwrap();
    let jobs = |text: &str| {
        let grid = sweep(text).jobs().unwrap();
        (1..=grid.count()).map(|job| format!("{:?}", grid.parameters(job).unwrap().0)).collect::<Vec<_>>()
    };
    for values in ["[0.0, -0.0]", "[-0.0, 0.0]", "[-0.0]"] {
        assert_eq!(
            jobs(&format!("parameters: {{x: {{values: {values}}}}}")),
            ["[(\"x\", Float(0.0))]"],
            "{values}"
        );
    }
    // More values than are searched one by one.
    let many: Vec<String> = (1..40).map(|number| format!("{number}.5")).collect();
    let many = many.join(", ");
    assert_eq!(jobs(&format!("parameters: {{x: {{values: [0.0, {many}, -0.0]}}}}")).len(), 40);
    let more = format!(
        "parameters: {{x: {{values: [0.0, {many}]}}}}\nexclude: [{{x: -0.0}}]\ninclude: [{{x: -0.0}}, {{x: 0.0}}]"
    );
    assert_eq!(jobs(&more).len(), 40, "excluded, and included once");
    let when = "parameters: {x: {values: [0.0, 1.5]}, y: {values: [1, 2], when: {x: -0.0}}}";
    assert_eq!(jobs(when).len(), 3);
    let model = "name: x\ndataset: {path: d}\nparameters: {learning_rate: {values: [0.1, -0.0, 0.0]}}\n";
    assert!(parse(model).unwrap_err().to_string().contains("greater than 0"));
}

#[test]
fn a_point_or_a_condition_refers_to_a_number_in_either_way_of_writing_it() {
    let jobs = |text: &str| parse(&program(text)).unwrap().jobs().unwrap().count();
    assert_eq!(jobs("parameters: {x: {values: [1.0, 2.0]}}\nexclude: [{x: 1}]"), 1);
    assert_eq!(jobs("parameters: {x: {values: [1, 2]}}\nexclude: [{x: 1.0}]"), 1);
    assert_eq!(jobs("parameters: {x: {values: [1.0, 2.0]}}\ninclude: [{x: 1}]"), 2);
    assert_eq!(jobs("parameters: {x: {values: [1.0, 2.0]}, y: {values: [5, 6], when: {x: [1, 1.0]}}}"), 3);
    // Scikit-learn's `max_features` has one feature for 1, and all for 1.0.
    let both = parse(&program("parameters: {x: {values: [1, 1.0, 2]}}\nexclude: [{x: 1}]")).unwrap();
    let left: Vec<_> = (1..=2).map(|job| both.jobs().unwrap().parameters(job).unwrap().0).collect();
    assert_eq!(left[0][0].1, ParameterValue::Float(1.0));
    assert_eq!(left[1][0].1, ParameterValue::Integer(2));
    let told = &both.notes.join("\n");
    assert!(told.contains("`x` has 1 and `1.0`, which are different values to a program"), "{told}");
}

#[test]
fn the_jobs_of_a_stored_sweep_with_both_zeros_keep_their_numbers() {
    let file = parse(&program("parameters: {x: {values: [0.5, 0.0]}}")).unwrap();
    // As an earlier version kept them.
    let text = file.to_yaml().replace("- 0.0", "- -0.0\n    - 0.0");
    let stored = SweepDefinition::from_stored(terms::SweepId(1), &text, None).unwrap();
    let values = |definition: &SweepDefinition| -> Vec<String> {
        let value = |job| format!("{:?}", definition.parameters(job).0[0].1);
        (1..=definition.job_count()).map(value).collect()
    };
    assert_eq!(values(&stored), ["Float(0.5)", "Float(-0.0)", "Float(0.0)"]);
    assert_eq!(stored.text(), text);
    // One that has only -0.0 recognises its job in an extension.
    let text = file.to_yaml().replace("- 0.0", "- -0.0");
    let stored = SweepDefinition::from_stored(terms::SweepId(1), &text, None).unwrap();
    let more = parse(&program("parameters: {x: {values: [-0.0, 0.5, 1.5]}}")).unwrap();
    let extended = stored.extended(more).unwrap();
    assert_eq!(values(&extended), ["Float(0.5)", "Float(-0.0)", "Float(1.5)"]);
    let again = SweepDefinition::from_stored(terms::SweepId(1), &extended.text(), None).unwrap();
    assert_eq!(values(&again), values(&extended));
}
