//! `sweep validate` and `sweep submit`.

use std::{cell::Cell, path::PathBuf};

use domain::{definition::SweepDefinition, help, points::Jobs, specification::Specification};
use proto::v1;
use terminal::output::say;
use terms::SweepId;
use traces::Span;

use super::{
    client::{Client, Target},
    early::described,
    failure::Failure,
    files,
    output::{self, Format, print},
    preview::print_preview,
    set::changes,
    spans,
    sweep_file::SweepFile,
    tables::print_sweep,
};
use crate::{api::Source, shapes};

/// Arguments of `sweep validate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help::parameters())]
pub(super) struct ValidateArguments {
    #[command(flatten)]
    file: SweepFile,
    /// How many of the first jobs to show
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000))]
    preview: u64,
}

/// Arguments of `sweep submit`.
#[derive(Debug, clap::Args)]
pub(super) struct SubmitArguments {
    #[command(flatten)]
    file: SweepFile,
    /// Add the file's points that this sweep lacks to it, and take over its limits; finished jobs stay
    #[arg(long, value_name = "SWEEP")]
    extend: Option<u64>,
    #[command(flatten)]
    traces: traces::Options,
}

/// Reads and checks a sweep file; a refusal is one line with file, line and key.
pub(super) fn check(source: v1::SweepSource) -> Result<(Specification, Jobs), Failure> {
    let source =
        Source::from(source).specification().map_err(|error| Failure::operation(error.to_string()))?;
    Specification::parse_with_jobs(&source).map_err(|error| Failure::operation(error.to_string()))
}

/// How many jobs a sweep lacks of a file; none where that cannot be told here, as of a sweep that was extended very often.
pub(super) fn lacks(sweep: &v1::Sweep, specification: &Specification, jobs: &Jobs) -> Option<u64> {
    let manifest = Some(sweep.manifest.as_str()).filter(|manifest| !manifest.is_empty());
    let before =
        SweepDefinition::from_stored(SweepId(sweep.sweep_id), &sweep.specification, manifest).ok()?;
    let after = before.extended_with(specification.clone(), jobs.clone()).ok()?;
    Some(after.job_count().saturating_sub(sweep.job_count))
}

/// `sweep validate`: needs no coordinator.
pub(super) fn validate(arguments: &ValidateArguments, format: Format) -> Result<(), Failure> {
    let (specification, jobs) = check(arguments.file.source()?)?;
    files::check(&specification, arguments.file.folder())?;
    specification.notes.iter().for_each(|note| say(&format!("note: {note}")));
    if format == Format::Table {
        let epochs = specification.epochs_max();
        let early = specification.early_terminate.map(|early| described(early, epochs));
        let early = early.map(|early| format!("early stopping: {early}\n")).unwrap_or_default();
        // Fewer where its searcher has no other point.
        let up_to = if jobs.learned().is_some() { "up to " } else { "" };
        let count = output::count(jobs.count(), "job");
        print(&format!("{} is valid: {up_to}{count}\n{early}\n", specification.name))?;
    }
    print_preview(&specification, &jobs, arguments.preview, format)
}

/// The path of the data set, if it is relative.
fn relative_dataset(sweep: &v1::Sweep) -> Option<PathBuf> {
    let path = shapes::specification(sweep).ok()?.dataset?.path;
    path.is_relative().then_some(path)
}

/// `sweep submit`: sends the file's text; only the coordinator reads it.
pub(super) async fn submit(
    arguments: &SubmitArguments,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    let traces = spans::start(&arguments.traces, spans::COMMAND)?;
    // Chosen once, so that a retry after a broken connection returns the same sweep.
    let request_id = uuid::Uuid::new_v4().to_string();
    let mut span = spans::submission(&traces, &request_id);
    let submitted = submit_as(arguments, target, format, (request_id, &mut span)).await;
    spans::end(span, &submitted);
    traces.end().await;
    submitted
}

async fn submit_as(
    arguments: &SubmitArguments,
    target: &Target,
    format: Format,
    (request_id, span): (String, &mut Span),
) -> Result<(), Failure> {
    let mut source = arguments.file.source()?;
    files::send_with(&mut source, arguments.file.folder(), target).await?;
    let extend_sweep_id = arguments.extend.unwrap_or(0);
    let request = v1::SubmitRequest { source: Some(source), request_id, extend_sweep_id };
    let first_span = Cell::new(None);
    let submit = async |client: &mut Client| {
        let answer = client.submit(spans::request(request.clone(), span)).await?;
        first_span.set(spans::of_sweep(&answer));
        Ok(answer)
    };
    let answer = target.call(submit).await?;
    spans::submitted(span, answer.sweep.as_ref(), first_span.get());
    answer.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let sweep = answer.sweep.ok_or_else(|| Failure::operation("the coordinator's answer names no sweep"))?;
    if let Some(path) = relative_dataset(&sweep) {
        say(&format!(
            "note: each worker looks for the data set {} below its --data-root, or where it was started",
            path.display()
        ));
    }
    if format == Format::Table && extend_sweep_id > 0 {
        print(&format!(
            "sweep {} extended: {} of {} {} new\n{}",
            sweep.sweep_id,
            answer.added_jobs,
            output::count(sweep.job_count, "job"),
            if answer.added_jobs == 1 { "is" } else { "are" },
            changes(&answer.changed)
        ))?;
    } else if format == Format::Table {
        print(&format!(
            "sweep {} submitted: {} with {}\nFollow it with `sweep watch {0}`.\n",
            sweep.sweep_id,
            sweep.name,
            output::count(sweep.job_count, "job")
        ))?;
    } else {
        print_sweep(&sweep, format)?;
    }
    Ok(())
}
