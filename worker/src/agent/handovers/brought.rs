//! A checkpoint that was brought, on its way from the archive to where its trainer looks: it is unpacked into a new folder, which gets
//! its name once it is whole. Until then nothing is touched that lies there, and what is given up is removed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use trainer_protocol::BROUGHT;

use super::{
    archive::{paths_in, unpack},
    names::Progress,
};

/// How names of folders begin in which checkpoints are unpacked. The next start removes those that a crash left.
pub(in crate::agent) const SCRATCH: &str = ".bringing-";

/// In such a folder: the new files, and those whose place they take.
const NEW: &str = "new";
const OLD: &str = "old";

/// Whether what lies in the folder came from the archive with this hash, or was made from it since.
pub(super) fn is_here(folder: &Path, blake3: &str) -> io::Result<bool> {
    match fs::read_to_string(folder.join(BROUGHT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        from => Ok(from? == blake3 && !paths_in(folder)?.is_empty()),
    }
}

/// Files that are whole, and have no name yet. They are removed where they never get one.
#[derive(Debug)]
pub(super) struct Unpacked {
    scratch: TempDir,
    target: PathBuf,
}

impl Unpacked {
    /// Those of an archive, for `target`, a folder below `place`. Where all that lies there are checkpoints that are named by how far they
    /// are, they stay next to the new one: the trainer takes the furthest that it can use.
    ///
    /// # Errors
    /// As of [`unpack`].
    pub(super) fn new(archive: &mut File, blake3: &str, place: &Path, target: PathBuf) -> io::Result<Self> {
        let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(place)?;
        let new = scratch.path().join(NEW);
        fs::create_dir(&new)?;
        unpack(archive, &new)?;
        let here = paths_in(&target)?;
        if here.iter().all(|path| Progress::of(path).is_some()) {
            for path in here.iter().filter(|path| !new.join(path).exists()) {
                let (from, to) = (target.join(path), new.join(path));
                // Not every file system has links.
                fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop))?;
            }
        }
        fs::write(new.join(BROUGHT), blake3)?;
        fs::create_dir_all(target.parent().unwrap_or(place))?;
        Ok(Self { scratch, target })
    }

    /// Gives the files their place. Two renames and no more, so that it needs no other thread, where it would go on although it was given
    /// up. What remains is to be removed.
    ///
    /// # Errors
    /// What was there is there.
    pub(super) fn take_place(self) -> io::Result<TempDir> {
        let Self { scratch, target } = self;
        let old = scratch.path().join(OLD);
        match fs::rename(&target, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        let named = fs::rename(scratch.path().join(NEW), &target);
        if named.is_err() {
            // Where there was nothing, there is nothing to be put back.
            let _ = fs::rename(&old, &target);
        }
        named.map(|()| scratch)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{super::archive::pack, *};

    const KEY: &str = "3-1790000000000/14";

    /// An archive of these files, and its hash.
    fn archive(files: &[(&str, &str)]) -> (File, String) {
        let folder = folder(files);
        let packed = pack(folder.path()).unwrap().unwrap();
        let mut archive = tempfile::tempfile().unwrap();
        archive.write_all(&packed.piece(0, packed.bytes).unwrap()).unwrap();
        (archive, packed.blake3)
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
        folder
    }

    fn read(folder: &Path) -> Vec<(String, String)> {
        let paths = paths_in(folder).unwrap();
        paths.into_iter().map(|path| (path.clone(), fs::read_to_string(folder.join(path)).unwrap())).collect()
    }

    fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    /// What lies under the key where these files do and others are brought.
    fn after(here: &[(&str, &str)], brought: &[(&str, &str)]) -> Vec<(String, String)> {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join(KEY);
        fs::create_dir_all(&target).unwrap();
        here.iter().for_each(|(name, content)| fs::write(target.join(name), content).unwrap());
        let (mut archive, blake3) = archive(brought);
        let unpacked = Unpacked::new(&mut archive, &blake3, place.path(), target.clone()).unwrap();
        assert_eq!(read(&target), owned(here), "nothing is touched before all is whole");
        drop(unpacked.take_place().unwrap());
        assert!(is_here(&target, &blake3).unwrap() && !is_here(&target, "another").unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left");
        read(&target)
    }

    #[test]
    fn what_was_brought_takes_the_place_of_what_another_attempt_left_but_a_further_checkpoint_stays() {
        let brought = [("5-0-2.safetensors", "five")];
        assert_eq!(after(&[], &brought), owned(&brought));
        let further = ("8-0-3.safetensors", "eight");
        assert_eq!(after(&[further], &brought), owned(&[brought[0], further]));
        assert_eq!(after(&[("5-0-2.safetensors", "here")], &brought), owned(&brought));
        let state = [("state.json", "new")];
        assert_eq!(after(&[("best.json", "old"), ("state.json", "old")], &state), owned(&state));
    }

    #[test]
    fn what_was_given_up_is_removed_and_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join(KEY);
        let (mut archive, blake3) = archive(&[("state.json", "old")]);
        let unpacked = Unpacked::new(&mut archive, &blake3, place.path(), target.clone()).unwrap();
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("state.json"), "of a later attempt").unwrap();
        drop(unpacked);
        assert_eq!(read(&target), owned(&[("state.json", "of a later attempt")]));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        // An archive that is none leaves nothing, either.
        let mut none = tempfile::tempfile().unwrap();
        none.write_all(&[7; 2_000]).unwrap();
        assert!(Unpacked::new(&mut none, &blake3, place.path(), target).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_has_lost_its_files_is_brought_again() {
        let here = folder(&[(BROUGHT, "hash")]);
        assert!(!is_here(here.path(), "hash").unwrap());
        fs::write(here.path().join("state.json"), "").unwrap();
        assert!(is_here(here.path(), "hash").unwrap());
    }
}
