//! Shows what the coordinator knows: `show`, `jobs`, `logs`, `workers`.

use domain::help::entry;
use indicatif::HumanBytes;
use proto::v1;
use report::{FailureReasons, view};
use terminal::text;
use terms::{JobState, VariantArray};

use super::{
    artifact,
    client::Target,
    failure::Failure,
    ids::{TargetId, job_id, sweep_id},
    output::{Cell, Format, Printer, count, first_line, print, print_json, print_one},
    tables::{
        ATTEMPT_COLUMNS, JobTable, attempt_row, best_point, epoch_table, left_by_jobs, names,
        say_cannot_pause, say_left_out, say_unread, sweep_row,
    },
};
use crate::shapes::{self, rows};

/// Most reasons of failures that `show` prints: the first explain most of them.
const REASONS_SHOWN_MAX: usize = 3;
/// Rows per request.
pub(super) const PAGE_ROWS: u32 = 1_000;

/// Arguments of `sweep show`.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgument {
    /// Sweep's number, or SWEEP/JOB
    #[arg(value_name = "SWEEP[/JOB]")]
    pub(super) target: TargetId,
}

/// Arguments of `sweep jobs`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = columns_of_results())]
pub(super) struct JobsArguments {
    /// Sweep's number
    #[arg(value_parser = sweep_id)]
    sweep: u64,
    /// Only jobs in this state; may be repeated
    #[arg(long, value_name = "STATE", value_parser = job_state)]
    state: Vec<v1::JobState>,
}

const COLUMNS: &[(&str, &str)] = &[
    ("best_epoch, best_…", "the epoch in which the sweep's metric was best, and its value there"),
    (
        "weights, files",
        "what the job left at the coordinator (`sweep artifact get`), in a table and in brackets as -o csv and -o json have it: kept \
         (kept); on their way (awaited); not kept (dropped), as `artifacts.keep` keeps those of fewer, better jobs; missing (absent), as \
         the worker has none. A job that was never among the best has nothing there.",
    ),
    ("reason", "why the job failed, was cancelled, stopped or paused"),
];

fn columns_of_results() -> String {
    let columns = COLUMNS.iter().map(|(name, text)| entry((2, 20), name, text));
    format!("Columns of results:\n{}", columns.collect::<String>())
}

/// Arguments of `sweep logs`.
#[derive(Debug, clap::Args)]
pub(super) struct LogsArguments {
    /// The job
    #[arg(value_name = "SWEEP/JOB", value_parser = job_id)]
    job: TargetId,
    /// Only this attempt
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
}

fn job_state(name: &str) -> Result<v1::JobState, String> {
    JobState::from_name(name).map(v1::JobState::from).ok_or_else(|| {
        let names: Vec<_> = JobState::VARIANTS.iter().map(|state| state.as_str()).collect();
        format!("use one of {}", names.join(", "))
    })
}

/// `sweep show`.
pub(super) async fn show(arguments: &TargetArgument, target: &Target, format: Format) -> Result<(), Failure> {
    let TargetId { sweep: sweep_id, job } = arguments.target;
    if let Some(job) = job {
        return show_job(sweep_id, job, target, format).await;
    }
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    if format == Format::Json {
        return print_json(&shapes::whole(&sweep));
    }
    let (mut columns, mut row) = sweep_row(&sweep);
    let (left, failed) = (left_by_jobs(&sweep), sweep.counts.unwrap_or_default().failed);
    columns.extend(names(&[
        "ended",
        "metric",
        "metric_use",
        "best_trainings",
        "best_job",
        "best_parameters",
        "weights",
        "dataset",
        "images",
        "unread_parameters",
        "waiting",
        "why_stopped",
        "cannot_pause",
        "specification",
    ]));
    row.push(Cell::Time(sweep.ended_unix_ms));
    let metric = sweep.metric.clone().unwrap_or_default();
    let used = if metric.use_best { "best" } else { "last" };
    row.extend([Cell::Text(metric.name), Cell::Text(used.to_owned())]);
    let trainings = sweep.best.as_ref().map(|best| u64::from(best.trainings.max(1)));
    row.push(trainings.map_or(Cell::Empty, Cell::Integer));
    let best = sweep.best.clone().and_then(|best| best.point);
    row.push(best.as_ref().map_or(Cell::Empty, |point| Cell::Integer(point.job)));
    row.push(best_point(&sweep));
    row.push(shapes::listed(&sweep).weights.map_or(Cell::Empty, Cell::Text));
    let dataset = sweep.dataset.unwrap_or_default();
    let hash = dataset.content_hash.clone();
    row.push(if hash.is_empty() { Cell::Empty } else { Cell::Text(hash) });
    row.push(match dataset.train_images.saturating_add(dataset.val_images) {
        0 => Cell::Empty,
        images => Cell::Integer(images),
    });
    row.push(match sweep.unread_parameters.join(", ") {
        names if names.is_empty() => Cell::Empty,
        names => Cell::Text(names),
    });
    row.push(sweep.waiting.map_or(Cell::Empty, |waiting| Cell::Text(waiting.text)));
    let said = |why: &str| if why.is_empty() { Cell::Empty } else { Cell::Text(why.to_owned()) };
    row.extend([said(&sweep.stopped), said(&sweep.cannot_pause)]);
    if format == Format::Table {
        columns.pop();
        columns.iter_mut().filter(|name| *name == "weights").for_each(|name| left.clone_into(name));
        print_one(format, columns, row)?;
        print(&format!("\n{}", sweep.specification))?;
        print_failures(sweep_id, failed, target).await?;
        say_unread(&sweep.unread_parameters);
        say_cannot_pause(&sweep.cannot_pause);
        Ok(())
    } else {
        row.push(Cell::Text(sweep.specification));
        print_one(format, columns, row)
    }
}

/// Prints why jobs of a sweep failed, the most frequent reasons first.
async fn print_failures(sweep_id: u64, failed: u64, target: &Target) -> Result<(), Failure> {
    if failed == 0 {
        return Ok(());
    }
    let request = v1::ListJobsRequest {
        sweep_id,
        states: vec![v1::JobState::Failed.into()],
        page_size: PAGE_ROWS,
        page_token: String::new(),
    };
    let page = target.call(async |client| client.list_jobs(request.clone()).await).await?;
    let mut reasons = FailureReasons::default();
    for job in &page.jobs {
        reasons.add(job.point.as_ref().map_or(0, |point| point.job), &job.reason);
    }
    let reasons = reasons.most_frequent();
    let read = page.jobs.len() as u64;
    let of = if read < failed { format!(" (of the first {read} of {failed})") } else { String::new() };
    let mut told = format!("\nwhy jobs failed{of}:\n");
    for (why, jobs, numbers) in reasons.iter().take(REASONS_SHOWN_MAX) {
        let which = if *jobs == 1 { "job" } else { "jobs" };
        told.push_str(&format!("  {jobs}x {}  ({which} {numbers})\n", text::line(&first_line(why))));
    }
    if reasons.len() > REASONS_SHOWN_MAX {
        let more = count((reasons.len() - REASONS_SHOWN_MAX) as u64, "more reason");
        told.push_str(&format!("  … and {more}; `sweep jobs {sweep_id} --state failed` lists the jobs\n"));
    }
    print(&told)
}

async fn show_job(sweep_id: u64, job: u64, target: &Target, format: Format) -> Result<(), Failure> {
    let (which, request) =
        (TargetId { sweep: sweep_id, job: Some(job) }, v1::GetJobRequest { sweep_id, job });
    let detail = target.call(async |client| client.get_job(request).await).await?;
    // Its metrics are in the order of the sweep.
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let Some(job) = &detail.job else {
        return Err(Failure::operation("the coordinator's answer holds no job"));
    };
    if format == Format::Json {
        return print_json(&shapes::Jobs::new(&sweep).detail(detail));
    }
    let parameters = proto::parameters_from_wire(job.point.clone().unwrap_or_default().parameters);
    let own: Vec<String> = parameters.0.iter().map(|(name, _)| name.clone()).collect();
    let table = JobTable::new(&own, &sweep);
    let (columns, row) = (table.columns(), table.row(job));
    let attempts: Vec<_> = detail.attempts.iter().map(attempt_row).collect();
    let metrics = rows::metrics(&sweep, &sweep.metric_names);
    let (epoch_columns, epochs) = epoch_table(&metrics, &rows::objective(&sweep).name, detail.epochs);
    print_one(format, columns, row)?;
    if format != Format::Table {
        return Ok(());
    }
    if !detail.proposal.is_empty() {
        print(&format!("\nproposed: {}\n", detail.proposal))?;
    }
    for (columns, rows) in [(names(&ATTEMPT_COLUMNS), attempts), (epoch_columns, epochs)] {
        print("\n")?;
        let mut printer = Printer::new(format, columns);
        printer.page(&rows)?;
        printer.finish()?;
    }
    // Those of a program; a model leaves weights. What can be said of the job has been said where they cannot be read.
    if job.weights != "kept" {
        return Ok(());
    }
    match artifact::index(which, target).await {
        Ok(Some((_, index))) => {
            print("\n")?;
            artifact::files::print_table(&index, format)?;
            let left_out = artifact::files::left_out(&index);
            if !left_out.is_empty() {
                print(&format!("left out: {left_out}\n"))?;
            }
        }
        Ok(None) => {}
        Err(failure) => print(&format!("\nits files cannot be listed: {failure}\n"))?,
    }
    Ok(())
}

/// Calls `page` with every job of a sweep, a page at a time.
pub(super) async fn each_job_page(
    target: &Target,
    sweep_id: u64,
    states: &[v1::JobState],
    mut page: impl FnMut(&[v1::Job]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut page_token = String::new();
    loop {
        let states = states.iter().map(|state| i32::from(*state)).collect();
        let request = v1::ListJobsRequest { sweep_id, states, page_size: PAGE_ROWS, page_token };
        let answer = target.call(async |client| client.list_jobs(request.clone()).await).await?;
        page(&answer.jobs)?;
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// `sweep jobs`.
pub(super) async fn jobs(arguments: &JobsArguments, target: &Target, format: Format) -> Result<(), Failure> {
    let sweep_id = arguments.sweep;
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let (table, left_out) = match format {
        Format::Table => JobTable::for_people(&sweep.varying, &sweep),
        _ => (JobTable::new(&sweep.varying, &sweep), 0),
    };
    let mut printer = Printer::new(format, table.columns());
    let mut shapes = shapes::Jobs::new(&sweep);
    each_job_page(target, sweep_id, &arguments.state, |jobs| {
        printer.page_of(jobs, |job| table.row(job), |job| shapes.job(job.clone()))
    })
    .await?;
    printer.finish()?;
    say_left_out(left_out);
    Ok(())
}

/// `sweep logs`.
pub(super) async fn logs(arguments: &LogsArguments, target: &Target) -> Result<(), Failure> {
    let TargetId { sweep: sweep_id, job } = arguments.job;
    let request = v1::GetJobRequest { sweep_id, job: job.unwrap_or_default() };
    let detail = target.call(async |client| client.get_job(request).await).await?;
    let wanted = |attempt: &&v1::Attempt| arguments.attempt.is_none_or(|number| number == attempt.attempt);
    let attempts: Vec<_> = detail.attempts.iter().filter(wanted).collect();
    if attempts.is_empty() {
        return Err(Failure::operation(match arguments.attempt {
            Some(number) => format!("job {sweep_id}/{} has no attempt {number}", request.job),
            None => format!("job {sweep_id}/{} has not been tried yet", request.job),
        }));
    }
    for attempt in attempts {
        let v1::Attempt { attempt: number, outcome, worker, slot, reason, log_tail, .. } = attempt;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let lines: String = log_tail.iter().map(|line| format!("{line}\n")).collect();
        let none = if log_tail.is_empty() { "(no log lines kept)\n" } else { "" };
        print(&format!("== attempt {number}, {outcome} on {worker} slot {slot}{reason}\n{lines}{none}"))?;
    }
    Ok(())
}

/// What GPUs do, such as `cuda:0 97% busy 12.5 GiB of 139.8 GiB`.
fn gpus(gpus: &[view::Gpu]) -> String {
    let each = gpus.iter().map(|gpu| {
        let percent = gpu.utilization_percent.map(|percent| format!(" {percent}% busy")).unwrap_or_default();
        let (used, total) = (HumanBytes(gpu.memory_used_bytes), HumanBytes(gpu.memory_total_bytes));
        format!("{}{percent} {used} of {total}", gpu.device)
    });
    each.collect::<Vec<_>>().join(", ")
}

/// `sweep workers`.
pub(super) async fn workers(target: &Target, format: Format) -> Result<(), Failure> {
    let row = |worker: &v1::Worker| {
        let worker = shapes::worker(worker);
        vec![
            Cell::Text(worker.name),
            Cell::Text(worker.state),
            Cell::Text(worker.host),
            Cell::Integer(worker.slots),
            Cell::Integer(worker.busy),
            Cell::Integer(worker.running),
            Cell::Text(worker.devices),
            Cell::Text(gpus(&worker.gpus)),
            Cell::Text(worker.models.join(" ")),
            Cell::Text(if worker.programs { "yes" } else { "no" }.to_owned()),
            Cell::Text(worker.version),
            worker.last_seen.map_or(Cell::Empty, Cell::Text),
            Cell::Text(worker.reason),
        ]
    };
    let columns = names(&[
        "name",
        "state",
        "host",
        "slots",
        "busy",
        "running",
        "devices",
        "gpus",
        "models",
        "programs",
        "version",
        "last_seen",
        "reason",
    ]);
    let (mut printer, mut page_token) = (Printer::new(format, columns), String::new());
    loop {
        let request = v1::ListWorkersRequest { page_size: PAGE_ROWS, page_token };
        let page = target.call(async |client| client.list_workers(request.clone()).await).await?;
        printer.page_of(&page.workers, row, shapes::worker)?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return printer.finish();
        }
    }
}
