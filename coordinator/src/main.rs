//! `sweep`: the coordinator and every command of the user.

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::main()
}
