//! Weights that wait for the coordinator.

use super::*;

/// A trainer that leaves the smallest file of weights, of ten bytes, for each job.
pub(super) const WITH_WEIGHTS: &str = r#"echo "$ready"; while read -r line; do
  id=$(echo "$line" | sed 's/.*"id":"\([^"]*\)".*/\1/')
  printf '\002\000\000\000\000\000\000\000{}' > "$(echo "$line" | sed 's/.*"weights":"\([^"]*\)".*/\1/')"
  echo "{\"type\":\"ended\",\"id\":\"$id\",\"outcome\":\"done\",\"reason\":\"\"}"
done"#;

/// Grants a job whose weights are to be kept.
pub(super) async fn grant(session: &FakeSession, job: u64) {
    let attempt = Some(AttemptKey::new(1, job, 1).into());
    let jobs = vec![v1::JobAssignment { attempt, keep_weights: true, ..assignment() }];
    session.say(ToWorker::Grant(v1::Grant { slot: 0, jobs })).await;
}

#[tokio::test]
async fn while_there_is_no_room_for_weights_trainers_wait_and_then_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start_with(folder.path(), WITH_WEIGHTS, None, |configuration| {
        configuration.weights_bytes_max = 10;
    })
    .await;
    set(&bench.answers, |answers| answers.weights = v1::WeightsState::Waiting);
    let mut session = bench.session().await;
    session.hello().await;
    let welcome = v1::Welcome { lease_ms: 30_000, heartbeat_interval_ms: 100, refused: Vec::new() };
    session.say(ToWorker::Welcome(welcome)).await;
    grant(&session, 1).await;
    assert_eq!(session.event().await.sequence, 1);
    grant(&session, 2).await;
    assert_eq!(session.last_event(1).await, 1, "there is no room for the second job's weights");
    set(&bench.answers, |answers| answers.weights = v1::WeightsState::Durable);
    session.say(ToWorker::Acknowledgement(v1::Acknowledgement { sequence: 1 })).await;
    assert_eq!(session.event().await.sequence, 2);
}
