//! `sweep`: the coordinator and all user commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::main()
}
