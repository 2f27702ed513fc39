//! Specification of the conversation about several jobs at a time.

use serde_json::{Value, json};
use trainer_protocol::{EpochLine, FromTrainer};

use super::*;

/// A request to train jobs: an id and what is not as in [`parameters`] of each.
fn request(jobs: &[(&str, Value)]) -> Value {
    let ids: Vec<&str> = jobs.iter().map(|(id, _)| *id).collect();
    let mut request: Value = serde_json::from_str(&train(&ids, &parameters())).unwrap();
    for (job, (_, changes)) in request["jobs"].as_array_mut().unwrap().iter_mut().zip(jobs) {
        for (name, value) in changes.as_object().unwrap() {
            job["parameters"][name] = value.clone();
        }
    }
    request
}

/// The same with a place for the checkpoints of each.
fn with_checkpoints(mut request: Value, attempt: u32) -> String {
    for (number, job) in request["jobs"].as_array_mut().unwrap().iter_mut().enumerate() {
        let key = format!("1-9/{number}");
        job["checkpoints"] = json!({"key": key, "attempt": attempt, "every_epochs": 100});
    }
    line(&request)
}

fn line(request: &Value) -> String {
    format!("{request}\n")
}

fn pair(changes: Value) -> [(&'static str, Value); 2] {
    let mut other = changes.clone();
    other["activation"] = json!("sigmoid");
    [("a", changes), ("b", other)]
}

fn stop_of(id: &str, checkpoint: bool) -> Option<ToTrainer> {
    Some(ToTrainer::Stop { id: id.into(), checkpoint })
}

/// What was reported of one job.
fn of<'a>(id: &str, events: &'a [FromTrainer]) -> Vec<&'a FromTrainer> {
    let is_its = |event: &&FromTrainer| match event {
        FromTrainer::Started { id: whose, .. }
        | FromTrainer::Progress { id: whose, .. }
        | FromTrainer::Kept { id: whose }
        | FromTrainer::Epoch(EpochLine { id: whose, .. })
        | FromTrainer::Ended { id: whose, .. } => whose == id,
        FromTrainer::Ready { .. } | FromTrainer::Preparing { .. } => false,
    };
    events.iter().filter(is_its).collect()
}

/// Epoch and loss of each of a job's records.
fn losses(id: &str, events: &[FromTrainer]) -> Vec<(u32, f64)> {
    let loss = |event: &&FromTrainer| match event {
        FromTrainer::Epoch(line) => Some((line.epoch, line.metrics.get("train_loss")?)),
        _ => None,
    };
    of(id, events).iter().filter_map(loss).collect()
}

fn assert_close(found: &[(u32, f64)], expected: &[(u32, f64)]) {
    assert_eq!(found.len(), expected.len());
    for (one, other) in found.iter().zip(expected) {
        assert!(
            one.0 == other.0 && (one.1 - other.1).abs() < 1e-3 * other.1,
            "{found:?} is not {expected:?}"
        );
    }
}

#[test]
fn each_job_of_a_pack_has_lines_of_its_own() {
    let (events, end) = listen(&line(&request(&pair(json!({})))), 2);
    assert!(end.is_ok());
    let expected = [
        "ready",
        "a started",
        "b started",
        "a epoch 1",
        "b epoch 1",
        "a epoch 2",
        "a Done",
        "b epoch 2",
        "b Done",
    ];
    assert_eq!(outline(&events), expected);
    let seconds = |event: &FromTrainer| match event {
        FromTrainer::Epoch(line) => line.epoch_seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds(&events[3]), seconds(&events[4]), "the pack's");
    for job in pair(json!({})) {
        let (alone, _) = listen(&line(&request(std::slice::from_ref(&job))), 1);
        assert_close(&losses(job.0, &events), &losses(job.0, &alone));
    }
}

#[test]
fn jobs_that_do_not_agree_train_one_group_after_another() {
    let jobs = [
        ("a", json!({"epochs": 1})),
        ("b", json!({"epochs": 1, "batch_size": 5})),
        ("c", json!({"epochs": 1, "learning_rate": 0.1})),
        ("d", json!({"epochs": 1, "activation": "elu"})),
    ];
    let (events, _) = listen(&line(&request(&jobs)), 4);
    let expected = [
        "ready",
        "d Rejected",
        "a started",
        "c started",
        "a epoch 1",
        "a Done",
        "c epoch 1",
        "c Done",
        "b started",
        "b epoch 1",
        "b Done",
    ];
    assert_eq!(outline(&events), expected);
}

#[test]
fn a_job_that_diverges_ends_alone() {
    let jobs = |rate: f64| [("a", json!({})), ("b", json!({"learning_rate": rate})), ("c", json!({}))];
    let data = glaring_noise();
    let train =
        |rate| converse(&line(&request(&jobs(rate))), 3, &mut |_, _| Ok(Rc::clone(&data)), |_| None).0;
    let (tame, events) = (train(0.001), train(1000.0));
    let reason = "the training loss was not finite any more in epoch 1";
    let end = FromTrainer::ended("b", TrainerOutcome::Diverged, reason);
    assert_eq!(of("b", &events)[1..], [&end]);
    for id in ["a", "c"] {
        assert_eq!(losses(id, &events), losses(id, &tame));
        assert!(matches!(of(id, &events)[3], FromTrainer::Ended { outcome: TrainerOutcome::Done, .. }));
    }
}

#[test]
fn a_job_that_is_stopped_ends_alone() {
    let input = line(&request(&pair(json!({"epochs": 4}))));
    let data = noise();
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    let (whole, _) = converse(&input, 2, load, |_| None);
    let (events, _) = converse(&input, 2, load, |event| match event {
        FromTrainer::Epoch(EpochLine { id, epoch: 2, .. }) if id == "b" => stop_of("a", false),
        _ => None,
    });
    let expected =
        ["a epoch 1", "b epoch 1", "a epoch 2", "b epoch 2", "a Stopped", "b epoch 3", "b epoch 4", "b Done"];
    assert_eq!(outline(&events)[3..], expected);
    assert_eq!(losses("b", &events), losses("b", &whole));
}

#[test]
fn a_pack_whose_jobs_are_all_stopped_makes_room_for_the_next() {
    let data = noise();
    let input = line(&request(&pair(json!({"epochs": 10_000}))));
    let (events, end) = converse(&input, 3, &mut |_, _| Ok(Rc::clone(&data)), |event| match event {
        FromTrainer::Epoch(EpochLine { id, epoch: 2, .. }) => stop_of(id, false),
        FromTrainer::Ended { id, .. } if id == "b" => {
            Some(serde_json::from_str(&train(&["c"], &parameters())).unwrap())
        }
        _ => None,
    });
    assert!(end.is_ok());
    let outline = outline(&events);
    assert_eq!(outline[3..9], ["a epoch 1", "b epoch 1", "a epoch 2", "b epoch 2", "a Stopped", "b Stopped"]);
    assert_eq!(outline.last().unwrap(), "c Done");
}

#[test]
fn every_job_in_training_gives_hints() {
    let data = noise();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&heard);
    let input = line(&request(&pair(json!({}))));
    let (_, end) = converse(&input, 2, &mut |_, _| Ok(Rc::clone(&data)), move |event| {
        if let FromTrainer::Progress { id, epoch, fraction, .. } = event {
            all.lock().unwrap().push((id.clone(), *epoch, *fraction));
        }
        None
    });
    assert!(end.is_ok());
    let heard = heard.lock().unwrap();
    assert_eq!(heard[..2], ["a", "b"].map(|id| (id.to_owned(), 1, 1.0 / 3.0)), "at once and together");
}

#[test]
fn a_job_of_a_pack_goes_on_from_its_checkpoint_alone_or_in_another_pack() {
    let jobs = pair(json!({"epochs": 6}));
    let (whole, _) = listen(&line(&request(&jobs)), 2);
    let folder = tempfile::tempdir().unwrap();
    let store = || CheckpointStore::open(folder.path().to_str().unwrap()).ok();
    let data = noise();
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    // The first stops after two epochs, the second after four.
    let both = with_checkpoints(request(&jobs), 1);
    let (before, _) = converse_with_checkpoints(store(), &both, 2, load, |event| match event {
        FromTrainer::Epoch(EpochLine { id, epoch: 2, .. }) if id == "a" => stop_of("a", true),
        FromTrainer::Epoch(EpochLine { id, epoch: 4, .. }) if id == "b" => stop_of("b", true),
        _ => None,
    });
    assert_eq!(outline(&before)[before.len() - 1], "b Stopped");
    assert_eq!(losses("b", &before), losses("b", &whole)[..4]);
    // Together again, with one that has no checkpoint.
    let [a, b] = jobs;
    let three = with_checkpoints(request(&[a, b, ("c", json!({"epochs": 6, "learning_rate": 0.0005}))]), 2);
    let (after, _) = converse_with_checkpoints(store(), &three, 3, load, |_| None);
    let expected = [
        "ready",
        "a started",
        "a epoch 1",
        "a epoch 2",
        "b started",
        "b epoch 1",
        "b epoch 2",
        "b epoch 3",
        "b epoch 4",
        "c started",
        "c epoch 1",
        "c epoch 2",
        "a epoch 3",
        "c epoch 3",
        "a epoch 4",
        "c epoch 4",
        "a epoch 5",
        "b epoch 5",
        "c epoch 5",
        "a epoch 6",
        "a Done",
        "b epoch 6",
        "b Done",
        "c epoch 6",
        "c Done",
    ];
    assert_eq!(outline(&after), expected);
    assert_eq!(of("b", &before)[1..5], of("b", &after)[1..5], "the same numbers and times");
    for id in ["a", "b"] {
        assert_close(&losses(id, &after), &losses(id, &whole));
    }
    assert!(!folder.path().join("1-9/0").exists() && !folder.path().join("1-9/1").exists());
}

#[test]
fn jobs_that_were_stopped_within_an_epoch_meet_there() {
    let jobs = pair(json!({"epochs": 3, "batch_size": 1}));
    let (whole, _) = listen(&line(&request(&jobs)), 2);
    let folder = tempfile::tempdir().unwrap();
    let store = || CheckpointStore::open(folder.path().to_str().unwrap()).ok();
    let data = noise();
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    // The hint of the first batch stops the first job there; the second has trained an epoch more by its stop.
    let both = with_checkpoints(request(&jobs), 1);
    let (before, _) = converse_with_checkpoints(store(), &both, 2, load, |event| match event {
        FromTrainer::Progress { id, epoch: 1, .. } if id == "a" => stop_of("a", true),
        FromTrainer::Epoch(EpochLine { id, epoch: 1, .. }) if id == "b" => stop_of("b", true),
        _ => None,
    });
    assert_eq!(outline(&before)[3..], ["a Stopped", "b epoch 1", "b Stopped"]);
    let both = with_checkpoints(request(&jobs), 2);
    let (after, _) = converse_with_checkpoints(store(), &both, 2, load, |_| None);
    assert_eq!(outline(&after)[1..4], ["a started", "b started", "b epoch 1"]);
    for id in ["a", "b"] {
        assert_close(&losses(id, &after), &losses(id, &whole));
    }
}

#[test]
fn what_libtorch_refuses_fails_every_job_of_the_pack_and_the_next_is_trained() {
    // Labels for which there are no logits.
    let bytes = vec![0_u8; 8 * 8 * 8 * 3];
    let images = Tensor::from_slice(&bytes).view([8, 8, 8, 3]);
    let split = split(8, 0.25, 0).unwrap();
    let broken =
        Rc::new(TrainingData::in_memory(&images, &[5; 8], &["cat", "dog"], &split, Device::Cpu).unwrap());
    let whole = noise();
    let mut loads = [broken, whole].into_iter();
    let input = line(&request(&pair(json!({}))));
    let (events, _) = converse(&input, 3, &mut |_, _| Ok(loads.next().unwrap()), |event| match event {
        FromTrainer::Ended { id, .. } if id == "b" => {
            Some(serde_json::from_str(&train(&["c"], &parameters())).unwrap())
        }
        _ => None,
    });
    let expected = ["ready", "a started", "b started", "a Failed", "b Failed", "c started"];
    assert_eq!(outline(&events)[..6], expected);
    assert_eq!(outline(&events).last().unwrap(), "c Done");
}
