//! What the port for probes and metrics says of a coordinator. It is ready where calls are of use: while it leads for sure, and while it
//! stands by for one that leads, whose address it then answers with. Were only the leader ready, a rollout of two would never end.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant, UNIX_EPOCH},
};

use async_trait::async_trait;
use engine::Measure;
use store::Store;
use telemetry::admin::{Condition, Subject};
use tokio::{sync::Mutex, time::timeout};
use tokio_util::sync::CancellationToken;
use traces::Traces;

use crate::{
    api::Api,
    driver::{DriverHandle, Leadership, Role},
    metrics::{Counted, Look, Metrics, Readers},
    tls::Tls,
};

/// How long the engine may take to say how much there is of everything. It answers once what it knows is durable, so that a slow disk
/// delays it; the numbers before stay meanwhile.
const MEASURED_WITHIN: Duration = Duration::from_secs(2);
/// How long numbers are shown again: however many ask, the engine is asked once in this time.
const SHOWN_AGAIN_FOR: Duration = Duration::from_secs(1);

/// A coordinator as its port sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    leadership: Leadership,
    stop: CancellationToken,
    metrics: Metrics,
    tls: Option<Tls>,
    opened: OnceLock<Opened>,
    /// What was shown last, and when.
    shown: Mutex<Option<(Instant, String)>>,
}

/// What there is once the store is open.
#[derive(Debug)]
struct Opened {
    store: Arc<dyn Store>,
    api: Api,
}

impl Watched {
    /// One that opens its store.
    pub(crate) fn new(leadership: Leadership, stop: CancellationToken, traces: &Traces) -> Self {
        let metrics = Metrics::with(traces);
        Self { leadership, stop, metrics, tls: None, opened: OnceLock::new(), shown: Mutex::default() }
    }

    /// What it speaks TLS with, if it does.
    pub(crate) fn serving(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// It has opened its store.
    pub(crate) fn opened(&self, store: Arc<dyn Store>, api: Api) {
        // Once: a coordinator opens one store.
        let _ = self.opened.set(Opened { store, api });
    }

    /// What its driver counts with.
    pub(crate) fn counted(&self) -> Counted {
        self.metrics.counted()
    }

    async fn look(&self) -> Look {
        let expires = self.tls.as_ref().and_then(Tls::expires);
        let expires = expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_secs());
        Look { certificate_expires: expires, ..self.look_inside().await }
    }

    async fn look_inside(&self) -> Look {
        let Some(Opened { store, api }) = self.opened.get() else { return Look::default() };
        let (report, download) = api.readers();
        let readers = Readers { watch: 0, report, download };
        match self.leadership.role() {
            Role::Following(_) => Look { readers, ..Look::default() },
            Role::Leading(driver) => look_at(&driver, store.term(), readers).await,
        }
    }
}

async fn look_at(driver: &DriverHandle, term: Option<i64>, readers: Readers) -> Look {
    let (waiting_requests, waiting_bytes) = driver.waiting();
    let measured = timeout(MEASURED_WITHIN, driver.query_engine(Measure)).await;
    Look {
        leads: true,
        term,
        measured: measured.ok().and_then(Result::ok),
        waiting_requests,
        waiting_bytes,
        readers: Readers { watch: driver.observers(), ..readers },
        certificate_expires: None,
    }
}

#[async_trait]
impl Subject for Watched {
    fn readiness(&self) -> Condition {
        if self.stop.is_cancelled() {
            return Condition::Fails("it stops".to_owned());
        }
        let Some(opened) = self.opened.get() else {
            return Condition::Fails("it opens its store".to_owned());
        };
        match self.leadership.role() {
            Role::Leading(_) if opened.store.leads_surely() => Condition::Holds("it leads".to_owned()),
            Role::Leading(_) => Condition::Fails(
                "it leads, which its database has not confirmed yet, or not for a while".to_owned(),
            ),
            Role::Following(Some(leader)) => {
                Condition::Holds(format!("it stands by for the one at {leader}"))
            }
            Role::Following(None) => {
                Condition::Fails("no coordinator leads, or the database does not say which".to_owned())
            }
        }
    }

    fn leadership(&self) -> Option<Condition> {
        Some(match (self.leadership.role(), self.opened.get()) {
            (Role::Leading(_), Some(opened)) if opened.store.leads_surely() => {
                Condition::Holds("it leads".to_owned())
            }
            (Role::Following(Some(leader)), _) => Condition::Fails(format!("the one at {leader} leads")),
            _ => Condition::Fails("it does not lead, or not for sure".to_owned()),
        })
    }

    async fn metrics(&self) -> String {
        let mut shown = self.shown.lock().await;
        match &*shown {
            Some((at, text)) if at.elapsed() < SHOWN_AGAIN_FOR => text.clone(),
            _ => {
                let text = self.metrics.encode(&self.look().await);
                *shown = Some((Instant::now(), text.clone()));
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::leader;

    fn api(leadership: &Leadership, store: &Arc<dyn Store>) -> Api {
        Api::new(leadership.clone(), Arc::clone(store), None, tokio_util::task::TaskTracker::new())
    }

    #[tokio::test]
    async fn a_coordinator_is_ready_while_it_leads_or_knows_who_does() {
        let (store, _folder) = leader::store().await;
        let (leadership, stop) = (Leadership::default(), CancellationToken::new());
        let watched = Watched::new(leadership.clone(), stop.clone(), &Traces::default());
        let fails = |condition, why: &str| match condition {
            Condition::Fails(text) => assert!(text.contains(why), "{text}"),
            Condition::Holds(text) => panic!("{text}"),
        };
        fails(watched.readiness(), "opens its store");
        assert!(watched.metrics().await.contains("\nsweep_leader 0\n"), "numbers need no store");
        watched.opened(Arc::clone(&store), api(&leadership, &store));
        fails(watched.readiness(), "no coordinator leads");
        leadership.set(Role::Following(Some("http://a:1".to_owned())));
        assert_eq!(
            watched.readiness(),
            Condition::Holds("it stands by for the one at http://a:1".to_owned())
        );
        fails(watched.leadership().unwrap(), "the one at http://a:1 leads");
        leadership.set(Role::Leading(leader::driver(&store).await));
        assert_eq!(watched.readiness(), Condition::Holds("it leads".to_owned()));
        assert_eq!(watched.leadership(), Some(Condition::Holds("it leads".to_owned())));
        stop.cancel();
        fails(watched.readiness(), "stops");
    }

    #[tokio::test]
    async fn the_engine_is_asked_once_however_many_look() {
        let (store, _folder) = leader::store().await;
        let leadership = leader::led_by(&leader::driver(&store).await);
        let watched = Watched::new(leadership.clone(), CancellationToken::new(), &Traces::default());
        watched.opened(Arc::clone(&store), api(&leadership, &store));
        let first = watched.metrics().await;
        assert!(
            first.contains("\nsweep_leader 1\n") && first.contains("\nsweep_engine_answered 1\n"),
            "{first}"
        );
        // Processor time would differ if it were looked up again.
        assert_eq!(watched.metrics().await, first);
    }
}
