//! Processes that this one starts, and what they start in turn: how a child is set apart, and how everything that descends
//! from one is ended.

use std::{
    collections::HashMap, fs, io, os::unix::process::CommandExt, path::Path, process::Command, thread,
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, set_parent_process_death_signal,
    setsid, wait,
};

/// Pause between two looks for processes that are left.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Most looks: what forks faster than it is killed, or cannot be killed, is left after ten seconds.
const LOOKS_MAX: u32 = 1_000;

/// The signals that ask a program to leave. Systemd, Slurm and terminals send them to all processes at once.
const LEAVING: [libc::c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1];

/// What a child process is to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A trainer of this project: it leaves signals that ask to leave to its parent, and dies with it.
    Trainer,
    /// The keeper of someone else's trainer (`containment`): it leaves them to its parent, too, but outlives it for as
    /// long as it takes to end what it keeps.
    Keeper,
    /// Someone else's program: signals do what it wants, and it dies with its parent.
    Program,
}

/// Has `command` start its program in a session of its own, as befits its role. A program that dies with its parent
/// does so when the thread ends that starts it.
pub fn detach(command: &mut Command, role: Role) {
    let parent = rustix::process::getpid();
    let prepare = move || {
        setsid()?;
        if role != Role::Keeper {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have died before it was asked for.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        let disposition = if role == Role::Program { libc::SIG_DFL } else { libc::SIG_IGN };
        for signal in LEAVING {
            // SAFETY: it may be called between fork and exec, and sets no handler that could run later.
            #[allow(unsafe_code)]
            unsafe {
                libc::signal(signal, disposition)
            };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls alone; it takes no lock and no memory.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare)
    };
}

/// Has this process ignore signals that ask to leave.
pub fn ignore_leaving() {
    for signal in LEAVING {
        // SAFETY: it sets no handler that could run later.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(signal, libc::SIG_IGN)
        };
    }
}

/// Has this process adopt descendants that lose their parents.
///
/// # Errors
/// The system cannot do it.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Kills what descends from this process until nothing is left. Takes in the ends of all of its children.
pub fn end_descendants() {
    for _ in 0..LOOKS_MAX {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if kill_descendants(getpid()) == 0 {
            return;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Kills each process that descends from this one; how many there were.
pub fn kill_descendants(root: Pid) -> usize {
    let found = descendants(root);
    for pid in &found {
        // It may be gone already, which is what is wanted.
        let _ = kill_process(*pid, Signal::KILL);
    }
    found.len()
}

/// Whether any process descends from this one and has not ended.
pub fn has_descendants(root: Pid) -> bool {
    !descendants(root).is_empty()
}

/// The processes that descend from this one and have not ended, the root left out.
fn descendants(root: Pid) -> Vec<Pid> {
    descendants_in(Path::new("/proc"), root)
}

/// Time that the descendants of a process have spent on processors.
pub fn cpu_time(root: Pid) -> Duration {
    let ticks = descendants(root).into_iter().filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        ticks(&stat)
    });
    Duration::from_millis(ticks.sum::<u64>().saturating_mul(MILLISECONDS_PER_TICK))
}

/// How long a tick of `/proc/…/stat` is, on all architectures that Rust knows.
const MILLISECONDS_PER_TICK: u64 = 10;

/// Ticks in the program and in the system that a line of `/proc/…/stat` tells.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(11).map(|ticks| ticks.parse::<u64>().ok());
    Some(times.next()?? + times.next()??)
}

fn descendants_in(proc: &Path, root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        // One that cannot be read has ended meanwhile.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((parent, has_ended)) = parent_and_end(&text) else { continue };
        if !has_ended || has_living_thread(&entry.path()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![root.as_raw_pid()]);
    while let Some(parent) = open.pop() {
        let born = children.remove(&parent).unwrap_or_default();
        found.extend(born.iter().copied().filter_map(Pid::from_raw));
        open.extend(born);
    }
    found
}

/// Whether a thread of a process lives whose first one has ended: to the system, that looks like the end of all.
fn has_living_thread(process: &Path) -> bool {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    stats.filter_map(|stat| parent_and_end(&stat)).any(|(_, has_ended)| !has_ended)
}

/// The parent that a line of `/proc/…/stat` names, and whether what it is about has ended and was only not waited for.
fn parent_and_end(stat: &str) -> Option<(i32, bool)> {
    // Its second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some((fields.next()?.parse().ok()?, has_ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_past_any_name() {
        assert_eq!(parent_and_end("7 (a) S 2) S 31 7 7 0"), Some((31, false)));
        assert_eq!(parent_and_end("7 (sleep) Z 31 7 7 0"), Some((31, true)));
        assert_eq!(parent_and_end(""), None);
    }

    #[test]
    fn a_process_lives_as_long_as_any_of_its_threads_and_so_do_its_children() {
        let proc = tempfile::tempdir().unwrap();
        let write = |path: &str, state: &str, parent: i32| {
            let folder = proc.path().join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("stat"), format!("7 (x) {state} {parent} 7 7 0")).unwrap();
        };
        // The first thread of 20 has ended, the second one has not; 21 is its child; 30 has ended as a whole.
        write("20", "Z", 10);
        write("20/task/20", "Z", 10);
        write("20/task/25", "S", 10);
        write("21", "R", 20);
        write("30", "Z", 10);
        write("30/task/30", "Z", 10);
        let pid = |number| Pid::from_raw(number).unwrap();
        assert_eq!(descendants_in(proc.path(), pid(10)), [pid(20), pid(21)]);
    }

    #[test]
    fn descendants_are_found_whatever_session_they_are_in_and_killed() {
        let mut shell =
            Command::new("sh").args(["-c", "setsid sleep 1000 & sleep 1000 & wait"]).spawn().unwrap();
        let pid = Pid::from_child(&shell);
        while descendants(pid).len() < 2 {
            thread::yield_now();
        }
        assert!(descendants(getpid()).contains(&pid));
        kill_descendants(pid);
        assert!(shell.wait().is_ok(), "it waits for its children alone");
    }
}
