//! Early stopping by its definition: what the rule of a sweep implies, found in what became durable alone, in the order of the commits.
//! It shares no code with the rules that the engine runs, and is slow where they are quick: at each step it looks at all jobs.

use std::{cmp::Reverse, collections::BTreeMap};

use domain::{
    definition::SweepDefinition,
    record::{Record, Rung},
    specification::{EarlyTermination, HyperbandRungs, StoppingRule},
};
use terms::{AttemptState, Goal, JobKey, JobState, MetricUse, SweepState};

use super::{
    durable::{expected, rule},
    world::EPOCHS,
};

/// What Python's `binascii.crc32(b"sweep_%d" % (job - 1))` gives for the jobs from 1 on: more than a sweep with brackets has.
const CHECKSUMS: [u32; 16] = [
    0x44ea_ceda,
    0x33ed_fe4c,
    0xaae4_aff6,
    0xdde3_9f60,
    0x4387_0ac3,
    0x3480_3a55,
    0xad89_6bef,
    0xda8e_5b79,
    0x4a31_46e8,
    0x3d36_767e,
    0x8b82_3f64,
    0xfc85_0ff2,
    0x658c_5e48,
    0x128b_6ede,
    0x8cef_fb7d,
    0xfbe8_cbeb,
];

/// The rule of a sweep, and what it compares.
#[derive(Debug)]
pub(super) struct Reference {
    definition: SweepDefinition,
    early: EarlyTermination,
    job_count: u64,
    /// Those that have begun, or were cancelled before.
    jobs: BTreeMap<u64, Job>,
    /// Whether a job has paused without a checkpoint.
    has_missed_checkpoint: bool,
    /// What has to become durable next.
    due: Option<Due>,
}

#[derive(Debug, Default)]
struct Job {
    state: Option<JobState>,
    /// How far it was granted or promoted, until it is tried again.
    until: Option<u32>,
    /// Of the objective, after each epoch of its latest attempt.
    values: Vec<f64>,
    /// What was recorded of it, by epoch.
    rungs: BTreeMap<u32, Rung>,
}

/// What follows from a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Due {
    /// The job is compared.
    Compared(JobKey, Rung),
    /// Its attempt ends in this way.
    Ends(JobKey, AttemptState),
    /// It is stopped.
    Stopped(JobKey),
}

impl Reference {
    /// That of a sweep with early stopping.
    pub(super) fn of(definition: SweepDefinition, job_count: u64) -> Option<Self> {
        let early = definition.specification.early_terminate?;
        Some(Self {
            definition,
            early,
            job_count,
            jobs: BTreeMap::new(),
            has_missed_checkpoint: false,
            due: None,
        })
    }

    /// The sweep has other jobs.
    pub(super) fn extended(&mut self, definition: SweepDefinition, job_count: u64) {
        (self.definition, self.job_count) = (definition, job_count);
    }

    /// Takes in a record; an error where the rule implies another one.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), String> {
        if let Some(due) = self.due.filter(|_| decides(record)) {
            return self.keep_due(due, record);
        }
        match record {
            Record::AttemptGranted { attempt, budget, .. } => self.granted(attempt.job, *budget),
            Record::EpochRecorded { attempt, epoch, .. } => self.trained(attempt.job, epoch.number),
            Record::RungReached { job, rung } => self.compared_as_the_worst(*job, *rung),
            Record::AttemptEnded { attempt, state: AttemptState::Diverged, .. } => {
                let missing = self.rung_without_value(attempt.job.job);
                rule(missing.is_none(), || format!("{attempt} diverged and is not compared: {missing:?}"))
            }
            Record::JobPromoted { job, budget, .. } => self.promoted(*job, *budget),
            Record::CheckpointMissed { .. } => {
                self.has_missed_checkpoint = true;
                Ok(())
            }
            Record::JobChanged { job, state, .. } => self.changed(*job, *state),
            Record::SweepChanged { sweep, state: SweepState::Finished, .. } => {
                let left = self.goes_on_next();
                rule(left.is_none(), || format!("sweep {sweep} has finished, and job {left:?} may go on"))
            }
            _ => Ok(()),
        }
    }

    fn keep_due(&mut self, due: Due, record: &Record) -> Result<(), String> {
        let is_it = match (due, record) {
            (Due::Compared(key, implied), Record::RungReached { job, rung }) => {
                key == *job && implied == *rung
            }
            (Due::Ends(key, implied), Record::AttemptEnded { attempt, state, .. }) => {
                key == attempt.job && implied == *state
            }
            (Due::Stopped(key), Record::JobChanged { job, state, .. }) => {
                key == *job && *state == JobState::Stopped
            }
            _ => false,
        };
        rule(is_it, || format!("the rule implies {due:?}, not {record:?}"))?;
        self.due = match due {
            Due::Compared(key, rung) => {
                self.job(key).rungs.insert(rung.epoch, rung);
                let stops = !rung.goes_on && !self.is_to_pause(key.job);
                stops.then_some(Due::Ends(key, AttemptState::Revoked))
            }
            Due::Ends(key, AttemptState::Revoked) => Some(Due::Stopped(key)),
            Due::Ends(..) => None,
            Due::Stopped(key) => {
                self.job(key).state = Some(JobState::Stopped);
                None
            }
        };
        Ok(())
    }

    fn granted(&mut self, key: JobKey, budget: Option<u32>) -> Result<(), String> {
        let total = self.total(key.job);
        // What was granted or promoted before stands, also where jobs do not pause any more.
        let before = self.jobs.get(&key.job).and_then(|job| job.until);
        let implied = before.or_else(|| self.pauses_at(key.job)).unwrap_or(total);
        rule(budget.unwrap_or(total).min(total) == implied, || {
            format!("job {key} was granted up to epoch {budget:?}, where the rule implies {implied}")
        })?;
        let job = self.job(key);
        (job.state, job.until) = (Some(JobState::Running), Some(implied));
        job.values.clear();
        Ok(())
    }

    fn trained(&mut self, key: JobKey, epoch: u32) -> Result<(), String> {
        let until = self.jobs.get(&key.job).and_then(|job| job.until);
        rule(until.is_some_and(|until| epoch <= until), || {
            format!("job {key} has epoch {epoch}, where it was granted up to {until:?}")
        })?;
        self.job(key).values.push(expected(key.job, epoch).val_accuracy);
        self.due = self.compared(key.job, epoch).map(|rung| Due::Compared(key, rung));
        Ok(())
    }

    /// A job that has diverged is compared at the rung that it would have reached next.
    fn compared_as_the_worst(&mut self, key: JobKey, rung: Rung) -> Result<(), String> {
        let implied = self.rung_without_value(key.job);
        rule(implied == Some(rung), || {
            format!("job {key} is compared at {rung:?}, where the rule implies {implied:?}")
        })?;
        self.job(key).rungs.insert(rung.epoch, rung);
        self.due = Some(Due::Ends(key, AttemptState::Diverged));
        Ok(())
    }

    fn promoted(&mut self, key: JobKey, budget: u32) -> Result<(), String> {
        let best = self.goes_on_next();
        rule(best == Some(key.job), || {
            format!("job {key} was promoted, where the records imply job {best:?}")
        })?;
        let job = self.job(key);
        if let Some(mut last) = job.rungs.last_entry() {
            last.get_mut().goes_on = true;
        }
        let total = self.total(key.job);
        let implied = self.pauses_at(key.job).unwrap_or(total);
        let job = self.job(key);
        (job.state, job.until) = (Some(JobState::Pending), Some(implied));
        rule(budget.min(total) == implied, || {
            format!("job {key} was promoted up to epoch {budget}, where the rule implies {implied}")
        })
    }

    fn changed(&mut self, key: JobKey, state: JobState) -> Result<(), String> {
        rule(state != JobState::Stopped, || format!("job {key} is stopped, where the rule has it go on"))?;
        let pauses = self.is_to_pause(key.job);
        let job = self.job(key);
        let epochs = job.values.len() as u32;
        rule(state != JobState::Paused || pauses && job.until == Some(epochs), || {
            format!("job {key} is paused after epoch {epochs}, and was granted up to {:?}", job.until)
        })?;
        let is_tried_again =
            matches!(job.state, Some(JobState::Failed | JobState::Cancelled)) && state == JobState::Pending;
        job.until = job.until.filter(|_| !is_tried_again);
        job.state = Some(state);
        Ok(())
    }

    /// What has to be recorded of a job after an epoch.
    fn compared(&self, number: u64, epoch: u32) -> Option<Rung> {
        let job = self.jobs.get(&number)?;
        let best = job.values.iter().copied().min_by(|one, other| self.by_merit(*one, *other))?;
        let value = match self.definition.metric.used {
            MetricUse::Best => best,
            MetricUse::Last => *job.values.last()?,
        };
        let is_last = epoch == self.total(number);
        let goes_on = match self.early.rule {
            StoppingRule::Median { min_iter, interval, min_jobs } => {
                let is_compared = epoch >= min_iter && (epoch - min_iter).is_multiple_of(interval);
                is_compared.then(|| is_last || !self.is_below_the_median(best, epoch, min_jobs))
            }
            _ => {
                let is_new = !is_last && self.is_rung(number, epoch) && !job.rungs.contains_key(&epoch);
                is_new
                    .then(|| !self.is_to_pause(number) && self.is_among_the_best_so_far(number, epoch, value))
            }
        };
        goes_on.map(|goes_on| Rung { epoch, value: Some(value), goes_on })
    }

    /// What has to be recorded of a job that ends without a value, where jobs pause.
    fn rung_without_value(&self, number: u64) -> Option<Rung> {
        let epoch = self.pauses_at(number)?;
        let is_known = self.jobs.get(&number).is_some_and(|job| job.rungs.contains_key(&epoch));
        (!is_known).then_some(Rung { epoch, value: None, goes_on: false })
    }

    /// Whether a value is worse than the median of the values that the jobs which are done had after the same epoch.
    fn is_below_the_median(&self, best: f64, epoch: u32, min_jobs: u64) -> bool {
        let is_done = |job: &&Job| job.state == Some(JobState::Done);
        let done = self.jobs.values().filter(is_done).count() as u64;
        let values = self.jobs.values().filter(is_done).filter_map(|job| job.rungs.get(&epoch)?.value);
        let mut values: Vec<f64> = values.collect();
        if done < min_jobs || values.is_empty() {
            return false;
        }
        values.sort_by(f64::total_cmp);
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        self.by_merit(best, median).is_gt()
    }

    /// Where jobs do not pause: whether a job's value is not worse than that of the last of the best share of those that have come to the
    /// rung so far, itself included. Those without a value came while jobs paused, and are the worst.
    fn is_among_the_best_so_far(&self, number: u64, epoch: u32, value: f64) -> bool {
        let there = self.at(self.bracket(number), epoch);
        let share = self.share(there.len() + 1);
        let better =
            there.iter().filter(|(_, other)| other.is_some_and(|other| self.by_merit(other, value).is_lt()));
        better.count() < share
    }

    /// The paused job that goes on next: of the highest rung with one, the best of those that are among the best share of all jobs
    /// there; and if none is, the last one that could give the sweep a result. Ties go to the first bracket and the smaller number.
    fn goes_on_next(&self) -> Option<u64> {
        let rungs = self.jobs.values().flat_map(|job| job.rungs.keys().copied());
        let mut rungs: Vec<u32> = rungs.collect();
        rungs.sort_unstable_by_key(|epoch| Reverse(*epoch));
        rungs.dedup();
        let mut each =
            rungs.into_iter().flat_map(|epoch| (0..self.brackets()).map(move |bracket| (bracket, epoch)));
        let best = each.find_map(|(bracket, epoch)| self.best_waiting(bracket, epoch));
        best.filter(|_| !self.waits_for_others()).or_else(|| self.last_resort())
    }

    /// The best job that waits at a rung and is among the best share there.
    fn best_waiting(&self, bracket: u32, epoch: u32) -> Option<u64> {
        let mut there = self.at(bracket, epoch);
        there.sort_by(|(one_job, one), (job, value)| {
            let by_value = match (one, value) {
                (Some(one), Some(value)) => self.by_merit(*one, *value),
                (one, value) => one.is_none().cmp(&value.is_none()),
            };
            by_value.then(one_job.cmp(job))
        });
        let waits = |(number, _): &&(u64, Option<f64>)| {
            self.jobs[number].waits_at().is_some_and(|(last, _)| last == epoch)
        };
        there.iter().take(self.share(there.len())).find(waits).map(|(number, _)| *number)
    }

    /// Whether the rule promotes none before all have come, and some have not.
    fn waits_for_others(&self) -> bool {
        let may_come = |number: u64| {
            self.jobs.get(&number).is_none_or(|job| job.may_be_granted_or_runs() && job.rungs.is_empty())
        };
        matches!(self.early.rule, StoppingRule::TopK { .. }) && (1..=self.job_count).any(may_come)
    }

    /// The best paused job of the highest rung, where every job has begun, none is done, and none can become so unless it goes on.
    fn last_resort(&self) -> Option<u64> {
        let may_be_done = |job: &Job| job.may_be_granted_or_runs() || job.state == Some(JobState::Done);
        if (self.jobs.len() as u64) < self.job_count || self.jobs.values().any(may_be_done) {
            return None;
        }
        let waiting = self.jobs.iter().filter_map(|(number, job)| Some((*number, job.waits_at()?)));
        let first = waiting.min_by(|(one_job, (one_rung, one)), (job, (rung, value))| {
            let by_rung = Reverse(one_rung).cmp(&Reverse(rung));
            by_rung.then(self.by_merit(*one, *value)).then(one_job.cmp(job))
        });
        first.map(|(number, _)| number)
    }

    /// The jobs of a bracket that have come to a rung, with their values there.
    fn at(&self, bracket: u32, epoch: u32) -> Vec<(u64, Option<f64>)> {
        let of_bracket = self.jobs.iter().filter(|(number, _)| self.bracket(**number) == bracket);
        of_bracket.filter_map(|(number, job)| Some((*number, job.rungs.get(&epoch)?.value))).collect()
    }

    /// How many of the jobs at a rung go on.
    fn share(&self, jobs: usize) -> usize {
        match self.early.rule {
            StoppingRule::Asha { eta, .. } if self.early.promote && !self.stops_instead() => {
                jobs / eta as usize
            }
            StoppingRule::Asha { eta, .. } => (jobs / eta as usize).max(1),
            StoppingRule::Hyperband { eta, strict: true, .. } if self.stops_instead() => {
                (jobs / eta as usize).max(1)
            }
            StoppingRule::Hyperband { eta, strict, .. } => jobs / eta as usize + usize::from(!strict),
            StoppingRule::TopK { k, .. } => k as usize,
            StoppingRule::Median { .. } => 0,
        }
    }

    /// After how many epochs a job pauses that has no grant yet; none where it trains to its end. Where jobs do not pause any more, one
    /// that has come to a rung and did not go on from there comes back to it.
    fn pauses_at(&self, number: u64) -> Option<u32> {
        let rung = |epoch: u32| self.jobs.get(&number).and_then(|job| job.rungs.get(&epoch));
        let is_it = |epoch: &u32| match rung(*epoch) {
            Some(rung) => !rung.goes_on,
            None => self.is_rung(number, *epoch) && !self.stops_instead(),
        };
        (1..self.total(number)).find(|epoch| self.early.promote && is_it(epoch))
    }

    /// Whether the attempt of a job was granted up to a rung and no further.
    fn is_to_pause(&self, number: u64) -> bool {
        let until = self.jobs.get(&number).and_then(|job| job.until);
        until.is_some_and(|until| until < self.total(number))
    }

    /// Whether jobs that were to pause are stopped instead, as one left no checkpoint. The best few cannot be known before all have come,
    /// so there jobs pause all the same.
    fn stops_instead(&self) -> bool {
        self.early.promote
            && self.has_missed_checkpoint
            && !matches!(self.early.rule, StoppingRule::TopK { .. })
    }

    fn is_rung(&self, number: u64, epoch: u32) -> bool {
        let upwards =
            |first: u32, eta: u32, from: u32| (from..u32::BITS).any(|k| times(first, eta, k) == Some(epoch));
        match self.early.rule {
            StoppingRule::Asha { min_iter, eta, s } => upwards(min_iter, eta, s),
            StoppingRule::Hyperband { rungs: HyperbandRungs::From { min_iter }, eta, .. } => {
                upwards(min_iter, eta, 0)
            }
            StoppingRule::Hyperband { rungs: HyperbandRungs::Below { max_iter, s }, eta, .. } => {
                (1..=s).any(|k| times(1, eta, k).is_some_and(|divisor| max_iter / divisor == epoch))
            }
            StoppingRule::Hyperband { rungs: HyperbandRungs::Brackets { min_iter, .. }, eta, .. } => {
                upwards(min_iter, eta, self.bracket(number))
            }
            StoppingRule::TopK { min_iter, .. } => epoch == min_iter,
            StoppingRule::Median { .. } => false,
        }
    }

    /// How many brackets there are: one for each rung of the first.
    fn brackets(&self) -> u32 {
        match self.early.rule {
            StoppingRule::Hyperband {
                rungs: HyperbandRungs::Brackets { min_iter, max_iter }, eta, ..
            } => {
                let is_within = |k: &u32| times(min_iter, eta, *k).is_some_and(|epoch| epoch <= max_iter);
                (0..u32::BITS).filter(is_within).count() as u32
            }
            _ => 1,
        }
    }

    /// The bracket of a job: with `s` more rungs below `max_iter` than the last one, it gets (brackets · eta^s / (s + 1)) parts of all,
    /// rounded up.
    fn bracket(&self, number: u64) -> u32 {
        let StoppingRule::Hyperband { eta, .. } = self.early.rule else { return 0 };
        let brackets = self.brackets();
        let parts = (0..brackets).flat_map(|bracket| {
            let s = brackets - 1 - bracket;
            let parts = (brackets * eta.pow(s)).div_ceil(s + 1);
            (0..parts).map(move |_| bracket)
        });
        let parts: Vec<u32> = parts.collect();
        parts[CHECKSUMS[number as usize - 1] as usize % parts.len()]
    }

    fn total(&self, number: u64) -> u32 {
        self.definition.budget(number).unwrap_or(EPOCHS)
    }

    /// The better value first.
    fn by_merit(&self, one: f64, other: f64) -> std::cmp::Ordering {
        match self.definition.metric.goal {
            Goal::Minimize => one.total_cmp(&other),
            Goal::Maximize => other.total_cmp(&one),
        }
    }

    fn job(&mut self, key: JobKey) -> &mut Job {
        self.jobs.entry(key.job).or_default()
    }
}

impl Job {
    fn may_be_granted_or_runs(&self) -> bool {
        matches!(self.state, None | Some(JobState::Pending | JobState::Running))
    }

    /// The rung at which it waits, and its value there; none where it does not wait, or can never go on.
    fn waits_at(&self) -> Option<(u32, f64)> {
        let (epoch, rung) = self.rungs.last_key_value()?;
        let waits = self.state == Some(JobState::Paused) && !rung.goes_on;
        rung.value.filter(|_| waits).map(|value| (*epoch, value))
    }
}

/// Whether a record is one that follows from decisions, or leads to them.
fn decides(record: &Record) -> bool {
    matches!(
        record,
        Record::AttemptGranted { .. }
            | Record::EpochRecorded { .. }
            | Record::RungReached { .. }
            | Record::AttemptEnded { .. }
            | Record::JobPromoted { .. }
            | Record::CheckpointMissed { .. }
            | Record::JobChanged { .. }
            | Record::SweepChanged { .. }
    )
}

/// `first` · `eta`^`k`.
fn times(first: u32, eta: u32, k: u32) -> Option<u32> {
    eta.checked_pow(k)?.checked_mul(first)
}
