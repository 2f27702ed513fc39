//! Keeps what lets callers in up to date: certificates and tokens from files, and, while another coordinator may make tokens, those of the store.

use std::{sync::Arc, time::Duration};

use store::Store;
use tokio_util::sync::CancellationToken;

use super::Identities;
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
        tokio::spawn(of_store(identities.clone(), Arc::clone(store), leadership.clone(), stop.clone()));
    }
}

async fn of_store(
    identities: Identities,
    store: Arc<dyn Store>,
    leadership: Leadership,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TOKENS_EVERY) => {}
        }
        if leadership.driver().is_ok() {
            continue;
        }
        match store.tokens().await {
            Ok(tokens) => identities.take(tokens, false),
            Err(error) => tracing::debug!(%error, "the tokens of the store cannot be read"),
        }
    }
}
