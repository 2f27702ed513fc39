//! Where labels go: next to their points, overlapping nothing, and nearer to their own point than to any other.

use super::svg::At;

/// A rectangle in the drawing's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    pub(super) fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.top <= other.top
            && self.right >= other.right
            && self.bottom >= other.bottom
    }

    pub(super) fn around((x, y): At, reach: f64) -> Self {
        Self { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach }
    }

    /// How far a point is from the rectangle; 0 within.
    pub(super) fn distance(&self, (x, y): At) -> f64 {
        let (nearest_x, nearest_y) = self.nearest((x, y));
        (x - nearest_x).hypot(y - nearest_y)
    }

    /// The rectangle's nearest point.
    pub(super) fn nearest(&self, (x, y): At) -> At {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }
}

/// Distances from a point at which a place for its label is tried; further away, readers do not see what it belongs to.
const DISTANCES: [f64; 6] = [9.0, 13.0, 18.0, 26.0, 36.0, 48.0];
/// From this distance on, a line connects the label to its point.
const LINE_FROM: f64 = 17.0;
/// Directions to try, in this order, in units of 1/16.
const DIRECTIONS: [(f64, f64); 16] = [
    (16.0, 0.0),
    (-16.0, 0.0),
    (0.0, -16.0),
    (0.0, 16.0),
    (11.0, -11.0),
    (11.0, 11.0),
    (-11.0, -11.0),
    (-11.0, 11.0),
    (15.0, -6.0),
    (15.0, 6.0),
    (-15.0, -6.0),
    (-15.0, 6.0),
    (6.0, -15.0),
    (6.0, 15.0),
    (-6.0, -15.0),
    (-6.0, 15.0),
];
/// Half the size of a marker and the room around it.
const MARKER_REACH: f64 = 7.0;
/// How much nearer a label is to its own point than to any other.
const NEARER_BY: f64 = 3.0;

/// A label and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    /// Position in the list of points.
    pub(super) point: usize,
    /// Which of the point's texts it shows.
    pub(super) text: usize,
    pub(super) area: Area,
    pub(super) needs_line: bool,
}

/// Finds a place within `bounds` for one label per point, the first points first. `points` are all markers; `sizes`
/// has, for the first of them, the width and height of each possible text, the best first. A point whose texts have no
/// place gets no label.
pub(super) fn place(points: &[At], sizes: &[Vec<(f64, f64)>], bounds: Area) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    for (point, texts) in sizes.iter().enumerate() {
        let found = texts.iter().enumerate().find_map(|(text, size)| {
            let (area, distance) = free_place(points, point, *size, bounds, &placed)?;
            Some(Placed { point, text, area, needs_line: distance >= LINE_FROM })
        });
        placed.extend(found);
    }
    placed
}

fn free_place(
    points: &[At],
    point: usize,
    (wide, high): (f64, f64),
    bounds: Area,
    placed: &[Placed],
) -> Option<(Area, f64)> {
    let own = *points.get(point)?;
    let free = |area: &Area| {
        bounds.holds(area)
            && !placed.iter().any(|other| other.area.overlaps(area))
            && points.iter().enumerate().all(|(other, at)| {
                !Area::around(*at, MARKER_REACH).overlaps(area)
                    && (other == point || area.distance(*at) >= area.distance(own) + NEARER_BY)
            })
    };
    let places = DISTANCES
        .into_iter()
        .flat_map(|distance| DIRECTIONS.into_iter().map(move |direction| (distance, direction)));
    places
        .map(|(distance, (dx, dy))| {
            // The side of the label that faces the point lies at the distance.
            let x = own.0 + dx * distance / 16.0 + dx * wide / 32.0;
            let y = own.1 + dy * distance / 16.0 + dy * high / 32.0;
            let area = Area {
                left: x - wide / 2.0,
                top: y - high / 2.0,
                right: x + wide / 2.0,
                bottom: y + high / 2.0,
            };
            (area, distance)
        })
        .find(|(area, _)| free(area))
}

/// Moves overlapping texts of one column apart: `wanted` are their middles, `apart` is the smallest distance. All stay
/// between `top` and `bottom` where there is room; their order stays.
pub(super) fn spread(wanted: &[f64], apart: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|one, two| wanted[*one].total_cmp(&wanted[*two]));
    let mut places = wanted.to_vec();
    let mut least = top;
    for index in &order {
        places[*index] = places[*index].max(least);
        least = places[*index] + apart;
    }
    let mut most = bottom;
    for index in order.iter().rev() {
        places[*index] = places[*index].min(most);
        most = places[*index] - apart;
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Area = Area { left: 0.0, top: 0.0, right: 800.0, bottom: 500.0 };

    #[test]
    fn a_lone_label_stands_to_the_right_of_its_point() {
        let placed = place(&[(400.0, 250.0)], &[vec![(100.0, 16.0)]], BOUNDS);
        assert_eq!(placed.len(), 1);
        assert!(placed[0].area.left > 400.0 && !placed[0].needs_line);
    }

    #[test]
    fn sixteen_points_in_four_heaps_have_all_their_labels() {
        let points: Vec<_> =
            (0..16).map(|i| (f64::from(200 + 120 * (i % 4)), f64::from(100 + 90 * (i / 4)))).collect();
        assert_eq!(place(&points, &vec![vec![(140.0, 16.0)]; 16], BOUNDS).len(), 16);
    }

    #[test]
    fn where_the_long_text_has_no_place_the_short_one_is_taken() {
        // A row of points, as close as markers may be.
        let points: Vec<_> = (0..10).map(|i| (f64::from(100 + 24 * i), 250.0)).collect();
        let placed = place(&points, &vec![vec![(140.0, 16.0), (10.0, 16.0)]; 10], BOUNDS);
        assert_eq!(placed.len(), 10);
        assert!(placed.iter().filter(|one| one.text == 1).count() >= 8, "{placed:?}");
    }

    #[test]
    fn texts_of_a_column_are_moved_apart_and_stay_within() {
        let places = spread(&[10.0, 11.0, 12.0, 99.0], 10.0, 0.0, 100.0);
        assert_eq!(places, [10.0, 20.0, 30.0, 99.0]);
        assert_eq!(spread(&[98.0, 97.0, 96.0], 10.0, 0.0, 100.0), [100.0, 90.0, 80.0]);
        assert_eq!(spread(&[], 10.0, 0.0, 100.0), Vec::<f64>::new());
    }

    proptest! {
        #[test]
        fn labels_lie_on_nothing_inside_and_nearest_to_their_own_point(
            points in prop::collection::vec((0..800i32, 0..500i32), 1..60),
        ) {
            let points: Vec<At> = points.into_iter().map(|(x, y)| (x.into(), y.into())).collect();
            let placed = place(&points, &vec![vec![(140.0, 16.0), (20.0, 16.0)]; points.len()], BOUNDS);
            for (position, one) in placed.iter().enumerate() {
                prop_assert!(BOUNDS.holds(&one.area));
                prop_assert!(placed[position + 1..].iter().all(|other| !other.area.overlaps(&one.area)));
                let own = one.area.distance(points[one.point]);
                for (other, at) in points.iter().enumerate() {
                    prop_assert!(!Area::around(*at, MARKER_REACH).overlaps(&one.area));
                    prop_assert!(other == one.point || one.area.distance(*at) > own);
                }
            }
        }
    }
}
