//! Metrics from what a program prints: a regular expression with named groups. The group `epoch` is the number of the epoch,
//! every other one a metric of its name; without `epoch`, each match counts on.

use regex::{Regex, RegexBuilder};

use super::{METRICS_MAX, Metrics, Number, Report, is_name, number};

/// The group with the number of the epoch.
pub(crate) const EPOCH: &str = "epoch";

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 10_000;

/// Memory of the compiled pattern, in bytes. Patterns that need more are repetitions of repetitions.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("metrics.pattern has {0} bytes; at most {PATTERN_BYTES_MAX} are taken")]
    Long(usize),
    #[error("metrics.pattern is no regular expression that can be used: {0}")]
    Syntax(String),
    #[error("metrics.pattern names no metric; name at least one group, such as loss=(?P<loss>\\S+)")]
    NoMetric,
    #[error("metrics.pattern names {0} metrics; at most {METRICS_MAX} are kept")]
    TooMany(usize),
    #[error("metrics.pattern has a group whose name is too long: {0}")]
    Name(String),
}

/// A pattern that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// # Errors
    /// It is no regular expression, too large, or names no metric.
    pub(crate) fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::Long(pattern.len()));
        }
        let regex = RegexBuilder::new(pattern)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| PatternError::Syntax(error.to_string()))?;
        let names: Vec<&str> = regex.capture_names().flatten().filter(|name| *name != EPOCH).collect();
        match names.len() {
            0 => return Err(PatternError::NoMetric),
            many if many > METRICS_MAX => return Err(PatternError::TooMany(many)),
            _ => {}
        }
        if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
            return Err(PatternError::Name(name.chars().take(METRICS_MAX).collect()));
        }
        Ok(Self { regex })
    }

    /// What a line reports: nothing where it does not match, and the text that is no number where a group has one.
    pub(crate) fn read(&self, line: &str) -> Option<Result<Report, String>> {
        let found = self.regex.captures(line)?;
        let (mut epoch, mut metrics) = (None, Metrics::new());
        for name in self.regex.capture_names().flatten() {
            // A group that took no part is a metric that is missing.
            let Some(text) = found.name(name) else { continue };
            let Some(value) = number(text.as_str()) else {
                let shown: String = text.as_str().chars().take(80).collect();
                return Some(Err(format!(
                    "the group {name} of metrics.pattern took {shown:?}, which is no number"
                )));
            };
            if name == EPOCH {
                epoch = Some(value);
            } else {
                metrics.insert(name.to_owned(), Number(value));
            }
        }
        Some(Report::new(epoch, metrics).map_err(|error| error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pattern: &str, line: &str) -> Option<Result<Report, String>> {
        Pattern::new(pattern).unwrap().read(line)
    }

    #[test]
    fn groups_are_metrics() {
        let pattern = r"epoch (?P<epoch>\d+).*loss[= ](?P<loss>\S+)(?: acc[= ](?P<acc>\S+))?";
        for (line, epoch, loss, acc) in [
            ("epoch 3: loss=0.5", 3.0, 0.5, None),
            ("INFO epoch 12/50 - loss 1e-3 acc=97.5%", 12.0, 0.001, Some(97.5)),
            ("epoch 1 loss=inf, then", 1.0, f64::INFINITY, None),
        ] {
            let report = read(pattern, line).unwrap().unwrap();
            assert_eq!(report.number, Some(epoch), "{line}");
            assert_eq!(report.metrics["loss"], Number(loss), "{line}");
            assert_eq!(report.metrics.get("acc").map(|acc| acc.0), acc, "{line}");
        }
        assert!(read(pattern, "nothing").is_none());
        assert!(read(pattern, "epoch 1 loss=0.5").unwrap().is_ok());
        assert!(read(r"loss=(?P<loss>\S+)", "loss=low").unwrap().unwrap_err().contains("low"));
        assert_eq!(read(r"loss=(?P<loss>\S+)", "loss=2").unwrap().unwrap().number, None);
    }

    #[test]
    fn patterns_that_cannot_be_used_are_named() {
        for (pattern, part) in [
            ("loss=(", "no regular expression"),
            (r"loss=(\S+)", "names no metric"),
            (r"(?P<epoch>\d+)", "names no metric"),
            (r"(?P<a>\d{500}){500}", "no regular expression"),
        ] {
            let error = Pattern::new(pattern).unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        }
        assert!(Pattern::new(&"x".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read_or_left_alone(line in ".{0,200}", pattern in ".{0,40}") {
            let _ = read(r"(?P<epoch>\S+) (?P<loss>\S+)", &line);
            if let Ok(pattern) = Pattern::new(&pattern) {
                let _ = pattern.read(&line);
            }
        }
    }
}
