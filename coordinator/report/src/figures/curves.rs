//! Validation accuracy and training loss, epoch by epoch: one line a job, of the best and the worst.

use std::collections::BTreeSet;

use super::{
    Curve, Drawn,
    axis::{Axis, Scale},
    curve_points::{Points, ceiling, points},
    labels::{self, Area},
    legend,
    looks::{Look, looks},
    marks::Mark,
    numbers::{fitted, width},
    panel::Panel,
    svg::{Anchor, At, Drawing, Ink},
};
use crate::words::Words;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 18.0;
const PANEL_HEIGHT: f64 = 400.0;
const NUMBER_SIZE: f64 = 13.0;
const LEGEND_SIZE: f64 = 14.0;
/// Length of a line in the legend.
const SAMPLE: f64 = 34.0;
/// Losses whose largest is this many times their smallest are drawn on a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 8.0;
/// Lines with no more epochs than this have a dot at each.
const DOTS_MAX: usize = 30;

/// What the figure shows, and what it does not.
pub(super) struct Jobs<'a> {
    /// The best first, the worst last.
    pub(super) curves: &'a [Curve],
    /// How many of them are there as the best; all where nothing is left out.
    pub(super) best: usize,
    pub(super) with_results: u64,
    pub(super) varying: &'a [String],
}

pub(super) fn draw(jobs: &Jobs<'_>, words: &Words) -> Drawn {
    let curves = jobs.curves;
    let title = words.learning_curves.to_owned();
    let mut drawing = Drawing::new(WIDTH);
    drawing.bold((WIDTH / 2.0, 24.0), &title, 20.0, Anchor::Middle, Ink::Text);
    if curves.is_empty() {
        drawing.text((WIDTH / 2.0, 90.0), words.no_results, 18.0, Anchor::Middle, Ink::Soft);
        return Drawn { svg: drawing.finish(150.0), title, notes: Vec::new() };
    }
    let values: Vec<Vec<String>> = curves.iter().map(|curve| curve.values.clone()).collect();
    let (looks, meaning) = looks(&values);
    let mut notes = Vec::new();
    let left_out = jobs.with_results.saturating_sub(curves.len() as u64);
    if left_out > 0 {
        let shown = words.best_and_worst(jobs.best, curves.len() - jobs.best, jobs.with_results);
        drawing.text((WIDTH / 2.0, 48.0), &shown, 14.0, Anchor::Middle, Ink::Soft);
        notes.push(words.shown_and_not(&shown, left_out));
    }
    if let Some(meaning) = meaning {
        let name = |parameter: usize| jobs.varying.get(parameter).map_or("", |name| words.parameter(name));
        notes.push(words.colour_and_dash(name(meaning.colour), meaning.dash.map(name)));
    }
    let top = if left_out > 0 { 66.0 } else { 46.0 };
    let half = (WIDTH - 3.0 * MARGIN) / 2.0;
    let area = |left: f64| Area { left, top, right: left + half, bottom: top + PANEL_HEIGHT };
    let accuracy = points(curves, |record| record.val_accuracy);
    let y = Axis::around(accuracy.iter().flatten().map(|(_, value)| *value), 0.06);
    panel(&mut drawing, area(MARGIN), curves, &looks, &accuracy, &y, words.val_accuracy, words);
    let losses = points(curves, |record| record.train_loss);
    let ceiling = ceiling(&losses);
    let y = loss_axis(&losses, ceiling);
    let name = words.on_axis(words.train_loss, y.scale() == Scale::Logarithmic);
    let beyond = panel(&mut drawing, area(2.0 * MARGIN + half), curves, &looks, &losses, &y, &name, words);
    if beyond > 0 {
        let largest = losses.iter().flatten().map(|(_, loss)| *loss).fold(0.0, f64::max);
        notes.push(words.beyond_axis(beyond, largest));
    }
    let top = top + PANEL_HEIGHT + 6.0;
    let bottom = write_legend(&mut drawing, top, jobs, &looks, left_out > 0, words);
    let bottom = write_marks(&mut drawing, bottom, curves, beyond > 0, words);
    Drawn { svg: drawing.finish(bottom + 10.0), title, notes }
}

/// The axis of losses up to `ceiling`: logarithmic where they span more than a linear one shows.
fn loss_axis(losses: &[Points], ceiling: Option<f64>) -> Axis {
    let shown = || {
        let all = losses.iter().flatten().map(|(_, loss)| *loss);
        all.filter(|loss| loss.is_finite() && ceiling.is_none_or(|ceiling| *loss <= ceiling))
    };
    let positive = || shown().filter(|loss| *loss > 0.0);
    let (low, high) = positive().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    if shown().all(|loss| loss >= 0.0) && high / low >= LOGARITHMIC_FROM {
        Axis::logarithmic(positive(), 0.06)
    } else {
        Axis::around(shown(), 0.06)
    }
}

/// Draws the lines of one panel, with the jobs' numbers at their ends; returns how many go beyond the axis.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a thing of its own, and both calls stand next to each other"
)]
fn panel(
    drawing: &mut Drawing,
    area: Area,
    curves: &[Curve],
    looks: &[Look],
    lines: &[Points],
    y: &Axis,
    name: &str,
    words: &Words,
) -> usize {
    let numbers: Vec<String> = curves.iter().map(|curve| curve.number.to_string()).collect();
    let room = numbers.iter().map(|number| width(number, NUMBER_SIZE)).fold(0.0, f64::max) + 12.0;
    let last = lines.iter().flatten().map(|(epoch, _)| *epoch).fold(1.0, f64::max);
    let inner = Area { right: area.right - room, ..area };
    let panel = Panel::draw(drawing, inner, (Axis::epochs(last), y.clone()), (words.epoch, name));
    let is_beyond = |point: &&(f64, f64)| y.share(point.1) > 1.0;
    // The best is drawn last, on top.
    for (index, line) in lines.iter().enumerate().rev() {
        let Look { ink, dash } = looks[index];
        let places: Vec<At> = line.iter().map(|(x, y)| panel.at(*x, *y)).collect();
        drawing.titled(&words.job_titled(curves[index].number, &curves[index].label), |drawing| {
            drawing.polyline(&places, ink, 2.0, dash);
            if places.len() <= DOTS_MAX {
                let shown = line.iter().zip(&places).filter(|(point, _)| !is_beyond(point));
                shown.for_each(|(_, at)| drawing.circle(*at, 2.4, ink));
            }
        });
        // Each where points are drawn at all: a line along the top is not to look like a loss that stays.
        let marks_max = if line.len() <= DOTS_MAX { DOTS_MAX } else { 1 };
        for (epoch, _) in line.iter().filter(is_beyond).take(marks_max) {
            beyond_mark(drawing, panel.at(*epoch, f64::INFINITY), ink);
        }
        if let (Some(at), Some(mark)) = (places.last(), Mark::of_state(curves[index].state)) {
            mark.draw(drawing, *at);
        }
    }
    write_numbers(drawing, &panel, lines, looks, &numbers);
    lines.iter().filter(|line| line.iter().any(|point| is_beyond(&point))).count()
}

/// A triangle at the upper end of the axis, whose tip points beyond it.
fn beyond_mark(drawing: &mut Drawing, (x, y): At, ink: Ink) {
    drawing.polygon(&[(x, y - 10.0), (x + 5.5, y), (x - 5.5, y)], ink, true);
}

/// The jobs' numbers in a column to the right of the lines, each level with its line's end as far as there is room.
fn write_numbers(drawing: &mut Drawing, panel: &Panel, lines: &[Points], looks: &[Look], numbers: &[String]) {
    let ends: Vec<(usize, At)> = lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| line.last().map(|(x, y)| (index, panel.at(*x, *y))))
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
    words: &Words,
) -> f64 {
    let curves = jobs.curves;
    let column = (WIDTH - 3.0 * MARGIN) / 2.0;
    let left_entries = if selection { jobs.best } else { curves.len().div_ceil(2) };
    let mut top = top;
    if selection {
        for (text, left) in [(words.best_jobs, MARGIN), (words.worst_jobs, 2.0 * MARGIN + column)] {
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
fn write_marks(drawing: &mut Drawing, top: f64, curves: &[Curve], beyond: bool, words: &Words) -> f64 {
    let with_epochs = curves.iter().filter(|curve| !curve.epochs.is_empty());
    let marks: BTreeSet<Mark> = with_epochs.filter_map(|curve| Mark::of_state(curve.state)).collect();
    let y = top + legend::ROW / 2.0;
    let mut left = MARGIN + 8.0;
    for mark in &marks {
        mark.draw(drawing, (left, y));
        let text = words.state_name(mark.state().unwrap_or_default());
        drawing.text((left + 14.0, y), text, LEGEND_SIZE, Anchor::Start, Ink::Text);
        left += 14.0 + width(text, LEGEND_SIZE) + 30.0;
    }
    if beyond {
        beyond_mark(drawing, (left, y + 5.0), Ink::Soft);
        drawing.text((left + 14.0, y), words.beyond, LEGEND_SIZE, Anchor::Start, Ink::Text);
    }
    if !marks.is_empty() || beyond { top + legend::ROW } else { top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_far_apart_are_drawn_on_a_logarithmic_axis() {
        let scale = |losses: &[f64]| {
            loss_axis(&[(1..).zip(losses).map(|(x, y)| (f64::from(x), *y)).collect()], None).scale()
        };
        assert_eq!(scale(&[0.7, 0.6]), Scale::Linear);
        assert_eq!(scale(&[10.0, 0.1]), Scale::Logarithmic);
        assert_eq!(scale(&[10.0, 0.0, 0.1]), Scale::Logarithmic, "nothing is left of the lowest");
        assert_eq!(scale(&[10.0, -0.1]), Scale::Linear);
        assert_eq!(scale(&[]), Scale::Linear);
    }
}
