//! `sweep verify SWEEP/JOB`: a job trained again on this machine, and its numbers compared with the recorded ones.

use domain::specification::Resources;
use proto::v1;
use serde_json::{Value, json};
use terminal::{count, output::say, text};
use terms::DatasetSummary;

use super::{
    Again,
    alone::alone,
    compare::Comparison,
    training::{Expected, Plan, Trained, is_gpu, train},
};
use crate::cli::{
    client::Target,
    failure::Failure,
    output::{Format, print, print_json},
    tables::job_state_name,
};

/// How far values may be apart on a GPU where the command line does not say it.
const TOLERANCE_ON_GPU: f64 = 0.02;

/// Exits with 1 where something differs, and with 2 where that cannot be told.
pub(super) async fn verify(
    again: &Again,
    (sweep, job): (u64, u64),
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    let verified = verified(again, (sweep, job), target).await.map_err(undecided)?;
    match format {
        Format::Json => print_json(&verified.object())?,
        _ => print(&verified.words())?,
    }
    verified.verdict()
}

fn undecided(failure: Failure) -> Failure {
    match failure {
        Failure::Operation(reason) | Failure::Refused(reason) | Failure::Usage(reason) => {
            Failure::Undecided(reason)
        }
        other => other,
    }
}

/// A job as it is recorded.
#[derive(Debug)]
struct Recorded {
    sweep: v1::Sweep,
    job: v1::Job,
    epochs: Vec<v1::EpochRecord>,
    /// Who trained the last of them, and on which device.
    worker: String,
    device: String,
}

/// What came of it.
#[derive(Debug)]
struct Verified {
    name: String,
    recorded: Recorded,
    comparison: Comparison,
    tolerance: f64,
    /// The device here.
    device: String,
    /// How it ended here.
    state: v1::JobState,
    /// Whether it had to end as it did in the record.
    ends_alike: bool,
}

async fn verified(again: &Again, (sweep_id, job): (u64, u64), target: &Target) -> Result<Verified, Failure> {
    let name = format!("{sweep_id}/{job}");
    let recorded = Recorded::read(sweep_id, job, target).await?;
    let (epochs, ends_alike) = recorded.extent(&name, again.epochs)?;
    let parameters = recorded.job.point.clone().unwrap_or_default().parameters;
    let alone = alone(&recorded.sweep, job, parameters, again.dataset.clone())?;
    let slots = Resources::several_gpus(&alone.specification.resources).unwrap_or(1);
    let expected = Expected {
        dataset: recorded.sweep.dataset.clone().map(DatasetSummary::from),
        device: recorded.device.clone(),
    };
    let plan = Plan {
        options: again.options.clone().or_slots(slots),
        epochs: (!ends_alike).then_some(epochs),
        expected,
        from: target,
        alone: &alone,
    };
    say(&format!("job {name} is trained again here: {}", count(epochs.into(), "epoch")));
    let Trained { sweep, detail } = train(&plan).await?;
    let found = detail.job.unwrap_or_default();
    if found.state() == v1::JobState::Failed {
        return Err(Failure::operation(format!("job {name} failed here: {}", found.reason)));
    }
    let computed: Vec<_> = detail.epochs.into_iter().filter_map(|row| row.record).collect();
    let mut metrics = recorded.sweep.metric_names.clone();
    metrics.extend(sweep.metric_names.into_iter().filter(|name| !recorded.sweep.metric_names.contains(name)));
    let tolerance = again.tolerance.unwrap_or(if is_gpu(&recorded.device) { TOLERANCE_ON_GPU } else { 0.0 });
    Ok(Verified {
        comparison: Comparison::of(&recorded.epochs, &computed, &metrics, epochs, tolerance),
        device: detail.attempts.last().map(|attempt| attempt.device.clone()).unwrap_or_default(),
        state: found.state(),
        name,
        recorded,
        tolerance,
        ends_alike,
    })
}

impl Recorded {
    async fn read(sweep_id: u64, job: u64, target: &Target) -> Result<Self, Failure> {
        let request = v1::GetSweepRequest { sweep_id };
        let sweep = target.call(async |client| client.get_sweep(request).await).await?;
        let request = v1::GetJobRequest { sweep_id, job };
        let v1::JobDetail { job, attempts, epochs, .. } =
            target.call(async |client| client.get_job(request).await).await?;
        let job = job.ok_or_else(|| Failure::operation("the coordinator's answer holds no job"))?;
        let last = epochs.last().map(|row| row.attempt);
        let attempt = attempts.iter().find(|attempt| Some(attempt.attempt) == last);
        let attempt = attempt.cloned().unwrap_or_default();
        // Epochs that were taken over from an attempt on another kind of device are its numbers.
        let other = attempts.iter().find(|before| {
            before.attempt < attempt.attempt && is_gpu(&before.device) != is_gpu(&attempt.device)
        });
        match other.filter(|_| attempt.resumed_epochs > 0) {
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
    fn extent(&self, name: &str, wanted: Option<u32>) -> Result<(u32, bool), Failure> {
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

impl Verified {
    fn is_same(&self) -> bool {
        self.comparison.differing == 0 && !self.ends_otherwise()
    }

    fn ends_otherwise(&self) -> bool {
        self.ends_alike && self.state != self.recorded.job.state()
    }

    fn words(&self) -> String {
        let Self { name, recorded, comparison, tolerance, .. } = self;
        let mut lines = comparison.lines();
        if self.ends_otherwise() {
            let (recorded, here) = (job_state_name(recorded.job.state()), job_state_name(self.state));
            lines.push(format!("the job is {recorded} in the record, and {here} here"));
        }
        if self.is_same() {
            let how = match *tolerance {
                0.0 => "to the bit".to_owned(),
                share => format!("within {share} of each"),
            };
            lines.push(format!(
                "job {name} comes out the same: {} of {} are equal {how}",
                count(comparison.values, "value"),
                count(comparison.epochs.into(), "epoch")
            ));
        }
        lines.join("\n") + "\n"
    }

    fn object(&self) -> Value {
        let Self { recorded, comparison, tolerance, device, .. } = self;
        // Where it was not to train to its end, it was stopped.
        let state = self.ends_alike.then(|| job_state_name(self.state));
        json!({
            "sweep": recorded.sweep.sweep_id,
            "job": recorded.job.point.as_ref().map(|point| point.job),
            "same": self.is_same(),
            "epochs": comparison.epochs,
            "values": comparison.values,
            "differing": comparison.differing,
            "differences": comparison.named(),
            "tolerance": tolerance,
            "recorded": {"worker": recorded.worker, "device": recorded.device, "state": job_state_name(recorded.job.state())},
            "here": {"device": device, "state": state},
        })
    }

    fn verdict(&self) -> Result<(), Failure> {
        if self.is_same() {
            return Ok(());
        }
        let Comparison { values, differing, .. } = &self.comparison;
        let first = self.comparison.first().map_or(String::new(), |(epoch, metric)| {
            format!(", the first in epoch {epoch}, {}", text::line(metric))
        });
        Err(Failure::operation(format!(
            "job {} does not come out the same: {differing} of {} differ{first}; it was trained by worker {} on {}. Numbers are equal \
             on processors of one kind, by one version of what trains, and where a program reads nothing but its parameters and files",
            self.name,
            count(*values, "value"),
            self.recorded.worker,
            self.recorded.device,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(state: v1::JobState, epochs: u32) -> Recorded {
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
    fn what_cannot_be_told_has_an_exit_code_of_its_own() {
        let told = undecided(Failure::operation("away"));
        assert!(matches!(told, Failure::Undecided(reason) if reason == "away"));
        assert!(matches!(undecided(Failure::Interrupted), Failure::Interrupted));
    }

    #[test]
    fn a_job_that_ends_otherwise_is_not_the_same() {
        let recorded = recorded(v1::JobState::Done, 1);
        let metrics = ["train_loss".to_owned()];
        let comparison = Comparison::of(&recorded.epochs, &recorded.epochs, &metrics, 1, 0.0);
        let verified = |state| Verified {
            name: "3/14".into(),
            comparison: Comparison::of(&[], &[], &metrics, 1, 0.0),
            tolerance: 0.0,
            device: "cpu".into(),
            state,
            ends_alike: true,
            recorded: self::recorded(v1::JobState::Done, 1),
        };
        assert_eq!((comparison.values, comparison.differing), (1, 0));
        assert!(verified(v1::JobState::Done).verdict().is_ok());
        let other = verified(v1::JobState::Diverged);
        assert!(other.verdict().is_err());
        assert_eq!(other.words(), "the job is done in the record, and diverged here\n");
        assert_eq!(
            (&other.object()["same"], &other.object()["here"]["state"]),
            (&json!(false), &json!("diverged"))
        );
    }
}
