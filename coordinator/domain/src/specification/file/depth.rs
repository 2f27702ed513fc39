//! How deep a YAML text nests, found in one pass before it is parsed: the parser's time grows with the product of
//! length and depth, so that 200 KB of `[` would take it seconds. The pass follows the rules by which the parser's
//! scanner tells brackets of a structure from those in quotes, comments and plain text. For invalid YAML it may
//! overestimate.

/// Deepest nesting of a sweep file. The deepest valid key, a value of a point of `exclude`, is at the fourth level.
pub(super) const DEPTH_MAX: usize = 32;

/// How long a key on one line may be before its colon, in characters; YAML's own bound.
const SIMPLE_KEY_CHARACTERS_MAX: usize = 1_024;

/// The line, from 1, on which `text` nests deeper than [`DEPTH_MAX`]; none where it does not.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut scan = Scan::new(text);
    while scan.token() {
        if scan.indents.len() + scan.flow > DEPTH_MAX {
            return Some(scan.line);
        }
    }
    None
}

/// A place where a key may begin, until its colon comes.
#[derive(Clone, Copy)]
struct Key {
    at: usize,
    line: usize,
    column: usize,
}

/// The scanner's state between two tokens.
struct Scan {
    text: Vec<char>,
    at: usize,
    /// From 1.
    line: usize,
    /// From 0, in characters.
    column: usize,
    /// Columns of the open block collections.
    indents: Vec<usize>,
    /// How many brackets and braces are open.
    flow: usize,
    /// Whether a key may begin here.
    key_allowed: bool,
    /// The key that may begin outside of brackets.
    key: Option<Key>,
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

impl Scan {
    fn new(text: &str) -> Self {
        Self {
            text: text.chars().collect(),
            at: 0,
            line: 1,
            column: 0,
            indents: Vec::new(),
            flow: 0,
            key_allowed: true,
            key: None,
        }
    }

    /// The character `ahead` positions further. The parser also takes a zero for the end.
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied().filter(|c| *c != '\0')
    }

    fn is_at(&self, ahead: usize, test: impl Fn(char) -> bool) -> bool {
        self.peek(ahead).is_some_and(test)
    }

    /// Whether a blank, a line's end or the text's end is next.
    fn ends_at(&self, ahead: usize) -> bool {
        self.peek(ahead).is_none_or(|c| is_blank(c) || is_break(c))
    }

    fn step(&mut self) {
        match self.peek(0) {
            Some('\r') if self.peek(1) == Some('\n') => {
                self.at += 2;
                (self.line, self.column) = (self.line + 1, 0);
            }
            Some(c) if is_break(c) => {
                self.at += 1;
                (self.line, self.column) = (self.line + 1, 0);
            }
            _ => {
                self.at += 1;
                self.column += 1;
            }
        }
    }

    fn skip_while(&mut self, test: impl Fn(char) -> bool) {
        while self.is_at(0, &test) {
            self.step();
        }
    }

    /// Skips one token; false at the end.
    fn token(&mut self) -> bool {
        self.skip_to_token();
        let Some(c) = self.peek(0) else { return false };
        let stale = |key: &Key| key.line != self.line || key.at + SIMPLE_KEY_CHARACTERS_MAX < self.at;
        if self.key.as_ref().is_some_and(stale) {
            self.key = None;
        }
        self.close_blocks(self.column);
        let is_indicator = self.ends_at(1);
        match c {
            '%' if self.column == 0 => self.skip_while(|c| !is_break(c)),
            '-' | '.' if self.is_document_mark() => {
                self.indents.clear();
                (self.key, self.key_allowed) = (None, false);
                (0..3).for_each(|_| self.step());
            }
            '[' | '{' => {
                self.begin_key();
                (self.flow, self.key_allowed) = (self.flow + 1, true);
                self.step();
            }
            ']' | '}' => {
                (self.flow, self.key_allowed) = (self.flow.saturating_sub(1), false);
                self.step();
            }
            ',' => {
                self.key_allowed = true;
                self.step();
            }
            '-' if is_indicator => {
                self.open_block(self.column);
                self.key_allowed = true;
                self.step();
            }
            '?' if is_indicator || self.flow > 0 => {
                self.open_block(self.column);
                self.key_allowed = self.flow == 0;
                self.step();
            }
            ':' if is_indicator || self.flow > 0 => {
                let key = self.key;
                self.open_block(key.map_or(self.column, |key| key.column));
                self.key_allowed = key.is_none() && self.flow == 0;
                self.step();
            }
            '*' | '&' => {
                self.begin_key();
                self.step();
                self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            }
            '!' => {
                self.begin_key();
                let in_flow = self.flow > 0;
                self.skip_while(|c| !(is_blank(c) || is_break(c) || (in_flow && c == ',')));
            }
            '|' | '>' if self.flow == 0 => self.block_scalar(),
            '\'' | '"' => {
                self.begin_key();
                self.quoted(c);
            }
            _ => {
                self.begin_key();
                self.plain();
            }
        }
        true
    }

    fn skip_to_token(&mut self) {
        loop {
            if self.column == 0 && self.peek(0) == Some('\u{feff}') {
                // Skipped as a character of the line, as the parser does.
                self.step();
            }
            let tabs = self.flow > 0 || !self.key_allowed;
            self.skip_while(|c| c == ' ' || (tabs && c == '\t'));
            if self.peek(0) == Some('#') {
                self.skip_while(|c| !is_break(c));
            }
            if self.is_at(0, is_break) {
                self.step();
                self.key_allowed |= self.flow == 0;
            } else {
                return;
            }
        }
    }

    fn is_document_mark(&self) -> bool {
        let all = |mark| (0..3).all(|ahead| self.peek(ahead) == Some(mark));
        self.column == 0 && (all('-') || all('.')) && self.ends_at(3)
    }

    /// Notes that what begins here is a key if a colon follows it.
    fn begin_key(&mut self) {
        if self.key_allowed && self.flow == 0 {
            self.key = Some(Key { at: self.at, line: self.line, column: self.column });
        }
        self.key_allowed = false;
    }

    /// Begins or continues a list or a mapping at this column.
    fn open_block(&mut self, column: usize) {
        if self.flow == 0 {
            if self.indents.last().is_none_or(|indent| *indent < column) {
                self.indents.push(column);
            }
            self.key = None;
        }
    }

    fn close_blocks(&mut self, column: usize) {
        while self.flow == 0 && self.indents.last().is_some_and(|indent| *indent > column) {
            self.indents.pop();
        }
    }

    /// The column from which on text belongs to what is open.
    fn inner_column(&self) -> usize {
        self.indents.last().map_or(0, |indent| indent + 1)
    }

    fn quoted(&mut self, quote: char) {
        self.step();
        while let Some(c) = self.peek(0) {
            self.step();
            match c {
                '\\' if quote == '"' => self.step(),
                '\'' if quote == c && self.peek(0) == Some(c) => self.step(),
                _ if c == quote => return,
                _ => {}
            }
        }
    }

    fn plain(&mut self) {
        let (start, inner) = (self.at, self.inner_column());
        loop {
            if self.peek(0) == Some('#') || self.is_document_mark() {
                break;
            }
            while let Some(c) = self.peek(0).filter(|c| !is_blank(*c) && !is_break(*c)) {
                let ends = (c == ':' && self.ends_at(1)) || (self.flow > 0 && ",[]{}".contains(c));
                if ends && self.at > start {
                    return;
                }
                self.key_allowed = false;
                self.step();
            }
            if self.peek(0).is_none() {
                break;
            }
            while self.is_at(0, |c| is_blank(c) || is_break(c)) {
                // The line has ended: a key may follow.
                self.key_allowed |= self.is_at(0, is_break);
                self.step();
            }
            if self.flow == 0 && self.column < inner {
                break;
            }
        }
    }

    /// The text below `|` or `>`: all lines with enough indentation.
    fn block_scalar(&mut self) {
        self.key = None;
        self.key_allowed = true;
        self.step();
        let mut given = None;
        while let Some(c) = self.peek(0).filter(|c| matches!(c, '+' | '-' | '1'..='9')) {
            given = c.to_digit(10).or(given);
            self.step();
        }
        self.skip_while(is_blank);
        if self.peek(0) == Some('#') {
            self.skip_while(|c| !is_break(c));
        }
        if !self.is_at(0, is_break) {
            return;
        }
        self.step();
        let parent = self.indents.last().copied();
        let mut indent = given.map_or(0, |digit| parent.unwrap_or(0) + digit as usize);
        self.indentation(&mut indent);
        while self.column == indent && self.peek(0).is_some() {
            self.skip_while(|c| !is_break(c));
            if self.peek(0).is_some() {
                self.step();
            }
            self.indentation(&mut indent);
        }
    }

    /// Skips empty lines and the next line's indentation, at most `indent`; where that is 0, determines it.
    fn indentation(&mut self, indent: &mut usize) {
        let mut widest = 0;
        loop {
            while (*indent == 0 || self.column < *indent) && self.peek(0) == Some(' ') {
                self.step();
            }
            widest = self.column.max(widest);
            if !self.is_at(0, is_break) {
                break;
            }
            self.step();
        }
        if *indent == 0 {
            *indent = widest.max(self.inner_column()).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_yaml::Value;

    use super::*;

    /// The deepest nesting that the scan sees.
    fn seen(text: &str) -> usize {
        let mut scan = Scan::new(text);
        let mut deepest = 0;
        while scan.token() {
            deepest = deepest.max(scan.indents.len() + scan.flow);
        }
        deepest
    }

    /// The nesting that the parser sees.
    fn parsed(value: &Value) -> usize {
        match value {
            Value::Sequence(list) => 1 + list.iter().map(parsed).max().unwrap_or(0),
            Value::Mapping(map) => {
                1 + map.iter().map(|(key, value)| parsed(key).max(parsed(value))).max().unwrap_or(0)
            }
            Value::Tagged(tagged) => parsed(&tagged.value),
            _ => 0,
        }
    }

    #[test]
    fn what_is_no_structure_does_not_count() {
        let many = "[".repeat(100);
        for (text, depth) in [
            (format!("a: '{many}'"), 1),
            (format!("a: 'it''s {many}'\nb: 1"), 1),
            (format!("a: \"\\\"{many}\""), 1),
            (format!("a: 1 # {many}\nb: 2"), 1),
            (format!("# {many}\na: 1"), 1),
            (format!("a: x{many}\n  {many}\nb: don't"), 1),
            (format!("a: |\n  {many}\n\n  - - -\nb: [1]"), 2),
            // A list that is not indented further than its key is one level with it.
            (format!("a:\n- >-\n  {many}\n- 1"), 1),
            (format!("? {many}{}\n: 1", "]".repeat(100)), 101),
            ("a: {b: [1, {c: d}]}".to_owned(), 4),
            ("a:\n  b:\n    - - c: 1\n".to_owned(), 5),
        ] {
            assert_eq!(seen(&text), depth, "{text}");
        }
    }

    #[test]
    fn what_hides_no_brackets_is_not_believed_to() {
        let many = "[".repeat(100);
        for text in [
            format!("a: x\n  'y\nb: {many}"),
            format!("a: x #'\nb: {many}"),
            format!("a: don't\nb: {many}"),
            format!("a: |\n x\nb: {many}"),
            format!("a: [|\n{many}"),
            format!("a: 'x\\'\nb: {many}"),
            format!("a: x\u{85}b: {many}"),
            format!("- {many}"),
            format!("%TAG ' x\n---\n{many}"),
            format!("? ' x'\n: {many}"),
        ] {
            assert!(too_deep(&text).is_some(), "{text}");
        }
        assert_eq!(too_deep(&format!("a: 1\nb: {many}")), Some(2));
        assert!(too_deep(&"- ".repeat(100)).is_some());
        assert!(too_deep(&"? ".repeat(100)).is_some());
    }

    proptest! {
        #[test]
        fn of_a_text_that_is_yaml_it_sees_what_the_parser_sees(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b c", "[", "]", "{", "}", ", ", ": ", "- ", "? ", "\n", "\n  ", "\n    ", "'", "\"", "#", " #",
                    "|\n", ">-\n", "&x ", "!t ", "\\", "''", "\t", "ü", "k: ", "- k: ", "\u{2028}", "[1]", "{a: b}",
                    "[[[[[[[[", "]]]]]]]]", "[[[[[[[[1]]]]]]]]", "don't", "---\n", "|2\n", "*x ",
                ]),
                0..24,
            ),
        ) {
            let text = pieces.concat();
            if let Ok(value) = serde_yaml::from_str::<Value>(&text) {
                // One bracket or indentation may stand for two levels (a pair in a list, or a list without
                // indentation), and a key is one level deeper.
                prop_assert!(2 * seen(&text) + 1 >= parsed(&value), "{:?}: {} of {}", text, seen(&text), parsed(&value));
            }
        }
    }
}
