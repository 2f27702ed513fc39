//! Trained weights, or the files that a program left, on this machine's disk, from the end of their job until the coordinator has
//! them or does not want them. They are stored next to the spool and outlive the process like it. A file's name contains its attempt and,
//! once it is complete, the hash of its content: `SWEEP-JOB-ATTEMPT.BLAKE3.safetensors`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use program::plain;
use terms::{
    AttemptKey,
    outputs::{BLOCK, OutputIndex, index_length},
};

use super::{session::types::Weights, spool::SpoolError};

/// Longest file, in bytes; the coordinator's bound. The weights of SimpleCNN at its largest images have half of it.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// Bytes of weights that may wait for the coordinator; beyond it the trainers wait. Five hundred files at the report's
/// size.
pub(crate) const WAITING_BYTES_MAX: u64 = 8 << 30;
/// Longest header of a `.safetensors` file, in bytes; the format's own bound.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Bytes that are hashed at a time.
const PIECE_BYTES: usize = 1 << 20;
/// The ending of file names.
const ENDING: &str = ".safetensors";
/// Why there are no weights of a job that is done.
const NO_WEIGHTS: &str = "the trainer wrote none; its log may say why";
/// Why there are no files of one.
const NO_FILES: &str =
    "the program left none in SWEEP_OUTPUT_DIR, or the job's log says why they are not kept";

/// Who leaves something for a job that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A trainer its weights.
    Trainer,
    /// A program its files, of which most have none.
    Program,
}

/// Weights that wait for the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Whose they are.
    pub(crate) attempt: AttemptKey,
    /// BLAKE3 of the content, as hexadecimal digits.
    pub(crate) blake3: String,
    /// Length of the file.
    pub(crate) bytes: u64,
    pub(crate) path: PathBuf,
}

/// The folder where weights wait.
#[derive(Debug)]
pub(crate) struct WeightsFolder {
    folder: PathBuf,
    counted: Mutex<Counted>,
    bytes_max: u64,
}

/// The files that count towards the limit: those in the folder whose attempts' ends were reported.
#[derive(Debug, Default)]
struct Counted {
    files: BTreeMap<AttemptKey, u64>,
    /// Their total size.
    bytes: u64,
}

impl Counted {
    fn insert(&mut self, attempt: AttemptKey, bytes: u64) {
        self.remove(attempt);
        self.files.insert(attempt, bytes);
        self.bytes += bytes;
    }

    fn remove(&mut self, attempt: AttemptKey) {
        self.bytes -= self.files.remove(&attempt).unwrap_or_default();
    }
}

impl WeightsFolder {
    /// The folder within that of the spool, whose lock the caller holds. Removes files that an earlier process did not
    /// finish: their jobs have not ended.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn open(spool: &Path) -> Result<Self, SpoolError> {
        let folder = spool.join("weights");
        let failed = |source| SpoolError::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if parse(&path).is_none() && path.is_file() {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        let opened = Self { folder: folder.clone(), counted: Mutex::default(), bytes_max: WAITING_BYTES_MAX };
        for file in opened.waiting().map_err(failed)? {
            opened.counted().insert(file.attempt, file.bytes);
        }
        Ok(opened)
    }

    /// Sets another limit than [`WAITING_BYTES_MAX`].
    pub(crate) fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Where the trainer of an attempt writes its weights; `id` is its name in the trainer protocol.
    pub(crate) fn place(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{}{ENDING}", stem(id)))
    }

    /// Takes what an attempt that is done left, weights or a program's files: synced, hashed and named by its hash. Blocks.
    pub(crate) fn finish(&self, id: &str, by: By) -> Weights {
        let path = self.place(id);
        match self.try_finish(id, &path) {
            Ok(weights) => weights,
            Err(error) => {
                self.discard(id);
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                Weights::Absent(match by {
                    // Most programs leave none, and the log of one whose files cannot be kept says it.
                    By::Program if is_missing => NO_FILES.to_owned(),
                    By::Program => {
                        tracing::warn!(attempt = id, "the program's files are not kept: {error}");
                        error.to_string()
                    }
                    By::Trainer if is_missing => {
                        tracing::info!(attempt = id, "no weights are kept: {NO_WEIGHTS}");
                        NO_WEIGHTS.to_owned()
                    }
                    By::Trainer => {
                        tracing::warn!(attempt = id, "no weights are kept: {error}");
                        error.to_string()
                    }
                })
            }
        }
    }

    fn try_finish(&self, id: &str, path: &Path) -> io::Result<Weights> {
        let refuse = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        let found = fs::symlink_metadata(path)?;
        if !found.is_file() {
            return refuse(format!("{} is not a file", path.display()));
        }
        let bytes = found.len();
        if bytes > FILE_BYTES_MAX {
            return refuse(format!("it has {bytes} bytes, more than the {FILE_BYTES_MAX} that are kept"));
        }
        // The trainer may have put something else there meanwhile.
        let mut file = plain::open(path)?;
        check_content(&mut file, bytes)?;
        // The end of the attempt, which names the hash, is synced as well.
        file.sync_data()?;
        file.rewind()?;
        let blake3 = hash_of(file)?;
        fs::rename(path, self.finished(id, &blake3))?;
        // If this fails, the attempt has no weights, and the coordinator does not want the file.
        File::open(&self.folder)?.sync_all()?;
        Ok(Weights::File { bytes, blake3 })
    }

    fn finished(&self, id: &str, blake3: &str) -> PathBuf {
        self.folder.join(format!("{}.{blake3}{ENDING}", stem(id)))
    }

    /// Removes what the trainer of an attempt wrote and no one will use; it may not exist at all. Blocks.
    pub(crate) fn discard(&self, id: &str) {
        let path = self.place(id);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "useless weights cannot be removed");
        }
    }

    /// The end of an attempt was reported, and with it these weights, which count from now on until they are forgotten.
    /// They must not count before: while the folder is full no ends are processed, and no coordinator accepts weights
    /// whose end it does not know.
    pub(crate) fn count(&self, attempt: AttemptKey, weights: &Weights) {
        let Weights::File { bytes, blake3 } = weights else { return };
        let mut counted = self.counted();
        // Weights of an attempt that does not count may have been forgotten before.
        if self.finished(&attempt.to_string(), blake3).exists() {
            counted.insert(attempt, *bytes);
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The weights that wait, in the order of their attempts.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn waiting(&self) -> io::Result<Vec<Waiting>> {
        let mut waiting = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Some((attempt, blake3)) = parse(&path) else { continue };
            match fs::metadata(&path) {
                Ok(found) => waiting.push(Waiting { attempt, blake3, bytes: found.len(), path }),
                // Forgotten meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        waiting.sort_by_key(|file| file.attempt);
        Ok(waiting)
    }

    /// Removes weights that the coordinator has or does not want.
    pub(crate) fn forget(&self, file: &Waiting) {
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %file.path.display(), %error, "weights cannot be removed");
            }
            _ => self.counted().remove(file.attempt),
        }
    }

    /// True while no more may be made.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Bytes of the weights that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.counted().bytes
    }
}

/// BLAKE3 of a file, as hexadecimal digits. Blocks.
///
/// # Errors
/// It cannot be read.
pub(super) fn hash(path: &Path) -> io::Result<String> {
    hash_of(File::open(path)?)
}

fn hash_of(mut file: File) -> io::Result<String> {
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            bytes => hasher.update(&piece[..bytes]),
        };
    }
}

/// An attempt's name as part of a file's.
fn stem(id: &str) -> String {
    id.chars().map(|sign| if sign.is_ascii_digit() { sign } else { '-' }).collect()
}

/// The attempt of a finished file, and its hash.
fn parse(path: &Path) -> Option<(AttemptKey, String)> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
    let (stem, blake3) = name.split_once('.')?;
    let mut numbers = stem.split('-');
    let attempt = AttemptKey::new(
        numbers.next()?.parse().ok()?,
        numbers.next()?.parse().ok()?,
        numbers.next()?.parse().ok()?,
    );
    let is_hash = blake3.len() == 64 && blake3.bytes().all(|byte| byte.is_ascii_hexdigit());
    (numbers.next().is_none() && is_hash).then(|| (attempt, blake3.to_owned()))
}

/// Refuses everything but `.safetensors` files and archives of what a program left: other formats can hold code that runs when
/// they are read.
fn check_content(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut block = [0; BLOCK];
    match file.read_exact(&mut block).ok().and_then(|()| index_length(&block)) {
        Some(length) => check_archive(file, length, bytes),
        None => file.rewind().and_then(|()| check_header(file, bytes)),
    }
}

/// Checks that an archive, of which the first block was read, is as long as its list says.
fn check_archive(file: &mut File, length: u64, bytes: u64) -> io::Result<()> {
    let mut list = Vec::new();
    file.take(length).read_to_end(&mut list)?;
    let read = OutputIndex::read(&list).and_then(|index| index.check_length(bytes));
    read.map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the archive of the program's files is torn: {error}"),
        )
    })
}

fn check_header(file: &mut File, bytes: u64) -> io::Result<()> {
    let refuse =
        || io::Error::new(io::ErrorKind::InvalidData, "what the trainer wrote is not a .safetensors file");
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| refuse())?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES_MAX.min(bytes.saturating_sub(8)) {
        return Err(refuse());
    }
    let mut header = vec![0; usize::try_from(length).map_err(|_| refuse())?];
    file.read_exact(&mut header)?;
    let header: serde_json::Value = serde_json::from_slice(&header).map_err(|_| refuse())?;
    if header.is_object() { Ok(()) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, WeightsFolder) {
        let spool = tempfile::tempdir().unwrap();
        let folder = WeightsFolder::open(spool.path()).unwrap();
        (spool, folder)
    }

    fn some_weights() -> Vec<u8> {
        let header = br#"{"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header, b"abc"].concat()
    }

    #[test]
    fn weights_wait_until_they_are_forgotten_and_outlive_the_process() {
        let (spool, folder) = folder();
        fs::write(folder.place("3/14#1"), some_weights()).unwrap();
        let Weights::File { bytes, blake3 } = folder.finish("3/14#1", By::Trainer) else {
            panic!("they are there")
        };
        assert_eq!(
            (bytes, &blake3),
            (some_weights().len() as u64, &blake3::hash(&some_weights()).to_hex().to_string())
        );
        fs::write(folder.place("3/15#1"), b"half").unwrap();
        drop(folder);
        let mut folder = WeightsFolder::open(spool.path()).unwrap();
        let waiting = folder.waiting().unwrap();
        let [file] = waiting.as_slice() else { panic!("{waiting:?}") };
        assert_eq!((file.attempt, &file.blake3, file.bytes), (AttemptKey::new(3, 14, 1), &blake3, bytes));
        assert_eq!(
            fs::read_dir(spool.path().join("weights")).unwrap().count(),
            1,
            "what is not whole is gone"
        );
        folder.limit(bytes);
        assert!(folder.is_full());
        folder.forget(file);
        assert!(folder.waiting().unwrap().is_empty() && !folder.is_full());
    }

    #[test]
    fn weights_fill_the_room_from_the_end_of_their_attempt_until_they_are_forgotten() {
        let (_spool, mut folder) = folder();
        folder.limit(1);
        let finish = |folder: &WeightsFolder, attempt: AttemptKey| {
            fs::write(folder.place(&attempt.to_string()), some_weights()).unwrap();
            folder.finish(&attempt.to_string(), By::Trainer)
        };
        let [first, second, third] = [1, 2, 3].map(|job| AttemptKey::new(1, job, 1));
        let weights = finish(&folder, first);
        let more = finish(&folder, second);
        assert!(!folder.is_full(), "no coordinator accepts weights of an unreported end");
        folder.count(first, &weights);
        folder.count(first, &weights);
        folder.count(second, &more);
        assert!(folder.is_full());
        folder.waiting().unwrap().iter().for_each(|file| folder.forget(file));
        assert!(!folder.is_full());
        // Those of an attempt that does not count go before its end is heard.
        let weights = finish(&folder, third);
        folder.waiting().unwrap().iter().for_each(|file| folder.forget(file));
        folder.count(third, &weights);
        assert!(!folder.is_full());
    }

    #[test]
    fn what_is_no_file_of_weights_is_refused_with_a_reason_and_takes_up_no_room() {
        let (spool, folder) = folder();
        let absent_of = |folder: &WeightsFolder, by: By| match folder.finish("1/1#1", by) {
            Weights::Absent(reason) => reason,
            found @ Weights::File { .. } => panic!("{found:?}"),
        };
        let absent = |folder: &WeightsFolder| absent_of(folder, By::Trainer);
        assert!(absent(&folder).contains("trainer wrote none"));
        let told = absent_of(&folder, By::Program);
        assert!(told.contains("SWEEP_OUTPUT_DIR") && !told.contains("weights"), "{told}");
        for content in [&b""[..], b"\x80\x04pickle", &[0xff; 32], b"\x02\0\0\0\0\0\0\0[]"] {
            fs::write(folder.place("1/1#1"), content).unwrap();
            assert!(absent(&folder).contains("not a .safetensors file"), "{content:?}");
        }
        std::os::unix::fs::symlink("/etc/passwd", folder.place("1/1#1")).unwrap();
        assert!(absent(&folder).contains("is not a file"));
        assert_eq!(fs::read_dir(spool.path().join("weights")).unwrap().count(), 0);
    }

    #[test]
    fn an_archive_of_files_waits_as_weights_do_and_a_torn_one_is_refused() {
        let (_spool, folder) = folder();
        let index = OutputIndex::default();
        let archive = [index.head(), terms::outputs::end()].concat();
        fs::write(folder.place("1/1#1"), &archive).unwrap();
        assert!(
            matches!(folder.finish("1/1#1", By::Program), Weights::File { bytes, .. } if bytes == archive.len() as u64)
        );
        fs::write(folder.place("1/2#1"), &archive[..archive.len() - 1]).unwrap();
        assert!(
            matches!(folder.finish("1/2#1", By::Program), Weights::Absent(reason) if reason.contains("torn"))
        );
    }

    #[test]
    fn only_names_of_finished_files_are_believed() {
        let hash = "a".repeat(64);
        assert!(parse(Path::new(&format!("1-2-3.{hash}.safetensors"))).is_some());
        for name in ["1-2-3.safetensors", "1-2.x.safetensors", "events", "1-2-3-4.x.safetensors"] {
            assert_eq!(parse(Path::new(&name.replace('x', &hash))), None, "{name}");
        }
    }
}
