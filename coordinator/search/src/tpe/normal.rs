//! The normal distribution: masses of intervals, and draws. The functions are those of `libm`, whose bits are the same on every
//! machine, so that a proposal is.

use std::f64::consts::{LN_2, SQRT_2};

use rand_chacha::{ChaCha8Rng, rand_core::Rng};

/// ln √(2π).
pub(super) const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;
/// Intervals narrower than this many standard deviations are integrated by a series: the difference of two
/// distribution functions would lose the digits that they share.
const NARROW: f64 = 1e-3;
/// Draws until one falls into the range. Each does with a chance of at least 0.34, as no kernel is wider than the range
/// and each has its middle inside: a hundred misses have a chance of 1e-18.
const DRAWS_MAX: u32 = 100;

/// The logarithm of the mass of the standard normal distribution between two bounds, `from < to`. Minus infinity where it is
/// less than the smallest number.
pub(super) fn ln_mass(from: f64, to: f64) -> f64 {
    // In the right tail the distribution function is next to 1 and has no digits left: the left tail has the same masses.
    let (from, to) = if from > 0.0 { (-to, -from) } else { (from, to) };
    let width = to - from;
    if width < NARROW {
        return ln_narrow_mass(0.5 * (from + to), width);
    }
    if to <= 0.0 {
        return libm::log(libm::erfc(-to / SQRT_2) - libm::erfc(-from / SQRT_2)) - LN_2;
    }
    libm::log1p(-0.5 * (libm::erfc(-from / SQRT_2) + libm::erfc(to / SQRT_2)))
}

/// The logarithm for a narrow interval around `middle`: the density there times the width, and the next two terms of Taylor's series. The
/// error is (width · middle)⁶ / 322,560, below 1e-14 for all that can be told from zero.
fn ln_narrow_mass(middle: f64, width: f64) -> f64 {
    let (square, width_square) = (middle * middle, width * width);
    let second = width_square * (square - 1.0) / 24.0;
    let fourth = width_square * width_square * (square * square - 6.0 * square + 3.0) / 1920.0;
    libm::log(width) - 0.5 * square - LN_SQRT_2PI + libm::log1p(second + fourth)
}

/// e to the power of a number, to within 3e-16 of it; 0 below -700, and as if it were 700 above. Without branches and lookups, so that the
/// processor computes several at a time: the power of the nearest multiple of ln 2, and Taylor's series for the rest.
pub(super) fn exponential(power: f64) -> f64 {
    // Adding it rounds to a whole number, which is then in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // The first has few bits, so that its multiples are exact.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const TAYLOR: [f64; 13] = [
        1.0,
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
    ];
    let bounded = power.clamp(-700.0, 700.0);
    let rounded = bounded * std::f64::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = bounded - whole * LN_2_HIGH - whole * LN_2_LOW;
    let series = TAYLOR.iter().rev().fold(0.0, |sum, term| sum * rest + term);
    let scale = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1023 << 52));
    if power < -700.0 { 0.0 } else { series * scale }
}

/// A number of [0, 1) with 53 random bits.
pub(super) fn uniform(random: &mut ChaCha8Rng) -> f64 {
    const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
    (random.next_u64() >> 11) as f64 * UNIT
}

/// A whole number below `end`, which is at least 1. Its bias is below end / 2⁵³.
pub(super) fn below(end: usize, random: &mut ChaCha8Rng) -> usize {
    ((uniform(random) * end as f64) as usize).min(end - 1)
}

/// A draw from the normal distribution with this mean and standard deviation, truncated to [low, high].
pub(super) fn truncated(mean: f64, deviation: f64, low: f64, high: f64, random: &mut ChaCha8Rng) -> f64 {
    for _ in 0..DRAWS_MAX {
        let value = mean + deviation * standard(random);
        if low <= value && value <= high {
            return value;
        }
    }
    mean.clamp(low, high)
}

/// A draw from the standard normal distribution: Marsaglia's polar method. One of its two numbers is dropped, so that a
/// draw depends on nothing before it.
fn standard(random: &mut ChaCha8Rng) -> f64 {
    loop {
        let (x, y) = (2.0 * uniform(random) - 1.0, 2.0 * uniform(random) - 1.0);
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * libm::sqrt(-2.0 * libm::log(square) / square);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn masses_are_exact_in_the_middle_in_the_tails_and_where_they_are_narrow() {
        let cases = [
            (-1.0, 1.0, -0.381_715_146_302_126_16),
            (-0.5, 0.5, -0.959_916_333_695_622_2),
            (9.0, 10.0, -43.628_216_632_280_82),
            (-10.0, -9.0, -43.628_216_632_280_82),
        ];
        for (from, to, expected) in cases {
            assert!((ln_mass(from, to) - expected).abs() < 1e-11, "{from} {to}: {}", ln_mass(from, to));
        }
        // The two ways meet.
        for middle in [0.0, 0.3, -2.0, 8.0, -30.0] {
            let (one, other) = (NARROW * 0.999_999, NARROW * 1.000_001);
            let mass = |width: f64| ln_mass(middle - 0.5 * width, middle + 0.5 * width);
            let slope = libm::log(other / one);
            assert!((mass(other) - mass(one) - slope).abs() < 1e-9, "{middle}");
        }
        assert_eq!(ln_mass(60.0, 61.0), f64::NEG_INFINITY);
    }

    #[test]
    fn exponentials_are_those_of_the_library() {
        for step in -7_000..=7_000 {
            let power = f64::from(step) * 0.1 + 0.037;
            let expected = libm::exp(power.min(700.0));
            let expected = if power < -700.0 { 0.0 } else { expected };
            assert!((exponential(power) - expected).abs() <= 4e-16 * expected, "{power}");
        }
    }

    #[test]
    fn draws_stay_in_the_range_and_have_the_mean_of_their_distribution() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f64> = (0..20_000).map(|_| truncated(0.0, 1.0, 0.0, 1.0, &mut random)).collect();
        assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
        // (φ(0) - φ(1)) / (Φ(1) - Φ(0))
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.4598).abs() < 0.006, "{mean}");
    }

    #[test]
    fn whole_numbers_are_spread_evenly() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[below(7, &mut random)] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}
