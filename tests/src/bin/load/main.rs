//! Load for a coordinator: workers that train nothing and speak the protocol over real gRPC. `LOAD_TLS_CA` names the
//! certificates to trust for an https:// coordinator. Jobs report SimpleCNN's metrics, or those that `LOAD_METRICS` lists,
//! separated by commas. With `LOAD_PAGE`, the sweep is one to look at: eight parameters vary, nearly all values are different, and each job has an
//! accuracy of its own, the same each time.
//!
//! `load run URL JOBS EPOCHS WORKERS SLOTS` submits a sweep of JOBS jobs and runs it as fast as jobs are granted;
//! prints one JSON object. `load run URL JOBS EPOCHS WORKERS SLOTS JOBS_A_SECOND` makes each job take as long as it
//! takes all slots together to end that many jobs a second, plus or minus half at random. `load idle URL WORKERS
//! SECONDS` connects workers, prints a line when all are connected, and leaves after SECONDS.

mod worker;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto::v1::{self, sweep_service_client::SweepServiceClient};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use self::worker::{Told, Worker};

/// Workers that connect at the same time: a coordinator does not wait indefinitely for a connection's first message.
const CONNECTING_MAX: usize = 50;

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
    let mut workers = Workers::connect(url, workers, slots as u32, training).await;
    let channel = connect(url).await;
    let start = Instant::now();
    let sweep = submit(channel.clone(), jobs, epochs).await;
    let accepted = start.elapsed();
    let mut watch = SweepServiceClient::new(channel)
        .watch_sweep(v1::WatchSweepRequest { sweep_id: sweep })
        .await
        .expect("the sweep can be watched")
        .into_inner();
    // The stream ends with the sweep, whose last job is durable by then. Its messages cost the coordinator what a
    // watching user costs it.
    while watch.message().await.expect("the stream goes on").is_some() {}
    let took = start.elapsed().as_secs_f64();
    let delays = workers.delays().await;
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
    let _workers = Workers::connect(url, workers, 1, None).await;
    println!("connected");
    tokio::time::sleep(time).await;
}

/// Workers that are welcomed.
struct Workers {
    running: JoinSet<()>,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Workers {
    async fn connect(url: &str, workers: u64, slots: u32, training: Option<Duration>) -> Self {
        let mut running = JoinSet::new();
        let (sender, mut told) = mpsc::unbounded_channel();
        let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
        for number in 0..workers {
            let turn = Arc::clone(&connecting).acquire_owned().await.expect("it is never closed");
            let (url, told) = (url.to_owned(), sender.clone());
            running.spawn(async move {
                let mut worker = Worker::new(number, training, told);
                let session = worker.connect(connect(&url).await, number, slots).await;
                drop(turn);
                worker.run(session).await;
            });
        }
        for _ in 0..workers {
            let said = told.recv().await;
            assert!(matches!(said, Some(Told::Welcome)), "a worker was not welcomed");
        }
        Self { running, told }
    }

    /// Ends the workers; returns the times from a job's end to the slot's next grant, shortest first.
    async fn delays(&mut self) -> Vec<Duration> {
        self.running.shutdown().await;
        let mut delays = Vec::new();
        while let Ok(told) = self.told.try_recv() {
            if let Told::Ended(mut own) = told {
                delays.append(&mut own);
            }
        }
        delays.sort_unstable();
        delays
    }
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

fn grid(jobs: u64, epochs: u64) -> String {
    // A parameter has at most 10,000 values.
    let rates = jobs.div_ceil(10_000);
    let seeds = jobs / rates;
    assert_eq!(seeds * rates, jobs, "above 10,000, give a multiple of 10,000");
    format!(
        "name: load\ndataset: {{path: /load}}\nparameters:\n  epochs: {{value: {epochs}}}\n  \
         learning_rate: {{min: 0.001, max: 0.01, count: {rates}}}\n  seed: {{min: 1, max: {seeds}, count: {seeds}}}\n"
    )
}

/// Points that are drawn: as many parameters vary as in the grid.
fn search(method: &str, jobs: u64, epochs: u64) -> String {
    format!(
        "name: load\nmethod: {method}\nrun_cap: {jobs}\ndataset: {{path: /load}}\nparameters:\n  epochs: {{value: {epochs}}}\n  \
         learning_rate: {{min: 0.001, max: 0.01, scale: log}}\n  seed: {{min: 1, max: 1000000}}\n"
    )
}

/// Points to look at: as many different values of eight parameters as there are jobs.
fn shown(jobs: u64, epochs: u64) -> String {
    format!(
        "name: load\nmethod: random\nrun_cap: {jobs}\ndataset: {{path: /load}}\nparameters:\n  epochs: {{value: {epochs}}}\n  \
         learning_rate: {{min: 0.00001, max: 0.1, scale: log}}\n  weight_decay: {{min: 0.000001, max: 0.01, scale: log}}\n  \
         dropout: {{min: 0.0, max: 0.9}}\n  label_smoothing: {{min: 0.0, max: 0.5}}\n  \
         gradient_clip_norm: {{min: 0.1, max: 10.0}}\n  batch_size: {{min: 8, max: 4096}}\n  \
         hidden_units: {{min: 16, max: 8192}}\n  seed: {{min: 1, max: 1000000000}}\n"
    )
}

async fn submit(channel: Channel, jobs: u64, epochs: u64) -> u64 {
    let text = match std::env::var("LOAD_METHOD") {
        _ if worker::for_page() => shown(jobs, epochs),
        Ok(method) => search(&method, jobs, epochs),
        Err(_) => grid(jobs, epochs),
    };
    let source = v1::SweepSource { text, file_name: "load.yaml".into(), ..v1::SweepSource::default() };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let answer = SweepServiceClient::new(channel).submit(request).await.expect("the sweep is right");
    answer.into_inner().sweep.expect("an answer holds its sweep").sweep_id
}
