//! Checks weights: what the records say is kept is stored as it was trained, and nothing else is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proto::v1;

use super::{EPOCHS, light_metrics, light_weights};
use crate::{Cluster, PATIENCE, cluster::Client};

/// Bytes of the light trainer's weights, without the header, by default.
const LIGHT_WEIGHTS_BYTES: usize = 1_000;
/// How often a coordinator is asked whether all weights have arrived.
const POLL: Duration = Duration::from_millis(20);

/// Weights that a sweep keeps in the end.
#[derive(Debug)]
pub struct KeptWeights {
    /// What the coordinator reports for each job, by job.
    pub listed: BTreeMap<u64, v1::Artifact>,
    /// The content of each job's weights that are kept.
    pub contents: BTreeMap<u64, Vec<u8>>,
}

/// Waits until no weights of a sweep are on their way, and until the folder holds what is kept and nothing else.
///
/// # Panics
/// That never happens, or a file has another hash than its record.
pub async fn settled_weights(cluster: &Cluster, sweep: u64, folder: &Path) -> KeptWeights {
    let give_up_at = Instant::now() + PATIENCE;
    let mut client = cluster.client().await;
    loop {
        let listed = list(&mut client, sweep).await;
        let kept: Vec<&v1::Artifact> = listed.iter().filter(|one| one.state == "kept").collect();
        let is_awaited = listed.iter().any(|one| one.state == "awaited");
        let files = files(folder);
        // What is no longer kept is removed soon after its record.
        if !is_awaited && files.len() == kept.len() {
            let contents = kept.iter().map(|one| (one.job, content(&files, one))).collect();
            return KeptWeights { listed: listed.into_iter().map(|one| (one.job, one)).collect(), contents };
        }
        assert!(Instant::now() < give_up_at, "weights do not settle: {listed:?} {files:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Checks that the weights of the best of the light trainer's `jobs` are there in the end, and no others.
///
/// # Panics
/// They are not.
pub async fn check_best_weights(cluster: &Cluster, sweep: u64, jobs: u64) {
    let folder = cluster.folder.path().join("sweep.db-artifacts");
    let kept = settled_weights(cluster, sweep, &folder).await.contents;
    let accuracy = |job: u64| light_metrics(job, u64::from(EPOCHS)).1;
    let best = (1..=jobs).fold(1, |best, job| if accuracy(job) > accuracy(best) { job } else { best });
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [(best, light_weights(best, LIGHT_WEIGHTS_BYTES))]);
}

async fn list(client: &mut Client, sweep_id: u64) -> Vec<v1::Artifact> {
    let request =
        v1::ListArtifactsRequest { sweep_id, page_size: 1_000, ..v1::ListArtifactsRequest::default() };
    client.list_artifacts(request).await.expect("weights are listed").into_inner().artifacts
}

/// The file of an artifact, found by its hash.
fn content(files: &[PathBuf], artifact: &v1::Artifact) -> Vec<u8> {
    let named = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(&format!("{}-{}-{}", artifact.job, artifact.attempt, &artifact.blake3[..32]))
    };
    let path =
        files.iter().find(named).unwrap_or_else(|| panic!("{artifact:?} is kept, but not there: {files:?}"));
    let content = std::fs::read(path).expect("it can be read");
    assert_eq!(content.len() as u64, artifact.bytes, "{artifact:?}");
    assert_eq!(blake3::hash(&content).to_hex().as_str(), artifact.blake3, "{artifact:?}");
    content
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
