//! The weights that a job leaves in the worker's folder.

use super::*;
use crate::agent::{session::types::Weights, weights::WeightsFolder};

/// The smallest file of weights: a header without tensors.
const SMALLEST: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

#[tokio::test]
async fn weights_are_asked_for_and_taken_where_they_are_wanted() {
    let spool = tempfile::tempdir().unwrap();
    let mut folder = WeightsFolder::open(spool.path()).unwrap();
    folder.limit(10);
    let folder = std::sync::Arc::new(folder);
    // As SMALLEST is.
    let trainer = TrainerCommand {
        weights: Some(folder.clone()),
        ..script(
            r#"echo "$ready"; read -r line; printf '\002\000\000\000\000\000\000\000{}' > "$(echo "$line" | sed 's/.*"weights":"\([^"]*\)".*/\1/')"
            echo '{"type":"ended","id":"1/1#1","outcome":"done","reason":""}'; read -r line"#,
        )
    };
    let mut bench = Bench::started(trainer.clone());
    assert_eq!(kind(&bench.said().await), READY);
    let TrainerEvent::Said { weights: Some(Weights::File { bytes, blake3 }), .. } = bench.next().await else {
        panic!("the trainer left weights")
    };
    let waiting = folder.waiting().unwrap();
    assert_eq!((waiting.len(), waiting[0].bytes, &waiting[0].blake3), (1, bytes, &blake3));
    assert_eq!(bytes, 10);
    assert!(!folder.is_full(), "the end was not heard yet");
    folder.count(attempt(1), &Weights::File { bytes, blake3 });
    assert!(folder.is_full());
    let unwanted = Work { keep_weights: false, ..work() };
    let Some(ToTrainer::Train { jobs, .. }) = train(vec![(attempt(1), unwanted)], &trainer) else { panic!() };
    assert_eq!(jobs[0].weights, None);
}

#[tokio::test]
async fn weights_of_an_attempt_that_is_not_done_are_removed() {
    for end in [
        r#"echo '{"type":"ended","id":"1/1#1","outcome":"failed","reason":""}'; read -r line"#,
        r#"echo '{"type":"ended","id":"1/1#1","outcome":"diverged","reason":""}'; read -r line"#,
        "exit 1",
    ] {
        let spool = tempfile::tempdir().unwrap();
        let folder = std::sync::Arc::new(WeightsFolder::open(spool.path()).unwrap());
        let place = folder.place(&attempt(1).to_string());
        std::fs::write(&place, SMALLEST).unwrap();
        let text = format!("echo \"$ready\"; read -r line; {end}");
        let mut bench = Bench::started(TrainerCommand { weights: Some(folder), ..script(&text) });
        assert_eq!(kind(&bench.said().await), READY);
        match bench.next().await {
            TrainerEvent::Said { weights: None, .. } | TrainerEvent::Exited { .. } => {}
            other => panic!("{other:?}"),
        }
        assert!(!place.exists(), "{end}");
    }
}

#[tokio::test]
async fn a_trainer_ends_no_files_but_those_that_it_was_asked_for() {
    let spool = tempfile::tempdir().unwrap();
    let folder = std::sync::Arc::new(WeightsFolder::open(spool.path()).unwrap());
    // Another slot's trainer writes this one.
    let others = folder.place(&attempt(2).to_string());
    std::fs::write(&others, SMALLEST).unwrap();
    let text = r#"echo "$ready"; read -r line
        for outcome in done failed; do echo '{"type":"ended","id":"1/2#1","outcome":"'$outcome'","reason":""}'; done
        read -r line"#;
    let mut bench = Bench::started(TrainerCommand { weights: Some(folder), ..script(text) });
    assert_eq!(kind(&bench.said().await), READY);
    for _ in 0..2 {
        let event = bench.next().await;
        assert!(matches!(event, TrainerEvent::Said { weights: None, .. }), "{event:?}");
        assert!(others.exists());
    }
}

#[tokio::test]
async fn of_a_job_whose_weights_no_one_wants_none_are_missed() {
    let spool = tempfile::tempdir().unwrap();
    let folder = std::sync::Arc::new(WeightsFolder::open(spool.path()).unwrap());
    let text = r#"echo "$ready"; read -r line
        echo '{"type":"ended","id":"1/1#1","outcome":"done","reason":""}'; read -r line"#;
    let (slots, events) = Slots::start(
        vec![alone(TrainerCommand { weights: Some(folder), ..script(text) })],
        &Bringing::default(),
    );
    slots.start_jobs(0, vec![(attempt(1), Work { keep_weights: false, ..work() })], true);
    let mut bench = Bench { slots, events };
    assert_eq!(kind(&bench.said().await), READY);
    let event = bench.next().await;
    assert!(matches!(event, TrainerEvent::Said { weights: None, .. }), "{event:?}");
}

#[test]
fn an_end_that_was_reported_is_heard_however_long_its_weights_take_to_reach_the_disk() {
    // The only thread that forces weights to the disk is busy until the test lets it go.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let disk = runtime.spawn_blocking(move || released.recv());
    let spool = tempfile::tempdir().unwrap();
    let folder = std::sync::Arc::new(WeightsFolder::open(spool.path()).unwrap());
    let ended = spool.path().join("ended");
    let trainer = TrainerCommand {
        weights: Some(folder),
        ..script(&format!(r#"echo "$ready"; {}; mkdir '{}'"#, ends(1, "done"), ended.display()))
    };
    // Its end takes all the time that pipes may stay open for: what it leaves behind is in a session of its own.
    let clock = script(r#"setsid sh -c 'echo "$ready"; exec sleep 10' & read -r x"#);
    runtime.block_on(async {
        let (slots, mut events) = Slots::start(vec![alone(trainer), alone(clock)], &Bringing::default());
        let mut next = async |slot| loop {
            let (whose, event) = events.recv().await.unwrap();
            match event {
                TrainerEvent::Alive => {}
                event if whose == slot => return event,
                event => assert_eq!(slot, whose, "{event:?}"),
            }
        };
        let said = |event| match event {
            TrainerEvent::Said { message, .. } => kind(&message),
            other => panic!("expected a message, got {other:?}"),
        };
        slots.start_jobs(0, vec![(attempt(1), work())], true);
        assert_eq!(said(next(0).await), READY);
        while !ended.exists() {
            tokio::task::yield_now().await;
        }
        slots.start_jobs(1, vec![(attempt(2), work())], true);
        assert_eq!(said(next(1).await), READY);
        assert!(matches!(next(1).await, TrainerEvent::Exited { .. }));
        release.send(()).unwrap();
        disk.await.unwrap().unwrap();
        assert_eq!(said(next(0).await), "ended");
        assert!(matches!(next(0).await, TrainerEvent::Exited { .. }));
    });
}
