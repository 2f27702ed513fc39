//! A checkpoint's folder as one file: a line that names the format, a header with whose it is, the epochs so far and the
//! names and lengths of the files, their contents, and a BLAKE3 hash over all of that. Nothing is unpacked before the hash is
//! right, and nothing outside of the folder is ever written.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{metrics::tally::EpochRecord, plain};

/// The first bytes, with the format's revision.
const MAGIC: &[u8] = b"sweep program checkpoint 1\n";

/// Longest file, in bytes: weights and moments of a model of half a billion parameters.
pub(crate) const ARCHIVE_BYTES_MAX: u64 = 8 << 30;

/// Longest header, in bytes: a million epochs with two metrics have less.
const HEADER_BYTES_MAX: u64 = 256 << 20;

/// Most files, folders and links: sharded checkpoints have hundreds.
const ENTRIES_MAX: usize = 10_000;

/// Deepest folder below the checkpoint's.
const DEPTH_MAX: usize = 32;

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of the hash.
const HASH_BYTES: u64 = blake3::OUT_LEN as u64;

/// What is kept besides the files.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct Facts {
    /// Whose training it is ([`identity`]).
    pub(crate) identity: String,
    /// What was told so far.
    pub(crate) records: Vec<EpochRecord>,
    /// Epochs of an earlier attempt that may come next ([`crate::metrics::tally`]).
    #[serde(default)]
    pub(crate) reserve: Vec<EpochRecord>,
    /// Checkpoints since the last report, this one included.
    #[serde(default)]
    pub(crate) unreported: u32,
}

#[derive(Debug, Deserialize, Serialize)]
struct Header {
    facts: Facts,
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    /// From the folder, in parts.
    path: Vec<String>,
    kind: Kind,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Folder,
    File {
        bytes: u64,
        is_executable: bool,
    },
    /// To what is below the folder that the link is in.
    Link {
        to: Vec<String>,
    },
}

/// Why a checkpoint is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is corrupted ({0})")]
    Corrupted(String),
    #[error("it belongs to another job")]
    Foreign,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What decides a training, as one hash.
pub(crate) fn identity(decides: &serde_json::Value) -> String {
    blake3::hash(decides.to_string().as_bytes()).to_hex().to_string()
}

/// Writes what is in `folder`, of which only what is below `part` where one is named. What cannot be kept is said to `left_out`.
///
/// # Errors
/// The folder cannot be read, changes while it is, or is too large.
pub(crate) fn pack(
    folder: &Path,
    part: Option<&str>,
    facts: Facts,
    to: File,
    left_out: &mut dyn FnMut(String),
) -> io::Result<()> {
    let mut entries = Vec::new();
    match part {
        None => walk(folder, &mut Vec::new(), &mut entries, left_out)?,
        Some(part) => {
            entries.push(Entry { path: vec![part.to_owned()], kind: Kind::Folder });
            walk(&folder.join(part), &mut vec![part.to_owned()], &mut entries, left_out)?;
        }
    }
    let header = Header { facts, entries };
    let text = serde_json::to_vec(&header)?;
    let contents: u64 = header.entries.iter().map(|entry| entry.bytes()).sum();
    let whole = MAGIC.len() as u64 + 8 + text.len() as u64 + contents + HASH_BYTES;
    if text.len() as u64 > HEADER_BYTES_MAX || whole > ARCHIVE_BYTES_MAX {
        return Err(io::Error::other(format!("it has {whole} bytes; at most {ARCHIVE_BYTES_MAX} are kept")));
    }
    let mut writer =
        Hashed { inner: BufWriter::with_capacity(PIECE_BYTES, to), hasher: blake3::Hasher::new() };
    writer.write_all(MAGIC)?;
    writer.write_all(&(text.len() as u64).to_le_bytes())?;
    writer.write_all(&text)?;
    for entry in &header.entries {
        let Kind::File { bytes, .. } = entry.kind else { continue };
        let path = entry.path.iter().fold(folder.to_owned(), |path, part| path.join(part));
        // The program goes on meanwhile, and may have put something else there.
        let mut file = plain::open(&path)?;
        let copied = io::copy(&mut (&mut file).take(bytes), &mut writer)?;
        if copied != bytes || file.metadata()?.len() != bytes {
            return Err(io::Error::other(format!("{} changed while it was kept", path.display())));
        }
    }
    let Hashed { mut inner, hasher } = writer;
    inner.write_all(hasher.finalize().as_bytes())?;
    inner.flush()
}

impl Entry {
    fn bytes(&self) -> u64 {
        match self.kind {
            Kind::File { bytes, .. } => bytes,
            Kind::Folder | Kind::Link { .. } => 0,
        }
    }
}

/// A writer that hashes what goes through it.
struct Hashed<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What is in a folder, sorted by name, so that the same folder is the same archive.
fn walk(
    folder: &Path,
    path: &mut Vec<String>,
    entries: &mut Vec<Entry>,
    left_out: &mut dyn FnMut(String),
) -> io::Result<()> {
    if path.len() > DEPTH_MAX {
        return Err(io::Error::other(format!("its folders are nested more than {DEPTH_MAX} deep")));
    }
    let mut found = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    found.sort_by_key(fs::DirEntry::file_name);
    for one in found {
        let Ok(name) = one.file_name().into_string() else {
            left_out(format!("{} is not kept, as its name is no UTF-8", one.path().display()));
            continue;
        };
        // What a helper that was killed had not finished.
        if name.starts_with(UNFINISHED) {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Err(io::Error::other(format!("it has more than {ENTRIES_MAX} files")));
        }
        path.push(name);
        let found = one.metadata()?;
        let kind = if found.is_dir() {
            Some(Kind::Folder)
        } else if found.is_file() {
            Some(Kind::File { bytes: found.len(), is_executable: found.mode() & 0o100 != 0 })
        } else if found.is_symlink() {
            parts(&fs::read_link(one.path())?).map(|to| Kind::Link { to })
        } else {
            None
        };
        let is_folder = matches!(kind, Some(Kind::Folder));
        match kind {
            Some(kind) => entries.push(Entry { path: path.clone(), kind }),
            None => left_out(format!(
                "{} is not kept: it is neither file nor folder, nor a link within its folder",
                one.path().display()
            )),
        }
        if is_folder {
            walk(&one.path(), path, entries, left_out)?;
        }
        path.pop();
    }
    Ok(())
}

/// How names begin of what the helper has not finished.
pub(crate) const UNFINISHED: &str = ".new-";

/// A relative path that stays where it is, in parts.
fn parts(path: &Path) -> Option<Vec<String>> {
    let part = |part| match part {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    };
    path.components().map(part).collect()
}

/// Unpacks an archive of the training with this identity into `folder`, which is empty.
///
/// # Errors
/// It is corrupted or foreign; what was unpacked of it by then is of no use.
pub(crate) fn unpack(archive: &mut File, identity: &str, folder: &Path) -> Result<Facts, Refusal> {
    let length = archive.metadata()?.len();
    check_hash(archive, length)?;
    let corrupted = |what: &str| Refusal::Corrupted(what.to_owned());
    let mut reader = BufReader::with_capacity(PIECE_BYTES, archive);
    io::Seek::rewind(&mut reader)?;
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(corrupted("it is no checkpoint of a program"));
    }
    let mut header_bytes = [0; 8];
    reader.read_exact(&mut header_bytes)?;
    let header_bytes = u64::from_le_bytes(header_bytes);
    if header_bytes > HEADER_BYTES_MAX.min(length) {
        return Err(corrupted("its header is too long"));
    }
    let header: Header = serde_json::from_reader((&mut reader).take(header_bytes))
        .map_err(|error| Refusal::Corrupted(error.to_string()))?;
    // Every byte is as it was written; what is left is whether it is ours.
    if header.facts.identity != identity {
        return Err(Refusal::Foreign);
    }
    check_entries(&header.entries, length)?;
    let mut links = Vec::new();
    for entry in &header.entries {
        let path = entry.path.iter().fold(folder.to_owned(), |path, part| path.join(part));
        match &entry.kind {
            Kind::Folder => fs::create_dir(&path)?,
            Kind::File { bytes, is_executable } => {
                let mut file = File::options().create_new(true).write(true).open(&path)?;
                if io::copy(&mut (&mut reader).take(*bytes), &mut file)? != *bytes {
                    return Err(corrupted("it is cut off"));
                }
                if *is_executable {
                    file.set_permissions(fs::Permissions::from_mode(0o755))?;
                }
            }
            Kind::Link { to } => links.push((to.iter().collect::<PathBuf>(), path)),
        }
    }
    // No file is written through a link.
    for (to, path) in links {
        symlink(to, path)?;
    }
    Ok(header.facts)
}

fn check_hash(archive: &mut File, length: u64) -> Result<(), Refusal> {
    let corrupted = |what: &str| Refusal::Corrupted(what.to_owned());
    let Some(hashed) = length.checked_sub(HASH_BYTES).filter(|_| length <= ARCHIVE_BYTES_MAX) else {
        return Err(Refusal::Corrupted(format!("it has {length} bytes")));
    };
    let mut hasher = blake3::Hasher::new();
    let mut reader = BufReader::with_capacity(PIECE_BYTES, archive);
    io::copy(&mut (&mut reader).take(hashed), &mut hasher)?;
    let mut hash = [0; HASH_BYTES as usize];
    reader.read_exact(&mut hash)?;
    if hasher.finalize() == blake3::Hash::from_bytes(hash) {
        Ok(())
    } else {
        Err(corrupted("its content is not what its hash says"))
    }
}

fn check_entries(entries: &[Entry], length: u64) -> Result<(), Refusal> {
    let is_name = |name: &String| {
        let mut components = Path::new(name).components();
        matches!((components.next(), components.next()), (Some(Component::Normal(one)), None) if one == name.as_str())
    };
    let is_path =
        |path: &[String]| !path.is_empty() && path.len() <= DEPTH_MAX + 1 && path.iter().all(is_name);
    let is_entry = |entry: &Entry| {
        is_path(&entry.path)
            && match &entry.kind {
                Kind::Link { to } => is_path(to),
                Kind::Folder | Kind::File { .. } => true,
            }
    };
    let bytes = entries.iter().try_fold(0_u64, |sum, entry| sum.checked_add(entry.bytes()));
    if entries.len() <= ENTRIES_MAX
        && entries.iter().all(is_entry)
        && bytes.is_some_and(|bytes| bytes <= length)
    {
        Ok(())
    } else {
        Err(Refusal::Corrupted("it names files that cannot be".to_owned()))
    }
}
