//! What a run leaves at its end: the best weights, the report, and a summary on the terminal.

use std::path::Path;

use proto::v1;
use terminal::output::say;
use traces::Traces;

use super::{BEST, workers::LOGS};
use crate::cli::{
    artifact,
    client::Target,
    failure::Failure,
    folder::Named,
    follow::verdict,
    ids::TargetId,
    inspect::each_job_page,
    output::{Unprinted, print, table},
    report::{self, Lang},
    tables::{JobTable, is_of_program, say_cannot_pause, say_left_out, say_unread},
};

/// Most jobs whose rows are printed at the end; larger sweeps have them in the report.
const ROWS_PRINTED_MAX: u64 = 64;

/// Writes the best weights and the report, which names them, and prints a summary. The report is written even without
/// the weights.
pub(super) async fn write_results(
    sweep_id: u64,
    lang: Lang,
    folder: &Path,
    (target, traces): (&Target, &Traces),
    mut unprinted: Unprinted,
) -> Result<(), Failure> {
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let best = keep_best(&sweep, target, folder).await;
    let page =
        report::write(target, &Named::Sweep(sweep_id), |_| folder.to_owned(), lang.into(), traces).await?;
    unprinted.note(print_results(&sweep, target).await);
    if !sweep.stopped.is_empty() {
        say(&format!("stopped: {}", sweep.stopped));
    }
    say_unread(&sweep.unread_parameters);
    say_cannot_pause(&sweep.cannot_pause);
    unprinted.note(print(&format!("\nreport: {}\n", page.display())));
    let kept = match best {
        Ok(best) => {
            unprinted.note(print(&best));
            Ok(())
        }
        Err(failure) => {
            let what = if is_of_program(&sweep) { "best job's files" } else { "best weights" };
            Err(Failure::operation(format!(
                "the report is written, but not the {what}: {failure}; the same command tries again"
            )))
        }
    };
    // Programs have a log for each job.
    let logs = Some(folder.join(LOGS)).filter(|logs| logs.is_dir()).unwrap_or_else(|| folder.join("workers"));
    let reasons = format!("{} and {}", folder.join("results.csv").display(), logs.display());
    let judged = verdict(&sweep, &reasons);
    if let (Err(failure), Err(_)) = (&kept, &judged) {
        // Two things went wrong; the second decides the exit code.
        failure.tell();
    }
    judged.and(kept)?;
    unprinted.end()
}

/// Writes the best weights next to the report; returns what to print about it.
async fn keep_best(sweep: &v1::Sweep, target: &Target, folder: &Path) -> Result<String, Failure> {
    if sweep.best_weights.is_none() {
        return Ok(String::new());
    }
    let which = TargetId { sweep: sweep.sweep_id, job: None };
    let written = artifact::get(which, target, &[], |_| folder.join(BEST)).await?;
    let is_mean = sweep.best.as_ref().is_some_and(|best| best.trainings > 1);
    let what = match (written.is_of_files(), is_mean) {
        (true, false) => "best job's files",
        (false, false) => "best weights",
        // What is kept is of single trainings, which the best configuration by its mean need not have.
        (true, true) => "files of the best single training",
        (false, true) => "weights of the best single training",
    };
    Ok(format!("{what}: {} (job {})\n", written.describe(), written.job))
}

/// The table of results, if a terminal can show it.
async fn print_results(sweep: &v1::Sweep, target: &Target) -> Result<(), Failure> {
    if sweep.job_count > ROWS_PRINTED_MAX {
        return Ok(());
    }
    let hidden = ["attempts", "reason"];
    let all_done = sweep.counts.unwrap_or_default().done == sweep.job_count;
    let (jobs, left_out) = JobTable::for_people(&sweep.varying, sweep);
    let columns = jobs.columns();
    let shown = |index: &usize| !(all_done && hidden.contains(&columns[*index].as_str()));
    let mut rows = Vec::new();
    each_job_page(target, sweep.sweep_id, &[], |page| {
        for job in page {
            let row = jobs.row(job).into_iter().enumerate();
            rows.push(row.filter(|(index, _)| shown(index)).map(|(_, cell)| cell).collect());
        }
        Ok(())
    })
    .await?;
    let header =
        (0..columns.len()).filter(|index| shown(index)).map(|index| columns[index].clone()).collect();
    print(&format!("\n{}", table(Some(&header), &rows)))?;
    say_left_out(left_out);
    Ok(())
}
