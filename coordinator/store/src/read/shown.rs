//! What readers ask for: jobs, attempts, epochs and weights in pages.

use domain::record::{WeightsFile, WeightsState};
use terms::{JobKey, JobState, MetricSchema, SweepId};

use super::{
    super::{
        ArtifactRow, AttemptPlace, AttemptRow, EpochPlace, EpochRow, JobRow, StoreError,
        cells::{integer, job_state, lines, number},
        rungs::decoded,
        tables,
    },
    Queries, best_epoch, epoch, last_row, metric_names, pack_size, select,
};

/// A number that a caller asks for: what lies beyond every row is beyond every row of any database, too.
pub(super) fn asked(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A page of the jobs of a sweep, for [`page_of_jobs`].
pub(in super::super) const PAGE_OF_JOBS: &str = "WHERE sweep_id = $1 AND job >= $2 ORDER BY job LIMIT $3";

/// Which page it is.
pub(in super::super) fn page_of_jobs(sweep: SweepId, first: u64, limit: u32) -> [i64; 3] {
    [asked(sweep.0), asked(first), limit.into()]
}

/// See [`crate::Store::jobs`].
pub(in super::super) async fn jobs(
    connection: &mut impl Queries,
    sweep: SweepId,
    first: u64,
    limit: u32,
) -> Result<Vec<JobRow>, StoreError> {
    read_jobs(connection, PAGE_OF_JOBS, &page_of_jobs(sweep, first, limit)).await
}

/// See [`crate::Store::jobs_in_state`].
pub(in super::super) async fn jobs_in_state(
    connection: &mut impl Queries,
    sweep: SweepId,
    state: JobState,
    first: u64,
    limit: u32,
) -> Result<Vec<JobRow>, StoreError> {
    let state = state.as_str();
    // Of numbers alone, the index knows all; asked for whole rows, SQLite would look through all jobs in their order.
    let page = format!(
        "WHERE sweep_id = $1 AND job IN (SELECT job FROM jobs WHERE sweep_id = $1 AND state = '{state}' \
         AND job >= $2 ORDER BY job LIMIT $3) ORDER BY job"
    );
    read_jobs(connection, &page, &[asked(sweep.0), asked(first), limit.into()]).await
}

/// Rows of jobs of the sweep whose number comes first.
async fn read_jobs(
    connection: &mut impl Queries,
    rest: &str,
    numbers: &[i64],
) -> Result<Vec<JobRow>, StoreError> {
    let rows: Vec<tables::Job> = select(connection, rest, numbers).await?;
    let names = names_after(connection, numbers[0], rows.is_empty()).await?;
    job_rows(rows, &names)
}

/// Rows of jobs as readers have them.
pub(in super::super) fn job_rows(
    rows: Vec<tables::Job>,
    names: &MetricSchema,
) -> Result<Vec<JobRow>, StoreError> {
    rows.into_iter().map(|row| job_row(row, names)).collect()
}

/// The names of a sweep's metrics, read after its rows, so that no row has a value without a name.
async fn names_after(
    connection: &mut impl Queries,
    sweep: i64,
    are_no_rows: bool,
) -> Result<MetricSchema, StoreError> {
    if are_no_rows { Ok(MetricSchema::default()) } else { metric_names(connection, sweep).await }
}

fn job_row(row: tables::Job, names: &MetricSchema) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        job: number(row.job, "job")?,
        state: job_state(&row.state)?,
        attempts: number(row.attempts, "attempts")?,
        epochs_done: number(row.epochs_done, "epochs_done")?,
        train_seconds: row.train_seconds,
        names: names.clone(),
        last: last_row(&row)?,
        objective: row.objective,
        best: best_epoch(&row)?,
        pack_size: pack_size(row.pack_size)?,
        rungs: decoded(row.rungs.0.as_deref())?,
        worker: row.worker.into_owned(),
        reason: row.reason.into_owned(),
    })
}

/// See [`crate::Store::attempts`].
pub(in super::super) async fn attempts(
    connection: &mut impl Queries,
    job: JobKey,
) -> Result<Vec<AttemptRow>, StoreError> {
    let of_job = "WHERE sweep_id = $1 AND job = $2 ORDER BY attempt";
    let rows: Vec<tables::Attempt> =
        select(connection, of_job, &[asked(job.sweep.0), asked(job.job)]).await?;
    rows.into_iter().map(attempt_row).collect()
}

/// See [`crate::Store::attempts_of_jobs`].
pub(in super::super) async fn attempts_of_jobs(
    connection: &mut impl Queries,
    sweep: SweepId,
    after: AttemptPlace,
    last: u64,
    limit: u32,
) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError> {
    // In the order of the key, so that a page costs what it holds.
    let page =
        "WHERE sweep_id = $1 AND (job, attempt) > ($2, $3) AND job <= $4 ORDER BY job, attempt LIMIT $5";
    let AttemptPlace { job, attempt } = after;
    let numbers = [asked(sweep.0), asked(job), attempt.into(), asked(last), limit.into()];
    let rows: Vec<tables::Attempt> = select(connection, page, &numbers).await?;
    let row = |row: tables::Attempt| {
        let job = number(row.job, "job")?;
        let row = attempt_row(row)?;
        Ok((AttemptPlace { job, attempt: row.attempt }, row))
    };
    rows.into_iter().map(row).collect()
}

pub(super) fn attempt_row(row: tables::Attempt) -> Result<AttemptRow, StoreError> {
    Ok(AttemptRow {
        attempt: number(row.attempt, "attempt")?,
        started: row.started,
        slot: number(row.slot, "slot")?,
        resumed_epochs: number(row.resumed_epochs, "resumed_epochs")?,
        pack_size: pack_size(row.pack_size.0)?,
        log_tail: lines(&row.log_tail)?,
        granted_unix_ms: number(row.granted_unix_ms, "granted_unix_ms")?,
        ended_unix_ms: row.ended_unix_ms.map(|at| number(at, "ended_unix_ms")).transpose()?,
        worker: row.worker.into_owned(),
        device: row.device.into_owned(),
        state: row.state.into_owned(),
        reason: row.reason.into_owned(),
    })
}

/// See [`crate::Store::epochs`].
pub(in super::super) async fn epochs(
    connection: &mut impl Queries,
    sweep: SweepId,
    after: EpochPlace,
    last: u64,
    limit: u32,
) -> Result<Vec<EpochRow>, StoreError> {
    // In the order of the key, so that a page costs what it holds.
    let page = "WHERE sweep_id = $1 AND (job, attempt, epoch) > ($2, $3, $4) AND job <= $5 \
                ORDER BY job, attempt, epoch LIMIT $6";
    let EpochPlace { job, attempt, epoch: number_before } = after;
    let numbers =
        [asked(sweep.0), asked(job), attempt.into(), number_before.into(), asked(last), limit.into()];
    let rows: Vec<tables::Epoch> = select(connection, page, &numbers).await?;
    let names = names_after(connection, numbers[0], rows.is_empty()).await?;
    let row = |row: tables::Epoch| {
        let (job, attempt) = (number(row.job, "job")?, number(row.attempt, "attempt")?);
        Ok(EpochRow { job, attempt, names: names.clone(), epoch: epoch(&row)? })
    };
    rows.into_iter().map(row).collect()
}

/// See [`crate::Store::artifacts`].
pub(in super::super) async fn artifacts(
    connection: &mut impl Queries,
    sweep: SweepId,
    first: u64,
    last: u64,
    limit: u32,
) -> Result<Vec<ArtifactRow>, StoreError> {
    let of_jobs = "WHERE sweep_id = $1 AND job BETWEEN $2 AND $3 ORDER BY job LIMIT $4";
    let last = integer(last).unwrap_or(i64::MAX);
    let numbers = [integer(sweep.0)?, integer(first)?, last, limit.into()];
    let rows: Vec<tables::Artifact> = select(connection, of_jobs, &numbers).await?;
    rows.into_iter().map(artifact).collect()
}

pub(super) fn artifact(row: tables::Artifact) -> Result<ArtifactRow, StoreError> {
    let state = WeightsState::from_name(&row.state)
        .ok_or_else(|| StoreError::Corrupt(format!("weights have the state {:?}", row.state)))?;
    Ok(ArtifactRow {
        job: number(row.job, "job")?,
        attempt: number(row.attempt, "attempt")?,
        state,
        worker: row.worker.into_owned(),
        file: WeightsFile { bytes: number(row.bytes, "bytes")?, blake3: row.blake3.into_owned() },
        value: row.value,
        reason: row.reason.into_owned(),
    })
}
