//! What a disk holds, and what it may hold after a cut.

use std::collections::{BTreeMap, HashMap};

use super::Call;
use crate::Random;

/// Sector sizes: a disk writes a sector whole.
const SECTORS: [usize; 2] = [512, 4_096];

/// A folder on a disk: what is certainly on it, and what was done since.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<File>,
    /// The file that a program sees under each name.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// What was done to names since the folder was synced.
    name_changes: Vec<NameChange>,
    /// Where the next write goes that gives no offset.
    cursors: HashMap<usize, u64>,
}

#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    changes: Vec<Change>,
    length: u64,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Resize(usize),
}

#[derive(Debug)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

impl Disk {
    /// Applies a program's call.
    pub(super) fn apply(&mut self, call: &Call) {
        match call {
            Call::Open { name, empties } => self.open(name, *empties),
            Call::Write { name, at, data } => {
                let Some(id) = self.names.get(name).copied() else { return };
                let at = at.unwrap_or_else(|| self.cursors.get(&id).copied().unwrap_or_default());
                self.cursors.insert(id, at + data.len() as u64);
                let file = &mut self.files[id];
                file.length = file.length.max(at + data.len() as u64);
                file.changes.push(Change::Write { at: bytes(at), data: data.clone() });
            }
            Call::Resize { name, length } => {
                let Some(id) = self.names.get(name).copied() else { return };
                self.files[id].length = *length;
                self.files[id].changes.push(Change::Resize(bytes(*length)));
            }
            Call::Sync { name } => {
                let Some(id) = self.names.get(name).copied() else { return };
                let file = &mut self.files[id];
                for change in std::mem::take(&mut file.changes) {
                    change.apply(&mut file.synced);
                }
            }
            Call::SyncFolder => {
                self.synced_names.clone_from(&self.names);
                self.name_changes.clear();
            }
            Call::Rename { from, to } => {
                if let Some(id) = self.names.remove(from) {
                    self.names.insert(to.clone(), id);
                    // One step: before it the other name exists, and after it this one.
                    self.name_changes.push(NameChange::Set(to.clone(), id));
                    self.name_changes.push(NameChange::Remove(from.clone()));
                }
            }
            Call::Remove { name } => {
                self.names.remove(name);
                self.name_changes.push(NameChange::Remove(name.clone()));
            }
            Call::Mark(_) => {}
        }
    }

    fn open(&mut self, name: &str, empties: bool) {
        let id = match self.names.get(name) {
            Some(id) => *id,
            None => {
                self.files.push(File::default());
                let id = self.files.len() - 1;
                self.names.insert(name.to_owned(), id);
                self.name_changes.push(NameChange::Set(name.to_owned(), id));
                id
            }
        };
        self.cursors.insert(id, 0);
        if empties && self.files[id].length > 0 {
            self.files[id].length = 0;
            self.files[id].changes.push(Change::Resize(0));
        }
    }

    /// One of the states that a cut may leave now.
    pub(super) fn cut(&self, random: &mut Random) -> Vec<(String, Vec<u8>)> {
        let mut names = self.synced_names.clone();
        let kept = bytes(random.below(self.name_changes.len() as u64 + 1));
        for change in &self.name_changes[..kept] {
            match change {
                NameChange::Set(name, id) => drop(names.insert(name.clone(), *id)),
                NameChange::Remove(name) => drop(names.remove(name)),
            }
        }
        names.into_iter().map(|(name, id)| (name, self.files[id].cut(random))).collect()
    }
}

impl File {
    /// One of the contents that a cut may leave.
    fn cut(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.synced.clone();
        let sector = SECTORS[bytes(random.below(SECTORS.len() as u64))];
        // From nothing of what was not synced, through mixtures, to everything.
        let kept_of_eight = [0, 1, 4, 7, 8][bytes(random.below(5))];
        for change in &self.changes {
            match change {
                Change::Write { at, data } => {
                    let mut from = 0;
                    while from < data.len() {
                        let to = ((at + from) / sector * sector + sector - at).min(data.len());
                        if random.below(8) < kept_of_eight {
                            write(&mut content, at + from, &data[from..to]);
                        }
                        from = to;
                    }
                }
                Change::Resize(_) => {
                    if random.below(8) < kept_of_eight {
                        change.apply(&mut content);
                    }
                }
            }
        }
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => write(content, *at, data),
            Self::Resize(length) => content.resize(*length, 0),
        }
    }
}

/// What was never written reads as zeros.
fn write(content: &mut Vec<u8>, at: usize, data: &[u8]) {
    if content.len() < at + data.len() {
        content.resize(at + data.len(), 0);
    }
    content[at..at + data.len()].copy_from_slice(data);
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).expect("files of a test fit into memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_call(at: u64, byte: u8, length: usize) -> Call {
        Call::Write { name: "f".into(), at: Some(at), data: vec![byte; length] }
    }

    fn disk(calls: &[Call]) -> Disk {
        let mut disk = Disk::default();
        calls.iter().for_each(|call| disk.apply(call));
        disk
    }

    #[test]
    fn what_was_synced_is_there_and_of_the_rest_any_whole_sectors() {
        let open = Call::Open { name: "f".into(), empties: false };
        let sync = Call::Sync { name: "f".into() };
        let disk = disk(&[open, write_call(0, 1, 1_024), sync, Call::SyncFolder, write_call(0, 2, 1_536)]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let files = disk.cut(&mut Random(seed));
            let [(name, content)] = files.as_slice() else { panic!("{files:?}") };
            assert_eq!(name, "f");
            assert!(content.len() == 1_024 || content.len() == 1_536);
            assert!(content.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert(content.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>());
        }
        for state in [vec![1, 1], vec![2, 1], vec![1, 2], vec![1, 1, 2], vec![2, 2, 2], vec![2, 1, 2]] {
            assert!(seen.contains(&state), "{state:?} of {seen:?}");
        }
        assert!(seen.iter().all(|state| state.iter().all(|byte| [1, 2].contains(byte))));
    }

    #[test]
    fn a_rename_that_was_not_synced_may_be_there_but_never_neither_name() {
        let calls = [
            Call::Open { name: "new".into(), empties: true },
            Call::Write { name: "new".into(), at: None, data: vec![7] },
            Call::Sync { name: "new".into() },
            Call::SyncFolder,
            Call::Rename { from: "new".into(), to: "f".into() },
        ];
        let disk = disk(&calls);
        for seed in 0..20 {
            let files = disk.cut(&mut Random(seed));
            assert!(!files.is_empty() && files.iter().all(|(_, content)| content == &[7]), "{files:?}");
        }
    }
}
