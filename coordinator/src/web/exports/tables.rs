//! Exports as Parquet. Whole groups of rows are encoded and compressed at a time, which takes longer than others should wait for their turn: a
//! thread for such work does it.

use export::{ExportError, ParquetPieces, ParquetTable};
use report::{Epoch, Job};
use tokio::task::spawn_blocking;

use super::{Jobs, convert};
use crate::{
    api::{Report, task_ended},
    shapes::{rows::Rows, space},
    web::sending::{Cut, Sending},
};

/// The registered type of such files.
pub(super) const KIND: &str = "application/vnd.apache.parquet";
/// Jobs and epochs that are handed to the thread at a time, so that handing them over costs nothing. A job may have more epochs: one more
/// comes with them.
const ROWS_HANDED: usize = 1_000;

/// Sends the table. In memory are a group of rows, and the rows that are handed over.
pub(super) async fn send(report: Report, which: ParquetTable, mut sending: Sending) -> Result<(), Cut> {
    let header = convert::report_header(&report);
    let message = header.sweep.clone().unwrap_or_default();
    let (rows, sweep) = Rows::new(header);
    let parameters = space::parameters(&sweep, &message);
    let mut table = ParquetPieces::new(which, &sweep, parameters)?;
    let mut jobs = Jobs::new(report, rows);
    let mut handed = Vec::new();
    let mut waiting = 0;
    while let Some((job, epochs)) = jobs.next().await? {
        waiting += 1 + epochs.len();
        handed.push((job, epochs));
        if waiting >= ROWS_HANDED {
            let made;
            (table, made) = add(table, std::mem::take(&mut handed)).await?;
            sending.send(made).await?;
            waiting = 0;
        }
    }
    let (table, made) = add(table, handed).await?;
    sending.send(made).await?;
    let last = spawn_blocking(move || table.finish()).await.map_err(|_| task_ended())??;
    sending.send(last).await
}

/// Adds jobs; the bytes that are whole by then.
async fn add(
    mut table: ParquetPieces,
    jobs: Vec<(Job, Vec<Epoch>)>,
) -> Result<(ParquetPieces, Vec<u8>), Cut> {
    let work = move || {
        jobs.iter().try_for_each(|(job, epochs)| table.job(job, epochs))?;
        let made = table.take()?;
        Ok::<_, ExportError>((table, made))
    };
    Ok(spawn_blocking(work).await.map_err(|_| task_ended())??)
}
