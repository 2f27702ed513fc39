//! What epochs come of which reports, also after a checkpoint.

use proptest::prelude::*;

use super::*;

fn report(number: Option<f64>, loss: f64) -> Report {
    Report::new(number, Metrics::from([("loss".to_owned(), Number(loss))])).unwrap()
}

fn tally(budget: Option<u32>) -> Tally {
    Tally::new(Some("loss".to_owned()), budget, true)
}

/// Takes reports with these numbers, one a second; the epochs and steps that come of it.
fn take(tally: &mut Tally, numbers: &[Option<f64>]) -> Vec<(u32, Option<f64>)> {
    let mut told = Vec::new();
    for (second, number) in numbers.iter().enumerate() {
        let taken = tally.take(report(*number, 0.5), Duration::from_secs(second as u64 + 1));
        if let Tallied::Epochs(records) = taken {
            told.extend(
                records
                    .iter()
                    .map(|record| (record.epoch, record.metrics.get(STEP).map(|Number(step)| *step))),
            );
        }
    }
    told
}

#[test]
fn epochs_count_on_and_other_numbers_are_kept_as_steps() {
    let some = |numbers: &[f64]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
    for (numbers, expected) in [
        (some(&[1.0, 2.0, 3.0]), vec![(1, None), (2, None), (3, None)]),
        (vec![None, None], vec![(1, None), (2, None)]),
        (some(&[0.0, 1.0]), vec![(1, Some(0.0)), (2, Some(1.0))]),
        (some(&[100.0, 200.0]), vec![(1, Some(100.0)), (2, Some(200.0))]),
        (some(&[1.0, 1.0, 2.0, 1.0]), vec![(1, None), (2, None)]),
        (some(&[0.5, 1.0]), vec![(1, Some(0.5)), (2, Some(1.0))]),
    ] {
        assert_eq!(take(&mut tally(None), &numbers), expected, "{numbers:?}");
    }
}

#[test]
fn an_epoch_took_the_time_since_the_report_before() {
    let mut tally = tally(None);
    let at = Duration::from_millis;
    tally.take(report(Some(1.0), 1.0), at(1_500));
    tally.take(report(Some(2.0), 1.0), at(2_000));
    let seconds: Vec<f64> = tally.records().iter().map(|record| record.seconds).collect();
    assert_eq!(seconds, [1.5, 0.5]);
}

#[test]
fn an_objective_that_is_not_finite_diverges_and_other_metrics_may_be_anything() {
    let with =
        |name: &str, value| Report::new(None, Metrics::from([(name.to_owned(), Number(value))])).unwrap();
    let mut tally = tally(None);
    assert!(!tally.has_objective());
    assert!(matches!(tally.take(with("other", f64::NAN), Duration::ZERO), Tallied::Epochs(_)));
    assert!(!tally.has_objective());
    let diverged = tally.take(with("loss", f64::INFINITY), Duration::ZERO);
    assert_eq!(diverged, Tallied::Diverged(Vec::new(), "loss was inf in epoch 2".to_owned()));
}

#[test]
fn a_program_that_goes_on_after_it_diverged_adds_no_epoch() {
    for numbers in [[Some(1.0), Some(2.0), Some(3.0)], [None; 3]] {
        let mut tally = tally(None);
        tally.take(report(numbers[0], 0.5), Duration::ZERO);
        assert!(matches!(tally.take(report(numbers[1], f64::NAN), Duration::ZERO), Tallied::Diverged(..)));
        assert_eq!(tally.take(report(numbers[2], 0.25), Duration::ZERO), Tallied::AfterDivergence);
        assert_eq!(tally.records().iter().map(|record| record.epoch).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn nothing_is_reported_beyond_the_budget() {
    let mut tally = tally(Some(2));
    take(&mut tally, &[None]);
    assert!(!tally.is_full());
    take(&mut tally, &[None]);
    assert!(tally.is_full());
    assert_eq!(tally.take(report(None, 0.5), Duration::ZERO), Tallied::Beyond(Vec::new()));
}

#[test]
fn a_program_without_a_budget_has_as_many_epochs_as_a_coordinator_accepts() {
    let mut tally = tally(None);
    take(&mut tally, &vec![None; EPOCHS_MAX as usize]);
    assert_eq!(tally.epochs(), EPOCHS_MAX);
    assert_eq!(tally.take(report(None, 0.5), Duration::ZERO), Tallied::Beyond(Vec::new()));
}

/// Three epochs: the checkpoint was written when two of them had been reported, and the third was reported after it.
fn resumed() -> Tally {
    let mut before = tally(None);
    take(&mut before, &[Some(10.0), Some(20.0), Some(30.0)]);
    let records = before.records().to_vec();
    let mut after = tally(None);
    after.resume(records[..2].to_vec(), records[2..].to_vec(), true);
    after
}

/// Two epochs, and a checkpoint that no report has followed.
fn untested(numbers: &[f64]) -> Tally {
    let mut before = tally(None);
    take(&mut before, &numbers.iter().copied().map(Some).collect::<Vec<_>>());
    let mut after = tally(None);
    after.resume(before.records().to_vec(), Vec::new(), false);
    after
}

#[test]
fn a_first_report_that_leaves_a_gap_is_not_taken() {
    for (before, first, is_ahead) in [
        (&[1.0, 2.0][..], Some(3.0), false),
        (&[1.0, 2.0], Some(4.0), true),
        (&[1.0, 2.0], Some(2.0), false),
        (&[1.0, 2.0], None, true),
        (&[0.0], Some(1.0), false),
        (&[0.0], Some(2.0), true),
        (&[100.0, 200.0], Some(300.0), false),
        (&[100.0, 200.0], Some(400.0), true),
        (&[0.1, 0.2, 0.30000000000000004], Some(0.4), false),
        (&[], Some(7.0), false),
    ] {
        let taken = untested(before).take(report(first, 0.5), Duration::ZERO);
        assert_eq!(taken == Tallied::Ahead, is_ahead, "{before:?} {first:?}: {taken:?}");
    }
    let mut going = untested(&[1.0, 2.0]);
    assert_eq!(take(&mut going, &[Some(3.0), Some(9.0)]).len(), 2, "later reports may leave gaps");
}

#[test]
fn a_program_that_ends_without_a_report_had_reported_all_or_is_ahead() {
    assert_eq!(untested(&[1.0, 2.0]).end(), Tallied::Ahead);
    let mut complete = resumed();
    assert!(matches!(complete.end(), Tallied::Epochs(told) if told.len() == 1 && told[0].epoch == 3));
    assert_eq!(tally(None).end(), Tallied::Epochs(Vec::new()));
}

#[test]
fn no_checkpoints_are_kept_of_reports_that_have_no_numbers() {
    let mut tally = tally(None);
    assert!(tally.kept().is_some());
    take(&mut tally, &[None]);
    assert!(tally.kept().is_none());
}

#[test]
fn what_a_program_reports_first_says_which_epochs_of_the_earlier_attempt_count() {
    // It wrote its checkpoint after the report of 20, or before that of 30.
    for (first, expected) in
        [(30.0, vec![(3, Some(30.0))]), (40.0, vec![(3, Some(30.0)), (4, Some(40.0))]), (20.0, vec![])]
    {
        assert_eq!(take(&mut resumed(), &[Some(first)]), expected, "{first}");
    }
}

#[test]
fn epochs_of_the_earlier_attempt_count_also_where_the_first_report_does_not() {
    let diverged = resumed().take(report(Some(40.0), f64::NAN), Duration::ZERO);
    assert!(matches!(diverged, Tallied::Diverged(told, _) if told.len() == 1 && told[0].epoch == 3));
    let mut full = resumed();
    full.budget = Some(3);
    let beyond = full.take(report(Some(40.0), 0.5), Duration::ZERO);
    assert!(matches!(beyond, Tallied::Beyond(told) if told.len() == 1 && told[0].epoch == 3));
}

proptest! {
    #[test]
    fn epochs_are_always_numbered_from_one_and_their_numbers_grow(
        numbers in proptest::collection::vec(proptest::option::of(-5.0..50.0f64), 0..40),
        budget in proptest::option::of(1..30u32),
    ) {
        let mut tally = tally(budget);
        let told = take(&mut tally, &numbers);
        let epochs: Vec<u32> = told.iter().map(|(epoch, _)| *epoch).collect();
        prop_assert_eq!(epochs, (1..=told.len() as u32).collect::<Vec<_>>());
        prop_assert!(tally.records().windows(2).all(|pair| pair[0].number < pair[1].number));
        prop_assert!(budget.is_none_or(|budget| told.len() as u32 <= budget));
    }
}

/// A tally that pauses after two epochs and has held two more.
fn held() -> Tally {
    let mut tally = tally(None);
    tally.pause_after(Some(2));
    take(&mut tally, &[Some(1.0), Some(2.0), Some(3.0), Some(4.0)]);
    tally
}

#[test]
fn of_epochs_beyond_the_rung_the_first_report_counts_too() {
    let mut tally = held();
    for number in [4.0, 3.0, 2.0] {
        let again = tally.take(report(Some(number), 0.25), Duration::ZERO);
        assert_eq!(again, Tallied::Repeated, "{number}");
    }
    let Tallied::Held(_, Some(next)) = tally.take(report(Some(5.0), 0.25), Duration::ZERO) else { panic!() };
    assert_eq!(next.epoch, 5);
    let kept: Vec<_> =
        tally.kept().unwrap().1.iter().map(|record| (record.epoch, record.metrics["loss"].0)).collect();
    assert_eq!(kept, [(3, 0.5), (4, 0.5), (5, 0.25)]);
}

#[test]
fn a_job_that_diverges_beyond_the_rung_diverges_there_once_it_goes_on() {
    let mut tally = held();
    assert!(matches!(
        tally.take(report(Some(5.0), f64::INFINITY), Duration::ZERO),
        Tallied::Held(_, Some(_))
    ));
    assert_eq!(tally.take(report(Some(6.0), 0.5), Duration::ZERO), Tallied::Held(Vec::new(), None));
    let (records, reserve) =
        tally.kept().map(|(records, reserve)| (records.to_vec(), reserve.to_vec())).unwrap();
    for first in [Some(7.0), None] {
        let mut resumed = super::Tally::new(Some("loss".to_owned()), None, true);
        resumed.resume(records.clone(), reserve.clone(), true);
        let taken = match first {
            Some(first) => resumed.take(report(Some(first), 0.5), Duration::ZERO),
            None => resumed.end(),
        };
        let Tallied::Diverged(told, reason) = taken else { panic!("{taken:?}") };
        assert_eq!(told.iter().map(|record| record.epoch).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(reason, "loss was inf in epoch 5");
    }
}

/// What a program's job has come to: each epoch with its number and metrics, and why it diverged.
type Outcome = (Vec<(u32, f64, Metrics)>, Option<String>);

/// Takes these reports until one ends the job.
fn take_all(tally: &mut Tally, reports: &[(f64, f64)]) -> Outcome {
    let mut diverged = None;
    for (number, loss) in reports {
        if let Tallied::Diverged(_, reason) = tally.take(report(Some(*number), *loss), Duration::ZERO) {
            diverged = Some(reason);
            break;
        }
    }
    if diverged.is_none()
        && let Tallied::Diverged(_, reason) = tally.end()
    {
        diverged = Some(reason);
    }
    let told = tally.records().iter().map(|one| (one.epoch, one.number, one.metrics.clone()));
    (told.collect(), diverged)
}

proptest! {
    /// The program goes on after its rung until it is ended, and another attempt goes on from a checkpoint of that time.
    #[test]
    fn a_job_that_pauses_comes_to_what_it_would_have_come_to(
        reports in proptest::collection::vec(
            ((1..12u32).prop_map(f64::from), prop_oneof![9 => 0.0..1.0f64, 1 => Just(f64::INFINITY)]), 1..20),
        until in 1..6u32,
        (checkpoint, end) in (0..20usize, 0..20usize),
    ) {
        let without = take_all(&mut tally(None), &reports);
        let end = end.min(reports.len());
        let checkpoint = checkpoint.min(end);
        // A program that first reports what it had reported before its checkpoint is taken to repeat it.
        let highest = reports.iter().take(checkpoint).map(|(number, _)| *number).fold(0.0, f64::max);
        prop_assume!(reports.get(checkpoint).is_none_or(|(number, _)| *number > highest));
        let mut paused = tally(None);
        paused.pause_after(Some(until));
        let (mut kept, mut tail) = (None, None);
        for (number, loss) in reports.iter().take(checkpoint) {
            let taken = paused.take(report(Some(*number), *loss), Duration::ZERO);
            prop_assume!(!matches!(taken, Tallied::Diverged(..)));
        }
        if let Some((records, reserve)) = paused.kept() {
            kept = Some((records.to_vec(), reserve.to_vec()));
        }
        for (number, loss) in reports.iter().take(end).skip(checkpoint) {
            match paused.take(report(Some(*number), *loss), Duration::ZERO) {
                Tallied::Epochs(mut records) if tail.is_none() => tail = records.pop(),
                Tallied::Held(_, held) if tail.is_none() => tail = held,
                Tallied::Diverged(..) => prop_assume!(false),
                _ => {}
            }
        }
        let (records, mut reserve) = kept.unwrap_or_default();
        reserve.extend(tail);
        let mut resumed = tally(None);
        resumed.resume(records, reserve, true);
        let with = take_all(&mut resumed, &reports[checkpoint..]);
        prop_assert_eq!(with, without);
    }
}
