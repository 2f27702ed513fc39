//! A job as a sweep of its own: the same trainable, data, split and parameters, and none of what only decides which jobs there are
//! and how far each trains.

use std::path::PathBuf;

use domain::{
    points::Method,
    space::Axis,
    specification::{Artifacts, DatasetSpecification, Execution, Keep, Specification},
};
use proto::{parameters_from_wire, v1};
use terms::manifest::Manifest;

use super::Images;
use crate::{
    cli::{
        failure::Failure,
        run::places::{absolute_dataset, absolute_images},
    },
    shapes,
};

/// The sweep of one job.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) specification: Specification,
    pub(super) source: v1::SweepSource,
    /// The job's number in it.
    pub(super) job: u64,
    /// How many jobs it has: the others are not to be trained.
    pub(super) jobs: u64,
}

/// The sweep of the job `number` of `sweep` with these parameters. `images` replaces the recorded paths.
///
/// # Errors
/// What is recorded cannot be read, or the images are not there.
pub(super) fn alone(
    sweep: &v1::Sweep,
    number: u64,
    parameters: Vec<v1::Parameter>,
    images: &Images,
) -> Result<Alone, Failure> {
    let unread = |error: &dyn std::fmt::Display| {
        Failure::operation(format!("what is recorded of sweep {} cannot be read: {error}", sweep.sweep_id))
    };
    let manifests = Manifest::all_from_json(&sweep.manifest).map_err(|error| unread(&error))?;
    let recorded = shapes::specification(sweep).map_err(|error| unread(&error))?;
    let (repeats, job) = match recorded.trainable.program() {
        // It is told which training of its point it is, where there are several.
        Some(_) if recorded.repeats > 1 => {
            let repeat = (number - 1) % u64::from(recorded.repeats) + 1;
            (u32::try_from(repeat.max(2)).unwrap_or(u32::MAX), repeat)
        }
        // Of a model it is in the seed.
        _ => (1, 1),
    };
    let is_model = recorded.trainable.model().is_some();
    let mut specification = Specification {
        method: Method::Grid,
        run_cap: None,
        repeats,
        axes: axes(parameters),
        exclude: Vec::new(),
        include: Vec::new(),
        early_terminate: None,
        target: None,
        execution: Execution {
            attempts_max: 1,
            stop_grace_period_ms: recorded.execution.stop_grace_period_ms,
            pack_size_max: is_model.then_some(1),
            ..Execution::default()
        },
        artifacts: Artifacts { keep: Keep::None },
        ..recorded
    };
    let mut dataset_path = String::new();
    match &mut specification.dataset {
        Some(own) => dataset_path = place(own, images)?,
        None if images.dataset.is_some() || images.val_dataset.is_some() => {
            return Err(Failure::operation(
                "--dataset and --val-dataset are for models: this sweep is one of a program, which finds its data by itself",
            ));
        }
        None => {}
    }
    let source = v1::SweepSource {
        text: specification.to_yaml(),
        file_name: format!("job {}/{number}", sweep.sweep_id),
        manifests: manifests.iter().map(Manifest::to_json).collect(),
        dataset_path,
        ..v1::SweepSource::default()
    };
    Ok(Alone { specification, source, job, jobs: u64::from(repeats) })
}

/// Says where the images lie here; returns where those for training do.
fn place(own: &mut DatasetSpecification, images: &Images) -> Result<String, Failure> {
    let path = absolute_dataset(images.dataset.as_ref().unwrap_or(&own.path))?;
    own.path = PathBuf::from(&path);
    match (&mut own.val_path, &images.val_dataset) {
        (Some(recorded), given) => {
            *recorded = absolute_images(given.as_ref().unwrap_or(recorded), "--val-dataset")?.into();
        }
        (None, Some(_)) => {
            return Err(Failure::operation(
                "--val-dataset is for sweeps with `dataset.val_path`: this one takes its validation images from --dataset",
            ));
        }
        (None, None) => {}
    }
    Ok(path)
}

/// The parameters of a job, each with its one value. One that has none where its conditions do not hold is left out.
fn axes(parameters: Vec<v1::Parameter>) -> Vec<Axis> {
    let parameters = parameters_from_wire(parameters).0.into_iter();
    parameters.map(|(name, value)| Axis::listed(name, vec![value])).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use domain::specification::SpecificationSource;
    use proto::parameters_to_wire;
    use terms::{ParameterMap, ParameterValue};

    use super::*;

    fn images(dataset: Option<&Path>, val_dataset: Option<&Path>) -> Images {
        Images { dataset: dataset.map(Path::to_owned), val_dataset: val_dataset.map(Path::to_owned) }
    }

    fn recorded(text: &str) -> v1::Sweep {
        let source = SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() };
        let specification = Specification::parse(&source).unwrap().to_yaml();
        v1::Sweep { sweep_id: 3, specification, ..v1::Sweep::default() }
    }

    fn parsed(alone: &Alone) -> (Specification, domain::points::Jobs) {
        let source =
            SpecificationSource { text: alone.source.text.clone(), ..SpecificationSource::default() };
        Specification::parse_with_jobs(&source).unwrap()
    }

    const PROGRAM: &str = "name: own\nprogram: train.py\nmethod: tpe\nsearch_seed: 3\nrun_cap: 9\nrepeats: 3\n\
        metric: {name: loss, goal: minimize, target: 0.1}\nresources: {cpus: 2}\n\
        parameters: {rate: {min: 0.1, max: 1}, kind: {values: [a, b]}, depth: {values: [1, 2], when: {kind: b}}}\n\
        early_terminate: {type: asha, min_iter: 1, eta: 3, promote: false}\n";

    fn point() -> Vec<v1::Parameter> {
        let pairs = [
            ("rate", ParameterValue::Float(0.123_456_789_012_345_67)),
            ("kind", ParameterValue::Text("a".into())),
        ];
        parameters_to_wire(ParameterMap(pairs.map(|(name, value)| (name.to_owned(), value)).into()))
    }

    #[test]
    fn a_job_of_a_search_becomes_a_sweep_of_its_point_alone_and_keeps_what_decides_its_numbers() {
        let sweep = recorded(PROGRAM);
        let alone = alone(&sweep, 6, point(), &Images::default()).unwrap();
        let (read, jobs) = parsed(&alone);
        assert_eq!((alone.job, alone.jobs, jobs.count()), (3, 3, 3), "the third training of its point");
        assert_eq!(parameters_to_wire(jobs.parameters(alone.job).unwrap()), point(), "to the last digit");
        let before =
            Specification::from_stored(&sweep.specification, &domain::specification::Models::default())
                .unwrap();
        assert_eq!((&read.trainable, &read.metric), (&before.trainable, &before.metric));
        assert_eq!((read.resources, read.method), (before.resources, Method::Grid));
        assert_eq!((read.target, read.early_terminate, read.execution.attempts_max), (None, None, 1));
    }

    #[test]
    fn the_first_training_of_several_is_told_that_it_is_one_of_several() {
        let alone = alone(&recorded(PROGRAM), 7, point(), &Images::default()).unwrap();
        assert_eq!((alone.job, alone.jobs, parsed(&alone).0.repeats), (1, 2, 2));
    }

    #[test]
    fn a_model_whose_point_has_all_parameters_keeps_its_split_and_takes_the_images_that_are_given() {
        let text = "name: m\nmethod: grid\ndataset: {path: /nowhere, image_size: 32, val_fraction: 0.3, split_seed: 5}\n\
                    repeats: 2\nparameters: {epochs: {value: 4}, learning_rate: {values: [0.1, 0.01]}}\n";
        let sweep = recorded(text);
        let (before, jobs) = {
            let source = SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() };
            Specification::parse_with_jobs(&source).unwrap()
        };
        let parameters = parameters_to_wire(jobs.parameters(4).unwrap());
        let refused = alone(&sweep, 4, parameters.clone(), &Images::default()).unwrap_err().to_string();
        assert!(refused.contains("/nowhere") && refused.contains("--dataset"), "{refused}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "").unwrap();
        let alone = alone(&sweep, 4, parameters.clone(), &images(Some(folder.path()), None)).unwrap();
        let (read, jobs) = parsed(&alone);
        assert_eq!((alone.job, alone.jobs, jobs.count()), (1, 1, 1), "its seed says which training it is");
        assert_eq!(parameters_to_wire(jobs.parameters(1).unwrap()), parameters);
        let (read, before) = (read.dataset.unwrap(), before.dataset.unwrap());
        assert_eq!(read.path, folder.path());
        assert_eq!((read.image_size, read.val_fraction), (before.image_size, before.val_fraction));
        assert_eq!(read.split_seed, before.split_seed);
    }

    #[test]
    fn validation_images_in_a_place_of_their_own_have_a_flag_of_their_own() {
        let text = |more| {
            format!(
                "name: m\nmethod: grid\ndataset: {{path: /nowhere{more}}}\nparameters: {{epochs: {{value: 4}}}}\n"
            )
        };
        let own = recorded(&text(", val_path: /nowhere/val"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "").unwrap();
        let told = |sweep: &v1::Sweep, images| alone(sweep, 1, Vec::new(), &images).unwrap_err().to_string();
        let refused = told(&own, images(Some(folder.path()), None));
        assert!(refused.contains("/nowhere/val") && refused.contains("with --val-dataset"), "{refused}");
        let both = alone(&own, 1, Vec::new(), &images(Some(folder.path()), Some(folder.path()))).unwrap();
        let read = both.specification.dataset.unwrap();
        assert_eq!((read.path.as_path(), read.val_path.as_deref()), (folder.path(), Some(folder.path())));
        let refused = told(&recorded(&text("")), images(Some(folder.path()), Some(folder.path())));
        assert!(refused.contains("`dataset.val_path`"), "{refused}");
    }

    #[test]
    fn a_program_takes_no_images() {
        let path = Some(Path::new("x"));
        for given in [images(path, None), images(None, path)] {
            let refused = alone(&recorded(PROGRAM), 1, point(), &given).unwrap_err().to_string();
            assert!(refused.contains("finds its data by itself"), "{refused}");
        }
    }
}
