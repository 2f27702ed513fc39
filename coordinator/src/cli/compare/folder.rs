//! The sweep of a run's folder among others.

use std::path::Path;

use report::compare::Side;
use store::ResultRows;

use super::super::{failure::Failure, folder};
use crate::{
    api::{ROWS_READ, take_in},
    rpc::convert,
    shapes::rows,
};

/// The sweep of a run's folder, for a comparison in which it is called by this number.
pub(super) async fn side_of(folder: &Path, number: u64) -> Result<Side, Failure> {
    let folder::Held { rows: held, sweep: seen, .. } = folder::open(folder).await?;
    let told = convert::sweep(&seen);
    let names = told.metric_names.clone();
    let mut sweep = rows::sweep(told, Vec::new(), &names);
    sweep.id = number;
    let mut side = Side::new(sweep).in_folder(&folder.display().to_string());
    let mut first = 1;
    loop {
        let page = held.jobs(seen.definition.id, first, ROWS_READ).await;
        let page = page.map_err(|error| Failure::Operation(error.to_string()))?;
        first = page.last().map_or(first, |row| row.job + 1);
        page.iter().for_each(|row| take_in(&mut side, &seen.definition, row));
        if page.len() < ROWS_READ as usize {
            break;
        }
    }
    if let Some(best) = side.best_job() {
        side.set_best_parameters(seen.definition.parameters(best));
    }
    Ok(side)
}
