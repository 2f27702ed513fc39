//! The coordinator's address and the credentials for it, as connections need them.

use std::{path::PathBuf, time::Duration};

use proto::client::{self, ClientError};
use telemetry::plain_calls::MISLED_METADATA;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};

/// Longest wait for a connection, including name lookup and TLS.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How often an idle connection is probed, and how long the answer may take: a cut cable or a stalled coordinator is
/// noticed in 10 s, half of the usual lease.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// Longest message that is accepted. A grant is a few kilobytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The coordinator's address and the credentials for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `http://…` or `https://…`; several coordinators are separated by commas.
    pub(crate) url: String,
    /// File with the bearer token.
    pub(crate) token_file: Option<PathBuf>,
    /// File with the certificates to trust.
    pub(crate) tls_ca: Option<PathBuf>,
    /// File with the worker's own certificate and its key, where it has joined.
    pub(crate) identity: Option<PathBuf>,
}

/// The endpoints of all coordinators of a target.
pub(super) fn endpoints(target: &Target) -> Result<Vec<Endpoint>, ClientError> {
    urls(target).map(|url| endpoint(target, url)).collect()
}

/// The addresses of all coordinators of a target.
pub(super) fn urls(target: &Target) -> impl Iterator<Item = &str> {
    target.url.split(',').map(str::trim)
}

/// The endpoint of one coordinator, which need not be among those of the target.
pub(super) fn endpoint(target: &Target, url: &str) -> Result<Endpoint, ClientError> {
    Ok(client::endpoint_as(url, target.tls_ca.as_deref(), target.identity.as_deref())?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true))
}

/// The bearer token, for a header. It is read again at every connection, as it may change.
pub(super) fn token(target: &Target) -> Result<Option<MetadataValue<Ascii>>, ClientError> {
    let read = |path: &PathBuf| client::bearer(&client::read_token(path)?);
    target.token_file.as_ref().map(read).transpose()
}

/// Why there is no connection, and what to do where that shows.
pub(super) fn unreached(error: &(dyn std::error::Error + 'static)) -> String {
    let (causes, why) = (chain(error), proto::unreached::why(error));
    // The last of the causes is said there, too.
    let innermost = client::innermost(error);
    match why.strip_prefix(innermost.as_str()) {
        Some(hint) => format!("{causes}{hint}"),
        None => causes,
    }
}

/// Whether a call came where none is answered: to another port, or without TLS to one that speaks it.
pub(super) fn is_misled(status: &Status) -> bool {
    status.metadata().contains_key(MISLED_METADATA)
}

/// An error and its causes; tonic's own text only says "transport error".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target { url: url.into(), token_file: None, tls_ca: None, identity: None }
    }

    #[test]
    fn a_host_and_port_alone_are_an_address() {
        let endpoints = endpoints(&target("127.0.0.1:7070, http://other:1")).unwrap();
        let uris: Vec<String> = endpoints.iter().map(|endpoint| endpoint.uri().to_string()).collect();
        assert_eq!(uris, ["http://127.0.0.1:7070/", "http://other:1/"]);
    }

    #[test]
    fn a_target_that_cannot_work_is_an_error_that_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let trusting = Target { tls_ca: Some(path.clone()), ..target("https://host:1") };
        let error = endpoints(&trusting).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read {}", path.display())), "{error}");
        let with_file = Target { token_file: Some(path.clone()), ..target("http://host") };
        assert!(token(&with_file).unwrap_err().to_string().contains(&path.display().to_string()));
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(token(&with_file).unwrap().unwrap(), "Bearer secret");
        assert_eq!(token(&target("http://host")).unwrap(), None);
    }
}
