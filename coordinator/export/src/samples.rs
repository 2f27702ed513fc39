//! A small sweep for tests.

use report::{Epoch, Job, JobCounts, Sweep};
use terms::{
    Goal, JobState, MISSING, MetricRow, MetricSchema, MetricUse, Objective, ParameterMap, ParameterValue,
    SweepState,
};

use super::{Parameter, Range};

/// A job and its epochs.
pub(crate) type Trained = (Job, Vec<Epoch>);

/// A sweep, its parameters, and its jobs with their epochs: one that is done, one that diverged, and one that never began.
pub(crate) fn sweep() -> (Sweep, Vec<Parameter>, Vec<Trained>) {
    let rate = Range { ends: Some((1e-5, 0.1)), is_whole: false, is_log: true };
    let kinds = ["relu", "語"].map(|text| ParameterValue::Text(text.into()));
    let parameters = vec![
        Parameter { range: Some(rate), ..Parameter::unknown("rate") },
        Parameter { listed: kinds.into(), ..Parameter::unknown("kind") },
    ];
    let jobs = [(JobState::Done, [0.5, 0.25]), (JobState::Diverged, [0.5, f64::NAN])];
    let mut jobs: Vec<_> =
        (1..).zip(jobs).map(|(number, (state, losses))| job(number, state, losses)).collect();
    jobs.push((Job { state: Some(JobState::Cancelled), ..point(3) }, Vec::new()));
    (header(), parameters, jobs)
}

fn header() -> Sweep {
    Sweep {
        id: 7,
        name: "digits".into(),
        state: Some(SweepState::Cancelled),
        job_count: 3,
        counts: JobCounts { done: 1, diverged: 1, cancelled: 1, ..JobCounts::default() },
        created_unix_ms: 1_700_000_000_000,
        ended_unix_ms: 1_700_000_100_000,
        objective: Objective { name: "loss".into(), goal: Goal::Minimize, used: MetricUse::Last },
        best: None,
        best_weights: None,
        weights_awaited: 0,
        waiting: None,
        parameters: ["rate", "kind"].map(str::to_owned).into(),
        varying: ["rate", "kind"].map(str::to_owned).into(),
        repeats: 1,
        metrics: MetricSchema::of(["loss", "f1"]).unwrap(),
        metrics_left_out: 0,
        metrics_left_out_reason: String::new(),
        unread_parameters: Vec::new(),
        stopped: None,
        cannot_pause: None,
        owner: None,
        priority: 0,
        share: None,
        manifest: None,
        specification: "name: digits\n".into(),
        dataset: None,
    }
}

fn point(number: u64) -> Job {
    let kind = if number == 1 { "relu" } else { "語" };
    let parameters = ParameterMap(vec![
        ("rate".into(), ParameterValue::Float(0.001 * number as f64)),
        ("kind".into(), ParameterValue::Text(kind.into())),
    ]);
    Job { number, parameters, ..Job::default() }
}

fn job(number: u64, state: JobState, losses: [f64; 2]) -> (Job, Vec<Epoch>) {
    let rows = losses.map(|loss| MetricRow::new(&[loss, MISSING]));
    let epochs = (1..).zip(&rows).map(|(number, metrics)| Epoch {
        attempt: 1,
        number,
        seconds: 1.5,
        metrics: metrics.clone(),
    });
    let job = Job {
        state: Some(state),
        attempts: 1,
        worker: "a".into(),
        epochs_done: 2,
        train_seconds: 3.0,
        started_unix_ms: 1_700_000_000_000 + 1_000 * number,
        ended_unix_ms: 1_700_000_000_000 + 1_000 * number + 5_000,
        metrics: rows[1].clone(),
        pack_size: 1,
        ..point(number)
    };
    (job, epochs.collect())
}
