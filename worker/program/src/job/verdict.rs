//! What the end of a program means for its job: an outcome, a reason, and whether another attempt may succeed.

use std::{path::Path, process::ExitStatus};

use terms::{Again, EPOCHS_MAX, EndDetails};
use trainer_protocol::TrainerOutcome;

use super::{Run, Why};
use crate::ending::describe;

/// How a job ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) outcome: TrainerOutcome,
    pub(crate) reason: String,
    pub(crate) details: EndDetails,
}

/// From this exit status on, a shell says that its command was killed by a signal.
const SIGNALS: i32 = 128;

/// Said of a program that went on from a checkpoint that is ahead of the records.
const AHEAD: &str = "the checkpoint is ahead of the reported epochs; the job goes on from an earlier one, so that no epoch is missing";

/// Said of a program that reported nothing, with what its sweep file expects.
fn no_metrics(pattern: Option<&str>, table: Option<&str>) -> String {
    let why = match (pattern, table) {
        (None, None) => {
            "have it call sweep.report(epoch, loss=…), or name metrics.pattern or metrics.csv in the sweep file"
                .to_owned()
        }
        (Some(_), None) => "no line that it printed matches metrics.pattern".to_owned(),
        (None, Some(table)) => format!("it wrote no row of metrics to {table} (metrics.csv)"),
        (Some(_), Some(table)) => {
            format!("no line that it printed matches metrics.pattern, and it wrote no row to {table} (metrics.csv)")
        }
    };
    format!("the program ended well, but reported no metrics; {why}")
}

impl End {
    pub(crate) fn new(outcome: TrainerOutcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), details: EndDetails::default() }
    }

    /// A failure, with whether another attempt may succeed.
    fn failed(reason: impl Into<String>, again: Again) -> Self {
        let details = EndDetails { again, ..EndDetails::default() };
        Self { details, ..Self::new(TrainerOutcome::Failed, reason) }
    }
}

impl<W> Run<'_, W> {
    pub(super) fn judge(&self, status: Option<ExitStatus>) -> End {
        let has_ended_well = status.is_some_and(|status| status.success());
        match &self.state.why {
            Some(Why::Diverged(reason)) => return End::new(TrainerOutcome::Diverged, reason.clone()),
            Some(Why::Beyond) => return self.judge_full(),
            Some(Why::Ahead) => return End::new(TrainerOutcome::Unavailable, AHEAD),
            Some(Why::Asked { .. }) if !(has_ended_well && self.tally.is_full()) => {
                return End::new(TrainerOutcome::Stopped, "");
            }
            Some(Why::Paused) if !(has_ended_well && self.tally.is_full()) => {
                return End::new(TrainerOutcome::Paused, "");
            }
            Some(Why::Asked { .. } | Why::Paused) | None => {}
        }
        if !has_ended_well {
            return self.judge_failure(status);
        }
        if self.tally.epochs() == 0 {
            let table = self.plan.csv.as_ref().map(|path| path.display().to_string());
            let reason = no_metrics(self.plan.pattern.as_deref(), table.as_deref());
            return End::failed(reason, Again::UnlessRepeated);
        }
        if !self.tally.has_objective() {
            let names = self.tally.names().collect::<Vec<_>>().join(", ");
            let wanted = self.tally.objective();
            let reason = format!(
                "the program ended well, but never reported the sweep's metric, {wanted}; it reported {names}"
            );
            return End::failed(reason, Again::UnlessRepeated);
        }
        self.done()
    }

    fn done(&self) -> End {
        let details = EndDetails { parameters: self.state.parameters.clone(), ..EndDetails::default() };
        End { details, ..End::new(TrainerOutcome::Done, "") }
    }

    /// The end of a program that did not end well. What killed it may have been the machine; what ended by itself ends in
    /// the same way again, unless chance has a part in it.
    fn judge_failure(&self, status: Option<ExitStatus>) -> End {
        let how = status.map_or_else(|| "the program's end could not be observed".to_owned(), describe);
        let last_words = self.log.last_words(
            &own_folders(&[self.folder, self.scratch.path()]),
            &own_folders(&[&self.scratch.helper()]),
        );
        let separator = if last_words.is_empty() { "" } else { ": " };
        let reason = format!("{how}{separator}{last_words}");
        let (groups, before) = &self.memory;
        // Its own end, or that of something that it had started.
        if groups.oom_kills().are_more_than(before) {
            let reason = format!("out of memory: the kernel has ended the program{separator}{last_words}");
            return End::new(TrainerOutcome::OutOfMemory, reason);
        }
        match status.and_then(|status| status.code()) {
            Some(code) if code < SIGNALS => End::failed(reason, Again::UnlessRepeated),
            Some(_) | None => End::failed(reason, Again::Yes),
        }
    }

    /// The end of a program that went on after as many epochs as it may have.
    fn judge_full(&self) -> End {
        if self.tally.has_budget() {
            return self.done();
        }
        let reason = format!("the program reported more than {EPOCHS_MAX} epochs; have it report less often");
        End::failed(reason, Again::UnlessRepeated)
    }
}

/// How paths within folders of an attempt begin, also where links lead there. The longer ones come first, as one may be within
/// another.
fn own_folders(folders: &[&Path]) -> Vec<String> {
    let both = folders.iter().flat_map(|folder| [Some((*folder).to_owned()), folder.canonicalize().ok()]);
    let mut own: Vec<String> = both.flatten().map(|folder| format!("{}/", folder.display())).collect();
    own.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
    own
}
