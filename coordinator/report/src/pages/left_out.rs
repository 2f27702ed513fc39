//! What is in no mean, in no table, or in no record.

use super::{Content, effects::weighed};

impl Content<'_> {
    /// What was left out, and why.
    pub(super) fn left_out(&self) -> Vec<(String, String)> {
        let (strings, sweep, jobs) = (self.strings, self.sweep, self.analysis.jobs);
        let mut list = Vec::new();
        let mut tell = |name: &str, text: String| list.push((name.to_owned(), text));
        let counts = sweep.counts;
        // Of all jobs, also where only some are looked at.
        let unfinished = counts.stopped
            + counts.failed
            + counts.cancelled
            + counts.running
            + counts.paused
            + counts.pending;
        if unfinished > 0 {
            let states = [
                ("stopped", counts.stopped),
                ("failed", counts.failed),
                ("cancelled", counts.cancelled),
                ("running", counts.running),
                ("paused", counts.paused),
                ("pending", counts.pending),
            ];
            let states = states.iter().filter(|(_, count)| *count > 0);
            let states: Vec<String> = states.map(|(state, count)| strings.in_state(*count, state)).collect();
            tell(strings.not_counted_name(), strings.not_counted(unfinished, &states.join(", ")));
        }
        if jobs.diverged > 0 {
            tell(strings.diverged_name(), strings.diverged_jobs(jobs.diverged));
        }
        if jobs.without_value > 0 {
            tell(strings.without_value_name(), strings.job_count(jobs.without_value));
        }
        if jobs.not_looked_at > 0 {
            tell(strings.not_looked_at_name(), strings.not_looked_at(jobs.not_looked_at));
        }
        if self.selection {
            let not_listed = sweep.job_count.saturating_sub(self.rows.len() as u64);
            tell(strings.not_listed_name(), strings.not_listed(not_listed));
        }
        let (effects, parameters) = weighed(self.analysis);
        if parameters > 0 {
            tell(strings.effects_not_shown_name(), parameters.to_string());
        }
        for (effect, _) in effects.iter().filter(|(effect, _)| effect.left_out > 0) {
            let name = strings.values_not_shown_name(self.headings.parameter(&effect.parameter));
            tell(&name, effect.left_out.to_string());
        }
        if self.pairs_not_shown() > 0 {
            tell(strings.pairs_not_shown_name(), self.pairs_not_shown().to_string());
        }
        if sweep.metrics_left_out > 0 {
            let why = match sweep.metrics_left_out_reason.as_str() {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            tell(strings.metrics_left_out, format!("{}{why}", sweep.metrics_left_out));
        }
        if !sweep.unread_parameters.is_empty() {
            tell(strings.unread_parameters, sweep.unread_parameters.join(", "));
        }
        list
    }
}
