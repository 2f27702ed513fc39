//! Scenarios across processes: real coordinators, real workers, real training.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

mod artifacts;
mod assistant;
mod brackets;
mod chaos;
mod checkpoints;
mod clock;
mod command_line;
mod commands;
mod completion;
mod disk;
mod doctor;
mod faults;
mod flood;
mod identities;
mod kills;
mod leader;
mod leaving;
mod leaving_kills;
mod limits;
mod logins;
mod memory;
mod models;
mod notebook;
mod notify;
mod output;
mod outside;
mod packs;
mod pauses;
mod processes;
mod programs;
mod requests;
mod resources;
mod run;
mod search;
mod searched_runs;
mod security;
mod services;
mod snapshots;
mod stalls;
mod telemetry;
mod traces;
mod upgrade;
mod verify;
mod wheel;
