//! What jobs left, for users: trained weights, or the files of a program. `artifact ls`, `artifact files`, `artifact get`, and what
//! `run` leaves next to its report. Everything is written to a temporary folder, checked against its hash and renamed, so that a file
//! with its name is complete.

mod facts;
pub(super) mod files;
mod incoming;

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use held_folder::HeldFolder;
use proto::v1;
use serde_json::Value;
use tempfile::NamedTempFile;
use terminal::output::say;
use terms::outputs::OutputIndex;

use self::{facts::facts, incoming::Incoming};
use super::{
    client::Target,
    failure::Failure,
    identity::Identity,
    ids::TargetId,
    output::{self, Cell, Format, Printer, print},
    signals::StopRequests,
};

/// Rows per request.
const PAGE_ROWS: u32 = 1_000;
/// The file of weights, in a folder with a description of them.
pub(super) const MODEL_FILE: &str = "model.safetensors";
const FACTS_FILE: &str = "model.json";
/// Prefix of the folders that hold both until they are complete.
const UNFINISHED: &str = ".model-";

/// `sweep artifact …`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ArtifactCommand {
    /// List the weights, or a program's files, of a sweep's jobs: kept, on their way, or not kept any more
    Ls {
        /// Sweep's number, or SWEEP/JOB
        #[arg(value_name = "SWEEP[/JOB]")]
        target: TargetId,
    },
    /// List the files that a job of a program left, or the sweep's best job
    Files {
        /// Sweep's number for its best job, or SWEEP/JOB
        #[arg(value_name = "SWEEP[/JOB]")]
        target: TargetId,
    },
    /// Write the weights of a job, or of the sweep's best job, as model.safetensors with a model.json; of a program, the files that
    /// it left, below files
    Get {
        /// Sweep's number for its best job, or SWEEP/JOB
        #[arg(value_name = "SWEEP[/JOB]")]
        target: TargetId,
        /// Of a program's files, this one, or those in this folder; may be repeated
        #[arg(long, value_name = "NAME")]
        file: Vec<String>,
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
        ArtifactCommand::Files { target: which } => list_files(*which, target, format).await,
        ArtifactCommand::Get { target: which, file, output } => {
            let id = which.sweep;
            let place = |job: u64| {
                output.clone().unwrap_or_else(|| Path::new("sweep-artifacts").join(format!("{id}-{job}")))
            };
            // When interrupted, it removes what it has begun; after a kill, the next command does.
            let mut stop = StopRequests::new()?;
            let written = stop.unless_asked(get(*which, target, file, place)).await?;
            let what = if written.is_of_files() { "files" } else { "weights" };
            print(&format!("{what} of job {id}/{} written: {}\n", written.job, written.describe()))
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
        if is_file { Cell::Hash(artifact.blake3.clone()) } else { Cell::Empty },
        Cell::Integer(artifact.attempt.into()),
        Cell::Text(artifact.worker.clone()),
        Cell::Reason(artifact.reason.clone()),
    ]
}

async fn list_files(which: TargetId, target: &Target, format: Format) -> Result<(), Failure> {
    let Some((job, index)) = index(which, target).await? else {
        return Err(Failure::operation(
            "what is kept of this job is one file of weights; `sweep artifact get` fetches it",
        ));
    };
    files::print_table(&index, format)?;
    let left_out = files::left_out(&index);
    if !left_out.is_empty() {
        say(&format!("left out of what job {}/{job} wrote: {left_out}", which.sweep));
    }
    Ok(())
}

/// The job of which something is kept, and the list of its files, where it is of files.
pub(super) async fn index(which: TargetId, target: &Target) -> Result<Option<(u64, OutputIndex)>, Failure> {
    let mut incoming = Incoming::open(target, which.sweep, which.job.unwrap_or(0), 0).await?;
    let index = incoming.index().await?;
    Ok(index.map(|index| (incoming.artifact.job, index)))
}

/// What was written.
pub(super) struct Written {
    /// The job that left it.
    pub(super) job: u64,
    /// The file of weights, or the folder of files.
    pub(super) path: PathBuf,
    /// How many files, and what is not among them; none for weights.
    files: Option<(usize, String)>,
}

impl Written {
    /// Whether they are the files of a program, and not weights.
    pub(super) fn is_of_files(&self) -> bool {
        self.files.is_some()
    }

    /// What and where, for people.
    pub(super) fn describe(&self) -> String {
        let path = self.path.display();
        match &self.files {
            None => path.to_string(),
            Some((count, left_out)) => {
                let left_out =
                    if left_out.is_empty() { String::new() } else { format!("; left out: {left_out}") };
                format!("{path} ({}{left_out})", output::count(*count as u64, "file"))
            }
        }
    }
}

/// Writes what a job, or the best one, left into the folder that `place` gives for it: of files, those that are named, or all. Fetches
/// no weights that are there already.
pub(super) async fn get(
    which: TargetId,
    target: &Target,
    names: &[String],
    place: impl Fn(u64) -> PathBuf,
) -> Result<Written, Failure> {
    let mut incoming = Incoming::open(target, which.sweep, which.job.unwrap_or(0), 0).await?;
    let artifact = incoming.artifact.clone();
    let folder = place(artifact.job);
    let sweep = target
        .call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id: which.sweep }).await)
        .await?;
    refuse_other(&folder, &sweep)?;
    let index = incoming.index().await?;
    if index.is_none() && !names.is_empty() {
        return Err(Failure::operation(
            "what is kept of this job is one file of weights, which has no other name; leave out --file",
        ));
    }
    let facts = facts(sweep, &artifact, index.as_ref(), target).await?;
    fs::create_dir_all(&folder).with_context(|| {
        format!("cannot make the folder {}; choose another with --output", folder.display())
    })?;
    HeldFolder::remove_stale(&folder, UNFINISHED);
    let unfinished = HeldFolder::create(&folder, UNFINISHED).map_err(cannot(&folder))?;
    let mut file = NamedTempFile::new_in(unfinished.path()).map_err(cannot(&folder))?;
    writeln!(file, "{facts:#}").map_err(cannot(&folder))?;
    match index {
        None => {
            let path = folder.join(MODEL_FILE);
            let weights = if is_there(path.clone(), artifact.clone()).await {
                None
            } else {
                Some(incoming.save(unfinished.path()).await?)
            };
            put(weights, file, &folder)?;
            Ok(Written { job: artifact.job, path, files: None })
        }
        Some(index) => {
            let new = unfinished.path().join(files::FOLDER);
            fs::create_dir(&new).map_err(cannot(&folder))?;
            let files = get_files(incoming, which.sweep, &index, names, &new).await?;
            put_files(&new, file, &folder, &artifact, !names.is_empty())?;
            Ok(Written { job: artifact.job, path: folder.join(files::FOLDER), files: Some(files) })
        }
    }
}

/// Writes files of an archive into `new`; how many, and what the archive lacks where all were wanted.
async fn get_files(
    incoming: Incoming<'_>,
    sweep: u64,
    index: &OutputIndex,
    names: &[String],
    new: &Path,
) -> Result<(usize, String), Failure> {
    if names.is_empty() {
        let archive = incoming.save(new.parent().unwrap_or(new)).await?;
        files::unpack(&mut archive.into_file(), index, new).map_err(cannot(new))?;
        return Ok((index.files.len(), files::left_out(index)));
    }
    let (target, job) = (incoming.target, incoming.artifact.job);
    // The one that was opened to see the list holds a place at the coordinator.
    drop(incoming);
    let named = files::named(index, names, &format!("{sweep}/{job}"))?;
    files::fetch(&named, sweep, job, target, new).await?;
    Ok((named.len(), String::new()))
}

/// Refuses a folder that holds weights or files of another sweep, which would be overwritten.
pub(super) fn refuse_other(folder: &Path, sweep: &v1::Sweep) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Facts {
        sweep: Identity,
    }
    let held = fs::read(folder.join(FACTS_FILE)).ok();
    // A file that is not ours is not another sweep's either.
    match held.and_then(|held| serde_json::from_slice::<Facts>(&held).ok()) {
        Some(held) => held.sweep.refuse_other(sweep, folder, "weights or files"),
        None => Ok(()),
    }
}

/// Whether a file is the kept one.
async fn is_there(path: PathBuf, artifact: v1::Artifact) -> bool {
    let matches = move || -> std::io::Result<bool> {
        if fs::metadata(&path)?.len() != artifact.bytes {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize().to_hex().as_str() == artifact.blake3)
    };
    let matches = tokio::task::spawn_blocking(matches).await;
    matches.is_ok_and(|matches| matches.unwrap_or(false))
}

/// Gives finished files their names in `folder`. While the weights change there is no `model.json`: an interruption is
/// noticed, and it never describes other weights.
fn put(weights: Option<NamedTempFile>, facts: NamedTempFile, folder: &Path) -> Result<(), Failure> {
    let facts_path = folder.join(FACTS_FILE);
    finish(&facts).map_err(cannot(&facts_path))?;
    let files = folder.join(files::FOLDER);
    if held_archive(&facts_path).is_some() && fs::symlink_metadata(&files).is_ok() {
        // Those of a job that was the best before.
        fs::remove_dir_all(&files).map_err(cannot(&files))?;
    }
    if let Some(weights) = weights {
        let path = folder.join(MODEL_FILE);
        finish(&weights).map_err(cannot(&path))?;
        match fs::remove_file(&facts_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(cannot(&facts_path))?,
        }
        weights.persist(&path).map_err(|error| cannot(&path)(error.error))?;
    }
    facts.persist(&facts_path).map(drop).map_err(|error| cannot(&facts_path)(error.error))
}

/// The hash of the archive whose files a folder holds, by what is said of them there.
fn held_archive(facts: &Path) -> Option<String> {
    let held: Value = serde_json::from_slice(&fs::read(facts).ok()?).ok()?;
    held["archive"]["blake3"].as_str().map(str::to_owned)
}

/// Gives the files in `new` their names in `folder`, in place of what is there. Where they are only some of the archive, others of the
/// same one stay.
fn put_files(
    new: &Path,
    facts: NamedTempFile,
    folder: &Path,
    archive: &v1::Artifact,
    are_some: bool,
) -> Result<(), Failure> {
    let (facts_path, place) = (folder.join(FACTS_FILE), folder.join(files::FOLDER));
    let is_same = are_some && held_archive(&facts_path).as_ref() == Some(&archive.blake3);
    finish(&facts).map_err(cannot(&facts_path))?;
    for path in [&facts_path, &folder.join(MODEL_FILE)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(cannot(path))?,
        }
    }
    if !is_same && fs::symlink_metadata(&place).is_ok() {
        // Next to the new ones, it goes with what is unfinished.
        let old = new.with_extension("old");
        fs::rename(&place, old).map_err(cannot(&place))?;
    }
    files::merge(new, &place).map_err(cannot(&place))?;
    facts.persist(&facts_path).map(drop).map_err(|error| cannot(&facts_path)(error.error))
}

/// Syncs a finished file to disk and makes it readable like other files.
fn finish(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()
}

fn cannot(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::operation(format!(
            "cannot write {}: {error}; check that the folder is writable and has room",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, content: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new_in(folder).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    #[test]
    fn weights_of_another_sweep_are_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let sweep =
            |sweep_id, created_unix_ms| v1::Sweep { sweep_id, created_unix_ms, ..v1::Sweep::default() };
        assert!(refuse_other(folder.path(), &sweep(1, 9)).is_ok(), "it is empty");
        let facts = |sweep: &str| fs::write(folder.path().join(FACTS_FILE), sweep).unwrap();
        facts(r#"{"job": 3, "sweep": {"id": 1, "name": "a", "created_unix_ms": 9}}"#);
        assert!(refuse_other(folder.path(), &sweep(1, 9)).is_ok());
        for other in [sweep(1, 8), sweep(2, 9)] {
            let told = refuse_other(folder.path(), &other).unwrap_err().to_string();
            assert!(told.contains("holds weights or files of another sweep (a, sweep 1)"), "{told}");
            assert!(told.contains("--output"), "{told}");
        }
        facts(r#"{"job": 3, "sweep": {"id": 1, "name": "a", "created": "1970-01-01T00:00:00.009Z"}}"#);
        assert!(refuse_other(folder.path(), &sweep(1, 9)).is_ok());
        assert!(refuse_other(folder.path(), &sweep(1, 8)).is_err());
        facts(r#"{"sweep": {"id": 1, "name": "a"}}"#);
        assert!(refuse_other(folder.path(), &sweep(1, 9)).is_ok(), "an earlier version wrote it");
    }

    #[test]
    fn no_facts_are_next_to_weights_that_they_do_not_describe_also_where_it_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        let both = || (read(MODEL_FILE).unwrap(), read(FACTS_FILE));
        let file = |content| file(folder.path(), content);
        put(Some(file("weights 1")), file("facts 1"), folder.path()).unwrap();
        assert_eq!(both(), ("weights 1".into(), Some("facts 1".into())));
        put(None, file("facts 2"), folder.path()).unwrap();
        assert_eq!(both(), ("weights 1".into(), Some("facts 2".into())));
        // The second name cannot be given.
        let facts = file("facts 3");
        fs::remove_file(facts.path()).unwrap();
        assert!(put(Some(file("weights 3")), facts, folder.path()).is_err());
        assert_eq!(both(), ("weights 3".into(), None));
    }
}
