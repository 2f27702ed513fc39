//! The use cases over a store whose lists take as long as a test says.

mod analyses;
mod revivals;
mod weights;

use std::time::Duration;

use async_trait::async_trait;
use domain::definition::SweepDefinition;
use domain::record::{
    BestEpoch, History, Quota, Record, StoredSearch, StoredSweep, Token, WeightsFile, WeightsState,
};
use engine::{
    Issuer,
    command::{Extend, Retried, Retry},
    query::{Define, SeeEnds},
    weights_name,
};
use store::{
    ArtifactRow, AttemptPlace, AttemptRow, AttemptsAsked, EpochPlace, EpochRow, JobRow, LeaderTold,
    ResultRows, StoreError,
};
use terms::{AttemptKey, AttemptState, Epoch, Goal, JobKey, JobState, MetricRow, MetricUse, Objective};
use tokio::sync::{mpsc, oneshot};

use super::weights::DOWNLOADS_MAX;
use super::*;
use crate::artifacts::Artifacts;

type Gates = mpsc::UnboundedSender<oneshot::Sender<()>>;

/// A store that tells the test of each list of jobs by state, and of each search that is read, and answers once the test lets it.
#[derive(Debug)]
struct Gated {
    store: Arc<dyn Store>,
    lists: Gates,
    searches: Gates,
}

/// Waits until the test lets it go on. A test that is over lets everything through.
async fn pass(gates: &Gates) {
    let (go_on, gate) = oneshot::channel();
    if gates.send(go_on).is_ok() {
        let _ = gate.await;
    }
}

#[async_trait]
impl ResultRows for Gated {
    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        self.store.jobs(sweep, first, limit).await
    }

    async fn attempts_of_jobs(
        &self,
        sweep: SweepId,
        after: AttemptPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError> {
        self.store.attempts_of_jobs(sweep, after, last, limit).await
    }

    async fn epochs(
        &self,
        sweep: SweepId,
        after: EpochPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError> {
        assert!(limit <= 1_000, "{limit} epochs at a time");
        self.store.epochs(sweep, after, last, limit).await
    }

    async fn artifacts(
        &self,
        sweep: SweepId,
        first: u64,
        last: u64,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        self.store.artifacts(sweep, first, last, limit).await
    }
}

#[async_trait]
impl Store for Gated {
    async fn lead(&self, address: &str, leader: LeaderTold<'_>) -> Result<(), StoreError> {
        self.store.lead(address, leader).await
    }
    async fn deposed(&self) -> StoreError {
        self.store.deposed().await
    }
    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError> {
        self.store.load().await
    }
    async fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        self.store.commit(records).await
    }
    async fn jobs_in_state(
        &self,
        sweep: SweepId,
        state: JobState,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        let found = self.store.jobs_in_state(sweep, state, first, limit).await;
        pass(&self.lists).await;
        found
    }
    async fn attempts(&self, job: JobKey) -> Result<Vec<AttemptRow>, StoreError> {
        self.store.attempts(job).await
    }
    async fn attempts_between(&self, asked: AttemptsAsked) -> Result<Vec<(JobKey, AttemptRow)>, StoreError> {
        self.store.attempts_between(asked).await
    }
    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens().await
    }
    async fn quotas(&self) -> Result<Vec<Quota>, StoreError> {
        self.store.quotas().await
    }
    async fn search(&self, sweep: SweepId) -> Result<StoredSearch, StoreError> {
        pass(&self.searches).await;
        self.store.search(sweep).await
    }
    async fn has_room(&self) -> bool {
        self.store.has_room().await
    }
    async fn close(&self) {
        self.store.close().await;
    }
}

/// The use cases over a store that holds what a test wants.
struct Served {
    api: Api,
    lists: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    searches: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    folder: tempfile::TempDir,
}

fn objective() -> Objective {
    Objective { name: "val_accuracy".into(), goal: Goal::Maximize, used: MetricUse::Last }
}

/// A sweep of three jobs, of which this is recorded.
async fn served(records: impl IntoIterator<Item = Record>) -> Served {
    let text =
        "name: x\ndataset: {path: d}\nparameters: {epochs: {value: 10000}, seed: {values: [1, 2, 3]}}\n";
    served_this(text, records).await
}

/// A sweep of three jobs by this file.
async fn served_this(text: &str, records: impl IntoIterator<Item = Record>) -> Served {
    let (store, folder) = leader::store().await;
    let source = domain::specification::SpecificationSource {
        text: text.to_owned(),
        ..domain::specification::SpecificationSource::default()
    };
    let submitted = Record::SweepSubmitted {
        sweep: SweepId(1),
        name: "x".into(),
        request_id: String::new(),
        specification: SweepDefinition::parse(&source).unwrap().text(),
        manifest: String::new(),
        objective: objective(),
        job_count: 3,
        created_unix_ms: 5,
        owner: None,
    };
    let names = ["train_loss", "val_accuracy"].map(Into::into).into();
    let named = Record::MetricsNamed { sweep: SweepId(1), first: 0, names };
    let records: Vec<Record> = [submitted, named].into_iter().chain(records).collect();
    store.commit(&records).await.unwrap();
    let (listed, lists) = mpsc::unbounded_channel();
    let (searched, searches) = mpsc::unbounded_channel();
    let store: Arc<dyn Store> = Arc::new(Gated { store, lists: listed, searches: searched });
    let leadership = leader::led_by(&leader::driver(&store).await);
    let artifacts = Arc::new(Artifacts::open(folder.path().join("weights").to_str().unwrap()).unwrap());
    Served { api: Api::new(leadership, store, Some(artifacts), TaskTracker::new()), lists, searches, folder }
}

/// An attempt with this number of epochs.
fn attempt(job: u64, attempt: u32, epochs: u32) -> Vec<Record> {
    let key = AttemptKey::new(1, job, attempt);
    let granted = Record::AttemptGranted {
        attempt: key,
        is_first: attempt == 1,
        worker: "w".parse().unwrap(),
        slot: u32::try_from(job).unwrap(),
        device: "cpu".into(),
        pack_size: 1,
        budget: None,
        at_unix_ms: 6,
    };
    let epoch = |number| {
        let epoch = Epoch { number, seconds: 1.0, row: MetricRow::new(&[f64::from(attempt), 0.5]) };
        let best = BestEpoch::after(None, &objective(), &epoch, Some(0.5));
        let train_seconds = f64::from(number);
        Record::EpochRecorded { attempt: key, epoch, objective: Some(0.5), best, train_seconds }
    };
    [granted].into_iter().chain((1..=epochs).map(epoch)).collect()
}

fn ended(job: u64, attempt: u32, state: AttemptState, job_state: JobState) -> [Record; 2] {
    let attempt = AttemptKey::new(1, job, attempt);
    let reason = || "so".to_owned();
    [
        Record::AttemptEnded { attempt, state, reason: reason(), log_tail: Vec::new(), at_unix_ms: 7 },
        Record::JobChanged {
            job: attempt.job,
            state: job_state,
            history: History::default(),
            reason: reason(),
        },
    ]
}

fn failed(job: u64) -> Vec<Record> {
    attempt(job, 1, 0).into_iter().chain(ended(job, 1, AttemptState::Failed, JobState::Failed)).collect()
}

impl Served {
    fn retry(&self, job: Option<u64>) -> tokio::task::JoinHandle<Result<u64, ApiError>> {
        let api = self.api.clone();
        let request = RetryRequest { sweep: SweepId(1), job, cancelled_too: true };
        tokio::spawn(async move {
            let retried = api.retry(Issuer::local(), request).await?;
            Ok(retried.encode(|retried: Retried| retried.jobs))
        })
    }

    /// Lets the next `count` lists through.
    async fn let_lists_through(&mut self, count: u32) {
        for _ in 0..count {
            self.lists.recv().await.unwrap().send(()).unwrap();
        }
    }

    async fn counts(&self) -> engine::JobCounts {
        self.api.sweep(SweepId(1)).await.unwrap().encode(|sweep| sweep.counts)
    }
}

#[tokio::test]
async fn a_retry_whose_user_hangs_up_ends_before_another_begins() {
    let mut served = served(failed(1)).await;
    let first = served.retry(None);
    let has_read = served.lists.recv().await.unwrap();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = served.retry(None);
    has_read.send(()).unwrap();
    // One list of the failed jobs, one of those that were cancelled.
    served.lists.recv().await.unwrap().send(()).unwrap();
    // The second one reads.
    let reads = served.lists.recv().await.unwrap();
    let counts = served.counts().await;
    assert_eq!((counts.failed, counts.pending), (0, 3), "the first one has come to its end");
    reads.send(()).unwrap();
    served.lists.recv().await.unwrap().send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_list_that_was_overtaken_is_read_again() {
    let mut served = served(failed(1).into_iter().chain(failed(2))).await;
    let retry = served.retry(None);
    let has_read = served.lists.recv().await.unwrap();
    // The engine has another retry meanwhile, as of a coordinator that was restored in between.
    let leadership = &served.api.leadership;
    let seen = leadership.query(SeeEnds(SweepId(1))).await.unwrap();
    let jobs = vec![domain::record::EndedJob { job: 1, attempts: 1, state: JobState::Failed }];
    let other = Retry { sweep: SweepId(1), jobs, all: false, seen, revived: Default::default() };
    assert_eq!(leadership.command(Issuer::local(), other).await.unwrap().jobs, 1);
    has_read.send(()).unwrap();
    for _ in 0..3 {
        served.lists.recv().await.unwrap().send(()).unwrap();
    }
    assert_eq!(retry.await.unwrap().unwrap(), 1, "the one that has failed still");
    assert_eq!(served.counts().await.pending, 3);
}

#[tokio::test]
async fn a_change_of_a_sweep_that_was_overtaken_is_made_of_what_the_sweep_is_by_then() {
    let served = served([]).await;
    let (begins, mut begun) = mpsc::unbounded_channel();
    let change = move |before: &SweepDefinition| {
        let (go_on, gate) = std::sync::mpsc::channel::<()>();
        if begins.send(go_on).is_ok() {
            // Until the test drops the other end.
            let _ = gate.recv();
        }
        before.set(&["execution.max_parallel=3".to_owned()])
    };
    let api = served.api.clone();
    let changing = tokio::spawn(async move {
        let changed = api.redefine(Issuer::local(), SweepId(1), change).await?;
        Ok::<usize, ApiError>(changed.encode(|changed| changed.changes.len()))
    });
    let first = begun.recv().await.unwrap();
    let leadership = &served.api.leadership;
    let base = leadership.query(Define(SweepId(1))).await.unwrap().definition;
    let definition = base.set(&["execution.attempts_max=7".to_owned()]).unwrap().into();
    let other = Extend { sweep: SweepId(1), base, definition, revived: Default::default() };
    leadership.command(Issuer::local(), other).await.unwrap();
    drop(first);
    drop(begun.recv().await.unwrap());
    assert_eq!(changing.await.unwrap().unwrap(), 1, "what the other has changed is no change of its own");
    let definition = leadership.query(Define(SweepId(1))).await.unwrap().definition;
    assert_eq!((definition.execution.max_parallel, definition.execution.attempts_max), (Some(3), 7));
}

#[tokio::test]
async fn more_jobs_than_one_turn_takes_are_tried_again_by_one_call() {
    let mut served = served([1, 2, 3].into_iter().flat_map(failed)).await;
    let request = RetryRequest { sweep: SweepId(1), job: None, cancelled_too: true };
    let retry = |api: Api| async move {
        let retried = api.retry_in_turns(Issuer::local(), request, 1, Duration::MAX).await?;
        Ok::<u64, ApiError>(retried.encode(|retried: Retried| retried.jobs))
    };
    let retrying = tokio::spawn(retry(served.api.clone()));
    // A list for each job, and two that are empty: of what failed and of what was cancelled.
    for pending in 0..3 {
        let reads = served.lists.recv().await.unwrap();
        assert_eq!(served.counts().await.pending, pending);
        reads.send(()).unwrap();
    }
    for _ in 0..2 {
        served.lists.recv().await.unwrap().send(()).unwrap();
    }
    assert_eq!(retrying.await.unwrap().unwrap(), 3);
    assert_eq!((served.counts().await.failed, served.counts().await.pending), (0, 3));
}

#[tokio::test]
async fn a_call_begins_no_turn_when_its_time_is_over() {
    let mut served = served([1, 2, 3].into_iter().flat_map(failed)).await;
    let request = RetryRequest { sweep: SweepId(1), job: None, cancelled_too: true };
    let api = served.api.clone();
    let retrying =
        tokio::spawn(async move { api.retry_in_turns(Issuer::local(), request, 1, Duration::ZERO).await });
    served.lists.recv().await.unwrap().send(()).unwrap();
    let retried = retrying.await.unwrap().unwrap();
    assert_eq!(retried.encode(|retried: Retried| retried.jobs), 1);
    assert_eq!((served.counts().await.failed, served.counts().await.pending), (2, 1));
}

#[tokio::test]
async fn a_sweep_that_is_stopped_between_two_turns_of_a_retry_stays_stopped() {
    let mut served = served([1, 2, 3].into_iter().flat_map(failed)).await;
    let request = RetryRequest { sweep: SweepId(1), job: None, cancelled_too: true };
    let api = served.api.clone();
    let retrying = tokio::spawn(async move {
        api.retry_in_turns(Issuer::local(), request, 1, Duration::MAX).await.map(drop)
    });
    served.lists.recv().await.unwrap().send(()).unwrap();
    // The second turn reads.
    let reads = served.lists.recv().await.unwrap();
    let stop = engine::command::Stop(SweepId(1));
    served.api.leadership.command(Issuer::local(), stop).await.unwrap();
    reads.send(()).unwrap();
    let error = retrying.await.unwrap().unwrap_err();
    assert!(matches!(error, ApiError::Aborted(_)), "{error:?}");
    assert!(error.to_string().contains("the retry ended early, with 1 of the jobs"), "{error}");
    let state = served.api.sweep(SweepId(1)).await.unwrap().encode(|sweep| sweep.state);
    assert_eq!(state, terms::SweepState::Stopped);
}

#[tokio::test]
async fn a_job_that_never_began_is_not_taken_for_the_next_one_that_did() {
    let served = served(failed(3)).await;
    assert_eq!(served.retry(Some(2)).await.unwrap().unwrap(), 0, "it waits for its first attempt");
}

#[tokio::test]
async fn the_epochs_that_count_are_read_in_pages() {
    let mut records = attempt(1, 1, 1_500);
    records.extend(ended(1, 1, AttemptState::Lost, JobState::Pending));
    records.extend(attempt(1, 2, 1_200));
    records.extend(attempt(2, 1, 5));
    records.extend(ended(2, 1, AttemptState::Lost, JobState::Pending));
    // Nothing of it counts since the job began again.
    records.extend(attempt(2, 2, 0));
    records.extend(attempt(3, 1, 3));
    let served = served(records).await;
    let mut report = served.api.report(SweepId(1)).await.unwrap();
    let mut told: Vec<(u64, Vec<(u32, u32)>)> = Vec::new();
    while let Some(row) = report.next().await.unwrap() {
        match row {
            ReportRow::Job(job) => {
                assert_eq!(job.device, "cpu", "that of its last attempt");
                told.push((job.job, Vec::new()));
            }
            ReportRow::Epoch(row) => told.last_mut().unwrap().1.push((row.attempt, row.epoch.number)),
        }
    }
    let epochs = |attempt, count: u32| (1..=count).map(|epoch| (attempt, epoch)).collect::<Vec<_>>();
    assert_eq!(told, [(1, epochs(2, 1_200)), (2, Vec::new()), (3, epochs(1, 3))]);
    for (job, epochs) in told {
        let detail = served.api.job(JobKey { sweep: SweepId(1), job }).await.unwrap();
        let found = detail.epochs.iter().map(|row| (row.attempt, row.epoch.number));
        assert_eq!(found.collect::<Vec<_>>(), epochs);
    }
}

#[tokio::test]
async fn an_extension_gets_no_note_that_its_own_jobs_alone_are_too_few() {
    let text = |seeds: &str| {
        format!(
            "name: x\ndataset: {{path: d}}\nparameters: {{epochs: {{value: 9}}, seed: {{values: [{seeds}]}}}}\n\
             early_terminate: {{type: top_k, k: 2}}\n"
        )
    };
    let served = served_this(&text("1, 2, 3"), []).await;
    let source = definitions::Source { text: text("4, 5"), ..Default::default() };
    let submission = definitions::Submission { source, request_id: String::new(), extend: Some(SweepId(1)) };
    let extended = served.api.submit(Issuer::local(), submission).await.unwrap();
    let (added, notes) = extended.encode(|submitted| (submitted.added_jobs, submitted.notes));
    assert_eq!((added, notes), (2, Vec::<String>::new()));
}
