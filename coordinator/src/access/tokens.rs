//! Tokens: those of the files that a coordinator starts with, and those that its store holds. Both are in memory, so that a call costs a hash and a
//! look-up. Those of an issuer are verified by `oidc`.
//!
//! A stored token is `ID.SECRET`. The store has a BLAKE3 hash of the secret: a secret of 256 random bits cannot be found by trying, so a slow hash
//! would cost each call time and protect nothing more. Hashes and texts are compared in constant time.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use domain::record::Token;
use proto::{client::read_token, join::JoinToken, secret_file};
use subtle::ConstantTimeEq;
use terms::{Role, count};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Caller, NotLoggedIn, Oidc, OidcConfig, Until, WorkerCertificate, second_look::SecondLook};
use crate::reread;

/// Whose token is in the file that the coordinator starts with.
pub const ADMIN: &str = "admin";
/// Whose token is in the viewers' file.
pub const VIEWER: &str = "viewer";
/// Names that no other token may have: sweeps would belong to more than one.
pub const RESERVED: [&str; 3] = [ADMIN, VIEWER, "local"];

/// A token of fewer bytes than that may be found by trying.
const TOKEN_BYTES_LOW: usize = 16;

/// A token that a coordinator starts with.
#[derive(Debug, Clone)]
pub enum Secret {
    /// It is read again when the file changes.
    File(PathBuf),
    /// One that a command has made for its own workers.
    Text(String),
}

/// The tokens that a coordinator starts with.
#[derive(Debug, Clone, Default)]
pub struct TokenFiles {
    /// Whose holder may do everything; without it everyone may.
    pub admin: Option<Secret>,
    /// Whose holder may look.
    pub viewer: Option<Secret>,
}

/// Who may call; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Identities(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: TokenFiles,
    /// Whose logins are taken too.
    oidc: Option<Oidc>,
    known: RwLock<Known>,
    sure: OnceLock<Sure>,
    /// Where the store is followed.
    second_look: OnceLock<Arc<SecondLook>>,
}

/// Tells whether no other coordinator can make tokens now.
struct Sure(Box<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for Sure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sure")
    }
}

/// Why a token lets no one in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    #[error("the token is wrong; check --token-file")]
    Wrong,
    #[error("the token was revoked; ask for another one")]
    Revoked,
    /// The one of a certificate.
    #[error("the token by which this worker joined was revoked; join again with another one")]
    JoinRevoked,
    #[error("the token has run out; ask for another one")]
    Expired,
    #[error("the token by which this worker joined is not one of this coordinator; join again")]
    Elsewhere,
    #[error("{}", proto::join::CONNECT_AGAIN)]
    Lapsed,
    #[error(transparent)]
    NotLoggedIn(NotLoggedIn),
    /// It may have been made since this coordinator, which does not lead, has looked.
    #[error("this coordinator does not lead, and does not know this token yet")]
    Unsure,
}

#[derive(Debug, Default)]
struct Known {
    admin: Option<String>,
    viewer: Option<String>,
    stored: HashMap<Box<str>, Stored>,
    /// Whether there can be no others.
    is_current: bool,
}

#[derive(Debug)]
struct Stored {
    token: Token,
    revoked: CancellationToken,
}

impl Identities {
    /// Those of these files; none without them.
    ///
    /// # Errors
    /// A file cannot be read, or holds no token; or both hold the same.
    pub fn open(files: TokenFiles) -> anyhow::Result<Self> {
        Self::with_logins(files, None)
    }

    /// The same, and those whom an issuer has logged in. Its keys are fetched by [`Self::follow`].
    ///
    /// # Errors
    /// As there; or the issuer's settings make no sense.
    pub fn with_logins(files: TokenFiles, oidc: Option<OidcConfig>) -> anyhow::Result<Self> {
        let oidc = oidc.map(Oidc::new).transpose()?;
        let mut known = Known::default();
        let read = read(&files)?;
        warn_of_weaknesses(&files, &read);
        (known.admin, known.viewer) = read;
        Ok(Self(Arc::new(Inner { files, oidc, known: RwLock::new(known), ..Inner::default() })))
    }

    /// Whether anyone has to show who they are.
    pub fn wants_token(&self) -> bool {
        self.0.files.admin.is_some()
    }

    /// Reads the files again when they change, and fetches the issuer's keys, until `stop`. Who was let in with the token from before stays.
    pub async fn follow(self, stop: CancellationToken) {
        let keys = async {
            if let Some(oidc) = self.0.oidc.clone() {
                oidc.follow(stop.clone()).await;
            }
        };
        tokio::join!(keys, self.clone().follow_files(stop.clone()));
    }

    async fn follow_files(self, stop: CancellationToken) {
        let files = [&self.0.files.admin, &self.0.files.viewer];
        let paths = files.into_iter().flatten().filter_map(|secret| match secret {
            Secret::File(path) => Some(path.clone()),
            Secret::Text(_) => None,
        });
        let paths: Vec<PathBuf> = paths.collect();
        if !paths.is_empty() {
            reread::follow("the token", paths, move || self.read_again(), stop).await;
        }
    }

    fn read_again(&self) -> anyhow::Result<()> {
        let read = read(&self.0.files)?;
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if (&known.admin, &known.viewer) != (&read.0, &read.1) {
            warn_of_weaknesses(&self.0.files, &read);
        }
        (known.admin, known.viewer) = read;
        Ok(())
    }

    /// Has a token that is not known called wrong only while this says so: a leader that was frozen does not know yet that another one has
    /// made tokens meanwhile. Only the first call counts.
    pub fn sure_while(&self, is_sure: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.0.sure.set(Sure(Box::new(is_sure)));
    }

    /// Has the store looked at for who is [`NotKnown::Unsure`]. Only the first call counts.
    pub(super) fn looking_again_by(&self, second_look: Arc<SecondLook>) {
        let _ = self.0.second_look.set(second_look);
    }

    /// Waits until the store was looked at for someone who was [`NotKnown::Unsure`], unless it was just before.
    pub async fn look_again(&self) {
        if let Some(second_look) = self.0.second_look.get() {
            second_look.ask(Instant::now()).await;
        }
    }

    /// Whether there can be no other tokens in the store.
    fn has_all(&self, known: &Known) -> bool {
        known.is_current && self.0.sure.get().is_none_or(|sure| (sure.0)())
    }

    /// Takes over what the store holds. `is_current` says that no one else can make others from now on; what was read before that takes
    /// nothing back.
    pub fn take(&self, tokens: Vec<Token>, is_current: bool) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        for token in tokens {
            known.keep(token);
        }
        known.is_current |= is_current;
    }

    /// Others may make tokens from now on.
    pub fn may_be_old(&self) {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).is_current = false;
    }

    /// Takes over a token that has become durable.
    pub fn keep(&self, token: Token) {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).keep(token);
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// No one's, or not any more.
    pub fn of_token(&self, given: &str) -> Result<Caller, NotKnown> {
        let known = self.known();
        let is = |token: &Option<String>| {
            token.as_ref().is_some_and(|token| bool::from(token.as_bytes().ct_eq(given.as_bytes())))
        };
        let (is_admin, is_viewer) = (is(&known.admin), is(&known.viewer));
        if is_admin || is_viewer {
            let (name, role) = if is_admin { (ADMIN, Role::Admin) } else { (VIEWER, Role::Viewer) };
            // One that a command made for itself is no one's: what is submitted on a laptop has no owner.
            let is_own = is_admin && matches!(self.0.files.admin, Some(Secret::Text(_)));
            let name = (!is_own).then(|| name.into());
            return Ok(Caller { name, role, ..Caller::unasked() });
        }
        if let Some(oidc) = self.0.oidc.as_ref().filter(|_| could_be_login(given)) {
            drop(known);
            return oidc.of_token(given);
        }
        let Some((id, secret)) = given.split_once('.') else { return Err(NotKnown::Wrong) };
        let unknown = if self.has_all(&known) { NotKnown::Wrong } else { NotKnown::Unsure };
        let stored = known.stored.get(id).ok_or(unknown)?;
        // The comparison of hashes takes the same time for all.
        if blake3::hash(secret.as_bytes()) != stored.hash() {
            return Err(NotKnown::Wrong);
        }
        stored.caller()
    }

    /// Whose token has this number, with its hash.
    ///
    /// # Errors
    /// No one's, or not any more.
    pub fn of_id(&self, id: &str) -> Result<(Caller, blake3::Hash), NotKnown> {
        let known = self.known();
        let stored = known.stored.get(id).ok_or(NotKnown::Wrong)?;
        Ok((stored.caller()?, stored.hash()))
    }

    /// Whose certificate this is, which the handshake of TLS has verified: a worker's, for as long as it holds and the token is not revoked by
    /// which it joined. That the token itself has run out since does not matter: it was for joining.
    ///
    /// # Errors
    /// The token is not known, or was revoked; or the certificate has run out since the handshake.
    pub fn of_certificate(&self, shown: &WorkerCertificate) -> Result<Caller, NotKnown> {
        let known = self.known();
        let unknown = if self.has_all(&known) { NotKnown::Elsewhere } else { NotKnown::Unsure };
        let stored = known.stored.get(&*shown.token).ok_or(unknown)?;
        if stored.revoked.is_cancelled() {
            return Err(NotKnown::JoinRevoked);
        }
        if stored.token.role != Role::Worker {
            return Err(NotKnown::Elsewhere);
        }
        let until = Until { revoked: Some(stored.revoked.clone()), expires: Some(shown.expires) };
        if !until.holds(SystemTime::now()) {
            return Err(NotKnown::Lapsed);
        }
        let Token { id, name, .. } = &stored.token;
        let (name, token) = (Some(name.as_str().into()), Some(id.as_str().into()));
        let worker = Some(shown.worker.as_str().into());
        Ok(Caller { name, role: Role::Worker, token, worker, until, ..Caller::unasked() })
    }

    /// The token of this number, whatever became of it.
    pub fn stored(&self, id: &str) -> Option<Token> {
        self.known().stored.get(id).map(|stored| stored.token.clone())
    }

    /// All stored tokens, the oldest first.
    pub fn all(&self) -> Vec<Token> {
        let mut all: Vec<Token> = self.known().stored.values().map(|stored| stored.token.clone()).collect();
        all.sort_by(|a, b| (a.created_unix_ms, &a.id).cmp(&(b.created_unix_ms, &b.id)));
        all
    }

    /// What the cookies of browsers are signed with: not in the store, so that who reads the store can make none.
    pub(crate) fn cookie_key(&self, role: Role) -> Option<String> {
        let known = self.known();
        match role {
            Role::Viewer => known.viewer.clone(),
            _ => known.admin.clone(),
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn keep(&mut self, token: Token) {
        let id: Box<str> = token.id.as_str().into();
        let is_revoked = |token: &Token| token.revoked_unix_ms.is_some();
        if !is_revoked(&token) && self.stored.get(&id).is_some_and(|stored| is_revoked(&stored.token)) {
            // It was read before that.
            return;
        }
        let revoked = self.stored.get(&id).map(|stored| stored.revoked.clone()).unwrap_or_default();
        if is_revoked(&token) {
            revoked.cancel();
        }
        self.stored.insert(id, Stored { token, revoked });
    }
}

impl Stored {
    fn hash(&self) -> blake3::Hash {
        self.token.secret_hash.into()
    }

    fn caller(&self) -> Result<Caller, NotKnown> {
        let Token { id, name, role, expires_unix_ms, .. } = &self.token;
        let expires = expires_unix_ms.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_millis(at)));
        let until = Until { revoked: Some(self.revoked.clone()), expires };
        if self.revoked.is_cancelled() {
            return Err(NotKnown::Revoked);
        }
        if !until.holds(SystemTime::now()) {
            return Err(NotKnown::Expired);
        }
        let token = Some(id.as_str().into());
        let name = Some(name.as_str().into());
        Ok(Caller { name, role: *role, token, until, ..Caller::unasked() })
    }
}

/// Whether a text could be a token of an issuer: three parts, where stored tokens have two. Join tokens, which have three as well, end with a
/// hash, which is shorter than any signature.
fn could_be_login(token: &str) -> bool {
    token.split('.').count() == 3 && token.parse::<JoinToken>().is_err()
}

/// The tokens of the files.
fn read(files: &TokenFiles) -> anyhow::Result<(Option<String>, Option<String>)> {
    let one = |secret: &Option<Secret>| -> anyhow::Result<Option<String>> {
        match secret {
            None => Ok(None),
            Some(Secret::Text(text)) => Ok(Some(text.clone())),
            Some(Secret::File(path)) => Ok(Some(read_token(path)?)),
        }
    };
    let (admin, viewer) = (one(&files.admin)?, one(&files.viewer)?);
    anyhow::ensure!(
        viewer.is_none() || viewer != admin,
        "--viewer-token-file holds the same token as --token-file; make another for viewers"
    );
    Ok((admin, viewer))
}

fn warn_of_weaknesses(files: &TokenFiles, (admin, viewer): &(Option<String>, Option<String>)) {
    for (secret, token) in [(&files.admin, admin), (&files.viewer, viewer)] {
        if let (Some(Secret::File(path)), Some(token)) = (secret, token) {
            weaknesses(path, token).iter().for_each(|why| tracing::warn!("{why}"));
        }
    }
}

/// Why the token in a file is not one to rely on, for people. It is taken all the same: a coordinator that does not start again helps no one.
fn weaknesses(path: &Path, token: &str) -> Vec<String> {
    let short = (token.len() < TOKEN_BYTES_LOW).then(|| {
        format!(
            "the token in {} has {}, which others may find by trying; make one of {TOKEN_BYTES_LOW} or more with `openssl rand -hex 32`",
            path.display(),
            count(token.len() as u64, "character")
        )
    });
    secret_file::exposed(path).into_iter().chain(short).collect()
}

#[cfg(test)]
pub(super) mod tests;
