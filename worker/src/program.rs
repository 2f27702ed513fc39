//! What the worker's programs have in common: how they log and how they end.

use std::process::ExitCode;

pub mod logging;

/// The exit code of a program that is done; an error goes to standard error first, with its causes.
pub fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes, of which many repeat the next one's text already.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
