//! A keeper between the worker and a trainer that is someone else's program: a process of this program that only waits.
//! Everything that the trainer starts, even in sessions of its own, stays a descendant of the keeper, which adopts
//! orphans, and is killed when the trainer has ended or the worker is gone. Without a control group, the keeper's own
//! SIGKILL is not covered: then the trainer dies as well, but not what it has started.

use std::{
    ffi::OsString,
    fs,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::Context;
use program::processes::{Role, adopt_orphans, detach, end_descendants};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{WaitOptions, WaitStatus, wait},
};

/// Shells add this to the number of the signal that ended their child.
pub(super) const SHELL_SIGNAL: i32 = 128;

/// How long a trainer may run after its worker is gone, which it sees by the end of its input.
const ALONE_MAX: Duration = Duration::from_secs(2);

/// Runs `command` until it ends or standard input does, and then ends everything that it has started. The exit code is
/// the command's; if a signal ended it, 128 plus the signal's number, as in shells.
///
/// # Errors
/// The command cannot be started.
pub fn contain(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is nothing to run")?;
    adopt_orphans().context("this system cannot track what a command starts")?;
    let mut command = Command::new(program);
    command.args(arguments);
    detach(&mut command, Role::Program);
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    // When the trainer closes these, the worker must notice.
    let nothing = fs::File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    for output in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open, and nothing in this process owns the second one's old file.
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

/// Waits for one child, and reaps those that were adopted meanwhile.
fn wait_for(child: u32) -> u8 {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_pid()) == Ok(child) => {
                return exit_code(status);
            }
            Ok(_) | Err(Errno::INTR) => {}
            // The input has ended, and the other thread was faster: no one needs the code any more.
            Err(_) => return 1,
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let status = std::process::ExitStatus::from_raw(status.as_raw());
    let code = status.code().or_else(|| status.signal().map(|signal| SHELL_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Ends everything some time after standard input was closed.
fn end_with_input() {
    let input = std::io::stdin();
    // Without requested events, only the end is reported.
    let mut polled = [PollFd::new(&input, PollFlags::empty())];
    while matches!(poll(&mut polled, None), Err(Errno::INTR)) {}
    thread::sleep(ALONE_MAX);
    // The other thread notices the trainer's end.
    end_descendants();
}
