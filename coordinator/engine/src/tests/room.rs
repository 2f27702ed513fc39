//! What is kept in memory of what others send is bounded, however much they send.

use domain::definition::SweepDefinition;
use terms::SweepId;

use super::{
    cluster::{Cluster, key, specification},
    learning::{RATES, search},
};
use crate::{
    CloseReason, ControlError, Effect, Engine, EngineConfig, Event, Hello, Issuer, Now, SessionId,
    SlotDescription, WaitReason,
    command::{Cancel, Retry, Submit},
    control::{SPECIFICATIONS_BYTES_MAX, SPECIFICATIONS_BYTES_OF_OWNER_MAX},
    query::DescribeSweep,
    waiting::LOOKED_AT,
};

pub(super) fn hello(name: &str, slots: u32, description: &str) -> Hello {
    let slot = |index| SlotDescription {
        index,
        device: "cpu".to_owned(),
        description: description.to_owned(),
        pack_size_max: 1,
    };
    Hello {
        name: name.parse().unwrap(),
        instance: "one".to_owned(),
        predecessors: Vec::new(),
        host: String::new(),
        software_version: String::new(),
        slots: (0..slots).map(slot).collect(),
        held: Vec::new(),
        draining: false,
        runs_programs: false,
        spans_slots: false,
        pauses: false,
        checkpoints: String::new(),
        memory_bytes: 0,
        models: terms::manifest::builtins_described().to_vec(),
    }
}

/// How many workers with such hellos are let in, why the next one is not, and whether one that was let in may come again.
fn let_in(slots: u32, description: &str) -> (u64, String, bool) {
    let mut engine = Engine::new(EngineConfig::with_lease_ms(10_000));
    let mut open = |session, name: &str| {
        let hello = hello(name, slots, description);
        let event = Event::SessionOpened { session: SessionId(session), hello };
        let output = engine.hear(Now { monotonic_ms: 0, unix_ms: 0 }, event);
        output.effects.into_iter().find_map(|effect| match effect {
            Effect::Close { session: closed, reason: CloseReason::NoRoom(reason) } if closed.0 == session => {
                Some(reason)
            }
            _ => None,
        })
    };
    let mut session = 0;
    loop {
        session += 1;
        if let Some(reason) = open(session, &format!("w{session}")) {
            return (session - 1, reason, open(session + 1, "w1").is_none());
        }
    }
}

#[test]
fn what_is_kept_of_workers_hellos_is_bounded_in_bytes_for_all_together() {
    let (workers, reason, again) = let_in(1_024, &"d".repeat(400));
    assert!((100..200).contains(&workers), "{workers}");
    assert!(reason.contains("67108864 bytes"), "{reason}");
    assert!(again, "its old hello is forgotten");
}

#[test]
fn so_is_the_number_of_workers() {
    let (workers, reason, again) = let_in(1, "");
    assert_eq!(workers, 10_000);
    assert!(reason.contains("10000 workers are already connected"), "{reason}");
    assert!(again);
}

#[test]
fn so_are_the_specifications_of_all_sweeps() {
    let mut cluster = Cluster::with_sweep(3, "");
    let kept = cluster.definition().text_bytes();
    let room = SPECIFICATIONS_BYTES_MAX - kept;
    assert_eq!(cluster.engine.has_room_for(room, &Issuer::local()), Ok(()));
    let refused = ControlError::TooManySpecifications { kept, bytes: room + 1 };
    assert_eq!(cluster.engine.has_room_for(room + 1, &Issuer::local()), Err(refused));
    assert_eq!(
        cluster.engine.has_room_for(0, &Issuer::local()),
        Ok(()),
        "what makes nothing longer is not refused"
    );
}

#[test]
fn so_are_the_points_of_searches_also_once_they_have_ended() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(2_000, RATES));
    let text = cluster.definition().text_bytes();
    let kept =
        |cluster: &Cluster| match cluster.engine.has_room_for(SPECIFICATIONS_BYTES_MAX, &Issuer::local()) {
            Err(ControlError::TooManySpecifications { kept, .. }) => kept - text,
            other => panic!("{other:?}"),
        };
    let all = kept(&cluster);
    // A parameter of a point takes some hundred bytes, of which a sixth counts.
    let parameters = cluster.definition().specification.axes.len();
    assert!((2_000 * parameters * 16..2_000 * parameters * 24).contains(&all), "{all}");
    cluster.connect(1, "a", 1, &[]);
    (1..=10).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(kept(&cluster), all, "it may propose them all");
    cluster.order(Cancel(SweepId(1)));
    // The eleventh had begun.
    assert_eq!(kept(&cluster), all / 2_000 * 11, "those that it has proposed are kept");
}

/// Tries all jobs of a sweep again, without a searcher.
fn retry_of(cluster: &Cluster, sweep: SweepId) -> Retry {
    Retry {
        sweep,
        jobs: Vec::new(),
        all: true,
        seen: cluster.engine.sweep(sweep).unwrap().ends().clone(),
        revived: Default::default(),
    }
}

#[test]
fn a_search_that_goes_on_needs_room_for_all_that_it_may_propose() {
    let mut cluster = Cluster::new();
    let another = || SweepDefinition::new(SweepId(0), search(10_000, RATES)).unwrap();
    cluster.submit_this(search(10_000, RATES));
    cluster.order(Cancel(SweepId(1)));
    while cluster.try_order(Submit::new(Box::new(another()), String::new()).unwrap()).is_ok() {}
    let retry = retry_of(&cluster, SweepId(1));
    assert!(matches!(cluster.refusal(retry), ControlError::TooManySpecifications { .. }));
    cluster.order(Cancel(SweepId(2)));
    // There is room now, and no searcher was brought.
    let retry = retry_of(&cluster, SweepId(1));
    assert_eq!(cluster.refusal(retry), ControlError::Overtaken);
}

#[test]
fn a_tick_looks_at_each_worker_a_few_times_however_many_sweeps_wait() {
    const WORKERS: u64 = 50;
    let mut cluster = Cluster::with_sweep(100, "");
    let held: Vec<_> = (1..=WORKERS).map(|job| super::cluster::key(job, 1)).collect();
    for session in 1..=WORKERS {
        cluster.connect(session, &format!("w{session}"), 1, &[]);
    }
    for _ in 0..200 {
        let definition = SweepDefinition::new(terms::SweepId(0), specification(1, "")).unwrap();
        let submitted = Submit::new(Box::new(definition), String::new()).unwrap();
        cluster.order(submitted);
    }
    let mut told = 0;
    for _ in 0..50 {
        (1..=WORKERS).zip(&held).for_each(|(session, attempt)| cluster.heartbeat(session, &[*attempt]));
        cluster.take_effects();
        LOOKED_AT.set(0);
        cluster.pass(250);
        assert!(LOOKED_AT.get() <= 2 * WORKERS as usize, "{}", LOOKED_AT.get());
        let told_now = |effect: &Effect| matches!(effect, Effect::Observed { .. });
        told += cluster.take_effects().iter().filter(|effect| told_now(effect)).count();
    }
    assert_eq!(told, 200, "each of those that wait says why, once");
    let last = cluster.ask(&DescribeSweep::new(terms::SweepId(201)));
    let waiting = last.waiting.unwrap();
    assert_eq!(
        (waiting.reason, waiting.text.as_str()),
        (WaitReason::SlotsBusy, "every slot is busy with other sweeps")
    );
}

#[test]
fn the_sweeps_of_one_owner_leave_room_for_those_of_others_and_admins_are_not_bound() {
    let mut cluster = Cluster::new();
    let submit = |cluster: &mut Cluster, issuer: &Issuer| {
        let definition = SweepDefinition::new(SweepId(0), search(10_000, RATES)).unwrap();
        let command = Submit::new(Box::new(definition), String::new()).unwrap().owned_by(issuer.owner());
        cluster.try_order_as(issuer.clone(), command).map(|submitted| submitted.sweep.id())
    };
    let [ann, ben, root] = [Issuer::named("ann"), Issuer::named("ben"), Issuer::admin("root")];
    submit(&mut cluster, &ann).unwrap();
    cluster.order(Cancel(SweepId(1)));
    let refused = loop {
        if let Err(refused) = submit(&mut cluster, &ann) {
            break refused;
        }
    };
    let ControlError::TooManySpecificationsOfOwner { owner, kept, bytes } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(owner, "ann");
    assert!(kept <= SPECIFICATIONS_BYTES_OF_OWNER_MAX && kept + bytes > SPECIFICATIONS_BYTES_OF_OWNER_MAX);
    // What goes on needs room, too, unless an admin has it go on.
    let command = retry_of(&cluster, SweepId(1));
    let refused = cluster.try_order_as(ann, command).unwrap_err();
    assert!(matches!(refused, ControlError::TooManySpecificationsOfOwner { .. }), "{refused:?}");
    let command = retry_of(&cluster, SweepId(1));
    assert_eq!(cluster.try_order_as(root.clone(), command).unwrap_err(), ControlError::Overtaken);
    submit(&mut cluster, &ben).unwrap();
    let refused = loop {
        if let Err(refused) = submit(&mut cluster, &root) {
            break refused;
        }
    };
    assert!(matches!(refused, ControlError::TooManySpecifications { .. }), "{refused:?}");
}
