//! Workers of one name, what is remembered of those that left, and when leases begin.

use domain::record::{EndedJob, History, Record};
use terms::{JobState, Outcome, WorkerName};

use super::cluster::{Cluster, LEASE_MS, ended, key};
use crate::{
    CloseReason, Effect, Event, JobEnd, SessionId, WorkerStatus, WorkerView,
    command::{Drain, EndJob, Retry},
    query::ListWorkers,
};

fn closed(cluster: &mut Cluster) -> Vec<(u64, CloseReason)> {
    let closed = |effect: Effect| match effect {
        Effect::Close { session, reason } => Some((session.0, reason)),
        _ => None,
    };
    cluster.take_effects().into_iter().filter_map(closed).collect()
}

fn taken() -> CloseReason {
    CloseReason::NameTaken { name: "twin".parse().unwrap(), host: String::new() }
}

fn workers(cluster: &mut Cluster) -> Vec<WorkerView> {
    cluster.ask(&ListWorkers { after: None, limit: 100 }).workers
}

#[test]
fn a_newcomer_of_the_same_name_is_turned_away_while_the_first_ones_stream_lives() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect_process(1, "twin", "first", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.take_effects();
    for session in 2..50 {
        cluster.connect_process(session, "twin", &format!("second {session}"), 1, &[]);
        assert_eq!(closed(&mut cluster), [(session, taken())]);
        // What it says all the same is not heard.
        cluster.heartbeat(session, &[key(1, 1)]);
        cluster.hear(Event::SessionClosed(SessionId(session)));
    }
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.counts(), [1, 1, 1, 0, 0, 0]);
    let shown = workers(&mut cluster).remove(0);
    assert_eq!(shown.status, WorkerStatus::Connected);
    assert!(
        shown.reason.contains("another worker named twin") && shown.reason.contains("--name"),
        "{}",
        shown.reason
    );
    // Of one that is gone, why it left is of more interest.
    cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: "its GPU is gone".into() });
    cluster.hear(Event::SessionClosed(SessionId(1)));
    assert_eq!(workers(&mut cluster).remove(0).reason, "its GPU is gone");
}

#[test]
fn a_newcomer_is_let_in_when_the_first_one_is_gone_and_its_loss_is_taken_back_where_it_lives() {
    // Whether its stream ended and nothing came back, or it said that it leaves, or it fell silent.
    let ends: [fn(&mut Cluster); 3] = [
        |cluster| {
            cluster.hear(Event::SessionClosed(SessionId(1)));
            cluster.connect_process(2, "twin", "early", 1, &[]);
            assert_eq!(closed(cluster), [(2, taken())], "the first one may be back at once");
            cluster.pass(LEASE_MS / 4);
        },
        |cluster| {
            cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: String::new() });
            cluster.hear(Event::SessionClosed(SessionId(1)));
        },
        |cluster| cluster.pass(LEASE_MS + 1),
    ];
    for (case, end) in ends.into_iter().enumerate() {
        let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
        cluster.connect_process(1, "twin", "first", 1, &[]);
        cluster.start(1, key(1, 1));
        cluster.take_effects();
        end(&mut cluster);
        cluster.take_effects();
        cluster.connect_process(3, "twin", "second", 1, &[]);
        assert_eq!(cluster.grants(), [(3, key(1, 2))], "case {case}");
        assert_eq!(cluster.history().losses, 1, "case {case}: for all that anyone knows, it is dead");
        // The first one comes back and is the one that is turned away.
        cluster.connect_process(4, "twin", "first", 1, &[(key(1, 1), 0)]);
        assert_eq!(closed(&mut cluster), [(4, taken())], "case {case}");
        let expected = if case == 2 { 1 } else { 0 };
        assert_eq!(
            cluster.history().losses,
            expected,
            "case {case}: recorded at once, for the next coordinator"
        );
        cluster.train(3, key(1, 2));
        assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 0]);
        assert_eq!(cluster.history().losses, expected, "case {case}: a lease that has ended counts");
    }
}

#[test]
fn two_workers_that_take_a_name_from_each_other_never_fail_a_job() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
    let process = |round: u32| ["one", "other"][round as usize % 2];
    for round in 1..=40_u32 {
        let session = 2 * u64::from(round);
        cluster.connect_process(session, "twin", process(round), 1, &[]);
        cluster.start(session, key(1, round));
        if round > 1 {
            // The one before trains on, and tries to come back.
            cluster.connect_process(session + 1, "twin", process(round - 1), 1, &[(key(1, round - 1), 0)]);
        }
        cluster.hear(Event::SessionClosed(SessionId(session)));
        cluster.pass(LEASE_MS / 2);
    }
    assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
    assert_eq!(cluster.history().losses, 0, "all of them were seen again");
}

/// A job that a process of `twin` has lost by another one's coming, and runs there.
fn in_doubt() -> Cluster {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
    cluster.connect_process(1, "twin", "first", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.pass(LEASE_MS / 4);
    cluster.connect_process(2, "twin", "second", 1, &[]);
    cluster.start(2, key(1, 2));
    assert_eq!(cluster.history().losses, 1);
    cluster
}

#[test]
fn a_loss_that_is_taken_back_leaves_the_job_as_it_was() {
    let last = |cluster: &Cluster| match cluster.records.last() {
        Some(Record::JobChanged { state, reason, history, .. }) => (*state, reason.clone(), history.losses),
        other => panic!("{other:?}"),
    };
    let mut cluster = in_doubt();
    cluster.connect_process(3, "twin", "first", 1, &[(key(1, 1), 0)]);
    let reason = "attempt 1/1#1 is not counted as lost: worker twin lives".to_owned();
    assert_eq!(last(&cluster), (JobState::Running, reason.clone(), 0));
    // By this reason, a restart knows a job that gets no more attempts.
    let mut cluster = in_doubt();
    cluster.order(EndJob { job: key(1, 1).job, how: JobEnd::Stop });
    let (_, stopped, _) = last(&cluster);
    cluster.connect_process(3, "twin", "first", 1, &[(key(1, 1), 0)]);
    assert_eq!(last(&cluster), (JobState::Running, stopped, 0));
    let mut cluster = in_doubt();
    cluster.event(2, key(1, 2), ended(Outcome::HandedBack, ""));
    cluster.hear(Event::WorkerDraining { session: SessionId(2), reason: String::new() });
    cluster.start(2, key(1, 3));
    cluster.event(2, key(1, 3), ended(Outcome::HandedBack, ""));
    cluster.connect_process(3, "twin", "first", 1, &[(key(1, 1), 0)]);
    assert_eq!(last(&cluster), (JobState::Pending, reason, 0));
}

#[test]
fn what_was_in_doubt_before_a_job_is_tried_again_is_not_taken_from_what_comes_after() {
    let mut cluster = in_doubt();
    let job = key(1, 1).job;
    cluster.order(EndJob { job, how: JobEnd::Cancel });
    cluster.event(2, key(1, 2), ended(Outcome::Revoked, ""));
    let ended = EndedJob { job: 1, attempts: 2, state: JobState::Cancelled };
    let seen = cluster.ends();
    cluster.order(Retry {
        sweep: job.sweep,
        jobs: vec![ended],
        all: true,
        seen,
        revived: Default::default(),
    });
    cluster.start(2, key(1, 3));
    cluster.hear(Event::SessionClosed(SessionId(2)));
    cluster.pass(LEASE_MS / 4);
    cluster.connect_process(3, "twin", "third", 1, &[]);
    assert_eq!(cluster.history().losses, 1);
    cluster.connect_process(4, "twin", "first", 1, &[(key(1, 1), 0)]);
    assert_eq!(cluster.history().losses, 1, "the one that came back did not run it");
}

#[test]
fn a_job_that_ends_each_worker_fails_in_the_end_though_they_have_one_name_and_no_spool() {
    let mut cluster = Cluster::with_sweep(1, "");
    for round in 1..=10_u32 {
        let session = u64::from(round);
        cluster.connect_process(session, "pod", &format!("process {round}"), 1, &[]);
        cluster.start(session, key(1, round));
        cluster.hear(Event::SessionClosed(SessionId(session)));
        cluster.pass(LEASE_MS / 2);
    }
    assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
    cluster.connect_process(11, "pod", "process 11", 1, &[]);
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 1, 0]);
}

/// A newcomer on the name of the worker that ran a job when the coordinator was started again.
fn taken_by_a() -> CloseReason {
    CloseReason::NameTaken { name: "a".parse().unwrap(), host: String::new() }
}

#[test]
fn after_a_restart_a_name_is_the_one_workers_that_holds_what_runs_there() {
    let mut cluster = Cluster::restarted(History::default(), "", true);
    cluster.connect_process(1, "a", "twin", 1, &[]);
    assert_eq!(closed(&mut cluster), [(1, taken_by_a())]);
    cluster.connect_process(2, "a", "first", 1, &[(key(1, 1), 0)]);
    cluster.connect_process(3, "a", "twin", 1, &[]);
    assert_eq!(closed(&mut cluster), [(3, taken_by_a())]);
    cluster.epoch(2, key(1, 1), 1);
    cluster.epoch(2, key(1, 1), 2);
    cluster.event(2, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!((cluster.counts(), cluster.history()), ([0, 0, 1, 0, 0, 0], History::default()));
    // If no one comes back with it within its lease, any newcomer is accepted.
    let mut cluster = Cluster::restarted(History::default(), "", true);
    cluster.pass(LEASE_MS);
    cluster.connect_process(1, "a", "twin", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
    // What had not begun may never have reached its worker, which then comes without it.
    let mut cluster = Cluster::restarted(History::default(), "", false);
    cluster.connect_process(1, "a", "first", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
}

#[test]
fn after_a_restart_a_worker_that_was_started_again_too_need_not_wait() {
    let mut cluster = Cluster::restarted(History::default(), "", true);
    cluster.predecessors = vec!["before".into()];
    cluster.connect_process(1, "a", "again", 1, &[]);
    assert_eq!((cluster.grants(), cluster.history().losses), (vec![(1, key(1, 2))], 1));
    // It was another one's: that one lives, and is not wanted.
    cluster.connect_process(2, "a", "first", 1, &[(key(1, 1), 0)]);
    assert_eq!(closed(&mut cluster), [(2, taken_by_a())]);
    cluster.train(1, key(1, 2));
    assert_eq!((cluster.counts(), cluster.history()), ([0, 0, 1, 0, 0, 0], History::default()));
}

#[test]
fn a_process_with_the_spool_of_the_one_before_takes_its_place_at_once() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect_process(1, "a", "first", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.take_effects();
    // Started again twice before it connects; the stream of then looks alive.
    cluster.predecessors = vec!["second".into(), "first".into()];
    cluster.connect_process(2, "a", "third", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
    assert_eq!(cluster.history().losses, 1, "a job that ends its worker is found all the same");
}

#[test]
fn of_two_copies_of_a_spool_one_stays() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.predecessors = vec!["before".into()];
    cluster.connect_process(1, "twin", "original", 1, &[]);
    cluster.predecessors = vec!["original".into(), "before".into()];
    cluster.connect_process(2, "twin", "copy", 1, &[]);
    assert_eq!(closed(&mut cluster), [(1, taken())]);
    cluster.predecessors = vec!["before".into()];
    cluster.connect_process(3, "twin", "original", 1, &[]);
    cluster.predecessors = vec!["original".into(), "before".into()];
    cluster.connect_process(4, "twin", "original, started again", 1, &[]);
    assert_eq!(closed(&mut cluster), [(3, taken()), (4, taken())]);
}

#[test]
fn a_worker_that_is_gone_runs_nothing_once_its_attempts_are_lost() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.hear(Event::SessionClosed(SessionId(1)));
    assert_eq!(workers(&mut cluster)[0].running.len(), 1, "it may be back within its lease");
    cluster.pass(LEASE_MS);
    let shown = workers(&mut cluster).remove(0);
    assert_eq!((shown.status, shown.running.len()), (WorkerStatus::Disconnected, 0));
}

#[test]
fn why_a_worker_leaves_is_shown() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    let reason = "slot 0 cannot start its trainer".to_owned();
    cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: reason.clone() });
    cluster.order(Drain("b".parse().unwrap()));
    cluster.hear(Event::WorkerDraining { session: SessionId(2), reason: "as it was told".into() });
    let reasons =
        |cluster: &mut Cluster| workers(cluster).into_iter().map(|worker| worker.reason).collect::<Vec<_>>();
    assert_eq!(reasons(&mut cluster), [reason.as_str(), "drained on request"]);
    cluster.hear(Event::SessionClosed(SessionId(1)));
    assert_eq!(reasons(&mut cluster)[0], reason);
}

#[test]
fn why_a_worker_was_shut_out_is_shown_until_it_is_back() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    let reason = "its token was revoked";
    cluster.hear(Event::WorkerShutOut { session: SessionId(1), reason });
    cluster.hear(Event::SessionClosed(SessionId(1)));
    let shown = workers(&mut cluster).remove(0);
    assert_eq!((shown.status, shown.reason.as_str()), (WorkerStatus::Disconnected, reason));
    cluster.connect(2, "a", 1, &[]);
    let shown = workers(&mut cluster).remove(0);
    assert_eq!((shown.status, shown.reason.as_str()), (WorkerStatus::Connected, ""));
}

#[test]
fn what_is_remembered_of_workers_that_left_is_bounded() {
    let mut cluster = Cluster::new();
    for session in 1..=500 {
        cluster.connect(session, &format!("w{session}"), 64, &[]);
        cluster.hear(Event::SessionClosed(SessionId(session)));
        cluster.pass(1);
    }
    let known = cluster.engine.workers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert!(known.len() <= 200 && known.iter().any(|name| name == "w500"), "{}", known.len());
    assert!(workers(&mut cluster).iter().all(|worker| worker.slots.len() <= 16));
}

#[test]
fn a_worker_that_left_is_listed_no_longer_and_one_that_vanished_for_some_minutes_after_its_lease() {
    let mut cluster = Cluster::new();
    let names = |cluster: &mut Cluster| -> Vec<String> {
        workers(cluster).into_iter().map(|worker| worker.name.to_string()).collect()
    };
    cluster.connect(1, "left", 1, &[]);
    cluster.connect(2, "broke", 1, &[]);
    cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: String::new() });
    (1..=2).for_each(|session| cluster.hear(Event::SessionClosed(SessionId(session))));
    assert_eq!(names(&mut cluster), ["broke"]);
    // Whoever asked it to leave still learns that it has.
    let describe =
        |cluster: &Cluster| cluster.engine.describe_worker(cluster.now(), &"left".parse().unwrap());
    assert!(describe(&cluster).is_ok_and(|worker| worker.has_said_draining));
    cluster.pass(60_000);
    assert!(describe(&cluster).is_err());
    assert_eq!(names(&mut cluster), ["broke"]);
    cluster.pass(200_000);
    assert!(names(&mut cluster).is_empty());
}

#[test]
fn a_worker_that_left_is_listed_as_long_as_something_of_it_is_awaited() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: String::new() });
    cluster.hear(Event::SessionClosed(SessionId(1)));
    assert_eq!(workers(&mut cluster).len(), 1);
}

#[test]
fn jobs_that_crash_without_end_do_not_fill_the_memory_with_what_is_held_against_a_worker() {
    let mut cluster = Cluster::with_sweep(300, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    while let Some((session, attempt)) = cluster.grants().pop() {
        cluster.event(session, attempt, ended(Outcome::Failed, "crashed"));
    }
    let name: WorkerName = "a".parse().unwrap();
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 300, 0]);
    assert!(cluster.engine.workers.get(&name).unwrap().standing().crashed_jobs() <= 100);
}

#[test]
fn a_lease_begins_when_its_grant_has_left() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.pass(LEASE_MS);
    cluster.take_effects();
    cluster.disk_stands_still = true;
    cluster.connect(2, "a", 1, &[]);
    let told = cluster.take_effects();
    for _ in 0..10 {
        cluster.pass(LEASE_MS);
    }
    assert!(cluster.take_effects().is_empty(), "neither cut off nor lost: it cannot know of anything yet");
    cluster.disk_stands_still = false;
    cluster.tell(&told);
    cluster.pass(LEASE_MS - 1);
    assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
    cluster.pass(1);
    let states = cluster.records.iter().filter_map(|record| match record {
        Record::JobChanged { state, .. } => Some(*state),
        _ => None,
    });
    assert_eq!(states.collect::<Vec<_>>(), [JobState::Pending; 2], "then it runs as any other");
}

#[test]
fn a_worker_that_was_not_welcomed_yet_keeps_what_it_held() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.pass(LEASE_MS / 2);
    cluster.take_effects();
    cluster.disk_stands_still = true;
    cluster.connect(2, "a", 1, &[(key(1, 1), 0)]);
    let told = cluster.take_effects();
    cluster.pass(5 * LEASE_MS);
    assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
    cluster.disk_stands_still = false;
    cluster.tell(&told);
    cluster.pass(LEASE_MS - 1);
    cluster.heartbeat(2, &[key(1, 1)]);
    assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
}
