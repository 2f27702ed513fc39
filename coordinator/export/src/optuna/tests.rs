//! What is written; that Optuna reads it is tested with Optuna.

use std::fs;

use super::*;
use crate::{Shape, samples};

fn write(path: &Path) {
    let (sweep, parameters, jobs) = samples::sweep();
    let mut export = Box::new(OptunaFile::create(path, &sweep, parameters).unwrap());
    for (job, epochs) in &jobs {
        export.job(job, epochs).unwrap();
    }
    assert_eq!(export.finish().unwrap(), Vec::<String>::new());
}

#[test]
fn the_same_sweep_gives_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.db", "b.db"].map(|name| folder.path().join(name));
    paths.iter().for_each(|path| write(path));
    let [one, two] = paths.map(|path| fs::read(path).unwrap());
    assert!(one == two && one.starts_with(b"SQLite format 3"));
}

#[test]
fn a_file_that_holds_more_than_an_export_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    for (added, is_export) in [
        ("", true),
        ("INSERT INTO trials VALUES (4, 3, 1, 'COMPLETE', NULL, NULL)", false),
        ("INSERT INTO studies VALUES (2, 'own')", false),
    ] {
        let _ = fs::remove_file(&path);
        write(&path);
        Connection::open(&path).unwrap().execute_batch(added).unwrap();
        let held = crate::place::held(&path, Shape::Optuna).unwrap();
        assert_eq!(matches!(held, Held::Export(of) if of.id == 7), is_export, "{added}");
    }
    fs::write(&path, "text").unwrap();
    assert_eq!(held(&path), Held::Other);
}

#[test]
fn jobs_that_have_not_begun_are_left_out_and_leave_no_gap_in_the_numbers() {
    let (sweep, parameters, jobs) = samples::sweep();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut export = Box::new(OptunaFile::create(&path, &sweep, parameters).unwrap());
    for (job, epochs) in &jobs {
        let waits = job.number == 2;
        let state = if waits { Some(JobState::Pending) } else { job.state };
        let attempts = if waits { 0 } else { job.attempts };
        export.job(&Job { state, attempts, ..job.clone() }, if waits { &[] } else { epochs }).unwrap();
    }
    let notes = export.finish().unwrap();
    assert!(notes[0].starts_with("1 of the jobs have not begun, and have no trial"), "{notes:?}");
    let connection = Connection::open(&path).unwrap();
    let mut asked = connection.prepare("SELECT trial_id, number FROM trials ORDER BY 1").unwrap();
    let trials = asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let trials: Vec<(i64, i64)> = trials.map(Result::unwrap).collect();
    assert_eq!(trials, [(1, 0), (3, 1)]);
    assert!(matches!(held(&path), Held::Export(of) if of.id == 7), "it may be replaced");
}

#[test]
fn trials_have_the_states_of_their_jobs() {
    let job = |state, attempts| Job { state: Some(state), attempts, ..Job::default() };
    for (state, attempts, value, expected) in [
        (JobState::Done, 1, Some(0.5), Some("COMPLETE")),
        // Optuna would take it for the best.
        (JobState::Done, 1, None, Some("FAIL")),
        (JobState::Stopped, 1, Some(0.5), Some("PRUNED")),
        (JobState::Diverged, 1, None, Some("FAIL")),
        (JobState::Failed, 3, None, Some("FAIL")),
        (JobState::Cancelled, 0, None, Some("FAIL")),
        (JobState::Running, 1, None, Some("RUNNING")),
        (JobState::Paused, 1, Some(0.5), Some("RUNNING")),
        (JobState::Pending, 0, None, None),
        (JobState::Pending, 1, None, Some("RUNNING")),
    ] {
        assert_eq!(state_of(&job(state, attempts), value), expected, "{state:?}");
    }
    assert_eq!(date(1_700_000_000_007).unwrap(), "2023-11-14 22:13:20.007000");
}
