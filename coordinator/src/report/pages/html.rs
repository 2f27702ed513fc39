//! `report.html`: one file without anything from elsewhere, for screens and for paper.

use std::fmt::Write;

use super::Content;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --best: #0072b222; }
body { font: 16px/1.55 system-ui, 'Noto Sans', 'Noto Sans CJK JP', sans-serif; margin: 0 auto; max-width: 1100px;
  padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 1.5rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .7rem; text-align: left; }
th { white-space: nowrap; } th.n, td.n { text-align: right; }
tbody tr:hover { background: var(--soft); } tr.best { background: var(--best); font-weight: 600; }
figure { background: #fff; border: 1px solid var(--line); border-radius: 6px; margin: 0 0 1.5rem; }
figure svg { display: block; height: auto; width: 100%; }
pre { background: var(--soft); border-radius: 6px; overflow-x: auto; padding: 1rem; }
footer { color: #777; font-size: .9rem; margin-top: 2rem; }
@media print { body { max-width: none; padding: 0; } figure { break-inside: avoid; } tr { break-inside: avoid; } }
";

/// The page as HTML.
pub(in crate::report) fn html(content: &Content<'_>) -> String {
    let words = content.words;
    let title = format!("{}: {}", words.report_of, text(&content.sweep.name));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<h2>{}</h2>\n<dl>\n",
        words.code, words.summary
    );
    for (name, fact) in content.facts() {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", text(&name), text(&fact));
    }
    let _ = write!(page, "</dl>\n<h2>{}</h2>\n", words.results);
    table(&mut page, content);
    if content.selection {
        let _ = writeln!(page, "<p>{}</p>", text(words.best_rows_only));
    }
    if content.shows_packs() {
        let _ = writeln!(page, "<p>{}</p>", text(words.packs));
    }
    let _ = writeln!(page, "<h2>{}</h2>", words.figures);
    for figure in content.figures {
        let _ = writeln!(
            page,
            "<figure role=\"img\" aria-label=\"{}\">{}</figure>",
            text(&figure.title),
            inline(&figure.svg)
        );
    }
    let _ = write!(
        page,
        "<h2>{}</h2>\n<pre>{}</pre>\n<footer>{}</footer>\n</body>\n</html>\n",
        words.specification,
        text(content.sweep.specification.trim_end()),
        text(words.other_files)
    );
    page
}

fn table(page: &mut String, content: &Content<'_>) {
    let rows = content.table();
    let headings = content.headings();
    // A column of numbers is aligned to the right, its heading too.
    let numeric = |column: usize| {
        rows.iter().all(|row| row.cells[column].is_empty() || row.cells[column].parse::<f64>().is_ok())
    };
    let class: Vec<_> =
        (0..headings.len()).map(|column| if numeric(column) { " class=\"n\"" } else { "" }).collect();
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for (heading, class) in headings.iter().zip(&class) {
        let _ = write!(page, "<th{class}>{}</th>", text(heading));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &rows {
        page.push_str(if row.best { "<tr class=\"best\">" } else { "<tr>" });
        for (cell, class) in row.cells.iter().zip(&class) {
            let _ = write!(page, "<td{class}>{}</td>", text(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// A drawing within a page: it grows with the page instead of keeping its size.
fn inline(svg: &str) -> String {
    let Some(start) = svg.find("<svg") else { return String::new() };
    let svg = &svg[start..];
    let Some(end) = svg.find('>') else { return String::new() };
    let kept = svg[4..end].to_owned();
    let size = |name: &str| {
        let value = kept.split_once(&format!(" {name}=\""))?.1;
        value.split_once('"').map(|(value, _)| format!(" {name}=\"{value}\""))
    };
    let fixed = [size("width"), size("height")]
        .into_iter()
        .flatten()
        .fold(kept, |kept, size| kept.replacen(&size, "", 1));
    format!("<svg{fixed}{}", &svg[end..])
}

/// Text without a meaning to HTML, in elements and in attributes.
fn text(text: &str) -> String {
    terminal::text::html(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_grows_with_its_page() {
        let svg = r#"<?xml version="1.0"?><svg width="960" height="640" viewBox="0 0 960 640" xmlns="x">
<rect width="5"/></svg>"#;
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
