//! What is a snapshot, and what is none.

use super::*;

fn file(path: &str) -> SnapshotFile {
    SnapshotFile { path: path.to_owned(), executable: false, bytes: 3, blake3: ContentHash::of(b"abc") }
}

fn snapshot(paths: &[&str]) -> Result<SnapshotManifest, SnapshotError> {
    SnapshotManifest::new(paths.iter().map(|path| file(path)).collect())
}

#[test]
fn a_snapshot_has_one_name_whatever_the_order_of_its_files() {
    let one = snapshot(&["train.py", "lib/a.py", "lib-b/a.py"]).unwrap();
    let other = snapshot(&["lib-b/a.py", "train.py", "lib/a.py"]).unwrap();
    assert_eq!((one.id(), &one), (other.id(), &other));
    assert_eq!(one.contents(), [(ContentHash::of(b"abc"), 3)]);
    assert_eq!(one.bytes(), 9);
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<SnapshotManifest>(&text).unwrap(), one);
    let mut executable = one.files().to_vec();
    executable[0].executable = true;
    let mut changed = one.files().to_vec();
    changed[0].blake3 = ContentHash::of(b"abd");
    let ids = [one.files().to_vec(), executable, changed]
        .map(|files| SnapshotManifest::new(files).unwrap().id().to_string());
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    assert!(ids.iter().all(|id| id.len() == 64 && id.parse::<SnapshotId>().is_ok()));
}

#[test]
fn paths_that_lead_out_of_the_folder_are_refused() {
    let long = "a".repeat(256);
    let longer = format!("{}/x", "a".repeat(200)).repeat(6);
    for path in [
        "",
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "..",
        "a\0b",
        "a\nb",
        "a/./b",
        &long,
        &longer,
        &"a/".repeat(40),
    ] {
        assert!(matches!(snapshot(&[path]), Err(SnapshotError::Path { .. })), "{path:?}");
    }
    for path in ["a", "...", "..a", "a b", "\u{8a9e}/\u{8a9e}.py", ".env", "a\\b", "-rf"] {
        assert!(snapshot(&[path]).is_ok(), "{path:?}");
    }
    let json = r#"{"files":[{"path":"../a","bytes":1,"blake3":"HASH"}]}"#;
    let json = json.replace("HASH", &ContentHash::of(b"").to_string());
    assert!(serde_json::from_str::<SnapshotManifest>(&json).is_err());
}

#[test]
fn paths_that_are_one_where_case_does_not_count_are_refused() {
    for paths in [
        ["a", "a"],
        ["a.py", "A.py"],
        ["lib/a.py", "Lib/b.py"],
        ["a", "a/b"],
        ["A/b", "a"],
        ["x/\u{e4}", "x/\u{c4}"],
    ] {
        assert!(matches!(snapshot(&paths), Err(SnapshotError::Clash { .. })), "{paths:?}");
        // Whatever stands between them in the order of bytes.
        let more = [paths[0], "a-b", "a.b", "b", "lib.py", "x", paths[1]];
        let more: Vec<&str> =
            more.into_iter().filter(|path| *path != "x" || !paths[0].starts_with('x')).collect();
        assert!(matches!(snapshot(&more), Err(SnapshotError::Clash { .. })), "{more:?}");
    }
    assert!(snapshot(&["a", "ab", "a.b", "b/a", "b/b/a", "c/a"]).is_ok());
}

#[test]
fn bounds_say_what_to_do() {
    let told = |files: Vec<SnapshotFile>| SnapshotManifest::new(files).unwrap_err().to_string();
    let many = (0..=SNAPSHOT_FILES_MAX).map(|number| file(&number.to_string())).collect();
    assert!(told(many).contains("put data on a share"));
    let long = SnapshotFile { bytes: SNAPSHOT_FILE_BYTES_MAX + 1, ..file("data.bin") };
    assert!(told(vec![long]).starts_with("data.bin has 67108865 bytes"));
    let part = |number: u8| SnapshotFile {
        bytes: SNAPSHOT_FILE_BYTES_MAX,
        blake3: ContentHash::of(&[number]),
        ..file(&number.to_string())
    };
    assert!(SnapshotManifest::new((0..4).map(part).collect()).is_ok());
    assert!(told((0..5).map(part).collect()).contains("256 MiB"));
    let name = |number: usize| format!("{}/{number}", "n".repeat(200));
    let paths = (0..6_000).map(|number| file(&name(number))).collect();
    assert!(told(paths).contains("name fewer files"));
    assert_eq!(SnapshotManifest::new(Vec::new()), Err(SnapshotError::Empty));
    let other_length = SnapshotFile { bytes: 4, ..file("b") };
    assert!(told(vec![file("a"), other_length]).contains("another length"));
}

#[test]
fn a_hash_has_one_spelling() {
    let hash = ContentHash::of(b"");
    assert_eq!(hash.to_string().parse(), Ok(hash));
    for wrong in ["", "00", &hash.to_string().to_uppercase(), &format!("{hash}0"), "../../etc/passwd"] {
        assert_eq!(wrong.parse::<ContentHash>(), Err(HashError), "{wrong}");
    }
}
