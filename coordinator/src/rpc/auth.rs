//! Who calls over gRPC, and whether they may: by the bearer token of the call.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use engine::Issuer;
use http_body::Frame;
use proto::caller::{CALLER_METADATA, TakenFor};
use tonic::{
    Code, Request, Status,
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{self, HeaderMap, HeaderValue, header::AUTHORIZATION},
    },
    server::NamedService,
};

use super::connections::Peer;
use crate::{
    access::{Caller, Identities, Live, NotKnown, NotLoggedIn, table},
    api::ApiError,
    driver::{Leadership, Role as LeaderOrNot},
};

/// Lets calls through to a service from those who may make them.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    identities: Identities,
    leadership: Leadership,
}

impl<S> Guarded<S> {
    /// For those whom `identities` knows; whom it may not know yet is told who leads.
    pub fn new(inner: S, identities: Identities, leadership: Leadership) -> Self {
        Self { inner, identities, leadership }
    }

    /// Another service behind the same.
    pub fn of<T>(&self, inner: T) -> Guarded<T> {
        Guarded::new(inner, self.identities.clone(), self.leadership.clone())
    }

    /// The same as [`refused`]; a caller whom the one that leads may know is sent there.
    fn refused(&self, why: NotKnown) -> Status {
        match (why, self.leadership.role()) {
            (NotKnown::Unsure, LeaderOrNot::Following(Some(leader))) => ApiError::NotLeading {
                message: format!(
                    "this coordinator stands by for the one at {leader}, and does not know this token yet"
                ),
                leader: Some(leader),
            }
            .into(),
            _ => refused(why),
        }
    }

    /// Whose token or certificate comes with a call; none where no one is asked, or neither is there.
    fn known<B>(&self, request: &http::Request<B>) -> Option<Result<Caller, NotKnown>> {
        if !self.identities.wants_token() {
            return None;
        }
        let peer = request.extensions().get::<Arc<Peer>>();
        match (token(request.headers()), peer.and_then(|peer| peer.certificate())) {
            (Some(token), _) => Some(self.identities.of_token(token)),
            (None, Some(shown)) => Some(self.identities.of_certificate(shown)),
            (None, None) => None,
        }
    }

    /// Who calls, of whom that is `known`.
    ///
    /// # Errors
    /// They may not, with who they are where that is known.
    fn admit<B>(
        &self,
        request: &http::Request<B>,
        known: Option<Result<Caller, NotKnown>>,
    ) -> Result<Caller, (Status, Option<Caller>)> {
        let who = table::call(request.uri().path());
        if !self.identities.wants_token() {
            return Ok(Caller::unasked());
        }
        let caller = match known {
            Some(known) => known.map_err(|why| self.refused(why)),
            None => Err(Status::unauthenticated("this coordinator wants a token; give --token-file")),
        };
        match caller {
            Ok(caller) if who.has(Some(caller.role)) => Ok(caller),
            Ok(caller) => {
                let status = Status::permission_denied(format!(
                    "this token is for the role {}, and this is for {}; ask an admin for another token",
                    caller.role.as_str(),
                    who.words()
                ));
                Err((status, Some(caller)))
            }
            // What anyone may have, they may have with a wrong token, too.
            Err(_) if who.has(None) => {
                Ok(Caller { name: None, role: terms::Role::Viewer, ..Caller::unasked() })
            }
            Err(refused) => Err((refused, None)),
        }
    }
}

/// As whom a call was taken, for its answer; none where a name cannot travel so.
fn taken_for(caller: &Caller, is_asked: bool) -> Option<HeaderValue> {
    let name = is_asked.then(|| caller.name.as_deref().unwrap_or("local").to_owned());
    let taken_for = TakenFor { role: caller.role.as_str().to_owned(), name };
    HeaderValue::from_bytes(taken_for.written().as_bytes()).ok()
}

/// The token of a call.
fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn refused(why: NotKnown) -> Status {
    let code = match why {
        NotKnown::Unsure | NotKnown::Lapsed | NotKnown::NotLoggedIn(NotLoggedIn::KeysAway) => {
            Code::Unavailable
        }
        NotKnown::Wrong
        | NotKnown::Revoked
        | NotKnown::JoinRevoked
        | NotKnown::Expired
        | NotKnown::Elsewhere
        | NotKnown::NotLoggedIn(_) => Code::Unauthenticated,
    };
    Status::new(code, why.to_string())
}

/// What someone is told who may no longer stay.
pub(super) fn no_longer(caller: &Caller) -> Status {
    match caller.worker {
        None => Status::unauthenticated("the token of this stream was revoked or has run out"),
        // A worker with a certificate has another one by now, unless its token was revoked: then it is told so when it connects.
        Some(_) => refused(NotKnown::Lapsed),
    }
}

/// The end of a stream of such a caller.
fn ended_by(status: &Status) -> Option<Result<Frame<bytes::Bytes>, Status>> {
    let mut trailers = HeaderMap::new();
    // Fails only where the message is no header.
    status.add_header(&mut trailers).ok()?;
    Some(Ok(Frame::trailers(trailers)))
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let known = self.known(&request);
        let needs_to_be = !table::call(request.uri().path()).has(None);
        if !needs_to_be || !matches!(known, Some(Err(NotKnown::Unsure))) {
            return self.answer(request, known);
        }
        // The one that is ready is taken along.
        let next = self.clone();
        let mut ready = std::mem::replace(self, next);
        Box::pin(async move {
            ready.identities.look_again().await;
            let known = ready.known(&request);
            ready.answer(request, known).await
        })
    }
}

impl<S> Guarded<S> {
    /// The answer to a call, if whose that is may make it.
    fn answer<B>(
        &mut self,
        mut request: http::Request<B>,
        known: Option<Result<Caller, NotKnown>>,
    ) -> BoxFuture<http::Response<Body>, Infallible>
    where
        S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
        S::Future: Send + 'static,
    {
        let peer = request.extensions().get::<Arc<Peer>>().map(|peer| peer.address().to_string());
        let from = peer.unwrap_or_default();
        let caller = match self.admit(&request, known) {
            Ok(caller) => caller.at(&from),
            Err((status, who)) => {
                let what = request.uri().path();
                match who {
                    Some(caller) => caller.at(&from).note_refusal(what, status.message()),
                    None => {
                        let result = status.message();
                        tracing::info!(target: "audit", who = "", from, what, result, "refused");
                    }
                }
                return Box::pin(std::future::ready(Ok(status.into_http())));
            }
        };
        request.extensions_mut().insert(caller.issuer());
        let taken_for = taken_for(&caller, self.identities.wants_token());
        let (until, last) = (caller.until.clone(), no_longer(&caller));
        let why = if caller.worker.is_some() { NotKnown::Lapsed } else { NotKnown::Revoked };
        request.extensions_mut().insert(caller);
        let answer = self.inner.call(request);
        let answer = async move {
            let mut answer = answer.await?;
            if let Some(taken_for) = taken_for {
                answer.headers_mut().insert(CALLER_METADATA, taken_for);
            }
            Ok(answer)
        };
        if until.is_unbounded() {
            return Box::pin(answer);
        }
        Box::pin(async move {
            let answer = answer.await?;
            // It may have ended while the answer was made.
            if !until.holds(SystemTime::now()) {
                return Ok(refused(why).into_http());
            }
            Ok(answer.map(|body| Body::new(Live::new(body, until, move || ended_by(&last)))))
        })
    }
}

/// Who calls; where no one was asked, anyone.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_else(Caller::unasked)
}

/// As whom someone gives a command.
pub(super) fn issuer<T>(request: &Request<T>) -> Issuer {
    request.extensions().get().cloned().unwrap_or_else(Issuer::local)
}

#[cfg(test)]
mod tests {
    use domain::record::Record;
    use terms::Role;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::access::{self, Secret, TokenFiles, follow};

    fn admitted(admin: Option<&str>, path: &str, header: Option<&str>) -> Result<Option<Arc<str>>, Code> {
        let admin = admin.map(|admin| Secret::Text(admin.to_owned()));
        let guarded = Guarded::new(
            (),
            Identities::open(TokenFiles { admin, viewer: None }).unwrap(),
            Leadership::default(),
        );
        let mut request = http::Request::builder().uri(path);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let request = request.body(()).unwrap();
        let caller = guarded.admit(&request, guarded.known(&request));
        caller.map(|caller| caller.name).map_err(|(status, _)| status.code())
    }

    #[test]
    fn who_shows_a_token_that_only_the_leader_may_know_is_told_who_leads() {
        let admin = Some(Secret::Text("secret".to_owned()));
        let leadership = Leadership::default();
        let identities = Identities::open(TokenFiles { admin, viewer: None }).unwrap();
        let guarded = Guarded::new((), identities, leadership.clone());
        let refusal = || {
            let request = http::Request::builder().uri("/sweep.v1.SweepService/ListSweeps");
            let request = request.header("authorization", "Bearer a.new").body(()).unwrap();
            guarded.admit(&request, guarded.known(&request)).unwrap_err().0
        };
        assert_eq!(
            (refusal().code(), refusal().metadata().len()),
            (Code::Unavailable, 0),
            "no one is known to lead"
        );
        leadership.set(LeaderOrNot::Following(Some("http://a:1".to_owned())));
        let status = refusal();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get(proto::leader::LEADER_METADATA).unwrap(), "http://a:1");
        assert!(status.message().contains("does not know this token yet"), "{status:?}");
    }

    #[tokio::test]
    async fn who_shows_a_token_that_another_coordinator_has_just_made_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(&format!("sqlite:{}", folder.path().join("sweep.db").display())).await;
        let (store, leadership, stop) = (store.unwrap(), Leadership::default(), CancellationToken::new());
        let admin = Some(Secret::Text("all-of-it".to_owned()));
        let identities = Identities::open(TokenFiles { admin, viewer: None }).unwrap();
        follow(&identities, None, (&store, &leadership), &stop);
        let made = Record::TokenKept(Box::new(access::token("a", Role::Viewer)));
        store.commit(&[made]).await.unwrap();
        let inner = tower::service_fn(|_: http::Request<()>| async {
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
        let mut guarded = Guarded::new(inner, identities, leadership);
        let mut status_of = async |token: &str| {
            let request = http::Request::builder().uri("/sweep.v1.SweepService/ListSweeps");
            let request = request.header("authorization", format!("Bearer {token}")).body(()).unwrap();
            let answer = guarded.call(request).await.unwrap();
            Status::from_header_map(answer.headers()).map(|status| status.code())
        };
        assert_eq!(status_of("a.secret").await, None);
        assert_eq!(status_of("a.secrets").await, Some(Code::Unauthenticated));
        assert_eq!(status_of("b.secret").await, Some(Code::Unavailable), "the leader may know it");
        stop.cancel();
        store.close().await;
    }

    #[test]
    fn only_the_token_passes_and_the_call_has_its_name() {
        const LIST: &str = "/sweep.v1.SweepService/ListSweeps";
        assert!(admitted(Some("secret"), LIST, Some("Bearer secret")).is_ok());
        for wrong in [
            None,
            Some("secret"),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer secre"),
            Some("Bearer secrets"),
        ] {
            assert_eq!(admitted(Some("secret"), LIST, wrong), Err(Code::Unauthenticated), "{wrong:?}");
            let health = admitted(Some("secret"), "/grpc.health.v1.Health/Check", wrong);
            assert_eq!(health, Ok(None), "{wrong:?}");
        }
        assert_eq!(admitted(None, LIST, None), Ok(None));
    }
}
