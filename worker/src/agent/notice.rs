//! Notices that the machine will be taken away soon: SIGUSR1, as Slurm sends it with `--signal`, or a file that appears, as agents of
//! clouds and of clusters write it. A notice comes once; what follows it changes nothing.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

/// How often to look for the file: clouds give between half a minute and two minutes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why the machine will be taken away, once that was said; stays as it is then.
#[derive(Debug, Clone)]
pub(crate) struct Notice(watch::Receiver<Option<String>>);

impl Notice {
    /// Waits for the notice; indefinitely where none comes.
    pub(crate) async fn given(&mut self) -> String {
        if let Ok(why) = self.0.wait_for(Option::is_some).await
            && let Some(why) = why.clone()
        {
            return why;
        }
        std::future::pending().await
    }

    /// One that never comes, or has come.
    #[cfg(test)]
    pub(crate) fn of(why: Option<&str>) -> Self {
        Self(watch::channel(why.map(str::to_owned)).1)
    }
}

/// Watches for notices until it is dropped.
///
/// # Errors
/// Signals cannot be watched.
pub(crate) fn watch(file: Option<PathBuf>) -> anyhow::Result<(Notice, AbortOnDropHandle<()>)> {
    let signals = signal(SignalKind::user_defined1()).context("cannot watch for SIGUSR1")?;
    let (given, notice) = watch::channel(None);
    let task = tokio::spawn(async move {
        let why = tokio::select! {
            () = signaled(signals) => "SIGUSR1".to_owned(),
            why = appears(file) => why,
        };
        tracing::info!("{why} says that this machine will be taken away: handing jobs back and leaving");
        given.send_replace(Some(format!("the machine will be taken away ({why})")));
    });
    Ok((Notice(notice), AbortOnDropHandle::new(task)))
}

async fn signaled(mut signals: Signal) {
    if signals.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the file is there, if one is given.
async fn appears(file: Option<PathBuf>) -> String {
    let Some(file) = file else { return std::future::pending().await };
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        // One that cannot be looked at is not there.
        if tokio::fs::symlink_metadata(&file).await.is_ok() {
            return format!("{} is there", file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_appears_is_a_notice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notice");
        let (mut notice, _watch) = watch(Some(file.clone())).unwrap();
        assert!(notice.0.borrow().is_none());
        std::fs::write(&file, "").unwrap();
        let why = notice.given().await;
        assert_eq!(why, format!("the machine will be taken away ({} is there)", file.display()));
        assert_eq!(notice.given().await, why, "it stays");
    }
}
