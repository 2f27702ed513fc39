//! Tables within a page: on screens they scroll in their box and are sorted, on paper they are split where they are too wide.

use std::fmt::Write;

use super::{
    super::{Table, TableRow, columns as widths},
    sentence, text,
};
use crate::strings::Strings;

/// Writes the tables of a page.
pub(super) struct Tables {
    strings: &'static Strings,
    /// Of each table, the widest screen on which it does not fit; none where it never does.
    narrow: Vec<Option<usize>>,
}

impl Tables {
    pub(super) fn new(strings: &'static Strings) -> Self {
        Self { strings, narrow: Vec::new() }
    }

    /// Writes a table with its caption.
    pub(super) fn write(&mut self, page: &mut String, caption: &str, table: &Table) {
        let Table { headings, rows } = table;
        let numeric = numeric(headings, rows);
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row.cells[column].as_str());
                widths::width(&headings[column], cells, numeric[column])
            })
            .collect();
        self.narrow.push(widths::too_narrow(&widths));
        let (number, hint) = (self.narrow.len(), text(self.strings.scroll_hint));
        let caption = text(caption);
        let classes = classes(rows, &numeric);
        let table = Written { headings, classes: &classes, rows };
        let parts = widths::on_paper(&widths);
        let class = if parts.len() > 1 { "sorts screen" } else { "sorts" };
        let _ = writeln!(
            page,
            "<p class=\"caption\">{caption}</p>\n<p class=\"hint table-{number}\">{hint}</p>\n\
             <div class=\"wide\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">"
        );
        table.write(page, class, "", &(0..headings.len()).collect::<Vec<_>>());
        page.push_str("</div>\n");
        let count = parts.len();
        for (part, range) in parts.into_iter().enumerate().filter(|_| count > 1) {
            let columns: Vec<usize> = std::iter::once(0).chain(range).collect();
            table.write(page, "paper", &format!("{} / {count}", part + 1), &columns);
        }
    }

    /// Writes the columns that do not fit into a table, in a box that opens; not printed.
    pub(super) fn write_folded(&self, page: &mut String, table: &Table, cut_to: Option<usize>) {
        let Table { headings, rows } = table;
        let classes = classes(rows, &numeric(headings, rows));
        let summary = text(&self.strings.more_columns(headings.len() - 1));
        let _ = writeln!(
            page,
            "<details><summary>{summary}</summary>\n<div class=\"wide\" role=\"region\" aria-label=\"{summary}\" tabindex=\"0\">"
        );
        let table = Written { headings, classes: &classes, rows };
        table.write(page, "sorts", "", &(0..headings.len()).collect::<Vec<_>>());
        page.push_str("</div>\n");
        if let Some(rows) = cut_to {
            let _ = writeln!(page, "<p>{}</p>", text(&self.strings.first_rows_only(rows)));
        }
        page.push_str("</details>\n");
    }

    /// The rules that show a hint at each table on screens that are too narrow for it.
    pub(super) fn style(&self) -> String {
        let rule = |(place, narrow): (usize, &Option<usize>)| {
            let screens = match narrow {
                Some(pixels) => format!("screen and (max-width: {pixels}px)"),
                None => "screen".to_owned(),
            };
            format!("@media {screens} {{ .table-{} {{ display: block; }} }}\n", place + 1)
        };
        self.narrow.iter().enumerate().map(rule).collect()
    }
}

/// Which columns hold only numbers.
fn numeric(headings: &[String], rows: &[TableRow]) -> Vec<bool> {
    let is_numeric = |column: usize| rows.iter().all(|row| widths::is_number(&row.cells[column]));
    (0..headings.len()).map(is_numeric).collect()
}

/// The class attribute of each column.
fn classes(rows: &[TableRow], numeric: &[bool]) -> Vec<&'static str> {
    let class = |(column, numeric): (usize, &bool)| {
        let mut cells = rows.iter().map(|row| row.cells[column].as_str());
        match numeric {
            // A column of numbers is aligned to the right, and so is its heading.
            true => " class=\"n\"",
            false if widths::has_long_texts(&mut cells) => " class=\"t\"",
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
            let _ = write!(
                page,
                "<th scope=\"col\"{}>{}</th>",
                self.classes[column],
                text(&self.headings[column])
            );
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in self.rows {
            page.push_str(if row.best { "<tr class=\"best\">" } else { "<tr>" });
            for &column in columns {
                let _ = write!(page, "<td{}>{}</td>", self.classes[column], sentence(&row.cells[column]));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n</table>\n");
    }
}
