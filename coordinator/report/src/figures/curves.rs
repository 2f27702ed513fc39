//! The objective, and the metric of the training data next to it, epoch by epoch: one line per job, of the best and the
//! worst.

use std::collections::BTreeSet;

use terms::Goal;

use super::{
    Curve, Drawn,
    axis::{Axis, LOGARITHMIC_FROM, Scale},
    curve_points::{Line, ceiling, lines},
    labels::{self, Area},
    legend,
    looks::{Look, looks},
    marks::Mark,
    numbers::{fitted, width},
    panel::Panel,
    svg::{Anchor, At, Drawing, Ink},
};
use crate::{
    headings::{Headings, Metric},
    strings::Strings,
};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 18.0;
const PANEL_HEIGHT: f64 = 400.0;
const NUMBER_SIZE: f64 = 13.0;
const LEGEND_SIZE: f64 = 14.0;
/// Length of a line in the legend.
const SAMPLE: f64 = 34.0;
/// Cross-entropies whose largest is this multiple of their smallest are drawn on a logarithmic axis.
const LOSS_LOGARITHMIC_FROM: f64 = 8.0;
/// Lines with at most this many epochs have a dot at each.
const DOTS_MAX: usize = 30;

/// What the figure shows, and how much it leaves out.
pub(super) struct Jobs<'a> {
    /// The best first, the worst last.
    pub(super) curves: &'a [Curve],
    /// How many of them are shown as the best; all where nothing is left out.
    pub(super) best: usize,
    pub(super) all: u64,
    pub(super) varying: &'a [String],
}

/// What the lines of a panel do not show: how many lines leave the axis, go to minus infinity, or have gaps.
#[derive(Debug, Clone, Copy, Default)]
struct Unseen {
    beyond: usize,
    below: usize,
    gaps: usize,
}

pub(super) fn draw(jobs: &Jobs<'_>, headings: &Headings) -> Drawn {
    let (curves, strings) = (jobs.curves, headings.strings);
    let title = strings.learning_curves.to_owned();
    let mut drawing = Drawing::new(WIDTH);
    drawing.bold((WIDTH / 2.0, 24.0), &title, 20.0, Anchor::Middle, Ink::Text);
    if curves.is_empty() {
        drawing.text((WIDTH / 2.0, 90.0), strings.no_results, 18.0, Anchor::Middle, Ink::Soft);
        return Drawn { svg: drawing.finish(150.0), title, notes: Vec::new() };
    }
    let values: Vec<Vec<String>> = curves.iter().map(|curve| curve.values.clone()).collect();
    let (looks, meaning) = looks(&values);
    let mut notes = Vec::new();
    let left_out = jobs.all.saturating_sub(curves.len() as u64);
    if left_out > 0 {
        let shown = strings.best_and_worst(jobs.best, curves.len() - jobs.best, jobs.all);
        drawing.text((WIDTH / 2.0, 48.0), &shown, 14.0, Anchor::Middle, Ink::Soft);
        notes.push(strings.shown_and_not(&shown, left_out));
    }
    if let Some(meaning) = meaning {
        let name = |parameter: usize| jobs.varying.get(parameter).map_or("", |name| headings.parameter(name));
        notes.push(strings.colour_and_dash(name(meaning.colour), meaning.dash.map(name)));
    }
    let top = if left_out > 0 { 66.0 } else { 46.0 };
    let metrics: Vec<&Metric> = std::iter::once(headings.objective()).chain(headings.companion()).collect();
    let count = metrics.len() as f64;
    let share = (WIDTH - (count + 1.0) * MARGIN) / count;
    let mut unseen = Unseen::default();
    for (place, metric) in metrics.into_iter().enumerate() {
        let left = MARGIN + place as f64 * (MARGIN + share);
        let area = Area { left, top, right: left + share, bottom: top + PANEL_HEIGHT };
        let found = metric_panel(&mut drawing, area, curves, &looks, metric, strings, &mut notes);
        unseen.beyond += found.beyond;
        unseen.below += found.below;
        unseen.gaps += found.gaps;
    }
    let top = top + PANEL_HEIGHT + 6.0;
    let bottom = write_legend(&mut drawing, top, jobs, &looks, left_out > 0, strings);
    let bottom = write_marks(&mut drawing, bottom, curves, unseen, strings);
    Drawn { svg: drawing.finish(bottom + 10.0), title, notes }
}

/// Draws one metric and notes what cannot be seen of it.
fn metric_panel(
    drawing: &mut Drawing,
    area: Area,
    curves: &[Curve],
    looks: &[Look],
    metric: &Metric,
    strings: &Strings,
    notes: &mut Vec<String>,
) -> Unseen {
    let lines = lines(curves, metric);
    let y = axis_of(metric, &lines);
    let name = strings.on_axis(&metric.heading, y.scale() == Scale::Logarithmic);
    let unseen = panel(drawing, area, curves, looks, &lines, &y, &name, strings);
    if unseen.beyond > 0 {
        let finite = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        let largest = finite.filter(|value| value.is_finite() && y.share(*value) > 1.0).reduce(f64::max);
        notes.push(strings.beyond_axis(unseen.beyond, largest, metric.is_loss));
    }
    if unseen.below > 0 {
        notes.push(strings.below_axis(unseen.below));
    }
    if unseen.gaps > 0 {
        notes.push(strings.not_numbers(unseen.gaps));
    }
    unseen
}

/// The axis of a metric: a share is linear, and a value to minimise may have exploded.
fn axis_of(metric: &Metric, lines: &[Line]) -> Axis {
    let finite = || {
        let all = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        all.filter(|value| value.is_finite())
    };
    if metric.is_share {
        return Axis::around(finite(), 0.06);
    }
    let ceiling = if metric.goal == Some(Goal::Minimize) { ceiling(lines) } else { None };
    let shown = || finite().filter(|value| ceiling.is_none_or(|ceiling| *value <= ceiling));
    let from = if metric.is_loss { LOSS_LOGARITHMIC_FROM } else { LOGARITHMIC_FROM };
    let positive = || shown().filter(|value| *value > 0.0);
    let (low, high) = positive().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    if shown().all(|value| value >= 0.0) && high / low >= from {
        Axis::logarithmic(positive(), 0.06)
    } else {
        Axis::around(shown(), 0.06)
    }
}

/// Draws the lines of one panel, with the jobs' numbers at their ends.
#[expect(clippy::too_many_arguments, reason = "they have nothing in common, and there is one call")]
fn panel(
    drawing: &mut Drawing,
    area: Area,
    curves: &[Curve],
    looks: &[Look],
    lines: &[Line],
    y: &Axis,
    name: &str,
    strings: &Strings,
) -> Unseen {
    let numbers: Vec<String> = curves.iter().map(|curve| curve.number.to_string()).collect();
    let room = numbers.iter().map(|number| width(number, NUMBER_SIZE)).fold(0.0, f64::max) + 12.0;
    let last = curves.iter().flat_map(|curve| &curve.epochs).map(|epoch| epoch.number).max().unwrap_or(1);
    let inner = Area { right: area.right - room, ..area };
    let axes = (Axis::epochs(f64::from(last)), y.clone());
    let panel = Panel::draw(drawing, inner, axes, (strings.epoch, name));
    let is_beyond = |point: &&(f64, f64)| y.share(point.1) > 1.0;
    let is_below = |point: &&(f64, f64)| point.1 == f64::NEG_INFINITY;
    // The best is drawn last, on top.
    for (index, line) in lines.iter().enumerate().rev() {
        let Look { ink, dash } = looks[index];
        let has_dots = line.points.len() <= DOTS_MAX;
        drawing.titled(&strings.job_titled(curves[index].number, &curves[index].label), |drawing| {
            for segment in line.segments() {
                let places: Vec<At> = segment.iter().map(|(x, y)| panel.at(*x, *y)).collect();
                drawing.polyline(&places, ink, 2.0, dash);
            }
            if has_dots {
                let shown = line.points.iter().filter(|point| !is_beyond(point) && !is_below(point));
                shown.for_each(|(x, y)| drawing.circle(panel.at(*x, *y), 2.4, ink));
            }
        });
        // One mark each where points are drawn: a line along the top must not look like a constant loss.
        let marks_max = if has_dots { DOTS_MAX } else { 1 };
        for (epoch, _) in line.points.iter().filter(is_beyond).take(marks_max) {
            beyond_mark(drawing, panel.at(*epoch, f64::INFINITY), ink);
        }
        for (epoch, _) in line.points.iter().filter(is_below).take(marks_max) {
            below_mark(drawing, panel.at(*epoch, f64::NEG_INFINITY), ink);
        }
        for epoch in line.gaps.iter().take(marks_max) {
            gap_mark(drawing, panel.at(*epoch, f64::NEG_INFINITY), ink);
        }
        let end = line.points.last().map(|(x, y)| panel.at(*x, *y));
        if let (Some(at), Some(mark)) = (end, Mark::of_state(curves[index].state)) {
            mark.draw(drawing, at);
        }
    }
    write_numbers(drawing, &panel, lines, looks, &numbers);
    Unseen {
        beyond: lines.iter().filter(|line| line.points.iter().any(|point| is_beyond(&point))).count(),
        below: lines.iter().filter(|line| line.points.iter().any(|point| is_below(&point))).count(),
        gaps: lines.iter().filter(|line| !line.gaps.is_empty()).count(),
    }
}

/// A triangle at the upper end of the axis, whose tip points beyond it.
fn beyond_mark(drawing: &mut Drawing, (x, y): At, ink: Ink) {
    drawing.polygon(&[(x, y - 10.0), (x + 5.5, y), (x - 5.5, y)], ink, true);
}

/// The same, at the lower end.
fn below_mark(drawing: &mut Drawing, (x, y): At, ink: Ink) {
    drawing.polygon(&[(x, y + 10.0), (x + 5.5, y), (x - 5.5, y)], ink, true);
}

/// A hollow diamond at the lower end: there is no number at this epoch.
fn gap_mark(drawing: &mut Drawing, (x, y): At, ink: Ink) {
    drawing.polygon(&[(x, y - 11.0), (x + 5.5, y - 5.5), (x, y), (x - 5.5, y - 5.5)], ink, false);
}

/// The jobs' numbers in a column to the right of the lines, each level with its line's end where there is room.
fn write_numbers(drawing: &mut Drawing, panel: &Panel, lines: &[Line], looks: &[Look], numbers: &[String]) {
    let ends: Vec<(usize, At)> = lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| line.points.last().map(|(x, y)| (index, panel.at(*x, *y))))
        .collect();
    let wanted: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
    let spread = labels::spread(&wanted, NUMBER_SIZE, panel.plot.top, panel.plot.bottom);
    for ((index, end), y) in ends.iter().zip(spread) {
        let left = panel.plot.right + 6.0;
        drawing.line((end.0 + 3.0, end.1), (left - 2.0, y), Ink::Grid, 1.0);
        drawing.bold((left, y), &numbers[*index], NUMBER_SIZE, Anchor::Start, looks[*index].ink);
    }
}

/// Writes each line's number and parameters in two columns, the best to the left; returns where it ends.
fn write_legend(
    drawing: &mut Drawing,
    top: f64,
    jobs: &Jobs<'_>,
    looks: &[Look],
    selection: bool,
    strings: &Strings,
) -> f64 {
    let curves = jobs.curves;
    let column = (WIDTH - 3.0 * MARGIN) / 2.0;
    let left_entries = if selection { jobs.best } else { curves.len().div_ceil(2) };
    let mut top = top;
    if selection {
        for (text, left) in [(strings.best_jobs, MARGIN), (strings.worst_jobs, 2.0 * MARGIN + column)] {
            drawing.text((left, top + legend::ROW / 2.0), text, LEGEND_SIZE, Anchor::Start, Ink::Soft);
        }
        top += legend::ROW;
    }
    let mut bottom = top;
    for (index, (curve, look)) in curves.iter().zip(looks).enumerate() {
        let (column_index, row) =
            if index < left_entries { (0.0, index) } else { (1.0, index - left_entries) };
        let left = MARGIN + column_index * (column + MARGIN);
        let y = top + (row as f64 + 0.5) * legend::ROW;
        drawing.polyline(&[(left, y), (left + SAMPLE, y)], look.ink, 2.0, look.dash);
        let number = curve.number.to_string();
        let (text, width) = (left + SAMPLE + 8.0, width(&number, LEGEND_SIZE) * 1.08 + 10.0);
        drawing.bold((text, y), &number, LEGEND_SIZE, Anchor::Start, look.ink);
        let label = fitted(&curve.label, LEGEND_SIZE, left + column - text - width);
        drawing.text((text + width, y), &label, LEGEND_SIZE, Anchor::Start, Ink::Text);
        bottom = f64::max(bottom, y + legend::ROW / 2.0);
    }
    bottom
}

/// Explains the marks that occur; returns where that ends.
fn write_marks(drawing: &mut Drawing, top: f64, curves: &[Curve], unseen: Unseen, strings: &Strings) -> f64 {
    let with_epochs = curves.iter().filter(|curve| !curve.epochs.is_empty());
    let marks: BTreeSet<Mark> = with_epochs.filter_map(|curve| Mark::of_state(curve.state)).collect();
    let y = top + legend::ROW / 2.0;
    let mut left = MARGIN + 8.0;
    let mut explain = |drawing: &mut Drawing, draw: &dyn Fn(&mut Drawing, At), text: &str| {
        draw(drawing, (left, y));
        drawing.text((left + 14.0, y), text, LEGEND_SIZE, Anchor::Start, Ink::Text);
        left += 14.0 + width(text, LEGEND_SIZE) + 30.0;
    };
    for mark in &marks {
        let text = strings.state_name(mark.state().unwrap_or_default());
        explain(drawing, &|drawing, at| mark.draw(drawing, at), text);
    }
    if unseen.beyond > 0 {
        explain(drawing, &|drawing, (x, y)| beyond_mark(drawing, (x, y + 5.0), Ink::Soft), strings.beyond);
    }
    if unseen.below > 0 {
        explain(drawing, &|drawing, (x, y)| below_mark(drawing, (x, y - 5.0), Ink::Soft), "-inf");
    }
    if unseen.gaps > 0 {
        explain(drawing, &|drawing, (x, y)| gap_mark(drawing, (x, y + 5.5), Ink::Soft), strings.not_a_number);
    }
    if marks.is_empty() && unseen.beyond + unseen.below + unseen.gaps == 0 { top } else { top + legend::ROW }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(is_share: bool, is_loss: bool, goal: Option<Goal>) -> Metric {
        let [name, heading, topic, at_best] = ["x"; 4].map(str::to_owned);
        Metric { name, index: Some(0), heading, topic, at_best, is_share, is_loss, goal }
    }

    fn scale(metric: &Metric, values: &[f64]) -> Scale {
        let points = (1..).zip(values).map(|(x, y)| (f64::from(x), *y)).collect();
        axis_of(metric, &[Line { points, gaps: Vec::new() }]).scale()
    }

    #[test]
    fn losses_far_apart_are_drawn_on_a_logarithmic_axis() {
        let loss = metric(false, true, Some(Goal::Minimize));
        assert_eq!(scale(&loss, &[0.7, 0.6]), Scale::Linear);
        assert_eq!(scale(&loss, &[10.0, 0.1]), Scale::Logarithmic);
        assert_eq!(scale(&loss, &[10.0, 0.0, 0.1]), Scale::Logarithmic, "nothing is left of the lowest");
        assert_eq!(scale(&loss, &[10.0, -0.1]), Scale::Linear);
        assert_eq!(scale(&loss, &[]), Scale::Linear);
    }

    #[test]
    fn other_metrics_have_a_logarithmic_axis_from_a_thousandfold_on_and_shares_never() {
        let reward = metric(false, false, Some(Goal::Maximize));
        assert_eq!(scale(&reward, &[1.0, 999.0]), Scale::Linear);
        assert_eq!(scale(&reward, &[1.0, 1_000.0]), Scale::Logarithmic);
        assert_eq!(scale(&metric(true, false, None), &[0.0001, 1.0]), Scale::Linear);
        let axis = |goal, values: [f64; 3]| {
            let points = (1..).zip(values).map(|(x, y)| (f64::from(x), y)).collect();
            axis_of(&metric(false, false, goal), &[Line { points, gaps: Vec::new() }])
        };
        assert!(axis(Some(Goal::Maximize), [1.0, 2.0, 1e9]).share(1e9) < 1.0, "a reward may grow");
        assert!(
            axis(Some(Goal::Minimize), [1.0, 2.0, 1e9]).share(1e9) > 1.0,
            "a loss that grows has exploded"
        );
    }
}
