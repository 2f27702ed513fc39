//! The page in a real Chromium, over a real coordinator with real workers and programs.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

mod charts;
mod chromium;
mod downloads;
mod drawn;
mod followed;
mod hands;
mod hostile;
mod kept;
mod large;
mod lasting;
mod loading;
mod looks;
mod measured;
mod named;
mod pages;
mod report;
mod restarts;
mod roles;
mod times;
mod workers;

use std::{fs, net::TcpListener, path::Path, process::Command};

use serde_json::Value;
use tests::{Cluster, ClusterOptions, Worker, program};

/// Text that would do harm if a page took it for more than text.
const HOSTILE: &str = "<img src=x onerror=\"window.harmed = 1\"><script>window.harmed = 2</script>\u{202e}";

/// What a job prints and reports: two metrics an epoch, and a line that is no text alone.
const SCRIPT: &str = "\
import os, sys, time
import sweep
p = sweep.parameters(rate=0.5, width=1, label='')
print(p.label, flush=True)
if p.label == 'fails':
    sys.exit(3)
wait = os.environ.get('WAIT_FOR')
for epoch in range(1, 5):
    while wait and epoch > 1 and not os.path.exists(wait):
        time.sleep(0.02)
    sweep.report(epoch, score=p.rate * epoch / p.width, loss=p.width / epoch)
";

/// An address that nothing listens at, for coordinators that follow each other there.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A coordinator that serves the page, and a worker that runs programs.
struct Site {
    cluster: Cluster,
    url: String,
    _worker: Worker,
}

impl Site {
    /// Serves the page, with more arguments of `sweep serve`.
    fn start(serve: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", serve)
    }

    /// The same at this address, where another coordinator may follow it.
    fn start_at(address: &str, serve: &[&str]) -> Self {
        let serve = ["--http", address].iter().chain(serve).map(ToString::to_string).collect();
        let worker = vec!["--allow-commands".to_owned()];
        let cluster = Cluster::start(ClusterOptions { serve, worker, ..ClusterOptions::default() });
        let url = format!("http://{}", cluster.coordinator.http());
        let worker = cluster.worker("a");
        Self { cluster, url, _worker: worker }
    }

    /// A site with a sweep of twelve jobs that has ended, and the sweep's number.
    fn with_sweep() -> (Self, u64) {
        let site = Self::start(&[]);
        let sweep = site.submit(None);
        site.wait(sweep);
        (site, sweep)
    }

    /// Waits for the end of a sweep.
    fn wait(&self, sweep: u64) {
        self.sweep(&["wait", &sweep.to_string()]);
    }

    /// Submits a sweep of twelve jobs, which go on beyond their first epoch once the file `goes` is there.
    fn submit(&self, goes: Option<&Path>) -> u64 {
        let wait = goes.map_or(String::new(), |goes| goes.display().to_string());
        let label = serde_json::to_string(HOSTILE).unwrap();
        self.submit_this(&format!(
            "name: twelve\nprogram: train.py\nmetric: {{name: score, goal: maximize}}\nparameters:\n  rate: {{values: [0.001, 0.01, 0.1]}}\n  \
             width: {{values: [1, 2]}}\n  label: {{values: [plain, {label}]}}\nexecution: {{env: {{WAIT_FOR: {wait:?}}}}}\n"
        ))
    }

    /// Puts a file next to the sweep files that are submitted.
    fn put(&self, name: &str, content: &str) {
        let folder = self.cluster.folder.path().join("own");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), content).unwrap();
    }

    /// Submits a sweep by this file, which runs the script.
    fn submit_this(&self, file: &str) -> u64 {
        self.put("train.py", SCRIPT);
        self.put("sweep.yaml", file);
        let folder = self.cluster.folder.path().join("own");
        self.sweep(&["submit", folder.join("sweep.yaml").to_str().unwrap(), "-o", "json"])["id"]
            .as_u64()
            .unwrap()
    }

    /// What a command answers as JSON.
    fn sweep(&self, arguments: &[&str]) -> Value {
        let output = Command::new(program("sweep"))
            .arg("--coordinator")
            .arg(format!("http://{}", self.cluster.coordinator.address))
            .args(arguments)
            .env("SWEEP_CONFIG", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}
