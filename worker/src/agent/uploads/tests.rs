//! What a worker says of uploads that fail, and what becomes of the files.

use std::{fs, sync::Mutex};

use tracing::Level;

use super::{super::weights::By, *};
use crate::heard;

/// A coordinator that refuses all files, or takes each whole.
#[derive(Default)]
struct Fake {
    refusal: Mutex<Option<Status>>,
    /// How often it was asked.
    asked: Mutex<u32>,
    /// The content of the files that it has.
    has: Mutex<Vec<Vec<u8>>>,
}

impl Taker for Fake {
    async fn take(&self, request: v1::WeightsRequest) -> Result<v1::WeightsResponse, Status> {
        *self.asked.lock().unwrap() += 1;
        if let Some(refusal) = &*self.refusal.lock().unwrap() {
            return Err(refusal.clone());
        }
        let state = match request.data.is_empty() {
            true => WeightsState::Wanted,
            false => {
                self.has.lock().unwrap().push(request.data);
                WeightsState::Durable
            }
        };
        Ok(v1::WeightsResponse { state: state.into(), ..v1::WeightsResponse::default() })
    }
}

/// A worker with what two jobs left, its coordinator, and the lines that it logs on this thread.
struct Bench {
    uploader: Uploader<Fake>,
    warnings: Arc<Mutex<Vec<String>>>,
    _heard: tracing::subscriber::DefaultGuard,
    _spool: tempfile::TempDir,
}

/// What each of the jobs left: the smallest file of weights.
fn left() -> Vec<u8> {
    [&2_u64.to_le_bytes()[..], b"{}"].concat()
}

impl Bench {
    fn start(refusal: Status) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let folder = WeightsFolder::open(spool.path()).unwrap();
        for id in ["1/1#1", "1/2#1"] {
            fs::write(folder.place(id), left()).unwrap();
            folder.finish(id, By::Trainer);
        }
        let warnings = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&warnings);
        let heard = heard::each_line(move |level, line| {
            if level <= Level::WARN {
                told.lock().unwrap().push(line.to_owned());
            }
        });
        let uploader = Uploader {
            taker: Arc::new(Fake { refusal: Mutex::new(Some(refusal)), ..Fake::default() }),
            folder: Arc::new(folder),
            metrics: Arc::default(),
            traced: Traced::default(),
            is_told: AtomicBool::new(false),
        };
        Self { uploader, warnings, _heard: heard, _spool: spool }
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }

    fn waiting(&self) -> usize {
        self.uploader.folder.waiting().unwrap().len()
    }
}

#[tokio::test]
async fn a_refusal_is_warned_of_once_with_what_to_do_and_the_files_wait_until_they_are_taken() {
    let bench = Bench::start(Status::permission_denied("it is of another worker"));
    for _ in 0..3 {
        assert_eq!(bench.uploader.round().await, (2, false));
    }
    let warnings = bench.warnings();
    assert_eq!(warnings.len(), 1, "for two files in three rounds: {warnings:?}");
    for part in ["refuses what the job left: it is of another worker", "--name", "attempt=1/"] {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }
    assert_eq!(bench.waiting(), 2, "nothing is lost");
    assert!(bench.uploader.metrics.encode(&[]).contains("sweep_worker_upload_failures_total 6"));
    *bench.uploader.taker.refusal.lock().unwrap() = None;
    assert_eq!(bench.uploader.round().await, (0, true));
    assert_eq!(*bench.uploader.taker.has.lock().unwrap(), [left(), left()]);
    assert_eq!((bench.waiting(), bench.warnings().len()), (0, 1));
}

#[tokio::test]
async fn a_coordinator_that_is_away_is_warned_of_by_the_stream_and_not_by_each_upload() {
    let bench = Bench::start(Status::unavailable("it is away"));
    assert_eq!(bench.uploader.round().await, (2, false));
    assert_eq!(*bench.uploader.taker.asked.lock().unwrap(), 1, "the second file is not offered in vain");
    assert_eq!((bench.waiting(), bench.warnings()), (2, Vec::new()));
}
