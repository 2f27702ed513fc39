//! Weights: what is read of them, and what becomes of those that are not as they were.

use super::{super::weights, *};
use crate::access::Caller;

/// A job that is done and has these weights.
fn done_with(state: WeightsState, file: &WeightsFile) -> Vec<Record> {
    let mut records = attempt(1, 1, 1);
    records.extend(ended(1, 1, AttemptState::Done, JobState::Done));
    records.push(Record::WeightsChanged {
        attempt: AttemptKey::new(1, 1, 1),
        state,
        worker: "w".parse().unwrap(),
        file: file.clone(),
        value: 0.5,
        reason: String::new(),
    });
    records
}

impl Served {
    fn put_weights(&self, file: &WeightsFile, content: &[u8]) {
        let path = self.folder.path().join("weights").join(weights_name(SweepId(1), 5, 1, 1, &file.blake3));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[tokio::test]
async fn weights_that_are_not_as_their_record_says_are_lost_and_not_merely_away() {
    let file = WeightsFile { bytes: 5, blake3: blake3::hash(b"12345").to_hex().to_string() };
    let served = served(done_with(WeightsState::Kept, &file)).await;
    let read = async |offset: u64| {
        let mut download = served.api.download(SweepId(1), Some(1), offset).await.unwrap();
        let mut read = Vec::new();
        while let Some(piece) = download.next().await? {
            read.extend(piece);
        }
        Ok::<_, ApiError>(read)
    };
    let gone = read(0).await.unwrap_err();
    assert!(matches!(&gone, ApiError::Corrupt(text) if text.contains("is gone")), "{gone:?}");
    for other in [&b"1234"[..], b"123456"] {
        served.put_weights(&file, other);
        let told = read(0).await.unwrap_err();
        assert!(matches!(&told, ApiError::Corrupt(text) if text.contains("5 bytes")), "{told:?}");
    }
    served.put_weights(&file, b"12345");
    assert_eq!((read(0).await.unwrap(), read(4).await.unwrap()), (b"12345".to_vec(), b"5".to_vec()));
    assert_eq!(read(5).await.unwrap(), b"");
    assert!(matches!(served.api.download(SweepId(1), Some(1), 6).await, Err(ApiError::OutOfRange(_))));
}

#[tokio::test]
async fn weights_whose_file_was_corrupted_at_their_worker_are_not_awaited_any_more() {
    let file = WeightsFile { bytes: 5, blake3: blake3::hash(b"12345").to_hex().to_string() };
    let served = served(done_with(WeightsState::Awaited, &file)).await;
    let cut = WeightsFile { bytes: 4, ..file };
    let offer = weights::Offer { attempt: AttemptKey::new(1, 1, 1), file: cut, offset: 0, data: Vec::new() };
    let reply = served.api.offer_weights(&Caller::unasked(), offer).await.unwrap();
    assert!(matches!(reply, weights::WeightsReply::NotWanted(_)), "{reply:?}");
    let rows = served.api.store.artifacts(SweepId(1), 1, 1, 1).await.unwrap();
    assert_eq!(
        (rows[0].state, rows[0].reason.as_str()),
        (WeightsState::Absent, "the file was corrupted on the worker's disk")
    );
}

/// Who has shown the certificate of this worker.
fn the_worker(name: &str) -> Caller {
    Caller { role: terms::Role::Worker, worker: Some(name.into()), ..Caller::unasked() }
}

fn is_forbidden<T: std::fmt::Debug>(answer: Result<T, ApiError>) {
    let refused = answer.unwrap_err();
    assert!(
        matches!(&refused, ApiError::Forbidden(text) if text.contains("of the worker one")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_worker_neither_hands_over_nor_gives_up_the_weights_of_another() {
    let file = WeightsFile { bytes: 5, blake3: blake3::hash(b"12345").to_hex().to_string() };
    let served = served(done_with(WeightsState::Awaited, &file)).await;
    let key = AttemptKey::new(1, 1, 1);
    let offer = |file: &WeightsFile| weights::Offer {
        attempt: key,
        file: file.clone(),
        offset: 0,
        data: b"12345".to_vec(),
    };
    let (one, own) = (the_worker("one"), the_worker("w"));
    let other = WeightsFile { bytes: 4, ..file.clone() };
    for offered in [&file, &other] {
        is_forbidden(served.api.offer_weights(&one, offer(offered)).await);
    }
    is_forbidden(served.api.give_up_weights(&one, key, file.clone(), "gone".into()).await);
    let rows = served.api.store.artifacts(SweepId(1), 1, 1, 1).await.unwrap();
    assert_eq!(rows[0].state, WeightsState::Awaited);
    // The worker itself may do both; of what no one awaits, anyone is told so.
    let reply = served.api.offer_weights(&own, offer(&file)).await.unwrap();
    assert_eq!(reply, weights::WeightsReply::Durable);
    is_forbidden(served.api.offer_weights(&one, offer(&file)).await);
    let elsewhere = AttemptKey::new(9, 1, 1);
    let reply = served.api.give_up_weights(&one, elsewhere, file, "gone".into()).await.unwrap();
    assert!(matches!(reply, weights::WeightsReply::NotWanted(_)), "{reply:?}");
}

#[tokio::test]
async fn a_checkpoint_is_handed_over_and_read_by_the_worker_of_the_attempt_that_runs() {
    let served = served(attempt(1, 1, 1)).await;
    let key = AttemptKey::new(1, 1, 1);
    let file = WeightsFile { bytes: 5, blake3: blake3::hash(b"12345").to_hex().to_string() };
    let offer = || weights::Offer { attempt: key, file: file.clone(), offset: 0, data: b"12345".to_vec() };
    let (one, own) = (the_worker("one"), the_worker("w"));
    is_forbidden(served.api.hand_over_checkpoint(&one, offer()).await);
    assert!(matches!(served.api.checkpoint(&own, key, 0).await, Err(ApiError::NotFound(_))));
    let reply = served.api.hand_over_checkpoint(&own, offer()).await.unwrap();
    assert_eq!(reply, weights::WeightsReply::Durable);
    is_forbidden(served.api.checkpoint(&one, key, 0).await);
    assert_eq!(served.api.checkpoint(&own, key, 0).await.unwrap(), (file, b"12345".to_vec()));
}

#[tokio::test]
async fn only_a_bounded_number_of_files_is_sent_at_a_time() {
    let content = vec![7; 1 << 20];
    let file = WeightsFile { bytes: 1 << 20, blake3: blake3::hash(&content).to_hex().to_string() };
    let served = served(done_with(WeightsState::Kept, &file)).await;
    served.put_weights(&file, &content);
    let get = async || served.api.download(SweepId(1), Some(1), 0).await;
    let mut held = Vec::new();
    for _ in 0..DOWNLOADS_MAX {
        held.push(get().await.unwrap());
    }
    assert!(matches!(get().await.map(drop), Err(ApiError::Full(_))));
    let mut download = held.pop().unwrap();
    let mut read = Vec::new();
    while let Some(piece) = download.next().await.unwrap() {
        read.extend(piece);
    }
    assert_eq!(read, content);
    assert!(get().await.is_err(), "it is not given back yet");
    drop(download);
    assert!(get().await.is_ok());
}
