//! The service that users call.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use proto::{JobKey, Message, SweepId, WorkerName, v1, v1::sweep_service_server::SweepService};
use tokio::sync::{
    Mutex, Semaphore, SemaphorePermit,
    mpsc::{self, error::SendTimeoutError},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::{
    artifacts, convert,
    drain::{CONFIRMED_WITHIN, drain},
    edge::{self, page_start},
    mismatch,
    reading::Reading,
    refused, unreadable,
    watch::{self, Snapshots},
};
use crate::{
    artifacts::MaybeArtifacts,
    core::{
        definition::{DefinitionError, SweepDefinition},
        engine::{ControlError, Input, JobEnd, Reply},
        record::EndedJob,
        specification::{Specification, SpecificationError, SpecificationSource},
        state::{JobState, SweepState},
    },
    driver::{CallError, Seat},
    store::{AttemptRow, JobRow, Store, counting_epochs},
};

/// Rows a page where the caller does not say, and at most.
const PAGE_ROWS_DEFAULT: u32 = 100;
const PAGE_ROWS_MAX: u32 = 1_000;
/// Jobs looked at for one page where their rows cannot tell: a page may come back short but never late.
const PAGE_SCAN_MAX: u64 = 1_000;
/// Jobs read at a time for a report.
const REPORT_CHUNK_JOBS: u64 = 500;
/// Report rows that may wait for a slow reader: with the longest reasons, half a megabyte.
const REPORT_ROWS_WAITING_MAX: usize = 128;
/// Reports that are read at the same time, each of which holds a chunk of jobs.
const REPORTS_MAX: usize = 16;
/// How long a reader of a report may take for a row before the report is given up for others.
const REPORT_ROW_WITHIN: Duration = Duration::from_secs(60);
/// Answers with sweeps that are made at the same time, to questions and to others: each may hold specifications of
/// megabytes.
const ANSWERS_MADE_MAX: usize = 32;
/// Bytes of a page of jobs; the last job may go beyond it. Far below the 4 MiB that gRPC's clients take.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Most points of a validation's preview.
const PREVIEW_MAX: u32 = 100;
/// Most jobs that one call has tried again; the rest takes another call.
const RETRIED_JOBS_MAX: usize = 100_000;
/// Most log lines of one job that are sent, in bytes: those of its latest attempts.
const LOGS_BYTES_MAX: usize = 4 << 20;
/// How often a change of a sweep is made anew because somebody else was faster.
const REDEFINE_TRIES_MAX: u32 = 10;
/// Longest request id, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 100;

/// Implements `SweepService`.
#[derive(Debug, Clone)]
pub struct SweepServer {
    seat: Seat,
    store: Arc<dyn Store>,
    artifacts: MaybeArtifacts,
    tasks: TaskTracker,
    /// One retry at a time, so that none acts on failures that another has taken up.
    retries: Arc<Mutex<()>>,
    reading: Reading,
    answers: Arc<Semaphore>,
    /// The same for overviews, which do not wait until others have changed something.
    overviews: Arc<Semaphore>,
    reports: Arc<Semaphore>,
    snapshots: Snapshots,
}

impl SweepServer {
    /// A service that asks the driver of `seat` and reads `store`; its streams run in `tasks`.
    pub fn new(seat: Seat, store: Arc<dyn Store>, artifacts: MaybeArtifacts, tasks: TaskTracker) -> Self {
        Self {
            seat,
            store,
            artifacts,
            tasks,
            retries: Arc::default(),
            reading: Reading::default(),
            answers: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            overviews: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            reports: Arc::new(Semaphore::new(REPORTS_MAX)),
            snapshots: Snapshots::default(),
        }
    }

    /// The right to make an answer with sweeps.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.answers.acquire().await.map_err(|_| mismatch())
    }

    /// The same where sweeps are only looked at.
    async fn look(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.overviews.acquire().await.map_err(|_| mismatch())
    }

    async fn sweep(&self, input: Input) -> Result<Response<v1::Sweep>, Status> {
        let _turn = if input.only_asks() { self.look().await? } else { self.turn().await? };
        match self.seat.call(input).await.map_err(refused)? {
            Reply::Sweep(sweep) => Ok(Response::new(*sweep)),
            _ => Err(mismatch()),
        }
    }

    /// Works on specifications off the runtime's threads: a large one takes a while.
    async fn aside<T: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Status> {
        self.reading.run(work).await?.map_err(|error| Status::invalid_argument(error.to_string()))
    }

    async fn extend(
        &self,
        sweep: SweepId,
        source: v1::SweepSource,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let source = SpecificationSource::from(source);
        let extension = self.aside(move || Specification::parse_with_grid(&source)).await?;
        // Looking for what is new takes a second for a million points.
        let (sweep, added_jobs, changed) = self
            .redefine(sweep, move |before| before.extended_with(extension.0.clone(), extension.1.clone()))
            .await?;
        let sweep = Some(sweep);
        Ok(Response::new(v1::SubmitResponse { sweep, created: false, added_jobs, changed }))
    }

    /// Makes another definition of a sweep's, again where somebody else was faster; the sweep, how many jobs it has more,
    /// and which settings changed.
    async fn redefine(
        &self,
        sweep: SweepId,
        change: impl Fn(&SweepDefinition) -> Result<SweepDefinition, DefinitionError> + Send + Sync + 'static,
    ) -> Result<(v1::Sweep, u64, Vec<v1::SettingChange>), Status> {
        let change = Arc::new(change);
        let mut tries_left = REDEFINE_TRIES_MAX;
        loop {
            // The engine's own: it takes a change of no other.
            let base = self.seat.call_engine(Input::Define(sweep)).await.map_err(refused)?;
            let Reply::Definition(base, _) = base else { return Err(mismatch()) };
            let (change, before) = (Arc::clone(&change), Arc::clone(&base));
            let definition = Arc::new(self.aside(move || change(&before)).await?);
            let changed = definition.changes_from(&base).into_iter().map(convert::change).collect();
            let input = Input::Extend { sweep, base, definition };
            tries_left -= 1;
            let _turn = self.turn().await?;
            match self.seat.call(input).await {
                Ok(Reply::Extended(sweep, added_jobs)) => return Ok((*sweep, added_jobs, changed)),
                Ok(_) => return Err(mismatch()),
                Err(CallError::Refused(ControlError::Overtaken)) if tries_left > 0 => {}
                Err(error) => return Err(refused(error)),
            }
        }
    }

    async fn definition(&self, sweep: SweepId) -> Result<(Arc<SweepDefinition>, SweepState), Status> {
        match self.seat.call(Input::Define(sweep)).await.map_err(refused)? {
            Reply::Definition(definition, state) => Ok((definition, state)),
            _ => Err(mismatch()),
        }
    }

    /// The jobs `first` to `last`, those without a row included.
    async fn jobs(
        &self,
        definition: &SweepDefinition,
        state: SweepState,
        first: u64,
        last: u64,
    ) -> Result<Vec<v1::Job>, Status> {
        let count = u32::try_from(last + 1 - first).unwrap_or(u32::MAX);
        let rows = self.store.jobs(definition.id, first, count).await.map_err(unreadable)?;
        let mut rows: HashMap<u64, JobRow> = rows.into_iter().map(|row| (row.job, row)).collect();
        let mut jobs: Vec<_> =
            (first..=last).map(|job| convert::job(definition, state, job, rows.remove(&job))).collect();
        artifacts::mark(&*self.store, definition.id, &mut jobs).await?;
        Ok(jobs)
    }

    /// A page of the jobs from `first` on in the wanted states, all of which have rows, and where the next page begins.
    async fn page_of_rows(
        &self,
        definition: &SweepDefinition,
        state: SweepState,
        wanted: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<(Vec<v1::Job>, u64), Status> {
        let mut rows = Vec::new();
        for wanted in wanted {
            let found = self.store.jobs_in_state(definition.id, *wanted, first, limit).await;
            rows.extend(found.map_err(unreadable)?);
        }
        rows.sort_by_key(|row| row.job);
        // One that changes its state between the questions answers both.
        rows.dedup_by_key(|row| row.job);
        rows.truncate(limit as usize);
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map_or(u64::MAX, |row| row.job + 1);
        let job = |row: JobRow| convert::job(definition, state, row.job, Some(row));
        let mut jobs: Vec<_> = rows.into_iter().map(job).collect();
        artifacts::mark(&*self.store, definition.id, &mut jobs).await?;
        Ok((jobs, next))
    }

    /// The same for any states, or all where none is wanted: looks at one job after the other.
    async fn page(
        &self,
        definition: &SweepDefinition,
        state: SweepState,
        wanted: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<(Vec<v1::Job>, u64), Status> {
        let (mut next, limit) = (first, u64::from(limit));
        let scan_end = next.saturating_add(PAGE_SCAN_MAX);
        // Where most may be left out, many are read at a time.
        let read = if wanted.is_empty() { limit } else { u64::from(PAGE_ROWS_MAX) };
        let mut jobs: Vec<v1::Job> = Vec::new();
        while next <= definition.job_count() && next < scan_end && (jobs.len() as u64) < limit {
            let last = (next + read - 1).min(definition.job_count());
            for job in self.jobs(definition, state, next, last).await? {
                let number = job.point.as_ref().map_or(0, |point| point.job);
                if (jobs.len() as u64) == limit {
                    break;
                }
                next = number + 1;
                if wanted.is_empty()
                    || JobState::from_wire(job.state()).is_some_and(|state| wanted.contains(&state))
                {
                    jobs.push(job);
                }
            }
        }
        Ok((jobs, next))
    }

    /// Jobs in these states, at most [`RETRIED_JOBS_MAX`] in all: their numbers and attempts.
    async fn ended_jobs(&self, sweep: SweepId, states: &[JobState]) -> Result<Vec<EndedJob>, Status> {
        let mut jobs: Vec<EndedJob> = Vec::new();
        for &state in states {
            let mut first = 1;
            while jobs.len() < RETRIED_JOBS_MAX {
                let rows = self.store.jobs_in_state(sweep, state, first, PAGE_ROWS_MAX).await;
                let rows = rows.map_err(unreadable)?;
                jobs.extend(rows.iter().map(|row| EndedJob { job: row.job, attempts: row.attempts, state }));
                match rows.last().filter(|_| rows.len() == PAGE_ROWS_MAX as usize) {
                    Some(last) => first = last.job + 1,
                    None => break,
                }
            }
        }
        jobs.truncate(RETRIED_JOBS_MAX);
        Ok(jobs)
    }

    /// What a call on a job's end finds: how the job ended.
    async fn ended_job(&self, key: JobKey) -> Result<EndedJob, Status> {
        let rows = self.store.jobs(key.sweep, key.job, 1).await.map_err(unreadable)?;
        // In a sweep that was stopped or cancelled, a job that never began has no row.
        let never_began = EndedJob { job: key.job, attempts: 0, state: JobState::Cancelled };
        let row = rows.into_iter().find(|row| row.job == key.job);
        Ok(row.map_or(never_began, |row| EndedJob { job: row.job, attempts: row.attempts, state: row.state }))
    }

    /// Ends one job. Asked twice, it does no more.
    async fn end_job(&self, sweep: SweepId, job: u64, how: JobEnd) -> Result<Response<v1::Sweep>, Status> {
        let job = JobKey { sweep, job };
        match self.seat.call(Input::EndJob { job, how }).await {
            Ok(Reply::Sweep(sweep)) => Ok(Response::new(*sweep)),
            Ok(_) => Err(mismatch()),
            Err(CallError::Refused(ControlError::JobHasEnded(key))) => match self.ended_job(key).await?.state
            {
                JobState::Cancelled => self.sweep(Input::DescribeSweep(sweep)).await,
                state => Err(Status::failed_precondition(format!("job {key} is {} already", state.as_str()))),
            },
            Err(error) => Err(refused(error)),
        }
    }

    /// Which jobs a retry is about, and whether they are all that the sweep has.
    async fn jobs_to_retry(&self, request: &v1::RetrySweepRequest) -> Result<(Vec<EndedJob>, bool), Status> {
        let sweep = SweepId(request.sweep_id);
        let states = [JobState::Failed, JobState::Cancelled];
        let states = if request.cancelled_too { &states[..] } else { &states[..1] };
        if request.job == 0 {
            return Ok((self.ended_jobs(sweep, states).await?, request.cancelled_too));
        }
        let (definition, state) = self.definition(sweep).await?;
        let key = JobKey { sweep, job: request.job };
        if request.job > definition.job_count() {
            return Err(refused(ControlError::NoSuchJob { job: key, jobs: definition.job_count() }.into()));
        }
        if !state.is_final() && self.store.jobs(sweep, request.job, 1).await.map_err(unreadable)?.is_empty() {
            // It waits for its first attempt, as was asked for.
            return Ok((Vec::new(), false));
        }
        let job = self.ended_job(key).await?;
        match job.state {
            // It is tried again already.
            JobState::Pending | JobState::Running => Ok((Vec::new(), false)),
            state if states.contains(&state) => Ok((vec![job], false)),
            state => Err(Status::failed_precondition(format!("job {key} is {}, not failed", state.as_str()))),
        }
    }
}

/// Whether every job in this state has a row; one that never began, or was cancelled before, has none.
fn has_row(state: JobState) -> bool {
    match state {
        JobState::Pending | JobState::Cancelled => false,
        JobState::Running | JobState::Done | JobState::Diverged | JobState::Failed => true,
    }
}

/// A sweep file that is there and that can be text.
fn given(source: Option<v1::SweepSource>) -> Result<v1::SweepSource, Status> {
    let source = source.ok_or_else(|| Status::invalid_argument("the field `source` is missing"))?;
    edge::source(&source)?;
    Ok(source)
}

/// Checks a sweep file; takes a while where it is large.
fn validate(source: v1::SweepSource, preview: u32) -> Result<v1::ValidateResponse, SpecificationError> {
    let definition = SweepDefinition::parse(&SpecificationSource::from(source))?;
    let shown = u64::from(preview.min(PREVIEW_MAX)).min(definition.job_count());
    Ok(v1::ValidateResponse {
        job_count: definition.job_count(),
        varying: definition.varying.iter().map(|name| (*name).to_owned()).collect(),
        first_jobs: (1..=shown).map(|job| definition.point(job)).collect(),
        name: definition.specification.name,
    })
}

/// Leaves out the logs of all but the latest attempts where together they are too long to be sent.
fn bound_logs(attempts: &mut [AttemptRow]) {
    let mut left = LOGS_BYTES_MAX;
    for attempt in attempts.iter_mut().rev() {
        let bytes: usize = attempt.log_tail.iter().map(String::len).sum();
        left = left.saturating_sub(bytes);
        if left == 0 && bytes > 0 {
            attempt.log_tail =
                vec!["(left out: the logs of later attempts fill what is sent of a job)".to_owned()];
        }
    }
}

/// Cuts a page of jobs, which ends before `next`, to its size; where the next one begins.
fn cut_page(mut jobs: Vec<v1::Job>, next: u64) -> (Vec<v1::Job>, u64) {
    let mut bytes = 0;
    let fit = jobs.iter().take_while(|job| {
        let fits = bytes < PAGE_BYTES_MAX;
        bytes += job.encoded_len();
        fits
    });
    let count = fit.count();
    match jobs.get(count).and_then(|job| job.point.as_ref()).map(|point| point.job) {
        Some(first_left_out) => {
            jobs.truncate(count);
            (jobs, first_left_out)
        }
        None => (jobs, next),
    }
}

fn page_rows(asked: u32) -> Result<u32, Status> {
    match asked {
        0 => Ok(PAGE_ROWS_DEFAULT),
        1..=PAGE_ROWS_MAX => Ok(asked),
        _ => Err(Status::invalid_argument(format!("a page has 1 to {PAGE_ROWS_MAX} rows, not {asked}"))),
    }
}

/// Refuses a number that no job of the sweep has.
fn check_job(definition: &SweepDefinition, job: u64) -> Result<(), Status> {
    let job_count = definition.job_count();
    if (1..=job_count).contains(&job) {
        return Ok(());
    }
    Err(Status::not_found(format!("sweep {} has the jobs 1 to {job_count}, not {job}", definition.id)))
}

#[tonic::async_trait]
impl SweepService for SweepServer {
    async fn validate(
        &self,
        request: Request<v1::ValidateRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        let v1::ValidateRequest { source, preview } = request.into_inner();
        let source = given(source)?;
        let _place = self.reading.admit(source.encoded_len())?;
        self.aside(move || validate(source, preview)).await.map(Response::new)
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let request = request.into_inner();
        if request.request_id.len() > REQUEST_ID_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "a request id has at most {REQUEST_ID_BYTES_MAX} bytes"
            )));
        }
        edge::plain("request_id", &request.request_id)?;
        let source = given(request.source)?;
        // Until the answer: what was read takes up memory as well.
        let _place = self.reading.admit(source.encoded_len())?;
        if request.extend_sweep_id > 0 {
            return self.extend(SweepId(request.extend_sweep_id), source).await;
        }
        let source = SpecificationSource::from(source);
        let definition = Box::new(self.aside(move || SweepDefinition::parse(&source)).await?);
        let _turn = self.turn().await?;
        let input = Input::Submit { definition, request_id: request.request_id };
        match self.seat.call(input).await.map_err(refused)? {
            Reply::Submitted(sweep, created) => {
                let sweep = Some(*sweep);
                Ok(Response::new(v1::SubmitResponse { sweep, created, ..v1::SubmitResponse::default() }))
            }
            _ => Err(mismatch()),
        }
    }

    async fn get_sweep(&self, request: Request<v1::GetSweepRequest>) -> Result<Response<v1::Sweep>, Status> {
        self.sweep(Input::DescribeSweep(SweepId(request.into_inner().sweep_id))).await
    }

    async fn list_sweeps(
        &self,
        request: Request<v1::ListSweepsRequest>,
    ) -> Result<Response<v1::ListSweepsResponse>, Status> {
        let request = request.into_inner();
        let limit = page_rows(request.page_size)? as usize;
        let before = page_start(&request.page_token)?.map(SweepId);
        let _look = self.look().await?;
        let input = Input::ListSweeps { before, limit };
        let Reply::Sweeps(sweeps) = self.seat.call(input).await.map_err(refused)? else {
            return Err(mismatch());
        };
        let full = sweeps.len() == limit;
        let next_page_token =
            sweeps.last().filter(|_| full).map(|last| last.sweep_id.to_string()).unwrap_or_default();
        Ok(Response::new(v1::ListSweepsResponse { sweeps, next_page_token }))
    }

    type WatchSweepStream = watch::Watched;

    async fn watch_sweep(
        &self,
        request: Request<v1::WatchSweepRequest>,
    ) -> Result<Response<Self::WatchSweepStream>, Status> {
        let sweep = SweepId(request.into_inner().sweep_id);
        let (definition, _) = self.definition(sweep).await?;
        let (sender, watched) = watch::channel();
        let driver = self.seat.driver().map_err(refused)?;
        self.tasks.spawn(watch::follow(driver, self.snapshots.clone(), sweep, definition, sender));
        Ok(Response::new(watched))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let wanted: BTreeSet<JobState> = request.states().filter_map(JobState::from_wire).collect();
        let limit = page_rows(request.page_size)?;
        let (definition, state) = self.definition(SweepId(request.sweep_id)).await?;
        let first = page_start(&request.page_token)?.unwrap_or(1).max(1);
        let (jobs, next) = if !wanted.is_empty() && wanted.iter().all(|state| has_row(*state)) {
            self.page_of_rows(&definition, state, &wanted, first, limit).await?
        } else {
            self.page(&definition, state, &wanted, first, limit).await?
        };
        let (jobs, next) = cut_page(jobs, next);
        let next_page_token = if next <= definition.job_count() { next.to_string() } else { String::new() };
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::JobDetail>, Status> {
        let v1::GetJobRequest { sweep_id, job } = request.into_inner();
        let (definition, state) = self.definition(SweepId(sweep_id)).await?;
        check_job(&definition, job)?;
        let found = self.jobs(&definition, state, job, job).await?.pop().ok_or_else(mismatch)?;
        let key = JobKey { sweep: definition.id, job };
        let mut attempts = self.store.attempts(key).await.map_err(unreadable)?;
        bound_logs(&mut attempts);
        let epochs = self.store.epochs(definition.id, job, job).await.map_err(unreadable)?;
        let epochs = counting_epochs(epochs, found.epochs_done);
        Ok(Response::new(v1::JobDetail {
            job: Some(found),
            attempts: attempts.into_iter().map(convert::attempt).collect(),
            epochs: epochs.into_iter().map(|row| convert::epoch_row(&row)).collect(),
        }))
    }

    async fn pause_sweep(
        &self,
        request: Request<v1::PauseSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        self.sweep(Input::Pause(SweepId(request.into_inner().sweep_id))).await
    }

    async fn resume_sweep(
        &self,
        request: Request<v1::ResumeSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        self.sweep(Input::Resume(SweepId(request.into_inner().sweep_id))).await
    }

    async fn set_sweep(
        &self,
        request: Request<v1::SetSweepRequest>,
    ) -> Result<Response<v1::SetSweepResponse>, Status> {
        let request = request.into_inner();
        let _place = self.reading.admit(request.encoded_len())?;
        let v1::SetSweepRequest { sweep_id, settings } = request;
        settings.iter().try_for_each(|setting| edge::lines("settings", setting))?;
        if settings.is_empty() {
            return Err(Status::invalid_argument(
                "nothing is set; give KEY=VALUE, as in execution.max_parallel=8",
            ));
        }
        let (sweep, _, changed) =
            self.redefine(SweepId(sweep_id), move |before| before.set(&settings)).await?;
        Ok(Response::new(v1::SetSweepResponse { sweep: Some(sweep), changed }))
    }

    async fn retry_sweep(
        &self,
        request: Request<v1::RetrySweepRequest>,
    ) -> Result<Response<v1::RetrySweepResponse>, Status> {
        let request = request.into_inner();
        let sweep = SweepId(request.sweep_id);
        // The store is only asked for sweeps that there are.
        self.definition(sweep).await?;
        let _alone = self.retries.lock().await;
        let (jobs, all) = self.jobs_to_retry(&request).await?;
        let _turn = self.turn().await?;
        match self.seat.call(Input::Retry { sweep, jobs, all }).await.map_err(refused)? {
            Reply::Retried(sweep, jobs) => {
                Ok(Response::new(v1::RetrySweepResponse { sweep: Some(*sweep), jobs }))
            }
            _ => Err(mismatch()),
        }
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::Worker>, Status> {
        let name = request.into_inner().name.parse();
        let name = name.map_err(|error| Status::invalid_argument(format!("{error}")))?;
        drain(&self.seat, name, CONFIRMED_WITHIN).await.map(Response::new)
    }

    async fn stop_sweep(
        &self,
        request: Request<v1::StopSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let v1::StopSweepRequest { sweep_id, job } = request.into_inner();
        match job {
            0 => self.sweep(Input::Stop(SweepId(sweep_id))).await,
            job => self.end_job(SweepId(sweep_id), job, JobEnd::Stop).await,
        }
    }

    async fn cancel_sweep(
        &self,
        request: Request<v1::CancelSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let v1::CancelSweepRequest { sweep_id, job } = request.into_inner();
        match job {
            0 => self.sweep(Input::Cancel(SweepId(sweep_id))).await,
            job => self.end_job(SweepId(sweep_id), job, JobEnd::Cancel).await,
        }
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let v1::ListWorkersRequest { page_size, page_token } = request.into_inner();
        let limit = if page_size == 0 { PAGE_ROWS_MAX } else { page_rows(page_size)? } as usize;
        // The name before the page.
        let after = (!page_token.is_empty()).then(|| page_token.parse::<WorkerName>()).transpose();
        let after = after.map_err(|_| edge::foreign_token())?;
        let _turn = self.turn().await?;
        let input = Input::ListWorkers { after, limit };
        let Reply::Workers(workers, has_more) = self.seat.call(input).await.map_err(refused)? else {
            return Err(mismatch());
        };
        let last = workers.last().filter(|_| has_more);
        let next_page_token = last.map(|last| last.name.clone()).unwrap_or_default();
        Ok(Response::new(v1::ListWorkersResponse { workers, next_page_token }))
    }

    async fn list_artifacts(
        &self,
        request: Request<v1::ListArtifactsRequest>,
    ) -> Result<Response<v1::ListArtifactsResponse>, Status> {
        let request = request.into_inner();
        let limit = page_rows(request.page_size)?;
        let (definition, _) = self.definition(SweepId(request.sweep_id)).await?;
        let (first, last) = match request.job {
            0 => (page_start(&request.page_token)?.unwrap_or(1), definition.job_count()),
            job => {
                check_job(&definition, job)?;
                (job, job)
            }
        };
        let rows = self.store.artifacts(definition.id, first, last, limit).await.map_err(unreadable)?;
        let full = rows.len() == limit as usize && request.job == 0;
        let next_page_token =
            rows.last().filter(|_| full).map(|row| (row.job + 1).to_string()).unwrap_or_default();
        let artifacts = rows.into_iter().map(convert::artifact).collect();
        Ok(Response::new(v1::ListArtifactsResponse { artifacts, next_page_token }))
    }

    type GetArtifactStream = ReceiverStream<Result<v1::ArtifactPiece, Status>>;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let v1::GetArtifactRequest { sweep_id, job, offset } = request.into_inner();
        let sweep = self.sweep(Input::DescribeSweep(SweepId(sweep_id))).await?.into_inner();
        let (definition, _) = self.definition(SweepId(sweep_id)).await?;
        if job > 0 {
            check_job(&definition, job)?;
        }
        let found = artifacts::find(&*self.store, &sweep, job).await?;
        if offset > found.0.bytes {
            return Err(Status::out_of_range(format!("the file has {} bytes", found.0.bytes)));
        }
        let Some(place) = self.artifacts.clone() else {
            return Err(Status::failed_precondition(
                "this coordinator was started without the place where the weights lie; give it --artifacts URL",
            ));
        };
        let (sender, receiver) = mpsc::channel(artifacts::PIECES_WAITING_MAX);
        self.tasks.spawn(artifacts::send(place, found, offset, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type ReportRowsStream = ReceiverStream<Result<v1::ReportRow, Status>>;

    async fn report_rows(
        &self,
        request: Request<v1::ReportRowsRequest>,
    ) -> Result<Response<Self::ReportRowsStream>, Status> {
        let sweep = SweepId(request.into_inner().sweep_id);
        let (definition, state) = self.definition(sweep).await?;
        let place = Arc::clone(&self.reports).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{REPORTS_MAX} reports are being read already; try again in 10 s"
            ))
        })?;
        let header = self.sweep(Input::DescribeSweep(sweep)).await?.into_inner();
        let parameters = definition.specification.axes.iter().map(|axis| axis.name.to_owned()).collect();
        let header = v1::ReportHeader { sweep: Some(header), parameters };
        let (sender, receiver) = mpsc::channel(REPORT_ROWS_WAITING_MAX);
        let server = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            if let Err(status) = server.send_rows(header, &definition, state, &sender).await {
                // Without a receiver there is nobody to tell, and one that does not read is not waited for.
                let _ = sender.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl SweepServer {
    /// Streams a report in chunks of jobs; ends early when nobody listens any more.
    async fn send_rows(
        &self,
        header: v1::ReportHeader,
        definition: &SweepDefinition,
        state: SweepState,
        sender: &mpsc::Sender<Result<v1::ReportRow, Status>>,
    ) -> Result<(), Status> {
        use v1::report_row::Row;
        let job_count = definition.job_count();
        let mut chunk = vec![Row::Header(header)];
        let mut first = 1;
        loop {
            for row in chunk.drain(..) {
                match sender.send_timeout(Ok(v1::ReportRow { row: Some(row) }), REPORT_ROW_WITHIN).await {
                    Ok(()) => {}
                    Err(SendTimeoutError::Closed(_)) => return Ok(()),
                    Err(SendTimeoutError::Timeout(_)) => {
                        return Err(Status::deadline_exceeded("the report was not read for a minute"));
                    }
                }
            }
            if first > job_count {
                return Ok(());
            }
            let last = (first + REPORT_CHUNK_JOBS - 1).min(job_count);
            // Epochs first: a job's row then knows at least as many as were read.
            let epochs = self.store.epochs(definition.id, first, last).await.map_err(unreadable)?;
            let mut epochs = epochs.into_iter().peekable();
            for job in self.jobs(definition, state, first, last).await? {
                let (number, done) = (job.point.as_ref().map_or(0, |point| point.job), job.epochs_done);
                chunk.push(Row::Job(job));
                let rows = std::iter::from_fn(|| epochs.next_if(|row| row.job == number)).collect::<Vec<_>>();
                chunk.extend(
                    counting_epochs(rows, done)
                        .into_iter()
                        .map(|row| convert::epoch_row(&row))
                        .map(Row::Epoch),
                );
            }
            first = last + 1;
        }
    }
}
