//! Tokens: made, listed, and revoked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::record::Token;
use engine::{Issuer, command::KeepToken};
use terms::Role;

use super::{Api, ApiError};
use crate::access::RESERVED;

/// Tokens of a store, without those that are long over: some for each person and machine of a large organisation. All are in memory.
const TOKENS_MAX: usize = 10_000;
/// For how long a token counts that was revoked or has run out: no one makes as many as there may be in that time by hand.
const COUNTS_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest name, in characters: an address of mail.
const NAME_CHARACTERS_MAX: usize = 100;
/// Longest time that a token may be made for: after it, none would be expected to hold.
const LASTS_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// Bytes of what a token begins with: few enough to type, and no two are the same by chance.
const ID_BYTES: usize = 6;
/// Bytes of a secret, which no one finds by trying.
const SECRET_BYTES: usize = 32;

/// A token to make.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub role: Role,
    /// Whose it will be.
    pub name: String,
    /// For how long; none for as long as it is not revoked.
    pub lasts: Option<Duration>,
}

impl Api {
    /// Makes a token. The second text is all of it, which no one can make out again.
    ///
    /// # Errors
    /// It cannot be such a token, or there are too many.
    pub async fn create_token(&self, issuer: Issuer, new: NewToken) -> Result<(Token, String), ApiError> {
        self.wants_tokens()?;
        let NewToken { role, name, lasts } = new;
        check_name(&name)?;
        if lasts.is_some_and(|lasts| lasts > LASTS_MAX) {
            return Err(ApiError::Invalid("a token holds for ten years at most".to_owned()));
        }
        // One after the other, so that there are no more than there may be.
        let _only = self.tokens_change.lock().await;
        let now = now();
        check_room(&self.identities.all(), now)?;
        let (id, secret) = (random::<ID_BYTES>()?, random::<SECRET_BYTES>()?);
        let token = Token {
            secret_hash: *blake3::hash(secret.as_bytes()).as_bytes(),
            id: id.clone(),
            name,
            role,
            created_unix_ms: now,
            created_by: issuer.to_string(),
            expires_unix_ms: lasts.map(|lasts| now.saturating_add(millis(lasts))),
            revoked_unix_ms: None,
        };
        self.leadership.command(issuer, KeepToken(token.clone())).await?;
        self.identities.keep(token.clone());
        Ok((token, format!("{id}.{secret}")))
    }

    /// All tokens, the oldest first.
    ///
    /// # Errors
    /// This coordinator asks no one, or does not lead.
    pub fn tokens(&self) -> Result<Vec<Token>, ApiError> {
        self.wants_tokens()?;
        self.leadership.driver()?;
        Ok(self.identities.all())
    }

    /// Lets the holder of a token in no more.
    ///
    /// # Errors
    /// There is no such token.
    pub async fn revoke_token(&self, issuer: Issuer, id: &str) -> Result<Token, ApiError> {
        self.wants_tokens()?;
        let _only = self.tokens_change.lock().await;
        self.leadership.driver()?;
        let token = self.identities.stored(id);
        let mut token = token.ok_or_else(|| {
            ApiError::NotFound(format!("there is no token {id:?}; `sweep token list` lists them"))
        })?;
        if token.revoked_unix_ms.is_none() {
            token.revoked_unix_ms = Some(now());
            self.leadership.command(issuer, KeepToken(token.clone())).await?;
            self.identities.keep(token.clone());
        }
        Ok(token)
    }

    pub(super) fn wants_tokens(&self) -> Result<(), ApiError> {
        if self.identities.wants_token() {
            return Ok(());
        }
        Err(ApiError::Refused(
            "this coordinator asks no one for a token; start it with --token-file, whose token is the first admin's"
                .to_owned(),
        ))
    }
}

/// Refuses one more token than there may be.
fn check_room(all: &[Token], now: u64) -> Result<(), ApiError> {
    let is_over = |token: &&Token| {
        let over = token.revoked_unix_ms.into_iter().chain(token.expires_unix_ms).min();
        over.is_some_and(|over| over.saturating_add(millis(COUNTS_FOR)) < now)
    };
    if all.iter().filter(|token| !is_over(token)).count() < TOKENS_MAX {
        return Ok(());
    }
    Err(ApiError::Full(format!(
        "this store has {TOKENS_MAX} tokens, as many as there may be; revoke some, which count for 30 days more"
    )))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._@-".contains(character);
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(is_plain) {
        return Err(ApiError::Invalid(format!(
            "a token's name has 1 to {NAME_CHARACTERS_MAX} letters, digits and . _ @ -, which {name:?} has not"
        )));
    }
    if RESERVED.contains(&name) {
        return Err(ApiError::Invalid(format!("the name {name:?} is the coordinator's own; choose another")));
    }
    Ok(())
}

/// Random bytes, in hexadecimal digits.
fn random<const BYTES: usize>() -> Result<String, ApiError> {
    let mut bytes = [0; BYTES];
    let provider = rustls::crypto::ring::default_provider();
    provider
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| ApiError::Internal("the system gives no random numbers".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_are_long_over_leave_room_for_others() {
        let now = millis(COUNTS_FOR) + 10;
        let token = |number: usize| Token {
            id: number.to_string(),
            name: "ann".to_owned(),
            role: Role::Viewer,
            secret_hash: [0; 32],
            created_unix_ms: 1,
            created_by: "admin".to_owned(),
            expires_unix_ms: None,
            revoked_unix_ms: None,
        };
        let mut all: Vec<Token> = (0..TOKENS_MAX).map(token).collect();
        let is_full = |all: &[Token]| matches!(check_room(all, now), Err(ApiError::Full(_)));
        assert!(is_full(&all));
        for (revoked, expires, counts) in [
            (Some(9), None, false),
            (Some(10), None, true),
            (None, Some(9), false),
            (None, Some(now + 1), true),
            (Some(now), Some(9), false),
        ] {
            (all[0].revoked_unix_ms, all[0].expires_unix_ms) = (revoked, expires);
            assert_eq!(is_full(&all), counts, "{revoked:?} {expires:?}");
        }
    }
}
