//! Whether this coordinator leads, over and over: it has a driver while it does, and stands by while another one leads or the
//! database is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engine::EngineConfig;
use proto::v1::{sweep_service_server::SweepServiceServer, worker_service_server::WorkerServiceServer};
use store::{Store, StoreError};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic_health::server::HealthReporter;

use crate::{
    access::Identities,
    artifacts::{MaybeArtifacts, tidy},
    driver::{Driver, DriverError, Leadership, Role},
    logged::Logged,
    metrics::Counted,
    rpc::{SweepServer, WorkerServer},
    traced::Traced,
};

/// How long a coordinator that lost leadership waits before it tries to lead again.
const LEAD_AGAIN_DELAY: Duration = Duration::from_millis(500);

/// The part that has a driver while this coordinator leads.
pub(super) struct Coordination {
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: EngineConfig,
    pub(super) artifacts: MaybeArtifacts,
    /// Where others reach this coordinator.
    pub(super) address: String,
    pub(super) leadership: Leadership,
    pub(super) identities: Identities,
    pub(super) health: HealthReporter,
    pub(super) counted: Counted,
    pub(super) traced: Traced,
}

impl Coordination {
    /// Leads whenever it can, until `stop` is cancelled or the store fails for good.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.follow().await;
        let mut logged = Logged::default();
        loop {
            let led = self.lead(&stop, &mut logged).await;
            // From then on, others make tokens.
            self.identities.may_be_old();
            // So that a standby takes over at once, especially if this one cannot write.
            self.store.lay_down().await;
            match led {
                Ok(()) => return Ok(()),
                Err(DriverError::Store(error)) if error.is_passing() => {
                    if logged.is_new(&error.to_string()) {
                        tracing::warn!("this coordinator stands by: {error}");
                    }
                    self.follow().await;
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LEAD_AGAIN_DELAY) => {}
            }
        }
    }

    /// Waits for leadership, and has a driver until it is stopped or leadership is lost.
    async fn lead(&self, stop: &CancellationToken, logged: &mut Logged) -> Result<(), DriverError> {
        let stood_by = AtomicBool::new(false);
        let leader = |leader: &str| {
            stood_by.store(true, Ordering::Relaxed);
            self.leadership.set(Role::Following(Some(leader.to_owned())));
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            led = self.store.lead(&self.address, &leader) => led?,
        }
        // Separate tasks: leadership is kept even while a large store is loaded or the engine is busy.
        let store = Arc::clone(&self.store);
        let mut deposed = AbortOnDropHandle::new(tokio::spawn(async move { store.deposed().await }));
        let (mut driver, handle) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            restored = Driver::restore_traced(Arc::clone(&self.store), self.engine, self.traced.clone()) => restored?,
            error = &mut deposed => return Err(lost(error)),
        };
        driver.count_with(self.counted.clone());
        let dropped = driver.dropped_weights();
        self.artifacts.iter().for_each(|artifacts| artifacts.forget_checkpoints());
        let _tidying = self
            .artifacts
            .clone()
            .map(|artifacts| AbortOnDropHandle::new(tokio::spawn(tidy(artifacts, handle.clone(), dropped))));
        // No other coordinator can make tokens from here on.
        self.identities.take(self.store.tokens().await?, true);
        let mut driver = AbortOnDropHandle::new(tokio::spawn(driver.run(stop.clone())));
        self.leadership.set(Role::Leading(handle));
        if !logged.is_empty() {
            tracing::info!("this coordinator leads again");
            logged.clear();
        } else if stood_by.into_inner() {
            tracing::info!("this coordinator leads now");
        }
        self.health.set_serving::<SweepServiceServer<SweepServer>>().await;
        self.health.set_serving::<WorkerServiceServer<WorkerServer>>().await;
        let ended = tokio::select! {
            ended = &mut driver => ended.unwrap_or_else(|error| Err(DriverError::Panicked(error.to_string()))),
            error = &mut deposed => Err(lost(error)),
        };
        // Before the lead is laid down, the driver must have said its last word.
        if !driver.is_finished() {
            driver.abort();
            // It was aborted, or has ended just now for a reason that no one asks for any more.
            let _ = driver.await;
        }
        ended
    }

    async fn follow(&self) {
        self.identities.may_be_old();
        self.leadership.set(Role::Following(None));
        self.health.set_not_serving::<SweepServiceServer<SweepServer>>().await;
        self.health.set_not_serving::<WorkerServiceServer<WorkerServer>>().await;
    }
}

fn lost(error: Result<StoreError, tokio::task::JoinError>) -> DriverError {
    match error {
        Ok(error) => error.into(),
        Err(error) => DriverError::Panicked(error.to_string()),
    }
}
