//! Asking coordinators for a certificate, one after the other.

use std::{sync::Arc, time::Duration};

use proto::{
    client,
    join::{JoinToken, authority_hash},
    v1::{EnrolRequest, EnrolResponse, access_service_client::AccessServiceClient},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use terms::WorkerName;
use tonic::{
    Request,
    transport::{ClientTlsConfig, Endpoint},
};

use super::{
    identity::Identity,
    not_given::{Kind, NotGiven},
    pinned::Pinned,
};
use crate::agent::target::{CONNECT_WITHIN, chain, unreached};

/// Longest wait for an answer, which is made at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What to do where a worker cannot join as the coordinator is of another authority.
const ANOTHER_AUTHORITY: &str =
    "correct --coordinator, or give a join token of that coordinator with --join-file";
/// What to do where a worker that joins comes to a port without TLS.
const NEEDS_TLS: &str = "name the port of the --listen of a coordinator that was started with --authority";

/// What a worker shows.
pub(super) enum By<'a> {
    /// The certificate that it has.
    Certificate(&'a Identity),
    /// A join token.
    Token(JoinToken),
}

/// What a coordinator gave.
#[derive(Debug)]
pub(super) struct Given {
    /// Made for it.
    pub(super) key: KeyPair,
    pub(super) answer: EnrolResponse,
    /// Whether by a join token.
    pub(super) joined: bool,
}

/// Asks the coordinators of `urls` until one gives a certificate.
pub(super) async fn ask(urls: &str, name: &WorkerName, by: &By<'_>) -> Result<Given, NotGiven> {
    let (key, request) = made().map_err(|error| NotGiven::refused(&format!("cannot make a key: {error}")))?;
    let request = EnrolRequest { worker: name.to_string(), request };
    let mut said = Vec::new();
    for url in urls.split(',').map(str::trim) {
        match one(url, request.clone(), by).await {
            Ok(answer) => return Ok(Given { key, answer, joined: matches!(by, By::Token(_)) }),
            Err(error) => said.push(error.at(url)),
        }
    }
    Err(NotGiven::by_all(said))
}

fn made() -> Result<(KeyPair, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()?;
    Ok((key, request))
}

async fn one(url: &str, request: EnrolRequest, by: &By<'_>) -> Result<EnrolResponse, NotGiven> {
    let refused = |error: &dyn std::error::Error| NotGiven::refused(&chain(error));
    let full = terms::coordinator_url(url).map_err(NotGiven::misdirected)?;
    if !full.starts_with("https://") {
        let why = "a worker joins by TLS alone; name the coordinator as https://HOST:PORT";
        return Err(NotGiven::misdirected(why));
    }
    match by {
        By::Certificate(identity) => {
            let (authority, own) = (identity.authority(), identity.own());
            let endpoint = client::endpoint_as(url, Some(&authority), Some(&own));
            call(endpoint.map_err(|error| refused(&error))?, Request::new(request)).await
        }
        By::Token(JoinToken { token, authority }) => {
            let verifier = Arc::new(Pinned::new(authority.clone()));
            let endpoint = Endpoint::from_shared(full).map_err(|error| refused(&error))?;
            let endpoint = endpoint
                .tls_config_with_verifier(ClientTlsConfig::new(), verifier.clone())
                .map_err(|error| refused(&error))?;
            let mut request = Request::new(request);
            let bearer = client::bearer(token).map_err(|error| refused(&error))?;
            request.metadata_mut().insert("authorization", bearer);
            let answer = match call(endpoint, request).await {
                // That does not pass, and the token was not shown.
                Err(why) if why.kind() == Kind::Unanswered && verifier.met_another() => {
                    return Err(NotGiven::misdirected(&format!("{}; {ANOTHER_AUTHORITY}", why.finding())));
                }
                answer => answer?,
            };
            let hash =
                CertificateDer::from_pem_slice(answer.authority.as_bytes()).map(|der| authority_hash(&der));
            match hash {
                Ok(hash) if hash == *authority => Ok(answer),
                _ => Err(NotGiven::refused("what it gave is not of the authority of the join token")),
            }
        }
    }
}

async fn call(endpoint: Endpoint, request: Request<EnrolRequest>) -> Result<EnrolResponse, NotGiven> {
    let connected = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect()).await;
    let silent = || NotGiven::unanswered("it did not answer");
    let channel = connected.map_err(|_| silent())?.map_err(|error| not_reached(&unreached(&error)))?;
    let mut client = AccessServiceClient::new(channel);
    let answered = tokio::time::timeout(ANSWER_WITHIN, client.enrol(request)).await.map_err(|_| silent())?;
    answered.map(tonic::Response::into_inner).map_err(|status| NotGiven::answered(&status))
}

/// Why there is no connection. What others do at a port without TLS, to name it with `http://`, is of no use to a worker that joins.
fn not_reached(why: &str) -> NotGiven {
    match proto::unreached::without_tls(why) {
        Some(finding) => NotGiven::unanswered(&format!("{finding}; {NEEDS_TLS}")),
        None => NotGiven::unanswered(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_join_token_is_shown_over_tls_alone() {
        let token = JoinToken { token: "a.b".to_owned(), authority: authority_hash(b"one") };
        let name = "one".parse().unwrap();
        for url in ["http://127.0.0.1:1", "127.0.0.1:1"] {
            let refused = ask(url, &name, &By::Token(token.clone())).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Misdirected, "{refused:?}");
            assert!(refused.advice().contains("https://HOST:PORT"), "{refused:?}");
        }
    }
}
