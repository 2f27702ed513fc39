//! Why a use case came to nothing. An interface turns each kind into its own code, in one place.

use std::time::Duration;

use engine::ControlError;
use store::StoreError;
use terms::SweepId;

use crate::driver::CallError;

/// Why a use case came to nothing. The message is for people: it says where the fault is and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// What was asked cannot be, whatever the state is. The message names the place: a field, or file, line and key.
    #[error("{0}")]
    Invalid(String),
    /// A place in a file is beyond its end.
    #[error("{0}")]
    OutOfRange(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The state does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The sweep has ended before its jobs had, and they are tried again together, the cancelled ones too.
    #[error("{message}; `sweep retry {sweep}` continues all of its jobs")]
    OnlyAsAWhole {
        /// Why, without what to do, which each interface says in its words.
        message: String,
        sweep: SweepId,
    },
    /// It is someone else's.
    #[error("{0}")]
    Forbidden(String),
    /// Another change was faster, or no one knows what became of it: whoever asked must look at what is true by now before asking again.
    #[error("{0}")]
    Aborted(String),
    /// There is no room for it now, on a disk or in memory.
    #[error("{0}")]
    Full(String),
    /// Too much of the kind is being done; it is worth asking again after a while.
    #[error("{message}")]
    Busy {
        /// What there is too much of, for people.
        message: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// Another coordinator has the store.
    #[error("{message}")]
    NotLeading {
        /// The same for people.
        message: String,
        /// Where the one that leads is reached, where that is known.
        leader: Option<String>,
    },
    /// Something that it takes is away at the moment.
    #[error("{0}")]
    Unavailable(String),
    /// What came in or what is kept is not what its hash says.
    #[error("{0}")]
    Corrupt(String),
    /// The coordinator or its store failed.
    #[error("{0}")]
    Internal(String),
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Refused(error) => Self::from(error),
            CallError::Unfit(_) => Self::Invalid(message),
            CallError::Stopped => Self::Unavailable(message),
            CallError::Full => Self::Full(message),
            CallError::NotLeading(leader) => Self::NotLeading { message, leader },
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let message = error.to_string();
        match error {
            ControlError::NoSuchSweep(_) | ControlError::NoSuchJob { .. } | ControlError::NoSuchWorker(_) => {
                Self::NotFound(message)
            }
            ControlError::OnlyAsAWhole { sweep, .. } => Self::OnlyAsAWhole { message, sweep },
            ControlError::AlreadyFinal { .. }
            | ControlError::EndedEarly { .. }
            | ControlError::JobHasEnded(_)
            | ControlError::WeightsChosen { .. }
            | ControlError::NobodyLooks { .. }
            | ControlError::NotFromOutside(_)
            | ControlError::TargetReached { .. }
            | ControlError::TargetOfFileReached { .. }
            | ControlError::NoPointYet(_) => Self::Refused(message),
            ControlError::PointsMissing { .. }
            | ControlError::TooManyPoints { .. }
            | ControlError::NoSuchResult { .. } => Self::OutOfRange(message),
            ControlError::NotYours { .. } => Self::Forbidden(message),
            ControlError::TooManySpecifications { .. }
            | ControlError::TooManySpecificationsOfOwner { .. }
            | ControlError::TooManyQuotas => Self::Full(message),
            ControlError::Overtaken | ControlError::PointIsOther { .. } => Self::Aborted(message),
        }
    }
}

/// The store did not give what it was asked for.
// Handed to `map_err`, which gives its argument away.
#[allow(clippy::needless_pass_by_value)]
pub(super) fn unreadable(error: StoreError) -> ApiError {
    if let StoreError::Unfit(_) = error {
        return ApiError::Invalid(error.to_string());
    }
    tracing::error!(%error, "the store could not be read");
    ApiError::Internal(format!("the store could not be read: {error}"))
}

/// A task that ended before its work was done: it panicked, which is a bug, or the coordinator shuts down.
pub(crate) fn task_ended() -> ApiError {
    ApiError::Internal(
        "what the coordinator did for this call ended before its time; ask again, and report it if it comes back"
            .to_owned(),
    )
}
