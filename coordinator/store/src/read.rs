//! Reads tables into what the engine and its readers need. The tables have the same columns in every database, so each
//! query is written in SQL that all of them understand.

mod shown;
mod timeline;

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use domain::record::{
    BestEpoch, BestJobs, BestPoints, History, StoredAttempt, StoredJob, StoredRungs, StoredStage,
    StoredSweep, StoredWeights, WeightsState,
};
use terms::{Epoch, Goal, JobState, MetricRow, MetricSchema, MetricUse, Objective, SweepId, SweepState};

pub(super) use self::{
    shown::{
        PAGE_OF_JOBS, artifacts, attempts, attempts_of_jobs, epochs, job_rows, jobs, jobs_in_state,
        page_of_jobs,
    },
    timeline::attempts_between,
};
use super::{
    ArtifactRow, StoreError,
    cells::{
        Cells, dataset, integer, job_state, metric_row, names, natural, number, parameters, text, worker,
    },
    rungs::decoded,
    search,
    tables::{self, TableRow},
};

/// Done jobs that are read at a time at a start: a few megabytes.
const DONE_READ: usize = 50_000;

/// A connection that runs queries.
#[async_trait]
pub(super) trait Queries: Send {
    /// A row of its results.
    type Row: Cells + Send + Sync;

    /// All rows of a query with the placeholders `$1`, `$2` …, which stand for `numbers`. Nothing that came from
    /// outside may be part of the query.
    async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<Self::Row>, sqlx::Error>;

    /// The condition that a key column is one of the numbers of these placeholders, written so that the database looks up
    /// each of them.
    fn one_of(&self, column: &str, places: &str) -> String {
        format!("{column} IN ({places})")
    }
}

/// Implements [`Queries`] and [`Cells`] for a connection and a row of sqlx.
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

/// Verified rows of a table; `rest` selects and orders them.
pub(super) async fn select<Q: Queries, R: TableRow>(
    connection: &mut Q,
    rest: &str,
    numbers: &[i64],
) -> Result<Vec<R>, StoreError> {
    connection.rows(query_of::<R>(rest), numbers).await?.iter().map(R::verified).collect()
}

/// The query for rows of a table: its columns in their order, then the checksum.
pub(super) fn query_of<R: TableRow>(rest: &str) -> String {
    format!("SELECT {}, checksum FROM {} {rest}", R::TABLE.column_list(), R::TABLE.name)
}

/// The metrics of a sweep in their order.
pub(super) const METRICS_OF_SWEEP: &str = "WHERE sweep_id = $1 ORDER BY place";

/// The names of a sweep's metrics.
pub(super) async fn metric_names(
    connection: &mut impl Queries,
    sweep: i64,
) -> Result<MetricSchema, StoreError> {
    schema(&select(connection, METRICS_OF_SWEEP, &[sweep]).await?, sweep)
}

/// The names of a sweep's metrics from their rows.
pub(super) fn schema(rows: &[tables::Metric], sweep: i64) -> Result<MetricSchema, StoreError> {
    let schema = MetricSchema::of(rows.iter().map(|row| row.name.as_ref()))
        .map_err(|error| StoreError::Corrupt(format!("the metrics of sweep {sweep}: {error}")))?;
    if schema.len() == rows.len() && rows.last().is_none_or(|last| last.place + 1 == schema.len() as i64) {
        return Ok(schema);
    }
    Err(StoreError::Corrupt(format!("the metrics of sweep {sweep} are not one after the other")))
}

/// Every sweep with its unfinished jobs, ordered by number.
pub(super) async fn sweeps(connection: &mut impl Queries) -> Result<Vec<StoredSweep>, StoreError> {
    let rows: Vec<tables::Sweep> = select(connection, "ORDER BY sweep_id", &[]).await?;
    let mut sweeps = Vec::with_capacity(rows.len());
    for row in rows {
        sweeps.push(sweep(connection, row).await?);
    }
    Ok(sweeps)
}

async fn sweep<Q: Queries>(connection: &mut Q, row: tables::Sweep) -> Result<StoredSweep, StoreError> {
    let key = row.sweep_id;
    let id = SweepId(number(key, "sweep_id")?);
    let state = SweepState::from_name(&row.state)
        .ok_or_else(|| StoreError::Corrupt(format!("sweep {id} has the state {:?}", row.state)))?;
    let (next_unstarted, out_of_order) = begun(connection, key).await?;
    let objective = objective(&row)?;
    let points = BestPoints::of_text(&row.specification);
    let created_unix_ms = number(row.created_unix_ms, "created_unix_ms")?;
    let ended_unix_ms = row.ended_unix_ms.map(|at| number(at, "ended_unix_ms")).transpose()?;
    Ok(StoredSweep {
        sweep: id,
        dataset: row.dataset.map(|json| dataset(id, &json)).transpose()?,
        request_id: row.owners_request_id.0.or(row.request_id).unwrap_or_default().into_owned(),
        specification: row.specification.into_owned(),
        manifest: row.manifest.0.map(tables::Text::into_owned),
        metrics: metric_names(connection, key).await?,
        parameters: row.parameters.0.map(|json| parameters(id, &json)).transpose()?.unwrap_or_default(),
        without_checkpoint: row
            .without_checkpoint
            .0
            .map(|job| number(job, "without_checkpoint"))
            .transpose()?,
        state,
        job_count: number(row.job_count, "job_count")?,
        created_unix_ms,
        owner: row.owner.0.map(tables::Text::into_owned),
        ended_unix_ms,
        next_unstarted,
        out_of_order,
        finals: finals(connection, key).await?,
        best: best(connection, key, &objective).await?,
        best_points: best_points(connection, key, &objective, points).await?,
        open_jobs: open_jobs(connection, key).await?,
        weights: weights(connection, key).await?,
        rungs: rungs(connection, key).await?,
        search: search::read(connection, key).await?,
    })
}

async fn rungs(connection: &mut impl Queries, sweep: i64) -> Result<Vec<StoredRungs>, StoreError> {
    let compared = "WHERE sweep_id = $1 AND rungs IS NOT NULL ORDER BY job";
    let jobs: Vec<tables::Job> = select(connection, compared, &[sweep]).await?;
    let stored = |row: &tables::Job| {
        Ok(StoredRungs {
            job: number(row.job, "job")?,
            state: job_state(&row.state)?,
            rungs: decoded(row.rungs.0.as_deref())?,
        })
    };
    jobs.iter().map(stored).collect()
}

/// The smallest number without a row, and the larger ones with one: packs start jobs out of order.
async fn begun(connection: &mut impl Queries, sweep: i64) -> Result<(u64, BTreeSet<u64>), StoreError> {
    let count = "SELECT COUNT(*) AS jobs, COALESCE(MAX(job), 0) AS job FROM jobs WHERE sweep_id = $1";
    let rows = connection.rows(count.into(), &[sweep]).await?;
    let Some(row) = rows.first() else { return Ok((1, BTreeSet::new())) };
    let (jobs, last): (u64, u64) = (natural(row, "jobs")?, natural(row, "job")?);
    if jobs == last {
        return Ok((last + 1, BTreeSet::new()));
    }
    // The first row whose number differs from its position.
    let gap = "SELECT job FROM (SELECT job, ROW_NUMBER() OVER (ORDER BY job) AS position FROM jobs WHERE sweep_id = $1) \
               AS placed WHERE job > position ORDER BY job LIMIT 1";
    let out_of_order = format!("SELECT job FROM jobs WHERE sweep_id = $1 AND job >= ({gap}) ORDER BY job");
    let rows = connection.rows(out_of_order, &[sweep]).await?;
    let out_of_order = rows.iter().map(|row| natural(row, "job")).collect::<Result<BTreeSet<u64>, _>>()?;
    Ok((jobs - out_of_order.len() as u64 + 1, out_of_order))
}

async fn finals(connection: &mut impl Queries, sweep: i64) -> Result<Vec<(JobState, u64)>, StoreError> {
    let rows = connection
        .rows("SELECT state, COUNT(*) AS jobs FROM jobs WHERE sweep_id = $1 GROUP BY state".into(), &[sweep])
        .await?;
    let mut finals = Vec::new();
    for row in &rows {
        let state = job_state(&text(row, "state")?)?;
        if state.is_final() {
            finals.push((state, natural(row, "jobs")?));
        }
    }
    Ok(finals)
}

/// The objective of a sweep. Whether the last or the best epoch counts is in the specification and does not matter here.
pub(super) fn objective(row: &tables::Sweep) -> Result<Objective, StoreError> {
    let goal = Goal::from_name(&row.goal)
        .ok_or_else(|| StoreError::Corrupt(format!("sweep {} has the goal {:?}", row.sweep_id, row.goal)))?;
    Ok(Objective { name: row.metric.as_ref().into(), goal, used: MetricUse::default() })
}

/// The best done jobs by both ways to rank them.
async fn best<Q: Queries>(
    connection: &mut Q,
    sweep: i64,
    objective: &Objective,
) -> Result<BestJobs, StoreError> {
    let mut best = BestJobs::default();
    for value in ["objective", "COALESCE(best_objective, objective)"] {
        let order = if objective.goal == Goal::Maximize { " DESC" } else { "" };
        let rest = format!(
            "WHERE sweep_id = $1 AND state = 'done' AND {value} IS NOT NULL ORDER BY {value}{order}, job LIMIT 1"
        );
        for row in select::<_, tables::Job>(connection, &rest, &[sweep]).await? {
            let job = number(row.job, "job")?;
            if value == "objective" {
                best.consider(objective, job, row.objective, None);
            } else {
                best.consider(objective, job, None, row.best_objective.or(row.objective));
            }
        }
    }
    Ok(best)
}

/// Takes the done jobs of a sweep with `repeats` into account.
async fn best_points(
    connection: &mut impl Queries,
    sweep: i64,
    objective: &Objective,
    points: Option<BestPoints>,
) -> Result<Option<BestPoints>, StoreError> {
    let Some(mut points) = points else { return Ok(None) };
    let done = format!(
        "SELECT job, objective, COALESCE(best_objective, objective) AS best FROM jobs \
         WHERE sweep_id = $1 AND state = 'done' AND job > $2 ORDER BY job LIMIT {DONE_READ}"
    );
    let mut last = 0;
    loop {
        let rows = connection.rows(done.clone(), &[sweep, last]).await?;
        for row in &rows {
            let job = natural(row, "job")?;
            points.consider(objective, job, row.real("objective")?, row.real("best")?);
            last = integer(job)?;
        }
        if rows.len() < DONE_READ {
            return Ok(Some(points));
        }
    }
}

/// The best epoch of a job, from its row.
pub(super) fn best_epoch(row: &tables::Job) -> Result<Option<BestEpoch>, StoreError> {
    let Some(epoch) = row.best_epoch else { return Ok(None) };
    let is_last = epoch == row.epochs_done;
    let (value, bytes) =
        if is_last { (row.objective, &row.metrics) } else { (row.best_objective, &row.best_metrics) };
    let (Some(value), Some(bytes)) = (value, bytes) else {
        return Err(StoreError::Corrupt(format!("job {} does not say what its best epoch brought", row.job)));
    };
    Ok(Some(BestEpoch { epoch: number(epoch, "best_epoch")?, value, row: metric_row(bytes)? }))
}

async fn open_jobs(connection: &mut impl Queries, sweep: i64) -> Result<Vec<StoredJob>, StoreError> {
    let open = "WHERE sweep_id = $1 AND state IN ('pending', 'running', 'paused') ORDER BY job";
    let jobs: Vec<tables::Job> = select(connection, open, &[sweep]).await?;
    let running = "WHERE sweep_id = $1 AND (job, attempt) IN \
                   (SELECT job, attempts FROM jobs WHERE sweep_id = $1 AND state = 'running')";
    let attempts: Vec<tables::Attempt> = select(connection, running, &[sweep]).await?;
    let attempts: HashMap<i64, tables::Attempt> = attempts.into_iter().map(|row| (row.job, row)).collect();
    let last = "WHERE sweep_id = $1 AND (job, attempt, epoch) IN \
                (SELECT job, attempts, epochs_done FROM jobs WHERE sweep_id = $1 AND state = 'running')";
    let epochs: Vec<tables::Epoch> = select(connection, last, &[sweep]).await?;
    let epochs: HashMap<i64, tables::Epoch> = epochs.into_iter().map(|row| (row.job, row)).collect();
    let mut open_jobs = Vec::with_capacity(jobs.len());
    for row in &jobs {
        let stage = match job_state(&row.state)? {
            JobState::Running => {
                StoredStage::Running(running_attempt(row, attempts.get(&row.job), epochs.get(&row.job))?)
            }
            JobState::Paused => StoredStage::Paused,
            _ => StoredStage::Waiting,
        };
        open_jobs.push(open_job(row, stage)?);
    }
    Ok(open_jobs)
}

fn open_job(row: &tables::Job, stage: StoredStage) -> Result<StoredJob, StoreError> {
    Ok(StoredJob {
        job: number(row.job, "job")?,
        attempts: number(row.attempts, "attempts")?,
        history: History {
            failures: number(row.failures, "failures")?,
            losses: number(row.losses, "losses")?,
            lost_with: names(&row.lost_with)?,
        },
        reason: row.reason.to_string(),
        worker: (!row.worker.is_empty()).then(|| worker(&row.worker)).transpose()?,
        budget: row.budget.0.map(|budget| number(budget, "budget")).transpose()?,
        stage,
    })
}

/// An epoch as the engine knows it.
pub(super) fn epoch(row: &tables::Epoch) -> Result<Epoch, StoreError> {
    let values = metric_row(&row.metrics)?;
    Ok(Epoch { number: number(row.epoch, "epoch")?, seconds: row.seconds, row: values })
}

fn running_attempt(
    job: &tables::Job,
    attempt: Option<&tables::Attempt>,
    last: Option<&tables::Epoch>,
) -> Result<StoredAttempt, StoreError> {
    let missing = |what| StoreError::Corrupt(format!("job {} runs, but its {what} is not there", job.job));
    let attempt = attempt.ok_or_else(|| missing("attempt"))?;
    if last.is_none() && job.epochs_done > 0 {
        return Err(missing("last epoch"));
    }
    Ok(StoredAttempt {
        worker: worker(&attempt.worker)?,
        slot: number(attempt.slot, "slot")?,
        device: attempt.device.to_string(),
        pack_size: pack_size(attempt.pack_size.0)?,
        started: attempt.started,
        train_seconds: job.train_seconds,
        last: last.map(epoch).transpose()?,
        best: best_epoch(job)?,
    })
}

/// The column `pack_size`: NULL for a job alone.
fn pack_size(size: Option<i64>) -> Result<u32, StoreError> {
    size.map_or(Ok(1), |size| number(size, "pack_size"))
}

/// The weights of a sweep that are kept or being uploaded.
async fn weights(connection: &mut impl Queries, sweep: i64) -> Result<Vec<StoredWeights>, StoreError> {
    let of_sweep = "WHERE sweep_id = $1 AND state IN ('awaited', 'kept') ORDER BY job";
    let rows: Vec<tables::Artifact> = select(connection, of_sweep, &[sweep]).await?;
    let mut weights = Vec::with_capacity(rows.len());
    for row in rows {
        let ArtifactRow { job, attempt, state, worker: name, file, value, reason: _ } = shown::artifact(row)?;
        let (worker, kept) = (worker(&name)?, state == WeightsState::Kept);
        weights.push(StoredWeights { job, attempt, worker, file, value, kept });
    }
    Ok(weights)
}

/// The values of the last epoch of a job, from its row.
fn last_row(row: &tables::Job) -> Result<MetricRow, StoreError> {
    row.metrics.as_deref().map_or_else(|| Ok(MetricRow::default()), metric_row)
}
