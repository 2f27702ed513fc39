//! What the outside says, brought to the driver: the gRPC services, the bearer token, and the conversions between
//! the wire and the engine.

mod artifacts;
mod auth;
mod bodies;
mod connections;
pub mod convert;
mod drain;
mod edge;
mod errors;
mod patience;
mod readers;
mod reading;
mod snapshots;
mod sweeps;
mod watch;
mod workers;

use store::StoreError;
use tonic::Status;

pub use self::{
    auth::BearerToken,
    bodies::{Bounded, Bounds},
    connections::{DESCRIPTORS_MIN, FIRST_WORDS_WITHIN, accept},
    errors::{ErrorsLayer, bounded_errors},
    sweeps::SweepServer,
    workers::WorkerServer,
};
use crate::driver::CallError;

/// Largest message of a user, in bytes: a sweep file of 1 MiB and what goes with it.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Where a coordinator that does not lead says who does.
const LEADER_METADATA: &str = "sweep-leader";

fn refused(error: CallError) -> Status {
    use engine::ControlError;
    match error {
        CallError::Refused(
            error @ (ControlError::NoSuchSweep(_)
            | ControlError::NoSuchJob { .. }
            | ControlError::NoSuchWorker(_)),
        ) => Status::not_found(error.to_string()),
        CallError::Refused(
            error @ (ControlError::AlreadyFinal { .. }
            | ControlError::JobHasEnded(_)
            | ControlError::OnlyAsAWhole { .. }
            | ControlError::WeightsChosen { .. }
            | ControlError::NobodyLooks { .. }),
        ) => Status::failed_precondition(error.to_string()),
        CallError::Refused(error @ ControlError::TooManySpecifications { .. }) => {
            Status::resource_exhausted(error.to_string())
        }
        CallError::Refused(error @ ControlError::Overtaken) => Status::aborted(error.to_string()),
        CallError::Unfit(_) => Status::invalid_argument(error.to_string()),
        CallError::Stopped => Status::unavailable(error.to_string()),
        CallError::Full => Status::resource_exhausted(error.to_string()),
        CallError::NotLeading(ref leader) => {
            let mut status = Status::unavailable(error.to_string());
            if let Some(leader) = leader.as_ref().and_then(|leader| leader.parse().ok()) {
                status.metadata_mut().insert(LEADER_METADATA, leader);
            }
            status
        }
    }
}

// Handed to `map_err`, which gives its argument away.
#[allow(clippy::needless_pass_by_value)]
fn unreadable(error: StoreError) -> Status {
    if let StoreError::Unfit(_) = error {
        return Status::invalid_argument(error.to_string());
    }
    tracing::error!(%error, "the store could not be read");
    Status::internal(format!("the store could not be read: {error}"))
}

/// A task that ended before its work was done: it panicked, which is a bug, or the coordinator shuts down.
fn task_ended() -> Status {
    Status::internal(
        "what the coordinator did for this call ended before its time; ask again, and report it if it comes back",
    )
}

#[cfg(test)]
mod fields;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod test_leadership;
