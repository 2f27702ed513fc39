//! The effects of parameters: the mean of the objective at each value, with its interval.

use analysis::{Effect, Interval, Level};

use super::{
    Drawn,
    axis::{Axis, Scale},
    legend::ROW,
    numbers::{fitted, width},
    svg::{Anchor, At, Drawing, Ink},
};
use crate::headings::Headings;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 18.0;
const TITLE_SIZE: f64 = 20.0;
const TEXT_SIZE: f64 = 14.0;
const NUMBER_SIZE: f64 = 13.0;
/// Room to the left for the values.
const VALUES_WIDTH: f64 = 250.0;
/// Room to the right for the numbers of points.
const COUNTS_WIDTH: f64 = 150.0;
/// Most rows: no one reads more, and a page has no more room.
const ROWS_MAX: usize = 60;
/// How far an interval may widen the axis, in widths of the range of all means: intervals of two points would hide everything else.
const BEYOND_MEANS: f64 = 1.5;

/// A parameter with the share of its importance, where that is known.
pub(crate) type Weighed<'a> = (&'a Effect, Option<f64>);

/// Draws these effects, the most important first; none where no value has a mean.
pub(super) fn draw(effects: &[Weighed<'_>], left_out: usize, headings: &Headings) -> Option<Drawn> {
    let strings = headings.strings;
    let mut rows = 0;
    let mut shown: Vec<(&Effect, Option<f64>, Vec<&Level>)> = Vec::new();
    for (effect, share) in effects {
        let levels: Vec<&Level> = effect.levels.iter().filter(|level| mean(level).is_some()).collect();
        // A parameter is drawn as a whole, or not at all.
        if levels.is_empty() || rows + levels.len() > ROWS_MAX {
            continue;
        }
        rows += levels.len();
        shown.push((effect, *share, levels));
    }
    let drawn = shown.iter().flat_map(|(.., levels)| levels).copied();
    let axis = axis(&drawn, headings.objective().is_share)?;
    let title = strings.effects_title.to_owned();
    let mut drawing = Drawing::new(WIDTH);
    drawing.bold((WIDTH / 2.0, 24.0), &title, TITLE_SIZE, Anchor::Middle, Ink::Text);
    let (left, right, top) = (MARGIN + VALUES_WIDTH, WIDTH - MARGIN - COUNTS_WIDTH, 50.0);
    let bottom = top + ROW * (rows + shown.len()) as f64 + 8.0;
    grid(&mut drawing, &axis, (left, right), (top, bottom));
    let at = |value: f64| left + axis.share(value).clamp(0.0, 1.0) * (right - left);
    let (mut y, mut beyond) = (top + ROW / 2.0, false);
    for (effect, share, levels) in &shown {
        let name = fitted(headings.parameter(&effect.parameter), TEXT_SIZE, VALUES_WIDTH + 200.0);
        drawing.bold((MARGIN, y), &name, TEXT_SIZE, Anchor::Start, Ink::Text);
        if let Some(share) = share {
            let importance = strings.importance_of(*share);
            drawing.text((WIDTH - MARGIN, y), &importance, NUMBER_SIZE, Anchor::End, Ink::Soft);
        }
        for level in levels {
            y += ROW;
            let label = fitted(&strings.level(level), TEXT_SIZE, VALUES_WIDTH - 14.0);
            drawing.text((left - 10.0, y), &label, TEXT_SIZE, Anchor::End, Ink::Text);
            let counts = strings.points_and_diverged(level.count, level.diverged);
            drawing.text((WIDTH - MARGIN, y), &counts, NUMBER_SIZE, Anchor::End, Ink::Soft);
            if let Some(interval) = interval(level) {
                beyond |= whisker(&mut drawing, &axis, interval, y, at);
            }
            if let Some(mean) = mean(level) {
                drawing.circle((at(mean), y), 5.0, Ink::Series(0));
            }
        }
        y += ROW;
    }
    let name = strings.on_axis(&headings.objective().heading, axis.scale() == Scale::Logarithmic);
    let name = fitted(&name, TEXT_SIZE, right - left);
    drawing.text(((left + right) / 2.0, bottom + 40.0), &name, TEXT_SIZE, Anchor::Middle, Ink::Text);
    let mut notes = Vec::new();
    if beyond {
        notes.push(strings.intervals_beyond.to_owned());
    }
    let undrawn = left_out + effects.len() - shown.len();
    if undrawn > 0 {
        notes.push(strings.effects_left_out(undrawn));
    }
    Some(Drawn { svg: drawing.finish(bottom + 58.0), title, notes })
}

fn mean(level: &Level) -> Option<f64> {
    level.mean.filter(|mean| mean.is_finite())
}

fn interval(level: &Level) -> Option<Interval> {
    level.interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite())
}

/// An axis with all means, and with their intervals as far as those leave the means apart; none without a mean.
fn axis<'a>(levels: &(impl Iterator<Item = &'a Level> + Clone), is_share: bool) -> Option<Axis> {
    let means = || levels.clone().filter_map(mean);
    let (low, high) =
        means().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), mean| (low.min(mean), high.max(mean)));
    if low > high {
        return None;
    }
    let by_means = Axis::fitting(means, 0.08);
    if by_means.scale() == Scale::Logarithmic {
        return Some(by_means);
    }
    let reach = match BEYOND_MEANS * (high - low) {
        reach if reach > 0.0 && reach.is_finite() => reach,
        _ => f64::INFINITY,
    };
    let (mut least, mut most) = (low - reach, high + reach);
    if is_share {
        (least, most) = (least.max(0.0), most.min(1.0));
    }
    let ends = levels.clone().filter_map(interval).flat_map(|interval| [interval.low, interval.high]);
    let ends = ends.map(|end| end.clamp(least.min(low), most.max(high)));
    Some(Axis::around(means().chain(ends), 0.05))
}

/// The vertical lines and their numbers.
fn grid(drawing: &mut Drawing, axis: &Axis, (left, right): (f64, f64), (top, bottom): (f64, f64)) {
    let mut free_from = left - 40.0;
    for (share, text) in axis.ticks() {
        let x = left + share * (right - left);
        drawing.line((x, top), (x, bottom), Ink::Grid, 1.0);
        let half = width(text, NUMBER_SIZE) / 2.0;
        if x - half >= free_from {
            drawing.text((x, bottom + 16.0), text, NUMBER_SIZE, Anchor::Middle, Ink::Soft);
            free_from = x + half + 8.0;
        }
    }
    drawing.line((left, bottom), (right, bottom), Ink::Soft, 1.0);
}

/// Draws an interval; returns whether it goes on beyond the axis.
fn whisker(drawing: &mut Drawing, axis: &Axis, interval: Interval, y: f64, at: impl Fn(f64) -> f64) -> bool {
    drawing.line((at(interval.low), y), (at(interval.high), y), Ink::Series(0), 2.0);
    let mut beyond = false;
    for (end, outwards) in [(interval.low, -1.0), (interval.high, 1.0)] {
        let x = at(end);
        if (0.0..=1.0).contains(&axis.share(end)) {
            drawing.line((x, y - 5.0), (x, y + 5.0), Ink::Series(0), 2.0);
        } else {
            beyond = true;
            let tip: [At; 3] = [(x, y), (x - 8.0 * outwards, y - 5.0), (x - 8.0 * outwards, y + 5.0)];
            drawing.polygon(&tip, Ink::Series(0), true);
        }
    }
    beyond
}
