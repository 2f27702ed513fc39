//! Work that takes a processor for a while, such as sorting a million rows: so much of it at a time, however many ask.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::answers::Answered;
use crate::api::{ApiError, task_ended};

/// How much is done at a time: the coordinator needs the other processors itself.
const WORKING_MAX: usize = 2;
/// Requests that wait at a time where pages ask again and again: those of a hundred open pages.
pub(super) const WAITING_MAX: usize = 256;
/// When it is worth asking again where too many wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Places for work of one kind.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    working: Arc<Semaphore>,
    /// A place for each request that waits, or whose work is being done.
    waiting: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(WORKING_MAX, WAITING_MAX)
    }
}

impl Turns {
    fn new(working_max: usize, waiting_max: usize) -> Self {
        let places = |places| Arc::new(Semaphore::new(places));
        Self { working: places(working_max), waiting: places(waiting_max) }
    }

    /// Does this on a thread of its own, after those who asked before; gives what came of it.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answered<T> {
        let waits = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
        let place = Arc::clone(&self.working).acquire_owned().await.map_err(|_| task_ended())?;
        let done = spawn_blocking(move || {
            // As long as the work, which goes on when its caller hangs up.
            let _held = (waits, place);
            work()
        });
        Ok(done.await.map_err(|_| task_ended())?)
    }
}

/// Said to who would be one too many.
pub(super) fn busy() -> ApiError {
    ApiError::Busy {
        message: "too many such answers are waited for; ask again in a few seconds".to_owned(),
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse};
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn so_much_is_done_at_a_time_also_of_those_who_have_hung_up() {
        let turns = Turns::new(1, 2);
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let mut first = Box::pin(turns.work(move || goes.recv()));
        assert!((&mut first).now_or_never().is_none());
        drop(first);
        let mut second = Box::pin(turns.work(|| 2));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(turns.working.available_permits(), 0, "the first one's work goes on");
        let refused = turns.work(|| 3).now_or_never().expect("it does not wait").unwrap_err();
        assert_eq!(refused.into_response().status(), StatusCode::TOO_MANY_REQUESTS);
        go.send(()).unwrap();
        assert_eq!(second.await.unwrap(), 2);
    }
}
