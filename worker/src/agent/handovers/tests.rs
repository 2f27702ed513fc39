//! Checkpoints that change hands over a coordinator that is slow, loses the thread, or takes no more.

use std::{collections::BTreeMap, fs, sync::Mutex};

use terms::{JobKey, SweepId};
use tokio::sync::{Notify, Semaphore};

use super::*;

const KEY: &str = "3-1790000000000/1";

/// A coordinator that keeps checkpoints.
#[derive(Default)]
struct Fake {
    /// The archive that it has of each job, and what has arrived of the others, by hash.
    kept: Mutex<BTreeMap<u64, (String, Vec<u8>)>>,
    arriving: Mutex<BTreeMap<String, Vec<u8>>>,
    /// How many pieces it takes before it says that it takes no more; none for all.
    room: Mutex<Option<u32>>,
    /// How many pieces it answers; none for all.
    answers: Option<Semaphore>,
    /// It gives of the first job only once all of these others were given.
    first_after: Mutex<Vec<u64>>,
    given: Notify,
}

impl Holder for Fake {
    async fn take(&self, request: v1::WeightsRequest) -> Result<v1::WeightsResponse, Status> {
        if let Some(answers) = &self.answers {
            answers.acquire().await.unwrap().forget();
        }
        let answer = |state: WeightsState, offset| {
            let reason = "there is no room".to_owned();
            Ok(v1::WeightsResponse { state: state.into(), offset, reason })
        };
        let (attempt, file) = (request.attempt.unwrap(), request.file.unwrap());
        if self.kept.lock().unwrap().get(&attempt.job).is_some_and(|(hash, _)| *hash == file.blake3) {
            return answer(WeightsState::Durable, 0);
        }
        let mut arriving = self.arriving.lock().unwrap();
        let bytes = arriving.entry(file.blake3.clone()).or_default();
        if let Some(room) = self.room.lock().unwrap().as_mut() {
            match room.checked_sub(1) {
                Some(left) => *room = left,
                None => return answer(WeightsState::NotWanted, 0),
            }
        }
        if request.offset == bytes.len() as u64 {
            bytes.extend(request.data);
        }
        if (bytes.len() as u64) < file.bytes {
            return answer(WeightsState::Wanted, bytes.len() as u64);
        }
        self.kept.lock().unwrap().insert(attempt.job, (file.blake3, bytes.clone()));
        answer(WeightsState::Durable, 0)
    }

    async fn give(&self, request: v1::GetCheckpointRequest) -> Result<v1::GetCheckpointResponse, Status> {
        let job = request.attempt.unwrap().job;
        while job == 1 && !self.first_after.lock().unwrap().is_empty() {
            self.given.notified().await;
        }
        let kept = self.kept.lock().unwrap();
        let (blake3, bytes) = kept.get(&job).ok_or_else(|| Status::not_found("there is none"))?;
        let data: Vec<u8> = bytes.iter().skip(request.offset as usize).take(1 << 20).copied().collect();
        if request.offset as usize + data.len() == bytes.len() {
            self.first_after.lock().unwrap().retain(|awaited| *awaited != job);
            self.given.notify_one();
        }
        let (bytes, blake3) = (bytes.len() as u64, blake3.clone());
        let file = v1::WeightsFile { bytes, blake3, ..v1::WeightsFile::default() };
        Ok(v1::GetCheckpointResponse { file: Some(file), data })
    }
}

fn attempt(job: u64) -> AttemptKey {
    AttemptKey { job: JobKey { sweep: SweepId(3), job }, attempt: 2 }
}

fn write(place: &Path, key: &str, name: &str, content: &[u8]) {
    fs::create_dir_all(place.join(key)).unwrap();
    fs::write(place.join(key).join(name), content).unwrap();
}

/// What is brought of a job.
async fn brought(fake: &Arc<Fake>, name: &str) -> Option<Vec<u8>> {
    let place = tempfile::tempdir().unwrap();
    let handed_over = Arc::new(HandedOver::new(Arc::clone(fake), place.path().to_owned()));
    handed_over.bring_all(vec![(attempt(1), KEY.to_owned())]).await;
    fs::read(place.path().join(KEY).join(name)).ok()
}

/// Hands one checkpoint over, and the next while the first is on its way; what a later attempt gets.
async fn hand_over_twice(fake: Fake, room_of_second: Option<u32>) -> [Option<Vec<u8>>; 2] {
    let (place, fake) = (tempfile::tempdir().unwrap(), Arc::new(fake));
    let (mut handovers, mut ends) = Handovers::new(Arc::clone(&fake), place.path().to_owned());
    write(place.path(), KEY, "1-0-2.safetensors", &[1; 3_000_000]);
    handovers.begin(attempt(1), KEY);
    let answers = fake.answers.as_ref().unwrap();
    answers.add_permits(1);
    while fake.arriving.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // It is on its way: the next one is there, and the trainer has removed the first.
    write(place.path(), KEY, "2-0-2.safetensors", &[2; 3_000_000]);
    fs::remove_file(place.path().join(KEY).join("1-0-2.safetensors")).unwrap();
    handovers.begin(attempt(1), KEY);
    handovers.begin(attempt(1), KEY);
    answers.add_permits(100);
    let first = ends.recv().await.unwrap();
    assert_eq!(handovers.ended(first), None, "the job waits for the second");
    *fake.room.lock().unwrap() = room_of_second;
    let second = ends.recv().await.unwrap();
    assert_eq!(handovers.ended(second), Some(attempt(1)));
    [brought(&fake, "1-0-2.safetensors").await, brought(&fake, "2-0-2.safetensors").await]
}

#[tokio::test]
async fn a_newer_checkpoint_takes_the_place_of_one_on_its_way_once_both_are_there() {
    let fake = Fake { answers: Some(Semaphore::new(0)), ..Fake::default() };
    assert_eq!(hand_over_twice(fake, None).await, [None, Some(vec![2; 3_000_000])]);
}

#[tokio::test]
async fn a_checkpoint_on_its_way_is_there_though_the_newer_one_was_not_taken() {
    for room in [0, 2] {
        let fake = Fake { answers: Some(Semaphore::new(0)), ..Fake::default() };
        assert_eq!(hand_over_twice(fake, Some(room)).await, [Some(vec![1; 3_000_000]), None], "{room}");
    }
}

#[tokio::test]
async fn a_job_of_a_pack_whose_checkpoint_is_slow_holds_up_no_other() {
    let (from, to, fake) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (mut handovers, mut ends) = Handovers::new(Arc::clone(&fake), from.path().to_owned());
    let wanted: Vec<(AttemptKey, String)> = (1..=9).map(|job| (attempt(job), format!("3-9/{job}"))).collect();
    for (attempt, key) in &wanted {
        write(from.path(), key, "state.json", key.as_bytes());
        handovers.begin(*attempt, key);
    }
    for _ in &wanted {
        handovers.ended(ends.recv().await.unwrap()).unwrap();
    }
    // The first of them is the slowest: it comes once all others were given.
    *fake.first_after.lock().unwrap() = (2..=9).collect();
    Arc::new(HandedOver::new(Arc::clone(&fake), to.path().to_owned())).bring_all(wanted.clone()).await;
    for (_, key) in &wanted {
        assert_eq!(fs::read(to.path().join(key).join("state.json")).ok(), Some(key.clone().into_bytes()));
    }
}

#[tokio::test]
async fn what_was_brought_and_went_on_here_is_not_brought_again() {
    let (from, to, fake) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    write(from.path(), KEY, "state.json", b"five epochs");
    let (mut handovers, mut ends) = Handovers::new(Arc::clone(&fake), from.path().to_owned());
    handovers.begin(attempt(1), KEY);
    ends.recv().await.unwrap();
    let handed_over = Arc::new(HandedOver::new(Arc::clone(&fake), to.path().to_owned()));
    let wanted = || vec![(attempt(1), KEY.to_owned())];
    Arc::clone(&handed_over).bring_all(wanted()).await;
    let there = || fs::read_to_string(to.path().join(KEY).join("state.json")).unwrap();
    assert_eq!(there(), "five epochs");
    write(to.path(), KEY, "state.json", b"eight epochs");
    Arc::clone(&handed_over).bring_all(wanted()).await;
    assert_eq!(there(), "eight epochs");
    // Another worker has gone on meanwhile.
    write(from.path(), KEY, "state.json", b"nine epochs");
    handovers.ended(attempt(1));
    handovers.begin(attempt(1), KEY);
    ends.recv().await.unwrap();
    handed_over.bring_all(wanted()).await;
    assert_eq!(there(), "nine epochs");
}
