//! TLS of a coordinator, for gRPC and for browsers: one certificate, read from PEM files, and read again when they change. A connection keeps the
//! one that it began with.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use humantime::{format_duration, format_rfc3339_seconds};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{access::Authority, reread};

/// How long before its end a certificate is warned of: long enough that someone can still act.
const ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// PEM files of a TLS server.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What speaks TLS with those who connect; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    /// Whose certificates workers may show.
    authority: Option<Arc<Authority>>,
    current: RwLock<Configs>,
}

/// The same certificate for both protocols; a client says which it speaks.
#[derive(Debug, Clone)]
struct Configs {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// When the certificate runs out, where it says so.
    expires: Option<SystemTime>,
}

impl Tls {
    /// With the certificate of these files; programs may show one of the authority.
    ///
    /// # Errors
    /// They cannot be read, or are no certificate and its key.
    pub fn open(files: TlsFiles, authority: Option<Arc<Authority>>) -> anyhow::Result<Self> {
        let read = Configs::read(&files, authority.as_deref())?;
        warn_of_end(&read, &files);
        Ok(Self(Arc::new(Inner { files, authority, current: RwLock::new(read) })))
    }

    /// When the certificate of now runs out, where it says so.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current().expires
    }

    /// For a new connection of a program.
    pub fn grpc(&self) -> TlsAcceptor {
        self.current().grpc.into()
    }

    /// For a new connection of a browser.
    pub fn http(&self) -> TlsAcceptor {
        self.current().http.into()
    }

    /// Reads the files again when they change, until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let TlsFiles { certificate, key } = self.0.files.clone();
        reread::follow("the certificate", vec![certificate, key], move || self.read_again(), stop).await;
    }

    fn read_again(&self) -> anyhow::Result<()> {
        let read = Configs::read(&self.0.files, self.0.authority.as_deref())?;
        warn_of_end(&read, &self.0.files);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    fn current(&self) -> Configs {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Configs {
    fn read(TlsFiles { certificate, key }: &TlsFiles, authority: Option<&Authority>) -> anyhow::Result<Self> {
        let named = |path: &Path| format!("cannot read {}; check --tls-cert and --tls-key", path.display());
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .with_context(|| named(certificate))?;
        let private = PrivateKeyDer::from_pem_file(key).with_context(|| named(key))?;
        let expires = chain.first().and_then(expires);
        let chain = match authority {
            Some(authority) => completed(chain, authority, certificate),
            None => chain,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = authority.map(|authority| shown_by_some(authority, &provider)).transpose()?;
        let speaking = |protocol: &[u8], verifier: Option<Arc<dyn ClientCertVerifier>>| {
            let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()?
                .with_client_cert_verifier(verifier.unwrap_or_else(|| Arc::new(NoClientAuth)));
            let mut config =
                config.with_single_cert(chain.clone(), private.clone_key()).with_context(|| {
                    format!(
                        "the certificate in {} and the key in {} do not go together",
                        certificate.display(),
                        key.display()
                    )
                })?;
            config.alpn_protocols = vec![protocol.to_vec()];
            anyhow::Ok(Arc::new(config))
        };
        // A browser is asked for no certificate: it would ask its user for one.
        Ok(Self { grpc: speaking(b"h2", verifier)?, http: speaking(b"http/1.1", None)?, expires })
    }
}

fn expires(der: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn warn_of_end(read: &Configs, files: &TlsFiles) {
    if let Some(told) = read.expires.and_then(|expires| end_of(expires, SystemTime::now())) {
        tracing::warn!("the certificate in {} {told}", files.certificate.display());
    }
}

/// What is said of a certificate that has run out, or does soon.
fn end_of(expires: SystemTime, now: SystemTime) -> Option<String> {
    let at = format_rfc3339_seconds(expires);
    match expires.duration_since(now) {
        Err(_) => Some(format!(
            "ran out at {at}, and no one takes it any more: put another one in its place (`sweep certs renew DIR`)"
        )),
        Ok(left) if left < ENDS_SOON => Some(format!(
            "runs out at {at}, in {}: put another one in its place (`sweep certs renew DIR`), which is read without a restart",
            format_duration(Duration::from_secs(left.as_secs() / 60 * 60))
        )),
        Ok(_) => None,
    }
}

/// The chain with the authority's certificate at its end, where a worker that joins looks for it.
fn completed(
    chain: Vec<CertificateDer<'static>>,
    authority: &Authority,
    file: &Path,
) -> Vec<CertificateDer<'static>> {
    let (chain, is_of_it) = authority.complete(chain);
    if !is_of_it {
        tracing::warn!(
            "the certificate in {} is not of the authority of --authority: no worker can join here",
            file.display()
        );
    }
    chain
}

/// Takes certificates of this authority from who shows one, and connections of others without.
fn shown_by_some(
    authority: &Authority,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let roots = Arc::new(authority.roots()?);
    Ok(WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .allow_unauthenticated()
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &TlsFiles, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_certificate_that_has_run_out_or_does_within_a_week_is_warned_of() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let day = Duration::from_secs(86_400);
        let late = end_of(now - day, now).unwrap();
        assert!(late.starts_with("ran out at 2001-09-08T01:46:40Z"), "{late}");
        let soon = end_of(now + 6 * day, now).unwrap();
        assert!(soon.starts_with("runs out at 2001-09-15T01:46:40Z, in 6days: "), "{soon}");
        assert_eq!(end_of(now + 8 * day, now), None);
    }

    #[test]
    fn when_a_certificate_runs_out_is_read_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        let expires = Tls::open(files, None).unwrap().expires().unwrap();
        assert_eq!(format_rfc3339_seconds(expires).to_string(), "2040-01-01T00:00:00Z");
    }

    #[test]
    fn files_that_cannot_be_used_leave_the_certificate_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let missing = Tls::open(files.clone(), None).unwrap_err().to_string();
        assert!(missing.contains("cert.pem; check --tls-cert and --tls-key"), "{missing}");
        write(&files, "localhost");
        let tls = Tls::open(files.clone(), None).unwrap();
        let first = tls.current();
        let key = std::fs::read(&files.key).unwrap();
        write(&files, "localhost");
        let new_key = std::fs::read(&files.key).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let error = tls.read_again().unwrap_err().to_string();
        assert!(error.contains("do not go together"), "{error}");
        assert!(Arc::ptr_eq(&tls.current().grpc, &first.grpc));
        std::fs::write(&files.key, &new_key).unwrap();
        tls.read_again().unwrap();
        assert!(!Arc::ptr_eq(&tls.current().grpc, &first.grpc));
    }
}
