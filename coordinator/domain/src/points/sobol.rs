//! Sobol's sequence with the direction numbers of Joe and Kuo, scrambled as Owen does it: the first points of any number
//! lie evenly in each parameter and in pairs of them. The n-th point is computed from n.

use std::sync::LazyLock;

use terms::manifest::PARAMETERS_MAX;

use super::mix;

/// Bits of a coordinate before it is scrambled, so that the sequence has 2³² points.
const BITS: usize = 32;
const TABLE: &str = include_str!("joe_kuo.txt");

type Directions = [u32; BITS];

/// The sequence of one seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sobol {
    seed: u64,
}

impl Sobol {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A coordinate of point `index`, which is below 2³²: 64 bits of a number in [0, 1).
    pub(super) fn at(self, index: u32, dimension: usize) -> u64 {
        let directions = &DIRECTIONS[dimension % DIRECTIONS.len()];
        let (mut left, mut plain) = (index, 0);
        while left > 0 {
            plain ^= directions[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        let key = mix(self.seed ^ mix(dimension as u64 + 1));
        let scrambled = scrambled(plain, key as u32);
        // Below the sequence's own bits a scrambled coordinate is random.
        u64::from(scrambled) << BITS | mix(key ^ u64::from(scrambled)) >> BITS
    }
}

/// Owen's scrambling: each bit is flipped or not depending on those above it. The hash is Laine's and Karras', with the
/// constants of N. Vegdahl ("Building a Better LK Hash"), on the reversed number, where carries run downwards.
fn scrambled(plain: u32, key: u32) -> u32 {
    let mut value = plain.reverse_bits();
    value ^= value.wrapping_mul(0x3d20_adea);
    value = value.wrapping_add(key);
    value = value.wrapping_mul((key >> 16) | 1);
    value ^= value.wrapping_mul(0x0552_6c56);
    value ^= value.wrapping_mul(0x53a2_2864);
    value.reverse_bits()
}

static DIRECTIONS: LazyLock<Vec<Directions>> = LazyLock::new(|| {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
    let number = |text: &str| text.parse::<u32>().expect("the table has whole numbers");
    let mut all = vec![std::array::from_fn(|bit| 1 << (BITS - 1 - bit))];
    all.extend(rows.map(|row| directions(&row.split_whitespace().map(number).collect::<Vec<_>>())));
    assert!(all.len() >= PARAMETERS_MAX, "each parameter has a dimension");
    all
});

/// The direction numbers of a dimension, from its row: number, degree, coefficients, and the first of them.
fn directions(row: &[u32]) -> Directions {
    let (degree, coefficients, first) = (row[1] as usize, row[2], &row[3..]);
    let mut found: Directions = [0; BITS];
    for bit in 0..BITS {
        if bit < degree {
            found[bit] = first[bit] << (BITS - 1 - bit);
            continue;
        }
        let mut value = found[bit - degree] ^ (found[bit - degree] >> degree);
        for place in 1..degree {
            if coefficients >> (degree - 1 - place) & 1 == 1 {
                value ^= found[bit - place];
            }
        }
        found[bit] = value;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(index: u32, dimension: usize) -> f64 {
        let mut value = 0;
        for bit in (0..BITS).filter(|bit| index >> bit & 1 == 1) {
            value ^= DIRECTIONS[dimension][bit];
        }
        f64::from(value) / 2_f64.powi(32)
    }

    #[test]
    fn the_first_points_are_those_of_the_table() {
        // Points 1 to 7 of three dimensions, in binary order, as in Joe and Kuo's notes.
        let expected = [
            [0.5, 0.5, 0.5],
            [0.25, 0.75, 0.75],
            [0.75, 0.25, 0.25],
            [0.125, 0.625, 0.375],
            [0.625, 0.125, 0.875],
            [0.375, 0.375, 0.625],
            [0.875, 0.875, 0.125],
        ];
        for (index, point) in (1..).zip(expected) {
            assert_eq!([0, 1, 2].map(|dimension| plain(index, dimension)), point, "{index}");
        }
    }

    #[test]
    fn each_power_of_two_points_fills_each_cell_of_each_dimension_once_whatever_the_seed() {
        for seed in 0..3 {
            for dimension in 0..PARAMETERS_MAX {
                let mut cells: Vec<u64> =
                    (0..256).map(|index| Sobol::new(seed).at(index, dimension) >> 56).collect();
                cells.sort_unstable();
                assert!(cells.into_iter().eq(0..256), "{seed} {dimension}");
            }
        }
        assert_ne!(Sobol::new(0).at(5, 0), Sobol::new(1).at(5, 0));
    }

    #[test]
    fn two_dimensions_together_are_even_too() {
        // The first two dimensions are a (0, 2)-sequence: each of 16 squares has one of 16 points.
        let mut squares: Vec<u64> = (0..16)
            .map(|index| (Sobol::new(9).at(index, 0) >> 62) * 4 + (Sobol::new(9).at(index, 1) >> 62))
            .collect();
        squares.sort_unstable();
        assert!(squares.into_iter().eq(0..16));
    }
}
