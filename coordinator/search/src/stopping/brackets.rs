//! Hyperband's brackets: jobs are divided among ladders that begin at different rungs, so that a rule which compares too
//! early does not decide alone. Numbers and shares of brackets are Optuna's, as is the assignment, by a checksum of the job's
//! number.

use super::ladder::{Ladder, powers};

/// The brackets of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brackets {
    /// What the checksum begins with.
    name: String,
    /// The share of each bracket, in parts of their sum.
    shares: Vec<u64>,
    ladders: Vec<Ladder>,
}

impl Brackets {
    /// One for each of the numbers `min_iter` · `eta`^k up to `max_iter`, beginning at its rung. Between equal `name`s, jobs of
    /// equal numbers are in equal brackets.
    pub fn new(name: &str, min_iter: u32, max_iter: u32, eta: u32) -> Self {
        let count = powers(min_iter, eta).take_while(|epochs| *epochs <= max_iter).count().max(1);
        let share = |bracket: usize| {
            let s = (count - 1 - bracket) as u32;
            let weight = (count as u64).saturating_mul(u64::from(eta).saturating_pow(s));
            weight.div_ceil(u64::from(s) + 1)
        };
        Self {
            name: name.to_owned(),
            shares: (0..count).map(share).collect(),
            ladders: (0..count).map(|bracket| Ladder::upwards(min_iter, eta, bracket as u32)).collect(),
        }
    }

    /// The ladder of each bracket.
    pub fn ladders(&self) -> &[Ladder] {
        &self.ladders
    }

    /// The bracket of a job; jobs count from 1.
    pub fn of(&self, job: u64) -> usize {
        let total = self.shares.iter().fold(0u64, |sum, share| sum.saturating_add(*share));
        let key = format!("{}_{}", self.name, job.saturating_sub(1));
        let mut place = u64::from(crc32(key.as_bytes())) % total.max(1);
        for (bracket, share) in self.shares.iter().enumerate() {
            if place < *share {
                return bracket;
            }
            place -= share;
        }
        0
    }
}

/// The checksum of zlib and Python's `binascii.crc32`.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| {
                if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn brackets_are_as_many_as_powers_fit_where_logarithms_would_lose_one() {
        assert_eq!(Brackets::new("a", 1, 243, 3).ladders().len(), 6);
        assert_eq!(Brackets::new("a", 1, 242, 3).ladders().len(), 5);
        assert_eq!(Brackets::new("a", 1, 1_000, 10).ladders().len(), 4);
        assert_eq!(Brackets::new("a", 2, 1, 3).ladders().len(), 1);
    }

    #[test]
    fn shares_follow_the_paper() {
        // ceil(4 * 3^s / (s + 1)) for s = 3, 2, 1, 0.
        assert_eq!(Brackets::new("a", 1, 27, 3).shares, [27, 12, 6, 4]);
    }
}
