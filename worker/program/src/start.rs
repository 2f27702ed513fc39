//! Starts a job's program, and the threads that wait for it: for its end, its outputs, its CSV file.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::{
    environment::Environment,
    events::{JobEvent, Source},
    log::{Log, Output, read_lines},
    metrics::{pattern::Pattern, table::Table},
    processes::{Role, detach},
};

/// Time between two looks at a CSV file.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Complaints about what is printed or in a file; then no more, as all are alike.
const COMPLAINTS_MAX: usize = 5;

/// Starts the program; its number is that of its group and session, too. What happens to it is said to `source`.
///
/// # Errors
/// It cannot be started.
pub(crate) fn start(
    command: &[OsString],
    folder: &Path,
    variables: &Environment,
    source: &Source,
    log: &Log,
    pattern: Option<Pattern>,
) -> io::Result<Pid> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    detach(&mut command, Role::Program);
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let pattern = pattern.map(std::sync::Arc::new);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
    };
    let outputs: [(Output, Option<Box<dyn io::Read + Send>>); 2] = [
        (Output::Standard, stdout.map(|output| Box::new(output) as _)),
        (Output::Error, stderr.map(|output| Box::new(output) as _)),
    ];
    for (which, output) in outputs.into_iter().filter_map(|(which, output)| Some((which, output?))) {
        let (source, log, pattern) = (source.clone(), log.clone(), pattern.clone());
        spawn(
            "output",
            Box::new(move || {
                let mut complaints = Complaints::default();
                read_lines(which, output, &log, &mut |line, at| match pattern
                    .as_ref()
                    .and_then(|one| one.read(line))
                {
                    None => {}
                    Some(Ok(report)) => {
                        source.say(JobEvent::Reported { report, at, answer: None });
                    }
                    Some(Err(error)) => complaints.say(&error),
                });
            }),
        )?;
    }
    let source = source.clone();
    spawn("waiter", Box::new(move || wait_for(pid, &source)))?;
    Ok(pid)
}

/// Waits for a program's end, which it leaves to be waited for, so that its number stays its own; takes in the ends of
/// processes that lost their parents.
fn wait_for(pid: Pid, source: &Source) {
    loop {
        match ended_child() {
            Ok(ended) if ended == pid => break,
            Ok(orphan) => {
                let _ = waitid(WaitId::Pid(orphan), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Without children there is nothing to wait for.
            Err(_) => break,
        }
    }
    source.say(JobEvent::Exited);
}

/// Waits until any child has ended, and leaves it to be waited for. rustix does not say which one it is.
fn ended_child() -> io::Result<Pid> {
    let mut ended = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the pointer is to memory of the right size, which the call fills where it succeeds; zeros are a value, too.
    #[allow(unsafe_code)]
    let pid = unsafe {
        if libc::waitid(libc::P_ALL, 0, ended.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) != 0 {
            return Err(io::Error::last_os_error());
        }
        ended.assume_init().si_pid()
    };
    Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Starts to look at a CSV file until the sender is dropped, and once more after that.
///
/// # Errors
/// No thread can be started.
pub(crate) fn watch(path: PathBuf, source: Source) -> io::Result<Sender<()>> {
    let (sender, dropped) = channel::<()>();
    let mut table = Table::new(path);
    thread::Builder::new().name("table".to_owned()).spawn(move || {
        let mut complaints = Complaints::default();
        let mut looked_at = Instant::now();
        loop {
            let is_last = dropped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Disconnected);
            let now = Instant::now();
            match table.look(is_last) {
                Ok(look) => {
                    look.said
                        .iter()
                        .for_each(|said| complaints.say(&format!("{}: {said}", table.path().display())));
                    let at = time_of(look.modified, looked_at);
                    for report in look.reports {
                        source.say(JobEvent::Reported { report, at, answer: None });
                    }
                }
                Err(error) => complaints.say(&format!("{} is not read: {error}", table.path().display())),
            }
            if is_last {
                return;
            }
            looked_at = now;
        }
    })?;
    Ok(sender)
}

/// When a file was written, by its own time, which is that of a clock that people may set: between the last look and now in any
/// case.
fn time_of(modified: Option<SystemTime>, looked_at: Instant) -> Instant {
    let (now, age) = (Instant::now(), modified.and_then(|modified| modified.elapsed().ok()));
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now).max(looked_at)
}

/// Says what is wrong, a few times.
#[derive(Debug, Default)]
struct Complaints {
    said: usize,
}

impl Complaints {
    fn say(&mut self, what: &str) {
        if self.said < COMPLAINTS_MAX {
            terminal::say!("{what}");
        } else if self.said == COMPLAINTS_MAX {
            terminal::say!("more of this kind is not said");
        }
        self.said += 1;
    }
}
