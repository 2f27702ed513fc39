//! The files that a job of a program left: listed, all of them written, or some by name.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use terms::outputs::{OutputFile, OutputIndex};

use super::{
    super::{
        client::Target,
        failure::Failure,
        output::{Cell, Format, Printer},
        tables::names,
    },
    cannot,
    incoming::Incoming,
};

/// The folder that they are written into, next to what is said of their job.
pub(super) const FOLDER: &str = "files";

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A table of them.
pub(crate) fn print_table(index: &OutputIndex, format: Format) -> Result<(), Failure> {
    let mut printer = Printer::new(format, names(&["path", "bytes", "blake3"]));
    let row = |file: &OutputFile| {
        let hash = file.blake3.to_string();
        vec![Cell::Text(file.path.clone()), Cell::Integer(file.bytes), Cell::Hash(hash)]
    };
    printer.page(&index.files.iter().map(row).collect::<Vec<_>>())?;
    printer.finish()
}

/// What of the job's files was left out, for people; empty for nothing.
pub(crate) fn left_out(index: &OutputIndex) -> String {
    let words = index.left_out.iter().map(|one| {
        let more = if one.count > one.examples.len() as u64 { ", …" } else { "" };
        format!("{}: {} ({}{more})", one.reason, one.count, one.examples.join(", "))
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Those whose paths, or whose folders' paths, are named.
pub(super) fn named<'a>(
    index: &'a OutputIndex,
    names: &[String],
    job: &str,
) -> Result<Vec<(&'a OutputFile, u64)>, Failure> {
    let mut found = Vec::new();
    for name in names {
        let folder = format!("{}/", name.trim_end_matches('/'));
        let is_named = |file: &OutputFile| file.path == *name || file.path.starts_with(&folder);
        let all = index.files.iter().zip(index.places()).filter(|(file, _)| is_named(file));
        let before = found.len();
        found.extend(all);
        if found.len() == before {
            return Err(Failure::operation(format!(
                "job {job} left no file {name:?}; `sweep artifact files {job}` lists them"
            )));
        }
    }
    found.sort_by_key(|(_, place)| *place);
    found.dedup();
    Ok(found)
}

/// Fetches these files alone into `folder`, which is empty.
pub(super) async fn fetch(
    files: &[(&OutputFile, u64)],
    sweep: u64,
    job: u64,
    target: &Target,
    folder: &Path,
) -> Result<(), Failure> {
    for (file, place) in files {
        let mut incoming = Incoming::open(target, sweep, job, *place).await?;
        let path = folder.join(&file.path);
        let mut to = create(&path, file).map_err(cannot(&path))?;
        let (bytes, hash) = incoming.write(file.bytes, &mut to, &path).await?;
        if bytes != file.bytes || hash.to_hex().as_str() != file.blake3.to_string() {
            return Err(incoming.corrupt(&file.path));
        }
        to.sync_all().map_err(cannot(&path))?;
    }
    Ok(())
}

/// Writes all files of an archive, whose own hash was right, into `folder`, which is empty.
pub(super) fn unpack(archive: &mut File, index: &OutputIndex, folder: &Path) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    for (file, place) in index.files.iter().zip(index.places()) {
        archive.seek(SeekFrom::Start(place))?;
        let (mut from, mut hasher) = ((&mut *archive).take(file.bytes), blake3::Hasher::new());
        let mut to = create(&folder.join(&file.path), file)?;
        loop {
            let bytes = from.read(&mut piece)?;
            if bytes == 0 {
                break;
            }
            hasher.update(&piece[..bytes]);
            to.write_all(&piece[..bytes])?;
        }
        if terms::snapshot::ContentHash::from(hasher.finalize()) != file.blake3 {
            return Err(io::Error::other(format!("{} is not what the archive's list says", file.path)));
        }
        to.sync_all()?;
    }
    Ok(())
}

/// A new file: whatever is there already is not written into.
fn create(path: &Path, file: &OutputFile) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let to = File::options().create_new(true).write(true).open(path)?;
    to.set_permissions(fs::Permissions::from_mode(if file.executable { 0o755 } else { 0o644 }))?;
    Ok(to)
}

/// Moves the files below one folder into another one, in place of those of the same paths.
pub(super) fn merge(from: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = into.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            merge(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use terms::{outputs::end, snapshot::ContentHash};

    use super::*;

    fn file(path: &str, content: &[u8]) -> OutputFile {
        let (bytes, blake3) = (content.len() as u64, ContentHash::of(content));
        OutputFile { path: path.to_owned(), bytes, blake3, executable: false }
    }

    fn archive(files: &[(&str, &[u8])]) -> (OutputIndex, File) {
        let listed = files.iter().map(|(path, content)| file(path, content)).collect();
        let index = OutputIndex { files: listed, left_out: Vec::new() };
        let mut archive = tempfile::tempfile().unwrap();
        archive.write_all(&index.head()).unwrap();
        for (file, (_, content)) in index.files.iter().zip(files) {
            archive.write_all(&[&file.header(), *content, &file.padding()].concat()).unwrap();
        }
        archive.write_all(&end()).unwrap();
        (index, archive)
    }

    #[test]
    fn an_archive_is_written_as_it_was() {
        let files = [("a.txt", &b"one"[..]), ("figures/loss.png", b""), ("figures/more/x", &[9; 5000])];
        let (index, mut archive) = archive(&files);
        let folder = tempfile::tempdir().unwrap();
        unpack(&mut archive, &index, folder.path()).unwrap();
        for (path, content) in files {
            assert_eq!(fs::read(folder.path().join(path)).unwrap(), content);
        }
    }

    #[test]
    fn nothing_is_written_over_or_through_what_is_there() {
        let (index, mut archive) = archive(&[("a", &b"one"[..]), ("a/b", b"two")]);
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(&mut archive, &index, folder.path()).is_err());
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("a")).unwrap();
        assert!(unpack(&mut archive, &index, folder.path()).is_err());
        assert_eq!(fs::read(elsewhere.path()).unwrap(), b"");
    }

    #[test]
    fn files_are_named_by_their_paths_or_their_folders() {
        let (index, _) = archive(&[("a.txt", &b"1"[..]), ("f/x", b"2"), ("f/y", b"3"), ("fx", b"4")]);
        let found = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let found = named(&index, &names, "1/2");
            found.map(|found| found.iter().map(|(file, _)| file.path.clone()).collect::<Vec<_>>())
        };
        assert_eq!(found(&["a.txt"]).unwrap(), ["a.txt"]);
        assert_eq!(found(&["f/", "f/y"]).unwrap(), ["f/x", "f/y"]);
        assert!(found(&["g"]).unwrap_err().to_string().contains("sweep artifact files 1/2"));
    }
}
