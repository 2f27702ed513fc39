//! Fetches an issuer's keys: its description says where they are.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use reqwest::{Certificate, Client, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::{Host, Url};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: a hundred keys with their certificates.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Asks one issuer.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    issuer: String,
}

/// What an issuer says of itself, as far as it matters.
#[derive(Debug, Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Whether keys may be fetched from there: who can change them on the way can make any token.
pub(super) fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("this is no address: {error}"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("this address has no host".to_owned()),
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_local => Ok(()),
        _ => Err("keys are fetched over https:// alone, or over http:// from this machine".to_owned()),
    }
}

impl Fetcher {
    /// For this issuer, whose certificate is of one of these authorities, or of one of the system's.
    pub(super) fn new(issuer: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        // Of two implementations of TLS that could be built in, this is the one. An error says that it is set already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .timeout(ANSWER_WITHIN)
            // Keys come from where the issuer says, and from nowhere else.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("sweep/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let pem =
                fs::read(path).with_context(|| format!("--oidc-ca {} cannot be read", path.display()))?;
            let trusted = Certificate::from_pem_bundle(&pem);
            client = client.tls_certs_only(
                trusted
                    .with_context(|| format!("--oidc-ca {} holds no certificates (PEM)", path.display()))?,
            );
        }
        Ok(Self { client: client.build().context("no keys can be fetched")?, issuer: issuer.to_owned() })
    }

    /// The keys, as the issuer has them now.
    pub(super) async fn keys(&self) -> anyhow::Result<Vec<Value>> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let Description { issuer, jwks_uri } = self.get(&address).await?;
        ensure!(
            issuer == self.issuer,
            "the issuer calls itself {issuer:?}, and --oidc-issuer is {:?}; both must be the same text",
            self.issuer
        );
        check_url(&jwks_uri).map_err(|why| anyhow::anyhow!("its keys are at {jwks_uri}: {why}"))?;
        Ok(self.get::<KeySet>(&jwks_uri).await?.keys)
    }

    async fn get<T: DeserializeOwned>(&self, address: &str) -> anyhow::Result<T> {
        let asked = self.client.get(address).send().await;
        let mut answer = asked.with_context(|| format!("{address} does not answer"))?;
        if !answer.status().is_success() {
            bail!("{address} answers {}", answer.status());
        }
        let mut body = Vec::new();
        while let Some(piece) =
            answer.chunk().await.with_context(|| format!("the answer of {address} breaks off"))?
        {
            ensure!(
                body.len() + piece.len() <= ANSWER_BYTES_MAX,
                "{address} answers with more than {ANSWER_BYTES_MAX} bytes"
            );
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).with_context(|| format!("{address} does not answer as an issuer does"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_a_way_that_no_one_can_change() {
        for good in [
            "https://issuer.example/realms/x",
            "http://127.0.0.1:8080",
            "http://localhost/x",
            "http://[::1]:1",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for wrong in [
            "http://issuer.example",
            "http://localhost.example",
            "ftp://127.0.0.1",
            "issuer",
            "http://10.0.0.1",
            "file:///x",
        ] {
            assert!(check_url(wrong).is_err(), "{wrong}");
        }
    }
}
