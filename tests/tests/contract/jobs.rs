//! Jobs: their attempts, their states, and pages of them.

use super::*;

#[tokio::test]
async fn a_new_attempt_starts_its_job_over_and_keeps_the_history() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1), epoch(1, 1, 1), epoch(1, 1, 2)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Lost, JobState::Pending)).await.unwrap();
        store.commit(&[granted(1, 2), epoch(1, 2, 1)]).await.unwrap();
        let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
        assert_eq!(
            (job.state, job.attempts, job.epochs_done, job.train_seconds),
            (JobState::Running, 2, 1, 1.5)
        );
        let key = JobKey { sweep: SweepId(1), job: 1 };
        let attempts = store.attempts(key).await.unwrap();
        assert_eq!(
            attempts.iter().map(|attempt| attempt.state.as_str()).collect::<Vec<_>>(),
            ["lost", "running"]
        );
        assert_eq!(attempts[0].log_tail, ["last \"words\"", "語"]);
        assert_eq!(epochs(store.as_ref(), 1, 1).await.len(), 3);
        let mut counting = CountingEpochs::new(Arc::clone(&store) as _, SweepId(1), 1, 1);
        let row = counting.next(1, job.attempts, job.epochs_done).await.unwrap().unwrap();
        assert_eq!((row.attempt, row.epoch.number), (2, 1));
        assert_eq!(counting.next(1, job.attempts, job.epochs_done).await.unwrap(), None);
    }
}

#[tokio::test]
async fn jobs_come_in_pages() {
    for place in places() {
        let store = place.open().await;
        let mut records = vec![submitted(1, "")];
        records.extend((1..=5).map(|job| granted(job, 1)));
        store.commit(&records).await.unwrap();
        let numbers = |rows: Vec<JobRow>| rows.iter().map(|row| row.job).collect::<Vec<_>>();
        assert_eq!(numbers(store.jobs(SweepId(1), 2, 2).await.unwrap()), [2, 3]);
        assert_eq!(numbers(store.jobs(SweepId(1), 4, 9).await.unwrap()), [4, 5]);
    }
}

#[tokio::test]
async fn jobs_in_a_state_are_found_and_a_finished_sweep_runs_again() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1), granted(2, 1), granted(3, 1)]).await.unwrap();
        store.commit(&ended(1, 1, AttemptState::Failed, JobState::Failed)).await.unwrap();
        store.commit(&ended(2, 1, AttemptState::Done, JobState::Done)).await.unwrap();
        store.commit(&ended(3, 1, AttemptState::Lost, JobState::Failed)).await.unwrap();
        let change = |state, ended_unix_ms| Record::SweepChanged { sweep: SweepId(1), state, ended_unix_ms };
        store.commit(&[change(SweepState::Finished, Some(5))]).await.unwrap();
        assert_eq!(jobs_in(&store, JobState::Failed, 1, 10).await, [1, 3]);
        assert_eq!(jobs_in(&store, JobState::Failed, 1, 1).await, [1]);
        assert_eq!(jobs_in(&store, JobState::Failed, 2, 10).await, [3]);
        assert_eq!(jobs_in(&store, JobState::Done, 1, 10).await, [2]);
        assert_eq!(jobs_in(&store, JobState::Running, 1, 10).await, [0; 0]);
        let again = Record::JobChanged {
            job: JobKey { sweep: SweepId(1), job: 1 },
            state: JobState::Pending,
            history: History::default(),
            reason: "again".into(),
        };
        store.commit(&[again, change(SweepState::Running, None)]).await.unwrap();
        let stored = store.load().await.unwrap().remove(0);
        assert_eq!((stored.state, stored.ended_unix_ms), (SweepState::Running, None));
        assert_eq!(stored.open_jobs.iter().map(|job| (job.job, job.attempts)).collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!(jobs_in(&store, JobState::Failed, 1, 10).await, [3]);
    }
}

#[tokio::test]
async fn a_job_that_never_began_can_be_cancelled_and_begin_after_all() {
    for place in places() {
        let changed = |job, state| Record::JobChanged {
            job: JobKey { sweep: SweepId(1), job },
            state,
            history: History::default(),
            reason: "so".into(),
        };
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        store.commit(&[changed(4, JobState::Cancelled)]).await.unwrap();
        store.close().await;
        drop(store);
        let store = place.open().await;
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!((sweep.next_unstarted, sweep.out_of_order.into_iter().collect::<Vec<_>>()), (2, vec![4]));
        assert_eq!(sweep.finals, [(JobState::Cancelled, 1)]);
        assert_eq!(jobs_in(&store, JobState::Cancelled, 1, 10).await, [4]);
        store.commit(&[changed(4, JobState::Pending)]).await.unwrap();
        store.close().await;
        drop(store);
        let store = place.open().await;
        let Record::AttemptGranted { attempt, worker, slot, device, pack_size, budget, at_unix_ms, .. } =
            granted(4, 1)
        else {
            panic!("it is a grant")
        };
        let again = Record::AttemptGranted {
            attempt,
            is_first: false,
            worker,
            slot,
            device,
            pack_size,
            budget,
            at_unix_ms,
        };
        store.commit(&[again]).await.unwrap();
        let open = store.load().await.unwrap().remove(0).open_jobs;
        let running: Vec<_> =
            open.iter().map(|job| (job.job, job.attempts, job.running().is_some())).collect();
        assert_eq!(running, [(1, 1, true), (4, 1, true)]);
        store.close().await;
    }
}

pub(super) async fn jobs_in(store: &Arc<dyn Store>, state: JobState, first: u64, limit: u32) -> Vec<u64> {
    let rows = store.jobs_in_state(SweepId(1), state, first, limit).await.unwrap();
    assert!(rows.iter().all(|row| row.state == state), "{rows:?}");
    rows.iter().map(|row| row.job).collect()
}

#[tokio::test]
async fn how_many_jobs_were_trained_together_is_kept_of_jobs_and_attempts() {
    for place in places() {
        let store = place.open().await;
        let again = ended(1, 1, AttemptState::HandedBack, JobState::Pending);
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap()[0].pack_size, 1);
        store.commit(&again).await.unwrap();
        store.commit(&[granted(1, 2)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap()[0].pack_size, 2);
        let attempts = store.attempts(JobKey { sweep: SweepId(1), job: 1 }).await.unwrap();
        assert_eq!(attempts.iter().map(|attempt| attempt.pack_size).collect::<Vec<_>>(), [1, 2]);
        let sweeps = store.load().await.unwrap();
        assert_eq!(sweeps[0].open_jobs[0].running().unwrap().pack_size, 2);
    }
}
