//! `sweep completions`: what a shell needs to complete commands and options.

use terminal::output;

use super::failure::Failure;

/// Arguments of `sweep completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the completions of a command line.
pub(super) fn print(arguments: &CompletionsArguments, mut command: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "sweep", &mut script);
    Ok(output::print_bytes(&script)?)
}
