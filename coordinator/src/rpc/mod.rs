//! The gRPC services: each call is decoded, given to a use case of `api` (a worker's stream: to the driver), and its answer encoded. Here is
//! also who may call, and what protects a coordinator from connections, messages and readers, whatever they ask.

mod access;
mod answers;
mod auth;
mod bodies;
mod connections;
pub mod convert;
mod errors;
mod misled;
mod pages;
mod patience;
mod readers;
mod secure;
mod sweeps;
mod watch;
mod workers;

pub(crate) use self::pages::cut_page;
pub use self::{
    access::AccessServer,
    auth::Guarded,
    bodies::{Bounded, Bounds},
    connections::{DESCRIPTORS_MIN, FIRST_WORDS_WITHIN, accept},
    errors::{ErrorsLayer, VERSION_METADATA, bounded_errors},
    secure::secure,
    sweeps::SweepServer,
    workers::WorkerServer,
};

/// Largest message of a user, in bytes: a sweep file of 1 MiB and what goes with it.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod fields;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod limits;
