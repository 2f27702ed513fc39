//! PostgreSQL: several coordinators on one database, of which one leads and writes. A commit is one transaction of
//! a few statements that first makes sure that its writer still leads.

mod leader;
mod session;
pub(super) mod suitable;
mod upgrade;
mod write;
mod writer;

use std::str::FromStr;

use async_trait::async_trait;
use domain::record::{Quota, Record, StoredSearch, StoredSweep, Token};
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use terms::{JobKey, JobState, SweepId};

use self::{
    leader::Leadership,
    session::{ANSWER_WITHIN, Readers, here, within},
    writer::Writer,
};
use super::{
    ArtifactRow, AttemptPlace, AttemptRow, AttemptsAsked, EpochPlace, EpochRow, JobRow, LeaderTold,
    ResultRows, Store, StoreError,
    cells::integer,
    quotas,
    read::{self, queries},
    search, tokens,
};

pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// Needs disk for a temporary table of more than a mebibyte: room that makes it worth while to commit again.
const TAKE_ROOM: &str = "CREATE TEMPORARY TABLE sweep_room ON COMMIT DROP AS \
                         SELECT repeat(n::text, 100) FROM generate_series(100000, 103000) AS n";

/// What follows is read as of one moment, while commits run. Between two questions, what was read is looked through,
/// which may take a while.
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                             SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    writer: Writer,
    readers: Readers,
    /// For what must not wait until users have read.
    aside: Readers,
    leadership: Leadership,
}

impl PostgresStore {
    /// Connects, makes sure that the database can be used, and brings the tables up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::PostgresUrl(error.to_string()))?
            .application_name("sweep")
            // What takes long is reported in our own words, once; statements are long.
            .disable_statement_logging();
        let (mut connection, readers_max) = suitable::first_connection(&options).await?;
        MIGRATIONS.run(&mut connection).await.map_err(|error| suitable::not_migrated(error, &options))?;
        here(upgrade::rows(&mut connection).await)?;
        let readers = Readers::new(options.clone(), readers_max);
        let aside = Readers::new(options.clone(), 1);
        Ok(Self { writer: Writer::new(options), readers, aside, leadership: Leadership::default() })
    }
}

#[async_trait]
impl ResultRows for PostgresStore {
    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let jobs = here(read::jobs(&mut reader, sweep, first, limit).await)?;
        reader.done();
        Ok(jobs)
    }

    async fn attempts_of_jobs(
        &self,
        sweep: SweepId,
        after: AttemptPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let attempts = here(read::attempts_of_jobs(&mut reader, sweep, after, last, limit).await)?;
        reader.done();
        Ok(attempts)
    }

    async fn epochs(
        &self,
        sweep: SweepId,
        after: EpochPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let epochs = here(read::epochs(&mut reader, sweep, after, last, limit).await)?;
        reader.done();
        Ok(epochs)
    }

    async fn artifacts(
        &self,
        sweep: SweepId,
        first: u64,
        last: u64,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let artifacts = here(read::artifacts(&mut reader, sweep, first, last, limit).await)?;
        reader.done();
        Ok(artifacts)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn lead(&self, address: &str, leader: LeaderTold<'_>) -> Result<(), StoreError> {
        here(self.leadership.take(&self.aside, address, leader).await)?;
        // Who cannot write does not lead.
        self.writer.renew().await
    }

    async fn deposed(&self) -> StoreError {
        self.leadership.keep(&self.writer, &self.aside).await
    }

    fn leads_surely(&self) -> bool {
        self.leadership.is_confirmed()
    }

    fn term(&self) -> Option<i64> {
        self.leadership.leading_term()
    }

    async fn lay_down(&self) {
        if let Err(error) = self.leadership.vacate(&self.aside).await {
            tracing::debug!(%error, "another coordinator will notice by itself that this one does not lead");
        }
    }

    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError> {
        // After an error, its connection goes, and the transaction with it.
        let mut reader = self.readers.acquire().await?;
        within(ANSWER_WITHIN, sqlx::raw_sql(BEGIN_READING).execute(reader.connection()?)).await?;
        let sweeps = here(read::sweeps(&mut reader).await)?;
        within(ANSWER_WITHIN, sqlx::raw_sql("COMMIT").execute(reader.connection()?)).await?;
        reader.done();
        Ok(sweeps)
    }

    async fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        here(self.writer.commit(&self.leadership, &self.aside, records).await)
    }

    async fn jobs_in_state(
        &self,
        sweep: SweepId,
        state: JobState,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let jobs = here(read::jobs_in_state(&mut reader, sweep, state, first, limit).await)?;
        reader.done();
        Ok(jobs)
    }

    async fn attempts(&self, job: JobKey) -> Result<Vec<AttemptRow>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let attempts = here(read::attempts(&mut reader, job).await)?;
        reader.done();
        Ok(attempts)
    }

    async fn attempts_between(&self, asked: AttemptsAsked) -> Result<Vec<(JobKey, AttemptRow)>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let attempts = here(read::attempts_between(&mut reader, asked).await)?;
        reader.done();
        Ok(attempts)
    }

    async fn has_room(&self) -> bool {
        // Only the server knows, and only when it writes.
        let taken = async {
            let mut reader = self.readers.acquire().await?;
            let connection = reader.connection()?;
            sqlx::raw_sql(TAKE_ROOM).execute(connection).await?;
            reader.done();
            Ok::<_, sqlx::Error>(())
        };
        match within(ANSWER_WITHIN, taken).await.map_err(StoreError::from) {
            Err(error) => !matches!(error, StoreError::Full(_)),
            Ok(()) => true,
        }
    }

    async fn search(&self, sweep: SweepId) -> Result<StoredSearch, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let search = here(search::read(&mut reader, integer(sweep.0)?).await)?;
        reader.done();
        Ok(search)
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        // Not behind users who read: no one is let in without.
        let mut reader = self.aside.acquire().await?;
        let tokens = here(tokens::read(&mut reader).await)?;
        reader.done();
        Ok(tokens)
    }

    async fn quotas(&self) -> Result<Vec<Quota>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let quotas = here(quotas::read(&mut reader).await)?;
        reader.done();
        Ok(quotas)
    }

    async fn close(&self) {
        self.lay_down().await;
        self.writer.close().await;
        tokio::join!(self.readers.close(), self.aside.close());
    }
}

queries!(PgConnection, PgRow);
