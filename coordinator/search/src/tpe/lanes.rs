//! The loops over all kernels, which the processor computes several at a time. They are compiled for its wider registers as well, and the widest
//! that it has are used. The bits are the same with each: every operation is one of IEEE 754, on its own number, and none is fused.

use multiversion::multiversion;

use super::normal::exponential;

/// Adds the logarithms of the densities of consecutive kernels, given by their means, 1 / (√2 · deviation) and normalisers.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn add_ln_densities(coordinate: f64, kernels: (&[f64], &[f64], &[f64]), sums: &mut [f64]) {
    let (means, scales, ln_norms) = kernels;
    for (((sum, mean), scale), ln_norm) in sums.iter_mut().zip(means).zip(scales).zip(ln_norms) {
        let distance = (coordinate - mean) * scale;
        *sum += ln_norm - distance * distance;
    }
}

/// Replaces each logarithm by the number that it is of, divided by that of `reference`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn exponentials(reference: f64, logarithms: &mut [f64]) {
    logarithms.iter_mut().for_each(|logarithm| *logarithm = exponential(*logarithm - reference));
}
