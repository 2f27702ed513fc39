//! Searchers of sweeps that have ended are made where they go on, one at a time.

use domain::proposals::{Learned, LearnedResult, Proposed, Why};
use engine::query::Define;
use terms::{ParameterMap, ParameterValue, SweepState};
use tokio::task::JoinHandle;

use super::*;

/// The use cases with a sweep that learned the points of its three jobs, has ended, and of which this is recorded.
async fn learned(records: impl IntoIterator<Item = Record>) -> Served {
    let text = "name: x\nmethod: tpe\nrun_cap: 3\ndataset: {path: d}\nparameters: {epochs: {value: 2}, learning_rate: {min: 0.001, max: 0.1}}\n";
    let sweep = SweepId(1);
    let proposed = |job: u64| {
        let parameters =
            ParameterMap(vec![("learning_rate".into(), ParameterValue::Float(0.01 * job as f64))]);
        let proposed = Proposed { parameters, place: job, seen: 0, why: Why::Random };
        Record::PointProposed { job: JobKey { sweep, job }, proposed }
    };
    let told = |job| {
        let learned = Learned { job, result: LearnedResult::Nothing };
        Record::ResultLearned { sweep, number: job, learned }
    };
    let finished = Record::SweepChanged { sweep, state: SweepState::Finished, ended_unix_ms: Some(8) };
    let before = (1..=3).map(proposed).chain(records).collect::<Vec<_>>();
    served_this(text, before.into_iter().chain((1..=3).map(told)).chain([finished])).await
}

impl Served {
    /// The search that is read next, before the retry ends.
    async fn next_search(&mut self, retry: &mut JoinHandle<Result<u64, ApiError>>) -> oneshot::Sender<()> {
        tokio::select! {
            reads = self.searches.recv() => reads.unwrap(),
            ended = retry => panic!("no searcher is made: {ended:?}"),
        }
    }
}

#[tokio::test]
async fn a_retry_makes_a_searcher_where_an_ended_sweep_goes_on_and_none_where_there_is_nothing_to_try_again()
{
    let diverged = |job| {
        let end = ended(job, 1, AttemptState::Diverged, JobState::Diverged);
        attempt(job, 1, 0).into_iter().chain(end)
    };
    let mut nothing = learned((1..=3).flat_map(diverged)).await;
    for (cancelled_too, lists) in [(false, 1), (true, 2)] {
        let request = RetryRequest { sweep: SweepId(1), job: None, cancelled_too };
        let api = nothing.api.clone();
        let retry = tokio::spawn(async move { api.retry(Issuer::local(), request).await });
        nothing.let_lists_through(lists).await;
        let ended = tokio::select! {
            ended = retry => ended.unwrap().unwrap(),
            _ = nothing.searches.recv() => panic!("a searcher is made"),
        };
        let retried = ended.encode(|retried: Retried| (retried.jobs, retried.sweep.state));
        assert_eq!(retried, (0, SweepState::Finished));
    }
    let mut some = learned((1..=3).flat_map(failed)).await;
    let mut retry = some.retry(None);
    some.let_lists_through(2).await;
    some.next_search(&mut retry).await.send(()).unwrap();
    assert_eq!(retry.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn searchers_of_ended_sweeps_are_made_one_at_a_time_and_the_next_waits_for_the_answer_about_the_first()
{
    let mut served = learned((1..=3).flat_map(failed)).await;
    let definition = served.api.leadership.query(Define(SweepId(1))).await.unwrap().definition;
    let revive = |api: Api| {
        let definition = Arc::clone(&definition);
        // Up to its wait it does nothing but run.
        tokio::spawn(async move { api.revived(&definition).await })
    };
    let first = revive(served.api.clone());
    let reads = served.searches.recv().await.unwrap();
    let second = revive(served.api.clone());
    tokio::task::yield_now().await;
    assert!(served.searches.try_recv().is_err(), "the first one is read");
    reads.send(()).unwrap();
    let (_, place) = first.await.unwrap().unwrap();
    tokio::task::yield_now().await;
    assert!(served.searches.try_recv().is_err(), "the engine may not have the first one yet");
    // A retry waits as well, and after those before it.
    let mut retry = served.retry(None);
    served.let_lists_through(2).await;
    drop(place);
    served.next_search(&mut retry).await.send(()).unwrap();
    drop(second.await.unwrap().unwrap());
    served.next_search(&mut retry).await.send(()).unwrap();
    assert_eq!(retry.await.unwrap().unwrap(), 3);
}
