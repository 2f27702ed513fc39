//! What holds of every sequence of events.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const ETA: u32 = 3;
/// Jobs train this long.
const EPOCHS: u32 = 27;

/// What a store would have of a job.
#[derive(Debug, Clone, Default)]
struct Kept {
    rungs: Vec<(u32, Option<f64>)>,
    goes_on: bool,
    is_paused: bool,
}

/// A sweep of some jobs whose order of events is chosen by `choices`.
struct Sweep {
    rule: Halving,
    /// The epoch that each job has trained.
    running: BTreeMap<u64, u32>,
    kept: BTreeMap<u64, Kept>,
    next: u64,
    /// Of each rung, who came, with the value, and who was promoted.
    came: BTreeMap<u32, Vec<(f64, u64)>>,
    promoted: BTreeSet<(u32, u64)>,
}

impl Sweep {
    fn new() -> Self {
        let ladder = Ladder::upwards(1, ETA, 0);
        let rule = Halving::new(Goal::Minimize, ladder, Quota::Share { eta: ETA }, true);
        let (running, kept, came) = Default::default();
        Self { rule, running, kept, next: 1, came, promoted: BTreeSet::new() }
    }

    /// A job begins, goes on or trains its next epoch.
    fn step(&mut self, choice: usize, value: Option<f64>) {
        if self.running.len() < 4 && choice.is_multiple_of(3) {
            return self.grant();
        }
        let Some(job) = self.running.keys().nth(choice % self.running.len().max(1)).copied() else { return };
        let epoch = self.running[&job] + 1;
        self.running.insert(job, epoch);
        if epoch == EPOCHS {
            self.running.remove(&job);
            return;
        }
        let kept = self.kept.entry(job).or_default();
        match self.rule.observe(job, epoch, value) {
            Verdict::Continue => assert_ne!(self.rule.pauses_at(job), Some(epoch)),
            Verdict::Pause => {
                self.came.entry(epoch).or_default().push((value.unwrap_or(f64::INFINITY), job));
                kept.rungs.push((epoch, value));
                (kept.is_paused, kept.goes_on) = (true, false);
                self.rule.pause(job);
                self.running.remove(&job);
            }
            Verdict::Stop => panic!("a rule that pauses jobs stops none"),
        }
    }

    fn grant(&mut self) {
        let Some(Promotion { job, from }) = self.rule.next_promotion(false) else {
            self.running.insert(self.next, 0);
            self.next += 1;
            return;
        };
        let came = self.came.get_mut(&from).unwrap();
        came.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let quota = came.len() / ETA as usize;
        let place = came.iter().position(|(_, one)| *one == job).unwrap();
        assert!(place < quota, "job {job} is {place} of {} at rung {from}", came.len());
        assert!(came[place].0.is_finite());
        assert!(self.promoted.insert((from, job)), "job {job} was promoted twice from rung {from}");
        for higher in self.came.keys().filter(|rung| **rung > from) {
            assert!(self.best_waiting(*higher).is_none(), "rung {higher} goes first");
        }
        self.rule.promote(job);
        let kept = self.kept.get_mut(&job).unwrap();
        (kept.is_paused, kept.goes_on) = (false, true);
        self.running.insert(job, from);
    }

    /// The best job that waits at a rung and belongs to the share that goes on, found without the rule.
    fn best_waiting(&self, rung: u32) -> Option<u64> {
        let mut came = self.came.get(&rung)?.clone();
        came.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let best = came.iter().take(came.len() / ETA as usize);
        let mut waiting =
            best.filter(|(value, job)| value.is_finite() && !self.promoted.contains(&(rung, *job)));
        waiting.next().map(|(_, job)| *job)
    }

    /// The rule as a restart rebuilds it from what was kept, job by job in some order.
    fn rebuilt(&self, backwards: bool) -> Halving {
        let mut rule = Self::new().rule;
        let mut jobs: Vec<_> = self.kept.iter().collect();
        if backwards {
            jobs.reverse();
        }
        for (job, kept) in jobs {
            rule.restore(*job, &kept.rungs, kept.goes_on);
            if kept.is_paused {
                rule.pause(*job);
            }
        }
        rule
    }
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![1 => Just(None), 9 => (-5i32..5).prop_map(|value| Some(f64::from(value) / 2.0))]
}

proptest! {
    #[test]
    fn promotions_are_of_the_best_share_once_and_highest_first(
        steps in proptest::collection::vec((0usize..12, value()), 1..600)
    ) {
        let mut sweep = Sweep::new();
        for (choice, value) in steps {
            sweep.step(choice, value);
        }
    }

    #[test]
    fn a_restart_at_any_moment_decides_the_same(
        steps in proptest::collection::vec((0usize..12, value()), 1..300), backwards: bool
    ) {
        let mut sweep = Sweep::new();
        for (choice, value) in steps {
            sweep.step(choice, value);
            let rebuilt = sweep.rebuilt(backwards);
            prop_assert_eq!(&rebuilt, &sweep.rule);
        }
    }

    #[test]
    fn merits_are_ordered_as_values(one in any::<f64>(), other in any::<f64>()) {
        let merit = |value, goal| crate::stopping::value::Merit::of(Some(value), goal);
        prop_assume!(one.is_finite() && other.is_finite());
        let order = one.partial_cmp(&other).unwrap();
        prop_assert_eq!(merit(one, Goal::Minimize).cmp(&merit(other, Goal::Minimize)), order);
        prop_assert_eq!(merit(other, Goal::Maximize).cmp(&merit(one, Goal::Maximize)), order);
        prop_assert_eq!(merit(one, Goal::Maximize).value(Goal::Maximize), Some(one + 0.0));
    }
}
