//! Standard output and standard error. Nothing here panics when they cannot be written, and nothing is lost silently:
//! what could not be printed is an error of the command.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write, stderr, stdout};
use std::process::ExitCode;

use crate::text;

/// Standard output could not be written.
#[derive(Debug)]
pub enum OutputError {
    /// The reader has left (`| head`): not a failure of the command, but nothing more is printed.
    Closed,
    /// It cannot be written: a full disk, a device that refuses.
    Failed(io::Error),
}

impl std::fmt::Display for OutputError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => formatter.write_str("standard output was closed by its reader"),
            Self::Failed(error) => write!(formatter, "standard output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for OutputError {}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error) }
    }
}

/// Prints text on standard output, made safe for a terminal ([`text::lines`]).
///
/// # Errors
/// The text was not written in full.
pub fn print(text: &str) -> Result<(), OutputError> {
    print_bytes(text::lines(text).as_bytes())
}

/// Prints bytes on standard output unchanged: for documents other than text.
///
/// # Errors
/// As [`print()`].
pub fn print_bytes(bytes: &[u8]) -> Result<(), OutputError> {
    let mut output = stdout().lock();
    output.write_all(bytes)?;
    Ok(output.flush()?)
}

/// Prints lines on standard error, made safe for a terminal. Errors of standard error itself cannot be reported to
/// anyone.
pub fn say(text: &str) {
    let mut line = text::lines(text).into_owned();
    line.push('\n');
    let _ = stderr().lock().write_all(line.as_bytes());
}

/// Formats a text and prints it on standard error, as [`output::say`](crate::output::say) does: `eprintln!` without its panic.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::output::say(&::std::format!($($text)*)) };
}

/// Reads the command line, and how each option got its value. Prints help and version; reports wrong usage on standard
/// error, and also an empty environment variable, which clap would report as an empty flag that no one gave.
///
/// # Errors
/// The exit code with which the program must end: 0 after help, 2 for wrong usage, 1 where help could not be printed.
pub fn arguments<Arguments: clap::Parser>() -> Result<(Arguments, clap::ArgMatches), ExitCode> {
    arguments_of(Arguments::command())
}

/// The same of a command that was changed.
///
/// # Errors
/// Likewise.
pub fn arguments_of<Arguments: clap::Parser>(
    command: clap::Command,
) -> Result<(Arguments, clap::ArgMatches), ExitCode> {
    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(name) = empty_variable(&command, &given, |name| std::env::var_os(name)) {
        say(&format!("error: the environment variable {name} is empty; give it a value, or unset it"));
        return Err(ExitCode::from(2));
    }
    let matches = command.try_get_matches();
    matches
        .and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)))
        .map_err(|usage| exit_code_of(&usage))
}

fn exit_code_of(usage: &clap::Error) -> ExitCode {
    // A reader of the help that has left is not a failure.
    match usage.print().map_err(OutputError::from) {
        Err(OutputError::Failed(error)) if !usage.use_stderr() => {
            say(&format!("error: standard output cannot be written: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)),
    }
}

/// The first empty environment variable that stands for an option of this command line, unless the option overrides it.
fn empty_variable(
    command: &clap::Command,
    given: &[OsString],
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> Option<String> {
    let asks = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|flag| word == flag);
    if given.iter().any(asks) {
        return None;
    }
    let is_given = |argument: &clap::Arg| {
        let long = argument.get_long().map(|long| format!("--{long}"));
        let short = argument.get_short().map(|short| format!("-{short}"));
        given.iter().filter_map(|word| word.to_str()).any(|word| {
            long.as_ref().is_some_and(|long| word == long || word.starts_with(&format!("{long}=")))
                || short.as_ref().is_some_and(|short| !word.starts_with("--") && word.starts_with(short))
        })
    };
    let mut levels = vec![command];
    for word in given {
        let below = word.to_str().and_then(|word| levels.last()?.find_subcommand(word));
        levels.extend(below);
    }
    let arguments = levels.iter().flat_map(|level| level.get_arguments());
    let mut empty = arguments.filter(|argument| {
        argument.get_env().and_then(&variable).is_some_and(|value| value.is_empty()) && !is_given(argument)
    });
    Some(empty.next()?.get_env()?.to_string_lossy().into_owned())
}

/// An error with its causes; many already repeat the text of the next one.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The exit code of a program that has finished; an error goes to standard error first, with its causes. A reader of
/// standard output that has left is not an error.
pub fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        if matches!(error.downcast_ref(), Some(OutputError::Closed)) {
            return ExitCode::SUCCESS;
        }
        say(&format!("error: {}", with_causes(&error)));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_named_where_it_would_count() {
        let option =
            |name: &'static str, variable: &'static str| clap::Arg::new(name).long(name).env(variable);
        let command = clap::Command::new("sweep")
            .arg(option("coordinator", "A_COORDINATOR").global(true))
            .arg(option("format", "A_FORMAT").short('o'))
            .subcommand(clap::Command::new("serve").arg(option("listen", "A_LISTEN")));
        let found = |line: &str, empty: &[&str]| {
            let given: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            empty_variable(&command, &given, |name| {
                empty.iter().any(|empty| name == OsStr::new(empty)).then(OsString::new)
            })
        };
        assert_eq!(found("serve", &["A_LISTEN"]).as_deref(), Some("A_LISTEN"));
        assert_eq!(found("serve", &["A_COORDINATOR"]).as_deref(), Some("A_COORDINATOR"));
        assert_eq!(found("ls", &["A_LISTEN"]), None, "of another command");
        assert_eq!(found("serve --listen x", &["A_LISTEN"]), None);
        assert_eq!(found("serve --listen=x -ojson", &["A_LISTEN", "A_FORMAT"]), None);
        assert_eq!(found("serve --help", &["A_LISTEN"]), None);
        assert_eq!(found("serve", &[]), None);
    }

    #[test]
    fn a_cause_is_printed_once() {
        let cause = io::Error::other("the disk is full");
        let outer =
            anyhow::Error::from(cause).context("cannot write a: the disk is full").context("no report");
        assert_eq!(with_causes(&outer), "no report: cannot write a: the disk is full");
    }

    #[test]
    fn a_reader_that_has_left_is_distinguished_from_a_full_disk() {
        let error = |kind| OutputError::from(io::Error::from(kind));
        assert!(matches!(error(io::ErrorKind::BrokenPipe), OutputError::Closed));
        assert!(matches!(error(io::ErrorKind::StorageFull), OutputError::Failed(_)));
    }
}
