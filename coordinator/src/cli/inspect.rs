//! Shows what the coordinator knows: `ls`, `show`, `jobs`, `logs`, `workers`.

use std::str::FromStr;

use proto::v1;
use report::Columns;
use terminal::output;
use terms::{JobState, MetricSchema, ParameterValue, SweepState, VariantArray};

use super::{
    client::Target,
    failure::Failure,
    output::{Cell, Format, Printer, count, print, print_json_with_lists, print_one},
    report::rows,
};

/// Sweeps that `ls` shows to people.
const SWEEPS_SHOWN: u64 = 100;
/// Most parameters and metrics in a table for people: a terminal is no wider.
const PARAMETERS_SHOWN_MAX: usize = 12;
const METRICS_SHOWN_MAX: usize = 6;
/// Rows per request.
const PAGE_ROWS: u32 = 1_000;

/// A sweep's number, or a job as SWEEP/JOB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TargetId {
    pub(super) sweep: u64,
    pub(super) job: Option<u64>,
}

impl FromStr for TargetId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|number| *number > 0);
        let target = match text.split_once('/') {
            None => number(text).map(|sweep| Self { sweep, job: None }),
            Some((sweep, job)) => {
                number(sweep).zip(number(job)).map(|(sweep, job)| Self { sweep, job: Some(job) })
            }
        };
        target.ok_or_else(|| {
            "give a sweep's number, such as 3, or a job, such as 3/14; see `sweep ls`".to_owned()
        })
    }
}

/// A sweep's number, for commands that take no job.
pub(super) fn sweep_id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(TargetId { sweep, job: None }) => Ok(sweep),
        Ok(TargetId { sweep, job: Some(_) }) => {
            Err(format!("give the sweep alone, as in {sweep}: this is not for one job"))
        }
        Err(_) => Err("give a sweep's number, such as 3; see `sweep ls`".to_owned()),
    }
}

fn job_id(text: &str) -> Result<TargetId, String> {
    let target: TargetId = text.parse()?;
    if target.job.is_none() { Err("give a job as SWEEP/JOB, such as 3/14".to_owned()) } else { Ok(target) }
}

/// Arguments of `sweep ls`.
#[derive(Debug, clap::Args)]
pub(super) struct LsArguments {
    /// Show at most this many [default: 100 as a table, all in the other forms]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Arguments of `sweep show`.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgument {
    /// Sweep's number, or SWEEP/JOB
    #[arg(value_name = "SWEEP[/JOB]")]
    pub(super) target: TargetId,
}

/// Arguments of `sweep jobs`.
#[derive(Debug, clap::Args)]
pub(super) struct JobsArguments {
    /// Sweep's number
    #[arg(value_parser = sweep_id)]
    sweep: u64,
    /// Only jobs in this state; may be repeated
    #[arg(long, value_name = "STATE", value_parser = job_state)]
    state: Vec<v1::JobState>,
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

/// The state's name for people.
pub(super) fn job_state_name(state: v1::JobState) -> &'static str {
    JobState::try_from(state).ok().map_or("unknown", JobState::as_str)
}

/// The state's name for people.
pub(super) fn sweep_state_name(state: v1::SweepState) -> &'static str {
    SweepState::try_from(state).ok().map_or("unknown", SweepState::as_str)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// One sweep as a row with the names of its columns.
pub(super) fn sweep_row(sweep: &v1::Sweep) -> (Vec<String>, Vec<Cell>) {
    let counts = sweep.counts.unwrap_or_default();
    let columns = names(&[
        "id",
        "name",
        "state",
        "jobs",
        "pending",
        "running",
        "done",
        "diverged",
        "failed",
        "cancelled",
        "best",
        "created",
    ]);
    let row = vec![
        Cell::Integer(sweep.sweep_id),
        Cell::Text(sweep.name.clone()),
        Cell::Text(sweep_state_name(sweep.state()).to_owned()),
        Cell::Integer(sweep.job_count),
        Cell::Integer(counts.pending),
        Cell::Integer(counts.running),
        Cell::Integer(counts.done),
        Cell::Integer(counts.diverged),
        Cell::Integer(counts.failed),
        Cell::Integer(counts.cancelled),
        Cell::number(sweep.best.as_ref().map(|best| best.value), 4),
        Cell::Time(sweep.created_unix_ms),
    ];
    (columns, row)
}

/// `sweep ls`.
pub(super) async fn ls(arguments: &LsArguments, target: &Target, format: Format) -> Result<(), Failure> {
    let mut printer = Printer::new(format, sweep_row(&v1::Sweep::default()).0);
    let limit_default = if format == Format::Table { SWEEPS_SHOWN } else { u64::MAX };
    let (mut left, mut page_token) = (arguments.limit.unwrap_or(limit_default), String::new());
    loop {
        let page_size = u32::try_from(left).unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        let request = v1::ListSweepsRequest { page_size, page_token };
        let page = target.call(async |client| client.list_sweeps(request.clone()).await).await?;
        let rows: Vec<_> = page.sweeps.iter().map(|sweep| sweep_row(sweep).1).collect();
        printer.page(&rows)?;
        left = left.saturating_sub(rows.len() as u64);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return printer.finish();
        }
        if left == 0 {
            printer.finish()?;
            // Sweeps are numbered from 1 without gaps, newest first.
            let more = page.sweeps.last().map_or(0, |oldest| oldest.sweep_id.saturating_sub(1));
            if more == 0 {
                return Ok(());
            }
            output::say(&format!("… and {}; --limit N shows N sweeps", count(more, "older one")));
            return Ok(());
        }
    }
}

/// `sweep show`.
pub(super) async fn show(arguments: &TargetArgument, target: &Target, format: Format) -> Result<(), Failure> {
    let TargetId { sweep: sweep_id, job } = arguments.target;
    if let Some(job) = job {
        return show_job(sweep_id, job, target, format).await;
    }
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let (mut columns, mut row) = sweep_row(&sweep);
    columns.extend(names(&[
        "ended",
        "metric",
        "metric_use",
        "best_job",
        "best_parameters",
        "weights",
        "dataset",
        "images",
        "waiting",
        "specification",
    ]));
    row.push(Cell::Time(sweep.ended_unix_ms));
    let metric = sweep.metric.clone().unwrap_or_default();
    let used = if metric.use_best { "best" } else { "last" };
    row.extend([Cell::Text(metric.name), Cell::Text(used.to_owned())]);
    let best = sweep.best.clone().and_then(|best| best.point);
    row.push(best.as_ref().map_or(Cell::Empty, |point| Cell::Integer(point.job)));
    row.push(best.map_or(Cell::Empty, |point| Cell::Point(shown_parameters(&point, &sweep.varying))));
    row.push(weights_cell(&sweep));
    let dataset = sweep.dataset.unwrap_or_default();
    let hash = dataset.content_hash.clone();
    row.push(if hash.is_empty() { Cell::Empty } else { Cell::Text(hash) });
    row.push(match dataset.train_images.saturating_add(dataset.val_images) {
        0 => Cell::Empty,
        images => Cell::Integer(images),
    });
    row.push(sweep.waiting.map_or(Cell::Empty, |waiting| Cell::Text(waiting.text)));
    if format == Format::Table {
        columns.pop();
        print_one(format, columns, row)?;
        print(&format!("\n{}", sweep.specification))
    } else {
        row.push(Cell::Text(sweep.specification));
        print_one(format, columns, row)
    }
}

/// Which weights are kept, for people.
fn weights_cell(sweep: &v1::Sweep) -> Cell {
    let awaited = match sweep.weights_awaited {
        0 => String::new(),
        awaited => format!("{awaited} on their way"),
    };
    let kept = sweep.best_weights.as_ref().map_or_else(String::new, |best| {
        format!("of job {} kept; `sweep artifact get {}`", best.job, sweep.sweep_id)
    });
    match [kept, awaited].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ") {
        text if text.is_empty() => Cell::Empty,
        text => Cell::Text(text),
    }
}

async fn show_job(sweep_id: u64, job: u64, target: &Target, format: Format) -> Result<(), Failure> {
    let request = v1::GetJobRequest { sweep_id, job };
    let detail = target.call(async |client| client.get_job(request).await).await?;
    // Its metrics are in the order of the sweep.
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let Some(job) = &detail.job else {
        return Err(Failure::operation("the coordinator's answer holds no job"));
    };
    let parameters = proto::parameters_from_wire(job.point.clone().unwrap_or_default().parameters);
    let own: Vec<String> = parameters.0.iter().map(|(name, _)| name.clone()).collect();
    let table = JobTable::new(&own, &sweep);
    let (columns, row) = (table.columns(), table.row(job));
    let attempts: Vec<_> = detail.attempts.iter().map(attempt_row).collect();
    let metrics = rows::metrics(&sweep, &sweep.metric_names);
    let (epoch_columns, epochs) = epoch_table(&metrics, &rows::objective(&sweep).name, detail.epochs);
    let lists = vec![("attempts", names(&ATTEMPT_COLUMNS), attempts), ("epochs", epoch_columns, epochs)];
    if format == Format::Json {
        return print_json_with_lists(&columns, &row, lists);
    }
    print_one(format, columns, row)?;
    if format != Format::Table {
        return Ok(());
    }
    for (_, columns, rows) in lists {
        print("\n")?;
        let mut printer = Printer::new(format, columns);
        printer.page(&rows)?;
        printer.finish()?;
    }
    Ok(())
}

/// The columns of [`attempt_row`].
const ATTEMPT_COLUMNS: [&str; 10] = [
    "attempt",
    "outcome",
    "worker",
    "slot",
    "device",
    "resumed_epochs",
    "pack_size",
    "granted",
    "ended",
    "reason",
];

fn attempt_row(attempt: &v1::Attempt) -> Vec<Cell> {
    vec![
        Cell::Integer(attempt.attempt.into()),
        Cell::Text(attempt.outcome.clone()),
        Cell::Text(attempt.worker.clone()),
        Cell::Integer(attempt.slot.into()),
        Cell::Text(attempt.device.clone()),
        Cell::Integer(attempt.resumed_epochs.into()),
        Cell::Integer(attempt.pack_size.into()),
        Cell::Time(attempt.granted_unix_ms),
        Cell::Time(attempt.ended_unix_ms),
        Cell::Text(attempt.reason.clone()),
    ]
}

/// The table of a sweep's epochs: metrics in the order in which they first came.
fn epoch_table(
    metrics: &MetricSchema,
    objective: &str,
    epochs: Vec<v1::EpochRow>,
) -> (Vec<String>, Vec<Vec<Cell>>) {
    let own = Columns::new(&[], metrics, objective).of_epochs;
    let columns = names(&["epoch", "attempt"]).into_iter().chain(own).chain(names(&["epoch_seconds"]));
    let row = |row: v1::EpochRow| {
        let record = row.record.unwrap_or_default();
        let mut cells = vec![Cell::Integer(record.epoch.into()), Cell::Integer(row.attempt.into())];
        cells.extend(metrics.names().iter().map(|name| Cell::number(record.metric(name), 4)));
        cells.push(Cell::Number(record.epoch_seconds, 2));
        cells
    };
    (columns.collect(), epochs.into_iter().map(row).collect())
}

/// The table of a sweep's jobs.
pub(super) struct JobTable {
    parameters: Vec<String>,
    /// The objective first.
    metrics: Vec<String>,
    columns: Columns,
}

impl JobTable {
    /// A table with these parameters and with all metrics of the sweep.
    pub(super) fn new(parameters: &[String], sweep: &v1::Sweep) -> Self {
        let schema = rows::metrics(sweep, &sweep.metric_names);
        let objective = rows::objective(sweep).name;
        let columns = Columns::new(parameters, &schema, &objective);
        let others = schema.names().iter().filter(|name| **name != objective);
        let metrics = std::iter::once(&objective).chain(others).map(ToString::to_string).collect();
        Self { parameters: parameters.to_vec(), metrics, columns }
    }

    /// As [`Self::new`], with as many columns as people can read; also how many were left out.
    pub(super) fn for_people(parameters: &[String], sweep: &v1::Sweep) -> (Self, usize) {
        let mut table = Self::new(parameters, sweep);
        let left_out = table.parameters.len().saturating_sub(PARAMETERS_SHOWN_MAX)
            + table.metrics.len().saturating_sub(METRICS_SHOWN_MAX);
        table.parameters.truncate(PARAMETERS_SHOWN_MAX);
        table.columns.parameters.truncate(PARAMETERS_SHOWN_MAX);
        table.metrics.truncate(METRICS_SHOWN_MAX);
        table.columns.metrics.truncate(METRICS_SHOWN_MAX);
        (table, left_out)
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> Vec<String> {
        let Columns { parameters, metrics, best, .. } = &self.columns;
        let mut columns = names(&["job"]);
        columns.extend(parameters.iter().cloned());
        columns.extend(names(&["state", "attempts", "worker", "epochs_done", "train_seconds"]));
        columns.extend(metrics.iter().map(|(_, name)| name.clone()));
        columns.extend(names(&["best_epoch", best, "weights", "reason"]));
        columns
    }

    /// A job as a row.
    pub(super) fn row(&self, job: &v1::Job) -> Vec<Cell> {
        let point = job.point.clone().unwrap_or_default();
        let parameters = proto::parameters_from_wire(point.parameters);
        let value =
            |name: &String| parameters.get(name).map_or(Cell::Empty, |value| Cell::Parameter(value.clone()));
        let mut row = vec![Cell::Integer(point.job)];
        row.extend(self.parameters.iter().map(value));
        row.extend([
            Cell::Text(job_state_name(job.state()).to_owned()),
            Cell::Integer(job.attempts.into()),
            Cell::Text(job.worker.clone()),
            Cell::Integer(job.epochs_done.into()),
            if job.epochs_done == 0 { Cell::Empty } else { Cell::Number(job.train_seconds, 2) },
        ]);
        row.extend(self.metrics.iter().map(|name| Cell::number(rows::metric_of(job, name), 4)));
        row.extend([
            job.best_epoch.map_or(Cell::Empty, |epoch| Cell::Integer(epoch.into())),
            Cell::number(rows::best_objective_of(job, &self.metrics[0]), 4),
            Cell::Text(job.weights.clone()),
            Cell::Text(job.reason.clone()),
        ]);
        row
    }
}

/// The parameters that vary, for a line of text: `activation=relu learning_rate=0.0001`.
pub(super) fn short_point(point: &v1::JobPoint, varying: &[String]) -> String {
    let pairs: Vec<_> =
        shown_parameters(point, varying).iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(" ")
}

/// The parameters that vary, or all if none does.
fn shown_parameters(point: &v1::JobPoint, varying: &[String]) -> Vec<(String, ParameterValue)> {
    let mut parameters = proto::parameters_from_wire(point.parameters.clone()).0;
    parameters.retain(|(name, _)| varying.is_empty() || varying.contains(name));
    parameters
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
    each_job_page(target, sweep_id, &arguments.state, |jobs| {
        let rows: Vec<_> = jobs.iter().map(|job| table.row(job)).collect();
        printer.page(&rows)
    })
    .await?;
    printer.finish()?;
    say_left_out(left_out);
    Ok(())
}

/// Says how many columns a table for people lacks.
pub(super) fn say_left_out(columns: usize) {
    if columns > 0 {
        output::say(&format!("… and {}; -o csv and -o json have all", count(columns as u64, "more column")));
    }
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

/// `sweep workers`.
pub(super) async fn workers(target: &Target, format: Format) -> Result<(), Failure> {
    let row = |worker: &v1::Worker| {
        let mut devices: Vec<&str> = worker.slots.iter().map(|slot| slot.device.as_str()).collect();
        devices.dedup();
        vec![
            Cell::Text(worker.name.clone()),
            Cell::Text(worker.state.clone()),
            Cell::Text(worker.host.clone()),
            Cell::Integer(worker.slots.len() as u64),
            Cell::Integer(worker.running.len() as u64),
            Cell::Text(devices.join(" ")),
            Cell::Text(worker.software_version.clone()),
            Cell::Time(worker.last_seen_unix_ms),
            Cell::Text(worker.reason.clone()),
        ]
    };
    let columns =
        names(&["name", "state", "host", "slots", "running", "devices", "version", "last_seen", "reason"]);
    let (mut printer, mut page_token) = (Printer::new(format, columns), String::new());
    loop {
        let request = v1::ListWorkersRequest { page_size: PAGE_ROWS, page_token };
        let page = target.call(async |client| client.list_workers(request.clone()).await).await?;
        printer.page(&page.workers.iter().map(row).collect::<Vec<_>>())?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return printer.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_and_jobs_are_named_by_numbers() {
        assert_eq!("3".parse(), Ok(TargetId { sweep: 3, job: None }));
        assert_eq!("3/14".parse(), Ok(TargetId { sweep: 3, job: Some(14) }));
        for wrong in ["", "0", "3/", "3/0", "-1", "a", "3/14/1"] {
            assert!(wrong.parse::<TargetId>().is_err(), "{wrong:?}");
        }
        assert!(job_id("3").is_err());
    }
}
