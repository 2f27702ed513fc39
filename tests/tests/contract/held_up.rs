//! A process of the database that prevents others from leading, and the message about it.

use std::{thread, time::Instant};

use store::{StoreError, open};
use tests::{PATIENCE, Postgres};

use super::unsuitable::name_of;

#[tokio::test]
async fn who_keeps_others_from_leading_is_named() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let store = open(&url).await.unwrap();
    let database = name_of(&url);
    let holder = {
        let database = database.clone();
        // It ends when it is asked to.
        let hold = "BEGIN; SELECT epoch FROM leader FOR KEY SHARE; SELECT pg_sleep(120)";
        thread::spawn(move || std::panic::catch_unwind(|| server.psql(&database, hold)))
    };
    let begun = Instant::now();
    let pid = loop {
        let held = "SELECT pid FROM pg_locks WHERE relation = 'leader'::regclass AND mode = 'RowShareLock'";
        let pid = server.psql(&database, held);
        if !pid.is_empty() {
            break pid;
        }
        assert!(begun.elapsed() < PATIENCE, "the lock is never taken");
    };
    let held_up = store.lead("http://here", &|leader| panic!("{leader} leads")).await;
    let Err(error @ StoreError::HeldUp(_)) = held_up else { panic!("{held_up:?}") };
    let said = error.to_string();
    assert!(said.contains(&format!("process {pid}, since 20")) && said.contains("kill -CONT"), "{said}");
    assert!(error.is_passing());
    assert!(holder.join().unwrap().is_err(), "it was asked to end");
    store.lead("http://here", &|leader| panic!("{leader} leads")).await.unwrap();
}
