//! The kinds of sweeps that worlds have.

use domain::specification::{Specification, SpecificationSource};

use super::world::EPOCHS;

/// A kind of sweep.
#[derive(Debug)]
pub(super) struct Kind {
    /// How many worlds have it, in parts of all.
    pub(super) weight: u64,
    /// A sweep, and the same with some jobs more.
    pub(super) sweeps: [Specification; 2],
}

/// Rates that a search chooses.
const RATES: &str = "{min: 0.001, max: 0.1, distribution: log_uniform_values}";
/// The parameter that trains each rate with two seeds.
const SEEDS: &str = "  seed: {values: [1, 2]}\n";
const MODEL: &str = "dataset: {path: d}";
const PROGRAM: &str = "program: train.py\nmetric: {name: val_accuracy, goal: maximize}\nresources: {gpus: 2}";
/// Epochs of jobs that are compared more than once.
const LONG: u32 = 4;

/// All kinds.
pub(super) fn kinds() -> Vec<Kind> {
    let paused = early("{type: asha, min_iter: 1, eta: 2}");
    let stopped = early("{type: asha, min_iter: 1, eta: 2, promote: false}");
    let learned =
        |what: &str, cap: u32| parsed(EPOCHS, &format!("method: tpe\nrun_cap: {cap}\n{what}"), RATES, SEEDS);
    vec![
        kind(2, grid(EPOCHS, MODEL, 3)),
        // Of a program whose jobs take two GPUs each.
        kind(15, grid(EPOCHS, PROGRAM, 3)),
        // Whose points are drawn.
        kind(6, [6, 8].map(drawn)),
        // Whose jobs pause at a rung, and wait for the best share.
        kind(9, grid(EPOCHS, &paused, 3)),
        // Longer ones: where a checkpoint is missed, the others are stopped at two rungs.
        kind(4, grid(LONG, &paused, 3)),
        // So few that none is among the best share.
        kind(2, few()),
        // Whose points are chosen from results; also of jobs that pause, or are stopped.
        kind(5, [16, 20].map(|cap| learned(MODEL, cap))),
        kind(5, [14, 18].map(|cap| learned(&paused, cap))),
        kind(3, [14, 18].map(|cap| learned(&stopped, cap))),
        // Whose points come from outside.
        kind(6, [8, 10].map(outside)),
        // That learns in a space that runs out, with each point trained twice.
        kind(3, [16, 18].map(finite)),
        // Whose jobs are stopped at rungs where they are not among the best that came before.
        kind(5, grid(LONG, &stopped, 3)),
        // Whose rungs begin after one epoch or two; below W&B's `max_iter`; and where the others are stopped.
        kind(4, grid(LONG, &best_of("{type: hyperband, min_iter: 1, max_iter: 2, eta: 2}"), 4)),
        kind(2, grid(LONG, &early("{type: hyperband, max_iter: 4, s: 2, eta: 2, strict: true}"), 3)),
        kind(
            2,
            grid(LONG, &best_of("{type: hyperband, min_iter: 1, max_iter: 2, eta: 2, promote: false}"), 4),
        ),
        // Whose jobs are stopped where they are worse than the median, after each epoch or now and then.
        kind(4, grid(LONG, &early("{type: median, min_jobs: 2}"), 4)),
        kind(1, grid(LONG, &early("{type: median, min_jobs: 1, min_iter: 1, interval: 2}"), 3)),
        // Of which the best few go on once all have come.
        kind(4, grid(EPOCHS, &early("{type: top_k, k: 2}"), 3)),
    ]
}

fn kind(weight: u64, sweeps: [Specification; 2]) -> Kind {
    Kind { weight, sweeps }
}

/// A model whose jobs are stopped early, or pause.
fn early(rule: &str) -> String {
    format!("{MODEL}\nearly_terminate: {rule}")
}

/// The same, with jobs compared by their best epochs.
fn best_of(rule: &str) -> String {
    format!("{}\nmetric: {{name: val_accuracy, goal: maximize, use: best}}", early(rule))
}

/// Each of so many rates with two seeds, and with one rate more.
fn grid(epochs: u32, what: &str, rates: u32) -> [Specification; 2] {
    [rates, rates + 1].map(|rates| parsed(epochs, what, &numbers(rates), SEEDS))
}

fn numbers(count: u32) -> String {
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    format!("{{values: [{}]}}", numbers.join(", "))
}

fn drawn(cap: u32) -> Specification {
    parsed(EPOCHS, &format!("method: random\nrun_cap: {cap}\n{MODEL}"), RATES, SEEDS)
}

fn outside(cap: u32) -> Specification {
    let what = format!("method: external\nrun_cap: {cap}\n{MODEL}");
    parsed(EPOCHS, &what, "{min: 0.001, max: 0.1}", SEEDS)
}

fn finite(cap: u32) -> Specification {
    let what =
        format!("method: tpe\nrun_cap: {cap}\nrepeats: 2\nexclude: [{{learning_rate: 0.01}}]\n{MODEL}");
    // The seeds of a sweep with `repeats` follow from them.
    parsed(EPOCHS, &what, "{values: [0.001, 0.003, 0.005, 0.01, 0.03, 0.05]}", "")
}

fn few() -> [Specification; 2] {
    [3, 5].map(|rates| parsed(EPOCHS, &early("{type: asha, min_iter: 1, eta: 4}"), &numbers(rates), ""))
}

fn parsed(epochs: u32, what: &str, rates: &str, seeds: &str) -> Specification {
    let text = format!(
        "name: simulated\n{what}\nparameters:\n  epochs: {{value: {epochs}}}\n  \
         learning_rate: {rates}\n{seeds}execution: {{attempts_max: 3}}\n"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}
