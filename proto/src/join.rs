//! How a worker first knows its coordinator: a join token is the worker's token together with the hash of the authority that the coordinator's
//! certificate must be of. Both programs write and read it here.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a stream ends with whose certificate has run out or was withdrawn, which the worker has replaced by then, or is told so when it
/// connects.
pub const CONNECT_AGAIN: &str =
    "the certificate of this connection has run out, or its token was revoked; connect again";

/// Digits of the hash of an authority.
const HASH_DIGITS: usize = 64;

/// What tells an authority from others: the SHA-256 of its certificate, as `openssl x509 -fingerprint -sha256` prints it, without the colons.
pub fn authority_hash(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `ID.SECRET.HASH`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What is shown to the coordinator, `ID.SECRET`.
    pub token: String,
    /// The hash of its authority.
    pub authority: String,
}

/// A text that is no join token. It is not shown: it may be a secret all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no join token, which is ID.SECRET.HASH: `sweep token create --role worker --name NAME --join` prints one, at a coordinator \
     that was started with --authority"
)]
pub struct NoJoinToken;

impl FromStr for JoinToken {
    type Err = NoJoinToken;

    fn from_str(text: &str) -> Result<Self, NoJoinToken> {
        let (token, authority) = text.trim().rsplit_once('.').ok_or(NoJoinToken)?;
        let is_hash = authority.len() == HASH_DIGITS
            && authority.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let has_both = token.split_once('.').is_some_and(|(id, secret)| !id.is_empty() && !secret.is_empty());
        if !is_hash || !has_both || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoJoinToken);
        }
        Ok(Self { token: token.to_owned(), authority: authority.to_owned() })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.token, self.authority)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// What the certificate of a worker says that has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCertificate {
    pub worker: String,
    /// The token by which it joined.
    pub token: String,
    pub expires: SystemTime,
}

impl WorkerCertificate {
    /// Reads it, without any verification; none where it is no worker's.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let worker = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let token = subject.iter_organizational_unit().next()?.as_str().ok()?.to_owned();
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        let expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        Some(Self { worker, token, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_has_three_parts_and_shows_no_secret() {
        let hash = authority_hash(b"a certificate");
        assert_eq!(hash.len(), HASH_DIGITS);
        let text = format!("a1.secret.{hash}");
        let read: JoinToken = format!("{text}\n").parse().unwrap();
        assert_eq!((read.token.as_str(), &read.authority), ("a1.secret", &hash));
        assert_eq!(read.to_string(), text);
        assert!(!format!("{read:?}").contains("secret"));
        let short = &text[..text.len() - 1];
        for wrong in [
            "",
            "a1",
            "a1.secret",
            short,
            &format!("a1.{hash}"),
            &format!(".secret.{hash}"),
            "a1.secret.hash",
        ] {
            assert_eq!(wrong.parse::<JoinToken>(), Err(NoJoinToken), "{wrong}");
        }
    }
}
