//! The cookie of a browser that has shown a token: `WHO.UNTIL.MAC`. WHO is `admin`, `viewer` or the id of a stored token; UNTIL is in seconds
//! since 1970; MAC is BLAKE3, keyed with what is derived from the token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};

/// How long a browser stays logged in.
const SESSION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What the key of a MAC is derived for, so that no other use of the token has the same.
const PURPOSE: &str = "sweep 2026-11 cookie of a browser";

/// How a browser reached the nearest of some proxies, or each of them, the one before all others first.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// What a server's cookies are called. Cookies are for all ports of a machine, on each of which there may be another coordinator, so the name has
/// the port. Where the browser speaks TLS, with this server or with a proxy before it, it is a name that browsers take from this host alone, and
/// only with `Secure`; no other counts there. Without TLS it is another one, as a browser lets no cookie without `Secure` take the place of one
/// that has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CookieName {
    port: u16,
    /// Whether this server speaks TLS itself.
    is_secure: bool,
}

/// What a browser keeps.
#[derive(Debug)]
pub(crate) struct Session {
    name: CookieName,
    value: String,
}

impl Session {
    /// A session of someone from now on.
    pub(super) fn new(who: &str, key: &[u8], name: CookieName) -> Self {
        let until = now().saturating_add(SESSION.as_secs());
        let said = format!("{who}.{until}");
        let mac = mac(key, &said).to_hex();
        Self { name, value: format!("{said}.{mac}") }
    }

    /// The header that hands it to a browser which has sent these headers.
    pub(crate) fn cookie(&self, asked: &HeaderMap) -> String {
        self.name.cookie(&self.value, SESSION, asked)
    }

    /// Whose session a browser has that sends these headers. `found` says who someone is, and what their sessions are signed with.
    pub(super) fn of<T>(
        headers: &HeaderMap,
        name: CookieName,
        found: impl Fn(&str) -> Option<(T, Vec<u8>)>,
    ) -> Option<T> {
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let name = name.of(name.is_over_tls(headers));
        pairs.find_map(|(sent, value)| {
            let (someone, key) = found(value.split_once('.').filter(|_| sent == name)?.0)?;
            is_valid(value, &key).then_some(someone)
        })
    }
}

impl CookieName {
    /// Of a server with this port.
    pub(super) fn new(port: u16, is_secure: bool) -> Self {
        Self { port, is_secure }
    }

    /// Whether the browser that sends these headers speaks TLS.
    fn is_over_tls(self, asked: &HeaderMap) -> bool {
        self.is_secure || is_behind_tls(asked)
    }

    /// The name with TLS or without.
    fn of(self, is_over_tls: bool) -> String {
        format!("{}sweep-session-{}", if is_over_tls { "__Host-" } else { "" }, self.port)
    }

    /// The header that takes the cookie back from a browser which has sent these headers.
    pub(super) fn ended(self, asked: &HeaderMap) -> String {
        self.cookie("", Duration::ZERO, asked)
    }

    /// No script may read it, and no form on a page of another server sends it.
    fn cookie(self, value: &str, lasts: Duration, asked: &HeaderMap) -> String {
        let is_over_tls = self.is_over_tls(asked);
        let (name, seconds) = (self.of(is_over_tls), lasts.as_secs());
        let secure = if is_over_tls { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// Whether a proxy says that the browser reached it by TLS.
fn is_behind_tls(asked: &HeaderMap) -> bool {
    let said = asked.get(FORWARDED_PROTO).and_then(|said| said.to_str().ok());
    let first = said.and_then(|said| said.split(',').next());
    first.is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
}

fn is_valid(value: &str, key: &[u8]) -> bool {
    let Some((said, given)) = value.rsplit_once('.') else { return false };
    let Some((_, until)) = said.split_once('.') else { return false };
    let Ok(given) = blake3::Hash::from_hex(given) else { return false };
    // The comparison of hashes takes the same time for all.
    mac(key, said) == given && until.parse::<u64>().is_ok_and(|until| now() < until)
}

fn mac(key: &[u8], said: &str) -> blake3::Hash {
    blake3::keyed_hash(&blake3::derive_key(PURPOSE, key), said.as_bytes())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_has_run_out_or_was_changed_does_not_hold() {
        let signed = |said: &str| format!("{said}.{}", mac(b"secret", said).to_hex());
        let later = now() + 60;
        let valid = signed(&format!("admin.{later}"));
        assert!(is_valid(&valid, b"secret"));
        for wrong in [
            format!("viewer.{later}.{}", mac(b"secret", &format!("admin.{later}")).to_hex()),
            signed(&format!("admin.{}", now().saturating_sub(1))),
            signed("admin."),
            signed("admin"),
            valid.replace("admin", "Admin"),
            format!("admin.{}.{}", later + 1, mac(b"secret", &format!("admin.{later}")).to_hex()),
            format!("{valid}0"),
            String::new(),
        ] {
            assert!(!is_valid(&wrong, b"secret"), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_for_this_server_and_for_no_script() {
        let asked = HeaderMap::new();
        let cookie =
            |is_secure| CookieName::new(8080, is_secure).cookie("x", Duration::from_secs(60), &asked);
        let plain = cookie(false);
        assert_eq!(plain, "sweep-session-8080=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        assert_eq!(cookie(true), plain.replace("sweep-", "__Host-sweep-") + "; Secure");
    }

    #[test]
    fn behind_a_proxy_that_speaks_tls_a_cookie_is_sent_over_tls_alone() {
        let given = |is_secure, said: Option<&'static str>| {
            let asked = said.map(|said| (FORWARDED_PROTO.parse().unwrap(), said.parse().unwrap()));
            let session = Session::new("admin", b"secret", CookieName::new(8080, is_secure));
            session.cookie(&asked.into_iter().collect())
        };
        for (said, is_behind) in [
            (None, false),
            (Some("http"), false),
            (Some("https"), true),
            (Some("HTTPS, http"), true),
            (Some("http, https"), false),
        ] {
            for is_secure in [false, true] {
                let cookie = given(is_secure, said);
                let has = cookie.starts_with("__Host-sweep-session-8080=") && cookie.ends_with("; Secure");
                assert_eq!(has, is_secure || is_behind, "{said:?}: {cookie}");
                assert!(has || cookie.starts_with("sweep-session-8080=") && !cookie.contains("Secure"));
            }
        }
    }
}
