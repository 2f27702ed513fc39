//! The shell against a coordinator that misbehaves as the real one cannot be made to.

mod gpus;
mod leaving;
mod refusals;
mod stages;
mod weights;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use proto::v1::{
    self, CoordinatorMessage, Outcome,
    coordinator_message::Message as ToWorker,
    event::Event as WireKind,
    worker_message::Message as FromWorker,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use terms::AttemptKey;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::*;
use crate::agent::{
    connection::REFUSED_WITHIN, slots::tests::script, spool::UNACKNOWLEDGED_BYTES_MAX, target::Target,
    weights::WAITING_BYTES_MAX,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A trainer that trains one epoch and then waits until it is asked to stop.
const ONE_EPOCH: &str = r#"echo "$ready"; read -r x
echo '{"type":"started","id":"1/1#1","dataset":{"content_hash":"ab","classes":["cat","dog"],"train_images":8,"val_images":2,"skipped":[],"skipped_count":0}}'
echo '{"type":"epoch","id":"1/1#1","epoch":1,"train_loss":0.5,"val_accuracy":0.75,"epoch_seconds":1.0}'
read -r x
echo '{"type":"ended","id":"1/1#1","outcome":"stopped","reason":""}'
read -r x"#;

/// A trainer that trains one epoch after the other, and waits after 300.
const MANY_EPOCHS: &str = r#"echo "$ready"; read -r x
echo '{"type":"started","id":"1/1#1","dataset":{"content_hash":"ab","classes":["cat","dog"],"train_images":8,"val_images":2,"skipped":[],"skipped_count":0}}'
epoch=0
while [ $epoch -lt 300 ]; do
  epoch=$((epoch + 1))
  echo '{"type":"epoch","id":"1/1#1","epoch":'$epoch',"train_loss":0.5,"val_accuracy":0.75,"epoch_seconds":1.0}'
done
read -r x
echo '{"type":"ended","id":"1/1#1","outcome":"stopped","reason":""}'
read -r x"#;

/// Hands every session to the test, or refuses it.
struct Fake {
    sessions: mpsc::Sender<FakeSession>,
    refused: mpsc::Sender<()>,
    answers: Arc<Mutex<Answers>>,
}

/// What the fake coordinator answers.
struct Answers {
    refusal: Option<Status>,
    weights: v1::WeightsState,
}

fn set(answers: &Mutex<Answers>, change: impl FnOnce(&mut Answers)) {
    change(&mut answers.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The coordinator's side of one session.
struct FakeSession {
    incoming: Streaming<WorkerMessage>,
    outgoing: mpsc::Sender<Result<CoordinatorMessage, Status>>,
    authorization: Option<String>,
}

#[tonic::async_trait]
impl WorkerService for Fake {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let refusal = self.answers.lock().unwrap().refusal.clone();
        if let Some(refusal) = refusal {
            let _ = self.refused.try_send(());
            return Err(refusal);
        }
        let header = request.metadata().get("authorization");
        let authorization = header.map(|value| value.to_str().unwrap().to_owned());
        let (outgoing, messages) = mpsc::channel(16);
        let session = FakeSession { incoming: request.into_inner(), outgoing, authorization };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn weights(&self, _: Request<v1::WeightsRequest>) -> Result<Response<v1::WeightsResponse>, Status> {
        let state = self.answers.lock().unwrap().weights.into();
        Ok(Response::new(v1::WeightsResponse { state, ..v1::WeightsResponse::default() }))
    }

    async fn hand_over_checkpoint(
        &self,
        _: Request<v1::WeightsRequest>,
    ) -> Result<Response<v1::WeightsResponse>, Status> {
        Err(Status::unimplemented("it takes none"))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Err(Status::not_found("there are none"))
    }

    async fn get_snapshot(
        &self,
        _: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        Err(Status::not_found("there are none"))
    }

    async fn get_contents(
        &self,
        _: Request<v1::GetContentsRequest>,
    ) -> Result<Response<v1::GetContentsResponse>, Status> {
        Err(Status::not_found("there are none"))
    }
}

impl FakeSession {
    async fn say(&self, message: ToWorker) {
        self.outgoing.send(Ok(CoordinatorMessage { message: Some(message) })).await.unwrap();
    }

    async fn welcome(&self, refused: Vec<AttemptKey>) {
        let refused = refused.into_iter().map(Into::into).collect();
        self.say(ToWorker::Welcome(v1::Welcome { lease_ms: 30_000, heartbeat_interval_ms: 5_000, refused }))
            .await;
    }

    async fn next(&mut self) -> FromWorker {
        let message =
            tokio::time::timeout(PATIENCE, self.incoming.message()).await.expect("the worker speaks");
        message.unwrap().expect("the worker goes on").message.unwrap()
    }

    /// The next message that is no heartbeat.
    async fn hear(&mut self) -> FromWorker {
        loop {
            match self.next().await {
                FromWorker::Heartbeat(_) => {}
                message => return message,
            }
        }
    }

    /// The number of the last event before several heartbeats without one.
    async fn last_event(&mut self, mut last: u64) -> u64 {
        let mut heartbeats = 0;
        while heartbeats < 5 {
            match self.next().await {
                FromWorker::Heartbeat(_) => heartbeats += 1,
                FromWorker::Event(event) => (last, heartbeats) = (event.sequence, 0),
                other => panic!("expected an event, got {other:?}"),
            }
        }
        last
    }

    async fn hello(&mut self) -> v1::Hello {
        match self.hear().await {
            FromWorker::Hello(hello) => hello,
            other => panic!("expected hello, got {other:?}"),
        }
    }

    async fn event(&mut self) -> v1::Event {
        match self.hear().await {
            FromWorker::Event(event) => event,
            other => panic!("expected an event, got {other:?}"),
        }
    }
}

struct Bench {
    sessions: mpsc::Receiver<FakeSession>,
    refused: mpsc::Receiver<()>,
    answers: Arc<Mutex<Answers>>,
    agent: AbortOnDropHandle<Result<Departure, AgentError>>,
    shutdown: mpsc::Sender<()>,
    _server: AbortOnDropHandle<()>,
}

impl Bench {
    /// A fake coordinator and an agent of one slot with `trainer`.
    async fn start(folder: &Path, trainer: &str, refusal: Option<Status>) -> Self {
        Self::start_with(folder, trainer, refusal, |_| {}).await
    }

    async fn start_with(
        folder: &Path,
        trainer: &str,
        refusal: Option<Status>,
        change: impl FnOnce(&mut Configuration),
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, sessions) = mpsc::channel(4);
        let (refused, refusals) = mpsc::channel(1);
        let answers = Arc::new(Mutex::new(Answers { refusal, weights: v1::WeightsState::NotWanted }));
        let fake = Fake { sessions: sender, refused, answers: Arc::clone(&answers) };
        let service = WorkerServiceServer::new(fake);
        let serve =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = AbortOnDropHandle::new(tokio::spawn(async move { serve.await.unwrap() }));
        let token_file = folder.join("token");
        std::fs::write(&token_file, "secret\n").unwrap();
        let mut configuration = Configuration {
            target: Target { url, token_file: Some(token_file), tls_ca: None, identity: None },
            identity: Identity {
                trainables: Vec::new(),
                checkpoints: String::new(),
                memory_bytes: 0,
                name: "one".parse().unwrap(),
                instance: "instance".into(),
                predecessors: Vec::new(),
                host: "host".into(),
                slots: vec![v1::Slot {
                    index: 0,
                    device: "cpu".into(),
                    description: "CPU".into(),
                    pack_size_max: 1,
                }],
                allow_commands: false,
                programs_only: false,
            },
            gpus: Gpus::none(),
            metrics: Arc::default(),
            traced: Traced::default(),
            files_cache: folder.join("programs"),
            trainers: vec![Trainers { device: "cpu".into(), model: script(trainer), program: None }],
            spool: folder.join("spool"),
            data_root: folder.to_owned(),
            grace: Duration::ZERO,
            notice: Notice::of(None),
            hands_over: false,
            exit_when_idle: None,
            trainer_silence: None,
            leaves_its_name: false,
            spool_bytes_max: UNACKNOWLEDGED_BYTES_MAX,
            refused_within: REFUSED_WITHIN,
            weights_bytes_max: WAITING_BYTES_MAX,
        };
        change(&mut configuration);
        let (shutdown, mut requests) = mpsc::channel(2);
        let agent = async move {
            match open_spool(&configuration.spool, &mut requests).await? {
                Some(spool) => run(configuration, spool, &mut requests).await,
                None => Ok(Departure::Orderly),
            }
        };
        let agent = AbortOnDropHandle::new(tokio::spawn(agent));
        Self { sessions, refused: refusals, answers, agent, shutdown, _server: server }
    }

    /// Waits until the worker was refused.
    async fn refused(&mut self) {
        tokio::time::timeout(PATIENCE, self.refused.recv()).await.expect("the worker connects").unwrap();
    }

    async fn session(&mut self) -> FakeSession {
        tokio::time::timeout(PATIENCE, self.sessions.recv()).await.expect("the worker connects").unwrap()
    }

    /// A session in which job 1 was granted and its first two events have come.
    async fn training(&mut self) -> FakeSession {
        let mut session = self.session().await;
        assert!(session.hello().await.held.is_empty());
        session.welcome(vec![]).await;
        session.say(ToWorker::Grant(v1::Grant { slot: 0, jobs: vec![assignment()] })).await;
        assert_eq!(session.event().await.sequence, 1);
        assert_eq!(session.event().await.sequence, 2);
        session
    }

    async fn end(self) -> Result<Departure, AgentError> {
        tokio::time::timeout(PATIENCE, self.agent).await.expect("the agent ends").unwrap()
    }
}

fn job() -> AttemptKey {
    AttemptKey::new(1, 1, 1)
}

fn assignment() -> v1::JobAssignment {
    let dataset = v1::Dataset {
        path: "train".into(),
        image_size: 64,
        val_fraction: 0.2,
        split_seed: 0,
        val_path: String::new(),
    };
    v1::JobAssignment {
        attempt: Some(job().into()),
        model: "simple_cnn".into(),
        parameters: vec![],
        dataset: Some(dataset),
        timeout_ms: 0,
        checkpoints: None,
        keep_weights: false,
        ..v1::JobAssignment::default()
    }
}

#[tokio::test]
async fn after_a_broken_stream_the_training_goes_on_and_unacknowledged_events_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(folder.path(), ONE_EPOCH, None).await;
    let session = bench.training().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer secret"));
    session.say(ToWorker::Acknowledgement(v1::Acknowledgement { sequence: 1 })).await;
    session.outgoing.send(Err(Status::internal("broken"))).await.unwrap();

    let mut again = bench.session().await;
    let held = again.hello().await.held;
    assert_eq!(held, [v1::HeldAttempt { attempt: Some(job().into()), slot: 0, ended: false }]);
    again.welcome(vec![]).await;
    let event = again.event().await;
    assert!(event.sequence == 2 && matches!(event.event, Some(WireKind::Epoch(_))), "{event:?}");
}

#[tokio::test]
async fn a_refused_attempt_is_stopped_without_a_word_and_the_slot_takes_the_next_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(folder.path(), ONE_EPOCH, None).await;
    drop(bench.training().await);
    let mut session = bench.session().await;
    session.hello().await;
    session.welcome(vec![job()]).await;
    let next = v1::JobAssignment { attempt: Some(AttemptKey::new(1, 2, 1).into()), ..assignment() };
    session.say(ToWorker::Grant(v1::Grant { slot: 0, jobs: vec![next] })).await;
    // The script reads the next job's line and ends: that is the first that is heard of it.
    let event = session.event().await;
    assert_eq!(proto::attempt_from_wire(event.attempt).unwrap(), AttemptKey::new(1, 2, 1));
    assert_eq!(event.sequence, 3);
}

#[tokio::test]
async fn on_request_the_job_is_handed_back_and_the_worker_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(folder.path(), ONE_EPOCH, None).await;
    let mut session = bench.training().await;
    bench.shutdown.send(()).await.unwrap();
    assert!(matches!(session.hear().await, FromWorker::Draining(_)));
    let event = session.event().await;
    let Some(WireKind::Ended(end)) = &event.event else { panic!("expected the end, got {event:?}") };
    assert_eq!(end.outcome(), Outcome::HandedBack);
    session.say(ToWorker::Acknowledgement(v1::Acknowledgement { sequence: event.sequence })).await;
    assert_eq!(bench.end().await.unwrap(), Departure::Orderly);
}

#[tokio::test]
async fn the_second_request_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(folder.path(), ONE_EPOCH, None).await;
    let _session = bench.training().await;
    bench.shutdown.send(()).await.unwrap();
    bench.shutdown.send(()).await.unwrap();
    assert_eq!(bench.end().await.unwrap(), Departure::AtOnce);
}

#[tokio::test]
async fn a_coordinator_that_is_away_is_tried_until_it_is_there() {
    // A port that was free a moment ago: the first tries fail, then someone listens there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let target = Target { url: address.to_string(), token_file: None, tls_ca: None, identity: None };
    let (keeper, mut events) = connection::keep(target, REFUSED_WITHIN, Arc::default()).unwrap();
    let _keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
    tokio::task::yield_now().await;
    let (sender, mut sessions) = mpsc::channel(4);
    let answers = Arc::new(Mutex::new(Answers { refusal: None, weights: v1::WeightsState::NotWanted }));
    let fake = Fake { sessions: sender, refused: mpsc::channel(1).0, answers };
    let service = WorkerServiceServer::new(fake);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let serve = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    let _server = AbortOnDropHandle::new(tokio::spawn(async move { serve.await.unwrap() }));
    let connected = tokio::time::timeout(PATIENCE, events.recv()).await.expect("a connection");
    assert!(matches!(connected, Some(LinkEvent::Connected { .. })), "{connected:?}");
    assert!(tokio::time::timeout(PATIENCE, sessions.recv()).await.expect("a session").is_some());
}

#[tokio::test]
async fn a_worker_that_died_sends_the_ends_that_it_had_spooled_when_it_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let crashing = r#"echo "$ready"; read -r x; exit 1"#;
    let mut bench = Bench::start(folder.path(), crashing, None).await;
    let mut session = bench.session().await;
    session.hello().await;
    session.welcome(vec![]).await;
    session.say(ToWorker::Grant(v1::Grant { slot: 0, jobs: vec![assignment()] })).await;
    let end = session.event().await;
    drop((bench, session));

    let mut bench = Bench::start(folder.path(), crashing, None).await;
    let mut session = bench.session().await;
    let held = session.hello().await.held;
    assert_eq!(held, [v1::HeldAttempt { attempt: Some(job().into()), slot: 0, ended: true }]);
    session.welcome(vec![]).await;
    assert_eq!(session.event().await, end);
    let next = v1::JobAssignment { attempt: Some(AttemptKey::new(1, 2, 1).into()), ..assignment() };
    session.say(ToWorker::Grant(v1::Grant { slot: 0, jobs: vec![next] })).await;
    assert_eq!(session.event().await.sequence, end.sequence + 1);
}

#[tokio::test]
async fn while_the_spool_is_full_the_trainer_waits_and_the_worker_can_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start_with(folder.path(), MANY_EPOCHS, None, |configuration| {
        configuration.spool_bytes_max = 1_000;
    })
    .await;
    let mut session = bench.session().await;
    session.hello().await;
    let welcome = v1::Welcome { lease_ms: 30_000, heartbeat_interval_ms: 100, refused: Vec::new() };
    session.say(ToWorker::Welcome(welcome)).await;
    session.say(ToWorker::Grant(v1::Grant { slot: 0, jobs: vec![assignment()] })).await;
    let last = session.last_event(0).await;
    // An epoch takes some 50 bytes.
    assert!((1..40).contains(&last), "{last} events were made with room for 1,000 bytes");
    session.say(ToWorker::Acknowledgement(v1::Acknowledgement { sequence: last })).await;
    assert_eq!(session.event().await.sequence, last + 1, "with room, the training goes on");
    session.last_event(last + 1).await;
    // Full again, and no one makes room.
    bench.shutdown.send(()).await.unwrap();
    assert_eq!(bench.end().await.unwrap(), Departure::Orderly);
}
