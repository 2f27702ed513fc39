//! The rows of a database as it is at one moment, for what reads them as of a store.

use async_trait::async_trait;
use terms::SweepId;
use tokio::sync::Mutex;

use super::{
    super::{
        ArtifactRow, AttemptPlace, AttemptRow, EpochPlace, EpochRow, JobRow, ResultRows, StoreError, read,
    },
    SqliteView,
};

/// The rows of one SQLite file at one moment. It has a single connection, so that one page is read at a time.
#[derive(Debug)]
pub struct ViewedRows(Mutex<SqliteView>);

impl ViewedRows {
    pub fn new(view: SqliteView) -> Self {
        Self(Mutex::new(view))
    }
}

#[async_trait]
impl ResultRows for ViewedRows {
    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        let mut view = self.0.lock().await;
        let rows = read::jobs(view.connection(), sweep, first, limit).await;
        view.settled(rows)
    }

    async fn attempts_of_jobs(
        &self,
        sweep: SweepId,
        after: AttemptPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError> {
        let mut view = self.0.lock().await;
        let rows = read::attempts_of_jobs(view.connection(), sweep, after, last, limit).await;
        view.settled(rows)
    }

    async fn epochs(
        &self,
        sweep: SweepId,
        after: EpochPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError> {
        let mut view = self.0.lock().await;
        let rows = read::epochs(view.connection(), sweep, after, last, limit).await;
        view.settled(rows)
    }

    async fn artifacts(
        &self,
        sweep: SweepId,
        first: u64,
        last: u64,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        let mut view = self.0.lock().await;
        let rows = read::artifacts(view.connection(), sweep, first, last, limit).await;
        view.settled(rows)
    }
}
