//! `sweep verify SWEEP/JOB`: a job trained again on this machine, and its numbers compared with the recorded ones.

use domain::specification::{Program, Resources};
use proto::v1;
use serde_json::{Value, json};
use terminal::{output::say, text};
use terms::{DatasetSummary, count, manifest::ShareOf};

use super::{
    Again,
    alone::{Alone, alone},
    compare::{Comparison, IMAGES_APART, Tolerance},
    record::Recorded,
    training::{Expected, Plan, Trained, is_gpu, train},
    undecided,
};
use crate::cli::{
    client::Target,
    failure::Failure,
    output::{Format, print, print_json},
    tables::job_state_name,
};

/// How far values may be apart on a GPU where the command line does not say it: a rule of thumb, as nothing bounds what the order of
/// additions comes to after many steps.
const TOLERANCE_ON_GPU: f64 = 0.02;

/// How far values may be apart on a CPU in the first epoch that differs, where another kind of CPU may be all there is to it: additions in
/// another order change the last of seven digits, and an epoch's steps make more of that. What else is another result differs by more.
const ROUNDING_ON_CPU: f64 = 1e-5;

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

/// What came of it.
#[derive(Debug)]
struct Verified {
    name: String,
    recorded: Recorded,
    comparison: Comparison,
    tolerance: f64,
    /// Whether the tolerance is the rule of thumb, so that a difference is no verdict.
    is_rule_of_thumb: bool,
    /// Whether the differences are no more than what another kind of CPU gives: the record does not say which kind it was.
    may_be_rounding: bool,
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
    let alone = alone(&recorded.sweep, job, parameters, &again.images)?;
    if let Some(program) = alone.specification.trainable.program().filter(|_| !again.allow_commands) {
        return Err(unasked(&name, program));
    }
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
    let is_on_gpu = is_gpu(&recorded.device);
    let share = again.tolerance.unwrap_or(if is_on_gpu { TOLERANCE_ON_GPU } else { 0.0 });
    let images = recorded.sweep.dataset.as_ref().map_or(0, |dataset| dataset.val_images);
    let and_images = |share: f64| Tolerance::from(share).and_images(shares_of_images(&alone), images);
    let tolerance = if is_on_gpu { and_images(share) } else { share.into() };
    let compared = |epochs, tolerance: &Tolerance| {
        Comparison::of(&recorded.epochs, &computed, &metrics, epochs, tolerance)
    };
    let comparison = compared(epochs, &tolerance);
    let is_near = |(epoch, _)| compared(epoch, &and_images(ROUNDING_ON_CPU)).differing == 0;
    let may_be_rounding = !is_on_gpu && again.tolerance.is_none() && comparison.first().is_some_and(is_near);
    Ok(Verified {
        comparison,
        may_be_rounding,
        is_rule_of_thumb: is_on_gpu && again.tolerance.is_none(),
        device: detail.attempts.last().map(|attempt| attempt.device.clone()).unwrap_or_default(),
        state: found.state(),
        name,
        recorded,
        tolerance: share,
        ends_alike,
    })
}

/// Why a program is not run: whoever submitted the sweep wrote it, and not whoever verifies it.
fn unasked(name: &str, program: &Program) -> Failure {
    let command = match &program.program {
        Some(script) if program.command.is_empty() => vec![script.clone()],
        _ => program.command.clone(),
    };
    let env = program.env.iter().map(|(name, value)| format!("{name}={value}"));
    let words: Vec<String> = env.chain(command).map(|word| format!("{word:?}")).collect();
    Failure::operation(format!(
        "job {name} is one of a program, which whoever submitted the sweep wrote, and which would run here with all rights of your \
         account: {}; with --allow-commands it is run",
        text::line(&words.join(" "))
    ))
}

/// The metrics that are shares of the validation images, as the model's manifest says.
fn shares_of_images(alone: &Alone) -> Vec<String> {
    let metrics = alone.specification.trainable.model().into_iter().flat_map(|model| &model.metrics);
    let shares = metrics.filter(|metric| metric.share_of == Some(ShareOf::ValidationImages));
    shares.map(|metric| metric.name.clone()).collect()
}

impl Verified {
    fn is_same(&self) -> bool {
        self.comparison.differing == 0 && !self.ends_otherwise()
    }

    fn ends_otherwise(&self) -> bool {
        self.ends_alike && self.state != self.recorded.job.state()
    }

    /// Whether a difference is none that could be told from what a processor does.
    fn is_undecided(&self) -> bool {
        self.is_rule_of_thumb || (self.may_be_rounding && !self.ends_otherwise())
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
                share => format!("within {share} of each{}", self.by_images()),
            };
            lines.push(format!(
                "job {name} comes out the same: {} of {} are equal {how}",
                count(comparison.values, "value"),
                count(comparison.epochs.into(), "epoch")
            ));
        }
        lines.join("\n") + "\n"
    }

    /// How many values are equal by nothing but a few images.
    fn by_images(&self) -> String {
        let Comparison { by_images, images, .. } = self.comparison;
        let are = if by_images == 1 { "is" } else { "are" };
        match by_images {
            0 => String::new(),
            some => format!(
                " or, of shares of {}, by at most {IMAGES_APART} of them, as {} {are}",
                count(images, "image"),
                count(some, "value")
            ),
        }
    }

    fn object(&self) -> Value {
        let Self { recorded, comparison, tolerance, device, .. } = self;
        // Where it was not to train to its end, it was stopped.
        let state = self.ends_alike.then(|| job_state_name(self.state));
        json!({
            "sweep": recorded.sweep.sweep_id,
            "job": recorded.job.point.as_ref().map(|point| point.job),
            "same": (self.is_same() || !self.is_undecided()).then(|| self.is_same()),
            "epochs": comparison.epochs,
            "values": comparison.values,
            "differing": comparison.differing,
            "by_images": comparison.by_images,
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
        if self.is_rule_of_thumb {
            return Err(Failure::Undecided(format!(
                "job {} differs by more than a GPU usually does: {differing} of {} by more than {} of the larger one{first}; it was trained \
                 by worker {} on {}. Nothing bounds what the order of additions comes to there: --tolerance says how far apart is another \
                 result",
                self.name,
                count(*values, "value"),
                self.tolerance,
                self.recorded.worker,
                self.recorded.device,
            )));
        }
        let differ = format!(
            "{differing} of {} differ{first}; it was trained by worker {} on {}",
            count(*values, "value"),
            self.recorded.worker,
            self.recorded.device
        );
        if self.is_undecided() {
            return Err(Failure::Undecided(format!(
                "job {} does not come out the same to the bit here: {differ}. They begin to differ by no more than what a CPU of another kind \
                 than that one gives by rounding, and the record does not say of which kind it was: on one of the same kind it is another \
                 result, and --tolerance 0 says that it is one",
                self.name
            )));
        }
        // A GPU has its tolerance here, and no kind of its own.
        let kinds = match is_gpu(&self.recorded.device) {
            true => "",
            false => "; on a CPU of another kind than that one, the last bits may differ",
        };
        Err(Failure::operation(format!(
            "job {} does not come out the same: {differ}. Numbers are equal on processors of one kind, by one version of what trains, and where \
             a program reads nothing but its parameters and files{kinds}",
            self.name
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::tests::recorded, *};

    #[test]
    fn values_that_are_equal_by_a_few_images_are_counted_and_said_to_be() {
        let epochs = |accuracy: f64| {
            let value = |name: &str, value| v1::MetricValue { name: name.to_owned().into(), value };
            vec![v1::EpochRecord {
                epoch: 1,
                metrics_are_named: true,
                metrics: vec![value("loss", 0.5), value("accuracy", accuracy)],
                ..v1::EpochRecord::default()
            }]
        };
        let metrics = ["loss", "accuracy"].map(str::to_owned);
        let tolerance = Tolerance::from(0.02).and_images(vec!["accuracy".to_owned()], 100);
        let verified = |here| Verified {
            name: "3/14".into(),
            comparison: Comparison::of(&epochs(0.5), &epochs(here), &metrics, 1, &tolerance),
            tolerance: 0.02,
            is_rule_of_thumb: true,
            may_be_rounding: false,
            device: "cuda".into(),
            state: v1::JobState::Done,
            ends_alike: true,
            recorded: recorded(v1::JobState::Done, 1),
        };
        let by_images = verified(0.47);
        let said = "job 3/14 comes out the same: 2 values of 1 epoch are equal within 0.02 of each or, of shares of 100 images, by at most 3 \
                    of them, as 1 value is\n";
        assert_eq!((by_images.words().as_str(), &by_images.object()["by_images"]), (said, &json!(1)));
        let near = verified(0.495);
        assert!(near.words().ends_with("are equal within 0.02 of each\n") && near.object()["by_images"] == 0);
    }

    #[test]
    fn a_job_that_ends_otherwise_is_not_the_same() {
        let recorded = recorded(v1::JobState::Done, 1);
        let metrics = ["train_loss".to_owned()];
        let comparison = Comparison::of(&recorded.epochs, &recorded.epochs, &metrics, 1, &0.0.into());
        let verified = |state| Verified {
            name: "3/14".into(),
            comparison: Comparison::of(&[], &[], &metrics, 1, &0.0.into()),
            tolerance: 0.0,
            is_rule_of_thumb: false,
            may_be_rounding: false,
            device: "cpu".into(),
            state,
            ends_alike: true,
            recorded: super::super::record::tests::recorded(v1::JobState::Done, 1),
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
        let by_rule = Verified { is_rule_of_thumb: true, ..verified(v1::JobState::Diverged) };
        assert!(matches!(by_rule.verdict(), Err(Failure::Undecided(said)) if said.contains("--tolerance")));
        assert_eq!(by_rule.object()["same"], Value::Null);
        let same = Verified { is_rule_of_thumb: true, ..verified(v1::JobState::Done) };
        assert!(same.verdict().is_ok() && same.object()["same"] == json!(true));
        let by_rounding = Verified { may_be_rounding: true, ..verified(v1::JobState::Diverged) };
        assert!(matches!(by_rounding.verdict(), Err(Failure::Operation(_))), "no rounding ends a job");
    }
}
