//! What users send.

use prost_types::field_descriptor_proto::Type;
use proto::v1::{self, sweep_service_server::SweepService};
use tempfile::TempDir;
use terms::snapshot::ContentHash;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Status};

use super::{EDGES, HOSTILE, fields};
use crate::{
    api::{Api, leader},
    driver::DriverHandle,
    rpc::SweepServer,
};

/// A service over a store of its own.
pub(super) struct Served {
    server: SweepServer,
    pub(super) driver: DriverHandle,
    _folder: TempDir,
}

impl Served {
    pub(super) async fn start() -> Self {
        let (store, folder) = leader::store().await;
        let driver = leader::driver(&store).await;
        let api = Api::new(leader::led_by(&driver), store, None, TaskTracker::new());
        let server = SweepServer::new(api, TaskTracker::new());
        Self { server, driver, _folder: folder }
    }

    pub(super) async fn submit(&self, request_id: &str) -> Result<(), Status> {
        let request =
            v1::SubmitRequest { source: Some(source()), request_id: request_id.into(), extend_sweep_id: 0 };
        self.server.submit(Request::new(request)).await.map(drop)
    }

    async fn put_file(&self, file: v1::SnapshotFile) -> Result<(), Status> {
        let snapshot = Some(v1::Snapshot { files: vec![file] });
        self.server.put_snapshot(Request::new(v1::PutSnapshotRequest { snapshot })).await.map(drop)
    }

    /// Calls with `text` in one field.
    async fn say(&self, field: &str, text: &str) -> Result<(), Status> {
        let (text, server) = (text.to_owned(), &self.server);
        let changed = |change: &dyn Fn(&mut v1::SweepSource)| {
            let mut source = source();
            change(&mut source);
            Request::new(v1::ValidateRequest { source: Some(source), preview: 0 })
        };
        match field {
            "SweepSource.text" => {
                let request = changed(&|source| source.text = format!("{}# {text}\n", source.text));
                server.validate(request).await.map(drop)
            }
            "SweepSource.file_name" => {
                server.validate(changed(&|source| source.file_name.clone_from(&text))).await.map(drop)
            }
            "SweepSource.overrides" => {
                let request = changed(&|source| source.overrides = vec![format!("name=\"{text}\"")]);
                server.validate(request).await.map(drop)
            }
            "SweepSource.dataset_path" => {
                server.validate(changed(&|source| source.dataset_path.clone_from(&text))).await.map(drop)
            }
            "SweepSource.snapshot" => {
                server.validate(changed(&|source| source.snapshot.clone_from(&text))).await.map(drop)
            }
            "SweepSource.manifests" => {
                server.validate(changed(&|source| source.manifests = vec![text.clone()])).await.map(drop)
            }
            "SnapshotFile.path" => self.put_file(v1::SnapshotFile { path: text, ..a_file() }).await,
            "SnapshotFile.blake3" => self.put_file(v1::SnapshotFile { blake3: text, ..a_file() }).await,
            "ContentPiece.blake3" => {
                let pieces = vec![v1::ContentPiece { blake3: text, ..v1::ContentPiece::default() }];
                server.put_contents(Request::new(v1::PutContentsRequest { pieces })).await.map(drop)
            }
            "SubmitRequest.request_id" => self.submit(&text).await,
            "ListSweepsRequest.page_token" => {
                let request = v1::ListSweepsRequest { page_size: 0, page_token: text };
                server.list_sweeps(Request::new(request)).await.map(drop)
            }
            "ListJobsRequest.page_token" => {
                let request =
                    v1::ListJobsRequest { sweep_id: 1, page_token: text, ..v1::ListJobsRequest::default() };
                server.list_jobs(Request::new(request)).await.map(drop)
            }
            "ListArtifactsRequest.page_token" => {
                let request = v1::ListArtifactsRequest {
                    sweep_id: 1,
                    page_token: text,
                    ..v1::ListArtifactsRequest::default()
                };
                server.list_artifacts(Request::new(request)).await.map(drop)
            }
            "ListWorkersRequest.page_token" => {
                let request = v1::ListWorkersRequest { page_size: 0, page_token: text };
                server.list_workers(Request::new(request)).await.map(drop)
            }
            "SetSweepRequest.settings" => {
                let request = v1::SetSweepRequest { sweep_id: 1, settings: vec![format!("name={text}")] };
                server.set_sweep(Request::new(request)).await.map(drop)
            }
            "DrainWorkerRequest.name" => {
                server.drain_worker(Request::new(v1::DrainWorkerRequest { name: text })).await.map(drop)
            }
            "Parameter.name" => self.propose(&text, v1::parameter_value::Kind::Integer(1)).await,
            "ParameterValue.text" => self.propose("seed", v1::parameter_value::Kind::Text(text)).await,
            other => panic!("{other} is not guarded"),
        }
    }

    /// Proposes a point with one parameter.
    async fn propose(&self, name: &str, kind: v1::parameter_value::Kind) -> Result<(), Status> {
        let value = Some(v1::ParameterValue { kind: Some(kind) });
        let parameters = vec![v1::Parameter { name: name.to_owned(), value }];
        let points = vec![v1::SearchPoint { parameters }];
        let request = v1::ProposePointsRequest { points, ..a_proposal() };
        self.server.propose_points(Request::new(request)).await.map(drop)
    }

    /// Calls with `number` in one field.
    #[allow(clippy::too_many_lines)] // A table.
    async fn count(&self, field: &str, number: u64) -> Result<(), Status> {
        let (sweep_id, server) = (number, &self.server);
        match field {
            "SubmitRequest.extend_sweep_id" => {
                let request = v1::SubmitRequest {
                    source: Some(source()),
                    request_id: String::new(),
                    extend_sweep_id: number,
                };
                server.submit(Request::new(request)).await.map(drop)
            }
            "GetSweepRequest.sweep_id" => {
                server.get_sweep(Request::new(v1::GetSweepRequest { sweep_id })).await.map(drop)
            }
            "WatchSweepRequest.sweep_id" => {
                server.watch_sweep(Request::new(v1::WatchSweepRequest { sweep_id })).await.map(drop)
            }
            "ListJobsRequest.sweep_id" => {
                let request = v1::ListJobsRequest { sweep_id, ..v1::ListJobsRequest::default() };
                server.list_jobs(Request::new(request)).await.map(drop)
            }
            "GetJobRequest.sweep_id" => {
                server.get_job(Request::new(v1::GetJobRequest { sweep_id, job: 1 })).await.map(drop)
            }
            "RetrySweepRequest.job" => {
                let request =
                    v1::RetrySweepRequest { sweep_id: 1, job: number, ..v1::RetrySweepRequest::default() };
                server.retry_sweep(Request::new(request)).await.map(drop)
            }
            "StopSweepRequest.job" => {
                let request = v1::StopSweepRequest { sweep_id: 1, job: number };
                server.stop_sweep(Request::new(request)).await.map(drop)
            }
            "CancelSweepRequest.job" => {
                let request = v1::CancelSweepRequest { sweep_id: 1, job: number };
                server.cancel_sweep(Request::new(request)).await.map(drop)
            }
            "GetJobRequest.job" => {
                server.get_job(Request::new(v1::GetJobRequest { sweep_id: 1, job: number })).await.map(drop)
            }
            "PauseSweepRequest.sweep_id" => {
                server.pause_sweep(Request::new(v1::PauseSweepRequest { sweep_id })).await.map(drop)
            }
            "ResumeSweepRequest.sweep_id" => {
                server.resume_sweep(Request::new(v1::ResumeSweepRequest { sweep_id })).await.map(drop)
            }
            "RetrySweepRequest.sweep_id" => server
                .retry_sweep(Request::new(v1::RetrySweepRequest {
                    sweep_id,
                    ..v1::RetrySweepRequest::default()
                }))
                .await
                .map(drop),
            "StopSweepRequest.sweep_id" => {
                server.stop_sweep(Request::new(v1::StopSweepRequest { sweep_id, job: 0 })).await.map(drop)
            }
            "CancelSweepRequest.sweep_id" => {
                server.cancel_sweep(Request::new(v1::CancelSweepRequest { sweep_id, job: 0 })).await.map(drop)
            }
            "SetSweepRequest.sweep_id" => {
                let request = v1::SetSweepRequest { sweep_id, settings: vec!["name=y".to_owned()] };
                server.set_sweep(Request::new(request)).await.map(drop)
            }
            "ListArtifactsRequest.sweep_id" => {
                let request = v1::ListArtifactsRequest { sweep_id, ..v1::ListArtifactsRequest::default() };
                server.list_artifacts(Request::new(request)).await.map(drop)
            }
            "ListArtifactsRequest.job" => {
                let request = v1::ListArtifactsRequest {
                    sweep_id: 1,
                    job: number,
                    ..v1::ListArtifactsRequest::default()
                };
                server.list_artifacts(Request::new(request)).await.map(drop)
            }
            "GetArtifactRequest.sweep_id" => {
                let request = v1::GetArtifactRequest { sweep_id, job: 1, offset: 0 };
                server.get_artifact(Request::new(request)).await.map(drop)
            }
            "GetArtifactRequest.job" => {
                let request = v1::GetArtifactRequest { sweep_id: 1, job: number, offset: 0 };
                server.get_artifact(Request::new(request)).await.map(drop)
            }
            "GetArtifactRequest.offset" => {
                let request = v1::GetArtifactRequest { sweep_id: 1, job: 1, offset: number };
                server.get_artifact(Request::new(request)).await.map(drop)
            }
            "SnapshotFile.bytes" => self.put_file(v1::SnapshotFile { bytes: number, ..a_file() }).await,
            // This server has no place for them; a service with one: `artifacts::snapshots::tests`.
            "ContentPiece.bytes" | "ContentPiece.offset" => {
                let blake3 = a_file().blake3;
                let pieces =
                    vec![v1::ContentPiece { blake3, bytes: number, offset: number, data: Vec::new() }];
                server.put_contents(Request::new(v1::PutContentsRequest { pieces })).await.map(drop)
            }
            "FollowSearchRequest.sweep_id" => {
                let request = v1::FollowSearchRequest { sweep_id, after: 0 };
                server.follow_search(Request::new(request)).await.map(drop)
            }
            "FollowSearchRequest.after" => {
                let request = v1::FollowSearchRequest { sweep_id: 1, after: number };
                server.follow_search(Request::new(request)).await.map(drop)
            }
            "ProposePointsRequest.sweep_id" => {
                let request = v1::ProposePointsRequest { sweep_id, ..a_proposal() };
                server.propose_points(Request::new(request)).await.map(drop)
            }
            "ProposePointsRequest.first_point" => {
                let request = v1::ProposePointsRequest { first_point: number, ..a_proposal() };
                server.propose_points(Request::new(request)).await.map(drop)
            }
            "ProposePointsRequest.seen" => {
                let request = v1::ProposePointsRequest { seen: number, ..a_proposal() };
                server.propose_points(Request::new(request)).await.map(drop)
            }
            "VerifySearchRequest.sweep_id" => {
                server.verify_search(Request::new(v1::VerifySearchRequest { sweep_id })).await.map(drop)
            }
            "ReportRowsRequest.sweep_id" => server
                .report_rows(Request::new(v1::ReportRowsRequest { sweep_id, hands_on: false }))
                .await
                .map(drop),
            other => panic!("{other} is not guarded"),
        }
    }
}

fn a_file() -> v1::SnapshotFile {
    let blake3 = ContentHash::of(b"").to_string();
    v1::SnapshotFile { path: "a".to_owned(), executable: false, bytes: 0, blake3 }
}

fn a_proposal() -> v1::ProposePointsRequest {
    let points = vec![v1::SearchPoint::default()];
    v1::ProposePointsRequest { sweep_id: 1, first_point: 1, points, seen: 0, is_exhausted: false }
}

fn source() -> v1::SweepSource {
    let text = "name: x\ndataset: {path: d}\nparameters: {seed: {value: 1}}\n".to_owned();
    v1::SweepSource { text, ..v1::SweepSource::default() }
}

#[tokio::test]
async fn no_text_of_a_user_reaches_the_store_with_what_it_cannot_tell_apart() {
    let served = Served::start().await;
    served.submit("").await.unwrap();
    let texts = fields("SweepService", Type::String);
    assert!(texts.len() >= 9, "{texts:?}");
    for field in &texts {
        for hostile in HOSTILE {
            let refused = served.say(field, hostile).await.expect_err(field);
            assert_eq!(refused.code(), Code::InvalidArgument, "{field} {hostile:?}: {refused:?}");
        }
    }
    // What looks alike is not the same.
    for key in ["a\u{fffd}b", "ab", "a\u{200b}b", "a b"] {
        served.submit(key).await.unwrap();
    }
    let listed = served.server.list_sweeps(Request::new(v1::ListSweepsRequest::default())).await.unwrap();
    assert_eq!(listed.into_inner().sweeps.len(), 5);
}

#[tokio::test]
async fn no_number_of_a_user_is_taken_for_a_corrupt_store() {
    let served = Served::start().await;
    served.submit("").await.unwrap();
    for field in fields("SweepService", Type::Uint64) {
        for number in EDGES {
            let code = served.count(&field, number).await.map_or_else(|status| status.code(), |()| Code::Ok);
            let fits = [Code::NotFound, Code::InvalidArgument].contains(&code)
                // A sweep that has ended, and where 0 stands for none or all.
                || code == Code::FailedPrecondition
                || (code == Code::Ok && number == 0);
            assert!(fits, "{field} {number}: {code:?}");
        }
    }
    for number in EDGES {
        let token = number.to_string();
        for field in
            ["ListSweepsRequest.page_token", "ListJobsRequest.page_token", "ListArtifactsRequest.page_token"]
        {
            let said = served.say(field, &token).await;
            assert_eq!(said.is_ok(), i64::try_from(number).is_ok(), "{field} {number}: {said:?}");
            assert!(said.is_ok_and(|()| true) || number > 1 << 62, "{field} {number}");
        }
    }
}
