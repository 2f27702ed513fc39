//! Validation accuracy and training loss, epoch by epoch: one line a job.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    COLOURS, Curve, DrawError, FONT,
    axis::{Axis, Scale},
    padded,
};
use crate::report::words::Words;

const SIZE: (u32, u32) = (1240, 560);
/// Width of the legend's column.
const LEGEND_WIDTH: u32 = 250;
/// Losses whose largest is this many times their smallest are drawn on a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 8.0;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Points = Vec<(f64, f64)>;

/// The figure as SVG.
pub(super) fn draw(curves: &[Curve], jobs: u64, words: &Words) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (plots, legend) = root.split_horizontally(SIZE.0 - LEGEND_WIDTH);
        let (left, right) = plots.split_horizontally((SIZE.0 - LEGEND_WIDTH) / 2);
        let accuracy = lines(curves, |record| record.val_accuracy);
        panel(&left, &accuracy, words.val_accuracy, Scale::Linear, words)?;
        let loss = lines(curves, |record| record.train_loss);
        let (loss, scale) = scaled(loss);
        panel(&right, &loss, words.train_loss, scale, words)?;
        write_legend(&legend, curves)?;
        note(&root, curves.len(), jobs, words)?;
        root.present()?;
    }
    Ok(svg)
}

fn lines(curves: &[Curve], value: impl Fn(&proto::v1::EpochRecord) -> f64) -> Vec<Points> {
    let line = |curve: &Curve| {
        let points = curve.epochs.iter().map(|record| (f64::from(record.epoch), value(record)));
        points.filter(|(_, value)| value.is_finite()).collect()
    };
    curves.iter().map(line).collect()
}

/// On a logarithmic scale where the values span more than a linear one shows.
fn scaled(lines: Vec<Points>) -> (Vec<Points>, Scale) {
    let values = || lines.iter().flatten().map(|(_, value)| *value);
    let (low, high) = values().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    if low > 0.0 && high / low >= LOGARITHMIC_FROM {
        let logarithms =
            lines.into_iter().map(|line| line.into_iter().map(|(x, y)| (x, y.log10())).collect());
        (logarithms.collect(), Scale::Logarithmic)
    } else {
        (lines, Scale::Linear)
    }
}

fn panel(
    area: &Canvas<'_>,
    lines: &[Points],
    title: &str,
    scale: Scale,
    words: &Words,
) -> Result<(), DrawError> {
    let last = lines.iter().flatten().map(|(epoch, _)| *epoch).fold(1.0, f64::max);
    let least = if scale == Scale::Linear { 0.02 } else { 0.05 };
    let values = padded(lines.iter().flatten().map(|(_, value)| *value), 0.06, least);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 21))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(Axis::epochs(last), Axis::values(values, scale))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.14))
        .axis_style(BLACK.mix(0.6))
        .x_desc(words.epoch)
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let style = line_style(index);
        match index / COLOURS.len() % 3 {
            0 => chart.draw_series(LineSeries::new(line.iter().copied(), style))?,
            1 => chart.draw_series(DashedLineSeries::new(line.iter().copied(), 7, 4, style))?,
            _ => chart.draw_series(DashedLineSeries::new(line.iter().copied(), 2, 4, style))?,
        };
        let colour = COLOURS[index % COLOURS.len()];
        chart.draw_series(line.iter().map(|point| Circle::new(*point, 2, colour.filled())))?;
    }
    Ok(())
}

fn line_style(index: usize) -> ShapeStyle {
    COLOURS[index % COLOURS.len()].stroke_width(2)
}

fn write_legend(canvas: &Canvas<'_>, curves: &[Curve]) -> Result<(), DrawError> {
    let style = (FONT, 15).into_text_style(canvas).pos(Pos::new(HPos::Left, VPos::Center));
    for (index, curve) in curves.iter().enumerate() {
        let y = 52 + 20 * i32::try_from(index).unwrap_or(0);
        let (solid, gap) = match index / COLOURS.len() % 3 {
            0 => (28, 0),
            1 => (7, 4),
            _ => (2, 4),
        };
        let mut x = 0;
        while x < 28 {
            canvas.draw(&PathElement::new([(x, y), ((x + solid).min(28), y)], line_style(index)))?;
            x += solid + gap;
        }
        canvas.draw(&Text::new(curve.label.clone(), (34, y), style.clone()))?;
    }
    Ok(())
}

fn note(canvas: &Canvas<'_>, shown: usize, jobs: u64, words: &Words) -> Result<(), DrawError> {
    let side = |size: u32| i32::try_from(size).unwrap_or(0);
    if shown == 0 {
        let style = (FONT, 21).into_text_style(canvas).pos(Pos::new(HPos::Center, VPos::Center));
        let centre = (side(SIZE.0 - LEGEND_WIDTH) / 2, side(SIZE.1) / 2);
        canvas.draw(&Text::new(words.no_results, centre, style))?;
    } else if (shown as u64) < jobs {
        let style = (FONT, 12).into_text_style(canvas).pos(Pos::new(HPos::Left, VPos::Bottom));
        canvas.draw(&Text::new(words.shown_of(shown, jobs), (16, side(SIZE.1) - 4), style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_far_apart_are_drawn_on_a_logarithmic_axis() {
        assert_eq!(scaled(vec![vec![(1.0, 0.7), (2.0, 0.6)]]).1, Scale::Linear);
        assert_eq!(
            scaled(vec![vec![(1.0, 10.0), (2.0, 0.1)]]),
            (vec![vec![(1.0, 1.0), (2.0, -1.0)]], Scale::Logarithmic)
        );
        assert_eq!(scaled(Vec::new()).1, Scale::Linear);
    }
}
