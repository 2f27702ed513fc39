//! Checkpoints of a group's members: kept when they are asked for, written, and removed.

use std::io::Write;

use tch::TchError;
use trainer_protocol::FromTrainer;

use super::{
    super::{
        checkpoint,
        members::{Member, State},
        pack::Pack,
        training::Snapshot,
    },
    Group, Trouble,
};

impl<W: Write + Send> Group<'_, '_, W> {
    /// Keeps checkpoints of the members of which one was asked for, within their epoch where they are there, and says of those that
    /// were written that they are, once all are: whoever asks may not be there for long.
    pub(super) fn keep_as_asked(&mut self, members: &[Member<'_>], pack: &Pack<'_>) -> Result<(), Trouble> {
        let asked = std::mem::take(&mut self.conversation.to_keep);
        let mut kept = Vec::new();
        for member in members.iter().filter(|member| asked.contains(member.id())) {
            let Some(plan) = &member.request.checkpoints else { continue };
            match &member.state {
                State::Training(index) => self.keep(member, &pack.snapshot(*index)?)?,
                State::Waiting(Some(snapshot)) => self.keep(member, snapshot)?,
                State::Waiting(None) | State::Ended => continue,
            }
            kept.push((member.id().to_owned(), plan));
        }
        let Some(store) = self.conversation.checkpoints.as_mut().filter(|_| !kept.is_empty()) else {
            return Ok(());
        };
        store.flush();
        // Of one that could not be written, the store has said why.
        kept.retain(|(_, plan)| store.has_kept(plan));
        for (id, _) in kept {
            self.conversation.output.send(&FromTrainer::Kept { id })?;
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, member: &Member<'_>, snapshot: &Snapshot) -> Result<(), TchError> {
        let (Some(store), Some(plan)) = (&mut self.conversation.checkpoints, &member.request.checkpoints)
        else {
            return Ok(());
        };
        let bytes = checkpoint::encode(&member.identity, snapshot)?;
        let (epoch, images_done) = (snapshot.position.epoch, snapshot.position.images_done);
        // A sign of life: a pack writes hundreds of them, and a disk may be slow.
        let hint = FromTrainer::Progress {
            id: member.id().to_owned(),
            epoch: epoch.min(member.config.epochs),
            fraction: 0.0,
            validating: false,
        };
        // If the agent is gone, the next important line notices it.
        let mut waits = || drop(self.conversation.output.hint(&hint));
        waits();
        store.write(plan, epoch, images_done, bytes, &mut waits);
        Ok(())
    }

    pub(super) fn remove_checkpoints(&mut self, member: &Member<'_>) {
        if let (Some(store), Some(plan)) = (&mut self.conversation.checkpoints, &member.request.checkpoints) {
            store.remove(plan);
        }
    }
}
