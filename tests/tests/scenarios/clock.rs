//! Wall clocks that jump: leases run on a clock that does not.

use std::fs;

use proto::v1;
use tests::{Cluster, ClusterOptions, chaos, skipped, tool};

const JOBS: u64 = 16;

#[tokio::test]
async fn jumps_cost_no_lease() {
    let Some(library) = tool("libfaketime.so.1").filter(|library| library.is_file()) else {
        skipped("libfaketime is not in the cache of `make test`: jumps of the clock are not tested");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    fs::write(&offset, "+0").unwrap();
    // Only the coordinator sees the shifted time, and reads the shift at each call.
    let through = vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", offset.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let cluster = Cluster::start(ClusterOptions { lease: "2s", through, ..chaos::light(50) });
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = cluster
        .submit(&format!("{{epochs: {{value: 10}}, seed: {{min: 1, max: {JOBS}, count: {JOBS}}}}}"))
        .await;
    let mut watch = cluster.watch(sweep).await;
    for (jump, done) in [("+1h", 2), ("-2d", 5), ("+400d", 8), ("-3600d", 11), ("+0", 14)] {
        watch.until_done(done).await;
        fs::write(&offset, jump).unwrap();
    }
    watch.until_end().await;
    let results = cluster.results(sweep).await;
    assert!(
        results.iter().all(|(job, _)| job.state() == v1::JobState::Done && job.attempts == 1),
        "{results:?}"
    );
    let mut granted = Vec::new();
    for job in 1..=JOBS {
        granted.push(cluster.job(sweep, job).await.attempts[0].granted_unix_ms);
    }
    let (first, last) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
    assert!(last - first > 3_000_000, "the coordinator saw the jumps: {granted:?}");
}
