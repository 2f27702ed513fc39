//! Tests of the searcher as a whole, and of its densities against Optuna's.
#![allow(clippy::unwrap_used)]

mod conditions;
mod densities;
mod duplicates;
mod golden;
mod proposals;

use super::*;

fn float(low: f64, high: f64) -> Dimension {
    Dimension { domain: Domain::Float { low, high, log: false, step: None }, when: Vec::new() }
}

fn integer(low: i64, high: i64) -> Dimension {
    Dimension { domain: Domain::Integer { low, high, step: 1, log: false }, when: Vec::new() }
}

fn choices(choices: u32) -> Dimension {
    Dimension { domain: Domain::Categorical { choices }, when: Vec::new() }
}

fn searcher(dimensions: &[Dimension]) -> Tpe {
    Tpe::new(dimensions, None, Goal::Minimize, 7).unwrap()
}

/// Runs jobs one after the other, each with the value of its point.
fn run(tpe: &mut Tpe, jobs: std::ops::RangeInclusive<u64>, value: impl Fn(&Point) -> f64) -> Vec<Proposal> {
    let run = |job| {
        let proposal = tpe.propose(job)?;
        tpe.observe(job, &proposal.point, Outcome::Finished(value(&proposal.point)));
        Some(proposal)
    };
    jobs.map_while(run).collect()
}
