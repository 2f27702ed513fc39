//! `sweep`: the coordinator and every command of the user.

fn main() {}
