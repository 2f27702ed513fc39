//! How the programs talk to people: [`text`] makes foreign text safe for each kind of output, [`output`] writes to
//! standard output and standard error and reports what could not be written, [`logging`] sets up log lines, [`signals`]
//! says which signals a program was started to ignore. The crate imports no other crate of the workspace.

pub mod logging;
pub mod output;
pub mod signals;
pub mod text;

/// A number of things: `1 job`, `2 jobs`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
