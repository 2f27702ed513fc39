//! What the engine does, one behaviour a test, with no runtime and no clock.

mod attribution;
mod away;
mod cluster;
mod control;
mod epoch;
mod gpus;
mod jobs;
mod learning;
mod leases;
mod models;
mod names;
mod outside;
mod packs;
mod pauses;
mod programs;
mod promotions;
mod properties;
mod refusals;
mod resources;
mod retries;
mod room;
mod rungs;
mod search;
mod searchers;
mod stopping;
mod weights;
