//! The pages for people: `report.md` and `report.html`, from the same content. `document` puts the parts in order; each part has a file.

mod columns;
mod document;
mod effects;
mod facts;
mod failures;
mod findings;
mod html;
mod interactions;
mod jobs;
mod left_out;
mod markdown;
mod method;
mod points;
mod policy;
mod reproduction;
mod verdict;

use analysis::Analysis;

#[cfg(test)]
pub(super) use self::policy::policy;
pub(super) use self::{effects::weighed, html::html, markdown::markdown};
use super::{
    failures::Group,
    figures::{Figure, measured},
    headings::Headings,
    model::Sweep,
    recorded::Recorded,
    repeats::Point,
    rows::JobRow,
    strings::Strings,
    training::Training,
};

/// Most parameters in the pages' tables: with more, the rest is out of sight.
pub(super) const PARAMETERS_SHOWN_MAX: usize = 12;

/// The content of a page.
pub(super) struct Content<'a> {
    pub(super) strings: &'static Strings,
    pub(super) headings: &'a Headings,
    pub(super) sweep: &'a Sweep,
    /// What its file says of the method.
    pub(super) recorded: &'a Recorded,
    pub(super) training: &'a Training,
    pub(super) analysis: &'a Analysis,
    /// Rows of the table, the best first.
    pub(super) rows: Vec<JobRow>,
    /// Whether only the best jobs are listed.
    pub(super) selection: bool,
    /// Where points are trained several times, the best of them, and whether others are left out.
    pub(super) points: Option<&'a (Vec<Point>, bool)>,
    pub(super) best: Option<JobRow>,
    /// The file of the best weights within the report's folder, if it exists.
    pub(super) best_weights_file: Option<&'static str>,
    /// Sum over all jobs, in seconds.
    pub(super) train_seconds: f64,
    /// Whether some job trained together with others, so that the sum is an estimate.
    pub(super) packed: bool,
    pub(super) figures: &'a [Figure],
    /// Jobs that failed or ended early, by reason.
    pub(super) failures: &'a [Group],
}

/// A part of a page, which each form of page writes in its own way. Its texts are foreign: escaping them is the form's business.
enum Block<'a> {
    /// A heading.
    Section(&'static str),
    /// A heading within a section.
    Part(&'static str),
    Text(String),
    /// Names and what is said of them.
    Facts(Vec<(String, String)>),
    /// The same, as a list.
    List(Vec<(String, String)>),
    Table {
        caption: String,
        table: Table,
    },
    /// A table of what does not fit, in a box that opens; how many of its rows are there, if not all.
    Folded {
        table: Table,
        cut_to: Option<usize>,
    },
    Figure {
        caption: String,
        figure: &'a Figure,
    },
    /// Text in another language.
    Code {
        language: &'static str,
        text: String,
    },
}

/// A table.
struct Table {
    headings: Vec<String>,
    rows: Vec<TableRow>,
}

/// One row of a table: its cells, whether it is the best.
struct TableRow {
    cells: Vec<String>,
    best: bool,
}

fn decimals(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| measured(value, decimals))
}
