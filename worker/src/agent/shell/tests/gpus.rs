//! What the GPUs do, from the driver to the coordinator.

use super::*;
use crate::agent::gpus::{Gpus, tests::Pretended};

#[tokio::test]
async fn heartbeats_say_what_the_gpus_did_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::start_with(folder.path(), ONE_EPOCH, None, |configuration| {
        let slots = crate::agent::gpus::tests::slots(&["cuda:0"]);
        configuration.gpus = Gpus::watched(&slots, Duration::from_millis(1), || Ok(Pretended::default()));
    })
    .await;
    let mut session = bench.session().await;
    session.hello().await;
    let welcome = v1::Welcome { lease_ms: 30_000, heartbeat_interval_ms: 100, refused: Vec::new() };
    session.say(ToWorker::Welcome(welcome)).await;
    let mut used = Vec::new();
    while used.len() < 2 {
        let FromWorker::Heartbeat(beat) = session.next().await else { continue };
        // The first may come before the first look.
        let Some(gpu) = beat.gpus.first() else { continue };
        assert_eq!((beat.gpus.len(), gpu.device.as_str(), gpu.name.as_str()), (1, "cuda:0", "H200"));
        assert_eq!((gpu.utilization_percent, gpu.memory_total_bytes), (Some(87), 139 << 30));
        used.push(gpu.memory_used_bytes);
    }
    assert!(used[1] > used[0], "{used:?}");
}
