//! Which two parameters act together the most, as a sentence and a table, or why that is not said.

use analysis::{Interaction, Together};

use super::{Block, Content, Table, TableRow, decimals};
use crate::figures::{percent, short_parameter};

/// Most columns of the table, as a page is so wide; rows may go on.
const COLUMNS_MAX: usize = 8;

impl Content<'_> {
    /// What is said; nothing where a single parameter varies, as there is nothing to act together with. The table, where there is one, stands
    /// after the first text.
    pub(super) fn interactions(&self) -> Option<(String, Option<Table>)> {
        let interactions = &self.analysis.interactions;
        let strings = self.strings;
        let Some(found) = &interactions.largest else {
            return interactions.none.map(|why| (strings.no_interaction(why).to_owned(), None));
        };
        let (first, second) = (self.headings.parameter(&found.first), self.headings.parameter(&found.second));
        if found.share == 0.0 {
            let sentences: Vec<String> =
                std::iter::once(strings.adds_up(found.pairs)).chain(self.not_paired(found)).collect();
            return Some((sentences.join(strings.between_sentences()), None));
        }
        let mut sentences = vec![
            strings.act_together(first, second, &percent(found.share), found.pairs),
            strings.chance_gives(&percent(found.by_chance), found.pairs),
        ];
        sentences.extend(self.not_paired(found));
        if found.columns.len() > COLUMNS_MAX {
            sentences.push(strings.too_wide(found.columns.len(), COLUMNS_MAX));
            return Some((sentences.join(strings.between_sentences()), None));
        }
        let objective = strings.within(&self.headings.objective_within());
        sentences.push(strings.cells_are(&objective));
        Some((sentences.join(strings.between_sentences()), Some(self.crossed(found, first, second))))
    }

    /// What was in no pair.
    fn not_paired(&self, found: &Interaction) -> Option<String> {
        let names = found.left_out.iter().map(|name| self.headings.parameter(name).to_owned());
        (!found.left_out.is_empty()).then(|| self.strings.not_paired(&names.collect::<Vec<_>>()))
    }

    fn crossed(&self, found: &Interaction, first: &str, second: &str) -> Table {
        let columns = found.columns.iter().map(|value| format!("{second} = {}", short_parameter(value)));
        let headings = std::iter::once(first.to_owned()).chain(columns).collect();
        let cell = |cell: &Together| {
            let text = format!("{} (n = {})", decimals(Some(cell.mean), 4), cell.count);
            if cell.best { format!("{text} ★") } else { text }
        };
        let row = |(value, cells): (&terms::ParameterValue, &Vec<Together>)| TableRow {
            cells: std::iter::once(short_parameter(value)).chain(cells.iter().map(cell)).collect(),
            best: false,
        };
        Table { headings, rows: found.rows.iter().zip(&found.cells).map(row).collect() }
    }
}

/// The part of a page, with the table as `numbered` makes it.
pub(super) fn blocks<'a>(
    told: (String, Option<Table>),
    heading: &'static str,
    numbered: impl FnOnce(Table) -> Block<'a>,
) -> Vec<Block<'a>> {
    let (text, table) = told;
    [Block::Part(heading), Block::Text(text)].into_iter().chain(table.map(numbered)).collect()
}
