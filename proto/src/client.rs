//! What all programs that call a coordinator have in common: the token that they show, and the address and certificates that they connect to.
//! How long each waits and when it tries again is its own matter.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use crate::join::JoinToken;

/// Largest file with a token, in bytes: more than any scheme of tokens needs.
const TOKEN_BYTES_MAX: usize = 4096;

/// A coordinator cannot be called with what was given.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address.
    #[error(
        "{url:?} is not the address of a coordinator ({reason}); use http://HOST:PORT or https://HOST:PORT"
    )]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An `https://` address, and the system has no authorities to trust.
    #[error(
        "cannot use the authorities that this system trusts for {url}: {reason}; install its package ca-certificates, or name the \
         file of the coordinator's authority with --tls-ca"
    )]
    NoCertificates {
        /// What was given.
        url: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The file with certificates cannot be read.
    #[error("cannot read {path}: {source}; check the file of certificates to trust (--tls-ca, SWEEP_TLS_CA)")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no certificates.
    #[error("{path} holds no certificates: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the certificate to show cannot be used.
    #[error("cannot use the certificate in {path}: {reason}; without the file, a worker joins again")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the token cannot be used.
    #[error("cannot use the token in {path}: {reason}; check --token-file")]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has a join token in place of a token.
    #[error("{} holds a join token, by which a worker joins; give it to `sweep-worker start` with --join-file", .0.display())]
    JoinToken(PathBuf),
    /// The token cannot be sent.
    #[error("the token has characters that no header can carry")]
    Header,
}

/// The endpoint at an address, `http://`, `https://` or only `HOST:PORT`; for `https://` it trusts the certificates in `tls_ca`,
/// without which those that the system trusts.
///
/// # Errors
/// The address is none, or there are no certificates to trust.
pub fn endpoint(url: &str, tls_ca: Option<&Path>) -> Result<Endpoint, ClientError> {
    endpoint_as(url, tls_ca, None)
}

/// The same of who shows a certificate to an `https://` coordinator; its file has the key, too.
///
/// # Errors
/// As there; or the certificate cannot be read.
pub fn endpoint_as(
    url: &str,
    tls_ca: Option<&Path>,
    identity: Option<&Path>,
) -> Result<Endpoint, ClientError> {
    let wrong = |reason: String| ClientError::Address { url: url.to_owned(), reason };
    let full = terms::coordinator_url(url).map_err(|reason| wrong(reason.to_owned()))?;
    let is_secure = full.starts_with("https://");
    let endpoint = Endpoint::from_shared(full).map_err(|error| wrong(innermost(&error)))?;
    if !is_secure {
        return Ok(endpoint);
    }
    let Some(path) = tls_ca else {
        let none = |error| ClientError::NoCertificates { url: url.to_owned(), reason: innermost(&error) };
        // The system's own, to which organisations add theirs, and not a list of the day that this program was built.
        return endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(none);
    };
    let pem =
        std::fs::read(path).map_err(|source| ClientError::Unreadable { path: path.to_owned(), source })?;
    // What is no PEM at all is taken for a file without any.
    if CertificateDer::pem_slice_iter(&pem).next().is_none() {
        let reason = "no certificate is in that file, which begins with BEGIN CERTIFICATE".to_owned();
        return Err(ClientError::Certificates { path: path.to_owned(), reason });
    }
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    if let Some(path) = identity {
        let pem = std::fs::read(path)
            .map_err(|source| ClientError::Identity { path: path.to_owned(), reason: source.to_string() })?;
        tls = tls.identity(Identity::from_pem(&pem, &pem));
    }
    let unusable = |error| ClientError::Certificates { path: path.to_owned(), reason: innermost(&error) };
    endpoint.tls_config(tls).map_err(unusable)
}

/// The token in a file, without the white space around it: one line of printable ASCII.
///
/// # Errors
/// The file cannot be read, or holds no token; or a join token, by which workers alone join.
pub fn read_token(path: &Path) -> Result<String, ClientError> {
    let token = read_secret(path)?;
    if token.parse::<JoinToken>().is_ok() {
        return Err(ClientError::JoinToken(path.to_owned()));
    }
    Ok(token)
}

/// The token or join token in a file.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn read_secret(path: &Path) -> Result<String, ClientError> {
    let wrong = |reason: String| ClientError::Token { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    // Editors on Windows begin a file with a byte order mark.
    let token = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
    match token.len() {
        0 => Err(wrong("the file is empty".to_owned())),
        1..=TOKEN_BYTES_MAX if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
        1..=TOKEN_BYTES_MAX => {
            Err(wrong("a token is one line of printable ASCII characters without spaces".to_owned()))
        }
        length => Err(wrong(format!("{length} bytes are more than the {TOKEN_BYTES_MAX} allowed"))),
    }
}

/// A token as the header `authorization` carries it.
///
/// # Errors
/// No header can carry it.
pub fn bearer(token: &str) -> Result<MetadataValue<Ascii>, ClientError> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| ClientError::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The innermost cause of an error, which says what really happened; the outer ones say "transport error".
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_work_are_refused_with_what_would() {
        for (url, tls_ca, expected) in [
            ("ftp://host", None, "use http://HOST:PORT"),
            ("http://[broken", None, "use http://HOST:PORT"),
            ("https://host:7070", Some("/nowhere/ca.pem"), "cannot read /nowhere/ca.pem"),
        ] {
            let error = endpoint(url, tls_ca.map(Path::new)).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
        for url in ["http://[::1]:7070", "127.0.0.1:7070", "https://host:7070"] {
            assert!(endpoint(url, None).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_file_without_a_certificate_to_trust_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for content in ["", "secret\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            std::fs::write(&path, content).unwrap();
            let refused = endpoint("https://host:7070", Some(&path)).unwrap_err().to_string();
            assert!(
                refused.contains("ca.pem holds no certificates: no certificate is in that file"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_join_token_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join");
        let join = format!("id.secret.{}", crate::join::authority_hash(b"one"));
        std::fs::write(&path, &join).unwrap();
        let refused = read_token(&path).unwrap_err().to_string();
        assert!(refused.contains("--join-file") && !refused.contains("secret"), "{refused}");
        assert_eq!(read_secret(&path).unwrap(), join);
    }

    #[test]
    fn a_token_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (content, token) in [
            ("secret\n", Some("secret")),
            ("\u{feff}secret\r\n", Some("secret")),
            ("\u{feff}", None),
            (" \n", None),
            ("a b", None),
            ("a\nb", None),
            (&"x".repeat(TOKEN_BYTES_MAX + 1), None),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read_token(&path).ok().as_deref(), token, "{content:?}");
        }
        let missing = read_token(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("--token-file") && missing.contains("none"), "{missing}");
        assert_eq!(bearer("secret").unwrap(), "Bearer secret");
    }
}
