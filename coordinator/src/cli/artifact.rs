//! Trained weights for users: `artifact ls`, `artifact get`, and what `run` leaves beside its report. A file is written
//! beside its place, checked against its hash and renamed, so that what has the name is whole.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use proto::{ParameterMap, v1};
use serde_json::{Map, Value, json};

use super::{
    client::Target,
    failure::Failure,
    inspect::TargetId,
    output::{Cell, Format, Printer, print},
};
use crate::core::{definition::SweepDefinition, specification::Specification};

/// Rows asked for at a time.
const PAGE_ROWS: u32 = 1_000;
/// The file of weights and what is known of it, in a folder of their own.
pub(super) const MODEL_FILE: &str = "model.safetensors";
const FACTS_FILE: &str = "model.json";

/// `sweep artifact …`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ArtifactCommand {
    /// List the weights of a sweep's jobs: kept, on their way, or not kept any more
    Ls {
        /// Sweep's number, or SWEEP/JOB
        #[arg(value_name = "SWEEP[/JOB]")]
        target: TargetId,
    },
    /// Write the weights of a job, or of the sweep's best job, as model.safetensors with a model.json
    Get {
        /// Sweep's number for its best job, or SWEEP/JOB
        #[arg(value_name = "SWEEP[/JOB]")]
        target: TargetId,
        /// Folder to write into [default: sweep-artifacts/SWEEP-JOB]
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// `sweep artifact`.
pub(super) async fn artifact(
    command: &ArtifactCommand,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    match command {
        ArtifactCommand::Ls { target: which } => list(*which, target, format).await,
        ArtifactCommand::Get { target: which, output } => {
            let id = which.sweep;
            let place = |job: u64| {
                output.clone().unwrap_or_else(|| Path::new("sweep-artifacts").join(format!("{id}-{job}")))
            };
            let written = get(*which, target, place).await?;
            print(&format!("weights of job {id}/{} written: {}\n", written.job, written.path.display()))
        }
    }
}

async fn list(which: TargetId, target: &Target, format: Format) -> Result<(), Failure> {
    let columns = ["job", "state", "value", "bytes", "blake3", "attempt", "worker", "reason"];
    let mut printer = Printer::new(format, columns.map(str::to_owned).to_vec());
    let mut page_token = String::new();
    loop {
        let job = which.job.unwrap_or(0);
        let request =
            v1::ListArtifactsRequest { sweep_id: which.sweep, job, page_size: PAGE_ROWS, page_token };
        let page = target.call(async |client| client.list_artifacts(request.clone()).await).await?;
        printer.page(&page.artifacts.iter().map(row).collect::<Vec<_>>())?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return printer.finish();
        }
    }
}

fn row(artifact: &v1::Artifact) -> Vec<Cell> {
    let is_file = artifact.bytes > 0;
    vec![
        Cell::Integer(artifact.job),
        Cell::Text(artifact.state.clone()),
        Cell::Number(artifact.value, 4),
        if is_file { Cell::Integer(artifact.bytes) } else { Cell::Empty },
        if is_file { Cell::Text(artifact.blake3.clone()) } else { Cell::Empty },
        Cell::Integer(artifact.attempt.into()),
        Cell::Text(artifact.worker.clone()),
        Cell::Text(artifact.reason.clone()),
    ]
}

/// Weights that were written.
pub(super) struct Written {
    /// Whose.
    pub(super) job: u64,
    /// The file.
    pub(super) path: PathBuf,
}

/// Writes the weights of a job, or of the best one, into the folder that `place` gives for it. Where they lie there
/// already, nothing is fetched.
pub(super) async fn get(
    which: TargetId,
    target: &Target,
    place: impl Fn(u64) -> PathBuf,
) -> Result<Written, Failure> {
    let mut client = target.connect().await?;
    let request = v1::GetArtifactRequest { sweep_id: which.sweep, job: which.job.unwrap_or(0), offset: 0 };
    let mut pieces = target.in_time(client.get_artifact(request)).await?.into_inner();
    let first = target.in_time(pieces.message()).await?;
    let artifact = first
        .and_then(|piece| piece.artifact)
        .ok_or_else(|| Failure::operation("the coordinator sent no weights; this is a bug"))?;
    let folder = place(artifact.job);
    let written = Written { job: artifact.job, path: folder.join(MODEL_FILE) };
    let facts = facts(which.sweep, &artifact, target).await?;
    fs::create_dir_all(&folder).with_context(|| {
        format!("cannot make the folder {}; choose another with --output", folder.display())
    })?;
    if !is_there(&written.path, &artifact) {
        let mut file =
            tempfile::Builder::new().prefix(".model-").tempfile_in(&folder).map_err(cannot(&folder))?;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        while let Some(piece) = target.in_time(pieces.message()).await? {
            file.write_all(&piece.data).map_err(cannot(&written.path))?;
            hasher.update(&piece.data);
            bytes += piece.data.len() as u64;
        }
        if bytes != artifact.bytes || hasher.finalize().to_hex().as_str() != artifact.blake3 {
            return Err(Failure::operation(format!(
                "the weights of job {}/{} arrived damaged ({bytes} of {} bytes); try again, and if it stays so, the file that \
                 the coordinator keeps is damaged",
                which.sweep, artifact.job, artifact.bytes
            )));
        }
        keep(file, &written.path)?;
    }
    let mut file =
        tempfile::Builder::new().prefix(".model-").tempfile_in(&folder).map_err(cannot(&folder))?;
    writeln!(file, "{facts:#}").map_err(cannot(&folder))?;
    keep(file, &folder.join(FACTS_FILE))?;
    Ok(written)
}

/// Whether a file is the one that is kept.
fn is_there(path: &Path, artifact: &v1::Artifact) -> bool {
    let matches = || -> std::io::Result<bool> {
        if fs::metadata(path)?.len() != artifact.bytes {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize().to_hex().as_str() == artifact.blake3)
    };
    matches().unwrap_or(false)
}

/// Gives a finished file its name, on the disk and readable as other files are.
fn keep(file: tempfile::NamedTempFile, path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(permissions).map_err(cannot(path))?;
    file.as_file().sync_all().map_err(cannot(path))?;
    file.persist(path).map(drop).map_err(|error| cannot(path)(error.error))
}

fn cannot(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::operation(format!(
            "cannot write {}: {error}; check that the folder is writable and has room",
            path.display()
        ))
    }
}

/// What it takes to use the weights, and where they come from.
async fn facts(sweep_id: u64, artifact: &v1::Artifact, target: &Target) -> Result<Value, Failure> {
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let request = v1::GetJobRequest { sweep_id, job: artifact.job };
    let job = target.call(async |client| client.get_job(request).await).await?.job.unwrap_or_default();
    let specification = specification(&sweep)?;
    let dataset = sweep.dataset.unwrap_or_default();
    let point = job.point.unwrap_or_default();
    let value = |value: proto::ParameterValue| serde_json::to_value(value).unwrap_or(Value::Null);
    let parameters: Map<_, _> =
        ParameterMap::from_wire(point.parameters).0.into_iter().map(|(name, v)| (name, value(v))).collect();
    let size = specification.dataset.image_size;
    Ok(json!({
        "model": specification.model.name(),
        "parameters": parameters,
        "classes": dataset.classes,
        "transform": {
            "size": [size, size],
            "interpolation": "bilinear",
            "antialias": true,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "metrics": {
            "epochs": job.epochs_done,
            "train_loss": job.train_loss,
            "val_accuracy": job.val_accuracy,
            "train_seconds": job.train_seconds,
        },
        "sweep": {"id": sweep_id, "name": sweep.name},
        "job": artifact.job,
        "attempt": artifact.attempt,
        "dataset": {
            "content_hash": dataset.content_hash,
            "train_images": dataset.train_images,
            "val_images": dataset.val_images,
            "val_fraction": specification.dataset.val_fraction,
            "split_seed": specification.dataset.split_seed,
        },
        "weights": {"file": MODEL_FILE, "bytes": artifact.bytes, "blake3": artifact.blake3},
    }))
}

/// What was submitted first, whose model and data set are the sweep's.
fn specification(sweep: &v1::Sweep) -> Result<Specification, Failure> {
    let definition = SweepDefinition::from_stored(proto::SweepId(sweep.sweep_id), &sweep.specification);
    let definition = definition.map_err(|error| Failure::operation(error.to_string()))?;
    Ok(definition.specification)
}
