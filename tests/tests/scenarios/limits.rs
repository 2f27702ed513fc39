//! What strangers and broken peers cannot do: send messages, headers, streams, connections and descriptors without end,
//! or invalid reports.

use std::{
    fs,
    time::{Duration, Instant},
};

use proto::v1::{
    self, coordinator_message::Message as Said, event::Event, worker_message::Message,
    worker_service_client::WorkerServiceClient,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tests::{Client, Cluster, ClusterOptions, PATIENCE, chaos};
use tokio::sync::mpsc;
use tonic::{
    Code, Request,
    codegen::tokio_stream::wrappers::ReceiverStream,
    metadata::{Ascii, MetadataValue},
};

/// As many as the coordinator allows on one connection.
const STREAMS_MAX: usize = 200;
/// How long a message may wait to be accepted before the stream counts as dead.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// Descriptors that a coordinator reserves for itself.
const DESCRIPTORS_RESERVED: usize = 64;

async fn answers(client: &mut Client) -> bool {
    client.list_sweeps(v1::ListSweepsRequest::default()).await.is_ok()
}

#[tokio::test]
async fn of_messages_and_headers_cost_the_sender_alone() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut witness = cluster.client().await;
    let text = "#".repeat(5 << 20);
    let source = Some(v1::SweepSource { text, ..v1::SweepSource::default() });
    let request = v1::SubmitRequest { source, ..v1::SubmitRequest::default() };
    let refused = cluster.client().await.submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    let mut request = Request::new(v1::ListSweepsRequest::default());
    let long: MetadataValue<Ascii> = "x".repeat(20 << 10).parse().unwrap();
    request.metadata_mut().insert("authorization", long);
    assert!(cluster.client().await.list_sweeps(request).await.is_err());
    // A file that fits into one message, but is too large for a sweep file.
    let text = "#".repeat(2 << 20);
    let source = Some(v1::SweepSource { text, ..v1::SweepSource::default() });
    let request = v1::SubmitRequest { source, ..v1::SubmitRequest::default() };
    let refused = cluster.client().await.submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(answers(&mut witness).await);
}

#[tokio::test]
async fn of_what_is_set_and_of_what_is_said_of_it_are_short() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut client = cluster.client().await;
    let dots = format!("{}a=1", "a.".repeat(40_000));
    for (overrides, file_name, expected) in [
        (vec![dots.clone()], "a.yaml".to_owned(), "at most 4 parts"),
        (vec![format!("epochs={}", "[".repeat(200_000))], "a.yaml".to_owned(), "levels deep"),
        (vec!["epochs=0".to_owned(), "x".repeat(200_000)], "語".repeat(300_000), ""),
        (vec![], "語".repeat(300_000), "is missing"),
    ] {
        let source = Some(v1::SweepSource { overrides, file_name, ..v1::SweepSource::default() });
        let refused = client.validate(v1::ValidateRequest { source, preview: 0 }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().len() <= 2_000 && refused.message().contains(expected), "{refused:?}");
    }
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    let set = v1::SetSweepRequest { sweep_id: sweep, settings: vec![dots] };
    assert_eq!(client.set_sweep(set).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn of_streams_on_one_connection_hold_up_that_connection_alone() {
    let cluster = Cluster::start(ClusterOptions::default());
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    let mut client = cluster.client().await;
    let mut watches = Vec::new();
    for _ in 0..STREAMS_MAX {
        let watch = client.watch_sweep(v1::WatchSweepRequest { sweep_id: sweep }).await.unwrap();
        watches.push(watch.into_inner());
    }
    let one_more = tokio::spawn(async move { answers(&mut client).await });
    let mut witness = cluster.client().await;
    for _ in 0..50 {
        assert!(answers(&mut witness).await);
    }
    assert!(!one_more.is_finished(), "one call more than there may be was answered");
    watches.pop();
    let answered = tokio::time::timeout(PATIENCE, one_more).await;
    assert!(answered.expect("a stream that ends makes room").unwrap());
}

#[tokio::test]
async fn of_connections_let_others_wait_their_turn() {
    let connections = 16;
    let limit = format!("ulimit -n {} && exec \"$@\"", DESCRIPTORS_RESERVED + connections);
    let through = ["sh", "-c", &limit, "sh"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { through, ..ClusterOptions::default() });
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = cluster.client().await;
        assert!(answers(&mut client).await);
        clients.push(client);
    }
    let mut waiting = cluster.client().await;
    let one_more = tokio::spawn(async move { answers(&mut waiting).await });
    for _ in 0..50 {
        assert!(answers(&mut clients[0]).await, "who is connected is served");
    }
    assert!(!one_more.is_finished(), "one connection more than there may be was served");
    clients.pop();
    let answered = tokio::time::timeout(PATIENCE, one_more).await;
    assert!(answered.expect("a connection that ends makes room").unwrap());
}

#[tokio::test]
async fn of_descriptors_are_waited_for_in_peace() {
    let cluster = Cluster::start(ClusterOptions::default());
    let mut client = cluster.client().await;
    assert!(answers(&mut client).await);
    let pid = cluster.coordinator.pid();
    let process = Pid::from_raw(i32::try_from(pid).unwrap());
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let none_left = Rlimit { current: Some(open), ..getrlimit(Resource::Nofile) };
    let before = prlimit(process, Resource::Nofile, none_left).expect("a child's limits can be set");
    let begun = Instant::now();
    // Descriptors below the limit may be free: some connections use them up.
    let mut refused = Vec::new();
    for _ in 0..16 {
        refused.push(cluster.client().await);
    }
    cluster.coordinator.until_it_says("a connection cannot be accepted");
    for _ in 0..50 {
        assert!(answers(&mut client).await, "who is connected is served");
    }
    let told = cluster.coordinator.log().matches("a connection cannot be accepted").count() as u128;
    assert!(told <= begun.elapsed().as_millis() / 100 + 1, "{told} times: it does not pause");
    prlimit(process, Resource::Nofile, before).unwrap();
    for client in &mut refused {
        assert!(answers(client).await, "with descriptors, it accepts again");
    }
}

/// A worker that sends what the test wants.
pub(super) struct Stranger {
    says: mpsc::Sender<v1::WorkerMessage>,
    hears: tonic::Streaming<v1::CoordinatorMessage>,
    sequence: u64,
}

impl Stranger {
    /// Says hello and is welcomed.
    async fn connect(cluster: &Cluster, name: &str) -> Self {
        let slot = v1::Slot { index: 0, device: "cpu".into(), description: String::new(), pack_size_max: 1 };
        Self::connect_with(cluster, name, vec![slot]).await
    }

    /// The same with these slots.
    pub(super) async fn connect_with(cluster: &Cluster, name: &str, slots: Vec<v1::Slot>) -> Self {
        let (says, messages) = mpsc::channel(64);
        let mut client = WorkerServiceClient::new(cluster.channel().await);
        let hears = client.session(ReceiverStream::new(messages)).await.unwrap().into_inner();
        let mut stranger = Self { says, hears, sequence: 0 };
        let hello = v1::Hello {
            protocol_version: proto::PROTOCOL_VERSION,
            name: name.into(),
            slots,
            ..v1::Hello::default()
        };
        stranger.say(Message::Hello(hello)).await;
        stranger.hear("welcome", |said| matches!(said, Said::Welcome(_)).then_some(())).await;
        stranger
    }

    /// Sends something, unless its stream has ended or no one accepts it; returns whether it did.
    pub(super) async fn try_say(&self, message: Message) -> bool {
        let said = self.says.send(v1::WorkerMessage { message: Some(message) });
        matches!(tokio::time::timeout(TAKEN_WITHIN, said).await, Ok(Ok(())))
    }

    async fn say(&self, message: Message) {
        self.says.send(v1::WorkerMessage { message: Some(message) }).await.unwrap();
    }

    async fn tell(&mut self, attempt: Option<v1::AttemptRef>, event: Event) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.say(Message::Event(v1::Event { sequence, attempt, event: Some(event) })).await;
    }

    async fn hear<T>(&mut self, what: &str, pick: impl Fn(Said) -> Option<T>) -> T {
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.hears.message()).await;
            let heard = heard.unwrap_or_else(|_| panic!("gave up waiting for {what}"));
            let message = heard.unwrap().unwrap_or_else(|| panic!("the stream ended before {what}"));
            if let Some(found) = message.message.and_then(&pick) {
                return found;
            }
        }
    }

    /// The attempt that it is granted.
    async fn grant(&mut self) -> Option<v1::AttemptRef> {
        let grant = |said| match said {
            Said::Grant(grant) => Some(grant.jobs[0].attempt),
            _ => None,
        };
        self.hear("a job", grant).await
    }
}

fn epoch(epoch: u32, train_loss: f64, val_accuracy: f64) -> Event {
    // Optional values that are missing, and a loss that is not finite, are valid.
    let (val_loss, train_accuracy) = (Some(f64::NAN), None);
    Event::Epoch(v1::EpochRecord {
        epoch,
        train_loss,
        val_accuracy,
        epoch_seconds: 1.0,
        val_loss,
        train_accuracy,
        ..v1::EpochRecord::default()
    })
}

fn ended(outcome: v1::Outcome) -> Event {
    Event::Ended(v1::AttemptEnded { outcome: outcome.into(), ..v1::AttemptEnded::default() })
}

fn started() -> Event {
    Event::Started(v1::AttemptStarted::default())
}

#[tokio::test]
async fn of_messages_that_are_not_read_end_the_stream() {
    let cluster = Cluster::start(ClusterOptions::default());
    let stranger = Stranger::connect(&cluster, "deaf").await;
    let progress = |job| {
        let attempt = Some(v1::AttemptRef { sweep_id: 9, job, attempt: 1 });
        v1::AttemptProgress { attempt, epoch: 1, fraction: 0.5 }
    };
    // It receives an order to stop each of these, and never reads. Windows and queues hold a few megabytes.
    let beat = v1::Heartbeat { running: (1..100).map(progress).collect(), gpus: Vec::new() };
    // Once it is cut off, no one accepts its messages.
    let talks = async { while stranger.try_say(Message::Heartbeat(beat.clone())).await {} };
    let cut_off = async { while cluster.workers().await[0].state != "disconnected" {} };
    let both = async { tokio::join!(talks, cut_off) };
    tokio::time::timeout(PATIENCE, both).await.expect("it is cut off in time");
    cluster.coordinator.until_it_says("does not read its messages");
}

#[tokio::test]
async fn of_answers_mean_that_nothing_is_listened_to_either() {
    let cluster = Cluster::start(ClusterOptions::default());
    let replaced = Stranger::connect(&cluster, "same").await;
    let _newer = Stranger::connect(&cluster, "same").await;
    // Its answers have ended, and it keeps sending.
    let talks = async { while replaced.try_say(Message::Heartbeat(v1::Heartbeat::default())).await {} };
    tokio::time::timeout(PATIENCE, talks).await.expect("no one accepts its messages");
    assert_eq!(cluster.workers().await[0].state, "connected", "the newer one is");
}

#[tokio::test]
async fn of_sense_quarantine_a_worker_and_the_others_go_on() {
    let cluster = Cluster::start(chaos::light(10));
    let parameters = "{epochs: {value: 2}, seed: {min: 1, max: 6, count: 6}}\nexecution: {attempts_max: 100}";
    let sweep = cluster.submit(parameters).await;
    let mut stranger = Stranger::connect(&cluster, "stranger").await;
    // Each of these ends its attempt; the job is granted to it again.
    let impossible =
        [(1, f64::NAN), (1, f64::INFINITY), (1, f64::NEG_INFINITY), (1, -0.1), (1, 4e7), (0, 1.0)];
    for (epoch, epoch_seconds) in impossible {
        let attempt = stranger.grant().await;
        let record = v1::EpochRecord { epoch, epoch_seconds, ..v1::EpochRecord::default() };
        stranger.tell(attempt, Event::Epoch(record)).await;
        stranger.tell(attempt, ended(v1::Outcome::Revoked)).await;
    }
    // Epochs out of order.
    for number in [2, 3, u32::MAX] {
        let attempt = stranger.grant().await;
        stranger.tell(attempt, started()).await;
        stranger.tell(attempt, epoch(number, 0.5, 0.5)).await;
        stranger.tell(attempt, ended(v1::Outcome::Revoked)).await;
    }
    // About sweeps and jobs that it never was given, until it is quarantined.
    let own = stranger.grant().await;
    for foreign in 0..12 {
        let attempt = v1::AttemptRef { sweep_id: 1 + foreign % 3, job: 6 + foreign, attempt: 1 };
        stranger.tell(Some(attempt), epoch(1, 0.5, 0.5)).await;
    }
    let all = stranger.sequence;
    let acknowledged = move |said| match said {
        Said::Acknowledgement(acknowledged) => (acknowledged.sequence == all).then_some(()),
        _ => None,
    };
    stranger.hear("the last acknowledgement", acknowledged).await;
    let workers = cluster.workers().await;
    assert_eq!(workers[0].state, "quarantined", "{workers:?}");
    assert!(workers[0].reason.contains("sent 21 invalid reports"), "{workers:?}");
    stranger.tell(own, ended(v1::Outcome::HandedBack)).await;
    let _worker = cluster.worker("honest");
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    assert_eq!(results.len(), 6);
    for (job, epochs) in results {
        assert_eq!((job.state(), job.worker.as_str()), (v1::JobState::Done, "honest"), "{job:?}");
        assert_eq!(epochs.len(), 2, "nothing of what cannot be is kept");
    }
}
