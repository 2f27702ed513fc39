//! What a person sees while a sweep runs: bars on a terminal, plain lines elsewhere.

mod bars;
mod left;
mod lines;

use std::{
    io::{IsTerminal, stderr, stdout},
    time::Duration,
};

use proto::v1::{self, watch_sweep_response::Event};
use report::measured;
use terminal::{output, text};
use terms::EpochReport;

use self::{bars::Bars, left::TimeLeft, lines::Lines};
use super::{failure::Failure, output::job_of_mean, tables::cannot_pause};

/// The view of one sweep.
pub(super) enum Progress {
    /// Redrawn in place, on standard error.
    Bars(Box<Bars>),
    /// One line per event, on standard output.
    Lines(Box<Lines>),
}

impl Progress {
    /// Bars if both outputs are a terminal, else lines.
    pub(super) fn new() -> Self {
        if stdout().is_terminal() && stderr().is_terminal() {
            Self::Bars(Box::new(Bars::new()))
        } else {
            Self::Lines(Box::default())
        }
    }

    /// Shows one event.
    ///
    /// # Errors
    /// Standard output that does not take a line.
    pub(super) fn show(&mut self, event: &Event) -> Result<(), Failure> {
        match self {
            Self::Bars(bars) => {
                bars.show(event);
                Ok(())
            }
            Self::Lines(lines) => lines.show(event),
        }
    }

    /// Prints a message between the events.
    pub(super) fn say(&self, text: &str) {
        match self {
            Self::Bars(bars) => bars.say(text),
            Self::Lines(_) => output::say(text),
        }
    }

    /// Leaves the screen in order.
    pub(super) fn finish(self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}

/// How many jobs have ended.
fn finished(counts: &v1::JobCounts) -> u64 {
    counts.done + counts.diverged + counts.stopped + counts.failed + counts.cancelled
}

/// Share of a sweep that is done, in [0, 1]: finished jobs, and running ones by their epochs.
fn share_done(snapshot: &v1::WatchSnapshot) -> f64 {
    let Some(sweep) = &snapshot.sweep else { return 0.0 };
    let counts = sweep.counts.unwrap_or_default();
    let finished = finished(&counts);
    let running: f64 = snapshot.running.iter().map(share_of_job).sum();
    ((finished as f64 + running) / (sweep.job_count.max(1) as f64)).clamp(0.0, 1.0)
}

/// Share of a running job that is done, in [0, 1], 0 if no one knows how long it is; preparing the data does not count.
fn share_of_job(job: &v1::RunningJob) -> f64 {
    if job.epochs_total == 0 {
        return 0.0;
    }
    let current = if job.preparing { 0.0 } else { job.fraction };
    ((f64::from(job.epochs_done) + current) / f64::from(job.epochs_total)).clamp(0.0, 1.0)
}

/// What followers of a sweep are told beside its results: once that its jobs cannot pause; and why nothing runs, once that has lasted a
/// while, and again when the reason changes.
#[derive(Debug, Default)]
pub(super) struct Notices {
    told: String,
    pauses_told: bool,
}

impl Notices {
    /// How long nothing must run before it is reported, in milliseconds: workers take some seconds to start.
    const TOLD_AFTER_MS: u64 = 10_000;

    /// What is new.
    pub(super) fn news(&mut self, sweep: &v1::Sweep) -> Option<String> {
        let is_new = !sweep.cannot_pause.is_empty() && !std::mem::replace(&mut self.pauses_told, true);
        let cannot_pause = is_new.then(|| cannot_pause(&sweep.cannot_pause));
        let news: Vec<String> = cannot_pause.into_iter().chain(self.standstill(sweep)).collect();
        (!news.is_empty()).then(|| news.join("\n"))
    }

    fn standstill(&mut self, sweep: &v1::Sweep) -> Option<String> {
        let waiting = sweep.waiting.as_ref().filter(|waiting| {
            // A pause is reported separately.
            waiting.idle_ms >= Self::TOLD_AFTER_MS && waiting.reason() != v1::WaitReason::Paused
        });
        let Some(waiting) = waiting else {
            // A reason that returns after jobs ran is new again.
            self.told.clear();
            return None;
        };
        if self.told == waiting.text {
            return None;
        }
        self.told.clone_from(&waiting.text);
        Some(format!("nothing moves: {}", waiting.text))
    }
}

/// A duration as people say it: `45 s`, `3 min 20 s`, `2 h 5 min`.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `3/5`, or `3` if the number of epochs is not known.
fn epoch_of(epoch: u32, total: u32) -> String {
    if total == 0 { epoch.to_string() } else { format!("{epoch}/{total}") }
}

/// Most metrics that a line shows: with more, its parameters are out of sight.
const METRICS_SHOWN_MAX: usize = 6;

/// The metrics of an epoch, the objective first: `val_accuracy 0.7850`. Says how many were left out.
fn shown_metrics(record: &v1::EpochRecord, objective: &str) -> Vec<String> {
    let mut metrics = EpochReport::from(record.clone()).metrics;
    metrics.sort_by_key(|(name, _)| name != objective);
    let more = metrics.len().saturating_sub(METRICS_SHOWN_MAX);
    let shown = metrics.into_iter().take(METRICS_SHOWN_MAX);
    let mut parts: Vec<String> =
        shown.map(|(name, value)| format!("{} {}", text::line(&name), measured(value, 4))).collect();
    if more > 0 {
        parts.push(format!("+{more}"));
    }
    parts
}

/// The best job so far, for people.
struct Best {
    /// `best val_accuracy 0.9850 (job 5`.
    value: String,
    /// `: activation=relu …)`.
    parameters: String,
}

/// The best job, once there is one.
fn best(sweep: &v1::Sweep) -> Option<Best> {
    let best = sweep.best.as_ref()?;
    let point = best.point.as_ref()?;
    let metric = sweep.metric.as_ref().map_or("", |metric| metric.name.as_str());
    let parameters = super::tables::short_point(point, &sweep.varying);
    let any = if sweep.metric.as_ref().is_some_and(|metric| metric.use_best) { " of any epoch" } else { "" };
    Some(Best {
        value: format!(
            "best {metric}{any} {} ({}",
            measured(best.value, 4),
            job_of_mean(best.trainings, point.job)
        ),
        parameters: format!(": {parameters})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_counts_finished_jobs_and_the_epochs_of_running_ones() {
        let running = |epochs_done, fraction, preparing| v1::RunningJob {
            epochs_done,
            epochs_total: 4,
            fraction,
            preparing,
            ..v1::RunningJob::default()
        };
        let snapshot = v1::WatchSnapshot {
            sweep: Some(v1::Sweep {
                job_count: 4,
                counts: Some(v1::JobCounts { done: 1, failed: 1, ..v1::JobCounts::default() }),
                ..v1::Sweep::default()
            }),
            running: vec![running(1, 0.5, false), running(0, 0.9, true)],
        };
        assert!((share_done(&snapshot) - 2.375 / 4.0).abs() < 1e-12);
        assert_eq!(share_done(&v1::WatchSnapshot::default()), 0.0);
    }

    #[test]
    fn the_objective_comes_first_and_metrics_beyond_number_are_counted() {
        let metrics = |count: usize| {
            let value =
                |place| v1::MetricValue { name: format!("m{place}").into(), value: f64::from(place as u32) };
            v1::EpochRecord { metrics: (0..count).map(value).collect(), ..v1::EpochRecord::default() }
        };
        assert_eq!(shown_metrics(&metrics(3), "m2"), ["m2 2.0000", "m0 0.0000", "m1 1.0000"]);
        let many = shown_metrics(&metrics(9), "m8");
        assert_eq!((many.len(), many[0].as_str(), many[6].as_str()), (7, "m8 8.0000", "+3"));
        assert_eq!((epoch_of(3, 5), epoch_of(3, 0)), ("3/5".to_owned(), "3".to_owned()));
    }

    #[test]
    fn durations_are_said_as_people_say_them() {
        assert_eq!(spoken(Duration::from_secs(60)), "1 min 0 s");
        assert_eq!(spoken(Duration::from_secs(7500)), "2 h 5 min");
    }
}
