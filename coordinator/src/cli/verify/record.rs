//! A job as the coordinator has it: its numbers, how it ended, and on what it was trained.

use proto::v1;
use terms::count;

use super::training::is_gpu;
use crate::cli::{client::Target, failure::Failure, tables::job_state_name};

/// A job as it is recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) sweep: v1::Sweep,
    pub(super) job: v1::Job,
    pub(super) epochs: Vec<v1::EpochRecord>,
    /// Who trained the last of them, and on which device.
    pub(super) worker: String,
    pub(super) device: String,
}

impl Recorded {
    pub(super) async fn read(sweep_id: u64, job: u64, target: &Target) -> Result<Self, Failure> {
        let request = v1::GetSweepRequest { sweep_id };
        let sweep = target.call(async |client| client.get_sweep(request).await).await?;
        let request = v1::GetJobRequest { sweep_id, job };
        let v1::JobDetail { job, attempts, epochs, .. } =
            target.call(async |client| client.get_job(request).await).await?;
        let job = job.ok_or_else(|| Failure::operation("the coordinator's answer holds no job"))?;
        let last = epochs.last().map(|row| row.attempt);
        let attempt = attempts.iter().find(|attempt| Some(attempt.attempt) == last);
        let attempt = attempt.cloned().unwrap_or_default();
        match taken_over_from_elsewhere(&attempts, &attempt) {
            Some(before) => Err(Failure::operation(format!(
                "the job was trained on {} and then on {}: no device gives the numbers of both",
                before.device, attempt.device
            ))),
            None => Ok(Self {
                epochs: epochs.into_iter().filter_map(|row| row.record).collect(),
                worker: attempt.worker,
                device: attempt.device,
                sweep,
                job,
            }),
        }
    }

    /// How many epochs are compared, and whether the job has to end after them as it did.
    pub(super) fn extent(&self, name: &str, wanted: Option<u32>) -> Result<(u32, bool), Failure> {
        let state = self.job.state();
        let epochs = u32::try_from(self.epochs.len()).unwrap_or(u32::MAX);
        if matches!(state, v1::JobState::Pending | v1::JobState::Running | v1::JobState::Unspecified) {
            let state = job_state_name(state);
            return Err(Failure::operation(format!("job {name} is {state}; verify it once it has ended")));
        }
        if epochs == 0 {
            let state = job_state_name(state);
            return Err(Failure::operation(format!(
                "job {name} is {state} and has no epoch that could be compared; see `sweep show {name}`"
            )));
        }
        match wanted {
            Some(wanted) if wanted > epochs => Err(Failure::operation(format!(
                "job {name} has {}, not the {wanted} of --epochs",
                count(epochs.into(), "epoch")
            ))),
            Some(wanted) if wanted < epochs => Ok((wanted, false)),
            // Early stopping and users end jobs, too.
            _ => Ok((epochs, matches!(state, v1::JobState::Done | v1::JobState::Diverged))),
        }
    }
}

/// The attempt on another kind of device whose epochs the attempt `last` took over, by itself or by way of others.
fn taken_over_from_elsewhere<'a>(attempts: &'a [v1::Attempt], last: &v1::Attempt) -> Option<&'a v1::Attempt> {
    let mut needs_earlier = last.resumed_epochs > 0;
    for before in attempts.iter().rev().filter(|before| before.attempt < last.attempt) {
        // An attempt that never began says nothing of those before it.
        let cannot = matches!(before.state(), v1::AttemptState::Rejected | v1::AttemptState::Unavailable);
        if cannot || before.began == Some(false) {
            continue;
        }
        if !needs_earlier {
            return None;
        }
        if is_gpu(&before.device) != is_gpu(&last.device) {
            return Some(before);
        }
        needs_earlier = before.resumed_epochs > 0;
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn recorded(state: v1::JobState, epochs: u32) -> Recorded {
        let record = |epoch| v1::EpochRecord { epoch, train_loss: 0.5, ..v1::EpochRecord::default() };
        Recorded {
            sweep: v1::Sweep { sweep_id: 3, ..v1::Sweep::default() },
            job: v1::Job { state: state.into(), ..v1::Job::default() },
            epochs: (1..=epochs).map(record).collect(),
            worker: "one".into(),
            device: "cpu".into(),
        }
    }

    #[test]
    fn a_job_is_trained_as_far_as_it_was_and_to_its_end_where_it_has_one_of_its_own() {
        use v1::JobState::{Cancelled, Diverged, Done, Paused, Pending, Running, Stopped};
        for (state, wanted, expected) in [
            (Done, None, Some((3, true))),
            (Diverged, Some(3), Some((3, true))),
            (Done, Some(2), Some((2, false))),
            (Stopped, None, Some((3, false))),
            (Paused, None, Some((3, false))),
            (Cancelled, None, Some((3, false))),
            (Done, Some(4), None),
            (Running, None, None),
            (Pending, None, None),
        ] {
            let found = recorded(state, 3).extent("3/14", wanted);
            assert_eq!(found.ok(), expected, "{state:?} {wanted:?}");
        }
        let none = recorded(v1::JobState::Failed, 0).extent("3/14", None).unwrap_err().to_string();
        assert!(none.contains("is failed and has no epoch"), "{none}");
    }

    #[test]
    fn only_attempts_whose_epochs_were_taken_over_count_as_trained_elsewhere() {
        use v1::AttemptState::{Done, Lost, Rejected};
        let found = |given: &[(&str, u32, v1::AttemptState)]| {
            let attempt =
                |(number, (device, resumed_epochs, state)): (u32, &(&str, u32, v1::AttemptState))| {
                    v1::Attempt {
                        attempt: number,
                        device: (*device).to_owned(),
                        resumed_epochs: *resumed_epochs,
                        state: (*state).into(),
                        ..v1::Attempt::default()
                    }
                };
            let attempts: Vec<_> = (1..).zip(given).map(attempt).collect();
            taken_over_from_elsewhere(&attempts, attempts.last().unwrap()).map(|attempt| attempt.attempt)
        };
        assert_eq!(found(&[("cpu", 0, Lost), ("cuda:0", 0, Done)]), None, "it began again");
        assert_eq!(found(&[("cpu", 0, Lost), ("cuda:0", 2, Done)]), Some(1));
        assert_eq!(found(&[("cpu", 0, Lost), ("cuda:0", 0, Lost), ("cuda:1", 2, Done)]), None);
        assert_eq!(found(&[("cpu", 0, Lost), ("cuda:0", 1, Lost), ("cuda:1", 2, Done)]), Some(1));
        assert_eq!(found(&[("cpu", 0, Lost), ("cuda:0", 0, Rejected), ("cpu", 2, Done)]), None);
        assert_eq!(found(&[("cpu", 0, Lost), ("cuda:0", 0, Rejected), ("cuda:0", 2, Done)]), Some(1));
        let with = |began: Option<bool>| {
            let attempt = |attempt, device: &str, resumed_epochs, began| v1::Attempt {
                attempt,
                device: device.to_owned(),
                resumed_epochs,
                began,
                state: Lost.into(),
                ..v1::Attempt::default()
            };
            let attempts = [
                attempt(1, "cpu", 0, Some(true)),
                attempt(2, "cuda:0", 0, began),
                attempt(3, "cuda:0", 2, Some(true)),
            ];
            taken_over_from_elsewhere(&attempts, &attempts[2]).map(|attempt| attempt.attempt)
        };
        assert_eq!(with(Some(false)), Some(1), "lost before it began");
        assert_eq!((with(Some(true)), with(None)), (None, None));
    }
}
