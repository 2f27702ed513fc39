//! `report.html`: one self-contained file, for screens of any width, light and dark, and for paper.

use std::fmt::Write;

use super::{Content, Table, TableRow, columns};
use crate::figures::{Figure, dark_style};

const STYLE: &str = include_str!("style.css");

/// The page as HTML.
pub(crate) fn html(content: &Content<'_>) -> String {
    let strings = content.strings;
    let title = format!("{}: {}", strings.report_of, text(&content.sweep.name));
    let mut table = String::new();
    let hint_style = results(&mut table, content);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}@media screen and (prefers-color-scheme: dark) {{\n  \
         :root {{ --shade: #fff4; }} figure {{ background: #16181c; }}\n{}}}\n{hint_style}\n</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<h2>{}</h2>\n<dl>\n",
        strings.code,
        dark_style(),
        strings.summary
    );
    for (name, fact) in content.facts() {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", text(&name), text(&fact));
    }
    let _ = write!(page, "</dl>\n<h2>{}</h2>\n{table}", strings.results);
    if content.selection {
        let _ = writeln!(page, "<p>{}</p>", text(strings.best_rows_only));
    }
    other_columns(&mut page, content);
    if content.shows_packs() {
        let _ = writeln!(page, "<p>{}</p>", text(strings.packs));
    }
    points(&mut page, content);
    let failures = content.failures();
    if !failures.is_empty() {
        let _ = write!(page, "<h2>{}</h2>\n<ul>\n", strings.failures);
        for (what, why) in failures {
            let _ = writeln!(page, "<li><strong>{}</strong>: {}</li>", text(&what), text(&why));
        }
        page.push_str("</ul>\n");
    }
    let _ = writeln!(page, "<h2>{}</h2>", strings.figures);
    for figure in content.figures {
        write_figure(&mut page, figure, strings.scroll_hint);
    }
    let _ = write!(
        page,
        "<h2>{}</h2>\n<pre tabindex=\"0\">{}</pre>\n<footer>{}</footer>\n</body>\n</html>\n",
        strings.specification,
        text(content.sweep.specification.trim_end()),
        text(strings.other_files)
    );
    page
}

fn write_figure(page: &mut String, figure: &Figure, hint: &str) {
    let _ = writeln!(
        page,
        "<p class=\"hint figure-hint\">{}</p>\n<figure role=\"group\" aria-label=\"{}\" tabindex=\"0\">{}</figure>",
        text(hint),
        text(&figure.title),
        inline(&figure.svg)
    );
    if !figure.notes.is_empty() {
        let _ = writeln!(page, "<p class=\"notes\">{}</p>", text(&figure.notes.join(" ")));
    }
}

/// The table of jobs: on screens it scrolls in its box, on paper it is split where it is too wide. Returns the CSS rule
/// that shows a hint on screens that are too narrow.
fn results(page: &mut String, content: &Content<'_>) -> String {
    let Table { headings, rows } = content.table();
    let numeric = numeric(&headings, &rows);
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row.cells[column].as_str());
            columns::width(&headings[column], cells, numeric[column])
        })
        .collect();
    let hint = text(content.strings.scroll_hint);
    let _ = writeln!(page, "<p class=\"hint table-hint\">{hint}</p>");
    let classes = classes(&rows, &numeric);
    let table = Written { headings: &headings, classes: &classes, rows: &rows };
    let all: Vec<usize> = (0..headings.len()).collect();
    let parts = columns::on_paper(&widths);
    let class = if parts.len() > 1 { "screen" } else { "" };
    let label = text(content.strings.results);
    let _ = writeln!(page, "<div class=\"wide\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\">");
    table.write(page, class, "", &all);
    page.push_str("</div>\n");
    let count = parts.len();
    for (part, range) in parts.into_iter().enumerate().filter(|_| count > 1) {
        let columns: Vec<usize> = std::iter::once(0).chain(range).collect();
        table.write(page, "paper", &format!("{} / {count}", part + 1), &columns);
    }
    let screens = match columns::too_narrow(&widths) {
        Some(pixels) => format!("screen and (max-width: {pixels}px)"),
        None => "screen".to_owned(),
    };
    format!("@media {screens} {{ .table-hint {{ display: block; }} }}")
}

/// The columns that do not fit into the table, in a box that opens; not printed.
fn other_columns(page: &mut String, content: &Content<'_>) {
    let Some(Table { headings, rows }) = content.folded() else { return };
    let strings = content.strings;
    let classes = classes(&rows, &numeric(&headings, &rows));
    let table = Written { headings: &headings, classes: &classes, rows: &rows };
    let summary = text(&strings.more_columns(headings.len() - 1));
    let _ = writeln!(
        page,
        "<details><summary>{summary}</summary>\n<div class=\"wide\" role=\"region\" aria-label=\"{summary}\" tabindex=\"0\">"
    );
    table.write(page, "", "", &(0..headings.len()).collect::<Vec<_>>());
    page.push_str("</div>\n");
    if rows.len() < content.rows.len() {
        let _ = writeln!(page, "<p>{}</p>", text(&strings.first_rows_only(rows.len())));
    }
    page.push_str("</details>\n");
}

/// The table of points that are trained several times.
fn points(page: &mut String, content: &Content<'_>) {
    let Some((Table { headings, rows }, notes)) = content.points().zip(content.notes_on_points()) else {
        return;
    };
    let title = text(content.strings.points);
    let classes = classes(&rows, &numeric(&headings, &rows));
    let table = Written { headings: &headings, classes: &classes, rows: &rows };
    let _ = writeln!(
        page,
        "<h2>{title}</h2>\n<div class=\"wide\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\">"
    );
    table.write(page, "", "", &(0..headings.len()).collect::<Vec<_>>());
    let _ = writeln!(page, "</div>\n<p>{}</p>", text(&notes));
}

/// Which columns hold only numbers.
fn numeric(headings: &[String], rows: &[TableRow]) -> Vec<bool> {
    let is_numeric = |column: usize| rows.iter().all(|row| columns::is_number(&row.cells[column]));
    (0..headings.len()).map(is_numeric).collect()
}

/// The class attribute of each column.
fn classes(rows: &[TableRow], numeric: &[bool]) -> Vec<&'static str> {
    let class = |(column, numeric): (usize, &bool)| {
        let mut cells = rows.iter().map(|row| row.cells[column].as_str());
        match numeric {
            // A column of numbers is aligned to the right, and so is its heading.
            true => " class=\"n\"",
            false if columns::has_long_texts(&mut cells) => " class=\"t\"",
            false => "",
        }
    };
    numeric.iter().enumerate().map(class).collect()
}

struct Written<'a> {
    headings: &'a [String],
    /// The class attribute of each column.
    classes: &'a [&'static str],
    rows: &'a [TableRow],
}

impl Written<'_> {
    fn write(&self, page: &mut String, class: &str, caption: &str, columns: &[usize]) {
        page.push_str("<table");
        if !class.is_empty() {
            let _ = write!(page, " class=\"{class}\"");
        }
        page.push_str(">\n");
        if !caption.is_empty() {
            let _ = writeln!(page, "<caption>{caption}</caption>");
        }
        page.push_str("<thead><tr>");
        for &column in columns {
            let _ = write!(page, "<th{}>{}</th>", self.classes[column], text(&self.headings[column]));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in self.rows {
            page.push_str(if row.best { "<tr class=\"best\">" } else { "<tr>" });
            for &column in columns {
                let _ = write!(page, "<td{}>{}</td>", self.classes[column], text(&row.cells[column]));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n</table>\n");
    }
}

/// A drawing within a page, which scales with the page.
fn inline(svg: &str) -> String {
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    let kept: Vec<&str> =
        head.split(' ').filter(|part| !part.starts_with("width=") && !part.starts_with("height=")).collect();
    format!("{}>{rest}", kept.join(" "))
}

/// Text escaped for HTML elements and attributes.
fn text(text: &str) -> String {
    terminal::text::html(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_grows_with_its_page() {
        let svg = "<svg width=\"960\" height=\"640\" viewBox=\"0 0 960 640\" xmlns=\"x\">\n<rect width=\"5\"/></svg>";
        assert_eq!(inline(svg), "<svg viewBox=\"0 0 960 640\" xmlns=\"x\">\n<rect width=\"5\"/></svg>");
    }

    #[test]
    fn foreign_text_is_no_markup() {
        assert_eq!(
            text("<script>alert('1 & 2')</script>"),
            "&lt;script&gt;alert(&#39;1 &amp; 2&#39;)&lt;/script&gt;"
        );
        assert_eq!(text("a\u{1b}]0;x\u{7}\u{202e}"), "a\\u{1b}]0;x\\u{7}\\u{202e}");
    }
}
