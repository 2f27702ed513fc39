//! Decisions of Optuna 5.0.0. `SWEEP_GOLDEN_DIR` names a folder with another file `pruning.json` of the same form.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use serde_json::Value;

use super::*;

enum Rule {
    Halving(Halving),
    /// With the best value of each job so far.
    Median {
        rule: Median,
        goal: Goal,
        best: BTreeMap<u64, f64>,
    },
}

impl Rule {
    /// From a label such as `asha r=1 eta=3 s=1`.
    fn labelled(label: &str, goal: Goal) -> Self {
        let settings: BTreeMap<&str, &str> =
            label.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let number = |names: [&str; 2], default: u32| {
            let found = names.iter().find_map(|name| settings.get(name));
            found.map_or(default, |number| number.parse().unwrap())
        };
        let (min, eta) = (number(["r", "min_resource"], 1), number(["eta", "reduction_factor"], 3));
        let quota = Quota::ShareOrOne { eta };
        match label.split_whitespace().next().unwrap() {
            "asha" => {
                let ladder = Ladder::upwards(min, eta, number(["s", "min_early_stopping_rate"], 0));
                Self::Halving(Halving::new(goal, ladder, quota, false))
            }
            "hyperband" => {
                let name = settings["study_name"].trim_matches('\'');
                let brackets = Brackets::new(name, min, number(["R", "max_resource"], 0), eta);
                Self::Halving(Halving::with_brackets(goal, brackets, quota, false))
            }
            "median" => {
                let jobs_min = number(["startup", "n_startup_trials"], 5);
                let epochs_min = number(["warmup", "n_warmup_steps"], 0);
                let interval = number(["interval", "interval_steps"], 1);
                let rule = Median::new(goal, jobs_min.into(), epochs_min, interval);
                Self::Median { rule, goal, best: BTreeMap::new() }
            }
            other => panic!("no rule {other}"),
        }
    }

    /// Whether the job is stopped at this epoch; `is_last` says that it would be complete otherwise.
    fn stops(&mut self, job: u64, epoch: u32, value: Option<f64>, is_last: bool) -> bool {
        match self {
            Self::Halving(rule) => rule.observe(job, epoch, value) == Verdict::Stop,
            Self::Median { rule, goal, best } => {
                if let Some(value) = value {
                    let best = best.entry(job).or_insert(value);
                    *best = if *goal == Goal::Minimize { best.min(value) } else { best.max(value) };
                }
                let stops = rule.observe(job, epoch, value, best.get(&job).copied()) == Verdict::Stop;
                if stops {
                    rule.forget(job);
                } else if is_last {
                    rule.complete(job);
                }
                stops
            }
        }
    }
}

#[test]
fn decisions_are_optunas() {
    let folder = env::var_os("SWEEP_GOLDEN_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")), PathBuf::from);
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("pruning.json")).unwrap()).unwrap();
    let runs = golden["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    for run in runs {
        let label = run["pruner"].as_str().unwrap();
        let goal = Goal::from_name(run["direction"].as_str().unwrap()).unwrap();
        let mut rule = Rule::labelled(label, goal);
        let mut stopped = 0;
        for event in run["events"].as_array().unwrap() {
            let (job, epoch) = (event[0].as_u64().unwrap() + 1, event[1].as_u64().unwrap() as u32);
            let is_last = u64::from(epoch) == run["steps"].as_u64().unwrap();
            let stops = rule.stops(job, epoch, event[2].as_f64(), is_last);
            stopped += u64::from(stops);
            assert_eq!(stops, event[3].as_bool().unwrap(), "{label}, {goal:?}, {event}");
        }
        assert_eq!(stopped, run["pruned"].as_u64().unwrap(), "{label}");
    }
}
