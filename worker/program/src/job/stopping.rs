//! How a program is asked to end, and killed where it does not: SIGTERM, after a while SIGKILL, and with it all that it started.

use std::time::Instant;

use rustix::process::{Signal, kill_process_group};

use super::{Run, Why};
use crate::processes::{has_descendants, kill_descendants};

impl<W> Run<'_, W> {
    /// Whether the program has ended and nothing is waited for. A program that was asked to end may have been started by another
    /// one, such as a shell, which ends at once: it has its time all the same.
    pub(super) fn has_ended(&self) -> bool {
        let may_have_left_some = self.state.why.is_some() && self.state.kill_at.is_some();
        self.state.has_exited && !(may_have_left_some && has_descendants(rustix::process::getpid()))
    }

    /// SIGTERM, and after a while SIGKILL. The first reason counts.
    pub(super) fn ask_to_end(&mut self, why: Why) {
        if self.state.why.is_none() {
            self.state.why = Some(why);
            self.state.kill_at = Some(Instant::now() + self.grace);
            // It may be gone already, which is what is wanted.
            let _ = kill_process_group(self.pid, Signal::TERM);
        }
    }

    pub(super) fn kill(&mut self) {
        self.state.kill_at = None;
        // It may be gone already, which is what is wanted.
        let _ = kill_process_group(self.pid, Signal::KILL);
        kill_descendants(rustix::process::getpid());
    }
}
