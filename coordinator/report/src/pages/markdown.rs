//! `report.md`.

use std::fmt::Write;

use super::{Content, Table};

/// Most columns that are listed because they do not fit into the table.
const COLUMNS_NAMED_MAX: usize = 50;

/// The page as Markdown.
pub(crate) fn markdown(content: &Content<'_>) -> String {
    let strings = content.strings;
    let mut page =
        format!("# {}: {}\n\n## {}\n\n", strings.report_of, text(&content.sweep.name), strings.summary);
    for (name, fact) in content.facts() {
        let _ = writeln!(page, "- **{}**: {}", name, text(&fact));
    }
    let _ = writeln!(page, "\n## {}\n", strings.results);
    write_table(&mut page, &content.table());
    if let Some(folded) = content.folded() {
        let names: Vec<_> =
            folded.headings.iter().skip(1).take(COLUMNS_NAMED_MAX).map(|name| text(name)).collect();
        let columns = folded.headings.len() - 1;
        let more = columns.saturating_sub(names.len()) as u64;
        let more = if more > 0 { strings.more(more) } else { String::new() };
        let _ = writeln!(page, "\n{}: {}{more}", strings.more_columns(columns), names.join(", "));
    }
    if content.selection {
        let _ = writeln!(page, "\n{}", strings.best_rows_only);
    }
    if content.shows_packs() {
        let _ = writeln!(page, "\n{}", strings.packs);
    }
    if let Some((table, notes)) = content.points().zip(content.notes_on_points()) {
        let _ = writeln!(page, "\n## {}\n", strings.points);
        write_table(&mut page, &table);
        let _ = writeln!(page, "\n{notes}");
    }
    let failures = content.failures();
    if !failures.is_empty() {
        let _ = writeln!(page, "\n## {}\n", strings.failures);
        for (what, why) in failures {
            let _ = writeln!(page, "- **{}**: {}", text(&what), text(&why));
        }
    }
    let _ = writeln!(page, "\n## {}\n", strings.figures);
    for figure in content.figures {
        let _ = writeln!(page, "![{}]({})\n", text(&figure.title), figure.png_name);
        if !figure.notes.is_empty() {
            let _ = writeln!(page, "{}\n", text(&figure.notes.join(" ")));
        }
    }
    let _ = writeln!(page, "## {}\n\n{}", strings.specification, fenced(&content.sweep.specification));
    let _ = writeln!(page, "{}", strings.other_files);
    page
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

/// Text escaped for Markdown.
fn text(text: &str) -> String {
    terminal::text::markdown(text)
}

/// A block of code whose fence is longer than any run of backticks within.
fn fenced(code: &str) -> String {
    let longest = code.split(|sign| sign != '`').map(str::len).max().unwrap_or(0);
    let code = terminal::text::lines(code);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}yaml\n{}\n{fence}\n", code.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_keeps_its_cell() {
        assert_eq!(text("a|b\n<i>`c`"), "a\\|b &lt;i>\\`c\\`");
        assert!(fenced("a: ```b").starts_with("````yaml"));
        assert_eq!(text("a\u{1b}[2J\u{202e}b"), "a\\u{1b}\\[2J\\u{202e}b");
        assert!(fenced("a: \u{9b}1m").contains("a: \\u{9b}1m"));
    }
}
