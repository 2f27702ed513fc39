//! What the coordinator decides: specifications, grids, jobs, leases. Pure: time comes in as an argument,
//! records and effects go out; no clock, no runtime, no database, no network.

pub mod definition;
pub mod engine;
pub mod grid;
pub mod known_points;
pub mod mutants;
pub mod parameters;
pub mod record;
pub mod specification;
pub mod state;
pub mod text;
