//! Workers that take no jobs of a sweep, each for a reason of its own: jobs are not handed around without end.

use proptest::prelude::*;

use terms::Outcome;

use super::cluster::{Cluster, LEASE_MS, ended, key};
use crate::{
    Event, SessionId, WorkerStatus,
    command::{Pause, Resume},
    query::ListWorkers,
};

fn states(cluster: &mut Cluster) -> Vec<WorkerStatus> {
    let page = cluster.ask(&ListWorkers { after: None, limit: 100 });
    page.workers.into_iter().map(|worker| worker.status).collect()
}

/// `good` has begun job 1, and three jobs crashed on `bad`, which is quarantined.
fn with_one_quarantined() -> Cluster {
    let mut cluster = Cluster::with_sweep(9, "execution: {attempts_max: 1}");
    cluster.connect(1, "good", 1, &[]);
    cluster.connect(2, "bad", 1, &[]);
    cluster.start(1, key(1, 1));
    for job in [2, 3, 4] {
        cluster.event(2, key(job, 1), ended(Outcome::Failed, "no such device"));
    }
    cluster.take_effects();
    assert_eq!(states(&mut cluster), [WorkerStatus::Quarantined, WorkerStatus::Connected]);
    cluster
}

#[test]
fn a_worker_that_refuses_a_sweep_does_not_count_as_one_that_takes_its_jobs() {
    let mut cluster = with_one_quarantined();
    cluster.event(1, key(1, 1), ended(Outcome::Rejected, "no such data set"));
    assert_eq!(cluster.grants(), [(2, key(1, 2))], "the other one is all that is left");
    assert_eq!(states(&mut cluster), [WorkerStatus::Connected, WorkerStatus::Connected]);
    cluster.train(2, key(1, 2));
    assert_eq!(cluster.grants(), [(2, key(5, 1))]);
}

#[test]
fn a_worker_that_is_quarantined_is_given_the_sweeps_that_only_it_can_run() {
    let mut cluster = with_one_quarantined();
    cluster.order(Pause(terms::SweepId(1)));
    cluster.submit(2, "execution: {attempts_max: 1}");
    cluster.train(1, key(1, 1));
    let second = |job, attempt| terms::AttemptKey::new(2, job, attempt);
    assert_eq!(cluster.grants(), [(1, second(1, 1))], "of the same sweep");
    cluster.event(1, second(1, 1), ended(Outcome::Rejected, "no such data set"));
    assert_eq!(cluster.grants(), [(2, second(1, 2))]);
    assert_eq!(states(&mut cluster)[0], WorkerStatus::Quarantined, "for the sweep whose jobs crashed there");
    // Of which it gets none, as long as the other one runs them.
    cluster.order(Resume(terms::SweepId(1)));
    cluster.event(2, second(1, 2), ended(Outcome::HandedBack, ""));
    assert_eq!(cluster.grants(), [(1, key(5, 1)), (2, second(1, 3))]);
}

#[test]
fn a_worker_that_refused_a_sweep_is_asked_for_its_data_set_after_pauses_like_any_other() {
    let mut cluster = Cluster::with_sweep(5, "");
    cluster.connect(1, "good", 1, &[]);
    cluster.connect(2, "bad", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.event(2, key(2, 1), ended(Outcome::Rejected, "no such image size"));
    cluster.take_effects();
    cluster.hear(Event::SessionClosed(SessionId(1)));
    let granted = cluster.grants();
    assert_eq!(granted, [(2, key(2, 2))], "there is no other");
    cluster.event(2, key(2, 2), ended(Outcome::Unavailable, "cannot read d"));
    assert_eq!(cluster.grants(), [], "it was read elsewhere, so it may be back");
    for _ in 0..3 {
        cluster.pass(LEASE_MS / 2);
        cluster.heartbeat(2, &[]);
    }
    assert_eq!(cluster.grants().len(), 1, "one looks");
}

const JOBS: u32 = 5;
const ATTEMPTS_MAX: u32 = 2;

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Failed), Just(Outcome::Rejected), Just(Outcome::Unavailable)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Each worker says in turn what it always says; no time goes by.
    #[test]
    fn jobs_that_no_worker_runs_are_granted_no_more_often_than_there_are_reasons(
        said in prop::collection::vec(prop::collection::vec(outcome(), 1..8), 1..5),
        was_read in any::<bool>(),
    ) {
        let mut cluster = Cluster::with_sweep(JOBS, &format!("execution: {{attempts_max: {ATTEMPTS_MAX}}}"));
        if was_read {
            cluster.connect(100, "before", 1, &[]);
            cluster.train(100, key(1, 1));
            cluster.hear(Event::SessionClosed(SessionId(100)));
            cluster.pass(LEASE_MS);
            cluster.take_effects();
        }
        for (session, _) in (1..).zip(&said) {
            cluster.connect(session, &format!("worker-{session}"), 1, &[]);
        }
        // Charged or failed for good; and for each worker once that it cannot run the sweep, once that it cannot now.
        let granted_max = (JOBS * (ATTEMPTS_MAX + 1)) as usize + 2 * said.len();
        let (mut granted, mut turns) = (0, vec![0; said.len()]);
        loop {
            let grants = cluster.grants();
            if grants.is_empty() {
                break;
            }
            granted += grants.len();
            prop_assert!(granted <= granted_max, "{granted}");
            for (session, attempt) in grants {
                let worker = session as usize - 1;
                let says = &said[worker];
                let outcome = says[turns[worker] % says.len()];
                turns[worker] += 1;
                cluster.event(session, attempt, ended(outcome, "because"));
            }
        }
    }
}
