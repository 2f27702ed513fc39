//! What becomes of a job whose program has ended: its outcome, and the reason for people.

use std::process::ExitStatus;

use terms::EPOCHS_MAX;
use trainer_protocol::TrainerOutcome;

use super::{Run, Why};
use crate::ending::describe;

/// Said of a program that went on from a checkpoint that is ahead of the records.
const AHEAD: &str = "the checkpoint is ahead of the reported epochs; the job goes on from an earlier one, so that no epoch is missing";

/// Said of a program that reported nothing.
const NO_METRICS: &str = "the program ended well, but reported no metrics; have it call sweep.report(epoch, loss=…), or name metrics.pattern or metrics.csv in the sweep file";

/// How a job ended, and whether another attempt may go on from its checkpoints.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) outcome: TrainerOutcome,
    pub(crate) reason: String,
}

impl<W> Run<'_, W> {
    pub(super) fn judge(&self, status: Option<ExitStatus>) -> End {
        let end = |outcome, reason: String| End { outcome, reason };
        let has_ended_well = status.is_some_and(|status| status.success());
        match &self.state.why {
            Some(Why::Diverged(reason)) => return end(TrainerOutcome::Diverged, reason.clone()),
            Some(Why::Beyond) => return self.judge_full(),
            Some(Why::Ahead) => return end(TrainerOutcome::Unavailable, AHEAD.to_owned()),
            Some(Why::Asked { .. }) if !(has_ended_well && self.tally.is_full()) => {
                return end(TrainerOutcome::Stopped, String::new());
            }
            Some(Why::Asked { .. }) | None => {}
        }
        if !has_ended_well {
            let how = status.map_or_else(|| "the program's end could not be observed".to_owned(), describe);
            let last_words = self.log.last_words();
            let separator = if last_words.is_empty() { "" } else { ": " };
            return end(TrainerOutcome::Failed, format!("{how}{separator}{last_words}"));
        }
        if self.tally.epochs() == 0 {
            return end(TrainerOutcome::Failed, NO_METRICS.to_owned());
        }
        if !self.tally.has_objective() {
            let names = self.tally.names().collect::<Vec<_>>().join(", ");
            let wanted = self.tally.objective();
            let reason = format!(
                "the program ended well, but never reported the sweep's metric, {wanted}; it reported {names}"
            );
            return end(TrainerOutcome::Failed, reason);
        }
        end(TrainerOutcome::Done, String::new())
    }

    /// The end of a program that went on after as many epochs as it may have.
    fn judge_full(&self) -> End {
        if self.tally.has_budget() {
            return End { outcome: TrainerOutcome::Done, reason: String::new() };
        }
        let reason = format!("the program reported more than {EPOCHS_MAX} epochs; have it report less often");
        End { outcome: TrainerOutcome::Failed, reason }
    }
}
