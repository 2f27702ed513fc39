//! The macros of a program's command: what may stand between `${` and `}`. W&B's names, and one of our own. Where a sweep file is
//! read and where its command is run, the same is understood.

/// Macros by name; [`VARIABLE`] with a name is one, too.
pub const MACROS: [&str; 12] = [
    "env",
    "interpreter",
    "program",
    "args",
    "args_boolean_optional",
    "args_no_equals",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_append_hydra",
    "args_override_hydra",
    "args_json",
    "args_json_file",
];

/// How macros begin that stand for a variable of the environment.
pub const VARIABLE: &str = "envvar:";

/// A part of an argument of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it is.
    Text(&'a str),
    /// What stands between the braces.
    Macro(&'a str),
}

/// Why an argument cannot be cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartsError<'a> {
    /// A brace is not closed.
    Open,
    /// No macro has this name.
    Unknown(&'a str),
}

/// Cuts an argument into texts and macros; `$${` stands for `${` itself.
///
/// # Errors
/// A brace is not closed, or what stands in it is no macro.
pub fn parts(argument: &str) -> Result<Vec<Part<'_>>, PartsError<'_>> {
    let (mut parts, mut rest) = (Vec::new(), argument);
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        if let Some(text) = before.strip_suffix('$') {
            parts.extend([Part::Text(text), Part::Text("${")]);
            rest = &rest[start + 2..];
            continue;
        }
        let inner = &rest[start + 2..];
        let (name, after) = inner.split_once('}').ok_or(PartsError::Open)?;
        let is_variable = name.strip_prefix(VARIABLE).is_some_and(|variable| !variable.is_empty());
        if !MACROS.contains(&name) && !is_variable {
            return Err(PartsError::Unknown(name));
        }
        parts.extend([Part::Text(before), Part::Macro(name)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    // An argument that is nothing but a macro may stand for any number of arguments.
    parts.retain(|part| !matches!(part, Part::Text("")));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_cut_into_texts_and_macros() {
        let (text, a_macro) = (Part::Text, Part::Macro);
        for (argument, expected) in [
            ("", vec![]),
            ("train.py", vec![text("train.py")]),
            ("${args}", vec![a_macro("args")]),
            ("--x=${envvar:A}/y", vec![text("--x="), a_macro("envvar:A"), text("/y")]),
            ("$${args}", vec![text("${"), text("args}")]),
            ("a$b $5", vec![text("a$b $5")]),
        ] {
            assert_eq!(parts(argument), Ok(expected), "{argument}");
        }
        assert_eq!(parts("${args"), Err(PartsError::Open));
        assert_eq!(parts("${arg}"), Err(PartsError::Unknown("arg")));
        assert_eq!(parts("${envvar:}"), Err(PartsError::Unknown("envvar:")));
    }
}
