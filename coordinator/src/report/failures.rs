//! Jobs without the end that was hoped for, grouped by why.

use std::collections::BTreeMap;

use super::rows::JobRow;

/// Most reasons that are told apart: more, nobody reads; a job with another one is only counted.
const REASONS_MAX: usize = 200;
/// Most ranges of job numbers that are named of a group.
const RANGES_MAX: usize = 12;

/// Jobs that ended in one state for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) state: &'static str,
    /// That of the first job; empty for the jobs whose reasons are not told apart.
    pub(super) reason: String,
    pub(super) jobs: u64,
    /// Job numbers, from and to.
    ranges: Vec<(u64, u64)>,
    /// How many of the jobs are in `ranges`.
    named: u64,
}

impl Group {
    fn new(state: &'static str, reason: String) -> Self {
        Self { state, reason, jobs: 0, ranges: Vec::new(), named: 0 }
    }

    fn add(&mut self, job: u64) {
        self.jobs += 1;
        if let Some((_, last)) = self.ranges.last_mut().filter(|(_, last)| last.checked_add(1) == Some(job)) {
            *last = job;
        } else if self.ranges.len() < RANGES_MAX {
            self.ranges.push((job, job));
        } else {
            return;
        }
        self.named += 1;
    }

    /// `3, 5–9`, and how many are not named.
    pub(super) fn numbers(&self) -> (String, u64) {
        let range = |(first, last): &(u64, u64)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first}–{last}"),
        };
        (self.ranges.iter().map(range).collect::<Vec<_>>().join(", "), self.jobs - self.named)
    }
}

/// The groups of a report, gathered job by job.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By state and by the reason without its numbers: `in epoch 3` and `in epoch 4` are one.
    groups: BTreeMap<(&'static str, String), Group>,
    others: BTreeMap<&'static str, Group>,
}

impl Failures {
    /// Adds a job, in the order of job numbers.
    pub(super) fn job(&mut self, row: &JobRow) {
        if !matches!(row.state, "failed" | "diverged" | "cancelled") {
            return;
        }
        let key = (row.state, without_numbers(&row.reason));
        if self.groups.len() >= REASONS_MAX && !self.groups.contains_key(&key) {
            let others = self.others.entry(row.state);
            return others.or_insert_with(|| Group::new(row.state, String::new())).add(row.number);
        }
        let group = self.groups.entry(key).or_insert_with(|| Group::new(row.state, row.reason.clone()));
        group.add(row.number);
    }

    /// Failures first, the largest groups before the others; those whose reasons are not told apart at the end.
    pub(super) fn into_groups(self) -> Vec<Group> {
        let rank = |state: &str| ["failed", "diverged", "cancelled"].iter().position(|one| *one == state);
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| (rank(group.state), std::cmp::Reverse(group.jobs)));
        groups.extend(self.others.into_values());
        groups
    }
}

fn without_numbers(reason: &str) -> String {
    let mut key = String::with_capacity(reason.len());
    for sign in reason.chars() {
        match sign {
            '0'..='9' if key.ends_with('#') => {}
            '0'..='9' => key.push('#'),
            other => key.push(other),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1;

    fn row(number: u64, state: v1::JobState, reason: &str) -> JobRow {
        let job = v1::Job {
            point: Some(v1::JobPoint { job: number, parameters: Vec::new() }),
            state: state.into(),
            reason: reason.into(),
            ..v1::Job::default()
        };
        JobRow::new(&job, &[], &super::super::ranking::Ranking::new(None))
    }

    #[test]
    fn jobs_are_grouped_by_what_happened_to_them_wherever_that_was() {
        let mut failures = Failures::default();
        for number in 1..=31 {
            failures.job(&row(number, v1::JobState::Failed, &format!("killed in epoch {number}")));
        }
        failures.job(&row(32, v1::JobState::Done, ""));
        for number in [33, 35, 36] {
            failures.job(&row(number, v1::JobState::Diverged, "killed in epoch 1"));
        }
        let groups = failures.into_groups();
        let told: Vec<_> = groups
            .iter()
            .map(|group| (group.state, group.reason.as_str(), group.jobs, group.numbers().0))
            .collect();
        assert_eq!(
            told,
            [
                ("failed", "killed in epoch 1", 31, "1–31".to_owned()),
                ("diverged", "killed in epoch 1", 3, "33, 35, 36".to_owned())
            ]
        );
    }

    #[test]
    fn numbers_and_reasons_are_bounded() {
        let mut failures = Failures::default();
        for number in 1..=1_000 {
            failures.job(&row(2 * number, v1::JobState::Failed, "no memory"));
        }
        for number in 0..1_000u32 {
            let reason: String = number.to_string().chars().map(|sign| (sign as u8 + 49) as char).collect();
            failures.job(&row(2_001 + u64::from(number), v1::JobState::Failed, &reason));
        }
        let groups = failures.into_groups();
        let (numbers, more) = groups[0].numbers();
        assert_eq!((groups[0].jobs, more), (1_000, 1_000 - RANGES_MAX as u64));
        assert_eq!(numbers.split(", ").count(), RANGES_MAX);
        assert_eq!(groups.len(), REASONS_MAX + 1);
        assert_eq!(groups.iter().map(|group| group.jobs).sum::<u64>(), 2_000);
        assert!(groups[REASONS_MAX].reason.is_empty());
    }
}
