//! What the names of files under a job's key say: which are checkpoints that are named by how far they are, as those of our trainers
//! (epochs, then pictures or checkpoints), and which are not finished.

use std::cmp::Ordering;

/// What unfinished files of object stores have in their names.
const UNFINISHED: char = '#';

/// How names end of files that are renamed once they are whole.
const UNFINISHED_ENDINGS: [&str; 3] = [".new", ".tmp", ".part"];

/// How names of temporary files begin, and of what is kept here besides.
const HIDDEN: char = '.';

/// How far a checkpoint is: the numbers at the beginning of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress<'a>(Vec<&'a str>);

impl<'a> Progress<'a> {
    /// That of a file by its path; none where its name does not begin with numbers and hyphens, or where it is in a folder of its own.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let stem = path.split('.').next()?;
        let is_it = stem.contains('-') && stem.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        is_it.then(|| Self(stem.split('-').map(|number| number.trim_start_matches('0')).collect()))
    }
}

impl Ord for Progress<'_> {
    /// By the first numbers that differ. They may be longer than any integer: the one with more digits is the larger one.
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers =
            |progress: &Self| progress.0.iter().map(|digits| (digits.len(), *digits)).collect::<Vec<_>>();
        numbers(self).cmp(&numbers(other))
    }
}

impl PartialOrd for Progress<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a file or folder with this name is to go with the others.
pub(super) fn is_finished(name: &str) -> bool {
    let is_on_its_way = UNFINISHED_ENDINGS.iter().any(|ending| name.ends_with(ending));
    !name.starts_with(HIDDEN) && !name.contains(UNFINISHED) && !is_on_its_way
}

/// Without the checkpoints that are less far than the furthest, by their names.
pub(super) fn furthest(mut paths: Vec<String>) -> Vec<String> {
    let last = paths.iter().filter(|path| Progress::of(path).is_some());
    let last = last.max_by(|one, other| Progress::of(one).cmp(&Progress::of(other))).cloned();
    let last = last.as_deref().and_then(Progress::of);
    paths.retain(|path| Progress::of(path).is_none_or(|progress| Some(progress) == last));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn furthest_of(paths: &[&str]) -> Vec<String> {
        furthest(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn the_furthest_checkpoint_is_that_of_the_largest_numbers_whatever_their_zeros() {
        assert_eq!(furthest_of(&["9-1.pt", "10-1.pt", "10-0.pt", "state.json"]), ["10-1.pt", "state.json"]);
        assert_eq!(furthest_of(&["0009-1.pt", "10-01.pt", "10-1.json"]), ["10-01.pt", "10-1.json"]);
        assert_eq!(furthest_of(&["99999999999999999999999-1.pt", "100000000000000000000000-1.pt"]).len(), 1);
        // Names that say nothing of how far they are all go: one may need the other.
        let others = ["best-10.pt", "epoch-10.pt", "epoch-9.pt", "folder/1-2.pt", "folder/1-3.pt"];
        assert_eq!(furthest_of(&others), others);
    }

    #[test]
    fn what_is_not_finished_does_not_go() {
        for name in
            [".tmpA1b2C3", ".new-4", ".brought", "1-2.safetensors#3", "state.json.new", "a.tmp", "a.part"]
        {
            assert!(!is_finished(name), "{name}");
        }
        assert!(["1-2.checkpoint", "state.json", "news", "tmp"].iter().all(|name| is_finished(name)));
    }
}
