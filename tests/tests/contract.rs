//! What every store must do. One suite, run on each of them.

// In a test, a panic is how a failure is told.
#![allow(clippy::unwrap_used)]

#[path = "contract/held_up.rs"]
mod held_up;
#[path = "contract/links.rs"]
mod links;
#[path = "contract/many.rs"]
mod many;
#[path = "contract/plans.rs"]
mod plans;
#[path = "contract/pooler.rs"]
mod pooler;
#[path = "contract/power_cuts.rs"]
mod power_cuts;
#[path = "contract/unsuitable.rs"]
mod unsuitable;

use std::{fs, ops::Range, path::Path, sync::Arc};

use coordinator::{
    core::{
        record::{BestEpoch, BestJobs, EpochMetrics, History, Record, WeightsFile, WeightsState},
        specification::{Goal, Metric, MetricName, MetricUse},
        state::{AttemptState, JobState, SweepState},
    },
    store::{CountingEpochs, EpochPlace, EpochRow, JobRow, Store, StoreError, open},
};
use proto::{AttemptKey, JobKey, SweepId, v1};
use tempfile::TempDir;
use tests::{Postgres, Random};
use tokio::{sync::mpsc, task::JoinHandle};

/// Where a store can be.
struct Place {
    url: String,
    _folder: TempDir,
}

impl Place {
    /// A store of this coordinator's.
    async fn open(&self) -> Arc<dyn Store> {
        let store = open(&self.url).await.unwrap();
        store.lead("http://here", &|leader| panic!("{leader} leads")).await.unwrap();
        store
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

const METRIC: Metric = Metric { name: MetricName::ValAccuracy, goal: Goal::Maximize, used: MetricUse::Last };

fn submitted(sweep: u64, request_id: &str) -> Record {
    Record::SweepSubmitted {
        sweep: SweepId(sweep),
        name: "name".into(),
        request_id: request_id.into(),
        specification: "name: x".into(),
        metric: METRIC,
        job_count: 5,
        created_unix_ms: 1_000,
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
        at_unix_ms: 2_000,
    }
}

fn metrics(epoch: u32) -> EpochMetrics {
    EpochMetrics {
        epoch,
        train_loss: 0.1 + 0.2,
        val_accuracy: f64::from(epoch) / 8.0,
        epoch_seconds: 1.5,
        // Some trainers say these only now and then.
        val_loss: (epoch != 3).then_some(0.7 - 0.1),
        train_accuracy: (epoch != 2).then_some(1.0 / 3.0),
    }
}

fn epoch(job: u64, attempt: u32, number: u32) -> Record {
    let epochs: Vec<EpochMetrics> = (1..=number).map(metrics).collect();
    recorded(METRIC, AttemptKey::new(1, job, attempt), &epochs)
}

/// The last of an attempt's epochs.
fn recorded(metric: Metric, attempt: AttemptKey, epochs: &[EpochMetrics]) -> Record {
    let best = BestEpoch::of(metric, epochs).unwrap();
    let train_seconds = epochs.iter().map(|epoch| epoch.epoch_seconds).sum();
    Record::EpochRecorded { attempt, epoch: *epochs.last().unwrap(), best, train_seconds }
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
            .commit(&[submitted(1, "key"), granted(1, 1), started(1, 1), epoch(1, 1, 1), epoch(1, 1, 2)])
            .await
            .unwrap();
        store.commit(&ended(1, 1, AttemptState::Done, JobState::Done)).await.unwrap();
        store.commit(&[granted(2, 1), started(2, 1), epoch(2, 1, 1), granted(4, 1)]).await.unwrap();
        store.commit(&ended(4, 1, AttemptState::Failed, JobState::Pending)).await.unwrap();
        let dataset = v1::DatasetSummary {
            content_hash: "abc".into(),
            train_images: 8,
            train_by_class: vec![5, 3],
            val_by_class: vec![1, 1],
            left_out: vec![v1::LeftOut {
                reason: "other_format".into(),
                detail: ".gif".into(),
                count: 16,
                examples: vec!["cat/1.gif".into()],
            }],
            validation: "val".into(),
            ..v1::DatasetSummary::default()
        };
        store.commit(&[Record::DatasetFound { sweep: SweepId(1), dataset: dataset.clone() }]).await.unwrap();
        store.close().await;
        drop(store);

        let sweeps = place.open().await.load().await.unwrap();
        let [sweep] = sweeps.as_slice() else { panic!("{sweeps:?}") };
        assert_eq!(
            (sweep.sweep, sweep.request_id.as_str(), sweep.state),
            (SweepId(1), "key", SweepState::Running)
        );
        let best = BestJobs { by_last: Some((1, 0.25)), by_best: Some((1, 0.25)) };
        assert_eq!((sweep.next_fresh, &sweep.ahead, sweep.best), (3, &[4].into(), best));
        assert_eq!(sweep.finals, [(JobState::Done, 1)]);
        assert_eq!(sweep.dataset, Some(dataset));
        let [running, waiting] = sweep.open_jobs.as_slice() else { panic!("{sweep:?}") };
        let attempt = running.running.as_ref().unwrap();
        assert_eq!((running.job, running.attempts, attempt.slot, attempt.started), (2, 1, 2, true));
        assert_eq!((attempt.train_seconds, attempt.last), (1.5, Some(metrics(1))));
        assert_eq!((waiting.job, waiting.attempts, waiting.running.is_none()), (4, 1, true));
        assert_eq!(waiting.history, history());
    }
}

#[tokio::test]
async fn numbers_come_back_bit_for_bit() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1), epoch(1, 1, 1)]).await.unwrap();
        let row = epochs(store.as_ref(), 1, 1).await.remove(0);
        assert_eq!(row.metrics.train_loss.to_bits(), (0.1f64 + 0.2).to_bits());
        let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
        assert_eq!(job.train_loss.map(f64::to_bits), Some((0.1f64 + 0.2).to_bits()));
        assert_eq!(row.metrics, metrics(1));
        assert_eq!((job.val_loss, job.train_accuracy), (Some(0.7 - 0.1), Some(1.0 / 3.0)));
    }
}

#[tokio::test]
async fn what_a_trainer_does_not_say_is_not_there() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        for (number, expected) in [
            (1, (Some(0.7 - 0.1), Some(1.0 / 3.0))),
            (2, (Some(0.7 - 0.1), None)),
            (3, (None, Some(1.0 / 3.0))),
        ] {
            store.commit(&[epoch(1, 1, number)]).await.unwrap();
            let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
            assert_eq!((job.val_loss, job.train_accuracy), expected, "those of the last epoch");
            assert_eq!(job.best, BestEpoch::of(METRIC, &[metrics(number)]));
        }
        let epochs = epochs(store.as_ref(), 1, 1).await;
        assert_eq!(epochs.iter().map(|row| row.metrics).collect::<Vec<_>>(), [1, 2, 3].map(metrics));
        store.commit(&ended(1, 1, AttemptState::Lost, JobState::Pending)).await.unwrap();
        store.commit(&[granted(1, 2)]).await.unwrap();
        let again = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
        assert_eq!((again.val_loss, again.train_accuracy, again.best), (None, None, None));
    }
}

/// The epochs of the jobs `first` to `last` of the first sweep.
async fn epochs(store: &dyn Store, first: u64, last: u64) -> Vec<EpochRow> {
    store.epochs(SweepId(1), EpochPlace::before(first, 0), last, u32::MAX).await.unwrap()
}

async fn all_epochs(store: &dyn Store, sweep: SweepId) -> Result<Vec<EpochRow>, StoreError> {
    store.epochs(sweep, EpochPlace::before(1, 0), u64::MAX, u32::MAX).await
}

/// Commits jobs that are done, from job 1 on, and one that runs; each epoch is a validation accuracy and a loss.
async fn commit_jobs(store: &dyn Store, metric: Metric, jobs: &[&[(f64, Option<f64>)]]) {
    let mut sweep = submitted(1, "");
    if let Record::SweepSubmitted { metric: ranked, .. } = &mut sweep {
        *ranked = metric;
    }
    let mut records = vec![sweep];
    for (job, epochs) in (1..).zip(jobs) {
        records.push(granted(job, 1));
        let epochs: Vec<EpochMetrics> = (1..)
            .zip(*epochs)
            .map(|(number, (val_accuracy, val_loss))| EpochMetrics {
                val_accuracy: *val_accuracy,
                val_loss: *val_loss,
                ..metrics(number)
            })
            .collect();
        let attempt = AttemptKey::new(1, job, 1);
        records.extend((1..=epochs.len()).map(|count| recorded(metric, attempt, &epochs[..count])));
        if job < jobs.len() as u64 {
            records.extend(ended(job, 1, AttemptState::Done, JobState::Done));
        }
    }
    store.commit(&records).await.unwrap();
}

const JOBS: [&[(f64, Option<f64>)]; 4] = [
    &[(0.5, Some(0.7)), (0.6, Some(0.6))],
    &[(0.9, Some(0.1)), (0.4, None)],
    &[(0.9, Some(0.3)), (0.55, Some(0.5))],
    &[(0.75, Some(0.5)), (0.8, Some(0.25)), (0.8, None)],
];

/// What ranks, and the best jobs by it; then the best of the job that runs.
fn rankings() -> [(MetricName, BestJobs, Option<f64>); 2] {
    let best = |last, best| BestJobs { by_last: Some(last), by_best: Some(best) };
    [
        (MetricName::ValAccuracy, best((1, 0.6), (2, 0.9)), None),
        (MetricName::ValLoss, best((3, 0.5), (2, 0.1)), Some(0.25)),
    ]
}

#[tokio::test]
async fn jobs_are_ranked_by_their_last_epoch_and_by_their_best() {
    for (name, best, running) in rankings() {
        for place in places() {
            let metric = Metric { name, goal: name.goal(), used: MetricUse::Best };
            let store = place.open().await;
            commit_jobs(store.as_ref(), metric, &JOBS).await;
            let sweep = store.load().await.unwrap().remove(0);
            assert_eq!(sweep.best, best, "{name:?}");
            let found = sweep.open_jobs[0].running.as_ref().unwrap().best;
            assert_eq!(found, Some(BestEpoch { epoch: 2, val_accuracy: 0.8, other_metric: running }));
        }
    }
}

#[tokio::test]
async fn the_best_epochs_of_a_database_that_does_not_know_them_are_found() {
    for (name, best, running) in rankings() {
        let place = sqlite();
        let metric = Metric { name, goal: name.goal(), used: MetricUse::Best };
        let store = place.open().await;
        commit_jobs(store.as_ref(), metric, &JOBS).await;
        store.close().await;
        drop(store);
        // As rows of the version before are once more losses are known: nothing says which epoch was the best.
        let path = place.url.strip_prefix("sqlite:").unwrap();
        let old = "UPDATE jobs SET best_epoch = NULL, best_val_accuracy = NULL, best_metric = NULL; \
                   PRAGMA user_version = 0";
        rusqlite::Connection::open(path).unwrap().execute_batch(old).unwrap();
        let store = place.open().await;
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!(sweep.best, best, "{name:?}");
        let found = sweep.open_jobs[0].running.as_ref().unwrap().best;
        assert_eq!(found, Some(BestEpoch { epoch: 2, val_accuracy: 0.8, other_metric: running }));
        assert_eq!(store.jobs(SweepId(1), 1, 1).await.unwrap()[0].best, None);
    }
}

#[tokio::test]
async fn a_database_from_before_validation_losses_is_gone_on_with() {
    let place = sqlite();
    let store = place.open().await;
    commit_jobs(store.as_ref(), METRIC, &JOBS).await;
    store.close().await;
    drop(store);
    let path = place.url.strip_prefix("sqlite:").unwrap();
    let mut old = String::new();
    for (table, columns) in [
        ("epochs", &["val_loss", "train_accuracy"][..]),
        ("jobs", &["val_loss", "train_accuracy", "best_epoch", "best_val_accuracy", "best_metric"]),
    ] {
        for column in columns {
            old += &format!("ALTER TABLE {table} DROP COLUMN {column}; ");
        }
    }
    old += "DELETE FROM _sqlx_migrations WHERE version = 6; PRAGMA user_version = 0";
    rusqlite::Connection::open(path).unwrap().execute_batch(&old).unwrap();
    let store = place.open().await;
    let sweep = store.load().await.unwrap().remove(0);
    assert_eq!(sweep.best, BestJobs { by_last: Some((1, 0.6)), by_best: Some((2, 0.9)) });
    let epochs = epochs(store.as_ref(), 1, 1).await;
    assert_eq!((epochs[0].metrics.val_loss, epochs[0].metrics.train_accuracy), (None, None));
    // The job that ran goes on, and its row says from now on which epoch was the best of all.
    let running = sweep.open_jobs[0].running.clone().unwrap();
    let next = EpochMetrics { val_accuracy: 0.7, ..metrics(4) };
    let best = BestEpoch::after(running.best, METRIC, &next);
    let record =
        Record::EpochRecorded { attempt: AttemptKey::new(1, 4, 1), epoch: next, best, train_seconds: 6.0 };
    store.commit(&[record]).await.unwrap();
    let job = store.jobs(SweepId(1), 4, 1).await.unwrap().remove(0);
    assert_eq!(job.best, Some(BestEpoch { epoch: 2, val_accuracy: 0.8, other_metric: None }));
}

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

/// A text in each column that takes texts from outside.
fn with_text(text: &str) -> Vec<(&'static str, Vec<Record>)> {
    let text = || text.to_owned();
    let attempt = AttemptKey::new(1, 1, 1);
    let base = || vec![submitted(1, ""), granted(1, 1)];
    let then = |record| [base(), vec![record]].concat();
    let sweep =
        |name: Option<String>, request_id: Option<String>, specification: Option<String>| match submitted(
            1, "",
        ) {
            Record::SweepSubmitted { sweep, metric, job_count, created_unix_ms, .. } => {
                vec![Record::SweepSubmitted {
                    sweep,
                    name: name.unwrap_or_default(),
                    request_id: request_id.unwrap_or_default(),
                    specification: specification.unwrap_or_default(),
                    metric,
                    job_count,
                    created_unix_ms,
                }]
            }
            other => panic!("{other:?}"),
        };
    let ended = |reason, log_tail| Record::AttemptEnded {
        attempt,
        state: AttemptState::Failed,
        reason,
        log_tail,
        at_unix_ms: 3_000,
    };
    let dataset = v1::DatasetSummary {
        content_hash: text(),
        classes: vec![text()],
        skipped: vec![text()],
        ..v1::DatasetSummary::default()
    };
    let device = match granted(1, 1) {
        Record::AttemptGranted { attempt, is_first, worker, slot, pack_size, at_unix_ms, .. } => {
            Record::AttemptGranted { attempt, is_first, worker, slot, device: text(), pack_size, at_unix_ms }
        }
        other => panic!("{other:?}"),
    };
    let changed =
        Record::JobChanged { job: attempt.job, state: JobState::Failed, history: history(), reason: text() };
    vec![
        ("sweeps.name", sweep(Some(text()), None, None)),
        ("sweeps.request_id", sweep(None, Some(text()), None)),
        ("sweeps.specification", sweep(None, None, Some(text()))),
        ("sweeps.dataset", then(Record::DatasetFound { sweep: SweepId(1), dataset })),
        ("jobs.reason", then(changed)),
        ("attempts.device", vec![submitted(1, ""), device]),
        ("attempts.reason", then(ended(text(), Vec::new()))),
        ("attempts.log_tail", then(ended(String::new(), vec![text()]))),
    ]
}

#[tokio::test]
async fn a_text_is_kept_as_it_is_or_refused_in_every_column() {
    // Columns of JSON keep every text.
    let keeps_all = |column: &str| ["sweeps.dataset", "attempts.log_tail"].contains(&column);
    for text in ["plain", "語\u{1f600}", "a\u{1b}[31mb\u{9b}\r\n\t\u{7f}\u{202e}", "a\u{fffd}b", "a\0b"] {
        for number in 0..with_text(text).len() {
            for place in places() {
                let (column, records) = with_text(text).remove(number);
                let store = place.open().await;
                let kept = store.commit(&records).await;
                if text.contains('\0') && !keeps_all(column) {
                    assert!(matches!(kept, Err(StoreError::Unfit(_))), "{column} {text:?}: {kept:?}");
                    assert!(store.load().await.unwrap().is_empty(), "{column}: nothing of it is there");
                    // And the store goes on.
                    store.commit(&[submitted(1, "next")]).await.unwrap();
                    continue;
                }
                kept.unwrap_or_else(|error| panic!("{column} {text:?}: {error}"));
                let sweep = store.load().await.unwrap().remove(0);
                let job = JobKey { sweep: SweepId(1), job: 1 };
                let attempts = store.attempts(job).await.unwrap();
                let found = match column {
                    "sweeps.request_id" => sweep.request_id,
                    "sweeps.specification" => sweep.specification,
                    "sweeps.dataset" => sweep.dataset.unwrap().classes.concat(),
                    "jobs.reason" => store.jobs(SweepId(1), 1, 1).await.unwrap().remove(0).reason,
                    "attempts.device" => attempts[0].device.clone(),
                    "attempts.reason" => attempts[0].reason.clone(),
                    "attempts.log_tail" => attempts[0].log_tail.concat(),
                    // The name is in the specification, too, from where it is read.
                    _ => text.to_owned(),
                };
                assert_eq!(found, text, "{column}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_there_is_a_fault_of_who_said_it() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, "key")]).await.unwrap();
        let twice = store.commit(&[submitted(2, "key")]).await;
        assert!(matches!(twice, Err(StoreError::Unfit(_))), "{twice:?}");
        let beyond = Record::SweepExtended {
            sweep: SweepId(1),
            name: "x".into(),
            specification: "x".into(),
            job_count: u64::MAX,
        };
        let beyond = store.commit(&[beyond]).await;
        assert!(matches!(beyond, Err(StoreError::Unfit(_))), "{beyond:?}");
        store.commit(&[submitted(2, "another")]).await.unwrap();
        assert_eq!(store.load().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_new_attempt_starts_its_job_over_and_keeps_the_history() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1), epoch(1, 1, 1), epoch(1, 1, 2)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Lost, JobState::Pending)).await.unwrap();
        store.commit(&[granted(1, 2), epoch(1, 2, 1)]).await.unwrap();
        let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
        assert_eq!(
            (job.state, job.attempts, job.epochs_done, job.train_seconds),
            (JobState::Running, 2, 1, 1.5)
        );
        let key = JobKey { sweep: SweepId(1), job: 1 };
        let attempts = store.attempts(key).await.unwrap();
        assert_eq!(
            attempts.iter().map(|attempt| attempt.state.as_str()).collect::<Vec<_>>(),
            ["lost", "running"]
        );
        assert_eq!(attempts[0].log_tail, ["last \"words\"", "語"]);
        assert_eq!(epochs(store.as_ref(), 1, 1).await.len(), 3);
        let mut counting = CountingEpochs::new(Arc::clone(&store), SweepId(1), 1, 1);
        let row = counting.next(1, job.attempts, job.epochs_done).await.unwrap().unwrap();
        assert_eq!((row.attempt, row.metrics.epoch), (2, 1));
        assert_eq!(counting.next(1, job.attempts, job.epochs_done).await.unwrap(), None);
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
        // A change of settings is kept the same way, and again it changes nothing.
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
async fn jobs_come_in_pages() {
    for place in places() {
        let store = place.open().await;
        let mut records = vec![submitted(1, "")];
        records.extend((1..=5).map(|job| granted(job, 1)));
        store.commit(&records).await.unwrap();
        let numbers = |rows: Vec<JobRow>| rows.iter().map(|row| row.job).collect::<Vec<_>>();
        assert_eq!(numbers(store.jobs(SweepId(1), 2, 2).await.unwrap()), [2, 3]);
        assert_eq!(numbers(store.jobs(SweepId(1), 4, 9).await.unwrap()), [4, 5]);
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
async fn wrong_urls_and_folders_are_told() {
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
    assert!(matches!(opened, Err(StoreError::Damaged(_))), "{opened:?}");
}

#[tokio::test]
async fn jobs_in_a_state_are_found_and_a_finished_sweep_runs_again() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1), granted(2, 1), granted(3, 1)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Failed, JobState::Failed)).await.unwrap();
        store.commit(&ended(2, 1, AttemptState::Done, JobState::Done)).await.unwrap();
        store.commit(&ended(3, 1, AttemptState::Lost, JobState::Failed)).await.unwrap();
        let change = |state, ended_unix_ms| Record::SweepChanged { sweep: SweepId(1), state, ended_unix_ms };
        store.commit(&[change(SweepState::Finished, Some(5))]).await.unwrap();
        assert_eq!(jobs_in(&store, JobState::Failed, 1, 10).await, [1, 3]);
        assert_eq!(jobs_in(&store, JobState::Failed, 1, 1).await, [1]);
        assert_eq!(jobs_in(&store, JobState::Failed, 2, 10).await, [3]);
        assert_eq!(jobs_in(&store, JobState::Done, 1, 10).await, [2]);
        assert_eq!(jobs_in(&store, JobState::Running, 1, 10).await, [0; 0]);
        let again = Record::JobChanged {
            job: JobKey { sweep: SweepId(1), job: 1 },
            state: JobState::Pending,
            history: History::default(),
            reason: "again".into(),
        };
        store.commit(&[again, change(SweepState::Running, None)]).await.unwrap();
        let stored = store.load().await.unwrap().remove(0);
        assert_eq!((stored.state, stored.ended_unix_ms), (SweepState::Running, None));
        assert_eq!(stored.open_jobs.iter().map(|job| (job.job, job.attempts)).collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!(jobs_in(&store, JobState::Failed, 1, 10).await, [3]);
    }
}

#[tokio::test]
async fn a_job_that_never_began_can_be_cancelled_and_begin_after_all() {
    for place in places() {
        let changed = |job, state| Record::JobChanged {
            job: JobKey { sweep: SweepId(1), job },
            state,
            history: History::default(),
            reason: "so".into(),
        };
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        store.commit(&[changed(4, JobState::Cancelled)]).await.unwrap();
        store.close().await;
        drop(store);
        let store = place.open().await;
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!((sweep.next_fresh, sweep.ahead.into_iter().collect::<Vec<_>>()), (2, vec![4]));
        assert_eq!(sweep.finals, [(JobState::Cancelled, 1)]);
        assert_eq!(jobs_in(&store, JobState::Cancelled, 1, 10).await, [4]);
        store.commit(&[changed(4, JobState::Pending)]).await.unwrap();
        store.close().await;
        drop(store);
        let store = place.open().await;
        let Record::AttemptGranted { attempt, worker, slot, device, pack_size, at_unix_ms, .. } =
            granted(4, 1)
        else {
            panic!("it is a grant")
        };
        let again =
            Record::AttemptGranted { attempt, is_first: false, worker, slot, device, pack_size, at_unix_ms };
        store.commit(&[again]).await.unwrap();
        let open = store.load().await.unwrap().remove(0).open_jobs;
        let running: Vec<_> = open.iter().map(|job| (job.job, job.attempts, job.running.is_some())).collect();
        assert_eq!(running, [(1, 1, true), (4, 1, true)]);
        store.close().await;
    }
}

async fn jobs_in(store: &Arc<dyn Store>, state: JobState, first: u64, limit: u32) -> Vec<u64> {
    let rows = store.jobs_in_state(SweepId(1), state, first, limit).await.unwrap();
    assert!(rows.iter().all(|row| row.state == state), "{rows:?}");
    rows.iter().map(|row| row.job).collect()
}

/// Commits of records as the engine may ask for them, of a few jobs that are tried again and again.
fn commits(random: &mut Random) -> Vec<Vec<Record>> {
    let mut records = Vec::new();
    let mut attempts = [0_u32; 4];
    for _ in 0..60 {
        let job = random.below(attempts.len() as u64);
        let attempt = &mut attempts[usize::try_from(job).unwrap()];
        let number = job + 1;
        *attempt += 1;
        records.push(granted(number, *attempt));
        if random.below(4) > 0 {
            let key = AttemptKey::new(1, number, *attempt);
            records.push(Record::AttemptStarted { attempt: key, resumed_epochs: *attempt });
            records.extend((1..=u32::try_from(random.below(4)).unwrap()).map(|n| epoch(number, *attempt, n)));
        }
        let states = [
            (AttemptState::Lost, JobState::Pending),
            (AttemptState::Failed, JobState::Failed),
            (AttemptState::Done, JobState::Done),
        ];
        if let Some((state, job_state)) = states.get(usize::try_from(random.below(4)).unwrap()) {
            records.extend(ended(number, *attempt, *state, *job_state));
        }
    }
    let mut commits = vec![vec![submitted(1, "")]];
    while !records.is_empty() {
        let length = usize::try_from(1 + random.below(30)).unwrap().min(records.len());
        commits.push(records.drain(..length).collect());
    }
    commits
}

#[tokio::test]
async fn the_stores_agree_whatever_shares_a_commit() {
    for seed in 0..20 {
        // Without PostgreSQL, two files.
        let (first, second) = (sqlite(), places().last().expect("there is always a file"));
        let (first, second) = (first.open().await, second.open().await);
        for commit in commits(&mut Random(seed)) {
            for record in &commit {
                first.commit(std::slice::from_ref(record)).await.unwrap();
            }
            second.commit(&commit).await.unwrap();
        }
        let sweep = SweepId(1);
        assert_eq!(first.jobs(sweep, 1, 9).await.unwrap(), second.jobs(sweep, 1, 9).await.unwrap(), "{seed}");
        assert_eq!(epochs(first.as_ref(), 1, 9).await, epochs(second.as_ref(), 1, 9).await, "{seed}");
        for job in 1..=4 {
            let key = JobKey { sweep, job };
            assert_eq!(first.attempts(key).await.unwrap(), second.attempts(key).await.unwrap(), "{seed}");
        }
        let (first, second) = (first.load().await.unwrap(), second.load().await.unwrap());
        assert_eq!(format!("{:?}", first[0].open_jobs), format!("{:?}", second[0].open_jobs), "{seed}");
        assert_eq!(
            (first[0].next_fresh, &first[0].ahead, first[0].best),
            (second[0].next_fresh, &second[0].ahead, second[0].best),
            "{seed}"
        );
    }
}

#[tokio::test]
async fn how_many_jobs_were_trained_together_is_kept_of_jobs_and_attempts() {
    for place in places() {
        let store = place.open().await;
        let again = ended(1, 1, AttemptState::HandedBack, JobState::Pending);
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap()[0].pack_size, 1);
        store.commit(&again).await.unwrap();
        store.commit(&[granted(1, 2)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap()[0].pack_size, 2);
        let attempts = store.attempts(JobKey { sweep: SweepId(1), job: 1 }).await.unwrap();
        assert_eq!(attempts.iter().map(|attempt| attempt.pack_size).collect::<Vec<_>>(), [1, 2]);
        let sweeps = store.load().await.unwrap();
        assert_eq!(sweeps[0].open_jobs[0].running.as_ref().unwrap().pack_size, 2);
    }
}

#[tokio::test]
async fn a_database_from_before_packs_is_gone_on_with() {
    let place = sqlite();
    let store = place.open().await;
    store.commit(&[submitted(1, "key"), granted(1, 1), epoch(1, 1, 1)]).await.unwrap();
    store.commit(&ended(1, 1, AttemptState::Done, JobState::Done)).await.unwrap();
    store.close().await;
    drop(store);
    let path = place.url.strip_prefix("sqlite:").unwrap();
    let old = "ALTER TABLE jobs DROP COLUMN pack_size; ALTER TABLE attempts DROP COLUMN pack_size; \
               DELETE FROM _sqlx_migrations WHERE version = 5";
    rusqlite::Connection::open(path).unwrap().execute_batch(old).unwrap();
    let store = place.open().await;
    assert_eq!(store.load().await.unwrap()[0].finals, [(JobState::Done, 1)]);
    assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap()[0].pack_size, 1);
}

/// A coordinator on a shared database, and what it was told of others.
async fn contender(
    url: &str,
    address: &'static str,
) -> (Arc<dyn Store>, mpsc::UnboundedReceiver<String>, JoinHandle<()>) {
    let store = open(url).await.unwrap();
    let (sender, told) = mpsc::unbounded_channel();
    let leading = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.lead(address, &|leader| drop(sender.send(leader.to_owned()))).await.unwrap();
        })
    };
    (store, told, leading)
}

#[tokio::test]
async fn one_coordinator_leads_and_a_replaced_one_cannot_write() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    // It leads, but does not show that it lives.
    let (second, mut told, leads) = contender(&url, "http://second").await;
    assert_eq!(told.recv().await.as_deref(), Some("http://first"));
    first.commit(&[submitted(1, "")]).await.unwrap();
    leads.await.unwrap();
    let late = first.commit(&[granted(1, 1)]).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert!(matches!(first.deposed().await, StoreError::Superseded));
    second.commit(&[granted(1, 1)]).await.unwrap();
    assert_eq!(second.jobs(SweepId(1), 1, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_leader_that_lives_keeps_the_lead_and_one_that_leaves_hands_it_over() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    let beating = {
        let first = Arc::clone(&first);
        tokio::spawn(async move { first.deposed().await })
    };
    let (second, mut told, leads) = contender(&url, "http://second").await;
    // Longer than a silent leader would keep the lead: it looks twice a second.
    for _ in 0..12 {
        assert_eq!(told.recv().await.as_deref(), Some("http://first"));
    }
    assert!(!leads.is_finished());
    beating.abort();
    first.close().await;
    leads.await.unwrap();
    second.commit(&[submitted(1, "")]).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_lays_the_lead_down_is_replaced_while_it_is_still_there() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let (first, _, leads) = contender(&url, "http://first").await;
    leads.await.unwrap();
    first.commit(&[submitted(1, "")]).await.unwrap();
    first.lay_down().await;
    // Not by way of a beat that stands still: this one would have seen it beat.
    let second = open(&url).await.unwrap();
    second.lead("http://second", &|leader| panic!("{leader} leads")).await.unwrap();
    let late = first.commit(&[granted(1, 1)]).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    second.commit(&[granted(1, 1)]).await.unwrap();
}

#[tokio::test]
async fn numbers_beyond_every_row_find_nothing() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), u64::MAX, 10).await.unwrap(), []);
        assert_eq!(store.jobs_in_state(SweepId(1), JobState::Running, u64::MAX, 10).await.unwrap(), []);
        assert_eq!(store.epochs(SweepId(u64::MAX), EpochPlace::before(1, 0), u64::MAX, 9).await.unwrap(), []);
        assert_eq!(store.attempts(JobKey { sweep: SweepId(1), job: 1 << 63 }).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_damaged_row_is_told_with_what_helps_for_its_store() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        store.close().await;
        drop(store);
        let change = "UPDATE jobs SET epochs_done = 7";
        let hint = match place.url.strip_prefix("sqlite:") {
            Some(path) => {
                rusqlite::Connection::open(path).unwrap().execute_batch(change).unwrap();
                "sqlite3"
            }
            None => {
                let (_, rest) = place.url.split_once("localhost/").unwrap();
                Postgres::shared().unwrap().psql(rest.split('?').next().unwrap(), change);
                "pg_dump"
            }
        };
        let said = place.open().await.load().await.unwrap_err().to_string();
        assert!(said.contains("damaged") && said.contains(hint), "{said}");
        assert_eq!(said.contains("sqlite3"), hint == "sqlite3", "{said}");
    }
}

/// Everything that can be read of a store, as text.
async fn dump(store: &dyn Store) -> Result<String, StoreError> {
    let mut text = format!("{:?}\n", store.load().await?);
    for sweep in [1, 2].map(SweepId) {
        let (jobs, epochs) = (store.jobs(sweep, 1, 99).await?, all_epochs(store, sweep).await?);
        text += &format!(
            "{jobs:?}\n{epochs:?}\n{:?}\n",
            store.jobs_in_state(sweep, JobState::Failed, 1, 99).await?
        );
        for job in 1..=4 {
            text += &format!("{:?}\n", store.attempts(JobKey { sweep, job }).await?);
        }
    }
    Ok(text)
}

/// Opens a file and reads everything in it.
async fn read_all(path: &Path) -> Result<String, StoreError> {
    let store = open(&format!("sqlite:{}", path.display())).await?;
    let read = dump(store.as_ref()).await;
    store.close().await;
    read
}

/// What may happen to a file.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) -> &'static str {
    const PAGE: usize = 4_096;
    let below = |random: &mut Random, bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    let length = bytes.len();
    let at = below(random, length);
    let (page, other) = (at / PAGE * PAGE, below(random, length) / PAGE * PAGE);
    match random.below(7) {
        0 | 1 => {
            bytes[at] ^= 1 << random.below(8);
            "a flipped bit"
        }
        2 => {
            let end = (at + 1 + below(random, 600)).min(length);
            bytes[at..end].iter_mut().for_each(|byte| *byte = random.draw().to_le_bytes()[0]);
            "garbage"
        }
        3 => {
            let end = (page + PAGE).min(length);
            bytes[page..end].fill(0);
            "a page of zeros"
        }
        4 => {
            let end = (other + PAGE).min(length) - other;
            bytes.copy_within(other..other + end.min(length - page), page);
            "a page in another's place"
        }
        5 => {
            bytes.truncate(at);
            "a cut"
        }
        _ => {
            bytes[at] = bytes[at].wrapping_add(1);
            "a number that is off by one"
        }
    }
}

/// A database with two sweeps: its file and its log as a crash would leave them, and what could be read after each
/// commit, the last one last.
async fn history_of_a_database(folder: &Path) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let path = folder.join("sweep.db");
    let store = open(&format!("sqlite:{}", path.display())).await.unwrap();
    let mut dumps = vec![dump(store.as_ref()).await.unwrap()];
    let second = Record::SweepSubmitted {
        sweep: SweepId(2),
        name: "second".into(),
        request_id: "key".into(),
        specification: "name: y".into(),
        metric: Metric { name: MetricName::TrainLoss, goal: Goal::Minimize, used: MetricUse::Last },
        job_count: 5,
        created_unix_ms: 1_000,
    };
    let mut all = commits(&mut Random(1));
    all.push(vec![second]);
    for commit in all {
        store.commit(&commit).await.unwrap();
        dumps.push(dump(store.as_ref()).await.unwrap());
    }
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let crashed = (fs::read(&path).unwrap(), fs::read(log).unwrap());
    store.close().await;
    (crashed.0, crashed.1, dumps)
}

/// Damages a file or its log `count` times: what is read is right, or an error.
async fn damaged_files_are_refused(seeds: Range<u64>, with_log: bool) {
    let folder = tempfile::tempdir().unwrap();
    let (file, log, dumps) = history_of_a_database(folder.path()).await;
    let whole = fs::read(folder.path().join("sweep.db")).unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let mut random = Random(seed);
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sweep.db");
        let (mut file, mut log) =
            if with_log { (file.clone(), log.clone()) } else { (whole.clone(), Vec::new()) };
        let what = damage(if with_log { &mut log } else { &mut file }, &mut random);
        fs::write(&path, &file).unwrap();
        if with_log {
            fs::write(place.path().join("sweep.db-wal"), &log).unwrap();
        }
        match read_all(&path).await {
            Err(_) => refused += 1,
            // What a log holds after damage is taken for a commit that a crash cut off.
            Ok(read) if with_log => assert!(dumps.contains(&read), "seed {seed}: {what} gave what never was"),
            Ok(read) => {
                assert!(Some(&read) == dumps.last(), "seed {seed}: {what} was not noticed");
                unharmed += 1;
            }
        }
    }
    println!("{count} damaged: {refused} refused, {unharmed} unharmed");
    assert!(with_log || refused > count / 2, "most damage is to something that is read");
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_read_right() {
    damaged_files_are_refused(0..1_000, false).await;
}

#[tokio::test]
async fn a_damaged_log_is_refused_or_ends_at_a_commit() {
    damaged_files_are_refused(0..300, true).await;
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
