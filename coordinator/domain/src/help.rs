//! What `--help` says about the parameters that sweep files may name.

use terms::manifest::builtins;

/// Characters of a line of help: what fits a terminal of the usual width, as lines that it breaks lose their place.
pub const LINE_CHARACTERS: usize = 79;

/// The parameters of the built-in models, and a note on programs.
pub fn parameters() -> String {
    let mut text = String::new();
    for manifest in builtins() {
        text += &format!("Parameters of {}:\n", manifest.name);
        let longest = manifest.parameters.iter().map(|parameter| parameter.name.len()).max().unwrap_or(0);
        for parameter in &manifest.parameters {
            let default = parameter.default.as_ref().map(|default| format!("; default {default}"));
            let told =
                format!("{}; {}{}", parameter.meaning, parameter.kind.range(), default.unwrap_or_default());
            text += &entry((2, longest + 2), &parameter.name, &told);
        }
    }
    text + &entry(
        (0, 0),
        "",
        "A program (`program: train.py`, `command: [...]`) has whatever parameters its sweep file names.",
    )
}

/// A term and what is said of it, in lines that begin at one place: the term after `indent` characters, and its text `width` further on.
pub fn entry((indent, width): (usize, usize), term: &str, text: &str) -> String {
    let place = indent + width;
    let mut lines = vec![format!("{:indent$}{term:<width$}", "")];
    let mut length = place.max(indent + term.chars().count());
    for (at, word) in text.split_whitespace().enumerate() {
        let needed = word.chars().count() + usize::from(at > 0);
        if at > 0 && length + needed > LINE_CHARACTERS {
            lines.push(" ".repeat(place) + word);
            length = place + needed - 1;
        } else if let Some(line) = lines.last_mut() {
            *line += if at > 0 { " " } else { "" };
            *line += word;
            length += needed;
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_help_fit_a_terminal_and_begin_at_one_place() {
        for line in parameters().lines() {
            assert!(line.chars().count() <= LINE_CHARACTERS, "{line}");
        }
        let long = "word ".repeat(30);
        let text = entry((2, 6), "term", &long);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 1 && lines[0].starts_with("  term  word"), "{text}");
        assert!(lines[1..].iter().all(|line| line.starts_with("        word")), "{text}");
        assert_eq!(entry((2, 4), "longer", "x"), "  longerx\n");
    }
}
