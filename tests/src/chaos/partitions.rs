//! Networks that are cut, one way or both, between a coordinator and workers, each in its own network namespace.

use std::{
    collections::BTreeMap,
    ops::Range,
    process::{Command, Stdio},
    time::Duration,
};

use super::{check, check_database, light, parameters, told};
use crate::{Cluster, ClusterOptions, Random, Worker, process::skipped, program};

/// Workers, each on its own network.
const LINKS: u32 = 10;
/// Jobs per cut, so that there is nearly always something running.
const JOBS_PER_CUT: u32 = 25;
/// How long a network works between two cuts, in milliseconds.
const WHOLE_MS: Range<u64> = 1_000..4_000;

/// Results of cut networks.
#[derive(Debug)]
pub struct Partitions {
    /// How often one was cut.
    pub cuts: u32,
    /// Attempts that were lost meanwhile.
    pub lost: u64,
    /// Jobs of the sweep; each was done once.
    pub jobs: u64,
    /// Epochs reported to a watcher; all were there at the end.
    pub told: usize,
}

/// Which packets are lost.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Both,
    ToWorker,
    ToCoordinator,
}

/// Namespaces, one for the coordinator and one for each worker; dropping this removes them.
#[derive(Debug)]
struct Networks {
    name: String,
}

impl Networks {
    /// Creates them, if the system allows it.
    fn new() -> Option<Self> {
        let networks = Self { name: format!("sweep{}", std::process::id()) };
        let coordinator = networks.coordinator();
        let made = ip(&["netns", "add", &coordinator]) && (0..LINKS).all(|link| networks.link(link));
        (made && ip(&["-n", &coordinator, "link", "set", "lo", "up"])).then_some(networks)
    }

    fn coordinator(&self) -> String {
        format!("{}c", self.name)
    }

    fn worker(&self, link: u32) -> String {
        format!("{}w{link}", self.name)
    }

    /// A worker's namespace and its cable: 10.213.LINK.1 at the coordinator, 10.213.LINK.2 at the worker.
    fn link(&self, link: u32) -> bool {
        let (here, there) = (self.coordinator(), self.worker(link));
        let (near, far) = (format!("c{link}"), format!("w{link}"));
        let add_cable =
            ["link", "add", &near, "netns", &here, "type", "veth", "peer", "name", &far, "netns", &there];
        ip(&["netns", "add", &there])
            && ip(&add_cable)
            && ip(&["-n", &here, "addr", "add", &format!("10.213.{link}.1/30"), "dev", &near])
            && ip(&["-n", &there, "addr", "add", &format!("10.213.{link}.2/30"), "dev", &far])
            && ip(&["-n", &here, "link", "set", &near, "up"])
            && ip(&["-n", &there, "link", "set", &far, "up"])
    }

    /// Cuts or repairs a cable.
    fn cut(&self, link: u32, cut: Cut, is_cut: bool) {
        let (here, there) = (self.coordinator(), self.worker(link));
        let way = if is_cut { "add" } else { "del" };
        let blackhole = |namespace: &str, host: u32| {
            ip(&["-n", namespace, "route", way, "blackhole", &format!("10.213.{link}.{host}/32")])
        };
        let done = match cut {
            Cut::Both => {
                ip(&["-n", &here, "link", "set", &format!("c{link}"), if is_cut { "down" } else { "up" }])
            }
            Cut::ToWorker => blackhole(&here, 2),
            Cut::ToCoordinator => blackhole(&there, 1),
        };
        assert!(done, "link {link}: {cut:?}");
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for link in 0..LINKS {
            ip(&["netns", "del", &self.worker(link)]);
        }
        ip(&["netns", "del", &self.coordinator()]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Cuts networks `cuts` times for a number of seconds in `seconds`, several at a time, with a lease of `lease`; returns
/// a summary. None if namespaces cannot be created, which is printed.
///
/// # Panics
/// Something was lost or counted twice.
pub fn partitions(cuts: u32, seconds: Range<u64>, lease: &str, seed: u64) -> Option<String> {
    let Some(networks) = Networks::new() else {
        skipped("network namespaces cannot be made here (root is needed): partitions are not tested");
        return None;
    };
    // The rest must happen inside the coordinator's namespace, which a process enters as a whole.
    let inside = Command::new("ip")
        .args(["netns", "exec", &networks.coordinator()])
        .arg(program("chaos"))
        .args(["inside-partitions", &networks.name, lease])
        .args([u64::from(cuts), seconds.start, seconds.end, seed].map(|number| number.to_string()))
        .stderr(Stdio::inherit())
        .output()
        .expect("ip was there before");
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stdout));
    Some(String::from_utf8_lossy(&inside.stdout).trim().to_owned())
}

impl Partitions {
    /// What [`partitions`] does, inside the coordinator's namespace.
    ///
    /// # Panics
    /// Something was lost or counted twice.
    pub async fn inside(
        name: String,
        lease: &'static str,
        cuts: u32,
        seconds: Range<u64>,
        seed: u64,
    ) -> Self {
        // The process that made the networks removes them.
        let networks = std::mem::ManuallyDrop::new(Networks { name });
        let jobs = u64::from(cuts * JOBS_PER_CUT);
        let mut cluster = Cluster::start(ClusterOptions {
            lease,
            listen: "0.0.0.0:0".parse().expect("an address"),
            serve: vec!["--insecure".to_owned()],
            ..light(200)
        });
        let start = |link: u32| {
            let through = ["ip", "netns", "exec", &networks.worker(link)].map(str::to_owned);
            cluster.worker_at(&format!("worker{link}"), &format!("10.213.{link}.1"), &through)
        };
        let workers: Vec<Worker> = (0..LINKS).map(start).collect();
        let sweep = cluster.submit(&parameters(jobs)).await;
        let mut watch = cluster.watch(sweep).await;
        let mut epochs = BTreeMap::new();
        let faults = cut_all(&networks, cuts, &seconds, seed);
        let listen = watch.to_the_end(|event| {
            told(event, &mut epochs);
        });
        tokio::join!(faults, listen);
        check(&cluster.results(sweep).await, jobs, &epochs);
        cluster.coordinator.kill();
        drop(workers);
        let lost = check_database(&cluster.folder.path().join("sweep.db")).lost;
        Self { cuts, lost, jobs, told: epochs.len() }
    }
}

/// Cuts each link in turn, all links at the same time.
async fn cut_all(networks: &Networks, cuts: u32, seconds: &Range<u64>, seed: u64) {
    let mut links = tokio::task::JoinSet::new();
    for link in 0..LINKS {
        let networks = std::mem::ManuallyDrop::new(Networks { name: networks.name.clone() });
        let mut random = Random(seed.wrapping_mul(u64::from(LINKS)).wrapping_add(link.into()));
        let milliseconds = seconds.start * 1_000..seconds.end * 1_000;
        let own = cuts / LINKS + u32::from(link < cuts % LINKS);
        links.spawn(async move {
            for _ in 0..own {
                tokio::time::sleep(Duration::from_millis(random.within(WHOLE_MS))).await;
                let cut = [Cut::Both, Cut::ToWorker, Cut::ToCoordinator][random.below(3) as usize];
                networks.cut(link, cut, true);
                tokio::time::sleep(Duration::from_millis(random.within(milliseconds.clone()))).await;
                networks.cut(link, cut, false);
            }
        });
    }
    while let Some(ended) = links.join_next().await {
        ended.expect("a cut can be made");
    }
}
