//! Who asks over HTTP. A program sends its token with each request; a browser has shown it once, and has a cookie from then on. The cookie says
//! until when it holds and is signed with a key made of the token, so that it holds on every coordinator of a store, and on none once the token
//! is another or was revoked. What each may do is the table of the coordinator (`access`).
//!
//! What changes something and comes from a browser must come from this page: a browser sends its cookie, and reaches a coordinator
//! without a token, for the pages of others too.

mod cookie;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use terms::Role;

use self::cookie::CookieName;
pub(super) use self::cookie::Session;
use super::{
    answers::{Code, Refusal},
    wanted,
};
use crate::access::{ADMIN, Caller, Identities, Live, VIEWER, Who, table};

/// Where a browser shows its token.
pub(super) const LOGIN: &str = "/login";

/// Decides who is let in; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Access(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    identities: Identities,
    /// Only reached from this machine, so that a name that is not its own is someone else's page asking.
    is_local: bool,
    cookie: CookieName,
}

/// How someone is known.
#[derive(Debug, Clone)]
enum Known {
    /// By a token that came with the request, which no other page can send.
    Token(Caller),
    /// By what a browser sends by itself, whichever page asks.
    Browser(Caller),
}

impl Access {
    /// Lets in those whom `identities` knows, on this address.
    pub(super) fn new(identities: Identities, address: SocketAddr, is_secure: bool) -> Self {
        let (is_local, cookie) = (address.ip().is_loopback(), CookieName::new(address.port(), is_secure));
        Self(Arc::new(Rules { identities, is_local, cookie }))
    }

    /// The session of a browser that shows this token; none for a wrong one, or one of a role that has no page.
    pub(super) fn log_in(&self, token: &str) -> Option<Session> {
        let caller = self.0.identities.of_token(token).ok()?;
        table::route("GET", Some("/")).has(Some(caller.role)).then_some(())?;
        // Tokens of files are known by their names, stored ones by what they begin with.
        let is_stored = !caller.until.is_unbounded();
        let who = if is_stored { token.split_once('.')?.0 } else { caller.name.as_deref().unwrap_or(ADMIN) };
        let (_, key) = self.session(who)?;
        Some(Session::new(who, &key, self.0.cookie))
    }

    /// The cookie that ends a session of a browser that sends these headers.
    pub(super) fn log_out(&self, asked: &HeaderMap) -> String {
        self.0.cookie.ended(asked)
    }

    /// Whether anyone has to show a token.
    pub(super) fn wants_token(&self) -> bool {
        self.0.identities.wants_token()
    }

    /// Who that is, and what their sessions are signed with: what is not in the store is part of it, so that who reads the store can make
    /// none.
    fn session(&self, who: &str) -> Option<(Caller, Vec<u8>)> {
        let of_file = |name, role| {
            let caller = Caller { name: Some(Arc::from(name)), role, ..Caller::unasked() };
            Some((caller, self.0.identities.cookie_key(role)?.into_bytes()))
        };
        match who {
            ADMIN => of_file(ADMIN, Role::Admin),
            VIEWER => of_file(VIEWER, Role::Viewer),
            id => {
                let (caller, hash) = self.0.identities.of_id(id).ok()?;
                let mut key = self.0.identities.cookie_key(Role::Admin)?.into_bytes();
                key.extend(hash.as_bytes());
                Some((caller, key))
            }
        }
    }

    /// Who asks; none where a token is missing or wrong.
    fn known(&self, headers: &HeaderMap) -> Option<Known> {
        if !self.wants_token() {
            return Some(Known::Browser(Caller::unasked()));
        }
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let token = given.to_str().ok()?.strip_prefix("Bearer ")?;
            return self.0.identities.of_token(token).ok().map(Known::Token);
        }
        Session::of(headers, self.0.cookie, |who| self.session(who)).map(Known::Browser)
    }
}

/// Lets a request through to its route, or answers why not.
pub(super) async fn check(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    if access.0.is_local && !access.wants_token() && !is_this_machine(request.headers()) {
        return Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            Code::NotThisMachine,
            "this coordinator serves its own machine without a token, by the names localhost, 127.0.0.1 and [::1] alone; \
             start it with a token and an address of the network (`sweep serve --token-file FILE --http 0.0.0.0:PORT`) to reach it by others",
        )
        .into_response();
    }
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let who = table::route(request.method().as_str(), route.as_deref());
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let known = access.known(request.headers());
    let from = from(&request);
    if changes && !matches!(known, Some(Known::Token(_))) && is_of_another_page(request.headers()) {
        let what = format!("{} {}", request.method(), request.uri().path());
        let result = "a page of another server asked";
        match known {
            Some(Known::Token(caller) | Known::Browser(caller)) => {
                caller.at(&from).note_refusal(&what, result);
            }
            None => tracing::info!(target: "audit", who = "", from, what, result, "refused"),
        }
        return Refusal::new(
            StatusCode::FORBIDDEN,
            Code::CrossOrigin,
            "this was asked by a page of another server",
        )
        .into_response();
    }
    let caller = match known {
        Some(Known::Token(caller) | Known::Browser(caller)) => caller.at(&from),
        None if who.has(None) => Caller { role: Role::Viewer, ..Caller::unasked() }.at(&from),
        None => return ask_for_token(&request, &from, changes),
    };
    if !who.has(Some(caller.role)) {
        let what = format!("{} {}", request.method(), request.uri().path());
        caller.note_refusal(&what, "not for this role");
        return not_for(caller.role, who);
    }
    request.extensions_mut().insert(caller.issuer());
    request.extensions_mut().insert(caller.role);
    let answer = next.run(request).await;
    if caller.until.is_unbounded() {
        return answer;
    }
    answer.map(|body| Body::new(Live::new(body, caller.until, || None)))
}

/// Where a request comes from.
fn from(request: &Request) -> String {
    let address = request.extensions().get::<SocketAddr>();
    address.map(ToString::to_string).unwrap_or_default()
}

/// The answer to who shows no token, or a wrong one.
fn ask_for_token(request: &Request, from: &str, changes: bool) -> Response {
    let path = request.uri().path();
    let has_shown = request.headers().contains_key(header::AUTHORIZATION);
    if has_shown || changes {
        let what = format!("{} {path}", request.method());
        let result = if has_shown { "wrong token" } else { "no token" };
        tracing::info!(target: "audit", from, what, result, "refused");
    }
    if path.starts_with("/api/") {
        let (code, message) = match has_shown {
            false => (
                Code::NoToken,
                "this coordinator wants a token: send `Authorization: Bearer TOKEN`, or log in at /login",
            ),
            true => (
                Code::WrongToken,
                "the token is wrong, was revoked or has run out: send another one, as `Authorization: Bearer TOKEN`",
            ),
        };
        let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, code, message).into_response();
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        return refusal;
    }
    if changes {
        // What was to be changed is not done after a login.
        return Redirect::to(LOGIN).into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
    Redirect::to(&wanted::login(wanted)).into_response()
}

/// The answer to who has another role.
fn not_for(role: Role, who: Who) -> Response {
    let (code, message) = match role {
        Role::Viewer => (Code::Viewer, "a viewer's token only looks; log in with another one".to_owned()),
        other => (
            Code::Forbidden,
            format!("this token is for the role {}, and this is for {}", other.as_str(), who.words()),
        ),
    };
    Refusal::new(StatusCode::FORBIDDEN, code, message).into_response()
}

/// Whether a browser asks for a page of another server. Browsers of the last years say so in `Sec-Fetch-Site`; older ones name the page's
/// server in `Origin`. What says neither is no browser.
pub(super) fn is_of_another_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = text("host").unwrap_or_default();
    let of = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    of != Some(host)
}

/// Whether a browser cannot say which page asks: it does so with TLS, and to servers of its own machine.
pub(super) fn is_of_unknown_page(headers: &HeaderMap) -> bool {
    !headers.contains_key("sec-fetch-site") && !is_this_machine(headers)
}

/// Whether the name by which the server was reached is one of this machine alone. A page elsewhere can make its own name lead here, and
/// would be taken for this server's.
pub(super) fn is_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    };
    let name = without_port.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use domain::record::Token;

    use super::*;
    use crate::access::{Secret, TokenFiles};

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_request_of_another_page_is_told_from_one_of_this() {
        for (sent, is_other) in [
            (vec![("sec-fetch-site", "same-origin")], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![("sec-fetch-site", "same-site")], true),
            (vec![("sec-fetch-site", "cross-site"), ("origin", "http://a:1"), ("host", "a:1")], true),
            (vec![("origin", "http://a:1"), ("host", "a:1")], false),
            (vec![("origin", "http://a:2"), ("host", "a:1")], true),
            (vec![("origin", "null"), ("host", "a:1")], true),
            (vec![("host", "a:1")], false),
        ] {
            assert_eq!(is_of_another_page(&headers(&sent)), is_other, "{sent:?}");
        }
    }

    #[test]
    fn names_of_this_machine_are_few() {
        for (host, is_this) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("127.0.0.1:80", true),
            ("127.8.0.1", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("10.0.0.1:80", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(&headers(&[("host", host)])), is_this, "{host}");
        }
        assert!(!is_this_machine(&HeaderMap::new()));
    }

    fn identities(admin: &str) -> Identities {
        let text = |text: &str| Some(Secret::Text(text.to_owned()));
        let files = TokenFiles { admin: text(admin), viewer: text("look") };
        let identities = Identities::open(files).unwrap();
        let token = |id: &str, role| Token {
            id: id.to_owned(),
            name: "ann".to_owned(),
            role,
            secret_hash: *blake3::hash(b"hers").as_bytes(),
            created_unix_ms: 1,
            created_by: ADMIN.to_owned(),
            expires_unix_ms: None,
            revoked_unix_ms: None,
        };
        identities.take(vec![token("a1", Role::Submitter), token("b2", Role::Worker)], true);
        identities
    }

    fn access(admin: &str, is_secure: bool) -> Access {
        Access::new(identities(admin), SocketAddr::from(([10, 0, 0, 1], 80)), is_secure)
    }

    /// The role, and whether a token came with the request.
    fn known(access: &Access, all: &[(&'static str, &str)]) -> Option<(Role, bool)> {
        Some(match access.known(&headers(all))? {
            Known::Token(caller) => (caller.role, true),
            Known::Browser(caller) => (caller.role, false),
        })
    }

    #[test]
    fn a_token_has_its_role_and_no_other_has_one() {
        let access = access("secret", false);
        let known = |value: &str| known(&access, &[("authorization", value)]);
        assert_eq!(known("Bearer secret"), Some((Role::Admin, true)));
        assert_eq!(known("Bearer look"), Some((Role::Viewer, true)));
        assert_eq!(known("Bearer a1.hers"), Some((Role::Submitter, true)));
        for wrong in ["Bearer secre", "Bearer ", "secret", "Basic secret", "Bearer secret ", "Bearer a1.his"]
        {
            assert_eq!(known(wrong), None, "{wrong}");
        }
        assert!(access.known(&HeaderMap::new()).is_none());
        let open = Access::new(Identities::default(), SocketAddr::from(([127, 0, 0, 1], 80)), false);
        assert_eq!(super::tests::known(&open, &[]), Some((Role::Admin, false)));
    }

    #[test]
    fn a_cookie_holds_as_long_as_the_token_that_it_was_made_with() {
        let ours = access("secret", true);
        let sent = |session: &Session| {
            let cookie = session.cookie(&HeaderMap::new());
            format!("other=1; {}", cookie.split(';').next().unwrap())
        };
        let of = |access: &Access, session: &Session| known(access, &[("cookie", &sent(session))]);
        let log_in = |token: &str| ours.log_in(token);
        let (admin, viewer) = (log_in("secret").unwrap(), log_in("look").unwrap());
        let submitter = log_in("a1.hers").unwrap();
        assert_eq!(of(&ours, &admin), Some((Role::Admin, false)));
        assert_eq!(of(&ours, &viewer), Some((Role::Viewer, false)));
        assert_eq!(of(&ours, &submitter), Some((Role::Submitter, false)));
        assert!(log_in("wrong").is_none());
        assert!(log_in("b2.hers").is_none(), "a worker has no page");
        let changed = access("another", true);
        assert_eq!(of(&changed, &admin), None);
        assert_eq!(of(&changed, &submitter), None, "the store alone makes no sessions");
        assert_eq!(of(&changed, &viewer), Some((Role::Viewer, false)));
        // Over TLS no other cookie counts, whoever gave it to the browser and whatever else that sends.
        let plain = access("secret", false);
        let (over, without) = (("x-forwarded-proto", "https"), plain.log_in("look").unwrap());
        let both = format!("{}; {}", sent(&without), sent(&admin));
        assert_eq!(of(&ours, &without), None, "the names of both differ");
        assert_eq!(known(&ours, &[("cookie", &both)]), Some((Role::Admin, false)));
        assert_eq!(known(&plain, &[("cookie", &both)]), Some((Role::Viewer, false)));
        assert_eq!(known(&plain, &[("cookie", &both), over]), Some((Role::Admin, false)));
        assert_eq!(known(&plain, &[("cookie", &sent(&without)), over]), None);
        let asked = [(over.0.parse().unwrap(), over.1.parse().unwrap())].into_iter().collect();
        assert!(plain.log_out(&asked).starts_with("__Host-sweep-session-"));
        assert!(plain.log_out(&HeaderMap::new()).starts_with("sweep-session-"));
        let token = ours.0.identities.stored("a1").unwrap();
        ours.0.identities.keep(Token { revoked_unix_ms: Some(2), ..token });
        assert_eq!(of(&ours, &submitter), None, "revoked");
    }
}
