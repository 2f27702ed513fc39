//! The Secrets that a cluster has: made by hand as the README says, and by cert-manager, in whose place `sweep certs` makes an authority and the
//! coordinators' certificate with the names that the manifests ask for.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_yaml::Value;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::{render::object, rules::sequence};

/// A name by which the coordinators' certificate can be had, wherever they are.
const KNOWN_AS: &str = "localhost";

/// What the cluster's Secrets hold, by name and key.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    held: BTreeMap<String, BTreeMap<String, String>>,
    /// The certificate of the authority, where there is TLS.
    authority: Option<String>,
}

impl Secrets {
    /// With the admin's token alone.
    pub(super) fn with_token(token: &str) -> Self {
        let mut secrets = Self::default();
        secrets.hold("sweep-token", "token", token);
        secrets
    }

    /// Makes what cert-manager would make of the manifests' certificates.
    pub(super) fn certify(&mut self, documents: &[Value], folder: &Path) {
        let names = &object(documents, "Certificate", "sweep-coordinator")["spec"]["dnsNames"];
        let mut command = Command::new(tests::program("sweep"));
        command.args(["certs", "init"]).arg(folder);
        for name in sequence(names) {
            command.args(["--host", name.as_str().unwrap()]);
        }
        let made = command.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let authority = read("ca.pem");
        // The leaf alone: cert-manager puts the authority into a key of its own.
        let chain = read("coordinator.pem");
        let leaf = chain.strip_suffix(authority.as_str()).unwrap();
        for (secret, certificate, key) in
            [("sweep-ca", authority.as_str(), "ca.key"), ("sweep-coordinator-tls", leaf, "coordinator.key")]
        {
            self.hold(secret, "tls.crt", certificate);
            self.hold(secret, "tls.key", &read(key));
            self.hold(secret, "ca.crt", &authority);
        }
        self.authority = Some(authority);
    }

    pub(super) fn hold(&mut self, secret: &str, key: &str, content: &str) {
        self.held.entry(secret.to_owned()).or_default().insert(key.to_owned(), content.to_owned());
    }

    /// Writes what a volume mounts, if it is of a Secret.
    pub(super) fn mount(&self, volume: &Value, place: &Path) {
        let Some(name) = volume["secret"]["secretName"].as_str() else { return };
        let held = self.held.get(name).unwrap_or_else(|| panic!("the Secret {name} was not made"));
        let items = sequence(&volume["secret"]["items"]);
        if items.is_empty() {
            held.iter().for_each(|(key, content)| fs::write(place.join(key), content).unwrap());
        }
        for item in items {
            let (key, path) = (item["key"].as_str().unwrap(), item["path"].as_str().unwrap());
            fs::write(place.join(path), &held[key]).unwrap();
        }
    }

    /// The coordinator at an address, by TLS where that is spoken.
    pub(super) fn endpoint(&self, address: std::net::SocketAddr) -> Endpoint {
        let Some(authority) = &self.authority else {
            return Endpoint::from_shared(format!("http://{address}")).unwrap();
        };
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name(KNOWN_AS);
        Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap()
    }
}
