//! What a worker says of itself and what its port for probes shows: nothing is said that the port does not show yet.

use super::*;
use crate::heard;

#[tokio::test]
async fn a_worker_that_says_that_it_is_connected_is_ready_and_one_that_says_that_it_is_not_is_not() {
    let (metrics, lines) = (Arc::<Metrics>::default(), Arc::<Mutex<Vec<(String, Stage)>>>::default());
    // Everything here runs on this thread.
    let (shown, said) = (Arc::clone(&metrics), Arc::clone(&lines));
    let _heard = heard::each_line(move |_, line| said.lock().unwrap().push((line.to_owned(), shown.stage())));
    let folder = tempfile::tempdir().unwrap();
    let started = |configuration: &mut Configuration| configuration.metrics = metrics;
    let mut bench = Bench::start_with(folder.path(), ONE_EPOCH, None, started).await;
    let session = bench.training().await;
    set(&bench.answers, |answers| answers.refusal = Some(Status::unavailable("it stops")));
    drop(session);
    bench.refused().await;
    bench.refused().await;
    let lines = lines.lock().unwrap();
    let stage = |text: &str| lines.iter().find(|(line, _)| line.contains(text)).map(|(_, stage)| *stage);
    assert_eq!(stage("connected to the coordinator"), Some(Stage::Welcomed), "{lines:?}");
    assert_eq!(stage("the coordinator is not reachable"), Some(Stage::Away), "{lines:?}");
}
