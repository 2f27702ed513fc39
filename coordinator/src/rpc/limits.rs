//! How much of what workers say is believed, and how much of it is kept.

use engine::{AttemptEvent, Event, SessionId};
use proto::v1::{self, event::Event as Wire, worker_message::Message};
use tonic::Code;

use super::convert;

fn heard(event: Option<Wire>) -> AttemptEvent {
    let attempt = Some(v1::AttemptRef { sweep_id: 1, job: 1, attempt: 1 });
    let message = Message::Event(v1::Event { sequence: 1, attempt, event });
    match convert::event(SessionId(1), 128, v1::WorkerMessage { message: Some(message) }) {
        Ok(Event::Attempt { event, .. }) => event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_epoch_has_a_possible_time_and_any_values() {
    let epoch = |train_loss, epoch_seconds| {
        let record = v1::EpochRecord { epoch: 1, train_loss, epoch_seconds, ..v1::EpochRecord::default() };
        heard(Some(Wire::Epoch(record)))
    };
    for (loss, seconds) in
        [(0.5, 0.0), (-1e300, terms::EPOCH_SECONDS_MAX), (f64::NAN, 1.0), (f64::INFINITY, 1.0)]
    {
        assert!(matches!(epoch(loss, seconds), AttemptEvent::Epoch(_)), "{loss} {seconds}");
    }
    for seconds in [f64::NAN, f64::INFINITY, -1.0, terms::EPOCH_SECONDS_MAX * 1.001, 1.7e308] {
        assert!(matches!(epoch(0.5, seconds), AttemptEvent::Unusable(_)), "{seconds}");
    }
    assert!(matches!(heard(None), AttemptEvent::Unusable(_)));
}

#[test]
fn an_epoch_has_the_metrics_that_its_worker_names() {
    let metrics = |record| match heard(Some(Wire::Epoch(record))) {
        AttemptEvent::Epoch(report) => report.metrics.to_vec(),
        _ => panic!(),
    };
    let older = v1::EpochRecord { epoch: 1, train_accuracy: Some(0.25), ..v1::EpochRecord::default() };
    let expected = [("train_loss", 0.0), ("val_accuracy", 0.0), ("train_accuracy", 0.25)];
    assert_eq!(metrics(older.clone()), expected.map(|(name, value)| (name.into(), value)));
    let named = |name: &str| v1::MetricValue { name: name.into(), value: 1.0 };
    let newer = v1::EpochRecord { metrics: vec![named("f1")], ..older };
    assert_eq!(metrics(newer), [("f1".into(), 1.0)]);
    assert_eq!(metrics(v1::EpochRecord { metrics_are_named: true, ..older.clone() }), []);
    let many = v1::EpochRecord { metrics: vec![named("x"); 5_000], ..older };
    assert_eq!(metrics(many).len(), terms::METRICS_REPORTED_MAX);
}

#[test]
fn what_waits_for_the_engine_is_weighed_with_its_metrics() {
    let bytes = |count: usize, name: &str| {
        let metrics =
            (0..count).map(|place| v1::MetricValue { name: format!("{name}{place}").into(), value: 1.0 });
        let record = v1::EpochRecord { epoch: 1, metrics: metrics.collect(), ..v1::EpochRecord::default() };
        let attempt = Some(v1::AttemptRef { sweep_id: 1, job: 1, attempt: 1 });
        let message = Message::Event(v1::Event { sequence: 1, attempt, event: Some(Wire::Epoch(record)) });
        convert::event(SessionId(1), 128, v1::WorkerMessage { message: Some(message) }).unwrap().bytes()
    };
    let least = bytes(1, "loss");
    assert_eq!(bytes(4, "loss"), least, "a few with short names need no memory of their own");
    assert!(bytes(1_000, "loss") >= least + 1_000 * 8);
    assert!(bytes(1, &"x".repeat(100_000)) > least + 100_000);
}

#[test]
fn of_a_log_the_last_lines_are_kept_and_each_is_cut() {
    let log_tail = (0..500).map(|line| format!("{line} {}", "ü".repeat(5_000))).collect();
    let ended = v1::AttemptEnded {
        outcome: 3,
        reason: "x".repeat(1 << 20),
        log_tail,
        weights: None,
        ..v1::AttemptEnded::default()
    };
    let AttemptEvent::Ended { reason, log_tail, .. } = heard(Some(Wire::Ended(ended))) else { panic!() };
    assert_eq!((reason.len(), log_tail.len()), (1_000, 50));
    assert!(log_tail[0].starts_with("450 ") && log_tail[49].starts_with("499 "));
    assert!(log_tail.iter().all(|line| line.chars().count() == 1_000));
}

#[test]
fn of_a_data_set_a_bounded_number_of_names_is_kept() {
    let found = |classes, skipped| {
        let examples = (0..1_000).map(|_| "n".repeat(3_000)).collect();
        let left_out = v1::LeftOut { reason: "r".repeat(3_000), examples, ..v1::LeftOut::default() };
        let dataset = v1::DatasetSummary {
            classes,
            skipped,
            train_by_class: vec![1; 1_000],
            left_out: vec![left_out; 1_000],
            ..v1::DatasetSummary::default()
        };
        let started = v1::AttemptStarted { dataset: Some(dataset), resumed_epochs: 0 };
        let AttemptEvent::Started { dataset, .. } = heard(Some(Wire::Started(started))) else { panic!() };
        dataset
    };
    let names = |length| (0..1_000).map(|_| "n".repeat(length)).collect();
    let dataset = found(names(3_000), names(250));
    assert_eq!((dataset.classes.len(), dataset.skipped.len()), (65, 256), "64 KiB, and 256");
    assert_eq!((dataset.train_by_class.len(), dataset.left_out.len()), (256, 32));
    assert!(dataset.left_out.iter().all(|one| one.reason.len() == 1_000 && one.examples.len() == 3));
    assert!(dataset.classes.iter().all(|name| name.len() == 1_000));
}

#[test]
fn a_data_set_that_cannot_be_is_no_start() {
    let found = |train_images, val_images, content_hash: &str| {
        let content_hash = content_hash.to_owned();
        let dataset =
            v1::DatasetSummary { train_images, val_images, content_hash, ..v1::DatasetSummary::default() };
        heard(Some(Wire::Started(v1::AttemptStarted { dataset: Some(dataset), resumed_epochs: 0 })))
    };
    let most = u64::MAX >> 1;
    assert!(matches!(found(most, 0, "abc"), AttemptEvent::Started { .. }));
    for (train, val, hash) in [
        (most, 1, "abc"),
        (u64::MAX, 0, "abc"),
        (u64::MAX, u64::MAX, "abc"),
        (1, 1, "a\0b"),
        (1, 1, &"h".repeat(200)),
    ] {
        assert!(matches!(found(train, val, hash), AttemptEvent::Unusable(_)), "{train} {val} {hash:?}");
    }
}

#[test]
fn a_heartbeat_names_no_more_than_the_slots_can_hold() {
    let beat = |attempts| {
        let attempt = Some(v1::AttemptRef { sweep_id: 1, job: 1, attempt: 1 });
        let running = vec![v1::AttemptProgress { attempt, epoch: 1, fraction: 0.5 }; attempts];
        let message = Some(Message::Heartbeat(v1::Heartbeat { running, gpus: Vec::new() }));
        convert::event(SessionId(1), 128, v1::WorkerMessage { message })
    };
    assert!(beat(128).is_ok());
    assert_eq!(beat(129).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn what_a_heartbeat_says_of_gpus_is_cut_to_size_and_costs_no_worker_its_stream() {
    let gpu = |device: &str, name: &str| v1::GpuUse {
        device: device.to_owned(),
        name: name.to_owned(),
        utilization_percent: Some(u32::MAX),
        memory_used_bytes: u64::MAX,
        memory_total_bytes: 9,
    };
    let mut gpus =
        vec![gpu("cuda:0\0", "H200"), gpu(&"c".repeat(65), "H200"), gpu("cuda:1", &"N".repeat(9_000))];
    gpus.extend(vec![gpu("cuda:2", "a\u{1b}[2J\0"); 5_000]);
    let message = Some(Message::Heartbeat(v1::Heartbeat { running: Vec::new(), gpus }));
    let heard = convert::event(SessionId(1), 128, v1::WorkerMessage { message }).unwrap();
    let Event::Heartbeat { gpus, .. } = heard else { panic!("a heartbeat, not {heard:?}") };
    assert!(gpus.len() <= 1_024, "{}", gpus.len());
    let first = &gpus[0];
    assert_eq!((first.device.as_str(), first.utilization_percent), ("cuda:1", Some(100)));
    assert_eq!((first.memory_used_bytes, first.memory_total_bytes), (9, 9));
    assert!(first.name.chars().count() <= 97, "{}", first.name);
    assert!(!gpus[1].name.contains('\0'), "{:?}", gpus[1].name);
}

#[test]
fn a_hello_that_cannot_be_is_refused() {
    let hello_with = |name: &str, slots: &[u32], held: usize, ended: bool| {
        let slot = |index: &u32| v1::Slot { index: *index, ..v1::Slot::default() };
        let attempt = Some(v1::AttemptRef { sweep_id: 1, job: 1, attempt: 1 });
        convert::hello(v1::Hello {
            protocol_version: proto::PROTOCOL_VERSION,
            name: name.into(),
            slots: slots.iter().map(slot).collect(),
            held: vec![v1::HeldAttempt { attempt, slot: 0, ended }; held],
            ..v1::Hello::default()
        })
    };
    let hello = |name: &str, slots: &[u32], held: usize| hello_with(name, slots, held, false);
    let many: Vec<u32> = (0..1_025).collect();
    assert!(hello("one", &many[..1_024], 2_048).is_ok());
    assert!(hello_with("one", &[0], 60_000, true).is_ok(), "of slots that it had before");
    assert!(hello_with("one", &[0], 70_000, true).is_err());
    for (what, refused) in [
        ("no name", hello("", &[0], 0)),
        ("a path for a name", hello("../one", &[0], 0)),
        ("a long name", hello(&"n".repeat(10_000), &[0], 0)),
        ("no slots", hello("one", &[], 0)),
        ("too many slots", hello("one", &many, 0)),
        ("a slot twice", hello("one", &[0, 0], 0)),
        ("too many attempts", hello("one", &[0], 2_049)),
    ] {
        assert_eq!(refused.expect_err(what).code(), Code::InvalidArgument, "{what}");
    }
    let with = |change: &dyn Fn(&mut v1::Hello)| {
        let mut hello = v1::Hello {
            protocol_version: proto::PROTOCOL_VERSION,
            name: "one".into(),
            slots: vec![v1::Slot::default(); 1],
            ..v1::Hello::default()
        };
        change(&mut hello);
        convert::hello(hello)
    };
    assert!(with(&|hello| hello.slots[0].pack_size_max = u32::MAX).is_ok(), "one pack of the largest");
    for (what, refused) in [
        ("a long instance", with(&|hello| hello.instance = "i".repeat(101))),
        ("a long host", with(&|hello| hello.host = "h".repeat(254))),
        ("a long version", with(&|hello| hello.software_version = "v".repeat(101))),
        ("a long device", with(&|hello| hello.slots[0].device = "d".repeat(65))),
        (
            "slots that train too much",
            with(&|hello| {
                hello.slots = (0..17)
                    .map(|index| v1::Slot { index, pack_size_max: 1_024, ..v1::Slot::default() })
                    .collect();
            }),
        ),
    ] {
        assert_eq!(refused.expect_err(what).code(), Code::InvalidArgument, "{what}");
    }
    assert_eq!(with(&|_| {}).unwrap().models.len(), 1, "of a worker from before it named any");
    assert!(with(&|hello| hello.trains_no_models = true).unwrap().models.is_empty());
    let described = with(&|hello| hello.slots[0].description = "ü".repeat(5_000)).unwrap();
    assert_eq!(described.slots[0].description.chars().count(), 100);
    let other = v1::Hello { protocol_version: proto::PROTOCOL_VERSION + 1, ..v1::Hello::default() };
    assert_eq!(convert::hello(other).unwrap_err().code(), Code::FailedPrecondition);
}
