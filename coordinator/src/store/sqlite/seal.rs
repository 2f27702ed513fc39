//! Checksums onto rows.

use std::collections::BTreeSet;

use proto::{AttemptKey, JobKey};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::{
    StoreError,
    cells::{Cells, integer},
    read::Queries,
    tables::{ATTEMPTS, EPOCHS, JOBS, SWEEPS, Table},
};
use crate::core::record::Record;

/// Rows that a commit changes, by their keys; those of epochs are written with their checksums.
#[derive(Debug, Default)]
pub(super) struct Touched {
    sweeps: BTreeSet<[u64; 1]>,
    jobs: BTreeSet<[u64; 2]>,
    attempts: BTreeSet<[u64; 3]>,
}

impl Touched {
    /// Takes note of what a record changes.
    pub(super) fn by(&mut self, record: &Record) {
        match record {
            Record::SweepSubmitted { sweep, .. }
            | Record::SweepExtended { sweep, .. }
            | Record::SweepChanged { sweep, .. }
            | Record::DatasetFound { sweep, .. } => {
                self.sweeps.insert([sweep.0]);
            }
            Record::JobChanged { job, .. } => self.job(*job),
            Record::EpochRecorded { attempt, .. } => self.job(attempt.job),
            Record::AttemptGranted { attempt, .. } => {
                self.job(attempt.job);
                self.attempt(*attempt);
            }
            Record::AttemptStarted { attempt, .. } | Record::AttemptEnded { attempt, .. } => {
                self.attempt(*attempt);
            }
        }
    }

    fn job(&mut self, job: JobKey) {
        self.jobs.insert([job.sweep.0, job.job]);
    }

    fn attempt(&mut self, attempt: AttemptKey) {
        self.attempts.insert([attempt.job.sweep.0, attempt.job.job, attempt.attempt.into()]);
    }

    /// Gives these rows their checksums.
    pub(super) async fn seal(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        for key in &self.sweeps {
            rows(connection, &SWEEPS, key).await?;
        }
        for key in &self.jobs {
            rows(connection, &JOBS, key).await?;
        }
        for key in &self.attempts {
            rows(connection, &ATTEMPTS, key).await?;
        }
        Ok(())
    }
}

/// Gives every row of a database that was written before there were checksums its own.
pub(super) async fn everything(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for table in [&SWEEPS, &JOBS, &ATTEMPTS, &EPOCHS] {
        rows(connection, table, &[]).await?;
    }
    Ok(())
}

/// Gives the rows whose key begins so their checksums.
async fn rows(connection: &mut SqliteConnection, table: &Table, key: &[u64]) -> Result<(), StoreError> {
    let condition = |columns: usize| {
        let columns = table.columns[..columns].iter().enumerate();
        let parts: Vec<_> = columns.map(|(index, (name, _))| format!("{name} = ${}", index + 1)).collect();
        if parts.is_empty() { "TRUE".to_owned() } else { parts.join(" AND ") }
    };
    let select = format!("SELECT {} FROM {} WHERE {}", table.column_list(), table.name, condition(key.len()));
    let key = key.iter().map(|number| integer(*number)).collect::<Result<Vec<_>, _>>()?;
    for row in connection.rows(select, &key).await? {
        let update = format!(
            "UPDATE {} SET checksum = ${} WHERE {}",
            table.name,
            table.keys + 1,
            condition(table.keys)
        );
        let mut query = sqlx::query(AssertSqlSafe(update));
        for (column, _) in &table.columns[..table.keys] {
            query = query.bind(row.integer(column)?);
        }
        query.bind(table.checksum(&row)?).execute(&mut *connection).await?;
    }
    Ok(())
}
