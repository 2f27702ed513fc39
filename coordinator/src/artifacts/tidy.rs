//! Removes files of weights that are no longer kept, for as long as a coordinator leads, and, when it begins to, files
//! of programs that no sweep names.

use std::sync::Arc;

use engine::query::NameWeights;
use tokio::sync::mpsc;

use super::Artifacts;
use crate::driver::DriverHandle;

/// Removes what earlier coordinators left, and from then on the `dropped` files, by name, after their records.
pub async fn tidy(artifacts: Arc<Artifacts>, driver: DriverHandle, mut dropped: mpsc::Receiver<String>) {
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
    while let Some(name) = dropped.recv().await {
        if let Err(error) = artifacts.remove(&name).await {
            tracing::warn!(%error, name, "weights that are no longer kept could not be removed");
        }
    }
}
