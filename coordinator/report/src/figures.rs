//! The figures: collected while jobs go by, drawn at the end, turned into pixels with resvg.

mod axis;
mod curve_points;
mod curves;
mod labels;
mod legend;
mod looks;
mod marks;
mod numbers;
mod panel;
mod render;
mod scatter;
mod svg;

use std::cmp::Reverse;

use proto::v1;

pub use self::numbers::measured;
pub(super) use self::{
    numbers::{readable, short, short_text},
    svg::dark_style,
};
use super::{
    ReportError,
    ranking::{Best, Place},
    rows::JobRow,
    words::Words,
};

/// Most points of the scatter plot; more are an even choice and the best.
const POINTS_MAX: usize = 2_000;
/// Points of the best jobs, which are never left out.
const BEST_POINTS: usize = 40;
/// Most learning curves: more lines cannot be told apart.
const CURVES_MAX: usize = 8;
/// Where there are more jobs than that, how many of the curves are those of the worst.
const WORST_CURVES: usize = 3;

/// One finished figure.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) svg_name: &'static str,
    pub(super) png_name: &'static str,
    pub(super) title: String,
    /// What it does not show, and how to read it: a sentence each.
    pub(super) notes: Vec<String>,
    pub(super) svg: String,
    pub(super) png: Vec<u8>,
}

/// What a figure's module makes.
struct Drawn {
    svg: String,
    title: String,
    notes: Vec<String>,
}

/// A job in the scatter plot.
#[derive(Debug, Clone)]
struct Point {
    place: Place,
    number: u64,
    state: &'static str,
    seconds: f64,
    accuracy: f64,
    /// The value by which it has its colour.
    group: String,
    label: String,
}

/// A job's learning curve.
#[derive(Debug)]
struct Curve {
    number: u64,
    state: &'static str,
    /// The parameters that vary, in their order.
    values: Vec<String>,
    label: String,
    epochs: Vec<v1::EpochRecord>,
}

/// What the figures need, gathered job by job.
#[derive(Debug)]
pub(super) struct Figures {
    varying: Vec<String>,
    /// The parameter whose values have colours of their own.
    group: Option<String>,
    /// A choice that has nothing to do with the jobs' parameters.
    points: Best<u64, Point>,
    best_points: Best<Place, Point>,
    best_curves: Best<Place, Curve>,
    /// Those whose end is a result before others, as a machine's failure says nothing of a job's parameters.
    worst_curves: Best<(bool, Reverse<Place>), Curve>,
    /// Fewest and most epochs of the jobs that are done.
    epochs: Option<(u32, u32)>,
    with_results: u64,
    without_results: u64,
}

impl Figures {
    pub(super) fn new(sweep: &v1::Sweep) -> Self {
        let varying = sweep.varying.clone();
        let group = varying.iter().find(|name| *name == "activation").or_else(|| varying.first()).cloned();
        Self {
            varying,
            group,
            points: Best::new(POINTS_MAX),
            best_points: Best::new(BEST_POINTS),
            best_curves: Best::new(CURVES_MAX),
            worst_curves: Best::new(WORST_CURVES),
            epochs: None,
            with_results: 0,
            without_results: 0,
        }
    }

    /// Adds a job.
    pub(super) fn job(&mut self, place: Place, row: &JobRow, epochs: &[v1::EpochRow]) {
        let results = row.train_seconds.zip(row.val_accuracy);
        let Some((seconds, accuracy)) = results.filter(|(s, a)| s.is_finite() && a.is_finite()) else {
            self.without_results += 1;
            return;
        };
        self.with_results += 1;
        let point = || Point {
            place,
            number: row.number,
            state: row.state,
            seconds,
            accuracy,
            group: self.group.as_ref().map_or_else(String::new, |name| row.parameter(name)),
            label: row.short_label(&self.varying),
        };
        if row.state == "done" {
            let (fewest, most) = self.epochs.unwrap_or((row.epochs_done, row.epochs_done));
            self.epochs = Some((fewest.min(row.epochs_done), most.max(row.epochs_done)));
        }
        self.points.offer(mixed(row.number), point);
        self.best_points.offer(place, point);
        let curve = || Curve {
            number: row.number,
            state: row.state,
            values: self.varying.iter().map(|name| row.parameter(name)).collect(),
            label: row.short_label(&self.varying),
            epochs: epochs.iter().filter_map(|epoch| epoch.record.clone()).collect(),
        };
        self.best_curves.offer(place, curve);
        let is_result = matches!(row.state, "done" | "diverged");
        self.worst_curves.offer((is_result, Reverse(place)), curve);
    }

    /// Draws both figures.
    pub(super) fn draw(self, words: &Words) -> Result<Vec<Figure>, ReportError> {
        let points = merged(self.points.into_ranked(), self.best_points.into_ranked());
        let scatter = scatter::draw(
            &scatter::Jobs {
                points: &points,
                with_results: self.with_results,
                without_results: self.without_results,
                group: self.group.as_deref(),
                epochs: self.epochs.filter(|(fewest, most)| fewest == most).map(|(epochs, _)| epochs),
            },
            words,
        );
        let mut chosen = self.best_curves.into_ranked();
        if self.with_results > chosen.len() as u64 {
            chosen.truncate(CURVES_MAX - WORST_CURVES);
        }
        let best = chosen.len();
        if self.with_results > best as u64 {
            let numbers: Vec<u64> = chosen.iter().map(|curve| curve.number).collect();
            let worst = self.worst_curves.into_ranked().into_iter();
            // The worst of all comes last. Where few jobs have ended, they are among the best, too.
            chosen.extend(worst.rev().filter(|curve| !numbers.contains(&curve.number)));
        }
        let curves = curves::draw(
            &curves::Jobs { curves: &chosen, best, with_results: self.with_results, varying: &self.varying },
            words,
        );
        Ok(vec![
            figure("figures/time-vs-accuracy.svg", "figures/time-vs-accuracy.png", scatter, words)?,
            figure("figures/learning-curves.svg", "figures/learning-curves.png", curves, words)?,
        ])
    }
}

/// A number that has nothing of the job's number left (the finaliser of SplitMix64): numbers of jobs count through the grid,
/// so that every so many of them have the same values. Of two jobs, it is never the same.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The points of an even choice and those of the best, each once, the best first.
fn merged(mut points: Vec<Point>, best: Vec<Point>) -> Vec<Point> {
    let sampled: std::collections::HashSet<u64> = points.iter().map(|point| point.number).collect();
    points.extend(best.into_iter().filter(|point| !sampled.contains(&point.number)));
    points.sort_by_key(|point| Reverse(point.place));
    points
}

/// The drawing with its pixels.
fn figure(
    svg_name: &'static str,
    png_name: &'static str,
    drawn: Drawn,
    words: &Words,
) -> Result<Figure, ReportError> {
    let Drawn { svg, title, mut notes } = drawn;
    let (pictured, replaced) = render::with_pictures(&svg);
    if replaced {
        notes.push(words.missing_signs(render::MISSING));
    }
    let png = render::png(&pictured).map_err(|reason| ReportError::Figure { figure: png_name, reason })?;
    Ok(Figure { svg_name, png_name, title, notes, svg, png })
}
