//! The layout of a legend: entries in rows that stay within the picture.

/// Height of a row.
pub(super) const ROW: f64 = 22.0;
/// Space between two entries.
const GAP: f64 = 22.0;

/// The left end and the row of each entry of these widths, in rows of at most `room`; a wider entry has a row to
/// itself.
pub(super) fn flow(widths: &[f64], room: f64) -> Vec<(f64, usize)> {
    let (mut left, mut row) = (0.0, 0);
    let place = |width: &f64| {
        if left > 0.0 && left + width > room {
            (left, row) = (0.0, row + 1);
        }
        let place = (left, row);
        left += width + GAP;
        place
    };
    widths.iter().map(place).collect()
}

/// Height of all rows.
pub(super) fn height(places: &[(f64, usize)]) -> f64 {
    places.last().map_or(0.0, |(_, row)| (*row + 1) as f64 * ROW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_never_leave_their_row() {
        let widths: Vec<f64> = (0..40).map(|entry| f64::from(30 + entry * 37 % 170)).collect();
        let places = flow(&widths, 400.0);
        for ((left, row), width) in places.iter().zip(&widths) {
            assert!(left + width <= 400.0);
            let others = places.iter().zip(&widths).filter(|((_, other), _)| other == row);
            let overlap =
                others.filter(|((start, _), other)| start < &(left + width) && *left < start + *other);
            assert_eq!(overlap.count(), 1, "only itself");
        }
        assert_eq!(flow(&[500.0, 10.0], 400.0), [(0.0, 0), (0.0, 1)]);
        assert!(height(&[]) < 1.0);
    }
}
