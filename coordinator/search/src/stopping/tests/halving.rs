//! Successive halving by hand: who pauses, who is promoted, who is stopped.

use super::*;

#[test]
fn a_job_pauses_at_each_rung_until_it_is_promoted() {
    let mut rule = asha();
    assert_eq!(rule.pauses_at(1), Some(1));
    arrives(&mut rule, 1, 1, 0.5);
    arrives(&mut rule, 2, 1, 0.7);
    assert_eq!(rule.next_promotion(false), None);
    arrives(&mut rule, 3, 1, 0.6);
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 2, from: 1 }));
    assert_eq!(promoted(&mut rule), None);
    assert_eq!((rule.pauses_at(1), rule.pauses_at(2)), (Some(1), Some(3)));
    assert_eq!(rule.observe(2, 2, Some(0.1)), Verdict::Continue);
    assert_eq!(rule.observe(2, 3, Some(0.1)), Verdict::Pause);
}

#[test]
fn the_highest_rung_goes_first() {
    let mut rule = asha();
    for job in 1..=9 {
        arrives(&mut rule, job, 1, job as f64);
    }
    for job in [9, 8, 7] {
        assert_eq!(promoted(&mut rule), Some(Promotion { job, from: 1 }));
        arrives(&mut rule, job, 3, job as f64);
    }
    for job in 10..=12 {
        arrives(&mut rule, job, 1, job as f64);
    }
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 9, from: 3 }));
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 12, from: 1 }));
}

#[test]
fn of_equal_values_the_smaller_number_goes_first() {
    let mut rule = asha();
    for job in [5, 3, 4] {
        arrives(&mut rule, job, 1, 0.5);
    }
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 3, from: 1 }));
}

#[test]
fn what_has_no_value_is_counted_and_never_promoted() {
    let mut rule = asha();
    arrives(&mut rule, 1, 1, None);
    assert_eq!(rule.diverged(2), Some(1));
    arrives(&mut rule, 3, 1, f64::NAN);
    assert_eq!(rule.next_promotion(false), None);
    arrives(&mut rule, 4, 1, 0.1);
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 4, from: 1 }));
    arrives(&mut rule, 5, 1, None);
    arrives(&mut rule, 6, 1, None);
    assert_eq!(promoted(&mut rule), None);
}

#[test]
fn what_is_left_is_the_best_paused_job_of_the_highest_rung_in_any_bracket() {
    let brackets = Brackets::new("sweep", 1, 9, 3);
    let of = |bracket: usize| (1..).filter(|job| brackets.of(*job) == bracket).take(2).collect::<Vec<u64>>();
    let (early, late) = (of(0), of(1));
    let mut rule = Halving::with_brackets(Goal::Maximize, brackets.clone(), Quota::Share { eta: 3 }, true);
    assert_eq!(rule.best_left(), None);
    arrives(&mut rule, early[0], 1, 0.99);
    arrives(&mut rule, late[0], 3, 0.5);
    arrives(&mut rule, late[1], 3, None);
    assert_eq!(
        (rule.next_promotion(false), rule.best_left()),
        (None, Some(Promotion { job: late[0], from: 3 }))
    );
    rule.restore(early[1], &[(1, Some(0.6)), (3, Some(0.7))], false);
    assert_eq!(rule.best_left(), Some(Promotion { job: late[0], from: 3 }), "the other one is not paused");
    rule.pause(early[1]);
    assert_eq!(rule.best_left(), Some(Promotion { job: early[1], from: 3 }));
    rule.promote(early[1]);
    rule.leave(late[0]);
    assert_eq!(rule.best_left(), Some(Promotion { job: early[0], from: 1 }), "what has no value is not left");
    rule.leave(early[0]);
    assert_eq!(rule.best_left(), None);
}

#[test]
fn a_job_that_still_runs_or_has_ended_is_not_promoted() {
    let mut rule = asha();
    assert_eq!(rule.observe(1, 1, Some(0.9)), Verdict::Pause);
    arrives(&mut rule, 2, 1, 0.1);
    arrives(&mut rule, 3, 1, 0.2);
    assert_eq!(rule.next_promotion(false), None);
    rule.pause(1);
    assert_eq!(rule.promotable(false), 1);
    rule.leave(1);
    assert_eq!(rule.next_promotion(false), None);
}

#[test]
fn a_job_that_trains_again_comes_past_its_rungs() {
    let mut rule = asha();
    for job in 1..=3 {
        arrives(&mut rule, job, 1, job as f64);
    }
    promoted(&mut rule).unwrap();
    assert_eq!(rule.observe(3, 1, Some(0.0)), Verdict::Continue);
    assert_eq!(rule.standing(3).unwrap().threshold, Some(3.0));
    assert_eq!(rule.observe(3, 3, Some(0.0)), Verdict::Pause);
    // Its attempt was lost before it ended.
    assert_eq!(rule.observe(3, 3, Some(0.0)), Verdict::Pause);
    assert_eq!(rule.standing(3).unwrap().jobs, 1);
}

#[test]
fn the_best_few_go_on_once_all_are_there() {
    let mut rule = Halving::new(Goal::Minimize, Ladder::single(1), Quota::Best { count: 2 }, true);
    for (job, value) in [(1, 0.4), (2, 0.1), (3, 0.3)] {
        arrives(&mut rule, job, 1, value);
    }
    assert_eq!((rule.promotable(true), rule.next_promotion(true)), (0, None));
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 2, from: 1 }));
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 3, from: 1 }));
    assert_eq!((promoted(&mut rule), rule.pauses_at(2), rule.pauses_at(1)), (None, None, Some(1)));
}

#[test]
fn wandb_lets_one_more_go_on() {
    let mut rule = Halving::new(Goal::Minimize, Ladder::single(3), Quota::ShareAndOne { eta: 3 }, true);
    arrives(&mut rule, 1, 3, 0.4);
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 1, from: 3 }));
    arrives(&mut rule, 2, 3, 0.5);
    assert_eq!(promoted(&mut rule), None);
    arrives(&mut rule, 3, 3, 0.6);
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 2, from: 3 }));
}

#[test]
fn brackets_begin_at_different_rungs_and_are_compared_each_for_itself() {
    let brackets = Brackets::new("a", 1, 9, 3);
    let rule = Halving::with_brackets(Goal::Maximize, brackets.clone(), Quota::Share { eta: 3 }, true);
    for job in 1..=100 {
        assert_eq!(rule.pauses_at(job), Some([1, 3, 9][brackets.of(job)]));
    }
}

/// Otherwise a good job that comes late would wait for more that may never come.
#[test]
fn a_better_job_that_comes_later_goes_on_although_another_went_in_its_place() {
    let mut rule = asha();
    for job in 1..=3 {
        arrives(&mut rule, job, 1, job as f64);
    }
    assert_eq!(promoted(&mut rule).unwrap().job, 3);
    arrives(&mut rule, 4, 1, 4.0);
    assert_eq!(promoted(&mut rule).unwrap().job, 4);
}

#[test]
fn a_rule_that_cannot_pause_jobs_any_more_stops_those_that_are_not_among_the_best() {
    let mut rule = asha();
    arrives(&mut rule, 1, 1, 0.5);
    assert_eq!(rule.promotable(false), 0, "one of three goes on");
    assert!(rule.stop_jobs());
    assert_eq!(rule.pauses_at(2), None);
    assert_eq!(rule.promotable(false), 1, "the first always goes on");
    assert_eq!(rule.observe(2, 1, Some(0.4)), Verdict::Stop);
    assert_eq!(rule.promotable(false), 1);
    // One that was granted as far as the rung pauses there all the same, and is the best now.
    assert_eq!(rule.observe_granted(3, 1, Some(0.6)), Verdict::Pause);
    rule.pause(3);
    assert_eq!(promoted(&mut rule), Some(Promotion { job: 3, from: 1 }));
    assert_eq!(promoted(&mut rule), None);
    assert_eq!(rule.observe(4, 1, Some(0.9)), Verdict::Continue);
    assert_eq!(rule.observe(3, 1, Some(0.6)), Verdict::Continue, "it comes past its rung again");
    assert_eq!(rule.observe(3, 3, Some(0.1)), Verdict::Continue, "the first there");
    assert_eq!(rule.observe(4, 3, Some(0.0)), Verdict::Stop);
    let mut again = asha();
    assert!(again.stop_jobs());
    again.restore(4, &[(1, Some(0.9)), (3, Some(0.0))], false);
    again.restore(3, &[(1, Some(0.6)), (3, Some(0.1))], true);
    again.restore(2, &[(1, Some(0.4))], false);
    again.restore(1, &[(1, Some(0.5))], false);
    again.pause(1);
    assert_eq!(again, rule);
    let mut top = Halving::new(Goal::Maximize, Ladder::single(1), Quota::Best { count: 1 }, true);
    assert!(!top.stop_jobs());
    assert_eq!(top.pauses_at(1), Some(1));
}
