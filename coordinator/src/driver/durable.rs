//! Questions while a commit takes long: what the engine knows may rest on that commit, but what the store holds is durable and
//! can be read at any time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Mutex;

use crate::{
    core::engine::{Engine, EngineConfig, Input, Now, Reply},
    store::Store,
};

/// How long a question waits for the engine before the store is asked.
pub(super) const ENGINE_WITHIN: Duration = Duration::from_millis(400);
/// How long what was read is good for further questions: reading it is as much work as a start.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// An engine that is what the store holds, and is only asked.
#[derive(Debug, Clone)]
pub(super) struct Durable {
    store: Arc<dyn Store>,
    config: EngineConfig,
    last: Arc<Mutex<Option<(Instant, Engine)>>>,
}

impl Durable {
    pub(super) fn new(store: Arc<dyn Store>, config: EngineConfig) -> Self {
        Self { store, config, last: Arc::default() }
    }

    /// Whether the store knows the answer: it does not know what workers have said since.
    pub(super) fn knows(input: &Input) -> bool {
        matches!(input, Input::DescribeSweep(_) | Input::ListSweeps { .. } | Input::Define(_))
    }

    /// The answer of an engine that begins with what the store holds; none where that cannot be read.
    pub(super) async fn ask(&self, question: Input) -> Option<Reply> {
        // One reads, the others wait for it.
        let mut last = self.last.lock().await;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Now { monotonic_ms: 0, unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) };
        if last.as_ref().is_none_or(|(read, _)| read.elapsed() > GOOD_FOR) {
            *last = None;
            let read = Instant::now();
            let stored = self.store.load().await.ok()?;
            *last = Some((read, Engine::restore(self.config, now, stored).ok()?));
        }
        last.as_mut().map(|(_, engine)| engine.apply(now, question).reply)
    }
}
