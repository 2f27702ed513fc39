//! The figures: collected while jobs go by, drawn at the end with plotters, turned into pixels with resvg.

mod axis;
mod curves;
mod labels;
mod render;
mod scatter;

use plotters::style::RGBColor;
use proto::v1;

use super::{
    ReportError,
    rows::{Best, JobRow, Place},
    words::Words,
};

/// Most points of the scatter plot; more are an even choice and the best.
const POINTS_MAX: u64 = 2_000;
/// Most learning curves: more lines cannot be told apart.
const CURVES_MAX: usize = 24;
/// Most labels beside points, for the best ones: more cannot be read.
const LABELS_MAX: usize = 40;
/// Every text of a figure is in this font, of which a part is embedded for the pixels.
const FONT: &str = "Noto Sans CJK JP, Noto Sans JP, sans-serif";
/// Colours that people with any colour vision tell apart (Okabe and Ito 2008), dark enough for white paper.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(148, 112, 0),
    RGBColor(86, 180, 233),
    RGBColor(70, 70, 70),
];

/// One finished figure.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) svg_name: &'static str,
    pub(super) png_name: &'static str,
    pub(super) title: String,
    pub(super) svg: String,
    pub(super) png: Vec<u8>,
}

/// A job in the scatter plot.
#[derive(Debug, Clone)]
struct Point {
    place: Place,
    number: u64,
    seconds: f64,
    accuracy: f64,
    epochs: u32,
    group: String,
    label: String,
}

/// A job's learning curve.
#[derive(Debug)]
struct Curve {
    number: u64,
    label: String,
    epochs: Vec<v1::EpochRecord>,
}

/// What the figures need, gathered job by job.
#[derive(Debug)]
pub(super) struct Figures {
    varying: Vec<String>,
    /// The parameter whose values have colours of their own.
    group: Option<String>,
    /// Each how-manieth job is a point.
    stride: u64,
    points: Vec<Point>,
    best_points: Best<Point>,
    curves: Best<Curve>,
    jobs_with_results: u64,
}

impl Figures {
    pub(super) fn new(sweep: &v1::Sweep) -> Self {
        let varying = sweep.varying.clone();
        let group = varying.iter().find(|name| *name == "activation").or_else(|| varying.first()).cloned();
        Self {
            varying,
            group,
            stride: sweep.job_count.div_ceil(POINTS_MAX).max(1),
            points: Vec::new(),
            best_points: Best::new(LABELS_MAX),
            curves: Best::new(CURVES_MAX),
            jobs_with_results: 0,
        }
    }

    /// Adds a job, if it has results.
    pub(super) fn job(&mut self, place: Place, row: &JobRow, epochs: &[v1::EpochRow]) {
        let (Some(seconds), Some(accuracy)) = (row.train_seconds, row.val_accuracy) else { return };
        if !seconds.is_finite() || !accuracy.is_finite() {
            return;
        }
        self.jobs_with_results += 1;
        let point = || Point {
            place,
            number: row.number,
            seconds,
            accuracy,
            epochs: row.epochs_done,
            group: self.group.as_ref().map_or_else(String::new, |name| row.parameter(name)),
            label: row.label(&self.varying),
        };
        if row.number.is_multiple_of(self.stride) {
            self.points.push(point());
        }
        self.best_points.offer(place, point);
        self.curves.offer(place, || Curve {
            number: row.number,
            label: row.label(&self.varying),
            epochs: epochs.iter().filter_map(|epoch| epoch.record).collect(),
        });
    }

    /// Draws both figures.
    pub(super) fn draw(self, words: &Words) -> Result<Vec<Figure>, ReportError> {
        let jobs = self.jobs_with_results;
        let mut points = self.points;
        for best in self.best_points.into_ranked() {
            if !points.iter().any(|point| point.number == best.number) {
                points.push(best);
            }
        }
        points.sort_by_key(|point| std::cmp::Reverse(point.place));
        let mut curves = self.curves.into_ranked();
        curves.sort_by_key(|curve| curve.number);
        let time = figure("time-vs-accuracy", scatter::draw(&points, jobs, words))?;
        let learning = figure("learning-curves", curves::draw(&curves, jobs, words))?;
        Ok(vec![
            Figure {
                svg_name: "figures/time-vs-accuracy.svg",
                png_name: "figures/time-vs-accuracy.png",
                title: words.time_and_accuracy(common_epochs(&points)),
                svg: time.0,
                png: time.1,
            },
            Figure {
                svg_name: "figures/learning-curves.svg",
                png_name: "figures/learning-curves.png",
                title: words.learning_curves.to_owned(),
                svg: learning.0,
                png: learning.1,
            },
        ])
    }
}

/// The drawing and its pixels.
fn figure(name: &'static str, drawn: Result<String, DrawError>) -> Result<(String, Vec<u8>), ReportError> {
    let failed = |reason: String| ReportError::Figure { figure: name, reason };
    let svg = drawn.map_err(|error| failed(error.to_string()))?;
    let png = render::png(&svg).map_err(failed)?;
    Ok((svg, png))
}

type DrawError = Box<dyn std::error::Error>;

/// How many epochs the points have, where all have as many.
fn common_epochs(points: &[Point]) -> Option<u32> {
    let first = points.first()?.epochs;
    points.iter().all(|point| point.epochs == first).then_some(first)
}

/// The range of `values` with `margin` of its width on both sides; something around them where they are all one.
fn padded(values: impl Iterator<Item = f64>, margin: f64, least: f64) -> std::ops::Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let pad = ((high - low) * margin).max(least);
    low - pad..high + pad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(padded([].into_iter(), 0.1, 0.1), 0.0..1.0);
        assert_eq!(padded([5.0].into_iter(), 0.1, 1.0), 4.0..6.0);
        assert_eq!(padded([0.0, 10.0].into_iter(), 0.1, 0.5), -1.0..11.0);
    }
}
