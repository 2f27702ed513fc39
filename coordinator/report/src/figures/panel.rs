//! A panel: two axes with their numbers, grid and names, and the mapping of values into it.

use super::{
    axis::Axis,
    labels::Area,
    numbers,
    svg::{Anchor, At, Drawing, Ink},
};

/// Size of the numbers on axes.
pub(super) const NUMBER_SIZE: f64 = 13.0;
/// Size of the axes' names.
const NAME_SIZE: f64 = 14.0;
/// Space to the left for the numbers of a vertical axis, if none is long.
const NUMBER_ROOM: f64 = 58.0;
/// Space between the numbers of a vertical axis and the axis, and between two numbers of a horizontal one.
const NUMBER_GAP: f64 = 8.0;

/// An area with two axes.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) plot: Area,
    x: Axis,
    y: Axis,
}

impl Panel {
    /// Draws axes into `area`, with names: that of the vertical axis above it, that of the horizontal one below.
    pub(super) fn draw(drawing: &mut Drawing, area: Area, (x, y): (Axis, Axis), names: (&str, &str)) -> Self {
        let widest = y.ticks().map(|(_, text)| numbers::width(text, NUMBER_SIZE)).fold(0.0, f64::max);
        let plot = Area {
            left: area.left + f64::max(NUMBER_ROOM, widest + NUMBER_GAP),
            top: area.top + 28.0,
            right: area.right,
            bottom: area.bottom - 46.0,
        };
        let room = area.right - area.left;
        drawing.text(
            (area.left + 4.0, area.top + 10.0),
            &numbers::fitted(names.1, NAME_SIZE, room),
            NAME_SIZE,
            Anchor::Start,
            Ink::Text,
        );
        let middle = (plot.left + plot.right) / 2.0;
        drawing.text((middle, area.bottom - 10.0), names.0, NAME_SIZE, Anchor::Middle, Ink::Text);
        for (share, text) in y.ticks() {
            let at = plot.bottom - share * (plot.bottom - plot.top);
            drawing.line((plot.left, at), (plot.right, at), Ink::Grid, 1.0);
            drawing.text((plot.left - NUMBER_GAP, at), text, NUMBER_SIZE, Anchor::End, Ink::Soft);
        }
        let mut free_from = area.left;
        for (share, text) in x.ticks() {
            let at = plot.left + share * (plot.right - plot.left);
            drawing.line((at, plot.bottom), (at, plot.bottom + 5.0), Ink::Soft, 1.0);
            let half = numbers::width(text, NUMBER_SIZE) / 2.0;
            // Long numbers do not fit at every tick.
            if at - half >= free_from && at + half <= area.right + 2.0 * NUMBER_GAP {
                drawing.text((at, plot.bottom + 16.0), text, NUMBER_SIZE, Anchor::Middle, Ink::Soft);
                free_from = at + half + NUMBER_GAP;
            }
        }
        drawing.line((plot.left, plot.bottom), (plot.right, plot.bottom), Ink::Soft, 1.0);
        Self { plot, x, y }
    }

    /// The position of a pair of values; beyond an axis's end, at its end.
    pub(super) fn at(&self, x: f64, y: f64) -> At {
        let Area { left, top, right, bottom } = self.plot;
        let (x, y) = (self.x.share(x).clamp(0.0, 1.0), self.y.share(y).clamp(0.0, 1.0));
        (left + x * (right - left), bottom - y * (bottom - top))
    }
}
