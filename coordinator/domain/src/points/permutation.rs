//! A permutation of the numbers below a count that needs no memory: a Feistel network over the smallest even number of bits
//! that holds them, applied until the result is one of them (cycle walking). Another key is another permutation.

use super::mix;

/// Rounds of the network: from four on, no simple pattern of the input is left.
const ROUNDS: usize = 6;

#[derive(Debug, Clone, Copy)]
pub(super) struct Permutation {
    count: u64,
    /// Bits of each half.
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// A permutation of the numbers below `count`, which is at least 1 and at most 2⁶².
    pub(super) fn new(count: u64, key: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let keys = std::array::from_fn(|round| mix(key ^ mix(round as u64 + 1)));
        Self { count, half_bits, keys }
    }

    /// Where a number below the count goes.
    pub(super) fn at(&self, number: u64) -> u64 {
        debug_assert!(number < self.count);
        let mut value = number;
        // The numbers that are too large are walked past: fewer than three of four, and never in a circle, as the way back
        // from each is the way here.
        loop {
            value = self.once(value);
            if value < self.count {
                return value;
            }
        }
    }

    fn once(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in &self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_another_key_is_another_order() {
        for count in [1, 2, 3, 5, 17, 64, 65, 1_000, 4_097] {
            let order = |key| {
                let permutation = Permutation::new(count, key);
                (0..count).map(|number| permutation.at(number)).collect::<Vec<_>>()
            };
            let mut sorted = order(7);
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..count), "{count}");
            assert!(count < 17 || order(7) != order(8), "{count}");
        }
        let large = Permutation::new(1 << 62, 1);
        assert!(
            (0..1_000).map(|number| large.at(number)).collect::<std::collections::HashSet<_>>().len()
                == 1_000
        );
    }
}
