//! Where labels go: beside their points, on top of nothing.

/// A rectangle in the drawing's units, with its corners.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Area {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.top <= other.top
            && self.right >= other.right
            && self.bottom >= other.bottom
    }

    pub(super) fn around(centre: (i32, i32), reach: i32) -> Self {
        let (x, y) = centre;
        Self { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach }
    }
}

/// Distances from a point at which a place for its label is looked for; further away nobody sees what it belongs to.
const DISTANCES: [i32; 9] = [9, 16, 26, 38, 52, 68, 86, 106, 130];
/// Directions that are tried, in this order: (x, y) with y downwards, in units of 1/16.
const DIRECTIONS: [(i32, i32); 16] = [
    (16, 0),
    (-16, 0),
    (0, -16),
    (0, 16),
    (11, -11),
    (11, 11),
    (-11, -11),
    (-11, 11),
    (15, -6),
    (15, 6),
    (-15, -6),
    (-15, 6),
    (6, -15),
    (6, 15),
    (-6, -15),
    (-6, 15),
];
/// Half the size of a marker and the room around it.
const MARKER_REACH: i32 = 7;

/// A label and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    /// Position in the list that was given.
    pub(super) index: usize,
    pub(super) area: Area,
    /// Whether a line must show what it belongs to.
    pub(super) needs_line: bool,
}

/// plotters writes a font of size `s` as `s` divided by this.
const FONT_SIZE_DIVISOR: f64 = 1.24;

/// Width of a text in the drawing's units: measured for Noto Sans, a little generous.
pub(super) fn width(text: &str, font_size: f64) -> i32 {
    let share = |sign: char| match sign {
        '.' | ',' | ' ' | 'i' | 'l' | 'j' | ':' | '|' => 0.30,
        'm' | 'w' | 'M' | 'W' | '%' => 0.92,
        sign if sign.is_ascii() => 0.585,
        _ => 1.0,
    };
    (text.chars().map(share).sum::<f64>() * font_size / FONT_SIZE_DIVISOR).ceil() as i32
}

/// Finds a place within `bounds` for each label, the first ones first. `points` are all markers, those without a
/// label too; label `i` belongs to `points[i]`. A label without a place is left out.
pub(super) fn place(points: &[(i32, i32)], sizes: &[(i32, i32)], bounds: Area) -> Vec<Placed> {
    let markers: Vec<Area> = points.iter().map(|point| Area::around(*point, MARKER_REACH)).collect();
    let mut placed: Vec<Placed> = Vec::new();
    for (index, ((x, y), (wide, high))) in points.iter().zip(sizes).enumerate() {
        let free = |area: &Area| {
            bounds.holds(area)
                && !markers.iter().any(|marker| marker.overlaps(area))
                && !placed.iter().any(|other| other.area.overlaps(area))
        };
        let found = DISTANCES
            .iter()
            .flat_map(|distance| DIRECTIONS.map(|direction| (*distance, direction)))
            .find_map(|(distance, (dx, dy))| {
                // The side of the label that faces the point lies at the distance.
                let centre_x = x + dx * distance / 16 + dx * wide / 32;
                let centre_y = y + dy * distance / 16 + dy * high / 32;
                let area = Area {
                    left: centre_x - wide / 2,
                    top: centre_y - high / 2,
                    right: centre_x - wide / 2 + wide,
                    bottom: centre_y - high / 2 + high,
                };
                free(&area).then_some((area, distance))
            });
        if let Some((area, distance)) = found {
            placed.push(Placed { index, area, needs_line: distance > DISTANCES[1] });
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Area = Area { left: 0, top: 0, right: 800, bottom: 500 };

    #[test]
    fn a_lone_label_stands_to_the_right_of_its_point() {
        let placed = place(&[(400, 250)], &[(100, 16)], BOUNDS);
        assert_eq!(placed.len(), 1);
        assert!(placed[0].area.left > 400 && !placed[0].needs_line);
    }

    #[test]
    fn sixteen_points_in_four_heaps_have_all_their_labels() {
        let points: Vec<_> = (0..16).map(|i| (200 + 120 * (i % 4), 100 + 90 * (i / 4))).collect();
        assert_eq!(place(&points, &[(140, 16); 16], BOUNDS).len(), 16);
    }

    proptest! {
        #[test]
        fn labels_lie_on_nothing_and_inside(points in prop::collection::vec((0..800i32, 0..500i32), 1..60)) {
            let placed = place(&points, &vec![(140, 16); points.len()], BOUNDS);
            for (position, one) in placed.iter().enumerate() {
                prop_assert!(BOUNDS.holds(&one.area));
                prop_assert!(placed[position + 1..].iter().all(|other| !other.area.overlaps(&one.area)));
                prop_assert!(points.iter().all(|point| !Area::around(*point, MARKER_REACH).overlaps(&one.area)));
            }
        }
    }
}
