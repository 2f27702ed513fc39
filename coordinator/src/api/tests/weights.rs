//! Weights: what is read of them, and what becomes of those that are not as they were.

use super::{super::weights, *};

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
    let reply = served.api.offer_weights(Issuer::local(), offer).await.unwrap();
    assert!(matches!(reply, weights::WeightsReply::NotWanted(_)), "{reply:?}");
    let rows = served.api.store.artifacts(SweepId(1), 1, 1, 1).await.unwrap();
    assert_eq!(
        (rows[0].state, rows[0].reason.as_str()),
        (WeightsState::Absent, "the file was corrupted on the worker's disk")
    );
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
