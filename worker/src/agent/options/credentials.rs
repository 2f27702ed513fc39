//! How a worker is known to its coordinator: it joins, or it shows a token and trusts an authority that were given to it. Of the two, what the
//! command line gives has precedence over the environment, which a shell may have for other commands.

use std::path::PathBuf;

use clap::{
    ArgMatches, Args, Command, FromArgMatches,
    error::{Error, ErrorKind},
    parser::ValueSource,
};

use crate::agent::membership::JoinFrom;

/// What is given, by its name in the program, as an option and as a variable.
type Name = (&'static str, &'static str, &'static str);
const TOKEN_FILE: Name = ("token_file", "--token-file", "SWEEP_TOKEN_FILE");
const TLS_CA: Name = ("tls_ca", "--tls-ca", "SWEEP_TLS_CA");
const JOIN: Name = ("join", "--join", "SWEEP_JOIN");
const JOIN_FILE: Name = ("join_file", "--join-file", "SWEEP_JOIN_FILE");
/// What excludes each other.
const EXCLUSIVE: [(Name, Name); 5] =
    [(JOIN, JOIN_FILE), (JOIN, TOKEN_FILE), (JOIN, TLS_CA), (JOIN_FILE, TOKEN_FILE), (JOIN_FILE, TLS_CA)];

#[derive(Debug, Clone, clap::Args)]
struct Given {
    /// File that holds the token the coordinator asks for; read again at every connection
    #[arg(long, env = "SWEEP_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust for an https:// coordinator; read again at every connection [default: those that this
    /// system trusts]
    #[arg(long, env = "SWEEP_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// A join token: the worker makes a key, gets a certificate for it and renews that, and needs the token no more. In place of
    /// --token-file and --tls-ca. Users of this machine can read it on the command line: --join-file is for others
    #[arg(long, env = "SWEEP_JOIN", hide_env_values = true, value_name = "TOKEN")]
    join: Option<String>,
    /// File that holds a join token, read where the worker has no certificate that holds. In place of --token-file and --tls-ca
    #[arg(long, env = "SWEEP_JOIN_FILE", value_name = "FILE")]
    join_file: Option<PathBuf>,
}

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// File with the token to show.
    pub(crate) token_file: Option<PathBuf>,
    /// File with the certificates to trust.
    pub(crate) tls_ca: Option<PathBuf>,
    /// A join token.
    pub(crate) join: Option<JoinFrom>,
    /// Variables that are not used because of what the command line gives, each with that.
    unused: Vec<(&'static str, &'static str)>,
}

impl Credentials {
    /// Says which variables are not used, and why.
    pub(crate) fn tell_unused(&self) {
        for (variable, option) in &self.unused {
            tracing::info!("{variable} of the environment is not used, as {option} was given");
        }
    }

    fn new(given: Given, source: impl Fn(Name) -> Option<ValueSource>) -> Result<Self, String> {
        let Given { mut token_file, mut tls_ca, mut join, mut join_file } = given;
        let mut unused = Vec::new();
        for (one, other) in EXCLUSIVE {
            let (gives_way, winner) = match (source(one), source(other)) {
                (Some(ValueSource::EnvVariable), Some(ValueSource::CommandLine)) => (one, other),
                (Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)) => (other, one),
                (Some(ValueSource::EnvVariable), Some(ValueSource::EnvVariable))
                    if !decided_by(&source, [one, other]) =>
                {
                    return Err(both_in_environment(one, other));
                }
                (Some(ValueSource::CommandLine), Some(ValueSource::CommandLine)) => {
                    return Err(format!("{} and {} exclude each other: {EITHER}", one.1, other.1));
                }
                _ => continue,
            };
            match gives_way {
                TOKEN_FILE => token_file = None,
                TLS_CA => tls_ca = None,
                JOIN => join = None,
                _ => join_file = None,
            }
            if unused.iter().all(|(variable, _)| *variable != gives_way.2) {
                unused.push((gives_way.2, winner.1));
            }
        }
        let join = join.map(JoinFrom::Token).or(join_file.map(JoinFrom::File));
        Ok(Self { token_file, tls_ca, join, unused })
    }
}

const EITHER: &str =
    "a worker joins with one join token, or is given a token to show and certificates to trust";

/// Whether the command line gives what one of these variables gives way to, so that they do not meet.
fn decided_by(source: impl Fn(Name) -> Option<ValueSource>, variables: [Name; 2]) -> bool {
    let gives_way = |name: Name| {
        EXCLUSIVE.iter().any(|(one, other)| {
            (*one == name && source(*other) == Some(ValueSource::CommandLine))
                || (*other == name && source(*one) == Some(ValueSource::CommandLine))
        })
    };
    variables.into_iter().any(gives_way)
}

fn both_in_environment(one: Name, other: Name) -> String {
    format!(
        "the environment has both {} and {}, which exclude each other: {EITHER}; unset one of them, or give the one that is meant on \
         the command line, as {} or {}",
        one.2, other.2, one.1, other.1
    )
}

impl FromArgMatches for Credentials {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = Given::from_arg_matches(matches)?;
        let source = |(id, ..): Name| matches.value_source(id);
        Self::new(given, source).map_err(|why| Error::raw(ErrorKind::ArgumentConflict, format!("{why}\n")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Credentials {
    fn augment_args(command: Command) -> Command {
        Given::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Given::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What comes of these, each given by the command line (`c`), the environment (`e`) or not at all, in the order of the fields.
    fn from(sources: &str) -> Result<Credentials, String> {
        let is_given = |place: usize| sources.as_bytes()[place] != b'-';
        let path = |place: usize| is_given(place).then(|| PathBuf::from("x"));
        let given = Given {
            token_file: path(0),
            tls_ca: path(1),
            join: is_given(2).then(|| "x".to_owned()),
            join_file: path(3),
        };
        let order = [TOKEN_FILE, TLS_CA, JOIN, JOIN_FILE];
        Credentials::new(given, |name| {
            let place = order.iter().position(|one| *one == name)?;
            match sources.as_bytes()[place] {
                b'c' => Some(ValueSource::CommandLine),
                b'e' => Some(ValueSource::EnvVariable),
                _ => None,
            }
        })
    }

    #[test]
    fn the_environment_gives_way_to_the_command_line() {
        let joins = |sources: &str| {
            let Credentials { token_file, tls_ca, join, .. } = from(sources).unwrap();
            assert!(join.is_none() || (token_file.is_none() && tls_ca.is_none()), "{sources}");
            join
        };
        for sources in ["ee-c", "e--c", "-e-c", "eeec", "---c", "---e", "--ec"] {
            assert!(matches!(joins(sources), Some(JoinFrom::File(_))), "{sources}");
        }
        for sources in ["eec-", "eece", "--e-"] {
            assert!(matches!(joins(sources), Some(JoinFrom::Token(_))), "{sources}");
        }
        for sources in ["c--e", "c-e-", "ce-e", "-cee", "cc--", "ee--"] {
            assert!(joins(sources).is_none(), "{sources}");
        }
        assert_eq!(
            from("ee-c").unwrap().unused,
            [("SWEEP_TOKEN_FILE", "--join-file"), ("SWEEP_TLS_CA", "--join-file")]
        );
        assert!(from("ce--").unwrap().tls_ca.is_some() && from("ee--").unwrap().unused.is_empty());
    }

    #[test]
    fn a_command_line_is_refused_with_what_excludes_each_other() {
        #[derive(clap::Parser)]
        struct Start {
            #[command(flatten)]
            credentials: Credentials,
        }
        let parsed = |line: &[&str]| <Start as clap::Parser>::try_parse_from([&["start"], line].concat());
        let credentials = parsed(&["--join-file", "x"]).ok().unwrap().credentials;
        assert!(matches!(credentials.join, Some(JoinFrom::File(path)) if path == Path::new("x")));
        let refused = parsed(&["--join-file", "x", "--tls-ca", "y"]).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ArgumentConflict);
        assert!(refused.to_string().starts_with("error: --join-file and --tls-ca exclude"), "{refused}");
    }

    #[test]
    fn what_excludes_each_other_in_one_place_is_named_as_it_was_given() {
        for (sources, expected) in [
            ("c--c", "--join-file and --token-file exclude each other"),
            ("-cc-", "--join and --tls-ca exclude each other"),
            ("--cc", "--join and --join-file exclude each other"),
            ("e--e", "the environment has both SWEEP_JOIN_FILE and SWEEP_TOKEN_FILE"),
            ("--ee", "the environment has both SWEEP_JOIN and SWEEP_JOIN_FILE"),
        ] {
            let told = from(sources).unwrap_err();
            assert!(told.contains(expected), "{sources}: {told}");
        }
    }
}
