//! Power cuts: the end of an attempt that was spooled, and what came before it, are there after any of them.

use ::tests::{
    Random,
    power_cut::{Cut, FOLDER, Recording, mark},
};

use super::*;

/// Cuts at random; `POWER_CUTS` asks for more.
const CUTS: u64 = 1_000;
/// Events in all: enough that the file is rewritten a few times, as it is from a mebibyte on.
const EVENTS: u64 = 1_500;

/// What a worker does with its spool.
enum Step {
    Append(Box<v1::Event>),
    Forget(u64),
    Restart,
}

/// Jobs one after the other in two slots, with logs of up to some kilobytes, and a coordinator that acknowledges now and
/// then. Each attempt has its number in place of a job's.
fn steps() -> Vec<Step> {
    let mut random = Random(7);
    let (mut steps, mut slots, mut next_job) = (Vec::new(), [1, 2], 3);
    for sequence in 1..=EVENTS {
        let slot = &mut slots[usize::from(random.one_in(2))];
        let event = if random.one_in(4) {
            let lines = (0..random.below(4)).map(|_| "x".repeat(1 << random.below(12))).collect();
            let ended = v1::AttemptEnded {
                outcome: 1,
                reason: String::new(),
                log_tail: lines,
                weights: None,
                ..v1::AttemptEnded::default()
            };
            let event = event(sequence, *slot, WireKind::Ended(ended));
            (*slot, next_job) = (next_job, next_job + 1);
            event
        } else {
            epoch(sequence, *slot)
        };
        steps.push(Step::Append(Box::new(event)));
        if random.one_in(50) {
            steps.push(Step::Forget(sequence - random.below(sequence.min(40))));
        }
        if random.one_in(400) {
            steps.push(Step::Restart);
            // Attempts without an end are gone with their trainers.
            (slots, next_job) = ([next_job, next_job + 1], next_job + 2);
        }
    }
    steps
}

/// What is recorded: each step, marked when it is done.
#[test]
#[ignore = "run by the test below, recorded"]
fn a_spool_that_is_recorded() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let mut spool = Some(Spool::open(folder).unwrap().0);
    for (number, step) in (1..).zip(steps()) {
        let open = spool.as_mut().unwrap();
        match step {
            Step::Append(event) => open.append(&event),
            Step::Forget(through) => open.forget(through),
            Step::Restart => {
                drop(spool.take());
                spool = Some(Spool::open(folder).unwrap().0);
            }
        }
        mark(number);
    }
}

/// Opens the spool that a cut left; what is wrong with it, if anything is.
fn wrong(cut: &Cut, steps: &[Step]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    cut.restore(folder.path());
    let recovered = match Spool::open(folder.path()) {
        Ok((_, recovered)) => recovered,
        Err(error) => return Some(error.to_string()),
    };
    let done = usize::try_from(cut.mark).unwrap();
    // The step that was on its way may have been done, too.
    let begun = (done + 1).min(steps.len());
    let appended = |steps: &'_ [Step]| -> Vec<v1::Event> {
        let event = |step: &Step| if let Step::Append(event) = step { Some((**event).clone()) } else { None };
        steps.iter().filter_map(event).collect()
    };
    let forgotten = |steps: &[Step]| {
        let through = |step: &Step| if let Step::Forget(through) = step { Some(*through) } else { None };
        steps.iter().filter_map(through).max().unwrap_or(0)
    };
    let known = appended(&steps[..begun]);
    let mut last = 0;
    for event in &recovered.events {
        if event.sequence <= last || !known.contains(event) {
            return Some(format!("an event {} that never was, or twice", event.sequence));
        }
        last = event.sequence;
    }
    let promised = appended(&steps[..done]);
    let ended: BTreeSet<_> = promised.iter().filter(|event| is_end(event)).map(attempt_of).collect();
    let acknowledged = forgotten(&steps[..begun]);
    let lost = promised.iter().find(|event| {
        event.sequence > acknowledged
            && ended.contains(&attempt_of(event))
            && !recovered.events.contains(event)
    });
    lost.map(|event| format!("the event {} of {} is lost", event.sequence, promised.len()))
}

#[test]
fn a_power_cut_takes_no_attempt_that_had_its_end() {
    let Some(recording) = Recording::of_test("agent::spool::tests::power_cuts::a_spool_that_is_recorded")
    else {
        return;
    };
    let cuts = std::env::var("POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS);
    let steps = steps();
    let found: Vec<String> = recording.cuts(cuts, 0).filter_map(|cut| wrong(&cut, &steps)).collect();
    terminal::say!("{cuts} cuts among {} calls: {} wrong", recording.len(), found.len());
    assert!(found.is_empty(), "{:?}", found.first());
    let mutant = recording.without_syncs();
    let found = mutant.cuts(cuts, 0).filter(|cut| wrong(cut, &steps).is_some()).count();
    terminal::say!("without syncs, {found} of {cuts} cuts took something");
    assert!(found > 0, "cuts do not notice that nothing is synced");
}

#[test]
#[ignore = "run by the test below, recorded"]
fn an_end_that_the_disk_refuses_at_first() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (mut spool, _) = Spool::open(folder).unwrap();
    let writable = std::mem::replace(&mut spool.file, File::open(folder.join(FILE_NAME)).unwrap());
    spool.append(&end(1, 1));
    assert!(!spool.flush(), "it cannot be written");
    spool.file = writable;
    assert!(spool.flush());
    mark(1);
}

#[test]
fn a_power_cut_takes_no_end_that_was_written_late() {
    let name = "agent::spool::tests::power_cuts::an_end_that_the_disk_refuses_at_first";
    let Some(recording) = Recording::of_test(name) else { return };
    for cut in recording.cuts(200, 0).filter(|cut| cut.mark == 1) {
        let folder = tempfile::tempdir().unwrap();
        cut.restore(folder.path());
        assert_eq!(Spool::open(folder.path()).unwrap().1.events, [end(1, 1)]);
    }
}
