//! Load for a coordinator: workers that train nothing and speak the protocol over real gRPC, as fast as they are
//! granted jobs. Certificates to trust for an https:// coordinator are named by `LOAD_TLS_CA`.
//!
//! `load run URL JOBS EPOCHS WORKERS SLOTS` submits a sweep of so many jobs and runs it; prints one JSON object.
//! `load idle URL WORKERS SECONDS` connects workers, prints a line when all are, and leaves after so many seconds.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use proto::v1::{
    self, coordinator_message::Message as Said, event::Event, sweep_service_client::SweepServiceClient,
    worker_message::Message, worker_service_client::WorkerServiceClient,
};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{
    codegen::tokio_stream::wrappers::ReceiverStream,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// Messages that a worker may have on their way.
const OUTGOING_MAX: usize = 1_024;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url, numbers @ ..] = arguments.as_slice() else { panic!("load run|idle URL …") };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
    match (mode.as_str(), &numbers[..]) {
        ("run", &[jobs, epochs, workers, slots]) => run(url, jobs, epochs, workers, slots as u32).await,
        ("idle", &[workers, seconds]) => idle(url, workers, Duration::from_secs(seconds)).await,
        _ => panic!("load run URL JOBS EPOCHS WORKERS SLOTS, or load idle URL WORKERS SECONDS"),
    }
}

async fn run(url: &str, jobs: u64, epochs: u64, workers: u64, slots: u32) {
    let submitted = Instant::now();
    let sweep = submit(connect(url).await, jobs, epochs).await;
    let accepted = submitted.elapsed();
    let mut running = tokio::task::JoinSet::new();
    let (delays, mut measured) = mpsc::unbounded_channel();
    let start = Instant::now();
    for worker in 0..workers {
        let (url, delays) = (url.to_owned(), delays.clone());
        running.spawn(async move { Worker::run(&url, worker, slots, delays).await });
    }
    drop(delays);
    let mut watch = SweepServiceClient::new(connect(url).await)
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
        tokio::spawn(async move { Worker::run(&url, worker, 1, connected).await });
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
    outgoing: mpsc::Sender<v1::WorkerMessage>,
    sequence: u64,
    /// When each slot became free.
    free_since: HashMap<u32, Instant>,
    delays: Delays,
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
    async fn run(url: &str, number: u64, slots: u32, to: mpsc::UnboundedSender<Vec<Duration>>) {
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        let delays = Delays { all: Vec::new(), to };
        let mut worker = Self { outgoing, sequence: 0, free_since: HashMap::new(), delays };
        let slot =
            |index| v1::Slot { index, device: "cpu".into(), description: String::new(), pack_size_max: 1 };
        worker
            .say(Message::Hello(v1::Hello {
                protocol_version: proto::PROTOCOL_VERSION,
                name: format!("load{number}"),
                instance: "load".into(),
                slots: (0..slots).map(slot).collect(),
                ..v1::Hello::default()
            }))
            .await;
        let mut client = WorkerServiceClient::new(connect(url).await);
        let session = client.session(ReceiverStream::new(messages)).await.expect("a session");
        let mut session = session.into_inner();
        let mut beat = tokio::time::interval(Duration::from_secs(2));
        loop {
            tokio::select! {
                said = session.message() => match said {
                    Ok(Some(v1::CoordinatorMessage { message: Some(Said::Grant(grant)) })) => {
                        worker.train(grant).await;
                    }
                    Ok(Some(v1::CoordinatorMessage { message: Some(Said::Welcome(_)) })) => {
                        let _ = worker.delays.to.send(Vec::new());
                    }
                    Ok(Some(_)) => {}
                    _ => return,
                },
                _ = beat.tick() => worker.say(Message::Heartbeat(v1::Heartbeat::default())).await,
            }
        }
    }

    async fn train(&mut self, grant: v1::Grant) {
        if let Some(since) = self.free_since.remove(&grant.slot) {
            self.delays.all.push(since.elapsed());
        }
        for job in grant.jobs {
            let epochs = job.parameters.iter().find(|parameter| parameter.name == "epochs");
            let epochs = match epochs.and_then(|parameter| parameter.value.as_ref()?.kind.as_ref()) {
                Some(v1::parameter_value::Kind::Integer(epochs)) => *epochs as u32,
                _ => 1,
            };
            let dataset = v1::DatasetSummary { content_hash: "load".into(), ..v1::DatasetSummary::default() };
            let started = v1::AttemptStarted { dataset: Some(dataset), resumed_epochs: 0 };
            self.tell(job.attempt, Event::Started(started)).await;
            for epoch in 1..=epochs {
                let record =
                    v1::EpochRecord { epoch, train_loss: 0.5, val_accuracy: 0.75, epoch_seconds: 0.001 };
                self.tell(job.attempt, Event::Epoch(record)).await;
            }
            let outcome = v1::Outcome::Done.into();
            self.tell(job.attempt, Event::Ended(v1::AttemptEnded { outcome, ..v1::AttemptEnded::default() }))
                .await;
        }
        self.free_since.insert(grant.slot, Instant::now());
    }

    async fn tell(&mut self, attempt: Option<v1::AttemptRef>, event: Event) {
        self.sequence += 1;
        let event = v1::Event { sequence: self.sequence, attempt, event: Some(event) };
        self.say(Message::Event(event)).await;
    }

    async fn say(&self, message: Message) {
        // Fails only when the coordinator is gone, which the stream tells.
        let _ = self.outgoing.send(v1::WorkerMessage { message: Some(message) }).await;
    }
}
