//! The order of a page: what was asked, how it was found out, what came out, what that means, how to do it again.

use super::{Block, Content, interactions};
use crate::strings::Title;

/// Numbers tables and figures.
#[derive(Default)]
struct Numbers {
    tables: usize,
    figures: usize,
}

impl<'a> Content<'a> {
    /// The page.
    pub(super) fn document(&self) -> Vec<Block<'a>> {
        let strings = self.strings;
        let mut page = vec![Block::Section(strings.summary), Block::Facts(self.facts())];
        page.push(Block::Section(strings.title(Title::Question)));
        page.extend(self.question());
        page.push(Block::Section(strings.title(Title::Method)));
        page.push(Block::Facts(self.method()));
        let mut numbers = Numbers::default();
        page.push(Block::Section(strings.results));
        self.jobs_and_figures(&mut page, &mut numbers);
        self.effects_part(&mut page, &mut numbers);
        let points = self.points().zip(self.notes_on_points()).or_else(|| self.configurations_table());
        if let Some((table, notes)) = points {
            page.push(Block::Part(strings.points));
            page.push(self.numbered_table(&mut numbers, strings.points, table));
            page.push(Block::Text(notes));
        }
        page.push(Block::Part(strings.title(Title::BestConfiguration)));
        page.extend(self.verdict().into_iter().map(Block::Text));
        let failures = self.failures();
        if !failures.is_empty() {
            page.extend([Block::Part(strings.failures), Block::List(failures)]);
        }
        page.push(Block::Part(strings.title(Title::LeftOut)));
        match self.left_out() {
            nothing if nothing.is_empty() => page.push(Block::Text(strings.nothing_left_out().to_owned())),
            left_out => page.push(Block::List(left_out)),
        }
        let findings = self.findings();
        let limits = self.limits();
        if !findings.is_empty() || !limits.is_empty() {
            page.push(Block::Section(strings.title(Title::Discussion)));
        }
        if !findings.is_empty() {
            page.push(Block::List(findings));
        }
        if !limits.is_empty() {
            page.push(Block::Part(strings.title(Title::Limits)));
            page.extend(limits.into_iter().map(Block::Text));
        }
        page.push(Block::Section(strings.title(Title::Conclusion)));
        page.extend(self.conclusion().into_iter().map(Block::Text));
        page.push(Block::Section(strings.title(Title::Reproduction)));
        page.extend(self.reproduction());
        page
    }

    /// The table of jobs, the scatter plot and the learning curves.
    fn jobs_and_figures(&self, page: &mut Vec<Block<'a>>, numbers: &mut Numbers) {
        let strings = self.strings;
        if !self.has_results() {
            page.push(Block::Text(strings.nothing_came(self.sweep.job_count, &self.by_state())));
            return;
        }
        page.push(self.numbered_table(numbers, strings.title(Title::JobsRanked), self.table()));
        if self.selection {
            page.push(Block::Text(strings.best_rows_only.to_owned()));
        }
        if let Some(table) = self.folded() {
            let cut_to = Some(table.rows.len()).filter(|rows| *rows < self.rows.len());
            page.push(Block::Folded { table, cut_to });
        }
        if self.shows_packs() {
            page.push(Block::Text(strings.packs.to_owned()));
        }
        for figure in self.figures.iter().filter(|figure| !figure.is_of_effects()) {
            numbers.figures += 1;
            page.push(Block::Figure {
                caption: strings.figure_caption(numbers.figures, &figure.title),
                figure,
            });
        }
    }

    /// What the values of parameters come to.
    fn effects_part(&self, page: &mut Vec<Block<'a>>, numbers: &mut Numbers) {
        let strings = self.strings;
        let Some(table) = self.effects() else { return };
        page.push(Block::Part(strings.title(Title::Effects)));
        page.push(Block::Text(self.how_analysed()));
        if let Some(figure) = self.figures.iter().find(|figure| figure.is_of_effects()) {
            numbers.figures += 1;
            page.push(Block::Figure {
                caption: strings.figure_caption(numbers.figures, &figure.title),
                figure,
            });
        }
        page.push(self.numbered_table(numbers, strings.title(Title::Effects), table));
        page.extend(self.values_not_shown().map(Block::Text));
        if let Some(table) = self.pairs() {
            page.push(self.numbered_table(numbers, strings.title(Title::Pairs), table));
            page.extend(self.no_pairs_of_trainings().map(Block::Text));
        }
        if let Some(told) = self.interactions() {
            let title = strings.title(Title::Interactions);
            page.extend(interactions::blocks(told, title, |table| {
                self.numbered_table(numbers, title, table)
            }));
        }
    }

    fn numbered_table(&self, numbers: &mut Numbers, title: &str, table: super::Table) -> Block<'a> {
        numbers.tables += 1;
        Block::Table { caption: self.strings.table_caption(numbers.tables, title), table }
    }
}
