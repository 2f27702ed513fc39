//! What is brought from the coordinator before jobs begin: files of users' programs, and checkpoints that were handed over.

use std::sync::Arc;

use terms::AttemptKey;

use super::super::{
    handovers::HandedOver,
    session::types::Work,
    snapshots::{AttemptFolder, Snapshots, Unavailable},
};

/// What may be brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bringing {
    /// Files of users' programs, where those may be run.
    pub(crate) snapshots: Option<Arc<Snapshots>>,
    /// Checkpoints, where they are kept on this machine alone.
    pub(crate) handed_over: Option<Arc<HandedOver>>,
}

/// Jobs whose files are there, and their folders until a trainer has the jobs.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) jobs: Vec<(AttemptKey, Work)>,
    pub(super) folders: Vec<AttemptFolder>,
}

impl Bringing {
    /// Whether there may be something to bring for any of these jobs. The first attempt of a job has no checkpoint before it.
    pub(super) fn is_needed(&self, jobs: &[(AttemptKey, Work)]) -> bool {
        let has_files = self.snapshots.is_some() && jobs.iter().any(|(_, work)| work.files.is_some());
        has_files || jobs.iter().any(|(attempt, work)| self.checkpoint_key(*attempt, work).is_some())
    }

    fn checkpoint_key<'a>(&self, attempt: AttemptKey, work: &'a Work) -> Option<&'a str> {
        let may_have = self.handed_over.is_some() && attempt.attempt > 1;
        work.checkpoints.as_ref().filter(|_| may_have).map(|plan| plan.key.as_str())
    }

    /// Brings the files of jobs, each into a folder of its own; of those that cannot be had, their program hears why. Then what they
    /// go on from.
    pub(super) async fn bring(self, mut jobs: Vec<(AttemptKey, Work)>) -> Brought {
        let mut folders = Vec::new();
        for (attempt, work) in &mut jobs {
            let wanted = work.files.zip(work.program.as_mut()).zip(self.snapshots.as_ref());
            let Some(((id, program), snapshots)) = wanted else { continue };
            match snapshots.folder_for(*attempt, id).await {
                Ok(folder) => {
                    program.folder = Some(folder.path().to_owned());
                    folders.push(folder);
                }
                Err(Unavailable(reason)) => program.missing = Some(reason),
            }
        }
        let key = |(attempt, work): &(AttemptKey, Work)| {
            self.checkpoint_key(*attempt, work).map(|key| (*attempt, key.to_owned()))
        };
        let wanted: Vec<_> = jobs.iter().filter_map(key).collect();
        if let Some(handed_over) = self.handed_over.filter(|_| !wanted.is_empty()) {
            handed_over.bring_all(wanted).await;
        }
        Brought { jobs, folders }
    }
}
