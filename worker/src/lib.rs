//! The worker daemon: `agent` keeps the session with the coordinator and supervises one trainer process a
//! slot, `trainer` is that process and trains, `data` turns pictures into packed data sets. The agent and the
//! trainer share nothing but `protocol`; libtorch is used in `trainer` (and for the split) alone.

pub mod agent;
pub mod data;
pub mod protocol;
pub mod trainer;

#[cfg(test)]
mod damage;
