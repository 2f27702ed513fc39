//! As many jobs as one user command can change.

use std::time::Instant;

use domain::record::{History, Record};
use store::{AttemptPlace, EpochPlace};
use terms::{JobKey, JobState, SweepId};

use super::{epoch, granted, jobs::jobs_in, places, submitted};

/// Twice as many as one retry takes.
const JOBS: u64 = 50_000;

fn changed(job: u64, state: JobState) -> Record {
    let reason = "on request".to_owned();
    Record::JobChanged { job: JobKey { sweep: SweepId(1), job }, state, history: History::default(), reason }
}

#[tokio::test]
async fn fifty_thousand_jobs_that_had_their_end_change_in_one_commit() {
    for place in places() {
        let mut store = place.open().await;
        store.commit(&[submitted(1, "")]).await.unwrap();
        let jobs: Vec<u64> = (1..=JOBS).collect();
        for jobs in jobs.chunks(10_000) {
            let cancelled: Vec<_> = jobs.iter().map(|job| changed(*job, JobState::Cancelled)).collect();
            store.commit(&cancelled).await.unwrap();
        }
        // Once for jobs that had ended, and once after a restart, for jobs that wait.
        for state in [JobState::Pending, JobState::Cancelled] {
            let records: Vec<_> = jobs.iter().map(|job| changed(*job, state)).collect();
            let begun = Instant::now();
            store.commit(&records).await.unwrap();
            println!("{state:?}: {JOBS} jobs in {:?}", begun.elapsed());
            store.close().await;
            drop(store);
            store = place.open().await;
            assert_eq!(jobs_in(&store, state, JOBS - 1, 9).await, [JOBS - 1, JOBS]);
            let sweep = store.load().await.unwrap().remove(0);
            let ended: u64 = sweep.finals.iter().map(|(_, count)| count).sum();
            assert_eq!(sweep.open_jobs.len() as u64 + ended, JOBS);
            assert_eq!(ended == JOBS, state == JobState::Cancelled);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn attempts_of_many_jobs_come_in_pages_in_their_order() {
    for place in places() {
        let store = place.open().await;
        let mut records = vec![submitted(1, ""), submitted(2, "")];
        records.extend([(1, 1), (1, 2), (2, 1), (4, 1)].map(|(job, attempt)| granted(job, attempt)));
        store.commit(&records).await.unwrap();
        for limit in 1..=4 {
            let (mut pages, mut after) = (Vec::new(), AttemptPlace { job: 1, attempt: 1 });
            loop {
                let page = store.attempts_of_jobs(SweepId(1), after, 3, limit).await.unwrap();
                let Some((last, _)) = page.last() else { break };
                after = *last;
                pages.extend(page);
            }
            let places: Vec<_> = pages.iter().map(|(place, _)| (place.job, place.attempt)).collect();
            assert_eq!(places, [(1, 2), (2, 1)]);
            for (AttemptPlace { job, attempt }, row) in pages {
                let key = JobKey { sweep: SweepId(1), job };
                assert_eq!(store.attempts(key).await.unwrap()[attempt as usize - 1], row);
            }
        }
        let other = store.attempts_of_jobs(SweepId(2), AttemptPlace::before(1), u64::MAX, 9).await.unwrap();
        assert_eq!(other, []);
    }
}

#[tokio::test]
async fn epochs_come_in_pages_in_the_order_of_attempts() {
    for place in places() {
        let store = place.open().await;
        let mut records = vec![submitted(1, "")];
        for (job, attempt) in [(1, 1), (1, 2), (2, 1), (4, 1)] {
            records.push(granted(job, attempt));
            records.extend((1..=3).map(|number| epoch(job, attempt, number)));
        }
        store.commit(&records).await.unwrap();
        let all = store.epochs(SweepId(1), EpochPlace::before(1, 0), u64::MAX, u32::MAX).await.unwrap();
        assert_eq!(all.len(), 12);
        for limit in 1..=5 {
            let (mut pages, mut after) = (Vec::new(), EpochPlace::before(1, 2));
            loop {
                let page = store.epochs(SweepId(1), after, 2, limit).await.unwrap();
                let Some(last) = page.last() else { break };
                after = EpochPlace { job: last.job, attempt: last.attempt, epoch: last.epoch.number };
                pages.extend(page);
            }
            assert_eq!(pages, all[3..9]);
        }
    }
}
