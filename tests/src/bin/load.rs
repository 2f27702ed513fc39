//! Load for a coordinator: workers that train nothing and speak the protocol over real gRPC, as fast as they are
//! granted jobs. Prints one JSON line with what was reached.
//!
//! `load URL JOBS EPOCHS WORKERS SLOTS`: submits a sweep of so many jobs and runs it.

use std::time::{Duration, Instant};

use proto::v1::{
    self, coordinator_message::Message as Said, event::Event, sweep_service_client::SweepServiceClient,
    worker_message::Message, worker_service_client::WorkerServiceClient,
};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{
    codegen::tokio_stream::wrappers::ReceiverStream,
    transport::{Channel, Endpoint},
};

/// Messages that a worker may have on their way.
const OUTGOING_MAX: usize = 1_024;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, numbers @ ..] = arguments.as_slice() else { panic!("load URL JOBS EPOCHS WORKERS SLOTS") };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
    let [jobs, epochs, workers, slots] = numbers[..] else { panic!("load URL JOBS EPOCHS WORKERS SLOTS") };
    let channel = connect(url).await;
    let submitted = Instant::now();
    let sweep = submit(channel, jobs, epochs).await;
    let accepted = submitted.elapsed();
    let mut running = tokio::task::JoinSet::new();
    let start = Instant::now();
    for worker in 0..workers {
        let url = url.clone();
        running.spawn(async move { Worker::run(&url, worker, slots as u32).await });
    }
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
    println!(
        "{}",
        json!({
            "jobs": jobs, "epochs": epochs, "workers": workers, "slots": slots,
            "accepted_ms": accepted.as_secs_f64() * 1e3, "seconds": took,
            "jobs_per_second": jobs as f64 / took, "epochs_per_second": (jobs * epochs) as f64 / took,
        })
    );
}

async fn connect(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL").tcp_nodelay(true);
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
}

impl Worker {
    /// Runs what it is granted until it is dropped.
    async fn run(url: &str, number: u64, slots: u32) {
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        let mut worker = Self { outgoing, sequence: 0 };
        let slot = |index| v1::Slot { index, device: "cpu".into(), description: String::new() };
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
                    Ok(Some(_)) => {}
                    _ => return,
                },
                _ = beat.tick() => worker.say(Message::Heartbeat(v1::Heartbeat::default())).await,
            }
        }
    }

    async fn train(&mut self, grant: v1::Grant) {
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
