//! Specification of the conversation between agent and trainer, over pipes in memory.

#[path = "session_tests/requests.rs"]
mod requests;

use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    time::Instant,
};

use dataset::progress::Step;
use serde_json::{Value, json};
use tch::{Device, Tensor};
use trainer_protocol::{EpochLine, LINE_BYTES_MAX};

use super::super::lines::{HINT_INTERVAL, REQUESTS_WAITING_MAX, RequestsEnd, read_requests};
use super::*;
use crate::{config::simple_cnn, split::split};

/// 40 images of noise in two classes; what is learnt does not matter here.
fn noise() -> Rc<TrainingData> {
    noise_times(None)
}

/// The same so glaring that with the largest learning rate a manifest allows, the loss is beyond float32 within an epoch.
fn glaring_noise() -> Rc<TrainingData> {
    noise_times(Some(1e20))
}

fn noise_times(factor: Option<f64>) -> Rc<TrainingData> {
    tch::set_num_threads(1);
    let bytes: Vec<u8> =
        (0..40 * 8 * 8 * 3_usize).map(|place| ((place * 2_654_435_761) >> 9) as u8).collect();
    let labels: Vec<u8> = (0..40).map(|image| (image % 2) as u8).collect();
    let images = Tensor::from_slice(&bytes).view([40, 8, 8, 3]);
    let images =
        factor.map_or_else(|| images.shallow_clone(), |factor| images.to_kind(tch::Kind::Float) * factor);
    let split = split(40, 0.25, 0).unwrap();
    Rc::new(TrainingData::in_memory(&images, &labels, &["cat", "dog"], &split, Device::Cpu).unwrap())
}

fn parameters() -> Value {
    json!({"activation": "relu", "learning_rate": 0.001, "batch_size": 10, "epochs": 2, "seed": 0})
}

fn train(ids: &[&str], parameters: &Value) -> String {
    let jobs: Vec<Value> =
        ids.iter().map(|id| json!({"id": id, "model": "simple_cnn", "parameters": parameters})).collect();
    let dataset = json!({"path": "/data", "image_size": 8, "val_fraction": 0.25, "split_seed": 0});
    format!("{}\n", json!({"type": "train", "jobs": jobs, "dataset": dataset}))
}

fn stop(id: &str) -> String {
    format!("{}\n", json!({"type": "stop", "id": id}))
}

/// Hears what the trainer writes, answers through `reaction` at that very moment, and hangs up after `jobs` jobs
/// have ended.
struct Agent<Reaction> {
    heard: Arc<Mutex<Vec<FromTrainer>>>,
    requests: Option<SyncSender<Request>>,
    jobs: usize,
    reaction: Reaction,
}

impl<Reaction: FnMut(&FromTrainer) -> Option<ToTrainer>> Write for Agent<Reaction> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1),
            "one whole line at a time"
        );
        let event = serde_json::from_slice(line)?;
        if let (Some(answer), Some(requests)) = ((self.reaction)(&event), &self.requests) {
            requests.try_send(Ok(answer)).unwrap();
        }
        self.jobs -= usize::from(matches!(event, FromTrainer::Ended { .. }));
        if self.jobs == 0 {
            self.requests = None;
        }
        self.heard.lock().unwrap().push(event);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Speaks `input` to a trainer. Gives what it said, without hints, and how the session ended.
fn converse(
    input: &str,
    jobs: usize,
    load: &mut Load<'_>,
    reaction: impl FnMut(&FromTrainer) -> Option<ToTrainer> + Send,
) -> (Vec<FromTrainer>, Result<(), SessionError>) {
    converse_with_checkpoints(None, input, jobs, load, reaction)
}

fn converse_with_checkpoints(
    checkpoints: Option<CheckpointStore>,
    input: &str,
    jobs: usize,
    load: &mut Load<'_>,
    reaction: impl FnMut(&FromTrainer) -> Option<ToTrainer> + Send,
) -> (Vec<FromTrainer>, Result<(), SessionError>) {
    let (sender, requests) = sync_channel(REQUESTS_WAITING_MAX);
    read_requests(input.as_bytes(), &sender);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let agent = Agent { heard: Arc::clone(&heard), requests: Some(sender), jobs, reaction };
    let end = serve(&requests, agent, "cpu".into(), checkpoints, load);
    let heard = heard.lock().unwrap();
    let hint =
        |event: &FromTrainer| matches!(event, FromTrainer::Progress { .. } | FromTrainer::Preparing { .. });
    (heard.iter().filter(|event| !hint(event)).cloned().collect(), end)
}

/// A conversation with the data set of noise and an agent that only listens.
fn listen(input: &str, jobs: usize) -> (Vec<FromTrainer>, Result<(), SessionError>) {
    let data = noise();
    converse(input, jobs, &mut |_, _| Ok(Rc::clone(&data)), |_| None)
}

/// The events' types, with the outcome of an end.
fn outline(events: &[FromTrainer]) -> Vec<String> {
    let outline = events.iter().map(|event| match event {
        FromTrainer::Ended { id, outcome, .. } => format!("{id} {outcome:?}"),
        FromTrainer::Epoch(EpochLine { id, epoch, .. }) => format!("{id} epoch {epoch}"),
        FromTrainer::Started { id, .. } => format!("{id} started"),
        other => serde_json::to_value(other).unwrap()["type"].as_str().unwrap().to_owned(),
    });
    outline.collect()
}

#[test]
fn a_job_is_trained_to_its_end() {
    let (events, end) = listen(&train(&["a"], &parameters()), 1);
    assert!(end.is_ok());
    assert_eq!(outline(&events), ["ready", "a started", "a epoch 1", "a epoch 2", "a Done"]);
    assert_eq!(
        events[0],
        FromTrainer::Ready { protocol: 4, device: "cpu".into(), trainables: vec![simple_cnn().clone()] }
    );
    let FromTrainer::Started { dataset, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!((dataset.train_images, dataset.val_images), (30, 10));
    let FromTrainer::Epoch(EpochLine { metrics, epoch_seconds, .. }) = &events[2] else {
        panic!("{events:?}")
    };
    let names: Vec<&str> = metrics.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["train_loss", "val_accuracy", "val_loss", "train_accuracy"]);
    let is_share = |name| metrics.get(name).is_some_and(|share| (0.0..=1.0).contains(&share));
    let is_finite = |name| metrics.get(name).is_some_and(f64::is_finite);
    assert!(is_share("val_accuracy") && is_share("train_accuracy"));
    assert!(is_finite("train_loss") && is_finite("val_loss") && *epoch_seconds > 0.0);
}

#[test]
fn a_trainer_takes_job_after_job() {
    let input = train(&["a"], &parameters());
    let data = noise();
    let (events, _) = converse(&input, 2, &mut |_, _| Ok(Rc::clone(&data)), |event| {
        let first_ended = matches!(event, FromTrainer::Ended { id, .. } if id == "a");
        first_ended.then(|| serde_json::from_str(&train(&["b"], &parameters())).unwrap())
    });
    let outline = outline(&events);
    assert_eq!(outline[4..], ["a Done", "b started", "b epoch 1", "b epoch 2", "b Done"]);
}

#[test]
fn a_job_whose_layers_leave_nothing_of_a_picture_fails_for_good_before_the_data_set_is_touched() {
    let mut deep = parameters();
    deep["channels"] = json!("4,4,4,4,4,4,4,4,4,4");
    let mut load =
        |_: &DatasetSpec, _: &mut dyn FnMut(Progress) -> Flow| panic!("the data set was asked for");
    let (events, _) = converse(&train(&["a"], &deep), 1, &mut load, |_| None);
    let FromTrainer::Ended { outcome, reason, details, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!((*outcome, details.again), (TrainerOutcome::Failed, terms::Again::No));
    assert!(reason.contains("10 convolutions are too many for images of 8 pixels"), "{reason}");
}

#[test]
fn parameters_that_cannot_be_used_are_rejected_before_the_data_set_is_touched() {
    let mut wrong = parameters();
    wrong["precision"] = json!("fp8");
    let mut load =
        |_: &DatasetSpec, _: &mut dyn FnMut(Progress) -> Flow| panic!("the data set was asked for");
    let (events, _) = converse(&train(&["a"], &wrong), 1, &mut load, |_| None);
    let reason = "parameter `precision` must be one of fp32, bf16, but is `fp8`";
    assert_eq!(events[1], FromTrainer::ended("a", TrainerOutcome::Rejected, reason));
}

#[test]
fn a_data_set_that_cannot_be_used_is_rejected_and_want_of_memory_is_a_failure() {
    let mut load =
        |_: &DatasetSpec, _: &mut dyn FnMut(Progress) -> Flow| Err(DatasetError::ImageSize { found: 10 });
    let (events, _) = converse(&train(&["a"], &parameters()), 1, &mut load, |_| None);
    assert_eq!(outline(&events), ["ready", "a Rejected"]);

    let mut load = |_: &DatasetSpec, _: &mut dyn FnMut(Progress) -> Flow| {
        Err(DatasetError::Data(dataset::DataError::Changed { path: "/data".into() }))
    };
    let (events, _) = converse(&train(&["a"], &parameters()), 1, &mut load, |_| None);
    assert_eq!(outline(&events), ["ready", "a Unavailable"], "it may be over at the next try");

    let memory = "DefaultCPUAllocator: can't allocate memory\nException raised from alloc";
    let mut load = |_: &DatasetSpec, _: &mut dyn FnMut(Progress) -> Flow| {
        Err(DatasetError::Torch(tch::TchError::Torch(memory.into())))
    };
    let (events, _) = converse(&train(&["a"], &parameters()), 1, &mut load, |_| None);
    let FromTrainer::Ended { outcome: TrainerOutcome::Failed, reason, .. } = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!(reason, "Internal torch error: DefaultCPUAllocator: can't allocate memory");
}

#[test]
fn a_device_that_fails_ends_the_trainer_without_a_word_on_the_job() {
    let error = "CUDA error: an illegal memory access was encountered\nException raised from";
    let mut load = |_: &DatasetSpec, _: &mut dyn FnMut(Progress) -> Flow| {
        Err(DatasetError::Torch(tch::TchError::Torch(error.into())))
    };
    let (events, end) = converse(&train(&["a"], &parameters()), 0, &mut load, |_| None);
    assert_eq!(outline(&events), ["ready"]);
    let told = end.unwrap_err().to_string();
    assert_eq!(
        told,
        "training failed on the CUDA device: Internal torch error: CUDA error: an illegal memory access was encountered"
    );
}

#[test]
fn a_job_that_diverges_names_the_epoch() {
    let mut wild = parameters();
    wild["learning_rate"] = json!(1000);
    let data = glaring_noise();
    let (events, _) = converse(&train(&["a"], &wild), 1, &mut |_, _| Ok(Rc::clone(&data)), |_| None);
    let reason = "the training loss was not finite any more in epoch 1";
    assert_eq!(events[2], FromTrainer::ended("a", TrainerOutcome::Diverged, reason));
}

#[test]
fn a_running_job_is_stopped_and_the_next_one_trained() {
    let mut long = parameters();
    long["epochs"] = json!(10_000);
    let data = noise();
    let (events, end) =
        converse(&train(&["a"], &long), 2, &mut |_, _| Ok(Rc::clone(&data)), |event| match event {
            FromTrainer::Epoch(EpochLine { id, epoch: 2, .. }) if id == "a" => {
                Some(ToTrainer::Stop { id: id.clone(), checkpoint: false })
            }
            FromTrainer::Ended { id, .. } if id == "a" => {
                Some(serde_json::from_str(&train(&["b"], &parameters())).unwrap())
            }
            _ => None,
        });
    assert!(end.is_ok());
    let outline = outline(&events);
    assert_eq!(outline[..5], ["ready", "a started", "a epoch 1", "a epoch 2", "a Stopped"]);
    assert_eq!(outline.last().unwrap(), "b Done");
}

#[test]
fn a_job_that_is_stopped_with_a_checkpoint_goes_on_with_the_numbers_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = || CheckpointStore::open(folder.path().to_str().unwrap()).ok();
    let mut parameters = parameters();
    parameters["epochs"] = json!(6);
    let request = |attempt: u32| {
        let mut request: Value = serde_json::from_str(&train(&["a"], &parameters)).unwrap();
        request["jobs"][0]["checkpoints"] = json!({"key": "1-9/1", "attempt": attempt, "every_epochs": 100});
        format!("{request}\n")
    };
    let data = noise();
    let stop = |event: &FromTrainer| match event {
        FromTrainer::Epoch(EpochLine { epoch: 4, .. }) => {
            Some(ToTrainer::Stop { id: "a".into(), checkpoint: true })
        }
        _ => None,
    };
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    let (before, _) = converse_with_checkpoints(store(), &request(1), 1, load, stop);
    assert_eq!(outline(&before).last().unwrap(), "a Stopped");
    let (after, _) = converse_with_checkpoints(store(), &request(2), 1, load, |_| None);
    let FromTrainer::Started { resumed_epochs, .. } = after[1] else { panic!("{after:?}") };
    assert_eq!(resumed_epochs, 4);
    assert_eq!(before[2..6], after[2..6], "the same numbers and times");
    assert_eq!(outline(&after)[6..], ["a epoch 5", "a epoch 6", "a Done"]);
    assert!(!folder.path().join("1-9/1").exists(), "a job that is done needs no checkpoint");
}

#[test]
fn a_job_keeps_a_checkpoint_when_asked_and_goes_on_and_so_does_what_begins_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = || CheckpointStore::open(folder.path().to_str().unwrap()).ok();
    let mut parameters = parameters();
    parameters["epochs"] = json!(9);
    let request = |key: &str, attempt: u32| {
        let mut request: Value = serde_json::from_str(&train(&["a"], &parameters)).unwrap();
        let never = trainer_protocol::ONLY_WHEN_ASKED;
        request["jobs"][0]["checkpoints"] = json!({"key": key, "attempt": attempt, "every_epochs": never});
        format!("{request}\n")
    };
    let data = noise();
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    let other = folder.path().join("1-9/2");
    // What is kept is copied as soon as that is said: the job goes on, and removes it when it is done.
    let keep = |event: &FromTrainer| match event {
        FromTrainer::Epoch(EpochLine { epoch: 2, .. }) => Some(ToTrainer::Keep { id: "a".into() }),
        FromTrainer::Kept { id } if id == "a" => {
            std::fs::create_dir_all(&other).unwrap();
            for file in std::fs::read_dir(folder.path().join("1-9/1")).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), other.join(file.file_name())).unwrap();
            }
            None
        }
        _ => None,
    };
    let (whole, _) = converse_with_checkpoints(store(), &request("1-9/1", 1), 1, load, keep);
    let is_epoch = |event: &&FromTrainer| matches!(event, FromTrainer::Epoch(_));
    let numbers = |events: &[FromTrainer]| -> Vec<_> {
        let line = |event: &FromTrainer| match event {
            FromTrainer::Epoch(line) => Some((line.epoch, line.metrics.clone())),
            _ => None,
        };
        events.iter().filter(is_epoch).filter_map(line).collect()
    };
    assert_eq!(whole.iter().filter(|event| matches!(event, FromTrainer::Kept { .. })).count(), 1);
    assert_eq!(outline(&whole).last().unwrap(), "a Done");
    let (again, _) = converse_with_checkpoints(store(), &request("1-9/2", 2), 1, load, |_| None);
    let FromTrainer::Started { resumed_epochs, .. } = again[1] else { panic!("{again:?}") };
    assert!((2..9).contains(&resumed_epochs), "{resumed_epochs}");
    assert_eq!(numbers(&whole), numbers(&again));
}

#[test]
fn checkpoints_are_kept_every_n_epochs_as_asked_and_otherwise_not_after_short_ones() {
    let folder = tempfile::tempdir().unwrap();
    let data = noise();
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    let mut parameters = parameters();
    parameters["epochs"] = json!(100);
    for (every_epochs, expected) in [(0, 0), (1, 2), (3, 1)] {
        let key = format!("1-9/{every_epochs}");
        let mut request: Value = serde_json::from_str(&train(&["a"], &parameters)).unwrap();
        request["jobs"][0]["checkpoints"] = json!({"key": key, "attempt": 1, "every_epochs": every_epochs});
        let store = CheckpointStore::open(folder.path().to_str().unwrap()).ok();
        // What was to be written is, before the job's end is reported.
        let stop = |event: &FromTrainer| match event {
            FromTrainer::Epoch(EpochLine { epoch: 4, .. }) => {
                Some(ToTrainer::Stop { id: "a".into(), checkpoint: false })
            }
            _ => None,
        };
        let (events, _) = converse_with_checkpoints(store, &format!("{request}\n"), 1, load, stop);
        assert_eq!(outline(&events).last().unwrap(), "a Stopped");
        let kept = std::fs::read_dir(folder.path().join(&key)).map_or(0, Iterator::count);
        assert_eq!(kept, expected, "each {every_epochs} epochs");
    }
}

#[test]
fn a_stop_that_comes_before_the_job_begins_keeps_it_from_beginning() {
    let (events, _) = listen(&(train(&["a", "b"], &parameters()) + &stop("a")), 2);
    assert_eq!(outline(&events)[..3], ["ready", "a Stopped", "b started"]);
}

#[test]
fn jobs_are_stopped_while_the_data_set_is_prepared_and_the_others_go_on() {
    let data = noise();
    let mut requests = 0;
    // The first request's jobs are both stopped, of the second's only one.
    let half = Progress { step: Step::Packing, share: 0.5, done: 1 };
    let mut load = |_: &DatasetSpec, progress: &mut dyn FnMut(Progress) -> Flow| {
        requests += 1;
        if requests == 2 {
            assert_eq!(progress(half), Flow::Continue);
            return Ok(Rc::clone(&data));
        }
        while progress(half) == Flow::Continue {}
        Err(DatasetError::GivenUp)
    };
    let input = train(&["a", "b"], &parameters()) + &stop("a") + &stop("b");
    let hints = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&hints);
    let (events, end) = converse(&input, 4, &mut load, move |event| match event {
        FromTrainer::Preparing { .. } => {
            heard.lock().unwrap().push(event.clone());
            None
        }
        FromTrainer::Ended { id, .. } if id == "b" => {
            Some(serde_json::from_str(&train(&["c", "d"], &parameters())).unwrap())
        }
        FromTrainer::Ended { id, .. } if id == "d" => None,
        _ => None,
    });
    assert!(end.is_ok());
    let outline = outline(&events);
    assert_eq!(outline[..4], ["ready", "a Stopped", "b Stopped", "c started"]);
    assert_eq!(outline.len(), 3 + 2 * 4);
    let doing = half.to_string();
    assert_eq!(hints.lock().unwrap().first(), Some(&FromTrainer::Preparing { fraction: 0.5, doing }));
}

#[test]
fn each_validation_is_reported_when_it_begins_however_short_the_epoch_was() {
    let data = noise();
    let hints = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&hints);
    let input = train(&["a"], &parameters());
    let (_, end) = converse(&input, 1, &mut |_, _| Ok(Rc::clone(&data)), move |event| {
        if let FromTrainer::Progress { epoch, validating: true, .. } = event {
            heard.lock().unwrap().push(*epoch);
        }
        None
    });
    assert!(end.is_ok());
    let mut hints = hints.lock().unwrap();
    hints.dedup();
    assert_eq!(*hints, [1, 2]);
}

#[test]
fn hints_come_five_times_a_second_at_most() {
    let mut written = Vec::new();
    let output = Output::new(&mut written);
    let started = Instant::now();
    for step in 0..10_000 {
        output
            .hint(&FromTrainer::Preparing { fraction: f64::from(step) / 10_000.0, doing: String::new() })
            .unwrap();
    }
    let allowed = 1 + started.elapsed().as_millis() as usize / HINT_INTERVAL.as_millis() as usize;
    let lines = written.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..=allowed).contains(&lines), "{lines} of {allowed}");
}

#[test]
fn an_agent_that_is_gone_ends_the_session_in_the_middle_of_a_job() {
    struct Closed(usize);
    impl Write for Closed {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (sender, requests) = sync_channel(REQUESTS_WAITING_MAX);
    read_requests(train(&["a"], &parameters()).as_bytes(), &sender);
    let data = noise();
    let end = serve(&requests, Closed(3), "cpu".into(), None, &mut |_, _| Ok(Rc::clone(&data)));
    assert!(matches!(end, Err(SessionError::Output(_))));
}

#[path = "session_pack_tests.rs"]
mod packs;

#[path = "session_pause_tests.rs"]
mod pauses;

#[test]
fn a_job_whose_checkpoint_cannot_be_written_does_not_say_that_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(folder.path().to_str().unwrap()).unwrap();
    // The folder of its sweep is a file.
    std::fs::write(folder.path().join("1-9"), b"").unwrap();
    let mut request: Value = serde_json::from_str(&train(&["a"], &parameters())).unwrap();
    let never = trainer_protocol::ONLY_WHEN_ASKED;
    request["jobs"][0]["checkpoints"] = json!({"key": "1-9/1", "attempt": 1, "every_epochs": never});
    let data = noise();
    let keep = |event: &FromTrainer| match event {
        FromTrainer::Epoch(EpochLine { epoch: 1, .. }) => Some(ToTrainer::Keep { id: "a".into() }),
        _ => None,
    };
    let load: &mut Load<'_> = &mut |_, _| Ok(Rc::clone(&data));
    let (said, _) = converse_with_checkpoints(Some(store), &format!("{request}\n"), 1, load, keep);
    assert!(!said.iter().any(|event| matches!(event, FromTrainer::Kept { .. })), "{said:?}");
    assert_eq!(outline(&said).last().unwrap(), "a Done");
}
