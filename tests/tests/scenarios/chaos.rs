//! A small run of what `make chaos` does at length.

use tests::chaos::{Victim, run};

#[tokio::test]
async fn coordinators_killed_at_random_lose_nothing() {
    let account = run(Victim::Coordinator, 12, 1).await;
    assert_eq!(account.begun_again, 0, "workers come back, so no job that had begun runs again");
}

#[tokio::test]
async fn workers_and_trainers_killed_at_random_lose_nothing() {
    run(Victim::Worker, 12, 1).await;
}
