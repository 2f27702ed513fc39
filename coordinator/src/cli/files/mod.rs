//! The files that are sent with a sweep: found by the patterns of `execution.files` next to the sweep file, hashed, and
//! uploaded as far as the coordinator lacks them.

mod pattern;
mod upload;
mod walk;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use domain::specification::{Program, Specification};
use indicatif::HumanBytes;
use proto::v1;
use terminal::output::say;
use terms::snapshot::{
    ContentHash, SNAPSHOT_BYTES_MAX, SNAPSHOT_FILE_BYTES_MAX, SNAPSHOT_FILES_MAX, SnapshotError,
    SnapshotFile, SnapshotManifest,
};

use self::{
    pattern::Pattern,
    walk::{Found, LeftOut},
};
use super::{client::Target, failure::Failure};
use crate::api::Source;

/// Bytes that are read and hashed at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The files of a sweep.
#[derive(Debug)]
pub(super) struct Collected {
    /// The path and hash of each.
    pub(super) manifest: SnapshotManifest,
    /// Where each content can be read.
    sources: BTreeMap<ContentHash, PathBuf>,
    left_out: LeftOut,
}

impl Collected {
    /// For people: how many files, and what was left out.
    pub(super) fn describe(&self) -> String {
        let mut text =
            format!("files: {}, {}", self.manifest.files().len(), HumanBytes(self.manifest.bytes()));
        let left_out = self.left_out.describe();
        if !left_out.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, " (left out: {left_out})");
        }
        text
    }
}

/// Sends the files of the program next to its sweep file, and notes their snapshot in `source`. An invalid sweep file
/// is left to the coordinator, which says what is wrong with it.
pub(super) async fn send_with(
    source: &mut v1::SweepSource,
    folder: &Path,
    target: &Target,
) -> Result<(), Failure> {
    let Ok(read) = Source::from(source.clone()).specification() else { return Ok(()) };
    let folder = folder.to_owned();
    let collecting = tokio::task::spawn_blocking(move || {
        let Ok(specification) = Specification::parse(&read) else { return Ok(None) };
        match specification.trainable.program() {
            Some(program) if program.snapshot.is_none() => {
                check_program(&folder, program)?;
                collect(&folder, program.program.as_deref(), &program.files)
            }
            _ => Ok(None),
        }
    });
    let collected = collecting.await.map_err(|error| Failure::operation(error.to_string()))??;
    let Some(collected) = collected else { return Ok(()) };
    say(&collected.describe());
    let sent = upload::send(target, &collected).await?;
    say(&match sent.contents {
        0 => "sent: nothing, as the coordinator has them".to_owned(),
        contents => format!("sent: {contents}, {}", HumanBytes(sent.bytes)),
    });
    source.snapshot = sent.id.to_string();
    Ok(())
}

/// Checks that the files of a sweep's program are next to its file, and that its command names no other ones there. Reads none of them.
pub(super) fn check(specification: &Specification, folder: &Path) -> Result<(), Failure> {
    match specification.trainable.program() {
        Some(program) if program.snapshot.is_none() => check_program(folder, program),
        _ => Ok(()),
    }
}

fn check_program(folder: &Path, program: &Program) -> Result<(), Failure> {
    let found = find(folder, program.program.as_deref(), &program.files)?;
    let found = found.map(|(found, _)| found).unwrap_or_default();
    check_lengths(&found)?;
    for word in &program.command {
        // Other places are the workers' own.
        if word.contains("${") || word.starts_with(['/', '~', '-']) || !folder.join(word).is_file() {
            continue;
        }
        let pattern = Pattern::literal(word).map_err(|reason| refused("command", word, &reason))?;
        let path = pattern.prefix.join("/");
        if !found.contains_key(&path) {
            return Err(Failure::operation(format!(
                "command: {word:?} is a file next to the sweep file, but it is not sent to the workers; add it as \
                 `execution: {{files: [{path:?}]}}`"
            )));
        }
    }
    Ok(())
}

/// Finds and hashes the files that `patterns` name below `folder`, and always `program`. Nothing if there are none to
/// find.
pub(super) fn collect(
    folder: &Path,
    program: Option<&str>,
    patterns: &[String],
) -> Result<Option<Collected>, Failure> {
    let Some((found, left_out)) = find(folder, program, patterns)? else { return Ok(None) };
    check_lengths(&found)?;
    let (mut files, mut sources) = (Vec::with_capacity(found.len()), BTreeMap::new());
    for (path, place) in found {
        let file = hashed(path, &place)
            .map_err(|error| Failure::operation(format!("cannot read {}: {error}", place.display())))?;
        sources.insert(file.blake3, place);
        files.push(file);
    }
    let manifest = SnapshotManifest::new(files).map_err(|error| Failure::operation(error.to_string()))?;
    Ok(Some(Collected { manifest, sources, left_out }))
}

/// Finds them. Nothing where there are none to find.
fn find(
    folder: &Path,
    program: Option<&str>,
    patterns: &[String],
) -> Result<Option<(Found, LeftOut)>, Failure> {
    if program.is_none() && patterns.is_empty() {
        return Ok(None);
    }
    let (mut found, mut left_out) = (Found::new(), LeftOut::default());
    if let Some(program) = program {
        let pattern = Pattern::literal(program).map_err(|reason| refused("program", program, &reason))?;
        let all = walk::below(folder, &pattern, &mut left_out)
            .map_err(|reason| refused("program", program, &reason))?;
        found.extend(all);
    }
    for text in patterns {
        let key = "execution.files";
        let pattern = Pattern::parse(text).map_err(|reason| refused(key, text, &reason))?;
        let all =
            walk::below(folder, &pattern, &mut left_out).map_err(|reason| refused(key, text, &reason))?;
        if all.is_empty() {
            let left_out = left_out.describe();
            let hidden = if left_out.is_empty() { left_out } else { format!(" (left out: {left_out})") };
            let reason = format!("it matches no file below {}{hidden}", folder.display());
            return Err(refused(key, text, &reason));
        }
        found.extend(all);
    }
    Ok(Some((found, left_out)))
}

fn refused(key: &str, text: &str, reason: &str) -> Failure {
    Failure::operation(format!("{key}: {text:?} cannot be sent: {reason}"))
}

/// Checks lengths before anything is read, as reading a file that is too long takes long.
fn check_lengths(found: &Found) -> Result<(), Failure> {
    let failed = |error: SnapshotError| Failure::operation(error.to_string());
    if found.len() > SNAPSHOT_FILES_MAX {
        return Err(failed(SnapshotError::TooMany(found.len())));
    }
    let mut all = 0;
    for (path, place) in found {
        // A missing file is reported when it is read.
        let bytes = fs::metadata(place).map_or(0, |found| found.len());
        if bytes > SNAPSHOT_FILE_BYTES_MAX {
            return Err(failed(SnapshotError::FileTooLong { path: path.clone(), bytes }));
        }
        all += bytes;
    }
    if all > SNAPSHOT_BYTES_MAX { Err(failed(SnapshotError::TooLong(all))) } else { Ok(()) }
}

fn hashed(path: String, place: &Path) -> std::io::Result<SnapshotFile> {
    let mut file = File::open(place)?;
    let executable = file.metadata()?.permissions().mode() & 0o111 != 0;
    // Not beyond the bound, even if the file grows meanwhile.
    let mut reader = (&mut file).take(SNAPSHOT_FILE_BYTES_MAX + 1);
    let (mut hasher, mut bytes, mut piece) = (blake3::Hasher::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        match reader.read(&mut piece)? {
            0 => break,
            read => {
                hasher.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
    Ok(SnapshotFile { path, executable, bytes, blake3: hasher.finalize().into() })
}

#[cfg(test)]
mod tests;
