//! Foreign text made safe for each kind of output. Names, reasons, log lines, paths and class names come from other
//! machines and from files. Printed as they are, their escape sequences move the cursor, change colours and titles, or
//! reorder what a person reads. Every output passes its text through the function for its kind:
//! | output | function |
//! |---|---|
//! | one line on a terminal | [`line()`] |
//! | several lines on a terminal | [`lines`] |
//! | a cell of CSV | [`csv_cell`] |
//! | a JSON document | [`json`] |
//! | HTML and SVG | [`html`] |
//! | Markdown | [`markdown`] |
//!
//! What is unsafe is shown as its code point, `\u{1b}`, so that it is neither lost nor acted upon.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character acts on the output instead of being shown: C0 and C1 control characters, DEL, the controls of
/// bidirectional text (Unicode Standard Annex 9, table 1), line and paragraph separators, and the invisible
/// characters of Unicode's annotation and tag blocks.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text for one line: line breaks become spaces, other unsafe characters are shown as their code points.
pub fn line(text: &str) -> Cow<'_, str> {
    replace(text, |character, safe| match character {
        '\n' | '\r' | '\t' => safe.push(' '),
        other => shown(other, safe),
    })
}

/// Text of several lines: line breaks and tabs stay, other unsafe characters are shown as their code points.
pub fn lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|character| is_unsafe(character) && !matches!(character, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n");
    Cow::Owned(
        replace(&text, |character, safe| match character {
            '\n' | '\t' => safe.push(character),
            other => shown(other, safe),
        })
        .into_owned(),
    )
}

/// A log record, which is one line: its last line break ends it, and any other is shown, so that no text in it can pass
/// for a record of its own. With `colours`, which the program adds itself, the escape character stays.
pub(crate) fn record(record: &str, colours: bool) -> String {
    let (text, end) = record.strip_suffix('\n').map_or((record, ""), |text| (text, "\n"));
    let safe = replace(text, |character, safe| match character {
        '\t' => safe.push(character),
        '\u{1b}' if colours => safe.push(character),
        other => shown(other, safe),
    });
    safe.into_owned() + end
}

/// Text for a cell of CSV, before quoting: unsafe characters except line breaks and tabs are shown as their code
/// points, and what a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV Injection"). Not for
/// numbers: a cell that is meant as a number must not pass through here.
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let safe = lines(text);
    if formula { Cow::Owned(format!("'{safe}")) } else { safe }
}

/// A serialised JSON document in which every unsafe character that JSON allows is written as `\uXXXX`, which reads back
/// as the same text. Line breaks and tabs between values stay.
pub fn json(document: &str) -> Cow<'_, str> {
    if !document.contains(|character| is_unsafe(character) && !matches!(character, '\n' | '\t')) {
        return Cow::Borrowed(document);
    }
    Cow::Owned(
        replace(document, |character, safe| match character {
            '\n' | '\t' => safe.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    // Writing to a string cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
        })
        .into_owned(),
    )
}

/// Text for the content or a quoted attribute of HTML or SVG.
pub fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(character),
            other => push_safe(other, &mut safe),
        }
    }
    safe
}

/// Text for one line of Markdown, also a table's cell: line breaks become spaces, and everything with a meaning in
/// Markdown is escaped, including what GitHub's takes for an address: `https://`, `www.` and `@`.
pub fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + character.len_utf8()..]);
        match character {
            '\n' | '\r' | '\t' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '|' | '#' | '@' => safe.extend(['\\', character]),
            ':' if after.starts_with("//") => safe.push_str("\\:"),
            '.' if ends_with_www(before) => safe.push_str("\\."),
            other => push_safe(other, &mut safe),
        }
    }
    safe
}

fn ends_with_www(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 3 && bytes[bytes.len() - 3..].eq_ignore_ascii_case(b"www")
}

/// Replaces the unsafe characters of a text, which is copied only where it has some.
fn replace(text: &str, mut with: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else { return Cow::Borrowed(text) };
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(&text[..first]);
    for character in text[first..].chars() {
        if is_unsafe(character) { with(character, &mut safe) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

fn push_safe(character: char, safe: &mut String) {
    if is_unsafe(character) { shown(character, safe) } else { safe.push(character) }
}

fn shown(character: char, safe: &mut String) {
    safe.extend(character.escape_unicode());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A text that controls a terminal, reorders what is read, and is markup and a formula.
    const HOSTILE: &str = "=\u{1b}[2J\u{9b}31m\u{7}\u{202e}<b a='\"'>|`\r\n\u{2028}&\u{e0041}";

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(line(HOSTILE), "=\\u{1b}[2J\\u{9b}31m\\u{7}\\u{202e}<b a='\"'>|`  \\u{2028}&\\u{e0041}");
        assert_eq!(lines("a\tb\r\nc\u{1b}[0m\u{8}"), "a\tb\nc\\u{1b}[0m\\u{8}", "lines and tabs stay");
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["relu", "活性化関数", "naïve ☕ 👩‍👩‍👧", "שלום", "a=b", "x_y"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text), "{text}");
            assert!(matches!(csv_cell(text), Cow::Borrowed(same) if same == text), "{text}");
            assert!(matches!(json(text), Cow::Borrowed(same) if same == text), "{text}");
            assert_eq!(html(text), text);
        }
    }

    #[test]
    fn a_record_of_a_log_is_one_line() {
        let forged = "WARN reason=\u{1b}[1mlost\nERROR the store is\r\ngone\u{2028}\n";
        let plain = "WARN reason=\\u{1b}[1mlost\\u{a}ERROR the store is\\u{d}\\u{a}gone\\u{2028}\n";
        assert_eq!(record(forged, false), plain);
        assert_eq!(record(forged, true), plain.replace("\\u{1b}", "\u{1b}"));
        assert_eq!(record("INFO a\tb\n", false), "INFO a\tb\n");
    }

    #[test]
    fn a_cell_is_no_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert!(csv_cell(formula).starts_with('\''), "{formula:?}");
        }
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(html("<script>\"'&\u{1b}"), "&lt;script&gt;&quot;&#39;&amp;\\u{1b}");
        assert_eq!(markdown("_a_ ~~b~~ snake_case"), "\\_a\\_ \\~\\~b\\~\\~ snake\\_case");
        assert_eq!(
            markdown("https://evil.test, WWW.evil.test, a@b.test at 12:30. www"),
            "https\\://evil.test, WWW\\.evil.test, a\\@b.test at 12:30. www"
        );
        assert_eq!(markdown("a|b\n# `c` <d> [e](f) *g*"), "a\\|b \\# \\`c\\` &lt;d> \\[e\\](f) \\*g\\*");
    }

    proptest! {
        #[test]
        fn no_unsafe_character_is_left_whatever_the_text(text in "\\PC*|(?s).{0,40}|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}a\"\\\\]{0,20}") {
            prop_assert!(!line(&text).contains(is_unsafe));
            for safe in [lines(&text), csv_cell(&text), Cow::Owned(html(&text))] {
                prop_assert!(!safe.contains(|c| is_unsafe(c) && !matches!(c, '\n' | '\t')));
            }
            prop_assert!(!markdown(&text).contains(is_unsafe));
            let document = serde_json::to_string(&text).unwrap();
            let safe = json(&document);
            prop_assert!(!safe.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }
    }
}
