//! Load for a coordinator: workers that train nothing and speak the protocol over real gRPC. Certificates to trust for an
//! https:// coordinator are named by `LOAD_TLS_CA`.
//!
//! `load run URL JOBS EPOCHS WORKERS SLOTS` submits a sweep of so many jobs and runs it as fast as jobs are granted; prints
//! one JSON object. `load run URL JOBS EPOCHS WORKERS SLOTS JOBS_A_SECOND` has each job take the time in which all slots
//! together end so many jobs a second, half of it more or less by chance.
//! `load idle URL WORKERS SECONDS` connects workers, prints a line when all are, and leaves after so many seconds.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use proto::v1::{
    self, coordinator_message::Message as Said, event::Event, sweep_service_client::SweepServiceClient,
    worker_message::Message, worker_service_client::WorkerServiceClient,
};
use serde_json::json;
use tests::Random;
use tokio::sync::mpsc;
use tonic::{
    Status, Streaming,
    codegen::tokio_stream::Stream,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// Lots of messages that a worker may have on their way.
const OUTGOING_MAX: usize = 64;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url, numbers @ ..] = arguments.as_slice() else { panic!("load run|idle URL …") };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
    match (mode.as_str(), &numbers[..]) {
        ("run", &[jobs, epochs, workers, slots]) => run(url, (jobs, epochs), (workers, slots), None).await,
        ("run", &[jobs, epochs, workers, slots, rate]) => {
            let training = Duration::from_secs_f64((workers * slots) as f64 / rate as f64);
            run(url, (jobs, epochs), (workers, slots), Some(training)).await;
        }
        ("idle", &[workers, seconds]) => idle(url, workers, Duration::from_secs(seconds)).await,
        _ => {
            panic!("load run URL JOBS EPOCHS WORKERS SLOTS [JOBS_A_SECOND], or load idle URL WORKERS SECONDS")
        }
    }
}

async fn run(
    url: &str,
    (jobs, epochs): (u64, u64),
    (workers, slots): (u64, u64),
    training: Option<Duration>,
) {
    let mut running = tokio::task::JoinSet::new();
    let (delays, mut measured) = mpsc::unbounded_channel();
    for worker in 0..workers {
        let (url, delays) = (url.to_owned(), delays.clone());
        running.spawn(async move { Worker::run(&url, worker, slots as u32, training, delays).await });
    }
    drop(delays);
    for _ in 0..workers {
        measured.recv().await.expect("every worker is welcomed");
    }
    let channel = connect(url).await;
    let start = Instant::now();
    let sweep = submit(channel.clone(), jobs, epochs).await;
    let accepted = start.elapsed();
    let mut watch = SweepServiceClient::new(channel)
        .watch_sweep(v1::WatchSweepRequest { sweep_id: sweep })
        .await
        .expect("the sweep can be watched")
        .into_inner();
    // The stream ends with the sweep, whose last job is durable by then. What it tells meanwhile costs the coordinator
    // what a user who watches costs it.
    while watch.message().await.expect("the stream goes on").is_some() {}
    let took = start.elapsed().as_secs_f64();
    running.abort_all();
    let mut delays = Vec::new();
    while let Some(mut own) = measured.recv().await {
        delays.append(&mut own);
    }
    delays.sort_unstable();
    let share = |share: f64| {
        let index = (delays.len() as f64 * share) as usize;
        delays
            .get(index.min(delays.len().saturating_sub(1)))
            .map_or(0.0, |delay: &Duration| delay.as_secs_f64() * 1e3)
    };
    println!(
        "{}",
        json!({
            "accepted_ms": accepted.as_secs_f64() * 1e3, "seconds": took,
            "jobs_per_second": jobs as f64 / took, "epochs_per_second": (jobs * epochs) as f64 / took,
            "grant_ms_median": share(0.5), "grant_ms_p99": share(0.99),
        })
    );
}

async fn idle(url: &str, workers: u64, time: Duration) {
    let (connected, mut count) = mpsc::unbounded_channel();
    for worker in 0..workers {
        let (url, connected) = (url.to_owned(), connected.clone());
        tokio::spawn(async move { Worker::run(&url, worker, 1, None, connected).await });
    }
    for _ in 0..workers {
        count.recv().await.expect("every worker is welcomed");
    }
    println!("connected");
    tokio::time::sleep(time).await;
}

async fn connect(url: &str) -> Channel {
    let mut endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL").tcp_nodelay(true);
    if let Some(path) = std::env::var_os("LOAD_TLS_CA") {
        let certificates = Certificate::from_pem(std::fs::read(path).expect("certificates"));
        let tls = ClientTlsConfig::new().ca_certificate(certificates);
        endpoint = endpoint.tls_config(tls).expect("certificates");
    }
    endpoint.connect().await.expect("the coordinator accepts connections")
}

async fn submit(channel: Channel, jobs: u64, epochs: u64) -> u64 {
    // A parameter has at most 10,000 values.
    let rates = jobs.div_ceil(10_000);
    let seeds = jobs / rates;
    assert_eq!(seeds * rates, jobs, "above 10,000, give a multiple of 10,000");
    let text = format!(
        "name: load\ndataset: {{path: /load}}\nparameters:\n  epochs: {{value: {epochs}}}\n  \
         learning_rate: {{min: 0.001, max: 0.01, count: {rates}}}\n  seed: {{min: 1, max: {seeds}, count: {seeds}}}\n"
    );
    let source = v1::SweepSource { text, file_name: "load.yaml".into(), ..v1::SweepSource::default() };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let answer = SweepServiceClient::new(channel).submit(request).await.expect("the sweep is right");
    answer.into_inner().sweep.expect("an answer holds its sweep").sweep_id
}

/// One worker and all its slots.
struct Worker {
    outgoing: mpsc::Sender<Vec<v1::WorkerMessage>>,
    /// What has been said and is not on its way yet.
    said: Vec<v1::WorkerMessage>,
    sequence: u64,
    /// How long a job takes; none for no time.
    training: Option<Duration>,
    random: Random,
    /// When the jobs of slots end.
    ends: BinaryHeap<Reverse<(Instant, u32)>>,
    grants: HashMap<u32, v1::Grant>,
    /// When each slot became free.
    free_since: HashMap<u32, Instant>,
    delays: Delays,
}

/// What a worker says, message by message.
struct Outgoing {
    lots: mpsc::Receiver<Vec<v1::WorkerMessage>>,
    messages: std::vec::IntoIter<v1::WorkerMessage>,
}

impl Stream for Outgoing {
    type Item = v1::WorkerMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::WorkerMessage>> {
        loop {
            if let Some(message) = self.messages.next() {
                return Poll::Ready(Some(message));
            }
            match ready!(self.lots.poll_recv(context)) {
                Some(messages) => self.messages = messages.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// From the end of a slot's job to its next grant; told when there is a welcome, and at the end.
struct Delays {
    all: Vec<Duration>,
    to: mpsc::UnboundedSender<Vec<Duration>>,
}

impl Drop for Delays {
    fn drop(&mut self) {
        // Nobody may listen any more.
        let _ = self.to.send(std::mem::take(&mut self.all));
    }
}

impl Worker {
    /// Runs what it is granted until it is dropped.
    async fn run(
        url: &str,
        number: u64,
        slots: u32,
        training: Option<Duration>,
        to: mpsc::UnboundedSender<Vec<Duration>>,
    ) {
        let (outgoing, lots) = mpsc::channel(OUTGOING_MAX);
        let mut worker = Self {
            outgoing,
            said: Vec::new(),
            sequence: 0,
            training,
            random: Random(number),
            ends: BinaryHeap::new(),
            grants: HashMap::new(),
            free_since: HashMap::new(),
            delays: Delays { all: Vec::new(), to },
        };
        let slot = |index| v1::Slot { index, device: "cpu".into(), ..v1::Slot::default() };
        worker.say(Message::Hello(v1::Hello {
            protocol_version: proto::PROTOCOL_VERSION,
            name: format!("load{number}"),
            instance: "load".into(),
            slots: (0..slots).map(slot).collect(),
            ..v1::Hello::default()
        }));
        worker.send().await;
        let mut client = WorkerServiceClient::new(connect(url).await);
        let messages = Outgoing { lots, messages: Vec::new().into_iter() };
        let session = client.session(messages).await.expect("a session");
        let mut session = session.into_inner();
        let mut beat = tokio::time::interval(Duration::from_secs(2));
        loop {
            let next_end = worker.ends.peek().map(|Reverse((time, _))| *time);
            tokio::select! {
                said = poll_fn(|context| poll_all(context, &mut session)) => match said {
                    Ok(said) => said.into_iter().for_each(|said| worker.hear(said)),
                    Err(_) => return,
                },
                () = until(next_end) => worker.end_jobs(),
                _ = beat.tick() => worker.beat(),
            }
            worker.send().await;
        }
    }

    fn hear(&mut self, said: v1::CoordinatorMessage) {
        match said.message {
            Some(Said::Grant(grant)) => self.begin(grant),
            Some(Said::Welcome(_)) => {
                let _ = self.delays.to.send(Vec::new());
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
                let record =
                    v1::EpochRecord { epoch, train_loss: 0.5, val_accuracy: 0.75, epoch_seconds: 0.001 };
                self.tell(job.attempt, Event::Epoch(record));
            }
            let outcome = v1::Outcome::Done.into();
            self.tell(job.attempt, Event::Ended(v1::AttemptEnded { outcome, ..v1::AttemptEnded::default() }));
        }
        self.free_since.insert(grant.slot, Instant::now());
    }

    /// What runs lives.
    fn beat(&mut self) {
        let jobs = self.grants.values().flat_map(|grant| &grant.jobs);
        let running = jobs.map(|job| v1::AttemptProgress { attempt: job.attempt, epoch: 1, fraction: 0.0 });
        let running = running.collect();
        self.say(Message::Heartbeat(v1::Heartbeat { running }));
    }

    fn tell(&mut self, attempt: Option<v1::AttemptRef>, event: Event) {
        self.sequence += 1;
        let event = v1::Event { sequence: self.sequence, attempt, event: Some(event) };
        self.say(Message::Event(event));
    }

    fn say(&mut self, message: Message) {
        self.said.push(v1::WorkerMessage { message: Some(message) });
    }

    /// Sends what was said.
    async fn send(&mut self) {
        if !self.said.is_empty() {
            // Fails only when the coordinator is gone, which the stream tells.
            let _ = self.outgoing.send(std::mem::take(&mut self.said)).await;
        }
    }
}

/// Waits for a message and takes those that came with it.
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
