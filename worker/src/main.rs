//! `sweep-worker`: the worker daemon, its trainer process and the data-set tools.

fn main() {}
