//! What is kept between the densities of two points changes neither.

use super::*;
use crate::tpe::lanes;

/// Points of a tenth of the space in each dimension.
fn points_around(space: &Space, seed: u64, count: usize) -> Vec<Vec<f64>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut point = || {
        let drawn = space.draw(&mut random);
        let near = |index: usize, middle: f64| Some(middle + 0.1 * (drawn[index].unwrap() - middle));
        space.coordinates(&[near(0, 0.5), near(1, 25.0), near(2, 400.0)])
    };
    (0..count).map(|_| point()).collect()
}

/// Jobs of which most are close together, as after a long search, so that many kernels are just negligible at the points around them.
fn close_jobs() -> (Space, Density) {
    let space = Space::new(&[float(0.0, 1.0), integer(1, 50), integer(1, 900)]).unwrap();
    let jobs = points_around(&space, 4, 600);
    let mut density = Density::new(&space);
    let rows: Vec<usize> = (0..jobs.len()).collect();
    density.fit(&rows, &rows, |row| (row as u64, &jobs[row]));
    (space, density)
}

#[test]
fn a_density_has_the_same_bits_whatever_was_asked_before() {
    let (space, mut used) = close_jobs();
    let fresh = used.clone();
    let points = points_around(&space, 5, 5_000);
    let one = |density: &mut Density, point: &Vec<f64>| {
        density.ln(std::slice::from_ref(point), &mut Scratch::default())[0]
    };
    for point in &points {
        let (asked, alone) = (one(&mut used, point), one(&mut fresh.clone(), point));
        assert_eq!(asked.to_bits(), alone.to_bits(), "{point:?}: {asked} instead of {alone}");
    }
}

#[test]
fn wide_registers_give_the_bits_of_one_number_at_a_time() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let mut list = |scale: f64| (0..101).map(|_| scale * normal::uniform(&mut random)).collect::<Vec<_>>();
    let (means, scales, ln_norms, sums) = (list(1.0), list(70.0), list(-9.0), list(-30.0));
    let mut found = sums.clone();
    lanes::add_ln_densities(0.3, (&means, &scales, &ln_norms), &mut found);
    let mut exponentials = sums.clone();
    lanes::exponentials(-4.0, &mut exponentials);
    for index in 0..sums.len() {
        let distance = std::hint::black_box(0.3 - means[index]) * scales[index];
        let square = std::hint::black_box(distance * distance);
        let expected = sums[index] + std::hint::black_box(ln_norms[index] - square);
        assert_eq!(found[index].to_bits(), expected.to_bits(), "{index}");
        let expected = normal::exponential(sums[index] + 4.0);
        assert_eq!(exponentials[index].to_bits(), expected.to_bits(), "{index}");
    }
}
