//! The rows of a sweep's jobs, page by page, of which the next ones are read while one is looked through: a hundred thousand take as long as the
//! processors need together, and not one after the other.

use std::{collections::VecDeque, mem, sync::Arc};

use store::{JobRow, Store, StoreError};
use terms::SweepId;
use tokio::task::JoinHandle;

use super::{Api, ApiError, error::unreadable, task_ended};

/// Jobs read at a time: a few milliseconds, after which others have their turn.
pub(crate) const ROWS_READ: u32 = 2_000;
/// Pages that are read at the same time.
const AHEAD: usize = 2;

type Read = JoinHandle<Result<Vec<JobRow>, StoreError>>;

/// Pages of jobs that have begun, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Pages<F> {
    /// Reads a page from a number on.
    read: F,
    rows_max: u32,
    /// Pages that were asked for, by their first numbers.
    asked: VecDeque<(u64, Read)>,
}

impl Api {
    /// The pages of a sweep.
    pub(super) fn pages(&self, sweep: SweepId) -> Pages<impl Fn(u64) -> Read + Send + use<>> {
        let store: Arc<dyn Store> = Arc::clone(&self.store);
        Pages::new(ROWS_READ, move |first| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.jobs(sweep, first, ROWS_READ).await })
        })
    }
}

impl<F: Fn(u64) -> Read> Pages<F> {
    fn new(rows_max: u32, read: F) -> Self {
        let asked = VecDeque::from([(1, read(1))]);
        Self { read, rows_max, asked }
    }

    /// The next page; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<JobRow>>, ApiError> {
        let Some((first, page)) = self.asked.pop_front() else { return Ok(None) };
        // Unless this page shows that they come next, those after it are read in vain.
        let ahead = mem::take(&mut self.asked);
        let rows = page.await.map_err(|_| task_ended())?.map_err(unreadable)?;
        let last = rows.last().filter(|_| rows.len() == self.rows_max as usize).map(|row| row.job);
        let Some(last) = last else { return Ok((!rows.is_empty()).then_some(rows)) };
        // Jobs mostly begin in the order of their numbers, so that the page after the next one begins where it would without a gap.
        let rows_max = u64::from(self.rows_max);
        let has_gap = last + 1 != first + rows_max;
        if !has_gap {
            self.asked = ahead;
        }
        for _ in self.asked.len()..if has_gap { 1 } else { AHEAD } {
            let next = self.asked.back().map_or(last + 1, |(first, _)| first + rows_max);
            self.asked.push_back((next, (self.read)(next)));
        }
        Ok(Some(rows))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use terms::{JobState, MetricRow, MetricSchema};

    use super::*;

    fn row(job: u64) -> JobRow {
        JobRow {
            job,
            state: JobState::Done,
            attempts: 1,
            worker: String::new(),
            reason: String::new(),
            epochs_done: 1,
            train_seconds: 1.0,
            names: MetricSchema::default(),
            last: MetricRow::default(),
            objective: None,
            best: None,
            pack_size: 1,
            rungs: Vec::new(),
        }
    }

    /// The numbers in the pages of these jobs, of `rows_max` each, and how many pages were read.
    async fn read(jobs: &[u64], rows_max: u32) -> (Vec<u64>, usize) {
        let asked = Arc::new(Mutex::new(0));
        let (of_reads, jobs) = (Arc::clone(&asked), jobs.to_vec());
        let mut pages = Pages::new(rows_max, move |first| {
            *of_reads.lock().unwrap() += 1;
            let from = jobs.iter().copied().filter(|job| *job >= first);
            let page = from.take(rows_max as usize).map(row).collect();
            tokio::spawn(async move { Ok(page) })
        });
        let mut found = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            assert!(!page.is_empty());
            found.extend(page.iter().map(|row| row.job));
        }
        assert!(pages.next().await.unwrap().is_none());
        let asked = *asked.lock().unwrap();
        (found, asked)
    }

    #[tokio::test]
    async fn each_job_comes_once_and_in_order_wherever_numbers_are_missing() {
        for rows_max in [1, 2, 3, 5] {
            for jobs in 0..=12_u64 {
                for missing in 0..1_u64 << jobs {
                    let there: Vec<u64> = (1..=jobs).filter(|job| missing >> (job - 1) & 1 == 0).collect();
                    let (found, reads) = read(&there, rows_max).await;
                    assert_eq!(found, there);
                    // One that says that nothing is left, and those that were asked for before it was known.
                    let pages = there.len() / rows_max as usize + 1;
                    assert!(
                        (pages..=2 * pages + AHEAD).contains(&reads),
                        "{reads} reads of {there:?} by {rows_max}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn without_a_gap_hardly_a_page_is_read_in_vain() {
        let jobs: Vec<u64> = (1..=1_000).collect();
        assert_eq!(read(&jobs, 10).await, (jobs.clone(), 100 + AHEAD));
        assert_eq!(read(&jobs[..5], 10).await, (jobs[..5].to_vec(), 1), "a small sweep is read at once");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error() {
        // Other pages are asked for by then, which are not what comes next.
        let mut pages = Pages::new(1, |first| {
            let page =
                if first == 2 { Err(StoreError::Corrupt("row 7".to_owned())) } else { Ok(vec![row(first)]) };
            tokio::spawn(async { page })
        });
        assert_eq!(pages.next().await.unwrap().unwrap()[0].job, 1);
        assert!(pages.next().await.unwrap_err().to_string().contains("row 7"));
        assert!(pages.next().await.unwrap().is_none());
    }
}
