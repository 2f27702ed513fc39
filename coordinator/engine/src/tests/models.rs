//! Sweeps of models that only some workers have: who gets their jobs, what is reported where no worker does, and what is known of
//! models.

use domain::{
    definition::SweepDefinition,
    specification::{Models, Specification, SpecificationSource},
};
use terms::{
    SweepId,
    manifest::{Described, Manifest, ManifestParameter, builtins_described},
};

use super::cluster::{Cluster, key};
use crate::{
    WaitReason,
    query::{DescribeSweep, DescribeWorker, ListModels},
};

/// A model of the tests: SimpleCNN under another name.
fn model(version: u32) -> Manifest {
    Manifest { name: "deep".into(), version, ..Manifest::clone(&builtins_described()[0]) }
}

/// The same with one parameter more.
fn with_more(version: u32) -> Manifest {
    let mut more = model(version);
    let parameter = ManifestParameter { name: "more".into(), ..more.parameters[4].clone() };
    more.parameters.push(parameter);
    more
}

/// A sweep of two jobs of the model.
fn of_the_model(model: Manifest) -> Specification {
    let text = "name: x\nmodel: deep\ndataset: {path: d}\nparameters:\n  epochs: {value: 2}\n  seed: {values: [1, 2]}\n";
    let models = Models::given(vec![Described::new(model)]);
    let source = SpecificationSource { text: text.to_owned(), models, ..SpecificationSource::default() };
    Specification::parse(&source).unwrap()
}

fn connect(cluster: &mut Cluster, session: u64, name: &str, models: Vec<Manifest>) {
    cluster.models = models.into_iter().map(Described::new).collect();
    cluster.connect(session, name, 1, &[]);
}

#[test]
fn jobs_of_a_model_wait_for_a_worker_that_has_it_and_the_sweep_says_so() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_the_model(model(1)));
    let cnn = || vec![Manifest::clone(&builtins_described()[0])];
    connect(&mut cluster, 1, "cnn", cnn());
    connect(&mut cluster, 2, "newer", vec![model(2)]);
    connect(&mut cluster, 3, "none", Vec::new());
    assert_eq!(cluster.grants(), []);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::NoneCanTrain);
    assert_eq!(
        waiting.text,
        "no connected worker has the model deep, version 1: cnn: it has simple_cnn 1; newer: it has deep 2; none: it trains no \
         models"
    );
    connect(&mut cluster, 4, "deep", [cnn(), vec![model(1)]].concat());
    assert_eq!(cluster.grants(), [(4, key(1, 1))]);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::SlotsBusy, "{}", waiting.text);
}

#[test]
fn a_worker_whose_model_has_more_trains_sweeps_of_the_model_as_it_was_and_not_the_other_way_round() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_the_model(model(1)));
    connect(&mut cluster, 1, "later", vec![with_more(1)]);
    assert_eq!(cluster.grants(), [(1, key(1, 1))]);
    let mut cluster = Cluster::new();
    cluster.submit_this(of_the_model(with_more(1)));
    connect(&mut cluster, 1, "earlier", vec![model(1)]);
    assert_eq!(cluster.grants(), []);
    let text = cluster.sweep().waiting.unwrap().text;
    assert!(text.ends_with("earlier: its deep lacks what the sweep's has; update its trainer"), "{text}");
}

#[test]
fn of_models_with_one_name_that_of_connected_workers_counts_first_and_then_the_newest() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_the_model(model(9)));
    connect(&mut cluster, 1, "a", vec![model(1)]);
    connect(&mut cluster, 2, "b", vec![model(2)]);
    connect(&mut cluster, 3, "c", vec![with_more(2)]);
    connect(&mut cluster, 4, "d", vec![with_more(2)]);
    let known = |cluster: &Cluster| -> Vec<(u32, usize)> {
        let known = cluster.ask(&ListModels);
        known.iter().map(|model| (model.version, model.parameters.len())).collect()
    };
    let [more, own] = [with_more(2), model(2)].map(|model| model.parameters.len());
    assert_eq!(known(&cluster), [(2, more), (2, own), (1, own), (9, own)]);
    cluster.hear(crate::Event::SessionClosed(crate::SessionId(3)));
    cluster.hear(crate::Event::SessionClosed(crate::SessionId(4)));
    assert_eq!(known(&cluster), [(2, own), (1, own), (9, own)]);
}

#[test]
fn a_worker_that_describes_a_model_in_another_way_is_named() {
    let mut cluster = Cluster::new();
    connect(&mut cluster, 1, "a", vec![model(1)]);
    connect(&mut cluster, 2, "b", vec![with_more(1)]);
    connect(&mut cluster, 3, "c", vec![with_more(1), model(2)]);
    connect(&mut cluster, 4, "d", vec![model(3)]);
    let said = |cluster: &Cluster, name: &str| {
        let view = cluster.ask(&DescribeWorker(name.parse().unwrap()));
        (view.reason, view.differs.unwrap_or_default())
    };
    let told = "its description of the model deep 1 differs from that of 2 workers (b and others), which new sweeps have; \
                update its trainer";
    assert_eq!(said(&cluster, "a"), (told.to_owned(), told.to_owned()));
    for name in ["b", "c"] {
        let told =
            "its description of the model deep 1, which new sweeps have, differs from that of worker a";
        assert_eq!(said(&cluster, name), (String::new(), told.to_owned()));
    }
    assert_eq!(said(&cluster, "d"), (String::new(), String::new()));
    // It gets no jobs of a sweep that has what it lacks, also where the others are busy.
    cluster.submit_this(of_the_model(with_more(1)));
    assert_eq!(cluster.grants(), [(2, key(1, 1)), (3, key(2, 1))]);
    cluster.hear(crate::Event::SessionClosed(crate::SessionId(3)));
    let waiting = cluster.submit_this(of_the_model(with_more(1)));
    let waiting = cluster.ask(&DescribeSweep::new(waiting.id())).waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::SlotsBusy);
    assert_eq!(
        waiting.text,
        "every slot is busy with other sweeps of the workers that can train this sweep: a: its deep lacks what the sweep's has; \
         update its trainer"
    );
    // With the last one that differs, it is over.
    cluster.hear(crate::Event::SessionClosed(crate::SessionId(1)));
    assert_eq!(said(&cluster, "b"), (String::new(), String::new()));
}

#[test]
fn the_built_in_description_of_a_model_counts_more_than_that_of_many_workers() {
    let mut cluster = Cluster::new();
    let cnn = Manifest::clone(&builtins_described()[0]);
    let other = Manifest { resumes: !cnn.resumes, ..cnn.clone() };
    let worded = Manifest { meaning: "in other words".into(), ..cnn.clone() };
    connect(&mut cluster, 1, "a", vec![other.clone()]);
    connect(&mut cluster, 2, "b", vec![other]);
    let told = cluster.ask(&DescribeWorker("a".parse().unwrap())).reason;
    assert!(told.contains("differs from the built-in description, which new sweeps have"), "{told}");
    connect(&mut cluster, 3, "c", vec![cnn]);
    // It says the same.
    connect(&mut cluster, 4, "d", vec![worded]);
    assert_eq!(cluster.ask(&DescribeWorker("d".parse().unwrap())).reason, "");
    let told = cluster.ask(&DescribeWorker("a".parse().unwrap())).reason;
    assert!(told.contains("differs from that of 2 workers (c and others)"), "{told}");
}

#[test]
fn after_a_restart_the_manifest_counts_that_was_stored_with_the_sweep() {
    let definition = SweepDefinition::new(SweepId(1), of_the_model(with_more(1))).unwrap();
    let read =
        |manifest: Option<&str>| SweepDefinition::from_stored(SweepId(1), &definition.text(), manifest);
    let again = read(Some(&definition.manifest.to_json())).unwrap();
    assert_eq!((&again.manifest, again.parameters(2)), (&definition.manifest, definition.parameters(2)));
    assert!(again.parameters(1).get("more").is_some() && again.budget(1) == Some(2));
    let error = read(None).unwrap_err().to_string();
    assert!(error.contains("there is no model `deep` here"), "{error}");
    assert!(read(Some("{")).unwrap_err().to_string().contains("the manifest cannot be used"));
}

#[test]
fn a_sweep_is_not_extended_by_another_kind_of_its_model() {
    let definition = SweepDefinition::new(SweepId(1), of_the_model(model(1))).unwrap();
    let error = definition.extended(of_the_model(model(2))).unwrap_err().to_string();
    assert!(error.contains("`model deep` cannot change") && error.contains("version 2"), "{error}");
}
