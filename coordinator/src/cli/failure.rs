//! How a command fails: one line for people, one exit code for scripts.

use std::process::ExitCode;

use tonic::{Code, Status};

/// A command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The operation failed: exit code 1.
    #[error("{0}")]
    Operation(String),
    /// The command line or the settings are wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers there: exit code 3.
    #[error("{0}")]
    Unreachable(String),
    /// It took longer than allowed: exit code 4.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C or SIGTERM: exit code 130. What there was to say has been said.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    pub(super) fn operation(message: impl Into<String>) -> Self {
        Self::Operation(message.into())
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Says it on standard error; the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        if !matches!(self, Self::Interrupted) {
            eprintln!("error: {self}");
        }
        ExitCode::from(match self {
            Self::Operation(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::TimedOut(_) => 4,
            Self::Interrupted => 130,
        })
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = status.message();
        // A coordinator's answer has no cause within this process; a connection that broke has one.
        if std::error::Error::source(&status).is_some() {
            return Self::Unreachable(format!(
                "the connection to the coordinator broke: {message}; check that it is http:// or https:// as the coordinator serves"
            ));
        }
        match status.code() {
            Code::Unavailable => Self::Unreachable(format!("the coordinator cannot be reached: {message}")),
            Code::DeadlineExceeded => {
                Self::TimedOut(format!("the coordinator did not answer in time: {message}"))
            }
            // A connection that broke within a call comes as unknown or cancelled.
            Code::Unknown | Code::Cancelled => {
                Self::Unreachable(format!("the connection to the coordinator broke: {message}"))
            }
            _ if message.is_empty() => Self::Operation(status.code().description().to_owned()),
            _ => Self::Operation(message.to_owned()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // Many errors repeat their cause's text already.
        let mut text = error.to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        Self::Operation(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("the disk is full");
        let outer =
            anyhow::Error::from(cause).context("cannot write a: the disk is full").context("no report");
        assert_eq!(Failure::from(outer).to_string(), "no report: cannot write a: the disk is full");
    }

    #[test]
    fn codes_of_calls_become_exit_codes() {
        assert!(matches!(Failure::from(Status::unavailable("x")), Failure::Unreachable(_)));
        assert!(matches!(Failure::from(Status::not_found("x")), Failure::Operation(text) if text == "x"));
        assert!(matches!(Failure::from(Status::internal("")), Failure::Operation(text) if !text.is_empty()));
    }
}
