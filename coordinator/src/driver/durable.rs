//! Queries while a commit takes long: what the engine knows may rest on that commit, but what the store holds is durable and
//! can be read at any time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use engine::{ControlError, Engine, EngineConfig, Now, Query};
use store::Store;
use tokio::sync::Mutex;

use super::{restored, stored};

/// How long a query waits for the engine before the store is asked.
pub(super) const ENGINE_WITHIN: Duration = Duration::from_millis(400);

/// Answers from an engine made of what the store holds.
#[derive(Debug, Clone)]
pub(super) struct Durable {
    store: Arc<dyn Store>,
    config: EngineConfig,
    /// What was read last, and when its reading began.
    last: Last,
    /// How many are asking.
    asking: Arc<AtomicUsize>,
}

type Last = Arc<Mutex<Option<(Instant, Engine)>>>;

/// Someone who asks. With the last one, what was read is dropped: it takes as much memory as the engine itself.
struct Asking<'a>(&'a Durable);

impl<'a> Asking<'a> {
    fn new(durable: &'a Durable) -> Self {
        durable.asking.fetch_add(1, Ordering::SeqCst);
        Self(durable)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.0.asking.fetch_sub(1, Ordering::SeqCst) == 1
            // Whoever holds the lock asks, and was counted.
            && let Ok(mut last) = self.0.last.try_lock()
        {
            *last = None;
        }
    }
}

impl Durable {
    pub(super) fn new(store: Arc<dyn Store>, config: EngineConfig) -> Self {
        Self { store, config, last: Arc::default(), asking: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.last.try_lock().is_ok_and(|last| last.is_none())
    }

    /// The answer of an engine made of what the store holds; none where that cannot be read. What was acknowledged before
    /// `asked`, when the query came, is part of it.
    pub(super) async fn ask<Q: Query>(
        &self,
        question: &Q,
        asked: Instant,
    ) -> Option<Result<Q::Answer, ControlError>> {
        // One reads; the others wait and share what it read if they had asked before. Reading costs as much as a start.
        let _asking = Asking::new(self);
        let mut last = self.last.lock().await;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Now { monotonic_ms: 0, unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) };
        if last.as_ref().is_none_or(|(read, _)| *read < asked) {
            *last = None;
            let read = Instant::now();
            let stored = stored(&*self.store).await.ok()?;
            *last = Some((read, restored(self.config, now, stored).await.ok()?));
        }
        last.as_ref().map(|(_, engine)| engine.ask(now, question))
    }
}
