//! The last moments of a worker.

use super::{
    weights::{WITH_WEIGHTS, grant},
    *,
};

#[tokio::test]
async fn the_second_request_to_leave_waits_for_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start_with(folder.path(), WITH_WEIGHTS, None, |configuration| {
        configuration.grace = 10 * PATIENCE;
    })
    .await;
    set(&bench.answers, |answers| answers.weights = v1::WeightsState::Waiting);
    let mut session = bench.session().await;
    session.hello().await;
    session.welcome(vec![]).await;
    grant(&session, 1).await;
    let sequence = session.event().await.sequence;
    session.say(ToWorker::Acknowledgement(v1::Acknowledgement { sequence })).await;
    bench.shutdown.send(()).await.unwrap();
    // It has said all that it has to say, and only hands weights over.
    while tokio::time::timeout(PATIENCE, session.incoming.message()).await.unwrap().unwrap().is_some() {}
    bench.shutdown.send(()).await.unwrap();
    assert_eq!(bench.end().await.unwrap(), Departure::AtOnce);
}
