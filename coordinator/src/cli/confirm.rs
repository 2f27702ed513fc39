//! Asks before something is ended, where there is a person to ask.

use std::io::{BufRead, IsTerminal, stderr, stdin};

use super::failure::Failure;

/// Option of commands that end something.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Confirmation {
    /// Do not ask first
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Confirmation {
    /// Whether there is a person to ask who has not confirmed yet: input and messages are on a terminal.
    pub(super) fn is_needed(self) -> bool {
        !self.yes && stdin().is_terminal() && stderr().is_terminal()
    }

    /// Asks a person to confirm what `consequences` says; programs are not asked.
    ///
    /// # Errors
    /// An answer other than yes.
    pub(super) fn ask(self, consequences: &str) -> Result<(), Failure> {
        if !self.is_needed() {
            return Ok(());
        }
        terminal::say!("{consequences}\nType yes to continue:");
        let mut answer = String::new();
        let read = stdin().lock().read_line(&mut answer);
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" if read.is_ok() => Ok(()),
            _ => Err(Failure::operation("nothing was done; --yes continues without asking")),
        }
    }
}
