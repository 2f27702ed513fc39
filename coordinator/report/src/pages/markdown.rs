//! `report.md`.

use std::fmt::Write;

use super::{Block, Content, Table};

/// Most columns that are listed because they do not fit into the table.
const COLUMNS_NAMED_MAX: usize = 50;

/// The page as Markdown.
pub(crate) fn markdown(content: &Content<'_>) -> String {
    let strings = content.strings;
    let mut page = format!("# {}: {}\n", strings.report_of, text(&content.sweep.name));
    for block in content.document() {
        page.push('\n');
        write_block(&mut page, block, content);
    }
    let _ = writeln!(page, "\n{}", strings.other_files);
    page
}

fn write_block(page: &mut String, block: Block<'_>, content: &Content<'_>) {
    let strings = content.strings;
    let _ = match block {
        Block::Section(title) => writeln!(page, "## {title}"),
        Block::Part(title) => writeln!(page, "### {title}"),
        Block::Text(words) => writeln!(page, "{}", paragraph(&words)),
        Block::Facts(items) | Block::List(items) => {
            let each = items.iter().map(|(what, why)| format!("- **{}**: {}\n", text(what), sentence(why)));
            write!(page, "{}", each.collect::<String>())
        }
        Block::Table { caption, table } => {
            let _ = writeln!(page, "{}\n", text(&caption));
            write_table(page, &table);
            Ok(())
        }
        Block::Folded { table, cut_to: _ } => {
            let names: Vec<_> =
                table.headings.iter().skip(1).take(COLUMNS_NAMED_MAX).map(|name| text(name)).collect();
            let columns = table.headings.len() - 1;
            let more = columns.saturating_sub(names.len()) as u64;
            let more = if more > 0 { strings.more(more) } else { String::new() };
            writeln!(page, "{}: {}{more}", strings.more_columns(columns), names.join(", "))
        }
        Block::Figure { caption, figure } => {
            let _ = writeln!(page, "![{}]({})\n\n{}", text(&figure.title), figure.png_name, text(&caption));
            if figure.notes.is_empty() {
                Ok(())
            } else {
                writeln!(page, "\n{}", text(&figure.notes.join(" ")))
            }
        }
        Block::Code { language, text } => write!(page, "{}", fenced(language, &text)),
    };
}

/// A paragraph: what would begin something else, such as a list, is text there.
fn paragraph(words: &str) -> String {
    let words = sentence(words);
    let digits = words.len() - words.trim_start_matches(|sign: char| sign.is_ascii_digit()).len();
    match words[digits..].chars().next() {
        Some('.' | ')') if digits > 0 => format!("{}\\{}", &words[..digits], &words[digits..]),
        Some('-' | '+' | '>' | '=' | ':') if digits == 0 => format!("\\{words}"),
        _ => words,
    }
}

fn write_table(page: &mut String, table: &Table) {
    let headings = &table.headings;
    let _ = writeln!(
        page,
        "| {} |",
        headings.iter().map(|heading| text(heading)).collect::<Vec<_>>().join(" | ")
    );
    let _ = writeln!(page, "|{}", "---|".repeat(headings.len()));
    for row in &table.rows {
        let cells: Vec<_> = row.cells.iter().map(|cell| text(cell)).collect();
        let line = if row.best { format!("**{}**", cells.join("** | **")) } else { cells.join(" | ") };
        let _ = writeln!(page, "| {} |", line.replace("****", ""));
    }
}

/// A sentence escaped for Markdown, in which what stands between two backticks is code, as far as nothing in it could end it or mean more.
fn sentence(words: &str) -> String {
    let parts: Vec<&str> = words.split('`').collect();
    let is_plain = |code: &str| {
        !code.is_empty()
            && code.chars().all(|sign| sign.is_ascii_alphanumeric() || " _-.:=,/$(){}".contains(sign))
    };
    if parts.len().is_multiple_of(2) || !parts.iter().skip(1).step_by(2).all(|code| is_plain(code)) {
        return text(words);
    }
    let each = parts.iter().enumerate();
    each.map(|(place, part)| if place % 2 == 1 { format!("`{part}`") } else { text(part) }).collect()
}

/// Text escaped for Markdown.
fn text(text: &str) -> String {
    terminal::text::markdown(text)
}

/// A block of code whose fence is longer than any run of backticks within.
fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|sign| sign != '`').map(str::len).max().unwrap_or(0);
    let code = terminal::text::lines(code);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", code.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_keeps_its_cell() {
        assert_eq!(text("a|b\n<i>`c`"), "a\\|b &lt;i>\\`c\\`");
        for (words, written) in [
            ("- a", "\\- a"),
            ("1. a", "1\\. a"),
            ("10) a", "10\\) a"),
            ("2 jobs.", "2 jobs."),
            ("> a", "\\> a"),
        ] {
            assert_eq!(paragraph(words), written);
        }
        assert_eq!(sentence("a_b: `repeats: 3`"), "a\\_b: `repeats: 3`");
        assert_eq!(sentence("`a|b` and `c`"), "\\`a\\|b\\` and \\`c\\`");
        assert!(fenced("yaml", "a: ```b").starts_with("````yaml"));
        assert_eq!(text("a\u{1b}[2J\u{202e}b"), "a\\u{1b}\\[2J\\u{202e}b");
        assert!(fenced("yaml", "a: \u{9b}1m").contains("a: \\u{9b}1m"));
    }
}
