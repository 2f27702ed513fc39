//! A sweep with jobs of all kinds, and what the coordinator has of it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use proto::v1;
use serde_json::Value;
use terms::{JobState, ParameterMap};
use tests::{Cluster, ClusterOptions, PATIENCE, Worker, program};

/// How often a job is looked at that is to get somewhere.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What each job does, in the order of their numbers, two jobs each.
pub(crate) const CASES: [&str; 7] = ["good", "special", "missing", "diverges", "fails", "blocks", "never"];
/// The name of a parameter and a text that formats, shells and spreadsheets could take for something else.
pub(crate) const HOSTILE_NAME: &str = "@opt/設定%s<b>";
pub(crate) const HOSTILE_TEXT: &str = "-1,\"a\"\u{202e}</script>\n語";

/// A coordinator with one sweep, of which the jobs up to the second that blocks began.
pub(crate) struct Swept {
    pub(crate) cluster: Cluster,
    pub(crate) id: u64,
    _worker: Worker,
}

/// A job with the epochs that count.
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) state: JobState,
    pub(crate) attempts: u32,
    pub(crate) parameters: ParameterMap,
    pub(crate) metrics: Metrics,
    pub(crate) epochs: Vec<(u32, Metrics)>,
    pub(crate) started_unix_ms: u64,
    pub(crate) ended_unix_ms: u64,
}

pub(crate) type Metrics = BTreeMap<String, f64>;

impl Swept {
    /// Trains until the first job that blocks waits in its third epoch.
    pub(crate) async fn start() -> Self {
        let options = ClusterOptions { worker: vec!["--allow-commands".into()], ..ClusterOptions::default() };
        let cluster = Cluster::start(options);
        let folder = cluster.folder.path().join("own");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("train.py"), include_str!("train.py")).unwrap();
        let goes = folder.join("goes");
        let (name, text) = (serde_json::to_string(HOSTILE_NAME), serde_json::to_string(HOSTILE_TEXT));
        let file = format!(
            "name: \"é & <i>\"\nprogram: train.py\nmetric: {{name: score, goal: maximize, use: best}}\nparameters:\n  case: {{values: \
             {CASES:?}}}\n  rate: {{values: [0.30000000000000004, 1.0e-5]}}\n  {}: {{value: {}}}\n  flag: {{value: true}}\n  \
             width: {{value: 64}}\n  mixed: {{value: null}}\nexecution: {{max_parallel: 1, attempts_max: 1, env: {{GOES: {goes:?}}}}}\n",
            name.unwrap(),
            text.unwrap()
        );
        fs::write(folder.join("sweep.yaml"), file).unwrap();
        let worker = cluster.worker("a");
        let mut swept = Self { cluster, id: 0, _worker: worker };
        let submitted = swept.sweep(&["submit", folder.join("sweep.yaml").to_str().unwrap(), "-o", "json"]);
        assert!(submitted.status.success(), "{submitted:?}");
        swept.id = serde_json::from_slice::<Value>(&submitted.stdout).unwrap()["id"].as_u64().unwrap();
        swept.until_it_blocks().await;
        swept
    }

    /// The first of the jobs that block.
    const BLOCKS: u64 = 11;

    async fn until_it_blocks(&self) {
        let patience = Instant::now() + PATIENCE;
        while self.cluster.job(self.id, Self::BLOCKS).await.epochs.len() < 2 {
            assert!(Instant::now() < patience, "gave up waiting for job {}", Self::BLOCKS);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends the sweep: the job that blocks is cancelled, and those after it never begin.
    pub(crate) async fn end(&self) {
        assert!(self.sweep(&["cancel", &self.id.to_string(), "--yes"]).status.success());
        assert!(!self.sweep(&["wait", &self.id.to_string()]).status.success(), "it was cancelled");
    }

    /// Runs `sweep`.
    pub(crate) fn sweep(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("sweep"));
        command
            .arg("--coordinator")
            .arg(format!("http://{}", self.cluster.coordinator.address))
            .args(arguments)
            .env("SWEEP_CONFIG", "/dev/null")
            .current_dir(self.cluster.folder.path());
        command
    }

    /// Exports the sweep, and returns what the command says on standard error.
    pub(crate) fn export(&self, to: &str, output: &Path, more: &[&str]) -> String {
        let id = self.id.to_string();
        let arguments = ["export", id.as_str(), "--to", to, "--output", output.to_str().unwrap()];
        let done = self.sweep(&[&arguments[..], more].concat());
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    }

    /// All jobs as the coordinator has them.
    pub(crate) async fn jobs(&self) -> Vec<Job> {
        let jobs = self.cluster.results(self.id).await.into_iter().map(job).collect::<Vec<_>>();
        assert_eq!(jobs.len(), 2 * CASES.len());
        jobs
    }
}

fn metrics(values: &[v1::MetricValue]) -> Metrics {
    values.iter().map(|metric| (metric.name.to_string(), metric.value)).collect()
}

fn job((job, epochs): (v1::Job, Vec<v1::EpochRow>)) -> Job {
    let epochs = epochs.into_iter().map(|epoch| epoch.record.unwrap());
    let point = job.point.clone().unwrap_or_default();
    Job {
        number: point.job,
        state: JobState::try_from(job.state()).unwrap(),
        attempts: job.attempts,
        parameters: proto::parameters_from_wire(point.parameters),
        metrics: metrics(&job.metrics),
        epochs: epochs.map(|record| (record.epoch, metrics(&record.metrics))).collect(),
        started_unix_ms: job.started_unix_ms,
        ended_unix_ms: job.ended_unix_ms,
    }
}
