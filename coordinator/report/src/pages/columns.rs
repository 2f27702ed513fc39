//! How a table's columns are printed: in one table where they fit, in several otherwise, each with the first column.

use std::ops::Range;

/// Widest table on A4 in the page's print style (7 points, 182 mm), in widths of a digit.
const PAPER: usize = 112;
/// Between two columns.
const GAP: usize = 2;
/// Widest column of text: longer texts wrap.
const TEXT_MAX: usize = 26;
/// Pixels of a digit on a screen, where a table has the page's own size: those of the widest common fonts.
const DIGIT_PIXELS: usize = 10;
/// Widest page, with its margins, in pixels (`style.css`).
const PAGE_PIXELS: usize = 1_240;
const MARGIN_PIXELS: usize = 40;

/// Smallest width of a column with this heading and these cells, in widths of a digit; `numeric` cells do not wrap.
pub(super) fn width<'a>(heading: &str, cells: impl Iterator<Item = &'a str>, numeric: bool) -> usize {
    let words = |text: &str| text.split_whitespace().map(signs).max().unwrap_or(0);
    let cell = |text: &str| if numeric { signs(text) } else { signs(text).min(TEXT_MAX) };
    // Japanese headings wrap anywhere.
    let heading = if heading.is_ascii() { words(heading) } else { words(heading).min(8) };
    cells.map(cell).max().unwrap_or(0).max(heading) + GAP
}

/// Whether a cell may be in a column of numbers.
pub(super) fn is_number(cell: &str) -> bool {
    // Less than a number is one, too: a small p.
    cell.is_empty() || cell.strip_prefix("< ").unwrap_or(cell).parse::<f64>().is_ok()
}

/// Whether some text of a column wraps.
pub(super) fn has_long_texts<'a>(mut cells: impl Iterator<Item = &'a str>) -> bool {
    cells.any(|text| signs(text) > TEXT_MAX)
}

/// Width of a text; characters that are not Latin count twice.
fn signs(text: &str) -> usize {
    text.chars().map(|sign| if u32::from(sign) < 0x2e80 { 1 } else { 2 }).sum()
}

/// The widest screen, in pixels, on which the table does not fit the page; none where it never does.
pub(super) fn too_narrow(widths: &[usize]) -> Option<usize> {
    let pixels = widths.iter().sum::<usize>() * DIGIT_PIXELS;
    (pixels <= PAGE_PIXELS).then_some(pixels + MARGIN_PIXELS)
}

/// The columns of each table on paper, without the first column, which all of them have.
pub(super) fn on_paper(widths: &[usize]) -> Vec<Range<usize>> {
    let first = widths.first().copied().unwrap_or(0);
    let mut tables = Vec::new();
    let (mut begin, mut used) = (1, first);
    for (column, width) in widths.iter().enumerate().skip(1) {
        if column > begin && used + width > PAPER {
            tables.push(begin..column);
            (begin, used) = (column, first);
        }
        used += width;
    }
    tables.push(begin..widths.len().max(1));
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_too_wide_for_paper_is_split_and_loses_no_column() {
        assert_eq!([on_paper(&[5, 10, 10]), on_paper(&[5])].concat(), [1..3, 1..1]);
        let widths = [vec![6], vec![20; 11], vec![500]].concat();
        let tables = on_paper(&widths);
        assert_eq!(tables, [1..6, 6..11, 11..12, 12..13], "one that is too wide alone has a table to itself");
        for table in &tables[..2] {
            assert!(widths[0] + widths[table.clone()].iter().sum::<usize>() <= PAPER);
        }
    }

    #[test]
    fn texts_break_and_numbers_do_not() {
        let long = "x".repeat(100);
        assert_eq!(width("Reason", ["", long.as_str()].into_iter(), false), TEXT_MAX + GAP);
        assert_eq!(width("Learning rate", ["0.0000215443469"].into_iter(), true), 15 + GAP);
        assert_eq!(width("最良エポックの検証精度", [].into_iter(), true), 8 + GAP);
        assert_eq!(too_narrow(&[10, 10]), Some(240));
        assert_eq!(too_narrow(&[10; 20]), None);
    }
}
