//! How much there is of everything, as operators see it.

use terms::{Outcome, SweepId, SweepState};

use super::cluster::{Cluster, ended, key};
use crate::{AttemptEvent, Event, Measure, SessionId, SlotCounts, WorkerCounts, command::Pause};

#[test]
fn jobs_that_would_start_are_those_that_wait_as_far_as_their_sweep_allows() {
    let mut cluster = Cluster::with_sweep(5, "execution: {max_parallel: 3}");
    let waiting = |cluster: &Cluster| cluster.ask(&Measure).startable_jobs;
    assert_eq!(waiting(&cluster), 3);
    cluster.connect(1, "a", 2, &[]);
    assert_eq!(waiting(&cluster), 1, "two run");
    cluster.submit(4, "");
    assert_eq!(waiting(&cluster), 5);
    cluster.order(Pause(SweepId(2)));
    assert_eq!(waiting(&cluster), 1, "no job of a paused sweep starts");
    let measured = cluster.ask(&Measure);
    let count = |state| measured.sweeps.iter().find(|(one, _)| *one == state).unwrap().1;
    assert_eq!([SweepState::Running, SweepState::Paused, SweepState::Finished].map(count), [1, 1, 0]);
    assert_eq!((measured.jobs.pending, measured.jobs.running), (7, 2));
}

#[test]
fn slots_are_busy_free_or_withheld_and_those_of_the_departed_do_not_count() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.connect(2, "b", 3, &[]);
    cluster.connect(3, "c", 1, &[]);
    cluster.hear(Event::WorkerDraining { session: SessionId(2), reason: "it leaves".to_owned() });
    cluster.hear(Event::SessionClosed(SessionId(3)));
    let measured = cluster.ask(&Measure);
    assert_eq!(measured.slots, SlotCounts { busy: 1, free: 1, withheld: 3 });
    let expected = WorkerCounts { connected: 1, draining: 1, quarantined: 0, disconnected: 1 };
    assert_eq!(measured.workers, expected);
}

#[test]
fn events_that_change_nothing_are_counted_by_why() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.start(1, key(1, 1));
    cluster.epoch(1, key(1, 1), 1);
    assert_eq!(cluster.refused, [0, 0, 0]);
    cluster.epoch(1, key(1, 1), 1);
    assert_eq!(cluster.refused, [0, 1, 0], "sent again");
    cluster.event(1, key(1, 7), ended(Outcome::Done, ""));
    assert_eq!(cluster.refused, [1, 1, 0], "of an attempt that there is not");
    cluster.event(1, key(2, 1), AttemptEvent::Unusable("unreadable".to_owned()));
    cluster.epoch(1, key(1, 1), 3);
    assert_eq!(cluster.refused, [1, 1, 2], "unreadable, and out of its order");
}
