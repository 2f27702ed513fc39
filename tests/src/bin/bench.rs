//! `make bench`: the coordinator under load, with durability as in production. Every figure is a line of
//! `target/bench.jsonl` and of the table at the end. `bench page` measures what the page costs alone.

#[path = "bench/page.rs"]
mod page;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proto::v1::{self, sweep_service_client::SweepServiceClient};
use serde_json::{Value, json};
use tests::{Postgres, program};
use tonic::transport::{Channel, Endpoint};

/// Runs of each short benchmark; the median counts.
const RUNS: usize = 5;
/// Jobs of a short benchmark.
const JOBS: u64 = 40_000;
/// Metrics that are not SimpleCNN's.
const OWN_METRICS: &str = "loss,accuracy,val/loss,val/f1";
/// How long idle workers are observed.
const IDLE: Duration = Duration::from_secs(10);
/// Calls of each kind of query.
const QUESTIONS: u64 = 200;
/// Jobs a second offered to a thousand workers: each ends one every 500, 200 and 100 ms. A thousand workers whose jobs
/// take ten seconds end about 100.
const OFFERED: [u64; 3] = [2_000, 5_000, 10_000];
/// How long each of these runs lasts, in seconds.
const OFFERED_SECONDS: u64 = 10;

/// HyperQueue 0.26 on such a machine, with tasks that do nothing.
const HYPERQUEUE_64_SLOTS: f64 = 2_360.0;
const HYPERQUEUE_1024_SLOTS: f64 = 22_100.0;
/// Results a second according to Ray Tune's documentation.
const RAY_TUNE_RESULTS: f64 = 500.0;

#[tokio::main]
async fn main() {
    let only = std::env::args().nth(1);
    let mut results = Results::new();
    match only.as_deref() {
        None => {}
        Some("page") => {
            page::page(&mut results);
            return results.print();
        }
        Some("postgresql") => {
            postgres(&mut results);
            return results.print();
        }
        Some(other) => panic!("{other} is none of the parts that are measured alone: page, postgresql"),
    }
    throughput(&mut results);
    own_metrics(&mut results);
    searches(&mut results);
    postgres(&mut results);
    many_workers(&mut results);
    page::page(&mut results);
    for jobs in [10_000, 100_000, 1_000_000] {
        size(&mut results, jobs).await;
    }
    results.print();
}

/// Jobs and epochs a second.
fn throughput(results: &mut Results) {
    for (name, tls, slots, epochs, baseline) in [
        ("jobs, 64 slots", false, 16, 1, Some(HYPERQUEUE_64_SLOTS)),
        ("jobs, 64 slots, TLS", true, 16, 1, Some(HYPERQUEUE_64_SLOTS)),
        ("jobs, 1,024 slots", false, 256, 1, Some(HYPERQUEUE_1024_SLOTS)),
        ("epochs, 64 slots", false, 16, 20, Some(RAY_TUNE_RESULTS)),
    ] {
        let key = if epochs > 1 { "epochs_per_second" } else { "jobs_per_second" };
        let jobs = JOBS / epochs.min(10);
        let run = || number(&Coordinator::start(tls).load(&["run"], &[jobs, epochs, 4, slots]), key);
        results.add(name, median(run), "1/s", baseline);
    }
}

/// Epochs a second of a sweep that has metrics of its own: their names are sent with each epoch.
fn own_metrics(results: &mut Results) {
    let run = || {
        let coordinator = Coordinator::start(false);
        let mut command = coordinator.load_command(&["run"], &[JOBS / 10, 20, 4, 16]);
        number(&finish(command.env("LOAD_METRICS", OWN_METRICS)), "epochs_per_second")
    };
    results.add("epochs, 64 slots, four metrics of its own", median(run), "1/s", Some(RAY_TUNE_RESULTS));
}

/// Jobs of sweeps whose points are drawn, and the memory of a million of them.
fn searches(results: &mut Results) {
    for method in ["random", "sobol"] {
        let run = || number(&drawn(&Coordinator::start(false), method, &[JOBS, 1, 4, 16]), "jobs_per_second");
        results.add(&format!("jobs, 64 slots, {method}"), median(run), "1/s", Some(HYPERQUEUE_64_SLOTS));
    }
    let coordinator = Coordinator::start(false);
    let reached = drawn(&coordinator, "random", &[1_000_000, 1, 16, 64]);
    results.add("1000000 jobs, random: run", number(&reached, "seconds"), "s", None);
    let memory = coordinator.memory_mib("VmHWM");
    results.add("1000000 jobs, random: coordinator's memory", memory, "MiB", None);
}

fn drawn(coordinator: &Coordinator, method: &str, numbers: &[u64]) -> Value {
    finish(coordinator.load_command(&["run"], numbers).env("LOAD_METHOD", method))
}

/// The median of [`RUNS`] values.
fn median(run: impl FnMut() -> f64) -> f64 {
    let mut values: Vec<f64> = std::iter::repeat_with(run).take(RUNS).collect();
    values.sort_by(f64::total_cmp);
    values[RUNS / 2]
}

/// Jobs a second with PostgreSQL on the same machine, for information.
fn postgres(results: &mut Results) {
    let Some(server) = Postgres::start() else { return };
    let coordinator = Coordinator::start_on(false, Some(server.database()));
    let reached = coordinator.load(&["run"], &[JOBS, 1, 4, 16]);
    results.add("jobs, 64 slots, PostgreSQL", number(&reached, "jobs_per_second"), "1/s", None);
}

/// A thousand workers, idle and under load.
fn many_workers(results: &mut Results) {
    let coordinator = Coordinator::start(false);
    let mut load = coordinator.load_command(&["idle"], &[1_000, IDLE.as_secs() + 5]);
    let mut load = load.stdout(Stdio::piped()).spawn().expect("the generator is built");
    let mut line = String::new();
    let output = load.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("the generator says that it is connected");
    let before = coordinator.cpu_seconds();
    std::thread::sleep(IDLE);
    let share = (coordinator.cpu_seconds() - before) / IDLE.as_secs_f64();
    results.add("1,000 idle workers", share * 100.0, "% of a core", None);
    load.wait().expect("it is a child");
    for rate in OFFERED {
        let coordinator = Coordinator::start(false);
        let reached = coordinator.load(&["run"], &[rate * OFFERED_SECONDS, 1, 1_000, 1, rate]);
        loaded(results, &format!("1,000 workers, {rate} jobs/s offered"), &reached);
    }
    let reached = Coordinator::start(false).load(&["run"], &[100_000, 1, 1_000, 1]);
    loaded(results, "1,000 workers, all they take", &reached);
}

/// The rate reached, and the time from a job's end to the slot's next grant.
fn loaded(results: &mut Results, name: &str, reached: &Value) {
    results.add(&format!("{name}: jobs"), number(reached, "jobs_per_second"), "1/s", None);
    results.add(
        &format!("{name}: grant after an end, median"),
        number(reached, "grant_ms_median"),
        "ms",
        None,
    );
    results.add(&format!("{name}: grant after an end, p99"), number(reached, "grant_ms_p99"), "ms", None);
}

/// A sweep of `jobs` jobs: time, memory, queries, restart.
async fn size(results: &mut Results, jobs: u64) {
    let mut coordinator = Coordinator::start(false);
    let reached = coordinator.load(&["run"], &[jobs, 1, 16, 64]);
    let name = |what: &str| format!("{jobs} jobs: {what}");
    results.add(&name("accepted"), number(&reached, "accepted_ms"), "ms", None);
    results.add(&name("run"), number(&reached, "seconds"), "s", None);
    results.add(&name("coordinator's memory"), coordinator.memory_mib("VmHWM"), "MiB", None);
    let mut client = coordinator.client().await;
    let pages = questions(&mut client, jobs, &[]).await;
    results.add(&name("a page of jobs and the sweep, p99"), pages, "ms", None);
    let failed = questions(&mut client, jobs, &[v1::JobState::Failed.into()]).await;
    results.add(&name("a page of failed jobs, of which there are none, p99"), failed, "ms", None);
    let start = Instant::now();
    let mut rows = client
        .report_rows(v1::ReportRowsRequest { sweep_id: 1, hands_on: false })
        .await
        .expect("rows")
        .into_inner();
    let mut count = 0_u64;
    while rows.message().await.expect("the stream goes on").is_some() {
        count += 1;
    }
    assert!(count > 2 * jobs, "{count} rows");
    results.add(&name("report's rows"), start.elapsed().as_secs_f64(), "s", None);
    let (seconds, memory) = coordinator.report();
    results.add(&name("`sweep report`"), seconds, "s", None);
    results.add(&name("its memory"), memory, "MiB", None);
    results.add(&name("coordinator's memory after it"), coordinator.memory_mib("VmHWM"), "MiB", None);
    let start = Instant::now();
    coordinator.restart();
    results.add(&name("restart"), start.elapsed().as_secs_f64(), "s", None);
    let bytes = fs::metadata(coordinator.folder.path().join("sweep.db")).map_or(0, |file| file.len());
    results.add(&name("database"), bytes as f64 / f64::from(1 << 20), "MiB", None);
}

/// Asks for pages of jobs in `states` from all parts of a sweep, and for the sweep; returns the 99th percentile of the
/// times.
async fn questions(client: &mut SweepServiceClient<Channel>, jobs: u64, states: &[i32]) -> f64 {
    let mut slowest = Vec::new();
    for question in 0..QUESTIONS {
        let start = Instant::now();
        let page_token = (1 + question * (jobs / QUESTIONS)).to_string();
        let states = states.to_vec();
        let page = v1::ListJobsRequest { sweep_id: 1, page_token, states, ..v1::ListJobsRequest::default() };
        client.list_jobs(page).await.expect("a page");
        client.get_sweep(v1::GetSweepRequest { sweep_id: 1 }).await.expect("the sweep");
        slowest.push(start.elapsed());
    }
    slowest.sort_unstable();
    slowest[slowest.len() * 99 / 100].as_secs_f64() * 1e3
}

fn number(reached: &Value, key: &str) -> f64 {
    reached[key].as_f64().unwrap_or_else(|| panic!("{reached} has no {key}"))
}

/// A coordinator on a new store.
struct Coordinator {
    folder: tempfile::TempDir,
    store: String,
    child: Child,
    address: SocketAddr,
    /// Where it serves the page.
    page: SocketAddr,
    certificates: Option<PathBuf>,
}

impl Coordinator {
    fn start(tls: bool) -> Self {
        Self::start_on(tls, None)
    }

    /// With the given store; otherwise with its own SQLite file.
    fn start_on(tls: bool, store: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = tls.then(|| make_certificates(folder.path()));
        let store = store.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("sweep.db").display()));
        let (child, address, page) = serve(folder.path(), &store, None, certificates.as_deref());
        Self { folder, store, child, address, page, certificates }
    }

    /// Starts another one on the same store in its place; waits until it leads.
    fn restart(&mut self) {
        self.stop();
        let certificates = self.certificates.as_deref();
        let served = serve(self.folder.path(), &self.store, Some(self.address), certificates);
        (self.child, self.address, self.page) = served;
    }

    fn stop(&mut self) {
        tests::terminate(self.child.id());
        self.child.wait().expect("it is a child");
    }

    fn load_command(&self, mode: &[&str], numbers: &[u64]) -> Command {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let mut command = Command::new(program("load"));
        command.args(mode).arg(format!("{scheme}://localhost:{}", self.address.port()));
        command.args(numbers.iter().map(ToString::to_string));
        if let Some(certificates) = &self.certificates {
            command.env("LOAD_TLS_CA", certificates);
        }
        command
    }

    fn load(&self, mode: &[&str], numbers: &[u64]) -> Value {
        finish(&mut self.load_command(mode, numbers))
    }

    /// Writes the report of the first sweep as a user does: returns the time in seconds and the peak memory in MiB.
    fn report(&self) -> (f64, f64) {
        let start = Instant::now();
        let mut command = Command::new(program("sweep"));
        command.args(["report", "1", "--coordinator", &format!("http://{}", self.address)]);
        command.arg("--output").arg(self.folder.path().join("report"));
        let mut child = command.stdout(Stdio::null()).spawn().expect("the program is built");
        let mut memory: f64 = 0.0;
        while child.try_wait().expect("it is a child").is_none() {
            // It may just have ended.
            memory = memory.max(resident_mib(child.id(), "VmHWM").unwrap_or(0.0));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.wait().is_ok_and(|status| status.success()), "the report failed");
        (start.elapsed().as_secs_f64(), memory)
    }

    async fn client(&self) -> SweepServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a URL");
        SweepServiceClient::new(endpoint.connect().await.expect("it accepts connections"))
    }

    /// Processor time so far.
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: f64 = [11, 12].iter().filter_map(|field| fields.get(*field)?.parse::<f64>().ok()).sum();
        ticks / rustix::param::clock_ticks_per_second() as f64
    }

    fn memory_mib(&self, field: &str) -> f64 {
        resident_mib(self.child.id(), field).expect("the kernel counts memory")
    }
}

/// Runs the load generator; what it prints.
fn finish(load: &mut Command) -> Value {
    let output = load.stderr(Stdio::inherit()).output().expect("the generator is built");
    assert!(output.status.success(), "the load generator failed");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn resident_mib(process: u32, field: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(
    folder: &Path,
    store: &str,
    listen: Option<SocketAddr>,
    certificates: Option<&Path>,
) -> (Child, SocketAddr, SocketAddr) {
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut command = Command::new(program("sweep"));
    command.args(["serve", "--log-format", "json", "--listen", &listen.to_string(), "--store", store]);
    command.args(["--http", "127.0.0.1:0"]);
    if let Some(certificates) = certificates {
        command.arg("--tls-cert").arg(certificates).arg("--tls-key").arg(folder.join("key.pem"));
    }
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the coordinator is built");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let (mut address, mut page) = (None, None);
    while address.is_none() || page.is_none() {
        let line = lines.next().expect("it says when it is ready").expect("its log can be read");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        let said = || line["fields"]["address"].as_str().and_then(|text| text.parse().ok());
        match line["fields"]["message"].as_str() {
            Some("the coordinator is ready") => address = said(),
            Some("the page is served") => page = said(),
            _ => {}
        }
    }
    let (address, page) = (address.expect("an address"), page.expect("an address"));
    // Its log is read and dropped.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address, page)
}

/// A certificate for `localhost` that is its own authority, and its key.
fn make_certificates(folder: &Path) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let path = folder.join("certificate.pem");
    fs::write(&path, made.cert.pem()).expect("a file");
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    path
}

struct Results {
    file: File,
    rows: Vec<(String, f64, &'static str, Option<f64>)>,
}

impl Results {
    fn new() -> Self {
        let folder = program("sweep").ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
        let path = folder.join("bench.jsonl");
        let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { file, rows: Vec::new() }
    }

    fn add(&mut self, name: &str, value: f64, unit: &'static str, baseline: Option<f64>) {
        let ratio = baseline.map(|baseline| value / baseline);
        let line =
            json!({ "name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio });
        writeln!(self.file, "{line}").expect("the disk has room");
        eprintln!("{name}: {value:.1} {unit}");
        self.rows.push((name.to_owned(), value, unit, baseline));
    }

    fn print(&self) {
        println!("| what | value | unit | baseline | ratio |\n|---|---|---|---|---|");
        for (name, value, unit, baseline) in &self.rows {
            let text = |number: f64| {
                if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") }
            };
            let ratio = baseline.map_or(String::new(), |baseline| format!("{:.1}", value / baseline));
            let baseline = baseline.map_or(String::new(), text);
            println!("| {name} | {} | {unit} | {baseline} | {ratio} |", text(*value));
        }
    }
}
