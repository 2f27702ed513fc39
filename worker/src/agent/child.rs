//! What a child process gets between its fork and its program: a session of its own, so that no terminal's signals reach
//! it, and what becomes of it when its parent dies or everything is told to leave.

use std::{io, os::unix::process::CommandExt, process::Command};

use rustix::process::{Signal, set_parent_process_death_signal, setsid};

/// The signals that ask a program to leave. Systemd, Slurm and terminals send them to all processes at once.
const LEAVING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// What a child process is to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A trainer of this project: it leaves signals that ask to leave to its parent, and dies with it.
    Trainer,
    /// The keeper of somebody else's trainer (`containment`): it leaves them to its parent, too, but outlives it for as
    /// long as it takes to end what it keeps.
    Keeper,
    /// Somebody else's program: signals do what it wants, and it dies with its parent.
    Program,
}

/// Has `command` start its program in a session of its own, as befits its role. A program that dies with its parent
/// does so when the thread ends that starts it.
pub(crate) fn detach(command: &mut Command, role: Role) {
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
