//! What is logged about attempts: each data set once, and a reason that many attempts end for once.

use terms::Outcome;
use trainer_protocol::DatasetSummary;

use super::super::session::types::{End, Event, EventKind, Start};

/// What was logged already, so that it is logged once and not for each job.
#[derive(Debug, Default)]
pub(super) struct Told {
    dataset: Option<DatasetSummary>,
    /// The end that was logged last, and how many attempts ended alike since.
    end: Option<(End, u64)>,
}

/// How much of an end is logged.
#[derive(Debug, PartialEq, Eq)]
enum Telling {
    /// Everything: it is new.
    Whole,
    /// That this many more attempts ended alike.
    Count(u64),
    Nothing,
}

impl Told {
    fn dataset(&mut self, dataset: &DatasetSummary) {
        if self.dataset.as_ref() != Some(dataset) {
            dataset.lines().iter().for_each(|line| tracing::info!("{line}"));
            self.dataset = Some(dataset.clone());
        }
    }

    /// One fault of a data set or a GPU ends every job of a sweep, within a second: then only the count is logged, at
    /// each power of ten.
    fn end(&mut self, end: &End) -> Telling {
        match &mut self.end {
            Some((told, more)) if told == end => {
                *more += 1;
                let is_power = 10_u64.checked_pow(more.ilog10()) == Some(*more);
                if is_power && *more > 1 { Telling::Count(*more) } else { Telling::Nothing }
            }
            _ => {
                self.end = Some((end.clone(), 0));
                Telling::Whole
            }
        }
    }
}

/// Logs what happened to an attempt.
pub(super) fn log_event(event: &Event, told: &mut Told) {
    let attempt = event.attempt;
    match &event.kind {
        EventKind::Started(Start { dataset, resumed_epochs }) => {
            tracing::debug!(%attempt, train_images = dataset.train_images, resumed_epochs, "started");
            told.dataset(dataset);
        }
        EventKind::Epoch(report) => {
            tracing::debug!(%attempt, epoch = report.number, metrics = ?report.metrics, "epoch");
        }
        EventKind::Ended(end) if end.outcome == Outcome::Done => tracing::info!(%attempt, "done"),
        EventKind::Ended(end) if end.outcome == Outcome::Paused => tracing::info!(%attempt, "paused"),
        EventKind::Ended(end) => {
            let outcome = end.outcome.as_str();
            match told.end(end) {
                Telling::Whole => {
                    tracing::warn!(%attempt, outcome, "ended: {}", end.reason);
                    // The log of an attempt without a fault is kept, but not interesting here.
                    if !matches!(end.outcome, Outcome::HandedBack | Outcome::Revoked | Outcome::Diverged) {
                        end.log_tail.iter().for_each(|line| tracing::warn!(%attempt, "trainer: {line}"));
                    }
                }
                Telling::Count(more) => {
                    tracing::warn!(%attempt, outcome, "{more} more attempts ended for this reason: {}", end.reason);
                }
                Telling::Nothing => tracing::debug!(%attempt, outcome, "ended: {}", end.reason),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_that_ends_many_attempts_is_logged_once_and_then_by_its_count() {
        let end = |reason: &str| End {
            outcome: Outcome::Unavailable,
            reason: reason.to_owned(),
            log_tail: Vec::new(),
            weights: None,
            details: terms::EndDetails::default(),
        };
        let mut told = Told::default();
        assert_eq!(told.end(&end("the disk is away")), Telling::Whole);
        let counts: Vec<Telling> = (1..=1_000)
            .map(|_| told.end(&end("the disk is away")))
            .filter(|telling| *telling != Telling::Nothing)
            .collect();
        assert_eq!(counts, [Telling::Count(10), Telling::Count(100), Telling::Count(1_000)]);
        assert_eq!(told.end(&end("another disk is away")), Telling::Whole);
        assert_eq!(told.end(&end("the disk is away")), Telling::Whole);
    }
}
