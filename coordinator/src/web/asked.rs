//! What a query or a body says, or what is wrong with it, in words for who wrote it: serde's own name types and not what would be right.

use axum::{
    extract::{
        Query,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};

use super::answers::{Answered, Code, Refusal};

/// What axum says before what serde says.
const BEFORE: &[&str] = &[
    "Failed to deserialize query string: ",
    "Failed to deserialize the JSON body into the target type: ",
    "Failed to parse the request body as JSON: ",
];
/// Where something is asked for: in an address, or in a body of JSON.
const ADDRESS: Place = Place { it: "it takes", nothing: "it takes nothing after the `?`" };
const BODY: Place = Place { it: "the body takes", nothing: "the body is {}" };

/// How messages speak of where something is asked for.
#[derive(Debug, Clone, Copy)]
struct Place {
    it: &'static str,
    nothing: &'static str,
}

/// What a query says, or what is wrong with it.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Answered<T> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(error) => Err(Refusal::invalid(in_address(&error.body_text()))),
    }
}

/// What a body of at most this many bytes says, or what is wrong with it.
pub(super) fn body<T>(body: Result<T, JsonRejection>, bytes_max: usize) -> Answered<T> {
    body.map_err(|error| {
        let said = match error.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "the body is not said to be JSON: send it with the header `Content-Type: application/json`"
                    .to_owned()
            }
            StatusCode::PAYLOAD_TOO_LARGE => format!("the body has more than {bytes_max} bytes"),
            _ => in_body(&error.body_text()),
        };
        Refusal::new(error.status(), Code::Invalid, said)
    })
}

/// A message of serde in words of an address.
fn in_address(text: &str) -> String {
    let text = serdes(text);
    if let Some((_, name)) = text.split_once("missing field ") {
        return format!("{name} is missing: add {}=… after the `?`", name.trim_matches('`'));
    }
    worded(text, ADDRESS)
}

/// The same of JSON.
pub(super) fn in_body(text: &str) -> String {
    let (text, place) = match serdes(text).rsplit_once(" at line ") {
        Some((text, place)) => (text, format!(" (line {})", place.replace(" column ", ", character "))),
        None => (serdes(text), String::new()),
    };
    if let Some((_, name)) = text.split_once("missing field ") {
        return format!("{name} is missing{place}");
    }
    let is_syntax = !["field `", "variant `", "invalid "].iter().any(|sign| text.contains(sign));
    if is_syntax {
        return format!("this is no JSON: {text}{place}");
    }
    worded(text, BODY) + &place
}

/// What serde says of it.
fn serdes(text: &str) -> &str {
    BEFORE.iter().find_map(|before| text.strip_prefix(before)).unwrap_or(text)
}

/// What is wrong with a field.
fn worded(text: &str, place: Place) -> String {
    if let Some(found) = unknown(text, "unknown field ") {
        return match found {
            (name, Some(known)) => format!("there is no {name} here: {} {known}", place.it),
            (name, None) => format!("there is no {name} here: {}", place.nothing),
        };
    }
    if let Some((_, name)) = text.split_once("duplicate field ") {
        return format!("{name} is there twice; leave one of them out");
    }
    let Some((name, fault)) = text.split_once(": ").filter(|(name, _)| !name.starts_with("invalid ")) else {
        return typed(text).map_or_else(|| text.to_owned(), |said| format!("this is {said}"));
    };
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
        fault => match typed(fault) {
            Some(said) => format!("`{name}` is {said}"),
            None => format!("`{name}`: {fault}"),
        },
    }
}

/// What a value is instead of what it was: `invalid type: string "a", expected u64`.
fn typed(fault: &str) -> Option<String> {
    let said = fault.strip_prefix("invalid type: ").or_else(|| fault.strip_prefix("invalid value: "))?;
    let (found, expected) = said.rsplit_once(", expected ")?;
    let expected = match expected {
        "u64" | "u32" | "usize" => "a whole number from 0 on",
        "a boolean" => "`true` or `false`",
        "a string" => "a text",
        "a sequence" => "a list",
        "f64" | "f32" => "a number",
        other if other.starts_with("struct ") || other == "a map" => "an object, `{…}`",
        other => other,
    };
    Some(format!(
        "{expected}, not {}",
        found.replace("boolean ", "").replace("sequence", "a list").replace("map", "an object")
    ))
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
    use axum::Json;
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
        in_address(&Query::<T>::try_from_uri(&uri).unwrap_err().body_text())
    }

    fn said_of(json: &str) -> String {
        in_body(&Json::<Asked>::from_bytes(json.as_bytes()).unwrap_err().body_text())
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
            ("colour=red&rows=1&rows=2", "`rows` is there twice; leave one of them out"),
            ("colour=red&x=1", "there is no `x` here: it takes one of `colour`, `rows`, `whole`"),
        ] {
            assert_eq!(said::<Asked>(query), expected, "{query}");
        }
        assert_eq!(said::<Nothing>("x=1"), "there is no `x` here: it takes nothing after the `?`");
    }

    #[test]
    fn what_is_wrong_in_a_body_is_said_with_its_place() {
        for (body, expected) in [
            (
                r#"{"colour": "red", "rows": "a"}"#,
                "`rows` is a whole number from 0 on, not string \"a\" (line 1, character 29)",
            ),
            (
                r#"{"colour": "red", "rows": -1}"#,
                "`rows` is a whole number from 0 on, not integer `-1` (line 1, character 28)",
            ),
            (
                r#"{"colour": "red", "whole": 1}"#,
                "`whole` is `true` or `false`, not integer `1` (line 1, character 28)",
            ),
            (
                r#"{"colour": "pink"}"#,
                "`colour` is one of `red`, `green`, `blue`, not `pink` (line 1, character 17)",
            ),
            (r#"{"rows": 1}"#, "`colour` is missing (line 1, character 11)"),
            (
                r#"{"colour": "red", "rows": 1, "rows": 2}"#,
                "`rows` is there twice; leave one of them out (line 1, character 35)",
            ),
            (
                r#"{"colour": "red", "x": 1}"#,
                "there is no `x` here: the body takes one of `colour`, `rows`, `whole` (line 1, character 21)",
            ),
            ("7", "this is an object, `{…}`, not integer `7` (line 1, character 1)"),
            ("{", "this is no JSON: EOF while parsing an object (line 1, character 1)"),
        ] {
            assert_eq!(said_of(body), expected, "{body}");
        }
    }
}
