//! What every answer tells a browser: to load nothing from elsewhere, to run nothing that stands within a page, to show no page within
//! another, and to keep nothing that may change.

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

use super::access::is_this_machine;

/// Only files of this server; nothing inline, nothing evaluated.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The headers of all answers.
pub(super) const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Keeps a page of another server that opened this one, or was opened by it, from reaching it. Only with TLS or on this machine: elsewhere
/// browsers ignore it, and each page has an error in its console.
const OPENER: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));

/// Adds them. What an answer says of how long it may be kept stays.
pub(super) async fn add(State(is_secure): State<bool>, request: Request, next: Next) -> Response {
    let is_isolated = is_secure || is_this_machine(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if is_isolated {
        let (name, value) = OPENER;
        headers.insert(name, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
