//! What is known of the jobs: their points, their results, and in which order those rank.

use std::{cmp::Ordering, collections::HashMap};

use terms::Goal;

/// What became of a job that ended by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It is done, with this value of the objective. NaN counts as diverged.
    Finished(f64),
    /// Its loss became infinite or undefined: worse than every other job.
    Diverged,
    /// It was stopped early after `step` epochs, with this value then. It ranks after all finished ones; of those the later ones
    /// first.
    Stopped { step: u32, value: f64 },
}

/// All jobs, each in a row. A job keeps its row.
#[derive(Debug, Clone)]
pub(super) struct History {
    goal: Goal,
    rows: HashMap<u64, usize>,
    /// The rows in the order of the jobs' numbers.
    by_job: Vec<usize>,
    states: Vec<State>,
    /// The rows of jobs that ended by themselves, the best first.
    ranking: Vec<usize>,
    running: usize,
}

#[derive(Debug, Clone, Copy)]
struct State {
    job: u64,
    standing: Standing,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Running,
    Ended(Rank),
    /// It failed or was cancelled: its result says nothing about its point.
    Forgotten,
}

/// What a job is ranked by: smaller is better.
#[derive(Debug, Clone, Copy)]
struct Rank {
    /// Finished, stopped, diverged.
    class: u8,
    /// Epochs less than others, of stopped jobs.
    missing: u32,
    /// The value, turned so that smaller is better.
    value: f64,
}

impl Rank {
    fn of(outcome: Outcome, goal: Goal) -> Self {
        // Adding zero makes one of both zeros.
        let turned = |value: f64| if goal == Goal::Minimize { value + 0.0 } else { 0.0 - value };
        match outcome {
            Outcome::Finished(value) if !value.is_nan() => {
                Self { class: 0, missing: 0, value: turned(value) }
            }
            Outcome::Stopped { step, value } => {
                let value = if value.is_nan() { f64::INFINITY } else { turned(value) };
                Self { class: 1, missing: u32::MAX - step, value }
            }
            Outcome::Finished(_) | Outcome::Diverged => Self { class: 2, missing: 0, value: 0.0 },
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let places = (self.class, self.missing).cmp(&(other.class, other.missing));
        places.then(self.value.total_cmp(&other.value))
    }
}

impl History {
    pub(super) fn new(goal: Goal) -> Self {
        Self {
            goal,
            rows: HashMap::new(),
            by_job: Vec::new(),
            states: Vec::new(),
            ranking: Vec::new(),
            running: 0,
        }
    }

    /// The row of a job, and whether it is new. A new row counts as running until something else is said.
    pub(super) fn row(&mut self, job: u64) -> (usize, bool) {
        let next = self.states.len();
        let row = *self.rows.entry(job).or_insert(next);
        if row == next {
            self.states.push(State { job, standing: Standing::Running });
            let at = self.by_job.partition_point(|other| self.states[*other].job < job);
            self.by_job.insert(at, row);
            self.running += 1;
        }
        (row, row == next)
    }

    pub(super) fn known_row(&self, job: u64) -> Option<usize> {
        self.rows.get(&job).copied()
    }

    pub(super) fn set_running(&mut self, row: usize) {
        self.take_out(row);
        self.states[row].standing = Standing::Running;
        self.running += 1;
    }

    pub(super) fn set_ended(&mut self, row: usize, outcome: Outcome) {
        self.take_out(row);
        let rank = Rank::of(outcome, self.goal);
        self.states[row].standing = Standing::Ended(rank);
        let at = self.ranking.partition_point(|other| self.is_before(*other, row));
        self.ranking.insert(at, row);
    }

    pub(super) fn set_forgotten(&mut self, row: usize) {
        self.take_out(row);
        self.states[row].standing = Standing::Forgotten;
    }

    fn take_out(&mut self, row: usize) {
        match self.states[row].standing {
            Standing::Running => self.running -= 1,
            Standing::Ended(_) => {
                let at = self.ranking.partition_point(|other| self.is_before(*other, row));
                self.ranking.remove(at);
            }
            Standing::Forgotten => {}
        }
    }

    /// Whether an ended job ranks before another: on a tie the one with the smaller number.
    fn is_before(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.states[one], &self.states[other]);
        match (one.standing, other.standing) {
            (Standing::Ended(first), Standing::Ended(second)) => {
                first.compare(&second).then(one.job.cmp(&other.job)) == Ordering::Less
            }
            _ => false,
        }
    }

    /// How many jobs ended by themselves.
    pub(super) fn ended(&self) -> usize {
        self.ranking.len()
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn job(&self, row: usize) -> u64 {
        self.states[row].job
    }

    /// The rows of the jobs from that of a row on, in the order of their numbers.
    pub(super) fn from(&self, row: usize) -> &[usize] {
        let job = self.states[row].job;
        &self.by_job[self.by_job.partition_point(|other| self.states[*other].job < job)..]
    }

    /// The rows of the good jobs and of the bad ones, each in the order of the jobs' numbers. Of those that ended the best
    /// `good_count` are good; running ones are bad. Of the bad ones those `bad_max` count whose jobs have the largest numbers.
    pub(super) fn split(&self, good_count: usize, bad_max: usize) -> (Vec<usize>, Vec<usize>) {
        let mut good = self.ranking[..good_count.min(self.ranking.len())].to_vec();
        good.sort_unstable_by_key(|row| self.states[*row].job);
        let mut is_bad: Vec<bool> =
            self.states.iter().map(|state| !matches!(state.standing, Standing::Forgotten)).collect();
        good.iter().for_each(|row| is_bad[*row] = false);
        let newest = self.by_job.iter().rev().copied().filter(|row| is_bad[*row]).take(bad_max);
        let mut bad: Vec<usize> = newest.collect();
        bad.reverse();
        (good, bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(goal: Goal, outcomes: &[(u64, Outcome)]) -> History {
        let mut history = History::new(goal);
        for (job, outcome) in outcomes {
            let (row, _) = history.row(*job);
            history.set_ended(row, *outcome);
        }
        history
    }

    fn ranked(history: &History) -> Vec<u64> {
        history.ranking.iter().map(|row| history.job(*row)).collect()
    }

    #[test]
    fn finished_jobs_rank_by_value_then_stopped_ones_by_epochs_and_value_then_diverged_ones() {
        let outcomes = [
            (9, Outcome::Diverged),
            (1, Outcome::Stopped { step: 3, value: 0.1 }),
            (2, Outcome::Finished(0.9)),
            (8, Outcome::Finished(f64::NAN)),
            (3, Outcome::Stopped { step: 9, value: 0.8 }),
            (4, Outcome::Finished(0.5)),
            (5, Outcome::Stopped { step: 9, value: f64::NAN }),
            (7, Outcome::Stopped { step: 9, value: 0.2 }),
        ];
        assert_eq!(ranked(&history(Goal::Minimize, &outcomes)), [4, 2, 7, 3, 5, 1, 8, 9]);
        assert_eq!(ranked(&history(Goal::Maximize, &outcomes)), [2, 4, 3, 7, 5, 1, 8, 9]);
    }

    #[test]
    fn ties_are_decided_by_the_job_number_whatever_ended_first() {
        let outcomes =
            [(5, Outcome::Finished(-0.0)), (2, Outcome::Finished(0.0)), (4, Outcome::Finished(0.0))];
        assert_eq!(ranked(&history(Goal::Minimize, &outcomes)), [2, 4, 5]);
        assert_eq!(ranked(&history(Goal::Maximize, &outcomes)), [2, 4, 5]);
    }

    #[test]
    fn both_sets_are_in_the_order_of_the_jobs_and_running_ones_are_bad() {
        let mut history = history(
            Goal::Minimize,
            &[(7, Outcome::Finished(1.0)), (3, Outcome::Finished(2.0)), (5, Outcome::Diverged)],
        );
        for job in [6, 1] {
            history.row(job);
        }
        let jobs = |rows: &[usize]| rows.iter().map(|row| history.job(*row)).collect::<Vec<_>>();
        let (good, bad) = history.split(2, 3);
        assert_eq!((jobs(&good), jobs(&bad)), (vec![3, 7], vec![1, 5, 6]));
        let (good, bad) = history.split(2, 2);
        assert_eq!((jobs(&good), jobs(&bad)), (vec![3, 7], vec![5, 6]), "the newest");
        assert_eq!((history.ended(), history.running()), (3, 2));
    }

    #[test]
    fn what_is_said_last_of_a_job_counts() {
        let mut history =
            history(Goal::Minimize, &[(1, Outcome::Finished(1.0)), (2, Outcome::Finished(2.0))]);
        let row = history.known_row(1).unwrap();
        history.set_ended(row, Outcome::Finished(3.0));
        assert_eq!(ranked(&history), [2, 1]);
        history.set_running(row);
        assert_eq!((ranked(&history), history.running()), (vec![2], 1));
        history.set_forgotten(row);
        let (good, bad) = history.split(1, 9);
        assert_eq!((good.len(), bad.len(), history.running()), (1, 0, 0));
    }
}
