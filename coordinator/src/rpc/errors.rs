//! How long the message of an error may be: it travels as a header, and one that is longer than the other side takes reaches
//! the user as RESOURCE_EXHAUSTED, without a word of what was wrong.

use domain::text::shortened;
use tonic::{Status, body::Body, codegen::http::Response};
use tower::util::MapResponseLayer;

/// Longest message, in bytes: in a header each may become three, and a client takes 16 KiB of headers.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// Goes around all services.
pub type ErrorsLayer = MapResponseLayer<fn(Response<Body>) -> Response<Body>>;

/// Cuts the messages of errors to size, whoever made them.
pub fn bounded_errors() -> ErrorsLayer {
    MapResponseLayer::new(bounded)
}

fn bounded(mut response: Response<Body>) -> Response<Body> {
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
    use super::*;

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
