//! The bearer token that guards every call.

use std::sync::Arc;

use engine::Issuer;
use subtle::ConstantTimeEq;
use tonic::{Request, Status, service::Interceptor};

/// Lets calls pass that carry the token, or all of them where there is none.
#[derive(Debug, Clone)]
pub struct BearerToken(Option<Arc<str>>);

impl BearerToken {
    /// A guard that wants `token`; none lets everyone pass.
    pub fn new(token: Option<&str>) -> Self {
        Self(token.map(Arc::from))
    }
}

impl Interceptor for BearerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.0 else { return Ok(request) };
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        match header.and_then(|value| value.strip_prefix("Bearer ")) {
            // In constant time, so that the answer's delay tells nothing about the token.
            Some(given) if bool::from(given.as_bytes().ct_eq(expected.as_bytes())) => {
                request.extensions_mut().insert(Issuer::named("token"));
                Ok(request)
            }
            Some(_) => Err(Status::unauthenticated("the token is wrong; check --token-file")),
            None => Err(Status::unauthenticated("this coordinator wants a token; give --token-file")),
        }
    }
}

/// Who calls: the name of the token that came along.
pub(super) fn issuer<T>(request: &Request<T>) -> Issuer {
    request.extensions().get().cloned().unwrap_or_else(Issuer::local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_the_name_of_its_token() {
        let mut request = Request::new(());
        assert_eq!(issuer(&request), Issuer::local());
        request.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());
        let passed = BearerToken::new(Some("secret")).call(request).unwrap();
        assert_eq!(issuer(&passed), Issuer::named("token"));
    }

    fn call(guard: Option<&str>, header: Option<&str>) -> bool {
        let mut request = Request::new(());
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        BearerToken::new(guard).call(request).is_ok()
    }

    #[test]
    fn only_the_token_passes() {
        assert!(call(Some("secret"), Some("Bearer secret")));
        for wrong in [
            None,
            Some("secret"),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer secre"),
            Some("Bearer secrets"),
        ] {
            assert!(!call(Some("secret"), wrong), "{wrong:?}");
        }
        assert!(call(None, None));
    }
}
