//! Reports of every kind, for tests and to be looked at: `REPORT_GALLERY=FOLDER REPORT_BINARY gallery --ignored` writes them all, in both languages.

use super::*;

/// A sweep of some kind: its name, header and jobs.
pub(super) type Kind = (&'static str, Sweep, Vec<Trained>);

/// A number between 0 and 1 that is always the same for a seed.
fn chance(seed: u64) -> f64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64
}

/// A job whose loss falls and whose accuracy rises to `accuracy` over `epochs`.
fn trained(point: Job, accuracy: f64, epochs: u32, seconds: f64) -> Trained {
    let job_number = point.number;
    let (mut job, _) = job(point, accuracy, seconds);
    let epoch = |number: u32| {
        let done = f64::from(number) / f64::from(epochs);
        let noise = chance(job_number * 1_000 + u64::from(number)) * 0.02;
        let val_accuracy = 0.5 + (accuracy - 0.5) * (1.0 - (-4.0 * done).exp()) / (1.0 - (-4.0f64).exp())
            - noise * (1.0 - done);
        let train_loss = 0.7 * (-3.0 * done * accuracy).exp() + noise;
        let others = [0.7 - 0.3 * done + noise, (val_accuracy + 0.04).min(1.0)];
        Epoch {
            attempt: 1,
            number,
            seconds: seconds / f64::from(epochs),
            metrics: MetricRow::new(&[train_loss, val_accuracy, others[0], others[1]]),
        }
    };
    job.epochs_done = epochs;
    job.best_epoch = Some(epochs);
    (job, (1..=epochs).map(epoch).collect())
}

fn ended(job: &mut Job, state: JobState, reason: &str) {
    job.state = Some(state);
    job.reason = reason.into();
}

/// 48 jobs of which some failed, diverged, were cancelled and exploded.
fn troubled() -> Kind {
    let mut jobs = Vec::new();
    for activation in ["relu", "sigmoid", "tanh"] {
        for step in 0..8 {
            for batch_size in [32, 64] {
                let number = jobs.len() as u64 + 1;
                let learning_rate = 10f64.powf(-5.0 + f64::from(step) / 3.0);
                let accuracy = 0.5 + 0.4 * chance(number);
                let seconds = 20.0 + 10.0 * chance(number + 500) + 200.0 / batch_size as f64;
                let point = point(number, activation, learning_rate, batch_size);
                let (mut job, mut epochs) = trained(point, accuracy, 10, seconds);
                match number {
                    5 | 21 => {
                        let loss = |epoch: &mut Epoch| set(&mut epoch.metrics, TRAIN_LOSS, 3.2e14);
                        epochs.iter_mut().skip(3).for_each(loss);
                        ended(
                            &mut job,
                            JobState::Diverged,
                            "the training loss was not finite any more in epoch 11",
                        );
                    }
                    7..=12 | 30 => {
                        epochs.truncate(4);
                        job.train_seconds /= 2.5;
                        ended(
                            &mut job,
                            JobState::Failed,
                            "the trainer was killed by SIGKILL (out of memory?) in epoch 5",
                        );
                    }
                    15 | 17 => {
                        epochs.clear();
                        (job.epochs_done, job.best_epoch) = (0, None);
                        (job.metrics, job.best_metrics) = (MetricRow::default(), MetricRow::default());
                        ended(
                            &mut job,
                            JobState::Failed,
                            "CUDA error: an illegal memory access was encountered",
                        );
                    }
                    40..=44 => {
                        epochs.truncate(6);
                        job.train_seconds *= 0.6;
                        ended(&mut job, JobState::Cancelled, "cancelled on request");
                    }
                    _ => {}
                }
                if job.state != Some(JobState::Done) && job.epochs_done > 0 {
                    job.epochs_done = epochs.len() as u32;
                }
                jobs.push((job, epochs));
            }
        }
    }
    let count = |state: JobState| jobs.iter().filter(|(job, _)| job.state == Some(state)).count() as u64;
    let counts = JobCounts {
        done: count(JobState::Done),
        failed: count(JobState::Failed),
        diverged: count(JobState::Diverged),
        cancelled: count(JobState::Cancelled),
        ..JobCounts::default()
    };
    ("troubled", header(48, counts), jobs)
}

/// Nine jobs in heaps, some exactly at one place.
fn ties() -> Kind {
    let jobs = (1..=14)
        .map(|number| {
            let (accuracy, seconds) = match number {
                1 | 2 => (0.81, 12.0),
                3 | 7 | 9 => (0.5, 10.0),
                4..=6 | 8 | 10 => (0.5, 11.0),
                _ => (0.78 + 0.001 * number as f64, 12.0),
            };
            trained(point(number, "relu", 1e-5 * number as f64, 32), accuracy, 3, seconds)
        })
        .collect();
    ("ties", header(14, JobCounts { done: 14, ..JobCounts::default() }), jobs)
}

/// Names and values as long as they may be, numbers as large.
fn long_names() -> Kind {
    let mut header = header(10, JobCounts { done: 10, ..JobCounts::default() });
    let sweep = &mut header;
    sweep.name = "a_sweep_with_a_name_that_goes_on_and_on_".repeat(4);
    let names = [
        "a_parameter_with_a_long_name",
        "another_parameter_with_a_longer_name",
        "weight_decay",
        "momentum",
        "dropout",
    ];
    sweep.varying.extend(names.map(str::to_owned));
    sweep.specification =
        format!("name: {}\nparameters: {{x: {{values: [{}]}}}}\n", sweep.name, "1e-5, ".repeat(60));
    sweep.parameters.extend(names.map(str::to_owned));
    let jobs = (1..=10u64)
        .map(|number| {
            let activation = format!("an_activation_function_with_a_long_name_{number}");
            let point = point(1_000_000 + number, &activation, 2.154_434_69e-5 * number as f64, 32);
            let (mut job, epochs) =
                trained(point, 0.5 + 0.04 * number as f64, 40, 0.02 + 0.001 * number as f64);
            let text = ParameterValue::Text(format!("a value that is long, too, of number {number}"));
            let values = names.map(|name| {
                let value = if name.starts_with('a') {
                    text.clone()
                } else {
                    ParameterValue::Float(number as f64 / 3.0)
                };
                (name.to_owned(), value)
            });
            job.parameters.0.extend(values);
            if number == 4 {
                ended(
                    &mut job,
                    JobState::Failed,
                    &"a reason that is long, with_words_that_are_long_too ".repeat(4),
                );
            }
            (job, epochs)
        })
        .collect();
    ("long-names", header, jobs)
}

/// As many parameters as a page shows, all with long names.
fn many_parameters() -> Kind {
    let mut header = header(6, JobCounts { done: 6, ..JobCounts::default() });
    let names: Vec<String> =
        (1..=12).map(|number| format!("a_parameter_with_a_long_name_{number}")).collect();
    header.parameters.clone_from(&names);
    header.varying.clone_from(&names);
    let jobs = (1..=6u64)
        .map(|number| {
            let (mut job, epochs) =
                trained(point(number, "relu", 1e-4, 32), 0.5 + 0.04 * number as f64, 4, 12.0);
            job.parameters.0 =
                names.iter().map(|name| (name.clone(), ParameterValue::Float(number as f64 / 8.0))).collect();
            (job, epochs)
        })
        .collect();
    ("many-parameters", header, jobs)
}

/// Numbers as large, as small and as alike as a trainer may tell them.
fn extremes() -> Kind {
    let jobs = (1..=12u64)
        .map(|number| {
            let share = 1.0 + number as f64 / 100.0;
            let (mut job, mut epochs) =
                trained(point(number, "relu", 1e-5 * number as f64, 32), 0.8, 4, 1e-290 * share);
            let rows = [&mut job.metrics, &mut job.best_metrics];
            for row in epochs.iter_mut().map(|epoch| &mut epoch.metrics).chain(rows) {
                let values = [(TRAIN_LOSS, 1.6e300 * share), (VAL_ACCURACY, 0.0), (VAL_LOSS, 1e-7 * share)];
                values.into_iter().for_each(|(place, value)| set(row, place, value));
            }
            (job, epochs)
        })
        .collect();
    ("extremes", header(12, JobCounts { done: 12, ..JobCounts::default() }), jobs)
}

/// A sweep that was stopped: packs of four, jobs that failed for different reasons, jobs that never started.
fn stopped() -> Kind {
    let reason = |number: u64| match number {
        9 | 10 => format!(
            "exceeded job_timeout of 2s in epoch {}: training took 1.{number} s, validating and the rest 0.3 s",
            number - 6
        ),
        11 => "the trainer ended with exit status 1 in epoch 3: CUDA error 700".to_owned(),
        12 | 13 => format!("the trainer ended with exit status 137 in epoch {}: CUDA error 2", number - 8),
        14 => format!(
            "the trainer wrote a line that is not of the trainer protocol: {:?} (expected value at line 1); tried again, as \
             the sweep's data set has another path by now",
            "x".repeat(400)
        ),
        15 => "the trainer reported a loss of NaN in epoch 1; it must be finite".to_owned(),
        _ => "the trainer's words in ~_markdown_~ at https://example.test".to_owned(),
    };
    let jobs = (1..=24u64)
        .map(|number| {
            let point = point(number, "relu", 1e-5 * number as f64, 32);
            if number <= 8 {
                let (mut job, epochs) = trained(point, 0.6 + 0.02 * number as f64, 10, 10.0);
                job.pack_size = 4;
                return (job, epochs);
            }
            let mut job = point;
            if number <= 16 {
                job.attempts = 3;
                ended(&mut job, JobState::Failed, &reason(number));
            } else {
                ended(&mut job, JobState::Cancelled, "");
            }
            (job, Vec::new())
        })
        .collect();
    let counts = JobCounts { done: 8, failed: 8, cancelled: 8, ..JobCounts::default() };
    ("stopped", header(24, counts), jobs)
}

fn program(name: &'static str, parameters: usize, metrics: usize) -> Kind {
    let (sweep, jobs) = super::programs::program(parameters, metrics, 8);
    (name, sweep, jobs)
}

/// Reports of every kind.
pub(super) fn kinds() -> Vec<Kind> {
    let done = |jobs| header(jobs, JobCounts { done: jobs, ..JobCounts::default() });
    let mut one = done(1);
    one.varying.clear();
    let one_epoch = whole_grid().into_iter().map(|(mut job, mut epochs)| {
        epochs.truncate(1);
        (job.epochs_done, job.best_epoch) = (1, Some(1));
        (job, epochs)
    });
    let experiment = whole_grid().into_iter().map(|(job, _)| {
        let (accuracy, seconds) = (job.metrics.get(VAL_ACCURACY).unwrap(), job.train_seconds);
        trained(job, accuracy, 5, seconds)
    });
    vec![
        ("experiment", done(16), experiment.collect()),
        troubled(),
        stopped(),
        extremes(),
        ties(),
        long_names(),
        many_parameters(),
        program("program", 12, 5),
        program("program-wide", 300, 100),
        ("one-job", one, vec![trained(point(1, "relu", 0.0001, 32), 0.8, 5, 0.013)]),
        ("nothing", header(16, JobCounts { pending: 16, ..JobCounts::default() }), Vec::new()),
        ("one-epoch", done(16), one_epoch.collect()),
    ]
}

#[test]
#[ignore = "writes files to be looked at"]
fn gallery() {
    let gallery = PathBuf::from(std::env::var_os("REPORT_GALLERY").expect("REPORT_GALLERY names a folder"));
    for (name, header, jobs) in kinds() {
        for (code, language) in [("en", Language::English), ("ja", Language::Japanese)] {
            let folder = gallery.join(format!("{name}-{code}"));
            let mut writer = ReportWriter::create(&folder, header.clone(), language).unwrap();
            jobs.iter().for_each(|(job, epochs)| writer.job(job, epochs).unwrap());
            writer.finish().unwrap();
        }
    }
}
