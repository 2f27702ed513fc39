//! What goes out: JSON, and errors as JSON with the status of their kind, in the language that is read.

use axum::{
    Json,
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::text::shortened;
use serde::Serialize;
use strum::VariantArray;
use utoipa::ToSchema;

use super::reader::Reader;
use crate::{access::table, api::ApiError};

/// Longest message of an error, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// What kind of error it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, VariantArray)]
#[serde(rename_all = "snake_case")]
#[schema(as = ErrorCode)]
pub(super) enum Code {
    /// 400, 405, 413, 415, 422: the request itself is wrong; its message says where.
    Invalid,
    /// 401: a token is wanted.
    NoToken,
    /// 401: the token that came along is not one of this coordinator's.
    WrongToken,
    /// 403: the viewers' token only looks.
    Viewer,
    /// 403: it is for other roles, or someone else's.
    Forbidden,
    /// 403: a page of another server asked.
    CrossOrigin,
    /// 404: there is no such thing.
    NotFound,
    /// 409: what is asked for is not possible as things are.
    Refused,
    /// 409: something else came first; asking again may help.
    Aborted,
    /// 416: it begins beyond the end.
    OutOfRange,
    /// 421: a coordinator without a token was reached by another name than this machine's.
    NotThisMachine,
    /// 429: too much at once; `Retry-After` says when to ask again.
    Busy,
    /// 500: what is kept is damaged.
    Corrupt,
    /// 500: a fault of the coordinator, which its log tells.
    Internal,
    /// 503: another coordinator leads.
    NotLeading,
    /// 503: what is needed cannot be reached now.
    Unavailable,
    /// 507: there is no room or no place.
    Full,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorAnswer {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    code: Code,
    /// For people: where the fault is and what to do. In English, and the commonest in Japanese for who asks for it by `Accept-Language`.
    message: String,
}

/// An error as it goes out: `{"error": {"code": …, "message": …}}`.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    /// For programs.
    code: Code,
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
        Self::new(StatusCode::BAD_REQUEST, Code::Invalid, message)
    }

    /// With this status, code and message.
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    fn body(&self) -> Json<ErrorAnswer> {
        let message = shortened(&self.message, MESSAGE_BYTES_MAX);
        Json(ErrorAnswer { error: ErrorDetail { code: self.code, message } })
    }

    /// The same answer with this as its body.
    fn put_into(self, answer: Response) -> Response {
        let (mut parts, _) = answer.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, self.body().into_response().into_body())
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let message = match &error {
            ApiError::OnlyAsAWhole { message, sweep } => format!(
                "{message}: try the whole sweep again, its cancelled jobs too (JSON API: POST /api/v1/sweeps/{sweep}/retry with the body \
                 {{\"cancelled_too\": true}})"
            ),
            error => error.to_string(),
        };
        let (status, code) = match &error {
            ApiError::Invalid(_) => (StatusCode::BAD_REQUEST, Code::Invalid),
            ApiError::OutOfRange(_) => (StatusCode::RANGE_NOT_SATISFIABLE, Code::OutOfRange),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, Code::NotFound),
            ApiError::Refused(_) | ApiError::OnlyAsAWhole { .. } => (StatusCode::CONFLICT, Code::Refused),
            ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, Code::Forbidden),
            ApiError::Aborted(_) => (StatusCode::CONFLICT, Code::Aborted),
            ApiError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, Code::Full),
            ApiError::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::Busy),
            ApiError::NotLeading { .. } => (StatusCode::SERVICE_UNAVAILABLE, Code::NotLeading),
            ApiError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            ApiError::Corrupt(_) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Corrupt),
            ApiError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
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
        let mut response = (self.status, self.body()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Who reads it is not known here.
        response.extensions_mut().insert(self);
        response
    }
}

/// Says errors in the language of who reads them, where they are sentences of the coordinator.
pub(super) async fn in_language(reader: Reader, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    match answer.extensions_mut().remove::<Refusal>().filter(|_| reader.is_japanese()) {
        Some(refusal) => Refusal { message: reader.reason(&refusal.message), ..refusal }.put_into(answer),
        None => answer,
    }
}

/// The answer where a route does not take the method.
pub(super) async fn no_such_method(method: Method, path: MatchedPath) -> Refusal {
    let taken: Vec<_> = table::methods(path.as_str()).collect();
    let message = format!("this address takes {}, not {method}", taken.join(" and "));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Invalid, message)
}

/// The answer where no route is.
pub(super) async fn no_such_place() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        Code::NotFound,
        "there is nothing at this address; / has the sweeps, /api/v1/sweeps as JSON",
    )
}

/// The body of the answer to a request that is no HTTP.
pub(super) fn unheard(message: &str) -> Vec<u8> {
    let error = ErrorDetail { code: Code::Invalid, message: message.to_owned() };
    serde_json::to_vec(&ErrorAnswer { error }).unwrap_or_default()
}

/// The answer where a page cannot be made.
pub(super) fn no_page() -> Response {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::Internal,
        "the page cannot be made; see the coordinator's log",
    )
    .into_response()
}
