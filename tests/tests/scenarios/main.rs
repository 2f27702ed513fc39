//! Scenarios across processes: real coordinators, real workers, real training.

mod command_line;
mod completion;
mod faults;
mod kills;
mod run;
mod security;
mod services;
