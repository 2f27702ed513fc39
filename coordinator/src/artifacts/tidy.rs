//! Removes files of weights and checkpoints that are no longer kept, for as long as a coordinator leads, and, when it begins to, files
//! of programs that no sweep names.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use engine::query::{NameWeights, WhichHaveEnded};
use futures_util::{StreamExt, stream};
use terms::JobKey;
use tokio::sync::mpsc;

use super::Artifacts;
use crate::driver::DriverHandle;

/// How often to look whether jobs have ended whose checkpoints were handed over.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How often to look for checkpoints that came only in part: a fifth of the time after which they are given up.
const PARTS_INTERVAL: Duration = Duration::from_secs(60);

/// Checkpoints that are removed at the same time: a thousand in a cloud that takes its time are gone in a minute.
const REMOVALS_MAX: usize = 8;

/// Removes what earlier coordinators left, and from then on the `dropped` files, by name, after their records.
pub async fn tidy(artifacts: Arc<Artifacts>, driver: DriverHandle, dropped: mpsc::Receiver<String>) {
    let names = async { driver.query(NameWeights).await.ok() };
    match artifacts.remove_leftovers(names).await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "weights that a crash left were removed"),
        Err(error) => tracing::warn!(%error, "weights that are no longer kept may still be there"),
    }
    if let Ok(names) = driver.query(NameWeights).await {
        match artifacts.remove_unnamed_snapshots(&names.snapshots).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of programs that no sweep names were removed"),
            Err(error) => tracing::warn!(%error, "files of programs that no sweep names may still be there"),
        }
        match artifacts.remove_unknown_checkpoints(&names.folders, SystemTime::now()).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "old checkpoints of sweeps that are not known were removed"),
            Err(error) => {
                tracing::warn!(%error, "old checkpoints of sweeps that are not known may still be there");
            }
        }
    }
    // A driver that has stopped answers nothing; the next one does.
    let have_ended = |jobs| {
        let driver = driver.clone();
        async move { driver.query(WhichHaveEnded(jobs)).await.ok() }
    };
    keep_tidy(&artifacts, have_ended, dropped).await;
}

/// Removes what is dropped, and next to it checkpoints: their place may take its time for many.
async fn keep_tidy<Asked: Future<Output = Option<Vec<bool>>>>(
    artifacts: &Artifacts,
    have_ended: impl Fn(Vec<(String, JobKey)>) -> Asked,
    mut dropped: mpsc::Receiver<String>,
) {
    let weights = async {
        while let Some(name) = dropped.recv().await {
            if let Err(error) = artifacts.remove(&name).await {
                tracing::warn!(%error, name, "weights that are no longer kept could not be removed");
            }
        }
    };
    let checkpoints = async {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            remove_checkpoints_of_ended_jobs(artifacts, &have_ended).await;
        }
    };
    let parts = async {
        let mut looks = tokio::time::interval(PARTS_INTERVAL);
        loop {
            looks.tick().await;
            if let Err(error) = artifacts.remove_abandoned_checkpoints(SystemTime::now()).await {
                tracing::warn!(%error, "checkpoints that came only in part could not be removed");
            }
        }
    };
    tokio::select! {
        () = weights => {}
        () = checkpoints => {}
        () = parts => {}
    }
}

/// Removes the checkpoints that were handed over and that no attempt will go on from.
async fn remove_checkpoints_of_ended_jobs<Asked: Future<Output = Option<Vec<bool>>>>(
    artifacts: &Artifacts,
    have_ended: &impl Fn(Vec<(String, JobKey)>) -> Asked,
) {
    let kept = match artifacts.checkpoints().await {
        Ok(kept) if kept.is_empty() => return,
        Ok(kept) => kept,
        Err(error) => return tracing::warn!(%error, "checkpoints that were handed over cannot be listed"),
    };
    let jobs = kept.iter().map(|one| (one.folder.clone(), one.attempt.job)).collect();
    let Some(ended) = have_ended(jobs).await else { return };
    let of_ended: Vec<_> =
        kept.into_iter().zip(ended).filter(|(_, ended)| *ended).map(|(checkpoint, _)| checkpoint).collect();
    let remove = |checkpoint| async move {
        if let Err(error) = artifacts.remove_checkpoint(&checkpoint).await {
            tracing::warn!(%error, "a checkpoint of a job that has ended could not be removed");
        }
    };
    stream::iter(of_ended).for_each_concurrent(REMOVALS_MAX, remove).await;
}

#[cfg(test)]
mod tests {
    use domain::record::WeightsFile;
    use terms::AttemptKey;
    use tokio::sync::Notify;

    use super::{super::Checkpoint, *};

    #[tokio::test]
    async fn weights_that_are_dropped_go_while_the_removal_of_a_checkpoint_takes_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
        let blake3 = blake3::hash(b"one").to_hex().to_string();
        let file = WeightsFile { bytes: 3, blake3: blake3.clone() };
        let checkpoint = |job| Checkpoint {
            folder: "3-9".to_owned(),
            attempt: AttemptKey::new(3, job, 1),
            blake3: blake3.clone(),
        };
        for job in 1..=3 {
            artifacts.take_checkpoint(&checkpoint(job), 3, 0, b"one".to_vec()).await.unwrap();
        }
        artifacts.take("3-9/weights", &file, 0, b"one".to_vec()).await.unwrap();
        artifacts.keep("3-9/weights", &file, async {}).await.unwrap();
        // A call that does not come back works on the first of them.
        let _busy = artifacts.parts.part(&format!("handed-over/3-9/1-1-{blake3}")).unwrap();
        let (drop_it, dropped) = mpsc::channel(1);
        let asked = Notify::new();
        let have_ended = |jobs: Vec<_>| {
            asked.notify_one();
            std::future::ready(Some(vec![true; jobs.len()]))
        };
        let is_gone = async |path: String| {
            while folder.path().join(&path).exists() {
                tokio::task::yield_now().await;
            }
        };
        let seen = async {
            asked.notified().await;
            is_gone(format!("handed-over/3-9/3-1-{blake3}")).await;
            drop_it.send("3-9/weights".to_owned()).await.unwrap();
            is_gone("3-9/weights".to_owned()).await;
        };
        tokio::select! {
            () = keep_tidy(&artifacts, have_ended, dropped) => panic!("it has ended"),
            seen = tokio::time::timeout(Duration::from_secs(60), seen) => seen.expect("one removal holds up the others"),
        }
        assert!(folder.path().join(format!("handed-over/3-9/1-1-{blake3}")).exists());
    }
}
