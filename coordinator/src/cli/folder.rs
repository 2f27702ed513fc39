//! The sweep of a run's folder, read from its database without a coordinator: of runs that have ended, and of those that go on.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use engine::{
    Engine, EngineConfig, Now, SweepView,
    query::{Define, Defined, DescribeSweep},
};
use store::{SqliteView, ViewedRows};

use super::failure::Failure;

/// The database in a run's folder.
const DATABASE: &str = "sweep.db";

/// Nothing is leased: what is read stays as it is.
const CONFIG: EngineConfig = EngineConfig { lease_ms: 1, heartbeat_interval_ms: 1, keeps_weights: true };
const NOW: Now = Now { monotonic_ms: 0, unix_ms: 0 };

/// A sweep as the command line names it, where a folder can have one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// Of the coordinator.
    Sweep(u64),
    /// Of a run, in its folder.
    Folder(PathBuf),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let has_digits = text.chars().all(|sign| sign.is_ascii_digit() || sign == '/');
        match super::ids::sweep_id(text) {
            Ok(sweep) => Ok(Self::Sweep(sweep)),
            Err(_) if Path::new(text).is_dir() => Ok(Self::Folder(text.into())),
            Err(why) if has_digits => Err(why),
            Err(_) => Err(format!(
                "there is no folder {text}; name the folder of a `sweep run`, or a sweep of the coordinator by its number, such as 3"
            )),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sweep(sweep) => write!(f, "sweep {sweep}"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}

impl Named {
    /// Its number, where it is one of the coordinator.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Sweep(sweep) => Some(*sweep),
            Self::Folder(_) => None,
        }
    }

    /// Refuses a folder that is none of a run, before anything is read.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Sweep(_) => Ok(()),
            Self::Folder(folder) => database(folder).map(drop),
        }
    }
}

/// The sweep of a folder, as it is at this moment.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rows: Arc<ViewedRows>,
    pub(super) sweep: SweepView,
    pub(super) defined: Defined,
}

/// Reads the sweep of a run's folder.
///
/// # Errors
/// There is none, or it cannot be read.
pub(super) async fn open(folder: &Path) -> Result<Held, Failure> {
    let path = &database(folder)?;
    read(path).await.map_err(|error| Failure::Operation(error.to_string()))
}

fn database(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join(DATABASE);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::usage(format!(
        "{} holds no {DATABASE}: name the folder of a `sweep run`, or a sweep of the coordinator by its number",
        folder.display()
    )))
}

/// Why the sweep of a database cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("{0}")]
    Store(#[from] store::StoreError),
    #[error("{0}")]
    Restore(#[from] engine::RestoreError),
    #[error(
        "{path} holds {sweeps} sweeps and not one; start `sweep serve --store sqlite:{path}` and name its sweeps by their numbers"
    )]
    NotOne { path: String, sweeps: usize },
}

async fn read(path: &Path) -> Result<Held, Unreadable> {
    let mut view = SqliteView::open(path).await?;
    let stored = view.sweeps().await?;
    let sweeps = stored.len();
    let not_one = || Unreadable::NotOne { path: path.display().to_string(), sweeps };
    let id = stored.first().filter(|_| sweeps == 1).map(|sweep| sweep.sweep).ok_or_else(not_one)?;
    let engine = Engine::restore(CONFIG, NOW, stored)?;
    let sweep = engine.ask(NOW, &DescribeSweep::new(id)).map_err(|_| not_one())?;
    let defined = engine.ask(NOW, &Define(id)).map_err(|_| not_one())?;
    Ok(Held { rows: Arc::new(ViewedRows::new(view)), sweep, defined })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_said_first() {
        let told = |text: &str| text.parse::<Named>().unwrap_err();
        assert!(
            told("no/such/run").starts_with("there is no folder no/such/run; "),
            "{}",
            told("no/such/run")
        );
        assert!(told("3/1").starts_with("give the sweep alone"), "{}", told("3/1"));
        assert!(told("0").starts_with("give a sweep's number"), "{}", told("0"));
        let folder = tempfile::tempdir().unwrap();
        let named: Named = folder.path().to_str().unwrap().parse().unwrap();
        assert_eq!(named, Named::Folder(folder.path().to_owned()));
        assert!(named.check().unwrap_err().to_string().contains("holds no sweep.db"));
        assert_eq!("3".parse(), Ok(Named::Sweep(3)));
    }
}
