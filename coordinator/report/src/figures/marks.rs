//! The marks of jobs in the scatter plot: by state, and for jobs that are done by the value of a parameter.

use super::svg::{At, Drawing, Ink, SERIES};

/// Most values of the parameter that have their own mark.
pub(super) const GROUPS_MAX: usize = 14;

/// How a job is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Done, with the n-th value.
    Group(usize),
    /// Done, with another value.
    OtherGroup,
    /// Trains or waits.
    Open,
    /// Ended by early stopping.
    Stopped,
    Diverged,
    Failed,
    Cancelled,
}

impl Mark {
    /// The state that a mark stands for, where it is not `done`.
    pub(super) fn state(self) -> Option<&'static str> {
        match self {
            Self::Group(_) | Self::OtherGroup => None,
            Self::Open => Some("running"),
            Self::Stopped => Some("stopped"),
            Self::Diverged => Some("diverged"),
            Self::Failed => Some("failed"),
            Self::Cancelled => Some("cancelled"),
        }
    }

    /// The mark of a state other than `done`.
    pub(super) fn of_state(state: &str) -> Option<Self> {
        match state {
            "diverged" => Some(Self::Diverged),
            "failed" => Some(Self::Failed),
            "cancelled" => Some(Self::Cancelled),
            "stopped" => Some(Self::Stopped),
            "running" | "paused" | "pending" => Some(Self::Open),
            _ => None,
        }
    }

    /// Groups differ in colour and, beyond the number of colours, in shape; what is not done is an outline.
    pub(super) fn draw(self, drawing: &mut Drawing, at: At) {
        let (x, y) = at;
        let square = |reach: f64| {
            [(x - reach, y - reach), (x + reach, y - reach), (x + reach, y + reach), (x - reach, y + reach)]
        };
        let diamond = |reach: f64| [(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)];
        match self {
            Self::Group(group) => {
                let ink = Ink::Series(group);
                match (group + group / SERIES) % 3 {
                    0 => drawing.circle(at, 5.0, ink),
                    1 => {
                        let corners = [(x, y - 6.5), (x + 6.0, y + 4.5), (x - 6.0, y + 4.5)];
                        drawing.polygon(&corners, ink, true);
                    }
                    _ => drawing.polygon(&square(4.5), ink, true),
                }
            }
            Self::OtherGroup => drawing.circle(at, 4.0, Ink::Soft),
            Self::Open => drawing.polygon(&square(4.5), Ink::Soft, false),
            Self::Stopped => {
                let corners = [(x, y + 6.5), (x + 6.0, y - 4.5), (x - 6.0, y - 4.5)];
                drawing.polygon(&corners, Ink::Soft, false);
            }
            Self::Cancelled => drawing.polygon(&diamond(6.0), Ink::Soft, false),
            Self::Diverged => {
                drawing.line((x - 5.0, y - 5.0), (x + 5.0, y + 5.0), Ink::Text, 2.0);
                drawing.line((x - 5.0, y + 5.0), (x + 5.0, y - 5.0), Ink::Text, 2.0);
            }
            Self::Failed => {
                drawing.line((x - 6.0, y), (x + 6.0, y), Ink::Text, 2.0);
                drawing.line((x, y - 6.0), (x, y + 6.0), Ink::Text, 2.0);
            }
        }
    }
}
