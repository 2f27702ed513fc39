//! What JSON looks like: one shape of each thing, for every command and file that prints one. An absent value is null. A time
//! is a text of RFC 3339 with milliseconds, in UTC.
//!
//! The shapes live in this crate because it knows neither a wire format nor the domain, and because its columns name a job's keys.

mod analysis;
mod job;
mod own;
mod plain;
pub(crate) mod schema;
mod sweep;
mod worker;

pub use self::analysis::Analysis;
pub use self::job::{Attempt, Attempts, Epoch, Job, JobTimes};
pub use self::plain::{Number, Parameters, number, time, time_for_people};
pub use self::schema::{ExportedJob, ShownJob, ShownSweep};
pub(crate) use self::sweep::shown_of;
pub use self::sweep::{Dataset, Keys, Metric, Sweep, SweepDetails};
pub use self::worker::{Gpu, Worker};

#[cfg(test)]
mod tests;
