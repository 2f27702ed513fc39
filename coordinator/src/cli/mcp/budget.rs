//! What an assistant may start: jobs, and hours of training. A sweep is counted before it is submitted, by the most that it can take, so
//! that nothing has to be ended later.

use std::time::Duration;
use terms::count;

use domain::specification::Specification;

/// The bounds that the user has set.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) jobs: Option<u64>,
    pub(super) hours: Option<f64>,
}

/// The bounds, and what was taken of them since the command began.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    jobs: u64,
    hours: f64,
}

/// The most that jobs can take, as far as their sweep file says it. What is not their own doing is not in it: attempts that are lost, handed
/// back or find no data are not charged to a job, and each begins its `job_timeout` again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    jobs: u64,
    /// Of each job: those that may fail, and those that end at a rung.
    attempts: u32,
    /// Of each attempt.
    gpus: u32,
    timeout: Option<Duration>,
}

impl Cost {
    /// Of this many jobs of such a sweep.
    pub(super) fn new(jobs: u64, specification: &Specification) -> Self {
        let execution = &specification.execution;
        Self {
            jobs,
            attempts: execution.attempts_max.saturating_add(pauses(specification)),
            gpus: specification.resources.several_gpus().unwrap_or(1),
            timeout: execution.job_timeout_ms.map(Duration::from_millis),
        }
    }

    /// Hours of slots: each job may fail in each attempt, at the end of its time, and occupies all its GPUs meanwhile.
    pub(super) fn hours(&self) -> Option<f64> {
        let slots = self.jobs as f64 * f64::from(self.attempts) * f64::from(self.gpus);
        self.timeout.map(|timeout| slots * timeout.as_secs_f64() / 3_600.0)
    }

    /// What was multiplied, for people.
    fn factors(&self) -> String {
        let gpus = match self.gpus {
            1 => String::new(),
            gpus => format!(" on {gpus} GPUs"),
        };
        format!("{}, {}{gpus}", count(self.jobs, "job"), count(self.attempts.into(), "attempt"))
    }
}

/// How often a job may pause at a rung: each pause ends an attempt that is not charged. Where the epochs of jobs are not known, all rungs count.
fn pauses(specification: &Specification) -> u32 {
    let Some(early) = specification.early_terminate.filter(|early| early.promote) else { return 0 };
    let last = specification.epochs_max();
    let acts = |rung: &&u32| last.is_none_or(|last| **rung < last);
    let most = early.ladders().iter().map(|rungs| rungs.iter().filter(acts).count()).max();
    most.map_or(0, |rungs| u32::try_from(rungs).unwrap_or(u32::MAX))
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, jobs: 0, hours: 0.0 }
    }

    /// Takes what this costs.
    ///
    /// # Errors
    /// It is more than there is left; the sums.
    pub(super) fn take(&mut self, cost: Cost) -> Result<(), String> {
        let Limits { jobs, hours } = self.limits;
        if jobs.is_none() && hours.is_none() {
            return Err("`sweep mcp` was started without a budget, so it starts no jobs; its user may start it with --budget-jobs N or \
                        --budget-hours H"
                .to_owned());
        }
        let left = jobs.map(|limit| (limit, limit.saturating_sub(self.jobs)));
        if let Some((limit, left)) = left.filter(|(_, left)| cost.jobs > *left) {
            return Err(format!(
                "this takes {}, and of a budget of {limit} there are {left} left; fewer values or a `run_cap` make fewer jobs",
                count(cost.jobs, "job")
            ));
        }
        let taken = match (hours, cost.hours()) {
            (None, _) => 0.0,
            (Some(_), None) => {
                return Err(
                    "hours are counted by `execution: {job_timeout: TIME}`, which this file lacks".to_owned()
                );
            }
            (Some(limit), Some(wanted)) if self.hours + wanted > limit => {
                return Err(format!(
                    "this may take {wanted:.1} hours ({}, each up to its job_timeout), and {:.1} of {limit:.1} are left; \
                     fewer jobs, a shorter execution.job_timeout or a smaller execution.attempts_max take less",
                    cost.factors(),
                    limit - self.hours
                ));
            }
            (Some(_), Some(wanted)) => wanted,
        };
        self.jobs += cost.jobs;
        self.hours += taken;
        Ok(())
    }

    /// Counts what was started all the same, also where it is more than there was left: the coordinator started more than could be told before.
    pub(super) fn overdraw(&mut self, cost: Cost) {
        self.jobs = self.jobs.saturating_add(cost.jobs);
        self.hours += self.limits.hours.and(cost.hours()).unwrap_or(0.0);
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&mut self, cost: Cost) {
        self.jobs = self.jobs.saturating_sub(cost.jobs);
        if self.limits.hours.is_some() {
            self.hours = (self.hours - cost.hours().unwrap_or(0.0)).max(0.0);
        }
    }

    /// What is left, for the assistant.
    pub(super) fn left(&self) -> serde_json::Value {
        serde_json::json!({
            "jobs": self.limits.jobs.map(|limit| limit.saturating_sub(self.jobs)),
            "hours": self.limits.hours.map(|limit| limit - self.hours),
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::specification::SpecificationSource;

    use super::*;

    fn cost(jobs: u64, attempts: u32, minutes: Option<u64>) -> Cost {
        Cost { jobs, attempts, gpus: 1, timeout: minutes.map(|minutes| Duration::from_secs(60 * minutes)) }
    }

    #[test]
    fn attempts_that_end_at_a_rung_and_all_gpus_of_a_job_count() {
        let of = |more: &str| {
            let text = format!(
                "program: a.py\nmetric: {{name: x, goal: minimize}}\nparameters: {{epochs: {{value: 9}}, a: {{values: [1, 2]}}}}\n{more}\n"
            );
            let source = SpecificationSource { text, ..SpecificationSource::default() };
            Cost::new(2, &Specification::parse(&source).unwrap())
        };
        let limits = |more: &str| format!("execution: {{job_timeout: 1h, attempts_max: 3{more}}}");
        let (known, unknown) = (limits(", epochs_parameter: epochs"), limits(""));
        let hours = |text: &str| of(text).hours().unwrap();
        assert!((hours(&unknown) - 6.0).abs() < 1e-9);
        assert!((hours(&format!("{unknown}\nresources: {{gpus: 4}}")) - 24.0).abs() < 1e-9);
        // Rungs after 1 and 3 epochs; a rule that stops jobs, as it does those of programs by itself, pauses none.
        let early = |promote| format!("early_terminate: {{type: asha, promote: {promote}}}");
        assert!((hours(&format!("{known}\n{}", early(true))) - 10.0).abs() < 1e-9);
        assert!((hours(&format!("{known}\n{}", early(false))) - 6.0).abs() < 1e-9);
        assert!(
            hours(&format!("{unknown}\n{}", early(true))) > 10.0,
            "all rungs, as none is known to be the last"
        );
        let wide = of(&format!("{unknown}\nresources: {{gpus: 4}}"));
        let refused = Budget::new(Limits { jobs: None, hours: Some(1.0) }).take(wide).unwrap_err();
        assert!(refused.contains("24.0 hours (2 jobs, 3 attempts on 4 GPUs, each up to"), "{refused}");
    }

    #[test]
    fn what_is_beyond_the_budget_is_refused_with_the_sums() {
        let mut budget = Budget::new(Limits { jobs: Some(10), hours: Some(6.0) });
        budget.take(cost(4, 1, Some(60))).unwrap();
        for (cost, says) in [
            (cost(7, 1, Some(1)), "this takes 7 jobs, and of a budget of 10 there are 6 left"),
            (
                cost(2, 3, Some(30)),
                "this may take 3.0 hours (2 jobs, 3 attempts, each up to its job_timeout), and 2.0 of 6.0 are left",
            ),
            (cost(1, 1, None), "which this file lacks"),
        ] {
            let refused = budget.take(cost).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
        // What was refused took nothing, and what was not used comes back.
        budget.take(cost(2, 1, Some(60))).unwrap();
        budget.take(cost(1, 1, Some(1))).unwrap_err();
        budget.give_back(cost(2, 1, Some(60)));
        budget.take(cost(4, 1, Some(30))).unwrap();
        assert_eq!(budget.left(), serde_json::json!({"jobs": 2, "hours": 0.0}));
    }

    #[test]
    fn without_a_budget_nothing_starts_and_a_bound_alone_bounds_alone() {
        let refused = Budget::new(Limits::default()).take(cost(1, 1, Some(1))).unwrap_err();
        assert!(refused.contains("--budget-jobs"), "{refused}");
        Budget::new(Limits { jobs: Some(1), hours: None }).take(cost(1, 1, None)).unwrap();
        Budget::new(Limits { jobs: None, hours: Some(1.0) }).take(cost(60, 1, Some(1))).unwrap();
    }
}
