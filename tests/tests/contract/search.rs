//! What a searcher that learns proposed and was told.

use domain::{
    proposals::{Learned, LearnedResult, Proposed, Why},
    record::StoredSearch,
};
use terms::{ParameterMap, ParameterValue};

use super::*;

fn proposed(place: u64, why: Why) -> Proposed {
    let parameters = vec![
        ("rate".to_owned(), ParameterValue::Float(0.1 + 0.2)),
        ("epochs".to_owned(), ParameterValue::Integer(-3)),
        ("whole".to_owned(), ParameterValue::Float(1.0)),
        ("name".to_owned(), ParameterValue::Text("語 \"x\"".to_owned())),
        ("nothing".to_owned(), ParameterValue::Null),
        ("flag".to_owned(), ParameterValue::Boolean(true)),
    ];
    Proposed { parameters: ParameterMap(parameters), place, seen: 2 * place, why }
}

/// Two commits of one search.
fn search() -> (Vec<Record>, Vec<Record>, StoredSearch) {
    let whys = [
        Why::Included,
        Why::Random,
        Why::Left,
        Why::Model { good: 2, running: 7, near: Some(3), score: 0.1 + 0.2 },
        Why::Model { good: 1, running: 0, near: None, score: -3.5 },
        Why::Outside,
    ];
    let proposals: Vec<_> = (1..).zip(whys).map(|(job, why)| (job, proposed(job, why))).collect();
    let results = [
        LearnedResult::Finished(0.1 + 0.2),
        LearnedResult::Diverged,
        LearnedResult::Nothing,
        LearnedResult::Again,
        LearnedResult::Finished(-0.0),
        LearnedResult::Stopped { epoch: 3, value: Some(0.1 + 0.7) },
        LearnedResult::Stopped { epoch: u32::MAX, value: None },
    ];
    let learned: Vec<_> = (1..).zip(results).map(|(job, result)| Learned { job, result }).collect();
    let key = |job| JobKey { sweep: SweepId(1), job };
    let point = |(job, proposed): &(u64, Proposed)| Record::PointProposed {
        job: key(*job),
        proposed: proposed.clone(),
    };
    let told = |(number, learned): (u64, &Learned)| Record::ResultLearned {
        sweep: SweepId(1),
        number,
        learned: *learned,
    };
    let points = proposals.iter().map(point);
    let results = (1..).zip(&learned).map(told);
    let first = [submitted(1, "")].into_iter().chain(points).chain(results.clone().take(2)).collect();
    (first, results.skip(2).collect(), StoredSearch { proposals, learned })
}

#[tokio::test]
async fn what_a_searcher_proposed_and_was_told_comes_back_to_the_bit_and_in_order() {
    for place in places() {
        let (first, then, expected) = search();
        let store = place.open().await;
        store.commit(&first).await.unwrap();
        store.commit(&then).await.unwrap();
        assert_eq!(store.search(SweepId(1)).await.unwrap(), expected);
        assert_eq!(store.search(SweepId(2)).await.unwrap(), StoredSearch::default());
        store.close().await;
        drop(store);
        let store = place.open().await;
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!((sweep.search, sweep.job_count), (expected, 5));
        store.close().await;
    }
}

#[tokio::test]
async fn a_proposal_or_a_result_that_is_not_as_it_was_written_is_found() {
    let changes = [
        "UPDATE proposals SET parameters = '[[\"rate\",0.5]]' WHERE job = 2",
        "UPDATE proposals SET place = 9 WHERE job = 3",
        "UPDATE proposals SET score = 0.4 WHERE job = 4",
        "UPDATE learned SET value = 0.4 WHERE number = 1",
        "UPDATE learned SET epoch = 9 WHERE number = 6",
        "DELETE FROM learned WHERE number = 2",
    ];
    for change in changes {
        for place in places() {
            let (first, then, _) = search();
            let store = place.open().await;
            store.commit(&[first, then].concat()).await.unwrap();
            store.close().await;
            drop(store);
            place.change(change);
            let store = place.open().await;
            let found = store.load().await;
            assert!(
                matches!(found, Err(StoreError::Corrupt(_) | StoreError::CorruptTables(_))),
                "{change}: {found:?}"
            );
        }
    }
}
