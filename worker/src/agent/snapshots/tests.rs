//! Files of programs come once, whole and unharmed, whatever the coordinator and the disk do.

use std::{
    fs,
    future::poll_fn,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::SystemTime,
};

use proptest::prelude::*;
use terms::snapshot::{ContentHash, SnapshotFile, SnapshotManifest};

use super::{
    fetch::{Piece, Source},
    *,
};

/// What becomes of an answer on its way.
type Harm = fn(&mut Vec<Piece>);

/// A coordinator with one snapshot.
#[derive(Default)]
struct Fake {
    files: Vec<(String, Vec<u8>)>,
    /// Bytes of an answer, as many as the coordinator puts into one.
    room: usize,
    /// What its pieces are before they leave.
    harm: Mutex<Option<Harm>>,
    asked: AtomicUsize,
    sent: AtomicUsize,
}

impl Fake {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        Self { files, room: 1 << 20, ..Self::default() }
    }

    fn manifest(&self) -> SnapshotManifest {
        let file = |(path, content): &(String, Vec<u8>)| SnapshotFile {
            path: path.clone(),
            executable: path.starts_with("bin/"),
            bytes: content.len() as u64,
            blake3: ContentHash::of(content),
        };
        SnapshotManifest::new(self.files.iter().map(file).collect()).unwrap()
    }

    fn sent(&self) -> usize {
        self.sent.swap(0, Ordering::Relaxed)
    }
}

impl Source for &Fake {
    async fn manifest(&self, _: SnapshotId) -> Result<SnapshotManifest, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Fake::manifest(self))
    }

    async fn contents(&self, wanted: Vec<Piece>) -> Result<Vec<Piece>, String> {
        // Others are to come in between.
        tokio::task::yield_now().await;
        let (mut room, mut pieces) = (self.room, Vec::new());
        for mut piece in wanted {
            let content = self.files.iter().find(|(_, content)| ContentHash::of(content) == piece.content);
            let content = &content.ok_or("there is none")?.1[piece.offset as usize..];
            let data = &content[..content.len().min(room)];
            if data.is_empty() && !content.is_empty() {
                break;
            }
            room -= data.len();
            piece.data = data.to_vec();
            pieces.push(piece);
            if data.len() < content.len() {
                break;
            }
        }
        if let Some(harm) = *self.harm.lock().unwrap() {
            harm(&mut pieces);
        }
        self.sent.fetch_add(pieces.iter().map(|piece| piece.data.len()).sum(), Ordering::Relaxed);
        Ok(pieces)
    }
}

struct Machine {
    cache: tempfile::TempDir,
    spool: tempfile::TempDir,
    tidying: TaskTracker,
}

impl Machine {
    fn new() -> Self {
        let (cache, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { cache, spool, tidying: TaskTracker::new() }
    }

    /// The folders of attempts once everything that was begun has ended.
    async fn folders(&self) -> Vec<String> {
        self.tidying.close();
        self.tidying.wait().await;
        self.tidying.reopen();
        let folders = fs::read_dir(self.spool.path().join("programs")).unwrap();
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn worker<'a>(&self, fake: &'a Fake) -> Snapshots<&'a Fake> {
        Snapshots::open(fake, self.cache.path(), self.spool.path(), self.tidying.clone()).unwrap()
    }
}

fn attempt(number: u32) -> AttemptKey {
    AttemptKey::new(1, 2, number)
}

fn project() -> Fake {
    Fake::new(&[
        ("train.py", b"print()"),
        ("bin/run", b"#!/bin/sh"),
        ("lib/empty.py", b""),
        ("lib/same.py", b"print()"),
    ])
}

#[tokio::test]
async fn each_attempt_has_a_folder_of_its_own_and_the_files_come_once() {
    let (fake, machine) = (project(), Machine::new());
    let worker = machine.worker(&fake);
    let id = fake.manifest().id();
    let folder = worker.folder_for(attempt(1), id).await.unwrap().give();
    assert_eq!(fs::read(folder.join("lib/same.py")).unwrap(), b"print()");
    assert_eq!(fs::read(folder.join("lib/empty.py")).unwrap(), b"");
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o100;
    assert!(mode("bin/run") != 0 && mode("train.py") == 0);
    assert_eq!(fake.sent(), 16, "one content of two files");
    // What a program does to its files concerns no other job.
    fs::write(folder.join("train.py"), "harm").unwrap();
    let other = worker.folder_for(attempt(2), id).await.unwrap().give();
    assert_eq!(fs::read(other.join("train.py")).unwrap(), b"print()");
    let again = worker.folder_for(attempt(1), id).await.unwrap().give();
    assert_eq!(
        (again.clone(), fs::read(again.join("train.py")).unwrap()),
        (folder.clone(), b"print()".to_vec())
    );
    assert_eq!((fake.sent(), fake.asked.load(Ordering::Relaxed)), (0, 1));
    worker.remove(attempt(1)).await;
    assert!(!folder.exists() && other.exists());
    // The next process removes what this one leaves, also where the program did not want that.
    fs::set_permissions(other.join("lib"), fs::Permissions::from_mode(0o500)).unwrap();
    machine.worker(&fake);
    assert!(!other.exists());
}

#[tokio::test]
async fn nothing_stays_of_a_folder_that_no_one_wants_any_more() {
    let files: Vec<(String, Vec<u8>)> =
        (0..50).map(|number| (format!("d{number}/f"), vec![number; 9_000])).collect();
    let fake = Fake { files, room: 1 << 20, ..Fake::default() };
    let machine = Machine::new();
    let (worker, id) = (machine.worker(&fake), fake.manifest().id());
    drop(worker.folder_for(attempt(1), id).await.unwrap());
    assert_eq!(machine.folders().await, [""; 0], "the trainer was gone before it had the job");
    // Given up wherever it waits.
    for steps in 0..200 {
        let mut folder = Box::pin(worker.folder_for(attempt(2), id));
        for _ in 0..steps {
            if poll_fn(|context| Poll::Ready(folder.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
        drop(folder);
        assert_eq!(machine.folders().await, [""; 0], "given up after {steps} steps");
    }
    let kept = worker.folder_for(attempt(3), id).await.unwrap().give();
    assert_eq!((machine.folders().await.len(), kept.exists()), (1, true));
}

#[tokio::test]
async fn nothing_stays_of_a_folder_that_cannot_be_unpacked() {
    let (fake, machine) = (project(), Machine::new());
    let worker = machine.worker(&fake);
    let manifest = fake.manifest();
    worker.folder_for(attempt(1), manifest.id()).await.unwrap();
    worker.cache.forget(ContentHash::of(b"print()"));
    let unpack = |is_wanted: bool| worker.folders.unpack(attempt(2), &manifest, &worker.cache, || is_wanted);
    assert!(matches!(unpack(true), Err(UnpackError::Corrupt(_))));
    assert_eq!(machine.folders().await, [""; 0]);
    assert!(matches!(unpack(false), Err(UnpackError::Unwanted)));
    assert_eq!(machine.folders().await, [""; 0]);
}

#[tokio::test]
async fn several_slots_fetch_a_snapshot_once() {
    let (fake, machine) = (project(), Machine::new());
    let (one, other) = (machine.worker(&fake), Machine::new());
    let other =
        Snapshots::open(&fake, machine.cache.path(), other.spool.path(), other.tidying.clone()).unwrap();
    let id = fake.manifest().id();
    let folders = tokio::join!(
        one.folder_for(attempt(1), id),
        one.folder_for(attempt(2), id),
        other.folder_for(attempt(3), id)
    );
    assert!(folders.0.is_ok() && folders.1.is_ok() && folders.2.is_ok());
    assert_eq!((fake.sent(), fake.asked.load(Ordering::Relaxed)), (16, 1));
}

#[tokio::test]
async fn what_is_corrupt_on_the_way_is_not_kept_and_the_attempt_is_not_to_blame() {
    let harms: [fn(&mut Vec<Piece>); 6] = [
        |pieces| pieces[0].data[0] ^= 1,
        |pieces| pieces.clear(),
        |pieces| pieces.reverse(),
        |pieces| pieces[0].offset += 1,
        |pieces| pieces[0].data.push(0),
        |pieces| pieces[0].data.clear(),
    ];
    for harm in harms {
        let (fake, machine) = (Fake::new(&[("a", b"abc"), ("b", b"def")]), Machine::new());
        let worker = machine.worker(&fake);
        *fake.harm.lock().unwrap() = Some(harm);
        let told = worker.folder_for(attempt(1), fake.manifest().id()).await.unwrap_err().to_string();
        assert!(told.contains("cannot be fetched from the coordinator"), "{told}");
        *fake.harm.lock().unwrap() = None;
        let folder = worker.folder_for(attempt(2), fake.manifest().id()).await.unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"abc");
    }
}

#[tokio::test]
async fn another_manifest_than_was_asked_for_is_refused() {
    let (fake, machine) = (project(), Machine::new());
    let other = Fake::new(&[("x", b"x")]).manifest().id();
    let told = machine.worker(&fake).folder_for(attempt(1), other).await.unwrap_err().to_string();
    assert!(told.contains("about other files"), "{told}");
}

#[tokio::test]
async fn what_a_power_cut_did_to_the_cache_is_fetched_again() {
    let (fake, machine) = (project(), Machine::new());
    let worker = machine.worker(&fake);
    let id = fake.manifest().id();
    worker.folder_for(attempt(1), id).await.unwrap();
    fake.sent();
    let content = ContentHash::of(b"print()").to_string();
    let place = machine.cache.path().join("contents").join(&content[..2]).join(&content);
    for harm in [&b"\0\0\0\0\0\0\0"[..], b"", b"print"] {
        fs::write(&place, harm).unwrap();
        let folder = worker.folder_for(attempt(2), id).await.unwrap().give();
        assert_eq!(fs::read(folder.join("train.py")).unwrap(), b"print()");
        assert_eq!(fake.sent(), 7);
    }
    fs::write(machine.cache.path().join("manifests").join(format!("{id}.json")), "{").unwrap();
    assert!(worker.folder_for(attempt(2), id).await.is_ok());
}

#[tokio::test]
async fn the_snapshots_that_were_used_last_stay_and_none_that_is_in_use_goes() {
    let machine = Machine::new();
    let contents: Vec<Vec<u8>> = (0..4).map(|number| vec![number; 1_000]).collect();
    let fakes: Vec<Fake> =
        contents.iter().map(|content| Fake::new(&[("a", content), ("all", b"all")])).collect();
    for (number, fake) in (0..).zip(&fakes) {
        let worker = machine.worker(fake);
        worker.folder_for(attempt(number), fake.manifest().id()).await.unwrap();
        let manifest = machine.cache.path().join("manifests").join(format!("{}.json", fake.manifest().id()));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number));
        fs::File::options().append(true).open(manifest).unwrap().set_modified(time).unwrap();
    }
    fs::write(machine.cache.path().join("contents/00").with_file_name("x"), "").unwrap();
    let cache = Cache::with_bytes_max(machine.cache.path().to_owned(), 2_100);
    let here = || {
        let here = |content: &Vec<u8>| cache.has(ContentHash::of(content), 1_000);
        contents.iter().map(here).collect::<Vec<bool>>()
    };
    let used = cache.using().await.unwrap();
    cache.make_room().unwrap();
    assert_eq!(here(), [true; 4]);
    drop(used);
    cache.make_room().unwrap();
    assert_eq!(here(), [false, false, true, true]);
    assert!(cache.has(ContentHash::of(b"all"), 3), "what others have, too, stays");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn files_arrive_as_they_are_however_they_are_cut(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        room in 1..400_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let files: Vec<(String, Vec<u8>)> =
            contents.into_iter().enumerate().map(|(number, content)| (format!("d{}/f{number}", number % 3), content)).collect();
        let fake = Fake { files, room, ..Fake::default() };
        let machine = Machine::new();
        let folder = runtime.block_on(machine.worker(&fake).folder_for(attempt(1), fake.manifest().id())).unwrap();
        for (path, content) in &fake.files {
            prop_assert_eq!(&fs::read(folder.path().join(path)).unwrap(), content);
        }
    }
}
