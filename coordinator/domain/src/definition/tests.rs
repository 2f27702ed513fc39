//! What a sweep keeps and what it takes when it is extended or set.

use super::*;
use crate::specification::SpecificationSource;

fn specification(rates: &str, more: &str) -> Specification {
    let text =
        format!("name: x\ndataset: {{path: d}}\nparameters:\n  learning_rate: {{values: {rates}}}\n{more}");
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

fn rates(definition: &SweepDefinition) -> Vec<String> {
    let rate = |job| {
        let parameters = definition.parameters(job).0;
        parameters.into_iter().find(|(name, _)| name == "learning_rate").unwrap().1.to_string()
    };
    (1..=definition.job_count()).map(rate).collect()
}

#[test]
fn an_extension_adds_what_is_new_and_leaves_the_numbers_of_the_old() {
    let first = SweepDefinition::new(SweepId(1), specification("[0.1, 0.2]", "")).unwrap();
    assert_eq!(first.varying, ["learning_rate".into()]);
    let second = first.extended(specification("[0.3, 0.2, 0.4]", "execution: {attempts_max: 7}")).unwrap();
    assert_eq!(rates(&second), ["0.1", "0.2", "0.3", "0.4"]);
    assert_eq!(second.execution.attempts_max, 7);
    let third = second.extended(specification("[0.4, 0.1]", "include: [{learning_rate: 0.9}]")).unwrap();
    assert_eq!(rates(&third), ["0.1", "0.2", "0.3", "0.4", "0.9"]);
    assert_eq!(third.parameters(6), ParameterMap::default());
    third.visit_parameters(6, |name, _| panic!("{name}"));
    let stored = SweepDefinition::from_stored(SweepId(1), &third.text(), None).unwrap();
    assert_eq!((rates(&stored), stored.text()), (rates(&third), third.text()));
    assert_eq!(stored.execution, third.execution);
}

#[test]
fn a_constant_that_an_extension_changes_varies() {
    let constant = SweepDefinition::new(SweepId(1), specification("[0.1]", "")).unwrap();
    assert!(constant.varying.is_empty());
    let extended = constant.extended(specification("[0.2]", "")).unwrap();
    assert_eq!(extended.varying, ["learning_rate".into()]);
}

/// The defaults that a shape names besides.
const LAYERS: &str = "channels=16,32 hidden_units=128 batch_norm=false";

#[test]
fn jobs_of_one_shape_and_order_are_mates_within_their_specification() {
    let text = "name: x\ndataset: {path: d}\nparameters:\n  activation: {values: [relu, sigmoid]}\n  \
                learning_rate: {values: [0.1, 0.2]}\n  batch_size: {values: [32, 64]}\n  seed: {values: [1, 2]}\n";
    let source = SpecificationSource { text: text.into(), ..SpecificationSource::default() };
    let first = SweepDefinition::new(SweepId(1), Specification::parse(&source).unwrap()).unwrap();
    let candidates = |definition: &SweepDefinition, job| {
        let found = definition.pack_candidates(job, |_| true, std::iter::empty()).collect::<Vec<_>>();
        let is_candidate = definition.is_pack_candidate(job);
        let asked: Vec<u64> = (0..=definition.job_count() + 1).filter(|other| is_candidate(*other)).collect();
        let mut listed = found.clone();
        listed.sort_unstable();
        assert_eq!(asked, listed, "candidates of job {job}");
        found
    };
    assert_eq!(candidates(&first, 2), [6, 10, 14]);
    assert_eq!(candidates(&first, 6), [10, 14, 2]);
    assert_eq!(first.shape(2), format!("simple_cnn image_size=128 batch_size=32 precision=fp32 {LAYERS}"));
    assert_eq!(first.shape(4), format!("simple_cnn image_size=128 batch_size=64 precision=fp32 {LAYERS}"));
    let more = SpecificationSource {
        text: text.replace("0.1, 0.2", "0.1, 0.3, 0.4"),
        ..SpecificationSource::default()
    };
    let second = first.extended(Specification::parse(&more).unwrap()).unwrap();
    assert_eq!(candidates(&second, 2), [6, 10, 14]);
    assert_eq!(candidates(&second, 17), [21, 25, 29]);
    assert!(candidates(&second, 33).is_empty());
}

#[test]
fn an_extension_is_of_the_same_kind() {
    let first = SweepDefinition::new(SweepId(1), specification("[0.1]", "")).unwrap();
    let others = [
        ("`metric.name`", specification("[0.2]", "metric: {name: train_loss}")),
        (
            "`dataset.split_seed` cannot change, as existing results would not be comparable: the sweep has 0, this has 9",
            {
                let mut other = specification("[0.2]", "");
                other.dataset.as_mut().unwrap().split_seed = 9;
                other
            },
        ),
    ];
    for (what, other) in others {
        let error = first.extended(other).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("sweep of its own"), "{error}");
    }
}

#[test]
fn a_changed_program_is_named_as_such() {
    let with = |snapshot: &str| {
        let text = format!(
            "{{program: train.py, execution: {{snapshot: {snapshot}}}, metric: {{name: loss, goal: minimize}}, parameters: {{x: {{values: [1, 2]}}}}}}"
        );
        Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
    };
    let first = SweepDefinition::new(SweepId(1), with(&"a".repeat(64))).unwrap();
    let error = first.extended(with(&"b".repeat(64))).unwrap_err().to_string();
    assert!(error.starts_with("the program or a file of `execution.files` has changed"), "{error}");
}

#[test]
fn what_cannot_change_a_number_may_change() {
    let first = SweepDefinition::new(SweepId(1), specification("[0.1, 0.2]", "")).unwrap();
    let set = |definition: &SweepDefinition, what: &[&str]| {
        definition.set(&what.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let changed =
        set(&first, &["execution.job_timeout=10m", "name=y: #7", "dataset.path=/else/where"]).unwrap();
    let told: Vec<_> = changed.changes_from(&first).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["name: x -> y: #7", "dataset.path: d -> /else/where", "execution.job_timeout: none -> 10m"]
    );
    assert_eq!(changed.execution.job_timeout_ms, Some(600_000));
    assert_eq!(rates(&changed), rates(&first));
    // The same again changes nothing, and a limit can be lifted.
    let again = set(&changed, &["execution.job_timeout=10m"]).unwrap();
    assert!(again.changes_from(&changed).is_empty() && again.text() == changed.text());
    for nothing in ["none", "null", ""] {
        let lifted = set(&changed, &[&format!("execution.job_timeout={nothing}")]).unwrap();
        assert_eq!(lifted.execution.job_timeout_ms, None, "{nothing:?}");
    }
    for (what, key) in [
        ("epochs=9", "`parameters.epochs`"),
        ("exclude=[{epochs: 9}]", "`exclude`"),
        ("dataset.split_seed=9", "`dataset.split_seed`"),
        ("metric.name=train_loss", "`metric.name`"),
        ("execution.job_timeout=soon", "execution.job_timeout: expected a duration"),
        ("job_timeout=10m", "did you mean `execution.job_timeout`?"),
    ] {
        let error = set(&first, &[what]).unwrap_err().to_string();
        assert!(error.contains(key), "{what}: {error}");
    }
}

#[test]
fn settings_are_those_of_the_latest_change_also_when_read_back() {
    let first =
        SweepDefinition::new(SweepId(1), specification("[0.1]", "execution: {attempts_max: 1}")).unwrap();
    let second = first.extended(specification("[0.2]", "execution: {attempts_max: 2}")).unwrap();
    let third = second.set(&["execution.attempts_max=3".into(), "name=z".into()]).unwrap();
    // Without new points, an extension is its settings.
    let fourth = third.extended(specification("[0.2]", "execution: {attempts_max: 4}")).unwrap();
    for (definition, attempts_max, name) in [(&second, 2, "x"), (&third, 3, "z"), (&fourth, 4, "x")] {
        let stored = SweepDefinition::from_stored(SweepId(1), &definition.text(), None).unwrap();
        for read in [definition, &stored] {
            assert_eq!(read.execution.attempts_max, attempts_max);
            assert_eq!(read.specification.execution.attempts_max, attempts_max);
            assert_eq!((read.specification.name.as_str(), rates(read).len()), (name, 2));
        }
        assert_eq!(stored.text(), definition.text());
    }
    assert_eq!(fourth.text().matches("---").count(), 1);
}

#[test]
fn what_is_shown_of_a_very_long_text_is_its_ends() {
    let long = |from: u32| {
        let seeds: Vec<_> = (from..from + 10_000).map(|seed| (1_000_000_000 + seed).to_string()).collect();
        specification("[0.1]", &format!("  seed: {{values: [{}]}}\n", seeds.join(", ")))
    };
    let mut definition = SweepDefinition::new(SweepId(1), long(0)).unwrap();
    for part in 1..30 {
        definition = definition.extended(long(part * 10_000)).unwrap();
    }
    assert_eq!(definition.job_count(), 300_000);
    let (text, shown) = (definition.text(), definition.shown_text());
    assert!(text.len() > SHOWN_BYTES_MAX && shown.len() <= SHOWN_BYTES_MAX + 200, "{}", shown.len());
    assert_eq!(first_document(&shown), first_document(&text));
    assert!(shown.contains("extensions are left out here") && text.ends_with(&shown[shown.len() - 1_000..]));
    let stored = SweepDefinition::from_stored(SweepId(1), &text, None).unwrap();
    assert_eq!((stored.job_count(), stored.varying.as_slice()), (300_000, ["seed".into()].as_slice()));
    for job in [1, 10_000, 10_001, 299_999] {
        assert_eq!(stored.parameters(job), definition.parameters(job));
    }
}

#[test]
fn a_sweep_is_not_extended_beyond_what_is_written_at_each_of_its_changes() {
    // A path may be as long as a file.
    let long = |seed: u64| {
        let mut long = specification("[0.1]", &format!("  seed: {{value: {seed}}}\n"));
        long.dataset.as_mut().unwrap().val_path = Some("v".repeat(1 << 20).into());
        long
    };
    let mut definition = SweepDefinition::new(SweepId(1), long(0)).unwrap();
    let error = loop {
        match definition.extended(long(definition.job_count())) {
            Ok(extended) => definition = extended,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, DefinitionError::TooLong(bytes) if bytes > TEXT_BYTES_MAX), "{error}");
    assert!(definition.text_bytes() <= TEXT_BYTES_MAX);
    // What does not add points is taken, and what is there is read back.
    definition.set(&["execution.attempts_max=9".to_owned()]).unwrap();
}

#[test]
fn points_that_were_included_are_not_added_again() {
    let more = "include: [{learning_rate: 0.5}, {learning_rate: 0.6}]";
    let first = SweepDefinition::new(SweepId(1), specification("[0.1]", more)).unwrap();
    let second = first.extended(specification("[0.5, 0.7]", "")).unwrap();
    assert_eq!(rates(&second), ["0.1", "0.5", "0.6", "0.7"]);
    let third = second.extended(specification("[0.6, 0.7, 0.8]", "include: [{learning_rate: 0.1}]")).unwrap();
    assert_eq!(rates(&third), ["0.1", "0.5", "0.6", "0.7", "0.8"]);
}
