//! Who calls a coordinator, by whichever interface, and what they may: tokens (`tokens`), logins
//! of an organisation (`oidc`), and the one table of calls and roles (`table`). The
//! interfaces ask here before anything else; what is theirs alone, a header or a cookie, they read themselves.

mod authority;
mod follow;
mod live;
mod oidc;
mod second_look;
pub mod table;
mod tokens;

use std::{fmt, sync::Arc};

use engine::Issuer;
use terms::Role;

pub(crate) use self::follow::follow;
pub use self::{
    authority::{Authority, AuthorityConfig, CERTIFICATE as AUTHORITY_CERTIFICATE, WORKER_LASTS},
    live::{Live, Until},
    oidc::{NotLoggedIn, Oidc, OidcConfig},
    table::Who,
    tokens::{ADMIN, Identities, NotKnown, RESERVED, Secret, TokenFiles, VIEWER},
};
pub use proto::join::WorkerCertificate;
#[cfg(test)]
pub(crate) use tokens::tests::token;

/// Someone who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Under which name; none at a coordinator that asks no one.
    pub name: Option<Arc<str>>,
    pub role: Role,
    /// What the stored token begins with that they came by, directly or by a certificate.
    pub token: Option<Arc<str>>,
    /// The worker that their certificate names, where they have shown one.
    pub worker: Option<Arc<str>>,
    /// For how long they may stay.
    pub until: Until,
    /// From where; may be empty.
    pub from: Arc<str>,
}

impl Caller {
    /// Anyone who reaches a coordinator that asks no one who they are.
    pub fn unasked() -> Self {
        let until = Until::default();
        Self { name: None, role: Role::Admin, token: None, worker: None, until, from: "".into() }
    }

    /// The same, from this place.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self { from: place.into(), ..self }
    }

    /// Whether they may speak for this worker: who has shown a certificate is the worker that it names, and no other. A refusal is noted in
    /// the log, with `what` they wanted.
    ///
    /// # Errors
    /// What they are told.
    pub fn is_worker(&self, worker: &str, what: impl FnOnce() -> String) -> Result<(), String> {
        match self.worker.as_deref() {
            Some(own) if own != worker => {
                let result = format!(
                    "this certificate is of the worker {own}, and not of {worker}; join again under that name"
                );
                self.note_refusal(&what(), &result);
                Err(result)
            }
            _ => Ok(()),
        }
    }

    /// What their stored token begins with, for the log; empty where they have shown none.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Notes in the log that they were refused what they wanted.
    pub fn note_refusal(&self, what: &str, result: &str) {
        let (from, token) = (&*self.from, self.token());
        tracing::info!(target: "audit", who = %self, from, token, what, result, "refused");
    }

    /// As whom they give commands.
    pub fn issuer(&self) -> Issuer {
        let issuer = match &self.name {
            None => Issuer::local(),
            Some(name) if self.role == Role::Admin => Issuer::admin(name),
            Some(name) => Issuer::named(name),
        };
        issuer.from(&self.from).by(self.token())
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("local");
        write!(f, "{name} ({})", self.role.as_str())
    }
}
