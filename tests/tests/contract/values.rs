//! Texts, keys and numbers that a store cannot keep, or would confuse with others.

use super::*;

/// The text in each column that accepts text from outside.
fn with_text(text: &str) -> Vec<(&'static str, Vec<Record>)> {
    let text = || text.to_owned();
    let attempt = AttemptKey::new(1, 1, 1);
    let base = || vec![submitted(1, ""), granted(1, 1)];
    let then = |record| [base(), vec![record]].concat();
    let sweep =
        |name: Option<String>, request_id: Option<String>, specification: Option<String>| match submitted(
            1, "",
        ) {
            Record::SweepSubmitted {
                sweep, manifest, objective, job_count, created_unix_ms, owner, ..
            } => {
                vec![Record::SweepSubmitted {
                    sweep,
                    name: name.unwrap_or_default(),
                    request_id: request_id.unwrap_or_default(),
                    specification: specification.unwrap_or_default(),
                    manifest,
                    objective,
                    job_count,
                    created_unix_ms,
                    owner,
                }]
            }
            other => panic!("{other:?}"),
        };
    let ended = |reason, log_tail| Record::AttemptEnded {
        attempt,
        state: AttemptState::Failed,
        reason,
        log_tail,
        at_unix_ms: 3_000,
    };
    let dataset = terms::DatasetSummary {
        content_hash: text(),
        classes: vec![text()],
        skipped: vec![text()],
        ..terms::DatasetSummary::default()
    };
    let device = match granted(1, 1) {
        Record::AttemptGranted { attempt, is_first, worker, slot, pack_size, budget, at_unix_ms, .. } => {
            let device = text();
            Record::AttemptGranted { attempt, is_first, worker, slot, device, pack_size, budget, at_unix_ms }
        }
        other => panic!("{other:?}"),
    };
    let changed =
        Record::JobChanged { job: attempt.job, state: JobState::Failed, history: history(), reason: text() };
    vec![
        ("sweeps.name", sweep(Some(text()), None, None)),
        ("sweeps.request_id", sweep(None, Some(text()), None)),
        ("sweeps.specification", sweep(None, None, Some(text()))),
        ("sweeps.dataset", then(Record::DatasetFound { sweep: SweepId(1), dataset })),
        ("jobs.reason", then(changed)),
        ("attempts.device", vec![submitted(1, ""), device]),
        ("attempts.reason", then(ended(text(), Vec::new()))),
        ("attempts.log_tail", then(ended(String::new(), vec![text()]))),
    ]
}

#[tokio::test]
async fn a_text_is_kept_as_it_is_or_refused_in_every_column() {
    // Columns of JSON keep every text.
    let keeps_all = |column: &str| ["sweeps.dataset", "attempts.log_tail"].contains(&column);
    for text in ["plain", "語\u{1f600}", "a\u{1b}[31mb\u{9b}\r\n\t\u{7f}\u{202e}", "a\u{fffd}b", "a\0b"] {
        for number in 0..with_text(text).len() {
            for place in places() {
                let (column, records) = with_text(text).remove(number);
                let store = place.open().await;
                let kept = store.commit(&records).await;
                if text.contains('\0') && !keeps_all(column) {
                    assert!(matches!(kept, Err(StoreError::Unfit(_))), "{column} {text:?}: {kept:?}");
                    assert!(store.load().await.unwrap().is_empty(), "{column}: nothing of it is there");
                    // And the store still works.
                    store.commit(&[submitted(1, "next")]).await.unwrap();
                    continue;
                }
                kept.unwrap_or_else(|error| panic!("{column} {text:?}: {error}"));
                let sweep = store.load().await.unwrap().remove(0);
                let job = JobKey { sweep: SweepId(1), job: 1 };
                let attempts = store.attempts(job).await.unwrap();
                let found = match column {
                    "sweeps.request_id" => sweep.request_id,
                    "sweeps.specification" => sweep.specification,
                    "sweeps.dataset" => sweep.dataset.unwrap().classes.concat(),
                    "jobs.reason" => store.jobs(SweepId(1), 1, 1).await.unwrap().remove(0).reason,
                    "attempts.device" => attempts[0].device.clone(),
                    "attempts.reason" => attempts[0].reason.clone(),
                    "attempts.log_tail" => attempts[0].log_tail.concat(),
                    // The name is also in the specification, and is read from there.
                    _ => text.to_owned(),
                };
                assert_eq!(found, text, "{column}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_there_is_a_fault_of_who_said_it() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, "key")]).await.unwrap();
        let twice = store.commit(&[submitted(2, "key")]).await;
        assert!(matches!(twice, Err(StoreError::Unfit(_))), "{twice:?}");
        let beyond = Record::SweepExtended {
            sweep: SweepId(1),
            name: "x".into(),
            specification: "x".into(),
            job_count: u64::MAX,
        };
        let beyond = store.commit(&[beyond]).await;
        assert!(matches!(beyond, Err(StoreError::Unfit(_))), "{beyond:?}");
        store.commit(&[submitted(2, "another")]).await.unwrap();
        assert_eq!(store.load().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn numbers_beyond_every_row_find_nothing() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        assert_eq!(store.jobs(SweepId(1), u64::MAX, 10).await.unwrap(), []);
        assert_eq!(store.jobs_in_state(SweepId(1), JobState::Running, u64::MAX, 10).await.unwrap(), []);
        assert_eq!(store.epochs(SweepId(u64::MAX), EpochPlace::before(1, 0), u64::MAX, 9).await.unwrap(), []);
        assert_eq!(store.attempts(JobKey { sweep: SweepId(1), job: 1 << 63 }).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_zero_with_a_sign_leaves_every_row_readable() {
    // A program that reports the negative of its loss says -0. One of the databases keeps no sign of a zero.
    for place in places() {
        let store = place.open().await;
        let row = MetricRow::new(&[-0.0]);
        let best = Some(BestEpoch { epoch: 1, value: -0.0, row: row.clone() });
        let recorded = Record::EpochRecorded {
            attempt: AttemptKey::new(1, 1, 1),
            epoch: Epoch { number: 1, seconds: -0.0, row },
            objective: Some(-0.0),
            best: best.clone(),
            train_seconds: -0.0,
        };
        store.commit(&[submitted(1, ""), named(), granted(1, 1), recorded]).await.unwrap();
        store.close().await;
        drop(store);
        let store = place.open().await;
        let open = store.load().await.unwrap().remove(0).open_jobs.remove(0);
        assert_eq!(open.running().unwrap().best, best);
        store.commit(&ended(1, 1, AttemptState::Done, JobState::Done)).await.unwrap();
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!(sweep.best, BestJobs { by_last: Some((1, 0.0)), by_best: Some((1, 0.0)) });
        let job = store.jobs(SweepId(1), 1, 10).await.unwrap().remove(0);
        assert_eq!((job.objective, job.best, job.last.get(0)), (Some(0.0), best, Some(-0.0)));
        assert_eq!(epochs(store.as_ref(), 1, 1).await[0].epoch.seconds, 0.0);
    }
}
