//! The figures: collected while jobs are read, drawn at the end, rendered with resvg.

mod axis;
mod curve_points;
mod curves;
mod effects;
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

use analysis::mixed;
use terms::ParameterValue;

pub use self::{
    axis::LOGARITHMIC_FROM,
    numbers::{measured, measured_alike},
};
pub(super) use self::{
    effects::Weighed,
    numbers::{percent, short, short_parameter, short_text},
    svg::dark_style,
};
use super::{
    ReportError,
    headings::Headings,
    model::Epoch,
    ranking::{Best, Rank},
    rows::JobRow,
    strings::{At, Strings},
};

/// Most points of the scatter plot; beyond it, an even selection and the best.
const POINTS_MAX: usize = 2_000;
/// Points of the best jobs, which are always shown.
const BEST_POINTS: usize = 40;
/// Most learning curves: more lines cannot be distinguished.
const CURVES_MAX: usize = 8;
/// With more jobs than that, how many of the curves are those of the worst.
const WORST_CURVES: usize = 3;

/// Files of the scatter plot where the objective is an accuracy.
const TIME_AND_SHARE: [&str; 2] = ["figures/time-vs-accuracy.svg", "figures/time-vs-accuracy.png"];
/// The same where it is another metric.
const TIME_AND_OBJECTIVE: [&str; 2] = ["figures/time-vs-objective.svg", "figures/time-vs-objective.png"];

/// Files of the figure with the effects of parameters.
const EFFECTS: [&str; 2] = ["figures/effects.svg", "figures/effects.png"];

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

impl Figure {
    /// Whether it shows the effects of parameters, which are discussed apart from single jobs.
    pub(super) fn is_of_effects(&self) -> bool {
        self.svg_name == EFFECTS[0]
    }
}

/// The result of a figure's module.
struct Drawn {
    svg: String,
    title: String,
    notes: Vec<String>,
}

/// A job in the scatter plot.
#[derive(Debug, Clone)]
struct Point {
    rank: Rank,
    number: u64,
    state: &'static str,
    seconds: f64,
    /// The objective.
    value: f64,
    /// The value that decides its colour.
    group: String,
    label: String,
}

/// A job's learning curve.
#[derive(Debug)]
struct Curve {
    number: u64,
    state: &'static str,
    /// The parameters that vary, in order.
    values: Vec<String>,
    label: String,
    epochs: Vec<Epoch>,
}

/// What the figures need, gathered job by job.
#[derive(Debug)]
pub(super) struct Figures {
    varying: Vec<String>,
    /// Whether the best epoch of a job counts.
    uses_best: bool,
    /// The parameter whose values have their own colours, once there is a job.
    group: Option<String>,
    /// A selection that is independent of the jobs' parameters.
    points: Best<u64, Point>,
    best_points: Best<Rank, Point>,
    best_curves: Best<Rank, Curve>,
    /// Jobs whose end is a result come before others, as a machine's failure says nothing about a job's parameters.
    worst_curves: Best<(bool, Reverse<Rank>), Curve>,
    /// Fewest and most epochs of the jobs that are done.
    epochs: Option<(u32, u32)>,
    /// Jobs with a point, and those with a curve.
    with_results: u64,
    with_curves: u64,
    /// Jobs without an epoch.
    without_results: u64,
    /// Jobs with epochs, of which none has a finite value of the objective.
    without_values: u64,
}

impl Figures {
    pub(super) fn new(varying: &[String], uses_best: bool) -> Self {
        Self {
            varying: varying.to_vec(),
            uses_best,
            group: None,
            points: Best::new(POINTS_MAX),
            best_points: Best::new(BEST_POINTS),
            best_curves: Best::new(CURVES_MAX),
            worst_curves: Best::new(WORST_CURVES),
            epochs: None,
            with_results: 0,
            with_curves: 0,
            without_results: 0,
            without_values: 0,
        }
    }

    pub(super) fn job(&mut self, rank: Rank, row: &JobRow, epochs: &[Epoch], headings: &Headings) {
        if self.group.is_none() {
            self.group = group(&self.varying, row);
        }
        let Some(seconds) = row.train_seconds.filter(|seconds| seconds.is_finite()) else {
            self.without_results += 1;
            return;
        };
        self.point(rank, row, seconds, headings);
        // The curve of a job whose last value is not a number ends there.
        if epochs.iter().filter_map(|epoch| headings.objective().value(&epoch.metrics)).any(|v| v.is_finite())
        {
            self.curve(rank, row, epochs, headings);
        }
    }

    fn point(&mut self, rank: Rank, row: &JobRow, seconds: f64, headings: &Headings) {
        let Some(value) = row.ranked.map(|(_, value)| value).filter(|value| value.is_finite()) else {
            self.without_values += 1;
            return;
        };
        self.with_results += 1;
        let point = || Point {
            rank,
            number: row.number,
            state: row.state,
            seconds,
            value,
            group: self.group.as_ref().map_or_else(String::new, |name| row.parameter(name)),
            label: row.short_label(&self.varying, headings),
        };
        if row.state == "done" {
            let (fewest, most) = self.epochs.unwrap_or((row.epochs_done, row.epochs_done));
            self.epochs = Some((fewest.min(row.epochs_done), most.max(row.epochs_done)));
        }
        self.points.offer(mixed(row.number), point);
        self.best_points.offer(rank, point);
    }

    fn curve(&mut self, rank: Rank, row: &JobRow, epochs: &[Epoch], headings: &Headings) {
        self.with_curves += 1;
        let curve = || Curve {
            number: row.number,
            state: row.state,
            values: self.varying.iter().map(|name| row.parameter(name)).collect(),
            label: row.short_label(&self.varying, headings),
            epochs: epochs.to_vec(),
        };
        self.best_curves.offer(rank, curve);
        let is_result = matches!(row.state, "done" | "stopped" | "diverged");
        self.worst_curves.offer((is_result, Reverse(rank)), curve);
    }

    /// Draws the figures: the scatter plot, the learning curves, and, where some parameter has one, the effects, of which `left_out` are
    /// not given.
    pub(super) fn draw(
        self,
        headings: &Headings,
        effects: &[Weighed<'_>],
        left_out: usize,
    ) -> Result<Vec<Figure>, ReportError> {
        let strings = headings.strings;
        let epochs = self.epochs.filter(|(fewest, most)| fewest == most);
        let at = match (self.uses_best, epochs) {
            (true, _) => At::Best,
            (false, Some((epochs, _))) => At::Epoch(epochs),
            (false, None) => At::Last,
        };
        let points = merged(self.points.into_ranked(), self.best_points.into_ranked());
        let scatter = scatter::draw(
            &scatter::Jobs {
                points: &points,
                with_results: self.with_results,
                without_results: self.without_results,
                group: self.group.as_deref(),
                without_values: self.without_values,
                at,
            },
            headings,
        );
        let mut chosen = self.best_curves.into_ranked();
        if self.with_curves > chosen.len() as u64 {
            chosen.truncate(CURVES_MAX - WORST_CURVES);
        }
        let best = chosen.len();
        if self.with_curves > best as u64 {
            let numbers: Vec<u64> = chosen.iter().map(|curve| curve.number).collect();
            let worst = self.worst_curves.into_ranked().into_iter();
            // The worst comes last. Where few jobs have ended, the worst are also among the best.
            chosen.extend(worst.rev().filter(|curve| !numbers.contains(&curve.number)));
        }
        let curves = curves::draw(
            &curves::Jobs { curves: &chosen, best, all: self.with_curves, varying: &self.varying },
            headings,
        );
        let [svg, png] = if headings.objective().is_share { TIME_AND_SHARE } else { TIME_AND_OBJECTIVE };
        let mut figures = vec![
            figure(svg, png, scatter, strings)?,
            figure("figures/learning-curves.svg", "figures/learning-curves.png", curves, strings)?,
        ];
        if let Some(effects) = effects::draw(effects, left_out, headings) {
            let [svg, png] = EFFECTS;
            figures.push(figure(svg, png, effects, strings)?);
        }
        Ok(figures)
    }
}

/// The parameter whose values have colours: the first one with values that are not numbers, else the first.
fn group(varying: &[String], row: &JobRow) -> Option<String> {
    let is_kind = |name: &&String| {
        matches!(
            row.parameters.get(name),
            Some(ParameterValue::Text(_) | ParameterValue::Boolean(_) | ParameterValue::Null)
        )
    };
    varying.iter().find(is_kind).or_else(|| varying.first()).cloned()
}

/// The points of an even selection and those of the best, each once, the best first.
fn merged(mut points: Vec<Point>, best: Vec<Point>) -> Vec<Point> {
    let sampled: std::collections::HashSet<u64> = points.iter().map(|point| point.number).collect();
    points.extend(best.into_iter().filter(|point| !sampled.contains(&point.number)));
    points.sort_by_key(|point| Reverse(point.rank));
    points
}

/// The drawing and its pixels.
fn figure(
    svg_name: &'static str,
    png_name: &'static str,
    drawn: Drawn,
    strings: &Strings,
) -> Result<Figure, ReportError> {
    let Drawn { svg, title, mut notes } = drawn;
    let (pictured, replaced) = render::with_pictures(&svg);
    if replaced {
        notes.push(strings.missing_signs(render::MISSING));
    }
    let png = render::png(&pictured).map_err(|reason| ReportError::Figure { figure: png_name, reason })?;
    Ok(Figure { svg_name, png_name, title, notes, svg, png })
}
