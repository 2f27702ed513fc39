//! Signs of life of a call that waits, for clients that ask for them: some give up on a call of which they hear nothing.

use std::{convert::Infallible, future, time::Duration};

use proto::v1;
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};
use terms::count;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

/// How often a client is told: often enough for the shortest patience that is usual, ten seconds.
const TELL_INTERVAL: Duration = Duration::from_secs(3);

/// What a call waits for, as it is now.
pub(super) type News = watch::Sender<Option<Waited>>;

/// A sweep that is waited for.
#[derive(Debug, Clone)]
pub(super) struct Waited {
    pub(super) sweep: v1::Sweep,
    /// How long the call waits.
    pub(super) patience: Duration,
}

/// Tells the client of a call how far it is.
pub(super) struct Progress {
    peer: Peer<RoleServer>,
    /// None where the client has not asked.
    token: Option<ProgressToken>,
    heard: watch::Receiver<Option<Waited>>,
}

impl Progress {
    /// That of a call, and where it is said.
    pub(super) fn of(context: &RequestContext<RoleServer>) -> (News, Self) {
        let (news, heard) = watch::channel(None);
        (news, Self { peer: context.peer.clone(), token: context.meta.get_progress_token(), heard })
    }

    /// Tells it until it is dropped.
    pub(super) async fn tell(self) -> Infallible {
        let Self { peer, token, heard } = self;
        let Some(token) = token else { return future::pending().await };
        let began = Instant::now();
        let mut ticks = interval(TELL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let waited = heard.borrow().clone();
            if let Some(waited) = waited {
                // A client that does not listen any more ends the call itself.
                let _ = peer.notify_progress(waited.told(token.clone(), began.elapsed())).await;
            }
        }
    }
}

impl Waited {
    /// The time is what always grows, as the protocol wants of progress: a sweep may get jobs meanwhile.
    fn told(&self, token: ProgressToken, elapsed: Duration) -> ProgressNotificationParam {
        let counts = self.sweep.counts.unwrap_or_default();
        let ended = counts.done + counts.diverged + counts.stopped + counts.failed + counts.cancelled;
        ProgressNotificationParam::new(token, elapsed.as_secs_f64())
            .with_total(self.patience.as_secs_f64())
            .with_message(format!("{ended} of {} have ended", count(self.sweep.job_count, "job")))
    }
}
