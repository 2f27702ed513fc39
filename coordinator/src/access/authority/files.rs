//! The files of an authority: made once, never written over; and the coordinator's certificate, which is made again from the same authority.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{
    Authority, AuthorityConfig, CERTIFICATE, COORDINATOR_CERTIFICATE, COORDINATOR_KEY, KEY, WORKER_LASTS,
    dated, named,
};

/// How long the certificate of a coordinator holds: `sweep certs renew` makes another one, which is read without a restart.
const COORDINATOR_LASTS: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long the authority holds: with another one, all workers join again.
const AUTHORITY_LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Most names of a coordinator: some for each of the coordinators that share a database.
const HOSTS_MAX: usize = 100;

impl Authority {
    /// Makes an authority in a folder, and a certificate of a coordinator that is reached by these names.
    ///
    /// # Errors
    /// There are files already, a name is none, or the files cannot be written.
    pub fn init(folder: &Path, hosts: &[String]) -> anyhow::Result<Self> {
        let params = coordinator(hosts)?;
        for name in [CERTIFICATE, KEY, COORDINATOR_CERTIFICATE, COORDINATOR_KEY] {
            let path = folder.join(name);
            let next = match folder.join(CERTIFICATE).exists() {
                true => format!(
                    "`sweep certs renew {}` makes another certificate of that authority",
                    folder.display()
                ),
                false => format!("there is no {CERTIFICATE} with it, so remove it, or name another folder"),
            };
            anyhow::ensure!(!path.exists(), "{} is there, and is not written over; {next}", path.display());
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let key = KeyPair::generate()?;
        let mut own = dated(CertificateParams::new(Vec::new())?, AUTHORITY_LASTS);
        own.distinguished_name = named("sweep authority", None);
        own.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = own.self_signed(&key)?;
        // The certificate last: with it, the folder is an authority's.
        write_new(folder, KEY, &key.serialize_pem())?;
        write_new(folder, CERTIFICATE, &certificate.pem())?;
        let authority = Self::of(folder)?;
        authority.give_coordinator(folder, &params)?;
        Ok(authority)
    }

    /// Makes another certificate of a coordinator, for these names, or for those of the one that is there.
    ///
    /// # Errors
    /// There is no authority, or no certificate to take the names from; a name is none, or the files cannot be written.
    pub fn renew(folder: &Path, hosts: &[String]) -> anyhow::Result<(Self, Vec<String>)> {
        let authority = Self::of(folder)?;
        let hosts = match hosts {
            [] => {
                hosts_of(&folder.join(COORDINATOR_CERTIFICATE)).context("name the coordinator with --host")?
            }
            given => given.to_vec(),
        };
        authority.give_coordinator(folder, &coordinator(&hosts)?)?;
        Ok((authority, hosts))
    }

    fn of(folder: &Path) -> anyhow::Result<Self> {
        Self::open(&AuthorityConfig { folder: folder.to_owned(), workers_last: WORKER_LASTS })
    }

    fn give_coordinator(&self, folder: &Path, params: &CertificateParams) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        // A coordinator that reads between the two takes neither, and looks again.
        replace(folder, COORDINATOR_KEY, &key.serialize_pem(), 0o600)?;
        replace(folder, COORDINATOR_CERTIFICATE, &format!("{}{}", certificate.pem(), self.certificate), 0o644)
    }
}

/// A coordinator's certificate that is to be.
fn coordinator(hosts: &[String]) -> anyhow::Result<CertificateParams> {
    anyhow::ensure!(!hosts.is_empty(), "name the coordinator with --host, as workers and commands reach it");
    anyhow::ensure!(hosts.len() <= HOSTS_MAX, "a coordinator has {HOSTS_MAX} names at most");
    for host in hosts {
        anyhow::ensure!(
            is_host(host),
            "--host {host:?} is no name of DNS and no IP address; give it without https:// and without a port"
        );
    }
    let mut params = dated(CertificateParams::new(hosts)?, COORDINATOR_LASTS);
    params.distinguished_name = named("sweep coordinator", None);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Whether clients could look for it: an address, or a name of labels, of which the first may be a star.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && name.split('.').all(is_label))
}

/// The names in a certificate.
fn hosts_of(path: &Path) -> anyhow::Result<Vec<String>> {
    let der =
        CertificateDer::from_pem_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (_, certificate) = X509Certificate::from_der(&der).context("it is no certificate")?;
    let names = certificate.subject_alternative_name()?.context("it has no names")?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(name).collect())
}

/// Writes a file that is not there yet; one with a key for its owner alone.
fn write_new(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let written = || -> io::Result<()> {
        let mode = if name == KEY { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

/// Puts a file in the place of the one from before, as a whole.
fn replace(folder: &Path, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
    let path: PathBuf = folder.join(name);
    let written = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
