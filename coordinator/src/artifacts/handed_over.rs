//! Checkpoints of jobs that workers hand over when they leave: one archive for each job, `handed-over/<sweep>/<job>-<attempt>-<hash>`,
//! which later attempts read. Nothing of them is recorded: their names say all, and whoever begins to lead finds them in their place.
//! They are few and go once their jobs have ended.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use domain::record::WeightsFile;
use terms::{AttemptKey, JobKey, SweepId};

use super::{ABANDONED_AFTER, ArtifactError, Artifacts, PIECE_BYTES_MAX, Taken, place::blocking};

/// The folder.
const FOLDER: &str = "handed-over";

/// Most checkpoints that are kept: the jobs of a large cluster that loses all of its machines at once.
const COUNT_MAX: usize = 1_000;

/// Most bytes of all of them: a thousand of the largest of SimpleCNN at the report's size need a quarter.
const BYTES_MAX: u64 = 64 << 30;

/// What is there, by name, with its length. What another coordinator has written is known once this one leads.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<BTreeMap<String, u64>>);

impl Index {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A checkpoint that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The folder of its sweep's files.
    pub(crate) folder: String,
    pub(crate) attempt: AttemptKey,
    pub(crate) blake3: String,
}

impl Checkpoint {
    fn name(&self) -> String {
        let Self { folder, attempt, blake3 } = self;
        format!("{FOLDER}/{folder}/{}-{}-{blake3}", attempt.job.job, attempt.attempt)
    }

    fn parse(name: &str) -> Option<Self> {
        let (folder, file) = name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
        let sweep: u64 = folder.split_once('-')?.0.parse().ok()?;
        let mut parts = file.split('-');
        let (job, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let blake3 = parts.next().filter(|hash| hash.len() == 64)?.to_owned();
        let job = JobKey { sweep: SweepId(sweep), job };
        Some(Self { folder: folder.to_owned(), attempt: AttemptKey { job, attempt }, blake3 })
    }
}

impl Artifacts {
    /// Why no checkpoint of that length is taken now, where none is.
    pub(crate) fn no_room_for(&self, checkpoint: &Checkpoint, bytes: u64) -> Option<String> {
        let files = self.handed_over.files();
        let of_others = || {
            let is_other = |(name, _): &(&String, &u64)| {
                Checkpoint::parse(name).is_none_or(|one| one.attempt.job != checkpoint.attempt.job)
            };
            files.iter().filter(is_other)
        };
        let (count, sum) = (of_others().count(), of_others().map(|(_, bytes)| bytes).sum::<u64>());
        if count >= COUNT_MAX {
            return Some(format!("{COUNT_MAX} checkpoints are kept already, which is the most"));
        }
        (sum.saturating_add(bytes) > BYTES_MAX)
            .then(|| format!("the checkpoints that are kept already have {sum} of {BYTES_MAX} bytes"))
    }

    /// Receives a piece; keeps the whole, in place of earlier ones of its job.
    ///
    /// # Errors
    /// As of [`Artifacts::take`] and [`Artifacts::keep`].
    pub(crate) async fn take_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        bytes: u64,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Taken, ArtifactError> {
        let name = checkpoint.name();
        if self.handed_over.files().contains_key(&name) {
            return Ok(Taken::Whole);
        }
        let file = WeightsFile { bytes, blake3: checkpoint.blake3.clone() };
        let taken = self.take(&name, &file, offset, data).await?;
        if taken == Taken::Whole {
            self.keep(&name, &file, std::future::ready(())).await?;
            self.handed_over.files().insert(name.clone(), bytes);
            for earlier in self.of_job(&checkpoint.folder, checkpoint.attempt.job).await? {
                // A later attempt may have been handed back meanwhile.
                if earlier.name() != name && earlier.attempt.attempt <= checkpoint.attempt.attempt {
                    self.remove_checkpoint(&earlier).await?;
                }
            }
        }
        Ok(taken)
    }

    /// The furthest checkpoint of a job, if one was handed over, its length, and the piece that begins at `offset`.
    ///
    /// # Errors
    /// The place cannot be read.
    pub(crate) async fn read_checkpoint(
        &self,
        folder: &str,
        job: JobKey,
        offset: u64,
    ) -> Result<Option<(WeightsFile, Vec<u8>)>, ArtifactError> {
        let _call = self.calls.try_acquire().map_err(|_| ArtifactError::TooMany)?;
        let Some(last) = self.of_job(folder, job).await?.pop() else { return Ok(None) };
        let read = self.place.read_piece(&last.name(), offset, PIECE_BYTES_MAX as u64).await?;
        Ok(read.map(|(data, bytes)| (WeightsFile { bytes, blake3: last.blake3 }, data)))
    }

    /// What is there of a job, the last attempt at the end; of one attempt, the one that was written last.
    async fn of_job(&self, folder: &str, job: JobKey) -> Result<Vec<Checkpoint>, ArtifactError> {
        let found = self.place.list_below(&format!("{FOLDER}/{folder}")).await?;
        let mut found: Vec<(u32, SystemTime, Checkpoint)> = found
            .into_iter()
            .filter_map(|file| Some((Checkpoint::parse(&file.name)?, file.modified)))
            .filter(|(one, _)| one.attempt.job == job)
            .map(|(one, modified)| (one.attempt.attempt, modified, one))
            .collect();
        found.sort_by_key(|(attempt, modified, _)| (*attempt, *modified));
        Ok(found.into_iter().map(|(.., one)| one).collect())
    }

    /// Looks what earlier coordinators have taken, and removes what came only in part.
    ///
    /// # Errors
    /// The place cannot be read.
    pub(crate) async fn look_for_checkpoints(&self) -> Result<(), ArtifactError> {
        let mut files = BTreeMap::new();
        for file in self.place.list_below(FOLDER).await? {
            let bytes = self.place.length(&file.name).await?.unwrap_or_default();
            files.insert(file.name, bytes);
        }
        self.handed_over.files().append(&mut files);
        let parts = self.parts.clone();
        let before = SystemTime::now().checked_sub(ABANDONED_AFTER).unwrap_or(SystemTime::UNIX_EPOCH);
        blocking(move || parts.remove_older(&format!("{FOLDER}_"), before)).await
    }

    /// The checkpoints that are kept.
    pub(crate) fn checkpoints(&self) -> Vec<Checkpoint> {
        self.handed_over.files().keys().filter_map(|name| Checkpoint::parse(name)).collect()
    }

    /// Removes a checkpoint that is of no use any more.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn remove_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
        let name = checkpoint.name();
        self.remove(&name).await?;
        self.handed_over.files().remove(&name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(job: u64, attempt: u32, content: &[u8]) -> Checkpoint {
        let attempt = AttemptKey { job: JobKey { sweep: SweepId(3), job }, attempt };
        let blake3 = blake3::hash(content).to_hex().to_string();
        Checkpoint { folder: "3-1790000000000".to_owned(), attempt, blake3 }
    }

    async fn hand_over(artifacts: &Artifacts, checkpoint: &Checkpoint, content: &[u8]) -> Taken {
        let bytes = content.len() as u64;
        artifacts.take_checkpoint(checkpoint, bytes, 0, content.to_vec()).await.unwrap()
    }

    #[tokio::test]
    async fn the_last_checkpoint_of_a_job_takes_the_place_of_others_and_is_found_by_the_next_coordinator() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Artifacts::open(folder.path().to_str().unwrap()).unwrap();
        let artifacts = open();
        let (first, second, other) =
            (checkpoint(1, 1, b"one"), checkpoint(1, 2, b"two"), checkpoint(11, 1, b"other"));
        let read = async |artifacts: &Artifacts, of: &Checkpoint| {
            artifacts.read_checkpoint(&of.folder, of.attempt.job, 1).await.unwrap()
        };
        assert_eq!(read(&artifacts, &first).await, None);
        assert_eq!(hand_over(&artifacts, &first, b"one").await, Taken::Whole);
        assert_eq!(hand_over(&artifacts, &other, b"other").await, Taken::Whole);
        assert_eq!(hand_over(&artifacts, &second, b"two").await, Taken::Whole);
        // Again, as after a broken connection.
        assert_eq!(hand_over(&artifacts, &second, b"two").await, Taken::Whole);
        let next = open();
        next.look_for_checkpoints().await.unwrap();
        for artifacts in [&artifacts, &next] {
            let (file, data) = read(artifacts, &first).await.unwrap();
            assert_eq!((file.bytes, file.blake3, data), (3, second.blake3.clone(), b"wo".to_vec()));
            assert_eq!(artifacts.checkpoints(), [second.clone(), other.clone()]);
        }
        for beyond in [3, u64::MAX] {
            let (file, data) =
                next.read_checkpoint(&first.folder, first.attempt.job, beyond).await.unwrap().unwrap();
            assert_eq!((file.bytes, data), (3, Vec::new()), "{beyond}");
        }
        next.remove_checkpoint(&second).await.unwrap();
        next.remove_checkpoint(&other).await.unwrap();
        assert_eq!(read(&next, &first).await, None);
        assert!(!folder.path().join(FOLDER).join(&first.folder).exists());
    }

    #[tokio::test]
    async fn there_are_not_more_than_so_many_and_a_job_may_always_bring_its_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
        let name = |job| checkpoint(job, 1, b"x").name();
        artifacts.handed_over.files().extend((1..=COUNT_MAX as u64).map(|job| (name(job), 1)));
        let told = artifacts.no_room_for(&checkpoint(5_000, 1, b"y"), 1).unwrap();
        assert!(told.contains("1000 checkpoints are kept already"), "{told}");
        assert_eq!(artifacts.no_room_for(&checkpoint(7, 2, b"y"), 1), None);
        artifacts.handed_over.files().clear();
        artifacts.handed_over.files().insert(name(1), BYTES_MAX - 5);
        assert!(artifacts.no_room_for(&checkpoint(2, 1, b"y"), 6).is_some());
        assert_eq!(artifacts.no_room_for(&checkpoint(2, 1, b"y"), 5), None);
    }

    #[test]
    fn only_names_of_checkpoints_are_understood() {
        let one = checkpoint(1, 2, b"x");
        assert_eq!(Checkpoint::parse(&one.name()), Some(one));
        for name in ["handed-over/3-1/1-2-ab", "handed-over/x/1-2", "weights/3-1/1-2", "handed-over"] {
            assert_eq!(Checkpoint::parse(name), None, "{name}");
        }
    }
}
