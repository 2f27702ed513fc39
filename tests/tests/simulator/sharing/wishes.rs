//! What users and admins want in a world of several owners.

use std::sync::Arc;

use domain::{
    definition::SweepDefinition,
    record::Quota,
    specification::{Specification, SpecificationSource},
};
use engine::{
    Issuer,
    command::{Cancel, Extend, KeepQuota, Pause, Resume, Submit},
    query::Define,
};
use terms::SweepId;

use super::{Broken, OWNERS, Sharing, WEIGHT_MAX};

/// Jobs of a sweep that does not end while anyone looks.
const MANY: u64 = 300;

impl Sharing {
    fn owner(&mut self) -> String {
        format!("o{}", self.random.below(OWNERS))
    }

    pub(super) fn submit(&mut self) -> Result<(), Broken> {
        let (owner, specification) = (self.owner(), self.specification());
        self.submit_for(&owner, specification)
    }

    fn submit_for(&mut self, owner: &str, specification: Specification) -> Result<(), Broken> {
        let issuer = Issuer::named(owner);
        let definition = Box::new(SweepDefinition::new(SweepId(0), specification).expect("it is a grid"));
        let command =
            Submit::new(definition, format!("request {}", self.sweeps)).expect("it needs no searcher");
        self.sweeps += 1;
        let owner = issuer.owner();
        self.order(issuer, command.owned_by(owner)).map(drop)
    }

    fn specification(&mut self) -> Specification {
        let jobs = 1 + self.random.below(12);
        let priority = self.random.within(0..3) as i64 - 1;
        let parallel = if self.random.one_in(4) { ", max_parallel: 2" } else { "" };
        let execution = format!("priority: {priority}{parallel}");
        match self.random.below(4) {
            // Of jobs that take some GPUs each.
            0 => several_gpus(2 + self.random.below(2), jobs, &execution),
            // Jobs that differ in the seed alone do not share a pack.
            1 => of_a_model("seed", jobs, &execution),
            _ => of_a_model("learning_rate", jobs, &execution),
        }
    }

    pub(super) fn set_quota(&mut self) -> Result<(), Broken> {
        let slots = if self.random.one_in(3) { None } else { Some(self.random.below(5) as u32) };
        let (owner, weight) = (self.owner(), 1 + self.random.below(WEIGHT_MAX) as u32);
        let quota = Quota { owner, slots, weight, set_unix_ms: 0, set_by: "root".to_owned() };
        self.order(Issuer::admin("root"), KeepQuota(quota)).map(drop)
    }

    pub(super) fn change_mind(&mut self) -> Result<(), Broken> {
        let (admin, sweep) = (Issuer::admin("root"), SweepId(1 + self.random.below(self.sweeps)));
        match self.random.below(5) {
            0 => self.order(admin, Pause(sweep)).map(drop),
            1 | 2 => self.order(admin, Resume(sweep)).map(drop),
            3 => self.order(admin, Cancel(sweep)).map(drop),
            _ => {
                let defined =
                    self.engine.ask(self.now(), &Define(sweep)).map_err(|error| error.to_string())?;
                let base = defined.definition;
                let to = format!("execution.priority={}", self.random.within(0..3) as i64 - 1);
                let definition = Arc::new(base.set(&[to]).map_err(|error| error.to_string())?);
                self.order(admin, Extend { sweep, base, definition, revived: Default::default() }).map(drop)
            }
        }
    }

    /// What was paused goes on, and jobs of four owners come without end. One of them has a quota.
    pub(super) fn go_on(&mut self) -> Result<(), Broken> {
        for sweep in 1..=self.sweeps {
            self.order(Issuer::admin("root"), Resume(SweepId(sweep)))?;
        }
        let quota = Quota {
            owner: "o3".to_owned(),
            slots: Some(2 + self.random.below(3) as u32),
            weight: 1,
            set_unix_ms: 0,
            set_by: "root".to_owned(),
        };
        self.order(Issuer::admin("root"), KeepQuota(quota))?;
        for owner in ["o0", "o1", "o3"] {
            self.submit_for(owner, of_a_model("seed", MANY, "priority: 0"))?;
        }
        self.submit_for("o2", several_gpus(2, MANY, "priority: 0"))
    }

    /// The owner whose quota may be full has jobs of two GPUs that come before the others.
    pub(super) fn want_several_gpus(&mut self) -> Result<(), Broken> {
        self.submit_for("o3", several_gpus(2, MANY, "priority: 1"))
    }
}

fn several_gpus(gpus: u64, jobs: u64, execution: &str) -> Specification {
    let what = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nresources: {{gpus: {gpus}}}\nexecution: {{{execution}}}"
    );
    parsed(&what, "seed", jobs)
}

fn of_a_model(parameter: &str, jobs: u64, execution: &str) -> Specification {
    parsed(&format!("dataset: {{path: d}}\nexecution: {{{execution}}}"), parameter, jobs)
}

fn parsed(what: &str, parameter: &str, jobs: u64) -> Specification {
    let text = format!(
        "name: s\n{what}\nparameters:\n  epochs: {{value: 2}}\n  {parameter}: {{min: 1, max: {jobs}, count: {jobs}}}\n"
    );
    let source = SpecificationSource { text, ..SpecificationSource::default() };
    Specification::parse(&source).expect("it is right")
}
