//! Removing files of weights that are not kept any more, for as long as a coordinator leads, and files of programs that no
//! sweep names, when it begins to.

use std::sync::Arc;

use engine::query::NameWeights;
use tokio::sync::mpsc;

use super::Artifacts;
use crate::driver::DriverHandle;

/// Removes what earlier coordinators left, and from then on what is `dropped`, by name, after its record.
pub async fn tidy(artifacts: Arc<Artifacts>, driver: DriverHandle, mut dropped: mpsc::Receiver<String>) {
    let names = async { driver.query(NameWeights).await.ok() };
    match artifacts.remove_leftovers(names).await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "weights that a crash left were removed"),
        Err(error) => tracing::warn!(%error, "weights that are not kept any more may still be there"),
    }
    if let Ok(names) = driver.query(NameWeights).await {
        match artifacts.remove_unnamed_snapshots(&names.snapshots).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of programs that no sweep names were removed"),
            Err(error) => tracing::warn!(%error, "files of programs that no sweep names may still be there"),
        }
    }
    while let Some(name) = dropped.recv().await {
        if let Err(error) = artifacts.remove(&name).await {
            tracing::warn!(%error, name, "weights that are not kept any more could not be removed");
        }
    }
}
