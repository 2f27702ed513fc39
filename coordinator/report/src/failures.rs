//! Jobs that did not end as hoped, grouped by reason.

use std::collections::BTreeMap;

use super::rows::{JobRow, cut};

/// Most reasons that are distinguished: no one reads more; a job with another reason is only counted.
const REASONS_MAX: usize = 200;
/// Most ranges of job numbers listed for a group.
const RANGES_MAX: usize = 12;

/// The text of [`Why::NeverStarted`].
pub(super) const NEVER_STARTED: &str = "never started; the sweep was stopped or cancelled";
/// Stands for a number in a reason that is not the same for all jobs.
const ANY: &str = "…";

/// Why jobs ended so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    Reason(Reason),
    /// No reason was given.
    Unknown,
    /// They never started, and their sweep was stopped or cancelled: such jobs have no row.
    NeverStarted,
    /// Reasons that are not told apart.
    Various,
}

/// Jobs that ended in one state for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) state: &'static str,
    pub(super) why: Why,
    pub(super) jobs: u64,
    /// Job numbers, from and to.
    ranges: Vec<(u64, u64)>,
    /// How many of the jobs are in `ranges`.
    named: u64,
}

impl Group {
    fn new(state: &'static str, why: Why) -> Self {
        Self { state, why, jobs: 0, ranges: Vec::new(), named: 0 }
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

    /// `3, 5–9`, and how many are not listed.
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
    /// By state and by the reason without anything that only says where a job was: `in epoch 3` and `in epoch 4` are
    /// the same. Jobs that never started are separate from others without a reason.
    groups: BTreeMap<(&'static str, bool, String), Group>,
    others: BTreeMap<&'static str, Group>,
}

impl Failures {
    /// Adds a job, in the order of job numbers.
    pub(super) fn job(&mut self, row: &JobRow) {
        let never_started = row.state == "cancelled" && row.attempts == 0 && row.reason.is_empty();
        if matches!(row.state, "failed" | "diverged" | "cancelled") {
            self.add(row.number, row.state, never_started, &row.reason);
        }
    }

    fn add(&mut self, number: u64, state: &'static str, never_started: bool, told: &str) {
        let reason = Reason::new(told);
        let key = (state, never_started, reason.key());
        if let Some(group) = self.groups.get_mut(&key) {
            if let Why::Reason(known) = &mut group.why {
                known.merge(&reason);
            }
            return group.add(number);
        }
        if self.groups.len() >= REASONS_MAX {
            let others = self.others.entry(state);
            return others.or_insert_with(|| Group::new(state, Why::Various)).add(number);
        }
        let why = match told {
            "" if never_started => Why::NeverStarted,
            "" => Why::Unknown,
            _ => Why::Reason(reason),
        };
        self.groups.entry(key).or_insert_with(|| Group::new(state, why)).add(number);
    }

    /// Failures first, larger groups before smaller ones; those whose reasons are not told apart last.
    pub(super) fn into_groups(self) -> Vec<Group> {
        let rank = |state: &str| ["failed", "diverged", "cancelled"].iter().position(|one| *one == state);
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| (rank(group.state), std::cmp::Reverse(group.jobs)));
        groups.extend(self.others.into_values());
        groups
    }
}

/// The reasons of failed jobs, the most frequent first.
#[derive(Debug, Default)]
pub struct FailureReasons(Failures);

impl FailureReasons {
    /// Adds a failed job, in the order of job numbers.
    pub fn add(&mut self, job: u64, reason: &str) {
        self.0.add(job, "failed", false, reason);
    }

    /// Each reason, how many jobs have it, and some of their numbers, as in `3, 5–9, …`.
    pub fn most_frequent(self) -> Vec<(String, u64, String)> {
        let told = |group: Group| {
            let (mut numbers, more) = group.numbers();
            if more > 0 {
                numbers.push_str(", …");
            }
            let why = match group.why {
                Why::Reason(reason) => reason.text(),
                Why::Unknown | Why::NeverStarted => "no reason is known".to_owned(),
                Why::Various => "other reasons".to_owned(),
            };
            (why, group.jobs, numbers)
        };
        self.0.into_groups().into_iter().map(told).collect()
    }
}

/// A reason in parts: its texts, and between them what only says where a job was. All other numbers are part of the
/// texts, as errors differ in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    texts: Vec<String>,
    places: Vec<String>,
}

impl Reason {
    fn new(reason: &str) -> Self {
        let (mut texts, mut places) = (Vec::new(), Vec::new());
        let mut rest = reason;
        while let Some((from, to)) = place(rest) {
            texts.push(rest[..from].to_owned());
            places.push(rest[from..to].to_owned());
            rest = &rest[to..];
        }
        texts.push(rest.to_owned());
        Self { texts, places }
    }

    /// What it shares with the reasons of its group, as far as a page shows it.
    fn key(&self) -> String {
        cut(&self.texts.join(ANY))
    }

    /// Merges another reason of the same key.
    fn merge(&mut self, other: &Self) {
        for (place, other) in self.places.iter_mut().zip(&other.places) {
            if place != other {
                ANY.clone_into(place);
            }
        }
    }

    /// The reason of all jobs of its group.
    pub(super) fn text(&self) -> String {
        let places = self.places.iter().map(String::as_str).chain(std::iter::once(""));
        self.texts.iter().map(String::as_str).zip(places).flat_map(|(text, place)| [text, place]).collect()
    }
}

/// What precedes and follows a text that only says where a job was.
const PLACES: [(&str, &str); 4] = [
    (" epoch ", ""),
    (" took ", ", validating and the rest "),
    (", validating and the rest ", ""),
    ("while it prepared the data set (", ")"),
];

/// The range of the first such text.
fn place(text: &str) -> Option<(usize, usize)> {
    let of = |(before, after): &(&str, &str)| {
        text.match_indices(before).find_map(|(at, _)| {
            let from = at + before.len();
            let rest = &text[from..];
            let length = match *after {
                // Whole times, such as `3m 44s` and `0.3 s`, extend to the end of their clause.
                "" if before.ends_with("rest ") => rest.find([',', ';']).unwrap_or(rest.len()),
                "" => rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len()),
                after => rest.find(after)?,
            };
            (length > 0).then_some((from, from + length))
        })
    };
    PLACES.iter().filter_map(of).min()
}

#[cfg(test)]
mod tests {
    use terms::{Goal, JobState, MetricSchema, MetricUse, Objective};

    use super::*;
    use crate::{model::Job, ranking::Ranking};

    fn row(number: u64, state: JobState, reason: &str) -> JobRow {
        let job = Job { number, state: Some(state), reason: reason.into(), ..Job::default() };
        let objective = Objective { name: "f1".into(), goal: Goal::Maximize, used: MetricUse::Last };
        JobRow::new(&job, &[], &Ranking::new(objective, &MetricSchema::default()))
    }

    fn reason(group: &Group) -> String {
        match &group.why {
            Why::Reason(reason) => reason.text(),
            why => format!("{why:?}"),
        }
    }

    #[test]
    fn jobs_are_grouped_by_what_happened_to_them_wherever_that_was() {
        let mut failures = Failures::default();
        for number in 1..=31 {
            failures.job(&row(number, JobState::Failed, &format!("killed in epoch {number}")));
        }
        failures.job(&row(32, JobState::Done, ""));
        for number in [33, 35, 36] {
            failures.job(&row(number, JobState::Diverged, "killed in epoch 1"));
        }
        let groups = failures.into_groups();
        let told: Vec<_> =
            groups.iter().map(|group| (group.state, reason(group), group.jobs, group.numbers().0)).collect();
        assert_eq!(
            told,
            [
                ("failed", "killed in epoch …".to_owned(), 31, "1–31".to_owned()),
                ("diverged", "killed in epoch 1".to_owned(), 3, "33, 35, 36".to_owned())
            ]
        );
    }

    #[test]
    fn numbers_and_reasons_are_bounded() {
        let mut failures = Failures::default();
        for number in 1..=1_000 {
            failures.job(&row(2 * number, JobState::Failed, "no memory"));
        }
        for number in 0..1_000u32 {
            let reason: String = number.to_string().chars().map(|sign| (sign as u8 + 49) as char).collect();
            failures.job(&row(2_001 + u64::from(number), JobState::Failed, &reason));
        }
        let groups = failures.into_groups();
        let (numbers, more) = groups[0].numbers();
        assert_eq!((groups[0].jobs, more), (1_000, 1_000 - RANGES_MAX as u64));
        assert_eq!(numbers.split(", ").count(), RANGES_MAX);
        assert_eq!(groups.len(), REASONS_MAX + 1);
        assert_eq!(groups.iter().map(|group| group.jobs).sum::<u64>(), 2_000);
        assert_eq!(groups[REASONS_MAX].why, Why::Various);
    }

    /// The groups' reasons and numbers of jobs.
    fn grouped(reasons: &[&str]) -> Vec<(String, u64)> {
        let mut failures = Failures::default();
        for (number, reason) in (1..).zip(reasons) {
            failures.job(&row(number, JobState::Failed, reason));
        }
        failures.into_groups().iter().map(|group| (reason(group), group.jobs)).collect()
    }

    #[test]
    fn what_tells_errors_apart_is_never_merged() {
        for (reasons, expected) in [
            (
                ["CUDA error 1", "CUDA error 2", "CUDA error 1"].as_slice(),
                [("CUDA error 1", 2), ("CUDA error 2", 1)].as_slice(),
            ),
            (
                &["ended with exit status 1 in epoch 3: x", "ended with exit status 137 in epoch 3: x"],
                &[
                    ("ended with exit status 1 in epoch 3: x", 1),
                    ("ended with exit status 137 in epoch 3: x", 1),
                ],
            ),
            (
                &["ended with exit status 1 in epoch 3: x2", "ended with exit status 1 in epoch 4: x2"],
                &[("ended with exit status 1 in epoch …: x2", 2)],
            ),
            (
                &[
                    "exceeded job_timeout of 2s in epoch 3: training took 1.7 s, validating and the rest 0.3 s, in a pack of 2 jobs",
                    "exceeded job_timeout of 2s in epoch 3: training took 3m 4s, validating and the rest 5s, in a pack of 2 jobs",
                ],
                &[(
                    "exceeded job_timeout of 2s in epoch 3: training took …, validating and the rest …, in a pack of 2 jobs",
                    2,
                )],
            ),
            (
                &[
                    "killed while it prepared the data set (5 % done, packing)",
                    "killed while it prepared the data set (90 % done, packing)",
                    "killed while it prepared the data set",
                ],
                &[
                    ("killed while it prepared the data set (…)", 2),
                    ("killed while it prepared the data set", 1),
                ],
            ),
        ] {
            let expected: Vec<_> = expected.iter().map(|(text, jobs)| ((*text).to_owned(), *jobs)).collect();
            assert_eq!(grouped(reasons), expected);
        }
    }

    #[test]
    fn the_most_frequent_reason_of_failed_jobs_comes_first_with_their_numbers() {
        let mut reasons = FailureReasons::default();
        for (job, reason) in
            [(1, "a"), (2, "in epoch 3: b"), (3, "in epoch 4: b"), (5, "in epoch 3: b"), (6, "")]
        {
            reasons.add(job, reason);
        }
        let told = |why: &str, jobs, numbers: &str| (why.to_owned(), jobs, numbers.to_owned());
        let expected =
            [told("in epoch …: b", 3, "2, 3, 5"), told("no reason is known", 1, "6"), told("a", 1, "1")];
        assert_eq!(reasons.most_frequent(), expected);
    }

    #[test]
    fn jobs_of_which_nothing_is_known_are_distinguished_from_those_that_never_started() {
        let mut failures = Failures::default();
        failures.job(&row(1, JobState::Cancelled, ""));
        failures.job(&row(2, JobState::Failed, ""));
        failures.job(&JobRow { attempts: 1, ..row(3, JobState::Cancelled, "") });
        let whys: Vec<Why> = failures.into_groups().into_iter().map(|group| group.why).collect();
        assert_eq!(whys, [Why::Unknown, Why::Unknown, Why::NeverStarted]);
    }
}
