//! A real Prometheus on loopback that scrapes what it is told.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_yaml::Value;
use tests::{PATIENCE, get};

/// How often to ask again: it tells no one that it has scraped.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes these ports each second, with the labels that the operator gives.
    pub(crate) fn start(program: &Path, ports: &[SocketAddr; 2], rules: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("rules.yaml"), serde_yaml::to_string(rules).unwrap()).unwrap();
        let target =
            |(port, pod)| format!("{{targets: ['{port}'], labels: {{namespace: sweep, pod: {pod}}}}}");
        let targets: Vec<String> =
            ports.iter().zip(["sweep-coordinator-0", "sweep-worker-0"]).map(target).collect();
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yaml]\n\
             scrape_configs: [{{job_name: sweep, static_configs: [{}]}}]\n",
            targets.join(", ")
        );
        fs::write(path("prometheus.yaml"), configuration).unwrap();
        let mut child = Command::new(program)
            .args(["--config.file", &path("prometheus.yaml"), "--storage.tsdb.path", &path("data")])
            .args(["--web.listen-address", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines
            .find_map(|line| {
                let (_, rest) = line.split_once("msg=\"Listening on\" address=")?;
                rest.trim().parse().ok()
            })
            .expect("it says where it listens");
        // Its log is read to the end, or it would wait for someone to.
        thread::spawn(move || lines.for_each(drop));
        let prometheus = Self { child, address, _folder: folder };
        prometheus.wait_for("that it is ready", || get(address, "/-/ready").0 == 200);
        prometheus
    }

    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let given_up = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < given_up, "{what} did not come");
            thread::sleep(POLL);
        }
    }

    /// The answer to a query.
    pub(crate) fn ask(&self, query: &str) -> serde_json::Value {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (_, body) = get(self.address, &format!("/api/v1/query?query={encoded}"));
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Waits until a query has this value.
    pub(crate) fn until(&self, query: &str, value: &str) {
        self.wait_for(&format!("{query} = {value}"), || {
            self.ask(query)["data"]["result"][0]["value"][1] == value
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
