//! Which paused job goes on next, by the definition of the rule, found in the tables alone.

use std::cmp::Reverse;

use super::*;

impl Durable {
    /// The paused job that goes on next: of the highest rung with one, the best of those that are among the best share of all jobs
    /// there; and if none is, the last one that could give the sweep a result. Ties go to the smaller number.
    pub(super) fn goes_on_next(&self, sweep: SweepId) -> Option<JobKey> {
        self.among_the_best(sweep).or_else(|| self.last_resort(sweep))
    }

    fn among_the_best(&self, sweep: SweepId) -> Option<JobKey> {
        let eta = self.eta(sweep)?;
        let mut rungs: BTreeMap<u32, Vec<(f64, JobKey)>> = BTreeMap::new();
        for (key, job) in self.jobs_of(sweep) {
            for rung in job.rungs.values() {
                let cost = rung.value.map_or(f64::INFINITY, |value| -value);
                rungs.entry(rung.epoch).or_default().push((cost, *key));
            }
        }
        rungs.into_iter().rev().find_map(|(epoch, mut there)| {
            there.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            let waits = |(_, key): &(f64, JobKey)| {
                let (last, _) = waits_at(&self.jobs[key])?;
                (last == epoch).then_some(*key)
            };
            there.iter().take(there.len() / eta).find_map(waits)
        })
    }

    /// The best paused job of the highest rung, where every job has begun, none is done, and none can become so unless it goes on.
    fn last_resort(&self, sweep: SweepId) -> Option<JobKey> {
        self.eta(sweep)?;
        let may_be_done =
            |job: &Job| matches!(job.state, JobState::Pending | JobState::Running | JobState::Done);
        let all_have_begun = self.jobs_of(sweep).count() as u64 == self.sweeps.get(&sweep)?.job_count;
        if !all_have_begun || self.jobs_of(sweep).any(|(_, job)| may_be_done(job)) {
            return None;
        }
        let waiting = self.jobs_of(sweep).filter_map(|(key, job)| Some((*key, waits_at(job)?)));
        let first = waiting.min_by(|(one_key, (one_rung, one)), (key, (rung, value))| {
            let by_rung = Reverse(one_rung).cmp(&Reverse(rung));
            by_rung.then(value.total_cmp(one)).then(one_key.cmp(key))
        });
        first.map(|(key, _)| key)
    }

    /// One of how many jobs at a rung goes on; none where the sweep has no such rule.
    fn eta(&self, sweep: SweepId) -> Option<usize> {
        let (_, eta) = self.sweeps.get(&sweep)?.specification.split_once("eta: ")?;
        let digits: String = eta.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

/// The rung at which a job waits, and its value there; none where it does not wait, or can never go on.
fn waits_at(job: &Job) -> Option<(u32, f64)> {
    let (epoch, rung) = job.rungs.last_key_value()?;
    let waits = job.state == JobState::Paused && !rung.goes_on;
    rung.value.filter(|_| waits).map(|value| (*epoch, value))
}
