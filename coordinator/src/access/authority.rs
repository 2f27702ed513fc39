//! An authority of sweep's own. Its certificate and key lie in a folder, which `sweep certs` makes and keeps (`files`). In a running coordinator
//! it gives workers their certificates: for a day each, on a key that never leaves the worker, and of what a request asks for, the key alone.

mod files;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use proto::join::authority_hash;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use terms::WorkerName;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a worker's certificate holds. It is renewed at two thirds, so that a coordinator may be away for eight hours.
pub const WORKER_LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks differ: a certificate holds since a while before it was made.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10 * 60);
/// Longest request for a certificate, in bytes: four times one with the largest RSA key.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Names of its files.
pub const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";
/// Names of the coordinator's files there.
const COORDINATOR_CERTIFICATE: &str = "coordinator.pem";
const COORDINATOR_KEY: &str = "coordinator.key";

/// Where an authority is, and how long what it gives holds.
#[derive(Debug, Clone)]
pub struct AuthorityConfig {
    pub folder: PathBuf,
    /// How long workers' certificates hold.
    pub workers_last: Duration,
}

impl AuthorityConfig {
    /// Its own certificate, by which others trust what it has signed.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// The coordinator's own certificate and key there.
    pub fn coordinator_files(&self) -> (PathBuf, PathBuf) {
        (self.folder.join(COORDINATOR_CERTIFICATE), self.folder.join(COORDINATOR_KEY))
    }
}

/// An authority that signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    /// Its certificate, as PEM.
    pub certificate: String,
    /// What tells it from others.
    pub hash: String,
    /// How long certificates of workers hold.
    pub workers_last: Duration,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of a folder.
    ///
    /// # Errors
    /// Its files cannot be read, or are no certificate of an authority and its key.
    pub fn open(AuthorityConfig { folder, workers_last }: &AuthorityConfig) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "cannot read {}; `sweep certs init {} --host NAME` makes it",
                    path.display(),
                    folder.display()
                )
            })
        };
        let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
        let opened = Self::new(&certificate, &key, *workers_last);
        opened.with_context(|| format!("the authority in {}", folder.display()))
    }

    fn new(certificate: &str, key: &str, workers_last: Duration) -> anyhow::Result<Self> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .with_context(|| format!("{CERTIFICATE} holds no certificate"))?;
        let key = KeyPair::from_pem(key).with_context(|| format!("{KEY} holds no private key"))?;
        let (_, parsed) = X509Certificate::from_der(&der).context("its certificate cannot be read")?;
        anyhow::ensure!(parsed.is_ca(), "{CERTIFICATE} is not the certificate of an authority");
        anyhow::ensure!(
            parsed.public_key().subject_public_key.data[..] == *key.public_key_raw(),
            "{CERTIFICATE} and {KEY} do not go together"
        );
        let issuer = Issuer::from_ca_cert_der(&der, key).context("its certificate cannot be used")?;
        Ok(Self {
            hash: authority_hash(&der),
            certificate: certificate.to_owned(),
            issuer,
            der,
            workers_last,
        })
    }

    /// What its certificates are verified with.
    ///
    /// # Errors
    /// It cannot be trusted.
    pub fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        Ok(roots)
    }

    /// A chain of certificates with this authority's at its end, where a worker that joins knows it by its hash. Whether one of them is of
    /// this authority, without which no worker joins, comes with it.
    pub fn complete(&self, mut chain: Vec<CertificateDer<'static>>) -> (Vec<CertificateDer<'static>>, bool) {
        let signed = |certificate: &CertificateDer<'_>| {
            let own = X509Certificate::from_der(&self.der).ok().map(|(_, own)| own);
            let other = X509Certificate::from_der(certificate).ok().map(|(_, other)| other);
            own.zip(other).is_some_and(|(own, other)| other.verify_signature(Some(own.public_key())).is_ok())
        };
        let is_of_it = chain.iter().any(signed);
        if !chain.contains(&self.der) {
            chain.push(self.der.clone());
        }
        (chain, is_of_it)
    }

    /// A certificate for the key of this request, of a worker that joined with this token. What else the request asks for is not given.
    ///
    /// # Errors
    /// It is no request, or is not signed with its key.
    pub fn sign(&self, request: &str, worker: &WorkerName, token: &str) -> anyhow::Result<String> {
        anyhow::ensure!(request.len() <= REQUEST_BYTES_MAX, "the request is longer than any key needs");
        let mut request = CertificateSigningRequestParams::from_pem(request)
            .context("this is no request for a certificate that is signed with its key")?;
        let mut params = dated(CertificateParams::new(Vec::new())?, self.workers_last);
        params.distinguished_name = named(worker.as_str(), Some(token));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.params = params;
        Ok(request.signed_by(&self.issuer)?.pem())
    }
}

/// Holds from about now on.
fn dated(mut params: CertificateParams, lasts: Duration) -> CertificateParams {
    let now = SystemTime::now();
    params.not_before = OffsetDateTime::from(now - CLOCKS_DIFFER);
    params.not_after = OffsetDateTime::from(now + lasts);
    params
}

/// A subject: a name, and the token by which it came to be.
fn named(name: &str, token: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(token) = token {
        subject.push(DnType::OrganizationalUnitName, token);
    }
    subject
}
