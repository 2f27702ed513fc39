//! The page that someone wanted before they had to log in. It must be a page of this server: where a reader goes after a login must not be
//! what the link of someone else says.

/// Longest path that is kept, in bytes: the comparison of many sweeps.
const BYTES_MAX: usize = 500;
/// Where a reader goes who wanted nothing, or nothing of this server.
const HOME: &str = "/";

/// The path of this server that was wanted, with its query.
pub(super) fn path(wanted: Option<&str>) -> &str {
    wanted.filter(|path| is_local(path)).unwrap_or(HOME)
}

/// Browsers read `//host` and `/\host` as addresses of other servers, also with tabs and line ends between, which they drop.
fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.len() <= BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        // These would lead in a circle, or out again.
        && !path.starts_with(super::access::LOGIN)
        && !path.starts_with("/logout")
}

/// The page of the login that leads on to this path.
pub(super) fn login(path_and_query: &str) -> String {
    if !is_local(path_and_query) || path_and_query == HOME {
        return super::access::LOGIN.to_owned();
    }
    format!("{}?next={}", super::access::LOGIN, encoded(path_and_query))
}

/// A text as it stands in addresses and headers.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_are_gone_to() {
        for local in ["/", "/sweeps/1", "/compare?sweeps=1,2", "/sweeps/1/jobs/2#log"] {
            assert_eq!(path(Some(local)), local);
        }
        for other in [
            "",
            "sweeps/1",
            "//evil.example/",
            "///evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/sweeps\\..\\x",
            "\\/evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/a\r\nset-cookie: x=1",
            "/login?next=/login",
            "/logout",
            " /sweeps/1",
            "/sweeps/日本",
        ] {
            assert_eq!(path(Some(other)), "/", "{other:?}");
            assert_eq!(login(other), "/login", "{other:?}");
        }
        assert_eq!(path(Some(&format!("/{}", "x".repeat(BYTES_MAX)))), "/");
        assert_eq!(path(None), "/");
    }

    #[test]
    fn the_login_keeps_the_whole_address() {
        assert_eq!(
            login("/compare?sweeps=1,2&x=a%20b"),
            "/login?next=/compare%3Fsweeps%3D1%2C2%26x%3Da%2520b"
        );
        assert_eq!(login("/"), "/login");
    }
}
