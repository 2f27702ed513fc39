//! Whose sweeps are whose.

use std::sync::Arc;

use domain::{
    definition::SweepDefinition,
    record::{Record, StoredSweep},
};
use terms::{JobKey, SweepId};

use super::cluster::{Cluster, running_at_a, specification, stored};
use crate::{
    Command, ControlError, EndsSeen, Issuer, JobEnd,
    command::{Cancel, EndJob, Extend, Pause, ProposePoints, Resume, Retry, Stop, Submit},
};

const SWEEP: SweepId = SweepId(1);

/// A sweep that someone has submitted, or no one whom a coordinator asked.
fn submitted_by(issuer: &Issuer) -> Cluster {
    let mut cluster = Cluster::new();
    let definition = Box::new(SweepDefinition::new(SweepId(0), specification(3, "")).unwrap());
    let command = Submit::new(definition, String::new()).unwrap().owned_by(issuer.owner());
    cluster.try_order_as(issuer.clone(), command).unwrap();
    cluster
}

/// Whether someone is refused as the sweep is not theirs; other refusals come after that.
fn is_refused<C: Command>(cluster: &mut Cluster, issuer: &Issuer, command: C) -> bool {
    let records = cluster.records.len();
    let refused = match cluster.try_order_as(issuer.clone(), command) {
        Err(ControlError::NotYours { sweep, .. }) => sweep == SWEEP,
        _ => false,
    };
    assert!(!refused || cluster.records.len() == records, "a refused command has changed something");
    refused
}

/// How many of the commands that change a sweep are refused to someone.
fn refusals(owner: &Issuer, issuer: &Issuer) -> usize {
    let cluster = || submitted_by(owner);
    let job = JobKey { sweep: SWEEP, job: 1 };
    let base = Arc::new(SweepDefinition::new(SWEEP, specification(3, "")).unwrap());
    let extend = Extend { sweep: SWEEP, definition: Arc::clone(&base), base, revived: Default::default() };
    let retry = Retry {
        sweep: SWEEP,
        jobs: Vec::new(),
        all: true,
        seen: EndsSeen::default(),
        revived: Default::default(),
    };
    let points =
        ProposePoints { sweep: SWEEP, first_point: 1, points: Vec::new(), seen: 0, is_exhausted: false };
    let all = [
        is_refused(&mut cluster(), issuer, Pause(SWEEP)),
        is_refused(&mut cluster(), issuer, Resume(SWEEP)),
        is_refused(&mut cluster(), issuer, Stop(SWEEP)),
        is_refused(&mut cluster(), issuer, Cancel(SWEEP)),
        is_refused(&mut cluster(), issuer, EndJob { job, how: JobEnd::Stop }),
        is_refused(&mut cluster(), issuer, EndJob { job, how: JobEnd::Cancel }),
        is_refused(&mut cluster(), issuer, extend),
        is_refused(&mut cluster(), issuer, retry),
        is_refused(&mut cluster(), issuer, points),
    ];
    all.into_iter().filter(|refused| *refused).count()
}

#[test]
fn only_its_owner_and_admins_change_a_sweep() {
    let (ann, ben, admin) = (Issuer::named("ann"), Issuer::named("ben"), Issuer::admin("root"));
    for (owner, issuer, refused) in [
        (&ann, &ann, 0),
        (&ann, &ben, 9),
        (&ann, &admin, 0),
        (&ann, &Issuer::local(), 0),
        (&admin, &ann, 9),
        // One that was submitted where no one was asked is no one's.
        (&Issuer::local(), &ann, 9),
        (&Issuer::local(), &admin, 0),
        (&Issuer::local(), &Issuer::local(), 0),
    ] {
        assert_eq!(refusals(owner, issuer), refused, "{issuer:?} changes what {owner:?} submitted");
    }
}

/// Submits under a request id; which sweep that is, and whether it is new.
fn submit_as(cluster: &mut Cluster, issuer: &Issuer, request_id: &str) -> (u64, bool) {
    let definition = Box::new(SweepDefinition::new(SweepId(0), specification(3, "")).unwrap());
    let command = Submit::new(definition, request_id.to_owned()).unwrap().owned_by(issuer.owner());
    let submitted = cluster.try_order_as(issuer.clone(), command).unwrap();
    (submitted.sweep.id().0, submitted.created)
}

#[test]
fn a_request_id_is_of_who_submits_with_it_also_after_a_restart() {
    let mut cluster = Cluster::new();
    let (ann, ben, local) = (Issuer::named("ann"), Issuer::named("ben"), Issuer::local());
    for (number, issuer) in [&ben, &ann, &local].into_iter().enumerate() {
        let sweep = number as u64 + 1;
        assert_eq!(submit_as(&mut cluster, issuer, "serve"), (sweep, true), "{issuer:?}");
        assert_eq!(submit_as(&mut cluster, issuer, "serve"), (sweep, false), "{issuer:?}");
    }
    let request_id = "serve".to_owned();
    let owner = Some("ben".to_owned());
    let row = stored(&specification(3, ""), running_at_a(true), Default::default(), "");
    cluster.restart(StoredSweep { request_id, owner, ..row });
    assert_eq!(submit_as(&mut cluster, &ben, "serve"), (1, false));
    assert_eq!(submit_as(&mut cluster, &local, "serve"), (2, true));
}

#[test]
fn a_request_of_no_owner_is_found_by_admins_alone() {
    let mut cluster = Cluster::new();
    let row = stored(&specification(3, ""), running_at_a(true), Default::default(), "");
    cluster.restart(StoredSweep { request_id: "serve".to_owned(), owner: None, ..row });
    assert_eq!(submit_as(&mut cluster, &Issuer::admin("root"), "serve"), (1, false));
    assert_eq!(submit_as(&mut cluster, &Issuer::local(), "serve"), (1, false));
    assert_eq!(submit_as(&mut cluster, &Issuer::named("ann"), "serve"), (2, true));
}

#[test]
fn a_sweep_is_its_owners_after_a_restart() {
    let mut cluster = submitted_by(&Issuer::named("ann"));
    let Some(Record::SweepSubmitted { owner, .. }) = cluster.records.first() else { panic!("no sweep") };
    assert_eq!(owner.as_deref(), Some("ann"));
    let stored = StoredSweep {
        owner: owner.clone(),
        ..stored(&specification(3, ""), running_at_a(true), Default::default(), "")
    };
    cluster.restart(stored);
    assert_eq!(cluster.sweep().owner.as_deref(), Some("ann"));
    assert!(is_refused(&mut cluster, &Issuer::named("ben"), Pause(SWEEP)));
    assert!(!is_refused(&mut cluster, &Issuer::named("ann"), Pause(SWEEP)));
}
