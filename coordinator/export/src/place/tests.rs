//! What is replaced, and what is not.

use std::io::Write;

use super::*;
use crate::samples;

fn sweep(id: u64) -> Sweep {
    Sweep { id, ..samples::sweep().0 }
}

const JOBS: &str = "job,rate,state,attempts,worker,epochs_done,train_seconds,loss\n";
const EPOCHS: &str = "job,attempt,epoch,loss,epoch_seconds\n";

fn document_of(id: u64) -> String {
    let sweep = serde_json::to_string(&Identity::of(&sweep(id))).unwrap();
    format!("{{\n\"sweep\": {sweep},\n\"jobs\": [\n]\n}}\n")
}

/// Puts a document of sweep 7 at a path.
fn put(path: &Path, kind: DocumentKind, may_replace: bool) -> Result<(), PlaceError> {
    let place = Place::open(path, Shape::Document(kind), &sweep(7), may_replace)?;
    File::create(place.unfinished()).unwrap().write_all(b"new").unwrap();
    place.put()
}

#[test]
fn an_export_is_replaced_and_another_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b.csv");
    let kinds = [DocumentKind::Jobs, DocumentKind::Epochs, DocumentKind::Json];
    for (content, replaced_by) in [
        ("", &kinds[..]),
        (JOBS, &[DocumentKind::Jobs]),
        (EPOCHS, &[DocumentKind::Epochs]),
        (&document_of(7), &[DocumentKind::Json]),
        (&document_of(8), &[]),
        ("{\"sweep\": {\"id\": 7}}", &[]),
        ("job,state\n", &[]),
        ("\u{0}\u{1}", &[]),
    ] {
        for kind in kinds {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let is_replaced = put(&path, kind, false).is_ok();
            assert_eq!(is_replaced, replaced_by.contains(&kind), "{content:?} by {kind:?}");
            let expected = if is_replaced { "new" } else { content };
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert!(put(&path, kind, true).is_ok(), "with --force");
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        }
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_table_is_replaced_unless_something_in_it_says_that_it_is_of_another_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.csv");
    // The sweep was submitted at 22:13:20 and ended at 22:15:00.
    let jobs = |number, started, ended| {
        format!(
            "job,rate,state,attempts,worker,epochs_done,train_seconds,loss,started,ended\n\
             1,0.1,done,1,a,2,3,0.5,,\n{number},0.2,done,1,a,2,3,0.5,{started},{ended}\n"
        )
    };
    let at = |time: &str| format!("2023-11-14T{time}.000Z");
    for (content, kind, why) in [
        (jobs(2, at("22:13:21"), at("22:14:00")), DocumentKind::Jobs, None),
        (jobs(2, String::new(), String::new()), DocumentKind::Jobs, None),
        (JOBS.replace("rate", "lr"), DocumentKind::Jobs, Some("it has a column \"lr\"")),
        (EPOCHS.replace("loss", "score"), DocumentKind::Epochs, Some("it has a column \"score\"")),
        (format!("{EPOCHS}3,1,1,0.5,2\n"), DocumentKind::Epochs, None),
        (format!("{EPOCHS}4,1,1,0.5,2\n"), DocumentKind::Epochs, Some("it has a job 4")),
        (
            jobs(2, at("22:13:19"), at("22:14:00")),
            DocumentKind::Jobs,
            Some("its job 2 began before this sweep was submitted"),
        ),
        (
            jobs(2, at("22:14:00"), at("22:15:01")),
            DocumentKind::Jobs,
            Some("its job 2 trained after this sweep had ended"),
        ),
    ] {
        fs::write(&path, &content).unwrap();
        let told = put(&path, kind, false).err().map(|error| error.to_string());
        let says =
            |why: &str| told.as_ref().is_some_and(|told| told.contains(&format!("another sweep, as {why};")));
        assert!(why.map_or(told.is_none(), says), "{content}: {told:?}");
        assert!(put(&path, kind, true).is_ok(), "with --force");
    }
    // A row that is cut where no more is looked at says nothing.
    let row = "1,0.1,done,1,a,2,3,0.5,2023-11-14T22:13:21.000Z,2023-11-14T22:14:00.000Z\n";
    for more in 1..=row.len() {
        let begin =
            jobs(2, at("22:13:21"), at("22:14:00")).replacen(",a,", &format!(",{},", "a".repeat(more)), 1);
        fs::write(&path, begin + &row.repeat((1 << 20) / row.len() + 1)).unwrap();
        let told = put(&path, DocumentKind::Jobs, false);
        assert!(told.is_ok(), "{more}: {told:?}");
    }
}

#[test]
fn a_message_says_whose_export_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    fs::write(&path, document_of(8)).unwrap();
    let told = put(&path, DocumentKind::Json, false).unwrap_err().to_string();
    assert!(told.contains("holds the export of another sweep (digits, sweep 8)"), "{told}");
}

#[test]
fn a_folder_is_never_replaced_by_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("precious"), "").unwrap();
    for may_replace in [false, true] {
        let told = put(&path, DocumentKind::Json, may_replace).unwrap_err();
        assert!(matches!(told, PlaceError::NoFile(_)), "{told}");
    }
    assert!(path.join("precious").exists());
}

#[test]
fn what_is_not_finished_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    fs::write(&path, JOBS).unwrap();
    let place = Place::open(&path, Shape::Document(DocumentKind::Jobs), &sweep(7), false).unwrap();
    fs::write(place.unfinished(), "half").unwrap();
    drop(place);
    assert_eq!(fs::read_to_string(&path).unwrap(), JOBS);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
