//! What a coordinator's refusal does to a worker that it never let in, and to one that it had.

use telemetry::plain_calls::MISLED_METADATA;

use super::*;

/// What a port says where no calls are answered, as one that speaks TLS by now.
fn misled() -> Status {
    let mut status = Status::invalid_argument("this coordinator speaks TLS: name it with https://");
    status.metadata_mut().insert(MISLED_METADATA, "1".parse().unwrap());
    status
}

#[tokio::test]
async fn a_worker_that_was_never_let_in_ends_with_what_to_do() {
    let cases = [
        (Status::unauthenticated("no"), "--token-file"),
        (Status::failed_precondition("revision 2"), "the same version of both"),
        (Status::already_exists("another process"), "another process"),
        (misled(), "name it with https://"),
    ];
    for (refusal, advice) in cases {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::start(folder.path(), ONE_EPOCH, Some(refusal)).await;
        let error = bench.end().await.unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
    }
}

#[tokio::test]
async fn a_training_goes_on_while_the_coordinator_that_granted_it_refuses_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(folder.path(), ONE_EPOCH, None).await;
    let session = bench.training().await;
    for refusal in [Status::unauthenticated("no"), Status::permission_denied("no")] {
        set(&bench.answers, |answers| answers.refusal = Some(refusal));
        // The first ends the stream that there is.
        let _ = session.outgoing.send(Err(Status::internal("broken"))).await;
        bench.refused().await;
        bench.refused().await;
    }
    set(&bench.answers, |answers| answers.refusal = None);
    let held = bench.session().await.hello().await.held;
    assert_eq!(held, [v1::HeldAttempt { attempt: Some(job().into()), slot: 0, ended: false }]);
}

#[tokio::test]
async fn a_worker_that_is_refused_for_long_hands_its_job_back_and_leaves_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start_with(folder.path(), ONE_EPOCH, None, |configuration| {
        configuration.refused_within = Duration::ZERO;
    })
    .await;
    let session = bench.training().await;
    set(&bench.answers, |answers| answers.refusal = Some(Status::unauthenticated("no")));
    drop(session);
    let departure = bench.end().await.unwrap();
    let Departure::Refused(reason) = &departure else { panic!("{departure:?}") };
    assert!(reason.contains("--token-file"), "{reason}");

    let mut bench = Bench::start(folder.path(), ONE_EPOCH, None).await;
    let mut session = bench.session().await;
    session.hello().await;
    session.welcome(vec![]).await;
    let end = loop {
        if let Some(WireKind::Ended(end)) = session.event().await.event {
            break end;
        }
    };
    assert_eq!(end.outcome(), Outcome::HandedBack);
}

#[tokio::test]
async fn a_training_goes_on_while_the_coordinator_that_granted_it_is_reached_another_way() {
    let folder = tempfile::tempdir().unwrap();
    // However short refusals count.
    let mut bench = Bench::start_with(folder.path(), ONE_EPOCH, None, |configuration| {
        configuration.refused_within = Duration::ZERO;
    })
    .await;
    let session = bench.training().await;
    set(&bench.answers, |answers| answers.refusal = Some(misled()));
    drop(session);
    bench.refused().await;
    bench.refused().await;
    set(&bench.answers, |answers| answers.refusal = None);
    let held = bench.session().await.hello().await.held;
    assert_eq!(held, [v1::HeldAttempt { attempt: Some(job().into()), slot: 0, ended: false }]);
}
