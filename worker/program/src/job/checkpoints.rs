//! What is kept of a job so that another attempt can go on from it: each checkpoint that its program commits, what came after it,
//! and in the end its folder.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use trainer_protocol::TrainerOutcome;

use super::{End, Gone, Run, WAIT_INTERVAL, Why};
use crate::checkpoint::{
    archive::Facts,
    keeper::{Keeper, Snapshot},
    shelf::Tail,
};

/// Longest wait for checkpoints at a job's end.
const KEEPING_MAX: Duration = Duration::from_secs(600);

/// Folders of checkpoints that stay in `SWEEP_CHECKPOINT_DIR`.
const FOLDERS_KEPT: usize = 2;

impl<W: Write> Run<'_, W> {
    /// Has kept what came after the last checkpoint, where that is not known yet.
    pub(super) fn settle_checkpoint(&mut self, tail: Tail) {
        if std::mem::replace(&mut self.state.awaits_tail, false)
            && let Some(keeper) = &self.keeper
        {
            keeper.follow(tail);
        }
    }

    pub(super) fn commit(&mut self, name: String) {
        if self.state.why == Some(Why::Ahead) {
            return;
        }
        if !self.scratch.checkpoints().join(&name).is_dir() {
            terminal::say!(
                "the checkpoint {name:?} is not kept: there is no such folder in SWEEP_CHECKPOINT_DIR"
            );
            return;
        }
        self.state.committed.retain(|one| *one != name);
        self.state.committed.push(name.clone());
        let outdated = self.state.committed.len().saturating_sub(FOLDERS_KEPT);
        let outdated: Vec<String> = self.state.committed.drain(..outdated).collect();
        self.state.unreported = self.state.unreported.saturating_add(1);
        if let (Some(keeper), Some(facts)) = (&self.keeper, self.facts()) {
            self.state.awaits_tail = true;
            keeper.keep(Snapshot { part: Some(name), facts, outdated });
        } else {
            if let Some(why) = self.tally.why_not() {
                terminal::say!("checkpoints of this job are no longer kept: {why}");
            }
            for folder in outdated {
                // It may be gone already.
                let _ = fs::remove_dir_all(self.scratch.checkpoints().join(folder));
            }
        }
    }

    /// Says that the last checkpoint that the program has committed is written, where the agent asked for it.
    pub(super) fn say_if_kept(&mut self) -> Result<(), Gone> {
        let is_written = || self.keeper.as_ref().is_some_and(Keeper::has_written);
        if self.state.is_asked_to_keep && !self.state.committed.is_empty() && is_written() {
            self.state.is_asked_to_keep = false;
            self.output.kept(self.id)?;
        }
        Ok(())
    }

    /// Nothing where there are too many records to be kept.
    fn facts(&self) -> Option<Facts> {
        let (records, reserve) = self.tally.kept()?;
        Some(Facts {
            identity: self.identity.clone(),
            records: records.to_vec(),
            reserve: reserve.to_vec(),
            unreported: self.state.unreported,
        })
    }

    /// Keeps what another attempt is to have, and waits until it is written.
    pub(super) fn keep_for_another(&mut self, end: &End, has_ended_well: bool) -> Result<(), Gone> {
        if self.keeper.is_none() {
            return Ok(());
        }
        let is_given_up = self.state.why == Some(Why::Asked { goes_on: false });
        let may_go_on =
            matches!(end.outcome, TrainerOutcome::Stopped | TrainerOutcome::Paused | TrainerOutcome::Failed);
        if may_go_on && !is_given_up {
            self.keep_folder();
            // It has said all that it had to say.
            if has_ended_well && !self.tally.is_untested() {
                self.settle_checkpoint(None);
            }
            let until = Instant::now() + KEEPING_MAX;
            while self.keeper.as_ref().is_some_and(|keeper| !keeper.wait(WAIT_INTERVAL)) {
                if Instant::now() >= until {
                    terminal::say!("the last checkpoint could not be kept in {} s", KEEPING_MAX.as_secs());
                    break;
                }
                self.say_alive()?;
            }
        }
        Ok(())
    }

    /// The end of an attempt, which of one that paused says whether its program has left something to go on from. What it has left and
    /// could not be kept says nothing of the program.
    pub(super) fn with_what_is_kept(&self, mut end: End) -> End {
        end.details.without_checkpoint = end.outcome == TrainerOutcome::Paused && !self.has_any();
        end
    }

    /// Whether the folder for checkpoints holds anything, of an earlier attempt or this one.
    fn has_any(&self) -> bool {
        !self.state.committed.is_empty()
            || fs::read_dir(self.scratch.checkpoints()).is_ok_and(|mut found| found.next().is_some())
    }

    /// Keeps the folder for checkpoints as it is, of a program that uses no channel.
    fn keep_folder(&mut self) {
        if !self.state.committed.is_empty() || !self.has_any() {
            return;
        }
        if let (Some(keeper), Some(facts)) = (&self.keeper, self.facts()) {
            self.state.awaits_tail = true;
            keeper.keep(Snapshot { part: None, facts, outdated: Vec::new() });
        } else if let Some(why) = self.tally.why_not() {
            terminal::say!("the folder for checkpoints is not kept: {why}");
        }
    }
}
