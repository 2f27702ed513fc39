//! Jobs that failed or ended early, by reason.

use super::{
    super::{
        failures::{Group, NEVER_STARTED, Why},
        rows::cut,
    },
    Content,
};

/// Most groups of failed jobs on a page.
const GROUPS_SHOWN_MAX: usize = 20;

impl Content<'_> {
    /// Which jobs failed or ended early, and why: one line per group, with what happened to how many jobs and their
    /// numbers.
    pub(super) fn failures(&self) -> Vec<(String, String)> {
        let strings = self.strings;
        let line = |group: &Group| {
            let (numbers, more) = group.numbers();
            let more = if more > 0 { strings.more(more) } else { String::new() };
            let reason = match &group.why {
                Why::Reason(reason) => cut(&strings.reason(&reason.text())),
                Why::Unknown => strings.no_reason.to_owned(),
                Why::NeverStarted => strings.reason(NEVER_STARTED),
                Why::Various => strings.various_reasons.to_owned(),
            };
            let what = format!("{}, {}", strings.state_name(group.state), strings.job_count(group.jobs));
            (what, format!("{reason} ({} {numbers}{more})", strings.job_numbers(group.jobs)))
        };
        let mut lines: Vec<_> = self.failures.iter().take(GROUPS_SHOWN_MAX).map(line).collect();
        let rest = self.failures.get(GROUPS_SHOWN_MAX..).unwrap_or_default();
        if !rest.is_empty() {
            let jobs = rest.iter().map(|group| group.jobs).sum();
            lines.push((strings.job_count(jobs), strings.other_reasons.to_owned()));
        }
        lines
    }
}
