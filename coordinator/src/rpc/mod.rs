//! The gRPC services: each call is decoded, given to a use case of `api` (a worker's stream: to the driver), and its answer encoded. Here are
//! also the bearer token, and what protects a coordinator from connections, messages and readers, whatever they ask.

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
mod sweeps;
mod watch;
mod workers;

pub(crate) use self::pages::cut_page;
pub use self::{
    auth::BearerToken,
    bodies::{Bounded, Bounds},
    connections::{DESCRIPTORS_MIN, FIRST_WORDS_WITHIN, accept},
    errors::{ErrorsLayer, VERSION_METADATA, bounded_errors},
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
