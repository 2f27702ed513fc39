//! What every store must do. One suite, run on each of them.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

#[path = "contract/agreement.rs"]
mod agreement;
#[path = "contract/corruption.rs"]
mod corruption;
#[path = "contract/held_up.rs"]
mod held_up;
#[path = "contract/jobs.rs"]
mod jobs;
#[path = "contract/leader_row.rs"]
mod leader_row;
#[path = "contract/leadership.rs"]
mod leadership;
#[path = "contract/links.rs"]
mod links;
#[path = "contract/many.rs"]
mod many;
#[path = "contract/pauses.rs"]
mod pauses;
#[path = "contract/plans.rs"]
mod plans;
#[path = "contract/pooler.rs"]
mod pooler;
#[path = "contract/power_cuts.rs"]
mod power_cuts;
#[path = "contract/quotas.rs"]
mod quotas;
#[path = "contract/ranking.rs"]
mod ranking;
#[path = "simulator/row.rs"]
mod row;
#[path = "contract/search.rs"]
mod search;
#[path = "contract/timeline.rs"]
mod timeline;
#[path = "contract/tokens.rs"]
mod tokens;
#[path = "contract/unsuitable.rs"]
mod unsuitable;
#[path = "contract/values.rs"]
mod values;
#[path = "contract/versions.rs"]
mod versions;

use std::{fs, ops::Range, path::Path, sync::Arc, time::Duration};

use domain::record::{BestEpoch, BestJobs, History, Record, WeightsFile, WeightsState};
use store::{CountingEpochs, EpochPlace, EpochRow, JobRow, Store, StoreError, open};
use tempfile::TempDir;
use terms::{
    AttemptKey, AttemptState, Epoch, Goal, JobKey, JobState, MISSING, MetricRow, MetricUse, Objective,
    SweepId, SweepState,
};
use tests::{Postgres, Random};
use tokio::{sync::mpsc, task::JoinHandle};

/// Where a store can be.
struct Place {
    url: String,
    _folder: TempDir,
}

impl Place {
    /// Opens the store for this coordinator.
    async fn open(&self) -> Arc<dyn Store> {
        let store = open(&self.url).await.unwrap();
        store.lead("http://here", &|leader| panic!("{leader} leads")).await.unwrap();
        store
    }

    /// Changes rows behind the store's back. Gives the tool that is named to those whose rows are corrupt.
    fn change(&self, change: &str) -> &'static str {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            rusqlite::Connection::open(path).unwrap().execute_batch(change).unwrap();
            return "sqlite3";
        }
        let (_, rest) = self.url.split_once("localhost/").unwrap();
        Postgres::shared().unwrap().psql(rest.split('?').next().unwrap(), change);
        "pg_dump"
    }
}

fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { url: format!("sqlite:{}", folder.path().join("sweep.db").display()), _folder: folder }
}

/// An empty place of each kind that this machine has. A failing test has printed its place last.
fn places() -> impl Iterator<Item = Place> {
    let postgres = Postgres::shared()
        .map(|server| Place { url: server.database(), _folder: tempfile::tempdir().unwrap() });
    [Some(sqlite()), postgres].into_iter().flatten().inspect(|place| println!("{}", place.url))
}

/// The metrics of each sweep.
const NAMES: [&str; 4] = ["train_loss", "val_accuracy", "val_loss", "train_accuracy"];

fn objective(name: &str) -> Objective {
    let goal = if name.ends_with("loss") { Goal::Minimize } else { Goal::Maximize };
    Objective { name: name.into(), goal, used: MetricUse::Last }
}

fn submitted(sweep: u64, request_id: &str) -> Record {
    Record::SweepSubmitted {
        sweep: SweepId(sweep),
        name: "name".into(),
        request_id: request_id.into(),
        specification: "name: x".into(),
        manifest: "{}".into(),
        objective: objective("val_accuracy"),
        job_count: 5,
        created_unix_ms: 1_000,
        owner: None,
    }
}

fn granted(job: u64, attempt: u32) -> Record {
    Record::AttemptGranted {
        attempt: AttemptKey::new(1, job, attempt),
        is_first: attempt == 1,
        worker: "w".parse().unwrap(),
        slot: 2,
        device: "cpu".into(),
        // Alone at first, in packs afterwards.
        pack_size: attempt,
        budget: None,
        at_unix_ms: 2_000,
    }
}

/// The names of the metrics of the first sweep.
fn named() -> Record {
    Record::MetricsNamed { sweep: SweepId(1), first: 0, names: NAMES.map(Into::into).into() }
}

fn metrics(number: u32) -> Epoch {
    // Some trainers report these only sometimes.
    let (val_loss, train_accuracy) =
        (if number == 3 { MISSING } else { 0.7 - 0.1 }, if number == 2 { MISSING } else { 1.0 / 3.0 });
    let row = MetricRow::new(&[0.1 + 0.2, f64::from(number) / 8.0, val_loss, train_accuracy]);
    Epoch { number, seconds: 1.5, row }
}

fn epoch(job: u64, attempt: u32, number: u32) -> Record {
    let epochs: Vec<Epoch> = (1..=number).map(metrics).collect();
    recorded(&objective("val_accuracy"), AttemptKey::new(1, job, attempt), &epochs)
}

/// The best of some epochs.
fn best_of(objective: &Objective, epochs: &[Epoch]) -> Option<BestEpoch> {
    let place = NAMES.iter().position(|name| *name == &*objective.name).unwrap();
    let value = |epoch: &Epoch| epoch.row.get(place).filter(|value| value.is_finite());
    epochs.iter().fold(None, |best, epoch| BestEpoch::after(best, objective, epoch, value(epoch)))
}

/// The last of an attempt's epochs.
fn recorded(objective: &Objective, attempt: AttemptKey, epochs: &[Epoch]) -> Record {
    let last = epochs.last().unwrap();
    Record::EpochRecorded {
        attempt,
        epoch: last.clone(),
        objective: best_of(objective, std::slice::from_ref(last)).map(|best| best.value),
        best: best_of(objective, epochs),
        train_seconds: epochs.iter().map(|epoch| epoch.seconds).sum(),
    }
}

fn history() -> History {
    let lost_with = ["w".parse().unwrap(), "v".parse().unwrap()].into();
    History { failures: 1, losses: 2, lost_with }
}

fn ended(job: u64, attempt: u32, state: AttemptState, job_state: JobState) -> [Record; 2] {
    let attempt = AttemptKey::new(1, job, attempt);
    let (reason, log_tail) = ("because".to_owned(), vec!["last \"words\"".to_owned(), "語".to_owned()]);
    [
        Record::AttemptEnded { attempt, state, reason: reason.clone(), log_tail, at_unix_ms: 3_000 },
        Record::JobChanged { job: attempt.job, state: job_state, history: history(), reason },
    ]
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    for place in places() {
        let store = place.open().await;
        let started = |job, attempt| Record::AttemptStarted {
            attempt: AttemptKey::new(1, job, attempt),
            resumed_epochs: 3,
        };
        store
            .commit(&[
                submitted(1, "key"),
                named(),
                granted(1, 1),
                started(1, 1),
                epoch(1, 1, 1),
                epoch(1, 1, 2),
            ])
            .await
            .unwrap();
        store.commit(&ended(1, 1, AttemptState::Done, JobState::Done)).await.unwrap();
        store.commit(&[granted(2, 1), started(2, 1), epoch(2, 1, 1), granted(4, 1)]).await.unwrap();
        store.commit(&ended(4, 1, AttemptState::Failed, JobState::Pending)).await.unwrap();
        let dataset = terms::DatasetSummary {
            content_hash: "abc".into(),
            train_images: 8,
            train_by_class: vec![5, 3],
            val_by_class: vec![1, 1],
            left_out: vec![terms::LeftOut {
                reason: "other_format".into(),
                detail: ".gif".into(),
                count: 16,
                examples: vec!["cat/1.gif".into()],
            }],
            validation: "val".into(),
            ..terms::DatasetSummary::default()
        };
        store.commit(&[Record::DatasetFound { sweep: SweepId(1), dataset: dataset.clone() }]).await.unwrap();
        let parameters =
            terms::ParameterUse { read: ["lr".to_owned()].into(), unread: ["typo".to_owned()].into() };
        let read = Record::ParametersRead { sweep: SweepId(1), parameters: parameters.clone() };
        store
            .commit(&[read, Record::CheckpointMissed { job: JobKey { sweep: SweepId(1), job: 4 } }])
            .await
            .unwrap();
        store.close().await;
        drop(store);

        let sweeps = place.open().await.load().await.unwrap();
        let [sweep] = sweeps.as_slice() else { panic!("{sweeps:?}") };
        assert_eq!(
            (sweep.sweep, sweep.request_id.as_str(), sweep.state),
            (SweepId(1), "key", SweepState::Running)
        );
        let best = BestJobs { by_last: Some((1, 0.25)), by_best: Some((1, 0.25)) };
        assert_eq!((sweep.next_unstarted, &sweep.out_of_order, sweep.best), (3, &[4].into(), best));
        assert_eq!(sweep.finals, [(JobState::Done, 1)]);
        assert_eq!((&sweep.dataset, &sweep.parameters), (&Some(dataset), &parameters));
        assert_eq!(sweep.without_checkpoint, Some(4));
        assert_eq!(sweep.manifest.as_deref(), Some("{}"));
        assert_eq!(sweep.metrics.names(), NAMES.map(Into::into));
        let [running, waiting] = sweep.open_jobs.as_slice() else { panic!("{sweep:?}") };
        let attempt = running.running().unwrap();
        assert_eq!((running.job, running.attempts, attempt.slot, attempt.started), (2, 1, 2, true));
        assert_eq!((attempt.train_seconds, attempt.last.as_ref()), (1.5, Some(&metrics(1))));
        assert_eq!(attempt.best, best_of(&objective("val_accuracy"), &[metrics(1)]));
        assert_eq!((waiting.job, waiting.attempts, waiting.running().is_none()), (4, 1, true));
        assert_eq!(waiting.history, history());
    }
}

#[tokio::test]
async fn numbers_come_back_bit_for_bit() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), named(), granted(1, 1)]).await.unwrap();
        let strange = [f64::NAN, f64::INFINITY, -0.0, f64::MIN_POSITIVE / 2.0];
        for (number, values) in (1..).zip([&strange[..], &strange[..1], &[MISSING, 0.1 + 0.2], &[]]) {
            let epoch = Epoch { number, seconds: 0.1 + 0.2, row: MetricRow::new(values) };
            let record =
                recorded(&objective("train_loss"), AttemptKey::new(1, 1, 1), std::slice::from_ref(&epoch));
            store.commit(&[record]).await.unwrap();
            let rows = epochs(store.as_ref(), 1, 1).await;
            assert_eq!(rows.last().unwrap().epoch, epoch);
            let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
            assert_eq!(job.last, epoch.row);
        }
    }
}

#[tokio::test]
async fn what_a_trainer_does_not_say_is_not_there() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), named(), granted(1, 1)]).await.unwrap();
        for (number, expected) in [
            (1, (Some(0.7 - 0.1), Some(1.0 / 3.0))),
            (2, (Some(0.7 - 0.1), None)),
            (3, (None, Some(1.0 / 3.0))),
        ] {
            store.commit(&[epoch(1, 1, number)]).await.unwrap();
            let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
            let found = ["val_loss", "train_accuracy"].map(|name| job.names.get(&job.last, name));
            assert_eq!(found, [expected.0, expected.1], "those of the last epoch");
            assert_eq!(job.best, best_of(&objective("val_accuracy"), &[metrics(number)]));
            assert_eq!(job.objective, Some(f64::from(number) / 8.0));
        }
        let epochs = epochs(store.as_ref(), 1, 1).await;
        assert_eq!(epochs.into_iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2, 3].map(metrics));
        store.commit(&ended(1, 1, AttemptState::Lost, JobState::Pending)).await.unwrap();
        store.commit(&[granted(1, 2)]).await.unwrap();
        let again = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
        assert_eq!((again.last, again.objective, again.best), (MetricRow::default(), None, None));
    }
}

#[tokio::test]
async fn names_of_metrics_are_kept_in_their_order() {
    for place in places() {
        let store = place.open().await;
        let more = |first: usize, names: &[&str]| Record::MetricsNamed {
            sweep: SweepId(1),
            first,
            names: names.iter().map(|name| (*name).into()).collect(),
        };
        store.commit(&[submitted(1, ""), submitted(2, ""), named(), granted(1, 1)]).await.unwrap();
        store.commit(&[more(4, &["zeta"]), more(5, &["alpha", "語 %"]), epoch(1, 1, 1)]).await.unwrap();
        let expected = [&NAMES[..], &["zeta", "alpha", "語 %"]].concat();
        let sweeps = store.load().await.unwrap();
        let names: Vec<&str> = sweeps[0].metrics.names().iter().map(|name| &**name).collect();
        assert_eq!(names, expected);
        assert!(sweeps[1].metrics.is_empty());
        assert_eq!(store.jobs(SweepId(1), 1, 1).await.unwrap()[0].names, sweeps[0].metrics);
        assert_eq!(epochs(store.as_ref(), 1, 1).await[0].names, sweeps[0].metrics);
        let twice = store.commit(&[more(6, &["other"])]).await;
        assert!(matches!(twice, Err(StoreError::Unfit(_))), "a place has one name: {twice:?}");
    }
}

/// The epochs of the jobs `first` to `last` of the first sweep.
async fn epochs(store: &dyn Store, first: u64, last: u64) -> Vec<EpochRow> {
    store.epochs(SweepId(1), EpochPlace::before(first, 0), last, u32::MAX).await.unwrap()
}

async fn all_epochs(store: &dyn Store, sweep: SweepId) -> Result<Vec<EpochRow>, StoreError> {
    store.epochs(sweep, EpochPlace::before(1, 0), u64::MAX, u32::MAX).await
}

const JOBS: [&[(f64, Option<f64>)]; 4] = [
    &[(0.5, Some(0.7)), (0.6, Some(0.6))],
    &[(0.9, Some(0.1)), (0.4, None)],
    &[(0.9, Some(0.3)), (0.55, Some(0.5))],
    &[(0.75, Some(0.5)), (0.8, Some(0.25)), (0.8, None)],
];

#[tokio::test]
async fn a_commit_keeps_all_or_nothing() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1), epoch(1, 1, 1)]).await.unwrap();
        let twice = store.commit(&[granted(2, 1), epoch(1, 1, 1)]).await;
        assert!(matches!(twice, Err(StoreError::Unfit(_))), "an epoch cannot be kept twice: {twice:?}");
        assert_eq!(
            store.jobs(SweepId(1), 1, 10).await.unwrap().len(),
            1,
            "nothing of the refused commit is there"
        );
    }
}

#[tokio::test]
async fn an_extension_is_kept() {
    for place in places() {
        let mut store = place.open().await;
        let extended = |name: &str, specification: &str| Record::SweepExtended {
            sweep: SweepId(1),
            name: name.into(),
            specification: specification.into(),
            job_count: 9,
        };
        store.commit(&[submitted(1, ""), extended("x", "name: y")]).await.unwrap();
        assert_eq!(store.load().await.unwrap()[0].specification, "name: y");
        // A change of settings is kept the same way, and repeating it changes nothing.
        for _ in 0..2 {
            store.commit(&[extended("z", "name: z")]).await.unwrap();
            store.close().await;
            drop(store);
            store = place.open().await;
            assert_eq!(store.load().await.unwrap()[0].specification, "name: z");
        }
    }
}

#[tokio::test]
async fn two_coordinators_cannot_share_a_file() {
    let place = sqlite();
    let _first = place.open().await;
    let second = open(&place.url).await;
    assert!(matches!(second, Err(StoreError::InUse { .. })));
}

#[tokio::test]
async fn wrong_urls_and_folders_are_reported() {
    assert!(matches!(open("redis://x").await, Err(StoreError::Url(_))));
    assert!(matches!(open("sqlite:").await, Err(StoreError::Url(_))));
    assert!(matches!(open("sqlite:/nowhere/at/all/sweep.db").await, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = sqlite();
    std::fs::write(
        place.url.trim_start_matches("sqlite:"),
        "this is no database, only text that is long enough".repeat(100),
    )
    .unwrap();
    let opened = open(&place.url).await;
    assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{opened:?}");
}

fn weights(job: u64, state: WeightsState, value: f64) -> Record {
    let file = WeightsFile { bytes: 7 * job, blake3: format!("{job:064x}") };
    let (worker, reason) = ("w".parse().unwrap(), format!("{}\u{1}", state.as_str()));
    Record::WeightsChanged { attempt: AttemptKey::new(1, job, 1), state, worker, file, value, reason }
}

#[tokio::test]
async fn of_weights_the_last_record_of_each_job_stands() {
    use WeightsState::{Absent, Awaited, Dropped, Kept};
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), submitted(2, "")]).await.unwrap();
        store.commit(&(1..=5).map(|job| granted(job, 1)).collect::<Vec<_>>()).await.unwrap();
        store.commit(&[weights(1, Awaited, 0.25), weights(2, Awaited, 0.5)]).await.unwrap();
        // More than one of a job in a commit, too.
        let changes = [weights(1, Kept, 0.25), weights(1, Dropped, 0.25), weights(2, Kept, 0.1 + 0.2)];
        store.commit(&changes).await.unwrap();
        store.commit(&[weights(3, Absent, 0.0), weights(5, Awaited, -1.5)]).await.unwrap();
        store.close().await;
        drop(store);

        let store = place.open().await;
        let rows = store.artifacts(SweepId(1), 1, u64::MAX, 9).await.unwrap();
        let found: Vec<_> = rows.iter().map(|row| (row.job, row.state)).collect();
        assert_eq!(found, [(1, Dropped), (2, Kept), (3, Absent), (5, Awaited)]);
        assert_eq!((rows[1].value, rows[1].file.bytes, rows[1].worker.as_str()), (0.1 + 0.2, 14, "w"));
        assert_eq!((rows[2].attempt, rows[2].reason.as_str()), (1, "absent\u{1}"));
        assert_eq!(store.artifacts(SweepId(1), 2, 5, 1).await.unwrap(), rows[1..2]);
        assert_eq!(store.artifacts(SweepId(2), 1, 9, 9).await.unwrap(), []);
        let sweeps = store.load().await.unwrap();
        let loaded: Vec<_> = sweeps[0].weights.iter().map(|one| (one.job, one.value, one.kept)).collect();
        assert_eq!(loaded, [(2, 0.1 + 0.2, true), (5, -1.5, false)]);
        assert_eq!(sweeps[0].weights[1].file.blake3, format!("{:064x}", 5));
        assert!(sweeps[1].weights.is_empty());
        // Weights of a job without a row are refused: nothing can be recorded of them.
        assert!(store.commit(&[weights(9, Awaited, 0.5)]).await.is_err());
    }
}
