//! `sweep completions`: what a shell needs to complete commands and options.

use clap::CommandFactory;

use terminal::output;

use super::failure::Failure;

/// Arguments of `sweep completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the completions of the command line `C`.
pub(super) fn print<C: CommandFactory>(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut C::command(), "sweep", &mut script);
    Ok(output::print_bytes(&script)?)
}
