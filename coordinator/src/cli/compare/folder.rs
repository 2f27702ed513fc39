//! The sweep of a run's folder, read from its database without a coordinator: of runs that have ended, and of those that go on.

use std::path::Path;

use engine::{Engine, EngineConfig, Now, query::DescribeSweep};
use report::compare::Side;
use store::SqliteView;
use terms::SweepId;

use super::super::failure::Failure;
use crate::{
    api::{ROWS_READ, take_in},
    rpc::convert,
    shapes::rows,
};

/// The database in a run's folder.
const DATABASE: &str = "sweep.db";

/// Nothing is leased: what is read stays as it is.
const CONFIG: EngineConfig = EngineConfig { lease_ms: 1, heartbeat_interval_ms: 1, keeps_weights: true };
const NOW: Now = Now { monotonic_ms: 0, unix_ms: 0 };

/// The sweep of a run's folder, for a comparison in which it is called by this number.
pub(super) async fn side_of(folder: &Path, number: u64) -> Result<Side, Failure> {
    let path = &folder.join(DATABASE);
    if !path.is_file() {
        return Err(Failure::usage(format!(
            "{} holds no {DATABASE}: name the folder of a `sweep run`, or a sweep of the coordinator by its number",
            folder.display()
        )));
    }
    read(path, folder, number).await.map_err(|error| Failure::Operation(error.to_string()))
}

/// Why the sweep of a database cannot be compared.
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

async fn read(path: &Path, folder: &Path, number: u64) -> Result<Side, Unreadable> {
    let mut view = SqliteView::open(path).await?;
    let stored = view.sweeps().await?;
    let sweeps = stored.len();
    let not_one = || Unreadable::NotOne { path: path.display().to_string(), sweeps };
    let id = stored.first().filter(|_| sweeps == 1).map(|sweep| sweep.sweep).ok_or_else(not_one)?;
    let engine = Engine::restore(CONFIG, NOW, stored)?;
    let seen = engine.ask(NOW, &DescribeSweep::new(id)).map_err(|_| not_one())?;
    let told = convert::sweep(&seen);
    let names = told.metric_names.clone();
    let mut sweep = rows::sweep(told, Vec::new(), &names);
    sweep.id = number;
    let mut side = Side::new(sweep).in_folder(&folder.display().to_string());
    each_row(&mut view, id, |row| take_in(&mut side, &seen.definition, row)).await?;
    if let Some(best) = side.best_job() {
        side.set_best_parameters(seen.definition.parameters(best));
    }
    view.close().await?;
    Ok(side)
}

/// Gives each job that has begun to `take`, in the order of their numbers.
async fn each_row(
    view: &mut SqliteView,
    sweep: SweepId,
    mut take: impl FnMut(&store::JobRow),
) -> Result<(), store::StoreError> {
    let mut first = 1;
    loop {
        let rows = view.jobs(sweep, first, ROWS_READ).await?;
        first = rows.last().map_or(first, |row| row.job + 1);
        rows.iter().for_each(&mut take);
        if rows.len() < ROWS_READ as usize {
            return Ok(());
        }
    }
}
