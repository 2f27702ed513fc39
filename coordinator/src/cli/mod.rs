//! The command line of `sweep`: one file per group of commands, and what they share: the connection, the exit codes,
//! the forms of output.

mod artifact;
mod certs;
mod client;
mod compare;
mod completions;
mod confirm;
mod control;
mod doctor;
mod early;
mod ending;
mod export;
mod failure;
mod files;
mod folder;
mod follow;
mod identity;
mod ids;
mod inspect;
mod list;
mod mcp;
mod notify;
mod oidc;
mod output;
mod preview;
mod progress;
mod quota;
mod report;
mod rows;
mod run;
mod search;
mod serve;
mod set;
mod settings;
mod signals;
mod spans;
mod submit;
mod sweep_file;
mod tables;
mod token;
mod verify;

use std::{process::ExitCode, time::Duration};

use clap::{ArgMatches, parser::ValueSource};
use terminal::{logging, output::arguments_of};

use self::failure::Failure;

/// How long threads may continue after the command has its result.
const RUNTIME_ENDS_WITHIN: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "Exit codes: 0 done, 1 the operation failed, 2 wrong usage (of `sweep verify` also: it cannot be told), 3 the coordinator cannot be \
reached, 4 timed out, 130 interrupted.\n\nSettings come from flags, else from SWEEP_… variables, else from the file \
that SWEEP_CONFIG names (~/.config/sweep/config.yaml), with the keys coordinator, token_file, tls_ca and format.";

/// Trains the jobs of a hyperparameter sweep on your own machines
#[derive(Debug, clap::Parser)]
#[command(name = "sweep", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    connection: client::ConnectionOptions,
    #[command(flatten)]
    format: output::Options,
    #[command(flatten)]
    logging: logging::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Train a sweep on this machine, from start to report, in one command
    Run(Box<run::RunArguments>),
    /// Run a coordinator for workers on other machines
    Serve(Box<serve::ServeArguments>),
    /// Check a sweep file and show its first jobs
    Validate(submit::ValidateArguments),
    /// Hand a sweep to the coordinator
    Submit(submit::SubmitArguments),
    /// List sweeps, newest first
    Ls(list::LsArguments),
    /// Show a sweep or a job
    Show(inspect::TargetArgument),
    /// Connect a searcher of your own to a sweep whose file says `method: external`: results out, points in
    Search(search::SearchArguments),
    /// Train a job again here and compare its numbers with the recorded ones; or, with --search, the points of a search that learns
    Verify(verify::VerifyArguments),
    /// List the jobs of a sweep
    Jobs(inspect::JobsArguments),
    /// Show the last log lines of a job's attempts
    Logs(inspect::LogsArguments),
    /// List the workers
    Workers,
    /// Follow a sweep until its end; exit 0 only if it ended well, as `sweep wait`
    #[command(alias = "top")]
    Watch(control::SweepArgument),
    /// Wait for the end of a sweep or a job; exit 0 only if it ended well: each job has a result, and one of them is done
    Wait(control::WaitArguments),
    /// Start no more jobs of a sweep until it is resumed; running ones continue
    Pause(control::SweepArgument),
    /// Start jobs of a paused sweep again
    Resume(control::SweepArgument),
    /// Change a limit, the name or the data set's path of a sweep, also while it runs
    Set(set::SetArguments),
    /// Try the failed and cancelled jobs of a sweep again, or one job
    Retry(control::RetryArguments),
    /// Tell a worker to leave, as on SIGTERM; jobs that do not end within its --grace are handed back
    Drain(control::DrainArguments),
    /// Start no more jobs of a sweep, or no more attempts of one job; what runs finishes
    Stop(control::EndArguments),
    /// Start no more jobs of a sweep and end the running ones, or end one job
    Cancel(control::EndArguments),
    /// Write the report of a sweep
    Report(report::ReportArguments),
    /// Show sweeps, also of folders of runs, side by side: their best configurations, what their files differ in, and whether a test tells them apart
    Compare(compare::CompareArguments),
    /// Write the results of a sweep for other programs: tables, TensorBoard, MLflow, Optuna
    Export(export::ExportArguments),
    /// List and fetch the trained weights that a sweep keeps
    #[command(subcommand)]
    Artifact(artifact::ArtifactCommand),
    /// Check a set-up, a line for each thing that is looked at, and what to do; `sweep-worker doctor` does so where jobs are trained
    Doctor(doctor::DoctorArguments),
    /// Make an authority of your own, with certificates for coordinators; it gives workers theirs
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Make, list and revoke the tokens of a coordinator
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Say how many slots each owner of sweeps may hold, and how large their shares are
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Offer these commands to an assistant, as tools of the Model Context Protocol over standard input and output
    Mcp(mcp::McpArguments),
    /// Print completions for a shell
    Completions(completions::CompletionsArguments),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let (arguments, matches): (Arguments, _) = match arguments_of(command_line()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if let Err(failure) = refuse_ignored(&matches) {
        return failure.tell();
    }
    arguments.logging.start(if matches!(arguments.command, Command::Serve(_)) { "info" } else { "warn" });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::operation(format!("the system refuses to start threads: {error}")).tell();
        }
    };
    let result = runtime.block_on(dispatch(arguments));
    runtime.shutdown_timeout(RUNTIME_ENDS_WITHIN);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// An option of all commands, and its name as it is shown.
type Common = (&'static str, &'static str);

const FORMAT: Common = ("format", "-o");
const COORDINATOR: Common = ("coordinator", "--coordinator");
const TOKEN: Common = ("token_file", "--token-file");
const TLS_CA: Common = ("tls_ca", "--tls-ca");

/// Which of the options that all commands share some do not use: their help does not offer them, and they refuse them.
#[rustfmt::skip]
const UNUSED: &[(&str, &[Common])] = &[
    ("run", &[FORMAT, COORDINATOR, TOKEN, TLS_CA]),
    ("serve", &[FORMAT, COORDINATOR, TLS_CA]),
    ("validate", &[COORDINATOR, TOKEN, TLS_CA]),
    ("certs", &[COORDINATOR, TOKEN, TLS_CA]),
    ("completions", &[FORMAT, COORDINATOR, TOKEN, TLS_CA]),
    ("watch", &[FORMAT]),
    ("wait", &[FORMAT]),
    ("search", &[FORMAT]),
    ("logs", &[FORMAT]),
    ("report", &[FORMAT]),
    ("export", &[FORMAT]),
    ("drain", &[FORMAT]),
    ("mcp", &[FORMAT]),
];

/// The command line. Commands do not offer what they do not use.
fn command_line() -> clap::Command {
    use clap::CommandFactory;
    let mut command = Arguments::command();
    // Gives each command the options that all of them share.
    drop(command.render_help());
    UNUSED.iter().fold(command, |command, (name, unused)| {
        command.mut_subcommand(name, |own| {
            unused.iter().fold(own, |own, (id, _)| own.mut_arg(id, |argument| argument.hide(true)))
        })
    })
}

/// Refuses options that the command would ignore. Variables and settings are for all commands.
fn refuse_ignored(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, own)) = matches.subcommand() else { return Ok(()) };
    let (name, ignored): (String, &[Common]) = match own.subcommand_name() {
        Some("get") if name == "artifact" => ("artifact get".to_owned(), &[FORMAT]),
        _ => {
            let unused = UNUSED.iter().find(|(command, _)| *command == name);
            (name.to_owned(), unused.map_or(&[], |(_, unused)| unused))
        }
    };
    let given = |(id, _): &&Common| matches.value_source(id) == Some(ValueSource::CommandLine);
    match ignored.iter().find(given) {
        None => Ok(()),
        Some((_, option)) => Err(Failure::usage(format!(
            "`sweep {name}` does not use {option}; leave it out{}",
            if *option == "-o" { " (lists and objects have forms: ls, show, jobs, workers)" } else { "" }
        ))),
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { connection, format, logging: _, command } = arguments;
    let settings = settings::Settings::load()?;
    let format = format.format(&settings)?;
    let target = connection.target(&settings);
    match command {
        Command::Run(arguments) => run::run(&arguments).await,
        Command::Serve(arguments) => serve::serve(*arguments, &connection).await,
        Command::Validate(arguments) => submit::validate(&arguments, format),
        Command::Submit(arguments) => submit::submit(&arguments, &target, format).await,
        Command::Ls(arguments) => list::ls(&arguments, &target, format).await,
        Command::Show(arguments) => inspect::show(&arguments, &target, format).await,
        Command::Search(arguments) => search::search(&arguments, &target).await,
        Command::Verify(arguments) => verify::verify(&arguments, &target, format).await,
        Command::Jobs(arguments) => inspect::jobs(&arguments, &target, format).await,
        Command::Logs(arguments) => inspect::logs(&arguments, &target).await,
        Command::Workers => inspect::workers(&target, format).await,
        Command::Watch(arguments) => control::watch(&arguments, &target).await,
        Command::Wait(arguments) => control::wait(&arguments, &target).await,
        Command::Pause(arguments) => control::pause(&arguments, &target, format).await,
        Command::Resume(arguments) => control::resume(&arguments, &target, format).await,
        Command::Set(arguments) => set::set(&arguments, &target, format).await,
        Command::Retry(arguments) => control::retry(&arguments, &target, format).await,
        Command::Drain(arguments) => control::drain(&arguments, &target).await,
        Command::Stop(arguments) => control::stop(&arguments, &target, format).await,
        Command::Cancel(arguments) => control::cancel(&arguments, &target, format).await,
        Command::Report(arguments) => report::report(&arguments, &target).await,
        Command::Compare(arguments) => compare::compare_sweeps(&arguments, &target, format).await,
        Command::Export(arguments) => export::export(&arguments, &target).await,
        Command::Artifact(command) => artifact::artifact(&command, &target, format).await,
        Command::Doctor(arguments) => {
            doctor::doctor(&arguments, (&target, connection.names_one(&settings)), format).await
        }
        Command::Certs(command) => certs::certs(&command, format),
        Command::Token(command) => token::token(&command, &target, format).await,
        Command::Quota(command) => quota::quota(&command, &target, format).await,
        Command::Mcp(arguments) => mcp::mcp(&arguments, &target).await,
        Command::Completions(arguments) => completions::print(&arguments, command_line()),
    }
}

/// A time on the command line.
fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time such as 90s, 30m or 1h 30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        command_line().debug_assert();
    }

    #[test]
    fn own_options_stand_before_those_of_every_command_that_it_uses() {
        let mut command = command_line();
        command.build();
        let mut seen = 0;
        for own in
            command.get_subcommands_mut().filter(|own| !own.has_subcommands() && own.get_name() != "help")
        {
            let name = own.get_name().to_owned();
            let help = own.render_help().to_string();
            let (first, global) =
                help.split_once("\nGlobal options:\n").unwrap_or_else(|| panic!("{name}: {help}"));
            let unused: &[Common] =
                UNUSED.iter().find(|(command, _)| *command == name).map_or(&[], |(_, unused)| unused);
            for (id, option) in [
                ("coordinator", "--coordinator <"),
                ("token_file", "--token-file <"),
                ("log_format", "--log-format <"),
                ("format", "--format <"),
            ] {
                let is_used = unused.iter().all(|(unused, _)| *unused != id);
                assert_eq!(global.contains(option), is_used, "{name}: {option}");
                assert!(!first.contains(option), "{name}: {option}");
            }
            let is_own =
                |arg: &&clap::Arg| !arg.is_global_set() && !arg.is_positional() && !arg.is_hide_set();
            for arg in own.get_arguments().filter(is_own) {
                let option = format!("--{}", arg.get_long().unwrap_or_default());
                assert!(first.contains(&option), "{name}: {option}");
                seen += 1;
            }
        }
        assert!(seen > 50, "only {seen} options were found");
    }

    #[test]
    fn what_stands_below_options_fits_a_terminal() {
        let mut command = command_line();
        let mut seen = 0;
        for own in command.get_subcommands_mut() {
            let below = own.get_after_long_help().or_else(|| own.get_after_help()).map(ToString::to_string);
            // Lines of one paragraph are broken by the terminal; those that are aligned must fit, but for examples of JSON.
            let below = below.unwrap_or_default();
            for line in below.lines().filter(|line| line.starts_with(' ') && !line.contains("{\"")) {
                seen += 1;
                assert!(line.chars().count() <= domain::help::LINE_CHARACTERS, "{}: {line}", own.get_name());
            }
        }
        assert!(seen > 50, "only {seen} lines were found");
    }

    /// The words after `sweep ` in backticks, and at the beginnings of lines as in blocks of commands: `ls|show` are two.
    fn suggested(text: &str) -> Vec<String> {
        let after = |mark: &'static str| text.split(mark).skip(1);
        let words = after("`sweep ").chain(after("\nsweep ")).map(|rest| {
            let end = rest.find(|sign: char| !(sign.is_ascii_lowercase() || "-|".contains(sign)));
            rest[..end.unwrap_or(rest.len())].to_owned()
        });
        let words = words.filter(|word| !word.is_empty() && !word.starts_with('-'));
        words.flat_map(|word| word.split('|').map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    fn texts(folder: &std::path::Path, found: &mut Vec<(std::path::PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, found);
            } else if path
                .extension()
                .is_some_and(|ending| ["rs", "md", "py"].iter().any(|known| ending == *known))
            {
                found.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }

    #[test]
    fn every_command_that_a_message_or_a_page_names_exists() {
        use clap::CommandFactory;
        let command = Arguments::command();
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found =
            vec![(root.join("README.md"), std::fs::read_to_string(root.join("README.md")).unwrap())];
        for folder in ["coordinator", "worker", "proto", "deploy"] {
            texts(&root.join(folder), &mut found);
        }
        let mut count = 0;
        for (path, text) in found {
            for word in suggested(&text) {
                count += 1;
                assert!(known.contains(&word.as_str()), "{} names `sweep {word}`", path.display());
            }
        }
        assert!(count > 50, "only {count} were found");
    }
}
