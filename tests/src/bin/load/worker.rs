//! One worker of the load generator: says hello, takes grants, and ends jobs at once or after their time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use proto::v1::{
    self, coordinator_message::Message as Said, event::Event, worker_message::Message,
    worker_service_client::WorkerServiceClient,
};
use terms::{EpochReport, ReportedMetrics, metrics::known};
use tests::Random;
use tokio::sync::mpsc;
use tonic::{Status, Streaming, codegen::tokio_stream::Stream, transport::Channel};

/// Batches of messages that a worker may have in flight.
const OUTGOING_MAX: usize = 64;

/// What a worker reports to the generator.
pub(crate) enum Told {
    Welcome,
    /// It has ended; these were its delays.
    Ended(Vec<Duration>),
}

/// One worker and all its slots.
pub(crate) struct Worker {
    outgoing: mpsc::Sender<Vec<v1::WorkerMessage>>,
    /// Messages that are not sent yet.
    said: Vec<v1::WorkerMessage>,
    sequence: u64,
    /// How long a job takes; none for no time.
    training: Option<Duration>,
    /// What it reports of each epoch.
    metrics: ReportedMetrics,
    /// Whether each job has an accuracy and a time of its own.
    is_scattered: bool,
    random: Random,
    /// When the jobs of slots end.
    ends: BinaryHeap<Reverse<(Instant, u32)>>,
    grants: HashMap<u32, v1::Grant>,
    /// When each slot became free.
    free_since: HashMap<u32, Instant>,
    delays: Delays,
}

/// Whether the sweep is one to look at: its jobs differ in all that the page draws.
pub(crate) fn for_page() -> bool {
    std::env::var_os("LOAD_PAGE").is_some()
}

/// The metrics of an epoch with their values.
fn metrics() -> ReportedMetrics {
    match std::env::var("LOAD_METRICS") {
        Ok(names) => names.split(',').map(|name| (name.into(), 0.5)).collect(),
        Err(_) => [
            (known::TRAIN_LOSS, 0.5),
            (known::VAL_ACCURACY, 0.75),
            (known::VAL_LOSS, 0.625),
            (known::TRAIN_ACCURACY, 0.875),
        ]
        .map(|(name, value)| (name.into(), value))
        .into(),
    }
}

/// What a worker says, message by message.
struct Outgoing {
    batches: mpsc::Receiver<Vec<v1::WorkerMessage>>,
    messages: std::vec::IntoIter<v1::WorkerMessage>,
}

impl Stream for Outgoing {
    type Item = v1::WorkerMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::WorkerMessage>> {
        loop {
            if let Some(message) = self.messages.next() {
                return Poll::Ready(Some(message));
            }
            match ready!(self.batches.poll_recv(context)) {
                Some(messages) => self.messages = messages.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Times from the end of a slot's job to its next grant; reported at the end.
struct Delays {
    all: Vec<Duration>,
    to: mpsc::UnboundedSender<Told>,
}

impl Drop for Delays {
    fn drop(&mut self) {
        // No one may listen any more.
        let _ = self.to.send(Told::Ended(std::mem::take(&mut self.all)));
    }
}

impl Worker {
    /// A worker that is not connected yet; its jobs take `training`, or no time.
    pub(crate) fn new(number: u64, training: Option<Duration>, to: mpsc::UnboundedSender<Told>) -> Self {
        Self {
            // Until it is connected.
            outgoing: mpsc::channel(1).0,
            said: Vec::new(),
            sequence: 0,
            training,
            metrics: metrics(),
            is_scattered: for_page(),
            random: Random(number),
            ends: BinaryHeap::new(),
            grants: HashMap::new(),
            free_since: HashMap::new(),
            delays: Delays { all: Vec::new(), to },
        }
    }

    /// Says hello and opens its stream.
    pub(crate) async fn connect(
        &mut self,
        channel: Channel,
        number: u64,
        slots: u32,
    ) -> Streaming<v1::CoordinatorMessage> {
        let (outgoing, batches) = mpsc::channel(OUTGOING_MAX);
        self.outgoing = outgoing;
        let slot = |index| v1::Slot { index, device: "cpu".into(), ..v1::Slot::default() };
        self.say(Message::Hello(v1::Hello {
            protocol_version: proto::PROTOCOL_VERSION,
            name: format!("load{number}"),
            instance: "load".into(),
            predecessors: Vec::new(),
            slots: (0..slots).map(slot).collect(),
            ..v1::Hello::default()
        }));
        self.send().await;
        let messages = Outgoing { batches, messages: Vec::new().into_iter() };
        WorkerServiceClient::new(channel).session(messages).await.expect("a session").into_inner()
    }

    /// Runs what it is granted until it is dropped.
    pub(crate) async fn run(&mut self, mut session: Streaming<v1::CoordinatorMessage>) {
        let mut beat = tokio::time::interval(Duration::from_secs(2));
        loop {
            let next_end = self.ends.peek().map(|Reverse((time, _))| *time);
            tokio::select! {
                said = poll_fn(|context| poll_all(context, &mut session)) => match said {
                    Ok(said) => said.into_iter().for_each(|said| self.hear(said)),
                    Err(_) => return,
                },
                () = until(next_end) => self.end_jobs(),
                _ = beat.tick() => self.beat(),
            }
            self.send().await;
        }
    }

    fn hear(&mut self, said: v1::CoordinatorMessage) {
        match said.message {
            Some(Said::Grant(grant)) => self.begin(grant),
            Some(Said::Welcome(_)) => {
                let _ = self.delays.to.send(Told::Welcome);
            }
            _ => {}
        }
    }

    fn begin(&mut self, grant: v1::Grant) {
        if let Some(since) = self.free_since.remove(&grant.slot) {
            self.delays.all.push(since.elapsed());
        }
        for job in &grant.jobs {
            let dataset = v1::DatasetSummary { content_hash: "load".into(), ..v1::DatasetSummary::default() };
            let started = v1::AttemptStarted { dataset: Some(dataset), resumed_epochs: 0 };
            self.tell(job.attempt, Event::Started(started));
        }
        match self.training {
            None => self.end(&grant),
            Some(training) => {
                let time = training.mul_f64(0.5 + self.random.below(1_000) as f64 / 1e3);
                self.ends.push(Reverse((Instant::now() + time, grant.slot)));
                self.grants.insert(grant.slot, grant);
            }
        }
    }

    /// Ends the jobs whose time has come.
    fn end_jobs(&mut self) {
        while let Some(&Reverse((time, slot))) = self.ends.peek()
            && time <= Instant::now()
        {
            self.ends.pop();
            if let Some(grant) = self.grants.remove(&slot) {
                self.end(&grant);
            }
        }
    }

    fn end(&mut self, grant: &v1::Grant) {
        for job in &grant.jobs {
            let epochs = job.parameters.iter().find(|parameter| parameter.name == "epochs");
            let epochs = match epochs.and_then(|parameter| parameter.value.as_ref()?.kind.as_ref()) {
                Some(v1::parameter_value::Kind::Integer(epochs)) => *epochs as u32,
                _ => 1,
            };
            for epoch in 1..=epochs {
                let number = job.attempt.as_ref().map_or(0, |attempt| attempt.job);
                let report = self.report(number, epoch);
                self.tell(job.attempt, Event::Epoch(report.into()));
            }
            let outcome = v1::Outcome::Done.into();
            self.tell(job.attempt, Event::Ended(v1::AttemptEnded { outcome, ..v1::AttemptEnded::default() }));
        }
        self.free_since.insert(grant.slot, Instant::now());
    }

    /// What it says of an epoch of a job: the same each time.
    fn report(&self, job: u64, epoch: u32) -> EpochReport {
        let (mut metrics, mut seconds) = (self.metrics.clone(), 0.001);
        if self.is_scattered {
            let mut random = Random(job);
            let mut share = || random.below(1 << 24) as f64 / f64::from(1 << 24);
            let accuracy = metrics.iter_mut().find(|(name, _)| **name == *known::VAL_ACCURACY);
            accuracy.into_iter().for_each(|(_, value)| *value = share());
            seconds *= 1.0 + share();
        }
        EpochReport { number: epoch, seconds, metrics }
    }

    /// Keeps the leases of its jobs.
    fn beat(&mut self) {
        let jobs = self.grants.values().flat_map(|grant| &grant.jobs);
        let running = jobs.map(|job| v1::AttemptProgress { attempt: job.attempt, epoch: 1, fraction: 0.0 });
        let running = running.collect();
        self.say(Message::Heartbeat(v1::Heartbeat { running, gpus: Vec::new() }));
    }

    fn tell(&mut self, attempt: Option<v1::AttemptRef>, event: Event) {
        self.sequence += 1;
        let event = v1::Event { sequence: self.sequence, attempt, event: Some(event) };
        self.say(Message::Event(event));
    }

    fn say(&mut self, message: Message) {
        self.said.push(v1::WorkerMessage { message: Some(message) });
    }

    /// Sends the pending messages.
    async fn send(&mut self) {
        if !self.said.is_empty() {
            // Only fails if the coordinator is gone, which the stream reports.
            let _ = self.outgoing.send(std::mem::take(&mut self.said)).await;
        }
    }
}

/// Waits for a message and also takes those that arrived with it.
fn poll_all(
    context: &mut Context<'_>,
    session: &mut Streaming<v1::CoordinatorMessage>,
) -> Poll<Result<Vec<v1::CoordinatorMessage>, Status>> {
    let mut said = Vec::new();
    loop {
        match Pin::new(&mut *session).poll_next(context) {
            Poll::Ready(Some(message)) => said.push(message?),
            Poll::Ready(None) => return Poll::Ready(Err(Status::unavailable("the stream has ended"))),
            Poll::Pending if said.is_empty() => return Poll::Pending,
            Poll::Pending => return Poll::Ready(Ok(said)),
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
