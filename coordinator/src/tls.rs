//! TLS of a coordinator, for gRPC and for browsers: one certificate, read from PEM files, and read again when they change. A connection keeps the
//! one that it began with.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::reread;

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
    current: RwLock<Configs>,
}

/// The same certificate for both protocols; a client says which it speaks.
#[derive(Debug, Clone)]
struct Configs {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

impl Tls {
    /// With the certificate of these files.
    ///
    /// # Errors
    /// They cannot be read, or are no certificate and its key.
    pub fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let current = RwLock::new(Configs::read(&files)?);
        Ok(Self(Arc::new(Inner { files, current })))
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
        let read = Configs::read(&self.0.files)?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    fn current(&self) -> Configs {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Configs {
    fn read(TlsFiles { certificate, key }: &TlsFiles) -> anyhow::Result<Self> {
        let named = |path: &Path| format!("cannot read {}; check --tls-cert and --tls-key", path.display());
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .with_context(|| named(certificate))?;
        let private = PrivateKeyDer::from_pem_file(key).with_context(|| named(key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .with_context(|| {
                format!(
                    "the certificate in {} and the key in {} do not go together",
                    certificate.display(),
                    key.display()
                )
            })?;
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Ok(Self { grpc: speaking(b"h2"), http: speaking(b"http/1.1") })
    }
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
    fn files_that_cannot_be_used_leave_the_certificate_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let missing = Tls::open(files.clone()).unwrap_err().to_string();
        assert!(missing.contains("cert.pem; check --tls-cert and --tls-key"), "{missing}");
        write(&files, "localhost");
        let tls = Tls::open(files.clone()).unwrap();
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
