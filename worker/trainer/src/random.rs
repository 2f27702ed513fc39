//! Random numbers that only depend on a seed: libtorch's CPU generator, seeded again for every draw, so that they are
//! PyTorch's own and the same on every device.

#![expect(clippy::disallowed_methods, reason = "all that draws does so here, with the generator's lock")]

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, TchError, Tensor};

/// libtorch has one CPU generator per process; it must not be re-seeded between a seed and its draw.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Runs `draw` right after `torch.manual_seed(seed)`, while no one else draws. Like PyTorch's, the generator (MT19937)
/// uses the lower 32 bits of the seed.
pub fn with_seed<Drawn>(seed: u64, draw: impl FnOnce() -> Drawn) -> Drawn {
    let _guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed.cast_signed());
    draw()
}

/// `torch.randperm(length)` after `torch.manual_seed(seed)`: int64 on the CPU.
///
/// # Errors
/// What libtorch says.
pub fn permutation(length: i64, seed: u64) -> Result<Tensor, TchError> {
    with_seed(seed, || Tensor::f_randperm(length, (Kind::Int64, Device::Cpu)))
}

/// Numbers in [0, 1) of this shape, drawn after `torch.manual_seed(seed)`: float32 on the CPU.
///
/// # Errors
/// What libtorch says.
pub fn uniform(shape: &[i64], seed: u64) -> Result<Tensor, TchError> {
    with_seed(seed, || Tensor::f_rand(shape, (Kind::Float, Device::Cpu)))
}

/// The seed of what one training step drops: of the epoch's step that begins after `images_done` images. As for batch
/// orders, nothing that happened before counts.
pub fn noise_seed(job_seed: u64, epoch: u32, images_done: i64) -> u64 {
    // Mixed once more than an epoch's seed, so that no step draws what an epoch's order is drawn from.
    mix(mix(epoch_seed(job_seed, epoch)).wrapping_add(images_done.cast_unsigned()))
}

/// The seed of what augmentation does to an epoch's images: as for its order, nothing that happened before counts.
pub fn augmentation_seed(job_seed: u64, epoch: u32) -> u64 {
    // Another start than an epoch's own seed, and than all that is mixed from it.
    mix(mix(!mix(job_seed)).wrapping_add(u64::from(epoch)))
}

/// The seed of an epoch's batch order: `mix(mix(job_seed) + epoch)`. It does not depend on anything that happened
/// before, so that a training that continues at any epoch finds the same order; mixing twice makes `(seed, epoch + 1)`
/// and `(seed + 1, epoch)` differ.
pub fn epoch_seed(job_seed: u64, epoch: u32) -> u64 {
    mix(mix(job_seed).wrapping_add(u64::from(epoch)))
}

/// SplitMix64's output function (Steele, Lea and Flood, OOPSLA 2014), which spreads similar seeds over all bits, and so
/// over the 32 that the generator uses.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The 32-bit Mersenne Twister (Matsumoto and Nishimura, 1998), written independently of libtorch to define what
    /// its draws must be.
    pub(crate) struct MersenneTwister {
        state: [u32; 624],
        next: usize,
    }

    impl MersenneTwister {
        pub(crate) fn new(seed: u32) -> Self {
            let mut state = [seed; 624];
            for i in 1..624 {
                let previous = state[i - 1];
                state[i] = 1_812_433_253_u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
            }
            Self { state, next: 624 }
        }

        pub(crate) fn draw(&mut self) -> u32 {
            if self.next == 624 {
                for i in 0..624 {
                    let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % 624] & 0x7fff_ffff);
                    let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                    self.state[i] = self.state[(i + 397) % 624] ^ (joined >> 1) ^ odd;
                }
                self.next = 0;
            }
            let mut drawn = self.state[self.next];
            self.next += 1;
            drawn ^= drawn >> 11;
            drawn ^= (drawn << 7) & 0x9d2c_5680;
            drawn ^= (drawn << 15) & 0xefc6_0000;
            drawn ^ (drawn >> 18)
        }

        /// PyTorch's randperm on the CPU for small lengths: Fisher and Yates from the front.
        pub(crate) fn permutation(&mut self, length: usize) -> Vec<i64> {
            let mut order: Vec<i64> = (0..length as i64).collect();
            for i in 0..length.saturating_sub(1) {
                order.swap(i, i + self.draw() as usize % (length - i));
            }
            order
        }
    }

    #[test]
    fn a_permutation_is_what_pytorch_draws_from_the_seed() {
        for (length, seed) in [(10, 0_u64), (1000, 7), (25_000, 0xffff_ffff)] {
            let drawn = Vec::<i64>::try_from(permutation(length, seed).unwrap()).unwrap();
            assert_eq!(drawn, MersenneTwister::new(seed as u32).permutation(length as usize));
        }
        // As printed by an interactive PyTorch.
        let drawn = Vec::<i64>::try_from(permutation(10, 0).unwrap()).unwrap();
        assert_eq!(drawn, [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
    }

    #[test]
    fn epochs_and_neighbouring_seeds_have_seeds_of_their_own() {
        let mut seeds: Vec<u32> =
            (0..50).flat_map(|seed| (1..=50).map(move |epoch| epoch_seed(seed, epoch) as u32)).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 50 * 50);
    }

    #[test]
    fn steps_have_seeds_of_their_own() {
        let mut seeds: Vec<u32> = (0..10)
            .flat_map(|seed| (1..=20).map(move |epoch| (seed, epoch)))
            .flat_map(|(seed, epoch)| {
                let of_steps = (0..10).map(move |step| noise_seed(seed, epoch, step * 32) as u32);
                of_steps.chain([epoch_seed, augmentation_seed].map(|of| of(seed, epoch) as u32))
            })
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 10 * 20 * 12);
    }

    #[test]
    fn the_epoch_seed_never_changes() {
        // The reference outputs of SplitMix64 seeded with 0 begin with this one; results of old sweeps depend on it.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(epoch_seed(0, 1), mix(0xe220_a839_7b1d_cdb0));
        assert_eq!(noise_seed(0, 1, 64), mix(mix(epoch_seed(0, 1)) + 64));
        assert_eq!(augmentation_seed(0, 1), mix(mix(!0xe220_a839_7b1d_cdaf) + 1));
    }
}
