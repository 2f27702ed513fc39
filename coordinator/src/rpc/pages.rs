//! How much of a list one message holds: far less than gRPC's clients take.

use proto::{Message, v1};
use store::AttemptRow;

/// Bytes of a page of jobs; the last job may go beyond it. Far below the 4 MiB that gRPC's clients take.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Most log lines of one job that are sent, in bytes: those of its latest attempts.
const LOGS_BYTES_MAX: usize = 4 << 20;

/// Cuts a page of jobs, after which `next` comes, to its size; what comes next then.
pub(crate) fn cut_page(mut jobs: Vec<v1::Job>, next: Option<u64>) -> (Vec<v1::Job>, Option<u64>) {
    let mut bytes = 0;
    let fit = jobs.iter().take_while(|job| {
        let fits = bytes < PAGE_BYTES_MAX;
        bytes += job.encoded_len();
        fits
    });
    let count = fit.count();
    match jobs.get(count).and_then(|job| job.point.as_ref()).map(|point| point.job) {
        Some(first_left_out) => {
            jobs.truncate(count);
            (jobs, Some(first_left_out))
        }
        None => (jobs, next),
    }
}

/// Leaves out the logs of all but the latest attempts where together they are too long to be sent.
pub(super) fn bound_logs(attempts: &mut [AttemptRow]) {
    let mut left = LOGS_BYTES_MAX;
    for attempt in attempts.iter_mut().rev() {
        let bytes: usize = attempt.log_tail.iter().map(String::len).sum();
        left = left.saturating_sub(bytes);
        if left == 0 && bytes > 0 {
            attempt.log_tail =
                vec!["(left out: the logs of later attempts fill what is sent of a job)".to_owned()];
        }
    }
}
