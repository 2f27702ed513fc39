//! The keys of a program: its command, its files, its environment and where its metrics come from.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use terms::command::{self, MACROS, Part, PartsError, VARIABLE};

use super::checked::text;

/// Most arguments of a command.
const ARGUMENTS_MAX: usize = 1_000;
/// Longest argument, in bytes.
const ARGUMENT_BYTES_MAX: usize = 10_000;
/// Most entries of `files`: each may be a glob.
const FILES_MAX: usize = 100;
/// Longest path or glob, in bytes: the limit of Linux.
const PATH_BYTES_MAX: usize = 4_096;
/// Most variables of `env`.
const VARIABLES_MAX: usize = 100;
/// Longest value of a variable, in bytes.
const VARIABLE_BYTES_MAX: usize = 10_000;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 10_000;
/// Memory of a compiled pattern, in bytes. Only nested repetitions need more.
const PATTERN_COMPILED_BYTES_MAX: usize = 1 << 20;

/// A text that `check` accepts, or else explains.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $expected:expr, $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name(pub(super) String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let check: fn(&str) -> bool = $check;
                let value = text(deserializer, $expected, |value| check(&value).then_some(value))?;
                value.map(Self).ok_or_else(|| D::Error::custom(format!("expected {}", $expected)))
            }
        }
    )+};
}

texts! {
    /// The script of `program:`.
    ProgramPath = "the path of a script below the folder of the sweep file, such as train.py; for another place write \
        `command: [python3, /path/train.py, \"${args}\"]`",
        |path| is_relative(path) && !path.starts_with('-');
    /// A path below a folder.
    RelativePath = "a path below the program's folder, such as logs/metrics.csv", is_relative;
    /// A path or a glob of `files`.
    Glob = "a path or a glob below the folder of the sweep file, such as train.py or \"lib/**\"", is_relative;
    /// An argument of `command`.
    Argument = "an argument of at most 10000 bytes", |argument| argument.len() <= ARGUMENT_BYTES_MAX && !argument.contains('\0');
    /// The value of a variable.
    Value = "a text of at most 10000 bytes", |value| value.len() <= VARIABLE_BYTES_MAX && !value.contains('\0');
    /// The name of a variable.
    Variable = "the name of a variable, such as OMP_NUM_THREADS: letters, digits and `_`", is_variable;
}

fn is_relative(path: &str) -> bool {
    let fits = !path.is_empty() && path.len() <= PATH_BYTES_MAX && !path.chars().any(char::is_control);
    let plain = !path.starts_with('/') && !path.contains('\\') && !path.starts_with('~');
    fits && plain && path.split('/').all(|part| part != "..")
}

fn is_variable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.len() <= 200
        && name.chars().all(allowed)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The arguments of `command`.
#[derive(Debug)]
pub(super) struct Command(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CommandVisitor)
    }
}

/// Reads the arguments, so that an error is reported with its place.
struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of arguments, as in `[python3, train.py, \"${args}\"]`; no shell splits them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
        let mut arguments = Vec::new();
        while let Some(Argument(argument)) = list.next_element()? {
            check_macros(&argument).map_err(A::Error::custom)?;
            arguments.push(argument);
            if arguments.len() > ARGUMENTS_MAX {
                return Err(A::Error::custom(format!("there are more than {ARGUMENTS_MAX} arguments")));
            }
        }
        if arguments.is_empty() {
            return Err(A::Error::custom("the command is empty; name at least a program"));
        }
        Ok(Command(arguments))
    }
}

/// The entries of `files`.
#[derive(Debug)]
pub(super) struct Files(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let globs: Vec<Glob> = Vec::deserialize(deserializer)?;
        if globs.len() > FILES_MAX {
            let message = format!("there are more than {FILES_MAX} entries; use globs such as \"lib/**\"");
            return Err(D::Error::custom(message));
        }
        Ok(Self(globs.into_iter().map(|glob| glob.0).collect()))
    }
}

/// Checks that all macros of an argument are known, where `$${` stands for `${` itself.
fn check_macros(argument: &str) -> Result<(), String> {
    let parts = command::parts(argument).map_err(|error| match error {
        PartsError::Open => {
            format!("`{argument}` has a `${{` that is not closed; write `$${{` for one of your own")
        }
        PartsError::Unknown(name) => unknown_macro(name),
    })?;
    let is_impossible =
        |name: &&str| name.strip_prefix(VARIABLE).is_some_and(|variable| !is_variable(variable));
    let mut macros = parts.into_iter().filter_map(|part| match part {
        Part::Macro(name) => Some(name),
        Part::Text(_) => None,
    });
    macros.find(is_impossible).map_or(Ok(()), |name| Err(unknown_macro(name)))
}

fn unknown_macro(name: &str) -> String {
    let hint = super::suggestion::suggestion(name, MACROS);
    format!(
        "`${{{name}}}` is not a macro; there are {} and {VARIABLE}NAME; write `$${{` for a `${{` of your own{hint}",
        MACROS.join(", ")
    )
}

/// A regular expression for lines that a program prints.
#[derive(Debug)]
pub(super) struct Pattern(pub(super) String);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a regular expression of at most 10000 bytes with a named group for each metric, such as \
                        'epoch (?P<epoch>\\d+): loss=(?P<loss>\\S+)'";
        let pattern = text(deserializer, expected, |text| (text.len() <= PATTERN_BYTES_MAX).then_some(text))?;
        let pattern = pattern.ok_or_else(|| D::Error::custom(format!("expected {expected}")))?;
        let regex = regex::RegexBuilder::new(&pattern).size_limit(PATTERN_COMPILED_BYTES_MAX).build();
        let regex = regex.map_err(|error| {
            // The lines before the last only point at the place.
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            D::Error::custom(format!("expected {expected}, but this one cannot be read: {why}"))
        })?;
        if regex.capture_names().flatten().all(|name| name == "epoch") {
            return Err(D::Error::custom(format!("the pattern names no metric; expected {expected}")));
        }
        Ok(Self(pattern))
    }
}

/// The variables of `env`.
#[derive(Debug)]
pub(super) struct Variables(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VariablesVisitor)
    }
}

struct VariablesVisitor;

impl<'de> Visitor<'de> for VariablesVisitor {
    type Value = Variables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables by name, as in `{OMP_NUM_THREADS: \"4\"}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variables, A::Error> {
        let mut variables = BTreeMap::new();
        while let Some(Variable(name)) = map.next_key()? {
            if let Some(refusal) = reserved(&name) {
                return Err(A::Error::custom(refusal));
            }
            let Value(value) = map.next_value()?;
            if variables.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the variable `{name}` is listed twice")));
            }
            if variables.len() > VARIABLES_MAX {
                return Err(A::Error::custom(format!("there are more than {VARIABLES_MAX} variables")));
            }
        }
        Ok(Variables(variables))
    }
}

/// Why a sweep file cannot set a variable.
fn reserved(name: &str) -> Option<String> {
    if name.starts_with("SWEEP_") {
        return Some(format!(
            "`{name}` cannot be set: variables that begin with SWEEP_ are those that sweep itself sets for programs"
        ));
    }
    (name == "CUDA_VISIBLE_DEVICES").then(|| {
        format!("`{name}` cannot be set: each job is given its own GPUs; say how many it needs with `resources: {{gpus: N}}`")
    })
}
