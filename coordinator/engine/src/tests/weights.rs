//! Whose weights are wanted, and whose are kept.

use std::sync::Arc;

use domain::record::{Record, WeightsFile, WeightsState};
use terms::{AttemptKey, JobKey, Outcome};

use super::cluster::{Cluster, dataset, ended, metrics};
use super::epoch::EpochMetrics;
use crate::{
    AttemptEvent, ControlError, Effect, Event, SessionId, ToWorker, WeightsAnswer, WeightsNames,
    command::{Extend, GiveUpWeights, KeepWeights},
    query::{Define, DescribeSweep, NameWeights, OfferWeights},
};

fn key(job: u64, attempt: u32) -> AttemptKey {
    AttemptKey::new(1, job, attempt)
}

/// The weights of a job: another content for each.
fn file(job: u64) -> WeightsFile {
    WeightsFile { bytes: 100 + job, blake3: format!("{job:064x}") }
}

impl Cluster {
    /// Has the attempt, which runs, train both its epochs and end with this accuracy and these weights.
    fn train_to(
        &mut self,
        attempt: AttemptKey,
        val_accuracy: f64,
        weights: Option<Result<WeightsFile, String>>,
    ) {
        self.say(1, attempt, AttemptEvent::Started { dataset: dataset("a"), resumed_epochs: 0 });
        for epoch in 1..=2 {
            let metrics = EpochMetrics { val_accuracy, ..metrics(epoch) };
            self.say(1, attempt, AttemptEvent::Epoch(metrics.into()));
        }
        let AttemptEvent::Ended { outcome, reason, log_tail, details, .. } = ended(Outcome::Done, "") else {
            return;
        };
        self.say(1, attempt, AttemptEvent::Ended { outcome, reason, log_tail, weights, details });
    }

    fn done(&mut self, job: u64, val_accuracy: f64) {
        self.train_to(key(job, 1), val_accuracy, Some(Ok(file(job))));
    }

    fn say(&mut self, session: u64, attempt: AttemptKey, event: AttemptEvent) {
        self.hear(Event::Attempt { session: SessionId(session), sequence: 1, attempt, event });
    }

    fn offer(&mut self, attempt: AttemptKey) -> WeightsAnswer {
        self.ask(&OfferWeights { attempt, file: file(attempt.job.job) }).answer
    }

    fn keep(&mut self, job: u64) -> WeightsAnswer {
        self.order(KeepWeights { attempt: key(job, 1), file: file(job) })
    }

    /// What the records say last of each job's weights.
    fn weights(&self) -> Vec<(u64, WeightsState)> {
        let mut last = std::collections::BTreeMap::new();
        for record in &self.records {
            if let Record::WeightsChanged { attempt, state, .. } = record {
                last.insert(attempt.job.job, *state);
            }
        }
        last.into_iter().collect()
    }

    fn removed(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::RemoveWeights { .. })).count()
    }

    fn names(&mut self) -> WeightsNames {
        self.ask(&NameWeights)
    }

    /// The best weights that are kept, and how many are on their way.
    fn shown(&mut self) -> (Option<u64>, u64) {
        let sweep = self.ask(&DescribeSweep::new(terms::SweepId(1)));
        (sweep.best_weights.map(|best| best.job), sweep.weights_awaited)
    }
}

/// A sweep whose jobs all run at once.
fn running(jobs: u32, more: &str) -> Cluster {
    let mut cluster = Cluster::with_sweep(jobs, more);
    cluster.connect(1, "one", jobs, &[]);
    cluster
}

use WeightsState::{Absent, Awaited, Dropped, Kept};

#[test]
fn weights_are_wanted_while_none_better_are_kept_and_dropped_once_some_are() {
    let mut cluster = running(4, "");
    cluster.done(1, 0.5);
    assert!(matches!(cluster.offer(key(1, 1)), WeightsAnswer::Wanted { .. }));
    assert_eq!((cluster.weights(), cluster.shown()), (vec![(1, Awaited)], (None, 1)));
    assert_eq!(cluster.keep(1), WeightsAnswer::Durable);
    assert_eq!((cluster.weights(), cluster.shown()), (vec![(1, Kept)], (Some(1), 0)));
    cluster.done(2, 0.4);
    assert!(matches!(cluster.offer(key(2, 1)), WeightsAnswer::NotWanted(_)));
    cluster.done(3, 0.6);
    // The best so far stay until better ones are here.
    assert_eq!((cluster.weights(), cluster.removed()), (vec![(1, Kept), (3, Awaited)], 0));
    assert_eq!(cluster.keep(3), WeightsAnswer::Durable);
    assert_eq!((cluster.weights(), cluster.removed()), (vec![(1, Dropped), (3, Kept)], 1));
    assert!(matches!(cluster.offer(key(1, 1)), WeightsAnswer::NotWanted(_)));
    assert_eq!(cluster.keep(3), WeightsAnswer::Durable, "a repeated call changes nothing");
    assert_eq!((cluster.shown(), cluster.removed()), ((Some(3), 0), 1));
    let names = cluster.names();
    assert_eq!((names.kept.len(), names.awaited.len(), names.folders.len()), (1, 0, 1));
}

#[test]
fn of_equal_jobs_the_smaller_number_is_kept_whatever_comes_first() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut cluster = running(3, "");
        for job in order {
            cluster.done(job, 0.5);
        }
        for job in order {
            cluster.keep(job);
        }
        assert_eq!(cluster.shown(), (Some(1), 0), "{order:?}");
        assert!(cluster.weights().iter().all(|(job, state)| (*job == 1) == (*state == Kept)));
    }
}

#[test]
fn what_is_on_its_way_is_given_up_once_better_weights_are_here() {
    let mut cluster = running(3, "artifacts: {keep: 2}\n");
    for (job, accuracy) in [(1, 0.1), (2, 0.2), (3, 0.3)] {
        cluster.done(job, accuracy);
    }
    assert_eq!(cluster.shown(), (None, 3));
    cluster.keep(2);
    cluster.keep(3);
    assert_eq!(cluster.weights(), [(1, Dropped), (2, Kept), (3, Kept)]);
    assert!(matches!(cluster.keep(1), WeightsAnswer::NotWanted(_)), "it came too late");
    assert_eq!((cluster.shown(), cluster.removed()), ((Some(3), 0), 1), "what came in of it is removed");
}

#[test]
fn all_or_none_are_kept_where_the_sweep_says_so() {
    let mut all = running(3, "artifacts: {keep: all}\n");
    for job in 1..=3 {
        all.done(job, 0.1 * job as f64);
        all.keep(job);
    }
    assert_eq!(all.weights(), [(1, Kept), (2, Kept), (3, Kept)]);
    let mut none = running(1, "artifacts: {keep: none}\n");
    none.done(1, 0.5);
    assert!(matches!(none.offer(key(1, 1)), WeightsAnswer::NotWanted(_)));
    assert_eq!(none.weights(), []);
    for (cluster, wanted) in [(&all, true), (&none, false)] {
        let grants = cluster.effects.iter().filter_map(|effect| match effect {
            Effect::Send { message: ToWorker::Grant(grant), .. } => Some(grant),
            _ => None,
        });
        assert!(grants.flat_map(|grant| &grant.jobs).all(|job| job.keep_weights == wanted));
    }
}

#[test]
fn only_the_attempt_that_counts_hands_weights_over_and_only_what_it_announced() {
    let mut cluster = running(1, "");
    assert_eq!(cluster.offer(key(1, 1)), WeightsAnswer::Waiting, "its end has not come in");
    cluster.say(1, key(1, 1), ended(Outcome::Failed, "so"));
    assert!(matches!(cluster.offer(key(1, 1)), WeightsAnswer::NotWanted(_)));
    cluster.train_to(key(1, 2), 0.5, Some(Ok(file(1))));
    assert!(matches!(cluster.offer(key(1, 1)), WeightsAnswer::NotWanted(_)), "fenced");
    assert!(matches!(cluster.offer(key(1, 3)), WeightsAnswer::NotWanted(_)));
    let other = WeightsFile { bytes: 101, blake3: "f".repeat(64) };
    let answer = cluster.order(KeepWeights { attempt: key(1, 2), file: other.clone() });
    assert_eq!(answer, WeightsAnswer::Differs { reported: file(1) });
    assert_eq!(cluster.ask(&OfferWeights { attempt: key(1, 2), file: other }).answer, answer);
    assert!(matches!(cluster.keep(1), WeightsAnswer::NotWanted(_)));
    assert!(matches!(cluster.offer(key(1, 2)), WeightsAnswer::Wanted { .. }));
    assert_eq!(cluster.weights(), [(1, Awaited)]);
    let elsewhere = AttemptKey { job: JobKey { sweep: terms::SweepId(9), job: 1 }, attempt: 1 };
    assert!(matches!(cluster.offer(elsewhere), WeightsAnswer::NotWanted(_)));
}

#[test]
fn weights_that_are_not_there_are_recorded_with_the_reason_and_others_take_their_place() {
    let mut cluster = running(3, "");
    cluster.train_to(key(1, 1), 0.9, Some(Err("no room".into())));
    cluster.done(2, 0.5);
    cluster.keep(2);
    cluster.done(3, 0.8);
    let lost = GiveUpWeights { attempt: key(3, 1), file: file(3), reason: "the disk died".into() };
    cluster.order(lost.clone());
    cluster.order(lost);
    assert_eq!(cluster.weights(), [(1, Absent), (2, Kept), (3, Absent)]);
    assert_eq!(cluster.removed(), 1, "what came in of them, once");
    assert_eq!(cluster.shown(), (Some(2), 0));
    let reasons: Vec<_> = cluster
        .records
        .iter()
        .filter_map(|record| match record {
            Record::WeightsChanged { state: Absent, reason, .. } => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["no room", "the disk died"]);
}

#[test]
fn a_trainer_that_leaves_no_weights_is_no_news() {
    let mut cluster = running(1, "");
    cluster.train_to(key(1, 1), 0.9, None);
    assert_eq!((cluster.weights(), cluster.shown()), (vec![], (None, 0)));
}

#[test]
fn which_epochs_count_stays_as_it_is_while_there_are_weights() {
    let mut cluster = running(3, "");
    let set = |cluster: &mut Cluster, what: &str| {
        let sweep = terms::SweepId(1);
        let base = cluster.ask(&Define(sweep)).definition;
        let definition = Arc::new(base.set(&[what.to_owned()]).unwrap());
        cluster.try_order(Extend { sweep, base, definition, revived: Default::default() })
    };
    assert!(set(&mut cluster, "metric.use=best").is_ok());
    cluster.done(1, 0.5);
    for _ in 0..2 {
        match set(&mut cluster, "metric.use=last") {
            Err(error @ ControlError::WeightsChosen { .. }) => {
                assert!(error.to_string().contains("`metric.use: best`"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(cluster.keep(1), WeightsAnswer::Durable);
    }
    assert!(set(&mut cluster, "execution.attempts_max=9").is_ok());
    assert_eq!(cluster.weights(), [(1, Kept)]);
}
