//! How far an attempt is.

/// How far an attempt is, as its trainer says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// Its data set is prepared.
    Preparing {
        /// The share that is done, in [0, 1].
        fraction: f64,
    },
    /// It trains.
    Training {
        /// The epoch that is in training, from 1.
        epoch: u32,
        /// The share of it that is done, in [0, 1].
        fraction: f64,
    },
}

impl Progress {
    /// Nothing has begun.
    pub const NONE: Self = Self::Preparing { fraction: 0.0 };

    /// An epoch, from 1, begins.
    pub const fn begins(epoch: u32) -> Self {
        Self::Training { epoch, fraction: 0.0 }
    }

    /// Progress as it is sent, where epoch 0 stands for the preparation. Shares outside of [0, 1] are brought into it; one
    /// that is no number counts as nothing.
    pub fn reported(epoch: u32, fraction: f64) -> Self {
        let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        match epoch {
            0 => Self::Preparing { fraction },
            epoch => Self::Training { epoch, fraction },
        }
    }

    /// The epoch in training, from 1; 0 while the data set is prepared.
    pub fn epoch(self) -> u32 {
        match self {
            Self::Preparing { .. } => 0,
            Self::Training { epoch, .. } => epoch,
        }
    }

    /// The share of what is under way that is done, in [0, 1].
    pub fn fraction(self) -> f64 {
        match self {
            Self::Preparing { fraction } | Self::Training { fraction, .. } => fraction,
        }
    }

    /// The same when `epochs_done` are recorded: a report on one of those came late.
    pub fn fraction_after(self, epochs_done: u32) -> f64 {
        match self {
            Self::Training { epoch, .. } if epoch <= epochs_done => 0.0,
            _ => self.fraction(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_leads_back_to_the_same_progress_and_a_share_that_is_none_is_brought_into_bounds() {
        for progress in
            [Progress::NONE, Progress::begins(3), Progress::reported(2, 0.25), Progress::reported(0, 1.0)]
        {
            assert_eq!(Progress::reported(progress.epoch(), progress.fraction()), progress);
        }
        let shares = [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (-1.0, 0.0), (7.0, 1.0)];
        for (sent, kept) in shares {
            assert_eq!(Progress::reported(0, sent), Progress::Preparing { fraction: kept });
            assert_eq!(Progress::reported(4, sent), Progress::Training { epoch: 4, fraction: kept });
        }
    }

    #[test]
    fn a_report_on_an_epoch_that_is_recorded_says_nothing_of_the_next_one() {
        let progress = Progress::reported(2, 0.5);
        assert_eq!((progress.fraction_after(1), progress.fraction_after(2)), (0.5, 0.0));
    }
}
