//! Jobs that pause: how far they train, what they have, and the version that knew nothing of them.

use domain::record::StoredStage;

use super::*;

const JOB: JobKey = JobKey { sweep: SweepId(1), job: 1 };

/// An attempt that trains as far as this.
fn granted_until(attempt: u32, until: u32) -> Record {
    let Record::AttemptGranted { attempt, is_first, worker, slot, device, pack_size, at_unix_ms, .. } =
        granted(1, attempt)
    else {
        panic!("it is a grant")
    };
    let budget = Some(until);
    Record::AttemptGranted { attempt, is_first, worker, slot, device, pack_size, budget, at_unix_ms }
}

fn promoted(budget: u32) -> Record {
    Record::JobPromoted { job: JOB, budget, reason: "the best of three".into() }
}

/// Where the job is, and how far it trains.
async fn stage(store: &Arc<dyn Store>) -> (&'static str, Option<u32>) {
    let open = store.load().await.unwrap().remove(0).open_jobs.remove(0);
    let stage = match open.stage {
        StoredStage::Waiting => "waiting",
        StoredStage::Running(_) => "running",
        StoredStage::Paused => "paused",
    };
    (stage, open.budget)
}

#[tokio::test]
async fn a_paused_job_keeps_its_epochs_and_waits_again_once_it_is_promoted() {
    for place in places() {
        let mut store = place.open().await;
        store.commit(&[submitted(1, ""), named(), granted_until(1, 1)]).await.unwrap();
        assert_eq!(stage(&store).await, ("running", Some(1)));
        store.commit(&[epoch(1, 1, 1)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Paused, JobState::Paused)).await.unwrap();
        // Once from what a process knows, and once from what is on the disk.
        for _ in 0..2 {
            assert_eq!(stage(&store).await, ("paused", Some(1)));
            assert_eq!(jobs::jobs_in(&store, JobState::Paused, 1, 9).await, [1]);
            let row = store.jobs(SweepId(1), 1, 9).await.unwrap().remove(0);
            assert_eq!((row.epochs_done, row.objective, row.attempts), (1, Some(0.125), 1));
            store.close().await;
            drop(store);
            store = place.open().await;
        }
        store.commit(&[promoted(3)]).await.unwrap();
        assert_eq!(stage(&store).await, ("waiting", Some(3)));
        let row = store.jobs(SweepId(1), 1, 9).await.unwrap().remove(0);
        assert_eq!((row.state, row.epochs_done), (JobState::Pending, 1));
        assert_eq!(row.reason, "the best of three");
        store.commit(&[granted_until(2, 3)]).await.unwrap();
        assert_eq!(stage(&store).await, ("running", Some(3)));
        store.commit(&ended(1, 2, AttemptState::Lost, JobState::Pending)).await.unwrap();
        assert_eq!(stage(&store).await, ("waiting", Some(3)), "a lost attempt changes nothing of that");
        store.close().await;
    }
}

#[tokio::test]
async fn promoted_and_granted_in_one_commit_a_job_runs() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), named(), granted_until(1, 1), epoch(1, 1, 1)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Paused, JobState::Paused)).await.unwrap();
        store.commit(&[promoted(3), granted_until(2, 3), epoch(1, 2, 1)]).await.unwrap();
        assert_eq!(stage(&store).await, ("running", Some(3)));
        store.close().await;
    }
}

#[tokio::test]
async fn a_job_that_was_stopped_early_has_ended_and_is_counted() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), named(), granted(1, 1), epoch(1, 1, 1)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Revoked, JobState::Stopped)).await.unwrap();
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!(sweep.finals, [(JobState::Stopped, 1)]);
        assert!(sweep.open_jobs.is_empty());
        assert_eq!(sweep.best, BestJobs::default(), "the best job is one that is done");
        store.close().await;
    }
}

#[tokio::test]
async fn a_job_that_a_user_tries_again_is_told_afresh_how_far() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted_until(1, 3)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Failed, JobState::Failed)).await.unwrap();
        let (history, reason) = (History::default(), "again".to_owned());
        let again = Record::JobChanged { job: JOB, state: JobState::Pending, history, reason };
        store.commit(&[again]).await.unwrap();
        assert_eq!(stage(&store).await, ("waiting", None));
        store.close().await;
    }
}

#[tokio::test]
async fn a_waiting_job_whose_history_changes_trains_as_far_as_before() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted_until(1, 3)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Lost, JobState::Pending)).await.unwrap();
        let (history, reason) = (History::default(), "not counted as lost".to_owned());
        let taken_back = Record::JobChanged { job: JOB, state: JobState::Pending, history, reason };
        store.commit(&[taken_back]).await.unwrap();
        assert_eq!(stage(&store).await, ("waiting", Some(3)));
        store.close().await;
    }
}

#[tokio::test]
async fn the_tables_of_the_version_before_get_the_new_columns_and_their_rows_stay_good() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), named(), granted(1, 1), epoch(1, 1, 1)]).await.unwrap();
        store.close().await;
        drop(store);
        let (budgets, last) = if place.url.starts_with("sqlite") { (10, 12) } else { (8, 10) };
        place.change(&format!(
            "ALTER TABLE jobs DROP COLUMN budget; ALTER TABLE jobs DROP COLUMN rungs; \
             ALTER TABLE sweeps DROP COLUMN without_checkpoint; \
             DELETE FROM _sqlx_migrations WHERE version IN ({budgets}, {last});"
        ));
        let store = place.open().await;
        assert_eq!(stage(&store).await, ("running", None));
        assert_eq!(store.load().await.unwrap()[0].without_checkpoint, None);
        store.commit(&[epoch(1, 1, 2)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap().remove(0).epochs_done, 2);
        store.close().await;
    }
}
