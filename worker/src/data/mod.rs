//! Data sets: reading pictures, packing them, splitting them, making synthetic ones.

pub mod split;
