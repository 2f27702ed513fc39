//! Values of the objective in the order of their merit.

use terms::Goal;

/// A value of the objective; better ones are smaller. What is not a finite number is the largest, so the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merit(u64);

impl Merit {
    /// Of what has no value.
    const NONE: Self = Self(u64::MAX);

    pub(super) fn of(value: Option<f64>, goal: Goal) -> Self {
        let Some(value) = value.filter(|value| value.is_finite()) else { return Self::NONE };
        let cost = match goal {
            Goal::Minimize => value,
            Goal::Maximize => -value,
        };
        // Zeros of both signs are equal, as they are in comparisons.
        let bits = (cost + 0.0).to_bits();
        // Numbers with a sign are ordered the other way round, and below those without.
        let is_negative = bits >> 63 == 1;
        Self(if is_negative { !bits } else { bits | 1 << 63 })
    }

    pub(super) fn has_value(self) -> bool {
        self != Self::NONE
    }

    /// The value; none where there was none.
    pub(super) fn value(self, goal: Goal) -> Option<f64> {
        if !self.has_value() {
            return None;
        }
        let bits = if self.0 >> 63 == 1 { self.0 ^ (1 << 63) } else { !self.0 };
        let cost = f64::from_bits(bits);
        Some(match goal {
            Goal::Minimize => cost,
            Goal::Maximize => 0.0 - cost,
        })
    }
}
