//! A trainer for users' programs, and what it says.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};

/// Longest wait for anything: machines that build at the same time are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// `sweep-worker program`, with a folder of its own.
pub(crate) struct Trainer {
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<Value>,
    log: Option<JoinHandle<String>>,
}

impl Trainer {
    /// With a place for checkpoints, where one is named.
    pub(crate) fn start(checkpoints: Option<&Path>) -> Self {
        Self::start_with(checkpoints, &[])
    }

    /// With variables in its environment.
    pub(crate) fn start_with(checkpoints: Option<&Path>, variables: &[(&str, &str)]) -> Self {
        Self::start_heard(checkpoints, variables, None)
    }

    /// With someone at the other end who reads nothing but that it is ready before the sender is dropped.
    pub(crate) fn start_unheard(until: Receiver<()>) -> Self {
        Self::start_heard(None, &[], Some(until))
    }

    fn start_heard(
        checkpoints: Option<&Path>,
        variables: &[(&str, &str)],
        mut unheard: Option<Receiver<()>>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sweep-worker"));
        command.arg("program").env_remove("SWEEP_TRAINER_CHECKPOINTS").envs(variables.iter().copied());
        command.args(checkpoints.iter().flat_map(|place| [Path::new("--checkpoints"), place]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, said) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.unwrap();
                let message = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                if sender.send(message).is_err() {
                    return;
                }
                // It fails when the sender is dropped.
                let _ = unheard.take().map(|until| until.recv());
            }
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = thread::spawn(move || {
            let lines = stderr.lines().map(|line| line.unwrap() + "\n");
            lines.inspect(|line| eprint!("{line}")).collect()
        });
        let input = child.stdin.take();
        let mut trainer = Self { child, input, said, log: Some(log) };
        let ready = trainer.next();
        assert_eq!(
            (&ready["type"], &ready["protocol"]),
            (&json!("ready"), &json!(trainer_protocol::TRAINER_PROTOCOL_VERSION))
        );
        trainer
    }

    pub(crate) fn next(&mut self) -> Value {
        self.said.recv_timeout(PATIENCE).expect("the trainer says something")
    }

    /// Messages up to one of this type.
    pub(crate) fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let message = self.next();
            let is_last = message["type"] == kind;
            heard.push(message);
            if is_last {
                return heard;
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{request}").unwrap();
    }

    pub(crate) fn train(&mut self, job: Value) {
        self.train_all(&json!([job]));
    }

    pub(crate) fn train_all(&mut self, jobs: &Value) {
        let dataset = json!({"path": "", "image_size": 1, "val_fraction": 0.5, "split_seed": 0});
        self.ask(&json!({"type": "train", "jobs": jobs, "dataset": dataset}));
    }

    pub(crate) fn stop(&mut self) {
        self.ask(&json!({"type": "stop", "id": ID}));
    }

    /// Runs a job to its end.
    pub(crate) fn run(&mut self, job: Value) -> Told {
        self.train(job);
        Told(self.until("ended"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as a machine does that fails.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes its input; its log.
    pub(crate) fn end(mut self) -> String {
        self.input = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name of all jobs.
pub(crate) const ID: &str = "3/14#1";

/// What was said of a job.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) Vec<Value>);

impl Told {
    pub(crate) fn outcome(&self) -> &str {
        self.0.last().unwrap()["outcome"].as_str().unwrap()
    }

    pub(crate) fn reason(&self) -> &str {
        self.0.last().unwrap()["reason"].as_str().unwrap()
    }

    /// The values of a metric, in the order of the epochs, which are numbered from 1.
    pub(crate) fn values(&self, name: &str) -> Vec<Value> {
        let epochs: Vec<&Value> = self.0.iter().filter(|message| message["type"] == "epoch").collect();
        for (at, epoch) in epochs.iter().enumerate() {
            assert_eq!(epoch["epoch"], json!(at + 1), "{epoch}");
            assert!(epoch["epoch_seconds"].as_f64().unwrap() >= 0.0, "{epoch}");
        }
        epochs.iter().map(|epoch| epoch["metrics"].get(name).cloned().unwrap_or(Value::Null)).collect()
    }

    pub(crate) fn resumed_epochs(&self) -> u64 {
        self.0.iter().find(|message| message["type"] == "started").unwrap()["resumed_epochs"]
            .as_u64()
            .unwrap()
    }
}

/// A Python script and the job that runs it.
pub(crate) struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train.py"), text).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A job with these parameters and fields of its program.
    pub(crate) fn job(&self, parameters: Value, program: Value) -> Value {
        let mut whole = json!({"program": "train.py", "folder": self.path()});
        for (name, value) in program.as_object().unwrap() {
            whole[name] = value.clone();
        }
        json!({"id": ID, "model": "program", "parameters": parameters, "program": whole})
    }
}

/// Waits until something is so, which nothing tells.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process with this number runs.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
