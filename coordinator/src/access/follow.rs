//! Keeps what lets callers in up to date: certificates and tokens from files, and, while another coordinator may make tokens, those of the store,
//! also when a caller shows one that is not known.

use std::{sync::Arc, time::Duration};

use domain::record::Token;
use store::{Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Identities, second_look::SecondLook};
use crate::{driver::Leadership, tls::Tls};

/// How often a coordinator that does not lead looks for tokens that another has made or revoked.
const TOKENS_EVERY: Duration = Duration::from_secs(5);

/// Does so until `stop`.
pub(crate) fn follow(
    identities: &Identities,
    tls: Option<&Tls>,
    (store, leadership): (&Arc<dyn Store>, &Leadership),
    stop: &CancellationToken,
) {
    tokio::spawn(identities.clone().follow(stop.clone()));
    if let Some(tls) = tls {
        tokio::spawn(tls.clone().follow(stop.clone()));
    }
    if identities.wants_token() {
        let leading = Arc::clone(store);
        identities.sure_while(move || leading.leads_surely());
        let store = Arc::clone(store);
        let read = move || {
            let store = Arc::clone(&store);
            async move { store.tokens().await }
        };
        tokio::spawn(of_store(identities.clone(), read, leadership.clone(), stop.clone()));
    }
}

/// Takes over what `read` finds in the store, now and then and when a caller needs it, as long as this coordinator does not lead.
fn of_store<R: Future<Output = Result<Vec<Token>, StoreError>> + Send>(
    identities: Identities,
    read: impl Fn() -> R + Send,
    leadership: Leadership,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let second_look = Arc::new(SecondLook::default());
    identities.looking_again_by(Arc::clone(&second_look));
    async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TOKENS_EVERY) => {}
                () = second_look.wanted() => {}
            }
            if leadership.driver().is_err() {
                match read().await {
                    Ok(tokens) => identities.take(tokens, false),
                    Err(error) => tracing::debug!(%error, "the tokens of the store cannot be read"),
                }
            }
            second_look.taken(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use terms::Role;

    use super::*;
    use crate::access::{NotKnown, Secret, TokenFiles, WorkerCertificate, token};

    #[tokio::test]
    async fn one_that_stands_by_knows_a_worker_that_joined_at_the_leader_once_it_has_looked_again() {
        let admin = Some(Secret::Text("all-of-it".to_owned()));
        let identities = Identities::open(TokenFiles { admin, viewer: None }).unwrap();
        let read = || std::future::ready(Ok(vec![token("a", Role::Worker)]));
        let stop = CancellationToken::new();
        let follows = tokio::spawn(of_store(identities.clone(), read, Leadership::default(), stop.clone()));
        let expires = SystemTime::now() + Duration::from_secs(60);
        let shown =
            |token: &str| WorkerCertificate { worker: "one".to_owned(), token: token.to_owned(), expires };
        assert_eq!(identities.of_certificate(&shown("a")).unwrap_err(), NotKnown::Unsure);
        identities.look_again().await;
        assert_eq!(identities.of_certificate(&shown("a")).unwrap().worker.as_deref(), Some("one"));
        assert_eq!(identities.of_token("a.secret").unwrap().role, Role::Worker);
        // Of one that was made up, the leader has the word.
        identities.look_again().await;
        assert_eq!(identities.of_certificate(&shown("b")).unwrap_err(), NotKnown::Unsure);
        stop.cancel();
        follows.await.unwrap();
    }
}
