//! What is replaced, and what is not.

use std::io::Write;

use super::*;

fn sweep(id: u64) -> Identity {
    Identity { id, name: "digits".into(), created: Some("2026-01-01T00:00:00.000Z".into()) }
}

const JOBS: &str = "job,lr,state,attempts,worker,epochs_done,train_seconds,loss\n";
const EPOCHS: &str = "job,attempt,epoch,loss,epoch_seconds\n";

fn document_of(id: u64) -> String {
    let sweep = serde_json::to_string(&sweep(id)).unwrap();
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
