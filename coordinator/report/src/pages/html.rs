//! `report.html`: one self-contained file, for screens of any width, light and dark, and for paper. Without its script, which sorts tables,
//! nothing is missing.

mod table;

use std::fmt::Write;

use self::table::Tables;
use super::{Block, Content, policy::policy};
use crate::figures::{Figure, dark_style};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// The page as HTML.
pub(crate) fn html(content: &Content<'_>) -> String {
    let strings = content.strings;
    let title = format!("{}: {}", strings.report_of, text(&content.sweep.name));
    let mut tables = Tables::new(strings);
    let mut body = String::new();
    for block in content.document() {
        write_block(&mut body, block, content, &mut tables);
    }
    let style = format!(
        "\n{STYLE}@media screen and (prefers-color-scheme: dark) {{\n  \
         :root {{ --shade: #fff4; }} figure {{ background: #16181c; }}\n{}}}\n{}",
        dark_style(),
        tables.style()
    );
    format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n\
         <footer>{}</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        strings.code,
        // Only hashes, which have no quotes.
        policy(&style, SCRIPT),
        text(strings.other_files)
    )
}

fn write_block(page: &mut String, block: Block<'_>, content: &Content<'_>, tables: &mut Tables) {
    let strings = content.strings;
    let _ = match block {
        Block::Section(title) => writeln!(page, "<h2>{}</h2>", text(title)),
        Block::Part(title) => writeln!(page, "<h3>{}</h3>", text(title)),
        Block::Text(words) => writeln!(page, "<p>{}</p>", sentence(&words)),
        Block::Facts(facts) => {
            let each = facts
                .iter()
                .map(|(name, fact)| format!("<dt>{}</dt><dd>{}</dd>\n", text(name), sentence(fact)));
            writeln!(page, "<dl>\n{}</dl>", each.collect::<String>())
        }
        Block::List(items) => {
            let each = items
                .iter()
                .map(|(what, why)| format!("<li><strong>{}</strong>: {}</li>\n", text(what), sentence(why)));
            writeln!(page, "<ul>\n{}</ul>", each.collect::<String>())
        }
        Block::Table { caption, table } => {
            tables.write(page, &caption, &table);
            Ok(())
        }
        Block::Folded { table, cut_to } => {
            tables.write_folded(page, &table, cut_to);
            Ok(())
        }
        Block::Figure { caption, figure } => {
            write_figure(page, &caption, figure, strings.scroll_hint);
            Ok(())
        }
        Block::Code { language: _, text: code } => {
            writeln!(page, "<pre tabindex=\"0\">{}</pre>", text(code.trim_end()))
        }
    };
}

fn write_figure(page: &mut String, caption: &str, figure: &Figure, hint: &str) {
    let notes = match figure.notes.is_empty() {
        true => String::new(),
        false => format!("<p class=\"notes\">{}</p>\n", text(&figure.notes.join(" "))),
    };
    let _ = write!(
        page,
        "<div class=\"figure\">\n<p class=\"hint figure-hint\">{}</p>\n\
         <figure role=\"group\" aria-label=\"{}\" tabindex=\"0\">{}</figure>\n<p class=\"caption\">{}</p>\n{notes}</div>\n",
        text(hint),
        text(&figure.title),
        inline(&figure.svg),
        text(caption)
    );
}

/// A drawing within a page, which scales with the page.
fn inline(svg: &str) -> String {
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    let kept: Vec<&str> =
        head.split(' ').filter(|part| !part.starts_with("width=") && !part.starts_with("height=")).collect();
    format!("{}>{rest}", kept.join(" "))
}

/// A sentence escaped for HTML, in which what stands between two backticks is code.
fn sentence(words: &str) -> String {
    let safe = text(words);
    let parts: Vec<&str> = safe.split('`').collect();
    // One that is alone is a sign like others.
    if parts.len().is_multiple_of(2) {
        return safe;
    }
    let each = parts.iter().enumerate();
    each.map(|(place, part)| if place % 2 == 1 { format!("<code>{part}</code>") } else { (*part).to_owned() })
        .collect()
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
    fn what_stands_between_backticks_is_code_and_no_markup() {
        assert_eq!(
            sentence("write `repeats: 3` or `<b>`"),
            "write <code>repeats: 3</code> or <code>&lt;b&gt;</code>"
        );
        assert_eq!(sentence("a ` alone"), "a ` alone");
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
