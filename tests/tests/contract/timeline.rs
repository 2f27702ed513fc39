//! Which attempts ran in a span of time.

use store::AttemptsAsked;

use super::*;

/// An attempt that ran from one moment to another, or runs.
fn ran(attempt: AttemptKey, from: u64, to: Option<u64>) -> Vec<Record> {
    let granted = Record::AttemptGranted {
        attempt,
        is_first: attempt.attempt == 1,
        worker: "w".parse().unwrap(),
        slot: 0,
        device: "cuda:0".into(),
        pack_size: 1,
        budget: None,
        at_unix_ms: from,
    };
    let (state, job_state) = (AttemptState::Lost, JobState::Pending);
    let ended = to.map(|at_unix_ms| {
        let ended = Record::AttemptEnded {
            attempt,
            state,
            reason: String::new(),
            log_tail: vec!["x".into()],
            at_unix_ms,
        };
        let (history, reason) = (history(), String::new());
        [ended, Record::JobChanged { job: attempt.job, state: job_state, history, reason }]
    });
    [granted].into_iter().chain(ended.into_iter().flatten()).collect()
}

#[tokio::test]
async fn attempts_of_a_span_of_time_are_found_whether_they_run_or_have_ended() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), submitted(2, "")]).await.unwrap();
        for (attempt, from, to) in [
            (AttemptKey::new(1, 1, 1), 1_000, Some(2_000)),
            (AttemptKey::new(1, 2, 1), 1_500, Some(5_000)),
            (AttemptKey::new(2, 1, 1), 2_500, Some(2_600)),
            (AttemptKey::new(1, 1, 2), 3_000, None),
            (AttemptKey::new(2, 2, 1), 4_000, None),
        ] {
            store.commit(&ran(attempt, from, to)).await.unwrap();
        }
        let found = async |sweep: Option<u64>, since_unix_ms, until_unix_ms, limit| -> Vec<(u64, u64, u32)> {
            let asked = AttemptsAsked { sweep: sweep.map(SweepId), since_unix_ms, until_unix_ms, limit };
            let rows = store.attempts_between(asked).await.unwrap();
            assert!(rows.iter().all(|(_, row)| row.log_tail.is_empty() && row.device == "cuda:0"));
            rows.iter().map(|(job, row)| (job.sweep.0, job.job, row.attempt)).collect()
        };
        let all = [(2, 2, 1), (1, 1, 2), (2, 1, 1), (1, 2, 1), (1, 1, 1)];
        assert_eq!(found(None, 0, u64::MAX, 9).await, all);
        assert_eq!(found(None, 0, u64::MAX, 2).await, all[..2], "the latest where there are more");
        // Who ends as the span begins is in it, who begins as it ends is not.
        assert_eq!(found(None, 2_000, 3_000, 9).await, [(2, 1, 1), (1, 2, 1), (1, 1, 1)]);
        assert_eq!(found(None, 2_001, 2_500, 9).await, [(1, 2, 1)]);
        assert_eq!(found(Some(1), 2_001, 9_000, 9).await, [(1, 1, 2), (1, 2, 1)]);
        assert_eq!(found(Some(3), 0, u64::MAX, 9).await, []);
        assert_eq!(found(None, 9_000, 3_500, 9).await, [(1, 1, 2)], "what runs has no end");
    }
}

#[tokio::test]
async fn more_attempts_than_are_read_at_a_time_come_in_order() {
    for place in places() {
        let store = place.open().await;
        let mut records = vec![submitted(1, "")];
        for job in 1..=450 {
            records.extend(ran(AttemptKey::new(1, job, 1), job, Some(1_000 + job)));
        }
        store.commit(&records).await.unwrap();
        let asked = AttemptsAsked { sweep: None, since_unix_ms: 0, until_unix_ms: 9_999, limit: 440 };
        let rows = store.attempts_between(asked).await.unwrap();
        let jobs: Vec<u64> = rows.iter().map(|(job, _)| job.job).collect();
        assert_eq!(jobs, (11..=450).rev().collect::<Vec<_>>());
    }
}
