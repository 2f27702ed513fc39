//! The service that users call.

mod definitions;
mod pages;
mod report;
mod retry;

use std::{collections::BTreeSet, sync::Arc};

use domain::definition::SweepDefinition;
use engine::{
    Command, Issuer, JobEnd, SweepView,
    command::{Cancel, Pause, Resume, Stop, Submit},
    query::{Define, Defined, DescribeSweep, ListSweeps, ListWorkers},
};
use proto::{
    Message,
    v1::{self, sweep_service_server::SweepService},
};
use store::{CountingEpochs, Store};
use terms::{JobKey, JobState, SweepId, SweepState, WorkerName};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use self::{
    definitions::{given, validate},
    pages::{PAGE_ROWS_MAX, bound_logs, check_job, cut_page, has_row, page_rows},
    report::{REPORT_ROW_WITHIN, REPORT_ROWS_WAITING_MAX, REPORTS_MAX},
};
use super::{
    artifacts,
    auth::issuer,
    convert,
    drain::{CONFIRMED_WITHIN, drain},
    edge::{self, page_start},
    readers::{Messages, Reader},
    reading::Reading,
    refused, snapshots, task_ended, unreadable,
    watch::{self, Snapshots},
};
use crate::{artifacts::MaybeArtifacts, driver::Leadership};

/// Answers with sweeps that are made at the same time, to questions and to others: each may hold specifications of
/// megabytes.
const ANSWERS_MADE_MAX: usize = 32;
/// Files of weights that are sent at the same time: each is open, and descriptors are few where limits are low.
const DOWNLOADS_MAX: usize = 64;
/// Longest request id, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 100;

/// Implements `SweepService`.
#[derive(Debug, Clone)]
pub struct SweepServer {
    leadership: Leadership,
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
    downloads: Arc<Semaphore>,
    snapshots: Snapshots,
}

impl SweepServer {
    /// A service that asks the driver of `leadership` and reads `store`; its streams run in `tasks`.
    pub fn new(
        leadership: Leadership,
        store: Arc<dyn Store>,
        artifacts: MaybeArtifacts,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            leadership,
            store,
            artifacts,
            tasks,
            retries: Arc::default(),
            reading: Reading::default(),
            answers: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            overviews: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            reports: Arc::new(Semaphore::new(REPORTS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            snapshots: Snapshots::default(),
        }
    }

    /// The right to make an answer with sweeps.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.answers.acquire().await.map_err(|_| task_ended())
    }

    /// The same where sweeps are only looked at.
    async fn look(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.overviews.acquire().await.map_err(|_| task_ended())
    }

    /// Gives a command that is answered by the sweep as it is then.
    async fn command<C: Command<Answer = SweepView>>(
        &self,
        issuer: Issuer,
        command: C,
    ) -> Result<Response<v1::Sweep>, Status> {
        let _turn = self.turn().await?;
        let sweep = self.leadership.command(issuer, command).await.map_err(refused)?;
        Ok(Response::new(convert::sweep(&sweep)))
    }

    async fn describe(&self, sweep: SweepId) -> Result<Response<v1::Sweep>, Status> {
        let _look = self.look().await?;
        self.view(sweep).await.map(|view| Response::new(convert::sweep(&view)))
    }

    async fn view(&self, sweep: SweepId) -> Result<SweepView, Status> {
        self.leadership.query(DescribeSweep::new(sweep)).await.map_err(refused)
    }

    /// Works on specifications off the runtime's threads: a large one takes a while.
    async fn aside<T: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Status> {
        self.reading.run(work).await?.map_err(|error| Status::invalid_argument(error.to_string()))
    }

    async fn definition(&self, sweep: SweepId) -> Result<(Arc<SweepDefinition>, SweepState), Status> {
        let Defined { definition, state } = self.leadership.query(Define(sweep)).await.map_err(refused)?;
        Ok((definition, state))
    }
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
        let source = self.with_models(source).await?;
        self.aside(move || validate(&source, preview)).await.map(Response::new)
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let issuer = issuer(&request);
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
            return self.extend(issuer, SweepId(request.extend_sweep_id), source).await;
        }
        let source = self.with_models(source).await?;
        let definition = Box::new(self.aside(move || SweepDefinition::parse(&source)).await?);
        let snapshot = definition.specification.snapshot();
        // Until it is marked, so that nobody takes its files for ones that no sweep needs.
        let _held = match snapshot {
            Some(id) => Some(snapshots::hold(&self.artifacts, id).await?),
            None => None,
        };
        let notes = definition.specification.notes.clone();
        let _turn = self.turn().await?;
        let command = Submit { definition, request_id: request.request_id };
        let submitted = self.leadership.command(issuer, command).await.map_err(refused)?;
        if let Some(id) = snapshot {
            snapshots::mark(&self.artifacts, id).await;
        }
        Ok(Response::new(v1::SubmitResponse {
            sweep: Some(convert::sweep(&submitted.sweep)),
            created: submitted.created,
            notes,
            ..v1::SubmitResponse::default()
        }))
    }

    async fn put_snapshot(
        &self,
        request: Request<v1::PutSnapshotRequest>,
    ) -> Result<Response<v1::PutSnapshotResponse>, Status> {
        snapshots::put(&self.leadership, &self.artifacts, request.into_inner()).await.map(Response::new)
    }

    async fn put_contents(
        &self,
        request: Request<v1::PutContentsRequest>,
    ) -> Result<Response<v1::PutContentsResponse>, Status> {
        snapshots::put_contents(&self.leadership, &self.artifacts, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_sweep(&self, request: Request<v1::GetSweepRequest>) -> Result<Response<v1::Sweep>, Status> {
        self.describe(SweepId(request.into_inner().sweep_id)).await
    }

    async fn list_sweeps(
        &self,
        request: Request<v1::ListSweepsRequest>,
    ) -> Result<Response<v1::ListSweepsResponse>, Status> {
        let request = request.into_inner();
        let limit = page_rows(request.page_size)? as usize;
        let before = page_start(&request.page_token)?.map(SweepId);
        let _look = self.look().await?;
        let sweeps = self.leadership.query(ListSweeps { before, limit }).await.map_err(refused)?;
        let full = sweeps.len() == limit;
        let next_page_token =
            sweeps.last().filter(|_| full).map(|last| last.id().to_string()).unwrap_or_default();
        let sweeps = sweeps.iter().map(convert::listed).collect();
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
        let driver = self.leadership.driver().map_err(refused)?;
        self.tasks.spawn(watch::follow(driver, self.snapshots.clone(), sweep, definition, sender));
        Ok(Response::new(watched))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let wanted: BTreeSet<JobState> =
            request.states().filter_map(|state| JobState::try_from(state).ok()).collect();
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
        let found = self.jobs(&definition, state, job, job).await?.pop();
        let found = found.ok_or_else(|| Status::not_found(format!("there is no job {sweep_id}/{job}")))?;
        let key = JobKey { sweep: definition.id, job };
        let mut attempts = self.store.attempts(key).await.map_err(unreadable)?;
        bound_logs(&mut attempts);
        let mut counting = CountingEpochs::new(Arc::clone(&self.store), definition.id, job, job);
        let mut epochs = Vec::new();
        // As many as a job may have, at most.
        while let Some(row) =
            counting.next(job, found.attempts, found.epochs_done).await.map_err(unreadable)?
        {
            epochs.push(convert::epoch_row(&row));
        }
        Ok(Response::new(v1::JobDetail {
            job: Some(found),
            attempts: attempts.into_iter().map(convert::attempt).collect(),
            epochs,
        }))
    }

    async fn pause_sweep(
        &self,
        request: Request<v1::PauseSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        self.command(issuer(&request), Pause(SweepId(request.into_inner().sweep_id))).await
    }

    async fn resume_sweep(
        &self,
        request: Request<v1::ResumeSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        self.command(issuer(&request), Resume(SweepId(request.into_inner().sweep_id))).await
    }

    async fn set_sweep(
        &self,
        request: Request<v1::SetSweepRequest>,
    ) -> Result<Response<v1::SetSweepResponse>, Status> {
        let issuer = issuer(&request);
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
            self.redefine(issuer, SweepId(sweep_id), move |before| before.set(&settings)).await?;
        Ok(Response::new(v1::SetSweepResponse { sweep: Some(sweep), changed }))
    }

    async fn retry_sweep(
        &self,
        request: Request<v1::RetrySweepRequest>,
    ) -> Result<Response<v1::RetrySweepResponse>, Status> {
        let issuer = issuer(&request);
        let request = request.into_inner();
        let alone = Arc::clone(&self.retries).lock_owned().await;
        let server = self.clone();
        // A task of its own: what is on its way to the engine keeps others waiting also when the user hangs up.
        let retrying = self.tasks.spawn(async move {
            let _alone = alone;
            server.retry(issuer, &request).await
        });
        retrying.await.map_err(|_| task_ended())?.map(Response::new)
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::Worker>, Status> {
        let issuer = issuer(&request);
        let name = request.into_inner().name.parse();
        let name = name.map_err(|error| Status::invalid_argument(format!("{error}")))?;
        drain(&self.leadership, issuer, name, CONFIRMED_WITHIN).await.map(Response::new)
    }

    async fn stop_sweep(
        &self,
        request: Request<v1::StopSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let issuer = issuer(&request);
        let v1::StopSweepRequest { sweep_id, job } = request.into_inner();
        match job {
            0 => self.command(issuer, Stop(SweepId(sweep_id))).await,
            job => self.end_job(issuer, SweepId(sweep_id), job, JobEnd::Stop).await,
        }
    }

    async fn cancel_sweep(
        &self,
        request: Request<v1::CancelSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let issuer = issuer(&request);
        let v1::CancelSweepRequest { sweep_id, job } = request.into_inner();
        match job {
            0 => self.command(issuer, Cancel(SweepId(sweep_id))).await,
            job => self.end_job(issuer, SweepId(sweep_id), job, JobEnd::Cancel).await,
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
        let page = self.leadership.query(ListWorkers { after, limit }).await.map_err(refused)?;
        let last = page.workers.last().filter(|_| page.has_more);
        let next_page_token = last.map(|last| last.name.to_string()).unwrap_or_default();
        let workers = page.workers.into_iter().map(convert::worker).collect();
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

    type GetArtifactStream = Messages<v1::ArtifactPiece>;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let v1::GetArtifactRequest { sweep_id, job, offset } = request.into_inner();
        let sweep = self.view(SweepId(sweep_id)).await?;
        if job > 0 {
            check_job(&sweep.definition, job)?;
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
        let turn = Arc::clone(&self.downloads).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{DOWNLOADS_MAX} files of weights are being read already; try again in 10 s"
            ))
        })?;
        let (reader, pieces) = Reader::new(artifacts::PIECES_WAITING_MAX, artifacts::PIECE_WITHIN)?;
        self.tasks.spawn(async move {
            let _turn = turn;
            let sent = artifacts::send(place, found, offset, &reader).await;
            reader.end(sent);
        });
        Ok(Response::new(pieces))
    }

    type ReportRowsStream = Messages<v1::ReportRow>;

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
        let header = self.describe(sweep).await?.into_inner();
        let parameters = definition.specification.axes.iter().map(|axis| axis.name.to_string()).collect();
        let metrics = header.metric_names.clone();
        let header = v1::ReportHeader { sweep: Some(header), parameters, metrics };
        let (reader, rows) = Reader::new(REPORT_ROWS_WAITING_MAX, REPORT_ROW_WITHIN)?;
        let server = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let sent = server.send_rows(header, &definition, state, &reader).await;
            reader.end(sent);
        });
        Ok(Response::new(rows))
    }
}

#[cfg(test)]
mod tests;
