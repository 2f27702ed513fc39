//! The wire format: the generated gRPC types, the newtype ids, the parameter values, and the
//! conversions between them and the vocabulary of `terms`. Nothing here decides anything.

mod convert;
mod ids;
mod parameter;

pub use ids::{AttemptKey, JobKey, MissingField, SweepId, WorkerName, WorkerNameError};
pub use parameter::{ParameterMap, ParameterValue};
/// How messages are encoded, and how large they are.
pub use prost::Message;
pub use terms::{EPOCH_SECONDS_MAX, LOG_LINES_MAX, TEXT_CHARACTERS_MAX, WORKER_MESSAGE_BYTES_MAX, cut};

/// Revision of the worker protocol, sent in `Hello`.
pub const PROTOCOL_VERSION: u32 = 1;

/// The generated messages, clients and servers of package `sweep.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::too_many_lines)]
pub mod v1 {
    tonic::include_proto!("sweep.v1");
}

/// The encoded `FileDescriptorSet` of package `sweep.v1`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sweep_descriptor.bin"));
