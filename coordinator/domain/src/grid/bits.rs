//! A bitmap with a rank index: which raw points of a grid are excluded.

/// A bitmap that finds its n-th clear bit.
#[derive(Debug, Clone)]
pub(crate) struct RankedBits {
    pub(crate) words: Vec<u64>,
    /// Clear bits before each word.
    clear_before: Vec<u32>,
    clear_count: u64,
}

impl RankedBits {
    /// `length` bits; those beyond it in the last word count as set.
    pub(crate) fn new(mut words: Vec<u64>, length: u64) -> Self {
        if !length.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last |= u64::MAX << (length % 64);
        }
        let mut clear_count = 0u64;
        let mut clear_before = Vec::with_capacity(words.len());
        for word in &words {
            clear_before.push(u32::try_from(clear_count).expect("a grid has at most POINTS_MAX points"));
            clear_count += u64::from(word.count_zeros());
        }
        Self { words, clear_before, clear_count }
    }

    pub(crate) fn clear_count(&self) -> u64 {
        self.clear_count
    }

    pub(crate) fn is_set(&self, index: u64) -> bool {
        self.words[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// How many clear bits there are before `index`.
    pub(crate) fn rank_clear(&self, index: u64) -> u64 {
        let word = (index / 64) as usize;
        let before = !self.words[word] & ((1 << (index % 64)) - 1);
        u64::from(self.clear_before[word]) + u64::from(before.count_ones())
    }

    /// The position of the clear bit number `rank`, from 0; `rank` must be below the count of clear bits.
    pub(crate) fn select_clear(&self, rank: u64) -> u64 {
        let word = self.clear_before.partition_point(|&before| u64::from(before) <= rank) - 1;
        let mut left = rank - u64::from(self.clear_before[word]);
        let mut clear = !self.words[word];
        while left > 0 {
            clear &= clear - 1;
            left -= 1;
        }
        word as u64 * 64 + u64::from(clear.trailing_zeros())
    }
}
