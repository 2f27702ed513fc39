//! When epochs ended. No clock time is kept of them, so it is that of the job's beginning and of the training since: later by whatever
//! else took time, and never after the job's end.

use report::{Epoch, Job, Sweep};

/// When a job began and when each of its epochs ended, in milliseconds since 1970.
pub(crate) fn of_epochs<'e>(
    sweep: &Sweep,
    job: &Job,
    epochs: &'e [Epoch],
) -> impl Iterator<Item = u64> + use<'e> {
    let (began, ended) = (began(sweep, job), job.ended_unix_ms);
    let last = if ended == 0 { u64::MAX } else { ended };
    let mut trained = 0.0;
    epochs.iter().map(move |epoch| {
        trained += epoch.seconds;
        // A conversion of what is too large, or no number, saturates.
        began.saturating_add((trained * 1_000.0).round() as u64).min(last)
    })
}

/// When a job began; of one of which that is not known, when its sweep did.
pub(crate) fn began(sweep: &Sweep, job: &Job) -> u64 {
    if job.started_unix_ms == 0 { sweep.created_unix_ms } else { job.started_unix_ms }
}
