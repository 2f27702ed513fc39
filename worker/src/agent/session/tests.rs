//! The session's behaviour, one rule a test. `Bench` feeds inputs and remembers every output; `expect` names all
//! that may have come out, so that nothing else did.

mod coordinator;
mod handing_over;
mod leaving;
mod packs;
mod patience;
mod pauses;
mod programs;
mod several;
mod trainers;

use serde_json::json;

use super::{types::*, *};
use trainer_protocol::{CheckpointPlan, DatasetSpec, DatasetSummary, EpochLine, FromTrainer, TrainerOutcome};

const HEARTBEAT: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(30);

pub(crate) fn attempt(job: u64) -> AttemptKey {
    AttemptKey::new(1, job, 1)
}

pub(crate) fn work() -> Work {
    let parameters = json!({"epochs": 2}).as_object().unwrap().clone();
    let dataset = DatasetSpec {
        path: "train".into(),
        image_size: 64,
        val_fraction: 0.2,
        split_seed: 0,
        val_path: None,
    };
    Work {
        model: "simple_cnn".into(),
        parameters,
        epochs: Some(2),
        dataset: Some(dataset),
        program: None,
        files: None,
        timeout: Some(Duration::from_secs(7200)),
        checkpoints: Some(CheckpointPlan { key: "1-9/1".into(), attempt: 1, every_epochs: 0 }),
        pauses: false,
        until_epoch: None,
        keep_weights: true,
        also_slots: Vec::new(),
    }
}

pub(crate) fn granted(job: u64) -> GrantedJob {
    GrantedJob { attempt: attempt(job), work: Ok(work()) }
}

pub(crate) fn grant(slot: usize, job: u64) -> Input {
    grant_pack(slot, &[job])
}

pub(crate) fn grant_pack(slot: usize, jobs: &[u64]) -> Input {
    Input::Message(FromCoordinator::Grant { slot, jobs: jobs.iter().copied().map(granted).collect() })
}

/// A grant of one job that occupies further slots.
pub(crate) fn grant_several(slot: usize, also_slots: &[usize], job: u64) -> Input {
    let work = Work { also_slots: also_slots.to_vec(), ..work() };
    let jobs = vec![GrantedJob { attempt: attempt(job), work: Ok(work) }];
    Input::Message(FromCoordinator::Grant { slot, jobs })
}

pub(crate) fn said(slot: usize, message: FromTrainer) -> Input {
    Input::Trainer { slot, event: TrainerEvent::Said { message, log_tail: Vec::new(), weights: None } }
}

pub(crate) fn ready(slot: usize) -> Input {
    said(slot, FromTrainer::Ready { protocol: 1, device: "cpu".into(), trainables: Vec::new() })
}

pub(crate) fn summary() -> DatasetSummary {
    let classes = vec!["cat".into(), "dog".into()];
    DatasetSummary {
        content_hash: "ab".into(),
        classes,
        train_images: 8,
        val_images: 2,
        ..DatasetSummary::default()
    }
}

pub(crate) fn started(slot: usize, job: u64) -> Input {
    said(slot, FromTrainer::Started { id: attempt(job).to_string(), dataset: summary(), resumed_epochs: 0 })
}

pub(crate) fn epoch_line(job: u64, epoch: u32, train_loss: f64, val_accuracy: f64) -> FromTrainer {
    let id = attempt(job).to_string();
    let metrics = [("train_loss", train_loss), ("val_accuracy", val_accuracy)].into_iter().collect();
    FromTrainer::Epoch(EpochLine { id, epoch, metrics, epoch_seconds: 1.0 })
}

pub(crate) fn epoch(slot: usize, job: u64, epoch: u32) -> Input {
    said(slot, epoch_line(job, epoch, 0.5, 0.75))
}

pub(crate) fn ended(slot: usize, job: u64, outcome: TrainerOutcome) -> Input {
    said(slot, FromTrainer::ended(attempt(job).to_string(), outcome, "so"))
}

/// The end of a trainer that had read all that it was sent.
pub(crate) fn exited(slot: usize) -> Input {
    exited_after_reading(slot, u32::MAX)
}

pub(crate) fn exited_after_reading(slot: usize, trains_heard: u32) -> Input {
    let event = TrainerEvent::Exited {
        reason: "the trainer was killed by SIGKILL".into(),
        log_tail: vec!["x".into()],
        data_lost: false,
        trains_heard,
        out_of_memory: false,
    };
    Input::Trainer { slot, event }
}

pub(crate) fn welcome(refused: Vec<AttemptKey>) -> Input {
    Input::Message(FromCoordinator::Welcome { heartbeat_interval: HEARTBEAT, refused })
}

fn acknowledged(through: u64) -> Input {
    Input::Message(FromCoordinator::Acknowledged { through })
}

fn revoke(job: u64) -> Input {
    Input::Message(FromCoordinator::Revoke { attempts: vec![attempt(job)], reason: "cancelled".into() })
}

/// A session with its clock and all that came out since the last look.
struct Bench {
    session: Session,
    now: Duration,
    seen: Vec<String>,
}

impl Bench {
    fn new(slots: usize) -> Self {
        Self::recovered(slots, 1, Vec::new())
    }

    fn recovered(slots: usize, next_sequence: u64, events: Vec<Event>) -> Self {
        Self {
            session: Session::new(slots, GRACE, next_sequence, events),
            now: Duration::from_secs(1),
            seen: Vec::new(),
        }
    }

    /// Connected, welcomed, and with its first heartbeat sent.
    fn connected(slots: usize) -> Self {
        let mut bench = Self::new(slots);
        bench.feed([Input::Connected, welcome(vec![])]);
        bench.seen.clear();
        bench
    }

    /// Connected, with job 1 of two epochs running in slot 0.
    fn training() -> Self {
        let mut bench = Self::connected(1);
        bench.feed([grant(0, 1), ready(0), started(0, 1)]);
        bench.seen.clear();
        bench
    }

    /// The same, with a trainer that keeps checkpoints when asked, at a worker that hands them over.
    fn training_to_hand_over() -> Self {
        let mut bench = Self::new(1);
        bench.session = Session::new(1, GRACE, 1, Vec::new()).with_hand_over(true);
        let ready = FromTrainer::Ready { protocol: 4, device: "cpu".into(), trainables: Vec::new() };
        bench.feed([Input::Connected, welcome(vec![]), grant(0, 1), said(0, ready), started(0, 1)]);
        bench.seen.clear();
        bench
    }

    fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) -> &mut Self {
        for input in inputs {
            let outputs = self.session.apply(self.now, input);
            self.seen.extend(outputs.iter().map(brief));
        }
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.feed([Input::Tick])
    }

    /// Whether an attempt was dropped since the last look.
    fn has_dropped(&self, job: u64) -> bool {
        self.seen.contains(&format!("dropped {}", attempt(job)))
    }

    /// All that came out since the last look, heartbeats and dropped attempts aside.
    #[track_caller]
    fn expect(&mut self, expected: &[&str]) -> &mut Self {
        self.seen.retain(|line| !line.starts_with("heartbeat") && !line.starts_with("dropped"));
        assert_eq!(self.seen, expected);
        self.seen.clear();
        self
    }

    #[track_caller]
    fn expect_with_heartbeats(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.seen, expected);
        self.seen.clear();
        self
    }
}

/// One output in a few words.
fn brief(output: &Output) -> String {
    let event = |event: &Event| {
        let kind = match &event.kind {
            EventKind::Started(_) => "started".to_owned(),
            EventKind::Epoch(report) => format!("epoch {}", report.number),
            EventKind::Ended(end) => {
                let tail = if end.log_tail.is_empty() {
                    String::new()
                } else {
                    format!(" +{}", end.log_tail.join("/"))
                };
                let name = end.outcome.as_str();
                let kept = if end.details.without_checkpoint { " without a checkpoint" } else { "" };
                format!("{name} ({}){tail}{kept}", end.reason)
            }
        };
        format!("{} {} {kind}", event.sequence, event.attempt)
    };
    match output {
        Output::Append(appended) => format!("spool {}", event(appended)),
        Output::Send(ToCoordinator::Event(sent)) => format!("send {}", event(sent)),
        Output::Send(ToCoordinator::Hello { held, draining }) => {
            let held: Vec<_> = held
                .iter()
                .map(|held| match held {
                    Held::Running { attempt, slot } => format!("{attempt}@{slot}"),
                    Held::Ended { attempt } => format!("{attempt}@0!"),
                })
                .collect();
            format!("hello [{}]{}", held.join(" "), if *draining { " draining" } else { "" })
        }
        Output::Send(ToCoordinator::Heartbeat(running)) => {
            let running: Vec<_> = running
                .iter()
                .map(|at| format!("{} {}:{}", at.attempt, at.progress.epoch(), at.progress.fraction()))
                .collect();
            format!("heartbeat [{}]", running.join(" "))
        }
        Output::Send(ToCoordinator::Draining { .. }) => "draining".into(),
        Output::Forget { through } => format!("forget {through}"),
        Output::StartJobs { slot, jobs, fresh } => {
            let attempts: Vec<_> = jobs.iter().map(|(attempt, _)| attempt.to_string()).collect();
            format!("start {}@{slot}{}", attempts.join("+"), if *fresh { " in a new trainer" } else { "" })
        }
        Output::StopJob { slot, attempt, checkpoint } => {
            format!("stop {attempt}@{slot}{}", if *checkpoint { " with a checkpoint" } else { "" })
        }
        Output::KeepJob { slot, attempt } => format!("keep {attempt}@{slot}"),
        Output::HandOver { attempt, key } => format!("hand over {attempt} of {key}"),
        Output::KillTrainer { slot } => format!("kill {slot}"),
        Output::Dropped(attempt) => format!("dropped {attempt}"),
        Output::CloseSession => "close".into(),
        Output::Exit(departure) => format!("exit {departure:?}"),
    }
}

/// A session whose slot still stops the refused job 1 while job 2 waits for it.
fn with_a_waiting_job() -> Bench {
    let mut bench = Bench::training();
    bench.feed([Input::Disconnected, Input::Connected, welcome(vec![attempt(1)]), grant(0, 2)]);
    bench.seen.clear();
    bench
}
