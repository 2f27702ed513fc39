//! How a worker becomes known to a coordinator by a certificate: it makes a key, which never leaves it, shows a join token once, and gets a
//! certificate for that key, which it renews at two thirds of its time without the token. What it has is in the spool's folder (`identity`); how
//! coordinators are asked is in `asking`, why none gives one in `not_given`, and how one is known at first, by the hash of its authority, in `pinned`.

mod asking;
mod identity;
mod not_given;
mod pinned;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use proto::{
    client::{self, ClientError},
    join::{JoinToken, NoJoinToken},
    secret_file,
};
use terms::WorkerName;

pub(crate) use self::not_given::{Kind, NotGiven};
use self::{
    asking::{By, Given},
    identity::Identity,
};

/// How long after a renewal that failed the next one is tried: soon, as a coordinator may just be restarting, and then less often, as
/// a third of the certificate's time is left.
const AGAIN_AFTER_MIN: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5 * 60);
/// How long after no coordinator answered a worker that joins asks again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Shortest and longest time of a certificate that is believed, whatever a coordinator says.
const LASTS_MIN: Duration = Duration::from_secs(1);
const LASTS_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What to do where a worker needs another certificate and has nothing for which it would get one.
pub(crate) const JOIN_AGAIN: &str = "Make a join token with `sweep token create --role worker --name NAME --join`, and give it to the worker with --join-file";

/// Where a join token comes from.
#[derive(Debug, Clone)]
pub(crate) enum JoinFrom {
    /// It was given. What is wrong with it is not shown, as it may be a secret all the same.
    Token(String),
    /// It is in a file, which is read when it is needed.
    File(PathBuf),
}

impl JoinFrom {
    fn read(&self) -> Result<JoinToken, NotGiven> {
        match self {
            Self::Token(text) => text.parse().map_err(|error: NoJoinToken| {
                NotGiven::refused(&format!("cannot use the join token of --join: {error}"))
            }),
            Self::File(path) => {
                let unusable = |why: String| {
                    NotGiven::refused(&format!("cannot use the join token in {}: {why}", path.display()))
                };
                if let Some(why) = secret_file::exposed(path) {
                    tracing::warn!("{why}");
                }
                let text = client::read_secret(path).map_err(|error| match error {
                    ClientError::Token { reason, .. } => NotGiven::misdirected(&format!(
                        "cannot use the join token in {}: {reason}; check --join-file",
                        path.display()
                    )),
                    error => unusable(error.to_string()),
                })?;
                text.parse().map_err(|error: NoJoinToken| unusable(error.to_string()))
            }
        }
    }
}

/// A worker's certificate and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// All coordinators, separated by commas.
    url: String,
    join: Option<JoinFrom>,
    identity: Identity,
    name: WorkerName,
}

impl Membership {
    /// Of a worker of this name with this spool; none where it was given no join token and has not joined before.
    pub(crate) fn new(url: &str, join: Option<JoinFrom>, spool: PathBuf, name: &WorkerName) -> Option<Self> {
        let identity = Identity::in_folder(spool);
        let is_one = join.is_some() || identity.exists();
        is_one.then(|| Self { url: url.to_owned(), join, identity, name: name.clone() })
    }

    /// The worker whose certificate is in this spool, if there is one.
    pub(crate) fn kept_name(spool: &Path) -> Option<WorkerName> {
        Identity::in_folder(spool.to_owned()).kept()?.worker.parse().ok()
    }

    /// The file with the certificate and its key.
    pub(crate) fn identity(&self) -> PathBuf {
        self.identity.own()
    }

    /// The file with the authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.identity.authority()
    }

    /// Whether there is a certificate of this name that still holds.
    pub(crate) fn holds(&self) -> bool {
        self.identity.holds(&self.name, SystemTime::now())
    }

    /// Gets a certificate: another one for the one that is there, or the first, once a coordinator answers. Returns after how long it is to be
    /// renewed.
    ///
    /// # Errors
    /// No coordinator gives one, and there is none that still holds.
    pub(crate) async fn begin(&self) -> anyhow::Result<Duration> {
        let mut told = false;
        loop {
            match self.renew().await {
                Ok(after) => return Ok(after),
                Err(error) if self.holds() => {
                    tracing::warn!(
                        "the certificate could not be renewed: {error}; the one from before is used"
                    );
                    return Ok(AGAIN_AFTER_MIN);
                }
                Err(why) if why.kind() == Kind::Refused => anyhow::bail!("{}", self.cannot_join(&why)),
                Err(why) if !why.may_pass() => anyhow::bail!("this worker cannot join: {why}"),
                Err(why) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            "cannot join yet: {why}; the worker tries until a coordinator answers"
                        );
                    }
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Renews the certificate as long as this is awaited, the first time after this long.
    pub(crate) async fn keep(self, mut after: Duration) {
        loop {
            tokio::time::sleep(after).await;
            after = self.renew_in_the_end().await;
        }
    }

    /// Renews the certificate, however often that is to be tried. What prevents it is told once.
    async fn renew_in_the_end(&self) -> Duration {
        let mut delays = ExponentialBuilder::new()
            .with_min_delay(AGAIN_AFTER_MIN)
            .with_max_delay(AGAIN_AFTER_MAX)
            .without_max_times()
            .with_jitter()
            .build();
        let mut told = None;
        loop {
            let why = match self.renew().await {
                Ok(after) => {
                    tracing::info!("the certificate was renewed");
                    return after;
                }
                Err(error) if error.kind() == Kind::Refused && !self.holds() => self.cannot_join(&error),
                Err(error) => error.to_string(),
            };
            if told.as_ref() != Some(&why) {
                tracing::warn!("the certificate could not be renewed: {why}; it is tried again");
            }
            told = Some(why);
            tokio::time::sleep(delays.next().unwrap_or(AGAIN_AFTER_MAX)).await;
        }
    }

    /// Whether a coordinator would give a certificate, which is thrown away.
    ///
    /// # Errors
    /// Why none does, and what to do.
    pub(crate) async fn would_get_one(&self) -> Result<(), NotGiven> {
        self.ask().await.map(drop)
    }

    async fn renew(&self) -> Result<Duration, NotGiven> {
        let Given { key, answer, joined } = self.ask().await?;
        let lasts = Duration::from_millis(answer.lasts_ms).clamp(LASTS_MIN, LASTS_MAX);
        let kept = self.identity.keep(&key, &answer, joined);
        kept.map_err(|error| NotGiven::refused(&format!("{error:#}")))?;
        Ok(lasts * 2 / 3)
    }

    /// With the certificate that is there, or, where that is not taken any more, with the join token.
    async fn ask(&self) -> Result<Given, NotGiven> {
        let first = match self.holds() {
            false => None,
            true => match asking::ask(&self.url, &self.name, &By::Certificate(&self.identity)).await {
                Ok(given) => return Ok(given),
                Err(error) => Some(error),
            },
        };
        let Some(join) = &self.join else {
            let none = || NotGiven::refused("it was given no join token");
            return Err(first.unwrap_or_else(none));
        };
        let joined = match join.read() {
            Ok(token) => asking::ask(&self.url, &self.name, &By::Token(token)).await,
            Err(error) => Err(error),
        };
        joined.map_err(|second| match first {
            Some(first) => second.after(first),
            None => second,
        })
    }

    /// What a worker says that was refused a certificate and has none, and what to do.
    fn cannot_join(&self, why: &NotGiven) -> String {
        let lost = match self.identity.kept() {
            None => String::new(),
            Some(kept) if kept.worker != self.name.as_str() => {
                format!("its certificate is of another name ({}), and ", kept.worker)
            }
            Some(kept) => format!(
                "its certificate ran out at {}, as it was away for longer than that held, and ",
                humantime::format_rfc3339_seconds(kept.expires)
            ),
        };
        match why.advises() {
            true => format!("{lost}this worker cannot join: {why}"),
            false => format!("{lost}this worker cannot join: {why}. {JOIN_AGAIN}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_that_is_none_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("join");
        let missing = JoinFrom::File(file.clone()).read().unwrap_err().to_string();
        assert!(missing.contains("/join: ") && missing.ends_with("; check --join-file"), "{missing}");
        assert!(!missing.contains("--token-file"), "{missing}");
        std::fs::write(&file, "id.secret").unwrap();
        for from in [JoinFrom::File(file), JoinFrom::Token("id.secret".to_owned())] {
            let refused = from.read().unwrap_err().to_string();
            assert!(refused.contains("--join") && !refused.contains("id.secret"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_join_file_that_is_gone_hides_no_reason_why_the_certificate_is_not_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let name: WorkerName = "one".parse().unwrap();
        let join = Some(JoinFrom::File(folder.path().join("join")));
        let membership =
            Membership::new("http://127.0.0.1:1", join, folder.path().to_owned(), &name).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "one");
        params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "a1");
        let pem = params.self_signed(&key).unwrap().pem();
        let answer = proto::v1::EnrolResponse { certificate: pem.clone(), authority: pem, lasts_ms: 1 };
        membership.identity.keep(&key, &answer, true).unwrap();
        let why = membership.would_get_one().await.unwrap_err().to_string();
        assert!(why.contains("with the certificate: ") && why.contains("by TLS alone"), "{why}");
        assert!(why.contains("with the join token: cannot use the join token in"), "{why}");
    }

    #[test]
    fn a_worker_without_a_join_token_that_has_not_joined_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let name = "one".parse().unwrap();
        assert!(Membership::new("https://a:1", None, folder.path().to_owned(), &name).is_none());
        let join = Some(JoinFrom::Token(String::new()));
        let membership = Membership::new("https://a:1", join, folder.path().to_owned(), &name).unwrap();
        assert!(!membership.holds());
    }
}
