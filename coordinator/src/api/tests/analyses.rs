//! The analysis of a sweep, from what the store holds.

use ::analysis::{Counted, Method, NotTested};

use super::*;

/// The records of a job that trained to its end.
fn done(job: u64) -> Vec<Record> {
    attempt(job, 1, 2).into_iter().chain(ended(job, 1, AttemptState::Done, JobState::Done)).collect()
}

#[tokio::test]
async fn an_analysis_counts_what_the_store_holds_and_what_never_began() {
    // The third job has no row.
    let served = served(done(1).into_iter().chain(failed(2))).await;
    let analyzed = served.api.analysis(SweepId(1)).await.unwrap();
    assert_eq!(&*analyzed.objective.name, "val_accuracy");
    let jobs = Counted { counted: 1, unfinished: 2, ..Counted::default() };
    assert_eq!((analyzed.analysis.jobs, analyzed.analysis.points), (jobs, 1));
    let best = analyzed.analysis.best.unwrap();
    assert_eq!((best.best.job, best.best.value, best.not_tested), (1, 0.5, Some(NotTested::OnlyOne)));
    // Its seed alone varies, which is no parameter.
    assert_eq!(analyzed.analysis.importance.method, Method::NothingVaries);
    let missing = served.api.analysis(SweepId(9)).await.unwrap_err();
    assert!(matches!(missing, ApiError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn trainings_of_a_point_with_several_seeds_are_its_repeats() {
    let served = served((1..=3).flat_map(done)).await;
    let analysis = served.api.analysis(SweepId(1)).await.unwrap().analysis;
    assert_eq!((analysis.jobs.counted, analysis.points), (3, 1));
    assert_eq!(analysis.best.unwrap().planned, 3, "as its file lists the seeds of a grid");
    let repeats = analysis.repeats.unwrap();
    assert_eq!((repeats.points, repeats.items[0].count, repeats.deviation), (1, 3, 0.0));
}
