//! A keeper between the worker and a trainer that is somebody else's program: a process of this program that does nothing
//! but wait. Whatever the trainer starts, also in sessions of its own, stays a descendant of the keeper, which adopts what
//! loses its parent, and is killed when the trainer has ended and when the worker is gone. What it cannot do without a
//! control group: outlive its own SIGKILL. Then the trainer dies, too, but not what that has started.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait},
};

use super::child::{Role, detach};

/// What shells add to the number of the signal that ended their child.
pub(super) const SHELL_SIGNAL: i32 = 128;

/// How long a trainer may go on when its worker is gone, which it sees by the end of its input.
const ALONE_MAX: Duration = Duration::from_secs(2);

/// Pause between two looks for processes that are left.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Most looks: what forks faster than it is killed, or cannot be killed, is left after ten seconds.
const LOOKS_MAX: u32 = 1_000;

/// Runs `command` until it ends or standard input does, and then ends all that it has started. Its exit code is the
/// command's; where a signal ended that, 128 and the signal's number, as shells have it.
///
/// # Errors
/// The command cannot be started.
pub fn contain(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is nothing to run")?;
    set_child_subreaper(Some(getpid())).context("this system cannot have it keep what it starts")?;
    let mut command = Command::new(program);
    command.args(arguments);
    detach(&mut command, Role::Program);
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    // When the trainer closes these, the worker is to see it.
    let nothing = fs::File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    for output in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open, and nothing in this process owns what the second was.
        #[allow(unsafe_code)]
        let replaced = unsafe { libc::dup2(nothing.as_raw_fd(), output) };
        anyhow::ensure!(replaced >= 0, "cannot close the outputs: {}", std::io::Error::last_os_error());
    }
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(end_with_input)
        .context("cannot watch the input")?;
    let code = wait_for(child.id());
    end_descendants();
    Ok(ExitCode::from(code))
}

/// Waits for one child, and takes in the ends of those that were adopted meanwhile.
fn wait_for(child: u32) -> u8 {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_pid()) == Ok(child) => {
                return exit_code(status);
            }
            Ok(_) | Err(Errno::INTR) => {}
            // The input has ended, and the other thread was faster: nobody asks for the code any more.
            Err(_) => return 1,
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let status = std::process::ExitStatus::from_raw(status.as_raw());
    let code = status.code().or_else(|| status.signal().map(|signal| SHELL_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Ends everything some time after whoever writes to standard input has closed it.
fn end_with_input() {
    let input = std::io::stdin();
    // Without events that are asked for, only the end is told.
    let mut polled = [PollFd::new(&input, PollFlags::empty())];
    while matches!(poll(&mut polled, None), Err(Errno::INTR)) {}
    thread::sleep(ALONE_MAX);
    // The other thread hears of the trainer's end.
    end_descendants();
}

/// Kills what descends from this process until nothing is left.
fn end_descendants() {
    for _ in 0..LOOKS_MAX {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if kill_descendants(getpid()) == 0 {
            return;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Kills each process that descends from this one; how many there were.
pub(super) fn kill_descendants(root: Pid) -> usize {
    let found = descendants(root);
    for pid in &found {
        // It may be gone already, which is what is wanted.
        let _ = kill_process(*pid, Signal::KILL);
    }
    found.len()
}

/// The processes that descend from this one and have not ended, the root left out.
fn descendants(root: Pid) -> Vec<Pid> {
    descendants_in(Path::new("/proc"), root)
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
