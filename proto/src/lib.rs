//! The wire format: the generated gRPC types, and the conversions between them and the vocabulary of `terms`. No
//! decisions are made here.

pub mod caller;
pub mod client;
mod codec;
mod convert;
pub mod join;
pub mod leader;
mod metric_value;
mod metrics;
pub mod secret_file;
mod snapshot;
pub mod unreached;

pub use convert::{MissingField, attempt_from_wire, job_point, parameters_from_wire, parameters_to_wire};
pub use metrics::{epoch_to_wire, metrics_to_wire};
/// How messages are encoded, and how large they are.
pub use prost::Message;
pub use snapshot::SnapshotProblem;

/// Revision of the worker protocol, sent in `Hello`.
pub const PROTOCOL_VERSION: u32 = 1;

/// The generated messages, clients and servers of package `sweep.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::too_many_lines)]
pub mod v1 {
    pub use super::metric_value::MetricValue;
    tonic::include_proto!("sweep.v1");
}

/// The encoded `FileDescriptorSet` of package `sweep.v1`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sweep_descriptor.bin"));
