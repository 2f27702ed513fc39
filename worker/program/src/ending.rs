//! How a program ended, in words.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::process::Signal;

/// `exit status 1`, or the signal by name with what it often means.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the program ended with exit status {code}"),
        (None, Some(signal)) => format!("the program was killed by {}", signal_name(signal)),
        (None, None) => format!("the program ended ({status})"),
    }
}

/// The name of a signal, with what it often means.
pub fn signal_name(number: i32) -> String {
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
        (Signal::XCPU, "SIGXCPU (its processor time is used up)"),
    ];
    let name = known.iter().find(|(signal, _)| signal.as_raw() == number);
    name.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_signals_are_distinguished() {
        for (raw, part) in
            [(1 << 8, "exit status 1"), (9, "out of memory"), (25, "SIGXFSZ"), (50, "signal 50")]
        {
            let words = describe(ExitStatus::from_raw(raw));
            assert!(words.contains(part), "{words}");
        }
    }
}
