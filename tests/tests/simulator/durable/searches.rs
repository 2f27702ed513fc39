//! What is durable of searches that learn, and the rules that it has to follow.

use super::*;

impl Durable {
    pub(super) fn proposals_of(&self, sweep: SweepId) -> Vec<(u64, Proposed)> {
        let of_sweep = self.proposals.range(JobKey { sweep, job: 0 }..=JobKey { sweep, job: u64::MAX });
        of_sweep.map(|(key, proposed)| (key.job, proposed.clone())).collect()
    }

    /// Whether the searcher of a sweep knows last of each job that is paused, was stopped early or has ended by itself what became of it.
    fn check_told(&self, sweep: SweepId, learned: &[Learned]) -> Result<(), String> {
        for (key, job) in self.jobs_of(sweep).filter(|(_, job)| job.attempts > 0) {
            let last = job.last.as_ref();
            let (epoch, value) = last
                .map_or((0, None), |last| (last.number, Some(expected(key.job, last.number).val_accuracy)));
            let due = match (job.state, value) {
                (JobState::Done, Some(value)) => LearnedResult::Finished(value),
                (JobState::Diverged, _) => LearnedResult::Diverged,
                (JobState::Paused | JobState::Stopped, value) => LearnedResult::Stopped { epoch, value },
                _ => continue,
            };
            let told =
                learned.iter().rev().find(|learned| learned.job == key.job).map(|learned| learned.result);
            rule(told == Some(due), || format!("job {key} is {due:?}, and its searcher knows {told:?}"))?;
        }
        Ok(())
    }

    /// Whether each point follows from what its searcher had seen, and each job that began has one.
    pub(in super::super) fn check_search(&self) -> Result<(), String> {
        for (id, sweep) in &self.sweeps {
            let stored = self.stored(*id, sweep);
            let definition = defined(*id, &stored.specification)?;
            let Some(points) = definition.learned() else { continue };
            if points.are_from_outside() {
                self.check_outside(*id)?;
            } else {
                let found = recomputed(points, definition.metric.goal, &stored.search);
                if let Some(difference) = found.map_err(|error| error.to_string())?.first() {
                    return Err(difference.to_string());
                }
            }
            let mut begun = self.jobs_of(*id).filter(|(_, job)| job.attempts > 0);
            let has_point = |job: u64| self.proposals.contains_key(&JobKey { sweep: *id, job });
            if let Some((key, _)) = begun.find(|(key, _)| !has_point(points.point_of(key.job))) {
                return Err(format!("job {key} ran without a point"));
            }
            self.check_told(*id, &stored.search.learned)?;
        }
        Ok(())
    }

    /// The searcher of a sweep, told again what it was told.
    pub(in super::super) fn revived(&self, id: SweepId) -> Result<Revived, String> {
        let Some(sweep) = self.sweeps.get(&id) else { return Ok(Revived::default()) };
        let stored = self.stored(id, sweep);
        let definition = SweepDefinition::from_stored(id, &stored.specification, None);
        let definition = definition.map_err(|error| error.to_string())?;
        Revived::new(&definition, &stored.search).map_err(|error| error.to_string())
    }

    pub(super) fn take_point(&mut self, job: JobKey, proposed: &Proposed) -> Result<(), String> {
        let told = self.learned.get(&job.sweep).map_or(0, Vec::len) as u64;
        let is_so = match proposed.why {
            // It may not have heard of all yet.
            Why::Outside => proposed.seen <= told,
            _ => proposed.seen == told,
        };
        rule(is_so, || format!("the point of {job} rests on {} results of {told}", proposed.seen))?;
        let twice = self.proposals.insert(job, proposed.clone()).is_some();
        rule(!twice, || format!("{job} has two points"))
    }

    /// Whether the points are those that the searcher outside proposes for their numbers, and each job that trained to its end was told.
    fn check_outside(&self, sweep: SweepId) -> Result<(), String> {
        let proposals = self.proposals_of(sweep);
        if let Some((number, _)) = proposals.iter().find(|(number, proposed)| !is_proposal(*number, proposed))
        {
            return Err(format!("point {number} is not what the searcher outside proposed"));
        }
        let told = |job: u64| {
            self.learned.get(&sweep).is_some_and(|all| all.iter().any(|learned| learned.job == job))
        };
        let mut done = self.jobs_of(sweep).filter(|(_, job)| job.state == JobState::Done);
        match done.find(|(key, _)| !told(key.job)) {
            Some((key, _)) => Err(format!("the searcher outside is never told of job {key}")),
            None => Ok(()),
        }
    }

    /// Whether what a searcher outside hears is durable.
    pub(in super::super) fn check_searcher(
        &self,
        sweep: SweepId,
        result: &SearchResult,
    ) -> Result<(), String> {
        let learned = self.learned.get(&sweep).and_then(|all| all.get(result.number as usize - 1));
        let proposed = self.proposals.get(&JobKey { sweep, job: result.point });
        let is_same = learned
            .is_some_and(|learned| (learned.job, learned.result) == (result.job, result.result))
            && proposed.is_some_and(|proposed| proposed.parameters == result.parameters);
        rule(is_same, || format!("the searcher outside is told {result:?}, which is not durable"))
    }
}
