//! No point twice, and the end of a space that can be counted.

use std::{collections::BTreeSet, sync::Arc};

use super::*;

fn distinct(proposals: &[Proposal]) -> usize {
    proposals.iter().map(|proposal| format!("{:?}", proposal.point)).collect::<BTreeSet<_>>().len()
}

#[test]
fn each_point_of_a_finite_space_is_proposed_once_and_then_none() {
    let mut tpe = searcher(&[integer(1, 7), choices(5)]);
    let proposals = run(&mut tpe, 1..=100, |point| point[0].unwrap());
    assert_eq!((proposals.len(), distinct(&proposals)), (35, 35));
    assert!(proposals.iter().any(|proposal| matches!(proposal.why, Why::Model { .. })));
    assert_eq!(tpe.propose(101), None);
}

#[test]
fn excluded_points_are_never_proposed_and_end_the_space_sooner() {
    let excluded: Excluded = Arc::new(|point| point[0] == Some(3.0) || point[1] == Some(0.0));
    let mut tpe = Tpe::new(&[integer(1, 7), choices(5)], Some(excluded.clone()), Goal::Minimize, 1).unwrap();
    let proposals = run(&mut tpe, 1..=100, |point| point[0].unwrap());
    assert_eq!((proposals.len(), distinct(&proposals)), (24, 24));
    assert!(proposals.iter().all(|proposal| !excluded(&proposal.point)));
    // Nothing is left from the start.
    let mut tpe = Tpe::new(&[choices(5)], Some(Arc::new(|_| true)), Goal::Minimize, 1).unwrap();
    assert_eq!(tpe.propose(1), None);
    // Points that cannot be counted.
    let mut tpe = Tpe::new(&[float(0.0, 1.0)], Some(Arc::new(|_| true)), Goal::Minimize, 1).unwrap();
    assert_eq!(tpe.propose(1), None);
    let half: Excluded = Arc::new(|point| point[0].is_some_and(|x| x < 0.5));
    let mut tpe = Tpe::new(&[float(0.0, 1.0)], Some(half), Goal::Minimize, 1).unwrap();
    assert!(
        run(&mut tpe, 1..=60, |point| point[0].unwrap())
            .iter()
            .all(|proposal| proposal.point[0] >= Some(0.5))
    );
}

#[test]
fn what_only_differs_where_nothing_has_a_value_is_one_point() {
    let only_for_the_first = Condition { dimension: 0, values: vec![0.0] };
    let dimensions = [choices(2), Dimension { when: vec![only_for_the_first], ..choices(3) }];
    let mut tpe = searcher(&dimensions);
    let proposals = run(&mut tpe, 1..=20, |_| 0.0);
    assert_eq!((proposals.len(), distinct(&proposals)), (4, 4));
}

#[test]
fn points_of_jobs_that_failed_are_not_tried_again() {
    let mut tpe = searcher(&[choices(3)]);
    let mut points = Vec::new();
    for job in 1..=3 {
        let point = tpe.propose(job).unwrap().point;
        tpe.start(job, &point);
        tpe.forget(job);
        points.push(point[0].unwrap() as u32);
    }
    points.sort_unstable();
    assert_eq!((points, tpe.seen(), tpe.propose(4)), (vec![0, 1, 2], 0, None));
}

#[test]
fn points_from_elsewhere_that_lie_between_those_of_the_space_take_none_of_them() {
    let mut tpe = searcher(&[integer(1, 4)]);
    tpe.observe(1, &[Some(2.5)], Outcome::Finished(0.0));
    tpe.observe(2, &[Some(90.0)], Outcome::Finished(0.0));
    assert_eq!(run(&mut tpe, 3..=20, |_| 0.0).len(), 4);
}

#[test]
fn the_last_points_of_a_large_space_are_found() {
    let mut tpe = searcher(&[integer(1, 3_000)]);
    for job in 1..=2_998_u64 {
        tpe.observe(job, &[Some(job as f64)], Outcome::Finished(job as f64));
    }
    let proposals = run(&mut tpe, 2_999..=4_000, |_| 0.0);
    let mut found: Vec<_> = proposals.iter().map(|proposal| proposal.point[0].unwrap()).collect();
    found.sort_by(f64::total_cmp);
    assert_eq!(found, [2_999.0, 3_000.0]);
    assert_eq!(proposals[0].why, Why::Left, "candidates are near the first");
}
