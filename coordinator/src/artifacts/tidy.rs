//! Removes files of weights and checkpoints that are no longer kept, for as long as a coordinator leads, and, when it begins to, files
//! of programs that no sweep names.

use std::{sync::Arc, time::Duration};

use engine::query::{NameWeights, WhichHaveEnded};
use tokio::sync::mpsc;

use super::Artifacts;
use crate::driver::DriverHandle;

/// How often to look whether jobs have ended whose checkpoints were handed over.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Removes what earlier coordinators left, and from then on the `dropped` files, by name, after their records.
pub async fn tidy(artifacts: Arc<Artifacts>, driver: DriverHandle, mut dropped: mpsc::Receiver<String>) {
    if let Err(error) = artifacts.look_for_checkpoints().await {
        tracing::warn!(%error, "checkpoints that were handed over cannot be counted");
    }
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
    }
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            name = dropped.recv() => {
                let Some(name) = name else { return };
                if let Err(error) = artifacts.remove(&name).await {
                    tracing::warn!(%error, name, "weights that are no longer kept could not be removed");
                }
            }
            _ = looks.tick() => remove_checkpoints_of_ended_jobs(&artifacts, &driver).await,
        }
    }
}

/// Removes the checkpoints that were handed over and that no attempt will go on from.
async fn remove_checkpoints_of_ended_jobs(artifacts: &Artifacts, driver: &DriverHandle) {
    let kept = artifacts.checkpoints();
    if kept.is_empty() {
        return;
    }
    let jobs = kept.iter().map(|one| (one.folder.clone(), one.attempt.job)).collect();
    // A driver that has stopped answers nothing; the next one does.
    let Ok(ended) = driver.query(WhichHaveEnded(jobs)).await else { return };
    for (checkpoint, _) in kept.iter().zip(ended).filter(|(_, ended)| *ended) {
        if let Err(error) = artifacts.remove_checkpoint(checkpoint).await {
            tracing::warn!(%error, "a checkpoint of a job that has ended could not be removed");
        }
    }
}
