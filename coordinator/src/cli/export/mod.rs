//! `sweep export`: the results of a sweep for other programs.

use std::{
    fs::File,
    io::stdout,
    path::{Path, PathBuf},
};

use export::{DocumentFile, Export, ExportError, Identity, Place, PlaceError, Shape};
use report::{DocumentKind, JobCounts, Sweep};
use terminal::output::{OutputError, say};

use super::{
    client::Target,
    failure::Failure,
    output::{count, print},
    report::default_name,
    rows::SweepRows,
    signals::StopRequests,
};

/// Where exports go if no path is given.
const EXPORTS: &str = "sweep-exports";

const AFTER_HELP: &str = "\
Formats:
  csv          a row per job: parameters, state, metrics, times; with --epochs a row per epoch, which has the job's number
  json         the sweep, its jobs and their epochs, with the keys of `sweep show -o json`

The same sweep gives the same bytes, and a name stands for a whole export: it is written next to it and renamed. A sweep that
still runs can be exported, and again later. What is there already is replaced if it is an export of the same sweep.";

/// Arguments of `sweep export`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ExportArguments {
    /// Sweep's number
    #[arg(value_parser = super::ids::sweep_id)]
    sweep: u64,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,
    /// File or folder to write; `-` for standard output (csv, json) [default: sweep-exports/NAME-SWEEP…]
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Write the epochs instead of the jobs (csv)
    #[arg(long)]
    epochs: bool,
    /// Replace a file even if it is something else, or the export of another sweep
    #[arg(long)]
    force: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table of jobs, or of epochs
    Csv,
    /// One document with everything
    Json,
}

/// `sweep export`.
pub(super) async fn export(arguments: &ExportArguments, target: &Target) -> Result<(), Failure> {
    arguments.check()?;
    // When interrupted, it removes what it has begun; after a kill, the next export does.
    let mut stop = StopRequests::new()?;
    stop.unless_asked(write(arguments, target)).await
}

impl ExportArguments {
    /// Refuses options that the format does not have.
    fn check(&self) -> Result<(), Failure> {
        if self.epochs && self.to != Format::Csv {
            return Err(Failure::usage(
                "--epochs is for csv: other formats have the epochs, too; leave it out",
            ));
        }
        Ok(())
    }

    /// The document that is written.
    fn document(&self) -> DocumentKind {
        match (self.to, self.epochs) {
            (Format::Json, _) => DocumentKind::Json,
            (Format::Csv, false) => DocumentKind::Jobs,
            (Format::Csv, true) => DocumentKind::Epochs,
        }
    }

    /// Where it is written if no path is given.
    fn default_path(&self, sweep: &Sweep) -> PathBuf {
        let ending = match (self.to, self.epochs) {
            (Format::Csv, false) => ".csv",
            (Format::Csv, true) => "-epochs.csv",
            (Format::Json, _) => ".json",
        };
        Path::new(EXPORTS).join(format!("{}{ending}", default_name(&format!("{}-{}", sweep.name, sweep.id))))
    }
}

async fn write(arguments: &ExportArguments, target: &Target) -> Result<(), Failure> {
    let rows = SweepRows::open(target, arguments.sweep).await?;
    let unended = not_ended(&rows.sweep.counts);
    let jobs = rows.sweep.job_count;
    match &arguments.output {
        Some(path) if path.as_os_str() == "-" => to_standard_output(arguments, rows).await?,
        path => {
            let path = path.clone().unwrap_or_else(|| arguments.default_path(&rows.sweep));
            to_path(arguments, rows, &path).await?;
            print(&format!("exported {}: {}\n", count(jobs, "job"), path.display()))?;
        }
    }
    if unended > 0 {
        say(&format!(
            "note: {} of {} had not ended; export again when the sweep has",
            unended,
            count(jobs, "job")
        ));
    }
    Ok(())
}

/// How many jobs may still change.
fn not_ended(counts: &JobCounts) -> u64 {
    counts.pending + counts.running + counts.paused
}

async fn to_standard_output(arguments: &ExportArguments, rows: SweepRows<'_>) -> Result<(), Failure> {
    let document = DocumentFile::new(arguments.document(), &rows.sweep, stdout());
    let document = document.map_err(|error| Failure::from(OutputError::from(error)))?;
    feed(rows, Box::new(document), |error| match error {
        ExportError::Write(error) => Failure::from(OutputError::from(error)),
    })
    .await
}

async fn to_path(arguments: &ExportArguments, rows: SweepRows<'_>, path: &Path) -> Result<(), Failure> {
    let kind = arguments.document();
    let failed = |error: PlaceError| Failure::operation(error.to_string());
    let identity = Identity::of(&rows.sweep);
    let place = Place::open(path, Shape::Document(kind), &identity, arguments.force).map_err(failed)?;
    let cannot = |error: ExportError| {
        Failure::operation(format!(
            "cannot write {}: {error}; check that the folder is writable and has room",
            path.display()
        ))
    };
    let file = File::create(place.unfinished())
        .and_then(|file| DocumentFile::new(kind, &rows.sweep, file))
        .map_err(|error| cannot(error.into()))?;
    feed(rows, Box::new(file), cannot).await?;
    place.put().map_err(failed)
}

/// Writes all jobs, and says what there is to say.
async fn feed(
    mut rows: SweepRows<'_>,
    mut export: Box<dyn Export>,
    failed: impl Fn(ExportError) -> Failure,
) -> Result<(), Failure> {
    while let Some((job, epochs)) = rows.next().await? {
        export.job(&job, &epochs).map_err(&failed)?;
    }
    rows.warn_of_later("the export");
    for note in export.finish().map_err(failed)? {
        say(&format!("note: {note}"));
    }
    Ok(())
}
