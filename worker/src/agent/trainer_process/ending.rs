//! How a trainer's process ended, as text.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::process::Signal;

use crate::agent::containment::SHELL_SIGNAL;

/// The signal that ended a process's child, from an exit code as shells return it.
pub(super) fn signal_of_code(code: i32) -> Option<i32> {
    (SHELL_SIGNAL + 1..SHELL_SIGNAL + 32).contains(&code).then_some(code - SHELL_SIGNAL)
}

/// The end of a process, as text.
pub(super) fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => format!("the trainer's end could not be observed ({error})"),
        Ok(status) => {
            match (status.code(), status.signal().or_else(|| status.code().and_then(signal_of_code))) {
                (_, Some(signal)) => format!("the trainer was killed by {}", signal_name(signal)),
                (Some(code), None) => format!("the trainer ended with exit status {code}"),
                (None, None) => format!("the trainer ended ({status})"),
            }
        }
    }
}

fn signal_name(number: i32) -> String {
    let known = [
        (Signal::KILL, "SIGKILL (out of memory?)"),
        (Signal::SEGV, "SIGSEGV (a crash in native code)"),
        (Signal::ABORT, "SIGABRT (an abort in native code)"),
        (Signal::BUS, "SIGBUS (a mapped file was cut, or the disk or /dev/shm is full?)"),
        (Signal::ILL, "SIGILL (an instruction that this processor lacks)"),
        (Signal::FPE, "SIGFPE"),
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
        (Signal::HUP, "SIGHUP"),
        (Signal::XFSZ, "SIGXFSZ (a file grew beyond its limit)"),
    ];
    let name = known.iter().find(|(signal, _)| signal.as_raw() == number);
    name.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}
