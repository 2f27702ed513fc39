//! What becomes of jobs whose memory runs out: where a worker that gets their sweep's jobs has more, they are charged nothing and go
//! there; where none has, they have failed. Found in what the engine hears and says, since it was made: it keeps nothing of it.

use std::collections::BTreeMap;

use domain::record::Record;
use engine::{AttemptEvent, Engine, Event};
use terms::{AttemptKey, AttemptState, JobKey, JobState, Outcome, SweepId, WorkerName};

use super::super::durable::{Durable, rule};

/// Workers' memory, and the jobs for which some was too little.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// In bytes, as each worker said last; 0 where it did not.
    bytes: BTreeMap<WorkerName, u64>,
    /// The most with which each job ran out, in bytes.
    beyond: BTreeMap<JobKey, u64>,
    /// Where each attempt is, and of how many in one pack.
    places: BTreeMap<AttemptKey, (WorkerName, u32)>,
}

/// An attempt that trained alone and says that its memory ran out.
pub(super) struct RanOut {
    attempt: AttemptKey,
    /// What its worker has, and the most of the others that get jobs of its sweep, in bytes.
    had: u64,
    most: u64,
}

impl Memory {
    pub(super) fn restored(durable: &Durable) -> Self {
        let places = durable.running_attempts().map(|(key, worker, pack)| (key, (worker.clone(), pack)));
        Self { places: places.collect(), ..Self::default() }
    }

    pub(super) fn said(&mut self, worker: &WorkerName, bytes: u64) {
        self.bytes.insert(worker.clone(), bytes);
    }

    fn of(&self, worker: &WorkerName) -> u64 {
        self.bytes.get(worker).copied().unwrap_or(0)
    }

    fn most_beside(&self, engine: &Engine, sweep: SweepId, worker: &WorkerName) -> u64 {
        let others =
            self.bytes.iter().filter(|(name, _)| *name != worker && engine.gives_jobs_to(name, sweep));
        others.map(|(_, bytes)| *bytes).max().unwrap_or(0)
    }

    /// An attempt that runs out of memory with this event, of a worker of that name; before the engine hears it.
    pub(super) fn runs_out(
        &self,
        engine: &Engine,
        event: &Event,
        name: Option<&WorkerName>,
    ) -> Option<RanOut> {
        let Event::Attempt { attempt, event: AttemptEvent::Ended { outcome, .. }, .. } = event else {
            return None;
        };
        let (worker, pack_size) = self.places.get(attempt)?;
        let is_alone = *outcome == Outcome::OutOfMemory && *pack_size == 1 && name == Some(worker);
        let most = self.most_beside(engine, attempt.job.sweep, worker);
        is_alone.then(|| RanOut { attempt: *attempt, had: self.of(worker), most })
    }

    /// What the engine made of it.
    pub(super) fn ran_out(&mut self, ran_out: &RanOut, records: &[Record]) -> Result<(), String> {
        let RanOut { attempt, had, most } = *ran_out;
        let end = records.iter().find_map(|record| match record {
            Record::AttemptEnded { attempt: ended, state, .. } if *ended == attempt => Some(*state),
            _ => None,
        });
        // A late one means nothing.
        let Some(state) = end else { return Ok(()) };
        let beyond = self.beyond.entry(attempt.job).or_default();
        *beyond = had.max(*beyond);
        let goes_on = had > 0 && most > *beyond;
        let implied = if goes_on { AttemptState::HandedBack } else { AttemptState::Failed };
        rule(state == implied, || {
            format!(
                "{attempt} ran out of {had} bytes, others have up to {most}, and it is {state:?}, not {implied:?}"
            )
        })
    }

    /// Takes in what the engine decided.
    pub(super) fn decided(&mut self, engine: &Engine, records: &[Record]) -> Result<(), String> {
        for record in records {
            match record {
                Record::AttemptGranted { attempt, worker, pack_size, .. } => {
                    self.places.insert(*attempt, (worker.clone(), *pack_size));
                    self.granted(engine, *attempt, worker, *pack_size)?;
                }
                // One that has paused has trained there.
                Record::JobChanged { job, state, .. } if state.is_final() || *state == JobState::Paused => {
                    self.beyond.remove(job);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn granted(
        &self,
        engine: &Engine,
        attempt: AttemptKey,
        worker: &WorkerName,
        pack_size: u32,
    ) -> Result<(), String> {
        let Some(beyond) = self.beyond.get(&attempt.job).copied().filter(|beyond| *beyond > 0) else {
            return Ok(());
        };
        let (own, most) = (self.of(worker), self.most_beside(engine, attempt.job.sweep, worker));
        let has_more = own > beyond;
        let none_has_more = most <= beyond && own >= most;
        rule((has_more || none_has_more) && pack_size == 1, || {
            format!(
                "{attempt}, whose job ran out of {beyond} bytes, is one of {pack_size} at {worker}, which has {own}; others have \
                 up to {most}"
            )
        })
    }
}
