//! Parameters as arguments, in each of the forms that a macro can ask for.

use serde_json::{Map, Value};

use super::{MacroError, Style};

/// How each parameter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `--name=value`.
    Args,
    /// The same, with `--no-name` for false.
    BooleanOptional,
    /// `--name`, `value`.
    NoEquals,
    /// `name=value`.
    NoHyphens,
    /// `--name=value`, `--name` for true, nothing for false.
    NoBooleanFlags,
    /// `+name=value`.
    AppendHydra,
    /// `++name=value`.
    OverrideHydra,
}

impl Form {
    pub(super) fn of_macro(name: &str) -> Option<Self> {
        match name {
            "args" => Some(Self::Args),
            "args_boolean_optional" => Some(Self::BooleanOptional),
            "args_no_equals" => Some(Self::NoEquals),
            "args_no_hyphens" => Some(Self::NoHyphens),
            "args_no_boolean_flags" => Some(Self::NoBooleanFlags),
            "args_append_hydra" => Some(Self::AppendHydra),
            "args_override_hydra" => Some(Self::OverrideHydra),
            _ => None,
        }
    }
}

/// All parameters in a form, in the order of their names.
pub(super) fn arguments(
    parameters: &Map<String, Value>,
    form: Form,
    style: Style,
) -> Result<Vec<String>, MacroError> {
    let (mut flat, mut arguments) = (Vec::new(), Vec::new());
    flatten("", parameters, &mut flat);
    for (name, value) in flat {
        check_name(&name)?;
        push(&name, value, form, style, &mut arguments)?;
    }
    Ok(arguments)
}

/// Nested parameters have dots in their arguments' names.
fn flatten<'a>(prefix: &str, parameters: &'a Map<String, Value>, flat: &mut Vec<(String, &'a Value)>) {
    for (name, value) in parameters {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), inner, flat),
            value => flat.push((name, value)),
        }
    }
}

/// What comes before the first `=` must be the whole name, and nothing else.
fn check_name(name: &str) -> Result<(), MacroError> {
    let wrong = |reason| Err(MacroError::Name { name: name.to_owned(), reason });
    match name {
        "" => wrong("it is empty"),
        name if name.starts_with('-') => wrong("it begins with a hyphen"),
        name if name.contains('=') => wrong("it contains ="),
        name if name.contains(|character: char| character.is_whitespace() || character.is_control()) => {
            wrong("it contains spaces or control characters")
        }
        _ => Ok(()),
    }
}

fn push(
    name: &str,
    value: &Value,
    form: Form,
    style: Style,
    arguments: &mut Vec<String>,
) -> Result<(), MacroError> {
    let wrong = |reason| Err(MacroError::Value { name: name.to_owned(), reason });
    let is_flag_form = match style {
        Style::Argparse => {
            matches!(form, Form::Args | Form::BooleanOptional | Form::NoEquals | Form::NoBooleanFlags)
        }
        Style::Wandb => matches!(form, Form::BooleanOptional | Form::NoBooleanFlags),
    };
    match value {
        Value::Bool(true) if is_flag_form => arguments.push(format!("--{name}")),
        Value::Bool(false) if form == Form::BooleanOptional => arguments.push(format!("--no-{name}")),
        Value::Bool(false) if is_flag_form => {}
        Value::Null if style == Style::Argparse && is_flag_form => {}
        value => {
            let text = match form {
                Form::AppendHydra | Form::OverrideHydra if style == Style::Argparse => hydra(value),
                Form::NoHyphens if style == Style::Argparse && value.is_null() => "null".to_owned(),
                _ => python(value),
            };
            if text.contains('\0') {
                return wrong("it contains a NUL character, which no argument can");
            }
            match form {
                // As an argument of its own it would be taken for the name of another.
                Form::NoEquals if value.is_string() && text.starts_with('-') => {
                    return wrong("it begins with a hyphen; use ${args}");
                }
                Form::NoEquals => arguments.extend([format!("--{name}"), text]),
                Form::NoHyphens => arguments.push(format!("{name}={text}")),
                Form::AppendHydra => arguments.push(format!("+{name}={text}")),
                Form::OverrideHydra => arguments.push(format!("++{name}={text}")),
                Form::Args | Form::BooleanOptional | Form::NoBooleanFlags => {
                    arguments.push(format!("--{name}={text}"));
                }
            }
        }
    }
    Ok(())
}

/// A value as Python's `str` writes it, up to how a number is written.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A value in the grammar of Hydra's overrides, in which a text that could be read as anything else is quoted.
fn hydra(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '_' | '-' | '.' | '/'));
    let lower = text.to_ascii_lowercase();
    if is_plain && !["true", "false", "null", "nan", "inf"].contains(&lower.as_str()) {
        return text.clone();
    }
    let mut quoted = String::from("'");
    for (at, character) in text.char_indices() {
        // A backslash is only one of the grammar's where a quote follows what backslashes there are.
        if character == '\'' {
            quoted.push('\\');
        } else if character == '\\' {
            let after = text[at..].trim_start_matches('\\');
            if after.is_empty() || after.starts_with('\'') {
                quoted.push('\\');
            }
        } else if character == '$' && text[at..].starts_with("${") {
            // OmegaConf would look for another value of that name.
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}
