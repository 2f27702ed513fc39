//! What a query says, or what is wrong with it, in words for who wrote the address: serde's own name types and not what would be right.

use axum::extract::{Query, rejection::QueryRejection};

use super::answers::{Answered, Refusal};

/// What axum says before what serde says.
const BEFORE: &str = "Failed to deserialize query string: ";

/// What a query says, or what is wrong with it.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Answered<T> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(error) => Err(Refusal::invalid(worded(&error.body_text()))),
    }
}

/// A message of serde in words of an address.
fn worded(text: &str) -> String {
    let text = text.strip_prefix(BEFORE).unwrap_or(text);
    if let Some(found) = unknown(text, "unknown field ") {
        return match found {
            (name, Some(known)) => format!("there is no {name} here: it takes {known}"),
            (name, None) => format!("there is no {name} here: it takes nothing after the `?`"),
        };
    }
    if let Some((_, name)) = text.split_once("missing field ") {
        return format!("{name} is missing: add {}=… after the `?`", name.trim_matches('`'));
    }
    let Some((name, fault)) = text.split_once(": ") else { return text.to_owned() };
    if let Some((found, Some(known))) = unknown(fault, "unknown variant ") {
        return format!("`{name}` is {known}, not {found}");
    }
    match fault {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            format!("`{name}` is a whole number")
        }
        "number too large to fit in target type" => format!("`{name}` is too large a number"),
        fault if fault.starts_with("provided string was not `true` or `false`") => {
            format!("`{name}` is `true` or `false`")
        }
        fault => format!("`{name}`: {fault}"),
    }
}

/// The name that is not known, and those that are.
fn unknown<'t>(text: &'t str, kind: &str) -> Option<(&'t str, Option<&'t str>)> {
    let (_, said) = text.split_once(kind)?;
    Some(match said.split_once(", expected ") {
        Some((name, known)) => (name, Some(known)),
        None => (said.split_once(", ").map_or(said, |(name, _)| name), None),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
        Green,
        Blue,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "they are only read from an address")]
    struct Asked {
        colour: Colour,
        #[serde(default)]
        rows: u32,
        #[serde(default)]
        whole: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    fn said<T: serde::de::DeserializeOwned + std::fmt::Debug>(query: &str) -> String {
        let uri = format!("http://localhost/?{query}").parse().unwrap();
        worded(&Query::<T>::try_from_uri(&uri).unwrap_err().body_text())
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (query, expected) in [
            ("colour=pink", "`colour` is one of `red`, `green`, `blue`, not `pink`"),
            ("rows=1", "`colour` is missing: add colour=… after the `?`"),
            ("colour=red&rows=x", "`rows` is a whole number"),
            ("colour=red&rows=", "`rows` is a whole number"),
            ("colour=red&rows=99999999999", "`rows` is too large a number"),
            ("colour=red&whole=1", "`whole` is `true` or `false`"),
            ("colour=red&x=1", "there is no `x` here: it takes one of `colour`, `rows`, `whole`"),
        ] {
            assert_eq!(said::<Asked>(query), expected, "{query}");
        }
        assert_eq!(said::<Nothing>("x=1"), "there is no `x` here: it takes nothing after the `?`");
    }
}
