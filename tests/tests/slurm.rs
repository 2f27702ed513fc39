//! The files for Slurm, under a Slurm of their own: munged, slurmctld and slurmd on loopback, as this user, in a temporary folder.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proto::v1;
use tests::{Cluster, ClusterOptions, program, skipped, source, terminate, wait_for_end};

/// How long a daemon or a job of Slurm may take to do something.
const PATIENCE: Duration = Duration::from_secs(90);

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/slurm").join(file)
}

/// An address that no one listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A Slurm of one node; ends with this.
struct Slurm {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

/// Where a daemon is; they lie in folders that users' paths lack.
fn daemon(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

impl Slurm {
    /// None, with a printed reason, where it is not installed or does not run here.
    fn start() -> Option<Self> {
        let names = ["munged", "slurmctld", "slurmd", "sbatch"];
        let found: Vec<PathBuf> = names.into_iter().filter_map(daemon).collect();
        let [munged, slurmctld, slurmd, _] = found.as_slice() else {
            skipped("Slurm is not installed (apt-get install slurm-wlm)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Whoever asks munged for credentials must reach its socket.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut slurm = Self { folder, daemons: Vec::new() };
        slurm.write_settings();
        slurm.run(
            munged,
            &["--foreground", "--num-threads=2"],
            &["socket", "key-file", "log-file", "pid-file", "seed-file"],
        );
        slurm.until("munged", || slurm.path("munge/socket").exists())?;
        slurm.run(slurmctld, &["-D", "-f"], &[]);
        slurm.run(slurmd, &["-D", "-f"], &[]);
        let is_idle = || slurm.ask("sinfo", &["--noheader", "--format=%T"]).trim() == "idle";
        slurm.until("slurmd", is_idle)?;
        Some(slurm)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("slurm.conf")
    }

    fn write_settings(&self) {
        let folder = self.folder.path().display();
        for (name, mode) in [("munge", 0o711), ("state", 0o700), ("spool", 0o755)] {
            fs::create_dir(self.path(name)).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let key: Vec<u8> = (0..1024_u32).map(|number| (number * 31 % 251) as u8).collect();
        fs::write(self.path("munge/key-file"), key).unwrap();
        fs::set_permissions(self.path("munge/key-file"), fs::Permissions::from_mode(0o400)).unwrap();
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        let host = host.split('.').next().unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let user = user.trim();
        let (controller, node) = (free().port(), free().port());
        let settings = format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={controller}\nSlurmdPort={node}\n\
             SlurmUser={user}\nSlurmdUser={user}\nAuthType=auth/munge\nAuthInfo=socket={folder}/munge/socket\n\
             StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\nSlurmctldPidFile={folder}/ctld.pid\n\
             SlurmdPidFile={folder}/d.pid\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSwitchType=switch/none\nMpiDefault=none\n\
             JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\nReturnToService=2\n\
             SchedulerParameters=batch_sched_delay=1,sched_interval=2\nNodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2048 State=UNKNOWN\n\
             PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4\n"
        );
        fs::write(self.settings(), settings).unwrap();
    }

    /// Starts a daemon with these arguments, and with files in munge's folder for these flags.
    fn run(&mut self, program: &Path, arguments: &[&str], files: &[&str]) {
        let name = program.file_name().unwrap().to_str().unwrap();
        let log = File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(program);
        command.args(arguments);
        if files.is_empty() {
            command.arg(self.settings());
        }
        command
            .args(files.iter().map(|file| format!("--{file}={}", self.path("munge").join(file).display())));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
    }

    /// Waits for something; none, with a printed reason, if it does not come.
    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Option<()> {
        let give_up_at = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() >= give_up_at {
                let log = fs::read_to_string(self.path(&format!("{what}.log"))).unwrap_or_default();
                skipped(&format!("{what} does not run here: {log}"));
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(())
    }

    /// The output of a command of Slurm.
    fn ask(&self, command: &str, arguments: &[&str]) -> String {
        let output =
            Command::new(command).args(arguments).env("SLURM_CONF", self.settings()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Hands a file of this folder to Slurm with these arguments; the number of its job.
    fn sbatch(&self, arguments: &[&str], file: &[&str], environment: &[(&str, &str)]) -> String {
        let mut command = Command::new("sbatch");
        command.args(["--parsable", "--cpus-per-task=1", "--time=10"]).args(arguments);
        command.arg(deploy(file[0])).args(&file[1..]).env("SLURM_CONF", self.settings());
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Submits the workers of a coordinator; the number of their job.
    fn submit(&self, coordinator: SocketAddr, environment: &[(&str, &str)]) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let (coordinator, program) = (format!("http://{coordinator}"), program("sweep-worker"));
        let common = [
            ("SWEEP_COORDINATOR", coordinator.as_str()),
            ("SWEEP_WORKER", program.to_str().unwrap()),
            ("SWEEP_SPOOLS", &path("spools")),
            ("SWEEP_CACHE_DIR", &path("cache")),
            ("SWEEP_DEVICE", "cpu"),
            ("SWEEP_SLOTS", "1"),
        ];
        let output = format!("--output={}", path("workers-%a.log"));
        self.sbatch(&["--array=1-2", &output], &["workers.sbatch"], &[&common[..], environment].concat())
    }

    /// What Slurm knows of a job, once it has ended.
    fn ended(&self, job: &str) -> String {
        let shown = || self.ask("scontrol", &["show", "job", job]);
        let has_ended =
            || ["COMPLETED", "FAILED"].iter().any(|state| shown().contains(&format!("JobState={state}")));
        assert!(self.until("a job", has_ended).is_some(), "{}\n{}", shown(), self.logs());
        shown()
    }

    fn logs(&self) -> String {
        let log =
            |task: u32| fs::read_to_string(self.path(&format!("workers-{task}.log"))).unwrap_or_default();
        [log(1), log(2)].join("\n")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // The jobs first, which would outlive them.
        let user = rustix::process::getuid().as_raw().to_string();
        self.ask("scancel", &["--full", "--signal=KILL", "--user", &user]);
        for daemon in self.daemons.iter_mut().rev() {
            terminate(daemon.id());
            wait_for_end(daemon.id());
            let _ = daemon.wait();
        }
    }
}

#[tokio::test]
async fn a_preempted_worker_hands_its_job_over_and_another_goes_on_with_it() {
    let Some(slurm) = Slurm::start() else { return };
    let cluster = Cluster::start(ClusterOptions { lease: "5s", ..ClusterOptions::default() });
    let task =
        slurm.submit(cluster.coordinator.address, &[("SWEEP_EXIT_WHEN_IDLE", "15s"), ("SWEEP_GRACE", "2s")]);
    let source = v1::SweepSource {
        overrides: Vec::new(),
        ..source("{learning_rate: {value: 0.001}, epochs: {value: 80}}")
    };
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let sweep = cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id;
    let mut watch = cluster.watch(sweep).await;
    let job = watch.until_epoch(3).await;
    let worker = cluster.job(sweep, job).await.attempts[0].worker.clone();
    let number = worker.strip_prefix(&format!("slurm-{task}-")).expect("it is named by its task").to_owned();
    slurm.ask("scontrol", &["requeue", &format!("{task}_{number}")]);
    watch.until_end().await;
    let attempts = cluster.job(sweep, job).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}\n{}", slurm.logs()) };
    assert_eq!(
        (first.outcome.as_str(), second.outcome.as_str()),
        ("handed_back", "done"),
        "{}",
        slurm.logs()
    );
    assert!(second.resumed_epochs >= 3, "no epoch was trained again: {second:?}\n{}", slurm.logs());
    assert_ne!(second.worker, worker);
    // The other task ends by itself, and well.
    let other = slurm.ended(&format!("{task}_{}", if number == "1" { 2 } else { 1 }));
    assert!(other.contains("JobState=COMPLETED"), "{other}");
}

#[tokio::test]
async fn a_worker_whose_time_is_almost_over_hands_its_job_over() {
    let Some(slurm) = Slurm::start() else { return };
    let cluster = Cluster::start(ClusterOptions { lease: "5s", ..ClusterOptions::default() });
    let task = slurm.submit(cluster.coordinator.address, &[]);
    let sweep = cluster.submit("{epochs: {value: 30}}").await;
    let mut watch = cluster.watch(sweep).await;
    let job = watch.until_epoch(2).await;
    let worker = cluster.job(sweep, job).await.attempts[0].worker.clone();
    let number = worker.strip_prefix(&format!("slurm-{task}-")).unwrap().to_owned();
    // What `--signal=B:USR1@60` has Slurm do.
    slurm.ask("scancel", &["--batch", "--signal=USR1", &format!("{task}_{number}")]);
    watch.until_end().await;
    let attempts = cluster.job(sweep, job).await.attempts;
    let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["handed_back", "done"], "{}", slurm.logs());
    assert!(attempts[1].resumed_epochs >= 2, "{attempts:?}\n{}", slurm.logs());
    let ended = slurm.ask("scontrol", &["show", "job", &format!("{task}_{number}")]);
    assert!(ended.contains("JobState=COMPLETED"), "{ended}");
}

#[test]
fn a_coordinators_job_ends_with_its_sweep_and_fails_where_a_job_has_no_result() {
    let Some(slurm) = Slurm::start() else { return };
    let token = slurm.path("token");
    fs::write(&token, "secret-of-the-cluster\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let failing = "name: fails\ncommand: [\"false\"]\nmetric: {name: loss, goal: minimize}\nparameters: {x: {values: [1]}}\n\
                   execution: {attempts_max: 1}\n";
    for (name, text, state) in [
        ("good", source("{epochs: {value: 1}, seed: {min: 1, max: 3, count: 3}}").text.as_str(), "COMPLETED"),
        ("bad", failing, "FAILED"),
    ] {
        let (address, log) = (free(), slurm.path(&format!("{name}.log")));
        let file = slurm.path(&format!("{name}.yaml"));
        fs::write(&file, text).unwrap();
        let store = format!("sqlite:{}", slurm.path(&format!("{name}.db")).display());
        let common = [("SWEEP_TOKEN_FILE", token.to_str().unwrap()), ("SWEEP_STORE", &store)];
        let own = [("SWEEP", program("sweep")), ("SWEEP_LISTEN", address.to_string().into())];
        let own = own.each_ref().map(|(name, value)| (*name, value.to_str().unwrap()));
        let output = format!("--output={}", log.display());
        let script = ["coordinator.sbatch", file.to_str().unwrap()];
        let coordinator = slurm.sbatch(&[&output], &script, &[common, own].concat());
        let workers = slurm.submit(address, &[common[0], ("SWEEP_ALLOW_COMMANDS", "true")]);
        let ended = slurm.ended(&coordinator);
        let told = fs::read_to_string(&log).unwrap_or_default();
        assert!(ended.contains(&format!("JobState={state}")), "{ended}\n{told}\n{}", slurm.logs());
        let status = if state == "COMPLETED" { "ExitCode=0:0" } else { "ExitCode=1:0" };
        assert!(ended.contains(status), "{ended}\n{told}");
        // Both are told to leave, and leave well.
        for task in 1..=2 {
            let ended = slurm.ended(&format!("{workers}_{task}"));
            assert!(ended.contains("JobState=COMPLETED"), "{ended}\n{}", slurm.logs());
        }
    }
}

#[test]
fn the_files_ask_slurm_for_what_the_worker_understands() {
    let text = fs::read_to_string(deploy("workers.sbatch")).unwrap();
    for line in ["#SBATCH --signal=B:USR1@60", "#SBATCH --requeue", "#SBATCH --array="] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}");
    }
    for file in ["workers.sbatch", "coordinator.sbatch"] {
        let checked = Command::new("bash").arg("-n").arg(deploy(file)).status().unwrap();
        assert!(checked.success(), "{file}");
        assert!(
            fs::read_to_string(deploy(file)).unwrap().contains("\nexec "),
            "{file}: signals must reach the program"
        );
    }
}
