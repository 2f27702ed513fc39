//! A small run of what `make chaos` does at length.

use tests::chaos::{Victim, fail_over, freezes, kills, leavings, partitions, rungs, rungs_of_leaders};

#[tokio::test]
async fn coordinators_killed_at_random_lose_nothing() {
    let account = kills(Victim::Coordinator, 12, 1).await;
    assert_eq!(account.begun_again, 0, "workers come back, so no job that had begun runs again");
}

#[tokio::test]
async fn workers_and_trainers_killed_at_random_lose_nothing() {
    kills(Victim::Worker, 12, 1).await;
}

#[tokio::test]
async fn of_workers_and_trainers_that_train_packs_lose_and_double_nothing() {
    kills(Victim::Packer, 12, 1).await;
}

#[tokio::test]
async fn workers_that_stand_still_past_their_lease_are_fenced() {
    let account = freezes(4, 1).await;
    assert_eq!(account.taken, 4, "{account:?}");
}

#[tokio::test]
async fn workers_that_are_asked_to_leave_are_charged_nothing() {
    let account = leavings(8, 1).await;
    assert!(account.handed_back > 0, "{account:?}");
}

#[tokio::test]
async fn networks_that_are_cut_lose_nothing() {
    // Shorter and longer than the lease.
    partitions(10, 1..6, "3s", 1);
}

#[tokio::test]
async fn leaders_that_are_killed_or_stand_still_lose_nothing() {
    fail_over(2, 1).await;
}

#[tokio::test]
async fn jobs_that_pause_are_promoted_as_the_records_imply_whatever_is_killed() {
    let account = rungs(8, 1, 1).await;
    assert!(account.accounted.promoted > 0 && account.accounted.done > 0, "{account:?}");
}

#[tokio::test]
async fn jobs_that_pause_are_promoted_once_whichever_coordinator_leads() {
    let Some(account) = rungs_of_leaders(2, 1, 1).await else { return };
    assert!(account.accounted.promoted > 0 && account.accounted.done > 0, "{account:?}");
}
