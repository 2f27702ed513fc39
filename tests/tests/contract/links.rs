//! A database has one coordinator, whichever name it is opened by.

use std::os::unix::fs::symlink;

use domain::record::{Quota, Record};
use store::{StoreError, open};

#[tokio::test]
async fn two_coordinators_cannot_share_a_file_through_links() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    for folder in [&here, &there] {
        std::fs::create_dir(folder).unwrap();
    }
    // Links to the file, to a link, to its folder, relative ones, and all of them before the file exists.
    symlink("../here/sweep.db", there.join("link.db")).unwrap();
    symlink(there.join("link.db"), there.join("twice.db")).unwrap();
    symlink(&here, folder.path().join("folder")).unwrap();
    let url = |path: std::path::PathBuf| format!("sqlite:{}", path.display());
    let urls = [
        url(here.join("sweep.db")),
        url(there.join("link.db")),
        url(there.join("twice.db")),
        url(folder.path().join("folder/sweep.db")),
    ];
    for first in &urls {
        let store = open(first).await.unwrap();
        for second in &urls {
            let opened = open(second).await;
            assert!(matches!(opened, Err(StoreError::InUse { .. })), "{first} {second}: {opened:?}");
        }
        store.close().await;
        drop(store);
        assert!(here.join("sweep.db").is_file() && !there.join("sweep.db").exists());
        for path in ["sweep.db", "sweep.db-wal", "sweep.db-shm"] {
            // As if it were the first.
            let _ = std::fs::remove_file(here.join(path));
        }
    }
    symlink("circle.db", here.join("circle.db")).unwrap();
    let circle = open(&url(here.join("circle.db"))).await;
    assert!(matches!(circle, Err(StoreError::Open { .. })), "{circle:?}");
}

#[tokio::test]
async fn a_database_that_is_removed_or_replaced_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("here");
    let database = here.join("sweep.db");
    let open_new = async || {
        std::fs::create_dir(&here).unwrap();
        open(&format!("sqlite:{}", database.display())).await.unwrap()
    };
    for replaces in [false, true] {
        let store = open_new().await;
        let (owner, set_by) = ("ann".to_owned(), "local".to_owned());
        let quota = Quota { owner, slots: None, weight: 1, set_unix_ms: 0, set_by };
        let quota = || Record::QuotaKept(Box::new(quota.clone()));
        store.commit(&[quota()]).await.unwrap();
        std::fs::remove_dir_all(&here).unwrap();
        let other = if replaces { Some(open_new().await) } else { None };
        assert!(matches!(store.commit(&[quota()]).await, Err(StoreError::Removed { .. })));
        assert!(matches!(store.deposed().await, StoreError::Removed { .. }));
        store.close().await;
        drop(other);
        let _ = std::fs::remove_dir_all(&here);
    }
}
