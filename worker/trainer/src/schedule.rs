//! The learning rate of each step. It only depends on the step's number, so that a training that continues anywhere finds the
//! same rate.

use std::f64::consts::PI;

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LrSchedule {
    Constant,
    /// Along half a cosine wave, each step, towards 0.
    Cosine,
    /// To a tenth after half of the epochs, and again to a tenth after three quarters.
    Step,
}

impl LrSchedule {
    /// The one of this name in sweep files.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "constant" => Some(Self::Constant),
            "cosine" => Some(Self::Cosine),
            "step" => Some(Self::Step),
            _ => None,
        }
    }
}

/// The learning rates of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRates {
    /// The learning rate that the warm-up reaches, and that the schedule begins with.
    pub peak: f64,
    pub schedule: LrSchedule,
    /// Epochs in which the rate rises evenly, step by step; fewer than `epochs`.
    pub warmup_epochs: u32,
    /// Epochs of the job, however far it is to train for now.
    pub epochs: u32,
}

impl LearningRates {
    /// The learning rate of a step, from 0 over all epochs of `steps_per_epoch` steps each.
    pub fn at(&self, step: u64, steps_per_epoch: u64) -> f64 {
        let Self { peak, schedule, warmup_epochs, epochs } = *self;
        let warm = u64::from(warmup_epochs) * steps_per_epoch;
        if step < warm {
            return peak * (step + 1) as f64 / warm as f64;
        }
        let (step, epochs) = (step - warm, u64::from(epochs.saturating_sub(warmup_epochs)));
        match schedule {
            LrSchedule::Constant => peak,
            LrSchedule::Cosine => {
                let share = step as f64 / (epochs * steps_per_epoch) as f64;
                peak * 0.5 * (1.0 + (PI * share).cos())
            }
            LrSchedule::Step => {
                let epoch = step / steps_per_epoch;
                let falls = i32::from(2 * epoch >= epochs) + i32::from(4 * epoch >= 3 * epochs);
                peak * 0.1_f64.powi(falls)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: LrSchedule, warmup_epochs: u32, epochs: u32) -> Vec<f64> {
        let rates = LearningRates { peak: 1.0, schedule, warmup_epochs, epochs };
        (0..u64::from(epochs) * 2).map(|step| rates.at(step, 2)).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        let near = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-15;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?}");
    }

    #[test]
    fn a_constant_rate_is_the_given_one_after_the_warm_up() {
        assert_eq!(rates(LrSchedule::Constant, 0, 2), [1.0; 4]);
        assert_eq!(rates(LrSchedule::Constant, 2, 3), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_cosine_falls_with_each_step_and_never_to_0() {
        let root = 0.5_f64.sqrt();
        let expected = [1.0, (1.0 + root) / 2.0, 0.5, (1.0 - root) / 2.0];
        assert_near(&rates(LrSchedule::Cosine, 0, 2), &expected);
        assert_near(&rates(LrSchedule::Cosine, 1, 3)[2..], &expected);
    }

    #[test]
    fn steps_are_at_half_and_three_quarters_of_the_epochs() {
        assert_near(&rates(LrSchedule::Step, 0, 1), &[1.0; 2]);
        assert_near(&rates(LrSchedule::Step, 0, 4), &[1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]);
        assert_near(&rates(LrSchedule::Step, 0, 5), &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]);
        assert_near(&rates(LrSchedule::Step, 1, 3), &[0.5, 1.0, 1.0, 1.0, 0.1, 0.1]);
    }
}
