//! The thread that writes a job's checkpoints while it trains. Where they come faster than they are written, only the newest
//! waits. A write that fails costs no more than the work since the checkpoint before.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    archive::{Facts, pack},
    shelf::{Shelf, ShelfError, Tail},
};

/// Where a job's checkpoints come from and go to.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    /// `SWEEP_CHECKPOINT_DIR`.
    pub(crate) folder: PathBuf,
    /// Where archives are put together.
    pub(crate) scratch: PathBuf,
}

/// A checkpoint that is to be written.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The folder within the job's that holds it; absent for all of it.
    pub(crate) part: Option<String>,
    pub(crate) facts: Facts,
    /// Folders of earlier ones, which are removed once this one was read.
    pub(crate) outdated: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest one, and what settles it.
    next: Option<(Snapshot, Option<Tail>)>,
    /// What settles the one that was taken last.
    tail: Option<Tail>,
    is_busy: bool,
    is_ending: bool,
    /// Whether the one that was taken last is written.
    is_written: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(route: Route) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || work(&route, &own))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has a checkpoint written, in place of one that waits.
    pub(crate) fn keep(&self, mut snapshot: Snapshot) {
        let mut state = self.shared.state();
        if let Some((skipped, _)) = state.next.take() {
            snapshot.outdated.extend(skipped.outdated);
        }
        state.next = Some((snapshot, None));
        self.shared.changed.notify_all();
    }

    /// Has written what came after the last checkpoint.
    pub(crate) fn follow(&self, tail: Tail) {
        let mut state = self.shared.state();
        match &mut state.next {
            Some((_, of_next)) => *of_next = Some(tail),
            None => state.tail = Some(tail),
        }
        self.shared.changed.notify_all();
    }

    /// Waits until nothing is left to be written; false where that takes longer than `within`.
    pub(crate) fn wait(&self, within: Duration) -> bool {
        let is_busy = |state: &mut State| state.is_busy || state.next.is_some() || state.tail.is_some();
        let waited = self.shared.changed.wait_timeout_while(self.shared.state(), within, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Whether the newest checkpoint is written: nothing is left to be, and it did not fail.
    pub(crate) fn has_written(&self) -> bool {
        self.wait(Duration::ZERO) && self.shared.state().is_written
    }
}

impl Drop for Keeper {
    /// Waits for what is being written; gives up what is not.
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            (state.next, state.tail, state.is_ending) = (None, None, true);
        }
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// What is to be done next.
enum Task {
    Snapshot(Snapshot),
    Tail(Tail),
}

fn work(route: &Route, shared: &Shared) {
    // How many there were, and the name of the last one that lies there.
    let (mut number, mut written) = (0_u32, None);
    while let Some(task) = next(shared) {
        let done = match task {
            Task::Snapshot(snapshot) => {
                number += 1;
                let Facts { records, reserve, .. } = &snapshot.facts;
                let epochs = records.iter().chain(reserve).last().map_or(0, |record| record.epoch);
                let name = format!("{epochs:010}-{:010}-{number:010}", route.attempt);
                let done = write(route, &name, snapshot);
                written = done.is_ok().then_some(name);
                shared.state().is_written = written.is_some();
                done
            }
            Task::Tail(tail) => match &written {
                Some(name) => route.shelf.write_tail(&route.key, name, &tail),
                None => Ok(()),
            },
        };
        if let Err(error) = done {
            terminal::say!("a checkpoint could not be kept: {error}");
        }
        shared.state().is_busy = false;
        shared.changed.notify_all();
    }
}

fn next(shared: &Shared) -> Option<Task> {
    let mut state = shared.state();
    loop {
        if state.is_ending {
            return None;
        }
        // The tail of the one before is what an attempt falls back on.
        if let Some(tail) = state.tail.take() {
            state.is_busy = true;
            return Some(Task::Tail(tail));
        }
        if let Some((snapshot, tail)) = state.next.take() {
            (state.is_busy, state.tail) = (true, tail);
            return Some(Task::Snapshot(snapshot));
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn write(route: &Route, name: &str, snapshot: Snapshot) -> Result<(), ShelfError> {
    let Snapshot { part, facts, outdated } = snapshot;
    let archive = tempfile::tempfile_in(&route.scratch)?;
    let mut left_out = |what: String| terminal::say!("{what}");
    pack(&route.folder, part.as_deref(), facts, archive.try_clone()?, &mut left_out)?;
    for folder in outdated {
        // It may be gone already.
        let _ = fs::remove_dir_all(route.folder.join(folder));
    }
    route.shelf.write(&route.key, name, archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_could_not_be_written_is_not_said_to_be() {
        let [place, files, made] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir(files.path().join("one")).unwrap();
        let shelf = Arc::new(Shelf::open(place.path().to_str().unwrap()).unwrap());
        let [folder, scratch] = [&files, &made].map(|one| one.path().to_owned());
        let keeper =
            Keeper::start(Route { shelf, key: "1-9/3".to_owned(), attempt: 1, folder, scratch }).unwrap();
        let facts = Facts { identity: String::new(), records: vec![], reserve: vec![], unreported: 1 };
        let write = || {
            let (part, facts) = (Some("one".to_owned()), facts.clone());
            keeper.keep(Snapshot { part, facts, outdated: Vec::new() });
            assert!(keeper.wait(Duration::from_secs(60)));
            keeper.has_written()
        };
        assert!(!keeper.has_written() && write());
        // The folder of its sweep is a file.
        fs::remove_dir_all(place.path().join("1-9")).unwrap();
        fs::write(place.path().join("1-9"), "").unwrap();
        assert!(!write());
        fs::remove_file(place.path().join("1-9")).unwrap();
        assert!(write());
    }
}
