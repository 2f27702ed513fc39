//! How the time of an attempt was spent since its training began, for people who read that it took too long.

use std::time::Duration;

/// Longer times are shown in whole seconds.
const WHOLE_SECONDS_FROM: Duration = Duration::from_secs(100);

/// How the time was spent, epoch by epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeSpent {
    /// When the current epoch began.
    since: Duration,
    /// When its validation began, if the trainer said so.
    validates_since: Option<Duration>,
    /// In the training loops of the finished epochs.
    training: Duration,
    /// Between them: validations and checkpoints.
    other: Duration,
}

impl TimeSpent {
    /// The first epoch begins.
    pub(super) fn begin(now: Duration) -> Self {
        Self { since: now, validates_since: None, training: Duration::ZERO, other: Duration::ZERO }
    }

    /// The batches of the current epoch are done, and its validation runs.
    pub(super) fn validates(&mut self, now: Duration) {
        self.validates_since.get_or_insert(now);
    }

    /// The current epoch is done; its training loop took `seconds`, as the trainer says. Epochs of a checkpoint are
    /// reported at once and took none.
    pub(super) fn epoch_done(&mut self, now: Duration, seconds: f64) {
        let all = now.saturating_sub(self.since);
        let training = Duration::try_from_secs_f64(seconds).unwrap_or(all).min(all);
        self.training += training;
        self.other += all - training;
        (self.since, self.validates_since) = (now, None);
    }

    /// Where it is now and how the time was spent: `while validating epoch 2: training took 3.5 s, validating and the
    /// rest 20 s`.
    pub(super) fn words(&self, now: Duration, epoch: u32) -> String {
        let trained_until = self.validates_since.unwrap_or(now);
        let training = self.training + trained_until.saturating_sub(self.since);
        let other = self.other + now.saturating_sub(trained_until);
        let at = if self.validates_since.is_some() { "while validating" } else { "in" };
        let (training, other) = (brief(training), brief(other));
        format!("{at} epoch {epoch}: training took {training}, validating and the rest {other}")
    }
}

fn brief(time: Duration) -> String {
    if time < WHOLE_SECONDS_FROM {
        return format!("{:.1} s", time.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn time_is_reported_by_what_it_was_spent_on() {
        let mut spent = TimeSpent::begin(seconds(10));
        assert_eq!(
            spent.words(seconds(15), 1),
            "in epoch 1: training took 5.0 s, validating and the rest 0.0 s"
        );
        spent.validates(seconds(16));
        spent.validates(seconds(18));
        assert_eq!(
            spent.words(seconds(26), 1),
            "while validating epoch 1: training took 6.0 s, validating and the rest 10.0 s"
        );
        spent.epoch_done(seconds(30), 4.0);
        assert_eq!(
            spent.words(seconds(250), 2),
            "in epoch 2: training took 3m 44s, validating and the rest 16.0 s"
        );
    }

    #[test]
    fn an_epoch_of_a_checkpoint_and_one_that_claims_too_much_take_no_more_than_the_time_that_went_by() {
        let mut spent = TimeSpent::begin(seconds(10));
        for claimed in [100.0, f64::NAN, f64::MAX, -1.0] {
            spent.epoch_done(seconds(10), claimed);
        }
        assert_eq!(
            spent.words(seconds(11), 5),
            "in epoch 5: training took 1.0 s, validating and the rest 0.0 s"
        );
    }
}
