//! What survives what.

mod power_cuts;

use proptest::prelude::*;
use tempfile::TempDir;
use terms::AttemptKey;

use super::*;
use crate::corruption::corrupted;

fn event(sequence: u64, job: u64, kind: WireKind) -> v1::Event {
    v1::Event { sequence, attempt: Some(AttemptKey::new(1, job, 1).into()), event: Some(kind) }
}

fn epoch(sequence: u64, job: u64) -> v1::Event {
    let record = v1::EpochRecord {
        epoch: 1,
        train_loss: 0.5,
        val_accuracy: 0.5,
        epoch_seconds: 1.0,
        val_loss: Some(0.75),
        train_accuracy: Some(0.25),
        ..v1::EpochRecord::default()
    };
    event(sequence, job, WireKind::Epoch(record))
}

fn end(sequence: u64, job: u64) -> v1::Event {
    let ended = v1::AttemptEnded {
        outcome: 1,
        reason: String::new(),
        log_tail: vec!["x".repeat(20)],
        weights: None,
        ..v1::AttemptEnded::default()
    };
    event(sequence, job, WireKind::Ended(ended))
}

fn sequences(recovered: &Recovered) -> Vec<u64> {
    recovered.events.iter().map(|event| event.sequence).collect()
}

/// Opens the spool again, as a restarted worker would.
fn reopen(folder: &TempDir) -> (Spool, Recovered) {
    Spool::open(folder.path()).unwrap()
}

#[test]
fn a_new_spool_is_empty_and_counts_from_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(reopen(&folder).1, Recovered { next_sequence: 1, events: Vec::new() });
}

#[test]
fn attempts_with_an_end_survive_and_others_are_gone_with_their_trainer() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    for event in [epoch(1, 1), epoch(2, 2), end(3, 1), epoch(4, 2)] {
        spool.append(&event);
    }
    drop(spool);
    let (_, recovered) = reopen(&folder);
    assert_eq!(recovered.events, [epoch(1, 1), end(3, 1)]);
    assert_eq!(recovered.next_sequence, 5);
}

#[test]
fn an_end_that_cannot_be_synced_is_written_to_a_new_file_until_one_can() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let inode = || fs::metadata(folder.path().join(FILE_NAME)).unwrap().ino();
    let (mut spool, _) = reopen(&folder);
    spool.append(&epoch(1, 1));
    spool.sync = |_| Err(io::Error::from_raw_os_error(5));
    let before = inode();
    spool.append(&end(2, 1));
    assert_ne!(inode(), before, "the old file says no more whether it was synced");
    let file = inode();
    assert!(spool.flush());
    assert_eq!(inode(), file, "the new one was synced");
    // A new file cannot be written either.
    fs::create_dir(folder.path().join("events.new")).unwrap();
    spool.append(&end(3, 2));
    assert_eq!(inode(), file);
    // After a failure the system says of the same file that it is synced.
    spool.sync = |_| Ok(());
    assert!(!spool.flush());
    fs::remove_dir(folder.path().join("events.new")).unwrap();
    assert!(spool.flush());
    assert_ne!(inode(), file, "it was tried again");
    drop(spool);
    assert_eq!(sequences(&reopen(&folder).1), [1, 2, 3]);
}

#[test]
fn what_was_acknowledged_does_not_come_back_and_its_numbers_neither() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    for event in [end(1, 1), end(2, 2), end(3, 3)] {
        spool.append(&event);
    }
    spool.forget(2);
    drop(spool);
    let (mut spool, recovered) = reopen(&folder);
    assert_eq!((sequences(&recovered), recovered.next_sequence), (vec![3], 4));
    spool.forget(3);
    drop(spool);
    drop(reopen(&folder));
    assert_eq!(reopen(&folder).1, Recovered { next_sequence: 4, events: Vec::new() });
}

#[test]
fn a_file_cut_at_any_byte_yields_the_whole_records_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    let mut ends = vec![HEADER_BYTES];
    for sequence in 1..=5 {
        spool.append(&end(sequence, sequence));
        ends.push(usize::try_from(spool.end()).unwrap());
    }
    drop(spool);
    let path = folder.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    for cut in HEADER_BYTES..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let recovered = recover(&path).unwrap();
        let expected = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
        assert_eq!(sequences(&recovered), (1..=expected).collect::<Vec<_>>(), "cut at byte {cut}");
    }
}

#[test]
fn a_flipped_byte_never_yields_a_wrong_event() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    (1..=3).for_each(|sequence| spool.append(&end(sequence, sequence)));
    drop(spool);
    let path = folder.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    for at in 8..whole.len() {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 0x40;
        fs::write(&path, &spoilt).unwrap();
        for event in recover(&path).unwrap().events {
            assert_eq!(event, end(event.sequence, event.sequence), "byte {at}");
        }
    }
}

#[test]
fn events_appended_after_a_torn_end_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    spool.append(&end(1, 1));
    spool.append(&end(2, 2));
    drop(spool);
    let path = folder.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let (mut spool, recovered) = reopen(&folder);
    spool.append(&end(recovered.next_sequence, 3));
    drop(spool);
    assert_eq!(reopen(&folder).1.events, [end(1, 1), end(2, 3)]);
}

#[test]
fn a_second_worker_of_the_same_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_spool, _) = reopen(&folder);
    let error = Spool::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("start this one with another --name"), "{error}");
    let holder = format!("is running, process {} on ", std::process::id());
    assert!(error.contains(&holder), "{error}");
    // What is no word of a worker is not shown.
    fs::write(folder.path().join("lock"), "process \u{1b}[31m").unwrap();
    let error = Spool::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is running; start"), "{error}");
}

#[test]
fn a_foreign_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, "the only copy of something that is not ours").unwrap();
    let error = Spool::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is not a spool of this program"), "{error}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("the only copy"));
}

#[test]
fn the_file_stays_small_while_events_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    // Two events wait at any time.
    for sequence in 1..=60_000 {
        spool.append(&epoch(sequence, sequence));
        spool.forget(sequence.saturating_sub(2));
    }
    assert!(spool.end() < 2 * COMPACT_BYTES, "{} bytes", spool.end());
    spool.append(&end(60_001, 59_999));
    drop(spool);
    let (_, recovered) = reopen(&folder);
    assert_eq!((sequences(&recovered), recovered.next_sequence), (vec![59_999, 60_001], 60_002));
}

#[test]
fn a_spool_is_full_when_too_much_is_unacknowledged_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    let reason = "x".repeat(1 << 20);
    let large = |sequence| {
        let ended = v1::AttemptEnded {
            outcome: 3,
            reason: reason.clone(),
            log_tail: Vec::new(),
            weights: None,
            ..v1::AttemptEnded::default()
        };
        event(sequence, sequence, WireKind::Ended(ended))
    };
    (1..=63).for_each(|sequence| spool.append(&large(sequence)));
    assert!(!spool.is_full());
    spool.append(&large(64));
    assert!(spool.is_full());
    spool.forget(1);
    assert!(!spool.is_full());
}

#[test]
fn a_disk_that_refuses_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    spool.append(&end(1, 1));
    // A handle that cannot write stands for a full disk.
    let path = folder.path().join(FILE_NAME);
    let writable = std::mem::replace(&mut spool.file, File::open(&path).unwrap());
    spool.append(&end(2, 2));
    assert!(!spool.flush());
    spool.file = writable;
    spool.append(&end(3, 3));
    assert!(spool.flush());
    drop(spool);
    assert_eq!(sequences(&reopen(&folder).1), [1, 2, 3]);
}

#[test]
fn while_the_disk_is_full_what_is_acknowledged_takes_up_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    spool.append(&end(1, 1));
    let path = folder.path().join(FILE_NAME);
    let writable = std::mem::replace(&mut spool.file, File::open(&path).unwrap());
    for sequence in 2..=1_000 {
        spool.append(&end(sequence, sequence));
        // Up to two wait.
        spool.forget(sequence.saturating_sub(2));
        let unwritten = spool.unwritten.len();
        assert!(
            unwritten <= 2 * record(&end(sequence, sequence)).len(),
            "{unwritten} bytes after {sequence}"
        );
    }
    spool.forget(1_000);
    assert!(spool.unwritten.is_empty() && spool.flush());
    spool.append(&end(1_001, 1_001));
    spool.append(&end(1_002, 1_002));
    spool.forget(1_001);
    spool.file = writable;
    spool.append(&end(1_003, 1_003));
    assert!(spool.flush());
    spool.forget(1_001);
    drop(spool);
    assert_eq!(sequences(&reopen(&folder).1), [1_002, 1_003]);
}

/// The end of an attempt that is more than a coordinator takes, though it has no more than a spool of before could hold.
fn large_end(sequence: u64) -> v1::Event {
    let ended = v1::AttemptEnded {
        outcome: 3,
        reason: "x".repeat(5_400_000),
        log_tail: vec!["y".repeat(10); 60],
        ..v1::AttemptEnded::default()
    };
    event(sequence, sequence, WireKind::Ended(ended))
}

#[track_caller]
fn assert_cut(event: &v1::Event) {
    let Some(WireKind::Ended(ended)) = &event.event else { panic!("{event:?}") };
    assert_eq!((ended.outcome, ended.reason.as_str()), (3, "x".repeat(1_000).as_str()));
    assert_eq!(ended.log_tail, vec!["y".repeat(10); 50]);
}

#[test]
fn an_end_that_no_coordinator_takes_is_cut_and_holds_up_none_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    spool.append(&end(1, 1));
    spool.append(&large_end(2));
    spool.append(&end(3, 3));
    drop(spool);
    let (_, recovered) = reopen(&folder);
    assert_eq!((sequences(&recovered), recovered.next_sequence), (vec![1, 2, 3], 4));
    assert_cut(&recovered.events[1]);
}

#[test]
fn a_spool_that_holds_an_event_that_no_coordinator_takes_loses_none_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(reopen(&folder));
    let path = folder.path().join(FILE_NAME);
    let mut content = fs::read(&path).unwrap();
    [large_end(1), end(2, 2)].iter().for_each(|event| content.extend(record(event)));
    fs::write(&path, content).unwrap();
    // What it was cut to is what lies there from now on.
    for _ in 0..2 {
        let (_, recovered) = reopen(&folder);
        assert_eq!((sequences(&recovered), recovered.next_sequence), (vec![1, 2], 3));
        assert_cut(&recovered.events[0]);
    }
}

/// A spool's file with three events, the first of which is acknowledged.
fn file() -> (Vec<u8>, Vec<v1::Event>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(&folder);
    let events = [end(1, 1), epoch(2, 2), end(3, 2)];
    events.iter().for_each(|event| spool.append(event));
    spool.forget(1);
    drop(spool);
    (fs::read(folder.path().join(FILE_NAME)).unwrap(), events.into())
}

proptest! {
    #[test]
    fn whatever_bytes_lie_there_only_events_that_were_written_come_out(bytes in corrupted(file().0)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), &bytes).unwrap();
        if let Ok((mut spool, recovered)) = Spool::open(folder.path()) {
            let (_, written) = file();
            for event in &recovered.events {
                prop_assert!(written.contains(event), "{event:?} was never written");
            }
            // It goes on.
            let next = end(recovered.next_sequence, 9);
            spool.append(&next);
            drop(spool);
            let (_, again) = reopen(&folder);
            prop_assert!(again.events.contains(&next));
        }
    }
}

#[test]
fn a_child_that_still_shares_the_lock_does_not_keep_the_spool_from_who_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    // Has the lock's open file description, as a child has between fork and exec; here until its input ends.
    let holding = |lock: &File| {
        let mut child = std::process::Command::new("cat");
        child.stdin(std::process::Stdio::piped()).stdout(lock.try_clone().unwrap()).spawn().unwrap()
    };
    // A lock goes with the last copy of its description, not with the descriptor that is closed here.
    let lock = File::create(folder.path().join("other")).unwrap();
    lock.try_lock().unwrap();
    let mut child = holding(&lock);
    drop(lock);
    let again = File::create(folder.path().join("other")).unwrap();
    assert!(matches!(again.try_lock(), Err(fs::TryLockError::WouldBlock)), "it is closed, and still locked");
    drop(child.stdin.take());
    child.wait().unwrap();
    again.try_lock().unwrap();
    // So the spool releases it.
    let (spool, _) = Spool::open(folder.path()).unwrap();
    let mut child = holding(&spool.lock);
    assert!(matches!(Spool::open(folder.path()), Err(SpoolError::Taken { .. })));
    drop(spool);
    let opened = Spool::open(folder.path());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(opened.is_ok(), "{:?}", opened.err());
}
