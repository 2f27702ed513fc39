//! What is counted as it passes the driver: commits, and what is in them once they are durable. A commit costs a look at each of its
//! records; nothing is allocated and no lock is taken.

use std::time::Duration;

use domain::record::Record;
use engine::RefusedEvents;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use store::StoreError;
use terms::AttemptState;

use super::{ByName, counters};

/// Upper ends of the buckets of a commit's time, in seconds: from a fast disk to one that hangs.
const COMMIT_SECONDS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The counters. Clones count together.
#[derive(Debug, Clone)]
pub struct Counted {
    granted: Counter,
    ended: Vec<(AttemptState, Counter)>,
    epochs: Counter,
    records: Counter,
    fenced: Counter,
    repeated: Counter,
    invalid: Counter,
    commit_seconds: Histogram,
    full: Counter,
    unfit: Counter,
    failed: Counter,
    store_is_full: Gauge,
}

impl Default for Counted {
    /// Counters that no one reads.
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl Counted {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let ended = ByName::<Counter>::default();
        let refused = ByName::<Counter>::default();
        let failures = ByName::<Counter>::default();
        let ends = AttemptState::all().iter().copied().filter(|state| *state != AttemptState::Running);
        let end = |state: AttemptState| (state, ended.get_or_create_owned(&[("state", state.as_str())]));
        let [fenced, repeated, invalid] = counters(&refused, "reason", ["fenced", "repeated", "invalid"]);
        let [full, unfit, failed] = counters(&failures, "reason", ["full", "unfit", "other"]);
        let counted = Self {
            granted: Counter::default(),
            ended: ends.map(end).collect(),
            epochs: Counter::default(),
            records: Counter::default(),
            fenced,
            repeated,
            invalid,
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            full,
            unfit,
            failed,
            store_is_full: Gauge::default(),
        };
        counted.clone().name(registry, ended, refused, failures);
        counted
    }

    fn name(
        self,
        registry: &mut Registry,
        ended: ByName<Counter>,
        refused: ByName<Counter>,
        failures: ByName<Counter>,
    ) {
        registry.register(
            "sweep_attempts_granted",
            "Attempts that workers got the right to run",
            self.granted,
        );
        registry.register(
            "sweep_attempts_ended",
            "Attempts that have ended, by how; lost are those whose lease ran out or whose worker lost them",
            ended,
        );
        registry.register("sweep_epochs", "Epochs that were recorded", self.epochs);
        registry.register("sweep_records", "Records that were made durable", self.records);
        registry.register(
            "sweep_events_refused",
            "Events of workers that were acknowledged and not recorded: of attempts that no longer count, sent again, or invalid",
            refused,
        );
        registry.register(
            "sweep_commit_duration_seconds",
            "How long commits to the store took that were kept",
            self.commit_seconds,
        );
        registry.register("sweep_commit_failures", "Commits that the store did not keep, by why", failures);
        registry.register(
            "sweep_store_full",
            "1 while the disk of the store is full and nothing is written",
            self.store_is_full,
        );
    }

    /// A commit has ended.
    pub(crate) fn commit_ended(
        &self,
        records: &[Record],
        refused: RefusedEvents,
        kept: &Result<(), StoreError>,
        took: Duration,
    ) {
        match kept {
            Ok(()) => {
                self.commit_seconds.observe(took.as_secs_f64());
                self.room_found();
                self.kept(records, refused);
            }
            Err(StoreError::Full(_)) => {
                self.full.inc();
                self.store_is_full.set(1);
            }
            Err(StoreError::Unfit(_)) => drop(self.unfit.inc()),
            Err(_) => drop(self.failed.inc()),
        }
    }

    /// The store has room again.
    pub(crate) fn room_found(&self) {
        self.store_is_full.set(0);
    }

    fn kept(&self, records: &[Record], RefusedEvents { fenced, repeated, invalid }: RefusedEvents) {
        let (mut granted, mut epochs) = (0, 0);
        for record in records {
            match record {
                Record::AttemptGranted { .. } => granted += 1,
                Record::EpochRecorded { .. } => epochs += 1,
                Record::AttemptEnded { state, .. } => {
                    if let Some((_, ended)) = self.ended.iter().find(|(one, _)| one == state) {
                        ended.inc();
                    }
                }
                _ => {}
            }
        }
        self.records.inc_by(records.len() as u64);
        // Most commits have nothing of most of these.
        for (counter, count) in [
            (&self.granted, granted),
            (&self.epochs, epochs),
            (&self.fenced, fenced),
            (&self.repeated, repeated),
            (&self.invalid, invalid),
        ] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use terms::{AttemptKey, JobKey, SweepId};

    use super::*;

    fn ended(state: AttemptState) -> Record {
        let job = JobKey { sweep: SweepId(1), job: 1 };
        let attempt = AttemptKey { job, attempt: 1 };
        Record::AttemptEnded { attempt, state, reason: String::new(), log_tail: Vec::new(), at_unix_ms: 1 }
    }

    #[test]
    fn what_was_kept_is_counted_and_what_was_not_is_only_a_failure() {
        let mut registry = Registry::default();
        let counted = Counted::register(&mut registry);
        let records = [ended(AttemptState::Lost), ended(AttemptState::Done), ended(AttemptState::Lost)];
        let refused = RefusedEvents { fenced: 2, repeated: 0, invalid: 1 };
        let took = Duration::from_millis(3);
        counted.commit_ended(&records, refused, &Ok(()), took);
        counted.commit_ended(&records, refused, &Err(StoreError::Full("no room".into())), took);
        let text = telemetry::encode(&registry);
        for line in [
            "sweep_attempts_ended_total{state=\"lost\"} 2",
            "sweep_attempts_ended_total{state=\"done\"} 1",
            "sweep_attempts_ended_total{state=\"revoked\"} 0",
            "sweep_records_total 3",
            "sweep_events_refused_total{reason=\"fenced\"} 2",
            "sweep_events_refused_total{reason=\"invalid\"} 1",
            "sweep_commit_duration_seconds_count 1",
            "sweep_commit_duration_seconds_bucket{le=\"0.005\"} 1",
            "sweep_commit_failures_total{reason=\"full\"} 1",
            "sweep_store_full 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
        counted.room_found();
        assert!(telemetry::encode(&registry).contains("\nsweep_store_full 0\n"));
    }
}
