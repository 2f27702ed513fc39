//! The points of learning curves: few enough to be drawn, and where a loss has exploded.

use proto::v1;

use super::Curve;

/// Epochs and values of one line.
pub(super) type Points = Vec<(f64, f64)>;

/// Most points of a line: more are not to be seen.
const POINTS_MAX: usize = 600;
/// A loss of more than this many times what the drawn jobs have after their first epoch has exploded.
const EXPLODED_FROM: f64 = 100.0;

/// The points of every line, without values that are not numbers.
pub(super) fn points(curves: &[Curve], value: impl Fn(&v1::EpochRecord) -> f64) -> Vec<Points> {
    let line = |curve: &Curve| {
        let points = curve.epochs.iter().map(|record| (f64::from(record.epoch), value(record)));
        thinned(points.filter(|(_, value)| !value.is_nan()).collect())
    };
    curves.iter().map(line).collect()
}

/// A line with as many points as can be seen: of each stretch the lowest and the highest.
fn thinned(points: Points) -> Points {
    if points.len() <= POINTS_MAX {
        return points;
    }
    let stretch = points.len().div_ceil(POINTS_MAX / 2);
    let ends = |stretch: &[(f64, f64)]| {
        let by_value = |one: &&(f64, f64), two: &&(f64, f64)| one.1.total_cmp(&two.1);
        let ends = [stretch.iter().min_by(by_value), stretch.iter().max_by(by_value)];
        let mut ends: Points = ends.into_iter().flatten().copied().collect();
        ends.sort_by(|one, two| one.0.total_cmp(&two.0));
        ends.dedup();
        ends
    };
    points.chunks(stretch).flat_map(ends).collect()
}

/// The largest loss that is shown as it is, where some have exploded.
pub(super) fn ceiling(losses: &[Points]) -> Option<f64> {
    let first = losses.iter().filter_map(|line| line.first().map(|(_, loss)| *loss));
    let mut first: Vec<f64> = first.filter(|loss| loss.is_finite()).collect();
    first.sort_by(f64::total_cmp);
    // The lower one of two in the middle: where half of the lines have exploded, the others are to be seen.
    let median = *first.get(first.len().saturating_sub(1) / 2)?;
    let ceiling = median * EXPLODED_FROM;
    let exploded = losses.iter().flatten().any(|(_, loss)| *loss > ceiling);
    (median > 0.0 && exploded).then_some(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exploded_does_not_stretch_the_axis() {
        let line = |losses: &[f64]| (1..).zip(losses).map(|(x, y)| (f64::from(x), *y)).collect::<Points>();
        let usual = line(&[2.3, 0.5, 0.001]);
        assert_eq!(ceiling(&[usual.clone(), line(&[3.0, 2.0])]), None, "learning well is no explosion");
        for exploded in [line(&[2.3, 1e9]), line(&[1e9, 1e12]), line(&[2.3, f64::INFINITY])] {
            let ceiling = ceiling(&[usual.clone(), exploded]).unwrap();
            assert!((229.0..231.0).contains(&ceiling), "{ceiling}");
        }
        assert_eq!(ceiling(&[line(&[1e9, 1e9])]), None, "nothing else is there to be seen");
        assert_eq!(ceiling(&[]), None);
    }

    #[test]
    fn long_lines_keep_their_peaks() {
        let mut points: Points = (1..=100_000).map(|epoch| (f64::from(epoch), 0.5)).collect();
        points[54_321].1 = 9.0;
        let thinned = thinned(points);
        assert!(thinned.len() <= POINTS_MAX && thinned.contains(&(54_322.0, 9.0)));
    }
}
