//! The lines of a searcher: each is a point, the end of the search, or wrong.

use std::io::{BufRead, Read};

use proto::{parameters_to_wire, v1};
use serde::Deserialize;
use serde_json::{Map, Value};
use terms::{ParameterMap, ParameterValue};
use tokio::sync::mpsc;

use crate::cli::failure::Failure;

/// Longest line: a point with a hundred long parameters has a tenth of it.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A line from the searcher.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    #[serde(default)]
    end: bool,
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Point(v1::SearchPoint),
    End,
    /// It says nothing that can be done; why, for the searcher.
    Wrong(String),
}

/// A line with its number, from 1.
#[derive(Debug, PartialEq)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) line: Line,
}

/// Reads lines until their end, an error of reading, or no one wants them any more.
pub(super) fn read(mut input: impl BufRead, lines: &mpsc::Sender<Result<Numbered, Failure>>) {
    let mut bytes = Vec::new();
    for number in 1.. {
        let line = match next(&mut input, &mut bytes) {
            Ok(None) => return,
            Ok(Some(Line::Wrong(_))) if bytes.trim_ascii().is_empty() => continue,
            Ok(Some(line)) => Ok(Numbered { number, line }),
            Err(error) => Err(Failure::operation(format!("line {number} of standard input: {error}"))),
        };
        let is_last = line.is_err();
        if lines.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

/// The next line, of which no more than the longest is kept.
fn next(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> std::io::Result<Option<Line>> {
    bytes.clear();
    if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(Line::Wrong(format!("the line has more than {LINE_BYTES_MAX} bytes"))));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the line is not UTF-8".to_owned());
    Ok(Some(text.and_then(parsed).unwrap_or_else(Line::Wrong)))
}

fn parsed(text: &str) -> Result<Line, String> {
    let said: Said = serde_json::from_str(text).map_err(|error| {
        // The place within the line, without the number that each line has here: 1.
        let reason = error.to_string();
        let reason = reason.replace(" at line 1 column ", " at column ");
        format!("{reason}; write {{\"parameters\":{{…}}}} or {{\"end\":true}}")
    })?;
    match (said.parameters, said.end) {
        (None, true) => Ok(Line::End),
        (Some(parameters), false) => {
            let read = |(name, value): (String, Value)| match serde_json::from_value(value) {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(format!("`{name}` must be a number, a text, true, false or null")),
            };
            let parameters: Vec<(String, ParameterValue)> =
                parameters.into_iter().map(read).collect::<Result<_, _>>()?;
            Ok(Line::Point(v1::SearchPoint { parameters: parameters_to_wire(ParameterMap(parameters)) }))
        }
        _ => Err("write either {\"parameters\":{…}} or {\"end\":true}".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proto::parameters_from_wire;

    use super::*;

    #[test]
    fn lines_of_a_searcher_are_points_or_the_end_and_others_are_refused_with_what_to_write() {
        let point =
            parsed(r#"{"parameters": {"rate": 0.5, "size": 32, "kind": "a", "flag": true, "none": null}}"#);
        let expected = vec![
            ("flag".to_owned(), ParameterValue::Boolean(true)),
            ("kind".to_owned(), ParameterValue::Text("a".to_owned())),
            ("none".to_owned(), ParameterValue::Null),
            ("rate".to_owned(), ParameterValue::Float(0.5)),
            ("size".to_owned(), ParameterValue::Integer(32)),
        ];
        let Ok(Line::Point(point)) = point else { panic!("{point:?}") };
        let mut found = parameters_from_wire(point.parameters).0;
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, expected);
        assert_eq!(parsed(r#"{"end": true}"#), Ok(Line::End));
        for (line, expected) in [
            (r#"{"rate": 0.5}"#, "unknown field `rate`, expected `parameters` or `end` at column 7; write"),
            (r#"{"parameters": {"rate": [1]}}"#, "`rate` must be a number, a text, true, false or null"),
            (r#"{"parameters": {}, "end": true}"#, "write either"),
            ("{}", "write either"),
            ("0.5", "write {\"parameters\""),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_line_that_is_wrong_ends_no_reading_and_the_others_keep_their_numbers() {
        let mut input = b"{\"end\":true}\n\n".to_vec();
        input.extend(b"{\"parameters\":\"\xff\"}\n");
        input.extend(vec![b'x'; 2 * usize::try_from(LINE_BYTES_MAX).unwrap()]);
        input.extend(b"\n{\"end\":true}");
        let (sender, mut lines) = mpsc::channel(10);
        read(input.as_slice(), &sender);
        drop(sender);
        let found = std::iter::from_fn(|| lines.blocking_recv()).map(Result::unwrap).collect::<Vec<_>>();
        let wrong = |number, why: &str| Numbered { number, line: Line::Wrong(why.to_owned()) };
        let end = |number| Numbered { number, line: Line::End };
        let long = wrong(4, "the line has more than 1048576 bytes");
        assert_eq!(found, [end(1), wrong(3, "the line is not UTF-8"), long, end(5)]);
    }
}
