//! Processes under test: found, read from, ended.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// A program of the workspace, as `cargo build --release` leaves it.
///
/// # Panics
/// It has not been built.
pub fn program(name: &str) -> PathBuf {
    // Programs lie in target/release, tests one folder deeper.
    let own = env::current_exe().expect("a program knows its own path");
    let folder = own.parent().expect("a program lies in a folder");
    let release = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = release.join(name);
    assert!(
        path.is_file(),
        "{} is missing; run `cargo build --release` first (`make test` does)",
        path.display()
    );
    path
}

/// Where `make test` puts a tool that only tests need; it may be missing.
pub fn tool(name: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("sweep/tools").join(name))
}

/// Writes a file that no one else reads, as those with tokens are, and returns its path.
///
/// # Panics
/// It cannot be written.
pub fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    let written = fs::write(&path, content)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
    written.unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
    path.display().to_string()
}

/// Where this is set to something, a test that cannot be made fails: on machines that are to have all that tests need.
const MUST_RUN: &str = "SWEEP_TESTS_MUST_RUN";

/// Prints on standard error that something cannot be tested here. The output of macros in a passing test is captured.
///
/// # Panics
/// All tests must run.
pub fn skipped(reason: &str) {
    let must_run = env::var_os(MUST_RUN).is_some_and(|value| !value.is_empty() && value != "0");
    assert!(!must_run, "{MUST_RUN} is set, and a test cannot be made: {reason}");
    // There is no one else to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// How long a log may be silent after the end of its process before it counts as whole: something that it started may hold it open.
const LOG_CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// A daemon whose log lines go to a file and, one by one, to whoever waits for them.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`; its standard error is its log.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = child.stderr.take().expect("standard error is piped");
        let (sender, lines) = channel();
        let file =
            File::options().create(true).append(true).open(&log).expect("a log in the test's own folder");
        std::thread::spawn(move || keep(BufReader::new(stderr), file, &sender));
        Self { child, lines, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line with this text.
    ///
    /// # Panics
    /// It ends or is silent before.
    pub fn until_it_says(&self, text: &str) {
        self.wait_for_line(|line| line.contains(text).then_some(()));
    }

    /// Sends SIGTERM and waits for the end; returns its exit code.
    ///
    /// # Panics
    /// It does not end.
    pub fn leave(&mut self) -> Option<i32> {
        terminate(self.pid());
        wait_for_end(self.pid());
        self.child.wait().expect("it is a child").code()
    }

    /// Sends SIGKILL and waits for the end of it and of all that it had started.
    ///
    /// # Panics
    /// It has ended before.
    pub fn kill(&mut self) {
        let started = descendants(self.pid());
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child");
        started.into_iter().for_each(wait_for_end);
    }

    /// Everything that it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Everything that it wrote, once it has ended: its last lines may still be on their way to the file then.
    pub(crate) fn whole_log(&self) -> String {
        // The thread that keeps the lines lets go when it has read them all.
        while self.lines.recv_timeout(LOG_CLOSED_WITHIN).is_ok() {}
        self.log()
    }

    /// The next log line for which `pick` returns something.
    ///
    /// # Panics
    /// The process ends or is silent before.
    pub fn wait_for_line<T>(&self, pick: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(found) = pick(&line) {
                        return found;
                    }
                }
                Err(error) => panic!("{error} while waiting for a log line; the log:\n{}", self.log()),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes lines to the file and passes them on, to the end.
fn keep(lines: BufReader<std::process::ChildStderr>, mut file: File, sender: &Sender<String>) {
    for line in lines.lines().map_while(Result::ok) {
        // A full disk, or a test that no longer listens, only loses the line.
        let _ = writeln!(file, "{line}");
        let _ = sender.send(line);
    }
}

pub fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

pub fn terminate(pid: u32) {
    send(pid, Signal::TERM);
}

/// SIGSTOP.
pub fn freeze(pid: u32) {
    send(pid, Signal::STOP);
}

/// SIGCONT.
pub fn thaw(pid: u32) {
    send(pid, Signal::CONT);
}

/// Any signal.
///
/// # Panics
/// There is no such process.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a positive id");
    kill_process(pid, signal).expect("the process is there");
}

/// Child processes of `pid`, oldest first.
///
/// # Panics
/// There is no such process.
pub fn children(pid: u32) -> Vec<u32> {
    children_of_living(pid).expect("the process is there")
}

/// The same; nothing where there is no such process.
fn children_of_living(pid: u32) -> Option<Vec<u32>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let mut children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.sort_unstable();
    Some(children)
}

/// All processes that descend from `pid`, parents before their children.
///
/// # Panics
/// There is no such process.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut looked_at = 0;
    while let Some(&parent) = found.get(looked_at) {
        looked_at += 1;
        found.extend(children_of_living(parent).unwrap_or_default());
    }
    found
}

/// Blocks until the process, which need not be a child of this one, has ended.
pub fn wait_for_end(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // A process that cannot be opened has ended already.
    let Ok(descriptor) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    let mut polled = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ready = rustix::event::poll(&mut polled, Some(&patience)).expect("a process can be waited for");
    assert!(ready > 0, "process {pid:?} did not end");
}
