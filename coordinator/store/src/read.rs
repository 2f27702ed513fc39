//! Tables back into what the engine and its readers need. The tables have the same columns in every database, so
//! each question is asked in words that all of them understand.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use domain::{
    record::{
        BestEpoch, BestJobs, History, StoredAttempt, StoredJob, StoredSweep, StoredWeights, WeightsFile,
        WeightsState,
    },
    specification::{Goal, Metric, MetricName, MetricUse},
};
use terms::{JobKey, JobState, SweepId, SweepState, WorkerName};

use super::{
    ArtifactRow, AttemptRow, EpochPlace, EpochRow, JobRow, StoreError,
    cells::{
        Cells, best_epoch, dataset, integer, job_row, job_state, metrics, natural, optional_natural,
        pack_size, text,
    },
    tables::{ARTIFACTS, ATTEMPTS, EPOCHS, JOBS, SWEEPS, Table},
};

/// A connection that can be asked.
#[async_trait]
pub(super) trait Queries: Send {
    /// A row of its answers.
    type Row: Cells;

    /// All rows of a query with the placeholders `$1`, `$2` …, which stand for `numbers`. Nothing that came from
    /// outside may be part of the query.
    async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<Self::Row>, sqlx::Error>;

    /// The condition that a column of a key is one of the numbers of these placeholders, in words by which the database looks
    /// up each of them.
    fn one_of(&self, column: &str, places: &str) -> String {
        format!("{column} IN ({places})")
    }
}

/// [`Queries`] and [`Cells`] for a connection and a row of sqlx.
macro_rules! queries {
    ($connection:ty, $row:ty) => {
        #[async_trait::async_trait]
        impl $crate::read::Queries for $connection {
            type Row = $row;

            async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<$row>, sqlx::Error> {
                let query = sqlx::query(sqlx::AssertSqlSafe(query));
                let query = numbers.iter().fold(query, |query, number| query.bind(*number));
                query.fetch_all(self).await
            }
        }

        $crate::cells::cells!($row);
    };
}
pub(super) use queries;

/// Rows of a table, which are as they were written; `rest` says which, and in what order.
pub(super) async fn select<Q: Queries>(
    connection: &mut Q,
    table: &Table,
    rest: &str,
    numbers: &[i64],
) -> Result<Vec<Q::Row>, StoreError> {
    let query = format!("SELECT {}, checksum FROM {} {rest}", table.column_list(), table.name);
    let rows = connection.rows(query, numbers).await?;
    rows.iter().try_for_each(|row| table.verify(row))?;
    Ok(rows)
}

/// Every sweep with its jobs that have no end, in the order of their numbers.
pub(super) async fn sweeps(connection: &mut impl Queries) -> Result<Vec<StoredSweep>, StoreError> {
    let rows = select(connection, &SWEEPS, "ORDER BY sweep_id", &[]).await?;
    let mut sweeps = Vec::with_capacity(rows.len());
    for row in rows {
        sweeps.push(sweep(connection, &row).await?);
    }
    Ok(sweeps)
}

async fn sweep<Q: Queries>(connection: &mut Q, row: &Q::Row) -> Result<StoredSweep, StoreError> {
    let id = SweepId(natural(row, "sweep_id")?);
    let key = integer(id.0)?;
    let state = text(row, "state")?;
    let state = SweepState::from_name(&state)
        .ok_or_else(|| StoreError::Damaged(format!("sweep {id} has the state {state:?}")))?;
    let (next_fresh, ahead) = begun(connection, key).await?;
    let metric = metric(id, row)?;
    Ok(StoredSweep {
        sweep: id,
        request_id: row.text("request_id")?.unwrap_or_default(),
        specification: text(row, "specification")?,
        state,
        created_unix_ms: natural(row, "created_unix_ms")?,
        ended_unix_ms: optional_natural(row, "ended_unix_ms")?,
        dataset: row.text("dataset")?.map(|json| dataset(id, &json)).transpose()?,
        next_fresh,
        ahead,
        finals: finals(connection, key).await?,
        best: best(connection, id, metric).await?,
        open_jobs: open_jobs(connection, id, metric).await?,
        weights: weights(connection, key).await?,
    })
}

/// The smallest number without a row, and the larger ones with one. Packs take jobs out of their order.
async fn begun(connection: &mut impl Queries, sweep: i64) -> Result<(u64, BTreeSet<u64>), StoreError> {
    let count = "SELECT COUNT(*) AS jobs, COALESCE(MAX(job), 0) AS job FROM jobs WHERE sweep_id = $1";
    let rows = connection.rows(count.into(), &[sweep]).await?;
    let Some(row) = rows.first() else { return Ok((1, BTreeSet::new())) };
    let (jobs, last): (u64, u64) = (natural(row, "jobs")?, natural(row, "job")?);
    if jobs == last {
        return Ok((last + 1, BTreeSet::new()));
    }
    // The first row whose number is not its place.
    let gap = "SELECT job FROM (SELECT job, ROW_NUMBER() OVER (ORDER BY job) AS place FROM jobs WHERE sweep_id = $1) \
               AS placed WHERE job > place ORDER BY job LIMIT 1";
    let ahead = format!("SELECT job FROM jobs WHERE sweep_id = $1 AND job >= ({gap}) ORDER BY job");
    let rows = connection.rows(ahead, &[sweep]).await?;
    let ahead = rows.iter().map(|row| natural(row, "job")).collect::<Result<BTreeSet<u64>, _>>()?;
    Ok((jobs - ahead.len() as u64 + 1, ahead))
}

async fn finals(connection: &mut impl Queries, sweep: i64) -> Result<Vec<(JobState, u64)>, StoreError> {
    let rows = connection
        .rows("SELECT state, COUNT(*) AS jobs FROM jobs WHERE sweep_id = $1 GROUP BY state".into(), &[sweep])
        .await?;
    let mut finals = Vec::new();
    for row in &rows {
        let state = job_state(row)?;
        if state.is_final() {
            finals.push((state, natural(row, "jobs")?));
        }
    }
    Ok(finals)
}

/// The columns `metric` and `goal` of a sweep.
fn metric(sweep: SweepId, row: &impl Cells) -> Result<Metric, StoreError> {
    let (name, goal) = (text(row, "metric")?, text(row, "goal")?);
    let known = MetricName::from_name(&name).zip(Goal::from_name(&goal));
    let unknown = || StoreError::Damaged(format!("sweep {sweep} is ranked by {name:?}, {goal:?}"));
    // Which epochs count is the specification's, and not asked for here.
    known.map(|(name, goal)| Metric { name, goal, used: MetricUse::default() }).ok_or_else(unknown)
}

/// The best done jobs by both ways to rank them.
async fn best<Q: Queries>(
    connection: &mut Q,
    sweep: SweepId,
    metric: Metric,
) -> Result<BestJobs, StoreError> {
    let mut best = BestJobs::default();
    let (last, furthest) = (metric.name.as_str(), best_column(metric));
    if let Some((job, value)) = best_by_column(connection, sweep, metric, last).await? {
        best.consider(metric, job, Some(value), None);
    }
    if let Some((job, value)) = best_by_column(connection, sweep, metric, furthest).await? {
        best.consider(metric, job, None, Some(value));
    }
    if let Some((job, value)) = best_of_older(connection, sweep, metric).await? {
        best.consider(metric, job, None, Some(value));
    }
    Ok(best)
}

/// The done job with the best value of all its epochs, among those that an older version finished: their rows do not say
/// what was best, so their epochs are asked.
async fn best_of_older<Q: Queries>(
    connection: &mut Q,
    sweep: SweepId,
    metric: Metric,
) -> Result<Option<(u64, f64)>, StoreError> {
    let column = metric.name.as_str();
    let older = format!(
        "SELECT job FROM jobs WHERE sweep_id = $1 AND state = 'done' AND best_epoch IS NULL \
         AND {column} IS NOT NULL LIMIT 1"
    );
    // Few databases have any, and asking for their epochs reads all epochs.
    if connection.rows(older, &[integer(sweep.0)?]).await?.is_empty() {
        return Ok(None);
    }
    let (furthest, order) = if metric.goal == Goal::Maximize { ("MAX", " DESC") } else { ("MIN", "") };
    let query = format!(
        "SELECT epochs.job AS job, {furthest}(epochs.{column}) AS value FROM jobs JOIN epochs \
         ON epochs.sweep_id = jobs.sweep_id AND epochs.job = jobs.job AND epochs.attempt = jobs.attempts \
         WHERE jobs.sweep_id = $1 AND jobs.state = 'done' AND jobs.best_epoch IS NULL \
         AND epochs.{column} IS NOT NULL GROUP BY epochs.job ORDER BY value{order}, job LIMIT 1"
    );
    let found = connection.rows(query, &[integer(sweep.0)?]).await?;
    let Some(found) = found.first() else { return Ok(None) };
    // Once more, from rows that are as they were written.
    let job = natural(found, "job")?;
    let one = "WHERE sweep_id = $1 AND job = $2";
    let mut rows = select(connection, &JOBS, one, &[integer(sweep.0)?, integer(job)?]).await?;
    let Some(row) = rows.pop() else { return Ok(None) };
    let best = best_of_attempt(connection, sweep, metric, &row).await?;
    Ok(best.and_then(|best| Some((job, best.value(metric)?))))
}

/// The column of `jobs` with the best value of a metric.
fn best_column(metric: Metric) -> &'static str {
    if metric.is_largest_accuracy() { "best_val_accuracy" } else { "best_metric" }
}

/// The done job with the best value in a column, the first of equal ones.
async fn best_by_column(
    connection: &mut impl Queries,
    sweep: SweepId,
    metric: Metric,
    column: &str,
) -> Result<Option<(u64, f64)>, StoreError> {
    let order = if metric.goal == Goal::Maximize { " DESC" } else { "" };
    let rest = format!(
        "WHERE sweep_id = $1 AND state = 'done' AND {column} IS NOT NULL ORDER BY {column}{order}, job LIMIT 1"
    );
    let rows = select(connection, &JOBS, &rest, &[integer(sweep.0)?]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(natural(row, "job")?).zip(row.real(column)?))
}

/// The best of the epochs of a job's last attempt, from its row in `jobs`.
async fn best_of_attempt<Q: Queries>(
    connection: &mut Q,
    sweep: SweepId,
    metric: Metric,
    job: &Q::Row,
) -> Result<Option<BestEpoch>, StoreError> {
    if let Some(best) = best_epoch(job)? {
        return Ok(Some(best));
    }
    let of_attempt = "WHERE sweep_id = $1 AND job = $2 AND attempt = $3 ORDER BY epoch";
    let numbers = [integer(sweep.0)?, natural(job, "job")?, natural(job, "attempts")?];
    let rows = select(connection, &EPOCHS, of_attempt, &numbers).await?;
    let epochs = rows.iter().map(metrics).collect::<Result<Vec<_>, _>>()?;
    Ok(BestEpoch::of(metric, &epochs))
}

async fn open_jobs(
    connection: &mut impl Queries,
    id: SweepId,
    metric: Metric,
) -> Result<Vec<StoredJob>, StoreError> {
    let sweep = integer(id.0)?;
    let open = "WHERE sweep_id = $1 AND state IN ('pending', 'running') ORDER BY job";
    let jobs = select(connection, &JOBS, open, &[sweep]).await?;
    let running = "WHERE sweep_id = $1 AND (job, attempt) IN \
                   (SELECT job, attempts FROM jobs WHERE sweep_id = $1 AND state = 'running')";
    let attempts = by_job(select(connection, &ATTEMPTS, running, &[sweep]).await?)?;
    let last = "WHERE sweep_id = $1 AND (job, attempt, epoch) IN \
                (SELECT job, attempts, epochs_done FROM jobs WHERE sweep_id = $1 AND state = 'running')";
    let epochs = by_job(select(connection, &EPOCHS, last, &[sweep]).await?)?;
    let mut open_jobs = Vec::with_capacity(jobs.len());
    for row in &jobs {
        let job = natural(row, "job")?;
        let running = match job_state(row)? {
            JobState::Running => {
                let mut running = running_attempt(row, attempts.get(&job), epochs.get(&job))?;
                running.best = match running.last {
                    Some(_) => best_of_attempt(connection, id, metric, row).await?,
                    None => None,
                };
                Some(running)
            }
            _ => None,
        };
        open_jobs.push(open_job(row, running)?);
    }
    Ok(open_jobs)
}

fn by_job<R: Cells>(rows: Vec<R>) -> Result<HashMap<u64, R>, StoreError> {
    rows.into_iter().map(|row| Ok((natural(&row, "job")?, row))).collect()
}

fn open_job(row: &impl Cells, running: Option<StoredAttempt>) -> Result<StoredJob, StoreError> {
    let lost_with = text(row, "lost_with")?;
    Ok(StoredJob {
        job: natural(row, "job")?,
        attempts: natural(row, "attempts")?,
        history: History {
            failures: natural(row, "failures")?,
            losses: natural(row, "losses")?,
            lost_with: serde_json::from_str(&lost_with).map_err(|error| {
                StoreError::Damaged(format!("the workers that a job was lost with: {error}"))
            })?,
        },
        reason: text(row, "reason")?,
        running,
    })
}

fn running_attempt<R: Cells>(
    job: &R,
    attempt: Option<&R>,
    epoch: Option<&R>,
) -> Result<StoredAttempt, StoreError> {
    let number: u64 = natural(job, "job")?;
    let missing = |what| StoreError::Damaged(format!("job {number} runs, but its {what} is not there"));
    let attempt = attempt.ok_or_else(|| missing("attempt"))?;
    let last = epoch.map(metrics).transpose()?;
    if last.is_none() && natural::<u32>(job, "epochs_done")? > 0 {
        return Err(missing("last epoch"));
    }
    let worker = text(attempt, "worker")?;
    let worker: WorkerName = worker.parse().map_err(|error| StoreError::Damaged(format!("{error}")))?;
    Ok(StoredAttempt {
        worker,
        slot: natural(attempt, "slot")?,
        device: text(attempt, "device")?,
        pack_size: pack_size(attempt)?,
        started: attempt.boolean("started")?.unwrap_or_default(),
        train_seconds: job.real("train_seconds")?.unwrap_or_default(),
        last,
        best: None,
    })
}

/// A number that somebody asks for: what lies beyond every row is beyond every row of any database, too.
fn asked(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// See [`super::Store::jobs`].
pub(super) async fn jobs(
    connection: &mut impl Queries,
    sweep: SweepId,
    first: u64,
    limit: u32,
) -> Result<Vec<JobRow>, StoreError> {
    let page = "WHERE sweep_id = $1 AND job >= $2 ORDER BY job LIMIT $3";
    let rows = select(connection, &JOBS, page, &[asked(sweep.0), asked(first), limit.into()]).await?;
    rows.iter().map(job_row).collect()
}

/// See [`super::Store::jobs_in_state`].
pub(super) async fn jobs_in_state(
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
    let rows = select(connection, &JOBS, &page, &[asked(sweep.0), asked(first), limit.into()]).await?;
    rows.iter().map(job_row).collect()
}

/// See [`super::Store::attempts`].
pub(super) async fn attempts(
    connection: &mut impl Queries,
    job: JobKey,
) -> Result<Vec<AttemptRow>, StoreError> {
    let of_job = "WHERE sweep_id = $1 AND job = $2 ORDER BY attempt";
    let rows = select(connection, &ATTEMPTS, of_job, &[asked(job.sweep.0), asked(job.job)]).await?;
    rows.iter().map(attempt_row).collect()
}

fn attempt_row(row: &impl Cells) -> Result<AttemptRow, StoreError> {
    Ok(AttemptRow {
        attempt: natural(row, "attempt")?,
        worker: text(row, "worker")?,
        slot: natural(row, "slot")?,
        device: text(row, "device")?,
        resumed_epochs: natural(row, "resumed_epochs")?,
        pack_size: pack_size(row)?,
        state: text(row, "state")?,
        reason: text(row, "reason")?,
        log_tail: serde_json::from_str(&text(row, "log_tail")?)
            .map_err(|error| StoreError::Damaged(format!("a log: {error}")))?,
        granted_unix_ms: natural(row, "granted_unix_ms")?,
        ended_unix_ms: optional_natural(row, "ended_unix_ms")?,
    })
}

/// See [`super::Store::epochs`].
pub(super) async fn epochs<Q: Queries>(
    connection: &mut Q,
    sweep: SweepId,
    after: EpochPlace,
    last: u64,
    limit: u32,
) -> Result<Vec<EpochRow>, StoreError> {
    // In the order of the key, so that a page costs what it holds.
    let page = "WHERE sweep_id = $1 AND (job, attempt, epoch) > ($2, $3, $4) AND job <= $5 \
                ORDER BY job, attempt, epoch LIMIT $6";
    let EpochPlace { job, attempt, epoch } = after;
    let numbers = [asked(sweep.0), asked(job), attempt.into(), epoch.into(), asked(last), limit.into()];
    let rows = select(connection, &EPOCHS, page, &numbers).await?;
    let row = |row: &Q::Row| {
        Ok(EpochRow { job: natural(row, "job")?, attempt: natural(row, "attempt")?, metrics: metrics(row)? })
    };
    rows.iter().map(row).collect()
}

/// The weights of a sweep that are kept or on their way.
async fn weights(connection: &mut impl Queries, sweep: i64) -> Result<Vec<StoredWeights>, StoreError> {
    let of_sweep = "WHERE sweep_id = $1 AND state IN ('awaited', 'kept') ORDER BY job";
    let rows = select(connection, &ARTIFACTS, of_sweep, &[sweep]).await?;
    let mut weights = Vec::with_capacity(rows.len());
    for row in &rows {
        let ArtifactRow { job, attempt, state, worker, file, value, reason: _ } = artifact_row(row)?;
        let worker: WorkerName = worker.parse().map_err(|error| StoreError::Damaged(format!("{error}")))?;
        weights.push(StoredWeights { job, attempt, worker, file, value, kept: state == WeightsState::Kept });
    }
    Ok(weights)
}

/// See [`super::Store::artifacts`].
pub(super) async fn artifacts(
    connection: &mut impl Queries,
    sweep: SweepId,
    first: u64,
    last: u64,
    limit: u32,
) -> Result<Vec<ArtifactRow>, StoreError> {
    let of_jobs = "WHERE sweep_id = $1 AND job BETWEEN $2 AND $3 ORDER BY job LIMIT $4";
    let last = integer(last).unwrap_or(i64::MAX);
    let numbers = [integer(sweep.0)?, integer(first)?, last, limit.into()];
    let rows = select(connection, &ARTIFACTS, of_jobs, &numbers).await?;
    rows.iter().map(artifact_row).collect()
}

fn artifact_row(row: &impl Cells) -> Result<ArtifactRow, StoreError> {
    let state = text(row, "state")?;
    Ok(ArtifactRow {
        job: natural(row, "job")?,
        attempt: natural(row, "attempt")?,
        state: WeightsState::from_name(&state)
            .ok_or_else(|| StoreError::Damaged(format!("weights have the state {state:?}")))?,
        worker: text(row, "worker")?,
        file: WeightsFile { bytes: natural(row, "bytes")?, blake3: text(row, "blake3")? },
        value: row.real("value")?.unwrap_or_default(),
        reason: text(row, "reason")?,
    })
}
