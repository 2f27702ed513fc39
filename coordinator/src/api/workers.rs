//! Workers: listed, and drained. Who drains one is answered once the worker itself has said that it leaves: what it was only told would be
//! forgotten with this coordinator, where that ends before the word has come there.

use std::time::Duration;

use engine::{
    ControlError, Issuer, WorkerView,
    command::Drain,
    query::{DescribeWorker, ListWorkers},
};
use terms::WorkerName;
use tokio::time::{Instant, sleep};

use super::{Answer, Api, ApiError, Page, page::PAGE_ROWS_MAX};
use crate::driver::{CallError, Leadership};

/// How long a drained worker may take: one that lives says so at once, and a user must not wait for one whose stream stands still.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOKED_EVERY: Duration = Duration::from_millis(50);

/// A page of workers.
#[derive(Debug)]
pub struct WorkersPage {
    /// By name.
    pub workers: Vec<WorkerView>,
    /// The token of the next page; empty on the last.
    pub next: String,
}

impl Api {
    /// A page of the workers that the coordinator has heard of since it started, by name.
    ///
    /// # Errors
    /// There is no such page.
    pub async fn workers(&self, page: &Page) -> Result<Answer<WorkersPage>, ApiError> {
        let limit = page.limit_or(PAGE_ROWS_MAX)? as usize;
        let after = page.worker()?;
        let place = self.answer().await?;
        let found = self.leadership.query(ListWorkers { after, limit }).await?;
        let last = found.workers.last().filter(|_| found.has_more);
        let next = last.map(|last| last.name.to_string()).unwrap_or_default();
        Ok(Answer { content: WorkersPage { workers: found.workers, next }, _place: place })
    }

    /// Gives a worker no more jobs and tells it to leave.
    ///
    /// # Errors
    /// It is not connected, or has not confirmed it within 10 s.
    pub async fn drain(&self, issuer: Issuer, name: WorkerName) -> Result<WorkerView, ApiError> {
        drain(&self.leadership, issuer, name, CONFIRMED_WITHIN).await
    }
}

async fn drain(
    leadership: &Leadership,
    issuer: Issuer,
    name: WorkerName,
    within: Duration,
) -> Result<WorkerView, ApiError> {
    let deadline = Instant::now() + within;
    let mut worker = leadership.command(issuer, Drain(name.clone())).await?;
    while !worker.has_said_draining {
        if Instant::now() >= deadline {
            return Err(ApiError::Aborted(format!(
                "worker {name} was told to leave, and has not confirmed it within {within:?}; it will, if it still hears the \
                 coordinator: look at `sweep workers`, or drain it again"
            )));
        }
        sleep(LOOKED_EVERY).await;
        worker = match leadership.query(DescribeWorker(name.clone())).await {
            // Whether it left or the coordinator began again, no one knows.
            Err(CallError::Refused(ControlError::NoSuchWorker(_))) => {
                return Err(ApiError::Aborted(format!(
                    "worker {name} was told to leave, and is gone without having confirmed it; drain it again if `sweep \
                     workers` shows it later"
                )));
            }
            answer => answer?,
        };
    }
    Ok(worker)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::{
        api::leader,
        driver::{Outbound, Role},
    };
    use engine::{Event, Hello, SessionId, SlotDescription, ToWorker, WorkerStatus};

    fn name() -> WorkerName {
        "a".parse().unwrap()
    }

    fn hello() -> Hello {
        let slot =
            SlotDescription { index: 0, device: "cpu".into(), description: String::new(), pack_size_max: 1 };
        Hello {
            name: name(),
            instance: "one".into(),
            predecessors: Vec::new(),
            host: String::new(),
            software_version: String::new(),
            slots: vec![slot],
            held: Vec::new(),
            draining: false,
            runs_programs: false,
            spans_slots: false,
            pauses: false,
            checkpoints: String::new(),
            memory_bytes: 0,
            models: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_user_is_answered_when_the_worker_itself_has_said_that_it_leaves() {
        let (store, _folder) = leader::store().await;
        let driver = leader::driver(&store).await;
        let (leadership, name) = (leader::led_by(&driver), name());
        let (session, (outbox, inbox)) = (SessionId(1), driver.outbox());
        driver.open_session(session, hello(), outbox).await.unwrap();
        let unheard = drain(&leadership, Issuer::local(), name.clone(), Duration::ZERO).await.unwrap_err();
        assert!(matches!(unheard, ApiError::Aborted(_)), "{unheard:?}");
        assert!(unheard.to_string().contains("was told to leave, and has not confirmed it"), "{unheard}");
        let asked = {
            let (leadership, name) = (leadership.clone(), name.clone());
            tokio::spawn(async move { drain(&leadership, Issuer::local(), name, CONFIRMED_WITHIN).await })
        };
        // It reads the order, and says that it leaves.
        let is_drain = |message: &ToWorker| matches!(message, ToWorker::Drain { .. });
        loop {
            match poll_fn(|context| inbox.poll_recv(context)).await {
                Some(Outbound::Messages(messages, _)) if messages.iter().any(is_drain) => break,
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
        assert!(!asked.is_finished(), "it is not certain before the worker has said it");
        driver.tell(vec![Event::WorkerDraining { session, reason: String::new() }]).await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap().status, WorkerStatus::Draining);
    }

    #[tokio::test]
    async fn a_drain_that_a_new_coordinator_knows_nothing_of_is_not_reported_as_done() {
        let (store, _folder) = leader::store().await;
        let before = leader::driver(&store).await;
        let (leadership, session) = (leader::led_by(&before), SessionId(1));
        let (outbox, _inbox) = before.outbox();
        before.open_session(session, hello(), outbox).await.unwrap();
        let asked = {
            let leadership = leadership.clone();
            tokio::spawn(async move { drain(&leadership, Issuer::local(), name(), CONFIRMED_WITHIN).await })
        };
        let is_told =
            async || before.query(DescribeWorker(name())).await.unwrap().status == WorkerStatus::Draining;
        while !is_told().await {
            tokio::task::yield_now().await;
        }
        // Another one leads, to which the worker has not come yet.
        leadership.set(Role::Leading(leader::driver(&store).await));
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(refused, ApiError::Aborted(_)), "{refused:?}");
        assert!(refused.to_string().contains("is gone without having confirmed it"), "{refused}");
        // Where it has come, it says nothing of a drain either.
        let after = leader::driver(&store).await;
        let (outbox, _inbox) = after.outbox();
        after.open_session(session, hello(), outbox).await.unwrap();
        assert!(!after.query(DescribeWorker(name())).await.unwrap().has_said_draining);
    }
}
