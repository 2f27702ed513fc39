//! A job's row, as every part of a report uses it.

use terms::{MetricRow, ParameterMap, ParameterValue};

use super::{
    figures::{short, short_text},
    headings::Headings,
    model::{Epoch, Job},
    ranking::Ranking,
};

/// One job and its results.
#[derive(Debug, Clone)]
pub(super) struct JobRow {
    pub(super) number: u64,
    pub(super) parameters: ParameterMap,
    pub(super) state: &'static str,
    pub(super) attempts: u32,
    pub(super) worker: String,
    /// Where the last attempt trained, such as `cuda:0`; may be empty.
    pub(super) device: String,
    pub(super) epochs_done: u32,
    /// Sum of the training loops, in seconds; none before the first epoch.
    pub(super) train_seconds: Option<f64>,
    /// The metrics of the last epoch.
    pub(super) metrics: MetricRow,
    /// The first epoch with the best value of the objective, and that value.
    pub(super) best: Option<(u32, f64)>,
    /// What ranks the job: the epoch that counts, and its value of the objective.
    pub(super) ranked: Option<(u32, f64)>,
    /// On one line, in full, as a translation needs its end.
    pub(super) reason: String,
    /// Jobs that its last attempt trained together with, itself included; 0 before the first.
    pub(super) pack_size: u32,
}

impl JobRow {
    /// A job with the epochs that count.
    pub(super) fn new(job: &Job, epochs: &[Epoch], ranking: &Ranking) -> Self {
        Self {
            number: job.number,
            parameters: job.parameters.clone(),
            state: job.state.map_or("", terms::JobState::as_str),
            attempts: job.attempts,
            worker: job.worker.clone(),
            device: job.device.clone(),
            epochs_done: job.epochs_done,
            train_seconds: (job.epochs_done > 0).then_some(job.train_seconds),
            metrics: job.metrics.clone(),
            best: ranking.best_of(job, epochs),
            ranked: ranking.value(job, epochs),
            reason: one_line(&job.reason),
            pack_size: job.pack_size,
        }
    }

    /// A parameter as text, in full, so that people can type it into a sweep file; empty where the job does not have it.
    pub(super) fn parameter(&self, name: &str) -> String {
        self.parameters.get(name).map_or_else(String::new, ToString::to_string)
    }

    /// `lr=0.0001, bs=32, relu`: the parameters that vary, as the original report labels them.
    pub(super) fn label(&self, varying: &[String], headings: &Headings) -> String {
        let value = |name: &str| self.parameters.get(name).map(ToString::to_string);
        headings.label(varying, value)
    }

    /// As [`Self::label`], for figures: numbers have three significant digits, and texts a bounded length.
    pub(super) fn short_label(&self, varying: &[String], headings: &Headings) -> String {
        let value = |value: &ParameterValue| match value {
            ParameterValue::Float(value) => short(*value),
            other => short_text(&other.to_string()),
        };
        headings.label(varying, |name| self.parameters.get(name).map(value))
    }
}

/// Longest reason in a report, in characters: an error says the important part first.
const REASON_CHARACTERS_MAX: usize = 300;

/// A text as one line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|sign: char| sign.is_whitespace() || sign.is_control()).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A reason, cut to the length that is shown.
pub(super) fn cut(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARACTERS_MAX) {
        Some((end, _)) => format!("{} …", reason[..end].trim_end()),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(one_line("out of memory\n  at\tstep 3\u{85}\u{1b}[31m\n"), "out of memory at step 3 [31m");
        assert_eq!(one_line(""), "");
        let long = cut(&one_line(&"語 ".repeat(1_000)));
        assert_eq!(long.chars().count(), REASON_CHARACTERS_MAX - 1 + 2);
        assert!(long.ends_with("語 …"));
    }
}
