//! A coordinator and its workers as separate processes.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use proto::v1::{self, report_row::Row, sweep_service_client::SweepServiceClient};
use tempfile::TempDir;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    PATIENCE, Watch, dataset,
    process::{Daemon, children, program, terminate, wait_for_end},
};

/// A client of the coordinator.
pub type Client = SweepServiceClient<Channel>;

/// What differs between clusters.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How long a worker may be silent, as on the command line.
    pub lease: &'static str,
    /// Where the coordinator listens.
    pub listen: SocketAddr,
    /// The URL of the store, if it is not a file in the cluster's folder.
    pub store: Option<String>,
    /// A command, such as `strace`, that the coordinator is started through: it replaces itself by the program.
    pub through: Vec<String>,
    /// More arguments of `sweep serve`.
    pub serve: Vec<String>,
    /// More arguments of `sweep-worker start`.
    pub worker: Vec<String>,
    /// Where workers keep checkpoints, if that is not a folder in the cluster's.
    pub checkpoints: Option<String>,
    /// Whether each worker has no other place for checkpoints than its own.
    pub checkpoints_are_own: bool,
    /// Environment variables of the workers.
    pub worker_environment: Vec<(&'static str, String)>,
    /// The worker's program, if it is not the one that was built.
    pub worker_program: Option<PathBuf>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            lease: "20s",
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: None,
            through: Vec::new(),
            serve: Vec::new(),
            worker: Vec::new(),
            checkpoints: None,
            checkpoints_are_own: false,
            worker_environment: Vec::new(),
            worker_program: None,
        }
    }
}

/// A folder with a store, a coordinator on it, and workers.
#[derive(Debug)]
pub struct Cluster {
    /// Everything that this cluster writes; removed when it is dropped.
    pub folder: TempDir,
    pub coordinator: Coordinator,
    /// Addresses of other coordinators that workers know.
    others: Vec<SocketAddr>,
    options: ClusterOptions,
}

/// A running `sweep serve`.
#[derive(Debug)]
pub struct Coordinator {
    daemon: Daemon,
    pub address: SocketAddr,
}

/// A running `sweep-worker start`.
#[derive(Debug)]
pub struct Worker {
    daemon: Daemon,
}

impl Cluster {
    /// Starts a coordinator on an empty store.
    pub fn start(options: ClusterOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let coordinator = Coordinator::start(folder.path(), options.listen, &options);
        Self { folder, coordinator, others: Vec::new(), options }
    }

    /// Other arguments for the workers that start from now on.
    pub fn workers_get(&mut self, arguments: Vec<String>) {
        self.options.worker = arguments;
    }

    /// Other arguments for the coordinators that start from now on.
    pub fn coordinators_get(&mut self, arguments: Vec<String>) {
        self.options.serve = arguments;
    }

    /// Starts a coordinator in the place of one that has ended, no longer through another command.
    pub fn start_plain_coordinator(&mut self) {
        self.options.through.clear();
        self.coordinator = self.coordinator_at(self.coordinator.address);
    }

    /// Starts another coordinator on the same store, which workers started from now on know.
    pub fn stand_by(&mut self) -> Coordinator {
        let coordinator = self.coordinator_at(self.options.listen);
        self.others.push(coordinator.address);
        coordinator
    }

    /// Workers that are started from now on know the cluster's coordinator alone.
    pub fn forget_others(&mut self) {
        self.others.clear();
    }

    /// Starts a coordinator on the same store in the place of one that has ended.
    pub fn coordinator_at(&self, address: SocketAddr) -> Coordinator {
        Coordinator::start(self.folder.path(), address, &self.options)
    }

    /// Starts a worker with one slot. A name that was used before gets its old spool.
    pub fn worker(&self, name: &str) -> Worker {
        self.worker_at(name, "localhost", &[])
    }

    /// Starts a worker whose spool has another name.
    pub fn worker_with_spool(&self, name: &str, spool: &str) -> Worker {
        self.worker_of(name, spool, "localhost", &[])
    }

    /// Starts a worker through another command, which reaches the coordinators at `host`.
    pub fn worker_at(&self, name: &str, host: &str, through: &[String]) -> Worker {
        self.worker_of(name, name, host, through)
    }

    fn worker_of(&self, name: &str, spool: &str, host: &str, through: &[String]) -> Worker {
        let scheme = if self
            .options
            .serve
            .iter()
            .any(|argument| ["--tls-cert", "--authority"].contains(&argument.as_str()))
        {
            "https"
        } else {
            "http"
        };
        let addresses = [self.coordinator.address].into_iter().chain(self.others.iter().copied());
        let urls: Vec<_> = addresses.map(|address| format!("{scheme}://{host}:{}", address.port())).collect();
        let built = || program("sweep-worker");
        let worker = self.options.worker_program.clone().unwrap_or_else(built).into_os_string();
        let folder = || self.folder.path().join("checkpoints");
        let mut command = command(through, worker);
        command
            .args(["start", "--slots", "1", "--device", "cpu", "--name", name])
            .args(["--coordinator", &urls.join(",")])
            .arg("--spool")
            .arg(self.folder.path().join(format!("spool-{spool}")))
            .arg("--cache-dir")
            .arg(self.folder.path().join("cache"))
            .args(&self.options.worker)
            .envs(self.options.worker_environment.iter().map(|(name, value)| (name, value)));
        if !self.options.checkpoints_are_own {
            command
                .arg("--checkpoints")
                .arg(self.options.checkpoints.as_ref().map_or_else(folder, PathBuf::from));
        }
        Worker { daemon: Daemon::start(command, self.folder.path().join(format!("{spool}.log"))) }
    }

    /// Kills the coordinator with SIGKILL, and starts another one on the same store and port.
    pub fn replace_coordinator(&mut self) {
        let address = self.coordinator.address;
        self.coordinator.kill();
        self.coordinator = self.coordinator_at(address);
    }

    /// Kills the leader with SIGKILL and waits until `other`, which stands by, leads in its place; another one stands by then. Returns
    /// how long no one led.
    pub async fn fail_over(&mut self, other: &mut Coordinator) -> Duration {
        let start = Instant::now();
        self.coordinator.kill();
        other.until_it_leads(true).await;
        let took = start.elapsed();
        self.coordinator = self.coordinator_at(self.coordinator.address);
        std::mem::swap(&mut self.coordinator, other);
        took
    }

    /// A connection to the coordinator that runs now.
    pub async fn channel(&self) -> Channel {
        self.coordinator.channel().await
    }

    /// A client of the coordinator that runs now.
    pub async fn client(&self) -> Client {
        SweepServiceClient::new(self.channel().await)
    }

    /// Submits a sweep over `parameters` (YAML) on the small data set.
    pub async fn submit(&self, parameters: &str) -> u64 {
        let request = v1::SubmitRequest {
            source: Some(source(parameters)),
            request_id: String::new(),
            extend_sweep_id: 0,
        };
        let answer = self.client().await.submit(request).await.expect("the sweep is right");
        answer.into_inner().sweep.expect("an answer holds its sweep").sweep_id
    }

    /// The workers that the coordinator knows.
    pub async fn workers(&self) -> Vec<v1::Worker> {
        let (mut client, mut workers, mut page_token) = (self.client().await, Vec::new(), String::new());
        loop {
            let request = v1::ListWorkersRequest { page_size: 0, page_token };
            let listed = client.list_workers(request).await.expect("workers are listed").into_inner();
            workers.extend(listed.workers);
            page_token = listed.next_page_token;
            if page_token.is_empty() {
                return workers;
            }
        }
    }

    /// The stream of a sweep.
    pub async fn watch(&self, sweep: u64) -> Watch {
        Watch::open(self.client().await, sweep).await
    }

    /// Every job of a sweep with the epochs that count.
    pub async fn results(&self, sweep_id: u64) -> Vec<(v1::Job, Vec<v1::EpochRow>)> {
        let rows = self.client().await.report_rows(v1::ReportRowsRequest { sweep_id, hands_on: false }).await;
        jobs_of(rows.expect("the sweep is there").into_inner()).await
    }

    /// One job with its attempts.
    pub async fn job(&self, sweep_id: u64, job: u64) -> v1::JobDetail {
        let detail = self.client().await.get_job(v1::GetJobRequest { sweep_id, job }).await;
        detail.expect("the job is there").into_inner()
    }
}

/// Every job of a sweep with the epochs that count, from the rows of a report.
///
/// # Panics
/// The stream breaks.
pub async fn jobs_of(mut rows: Streaming<v1::ReportRow>) -> Vec<(v1::Job, Vec<v1::EpochRow>)> {
    let mut jobs: Vec<(v1::Job, Vec<v1::EpochRow>)> = Vec::new();
    while let Some(row) = rows.message().await.expect("the stream goes on") {
        match row.row {
            Some(Row::Job(job)) => jobs.push((job, Vec::new())),
            Some(Row::Epoch(epoch)) => jobs.last_mut().expect("an epoch follows its job").1.push(epoch),
            _ => {}
        }
    }
    jobs
}

/// A program that is started through another one.
fn command(through: &[String], program: OsString) -> Command {
    let mut words = through.iter().map(OsString::from).chain([program]);
    let mut command = Command::new(words.next().expect("there is at least the program"));
    command.args(words);
    command
}

/// A sweep file over `parameters` on the small data set with small images.
pub fn source(parameters: &str) -> v1::SweepSource {
    let path = dataset();
    let text = format!(
        "name: scenario\nmodel: simple_cnn\nmethod: grid\n\
         dataset: {{path: {path:?}, image_size: 64}}\nparameters: {parameters}\n"
    );
    // Its epochs are short.
    let overrides = vec!["execution.checkpoint_every_epochs=1".to_owned()];
    v1::SweepSource { text, file_name: "scenario.yaml".into(), overrides, ..v1::SweepSource::default() }
}

impl Coordinator {
    fn start(folder: &Path, address: SocketAddr, options: &ClusterOptions) -> Self {
        let file = format!("sqlite:{}", folder.join("sweep.db").display());
        let mut command = command(&options.through, program("sweep").into_os_string());
        command
            .args([
                "serve",
                "--log-format",
                "json",
                "--lease",
                options.lease,
                "--listen",
                &address.to_string(),
            ])
            .args(["--store", options.store.as_ref().unwrap_or(&file)])
            .args(&options.serve);
        let daemon = Daemon::start(command, folder.join("coordinator.log"));
        let address = daemon.wait_for_line(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let message = &line["fields"]["message"];
            let is_ready = message == "the coordinator is ready" || message == "the coordinator stands by";
            line["fields"]["address"].as_str().filter(|_| is_ready)?.parse().ok()
        });
        Self { daemon, address }
    }

    pub fn pid(&self) -> u32 {
        self.daemon.child.id()
    }

    /// Where it serves the page, once it has said so.
    pub fn http(&self) -> SocketAddr {
        self.daemon.wait_for_line(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_served = line["fields"]["message"] == "the page is served";
            line["fields"]["address"].as_str().filter(|_| is_served)?.parse().ok()
        })
    }

    /// Where it answers probes.
    ///
    /// # Panics
    /// It was started without `--admin`.
    pub fn admin(&self) -> SocketAddr {
        let address = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_it = line["fields"]["message"] == "probes and metrics are answered";
            line["fields"]["address"].as_str().filter(|_| is_it)?.parse().ok()
        };
        // It comes before that it is ready; a coordinator that was there before on this log had another one.
        self.log().lines().rev().find_map(address).expect("it was started with --admin")
    }

    /// A connection to it.
    ///
    /// # Panics
    /// It accepts none.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a URL");
        endpoint.connect().await.expect("the coordinator accepts connections")
    }

    /// Waits until it leads, or until it does not.
    ///
    /// # Panics
    /// It reports neither in time.
    pub async fn until_it_leads(&self, leads: bool) {
        let wanted = if leads { ServingStatus::Serving } else { ServingStatus::NotServing };
        let request = HealthCheckRequest { service: "sweep.v1.SweepService".into() };
        let wait = async {
            let mut health = HealthClient::new(self.channel().await);
            let mut changes = health.watch(request).await.expect("health is served").into_inner();
            while changes.message().await.expect("the stream goes on").expect("it has no end").status()
                != wanted
            {}
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("a coordinator leads or does not");
    }

    /// Waits until its log has this text, also if it came before it was ready.
    ///
    /// # Panics
    /// It does not come.
    pub fn until_it_has_said(&self, text: &str) {
        if !self.log().contains(text) {
            self.until_it_says(text);
        }
    }

    /// Waits for a log line with this text.
    ///
    /// # Panics
    /// It ends or is silent before.
    pub fn until_it_says(&self, text: &str) {
        self.daemon.wait_for_line(|line| line.contains(text).then_some(()));
    }

    /// Waits until it has ended by itself; returns its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        wait_for_end(self.pid());
        self.daemon.child.wait().expect("it is a child").code()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Its log, once it has ended.
    pub fn whole_log(&self) -> String {
        self.daemon.whole_log()
    }

    /// Sends SIGTERM and waits for the end; returns its exit code.
    pub fn leave(&mut self) -> Option<i32> {
        terminate(self.pid());
        self.daemon.child.wait().expect("it is a child").code()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.daemon.child.kill().expect("the coordinator runs");
        self.daemon.child.wait().expect("it is a child");
    }
}

impl Worker {
    pub fn pid(&self) -> u32 {
        self.daemon.child.id()
    }

    /// Where it answers probes, once it has said so.
    pub fn admin(&self) -> SocketAddr {
        self.daemon.wait_for_line(|line| {
            let (_, rest) = line.split_once("probes and metrics are answered")?;
            rest.trim().strip_prefix("address=")?.parse().ok()
        })
    }

    /// Waits until the coordinator has answered it: before, it may not even listen to signals.
    pub fn until_connected(&self) {
        self.daemon.wait_for_line(|line| line.contains("connected to the coordinator").then_some(()));
    }

    /// Waits for a log line with this text.
    ///
    /// # Panics
    /// It ends or is silent before.
    pub fn until_it_says(&self, text: &str) {
        self.daemon.wait_for_line(|line| line.contains(text).then_some(()));
    }

    /// The next log line for which `pick` returns something.
    ///
    /// # Panics
    /// It ends or is silent before.
    pub fn line<T>(&self, pick: impl Fn(&str) -> Option<T>) -> T {
        self.daemon.wait_for_line(pick)
    }

    /// Sends SIGKILL and waits for the end of it and of its trainer.
    pub fn kill(mut self) {
        let trainers = children(self.pid());
        self.daemon.child.kill().expect("the worker runs");
        self.daemon.child.wait().expect("it is a child");
        trainers.into_iter().for_each(wait_for_end);
    }

    /// The process of its trainer.
    ///
    /// # Panics
    /// None runs.
    pub fn trainer(&self) -> u32 {
        self.trainer_if_any().expect("the trainer runs")
    }

    /// The process of its trainer, if one runs.
    pub fn trainer_if_any(&self) -> Option<u32> {
        children(self.pid()).last().copied()
    }

    /// Waits until it says that it has left; returns its log.
    pub fn farewell(&self) -> String {
        self.daemon.wait_for_line(|line| line.contains("the worker has left").then_some(()));
        self.daemon.log()
    }

    /// Waits until it has left by itself; returns its exit code.
    pub fn wait(self) -> Option<i32> {
        self.end().0
    }

    /// Waits until it has left by itself; returns its exit code and its log.
    pub fn end(mut self) -> (Option<i32>, String) {
        wait_for_end(self.pid());
        let code = self.daemon.child.wait().expect("it is a child").code();
        (code, self.daemon.whole_log())
    }
}
