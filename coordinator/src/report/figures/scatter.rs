//! Total training time against validation accuracy: one labelled point a job.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{COLOURS, DrawError, FONT, LABELS_MAX, Point, common_epochs, labels, labels::Area, padded};
use crate::report::words::Words;

const SIZE: (u32, u32) = (960, 640);
/// Width of the legend's column.
const LEGEND_WIDTH: u32 = 150;
/// Most groups with a colour and a legend entry of their own.
const GROUPS_MAX: usize = 14;
const LABEL_SIZE: f64 = 15.0;
const LABEL_HEIGHT: i32 = 17;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The figure as SVG; `points` are the best first.
pub(super) fn draw(points: &[Point], jobs: u64, words: &Words) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let epochs = common_epochs(points);
        let (plot, legend) = root.split_horizontally(SIZE.0 - LEGEND_WIDTH);
        let seconds = padded(points.iter().map(|point| point.seconds), 0.12, 0.5);
        let seconds = seconds.start.max(0.0)..seconds.end;
        let accuracy = padded(points.iter().map(|point| point.accuracy), 0.12, 0.02);
        let mut chart = ChartBuilder::on(&plot)
            .caption(words.time_and_accuracy(epochs), (FONT, 23))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(seconds, accuracy)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.14))
            .axis_style(BLACK.mix(0.6))
            .x_desc(words.train_seconds_axis)
            .y_desc(words.accuracy_axis(epochs))
            .axis_desc_style((FONT, 18))
            .label_style((FONT, 15))
            .x_label_formatter(&|value| decimal(*value))
            .y_label_formatter(&|value| format!("{value:.2}"))
            .draw()?;
        let groups = groups(points);
        let group_of =
            |point: &Point| groups.iter().position(|group| *group == point.group).unwrap_or(GROUPS_MAX);
        let places: Vec<_> = points.iter().map(|p| chart.backend_coord(&(p.seconds, p.accuracy))).collect();
        let (x, y) = chart.plotting_area().get_pixel_range();
        let bounds = Area { left: x.start + 2, top: y.start + 2, right: x.end - 2, bottom: y.end - 2 };
        let labelled = &points[..points.len().min(LABELS_MAX)];
        let sizes: Vec<_> =
            labelled.iter().map(|point| (labels::width(&point.label, LABEL_SIZE), LABEL_HEIGHT)).collect();
        for label in labels::place(&places, &sizes, bounds) {
            write_label(&root, &points[label.index].label, places[label.index], &label)?;
        }
        // The markers lie on top of the lines that lead to them; the best is drawn last.
        for (point, place) in points.iter().zip(&places).rev() {
            marker(&root, *place, group_of(point))?;
        }
        write_legend(&legend, &groups)?;
        note(&root, points.len(), jobs, words)?;
        root.present()?;
    }
    Ok(svg)
}

/// The values that have a colour of their own, in the order of numbers where they are numbers.
fn groups(points: &[Point]) -> Vec<&str> {
    let mut groups: Vec<&str> = points.iter().map(|point| point.group.as_str()).collect();
    groups.sort_by(|one, two| match (one.parse::<f64>(), two.parse::<f64>()) {
        (Ok(one), Ok(two)) => one.total_cmp(&two),
        _ => one.cmp(two),
    });
    groups.dedup();
    groups.truncate(GROUPS_MAX);
    groups
}

/// A number of seconds on the axis, with as many decimals as it needs.
fn decimal(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Groups differ in colour and, beyond the colours, in shape.
fn marker(canvas: &Canvas<'_>, place: (i32, i32), group: usize) -> Result<(), DrawError> {
    let colour = COLOURS[group % COLOURS.len()];
    match group % 3 {
        0 => canvas.draw(&Circle::new(place, 5, colour.filled()))?,
        1 => canvas.draw(&TriangleMarker::new(place, 7, colour.filled()))?,
        _ => {
            let (x, y) = place;
            canvas.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], colour.filled()))?;
        }
    }
    Ok(())
}

fn write_label(
    canvas: &Canvas<'_>,
    text: &str,
    point: (i32, i32),
    label: &labels::Placed,
) -> Result<(), DrawError> {
    let area = &label.area;
    if label.needs_line {
        let nearest = (point.0.clamp(area.left, area.right), point.1.clamp(area.top, area.bottom));
        canvas.draw(&PathElement::new([point, nearest], BLACK.mix(0.35)))?;
    }
    // The text begins or ends beside its point, wherever its true width ends.
    let (anchor, x) = match (area.left > point.0, area.right < point.0) {
        (true, _) => (HPos::Left, area.left),
        (_, true) => (HPos::Right, area.right),
        _ => (HPos::Center, (area.left + area.right) / 2),
    };
    let style = (FONT, LABEL_SIZE).into_text_style(canvas).pos(Pos::new(anchor, VPos::Center));
    canvas.draw(&Text::new(text.to_owned(), (x, (area.top + area.bottom) / 2), style))?;
    Ok(())
}

fn write_legend(canvas: &Canvas<'_>, groups: &[&str]) -> Result<(), DrawError> {
    let style = (FONT, 16).into_text_style(canvas).pos(Pos::new(HPos::Left, VPos::Center));
    for (group, name) in groups.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let y = 70 + 24 * i32::try_from(group).unwrap_or(0);
        marker(canvas, (8, y), group)?;
        canvas.draw(&Text::new((*name).to_owned(), (22, y), style.clone()))?;
    }
    Ok(())
}

/// Says that something is left out, or that there is nothing.
fn note(canvas: &Canvas<'_>, shown: usize, jobs: u64, words: &Words) -> Result<(), DrawError> {
    let centre = |size: u32| i32::try_from(size / 2).unwrap_or(0);
    if shown == 0 {
        let style = (FONT, 18).into_text_style(canvas).pos(Pos::new(HPos::Center, VPos::Center));
        canvas.draw(&Text::new(words.no_results, (centre(SIZE.0 - LEGEND_WIDTH), centre(SIZE.1)), style))?;
    } else if (shown as u64) < jobs {
        let style = (FONT, 12).into_text_style(canvas).pos(Pos::new(HPos::Left, VPos::Bottom));
        let bottom = i32::try_from(SIZE.1).unwrap_or(0) - 6;
        canvas.draw(&Text::new(words.shown_of(shown, jobs), (16, bottom), style))?;
    }
    Ok(())
}
