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
    Code, Request, Status,
    transport::{ClientTlsConfig, Endpoint},
};

use super::{identity::Identity, pinned::Pinned};
use crate::agent::target::{CONNECT_WITHIN, chain, unreached};

/// Longest wait for an answer, which is made at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What a worker shows.
pub(super) enum By<'a> {
    /// The certificate that it has.
    Certificate(&'a Identity),
    /// A join token.
    Token(JoinToken),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGiven {
    /// No coordinator answers, or none has the time, which may pass.
    #[error("{0}")]
    Unanswered(String),
    /// One refuses.
    #[error("{0}")]
    Refused(String),
    /// None was asked that could give one: the address or the file is wrong, or the authority another. No other join token helps.
    #[error("{0}")]
    Misdirected(String),
}

impl NotGiven {
    /// After the certificate that was there was tried in vain.
    pub(super) fn after(self, first: &Self) -> Self {
        let both = |second| format!("with the certificate: {first}; with the join token: {second}");
        match self {
            Self::Unanswered(second) => Self::Unanswered(both(second)),
            Self::Refused(second) => Self::Refused(both(second)),
            Self::Misdirected(second) => Self::Misdirected(both(second)),
        }
    }
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
    let (key, request) = made().map_err(|error| NotGiven::Refused(format!("cannot make a key: {error}")))?;
    let request = EnrolRequest { worker: name.to_string(), request };
    let (mut reasons, mut passes, mut refused) = (Vec::new(), true, false);
    for url in urls.split(',').map(str::trim) {
        match one(url, request.clone(), by).await {
            Ok(answer) => return Ok(Given { key, answer, joined: matches!(by, By::Token(_)) }),
            Err(error) => {
                passes &= matches!(error, NotGiven::Unanswered(_));
                refused |= matches!(error, NotGiven::Refused(_));
                reasons.push(format!("{url}: {error}"));
            }
        }
    }
    let reasons = reasons.join("; ");
    Err(match (refused, passes) {
        (true, _) => NotGiven::Refused(reasons),
        (false, true) => NotGiven::Unanswered(reasons),
        (false, false) => NotGiven::Misdirected(reasons),
    })
}

fn made() -> Result<(KeyPair, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()?;
    Ok((key, request))
}

async fn one(url: &str, request: EnrolRequest, by: &By<'_>) -> Result<EnrolResponse, NotGiven> {
    let refused = |error: &dyn std::error::Error| NotGiven::Refused(chain(error));
    let full = terms::coordinator_url(url).map_err(|reason| NotGiven::Misdirected(reason.to_owned()))?;
    if !full.starts_with("https://") {
        let why = "a worker joins by TLS alone; name the coordinator as https://HOST:PORT";
        return Err(NotGiven::Misdirected(why.to_owned()));
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
                Err(NotGiven::Unanswered(why)) if verifier.met_another() => {
                    return Err(NotGiven::Misdirected(format!(
                        "{why}; check --coordinator, or ask for a join token of that coordinator"
                    )));
                }
                answer => answer?,
            };
            let hash =
                CertificateDer::from_pem_slice(answer.authority.as_bytes()).map(|der| authority_hash(&der));
            match hash {
                Ok(hash) if hash == *authority => Ok(answer),
                _ => Err(NotGiven::Refused(
                    "what it gave is not of the authority of the join token".to_owned(),
                )),
            }
        }
    }
}

async fn call(endpoint: Endpoint, request: Request<EnrolRequest>) -> Result<EnrolResponse, NotGiven> {
    let connected = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect()).await;
    let silent = || NotGiven::Unanswered("it did not answer".to_owned());
    let channel =
        connected.map_err(|_| silent())?.map_err(|error| NotGiven::Unanswered(unreached(&error)))?;
    let mut client = AccessServiceClient::new(channel);
    let answered = tokio::time::timeout(ANSWER_WITHIN, client.enrol(request)).await.map_err(|_| silent())?;
    answered.map(tonic::Response::into_inner).map_err(|status| not_given(&status))
}

fn not_given(status: &Status) -> NotGiven {
    let said = match (status.message(), std::error::Error::source(status)) {
        ("", _) => status.code().to_string(),
        (_, Some(source)) => format!("the connection broke: {}", proto::unreached::broken(source)),
        (message, None) => message.to_owned(),
    };
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::Unimplemented => NotGiven::Refused(said),
        _ => NotGiven::Unanswered(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_as_it_is_is_a_refusal() {
        let refuses = |code| matches!(not_given(&Status::new(code, "no")), NotGiven::Refused(_));
        for code in
            [Code::Unauthenticated, Code::PermissionDenied, Code::FailedPrecondition, Code::Unimplemented]
        {
            assert!(refuses(code), "{code}");
        }
        for code in [Code::Unavailable, Code::ResourceExhausted, Code::Internal, Code::Unknown] {
            assert!(!refuses(code), "{code}");
        }
    }

    #[tokio::test]
    async fn a_join_token_is_shown_over_tls_alone() {
        let token = JoinToken { token: "a.b".to_owned(), authority: authority_hash(b"one") };
        let name = "one".parse().unwrap();
        for url in ["http://127.0.0.1:1", "127.0.0.1:1"] {
            let refused = ask(url, &name, &By::Token(token.clone())).await.unwrap_err();
            assert!(
                matches!(&refused, NotGiven::Misdirected(why) if why.contains("https://HOST:PORT")),
                "{refused:?}"
            );
        }
    }
}
