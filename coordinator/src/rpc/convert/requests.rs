//! What users ask, decoded: where the wire has 0 or an empty text for "none", it is none from here on.

use proto::v1;
use terms::WorkerName;
use tonic::Status;

use crate::api::{Page, Source};

impl From<v1::SweepSource> for Source {
    fn from(wire: v1::SweepSource) -> Self {
        let v1::SweepSource { text, file_name, overrides, dataset_path, snapshot, manifests } = wire;
        Self { text, file_name, overrides, dataset_path, snapshot, manifests }
    }
}

/// A sweep file and its changes.
pub(in crate::rpc) fn source(source: Option<v1::SweepSource>) -> Result<Source, Status> {
    source.map(Source::from).ok_or_else(|| Status::invalid_argument("the field `source` is missing"))
}

/// Which page of a list.
pub(in crate::rpc) fn page(rows: u32, token: String) -> Page {
    Page { rows, token }
}

/// One job, or none where all are meant.
pub(in crate::rpc) fn job_or_all(job: u64) -> Option<u64> {
    (job > 0).then_some(job)
}

/// A worker's name.
pub(in crate::rpc) fn worker_name(name: &str) -> Result<WorkerName, Status> {
    name.parse().map_err(|error| Status::invalid_argument(format!("{error}")))
}
