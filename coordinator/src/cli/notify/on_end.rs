//! A command of the user that is run when a sweep has ended. No shell reads it.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

use super::message::Message;
use crate::cli::failure::Failure;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

/// Cuts a command into words as a shell does, and expands nothing.
pub(super) fn command_line(text: &str) -> Result<CommandLine, String> {
    let words = shlex::split(text).ok_or("a quote is not closed")?;
    let mut words = words.into_iter();
    let program = words.next().filter(|program| !program.is_empty()).ok_or("it names no program")?;
    Ok(CommandLine { program, arguments: words.collect() })
}

impl CommandLine {
    /// Runs the command with the message on its standard input and its event in `SWEEP_EVENT`, to its end.
    pub(super) async fn run(&self, message: &Message, body: Vec<u8>) -> Result<(), Failure> {
        let failed = |what: String| Failure::operation(format!("--on-end {}: {what}", self.program));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env("SWEEP_EVENT", message.event())
            // A command that waits for another sweep would run itself again.
            .env_remove("SWEEP_ON_END")
            .env_remove("SWEEP_NOTIFY")
            .stdin(Stdio::piped())
            // It goes with this command where that is told to stop at once.
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("it cannot be started: {error}")))?;
        let input = child.stdin.take();
        let write = async {
            if let Some(mut input) = input {
                // A command need not read it.
                let _ = input.write_all(&body).await;
            }
        };
        let (ended, ()) = tokio::join!(child.wait(), write);
        let status = ended.map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(format!("it ended with {status}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_words_that_no_shell_reads() {
        let read = command_line(r#"say "two words" $HOME ; 'rm -rf *'"#).unwrap();
        assert_eq!(read.program, "say");
        assert_eq!(read.arguments, ["two words", "$HOME", ";", "rm -rf *"]);
        for wrong in ["", "  ", "say 'open", "''"] {
            assert!(command_line(wrong).is_err(), "{wrong:?}");
        }
    }
}
