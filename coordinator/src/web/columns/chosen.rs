//! Which jobs of a very large sweep are sent to a browser.

use std::cmp::Ordering;

use terms::JobState;

use crate::api::JobColumns;

/// Most jobs that are sent to a browser: some megabytes. Its table has the others, too.
const SENT_MAX: usize = 200_000;
/// How many of them are the best ones, whatever their numbers: what charts say of the best jobs must hold for all.
const BEST_SENT: usize = 20_000;

/// The rows that are sent, rising: all, or those of the best jobs that are done, of those that no other beats in time and objective, and of the
/// first jobs.
pub(super) fn rows(columns: &JobColumns) -> Vec<u32> {
    some(columns, SENT_MAX, BEST_SENT)
}

fn some(columns: &JobColumns, most: usize, best_max: usize) -> Vec<u32> {
    let all = 0..u32::try_from(columns.jobs.len()).unwrap_or(u32::MAX);
    if columns.jobs.len() <= most {
        return all.collect();
    }
    let sign = if columns.maximize { -1.0 } else { 1.0 };
    let cost = |row: u32| sign * columns.objectives.get(row as usize).copied().unwrap_or(f32::NAN);
    let seconds = |row: u32| columns.train_seconds.get(row as usize).copied().unwrap_or(f32::NAN);
    let is_done = |row: &u32| columns.states.get(*row as usize) == Some(&JobState::Done);
    let mut done: Vec<u32> = all.clone().filter(|row| is_done(row) && cost(*row).is_finite()).collect();
    done.sort_by(|one, other| cost(*one).total_cmp(&cost(*other)));
    let mut is_sent = vec![false; columns.jobs.len()];
    let best = done.iter().copied().take(best_max).collect::<Vec<_>>();
    done.retain(|row| !seconds(*row).is_nan());
    done.sort_by(|one, other| {
        let time = seconds(*one).total_cmp(&seconds(*other));
        time.then_with(|| cost(*one).total_cmp(&cost(*other)))
    });
    let front = front(&done, cost);
    let mut left = most;
    for row in best.into_iter().chain(front.into_iter().take(best_max)).chain(all.clone()) {
        if left > 0 && !std::mem::replace(&mut is_sent[row as usize], true) {
            left -= 1;
        }
    }
    all.filter(|row| is_sent[*row as usize]).collect()
}

/// Of rows in the order of their times, those that cost less than all before.
fn front(rows: &[u32], cost: impl Fn(u32) -> f32) -> Vec<u32> {
    let mut least = f32::INFINITY;
    let mut beats = |row: &u32| {
        let is_less = cost(*row).partial_cmp(&least) == Some(Ordering::Less);
        least = if is_less { cost(*row) } else { least };
        is_less
    };
    rows.iter().copied().filter(|row| beats(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_jobs_are_sent_whatever_their_numbers() {
        // The best ones come last, and the fastest before them.
        let count = 1_000_u16;
        let mut columns = JobColumns {
            jobs: (1..=count).map(u32::from).collect(),
            states: vec![JobState::Done; usize::from(count)],
            objectives: (0..count).map(f32::from).collect(),
            train_seconds: vec![10.0; usize::from(count)],
            maximize: true,
            ..JobColumns::default()
        };
        columns.train_seconds[900] = 1.0;
        columns.states[999] = JobState::Failed;
        columns.objectives[998] = f32::NAN;
        let sent = some(&columns, 100, 10);
        assert_eq!(sent.len(), 100);
        assert!(sent.is_sorted());
        let expected: Vec<u32> = (0..89).chain([900]).chain(988..998).collect();
        assert_eq!(sent, expected);
        columns.maximize = false;
        let sent = some(&columns, 100, 10);
        assert_eq!(
            sent,
            (0..99).chain([900]).collect::<Vec<_>>(),
            "the first are the best, and one is the fastest"
        );
        assert_eq!(some(&columns, 1_000, 10).len(), 1_000);
        assert_eq!(rows(&columns), (0..1_000).collect::<Vec<_>>());
    }
}
