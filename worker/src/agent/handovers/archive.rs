//! The files under a job's key as one archive, and back. Of checkpoints that are named by how far they are, as our trainers do, only the
//! furthest goes; of what other trainers keep, everything that is finished (`names`).

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use terms::outputs::{
    BLOCK, OUTPUT_BYTES_MAX, OUTPUT_FILES_MAX, OutputFile, OutputIndex, check_path, end, index_length,
};

use super::names::{furthest, is_finished};

/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 8;

/// An archive in a file without a name.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    pub(super) bytes: u64,
    /// BLAKE3 of all of it, as hexadecimal digits.
    pub(super) blake3: String,
}

impl Packed {
    /// At most `bytes` bytes from `offset`.
    pub(super) fn piece(&self, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let length = bytes.min(self.bytes.saturating_sub(offset));
        let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact_at(&mut piece, offset)?;
        Ok(piece)
    }
}

/// The files of a folder that another worker needs, as an archive next to it; none where there are none.
///
/// # Errors
/// They cannot be read, are too many or too long, or there is no room.
pub(super) fn pack(folder: &Path) -> io::Result<Option<Packed>> {
    let paths = furthest(paths_in(folder)?);
    if paths.is_empty() {
        return Ok(None);
    }
    if paths.len() > OUTPUT_FILES_MAX {
        return Err(io::Error::other(format!("it has more than {OUTPUT_FILES_MAX} files")));
    }
    let describe = |path: &String| {
        let (bytes, blake3) = copy(&mut File::open(folder.join(path))?, &mut io::sink())?;
        let blake3 = blake3.to_hex().parse().map_err(io::Error::other)?;
        Ok(OutputFile { path: path.clone(), bytes, blake3, executable: false })
    };
    let files: Vec<OutputFile> = paths.iter().map(describe).collect::<io::Result<_>>()?;
    if files.iter().map(|file| file.bytes).sum::<u64>() > OUTPUT_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {OUTPUT_BYTES_MAX} bytes")));
    }
    let index = OutputIndex { files, left_out: Vec::new() };
    let mut hashed = Hashed { file: tempfile::tempfile_in(folder)?, hasher: blake3::Hasher::new() };
    hashed.write_all(&index.head())?;
    for file in &index.files {
        hashed.write_all(&file.header())?;
        let (bytes, blake3) = copy(&mut File::open(folder.join(&file.path))?, &mut hashed)?;
        if bytes != file.bytes || blake3.to_hex().as_str() != file.blake3.to_string() {
            return Err(io::Error::other(format!("{} changed while it was read", file.path)));
        }
        hashed.write_all(&file.padding())?;
    }
    hashed.write_all(&end())?;
    let Hashed { file, hasher } = hashed;
    Ok(Some(Packed { file, bytes: index.archive_bytes(), blake3: hasher.finalize().to_hex().to_string() }))
}

/// Puts the files of an archive into a new folder.
///
/// # Errors
/// It is no archive, its files are not those that it lists, or they cannot be written; what is in the folder then is of no use.
pub(super) fn unpack(archive: &mut File, folder: &Path) -> io::Result<()> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut block = [0; BLOCK];
    archive.rewind()?;
    archive.read_exact(&mut block)?;
    let length = index_length(&block).ok_or_else(|| wrong("it is no archive".to_owned()))?;
    let mut list = Vec::new();
    archive.take(length).read_to_end(&mut list)?;
    let index = OutputIndex::read(&list).map_err(|error| wrong(error.to_string()))?;
    index.check_length(archive.metadata()?.len()).map_err(|error| wrong(error.to_string()))?;
    for (file, place) in index.files.iter().zip(index.places()) {
        let target = folder.join(&file.path);
        fs::create_dir_all(target.parent().unwrap_or(folder))?;
        let mut written = File::options().write(true).create_new(true).open(target)?;
        archive.seek(SeekFrom::Start(place))?;
        let (_, blake3) = copy(&mut (&mut *archive).take(file.bytes), &mut written)?;
        if blake3.to_hex().as_str() != file.blake3.to_string() {
            return Err(wrong(format!("{} is not as it was", file.path)));
        }
    }
    Ok(())
}

/// The paths of the files in a folder that are finished, in order; none where there is no folder. Links are not followed.
pub(super) fn paths_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    look_into(folder, "", 0, &mut found)?;
    Ok(found)
}

/// The same; `prefix` is the folder's own path, with a `/` at its end.
fn look_into(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut entries: Vec<(PathBuf, String)> = entries
        .map(|entry| entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for (path, name) in entries {
        if !is_finished(&name) {
            continue;
        }
        let own = format!("{prefix}{name}");
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() && depth < DEPTH_MAX {
            look_into(&path, &format!("{own}/"), depth + 1, found)?;
        } else if kind.is_file() && check_path(&own).is_ok() {
            found.push(own);
        }
    }
    Ok(())
}

/// A file, and the hash of what is written to it.
struct Hashed {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Copies everything; how much it was, and its hash.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, blake3::Hash)> {
    let (mut hasher, mut piece, mut bytes) = (blake3::Hasher::new(), vec![0; PIECE_BYTES], 0);
    loop {
        match from.read(&mut piece)? {
            0 => return Ok((bytes, hasher.finalize())),
            read => {
                hasher.update(&piece[..read]);
                to.write_all(&piece[..read])?;
                bytes += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_checkpoint_and_all_other_files_arrive_as_they_were() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(pack(&from.path().join("none")).unwrap().is_none() && pack(from.path()).unwrap().is_none());
        let long = vec![7; 3 * PIECE_BYTES + 5];
        let files: [(&str, &[u8]); 8] = [
            ("0000000002-000000000000-0000000001.safetensors", b"old"),
            ("0000000003-000000000064-0000000001.safetensors", &long),
            ("0000000003-000000000064-0000000001.tail", b"tail"),
            ("0000000004-000000000000-0000000001.safetensors#1", b"unfinished"),
            ("state.json", b"{}"),
            ("parts/a.bin", b""),
            (".tmpA1b2C3", b"unfinished"),
            ("parts/.tmpA1b2C3", b"unfinished"),
        ];
        fs::create_dir(from.path().join("parts")).unwrap();
        files.iter().for_each(|(path, content)| fs::write(from.path().join(path), content).unwrap());
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
        let packed = pack(from.path()).unwrap().unwrap();
        let mut archive = tempfile::tempfile().unwrap();
        let mut at = 0;
        while at < packed.bytes {
            let piece = packed.piece(at, 1 << 20).unwrap();
            archive.write_all(&piece).unwrap();
            at += piece.len() as u64;
        }
        unpack(&mut archive, to.path()).unwrap();
        let found = paths_in(to.path()).unwrap();
        let expected = [files[1].0, files[2].0, "parts/a.bin", "state.json"];
        assert_eq!(found, expected);
        for (path, content) in files.iter().filter(|(path, _)| expected.contains(path)) {
            assert_eq!(fs::read(to.path().join(path)).unwrap(), *content, "{path}");
        }
        assert_eq!(
            packed.blake3,
            pack(from.path()).unwrap().unwrap().blake3,
            "the same files, the same bytes"
        );
    }

    #[test]
    fn what_was_changed_on_the_way_is_refused() {
        let from = tempfile::tempdir().unwrap();
        fs::write(from.path().join("state"), b"content").unwrap();
        let packed = pack(from.path()).unwrap().unwrap();
        let whole = packed.piece(0, packed.bytes).unwrap();
        let position = whole.windows(7).rposition(|part| part == b"content").unwrap();
        for (at, bytes) in [(position, &b"X"[..]), (0, b"X"), (whole.len(), b"more")] {
            let mut archive = tempfile::tempfile().unwrap();
            archive.write_all(&whole).unwrap();
            archive.write_all_at(bytes, at as u64).unwrap();
            let refused = unpack(&mut archive, tempfile::tempdir().unwrap().path()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{at}");
        }
    }
}
