//! How a command fails: one line for people, one exit code for scripts.

use std::process::ExitCode;

use terminal::output::{self, OutputError};
use tonic::{Code, Status};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The operation failed: exit code 1.
    #[error("{0}")]
    Operation(String),
    /// What was asked for is impossible, now and later: exit code 1.
    #[error("{0}")]
    Refused(String),
    /// The command line or the settings are wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It cannot be told whether something is as it should be: exit code 2, where 1 means that it is not.
    #[error("{0}")]
    Undecided(String),
    /// No one answers there: exit code 3.
    #[error("{0}")]
    Unreachable(String),
    /// It took longer than allowed: exit code 4.
    #[error("{0}")]
    TimedOut(String),
    /// The reader of standard output has left: exit code 0, as nothing has failed.
    #[error("standard output was closed by its reader")]
    OutputClosed,
    /// Ctrl-C or SIGTERM: exit code 130. Everything has been reported already.
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

    /// Whether a retry may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Reports it on standard error; returns the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        if !matches!(self, Self::Interrupted | Self::OutputClosed) {
            output::say(&format!("error: {self}"));
        }
        ExitCode::from(match self {
            Self::OutputClosed => 0,
            Self::Operation(_) | Self::Refused(_) => 1,
            Self::Usage(_) | Self::Undecided(_) => 2,
            Self::Unreachable(_) => 3,
            Self::TimedOut(_) => 4,
            Self::Interrupted => 130,
        })
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = status.message();
        // A coordinator's answer has no cause within this process; a broken connection has one.
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
            // A connection that breaks during a call is reported as unknown or cancelled.
            Code::Unknown | Code::Cancelled => {
                Self::Unreachable(format!("the connection to the coordinator broke: {message}"))
            }
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                Self::Refused(message.to_owned())
            }
            _ if message.is_empty() => Self::Operation(status.code().description().to_owned()),
            _ => Self::Operation(message.to_owned()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Operation(output::with_causes(&error))
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Closed => Self::OutputClosed,
            OutputError::Failed(_) => Self::Operation(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_calls_become_exit_codes() {
        assert!(matches!(Failure::from(Status::unavailable("x")), Failure::Unreachable(_)));
        assert!(matches!(Failure::from(Status::not_found("x")), Failure::Operation(text) if text == "x"));
        assert!(matches!(Failure::from(Status::invalid_argument("x")), Failure::Refused(_)));
        assert!(matches!(Failure::from(Status::out_of_range("x")), Failure::Refused(_)));
        assert!(matches!(Failure::from(Status::aborted("x")), Failure::Operation(_)));
        assert!(matches!(Failure::from(Status::resource_exhausted("x")), Failure::Operation(_)));
        assert!(matches!(Failure::from(Status::internal("")), Failure::Operation(text) if !text.is_empty()));
    }
}
