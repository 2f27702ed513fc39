//! The rungs of early stopping: which jobs have come there, what they had, and what became of them.

use terms::JobState;

use super::{JobColumns, RungColumn};

/// Most rungs that are shown, the first ones: a rule that compares after every epoch has as many as a job has epochs.
const RUNGS_MAX: usize = 32;
/// Most jobs of a rung that are listed, the best ones.
const LISTED_MAX: usize = 500;

/// Rungs of a sweep.
#[derive(Debug, Default)]
pub struct Rungs {
    /// Rising by their epochs.
    pub shown: Vec<RungView>,
    /// How many more there are.
    pub left_out: usize,
}

/// A rung.
#[derive(Debug)]
pub struct RungView {
    /// After how many epochs it is.
    pub epoch: u32,
    /// How many jobs have come there.
    pub reached: usize,
    /// How many of them train, or have trained, on from there.
    pub went_on: usize,
    /// How many are paused or stopped there.
    pub paused: usize,
    pub stopped: usize,
    /// The smallest value there, the quartiles and the largest; none where no job has a value.
    pub quartiles: Option<[f32; 5]>,
    /// The best jobs there, the best first; those without a value last.
    pub jobs: Vec<JobAtRung>,
}

/// A job that has come to a rung.
#[derive(Debug, PartialEq)]
pub struct JobAtRung {
    pub job: u32,
    /// The value that ranked it, where it had one.
    pub value: Option<f32>,
    /// Its state, where that was decided here; none where it trains or has trained on.
    pub ended: Option<JobState>,
}

impl JobColumns {
    /// The rungs; `maximize` says whether large values are good.
    pub fn rungs(&self, maximize: bool) -> Rungs {
        let shown = self.rungs.iter().take(RUNGS_MAX).map(|rung| self.rung(rung, maximize)).collect();
        Rungs { shown, left_out: self.rungs.len().saturating_sub(RUNGS_MAX) }
    }

    fn rung(&self, rung: &RungColumn, maximize: bool) -> RungView {
        let mut jobs: Vec<JobAtRung> =
            rung.reached.iter().filter_map(|reached| self.at_rung(*reached)).collect();
        let count = |state: JobState| jobs.iter().filter(|job| job.ended == Some(state)).count();
        let (paused, stopped) = (count(JobState::Paused), count(JobState::Stopped));
        let went_on = jobs.iter().filter(|job| job.ended.is_none()).count();
        let key = |job: &JobAtRung| job.value.map(|value| if maximize { -value } else { value });
        jobs.sort_by(|one, other| match (key(one), key(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (one, other) => one.is_none().cmp(&other.is_none()),
        });
        let reached = jobs.len();
        let mut values: Vec<f32> = jobs.iter().filter_map(|job| job.value).collect();
        values.sort_by(f32::total_cmp);
        jobs.truncate(LISTED_MAX);
        let quartiles = quartiles(&values);
        RungView { epoch: rung.epoch, reached, went_on, paused, stopped, quartiles, jobs }
    }

    fn at_rung(&self, (row, value, goes_on): (u32, f32, bool)) -> Option<JobAtRung> {
        let (job, state) = (*self.jobs.get(row as usize)?, *self.states.get(row as usize)?);
        let value = Some(value).filter(|value| !value.is_nan());
        Some(JobAtRung { job, value, ended: (!goes_on).then_some(state) })
    }
}

/// Of values in order, the first, those after each quarter, and the last.
fn quartiles(values: &[f32]) -> Option<[f32; 5]> {
    let last = values.len().checked_sub(1)?;
    Some([0, 1, 2, 3, 4].map(|quarter| {
        let at = last as f32 * quarter as f32 / 4.0;
        let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
        // The same twice may be infinite.
        if low == high { low } else { low + (high - low) * at.fract() }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_says_who_came_there_and_what_became_of_them() {
        use JobState::{Done, Failed, Paused, Running, Stopped};
        let columns = JobColumns {
            jobs: vec![3, 5, 7, 9, 11],
            states: vec![Done, Paused, Stopped, Failed, Running],
            rungs: vec![
                RungColumn {
                    epoch: 1,
                    reached: vec![(0, 0.5, true), (1, 0.75, true), (2, 0.25, false), (3, f32::NAN, false)],
                },
                RungColumn { epoch: 3, reached: vec![(0, 0.9, true), (1, 0.8, false)] },
            ],
            ..JobColumns::default()
        };
        let rungs = columns.rungs(true);
        let first = &rungs.shown[0];
        assert_eq!((first.epoch, first.reached, first.went_on, first.paused, first.stopped), (1, 4, 2, 0, 1));
        assert_eq!(first.jobs.iter().map(|job| job.job).collect::<Vec<_>>(), [5, 3, 7, 9]);
        assert_eq!(first.jobs[2], JobAtRung { job: 7, value: Some(0.25), ended: Some(Stopped) });
        assert_eq!(first.jobs[3], JobAtRung { job: 9, value: None, ended: Some(Failed) });
        assert_eq!(first.quartiles, Some([0.25, 0.375, 0.5, 0.625, 0.75]));
        assert_eq!((rungs.shown[1].went_on, rungs.shown[1].paused), (1, 1));
        let smallest = columns.rungs(false);
        assert_eq!(smallest.shown[0].jobs.iter().map(|job| job.job).collect::<Vec<_>>(), [7, 3, 5, 9]);
        assert_eq!(quartiles(&[]), None);
        assert_eq!(quartiles(&[f32::INFINITY]), Some([f32::INFINITY; 5]));
    }

    #[test]
    fn of_very_many_rungs_and_jobs_some_are_listed() {
        let rung =
            |epoch| RungColumn { epoch, reached: (0..600).map(|row| (row, row as f32, false)).collect() };
        let columns = JobColumns {
            jobs: (1..=600).collect(),
            states: vec![JobState::Paused; 600],
            rungs: (1..=40).map(rung).collect(),
            ..JobColumns::default()
        };
        let rungs = columns.rungs(true);
        assert_eq!((rungs.shown.len(), rungs.left_out), (RUNGS_MAX, 8));
        assert_eq!((rungs.shown[0].reached, rungs.shown[0].paused), (600, 600));
        assert_eq!((rungs.shown[0].jobs.len(), rungs.shown[0].jobs[0].job), (LISTED_MAX, 600));
    }
}
