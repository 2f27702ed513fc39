//! What the engine does, one behaviour a test, with no runtime and no clock.

mod blame;
mod cluster;
mod control;
mod jobs;
mod leases;
mod packs;
mod properties;
