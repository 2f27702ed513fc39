//! What goes out: JSON, and errors as JSON with the status of their kind.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::text::shortened;
use serde::Serialize;

use crate::api::ApiError;

/// Longest message of an error, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// An error as it goes out: `{"error": {"code": …, "message": …}}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// For programs; a word of its kind.
    code: &'static str,
    /// For people: where the fault is and what to do.
    message: String,
    /// When it is worth asking again, in seconds.
    retry_after: Option<u64>,
}

/// What a route answers with.
pub(super) type Answered<T> = Result<T, Refusal>;

impl Refusal {
    /// The request itself is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// With this status, code and message.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        let (status, code) = match &error {
            ApiError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            ApiError::OutOfRange(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "out_of_range"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::Refused(_) => (StatusCode::CONFLICT, "refused"),
            ApiError::Aborted(_) => (StatusCode::CONFLICT, "aborted"),
            ApiError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "full"),
            ApiError::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            ApiError::NotLeading { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_leading"),
            ApiError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ApiError::Corrupt(_) => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
            ApiError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let retry_after = match error {
            ApiError::Busy { retry_after, .. } => Some(retry_after.as_secs().max(1)),
            _ => None,
        };
        Self { status, code, message, retry_after }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: Error,
        }
        #[derive(Serialize)]
        struct Error {
            code: &'static str,
            message: String,
        }
        let message = shortened(&self.message, MESSAGE_BYTES_MAX);
        let body = Body { error: Error { code: self.code, message } };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer where no route is.
pub(super) async fn no_such_place() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address; / has the sweeps, /api/v1/sweeps as JSON",
    )
}

/// The answer where a page cannot be made.
pub(super) fn no_page() -> Response {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the page cannot be made; see the coordinator's log",
    )
    .into_response()
}
