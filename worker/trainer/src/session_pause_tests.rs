//! Specification of jobs that pause: trained as far as they were granted, and later further, by another trainer.

use std::path::Path;

use serde_json::{Value, json};
use trainer_protocol::{EpochLine, FromTrainer};

use super::*;

/// Four epochs of two jobs that train as one pack, or of the first alone.
fn request(jobs: usize, attempt: u32, until_epoch: Option<u32>, weights: &Path) -> String {
    request_with(&json!({}), jobs, attempt, until_epoch, weights)
}

/// The same with these parameters besides.
fn request_with(more: &Value, jobs: usize, attempt: u32, until_epoch: Option<u32>, weights: &Path) -> String {
    let mut parameters = parameters();
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut request: Value = serde_json::from_str(&train(&["a", "b"][..jobs], &parameters)).unwrap();
    for (number, job) in request["jobs"].as_array_mut().unwrap().iter_mut().enumerate() {
        job["parameters"]["epochs"] = json!(4);
        job["parameters"]["learning_rate"] = json!(0.001 * (number + 1) as f64);
        job["checkpoints"] = json!({"key": format!("1-9/{number}"), "attempt": attempt, "every_epochs": 100});
        job["weights"] = json!(weights.join(number.to_string()));
        if let Some(until_epoch) = until_epoch {
            job["until_epoch"] = json!(until_epoch);
        }
    }
    format!("{request}\n")
}

/// What another trainer with this place for checkpoints says of a request.
fn trained(place: &Path, jobs: usize, request: &str) -> Vec<FromTrainer> {
    let data = noise();
    let store = CheckpointStore::open(place.to_str().unwrap()).ok();
    let (events, end) =
        converse_with_checkpoints(store, request, jobs, &mut |_, _| Ok(Rc::clone(&data)), |_| None);
    assert!(end.is_ok());
    events
}

/// The results of each epoch, without times.
fn results(events: &[FromTrainer]) -> Vec<(String, u32, Vec<u64>)> {
    let results = events.iter().filter_map(|event| match event {
        FromTrainer::Epoch(EpochLine { id, epoch, metrics, .. }) => {
            let bits = metrics.iter().map(|(_, value)| value.to_bits()).collect();
            Some((id.clone(), *epoch, bits))
        }
        _ => None,
    });
    results.collect()
}

/// The bytes of the tensors in a file, which are in the order of their names.
fn tensors(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

#[test]
fn a_job_that_pauses_twice_ends_with_the_numbers_and_weights_of_one_that_does_not() {
    // Rates fall towards the end of the job, not of an attempt.
    let scheduled = json!({"lr_schedule": "cosine", "warmup_epochs": 2, "optimizer": "sgd", "momentum": 0.9,
        "weight_decay": 0.01, "gradient_clip_norm": 1.0, "label_smoothing": 0.1, "augmentation": "flip_crop"});
    let stepped = json!({"lr_schedule": "step", "optimizer": "adamw", "weight_decay": 0.1});
    for (jobs, more) in [(1, json!({})), (2, json!({})), (1, scheduled.clone()), (2, scheduled), (2, stepped)]
    {
        let request = |jobs, attempt, until_epoch, weights: &Path| {
            request_with(&more, jobs, attempt, until_epoch, weights)
        };
        let folder = tempfile::tempdir().unwrap();
        let [whole, parts, place, other] = ["whole", "parts", "place", "other"].map(|name| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        });
        let expected = trained(&other, jobs, &request(jobs, 1, None, &whole));
        let mut sofar = Vec::new();
        for (attempt, until_epoch) in [(1, Some(1)), (2, Some(3)), (3, None)] {
            let events = trained(&place, jobs, &request(jobs, attempt, until_epoch, &parts));
            let ends = outline(&events).into_iter().filter(|line| line.contains("Paused")).count();
            assert_eq!(ends, if until_epoch.is_some() { jobs } else { 0 }, "{:?}", outline(&events));
            let kept = std::fs::read_dir(place.join("1-9/0")).map_or(0, Iterator::count);
            assert_eq!(
                kept > 0,
                until_epoch.is_some(),
                "kept while it is paused, and removed once it is done"
            );
            assert_eq!(parts.join("0").exists(), until_epoch.is_none());
            sofar.push(results(&events));
        }
        // Those of a checkpoint are told again, with the same numbers.
        let mut last = sofar.pop().unwrap();
        let mut expected = results(&expected);
        last.sort();
        expected.sort();
        assert_eq!(last, expected, "{jobs} with {more}");
        for job in 0..jobs {
            let [whole, parts] = [&whole, &parts].map(|folder| tensors(&folder.join(job.to_string())));
            assert!(whole == parts, "job {job} of {jobs} has other weights");
        }
    }
}

#[test]
fn a_job_whose_pause_was_not_heard_says_it_again_and_trains_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (place, weights) = (folder.path().join("place"), folder.path());
    trained(&place, 1, &request(1, 1, Some(2), weights));
    let again = trained(&place, 1, &request(1, 2, Some(2), weights));
    assert_eq!(outline(&again), ["ready", "a started", "a epoch 1", "a epoch 2", "a Paused"]);
}

#[test]
fn a_job_that_finds_no_checkpoint_trains_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let (place, weights) = (folder.path().join("place"), folder.path());
    let first = trained(&place, 1, &request(1, 1, Some(2), weights));
    std::fs::remove_dir_all(place.join("1-9")).unwrap();
    let again = trained(&place, 1, &request(1, 2, Some(3), weights));
    let FromTrainer::Started { resumed_epochs: 0, .. } = &again[1] else { panic!("{again:?}") };
    assert_eq!(results(&again)[..2], results(&first), "with the same numbers");
    assert_eq!(outline(&again).last().unwrap(), "a Paused");
}

#[test]
fn a_job_that_is_to_pause_where_it_ends_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let events = trained(&folder.path().join("place"), 1, &request(1, 1, Some(4), folder.path()));
    assert_eq!(outline(&events).last().unwrap(), "a Done");
}
