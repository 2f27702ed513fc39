//! The points of learning curves: few enough to be drawn, and which losses have exploded.

use super::Curve;
use crate::headings::Metric;

/// Epochs and values of one line.
pub(super) type Points = Vec<(f64, f64)>;

/// Most points of a line: more cannot be seen.
const POINTS_MAX: usize = 600;
/// A loss of more than this multiple of the drawn jobs' losses after their first epoch has exploded.
const EXPLODED_FROM: f64 = 100.0;

/// One line of a metric.
pub(super) struct Line {
    /// Values that are numbers, including infinite ones.
    pub(super) points: Points,
    /// Epochs whose value is not a number.
    pub(super) gaps: Vec<f64>,
}

/// The line of every job.
pub(super) fn lines(curves: &[Curve], metric: &Metric) -> Vec<Line> {
    let line = |curve: &Curve| {
        let values = curve.epochs.iter();
        let values =
            values.filter_map(|epoch| Some((f64::from(epoch.number), metric.value(&epoch.metrics)?)));
        let (gaps, points): (Points, Points) = values.partition(|(_, value)| value.is_nan());
        Line { points: thinned(points), gaps: gaps.into_iter().map(|(epoch, _)| epoch).collect() }
    };
    curves.iter().map(line).collect()
}

impl Line {
    /// The runs of points without a gap between them.
    pub(super) fn segments(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        let is_whole = |one: &(f64, f64), next: &(f64, f64)| {
            let gap = self.gaps.partition_point(|gap| *gap < one.0);
            self.gaps.get(gap).is_none_or(|gap| *gap > next.0)
        };
        self.points.chunk_by(is_whole)
    }
}

/// A line with as many points as can be seen: of each segment the lowest and the highest.
fn thinned(points: Points) -> Points {
    if points.len() <= POINTS_MAX {
        return points;
    }
    let segment = points.len().div_ceil(POINTS_MAX / 2);
    let ends = |segment: &[(f64, f64)]| {
        let by_value = |one: &&(f64, f64), two: &&(f64, f64)| one.1.total_cmp(&two.1);
        let ends = [segment.iter().min_by(by_value), segment.iter().max_by(by_value)];
        let mut ends: Points = ends.into_iter().flatten().copied().collect();
        ends.sort_by(|one, two| one.0.total_cmp(&two.0));
        ends.dedup();
        ends
    };
    points.chunks(segment).flat_map(ends).collect()
}

/// The largest loss that is shown in full, where some have exploded.
pub(super) fn ceiling(losses: &[Line]) -> Option<f64> {
    let first = losses.iter().filter_map(|line| line.points.first().map(|(_, loss)| *loss));
    let mut first: Vec<f64> = first.filter(|loss| loss.is_finite()).collect();
    first.sort_by(f64::total_cmp);
    // The lower median: where half of the lines have exploded, the others must be visible.
    let median = *first.get(first.len().saturating_sub(1) / 2)?;
    let ceiling = median * EXPLODED_FROM;
    let exploded = losses.iter().flat_map(|line| &line.points).any(|(_, loss)| *loss > ceiling);
    (median > 0.0 && exploded).then_some(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exploded_does_not_stretch_the_axis() {
        let line = |losses: &[f64]| {
            let points = (1..).zip(losses).map(|(x, y)| (f64::from(x), *y)).collect();
            Line { points, gaps: Vec::new() }
        };
        let usual = || line(&[2.3, 0.5, 0.001]);
        assert_eq!(ceiling(&[usual(), line(&[3.0, 2.0])]), None, "learning well is not an explosion");
        for exploded in [line(&[2.3, 1e9]), line(&[1e9, 1e12]), line(&[2.3, f64::INFINITY])] {
            let ceiling = ceiling(&[usual(), exploded]).unwrap();
            assert!((229.0..231.0).contains(&ceiling), "{ceiling}");
        }
        assert_eq!(ceiling(&[line(&[1e9, 1e9])]), None, "nothing else is there to be seen");
        assert_eq!(ceiling(&[]), None);
    }

    #[test]
    fn a_line_has_a_gap_where_a_value_is_not_a_number() {
        let points: Points = [1.0, 2.0, 4.0, 5.0, 7.0].map(|epoch| (epoch, 0.5)).into();
        let line = Line { points: points.clone(), gaps: vec![3.0, 6.0, 8.0] };
        let segments: Vec<_> = line.segments().collect();
        assert_eq!(segments, [&points[..2], &points[2..4], &points[4..]]);
        assert_eq!(Line { points, gaps: Vec::new() }.segments().count(), 1);
    }

    #[test]
    fn long_lines_keep_their_peaks() {
        let mut points: Points = (1..=100_000).map(|epoch| (f64::from(epoch), 0.5)).collect();
        points[54_321].1 = 9.0;
        let thinned = thinned(points);
        assert!(thinned.len() <= POINTS_MAX && thinned.contains(&(54_322.0, 9.0)));
    }
}
