//! The coordinator's address and the credentials for it, as connections need them.

use std::{path::PathBuf, time::Duration};

use tonic::{
    metadata::MetadataValue,
    transport::{Certificate, ClientTlsConfig, Endpoint},
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
}

/// The target is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(
        "{url:?} is not the address of a coordinator ({reason}); use http://HOST:PORT or https://HOST:PORT"
    )]
    Url {
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// https without certificates.
    #[error("an https:// coordinator needs --tls-ca FILE, the certificates to trust")]
    NoCertificates,
    /// The file cannot be read or used.
    #[error("cannot use {path} ({reason}); see --token-file and --tls-ca")]
    File {
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The endpoints of all coordinators of a target.
pub(super) fn endpoints(target: &Target) -> Result<Vec<Endpoint>, TargetError> {
    target.url.split(',').map(|url| endpoint(target, url.trim())).collect()
}

fn endpoint(target: &Target, given: &str) -> Result<Endpoint, TargetError> {
    let wrong = |reason: String| TargetError::Url { url: given.to_owned(), reason };
    let url = terms::coordinator_url(given).map_err(|reason| wrong(reason.to_owned()))?;
    let endpoint = Endpoint::from_shared(url).map_err(|error| wrong(chain(&error)))?;
    let endpoint = match endpoint.uri().scheme_str() {
        Some("http") => endpoint,
        Some("https") => {
            let path = target.tls_ca.clone().ok_or(TargetError::NoCertificates)?;
            let unusable = |reason| TargetError::File { path: path.clone(), reason };
            let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint.tls_config(tls).map_err(|error| unusable(chain(&error)))?
        }
        _ => return Err(wrong("its scheme is neither http nor https".to_owned())),
    };
    Ok(endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true))
}

/// The bearer token, for a header. It is read again at every connection, as it may change.
pub(super) fn token(target: &Target) -> Result<Option<MetadataValue<tonic::metadata::Ascii>>, TargetError> {
    let Some(path) = &target.token_file else { return Ok(None) };
    let unusable = |reason: String| TargetError::File { path: path.clone(), reason };
    let content = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    // Editors on Windows begin a file with a byte order mark.
    let token = content.strip_prefix('\u{feff}').unwrap_or(&content).trim();
    if token.is_empty() {
        return Err(unusable("it holds no token".to_owned()));
    }
    let value = format!("Bearer {token}");
    let mut value: MetadataValue<_> = value
        .parse()
        .map_err(|_| unusable("its token holds characters that HTTP does not allow".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
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
        Target { url: url.into(), token_file: None, tls_ca: None }
    }

    #[test]
    fn a_host_and_port_alone_are_an_address() {
        let endpoints = endpoints(&target("127.0.0.1:7070, http://other:1")).unwrap();
        let uris: Vec<String> = endpoints.iter().map(|endpoint| endpoint.uri().to_string()).collect();
        assert_eq!(uris, ["http://127.0.0.1:7070/", "http://other:1/"]);
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_what_would() {
        let error = |url| endpoints(&target(url)).unwrap_err().to_string();
        assert!(error("ftp://host").contains("use http://HOST:PORT"));
        assert!(error("http://[broken").contains("use http://HOST:PORT"));
        assert_eq!(
            error("https://host:1"),
            "an https:// coordinator needs --tls-ca FILE, the certificates to trust"
        );
    }

    #[test]
    fn a_token_file_that_is_missing_or_empty_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let with_file = Target { token_file: Some(path.clone()), ..target("http://host") };
        assert!(token(&with_file).unwrap_err().to_string().contains(&path.display().to_string()));
        std::fs::write(&path, " \n").unwrap();
        assert!(token(&with_file).unwrap_err().to_string().contains("it holds no token"));
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(token(&with_file).unwrap().unwrap(), "Bearer secret");
        std::fs::write(&path, "\u{feff}secret\r\n").unwrap();
        assert_eq!(token(&with_file).unwrap().unwrap(), "Bearer secret");
    }
}
