//! What the session decides is done here: events are kept and sent, trainers get their jobs, and what jobs leave behind is removed.

use terms::AttemptKey;

use super::{Shell, log::log_event};
use crate::agent::{
    session::types::{Departure, End, EventKind, Output, ToCoordinator},
    wire,
};

impl Shell {
    /// Does what the session decided. Returns how the worker leaves, once that was its decision.
    pub(super) fn perform(&mut self, output: Output) -> Option<Departure> {
        match output {
            Output::Append(event) => {
                log_event(&event, &mut self.told);
                self.metrics.happened(&event);
                self.traced.happened(&event);
                if let EventKind::Ended(End { weights: Some(weights), .. }) = &event.kind {
                    self.weights.count(event.attempt, weights);
                }
                if matches!(event.kind, EventKind::Ended(_)) {
                    self.tidy_after(event.attempt);
                }
                self.spool.append(&wire::encode_event(event));
            }
            Output::Send(message) => self.send(message),
            Output::Forget { through } => {
                self.spool.forget(through);
                // The coordinator knows more ends now, and so which weights it wants.
                self.uploads.wake();
            }
            Output::StartJobs { slot, mut jobs, fresh } => {
                let pack_size = jobs.len();
                self.metrics.jobs_started(pack_size);
                for (attempt, work) in &mut jobs {
                    tracing::info!(slot, %attempt, pack_size, "training");
                    self.traced.started(*attempt);
                    if let Some(dataset) = &mut work.dataset {
                        dataset.path = self.data_root.join(&dataset.path);
                        dataset.val_path = dataset.val_path.take().map(|path| self.data_root.join(path));
                    }
                }
                self.slots.start_jobs(slot, jobs, fresh);
            }
            Output::StopJob { slot, attempt, checkpoint } => {
                tracing::info!(slot, %attempt, "stopping");
                self.slots.stop_job(slot, attempt, checkpoint);
            }
            Output::KeepJob { slot, attempt } => {
                tracing::info!(slot, %attempt, "keeping a checkpoint");
                self.slots.keep_job(slot, attempt);
            }
            Output::HandOver { attempt, key } => {
                self.traced.hands_over(attempt);
                self.handovers.begin(attempt, &key);
            }
            Output::KillTrainer { slot } => {
                tracing::warn!(slot, "killing the trainer");
                self.slots.kill_trainer(slot);
            }
            Output::Dropped(attempt) => {
                self.metrics.dropped(attempt);
                self.traced.dropped(attempt);
                self.tidy_after(attempt);
            }
            Output::CloseSession => self.close(),
            Output::Exit(departure) => return Some(departure),
        }
        None
    }

    /// Removes the folder with the files of an attempt that has ended.
    fn tidy_after(&self, attempt: AttemptKey) {
        if let Some(snapshots) = self.snapshots.clone() {
            self.tidying.spawn(async move { snapshots.remove(attempt).await });
        }
    }

    fn send(&mut self, message: ToCoordinator) {
        let Some(stream) = &self.stream else { return };
        let message = wire::with_gpus(wire::encode(message, &self.identity), || self.gpus.seen());
        if stream.outgoing.try_send(message).is_err() {
            // Either the stream has ended, or the coordinator does not read: both need a new stream.
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.close.cancel();
        }
    }
}
