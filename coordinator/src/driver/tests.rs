//! What runs while a commit does, over a store that ends each commit when the test says so.

use async_trait::async_trait;
use domain::{
    definition::SweepDefinition,
    record::{Quota, Record, StoredSearch, StoredSweep, Token},
    specification::SpecificationSource,
};
use engine::{
    Issued, Issuer, SweepView,
    command::{Submit, Submitted},
    query::{DescribeSweep, ListSweeps},
};
use store::{
    ArtifactRow, AttemptPlace, AttemptRow, AttemptsAsked, EpochPlace, EpochRow, JobRow, LeaderTold,
    ResultRows,
};
use terms::{JobKey, JobState, SweepId};
use tokio::sync::{Mutex, oneshot};

use super::{
    asked::{Ordered, Questioned},
    *,
};

/// A store that keeps nothing and says of each commit how many records it has.
#[derive(Debug)]
struct Gate {
    begun: mpsc::UnboundedSender<usize>,
    ends: Mutex<mpsc::UnboundedReceiver<Result<(), StoreError>>>,
}

#[async_trait]
impl ResultRows for Gate {
    async fn jobs(&self, _: SweepId, _: u64, _: u32) -> Result<Vec<JobRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn attempts_of_jobs(
        &self,
        _: SweepId,
        _: AttemptPlace,
        _: u64,
        _: u32,
    ) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError> {
        Ok(Vec::new())
    }

    async fn epochs(&self, _: SweepId, _: EpochPlace, _: u64, _: u32) -> Result<Vec<EpochRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn artifacts(&self, _: SweepId, _: u64, _: u64, _: u32) -> Result<Vec<ArtifactRow>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Store for Gate {
    async fn lead(&self, _: &str, _: LeaderTold<'_>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn deposed(&self) -> StoreError {
        std::future::pending().await
    }
    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError> {
        Ok(Vec::new())
    }
    async fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        self.begun.send(records.len()).unwrap();
        self.ends.lock().await.recv().await.unwrap()
    }
    async fn jobs_in_state(
        &self,
        _: SweepId,
        _: JobState,
        _: u64,
        _: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        Ok(Vec::new())
    }
    async fn attempts(&self, _: JobKey) -> Result<Vec<AttemptRow>, StoreError> {
        Ok(Vec::new())
    }
    async fn attempts_between(&self, _: AttemptsAsked) -> Result<Vec<(JobKey, AttemptRow)>, StoreError> {
        Ok(Vec::new())
    }
    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        Ok(Vec::new())
    }
    async fn quotas(&self) -> Result<Vec<Quota>, StoreError> {
        Ok(Vec::new())
    }
    async fn search(&self, _: SweepId) -> Result<StoredSearch, StoreError> {
        Ok(StoredSearch::default())
    }
    async fn has_room(&self) -> bool {
        false
    }
    async fn close(&self) {}
}

/// A driver over such a store.
struct Driven {
    handle: DriverHandle,
    stop: CancellationToken,
    runs: tokio::task::JoinHandle<Result<(), DriverError>>,
    begun: mpsc::UnboundedReceiver<usize>,
    ends: mpsc::UnboundedSender<Result<(), StoreError>>,
}

/// What a test brings to the driver.
enum Brought {
    Submission,
    Question(SweepId),
}

type Receiver<A> = oneshot::Receiver<Result<A, CallError>>;

/// Where its answer comes.
enum Answer {
    Submitted(Receiver<Submitted>),
    Described(Receiver<SweepView>),
}

impl Answer {
    /// Whether none has come yet.
    fn waits(&mut self) -> bool {
        use oneshot::error::TryRecvError::Empty;
        match self {
            Self::Submitted(answer) => matches!(answer.try_recv(), Err(Empty)),
            Self::Described(answer) => matches!(answer.try_recv(), Err(Empty)),
        }
    }

    /// Whether it is one.
    async fn come(self) -> Result<(), CallError> {
        match self {
            Self::Submitted(answer) => answer.await.unwrap().map(drop),
            Self::Described(answer) => answer.await.unwrap().map(drop),
        }
    }
}

impl Driven {
    async fn start() -> Self {
        let (begun, commits) = mpsc::unbounded_channel();
        let (ends, ended) = mpsc::unbounded_channel();
        let store = Arc::new(Gate { begun, ends: Mutex::new(ended) });
        let (driver, handle) = Driver::restore(store, EngineConfig::with_lease_ms(20_000)).await.unwrap();
        let stop = CancellationToken::new();
        let runs = tokio::spawn(driver.run(stop.clone()));
        Self { handle, stop, runs, begun: commits, ends }
    }

    /// Sends these and waits until the engine has them.
    async fn ask(&self, all: impl IntoIterator<Item = Brought>) -> Vec<Answer> {
        let answers = self.send(all).await;
        while self.handle.requests.capacity() < REQUESTS_WAITING_MAX {
            tokio::task::yield_now().await;
        }
        answers
    }

    /// Sends these.
    async fn send(&self, all: impl IntoIterator<Item = Brought>) -> Vec<Answer> {
        let mut answers = Vec::new();
        for brought in all {
            let (asked, answer): (Box<dyn Call>, _) = match brought {
                Brought::Submission => {
                    let (caller, answer) = oneshot::channel();
                    let issued = Issued { command: submission(), issuer: Issuer::local() };
                    (Box::new(Ordered::new(issued, caller)), Answer::Submitted(answer))
                }
                Brought::Question(sweep) => {
                    let (caller, answer) = oneshot::channel();
                    let asked = Questioned::new(DescribeSweep::new(sweep), caller);
                    (Box::new(asked), Answer::Described(answer))
                }
            };
            self.handle.send(Request::Ask(asked)).await.unwrap();
            answers.push(answer);
        }
        answers
    }

    /// How many sweeps are known.
    async fn known(&self) -> Result<usize, CallError> {
        self.handle.query(ListSweeps { before: None, limit: 10 }).await.map(|sweeps| sweeps.len())
    }
}

fn submission() -> Submit {
    let text = "name: x\ndataset: {path: d}\nparameters: {seed: {value: 1}}\n".to_owned();
    let source = SpecificationSource { text, ..SpecificationSource::default() };
    let definition = Box::new(SweepDefinition::parse(&source).unwrap());
    Submit::new(definition, String::new()).unwrap()
}

fn waits(answers: &mut [Answer]) -> bool {
    answers.iter_mut().all(Answer::waits)
}

#[tokio::test]
async fn what_comes_in_during_a_commit_shares_the_next_and_is_answered_after_it() {
    let mut driven = Driven::start().await;
    let mut first = driven.ask([Brought::Submission]).await;
    assert_eq!(driven.begun.recv().await, Some(1));
    let question = Brought::Question(SweepId(1));
    let mut next = driven.ask([Brought::Submission, question, Brought::Submission]).await;
    assert!(waits(&mut first) && waits(&mut next), "nothing is durable yet");
    driven.ends.send(Ok(())).unwrap();
    assert_eq!(driven.begun.recv().await, Some(2), "both share a commit");
    assert!(first.remove(0).come().await.is_ok());
    assert!(waits(&mut next), "their commit still runs");
    driven.ends.send(Ok(())).unwrap();
    for answer in next {
        assert!(answer.come().await.is_ok());
    }
}

#[tokio::test]
async fn an_answer_that_rests_on_a_running_commit_waits_for_it() {
    let mut driven = Driven::start().await;
    let first = driven.ask([Brought::Submission]).await;
    assert_eq!(driven.begun.recv().await, Some(1));
    let mut question = driven.ask([Brought::Question(SweepId(1))]).await;
    assert!(waits(&mut question), "the sweep is not durable yet");
    driven.ends.send(Ok(())).unwrap();
    for answer in first.into_iter().chain(question) {
        assert!(answer.come().await.is_ok());
    }
}

#[tokio::test]
async fn a_commit_without_room_refuses_what_was_ordered_meanwhile_and_answers_what_was_asked() {
    let mut driven = Driven::start().await;
    let first = driven.ask([Brought::Submission]).await;
    assert_eq!(driven.begun.recv().await, Some(1));
    let mut next = driven.ask([Brought::Submission, Brought::Question(SweepId(2))]).await;
    let question = next.pop().unwrap();
    driven.ends.send(Err(StoreError::Full("no room".to_owned()))).unwrap();
    for answer in first.into_iter().chain(next) {
        assert!(matches!(answer.come().await, Err(CallError::Full)));
    }
    // The store does not have that sweep.
    assert!(matches!(question.come().await, Err(CallError::Refused(_))));
    assert_eq!(driven.known().await.unwrap(), 0, "as the store has it");
}

#[tokio::test]
async fn a_question_does_not_wait_for_a_commit_that_takes_long() {
    let mut driven = Driven::start().await;
    let mut first = driven.ask([Brought::Submission]).await;
    assert_eq!(driven.begun.recv().await, Some(1));
    assert_eq!(driven.known().await.unwrap(), 0, "as the store has it: not durable yet");
    assert!(waits(&mut first), "the commit still runs");
    assert!(driven.handle.durable.holds_nothing(), "what was read for it takes up no memory any more");
    driven.ends.send(Ok(())).unwrap();
    assert!(first.remove(0).come().await.is_ok());
}

#[test]
fn the_runtime_goes_on_while_the_engine_is_made_of_what_the_store_holds() {
    // The only thread for what takes long is free when the runtime's own thread has gone on.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime");
    let beat = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || receiver.recv());
        tokio::spawn(async move { sender.send(()) })
    };
    runtime.block_on(async {
        let leader = beat();
        let driven = Driven::start().await;
        assert!(leader.is_finished());
        let leader = beat();
        let question = ListSweeps { before: None, limit: 10 };
        assert!(driven.handle.durable.ask(&question, Instant::now()).await.is_some());
        assert!(leader.is_finished());
    });
}

#[tokio::test]
async fn a_commit_that_breaks_a_rule_refuses_the_input_that_did_and_keeps_the_others() {
    let mut driven = Driven::start().await;
    let first = driven.ask([Brought::Submission]).await;
    assert_eq!(driven.begun.recv().await, Some(1));
    let next = driven.ask([Brought::Submission, Brought::Submission]).await;
    let unfit = || Err(StoreError::Unfit("UNIQUE constraint failed".to_owned()));
    // It is not known yet which one it is: each now has a commit of its own.
    driven.ends.send(unfit()).unwrap();
    for end in [Ok(()), unfit(), Ok(())] {
        assert_eq!(driven.begun.recv().await, Some(1));
        driven.ends.send(end).unwrap();
    }
    let mut answers = first.into_iter().chain(next);
    assert!(answers.next().unwrap().come().await.is_ok());
    let refused = answers.next().unwrap().come().await;
    assert!(matches!(&refused, Err(CallError::Unfit(why)) if why.contains("UNIQUE")), "{refused:?}");
    assert!(answers.next().unwrap().come().await.is_ok());
    // Afterwards commits are shared again, at the latest when the time for it is over.
    assert!(driven.known().await.is_ok(), "the driver goes on");
}

#[tokio::test]
async fn what_came_in_before_the_stop_is_committed() {
    let mut driven = Driven::start().await;
    let first = driven.ask([Brought::Submission]).await;
    assert_eq!(driven.begun.recv().await, Some(1));
    let mut next = driven.ask([Brought::Submission]).await;
    // The driver has not taken this one when it is stopped.
    next.extend(driven.send([Brought::Submission]).await);
    assert!(driven.handle.requests.capacity() < REQUESTS_WAITING_MAX);
    driven.stop.cancel();
    driven.handle.ended().await;
    assert!(driven.handle.send(Request::Hear(vec![Event::Tick])).await.is_err(), "it came too late");
    driven.ends.send(Ok(())).unwrap();
    assert_eq!(driven.begun.recv().await, Some(2));
    driven.ends.send(Ok(())).unwrap();
    assert!(driven.runs.await.unwrap().is_ok());
    for answer in first.into_iter().chain(next) {
        assert!(answer.come().await.is_ok());
    }
}
