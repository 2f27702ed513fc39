//! `sweep export`: the results of a sweep for other programs.

mod mlflow;

use std::{
    fs::File,
    io::stdout,
    path::{Path, PathBuf},
};

use domain::help::entry;
use export::{
    DocumentFile, Export, ExportError, OptunaFile, ParquetFolder, Place, PlaceError, Shape, TensorBoardFolder,
};
use report::{DocumentKind, JobCounts, Sweep};
use terminal::output::{OutputError, say};

use super::{
    client::Target,
    failure::Failure,
    folder::Named,
    output::{count, print},
    report::default_name,
    rows::SweepRows,
    signals::StopRequests,
};
use crate::shapes::space;

/// Where exports go if no path is given.
const EXPORTS: &str = "sweep-exports";

const FORMATS: &[(&str, &str)] = &[
    (
        "csv",
        "a row per job: parameters, state, metrics, times; with --epochs a row per epoch, which has the job's number",
    ),
    ("json", "the sweep, its jobs and their epochs, with the keys of `sweep show -o json`"),
    ("parquet", "a folder with jobs.parquet and epochs.parquet, each column with its type"),
    ("tensorboard", "a folder with a run per job, for `tensorboard --logdir`, with the HParams tab"),
    (
        "mlflow",
        "an experiment on an MLflow server, with a run per job; with MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and …_PASSWORD, \
         MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_INSECURE_TLS as for MLflow itself",
    ),
    (
        "optuna",
        "a storage of Optuna 3.2 to 5.0 in a file, for `optuna.load_study` and `optuna-dashboard sqlite:///FILE`",
    ),
];

const NOTE: &str = "The same sweep gives the same bytes, and a name stands for a whole export: it is written next to it and renamed. A sweep \
                    that still runs can be exported, and again later. What is there already is replaced if it is an export of the same sweep.";

fn after_help() -> String {
    let formats = FORMATS.iter().map(|(name, text)| entry((2, 13), name, text));
    format!("Formats:\n{}\n{NOTE}", formats.collect::<String>())
}

/// Arguments of `sweep export`.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(super) struct ExportArguments {
    /// Sweep's number, or the folder of a `sweep run`
    #[arg(value_name = "SWEEP|FOLDER")]
    sweep: Named,
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
    /// Address of an MLflow server [default: MLFLOW_TRACKING_URI]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The experiment's name [default: NAME-SWEEP] (mlflow)
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table of jobs, or of epochs
    Csv,
    /// One document with everything
    Json,
    /// Tables with types, in a folder
    Parquet,
    /// Runs with metrics and parameters, in a folder
    Tensorboard,
    /// An experiment with runs, on a server
    Mlflow,
    /// A study in an SQLite file
    Optuna,
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
        let is_to_server = self.to == Format::Mlflow;
        if is_to_server && (self.output.is_some() || self.force) {
            return Err(Failure::usage("mlflow is written to a server: leave out --output and --force"));
        }
        if !is_to_server && (self.url.is_some() || self.experiment.is_some()) {
            return Err(Failure::usage("--url and --experiment are for mlflow; leave them out"));
        }
        if self.is_to_standard_output() && self.document().is_none() {
            return Err(Failure::usage(
                "only csv and json are written to standard output; give --output a path",
            ));
        }
        if self.epochs && self.to != Format::Csv {
            return Err(Failure::usage(
                "--epochs is for csv: other formats have the epochs, too; leave it out",
            ));
        }
        Ok(())
    }

    fn is_to_standard_output(&self) -> bool {
        self.output.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    /// The document that is written, if it is one.
    fn document(&self) -> Option<DocumentKind> {
        match (self.to, self.epochs) {
            (Format::Json, _) => Some(DocumentKind::Json),
            (Format::Csv, false) => Some(DocumentKind::Jobs),
            (Format::Csv, true) => Some(DocumentKind::Epochs),
            (Format::Parquet | Format::Tensorboard | Format::Mlflow | Format::Optuna, _) => None,
        }
    }

    /// What is made on disk, if anything is.
    fn shape(&self) -> Option<Shape> {
        match self.to {
            Format::Csv | Format::Json => self.document().map(Shape::Document),
            Format::Parquet => Some(Shape::Parquet),
            Format::Tensorboard => Some(Shape::TensorBoard),
            Format::Mlflow => None,
            Format::Optuna => Some(Shape::Optuna),
        }
    }

    /// Where it is written if no path is given.
    fn default_path(&self, sweep: &Sweep) -> PathBuf {
        let ending = match (self.to, self.epochs) {
            (Format::Csv, false) => ".csv",
            (Format::Csv, true) => "-epochs.csv",
            (Format::Json, _) => ".json",
            (Format::Parquet, _) => "-parquet",
            (Format::Tensorboard, _) => "-tensorboard",
            (Format::Mlflow, _) => "-mlflow",
            (Format::Optuna, _) => "-optuna.db",
        };
        Path::new(EXPORTS).join(format!("{}{ending}", default_name(&format!("{}-{}", sweep.name, sweep.id))))
    }
}

async fn write(arguments: &ExportArguments, target: &Target) -> Result<(), Failure> {
    let rows = SweepRows::open(target, &arguments.sweep, arguments.shape().is_none()).await?;
    let unended = not_ended(&rows.sweep.counts);
    let jobs = rows.sweep.job_count;
    match (arguments.document().filter(|_| arguments.is_to_standard_output()), arguments.shape()) {
        (Some(kind), _) => to_standard_output(kind, rows).await?,
        (None, Some(shape)) => {
            let path = arguments.output.clone().unwrap_or_else(|| arguments.default_path(&rows.sweep));
            to_path(arguments, shape, rows, &path).await?;
            print(&format!("exported {}: {}\n", count(jobs, "job"), path.display()))?;
        }
        (None, None) => to_server(arguments, rows).await?,
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

async fn to_standard_output(kind: DocumentKind, rows: SweepRows<'_>) -> Result<(), Failure> {
    let document = DocumentFile::new(kind, &rows.sweep, stdout());
    let document = document.map_err(|error| Failure::from(OutputError::from(error)))?;
    feed(rows, Box::new(document), |error| match error {
        ExportError::Write(error) => Failure::from(OutputError::from(error)),
        other => Failure::operation(other.to_string()),
    })
    .await
}

async fn to_server(arguments: &ExportArguments, rows: SweepRows<'_>) -> Result<(), Failure> {
    let outcome = mlflow::write(rows, arguments.url.as_deref(), arguments.experiment.as_deref()).await?;
    let mlflow::Written { written, kept, not_begun, place } = outcome;
    print(&format!("exported {}, {kept} were there: {place}\n", count(written, "run")))?;
    if not_begun > 0 {
        say(&format!("note: {not_begun} of the jobs never began, and have no run"));
    }
    Ok(())
}

async fn to_path(
    arguments: &ExportArguments,
    shape: Shape,
    rows: SweepRows<'_>,
    path: &Path,
) -> Result<(), Failure> {
    let failed = |error: PlaceError| Failure::operation(error.to_string());
    let place = Place::open(path, shape, &rows.sweep, arguments.force).map_err(failed)?;
    let cannot = |error: ExportError| {
        Failure::operation(format!(
            "cannot write {}: {error}; check that the folder is writable and has room",
            path.display()
        ))
    };
    let export = begin(shape, &rows, &place.unfinished()).map_err(cannot)?;
    feed(rows, export, cannot).await?;
    place.put().map_err(failed)
}

/// Begins what is made on disk.
fn begin(shape: Shape, rows: &SweepRows<'_>, path: &Path) -> Result<Box<dyn Export>, ExportError> {
    let (sweep, parameters) = (&rows.sweep, || space::parameters(&rows.sweep, &rows.message));
    Ok(match shape {
        Shape::Document(kind) => Box::new(DocumentFile::new(kind, sweep, File::create_new(path)?)?),
        Shape::Parquet => Box::new(ParquetFolder::create(path, sweep, parameters())?),
        Shape::TensorBoard => Box::new(TensorBoardFolder::create(path, sweep, parameters())?),
        Shape::Optuna => Box::new(OptunaFile::create(path, sweep, parameters())?),
    })
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
