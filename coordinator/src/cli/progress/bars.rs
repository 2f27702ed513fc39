//! Bars on a terminal: one per running job, and one for the sweep with the remaining time and the best job so far.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::v1::{self, watch_sweep_response::Event};
use terminal::text;

use super::{
    super::{output::count, tables::short_point},
    METRICS_SHOWN_MAX, Notices, TimeLeft, best, epoch_of, finished, share_of_job, shown_metrics,
};

/// Most jobs shown at a time: as many as leave room on a small terminal.
const JOBS_SHOWN_MAX: usize = 16;
/// Steps of a bar.
const STEPS: u64 = 1_000;

/// Bars of one sweep.
pub(in crate::cli) struct Bars {
    screen: MultiProgress,
    overall: ProgressBar,
    jobs: BTreeMap<u64, ProgressBar>,
    varying: Vec<String>,
    objective: String,
    time_left: TimeLeft,
    notices: Notices,
    /// The reason of failures that was reported last, and how many jobs failed for it since.
    failed: (String, u64),
}

impl Bars {
    pub(super) fn new() -> Self {
        let screen = MultiProgress::new();
        let overall = screen.add(ProgressBar::new(STEPS));
        overall.set_style(style("[{bar:20}] {percent:>3} %  {wide_msg}"));
        overall.enable_steady_tick(Duration::from_secs(1));
        Self {
            screen,
            overall,
            jobs: BTreeMap::new(),
            varying: Vec::new(),
            objective: String::new(),
            time_left: TimeLeft::default(),
            notices: Notices::default(),
            failed: Default::default(),
        }
    }

    pub(super) fn say(&self, text: &str) {
        // If the terminal is gone, there is no one to tell.
        let _ = self.screen.println(text::lines(text));
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Snapshot(snapshot) => self.snapshot(snapshot),
            Event::Job(changed)
                if matches!(changed.state(), v1::JobState::Failed | v1::JobState::Pending) =>
            {
                let job = changed.point.as_ref().map_or(0, |point| point.job);
                let state = super::super::tables::job_state_name(changed.state());
                let has_failed = changed.state() == v1::JobState::Failed;
                if has_failed && changed.reason == self.failed.0 && !changed.reason.is_empty() {
                    self.failed.1 += 1;
                } else if !changed.reason.is_empty() {
                    if has_failed {
                        self.tell_failed_alike();
                        self.failed = (changed.reason.clone(), 0);
                    }
                    self.say(&format!("job {job}, attempt {}, {state}: {}", changed.attempt, changed.reason));
                }
            }
            Event::Job(_) | Event::Epoch(_) => {}
        }
    }

    /// Reports how many more jobs failed for the last reason.
    fn tell_failed_alike(&mut self) {
        let count = std::mem::take(&mut self.failed.1);
        if count > 0 {
            self.say(&format!(
                "{} failed for the same reason",
                super::super::output::count(count, "more job")
            ));
        }
    }

    fn snapshot(&mut self, snapshot: &v1::WatchSnapshot) {
        self.tell_failed_alike();
        let Some(sweep) = &snapshot.sweep else { return };
        if let Some(news) = self.notices.news(sweep) {
            self.say(&news);
        }
        self.varying.clone_from(&sweep.varying);
        self.objective = sweep.metric.as_ref().map_or_else(String::new, |metric| metric.name.clone());
        let shown: Vec<_> = snapshot.running.iter().take(JOBS_SHOWN_MAX).collect();
        let number = |job: &v1::RunningJob| job.point.as_ref().map_or(0, |point| point.job);
        self.jobs.retain(|job, bar| {
            let stays = shown.iter().any(|running| number(running) == *job);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for running in shown {
            self.job(number(running), running);
        }
        let share = self.time_left.share(snapshot);
        self.overall.set_position((share * STEPS as f64) as u64);
        let counts = sweep.counts.unwrap_or_default();
        let finished = finished(&counts);
        let mut message = format!("{finished}/{}", count(sweep.job_count, "job"));
        if sweep.state() == v1::SweepState::Paused {
            message.push_str(", paused");
        }
        if counts.paused > 0 {
            message.push_str(&format!(", {} paused", counts.paused));
        }
        if counts.stopped > 0 {
            message.push_str(&format!(", {} stopped early", counts.stopped));
        }
        if counts.failed > 0 {
            message.push_str(&format!(", {} failed", counts.failed));
        }
        if let Some(left) = self.time_left.told(share, Instant::now()) {
            message.push_str(&format!(", {left}"));
        }
        let mut messages = vec![message.clone()];
        if let Some(best) = best(sweep) {
            messages.insert(0, format!("{message}, {})", best.value));
            messages.insert(0, format!("{message}, {}{}", best.value, best.parameters));
        }
        self.overall.set_message(fitting(columns().saturating_sub(OVERALL_COLUMNS), &messages));
    }

    fn job(&mut self, number: u64, running: &v1::RunningJob) {
        let (screen, overall, varying) = (&self.screen, &self.overall, &self.varying);
        let bar = self.jobs.entry(number).or_insert_with(|| {
            let bar = screen.insert_before(overall, ProgressBar::new(STEPS));
            bar.set_style(style("  job {prefix:>5} [{bar:12}] {wide_msg}"));
            bar.set_prefix(number.to_string());
            bar
        });
        let point = running.point.clone().unwrap_or_default();
        let label = short_point(&point, varying);
        let room = columns().saturating_sub(JOB_COLUMNS);
        if running.preparing {
            bar.set_position((running.fraction * STEPS as f64) as u64);
            bar.set_message(fitting(
                room,
                &[format!("preparing the data set  {label}"), format!("preparing  {label}")],
            ));
            return;
        }
        bar.set_position((share_of_job(running) * STEPS as f64) as u64);
        let total = running.epochs_total;
        let begun = running.epochs_done + 1;
        let epoch = epoch_of(if total == 0 { begun } else { begun.min(total) }, total);
        // What distinguishes jobs is dropped last.
        let mut messages = vec![format!("epoch {epoch}  {label}"), format!("{epoch}  {label}")];
        if let Some(last) = &running.last {
            let metrics = shown_metrics(last, &self.objective);
            for shown in 1..=metrics.len().min(METRICS_SHOWN_MAX) {
                messages.insert(0, format!("epoch {epoch}  {}  {label}", metrics[..shown].join("  ")));
            }
        }
        bar.set_message(fitting(room, &messages));
    }

    pub(super) fn finish(self) {
        for bar in self.jobs.values() {
            bar.finish_and_clear();
        }
        self.overall.abandon();
    }
}

/// Columns of a job's bar before its message.
const JOB_COLUMNS: usize = "  job       [            ] ".len();
/// The same for the bar of the sweep.
const OVERALL_COLUMNS: usize = "[                    ] 100 %  ".len();
/// Columns of a terminal that does not report its width.
const COLUMNS_DEFAULT: usize = 80;

/// Columns of the terminal that bars are drawn on.
fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS_DEFAULT,
    }
}

/// The first of some messages, from the longest to the shortest, that fits; else the last one, visibly cut.
fn fitting(columns: usize, messages: &[String]) -> String {
    let messages: Vec<_> = messages.iter().map(|message| text::line(message)).collect();
    let fits = |message: &&std::borrow::Cow<'_, str>| message.chars().count() <= columns;
    match (messages.iter().find(fits), messages.last()) {
        (Some(message), _) => message.to_string(),
        (None, Some(last)) => last.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        (None, None) => String::new(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fits_the_terminal_and_keeps_what_tells_jobs_apart_longest() {
        let label = "activation=relu learning_rate=0.000021";
        let messages = [
            format!("epoch 3/5  val_accuracy 0.8123  loss 0.4123  {label}"),
            format!("epoch 3/5  val_accuracy 0.8123  {label}"),
            format!("epoch 3/5  {label}"),
            format!("3/5  {label}"),
        ];
        for (columns, shown) in [(100, 0), (75, 1), (80 - JOB_COLUMNS, 2), (44, 3)] {
            assert_eq!(fitting(columns, &messages), messages[shown], "{columns} columns");
        }
        assert_eq!(fitting(16, &messages), "3/5  activation…");
        assert_eq!(fitting(40, &["\u{1b}[2J of a worker".to_owned()]), text::line("\u{1b}[2J of a worker"));
    }
}
