//! What is proposed, and from what.

use super::*;

/// A valley with its floor at x = 0.3, deeper for the second choice.
fn valley(point: &Point) -> f64 {
    (point[0].unwrap() - 0.3).abs() + if point[1] == Some(1.0) { 0.0 } else { 0.5 }
}

#[test]
fn the_first_ten_are_random_and_the_others_come_from_the_results() {
    let mut tpe = searcher(&[float(0.0, 1.0), choices(2)]);
    let proposals = run(&mut tpe, 1..=60, valley);
    assert!(proposals[..10].iter().all(|proposal| proposal.why == Why::Random));
    let near_the_floor = |proposal: &&Proposal| valley(&proposal.point) < 0.1;
    assert!(proposals[30..].iter().filter(near_the_floor).count() >= 15, "{:?}", &proposals[30..]);
    let Why::Model { good: 6, running: 0, .. } = proposals[59].why else { panic!("{:?}", proposals[59]) };
    assert_eq!(proposals[59].seen, 59);
}

#[test]
fn jobs_that_run_do_not_end_the_random_ones() {
    let mut tpe = searcher(&[float(0.0, 1.0)]);
    for job in 1..=30 {
        let proposal = tpe.propose(job).unwrap();
        assert_eq!((proposal.why, proposal.seen), (Why::Random, 0));
        tpe.start(job, &proposal.point);
    }
}

#[test]
fn a_proposal_depends_on_what_was_said_and_not_on_when() {
    let dimensions = [float(0.0, 1.0), choices(2)];
    let mut tpe = searcher(&dimensions);
    let proposals = run(&mut tpe, 1..=40, valley);
    let again = run(&mut searcher(&dimensions), 1..=40, valley);
    assert_eq!(proposals, again);
    let mut other = Tpe::new(&dimensions, None, Goal::Minimize, 8).unwrap();
    assert_ne!(proposals[39], run(&mut other, 1..=40, valley)[39]);

    // The same jobs become known in the opposite order.
    let mut reversed = searcher(&dimensions);
    for (job, proposal) in (1_u64..).zip(&proposals).collect::<Vec<_>>().into_iter().rev() {
        reversed.observe(job, &proposal.point, Outcome::Finished(valley(&proposal.point)));
    }
    assert_eq!(reversed.propose(41), tpe.propose(41));
    assert_eq!(tpe.propose(41), tpe.propose(41), "asking changes nothing");
}

/// Ten proposals at once after some results: each starts before the next is asked for.
fn ten_at_once(count_running: bool) -> Vec<Point> {
    let mut tpe = searcher(&[float(0.0, 1.0), choices(2)]);
    run(&mut tpe, 1..=40, valley);
    let propose = |job| {
        let point = tpe.propose(job).unwrap().point;
        tpe.start(job, &point);
        if !count_running {
            tpe.forget(job);
        }
        point
    };
    (41..=50).map(propose).collect()
}

#[test]
fn ten_proposals_at_once_differ_with_and_without_the_running_jobs_counted() {
    let (with, without) = (ten_at_once(true), ten_at_once(false));
    assert_eq!(with[0], without[0], "nothing runs before the first");
    let same = with.iter().zip(&without).filter(|(one, other)| one == other).count();
    assert!(same <= 5, "{same} of 10 are the same: {with:?} {without:?}");
    // Running jobs count as bad, so that others keep their distance.
    let spread = |points: &[Point]| {
        let values: Vec<f64> = points.iter().map(|point| point[0].unwrap()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    assert!(spread(&with) > spread(&without), "{with:?} {without:?}");
}

/// How many of the later jobs diverge, where those beyond the middle do and all others are alike.
fn diverging(tell: impl Fn(&mut Tpe, u64, &Point)) -> usize {
    let mut tpe = searcher(&[float(0.0, 1.0)]);
    let mut diverged = 0;
    for job in 1..=100 {
        let point = tpe.propose(job).unwrap().point;
        if point[0].unwrap() > 0.5 {
            tell(&mut tpe, job, &point);
            diverged += usize::from(job > 40);
        } else {
            tpe.observe(job, &point, Outcome::Finished(1.0));
        }
    }
    diverged
}

#[test]
fn diverged_jobs_are_the_worst_and_not_missing() {
    let diverged = diverging(|tpe, job, point| tpe.observe(job, point, Outcome::Diverged));
    let missing = diverging(|tpe, job, point| {
        tpe.start(job, point);
        tpe.forget(job);
    });
    assert!(
        diverged < 10 && missing > 2 * diverged,
        "{diverged} of 60, and {missing} where they are forgotten"
    );
}

#[test]
fn the_goal_decides_which_end_is_good() {
    let propose = |goal| {
        let mut tpe = Tpe::new(&[float(0.0, 1.0)], None, goal, 3).unwrap();
        let proposals = run(&mut tpe, 1..=60, |point| point[0].unwrap());
        proposals[40..].iter().map(|proposal| proposal.point[0].unwrap()).sum::<f64>() / 20.0
    };
    assert!(propose(Goal::Minimize) < 0.25);
    assert!(propose(Goal::Maximize) > 0.75);
}

#[test]
fn every_kind_of_dimension_gets_values_of_its_own() {
    let domain = |domain| Dimension { domain, when: Vec::new() };
    let dimensions = [
        domain(Domain::Float { low: 1e-5, high: 1e-1, log: true, step: None }),
        domain(Domain::Float { low: 0.0, high: 1.0, log: false, step: Some(0.25) }),
        domain(Domain::Integer { low: 1, high: 1024, step: 1, log: true }),
        domain(Domain::Integer { low: 16, high: 250, step: 16, log: false }),
        choices(3),
    ];
    let mut tpe = searcher(&dimensions);
    for proposal in run(&mut tpe, 1..=200, |point| point.iter().flatten().sum()) {
        let value = |index: usize| proposal.point[index].unwrap();
        assert!((1e-5..=1e-1).contains(&value(0)));
        assert!([0.0, 0.25, 0.5, 0.75, 1.0].contains(&value(1)));
        assert!((1.0..=1024.0).contains(&value(2)) && value(2).fract() == 0.0);
        assert!((16.0..=240.0).contains(&value(3)) && value(3) % 16.0 == 0.0);
        assert!([0.0, 1.0, 2.0].contains(&value(4)));
    }
}

/// Runs jobs whose results come eight jobs later. One of seven fails, and is tried again once it is among the oldest that count or
/// older. Now and then, the next proposal must be that of a searcher that hears of all this at once.
fn goes_on_as_a_fresh_one_would(dimensions: &[Dimension], jobs: u64, every: u64) {
    let told = |tpe: &mut Tpe, job: u64, point: &Point| match job % 7 {
        0 => tpe.observe(job, point, Outcome::Diverged),
        1 => tpe.observe(job, point, Outcome::Stopped { step: 3, value: point[0].unwrap() }),
        2 => tpe.forget(job),
        _ => tpe.observe(job, point, Outcome::Finished(valley(point))),
    };
    let tries_again = |job: u64, now: u64| job % 7 == 2 && job + 90 <= now;
    let (mut tpe, mut points) = (searcher(dimensions), Vec::new());
    for job in 1..=jobs {
        let point = tpe.propose(job).unwrap().point;
        tpe.start(job, &point);
        points.push(point);
        let point = |job: u64| &points[job as usize - 1];
        if let Some(ended) = job.checked_sub(8).filter(|ended| *ended > 0) {
            told(&mut tpe, ended, point(ended));
        }
        if let Some(again) = job.checked_sub(90).filter(|again| tries_again(*again, job)) {
            tpe.start(again, point(again));
        }
        if job % every == 0 {
            let mut fresh = searcher(dimensions);
            for other in 1..=job {
                fresh.start(other, point(other));
                if other + 8 <= job && !tries_again(other, job) {
                    told(&mut fresh, other, point(other));
                }
            }
            assert_eq!(fresh.propose(job + 1), tpe.propose(job + 1), "after {job} jobs");
        }
    }
}

#[test]
fn what_is_kept_between_proposals_changes_none_of_them() {
    let dimensions = [float(0.0, 1.0), integer(1, 9), choices(3), integer(1, 500)];
    goes_on_as_a_fresh_one_would(&dimensions, 400, 50);
}

#[test]
fn that_jobs_which_do_not_count_any_more_are_dropped_changes_no_proposal() {
    // A hundred bad jobs count, so that the first are dropped after some three hundred.
    let three = [float(0.0, 1.0), integer(1, 9), choices(3)];
    let dimensions: Vec<Dimension> = three.into_iter().cycle().take(800).collect();
    goes_on_as_a_fresh_one_would(&dimensions, 360, 30);
}

#[test]
fn spaces_without_values_are_refused_with_the_dimension() {
    let refused = |dimension| Tpe::new(&[choices(2), dimension], None, Goal::Minimize, 0).unwrap_err();
    assert_eq!(refused(float(1.0, 1.0)), SpaceError::Empty(1));
    assert_eq!(refused(choices(0)), SpaceError::Empty(1));
    assert_eq!(refused(integer(3, 2)), SpaceError::Empty(1));
    let log =
        |low, step| Dimension { domain: Domain::Integer { low, high: 9, step, log: true }, when: Vec::new() };
    assert_eq!(refused(log(0, 1)), SpaceError::Logarithm(1));
    assert!(
        Tpe::new(&[log(1, 2)], None, Goal::Minimize, 0).is_ok(),
        "half a step below 1 is 0, and half of 1 counts"
    );
}

/// A searcher of a hundred parameters that knows nine hundred jobs, the first ones, up to `moved_jobs`, with other values of the first
/// parameter.
fn of_many(moved_jobs: u64) -> Tpe {
    let dimensions: Vec<Dimension> = [float(0.0, 1.0)].into_iter().chain(vec![choices(2); 99]).collect();
    let mut tpe = searcher(&dimensions);
    for job in 1..=900 {
        let moved = if job <= moved_jobs { 50 } else { 0 };
        let mut point = vec![Some(0.0); 100];
        point[0] = Some(((job * 31 + moved) % 101) as f64 / 101.0);
        // The last ones are good.
        tpe.observe(job, &point, Outcome::Finished(900.0 - job as f64));
    }
    tpe
}

#[test]
fn with_many_parameters_the_newest_bad_jobs_count_and_no_others() {
    let proposal = of_many(0).propose(901);
    assert!(proposal.is_some());
    // 800 of a hundred parameters, and 25 good ones.
    assert_eq!(of_many(75).propose(901), proposal);
    assert_ne!(of_many(200).propose(901), proposal);
}

#[test]
fn what_is_computed_ahead_changes_no_proposal() {
    let (mut one, mut other) = (of_many(0), of_many(0));
    other.prepare();
    assert_eq!(one.propose(901), other.propose(901));
}
