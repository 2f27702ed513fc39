//! How long a sweep still takes, from how long it took since watching began. Early stopping trains few jobs to their end: what it
//! is expected to train counts.

use std::time::{Duration, Instant};

use domain::specification::{EarlyTermination, StoppingRule};
use proto::v1;

use super::{finished, share_done, share_of_job, spoken};
use crate::{cli::early::expected_epochs, shapes};

/// Estimates the remaining time.
#[derive(Debug, Default)]
pub(super) struct TimeLeft {
    began: Option<(Instant, f64)>,
    /// The rule of the sweep, once that was read.
    rule: Option<Option<Rule>>,
}

/// A rule of early stopping, and how many epochs the longest job trains, where that is known.
#[derive(Debug, Clone, Copy)]
struct Rule {
    early: EarlyTermination,
    epochs: Option<u32>,
}

impl TimeLeft {
    /// Smallest share that must be done before an estimate means something.
    const SHARE_MIN: f64 = 0.005;
    /// Most that is done of a sweep under a rule that still trains: the rule may train more than was expected of it.
    const EXPECTED_MAX: f64 = 0.99;

    /// Share of a sweep that is done, in [0, 1].
    pub(super) fn share(&mut self, snapshot: &v1::WatchSnapshot) -> f64 {
        let Some(sweep) = &snapshot.sweep else { return 0.0 };
        let rule = *self.rule.get_or_insert_with(|| Rule::of(sweep));
        rule.and_then(|rule| rule.share(snapshot, sweep)).unwrap_or_else(|| share_done(snapshot))
    }

    /// `3 min 20 s left`, once that is known; `about` where it depends on which jobs turn out to be the best. Nothing once all is
    /// trained that was expected.
    pub(super) fn told(&mut self, share: f64, now: Instant) -> Option<String> {
        let left = spoken(self.estimate(share, now)?);
        match self.rule.flatten() {
            None => Some(format!("{left} left")),
            Some(rule) if rule.is_known() && share < Self::EXPECTED_MAX => Some(format!("about {left} left")),
            Some(_) => None,
        }
    }

    fn estimate(&mut self, share: f64, now: Instant) -> Option<Duration> {
        let (began, share_then) = *self.began.get_or_insert((now, share));
        let gained = share - share_then;
        if gained < Self::SHARE_MIN {
            return None;
        }
        let seconds = now.duration_since(began).as_secs_f64() * (1.0 - share) / gained;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl Rule {
    fn of(sweep: &v1::Sweep) -> Option<Self> {
        let read = shapes::specification(sweep).ok()?;
        Some(Self { early: read.early_terminate?, epochs: read.epochs_max() })
    }

    /// Whether it can be said how much is left. Of a rule that only stops jobs by the median, all that could be trained is the most.
    fn is_known(self) -> bool {
        self.epochs.is_some() || matches!(self.early.rule, StoppingRule::Median { .. })
    }

    /// The share in epochs: of those that the rule is expected to train, those that were trained. A job that is paused or was stopped
    /// has at least those of the first rung.
    fn share(self, snapshot: &v1::WatchSnapshot, sweep: &v1::Sweep) -> Option<f64> {
        let epochs = self.epochs?;
        let expected = expected_epochs(self.early, sweep.job_count, epochs)? * sweep.job_count as f64;
        let counts = sweep.counts.unwrap_or_default();
        let first = self.early.ladders().into_iter().flatten().min().unwrap_or(epochs).min(epochs);
        let not_done = finished(&counts) - counts.done + counts.paused;
        let of_running: f64 =
            snapshot.running.iter().map(|job| share_of_job(job) * f64::from(job.epochs_total)).sum();
        let trained =
            counts.done as f64 * f64::from(epochs) + not_done as f64 * f64::from(first) + of_running;
        let is_over = finished(&counts) >= sweep.job_count;
        Some(if is_over { 1.0 } else { (trained / expected.max(1.0)).clamp(0.0, TimeLeft::EXPECTED_MAX) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_the_pace_since_watching_began() {
        let start = Instant::now();
        let mut left = TimeLeft::default();
        assert_eq!(left.estimate(0.5, start), None);
        let estimate = left.estimate(0.75, start + Duration::from_secs(60)).unwrap();
        assert_eq!(spoken(estimate), "1 min 0 s");
    }

    /// Nine jobs of nine epochs, of which `paused` are paused and the others have not started.
    fn snapshot(early: &str, epochs: &str, paused: u64) -> v1::WatchSnapshot {
        let specification = format!(
            "name: a\ndataset: {{path: d}}\nmetric: {{name: val_accuracy, goal: maximize}}\nparameters: {{epochs: {epochs}}}\n{early}"
        );
        let counts = Some(v1::JobCounts { paused, pending: 9 - paused, ..v1::JobCounts::default() });
        let sweep = v1::Sweep { job_count: 9, counts, specification, ..v1::Sweep::default() };
        v1::WatchSnapshot { sweep: Some(sweep), ..v1::WatchSnapshot::default() }
    }

    #[test]
    fn under_early_stopping_what_the_rule_is_expected_to_train_counts() {
        let start = Instant::now();
        let told = |early: &str, paused: u64| {
            let mut left = TimeLeft::default();
            let before = left.share(&snapshot(early, "{value: 9}", 0));
            assert_eq!(left.told(before, start), None);
            let share = left.share(&snapshot(early, "{value: 9}", paused));
            left.told(share, start + Duration::from_secs(60))
        };
        // Nine epochs of 9 + 3 * 2 + 6.
        let asha = told("early_terminate: {type: asha}", 9);
        assert_eq!(asha.as_deref(), Some("about 1 min 20 s left"));
        // Nine epochs of 9 + 2 * 8.
        let best = told("early_terminate: {type: top_k, k: 2}", 9);
        assert_eq!(best.as_deref(), Some("about 1 min 47 s left"));
        // More jobs trained to their end than were expected to, and the others still train.
        let mut beyond = snapshot("early_terminate: {type: asha}", "{value: 9}", 0);
        let counts = v1::JobCounts { done: 6, running: 3, ..v1::JobCounts::default() };
        beyond.sweep.as_mut().unwrap().counts = Some(counts);
        let mut left = TimeLeft::default();
        let before = left.share(&snapshot("early_terminate: {type: asha}", "{value: 9}", 0));
        assert_eq!(left.told(before, start), None);
        let share = left.share(&beyond);
        assert!(share < 1.0, "{share}");
        assert_eq!(left.told(share, start + Duration::from_secs(60)), None);
        assert_eq!(told("", 9), None, "a job that is paused counts for nothing where none should be");
    }
}
