//! Errors as they travel: the code of each kind, and how long their messages may be. A message travels as a header, and one that is longer
//! than the other side takes reaches the user as RESOURCE_EXHAUSTED, without a word of what was wrong.

use domain::text::shortened;
use proto::leader::stands_by;
use tonic::{
    Status,
    body::Body,
    codegen::http::{HeaderValue, Response},
};
use tower::util::MapResponseLayer;

use crate::{api::ApiError, driver::CallError};

/// How gRPC says when to try again, in milliseconds (gRFC A6).
const RETRY_METADATA: &str = "grpc-retry-pushback-ms";

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::Invalid(_) => Self::invalid_argument(message),
            ApiError::OutOfRange(_) => Self::out_of_range(message),
            ApiError::NotFound(_) => Self::not_found(message),
            ApiError::Refused(_) | ApiError::OnlyAsAWhole { .. } => Self::failed_precondition(message),
            ApiError::Forbidden(_) => Self::permission_denied(message),
            ApiError::Aborted(_) => Self::aborted(message),
            ApiError::Full(_) => Self::resource_exhausted(message),
            ApiError::Busy { retry_after, .. } => {
                let mut status = Self::resource_exhausted(message);
                let after = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                status.metadata_mut().insert(RETRY_METADATA, after.into());
                status
            }
            ApiError::NotLeading { leader, .. } => stands_by(message, leader.as_deref()),
            ApiError::Unavailable(_) => Self::unavailable(message),
            ApiError::Corrupt(_) => Self::data_loss(message),
            ApiError::Internal(_) => Self::internal(message),
        }
    }
}

/// What the driver said to a worker's stream.
pub(super) fn refused(error: CallError) -> Status {
    ApiError::from(error).into()
}

/// Longest message, in bytes: in a header each may become three, and a client takes 16 KiB of headers.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// Goes around all services.
pub type ErrorsLayer = MapResponseLayer<fn(Response<Body>) -> Response<Body>>;

/// The version of the coordinator, with every answer: `sweep doctor` compares it.
pub const VERSION_METADATA: &str = "sweep-version";

/// Cuts the messages of errors to size, whoever made them, and says which version answers.
pub fn bounded_errors() -> ErrorsLayer {
    MapResponseLayer::new(bounded)
}

fn bounded(mut response: Response<Body>) -> Response<Body> {
    let version = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));
    response.headers_mut().insert(VERSION_METADATA, version);
    let is_long = response.headers().get("grpc-message").is_some_and(|text| text.len() > MESSAGE_BYTES_MAX);
    if is_long && let Some(long) = Status::from_header_map(response.headers()) {
        let short = Status::new(long.code(), shortened(long.message(), MESSAGE_BYTES_MAX));
        // Fails only where the message is no header, and every message is encoded so that it is one.
        let _ = short.add_header(response.headers_mut());
    }
    response
}

#[cfg(test)]
mod tests {
    use proto::leader::LEADER_METADATA;

    use super::*;

    #[test]
    fn each_kind_of_error_has_its_code() {
        use std::time::Duration;

        use tonic::Code;

        let text = || "why".to_owned();
        let leader = Some("http://a:1".to_owned());
        for (error, code) in [
            (ApiError::Invalid(text()), Code::InvalidArgument),
            (ApiError::OutOfRange(text()), Code::OutOfRange),
            (ApiError::NotFound(text()), Code::NotFound),
            (ApiError::Refused(text()), Code::FailedPrecondition),
            (ApiError::Forbidden(text()), Code::PermissionDenied),
            (ApiError::Aborted(text()), Code::Aborted),
            (ApiError::Full(text()), Code::ResourceExhausted),
            (
                ApiError::Busy { message: text(), retry_after: Duration::from_secs(2) },
                Code::ResourceExhausted,
            ),
            (ApiError::NotLeading { message: text(), leader }, Code::Unavailable),
            (ApiError::Unavailable(text()), Code::Unavailable),
            (ApiError::Corrupt(text()), Code::DataLoss),
            (ApiError::Internal(text()), Code::Internal),
        ] {
            let expected = match &error {
                ApiError::Busy { .. } => Some((RETRY_METADATA, "2000")),
                ApiError::NotLeading { .. } => Some((LEADER_METADATA, "http://a:1")),
                _ => None,
            };
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (code, "why"));
            for key in [RETRY_METADATA, LEADER_METADATA] {
                let value = expected.filter(|(expected, _)| *expected == key).map(|(_, value)| value);
                assert_eq!(status.metadata().get(key).map(|value| value.to_str().unwrap()), value, "{code}");
            }
        }
    }

    #[test]
    fn a_long_message_is_cut_and_all_else_stays() {
        let mut status = Status::invalid_argument(format!("語{}end", "語".repeat(100_000)));
        status.metadata_mut().insert("sweep-leader", "http://a".parse().unwrap());
        let short = bounded(status.into_http());
        let read = Status::from_header_map(short.headers()).unwrap();
        assert_eq!(read.code(), tonic::Code::InvalidArgument);
        assert!(read.message().len() <= MESSAGE_BYTES_MAX && read.message().ends_with("語end"));
        assert_eq!(short.headers().get("sweep-leader").unwrap(), "http://a");
        assert!(short.headers().get("grpc-message").unwrap().len() <= 3 * MESSAGE_BYTES_MAX);
    }
}
