//! The service that users call: each call is decoded, one use case is called, and its answer is encoded.

use std::{collections::BTreeSet, time::Duration};

use proto::v1::{self, sweep_service_server::SweepService};
use terms::{JobKey, JobState, SweepId};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::{
    auth::issuer,
    convert::{self, job_or_all, page},
    pages::cut_page,
    readers::{Messages, Reader},
    watch,
};
use crate::{
    api::{self, Api, Report, ReportRow, RetryRequest, SearchFollower, Snapshots, Submission},
    traced::Traced,
};

/// Report rows that may wait for a slow reader: with the longest reasons, half a megabyte.
const REPORT_ROWS_WAITING_MAX: usize = 128;
/// How long a reader of a report may take for a row before the report is given up for others.
const REPORT_ROW_WITHIN: Duration = Duration::from_secs(60);
/// The same for one that hands rows on to another server: that may take a minute for each of its answers, and is asked again where it fails.
const REPORT_ROW_HANDED_ON_WITHIN: Duration = Duration::from_secs(600);
/// Bytes of a piece of weights: below what counts as a large answer, so that a slow reader is waited for.
const DOWNLOAD_PIECE_BYTES: usize = 32 << 10;
/// Pieces that may wait for a slow reader.
const PIECES_WAITING_MAX: usize = 8;
/// How long a reader may take for a piece before its file is closed for others. Who still wants it goes on from where it is.
const PIECE_WITHIN: Duration = Duration::from_secs(60);
/// News that may wait for a slow searcher: each has up to 256 results, and what comes after them is told together.
const NEWS_WAITING_MAX: usize = 1;
/// How long a searcher may take for a message: a proposal of a large model takes seconds, and who is slower asks again from where it is.
const NEWS_WITHIN: Duration = Duration::from_secs(600);

/// Implements `SweepService`.
#[derive(Debug, Clone)]
pub struct SweepServer {
    api: Api,
    /// For what streams run in.
    tasks: TaskTracker,
    snapshots: Snapshots<v1::WatchSweepResponse>,
    traced: Traced,
}

impl SweepServer {
    /// A service of these use cases; its streams run in `tasks`.
    pub fn new(api: Api, tasks: TaskTracker) -> Self {
        Self { api, tasks, snapshots: Snapshots::new(convert::snapshot), traced: Traced::default() }
    }

    /// Whose submissions and reports are in these traces.
    pub fn traced(self, traced: Traced) -> Self {
        Self { traced, ..self }
    }
}

#[tonic::async_trait]
impl SweepService for SweepServer {
    async fn validate(
        &self,
        request: Request<v1::ValidateRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        let v1::ValidateRequest { source, preview } = request.into_inner();
        let validated = self.api.validate(convert::source(source)?, preview).await?;
        Ok(Response::new(convert::validated(validated)))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let issuer = issuer(&request);
        let _caller = self.traced.called(&request);
        let v1::SubmitRequest { source, request_id, extend_sweep_id } = request.into_inner();
        let extend = (extend_sweep_id > 0).then_some(SweepId(extend_sweep_id));
        let submission = Submission { source: convert::source(source)?, request_id, extend };
        let submitted = self.api.submit(issuer, submission).await?;
        let answer = submitted.encode(convert::submitted);
        let sweep = SweepId(answer.sweep.as_ref().map_or(0, |sweep| sweep.sweep_id));
        Ok(self.traced.answered(sweep, Response::new(answer)))
    }

    async fn put_snapshot(
        &self,
        request: Request<v1::PutSnapshotRequest>,
    ) -> Result<Response<v1::PutSnapshotResponse>, Status> {
        let manifest = convert::manifest(request.into_inner().snapshot)?;
        let missing = self.api.put_snapshot(&manifest).await?;
        Ok(Response::new(v1::PutSnapshotResponse {
            snapshot_id: manifest.id().to_string(),
            missing: missing.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn put_contents(
        &self,
        request: Request<v1::PutContentsRequest>,
    ) -> Result<Response<v1::PutContentsResponse>, Status> {
        let pieces = convert::pieces(request.into_inner().pieces)?;
        let contents = self.api.put_contents(pieces).await?;
        let contents = contents.into_iter().map(convert::content_state).collect();
        Ok(Response::new(v1::PutContentsResponse { contents }))
    }

    async fn get_sweep(&self, request: Request<v1::GetSweepRequest>) -> Result<Response<v1::Sweep>, Status> {
        let sweep = self.api.sweep(SweepId(request.into_inner().sweep_id)).await?;
        Ok(Response::new(sweep.encode(|sweep| convert::sweep(&sweep))))
    }

    async fn list_sweeps(
        &self,
        request: Request<v1::ListSweepsRequest>,
    ) -> Result<Response<v1::ListSweepsResponse>, Status> {
        let v1::ListSweepsRequest { page_size, page_token } = request.into_inner();
        let listed = self.api.sweeps(&page(page_size, page_token)).await?;
        Ok(Response::new(listed.encode(|listed| v1::ListSweepsResponse {
            sweeps: listed.sweeps.iter().map(convert::listed).collect(),
            next_page_token: listed.next,
        })))
    }

    type WatchSweepStream = watch::Watched;

    async fn watch_sweep(
        &self,
        request: Request<v1::WatchSweepRequest>,
    ) -> Result<Response<Self::WatchSweepStream>, Status> {
        let events = self.api.watch(SweepId(request.into_inner().sweep_id), &self.snapshots).await?;
        let (sender, watched) = watch::channel();
        self.tasks.spawn(watch::send(events, sender));
        Ok(Response::new(watched))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let wanted: BTreeSet<JobState> =
            request.states().filter_map(|state| JobState::try_from(state).ok()).collect();
        let page = page(request.page_size, request.page_token);
        let found = self.api.jobs(SweepId(request.sweep_id), &wanted.into(), &page).await?;
        let (jobs, next) = cut_page(found.jobs.into_iter().map(convert::job).collect(), found.next);
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token: api::token(next) }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::JobDetail>, Status> {
        let v1::GetJobRequest { sweep_id, job } = request.into_inner();
        let detail = self.api.job(JobKey { sweep: SweepId(sweep_id), job }).await?;
        Ok(Response::new(convert::detail(detail)))
    }

    async fn pause_sweep(
        &self,
        request: Request<v1::PauseSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let issuer = issuer(&request);
        let sweep = self.api.pause(issuer, SweepId(request.into_inner().sweep_id)).await?;
        Ok(Response::new(sweep.encode(|sweep| convert::sweep(&sweep))))
    }

    async fn resume_sweep(
        &self,
        request: Request<v1::ResumeSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let issuer = issuer(&request);
        let sweep = self.api.resume(issuer, SweepId(request.into_inner().sweep_id)).await?;
        Ok(Response::new(sweep.encode(|sweep| convert::sweep(&sweep))))
    }

    async fn set_sweep(
        &self,
        request: Request<v1::SetSweepRequest>,
    ) -> Result<Response<v1::SetSweepResponse>, Status> {
        let issuer = issuer(&request);
        let v1::SetSweepRequest { sweep_id, settings } = request.into_inner();
        let changed = self.api.set(issuer, SweepId(sweep_id), settings).await?;
        Ok(Response::new(changed.encode(|changed| v1::SetSweepResponse {
            sweep: Some(convert::sweep(&changed.sweep)),
            changed: changed.changes.into_iter().map(convert::change).collect(),
        })))
    }

    async fn retry_sweep(
        &self,
        request: Request<v1::RetrySweepRequest>,
    ) -> Result<Response<v1::RetrySweepResponse>, Status> {
        let issuer = issuer(&request);
        let v1::RetrySweepRequest { sweep_id, job, cancelled_too } = request.into_inner();
        let request = RetryRequest { sweep: SweepId(sweep_id), job: job_or_all(job), cancelled_too };
        let retried = self.api.retry(issuer, request).await?;
        Ok(Response::new(retried.encode(|retried| v1::RetrySweepResponse {
            sweep: Some(convert::sweep(&retried.sweep)),
            jobs: retried.jobs,
        })))
    }

    type FollowSearchStream = Messages<v1::FollowSearchResponse>;

    async fn follow_search(
        &self,
        request: Request<v1::FollowSearchRequest>,
    ) -> Result<Response<Self::FollowSearchStream>, Status> {
        let v1::FollowSearchRequest { sweep_id, after } = request.into_inner();
        let mut follower = self.api.follow_search(SweepId(sweep_id), after).await?;
        let (reader, news) = Reader::new(NEWS_WAITING_MAX, NEWS_WITHIN)?;
        self.tasks.spawn(async move {
            let sent = tokio::select! {
                () = reader.closed() => return,
                sent = send_news(&mut follower, &reader) => sent,
            };
            reader.end(sent);
        });
        Ok(Response::new(news))
    }

    async fn propose_points(
        &self,
        request: Request<v1::ProposePointsRequest>,
    ) -> Result<Response<v1::ProposePointsResponse>, Status> {
        let issuer = issuer(&request);
        let proposal = convert::proposal(request.into_inner());
        let engine::command::Proposed { next_point } = self.api.propose_points(issuer, proposal).await?;
        Ok(Response::new(v1::ProposePointsResponse { next_point }))
    }

    async fn verify_search(
        &self,
        request: Request<v1::VerifySearchRequest>,
    ) -> Result<Response<v1::VerifySearchResponse>, Status> {
        let verified = self.api.verify_search(SweepId(request.into_inner().sweep_id)).await?;
        Ok(Response::new(convert::verified(verified)))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::Worker>, Status> {
        let issuer = issuer(&request);
        let name = convert::worker_name(&request.into_inner().name)?;
        Ok(Response::new(convert::worker(self.api.drain(issuer, name).await?)))
    }

    async fn stop_sweep(
        &self,
        request: Request<v1::StopSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let issuer = issuer(&request);
        let v1::StopSweepRequest { sweep_id, job } = request.into_inner();
        let sweep = self.api.stop(issuer, SweepId(sweep_id), job_or_all(job)).await?;
        Ok(Response::new(sweep.encode(|sweep| convert::sweep(&sweep))))
    }

    async fn cancel_sweep(
        &self,
        request: Request<v1::CancelSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let issuer = issuer(&request);
        let v1::CancelSweepRequest { sweep_id, job } = request.into_inner();
        let sweep = self.api.cancel(issuer, SweepId(sweep_id), job_or_all(job)).await?;
        Ok(Response::new(sweep.encode(|sweep| convert::sweep(&sweep))))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let v1::ListWorkersRequest { page_size, page_token } = request.into_inner();
        let listed = self.api.workers(&page(page_size, page_token)).await?;
        Ok(Response::new(listed.encode(|listed| v1::ListWorkersResponse {
            workers: listed.workers.into_iter().map(convert::worker).collect(),
            next_page_token: listed.next,
        })))
    }

    async fn list_artifacts(
        &self,
        request: Request<v1::ListArtifactsRequest>,
    ) -> Result<Response<v1::ListArtifactsResponse>, Status> {
        let v1::ListArtifactsRequest { sweep_id, job, page_size, page_token } = request.into_inner();
        let page = page(page_size, page_token);
        let listed = self.api.weights(SweepId(sweep_id), job_or_all(job), &page).await?;
        Ok(Response::new(v1::ListArtifactsResponse {
            artifacts: listed.weights.into_iter().map(convert::artifact).collect(),
            next_page_token: listed.next,
        }))
    }

    type GetArtifactStream = Messages<v1::ArtifactPiece>;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let v1::GetArtifactRequest { sweep_id, job, offset } = request.into_inner();
        let mut download = self.api.download(SweepId(sweep_id), job_or_all(job), offset).await?;
        let (reader, pieces) = Reader::new(PIECES_WAITING_MAX, PIECE_WITHIN)?;
        self.tasks.spawn(async move {
            let sent = send_weights(&mut download, &reader).await;
            // The next may begin when this one has its end.
            reader.end(sent);
        });
        Ok(Response::new(pieces))
    }

    type ReportRowsStream = Messages<v1::ReportRow>;

    async fn report_rows(
        &self,
        request: Request<v1::ReportRowsRequest>,
    ) -> Result<Response<Self::ReportRowsStream>, Status> {
        let v1::ReportRowsRequest { sweep_id, hands_on } = request.into_inner();
        let mut report = self.api.report(SweepId(sweep_id)).await?;
        let within = if hands_on { REPORT_ROW_HANDED_ON_WITHIN } else { REPORT_ROW_WITHIN };
        let (reader, rows) = Reader::new(REPORT_ROWS_WAITING_MAX, within)?;
        self.tasks.spawn(async move {
            let sent = send_report(&mut report, &reader).await;
            reader.end(sent);
        });
        Ok(self.traced.answered(SweepId(sweep_id), Response::new(rows)))
    }
}

/// Sends what a searcher has to know until its sweep has ended.
async fn send_news(
    follower: &mut SearchFollower,
    reader: &Reader<v1::FollowSearchResponse>,
) -> Result<(), Status> {
    while let Some(news) = follower.next().await? {
        reader.send(convert::search_news(news)).await?;
    }
    Ok(())
}

/// Sends a report: its header, each job, and then the job's epochs.
async fn send_report(report: &mut Report, reader: &Reader<v1::ReportRow>) -> Result<(), Status> {
    use v1::report_row::Row;
    let send = |row| reader.send(v1::ReportRow { row: Some(row) });
    send(Row::Header(convert::report_header(report))).await?;
    while let Some(row) = report.next().await? {
        send(match row {
            ReportRow::Job(job) => Row::Job(convert::job(*job)),
            ReportRow::Epoch(epoch) => Row::Epoch(convert::epoch_row(&epoch)),
        })
        .await?;
    }
    Ok(())
}

/// Sends a file of weights: what it is, then its bytes.
async fn send_weights(
    download: &mut api::Download,
    reader: &Reader<v1::ArtifactPiece>,
) -> Result<(), Status> {
    let artifact = Some(convert::artifact(download.weights.clone()));
    reader.send(v1::ArtifactPiece { artifact, data: Vec::new() }).await?;
    while let Some(piece) = download.next().await? {
        for data in piece.chunks(DOWNLOAD_PIECE_BYTES) {
            reader.send(v1::ArtifactPiece { artifact: None, data: data.to_vec() }).await?;
        }
    }
    Ok(())
}
