//! The rows that a commit changes and that are not in memory: after a start, and where what had its end goes on after all.
//! Many are asked for at a time, since a user may have thousands of jobs tried again, or stop a sweep in which a
//! hundred thousand wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::record::Record;
use terms::{AttemptKey, JobKey, SweepId};

use super::{
    super::{
        StoreError,
        cells::{integer, number},
        read::{Queries, select},
        tables::{self, TableRow},
    },
    Rows,
};

/// For how many rows a question asks: the next of these numbers, so that there are few statements to prepare. The last one
/// is far below the placeholders that a statement may have.
const ROWS_ASKED_FOR: [usize; 3] = [1, 32, 1_024];

/// Keys of rows.
#[derive(Debug, Default)]
struct Missing {
    sweeps: BTreeSet<u64>,
    jobs: BTreeMap<SweepId, BTreeSet<u64>>,
    /// By sweep and number of the attempt, which is the same for most.
    attempts: BTreeMap<(SweepId, u32), BTreeSet<u64>>,
}

impl Rows {
    /// Reads the rows that the records change and that are not cached. No one else may write until they are written.
    pub(in super::super) async fn fetch<Q: Queries>(
        &mut self,
        connection: &mut Q,
        records: &[Record],
    ) -> Result<(), StoreError> {
        let Missing { sweeps, jobs, attempts } = self.missing(records);
        for row in find::<_, tables::Sweep>(connection, "sweep_id", &[], &sweeps).await? {
            self.sweeps.insert(SweepId(number(row.sweep_id, "sweep_id")?), Arc::new(row));
        }
        for (sweep, jobs) in jobs {
            for row in find::<_, tables::Job>(connection, "job", &[("sweep_id", sweep.0)], &jobs).await? {
                let job = number(row.job, "job")?;
                self.jobs.insert(JobKey { sweep, job }, Arc::new(row));
            }
        }
        for ((sweep, attempt), jobs) in attempts {
            let of_number = [("sweep_id", sweep.0), ("attempt", attempt.into())];
            for row in find::<_, tables::Attempt>(connection, "job", &of_number, &jobs).await? {
                let job = JobKey { sweep, job: number(row.job, "job")? };
                self.attempts.insert(AttemptKey { job, attempt }, Arc::new(row));
            }
        }
        Ok(())
    }

    /// The rows that are neither cached nor created by the records themselves.
    fn missing(&self, records: &[Record]) -> Missing {
        let mut missing = Missing::default();
        for record in records {
            match record {
                Record::SweepExtended { sweep, .. }
                | Record::SweepChanged { sweep, .. }
                | Record::DatasetFound { sweep, .. }
                | Record::ParametersRead { sweep, .. }
                | Record::CheckpointMissed { job: JobKey { sweep, .. } } => {
                    if !self.sweeps.contains_key(sweep) {
                        missing.sweeps.insert(sweep.0);
                    }
                }
                Record::AttemptStarted { attempt, .. } | Record::AttemptEnded { attempt, .. } => {
                    if !self.attempts.contains_key(attempt) {
                        let AttemptKey { job, attempt } = *attempt;
                        missing.attempts.entry((job.sweep, attempt)).or_default().insert(job.job);
                    }
                }
                Record::AttemptGranted { is_first: false, attempt: AttemptKey { job, .. }, .. }
                | Record::EpochRecorded { attempt: AttemptKey { job, .. }, .. }
                | Record::JobChanged { job, .. }
                | Record::RungReached { job, .. }
                | Record::JobPromoted { job, .. } => {
                    if !self.jobs.contains_key(job) {
                        missing.jobs.entry(job.sweep).or_default().insert(job.job);
                    }
                }
                Record::SweepSubmitted { .. }
                | Record::MetricsNamed { .. }
                | Record::PointProposed { .. }
                | Record::TokenKept(_)
                | Record::QuotaKept(_)
                | Record::ResultLearned { .. }
                | Record::AttemptGranted { is_first: true, .. }
                | Record::WeightsChanged { .. } => {}
            }
        }
        // Most commits change cached rows only.
        if !missing.is_empty() {
            records.iter().for_each(|record| missing.leave_out_made_by(record));
        }
        missing
    }
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.sweeps.is_empty() && self.jobs.is_empty() && self.attempts.is_empty()
    }

    /// A row that a record creates cannot exist before.
    fn leave_out_made_by(&mut self, record: &Record) {
        match record {
            Record::SweepSubmitted { sweep, .. } => drop(self.sweeps.remove(&sweep.0)),
            Record::AttemptGranted { attempt: AttemptKey { job, attempt }, is_first, .. } => {
                if let Some(jobs) = self.attempts.get_mut(&(job.sweep, *attempt)) {
                    jobs.remove(&job.job);
                }
                if *is_first && let Some(jobs) = self.jobs.get_mut(&job.sweep) {
                    jobs.remove(&job.job);
                }
            }
            _ => {}
        }
    }
}

/// The rows of a table whose key has the numbers `same`, and in the remaining column one of `keys`.
async fn find<Q: Queries, R: TableRow>(
    connection: &mut Q,
    column: &'static str,
    same: &[(&str, u64)],
    keys: &BTreeSet<u64>,
) -> Result<Vec<R>, StoreError> {
    let keys = keys.iter().map(|key| integer(*key)).collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(ROWS_ASKED_FOR[2]) {
        let asked = ROWS_ASKED_FOR.into_iter().find(|count| *count >= keys.len()).unwrap_or(keys.len());
        let mut numbers = same.iter().map(|(_, number)| integer(*number)).collect::<Result<Vec<_>, _>>()?;
        numbers.extend(keys);
        // Repeats the last one as padding.
        numbers.resize(same.len() + asked, keys.last().copied().unwrap_or_default());
        // Of the columns, the first and the one with many numbers are looked up. Any other is only compared, hence the sum: a
        // database may take it for the better one to look up where it is the same in every row.
        let condition = |(index, (column, _)): (usize, &(&str, u64))| match index {
            0 => format!("{column} = $1"),
            _ => format!("{column} + 0 = ${}", index + 1),
        };
        let mut conditions: Vec<String> = same.iter().enumerate().map(condition).collect();
        let places: Vec<String> = (same.len() + 1..=numbers.len()).map(|place| format!("${place}")).collect();
        conditions.push(connection.one_of(column, &places.join(", ")));
        let rest = format!("WHERE {}", conditions.join(" AND "));
        found.extend(select::<_, R>(connection, &rest, &numbers).await?);
    }
    Ok(found)
}
