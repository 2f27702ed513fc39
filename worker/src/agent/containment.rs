//! A keeper between the worker and a trainer that is somebody else's program: a process of this program that does nothing
//! but wait. Whatever the trainer starts, also in sessions of its own, stays a descendant of the keeper, which adopts what
//! loses its parent, and is killed when the trainer has ended and when the worker is gone. What it cannot do without a
//! control group: outlive its own SIGKILL. Then the trainer dies, too, but not what that has started.

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

/// What shells add to the number of the signal that ended their child.
pub(super) const SHELL_SIGNAL: i32 = 128;

/// How long a trainer may go on when its worker is gone, which it sees by the end of its input.
const ALONE_MAX: Duration = Duration::from_secs(2);

/// Runs `command` until it ends or standard input does, and then ends all that it has started. Its exit code is the
/// command's; where a signal ended that, 128 and the signal's number, as shells have it.
///
/// # Errors
/// The command cannot be started.
pub fn contain(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is nothing to run")?;
    adopt_orphans().context("this system cannot have it keep what it starts")?;
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
