//! Tokens of an OpenID Connect issuer: JSON web tokens of people (and of services) that an organisation's own login has made. They are verified
//! here against the issuer's public keys; the issuer is never asked about one. Who has no account there, and how one logs in, is its matter.
//!
//! What holds: the algorithm is the one that the key is for, of three with public keys; `iss`, `aud` and `exp` must be there and right, `nbf`
//! is kept where it is there; the name and the roles are claims that the coordinator's operator chose.

mod claims;
mod fetch;
mod keys;
mod signatures;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, UNIX_EPOCH},
};

use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};
use terms::Role;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    fetch::{Fetcher, check_url},
    keys::{Keys, Sought},
};
use super::{Caller, NotKnown, Until};
use crate::logged::Logged;

/// Longest token, in bytes: with hundreds of groups. Longer ones do not fit into the headers of a call anyway.
const TOKEN_BYTES_MAX: usize = 12 << 10;
/// How far the clocks of the issuer and of this machine may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// How often the keys are fetched when nothing asks for it, so that a key that the issuer gave up is soon no longer taken.
const KEYS_EVERY: Duration = Duration::from_secs(15 * 60);
/// How long after a failed fetch the next one comes: at first, and at most, doubled each time.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Whose tokens are taken, and what they say.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The issuer, by exactly the address that is in its tokens.
    pub issuer: String,
    /// For whom its tokens must be.
    pub audience: String,
    /// The claim that is the name.
    pub username_claim: String,
    /// What stands before the name, so that it differs from those of other tokens.
    pub username_prefix: String,
    /// The claim with groups or roles; points lead into objects.
    pub role_claim: String,
    /// The roles here, by values of that claim. `*` stands for everyone.
    pub roles: Vec<(Role, String)>,
    /// The authorities that the issuer's certificate may be of; none for those of the system.
    pub ca: Option<PathBuf>,
}

/// Why a token of an issuer lets no one in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLoggedIn {
    #[error("the login's token is wrong; log in again for another one")]
    Wrong,
    #[error(
        "the login's token is signed with a key that its issuer does not have, or not any more; log in again for another one"
    )]
    OtherKey,
    #[error("the login's token is of another issuer than this coordinator's")]
    OtherIssuer,
    #[error("the login's token is for another audience than this coordinator's")]
    OtherAudience,
    #[error("the login's token has run out; log in again for another one")]
    Expired,
    #[error("the login's token does not hold yet; are the clocks right?")]
    TooEarly,
    #[error(
        "the login's token has no name; the coordinator's --oidc-username-claim says in which claim it looks for one"
    )]
    NoName,
    #[error("the login's address of mail is not verified (email_verified); have the issuer verify it")]
    MailNotVerified,
    #[error(
        "the login's name is one of the coordinator's own (admin, viewer, local), which no login may have; give logins a prefix with \
         --oidc-username-prefix, or name another claim with --oidc-username-claim"
    )]
    ReservedName,
    #[error(
        "the login's name is empty, longer than 200 characters or has spaces or control characters; name another claim with --oidc-username-claim"
    )]
    BadName,
    #[error("this login has no role here; ask an admin which groups have one")]
    NoRole,
    /// They are fetched now, or the issuer does not answer.
    #[error("the issuer's keys are not here yet; try again")]
    KeysAway,
}

/// Knows the tokens of an issuer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Oidc(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: OidcConfig,
    fetcher: Fetcher,
    keys: RwLock<Keys>,
    /// A key is wanted that is not here.
    wanted: Notify,
}

impl Oidc {
    /// For tokens of this issuer. Its keys are fetched by [`Self::follow`].
    ///
    /// # Errors
    /// The settings make no sense.
    pub fn new(config: OidcConfig) -> anyhow::Result<Self> {
        signatures::install();
        check_url(&config.issuer).map_err(|why| anyhow::anyhow!("--oidc-issuer {}: {why}", config.issuer))?;
        anyhow::ensure!(
            !config.audience.is_empty(),
            "--oidc-audience is empty: name whom the issuer's tokens are for"
        );
        anyhow::ensure!(
            !config.roles.is_empty(),
            "no login would have a role: give --oidc-role ROLE=GROUP, such as submitter=ml-team or viewer=*"
        );
        let fetcher = Fetcher::new(&config.issuer, config.ca.as_deref())?;
        let keys = RwLock::new(Keys::new(Instant::now()));
        Ok(Self(Arc::new(Inner { config, fetcher, keys, wanted: Notify::new() })))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// No one's, not any more, or not here.
    pub(super) fn of_token(&self, token: &str) -> Result<Caller, NotKnown> {
        self.verified(token).map_err(NotKnown::NotLoggedIn)
    }

    fn verified(&self, token: &str) -> Result<Caller, NotLoggedIn> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(NotLoggedIn::Wrong);
        }
        // `none` and what else is unknown cannot be read.
        let header = decode_header(token).map_err(|_| NotLoggedIn::Wrong)?;
        let (algorithm, key) = self.key(header.kid.as_deref())?;
        // The one algorithm of the key: the header does not choose.
        let mut validation = Validation::new(algorithm);
        (validation.leeway, validation.validate_nbf) = (LEEWAY.as_secs(), true);
        validation.set_issuer(&[&self.0.config.issuer]);
        validation.set_audience(&[&self.0.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let decoded = decode::<Map<String, Value>>(token, &key, &validation);
        let claims = decoded.map_err(|error| not_valid(error.kind()))?.claims;
        let name = claims::name(&claims, &self.0.config)?;
        let role = claims::role(&claims, &self.0.config).ok_or(NotLoggedIn::NoRole)?;
        let expires =
            claims.get("exp").and_then(Value::as_f64).and_then(|at| Duration::try_from_secs_f64(at).ok());
        let expires = expires.and_then(|at| UNIX_EPOCH.checked_add(at)?.checked_add(LEEWAY));
        let until = Until { revoked: None, expires: Some(expires.ok_or(NotLoggedIn::Wrong)?) };
        Ok(Caller { name: Some(name.into()), role, until, ..Caller::unasked() })
    }

    /// The key of this name.
    fn key(&self, kid: Option<&str>) -> Result<keys::Key, NotLoggedIn> {
        if let Some(key) = self.0.keys.read().unwrap_or_else(PoisonError::into_inner).find(kid) {
            return Ok(key.clone());
        }
        let sought = self.0.keys.write().unwrap_or_else(PoisonError::into_inner).seek(kid, Instant::now());
        match sought {
            Sought::Missing => Err(NotLoggedIn::OtherKey),
            Sought::Fetched => {
                self.0.wanted.notify_one();
                Err(NotLoggedIn::KeysAway)
            }
            Sought::Away => Err(NotLoggedIn::KeysAway),
        }
    }

    /// Fetches the issuer's keys now and then, and when one is wanted, until `stop`. While the issuer does not answer, those from before stay.
    pub async fn follow(self, stop: CancellationToken) {
        let (mut logged, mut retry) = (Logged::default(), RETRY_MIN);
        loop {
            let fetched = tokio::select! {
                () = stop.cancelled() => return,
                fetched = self.0.fetcher.keys() => fetched,
            };
            let wait = match fetched {
                Ok(set) => {
                    if !logged.is_empty() {
                        tracing::info!("the keys of the OIDC issuer are here again");
                        logged.clear();
                    }
                    self.0.keys.write().unwrap_or_else(PoisonError::into_inner).replace(set, Instant::now());
                    retry = RETRY_MIN;
                    KEYS_EVERY
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    if logged.is_new(&why) {
                        tracing::warn!(
                            issuer = self.0.config.issuer,
                            "the keys of the OIDC issuer cannot be fetched: {why}"
                        );
                    }
                    let wait = retry;
                    retry = (2 * retry).min(RETRY_MAX);
                    wait
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.0.wanted.notified() => {}
            }
        }
    }
}

fn not_valid(kind: &ErrorKind) -> NotLoggedIn {
    match kind {
        ErrorKind::ExpiredSignature => NotLoggedIn::Expired,
        ErrorKind::ImmatureSignature => NotLoggedIn::TooEarly,
        ErrorKind::InvalidIssuer => NotLoggedIn::OtherIssuer,
        ErrorKind::InvalidAudience => NotLoggedIn::OtherAudience,
        _ => NotLoggedIn::Wrong,
    }
}
