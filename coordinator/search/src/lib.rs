//! What to try next, and what to stop. `stopping` says which jobs pause or stop after which epoch, and which go on. Pure:
//! numbers come in and go out, chance comes from a seed; no clock, no runtime, no database, no wire format, and nothing about
//! sweep files.

pub mod stopping;
pub mod tpe;
