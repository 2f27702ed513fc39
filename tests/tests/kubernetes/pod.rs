//! A pod without a kubelet: the program of its container on a host of its own, with the arguments and variables that the manifests
//! give it, the volumes as folders, and the probes asked as they stand there.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_yaml::Value;
use tests::{Daemon, PATIENCE};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    commands::{expanded, variables},
    network::{Host, Network},
    rules::sequence,
    secrets::Secrets,
};

/// How long after one question the next one is asked.
const ASKED_AGAIN: Duration = Duration::from_millis(25);
/// How long a probe may wait for its answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// What stands in for the things that a cluster has and this machine has not.
pub(super) struct Instead<'a> {
    /// The value of the Secret `sweep-postgres`.
    pub(super) database: &'a str,
    pub(super) secrets: &'a Secrets,
    /// The folder in place of `s3://BUCKET`.
    pub(super) bucket: &'a Path,
    /// More arguments of coordinators.
    pub(super) serve: &'a [String],
    /// The same of workers: what the image has, and this machine has elsewhere.
    pub(super) more: &'a [String],
}

/// A pod that runs.
pub(super) struct Pod<'a> {
    pub(super) name: String,
    container: &'a Value,
    pub(super) host: Host,
    folder: PathBuf,
    pub(super) program: Daemon,
}

impl<'a> Pod<'a> {
    /// Starts the container of a workload's pod, whose volumes are empty but for its Secrets.
    pub(super) fn start(
        name: &str,
        host: Host,
        (documents, workload): (&'a [Value], &'a Value),
        network: &Network,
        instead: &Instead<'_>,
    ) -> Self {
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        let folder = instead.bucket.with_file_name(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        for mount in sequence(&container["volumeMounts"]) {
            let place = within(&folder, mount["mountPath"].as_str().unwrap());
            fs::create_dir_all(&place).unwrap();
            let volumes = sequence(&workload["spec"]["template"]["spec"]["volumes"]);
            if let Some(volume) = volumes.iter().find(|volume| volume["name"] == mount["name"]) {
                instead.secrets.mount(volume, &place);
            }
        }
        let program = program(name, container, documents, &host, network, instead, &folder);
        Self { name: name.to_owned(), container, host, folder, program }
    }

    /// Starts the container again in the same pod, which keeps its host and its volumes.
    pub(super) fn restart(&mut self, documents: &[Value], network: &Network, instead: &Instead<'_>) {
        let (container, folder) = (self.container, &self.folder);
        self.program = program(&self.name, container, documents, &self.host, network, instead, folder);
    }

    /// Whether one of its volumes has this file, by its path in the container.
    pub(super) fn holds(&self, path: &str) -> bool {
        within(&self.folder, path).is_file()
    }

    /// Asks the readiness probe, as the kubelet does, until it is content; where there is none, the kubelet is content at once.
    pub(super) async fn until_ready(&self) {
        let probe = &self.container["readinessProbe"];
        if !probe.is_null() {
            until(&format!("{} is ready", self.name), async || self.answers(probe).await.then_some(())).await;
        }
    }

    async fn answers(&self, probe: &Value) -> bool {
        if let Some(port) = probe["grpc"]["port"].as_u64() {
            let service = probe["grpc"]["service"].as_str().unwrap_or_default();
            let address = self.at(u16::try_from(port).unwrap());
            return serves(Endpoint::from_shared(format!("http://{address}")).unwrap(), service).await;
        }
        let asked = &probe["httpGet"];
        assert!(!asked.is_null() && asked["scheme"] != "HTTPS", "{probe:?} is not understood here");
        self.gets(self.port(&asked["port"]), asked["path"].as_str().unwrap_or("/")).is_some_and(|status| {
            // As the kubelet has it.
            (200..400).contains(&status)
        })
    }

    /// The status of a page.
    fn gets(&self, port: u16, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect_timeout(&self.at(port), PROBE_PATIENCE).ok()?;
        stream.set_read_timeout(Some(PROBE_PATIENCE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}:{port}\r\nConnection: close\r\n\r\n", self.host.address);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }

    /// A port by its number or its name.
    fn port(&self, port: &Value) -> u16 {
        let number = |port: &Value| port.as_u64().and_then(|port| u16::try_from(port).ok());
        let named = || sequence(&self.container["ports"]).iter().find(|one| one["name"] == *port);
        number(port).or_else(|| number(&named()?["containerPort"])).unwrap()
    }

    pub(super) fn at(&self, port: u16) -> SocketAddr {
        (self.host.address, port).into()
    }
}

/// Whether health there says that a service serves.
pub(super) async fn serves(endpoint: Endpoint, service: &str) -> bool {
    let asked = async {
        let channel = endpoint.connect().await.ok()?;
        let request = HealthCheckRequest { service: service.to_owned() };
        Some(HealthClient::new(channel).check(request).await.ok()?.into_inner().status())
    };
    let answer = tokio::time::timeout(PROBE_PATIENCE, asked).await;
    answer.ok().flatten() == Some(ServingStatus::Serving)
}

/// Asks again and again until there is an answer. A probe has no event to wait for.
pub(super) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let answered = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(ASKED_AGAIN).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("gave up waiting until {what}"))
}

/// A path of a container below a folder of this machine.
fn within(folder: &Path, path: &str) -> PathBuf {
    folder.join(path.trim_start_matches('/'))
}

/// The program with what the manifest gives it; only paths, addresses and Secrets are others.
fn program(
    name: &str,
    container: &Value,
    documents: &[Value],
    host: &Host,
    network: &Network,
    instead: &Instead<'_>,
    folder: &Path,
) -> Daemon {
    let own = |value: &str| {
        let bucket = value.replace("s3://BUCKET", &instead.bucket.display().to_string());
        match bucket.as_str() {
            path if path == value && path.starts_with('/') => within(folder, path).display().to_string(),
            _ => bucket,
        }
    };
    let variables = variables(container, documents, name, instead.database);
    let argument = |argument: &Value| {
        let argument = expanded(argument.as_str().unwrap(), &variables);
        match argument.split_once('=') {
            Some((flag, value)) => format!("{flag}={}", own(value)),
            None => argument,
        }
    };
    let arguments: Vec<String> = sequence(&container["args"]).iter().map(argument).collect();
    let variables: BTreeMap<&String, String> =
        variables.iter().map(|(name, value)| (name, own(value))).collect();
    let file = if container["name"] == "worker" { "sweep-worker" } else { "sweep" };
    let mut command = network.on(host);
    if let Some(processors) = processors(&container["resources"]["limits"]["cpu"]) {
        command.args(["taskset", "-c", &processors]);
    }
    command
        .arg(tests::program(file))
        .args(arguments)
        .args(if container["name"] == "worker" { instead.more } else { instead.serve })
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(variables);
    Daemon::start(command, folder.with_extension("log"))
}

/// The first processors of this machine, as many as the limit of a container allows.
fn processors(limit: &Value) -> Option<String> {
    let limit: usize = limit.as_str()?.parse().ok()?;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let range = |range: &str| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        from.parse::<usize>().unwrap()..=to.parse().unwrap()
    };
    let first = allowed.split(',').flat_map(range).take(limit);
    Some(first.map(|processor| processor.to_string()).collect::<Vec<_>>().join(","))
}
