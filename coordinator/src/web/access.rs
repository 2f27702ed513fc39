//! Who asks, and what they may: the holder of the token may do everything, the holder of the viewers' token may look. A program sends its
//! token with each request; a browser has shown it once, and has a cookie from then on. The cookie says until when it holds and is signed
//! with a key made of the token, so that it holds on every coordinator of a store, and on none once the token is another.
//!
//! What changes something and comes from a browser must come from this page: a browser sends its cookie, and reaches a coordinator
//! without a token, for the pages of others too.

mod cookie;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use engine::Issuer;
use subtle::ConstantTimeEq;

use self::cookie::CookieName;
pub(super) use self::cookie::Session;
use super::{
    answers::{Code, Refusal},
    wanted,
};

/// Where a browser shows its token.
pub(super) const LOGIN: &str = "/login";
/// What everyone may have: the page of the login, and what it is drawn with.
const PUBLIC: &[&str] = &[LOGIN, "/assets/"];

/// The tokens that a coordinator knows.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Whose holder may do everything; without it everyone may.
    pub all: Option<String>,
    /// Whose holder may look.
    pub viewer: Option<String>,
    /// Only reached from this machine, so that a name that is not its own is someone else's page asking.
    pub is_local: bool,
}

/// What someone may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Look.
    Viewer,
    /// Everything.
    Admin,
}

/// Decides who is let in; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Access(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    tokens: Tokens,
    cookie: CookieName,
}

/// How someone is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// By a token that came with the request, which no other page can send.
    Token(Role),
    /// By what a browser sends by itself, whichever page asks.
    Browser(Role),
}

impl Access {
    /// Lets in who has one of these tokens, on this port.
    pub(super) fn new(tokens: &Tokens, port: u16, is_secure: bool) -> Self {
        Self(Arc::new(Rules { tokens: tokens.clone(), cookie: CookieName::new(port, is_secure) }))
    }

    /// The session of a browser that shows this token; none for a wrong one.
    pub(super) fn log_in(&self, token: &str) -> Option<Session> {
        let role = self.role_of(token)?;
        Some(Session::new(role, self.key(role)?, &self.0.cookie))
    }

    /// The cookie that ends a session.
    pub(super) fn log_out(&self) -> String {
        self.0.cookie.ended()
    }

    /// Whether anyone has to show a token.
    pub(super) fn wants_token(&self) -> bool {
        self.0.tokens.all.is_some()
    }

    fn role_of(&self, token: &str) -> Option<Role> {
        // In constant time, so that the answer's delay tells nothing about the token.
        let is = |known: &Option<String>| {
            known.as_ref().is_some_and(|known| bool::from(known.as_bytes().ct_eq(token.as_bytes())))
        };
        let Tokens { all, viewer, .. } = &self.0.tokens;
        let (is_all, is_viewer) = (is(all), is(viewer));
        if is_all { Some(Role::Admin) } else { is_viewer.then_some(Role::Viewer) }
    }

    /// The token that cookies of this role are signed with.
    fn key(&self, role: Role) -> Option<&str> {
        let Tokens { all, viewer, .. } = &self.0.tokens;
        match role {
            Role::Admin => all.as_deref(),
            Role::Viewer => viewer.as_deref(),
        }
    }

    /// Who asks; none where a token is missing or wrong.
    fn known(&self, headers: &HeaderMap) -> Option<Known> {
        if !self.wants_token() {
            return Some(Known::Browser(Role::Admin));
        }
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let token = given.to_str().ok()?.strip_prefix("Bearer ")?;
            return self.role_of(token).map(Known::Token);
        }
        let roles = [Role::Admin, Role::Viewer];
        let holds = |role: &Role| {
            self.key(*role).is_some_and(|key| Session::holds(headers, *role, key, &self.0.cookie))
        };
        roles.into_iter().find(holds).map(Known::Browser)
    }
}

/// Lets a request through to its route, or answers why not.
pub(super) async fn check(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if access.0.tokens.is_local && !access.wants_token() && !is_this_machine(request.headers()) {
        return Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            Code::NotThisMachine,
            "this coordinator serves its own machine without a token, by the names localhost, 127.0.0.1 and [::1] alone",
        )
        .into_response();
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let known = access.known(request.headers());
    if changes && !matches!(known, Some(Known::Token(_))) && is_of_another_page(request.headers()) {
        return Refusal::new(
            StatusCode::FORBIDDEN,
            Code::CrossOrigin,
            "this was asked by a page of another server",
        )
        .into_response();
    }
    let is_public =
        PUBLIC.iter().any(|public| path == *public || public.ends_with('/') && path.starts_with(public));
    let role = match known {
        Some(Known::Token(role) | Known::Browser(role)) => role,
        None if is_public => Role::Viewer,
        None if path.starts_with("/api/") => {
            let (code, message) = match request.headers().contains_key(header::AUTHORIZATION) {
                false => (
                    Code::NoToken,
                    "this coordinator wants a token: send `Authorization: Bearer TOKEN`, or log in at /login",
                ),
                true => (
                    Code::WrongToken,
                    "the token is wrong: send the one that this coordinator was started with, as `Authorization: Bearer TOKEN`",
                ),
            };
            let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, code, message).into_response();
            refusal
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            return refusal;
        }
        // What was to be changed is not done after a login.
        None if changes => return Redirect::to(LOGIN).into_response(),
        None => {
            let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
            return Redirect::to(&wanted::login(wanted)).into_response();
        }
    };
    if changes && role == Role::Viewer && !is_public && path != "/logout" {
        return Refusal::new(
            StatusCode::FORBIDDEN,
            Code::Viewer,
            "the viewers' token only looks; log in with the other one",
        )
        .into_response();
    }
    let issuer = match (access.wants_token(), role) {
        (false, _) => Issuer::local(),
        (true, Role::Admin) => Issuer::named("token"),
        (true, Role::Viewer) => Issuer::named("viewer"),
    };
    request.extensions_mut().insert(issuer);
    request.extensions_mut().insert(role);
    next.run(request).await
}

/// Whether a browser asks for a page of another server. Browsers of the last years say so in `Sec-Fetch-Site`; older ones name the page's
/// server in `Origin`. What says neither is no browser.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = text("host").unwrap_or_default();
    let of = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    of != Some(host)
}

/// Whether the name by which the server was reached is one of this machine alone. A page elsewhere can make its own name lead here, and
/// would be taken for this server's.
fn is_this_machine(headers: &HeaderMap) -> bool {
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
    use super::*;

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

    #[test]
    fn a_token_has_its_role_and_no_other_has_one() {
        let tokens = Tokens { all: Some("secret".into()), viewer: Some("look".into()), is_local: false };
        let access = Access::new(&tokens, 80, false);
        let known = |value: &str| access.known(&headers(&[("authorization", value)]));
        assert_eq!(known("Bearer secret"), Some(Known::Token(Role::Admin)));
        assert_eq!(known("Bearer look"), Some(Known::Token(Role::Viewer)));
        for wrong in ["Bearer secre", "Bearer ", "secret", "Basic secret", "Bearer secret "] {
            assert_eq!(known(wrong), None, "{wrong}");
        }
        assert_eq!(access.known(&HeaderMap::new()), None);
        let open = Access::new(&Tokens::default(), 80, false);
        assert_eq!(open.known(&HeaderMap::new()), Some(Known::Browser(Role::Admin)));
    }

    #[test]
    fn a_cookie_holds_as_long_as_the_token_that_it_was_made_with() {
        let tokens =
            |all: &str| Tokens { all: Some(all.into()), viewer: Some("look".into()), is_local: false };
        let access = Access::new(&tokens("secret"), 80, true);
        let sent = |session: &Session| {
            let cookie = session.cookie();
            headers(&[("cookie", &format!("other=1; {}", cookie.split(';').next().unwrap()))])
        };
        let (admin, viewer) = (access.log_in("secret").unwrap(), access.log_in("look").unwrap());
        assert_eq!(access.known(&sent(&admin)), Some(Known::Browser(Role::Admin)));
        assert_eq!(access.known(&sent(&viewer)), Some(Known::Browser(Role::Viewer)));
        assert!(access.log_in("wrong").is_none());
        let changed = Access::new(&tokens("another"), 80, true);
        assert_eq!(changed.known(&sent(&admin)), None);
        assert_eq!(changed.known(&sent(&viewer)), Some(Known::Browser(Role::Viewer)));
        let plain = Access::new(&tokens("secret"), 80, false);
        assert_eq!(plain.known(&sent(&admin)), None, "the names of both differ");
    }
}
