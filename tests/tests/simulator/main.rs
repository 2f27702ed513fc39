//! The simulator: the real engine, the driver's real pipeline, the real conversions and the real sessions of two
//! workers, under a scheduler that has everything go wrong. Each seed is a world of its own and always the same.
//!
//! `make test` finds each mutant and then tries new seeds for a minute; `make soak SECONDS=N` tries them as long as
//! it is told. A seed that breaks a rule is printed with the command that replays it.

// In a test, a panic is how a failure is reported.
#![allow(clippy::unwrap_used)]

mod coordinator;
mod durable;
mod hub;
mod kinds;
mod link;
mod node;
mod reference;
mod row;
mod sharing;
mod watched;
mod world;

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use engine::mutants::{self, Mutant};
use kinds::{Kind, kinds};
use sharing::Sharing;
use world::World;

/// How long new seeds are tried unless the command says otherwise.
const SECONDS: u64 = 60;
/// Seeds within which each mutant must be found; the hardest took some hundreds.
const MUTANT_SEEDS: u64 = 20_000;
/// Seeds between two looks at the clock.
const ROUND: u64 = 256;
const REPLAY: &str = "cargo test --release -p tests --test simulator --";

/// A value given as `--name VALUE`.
fn option(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

fn main() -> ExitCode {
    let kinds = kinds();
    if let Some(seed) = option("--seed") {
        let mutant = option("--mutant").map(|index| Mutant::ALL[index as usize]);
        mutants::turn_on(mutant);
        return match live(seed, &kinds, true) {
            Ok(happened) => {
                println!("seed {seed}: no rule is broken; {happened} things happened");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("seed {seed}: {broken}");
                ExitCode::FAILURE
            }
        };
    }
    if find_mutants(&kinds) && soak(&kinds, option("--seconds").unwrap_or(SECONDS)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Both worlds of a seed to their ends: that of one sweep where everything goes wrong, and that of several owners. How many things
/// happened.
fn live(seed: u64, kinds: &[Kind], trace: bool) -> Result<u64, world::Broken> {
    Ok(World::new(seed, kinds, trace).live()? + Sharing::new(seed).live()?)
}

/// Whether each mutant breaks a rule in some world.
fn find_mutants(kinds: &[Kind]) -> bool {
    let mut all = true;
    for (index, mutant) in Mutant::ALL.into_iter().enumerate() {
        mutants::turn_on(Some(mutant));
        let found = (0..MUTANT_SEEDS).find_map(|seed| Some((seed, live(seed, kinds, false).err()?)));
        match found {
            Some((seed, broken)) => {
                println!(
                    "mutant {mutant:?} found by seed {seed}: {broken}\n    replay it: {REPLAY} --mutant {index} --seed {seed}"
                );
                all &= replays(index, seed, &broken);
            }
            None => {
                println!(
                    "mutant {mutant:?} was not found in {MUTANT_SEEDS} seeds: the simulator is blind to it"
                );
                all = false;
            }
        }
    }
    mutants::turn_on(None);
    all
}

/// Whether the command that is printed for a seed that breaks a rule shows the same again.
fn replays(mutant: usize, seed: u64, broken: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--mutant", &mutant.to_string(), "--seed", &seed.to_string()]);
    let told = command.output().unwrap();
    let same = String::from_utf8_lossy(&told.stdout).contains(&format!("seed {seed}: {broken}\n"));
    if !same || told.status.success() {
        println!("the seed {seed} does not break the same rule when it is replayed");
    }
    same && !told.status.success()
}

/// Tries new seeds for so long; whether no rule was broken.
fn soak(kinds: &[Kind], seconds: u64) -> bool {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first = option("--first-seed").unwrap_or(clock.as_secs() << 24);
    let start = Instant::now();
    let (mut seeds, mut happened) = (0, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..ROUND {
            let seed = first + seeds;
            match live(seed, kinds, false) {
                Ok(count) => {
                    happened += count;
                    // The first of each round again: a world that differs from itself could not be replayed.
                    if seeds % ROUND == 0 && live(seed, kinds, false) != Ok(count) {
                        println!("seed {seed} does not give the same world twice");
                        return false;
                    }
                }
                Err(broken) => {
                    println!("seed {seed}: {broken}\nreplay it: {REPLAY} --seed {seed}");
                    return false;
                }
            }
            seeds += 1;
        }
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    println!(
        "{seeds} seeds from {first}, {happened} events, no rule broken; {:.0} seeds a minute",
        seeds as f64 / minutes
    );
    true
}
