//! Which points are taken: those that have a job, and those that are excluded. Where the space is small enough to count, what
//! is left is known exactly.

use std::{
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use rand_chacha::ChaCha8Rng;

use super::{
    normal::below,
    space::{Point, Space},
};

/// Whether a point must not be proposed.
pub type Excluded = Arc<dyn Fn(&[Option<f64>]) -> bool + Send + Sync>;

/// Most combinations for which each is known to be free or taken, one bit each.
const COUNTED_MAX: u64 = 1 << 20;
/// The same where some are excluded or stand for the same point, so that each is looked at when the searcher is made: some
/// milliseconds, as others may wait for it.
const LOOKED_AT_MAX: u64 = 1 << 15;

/// The points that cannot be proposed.
#[derive(Clone)]
pub(super) struct Used {
    excluded: Option<Excluded>,
    /// Each point that has a job.
    points: HashSet<Taken>,
    counted: Option<Counted>,
}

/// A point that has a job. Its hash is kept, as the set computes those of all points again where it grows: milliseconds for
/// thousands of points of a hundred parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    hash: u64,
    bits: Box<[u64]>,
}

impl Taken {
    fn of(point: &[Option<f64>]) -> Self {
        let bits = bits(point);
        let mut hasher = DefaultHasher::new();
        bits.hash(&mut hasher);
        Self { hash: hasher.finish(), bits }
    }
}

impl Hash for Taken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A space in which each combination has a bit.
#[derive(Clone)]
struct Counted {
    /// Set for what is taken: points with a job, excluded points, and second names of points without some values.
    taken: Vec<u64>,
    combinations: u64,
    free: u64,
}

impl fmt::Debug for Used {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.counted.as_ref().map(|counted| counted.free);
        formatter.debug_struct("Used").field("points", &self.points.len()).field("free", &free).finish()
    }
}

impl Used {
    /// Takes time in proportion to the combinations, where they are counted.
    pub(super) fn new(space: &Space, excluded: Option<Excluded>) -> Self {
        let looks = excluded.is_some() || space.has_conditions();
        let most = if looks { LOOKED_AT_MAX } else { COUNTED_MAX };
        let combinations = space.combinations().filter(|count| *count <= most);
        let counted = combinations.map(|combinations| {
            let words = usize::try_from(combinations.div_ceil(64)).unwrap_or(usize::MAX);
            let mut counted = Counted { taken: vec![0; words], combinations, free: combinations };
            for number in (0..combinations).filter(|_| looks) {
                let point = space.point_of_number(number);
                let is_excluded = excluded.as_ref().is_some_and(|excluded| excluded(&point));
                if is_excluded || space.number(&point) != number {
                    counted.take(number);
                }
            }
            counted
        });
        Self { excluded, points: HashSet::new(), counted }
    }

    pub(super) fn take(&mut self, space: &Space, point: &[Option<f64>]) {
        self.points.insert(Taken::of(point));
        if let Some(counted) = &mut self.counted {
            // A point from elsewhere may lie between those of the space, and then takes none of them.
            let number = space.number(point);
            if number < counted.combinations && space.point_of_number(number) == point {
                counted.take(number);
            }
        }
    }

    pub(super) fn is_free(&self, point: &[Option<f64>]) -> bool {
        !self.points.contains(&Taken::of(point))
            && !self.excluded.as_ref().is_some_and(|excluded| excluded(point))
    }

    /// The memory of the bits of all combinations.
    pub(super) fn counted_bytes(&self) -> usize {
        self.counted.as_ref().map_or(0, |counted| size_of_val(counted.taken.as_slice()))
    }

    /// Whether it is certain that no point is free.
    pub(super) fn is_exhausted(&self) -> bool {
        self.counted.as_ref().is_some_and(|counted| counted.free == 0)
    }

    /// The next free point after a random one, where points are counted.
    pub(super) fn free_point(&self, space: &Space, random: &mut ChaCha8Rng) -> Option<Point> {
        let counted = self.counted.as_ref().filter(|counted| counted.free > 0)?;
        let start = below(usize::try_from(counted.combinations).ok()?, random) as u64;
        counted.free_from(start).map(|number| space.point_of_number(number))
    }
}

impl Counted {
    fn is_taken(&self, number: u64) -> bool {
        self.taken[(number / 64) as usize] >> (number % 64) & 1 == 1
    }

    fn take(&mut self, number: u64) {
        if !self.is_taken(number) {
            self.taken[(number / 64) as usize] |= 1 << (number % 64);
            self.free -= 1;
        }
    }

    /// The first free number from `start` on, and from 0 on if there is none.
    fn free_from(&self, start: u64) -> Option<u64> {
        let words = self.taken.len() as u64;
        let first = start / 64;
        // The word of the start twice: at last for the numbers before it.
        (0..=words).find_map(|step| {
            let word = (first + step) % words;
            let mut free = !self.taken[word as usize];
            if step == 0 {
                free &= u64::MAX << (start % 64);
            }
            let number = word * 64 + u64::from(free.trailing_zeros());
            (free != 0 && number < self.combinations).then_some(number)
        })
    }
}

/// What a point is known by. No value of a point is NaN, and what is absent has its bits.
fn bits(point: &[Option<f64>]) -> Box<[u64]> {
    // Adding zero makes one of both zeros.
    point.iter().map(|value| value.map_or(f64::NAN.to_bits(), |value| (value + 0.0).to_bits())).collect()
}
