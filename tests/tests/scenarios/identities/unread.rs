//! Workers whose right ends while nothing that they are told is read.

use futures_util::StreamExt;
use proto::v1::{worker_message::Message, worker_service_client::WorkerServiceClient};
use tonic::transport::Endpoint;

use super::*;

/// How often the worker says that it is there: its lease does not run out.
const BEATS: std::time::Duration = std::time::Duration::from_millis(500);

// The worker speaks while the test waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_revoked_and_reads_nothing_is_heard_no_more() {
    let (cluster, folder, admin) = guarded(&[]);
    let (token, _) = create(&cluster, (folder.path(), &admin), "worker", "farm");
    // The first answer fills the window, so that the next ones wait.
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.coordinator.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(1).connect().await.unwrap();
    let slots = vec![v1::Slot { index: 0, device: "cpu".into(), ..v1::Slot::default() }];
    let protocol_version = proto::PROTOCOL_VERSION;
    let hello = v1::Hello { protocol_version, name: "one".to_owned(), slots, ..v1::Hello::default() };
    let hello = v1::WorkerMessage { message: Some(Message::Hello(hello)) };
    let beat = v1::WorkerMessage { message: Some(Message::Heartbeat(v1::Heartbeat::default())) };
    let beats = futures_util::stream::unfold(tokio::time::interval(BEATS), move |mut interval| {
        let beat = beat.clone();
        async move {
            interval.tick().await;
            Some((beat, interval))
        }
    });
    let said = futures_util::stream::iter([hello]).chain(beats);
    let unread = WorkerServiceClient::new(channel).session(with_token(said, &token)).await.unwrap();
    cluster.coordinator.until_it_has_said("a worker connected");
    let id = token.split('.').next().unwrap();
    assert_eq!(sweep(&cluster, &["--token-file", &admin, "token", "revoke", id]).0, Some(0));
    cluster.coordinator.until_it_has_said("a worker's stream ended");
    drop(unread);
}
