//! The members of a group of jobs, and which of them train next. Jobs that were interrupted at different places train
//! until they are at the same place, those furthest behind first; from then on they train as one pack.

use trainer_protocol::{DatasetSpec, TrainJob};

use super::{
    config::TrainingConfig,
    training::{Place, Snapshot},
};

/// One job of a request.
pub(super) struct Job<'a> {
    pub(super) request: &'a TrainJob,
    pub(super) config: TrainingConfig,
    pub(super) dataset: &'a DatasetSpec,
}

/// One job of a group.
pub(super) struct Member<'a> {
    pub(super) request: &'a TrainJob,
    pub(super) config: &'a TrainingConfig,
    pub(super) dataset: &'a DatasetSpec,
    /// The identity of its checkpoints.
    pub(super) identity: String,
    pub(super) state: State,
}

pub(super) enum State {
    /// Not in training now; with what it continues from, or nothing for its initial weights.
    Waiting(Option<Snapshot>),
    /// In the current pack, as this member of it.
    Training(usize),
    /// Its end has been reported.
    Ended,
}

impl Member<'_> {
    pub(super) fn id(&self) -> &str {
        &self.request.id
    }

    /// Whether it has trained as far as it is to for now, after this many epochs.
    pub(super) fn is_to_pause_after(&self, epochs: u32) -> bool {
        self.request.until_epoch.is_some_and(|until| (until..self.config.epochs).contains(&epochs))
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Its place in its training; none while the current pack knows it, or once it has ended.
    pub(super) fn waiting_place(&self) -> Option<Place> {
        match &self.state {
            State::Waiting(Some(snapshot)) => Some(snapshot.position.place()),
            State::Waiting(None) => Some(Place::START),
            State::Training(_) | State::Ended => None,
        }
    }
}

/// Which members train next, and how far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Members by their indexes in the group.
    pub(super) members: Vec<usize>,
    /// The place at which others wait for them.
    pub(super) until: Option<Place>,
}

/// Of members at these places, those furthest behind, up to the place of the next.
pub(super) fn next_segment(places: &[Option<Place>]) -> Option<Segment> {
    let behind = places.iter().flatten().min()?;
    let members = (0..places.len()).filter(|&member| places[member].as_ref() == Some(behind)).collect();
    let until = places.iter().flatten().filter(|place| *place > behind).min().copied();
    Some(Segment { members, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(members: &[usize], until: Option<Place>) -> Option<Segment> {
        Some(Segment { members: members.to_vec(), until })
    }

    #[test]
    fn those_furthest_behind_train_until_they_are_as_far_as_the_next() {
        let place = |epoch, images| Some(Place { epoch, images_done: images });
        let cases = [
            (vec![], None),
            (vec![None, None], None),
            (vec![place(1, 0), place(1, 0)], segment(&[0, 1], None)),
            (vec![None, place(2, 64)], segment(&[1], None)),
            (vec![place(3, 0), place(1, 32), place(1, 32)], segment(&[1, 2], place(3, 0))),
            (vec![place(3, 0), place(2, 64), place(2, 32), None], segment(&[2], place(2, 64))),
        ];
        for (places, expected) in cases {
            assert_eq!(next_segment(&places), expected, "{places:?}");
        }
    }
}
