//! What a worker that has joined keeps in its spool's folder: its certificate with its key, in one file, so that both change at once, and the
//! certificate of the authority that it trusts. No one else can read them.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::SystemTime,
};

use anyhow::Context;
use proto::{join::WorkerCertificate, v1::EnrolResponse};
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use terms::WorkerName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Names of the files.
const OWN: &str = "worker.pem";
const AUTHORITY: &str = "authority.pem";

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    folder: PathBuf,
}

impl Identity {
    /// In this folder, which may not be there yet.
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file with the certificate and its key.
    pub(super) fn own(&self) -> PathBuf {
        self.folder.join(OWN)
    }

    /// The file with the authority's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join(AUTHORITY)
    }

    /// Whether this worker has joined before.
    pub(super) fn exists(&self) -> bool {
        self.own().exists() && self.authority().exists()
    }

    /// What the certificate says that is there; none where there is none that can be read.
    pub(super) fn kept(&self) -> Option<WorkerCertificate> {
        WorkerCertificate::read(&CertificateDer::from_pem_file(self.own()).ok()?)
    }

    /// Whether there is a certificate of this worker that still holds.
    pub(super) fn holds(&self, name: &WorkerName, now: SystemTime) -> bool {
        self.kept().is_some_and(|kept| kept.worker == name.as_str() && now < kept.expires)
    }

    /// Keeps what a coordinator gave; the authority's certificate too, where the worker has `joined` and does not just renew.
    ///
    /// # Errors
    /// It is no certificate for this key, or the folder cannot be written.
    pub(super) fn keep(&self, key: &KeyPair, answer: &EnrolResponse, joined: bool) -> anyhow::Result<()> {
        let der = CertificateDer::from_pem_slice(answer.certificate.as_bytes());
        let der = der.context("what the coordinator gave is no certificate")?;
        let (_, certificate) =
            X509Certificate::from_der(&der).context("what the coordinator gave is no certificate")?;
        anyhow::ensure!(
            certificate.public_key().subject_public_key.data[..] == *key.public_key_raw(),
            "the certificate that the coordinator gave is for another key"
        );
        if joined {
            self.write(AUTHORITY, &answer.authority)?;
        }
        self.write(OWN, &format!("{}{}", key.serialize_pem(), answer.certificate))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        let written = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType};

    use super::*;

    #[test]
    fn a_certificate_is_kept_with_its_key_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::in_folder(folder.path().join("spool"));
        assert!(!identity.exists() && identity.kept().is_none());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "one");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "a1");
        let pem = params.self_signed(&key).unwrap().pem();
        let answer = EnrolResponse { certificate: pem.clone(), authority: pem, lasts_ms: 1 };
        let other = KeyPair::generate().unwrap();
        let refused = identity.keep(&other, &answer, true).unwrap_err().to_string();
        assert!(refused.contains("another key") && !identity.exists(), "{refused}");
        let nonsense = EnrolResponse { certificate: "none".to_owned(), ..answer.clone() };
        assert!(identity.keep(&key, &nonsense, true).is_err());
        identity.keep(&key, &answer, true).unwrap();
        for path in [identity.own(), identity.authority()] {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        let kept = identity.kept().unwrap();
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        assert!(identity.holds(&one, SystemTime::now()) && !identity.holds(&two, SystemTime::now()));
        assert!(!identity.holds(&one, kept.expires));
    }
}
