//! The command of a job: W&B's macros replaced by the job's parameters. The result is a list of arguments for `execve`; no
//! shell ever reads it, so parameter names and values stay data.
//!
//! **Booleans and nulls.** W&B writes `--flag=True`, `--flag=False` and `--x=None`, which `argparse` understands in none of
//! its usual ways: `store_true` refuses a value, `type=bool` takes the text `False` for true, and `None` stays a text. With
//! [`Style::Argparse`], the default, true is `--flag`, and what is false or null is left out, as `store_true` and the
//! defaults of other arguments expect. `${args_boolean_optional}` writes false as `--no-flag`, for
//! `argparse.BooleanOptionalAction` and for flags whose default is true. [`Style::Wandb`] writes all macros as W&B does, for
//! sweep files that were made for it.

mod arguments;

use std::{ffi::OsString, path::Path};

use serde_json::{Map, Value};
use terms::command::{self, MACROS, Part, PartsError, VARIABLE};
pub use trainer_protocol::ArgumentStyle as Style;

use self::arguments::{Form, arguments};

/// The command of a sweep file that only names a program: W&B's.
pub const DEFAULT_COMMAND: [&str; 4] = ["${env}", "${interpreter}", "${program}", "${args}"];

/// What macros are replaced by.
pub struct Facts<'a> {
    /// `program:` of the sweep file.
    pub program: Option<&'a str>,
    /// The job's parameters by name; nested ones are objects, or have dots in their names.
    pub parameters: &'a Map<String, Value>,
    /// How they become arguments.
    pub style: Style,
    /// Path of the file that holds them as JSON.
    pub parameters_file: &'a Path,
    /// The Python that runs programs.
    pub interpreter: &'a str,
    /// The program's environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacroError {
    /// No macro has this name.
    #[error(
        "the command has ${{{found}}}, which is no macro; there are {}; write $${{ for a ${{ of your own",
        all_macros()
    )]
    Unknown {
        /// What stands between the braces.
        found: String,
    },
    /// The brace is never closed.
    #[error("the command has {item:?}, where a ${{ is not closed; write $${{ for a ${{ of your own")]
    Open {
        /// The argument.
        item: String,
    },
    /// A macro that stands for a list of arguments is only a part of one.
    #[error(
        "the command has {item:?}, but ${{{name}}} stands for several arguments and must be one by itself"
    )]
    Several {
        /// The macro.
        name: String,
        /// The argument.
        item: String,
    },
    /// `${program}` without `program:`.
    #[error("the command has ${{program}}, but the sweep file has no program:")]
    NoProgram,
    /// There is no such variable.
    #[error("the command has ${{envvar:{0}}}, but there is no such variable; set it in execution.env")]
    NoVariable(String),
    /// A parameter's name cannot be an argument's.
    #[error("the parameter {name:?} cannot be an argument: {reason}; rename it, or use ${{args_json}}")]
    Name {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A parameter's value cannot be an argument's.
    #[error("the value of the parameter {name:?} cannot be an argument: {reason}")]
    Value {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing is left to run.
    #[error("the command is empty; name at least a program")]
    Empty,
}

fn all_macros() -> String {
    let names = MACROS.iter().map(|name| format!("${{{name}}}"));
    names.chain([format!("${{{VARIABLE}NAME}}")]).collect::<Vec<_>>().join(", ")
}

/// The arguments that a command stands for.
///
/// # Errors
/// A macro or a parameter that cannot be used.
pub fn expand(command: &[String], facts: &Facts<'_>) -> Result<Vec<OsString>, MacroError> {
    let mut arguments = Vec::with_capacity(command.len());
    for item in command {
        let parts = command::parts(item).map_err(|error| match error {
            PartsError::Open => MacroError::Open { item: item.clone() },
            PartsError::Unknown(found) => MacroError::Unknown { found: found.to_owned() },
        })?;
        let several = match parts.as_slice() {
            [Part::Macro(name)] => several(name, facts)?,
            _ => None,
        };
        match several {
            Some(several) => arguments.extend(several),
            None => arguments.push(one(item, &parts, facts)?),
        }
    }
    if arguments.is_empty() { Err(MacroError::Empty) } else { Ok(arguments) }
}

/// What a macro stands for that stands for any number of arguments.
fn several(name: &str, facts: &Facts<'_>) -> Result<Option<Vec<OsString>>, MacroError> {
    let Some(form) = Form::of_macro(name) else { return Ok(None) };
    let found = arguments(facts.parameters, form, facts.style)?;
    Ok(Some(found.into_iter().map(OsString::from).collect()))
}

/// An argument whose macros each stand for one text.
fn one(item: &str, parts: &[Part<'_>], facts: &Facts<'_>) -> Result<OsString, MacroError> {
    let mut argument = OsString::new();
    for part in parts {
        match part {
            Part::Text(text) => argument.push(text),
            Part::Macro("env") => argument.push("/usr/bin/env"),
            Part::Macro("interpreter") => argument.push(facts.interpreter),
            Part::Macro("program") => argument.push(facts.program.ok_or(MacroError::NoProgram)?),
            Part::Macro("args_json") => argument.push(json(facts.parameters, facts.style)),
            Part::Macro("args_json_file") => argument.push(facts.parameters_file),
            Part::Macro(name) => match name.strip_prefix(VARIABLE) {
                Some(variable) => argument.push(
                    (facts.variable)(variable).ok_or_else(|| MacroError::NoVariable(variable.to_owned()))?,
                ),
                None => {
                    return Err(MacroError::Several { name: (*name).to_owned(), item: item.to_owned() });
                }
            },
        }
    }
    Ok(argument)
}

/// The parameters as one JSON object. Names with dots become objects within objects, unless a W&B file is used, in which
/// they are names like others.
pub fn json(parameters: &Map<String, Value>, style: Style) -> String {
    match style {
        Style::Wandb => Value::Object(parameters.clone()).to_string(),
        Style::Argparse => Value::Object(nest(parameters)).to_string(),
    }
}

/// `{"model.layers": 3}` as `{"model": {"layers": 3}}`. A name whose place another one has, such as `model` next to
/// `model.layers`, stays as it is.
fn nest(parameters: &Map<String, Value>) -> Map<String, Value> {
    let mut nested = Map::new();
    // What has no dots comes first, so that the others are those that stay as they are.
    let (dotted, plain): (Vec<_>, Vec<_>) = parameters.iter().partition(|(name, _)| name.contains('.'));
    for (name, value) in plain.into_iter().chain(dotted) {
        if !place(&mut nested, name, value) {
            nested.insert(name.clone(), value.clone());
        }
    }
    nested
}

/// False where the place is taken.
fn place(nested: &mut Map<String, Value>, name: &str, value: &Value) -> bool {
    match name.split_once('.') {
        None if nested.contains_key(name) => false,
        None => {
            nested.insert(name.to_owned(), value.clone());
            true
        }
        Some(("", _) | (_, "")) => false,
        Some((first, rest)) => {
            let is_new = !nested.contains_key(first);
            let inner = nested.entry(first).or_insert_with(|| Value::Object(Map::new()));
            let is_placed = inner.as_object_mut().is_some_and(|inner| place(inner, rest, value));
            if is_new && !is_placed {
                nested.remove(first);
            }
            is_placed
        }
    }
}

#[cfg(test)]
mod tests;
