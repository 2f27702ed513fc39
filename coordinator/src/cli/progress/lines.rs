//! One line per event, for pipes and log files.

use std::collections::HashMap;

use proto::v1::{self, watch_sweep_response::Event};

use super::{super::tables::short_point, Notices, TimeLeft, best, epoch_of, finished, shown_metrics};
use crate::cli::{
    failure::Failure,
    output::{count, first_line, print},
};

/// Prints events as lines.
#[derive(Debug, Default)]
pub(in crate::cli) struct Lines {
    sweep: v1::Sweep,
    time_left: TimeLeft,
    /// Tenths of the data set's preparation that were reported.
    prepared_tenths: u32,
    finished_told: Option<u64>,
    notices: Notices,
    /// Jobs that failed since the last snapshot for the reason that was reported last.
    failed_alike: u64,
    /// The last reason: a long one is printed in full once.
    reason_told: String,
    /// The job for which it was printed.
    told_of: u64,
    /// Of each job that runs, the attempt that was said to continue: it may turn out later that more epochs are those of an earlier one.
    continued: HashMap<u64, u32>,
}

impl Lines {
    pub(super) fn show(&mut self, event: &Event) -> Result<(), Failure> {
        match self.line(event, std::time::Instant::now()) {
            Some(line) => print(&(line + "\n")),
            None => Ok(()),
        }
    }

    fn line(&mut self, event: &Event, now: std::time::Instant) -> Option<String> {
        match event {
            Event::Snapshot(snapshot) => self.snapshot(snapshot, now),
            Event::Epoch(epoch) => {
                let (point, record) = (epoch.point.as_ref()?, epoch.record.as_ref()?);
                if record.epoch < epoch.resumed_epochs {
                    return None;
                }
                if record.epoch == epoch.resumed_epochs {
                    let told = self.continued.insert(point.job, epoch.attempt);
                    let line = || {
                        format!(
                            "job {}  continues after epoch {} (attempt {})  {}",
                            point.job,
                            match epoch.epochs_total {
                                0 => record.epoch.to_string(),
                                total => format!("{} of {total}", record.epoch),
                            },
                            epoch.attempt,
                            short_point(point, &self.sweep.varying)
                        )
                    };
                    return (told != Some(epoch.attempt)).then(line);
                }
                Some(format!(
                    "job {}  epoch {}  {}  {:.1} s  {}",
                    point.job,
                    epoch_of(record.epoch, epoch.epochs_total),
                    shown_metrics(record, self.sweep.metric.as_ref().map_or("", |metric| &metric.name))
                        .join("  "),
                    record.epoch_seconds,
                    short_point(point, &self.sweep.varying)
                ))
            }
            Event::Job(changed) => self.job(changed),
        }
    }

    fn snapshot(&mut self, snapshot: &v1::WatchSnapshot, now: std::time::Instant) -> Option<String> {
        let before = std::mem::replace(&mut self.sweep, snapshot.sweep.clone()?).state();
        let notices = self.notices.news(&self.sweep);
        let lines = [self.failed_alike(), self.pause(before), notices, self.advance(snapshot, now)];
        let lines: Vec<String> = lines.into_iter().flatten().collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// How many more jobs failed for the last reason.
    fn failed_alike(&mut self) -> Option<String> {
        match std::mem::take(&mut self.failed_alike) {
            0 => None,
            1 => Some("1 more job failed for the same reason".to_owned()),
            jobs => Some(format!("{jobs} more jobs failed for the same reason")),
        }
    }

    /// Says that someone has paused the sweep, or resumed it.
    fn pause(&self, before: v1::SweepState) -> Option<String> {
        use v1::SweepState::{Paused, Running};
        match (before, self.sweep.state()) {
            (Paused, Running) => Some("resumed".to_owned()),
            (Paused, _) => None,
            (_, Paused) => {
                Some(format!("paused: no more jobs start until `sweep resume {}`", self.sweep.sweep_id))
            }
            _ => None,
        }
    }

    /// A snapshot is printed when another job has ended, and for each tenth of the preparation.
    fn advance(&mut self, snapshot: &v1::WatchSnapshot, now: std::time::Instant) -> Option<String> {
        let share = self.time_left.share(snapshot);
        let left = self.time_left.told(share, now);
        let preparing = snapshot.running.iter().filter(|job| job.preparing);
        let tenths = preparing.map(|job| (job.fraction * 10.0) as u32).max().unwrap_or(0);
        let counts = self.sweep.counts.unwrap_or_default();
        let finished = finished(&counts);
        if tenths > self.prepared_tenths {
            self.prepared_tenths = tenths;
            return Some(format!("preparing the data set: {} %", tenths * 10));
        }
        if self.finished_told.replace(finished) == Some(finished) {
            return None;
        }
        let mut line = format!("{finished} of {} finished", count(self.sweep.job_count, "job"));
        if counts.paused > 0 {
            line.push_str(&format!(", {} paused", counts.paused));
        }
        if counts.stopped > 0 {
            line.push_str(&format!(", {} stopped early", counts.stopped));
        }
        if counts.failed > 0 {
            line.push_str(&format!(", {} failed", counts.failed));
        }
        if let Some(left) = left.filter(|_| finished < self.sweep.job_count) {
            line.push_str(&format!(", {left}"));
        }
        if let Some(best) = best(&self.sweep) {
            line.push_str(&format!(", {}{}", best.value, best.parameters));
        }
        Some(line)
    }

    fn job(&mut self, changed: &v1::JobChanged) -> Option<String> {
        let point = changed.point.as_ref()?;
        if changed.state() != v1::JobState::Running {
            self.continued.remove(&point.job);
        }
        let what = match changed.state() {
            v1::JobState::Done => "done",
            v1::JobState::Diverged => "diverged",
            v1::JobState::Paused => "paused",
            v1::JobState::Stopped => "stopped early",
            v1::JobState::Failed => "failed",
            v1::JobState::Pending if !changed.reason.is_empty() => "waits for another attempt",
            _ => return None,
        };
        let worker =
            if changed.worker.is_empty() { String::new() } else { format!(" on {}", changed.worker) };
        let is_failure = changed.state() == v1::JobState::Failed && !changed.reason.is_empty();
        if is_failure && changed.reason == self.reason_told && point.job != self.told_of {
            self.failed_alike += 1;
            return None;
        }
        let reason = match changed.reason.as_str() {
            "" => String::new(),
            told if told == self.reason_told => format!(": {}", first_line(told)),
            new => {
                new.clone_into(&mut self.reason_told);
                self.told_of = point.job;
                format!(": {new}")
            }
        };
        Some(format!("job {}  {what} (attempt {}{worker}){reason}", point.job, changed.attempt))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use terms::{ParameterMap, ParameterValue};

    use super::*;

    #[test]
    fn a_sweep_is_shown_line_by_line() {
        let point = v1::JobPoint {
            job: 2,
            parameters: proto::parameters_to_wire(ParameterMap(vec![
                ("activation".into(), ParameterValue::Text("relu".into())),
                ("learning_rate".into(), ParameterValue::Float(0.0001)),
                ("seed".into(), ParameterValue::Integer(0)),
            ])),
        };
        let sweep = |done, best: Option<f64>| v1::Sweep {
            job_count: 16,
            counts: Some(v1::JobCounts { done, ..v1::JobCounts::default() }),
            metric: Some(v1::Metric { name: "val_accuracy".into(), maximize: true, use_best: false }),
            varying: vec!["activation".into(), "learning_rate".into()],
            best: best.map(|value| v1::BestJob { point: Some(point.clone()), value, trainings: 1 }),
            sweep_id: 7,
            state: v1::SweepState::Running.into(),
            ..v1::Sweep::default()
        };
        let preparing = v1::RunningJob { preparing: true, fraction: 0.55, ..v1::RunningJob::default() };
        let record = v1::EpochRecord {
            epoch: 3,
            train_loss: 0.51234,
            val_accuracy: 0.785,
            epoch_seconds: 1.25,
            val_loss: Some(0.623_45),
            train_accuracy: Some(0.8125),
            ..v1::EpochRecord::default()
        };
        let job = |state: v1::JobState, reason: &str| {
            Event::Job(v1::JobChanged {
                point: Some(point.clone()),
                state: state.into(),
                attempt: 1,
                worker: "local-1".into(),
                reason: reason.into(),
            })
        };
        let epoch = |attempt, epoch, resumed_epochs| {
            Event::Epoch(v1::EpochObserved {
                point: Some(point.clone()),
                attempt,
                epochs_total: 5,
                record: Some(v1::EpochRecord { epoch, ..record.clone() }),
                resumed_epochs,
            })
        };
        let snapshot = |sweep, running| Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), running });
        let paused = v1::Sweep { state: v1::SweepState::Paused.into(), ..sweep(4, Some(0.785)) };
        let events = [
            snapshot(sweep(0, None), vec![]),
            snapshot(sweep(0, None), vec![preparing]),
            epoch(1, 3, 0),
            job(v1::JobState::Running, ""),
            job(v1::JobState::Pending, "the trainer ended with signal 9"),
            epoch(2, 1, 2),
            epoch(2, 2, 2),
            epoch(2, 3, 2),
            job(v1::JobState::Done, ""),
            snapshot(sweep(4, Some(0.785)), vec![]),
            snapshot(sweep(4, Some(0.785)), vec![]),
            snapshot(paused, vec![]),
            snapshot(sweep(4, Some(0.785)), vec![]),
        ];
        let (mut lines, start) = (Lines::default(), Instant::now());
        let told: Vec<String> = events
            .iter()
            .enumerate()
            .filter_map(|(second, event)| lines.line(event, start + Duration::from_secs(second as u64)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn an_attempt_is_said_to_continue_once_though_it_takes_more_epochs_over_later() {
        let point = v1::JobPoint { job: 3, ..v1::JobPoint::default() };
        let epoch = |attempt, epoch, resumed_epochs| {
            let record = Some(v1::EpochRecord { epoch, ..v1::EpochRecord::default() });
            let point = Some(point.clone());
            Event::Epoch(v1::EpochObserved { point, attempt, epochs_total: 9, record, resumed_epochs })
        };
        let (mut lines, now) = (Lines::default(), Instant::now());
        let mut continues =
            |event: &Event| lines.line(event, now).is_some_and(|line| line.contains("continues"));
        // A program that skips reports shows only by the next one that what is between comes from its checkpoint.
        let told =
            [epoch(2, 1, 1), epoch(2, 2, 1), epoch(2, 3, 4), epoch(2, 4, 4), epoch(2, 5, 4), epoch(3, 5, 5)];
        assert_eq!(told.each_ref().map(&mut continues), [true, false, false, false, false, true]);
        let state = v1::JobState::Done.into();
        let done =
            v1::JobChanged { point: Some(point.clone()), state, attempt: 3, ..v1::JobChanged::default() };
        continues(&Event::Job(done));
        assert!(lines.continued.is_empty());
    }

    #[test]
    fn a_job_whose_attempts_fail_alike_is_one_job() {
        let failed = |job, attempt, state: v1::JobState| {
            Event::Job(v1::JobChanged {
                point: Some(v1::JobPoint { job, ..v1::JobPoint::default() }),
                state: state.into(),
                attempt,
                reason: "exit status 1".into(),
                ..v1::JobChanged::default()
            })
        };
        let (mut lines, now) = (Lines::default(), Instant::now());
        let mut line = |event: &Event| lines.line(event, now);
        assert!(line(&failed(1, 1, v1::JobState::Pending)).is_some());
        let last = line(&failed(1, 2, v1::JobState::Failed));
        assert_eq!(last.as_deref(), Some("job 1  failed (attempt 2): exit status 1"));
        assert_eq!(line(&failed(2, 1, v1::JobState::Failed)), None);
        assert_eq!(lines.failed_alike().as_deref(), Some("1 more job failed for the same reason"));
    }
}
