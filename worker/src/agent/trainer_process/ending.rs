//! How a trainer's process ended, as text.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus};

use program::signal_name;

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
